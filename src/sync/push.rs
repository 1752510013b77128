//! Push: publishes, then copies what a remote lacks and moves its heads.

use std::collections::{BTreeMap, BTreeSet};

use super::error::Error;
use super::instance::Instance;
use super::own::Lost;
use super::progress::Event;
use super::publish::Published;
use super::refusal::Refusal;
use super::relay::signer_of;
use crate::exchange::copy::{CopyError, CopyProgress, copy_objects, copy_unasked};
use crate::exchange::head::Head;
use crate::exchange::store::{Store, StoreError};
use crate::id::bytes::{InstanceId, ObjectId, ScopeId};
use crate::id::name::PeerName;
use crate::keys::card::SignedCard;
use crate::keys::document;
use crate::scope::manifest::Manifest;
use crate::state::queue::Contact;

/// What a push did.
#[derive(Debug, Default, serde::Serialize)]
pub struct PushSummary {
    /// The scopes that got a new head, by label.
    pub published: BTreeMap<String, Published>,
    /// Our scopes whose rules (readers, writers, keys) the remote had of before, or not at all.
    pub manifests: u64,
    /// Heads that the remote did not have.
    pub heads: u64,
    /// Objects that the remote lacked.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Receipts that the remote did not have.
    pub receipts: u64,
    /// Objects removed from the remote because they carried what was withdrawn, or keys that were replaced.
    pub removed: u64,
    /// Objects that should have been removed and that the remote keeps: it doesn't let us.
    pub unremoved: u64,
    /// Races lost to other writers before it went through.
    pub raced: u64,
}

/// What a push would do.
#[derive(Debug, Default, serde::Serialize)]
pub struct PushPreview {
    /// The scopes with something new to publish first, by label.
    pub publish: Vec<String>,
    /// Heads published before that the remote does not have.
    pub heads: u64,
    /// Objects of theirs that the remote lacks.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Instance {
    /// Says what a push would do. What is not published yet has no objects that could be counted.
    ///
    /// # Errors
    /// The remote can't be read; one that is no store yet lacks everything.
    pub fn push_preview(&self, remote: &PeerName) -> Result<PushPreview, Error> {
        let mut preview = PushPreview::default();
        let view = self.with_database(|database| Ok(database.position()?.applied))?;
        let applied = super::view::View::decode(&view).map_err(Error::Bookkeeping)?;
        for row in self.state.scopes()? {
            let status = self.scope_status(&row, &applied)?;
            if status.unpublished {
                preview.publish.push(status.scope);
            }
        }
        let there = self.open_remote(remote)?;
        let own = self.own_store()?;
        for scope in own.scopes().map_err(Error::store("this instance"))? {
            for signer in own.heads(&scope).map_err(Error::store("this instance"))? {
                let Some(bytes) = own.head(&scope, &signer).map_err(Error::store("this instance"))? else { continue };
                let name = remote.as_str();
                let held = there.as_ref().map(|store| store.head(&scope, &signer).map_err(Error::store(name)));
                if held.transpose()?.flatten().as_ref() == Some(&bytes) {
                    continue;
                }
                let damaged = |error| crate::state::error::Error::damaged(format!("a head in our own store: {error}"));
                let (head, _) = Head::open(&bytes, &signer).map_err(damaged)?;
                let objects: Vec<_> = head.objects().map(|object| (object.id, object.bytes)).collect();
                let missing = match &there {
                    Some(store) => store.missing(&objects).map_err(Error::store(name))?,
                    None => objects.iter().map(|(id, _)| *id).collect(),
                };
                let sizes = objects.iter().filter(|(id, _)| missing.contains(id)).map(|(_, bytes)| bytes);
                preview.heads += 1;
                preview.objects += missing.len() as u64;
                preview.bytes += sizes.sum::<u64>();
            }
        }
        Ok(preview)
    }

    /// Publishes what is new and sends it to a remote.
    ///
    /// Objects go first, then manifests, then heads, each by compare-and-swap: whoever reads the remote
    /// meanwhile finds every object that a head names.
    ///
    /// # Errors
    /// The remote can't be written, was changed meanwhile, or has heads of ours that we never made.
    pub fn push(&self, remote: &PeerName) -> Result<PushSummary, Error> {
        // Nothing is signed before the remote has shown that it knows no later state of ours.
        let seen = if self.is_restoring() { None } else { self.open_remote(remote).ok().flatten() };
        if let Some(store) = &seen
            && let Err(error) = self.check_own(store.as_ref(), remote.as_str())
        {
            self.note_outcome(remote, Contact::Push, Some(&error))?;
            return Err(error);
        }
        // What was fetched is merged first: a writer's head builds on the newest head of the origin.
        self.merge()?;
        let published = self.publish()?;
        let result = self.open_for_writing_too(remote, seen).and_then(|store| self.send(store.as_ref(), remote));
        self.note_outcome(remote, Contact::Push, result.as_ref().err())?;
        if result.is_ok() {
            self.note_sent(remote)?;
        }
        result.map(|summary| PushSummary { published, ..summary })
    }

    fn send(&self, remote: &dyn Store, place: &PeerName) -> Result<PushSummary, Error> {
        let (own, name) = (self.own_store()?, place.as_str());
        let (mut summary, mut sent_heads) = (PushSummary::default(), Vec::new());
        self.send_card(remote, name)?;
        for scope in own.scopes().map_err(Error::store("this instance"))? {
            let manifest = own.manifest(&scope).map_err(Error::store("this instance"))?;
            let Some(origin) = manifest.and_then(|bytes| signer_of(&bytes)) else { continue };
            let sent = self.send_manifest(&own, remote, name, &scope, &origin);
            // Where we have no right to somebody else's scope we have nothing of it to say either. What we wrote in it waits
            // until its origin has brought the rules by which we may.
            let sent = relayed(origin == self.id(), sent)?;
            let has_rules = sent.is_some();
            let row = self.state.scope(&scope)?;
            let takes_part = row.map(|row| self.takes_part(&row)).transpose()?.unwrap_or(false);
            summary.manifests += u64::from(origin == self.id() && sent == Some(true));
            for signer in own.heads(&scope).map_err(Error::store("this instance"))? {
                let sent = self.send_head(&own, remote, place, (&scope, &signer), &mut summary);
                let is_ours = origin == self.id() || (signer == self.id() && has_rules && takes_part);
                let seq = relayed(is_ours, sent)?.flatten();
                if signer == self.id() && seq.is_none() && !takes_part {
                    self.take_out_own_head(remote, place, &scope, &mut summary)?;
                    self.heed_fresh_ladder(remote, name, &scope)?;
                }
                sent_heads.extend(seq.filter(|_| signer == self.id()).map(|seq| (scope, seq)));
            }
        }
        self.send_receipts(&own, remote, name, &mut summary)?;
        remote.flush().map_err(raced(name))?;
        for (scope, seq) in sent_heads {
            self.confirm_own_head(&scope, seq)?;
        }
        // Only now: whoever reads the remote finds new heads, and proofs of what removed ones stood for.
        for row in self.state.scopes()? {
            if self.state.is_head_withdrawn(&row.id)? {
                self.take_out_own_head(remote, place, &row.id, &mut summary)?;
            }
            self.retire_heads(remote, place, &row, &mut summary)?;
            self.retire_relayed_heads(remote, place, &row)?;
            self.clean_remote(remote, place, &row.id, &mut summary)?;
        }
        // Heads that were taken away, where nothing else was.
        match remote.flush() {
            Ok(()) | Err(StoreError::Swapped { .. }) => {}
            Err(StoreError::Denied { .. } | StoreError::ReadOnly { .. }) => summary.unremoved += 1,
            Err(error) => return Err(Error::store(name)(error)),
        }
        Ok(summary)
    }

    fn send_card(&self, remote: &dyn Store, name: &str) -> Result<(), Error> {
        let there = remote.card(&self.id()).map_err(Error::store(name))?;
        let there = there.map(|bytes| document::hash_of(&bytes));
        if there == Some(self.card.hash) {
            return Ok(());
        }
        remote.swap_card(&self.id(), there, &self.card.bytes).map_err(raced(name))
    }

    /// Sends the rules of a scope, and tells whether the remote hadn't got them.
    fn send_manifest(
        &self,
        own: &dyn Store,
        remote: &dyn Store,
        name: &str,
        scope: &ScopeId,
        origin: &InstanceId,
    ) -> Result<bool, Error> {
        let Some(bytes) = own.manifest(scope).map_err(Error::store("this instance"))? else { return Ok(false) };
        let there = remote.manifest(scope).map_err(Error::store(name))?;
        if there.as_ref() == Some(&bytes) {
            return Ok(false);
        }
        let manifest_error = |source| Error::Manifest { scope: scope.to_string(), source };
        let (ours, _) = Manifest::open(&bytes, origin).map_err(manifest_error)?;
        // What is there and doesn't verify is replaced; what is newer stays.
        if let Some(Ok((theirs, _))) = there.as_ref().map(|bytes| Manifest::open(bytes, origin)) {
            if theirs.seq >= ours.seq && *origin == self.id() {
                let (scope, ours, theirs) = (self.scope_row(scope)?.name.to_string(), ours.seq, theirs.seq);
                return Err(Error::LostHistory { remote: name.into(), what: Lost::Manifest { scope, ours, theirs } });
            }
            if theirs.seq >= ours.seq {
                return Ok(false);
            }
        }
        let expected = there.map(|bytes| document::hash_of(&bytes));
        remote.swap_manifest(scope, expected, &bytes).map_err(raced(name))?;
        Ok(true)
    }

    /// Sends one head with its objects, and returns its number if the remote has it then.
    fn send_head(
        &self,
        own: &dyn Store,
        remote: &dyn Store,
        place: &PeerName,
        (scope, signer): (&ScopeId, &InstanceId),
        summary: &mut PushSummary,
    ) -> Result<Option<u64>, Error> {
        let name = place.as_str();
        let Some(bytes) = own.head(scope, signer).map_err(Error::store("this instance"))? else { return Ok(None) };
        let there = remote.head(scope, signer).map_err(Error::store(name))?;
        let damaged = |error| crate::state::error::Error::damaged(format!("a head in our own store: {error}"));
        let (ours, _) = Head::open(&bytes, signer).map_err(damaged)?;
        if there.as_ref() == Some(&bytes) {
            return Ok(Some(ours.seq));
        }
        if let Some(Ok((theirs, _))) = there.as_ref().map(|bytes| Head::open(bytes, signer))
            && (theirs.incarnation, theirs.seq) >= (ours.incarnation, ours.seq)
        {
            if *signer == self.id() {
                let scope = self.scope_label(&self.scope_row(scope)?)?;
                let (ours, theirs) = (ours.seq, theirs.seq);
                let what = Lost::Head { scope, ours, theirs };
                return Err(Error::LostHistory { remote: name.into(), what });
            }
            return Ok(None);
        }
        if there.is_none() && *signer == self.id() && self.is_let_go(scope, &ours, place)? {
            return Ok(None);
        }
        let objects: Vec<_> = ours.objects().map(|object| (object.id, object.bytes)).collect();
        let theirs = there.as_ref().and_then(|bytes| Head::open(bytes, signer).ok()).map(|(head, _)| head);
        let expected = there.map(|bytes| document::hash_of(&bytes));
        let few = theirs.as_ref().and_then(|theirs| few_more(theirs, &ours));
        let wanted = few.as_deref().map_or(Wanted::Missing(&objects), Wanted::All);
        self.send_objects(own, remote, name, wanted, summary)?;
        if let Some(theirs) = &theirs {
            self.note_replaced(place, theirs)?;
        }
        let swap = || remote.swap_head(scope, signer, expected, &objects, &bytes);
        let swapped = match swap() {
            // It has lost what its own head names.
            Err(StoreError::Incomplete { .. }) if few.is_some() => {
                self.send_objects(own, remote, name, Wanted::Missing(&objects), summary)?;
                swap()
            }
            swapped => swapped,
        };
        swapped.map_err(raced(name))?;
        summary.heads += 1;
        Ok(Some(ours.seq))
    }

    fn send_objects(
        &self,
        own: &dyn Store,
        remote: &dyn Store,
        name: &str,
        wanted: Wanted<'_>,
        summary: &mut PushSummary,
    ) -> Result<(), Error> {
        let (Wanted::Missing(objects) | Wanted::All(objects)) = wanted;
        let total = objects.iter().map(|(_, bytes)| bytes).sum();
        self.tell(Event::Phase { name: &format!("pushing to {name}"), total: Some(total) });
        let progress = &mut |progress: CopyProgress| self.tell(Event::Done(progress.bytes_done));
        let copied = match wanted {
            Wanted::Missing(objects) => copy_objects(own, remote, objects, progress),
            Wanted::All(objects) => copy_unasked(own, remote, objects, progress),
        };
        let copied = copied.map_err(|source| Error::Copy { to: name.into(), source })?;
        self.tell(Event::End);
        summary.objects += copied.objects;
        summary.bytes += copied.bytes;
        Ok(())
    }

    /// Tells whether a remote had a head of ours that isn't there any more, in a scope that we don't listen to any more. Its origin
    /// takes the head away when it has merged it, of which we don't learn: we would send it again at each push. That another remote
    /// has it is no reason not to send it: the origin may never look there, and who does may have built on it.
    fn is_let_go(&self, scope: &ScopeId, head: &Head, place: &PeerName) -> Result<bool, Error> {
        let row = self.scope_row(scope)?;
        let listens = self.follows(&row)? && !self.state.is_shut_out(scope)?;
        Ok(!listens && self.state.sent(place)?.get(&(*scope, self.id())).is_some_and(|(seq, _)| *seq >= head.seq))
    }

    /// Keeps the head of a writer of one of our scopes in our own store, so that a push brings it, the
    /// proof of what the writer wrote, wherever our own head goes.
    ///
    /// # Errors
    /// `Store`, `Copy`.
    pub(super) fn relay(&self, from: &dyn Store, name: &str, head: &Head, document: &[u8]) -> Result<(), Error> {
        let own = self.own_store()?;
        let objects: Vec<_> = head.objects().map(|object| (object.id, object.bytes)).collect();
        copy_objects(from, &own, &objects, &mut |_| {})
            .map_err(|source| Error::Copy { to: "this instance".into(), source })?;
        let there = own.head(&head.scope, &head.signer).map_err(Error::store(name))?;
        let expected = there.map(|bytes| document::hash_of(&bytes));
        own.swap_head(&head.scope, &head.signer, expected, &objects, document).map_err(Error::store("this instance"))
    }
}

/// Reads the cards in a store, and says which don't count and why.
///
/// # Errors
/// `Store`.
pub fn cards_in(store: &dyn Store, name: &str) -> Result<(Vec<SignedCard>, Vec<Refusal>), Error> {
    let (mut cards, mut refused) = (Vec::new(), Vec::new());
    for id in store.cards().map_err(Error::store(name))? {
        let Some(bytes) = store.card(&id).map_err(Error::store(name))? else { continue };
        let document = format!("card of {}", id.short());
        match SignedCard::open(&bytes) {
            Ok(card) if card.card.instance == id => cards.push(card),
            Ok(card) => {
                let reason = format!("it is the card of {}", card.card.instance.short());
                refused.push(Refusal::because(document, reason, HINT_CARD).damaged());
            }
            Err(error) => refused.push(Refusal::new(document, &error, HINT_CARD).damaged()),
        }
    }
    Ok((cards, refused))
}

/// Objects that a remote is to get.
#[derive(Clone, Copy)]
enum Wanted<'a> {
    /// Those of them that it lacks, which it is asked for.
    Missing(&'a [(ObjectId, u64)]),
    /// All of them.
    All(&'a [(ObjectId, u64)]),
}

/// Lists the objects that a head names and the one before it doesn't, if they are so small that to ask whether they are there would cost
/// as much as to send them.
fn few_more(before: &Head, after: &Head) -> Option<Vec<(ObjectId, u64)>> {
    let held: BTreeSet<ObjectId> = before.objects().map(|object| object.id).collect();
    let more: BTreeMap<ObjectId, u64> = after.objects().map(|object| (object.id, object.bytes)).collect();
    let more: Vec<_> = more.into_iter().filter(|(id, _)| !held.contains(id)).collect();
    (more.iter().map(|(_, bytes)| bytes).sum::<u64>() <= UNASKED_BYTES_MAX).then_some(more)
}

/// Forgives a store that doesn't take what we only carry for others.
fn relayed<T>(is_ours: bool, sent: Result<T, Error>) -> Result<Option<T>, Error> {
    match sent {
        Err(Error::Store { source, .. }) if !is_ours && matches!(*source, StoreError::Denied { .. }) => Ok(None),
        Err(Error::Copy { source: CopyError::Target { source, .. }, .. })
            if !is_ours && matches!(*source, StoreError::Denied { .. }) =>
        {
            Ok(None)
        }
        sent => sent.map(Some),
    }
}

/// What is sent without asking whether it is missing, at most.
const UNASKED_BYTES_MAX: u64 = 64 << 10;
const HINT_CARD: &str = "the instance puts it right with its next push";

fn raced(name: &str) -> impl FnOnce(StoreError) -> Error {
    let name = name.to_owned();
    move |error| match error {
        StoreError::Swapped { .. } => Error::Raced { remote: name },
        other => Error::store(name)(other),
    }
}
