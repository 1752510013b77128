//! Receipts: what our application shows of each scope, told to its other readers; and what theirs tell us.
//!
//! Written at a push, and only if something in them changed. Those of known peers are read at a fetch. They also
//! carry heads and proofs of forks, which count by the signatures of those whom they are about, not by
//! the word of who hands them on.

use super::error::Error;
use super::fetch::FetchSummary;
use super::instance::Instance;
use super::push::PushSummary;
use super::refusal::{HINT_DAMAGED, HINT_FORK, Refusal};
use super::scopes::OpenScope;
use super::view::View;
use crate::changeset::seal::{self, Padding, seal};
use crate::exchange::head::Head;
use crate::exchange::head::verdict::{Known, Verdict, verdict};
use crate::exchange::receipt::fork::{Fork, ForkKind};
use crate::exchange::receipt::{
    Applied, FORKS_MAX, HEADS_MAX, PART_BYTES_MAX, Receipt, STATEMENT_BYTES_MAX, Statement,
};
use crate::exchange::store::{Store, StoreError};
use crate::history::commit::Commit;
use crate::id::bytes::{DocHash, InstanceId, ScopeId};
use crate::keys::document::{self, Unverified};
use crate::state::database;
use crate::state::receipts::{ForkRow, ReceiptRow, SeenHead};
use crate::sys::clock;

/// The most bytes of documents in one statement; the rest has room in what is left.
const DOCUMENTS_BYTES_MAX: usize = STATEMENT_BYTES_MAX - HEADS_MAX * 128 - 1024;

impl Instance {
    /// Writes our receipts into our own store, of each scope in which something changed.
    ///
    /// # Errors
    /// The application's database, the state or our own store can't be read or written.
    pub(super) fn write_receipts(&self, own: &dyn Store) -> Result<(), Error> {
        let view = self.with_database(|database| Ok(database.position()?.applied))?;
        let view = View::decode(&view).map_err(Error::Bookkeeping)?;
        // Who has not forgotten yet doesn't confirm.
        let forgets = self.state.sweep_due()?;
        for row in self.state.scopes()? {
            if !self.follows(&row)? || forgets && row.origin != self.id() {
                continue;
            }
            let Some(scope) = self.open_scope(row)? else { continue };
            let last = self.state.receipt(&scope.row.id, &self.id())?;
            let statement = self.statement(&scope, &view)?;
            if last.is_none() && statement == Statement::default() {
                continue;
            }
            let statement = statement.encode();
            let receipt = match last {
                Some(last) if last.statement == statement => last,
                last => self.sign_receipt(&scope, last.map_or(0, |last| last.seq) + 1, statement)?,
            };
            let there = own.receipt(&scope.row.id, &self.id()).map_err(Error::store("this instance"))?;
            if there.as_ref() != Some(&receipt.document) {
                let there = there.map(|bytes| document::hash_of(&bytes));
                own.swap_receipt(&scope.row.id, &self.id(), there, &receipt.document)
                    .map_err(Error::store("this instance"))?;
            }
        }
        Ok(())
    }

    /// Says what our application shows of a scope, and what we know of its signers.
    fn statement(&self, scope: &OpenScope, view: &View) -> Result<Statement, Error> {
        let id = &scope.row.id;
        let shown = view.commits.get(id).map(|commit| self.state.known_commit(id, commit)).transpose()?;
        let mut statement = Statement::default();
        let mut room = DOCUMENTS_BYTES_MAX;
        let mut fits = |documents: &[&Vec<u8>]| {
            let bytes: usize = documents.iter().map(|document| document.len() + 8).sum();
            let fits = documents.iter().all(|document| document.len() <= PART_BYTES_MAX) && bytes <= room;
            room -= if fits { bytes } else { 0 };
            fits
        };
        for fork in self.state.forks(id)? {
            if statement.forks.len() < FORKS_MAX && fits(&[&fork.ours, &fork.theirs]) {
                statement.forks.push([fork.ours, fork.theirs]);
            }
        }
        for head in self.state.heads(id)?.into_iter().filter(|head| head.signer != self.id()).take(HEADS_MAX) {
            let commit = self.state.known_commit(id, &head.commit)?.commit;
            let shows = shown.as_ref().filter(|shown| shown.commit.clock.contains(&commit.clock));
            // Who edited a record that the origin took out still shows it.
            let keeps = match shows {
                Some(shown) if head.signer == scope.row.origin => self.keeps_more(scope, &shown.commit, &commit)?,
                _ => false,
            };
            if shows.is_some() && !keeps {
                let (signer, incarnation, seq, hash) = (head.signer, head.incarnation, head.seq, head.hash);
                statement.applied.push(Applied { signer, incarnation, seq, hash });
            }
            if fits(&[&head.document]) {
                statement.heads.push(head.document);
            }
        }
        Ok(statement)
    }

    /// Tells whether a commit has records that another lacks.
    fn keeps_more(&self, scope: &OpenScope, shown: &Commit, head: &Commit) -> Result<bool, Error> {
        let mut keeps = false;
        if self.holds_trees(shown)? && self.holds_trees(head)? {
            self.each_difference(scope, Some(shown), head, &mut |_, _, bytes| {
                keeps |= bytes.is_none();
                Ok(())
            })?;
        }
        Ok(keeps)
    }

    fn sign_receipt(&self, scope: &OpenScope, seq: u64, statement: Vec<u8>) -> Result<ReceiptRow, Error> {
        let newest = scope.manifest.newest_epoch();
        let (epoch, body) = if scope.manifest.public {
            (None, statement.clone())
        } else {
            let sealed = seal(&statement, &newest.recipient, Padding::Padme);
            (Some(newest.number), sealed.map_err(Error::io("seal", "a receipt"))?.bytes)
        };
        let (incarnation, time) = (self.card.card.incarnation, clock::now());
        let receipt = Receipt { scope: scope.row.id, signer: self.id(), incarnation, seq, time, epoch, body };
        let document = receipt.sign(&self.identity);
        let hash = document::hash_of(&document);
        let row =
            ReceiptRow { scope: scope.row.id, signer: self.id(), incarnation, seq, time, hash, document, statement };
        self.state.put_receipt(&row)?;
        Ok(row)
    }

    /// Tells whether our receipt of a scope hands on what proves a writer's head: that head, or a later one of
    /// the same signer.
    pub(super) fn is_proved_by_receipt(&self, head: &Head) -> Result<bool, Error> {
        let Some(row) = self.state.receipt(&head.scope, &self.id())? else { return Ok(false) };
        let proves = |document: &Vec<u8>| {
            Head::open(document, &head.signer).is_ok_and(|(handed_on, _)| {
                handed_on.incarnation == head.incarnation
                    && handed_on.seq >= head.seq
                    && handed_on.writes >= head.writes
            })
        };
        Ok(decode_held(&row)?.heads.iter().any(proves))
    }

    /// Sends the receipts in our own store to a remote, of the scopes that it carries: ours, and those of others whom we carry for,
    /// where theirs are newer. So a sender learns what arrived also where its receiver never comes.
    ///
    /// # Errors
    /// `Store`; a store that takes none from us is left alone.
    pub(super) fn send_receipts(
        &self,
        own: &dyn Store,
        remote: &dyn Store,
        name: &str,
        summary: &mut PushSummary,
    ) -> Result<(), Error> {
        for scope in remote.scopes().map_err(Error::store(name))? {
            for reader in own.receipts(&scope).map_err(Error::store("this instance"))? {
                let ours = own.receipt(&scope, &reader).map_err(Error::store("this instance"))?;
                let Some(bytes) = ours else { continue };
                let there = remote.receipt(&scope, &reader).map_err(Error::store(name))?;
                let is_ours = reader == self.id();
                if there.as_ref() == Some(&bytes) || !is_ours && !is_newer(&bytes, there.as_deref(), &reader) {
                    continue;
                }
                let there = there.map(|bytes| document::hash_of(&bytes));
                match remote.swap_receipt(&scope, &reader, there, &bytes) {
                    Ok(()) => summary.receipts += 1,
                    Err(StoreError::Denied { .. }) => {}
                    // Its reader, or another carrier, was there at the same moment.
                    Err(StoreError::Swapped { .. }) if !is_ours => {}
                    Err(error) => return Err(Error::store(name)(error)),
                }
            }
        }
        Ok(())
    }

    /// Reads the receipts that known peers left of a scope.
    ///
    /// # Errors
    /// The remote can't be read, or the state can't be written. What single receipts do wrong is in the summary.
    pub(super) fn fetch_receipts(
        &self,
        store: &dyn Store,
        remote: &str,
        scope: &OpenScope,
        summary: &mut FetchSummary,
    ) -> Result<(), Error> {
        let id = &scope.row.id;
        let readers = scope.manifest.readers();
        for reader in store.receipts(id).map_err(Error::store(remote))? {
            let may_read = scope.manifest.public || readers.contains(&reader);
            if reader == self.id() || !may_read || self.state.peer(&reader)?.is_none() {
                continue;
            }
            let document = format!("receipt of {} in {}", self.instance_label(&reader)?, scope.label(self)?);
            let bytes = match store.receipt(id, &reader) {
                Ok(Some(bytes)) => bytes,
                Ok(None) => continue,
                Err(error) => {
                    self.refuse_unless_gone(error, document, remote, summary)?;
                    continue;
                }
            };
            let held = self.state.receipt(id, &reader)?;
            if held.as_ref().is_some_and(|held| held.document == bytes) {
                continue;
            }
            let transaction = self.state.transaction()?;
            match self.open_receipt(scope, &reader, bytes) {
                Ok(None) => {}
                Ok(Some(row))
                    if held.is_some_and(|held| (held.incarnation, held.seq) >= (row.incarnation, row.seq)) => {}
                Ok(Some(row)) => {
                    self.take_receipt(scope, &row, &document, summary)?;
                    self.state.put_receipt(&row)?;
                }
                Err(error) => summary.refused.push(Refusal { document, ..error }),
            }
            database::commit(transaction)?;
        }
        Ok(())
    }

    /// Verifies and opens a receipt; the refusal lacks its document's name. `None` if it was sealed to a key that its
    /// scope has let go since: its reader seals the next one anew.
    pub(super) fn open_receipt(
        &self,
        scope: &OpenScope,
        reader: &InstanceId,
        document: Vec<u8>,
    ) -> Result<Option<ReceiptRow>, Refusal> {
        let broken = |error: &dyn std::error::Error| Refusal::new("", error, HINT_DAMAGED).damaged();
        let (receipt, hash) = Receipt::open(&document, reader).map_err(|error| broken(&error))?;
        if receipt.scope != scope.row.id {
            let other = self.scope_called(&receipt.scope).unwrap_or_else(|_| "another scope".into());
            return Err(Refusal::because("", format!("it is a receipt of {other}"), HINT_DAMAGED));
        }
        let statement = match receipt.epoch {
            None if scope.manifest.public => receipt.body,
            None => return Err(Refusal::because("", "it is in clear, in a scope that is not public", HINT_DAMAGED)),
            Some(epoch) if scope.manifest.epochs.first().is_some_and(|oldest| epoch < oldest.number) => {
                return Ok(None);
            }
            Some(epoch) => {
                let key = scope.keys.epochs.get(&epoch);
                let key =
                    key.ok_or_else(|| Refusal::because("", format!("we have no key of epoch {epoch}"), HINT_DAMAGED))?;
                seal::open(&seal::id_of(&receipt.body), &receipt.body, key).map_err(|error| broken(&error))?
            }
        };
        Statement::decode(&statement).map_err(|error| broken(&error))?;
        let Receipt { scope, signer, incarnation, seq, time, .. } = receipt;
        Ok(Some(ReceiptRow { scope, signer, incarnation, seq, time, hash, document, statement }))
    }

    /// Takes what a receipt hands on: heads of others, and proofs of forks.
    fn take_receipt(
        &self,
        scope: &OpenScope,
        row: &ReceiptRow,
        document: &str,
        summary: &mut FetchSummary,
    ) -> Result<(), Error> {
        let id = &scope.row.id;
        let statement = decode_held(row)?;
        // What we signed ourselves we know best; whether a copy of us is at work shows in the heads themselves.
        let concerns = |fork: &Fork| fork.scope == *id && fork.signer != self.id() && signs(scope, &fork.signer);
        for [one, other] in &statement.forks {
            let Some(fork) = Fork::check([one, other]).filter(concerns) else { continue };
            if self.keep_proof(fork.kind, (id, &fork.signer), one, other)? {
                summary.refused.push(self.forked(scope, &fork)?);
            }
        }
        for bytes in &statement.heads {
            let Ok(signer) = Unverified::parse(bytes).and_then(|document| document.claimed_signer()) else { continue };
            let Ok((head, hash)) = Head::open(bytes, &signer) else { continue };
            let has_its_form = head.base.is_none() == (signer == scope.row.origin);
            if head.scope != *id || signer == self.id() || !signs(scope, &signer) || !has_its_form {
                continue;
            }
            match self.fork_with_seen(id, &head, &hash, bytes)? {
                Some((fork, true)) => summary.refused.push(self.forked(scope, &fork)?),
                Some((_, false)) => {}
                None => self.state.put_seen(&head, &hash, bytes)?,
            }
        }
        for applied in &statement.applied {
            let seen = self.state.seen(id, &applied.signer)?;
            let same = seen.iter().find(|seen| (seen.incarnation, seen.seq) == (applied.incarnation, applied.seq));
            if same.is_some_and(|same| same.hash != applied.hash) && !self.state.is_forked(id, &applied.signer)? {
                let signer = self.instance_label(&applied.signer)?;
                let reason = format!("it names another head {} of {signer} than the one that we hold", applied.seq);
                summary.refused.push(Refusal::because(document, reason, HINT_DISPUTED));
            }
        }
        Ok(())
    }

    /// Compares a head with every one of the same signer that we have seen, also long ago: one of them may prove that there are two
    /// histories, however far the newest have gone apart. Keeps the proof, and tells whether it is new.
    ///
    /// # Errors
    /// `State`.
    pub(super) fn fork_with_seen(
        &self,
        scope: &ScopeId,
        head: &Head,
        hash: &DocHash,
        bytes: &[u8],
    ) -> Result<Option<(Fork, bool)>, Error> {
        let signer = &head.signer;
        for seen in self.state.seen(scope, signer)? {
            if !contradicts(&seen, head, &Known::of(head, *hash)) {
                continue;
            }
            if let Some(fork) = Fork::check([&seen.document, bytes]) {
                let is_new = self.keep_proof(fork.kind, (scope, signer), &seen.document, bytes)?;
                return Ok(Some((fork, is_new)));
            }
        }
        Ok(None)
    }

    /// Keeps a proof that was checked. Tells whether it is new.
    ///
    /// # Errors
    /// `State`.
    pub(super) fn keep_proof(
        &self,
        kind: ForkKind,
        (scope, signer): (&ScopeId, &InstanceId),
        ours: &[u8],
        theirs: &[u8],
    ) -> Result<bool, Error> {
        let (ours, theirs) = (ours.to_vec(), theirs.to_vec());
        Ok(self.state.put_proof(&ForkRow { scope: *scope, signer: *signer, kind, ours, theirs, seen: clock::now() })?)
    }

    pub(super) fn forked(&self, scope: &OpenScope, fork: &Fork) -> Result<Refusal, Error> {
        let what = match fork.kind {
            ForkKind::Heads => "heads",
            ForkKind::Manifests => "manifests",
        };
        let document = format!("{what} of {} in {}", self.instance_label(&fork.signer)?, scope.label(self)?);
        let reason = format!("their signer has published two histories ({} and {} differ)", fork.seqs[0], fork.seqs[1]);
        Ok(Refusal::because(document, reason, HINT_FORK))
    }
}

/// Tells whether an instance signs, or has signed, heads or manifests of a scope.
fn signs(scope: &OpenScope, signer: &InstanceId) -> bool {
    scope.manifest.may_write(signer) || scope.manifest.former.binary_search(signer).is_ok()
}

/// Tells whether a receipt is of a later moment than the one that is there, if any is.
fn is_newer(bytes: &[u8], there: Option<&[u8]>, reader: &InstanceId) -> bool {
    let number =
        |bytes: &[u8]| Receipt::open(bytes, reader).ok().map(|(receipt, _)| (receipt.incarnation, receipt.seq));
    number(bytes).is_some_and(|ours| there.and_then(number).is_none_or(|theirs| theirs < ours))
}

/// Tells by their numbers alone whether two heads of one signer are worth a closer look.
fn contradicts(seen: &SeenHead, head: &Head, known: &Known) -> bool {
    let SeenHead { incarnation, seq, writes, hash, .. } = *seen;
    let forward = verdict(Some(&Known { incarnation, seq, hash, writes }), head, &known.hash) == Verdict::Forked;
    let next = incarnation == head.incarnation && seq == head.seq + 1;
    let taken_back = incarnation == head.incarnation && seq > head.seq && writes < head.writes;
    !seen.document.is_empty() && (forward || next || taken_back)
}

/// Decodes the statement of a receipt that was checked before it was kept.
pub(super) fn decode_held(row: &ReceiptRow) -> Result<Statement, Error> {
    let damaged = |error| crate::state::error::Error::damaged(format!("a receipt: {error}"));
    Ok(Statement::decode(&row.statement).map_err(damaged)?)
}

const HINT_DISPUTED: &str =
    "one of them has been shown another history; compare the heads with `wbsync scope show`, and ask the signer";
