//! Fetch: brings verified heads of the scopes that we follow, and their records, into the local state.
//!
//! A document that fails any check is refused by name and changes nothing; the others still count.

use std::collections::BTreeMap;

use super::error::Error;
use super::fit::Fit;
use super::ingest::{Incoming, Ingested, Taking, Writes};
use super::instance::Instance;
use super::own::Lost;
use super::progress::Event;
use super::refusal::{HINT_DAMAGED, HINT_FORK, Refusal};
use super::scopes::OpenScope;
use super::waiting::Waits;
use crate::exchange::head::Head;
use crate::exchange::head::verdict::{Verdict, verdict};
use crate::exchange::receipt::fork::ForkKind;
use crate::exchange::store::{Store, StoreError};
use crate::id::bytes::{InstanceId, ScopeId};
use crate::id::name::PeerName;
use crate::keys::document::Unverified;
use crate::scope::manifest::{Manifest, Succession, succession};
use crate::state::accepted::Jump;
use crate::state::heads::TrackedHead;
use crate::state::peers::Trust;
use crate::state::queue::Contact;
use crate::state::scopes::ScopeRow;
use crate::tree::key::IdKey;

/// What a fetch from one remote brought.
#[derive(Debug, Default, serde::Serialize)]
pub struct FetchSummary {
    /// The heads that moved, by `scope label` and signer.
    pub heads: Vec<FetchedHead>,
    /// Heads of which we have newer ones: the remote is behind.
    pub behind: Vec<String>,
    /// Heads that wait for another head.
    pub held: Vec<String>,
    /// Scopes of peers that we follow but may not read.
    pub unreadable: u64,
    /// What was refused.
    pub refused: Vec<Refusal>,
    /// How the records of scopes fit our tables, where that became known or changed.
    pub fits: Vec<Fit>,
    /// Whether nobody has pushed to the remote yet.
    pub empty: bool,
    /// Whether a head was replaced while it was read: what it named is to be looked for again.
    #[serde(skip)]
    pub(super) moved_on: bool,
    /// Objects fetched.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A head that moved.
#[derive(Debug, serde::Serialize)]
pub struct FetchedHead {
    /// The scope, as `peer/name`.
    pub scope: String,
    /// Who signed the head.
    pub signer: String,
    /// Its number.
    pub seq: u64,
    /// Records written or removed on the way there.
    pub records: u64,
}

const HINT_JUMP: &str = "ask the peer whether this is right; if it is, `wbsync peer accept NAME` and fetch again; nothing is taken until then";
const HINT_RIGHT: &str = "the scope's origin can allow it: `wbsync peer trust NAME --write`";

impl Instance {
    /// Fetches from one remote.
    ///
    /// # Errors
    /// The remote can't be read at all, or the state can't be written. What single documents do wrong is
    /// in the summary.
    pub fn fetch(&self, remote: &PeerName) -> Result<FetchSummary, Error> {
        // A database that can't be read is no reason not to fetch: whoever uses it says so.
        let fitted = self.fits().unwrap_or_default();
        let mut result = match self.open_remote(remote) {
            Ok(None) => return Ok(FetchSummary { empty: true, ..FetchSummary::default() }),
            Ok(Some(store)) => self.fetch_until_still(store.as_ref(), remote.as_str()),
            Err(error) => Err(error),
        };
        if let Ok(summary) = &mut result {
            summary.fits = self.fits().unwrap_or_default();
            summary.fits.retain(|fit| !fitted.contains(fit));
        }
        self.note_outcome(remote, Contact::Fetch, result.as_ref().err())?;
        result
    }

    pub(super) fn fetch_store(&self, store: &dyn Store, remote: &str) -> Result<FetchSummary, Error> {
        let mut summary = FetchSummary::default();
        self.tell(Event::Phase { name: "looking for new heads", total: None });
        if !self.is_restoring() {
            self.check_own_card(store, remote)?;
        }
        self.make_incoming()?;
        let scopes = store.scopes().map_err(Error::store(remote))?;
        self.refuse_impostors(store, remote, &mut summary)?;
        self.take_urls(store, remote)?;
        self.tell(Event::End);
        for id in scopes {
            let Some(row) = self.fetch_manifest(store, remote, &id, &mut summary)? else {
                self.heed_fresh_ladder(store, remote, &id)?;
                self.relay_sealed(store, remote, &id)?;
                continue;
            };
            let Some(scope) = self.open_scope(row)? else {
                summary.unreadable += 1;
                self.relay_sealed(store, remote, &id)?;
                continue;
            };
            self.fetch_scope(store, remote, &scope, &mut summary)?;
            self.relay_followed(store, remote, &scope)?;
        }
        let own = self.own_store()?;
        self.retire_relayed(&own)?;
        self.sweep_own_store(&own)?;
        summary.heads.sort_by(|a, b| (&a.scope, &a.signer).cmp(&(&b.scope, &b.signer)));
        self.clear_incoming()?;
        Ok(summary)
    }

    /// Brings a scope's manifest up to date and returns the scope if we follow it.
    fn fetch_manifest(
        &self,
        store: &dyn Store,
        remote: &str,
        id: &ScopeId,
        summary: &mut FetchSummary,
    ) -> Result<Option<ScopeRow>, Error> {
        if self.state.is_retired(id)? {
            return Ok(None);
        }
        let document = format!("manifest of {}", self.scope_called(id)?);
        let bytes = match store.manifest(id) {
            Ok(Some(bytes)) => bytes,
            // A bundle holds no manifest that we have confirmed, and receipts of scopes of ours without one.
            Ok(None) => return self.unless_revoked(self.state.scope(id)?),
            Err(error) => return self.refuse_unless_gone(error, document, remote, summary).map(|()| None),
        };
        let known = self.state.scope(id)?;
        let claimed = Unverified::parse(&bytes).and_then(|document| document.claimed_signer());
        let origin = match (&known, claimed) {
            (Some(known), _) => known.origin,
            (None, Ok(origin)) => origin,
            (None, Err(error)) => {
                summary.refused.push(Refusal::new(document, &error, HINT_DAMAGED).damaged());
                return Ok(None);
            }
        };
        let (manifest, hash) = match Manifest::open(&bytes, &origin) {
            Ok(opened) => opened,
            Err(error) => {
                summary.refused.push(Refusal::new(document, &error, HINT_DAMAGED).damaged());
                return Ok(None);
            }
        };
        // A stranger's manifest is looked at only so far that a damaged one of a peer's is noticed.
        let peer = self.state.peer(&origin)?;
        if origin != self.id() && peer.is_none() {
            return Ok(None);
        }
        if let Some(peer) = peer.filter(|peer| peer.trust == Trust::Revoked) {
            self.refuse_scope_of_revoked(store, remote, id, &peer, summary)?;
            return Ok(None);
        }
        if manifest.scope != *id {
            let reason = format!("it is the manifest of {}", self.scope_called(&manifest.scope)?);
            summary.refused.push(Refusal::because(document, reason, HINT_DAMAGED));
            return Ok(None);
        }
        match succession(known.as_ref().map(|row| (row.manifest_seq, &row.manifest_hash)), &manifest, &hash) {
            Succession::Same => return self.followed(known),
            Succession::Older => {
                // What we changed ourselves and didn't push yet is news to a remote, no fault of its own.
                if origin != self.id() {
                    summary.behind.push(document);
                }
                return self.followed(known);
            }
            // The one that is out is the one that readers have.
            Succession::Forked | Succession::New if origin == self.id() && self.is_restoring() => {}
            Succession::Forked => {
                let known = known.expect("a fork needs something to differ from");
                self.keep_proof(ForkKind::Manifests, (id, &origin), &known.manifest, &bytes)?;
                let reason = "its origin signed two different manifests with this number";
                summary.refused.push(Refusal::because(document, reason, HINT_FORK));
                return Ok(None);
            }
            Succession::New if origin == self.id() => {
                let (ours, theirs) = (known.as_ref().map_or(0, |row| row.manifest_seq), manifest.seq);
                let scope = known.map_or_else(|| id.to_string(), |row| row.name.to_string());
                return Err(Error::LostHistory { remote: remote.into(), what: Lost::Manifest { scope, ours, theirs } });
            }
            Succession::New => {}
        }
        let keys = match manifest.unlock(&self.identity) {
            Ok(Some(keys)) => keys,
            Ok(None) => {
                if let Some(known) = &known {
                    self.state.note_shut_out(&known.id)?;
                }
                summary.unreadable += u64::from(self.state.follows()?.iter().any(|rule| rule.origin == origin));
                return Ok(None);
            }
            Err(error) => {
                summary.refused.push(Refusal::new(document, &error, HINT_DAMAGED));
                return Ok(None);
            }
        };
        if origin != self.id() && !self.follows_name(&origin, &keys.name)? {
            return Ok(None);
        }
        self.state.put_manifest(&ScopeRow {
            id: *id,
            origin,
            name: keys.name.clone(),
            id_key: IdKey::from_bytes(*keys.id_key),
            manifest: bytes,
            manifest_seq: manifest.seq,
            manifest_hash: hash,
            local_head: None,
            sequence: 0,
        })?;
        // Who reads the scope caps what is ours and hangs on its rows.
        self.forget_database();
        Ok(Some(self.scope_row(id)?))
    }

    pub(super) fn followed(&self, known: Option<ScopeRow>) -> Result<Option<ScopeRow>, Error> {
        let Some(row) = known else { return Ok(None) };
        Ok(if self.follows(&row)? { Some(row) } else { None })
    }

    fn fetch_scope(
        &self,
        store: &dyn Store,
        remote: &str,
        scope: &OpenScope,
        summary: &mut FetchSummary,
    ) -> Result<(), Error> {
        let (mut incoming, mut own) = (Vec::new(), None);
        self.fetch_receipts(store, remote, scope, summary)?;
        let mut writes: Writes = BTreeMap::new();
        for (signer, signed) in self.state.signed_writes(&scope.row.id)? {
            let best = writes.entry(signer).or_insert((0, 0));
            *best = (*best).max(signed);
        }
        writes.insert(self.id(), (self.card.card.incarnation, self.scope_row(&scope.row.id)?.sequence));
        let signers = self.signers(store, remote, scope)?;
        self.note_taken_back(remote, scope, &signers)?;
        for signer in signers {
            let found = match signer == self.id() {
                true if self.is_restoring() => self.fetch_own_head(store, remote, scope)?,
                true => self.check_own_head(store, remote, &scope.row).map(|()| None)?,
                false => self.fetch_head(store, remote, scope, &signer, summary)?,
            };
            let Some((head, fetched)) = found else { continue };
            if signer == self.id() {
                own = Some(head.clone());
            }
            let best = writes.entry(signer).or_insert((0, 0));
            *best = (*best).max((head.incarnation, head.writes));
            // A former writer's head proves what it wrote, and is merged no more.
            if scope.manifest.may_write(&signer) {
                incoming.push(fetched);
            } else {
                self.refuse_if_revoked(scope, &fetched, summary)?;
            }
        }
        // The origin's head first: the heads of writers build on it.
        incoming.sort_by_key(|incoming| (incoming.head.signer != scope.row.origin, incoming.head.signer));
        // What waits for another head may have met it meanwhile; what is still left may vouch for each other.
        for together in [false, true] {
            loop {
                let waiting = incoming.len();
                let mut held = Vec::new();
                incoming = self.ingest_all(store, remote, scope, incoming, &writes, together, (&mut held, summary))?;
                if incoming.is_empty() || incoming.len() == waiting {
                    if together {
                        self.report_held(scope, &incoming, held, summary)?;
                    }
                    break;
                }
            }
        }
        if let Some(own) = own
            && self.is_merged_by_origin(scope, &own, None)?
        {
            // Nothing of it is lost here, even if it couldn't be taken in.
            self.note_restored_from(&scope.row.id, own.incarnation, own.seq)?;
        }
        Ok(())
    }

    /// Tries to take each of these heads, and returns those that have to wait, with the reasons in `held`.
    #[expect(clippy::too_many_arguments, reason = "all of a fetch of one scope")]
    fn ingest_all(
        &self,
        store: &dyn Store,
        remote: &str,
        scope: &OpenScope,
        incoming: Vec<Incoming>,
        writes: &Writes,
        together: bool,
        (held, summary): (&mut Vec<Waits>, &mut FetchSummary),
    ) -> Result<Vec<Incoming>, Error> {
        let mut taken = Vec::new();
        for (at, one) in incoming.iter().enumerate() {
            let label = scope.label(self)?;
            let signer = self.instance_label(&one.head.signer)?;
            let document = format!("head {} of {signer} in {label}", one.head.seq);
            let others =
                incoming.iter().enumerate().filter(|(other, _)| together && *other != at && !taken.contains(other));
            let others: Vec<&Incoming> = others.map(|(_, other)| other).collect();
            if let Some(why) = self.lacks_epoch(scope, &one.head) {
                match self.is_merged_by_origin(scope, &one.head, None)? {
                    true => taken.push(at),
                    false => held.push(Waits { why: format!("{document}: {why}"), seen: None }),
                }
                continue;
            }
            match self.ingest(store, remote, scope, one, &others, writes)? {
                Ingested::Taken { records, objects, bytes } => {
                    summary.objects += objects;
                    summary.bytes += bytes;
                    summary.heads.push(FetchedHead { scope: label, signer, seq: one.head.seq, records });
                    if scope.row.origin == self.id() && one.head.signer != self.id() {
                        self.relay(store, remote, &one.head, &one.document)?;
                    }
                    taken.push(at);
                }
                // Who comes late begins with a newer snapshot, in which the origin has merged it.
                Ingested::Held(waits) if self.is_merged_by_origin(scope, &one.head, waits.seen.as_ref())? => {
                    taken.push(at);
                }
                Ingested::Held(Waits { why, seen }) => held.push(Waits { why: format!("{document}: {why}"), seen }),
                // What it named may have been withdrawn while we read: the newer head says what is left.
                Ingested::Refused(refusal) if refusal.damaged && self.moved_on(store, remote, one)? => {
                    summary.held.push(format!("{document}: a newer head came while it was read; fetch again"));
                    summary.moved_on = true;
                    taken.push(at);
                }
                Ingested::Refused(refusal) => {
                    summary.refused.push(Refusal { document, ..refusal });
                    taken.push(at);
                }
            }
        }
        Ok(incoming.into_iter().enumerate().filter(|(at, _)| !taken.contains(at)).map(|(_, one)| one).collect())
    }

    /// Tells whether the remote has another head of the same signer by now, or none any more.
    fn moved_on(&self, store: &dyn Store, remote: &str, incoming: &Incoming) -> Result<bool, Error> {
        store.renew().map_err(Error::store(remote))?;
        let there = store.head(&incoming.head.scope, &incoming.head.signer).map_err(Error::store(remote))?;
        Ok(there.as_ref() != Some(&incoming.document))
    }

    /// Lists whose heads to look at: the origin's, its writers', and of others none.
    fn signers(&self, store: &dyn Store, remote: &str, scope: &OpenScope) -> Result<Vec<InstanceId>, Error> {
        let mut signers = store.heads(&scope.row.id).map_err(Error::store(remote))?;
        signers
            .retain(|signer| scope.manifest.may_write(signer) || scope.manifest.former.binary_search(signer).is_ok());
        Ok(signers)
    }

    /// Reads a head, checks its signature and its place in its signer's history.
    fn fetch_head(
        &self,
        store: &dyn Store,
        remote: &str,
        scope: &OpenScope,
        signer: &InstanceId,
        summary: &mut FetchSummary,
    ) -> Result<Option<(Head, Incoming)>, Error> {
        let document = format!("head of {} in {}", self.instance_label(signer)?, scope.label(self)?);
        let bytes = match store.head(&scope.row.id, signer) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(None),
            Err(error) => return self.refuse_unless_gone(error, document, remote, summary).map(|()| None),
        };
        let (head, hash) = match Head::open(&bytes, signer) {
            Ok(opened) => opened,
            Err(error) => {
                summary.refused.push(Refusal::new(document, &error, HINT_DAMAGED).damaged());
                return Ok(None);
            }
        };
        if head.scope != scope.row.id {
            let reason = format!("it is a head of {}", self.scope_called(&head.scope)?);
            summary.refused.push(Refusal::because(document, reason, HINT_DAMAGED));
            return Ok(None);
        }
        if head.base.is_none() != (*signer == scope.row.origin) {
            let reason = "it does not build on a head of the scope's origin, as a writer's must";
            summary.refused.push(Refusal::because(document, reason, HINT_RIGHT));
            return Ok(None);
        }
        let known = self.state.head(&scope.row.id, signer)?;
        let marks = known.as_ref().map(TrackedHead::mark);
        match verdict(marks.as_ref(), &head, &hash) {
            Verdict::New => {}
            Verdict::Same => return Ok(None),
            Verdict::Older { .. } => {
                match self.fork_with_seen(&scope.row.id, &head, &hash, &bytes)? {
                    Some((fork, true)) => summary.refused.push(self.forked(scope, &fork)?),
                    _ => summary.behind.push(document),
                }
                return Ok(None);
            }
            Verdict::Forked => {
                let known = known.expect("a fork needs something to differ from");
                self.state.reopen_fork(&scope.row.id, signer)?;
                self.keep_proof(ForkKind::Heads, (&scope.row.id, signer), &known.document, &bytes)?;
                let reason = format!("its signer has published two histories (head {} differs)", head.seq);
                summary.refused.push(Refusal::because(document, reason, HINT_FORK));
                return Ok(None);
            }
            Verdict::WildJump if self.state.is_jump_accepted(&scope.row.id, signer, &hash)? => {}
            Verdict::WildJump => {
                let (seq, incarnation) = (head.seq, head.incarnation);
                self.state.put_jump(signer, &Jump { scope: scope.row.id, seq, incarnation, hash })?;
                let seq = known.map_or(0, |known| known.seq);
                let reason = format!("its number jumps from {seq} to {}", head.seq);
                summary.refused.push(Refusal::because(document, reason, HINT_JUMP));
                return Ok(None);
            }
        }
        if head.manifest_seq > scope.row.manifest_seq {
            let reason = format!("it needs manifest {}, the remote has {}", head.manifest_seq, scope.row.manifest_seq);
            summary.held.push(format!("{document}: {reason}"));
            return Ok(None);
        }
        Ok(Some((head.clone(), Incoming { head, hash, document: bytes, taking: Taking::Head })))
    }

    /// Records damage of one document; an error of the whole store ends the fetch.
    pub(super) fn refuse_unless_gone(
        &self,
        error: StoreError,
        document: String,
        remote: &str,
        summary: &mut FetchSummary,
    ) -> Result<(), Error> {
        match error {
            StoreError::TooLarge { .. } | StoreError::Irregular { .. } | StoreError::Damaged { .. } => {
                summary.refused.push(Refusal::new(document, &error, HINT_DAMAGED).damaged());
                Ok(())
            }
            other => Err(Error::store(remote)(other)),
        }
    }
}
