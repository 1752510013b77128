//! What was withdrawn leaves history: fresh ladders, and the removal of what the old ones named.
//!
//! A withdrawal marks its scope in the transaction that commits it. The next publish makes a ladder that
//! shares no object with the heads before it, and only then is anything removed: at once from our own store, and
//! from each remote as soon as our new head is there. Notes in the local state outlive a crash at any point.

use std::collections::BTreeSet;

use super::commit::decode_record;
use super::error::Error;
use super::instance::Instance;
use super::push::PushSummary;
use super::scopes::OpenScope;
use super::tracked::open_own;
use crate::exchange::head::Head;
use crate::exchange::store::{Store, StoreError};
use crate::history::join::Known;
use crate::id::bytes::{DocHash, InstanceId, ObjectId, RecordKey, ScopeId};
use crate::id::name::{DatasetName, PeerName};
use crate::scope::manifest::Manifest;
use crate::state::heads::TrackedHead;
use crate::state::scopes::ScopeRow;
use crate::sys::clock::UnixMillis;

/// The key under which the local state notes that our own store holds what no head names any more.
pub(super) const OWN_STORE_KEY: &str = "own-store";

/// Whatever its garbage clock says: readers of an older head find a newer one.
const AT_ONCE: UnixMillis = UnixMillis(u64::MAX);

/// A head that may go: whose, its name, its objects.
type Retirable = (InstanceId, DocHash, Vec<ObjectId>);

impl Instance {
    /// Notes that a record left one of our scopes for fewer readers. If anything that travelled carries it, the
    /// next publish makes a fresh ladder. The caller holds a transaction of the state.
    ///
    /// # Errors
    /// A tree that can't be read.
    pub(super) fn note_withdrawal(
        &self,
        scope: &OpenScope,
        dataset: &DatasetName,
        key: &RecordKey,
    ) -> Result<(), Error> {
        let id = &scope.row.id;
        if !self.state.refold_due(id)? && self.has_travelled(scope, dataset, key)? {
            self.state.mark_refold(id)?;
        }
        Ok(())
    }

    /// Notes that the origin of a scope took records out of it: our state is to forget them, and so are our own
    /// objects, if we write in the scope. The caller holds a transaction of the state.
    ///
    /// # Errors
    /// `State`.
    pub(super) fn note_withdrawn_by_origin(&self, scope: &OpenScope) -> Result<(), Error> {
        if scope.row.origin == self.id() {
            return Ok(());
        }
        self.state.mark_sweep()?;
        self.spend_relayed(&scope.row)?;
        if self.state.head(&scope.row.id, &self.id())?.is_some() {
            self.state.mark_refold(&scope.row.id)?;
        }
        Ok(())
    }

    /// Tells whether a head lacks records, or fields of them, that we hold, be it in the head before it by the same signer or merged
    /// with words of others.
    ///
    /// # Errors
    /// A tree that can't be read.
    pub(super) fn leaves_out(&self, scope: &OpenScope, head: &Head) -> Result<bool, Error> {
        let id = &scope.row.id;
        let before = self.state.head(id, &head.signer)?.map(|before| before.commit);
        let after = self.state.known_commit(id, &head.commit)?.commit;
        let mut lacks = false;
        for held in before.into_iter().chain(self.scope_row(id)?.local_head) {
            let held = self.state.known_commit(id, &held)?;
            if !self.holds_trees(&held.commit)? {
                return Ok(true);
            }
            self.each_change(scope, Some(&held.commit), &after, &mut |dataset, key, change| {
                let Some(old) = change.left.as_deref().filter(|_| !lacks) else { return Ok(()) };
                let Some(new) = &change.right else {
                    lacks = true;
                    return Ok(());
                };
                let [old, new] = [old, new].map(|bytes| decode_record(bytes, &scope.row.origin, dataset, key));
                let (old, new) = (old?, new?);
                lacks = old.cells.keys().any(|field| !new.cells.contains_key(field));
                Ok(())
            })?;
        }
        Ok(lacks)
    }

    /// Tells whether a head of the origin lacks fields of records that we hold, although it has seen what is in them: words of a writer
    /// that came when the field was for fewer readers already, which no head of the origin ever held.
    ///
    /// # Errors
    /// A tree that can't be read.
    pub(super) fn takes_back(&self, scope: &OpenScope, head: &Head) -> Result<bool, Error> {
        let row = self.scope_row(&scope.row.id)?;
        let Some(local) = row.local_head.filter(|_| head.signer == row.origin && row.origin != self.id()) else {
            return Ok(false);
        };
        let local = self.state.known_commit(&row.id, &local)?;
        if !self.holds_trees(&local.commit)? {
            return Ok(false);
        }
        let after = self.state.known_commit(&row.id, &head.commit)?.commit;
        let mut is_taken = false;
        self.each_change(scope, Some(&local.commit), &after, &mut |dataset, key, change| {
            let (Some(old), Some(new), false) = (&change.left, &change.right, is_taken) else { return Ok(()) };
            let [old, new] = [old, new].map(|bytes| decode_record(bytes, &row.origin, dataset, key));
            let (old, new) = (old?, new?);
            is_taken = old.cells.iter().any(|(field, cell)| {
                !new.cells.contains_key(field)
                    && cell.elements().iter().all(|element| after.clock.covers(&element.stamp))
            });
            Ok(())
        })?;
        Ok(is_taken)
    }

    /// Tells whether an object that a head names may carry the record, whatever its content was then.
    fn has_travelled(&self, scope: &OpenScope, dataset: &DatasetName, key: &RecordKey) -> Result<bool, Error> {
        let id = &scope.row.id;
        let Some(own) = self.state.head(id, &self.id())? else { return Ok(false) };
        let ladder = open_own(&own, self)?.segments;
        let oldest =
            ladder.iter().take(2).map(|segment| if segment.from_seq == 0 { segment.to_seq } else { segment.from_seq });
        let published = self.state.published(id, oldest.min().unwrap_or(own.seq), own.seq)?;
        let of_writers = self.state.heads(id)?.into_iter().map(|head| head.commit);
        // The newest first: that is where a record is found which is shared now.
        let commits: Vec<_> = published.into_iter().rev().map(|(_, commit)| commit).chain(of_writers).collect();
        for commit in commits {
            let known: Known = self.state.known_commit(id, &commit)?;
            if !self.holds_trees(&known.commit)? || self.record_at(scope, &known, dataset, key)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Removes from our own store what no head in it names, if a fresh ladder left something.
    ///
    /// # Errors
    /// `Store`; a head there that can't be read.
    pub(super) fn sweep_own_store(&self, store: &dyn Store) -> Result<(), Error> {
        if self.state.meta(OWN_STORE_KEY)?.is_none_or(|mark| mark != "due") {
            return Ok(());
        }
        let failed = || Error::store("this instance");
        let mut named = BTreeSet::new();
        for scope in store.scopes().map_err(failed())? {
            named.extend(self.named_in(store, "this instance", &scope)?);
        }
        for object in store.objects().map_err(failed())? {
            if !named.contains(&object.id) {
                store.remove_object(&object.id, AT_ONCE).map_err(failed())?;
            }
        }
        Ok(self.state.set_meta(OWN_STORE_KEY, "clean")?)
    }

    /// Removes from a remote what our heads of a scope named before the last fresh ladder. Our newest head is
    /// there already. What a store doesn't let us remove is counted and tried again at the next push.
    ///
    /// # Errors
    /// `Store`.
    pub(super) fn clean_remote(
        &self,
        remote: &dyn Store,
        name: &PeerName,
        scope: &ScopeId,
        summary: &mut PushSummary,
    ) -> Result<(), Error> {
        let spent = self.state.spent(name, scope)?;
        if spent.is_empty() {
            return Ok(());
        }
        // What another head names since we looked stays.
        remote.renew().map_err(Error::store(name.as_str()))?;
        let named = self.named_in(remote, name.as_str(), scope)?;
        let (mut gone, mut removed_now) = (Vec::new(), 0);
        for object in spent {
            if named.contains(&object) {
                continue;
            }
            match remote.remove_object(&object, AT_ONCE) {
                Ok(removed) => {
                    removed_now += u64::from(removed);
                    gone.push(object);
                }
                Err(StoreError::Denied { .. } | StoreError::ReadOnly { .. }) => summary.unremoved += 1,
                Err(error) => return Err(Error::store(name.as_str())(error)),
            }
        }
        match remote.flush() {
            Ok(()) => {
                summary.removed += removed_now;
                Ok(self.state.forget_spent(name, scope, &gone)?)
            }
            Err(StoreError::Denied { .. } | StoreError::ReadOnly { .. }) => {
                summary.unremoved += gone.len() as u64;
                Ok(())
            }
            Err(error) => Err(Error::store(name.as_str())(error)),
        }
    }

    /// Tells whether the origin of a scope made its snapshot after a writer's last head there.
    pub(super) fn is_built_over(&self, scope: &OpenScope, last: Option<&TrackedHead>) -> Result<bool, Error> {
        let (Some(last), Some(origin)) = (last, self.state.head(&scope.row.id, &scope.row.origin)?) else {
            return Ok(false);
        };
        let damaged = |error| crate::state::error::Error::damaged(format!("a tracked head: {error}"));
        let (head, _) = Head::open(&origin.document, &origin.signer).map_err(damaged)?;
        let base = Head::open(&last.document, &last.signer).map_err(damaged)?.0.base;
        Ok(base.zip(head.segments.first()).is_some_and(|(base, snapshot)| base.seq < snapshot.to_seq))
    }

    /// Takes the heads of writers out of our own store that may carry what we withdrew.
    ///
    /// # Errors
    /// `Store`.
    pub(super) fn retire_in_own_store(&self, store: &dyn Store) -> Result<(), Error> {
        for row in self.state.scopes()? {
            for (signer, hash, _) in self.retirable(store, "this instance", &row)? {
                self.state.set_meta(OWN_STORE_KEY, "due")?;
                store.remove_head(&row.id, &signer, hash).map_err(Error::store("this instance"))?;
            }
        }
        Ok(())
    }

    /// Takes the heads of writers out of a remote that may carry what we withdrew, and notes their objects for
    /// removal. Our own head there contains what they stood for, and our receipt there proves it.
    ///
    /// # Errors
    /// `Store`.
    pub(super) fn retire_heads(
        &self,
        remote: &dyn Store,
        name: &PeerName,
        row: &ScopeRow,
        summary: &mut PushSummary,
    ) -> Result<(), Error> {
        for (signer, hash, objects) in self.retirable(remote, name.as_str(), row)? {
            self.state.put_spent(name, &row.id, objects)?;
            match remote.remove_head(&row.id, &signer, hash) {
                // A newer one came just now: that one is looked at next time.
                Ok(_) | Err(StoreError::Swapped { .. }) => {}
                Err(StoreError::Denied { .. } | StoreError::ReadOnly { .. }) => summary.unremoved += 1,
                Err(error) => return Err(Error::store(name.as_str())(error)),
            }
        }
        Ok(())
    }

    /// Counts what the heads of writers of our scope named, as far as we remember them, with what ours named: it is
    /// to go from every remote too, once no head there names it.
    ///
    /// # Errors
    /// `State`.
    pub(super) fn note_objects_of_writers(&self, row: &ScopeRow) -> Result<(), Error> {
        if row.origin != self.id() {
            return Ok(());
        }
        for writer in self.state.heads(&row.id)?.into_iter().filter(|head| head.signer != self.id()) {
            for seen in self.state.seen(&row.id, &writer.signer)? {
                if let Ok((head, _)) = Head::open(&seen.document, &writer.signer) {
                    self.state.put_sealed(&row.id, head.objects().map(|object| object.id))?;
                }
            }
        }
        Ok(())
    }

    /// Notes the objects of a head for removal that a newer one is about to replace in a remote: of a writer's that was built before
    /// our newest fresh ladder, and of one of ours from before it, which a remote may hold that was none of ours for a while.
    ///
    /// # Errors
    /// `State`.
    pub(super) fn note_replaced(&self, remote: &PeerName, head: &Head) -> Result<(), Error> {
        let is_ours = self.scope_row(&head.scope)?.origin == self.id();
        let refolded = self.state.refolded(&head.scope)?;
        let is_older = match head.signer == self.id() {
            true => head.seq < refolded,
            false => is_ours && head.base.is_some_and(|base| base.seq < refolded),
        };
        if is_older {
            self.state.put_spent(remote, &head.scope, head.objects().map(|object| object.id))?;
        }
        Ok(())
    }

    /// Lists the heads of others in a store that were built before our newest fresh ladder of an own scope, with their
    /// objects: those that our published head contains, and those that nobody takes, their signers being no writers
    /// any more.
    fn retirable(&self, store: &dyn Store, name: &str, row: &ScopeRow) -> Result<Vec<Retirable>, Error> {
        let refolded = self.state.refolded(&row.id)?;
        let own = self.state.head(&row.id, &self.id())?;
        let Some(own) = own.filter(|_| refolded > 0 && row.origin == self.id()) else { return Ok(Vec::new()) };
        let failed = |source| Error::Manifest { scope: row.name.to_string(), source };
        let (manifest, _) = Manifest::open(&row.manifest, &row.origin).map_err(failed)?;
        let published = self.state.known_commit(&row.id, &own.commit)?.commit.clock;
        let mut list = Vec::new();
        for signer in store.heads(&row.id).map_err(Error::store(name))? {
            let Some(bytes) = store.head(&row.id, &signer).map_err(Error::store(name))? else { continue };
            let Ok((head, hash)) = Head::open(&bytes, &signer) else { continue };
            let is_older = head.base.is_some_and(|base| base.seq < refolded) && !head.segments.is_empty();
            let is_contained = published.seen(&signer, head.incarnation) >= head.writes;
            let is_needless =
                if is_contained { self.is_proved_by_receipt(&head)? } else { !manifest.may_write(&signer) };
            if signer != self.id() && is_older && is_needless {
                list.push((signer, hash, head.objects().map(|object| object.id).collect()));
            }
        }
        Ok(list)
    }

    /// Lists every object that a head of a scope names in a store. A document that is no head names nothing.
    fn named_in(&self, store: &dyn Store, name: &str, scope: &ScopeId) -> Result<BTreeSet<ObjectId>, Error> {
        let mut named = BTreeSet::new();
        for signer in store.heads(scope).map_err(Error::store(name))? {
            let Some(bytes) = store.head(scope, &signer).map_err(Error::store(name))? else { continue };
            if let Ok((head, _)) = Head::open(&bytes, &signer) {
                named.extend(head.objects().map(|object| object.id));
            }
        }
        Ok(named)
    }
}
