//! Leaving: what we wrote in scopes of others doesn't outlive our part in them.
//!
//! Who follows a scope hears of what its origin withdraws, and takes it out of its own objects. Who doesn't follow it any more, may
//! not read or may not write it hears nothing, or can sign nothing: its head goes from its own store and from every remote.
//! It goes as soon as the origin is known to have merged it (an empty head takes its place then, which proves what it stood for), and at
//! the latest when the origin has made a fresh ladder since: that is how it takes something out. Until then it stays, for others may
//! have built on it.

use super::error::Error;
use super::instance::Instance;
use super::publish::carries_objects;
use super::push::PushSummary;
use super::refold::OWN_STORE_KEY;
use super::scopes::OpenScope;
use super::tracked::open_own;
use crate::exchange::head::{Base, Head};
use crate::exchange::store::{Store, StoreError};
use crate::id::bytes::ScopeId;
use crate::id::name::PeerName;
use crate::keys::document::hash_of;
use crate::state::database;
use crate::state::heads::TrackedHead;
use crate::state::peers::Trust;
use crate::state::scopes::ScopeRow;
use crate::sys::clock;
use crate::transport::dir::DirStore;

impl Instance {
    /// Tells whether we hear what happens in a scope: it is ours, or we follow it and its origin lets us read it.
    ///
    /// # Errors
    /// `State`.
    pub(super) fn takes_part(&self, row: &ScopeRow) -> Result<bool, Error> {
        if row.origin == self.id() {
            return Ok(true);
        }
        let is_revoked = self.state.peer(&row.origin)?.is_some_and(|peer| peer.trust == Trust::Revoked);
        Ok(!is_revoked && self.follows(row)? && !self.state.is_shut_out(&row.id)?)
    }

    /// Takes back what we wrote in a scope in which we take no part any more.
    ///
    /// # Errors
    /// The state or our own store can't be read or written.
    pub(super) fn leave(&self, store: &DirStore, row: ScopeRow) -> Result<(), Error> {
        let Some(last) = self.state.head(&row.id, &self.id())? else { return Ok(()) };
        let id = row.id;
        let own = open_own(&last, self)?;
        if own.segments.is_empty() || self.state.refold_due(&id)? || self.state.is_head_withdrawn(&id)? {
            return self.withdraw_own_head(store, &id);
        }
        let Some(origin) = self.state.head(&id, &row.origin)? else { return Ok(()) };
        let merged = self.state.known_commit(&id, &origin.commit)?;
        if !self.has_all_of(&merged.commit.clock, &own)? {
            return Ok(());
        }
        self.state.mark_refold(&id)?;
        let Some(scope) = self.open_scope(row)?.filter(|scope| scope.manifest.may_write(&self.id())) else {
            return self.withdraw_own_head(store, &id);
        };
        let incarnation = self.card.card.incarnation;
        let head = Head {
            scope: id,
            signer: self.id(),
            incarnation,
            seq: last.seq + 1,
            prev: Some(last.hash),
            commit: merged.id,
            writes: merged.commit.clock.seen(&self.id(), incarnation),
            manifest_seq: scope.manifest.seq,
            epoch: scope.manifest.newest_epoch().number,
            base: Some(Base { seq: origin.seq, commit: merged.id }),
            segments: Vec::new(),
            time: clock::now(),
        };
        self.keep_head(store, &scope, &head)
    }

    /// Takes back what we wrote in a scope that we read and may write no more, when its origin has made a fresh ladder since: the origin
    /// takes our head out of stores then, merged or not, and we would send it again for ever.
    ///
    /// # Errors
    /// The state or our own store can't be read or written.
    pub(super) fn stop_writing(&self, store: &DirStore, scope: &OpenScope) -> Result<(), Error> {
        let id = &scope.row.id;
        let last = self.state.head(id, &self.id())?;
        if carries_objects(last.as_ref(), self)?
            && !self.state.is_head_withdrawn(id)?
            && self.is_built_over(scope, last.as_ref())?
        {
            self.state.mark_refold(id)?;
        }
        self.withdraw_own_head(store, id)
    }

    /// Takes our own head out of our own store, and notes that it has to go from every remote with all that our heads named, if it
    /// may carry what was withdrawn and we sign no other.
    ///
    /// # Errors
    /// `Store`.
    pub(super) fn withdraw_own_head(&self, store: &dyn Store, scope: &ScopeId) -> Result<(), Error> {
        let due = self.state.refold_due(scope)?;
        let Some(head) = self.state.head(scope, &self.id())? else { return Ok(()) };
        let is_empty = open_own(&head, self)?.segments.is_empty();
        if due && !is_empty {
            self.state.note_head_withdrawn(scope)?;
        }
        // Also one that came back with an older store.
        if self.state.is_head_withdrawn(scope)?
            && let Some(bytes) = store.head(scope, &self.id()).map_err(Error::store("this instance"))?
        {
            self.state.set_meta(OWN_STORE_KEY, "due")?;
            store.remove_head(scope, &self.id(), hash_of(&bytes)).map_err(Error::store("this instance"))?;
        }
        let owes = due || is_empty && self.state.has_sealed(scope)?;
        if owes { self.spend_all_sealed(&head) } else { Ok(()) }
    }

    /// Notes that nothing which our heads of a scope ever named may stay anywhere, as no head of ours names any of it.
    ///
    /// # Errors
    /// `State`.
    pub(super) fn spend_all_sealed(&self, last: &TrackedHead) -> Result<(), Error> {
        let transaction = self.state.transaction()?;
        if self.state.has_sealed(&last.scope)? {
            self.state.spend_sealed(&last.scope, last.seq)?;
            self.state.set_meta(OWN_STORE_KEY, "due")?;
        }
        self.state.clear_refold(&last.scope)?;
        Ok(database::commit(transaction)?)
    }

    /// Looks whether the origin of a scope in which we take no part any more has made a fresh ladder since our last head there:
    /// that head may carry what was withdrawn then.
    ///
    /// # Errors
    /// The remote can't be read.
    pub(super) fn heed_fresh_ladder(&self, store: &dyn Store, remote: &str, scope: &ScopeId) -> Result<(), Error> {
        let Some(row) = self.state.scope(scope)? else { return Ok(()) };
        let Some(own) = self.state.head(scope, &self.id())? else { return Ok(()) };
        let own = open_own(&own, self)?;
        let Some(base) = own.base.filter(|_| !own.segments.is_empty()) else { return Ok(()) };
        if self.takes_part(&row)? || self.state.refold_due(scope)? || self.state.is_head_withdrawn(scope)? {
            return Ok(());
        }
        let bytes = match store.head(scope, &row.origin) {
            Ok(bytes) => bytes,
            Err(
                StoreError::TooLarge { .. }
                | StoreError::Irregular { .. }
                | StoreError::Damaged { .. }
                | StoreError::Denied { .. },
            ) => None,
            Err(error) => return Err(Error::store(remote)(error)),
        };
        let Some(Ok((theirs, _))) = bytes.map(|bytes| Head::open(&bytes, &row.origin)) else { return Ok(()) };
        let snapshot = theirs.segments.first().filter(|_| theirs.scope == *scope);
        if snapshot.is_some_and(|snapshot| base.seq < snapshot.to_seq) {
            self.state.mark_refold(scope)?;
        }
        Ok(())
    }

    /// Takes our own head of a scope out of a remote, if it names objects, and notes them for removal.
    ///
    /// # Errors
    /// `Store`.
    pub(super) fn take_out_own_head(
        &self,
        remote: &dyn Store,
        name: &PeerName,
        scope: &ScopeId,
        summary: &mut PushSummary,
    ) -> Result<(), Error> {
        let Some(bytes) = remote.head(scope, &self.id()).map_err(Error::store(name.as_str()))? else { return Ok(()) };
        let Ok((head, hash)) = Head::open(&bytes, &self.id()) else { return Ok(()) };
        if head.segments.is_empty() {
            return Ok(());
        }
        self.state.put_spent(name, scope, head.objects().map(|object| object.id))?;
        match remote.remove_head(scope, &self.id(), hash) {
            Ok(_) | Err(StoreError::Swapped { .. }) => Ok(()),
            Err(StoreError::Denied { .. } | StoreError::ReadOnly { .. }) => {
                summary.unremoved += 1;
                Ok(())
            }
            Err(error) => Err(Error::store(name.as_str())(error)),
        }
    }
}
