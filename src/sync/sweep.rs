//! Sweep: the local state forgets the trees that nothing needs any more.
//!
//! Runs after what was withdrawn has left the application's rows, and whenever somebody asks for room. Kept are
//! the trees of the local heads, of the views that the application's rows show, of heads that are not merged
//! yet, of the origin's head that the next delta applies to, and the history of our own scopes, back to the floor that
//! `prune` has set (`history.rs`): that is our own data, and the deltas of our next heads are made of it. Commits stay: they
//! hold no record.
//!
//! Invariant: of a tree either all nodes are here or its root isn't (`holds_trees`).

use std::collections::{BTreeSet, HashSet};
use std::fs;

use super::error::Error;
use super::instance::Instance;
use super::view::View;
use crate::history::commit::Commit;
use crate::id::bytes::{CommitId, NodeId};
use crate::state::scopes::ScopeRow;
use crate::tree::walk::walk;

/// What a sweep did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Swept {
    /// Tree nodes kept.
    pub kept: u64,
    /// Tree nodes removed.
    pub removed: u64,
    /// Whether the log of the database still holds older contents, because another process reads it.
    pub log_busy: bool,
}

impl Instance {
    /// Sweeps if something withdrawn came since the last sweep; otherwise reads one row.
    ///
    /// # Errors
    /// As `sweep`.
    pub(super) fn sweep_if_due(&self) -> Result<Option<Swept>, Error> {
        if self.state.sweep_due()? { self.sweep().map(Some) } else { Ok(None) }
    }

    /// Removes from the local state every tree node that nothing needs, and what was fetched and not used.
    ///
    /// Reads each kept inner node once: O(records held) at most. A crash leaves it as it was, to be done
    /// by the next sweep.
    ///
    /// # Errors
    /// A tree that can't be read; the application's database; the state.
    pub fn sweep(&self) -> Result<Swept, Error> {
        let kept = self.needed_nodes()?;
        let removed = self.state.keep_nodes(&kept)?;
        self.remove_fetched()?;
        let log_busy = !self.state.empty_log()?;
        if !log_busy {
            self.state.clear_sweep()?;
        }
        Ok(Swept { kept: kept.len() as u64, removed, log_busy })
    }

    /// Lists the tree nodes that something needs.
    ///
    /// # Errors
    /// As `sweep`.
    pub(super) fn needed_nodes(&self) -> Result<HashSet<NodeId>, Error> {
        let views = self.shown_views()?;
        let mut kept = HashSet::new();
        for row in self.state.scopes()? {
            let shown = views.iter().filter_map(|view| view.commits.get(&row.id).copied());
            for commit in self.needed_commits(&row, shown.collect())? {
                self.mark(&row, &commit, &mut kept)?;
            }
        }
        Ok(kept)
    }

    /// Returns the views that the application's rows show, or are on the way to.
    ///
    /// # Errors
    /// The application's database, the bookkeeping or the state can't be read.
    pub(super) fn shown_views(&self) -> Result<Vec<View>, Error> {
        let position = self.with_database(|database| Ok(database.position()?))?;
        let pending = self.state.pending()?;
        let views = [Some(position.applied), position.target]
            .into_iter()
            .chain(pending.map(|pending| [Some(pending.applied), pending.target]).into_iter().flatten());
        views.flatten().map(|bytes| View::decode(&bytes)).collect::<Result<_, _>>().map_err(Error::Bookkeeping)
    }

    /// Lists the commits of a scope whose trees are needed, beside those that the rows show.
    pub(super) fn needed_commits(&self, row: &ScopeRow, mut needed: BTreeSet<CommitId>) -> Result<Vec<Commit>, Error> {
        if row.origin == self.id() {
            return self.commits_above_floor(row, needed);
        }
        let local = row.local_head.map(|id| self.state.known_commit(&row.id, &id)).transpose()?;
        needed.extend(row.local_head);
        for head in self.state.heads(&row.id)? {
            let theirs = self.state.known_commit(&row.id, &head.commit)?;
            let merged = local.as_ref().is_some_and(|local| local.commit.clock.contains(&theirs.commit.clock));
            if head.signer == row.origin || !merged {
                needed.insert(head.commit);
            }
        }
        let known = needed.iter().map(|id| Ok(self.state.commit(&row.id, id)?.map(|known| known.commit)));
        Ok(known.collect::<Result<Vec<_>, Error>>()?.into_iter().flatten().collect())
    }

    fn mark(&self, row: &ScopeRow, commit: &Commit, kept: &mut HashSet<NodeId>) -> Result<(), Error> {
        if !self.holds_trees(commit)? {
            return Ok(());
        }
        for root in commit.datasets.values() {
            walk(&self.state, &row.id_key, root, |node, _| kept.insert(*node))
                .map_err(|source| Error::Tree { scope: row.name.to_string(), source })?;
        }
        Ok(())
    }

    fn remove_fetched(&self) -> Result<(), Error> {
        let dir = self.incoming_dir();
        let entries = match fs::read_dir(&dir) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(Error::io("list", &dir))?,
        };
        for entry in entries {
            let path = entry.map_err(Error::io("list", &dir))?.path();
            fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        }
        Ok(())
    }
}
