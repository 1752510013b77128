//! Rounds: what commands do with several remotes, and merge and apply as one step.
//!
//! What goes wrong with one remote is collected and the others are still served. Only a remote that shows
//! that this instance lost its own history ends a round at once: going on could fork it.

use std::collections::BTreeMap;

use super::apply::ApplySummary;
use super::commit::{CommitSummary, Mode};
use super::error::Error;
use super::fetch::FetchSummary;
use super::instance::Instance;
use super::merge::ScopeMerge;
use super::push::{PushPreview, PushSummary};
use crate::id::name::PeerName;

/// What was done with each remote, and what could not be.
#[derive(Debug, serde::Serialize)]
pub struct Each<T> {
    /// What was done, by remote.
    pub remotes: BTreeMap<String, T>,
    /// Remotes that failed, in the order tried.
    #[serde(skip)]
    pub failed: Vec<(PeerName, Error)>,
    /// Peers whose own stores were not there, though others were.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub away: Vec<String>,
}

/// What a merge did, in the local heads and in the application's rows.
#[derive(Debug, Default, serde::Serialize)]
pub struct MergeSummary {
    /// The scopes whose local head moved, by label.
    pub merged: BTreeMap<String, ScopeMerge>,
    /// What was written into the application's rows.
    pub applied: ApplySummary,
    /// Fields that hold more than one concurrent value now, as `scope dataset/record.field`.
    pub conflicts: Vec<String>,
}

/// What a pull did.
#[derive(Debug, Default, serde::Serialize)]
pub struct PullSummary {
    /// What was captured first.
    pub committed: CommitSummary,
    /// What was fetched.
    pub fetched: Each<FetchSummary>,
    /// What was merged and written.
    #[serde(flatten)]
    pub merge: MergeSummary,
}

/// What a sync did.
#[derive(Debug, Default, serde::Serialize)]
pub struct SyncSummary {
    /// The first half.
    #[serde(flatten)]
    pub pull: PullSummary,
    /// The second half; remotes that could not be fetched from are left out.
    pub pushed: Each<PushSummary>,
    /// What was pulled again because a push had lost a race to another writer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub again: Vec<PullSummary>,
}

impl<T> Default for Each<T> {
    fn default() -> Self {
        Self { remotes: BTreeMap::new(), failed: Vec::new(), away: Vec::new() }
    }
}

impl<T> Each<T> {
    pub(super) fn of(remotes: &[PeerName], mut work: impl FnMut(&PeerName) -> Result<T, Error>) -> Result<Self, Error> {
        let mut each = Self::default();
        for remote in remotes {
            each.add(remote, work(remote))?;
        }
        Ok(each)
    }

    /// Takes in what came of one remote.
    pub(super) fn add(&mut self, remote: &PeerName, result: Result<T, Error>) -> Result<(), Error> {
        match result {
            Ok(done) => {
                self.remotes.insert(remote.to_string(), done);
            }
            Err(error @ Error::LostHistory { .. }) => return Err(error),
            Err(error) => self.failed.push((remote.clone(), error)),
        }
        Ok(())
    }
}

impl Instance {
    /// Fetches from several remotes; in the mode `hybrid` also from peers, if one isn't there.
    ///
    /// # Errors
    /// `LostHistory`; everything else is in the result.
    pub fn fetch_each(&self, remotes: &[PeerName]) -> Result<Each<FetchSummary>, Error> {
        let mut each = Each::of(remotes, |remote| self.fetch(remote))?;
        self.fall_back(&mut each, |peer| self.fetch(peer))?;
        Ok(each)
    }

    /// Pushes to several remotes. Where another writer was first, what it wrote is fetched and merged, and the push made
    /// again; the application's rows stay.
    ///
    /// # Errors
    /// `LostHistory`; everything else is in the result.
    pub fn push_each(&self, remotes: &[PeerName]) -> Result<Each<PushSummary>, Error> {
        Each::of(remotes, |remote| self.push_until_through(remote, &mut || self.fetch(remote).map(drop)))
    }

    /// Says what pushes to several remotes would do.
    ///
    /// # Errors
    /// None; everything is in the result.
    pub fn push_previews(&self, remotes: &[PeerName]) -> Result<Each<PushPreview>, Error> {
        Each::of(remotes, |remote| self.push_preview(remote))
    }

    /// Merges what was fetched and writes it into the application's rows.
    ///
    /// A dry run changes neither: it merges in a transaction of the local state that is taken back, and
    /// counts the records that would be written.
    ///
    /// # Errors
    /// As `merge` and `apply`.
    pub fn merge_and_apply(&self, mode: Mode) -> Result<MergeSummary, Error> {
        match mode {
            Mode::Keep => {
                let merged = self.merge()?;
                let applied = self.apply(mode)?;
                self.sweep_if_due()?;
                Ok(MergeSummary { merged, applied, conflicts: self.open_conflicts()? })
            }
            Mode::DryRun => {
                self.settle_pending()?;
                let transaction = self.state.transaction()?;
                let preview = self.preview_merge();
                let rolled_back = transaction.rollback();
                // Nodes of the merge were cached and are gone from the database.
                self.state.forget_cache();
                rolled_back.map_err(crate::state::error::Error::query("take a dry run back"))?;
                preview
            }
        }
    }

    fn preview_merge(&self) -> Result<MergeSummary, Error> {
        let merged = self.merge_within()?;
        let applied = self.apply(Mode::DryRun)?;
        Ok(MergeSummary { merged, applied, conflicts: self.open_conflicts()? })
    }

    /// Commits, fetches, merges and applies.
    ///
    /// # Errors
    /// As its parts; remotes that failed are in the result, and what the others brought is merged.
    pub fn pull(&self, remotes: &[PeerName]) -> Result<PullSummary, Error> {
        let committed = self.commit(Mode::Keep)?;
        let fetched = self.fetch_each(remotes)?;
        let merge = self.merge_and_apply(Mode::Keep)?;
        Ok(PullSummary { committed, fetched, merge })
    }

    /// Pulls, then pushes to the remotes that could be fetched from; where another writer was first, once more. Stores of
    /// peers are not pushed to: what is for them is sealed in our own, where they come for it.
    ///
    /// # Errors
    /// As its parts; remotes that failed are in the result.
    pub fn sync(&self, remotes: &[PeerName]) -> Result<SyncSummary, Error> {
        let mut pull = self.pull(remotes)?;
        // What came may narrow what is ours: a comment under a request that was withdrawn goes in the same round.
        if pull.merge.applied.rows() > 0 {
            pull.committed.then(self.commit(Mode::Keep)?);
        }
        let mut reached: Vec<PeerName> =
            remotes.iter().filter(|remote| pull.fetched.remotes.contains_key(remote.as_str())).cloned().collect();
        let peers = self.peer_sources()?;
        reached.retain(|remote| !peers.contains(remote));
        let mut again = Vec::new();
        let pushed = Each::of(&reached, |remote| {
            self.push_until_through(remote, &mut || {
                let mut pull = self.pull(std::slice::from_ref(remote))?;
                let failed = pull.fetched.failed.pop();
                again.push(pull);
                failed.map_or(Ok(()), |(_, error)| Err(error))
            })
        })?;
        // Nobody is pushed to: what is new is sealed nevertheless, and waits, or is come for.
        if reached.is_empty() {
            self.publish()?;
        }
        Ok(SyncSummary { pull, pushed, again })
    }

    /// Lists fields with more than one concurrent value, as `scope dataset/record.field`.
    ///
    /// # Errors
    /// `State`.
    pub fn open_conflicts(&self) -> Result<Vec<String>, Error> {
        let conflicts = self.state.conflicts()?.into_iter().map(|open| {
            let label = self.scope_label(&self.scope_row(&open.scope)?)?;
            Ok(format!("{label} {}/{}.{}", open.dataset.base(), open.record, open.field))
        });
        conflicts.collect()
    }
}
