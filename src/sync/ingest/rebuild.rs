//! The trees of a head that was taken before, built again from its objects.

use super::{Building, Incoming, Stop, Writes};
use crate::exchange::store::Store;
use crate::state::database;
use crate::sync::error::Error;
use crate::sync::instance::Instance;
use crate::sync::prepare::{Prepared, needed};
use crate::sync::scopes::OpenScope;
use crate::sync::vouch::Vouchers;

impl Instance {
    /// Builds the trees of a head again that was taken before, from its snapshot on. Returns whether they are whole; what
    /// the store doesn't have, or has damaged, is no error.
    ///
    /// # Errors
    /// The store can't be read (any more), or the state can't be written.
    pub(in crate::sync) fn rebuild(
        &self,
        store: &dyn Store,
        remote: &str,
        scope: &OpenScope,
        incoming: &Incoming,
        writes: &Writes,
    ) -> Result<bool, Error> {
        let head = &incoming.head;
        let start = match &head.base {
            None => None,
            Some(base) => match self.state.commit(&scope.row.id, &base.commit)? {
                Some(known) if self.holds_trees(&known.commit)? => Some(known.commit),
                _ => return Ok(false),
            },
        };
        let segments = needed(head, None);
        let Ok(files) = self.download(store, remote, scope, &segments)? else { return Ok(false) };
        let prepared = Prepared { head, start, segments, files };
        let transaction = self.state.transaction()?;
        let mut building = Building::new(self, scope, &prepared, Vouchers::nobody(self, scope, writes));
        match building.run(&prepared, writes).and_then(|commit| building.keep_commits(commit)) {
            Ok(()) => database::commit(transaction)?,
            Err(Stop::Fail(error)) => {
                self.state.forget_cache();
                return Err(error);
            }
            Err(Stop::Refuse(_) | Stop::Hold(_)) => {
                drop(transaction);
                self.state.forget_cache();
                return Ok(false);
            }
        }
        self.remove_incoming(&prepared)?;
        Ok(true)
    }
}
