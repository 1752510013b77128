//! The floor of a scope's history: before it, our own trees are given up, and no delta begins there any more.
//!
//! Kept are the state as it was when the time to keep began and everything since, what a peer says that its
//! application shows (its next edit builds on that), the local head, and what is being merged or shown. A head whose deltas reach
//! below the floor is folded anew by the next publish.

use std::collections::{BTreeMap, BTreeSet};

use super::commit::Mode;
use super::error::Error;
use super::instance::Instance;
use super::tracked::open_own;
use crate::exchange::head::Head;
use crate::exchange::receipt::Statement;
use crate::history::commit::{Commit, Making};
use crate::id::bytes::{CommitId, InstanceId, ScopeId};
use crate::state::database;
use crate::state::peers::Trust;
use crate::state::scopes::ScopeRow;
use crate::sys::clock::UnixMillis;

/// How far a scope of ours goes back.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct HistoryPruned {
    /// The first of our heads whose trees are kept.
    pub from_head: u64,
    /// Our newest head.
    pub newest_head: u64,
    /// The peer that keeps more than was asked for from going: its application shows an old head.
    pub held_back_by: Option<String>,
    /// Every peer whose application shows a head before the one that was asked for, the oldest first.
    pub behind: Vec<Behind>,
    /// Whether the next publish makes a fresh snapshot, because the newest head's deltas reach further back.
    pub refolds: bool,
}

/// A peer that stands before the history that was to be kept.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Behind {
    /// What we call it.
    pub name: String,
    /// Our head that its application shows.
    pub head: u64,
    /// When it said so, by its own clock.
    pub told: UnixMillis,
    /// Whether it holds history back, or was left out of account.
    pub counts: bool,
}

/// Before what history is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Floor {
    /// The first head that stays.
    pub(super) seq: u64,
    /// When the time to keep began.
    pub(super) before: UnixMillis,
}

impl Instance {
    /// Gives up what is older than `before` in our own scopes. Returns what became of each, and how many tree nodes went.
    pub(super) fn prune_history(
        &self,
        before: UnixMillis,
        without: &BTreeSet<InstanceId>,
        mode: Mode,
    ) -> Result<(BTreeMap<String, HistoryPruned>, u64), Error> {
        let mut all = BTreeMap::new();
        // A dry run puts the floors where they would be, counts, and takes them back.
        let transaction = self.state.transaction()?;
        for row in self.state.scopes_of(&self.id())? {
            let Some(own) = self.state.head(&row.id, &self.id())? else { continue };
            let head = open_own(&own, self)?;
            let (seq, behind) = self.floor_for(&row, &head, before, without)?;
            let held_back_by = behind.iter().find(|peer| peer.counts).map(|peer| peer.name.clone());
            let last = self.floor(&row.id)?;
            let seq = seq.max(last.map_or(0, |last| last.seq));
            let before = last.map_or(before, |last| last.before.max(before));
            self.set_floor(&row.id, Floor { seq, before })?;
            let refolds = head.segments.iter().skip(1).any(|delta| delta.from_seq < seq);
            if refolds {
                self.state.mark_refold(&row.id)?;
            }
            let pruned = HistoryPruned { from_head: seq, newest_head: own.seq, held_back_by, behind, refolds };
            all.insert(self.scope_label(&row)?, pruned);
        }
        if mode == Mode::DryRun {
            let kept = self.needed_nodes()?.len() as u64;
            return Ok((all, self.state.node_count()?.saturating_sub(kept)));
        }
        database::commit(transaction)?;
        let swept = self.sweep()?;
        Ok((all, swept.removed))
    }

    /// Returns the newest head that history may begin with, and who stands before the one that was asked for.
    fn floor_for(
        &self,
        row: &ScopeRow,
        head: &Head,
        before: UnixMillis,
        without: &BTreeSet<InstanceId>,
    ) -> Result<(u64, Vec<Behind>), Error> {
        let (mut first, mut seq) = (None, None);
        for (number, commit) in self.state.published(&row.id, 0, head.seq)? {
            first.get_or_insert(number);
            let time = match self.state.commit(&row.id, &commit)? {
                Some(known) => self.time_of(&row.id, &known.commit)?,
                None => None,
            };
            // The state as it was when the time to keep began is the last one before.
            if time.is_some_and(|time| time >= before) {
                break;
            }
            seq = Some(number);
        }
        let (wanted, mut behind) = (seq.or(first).unwrap_or(head.seq), Vec::new());
        for receipt in self.state.receipts(&row.id)? {
            let peer = self.state.peer(&receipt.signer)?.filter(|peer| peer.trust != Trust::Revoked);
            let (Some(peer), Ok(statement)) = (peer, Statement::decode(&receipt.statement)) else { continue };
            for applied in statement.applied.iter().filter(|applied| applied.signer == self.id()) {
                if applied.incarnation == head.incarnation && applied.seq < wanted {
                    let (name, told) = (peer.name.to_string(), receipt.time);
                    behind.push(Behind { name, head: applied.seq, told, counts: !without.contains(&peer.id) });
                }
            }
        }
        behind.sort_by(|a, b| (a.head, &a.name).cmp(&(b.head, &b.name)));
        let oldest = behind.iter().find(|peer| peer.counts).map(|peer| peer.head);
        Ok((oldest.unwrap_or(wanted), behind))
    }

    /// Returns when the newest write of a commit was made, as far as we know it.
    fn time_of(&self, scope: &ScopeId, commit: &Commit) -> Result<Option<UnixMillis>, Error> {
        Ok(match &commit.making {
            Making::Capture { time, .. } => Some(*time),
            Making::Merge(dots) => {
                let mut newest = None;
                for dot in dots {
                    let known = self.state.commit(scope, &dot.id)?.map(|known| known.commit.making);
                    if let Some(Making::Capture { time, .. }) = known {
                        newest = newest.max(Some(time));
                    }
                }
                newest
            }
        })
    }

    /// Lists the commits of a scope of ours whose trees stay, beside `needed`.
    pub(super) fn commits_above_floor(
        &self,
        row: &ScopeRow,
        mut needed: BTreeSet<CommitId>,
    ) -> Result<Vec<Commit>, Error> {
        let all = self.state.commits(&row.id, usize::MAX)?;
        let Some(floor) = self.floor(&row.id)? else { return Ok(all) };
        needed.extend(row.local_head);
        for head in self.state.heads(&row.id)? {
            needed.insert(head.commit);
            let opened = Head::open(&head.document, &head.signer).ok();
            needed.extend(opened.and_then(|(head, _)| head.base).map(|base| base.commit));
        }
        let published = self.state.published(&row.id, floor.seq, i64::MAX.unsigned_abs())?;
        needed.extend(published.into_iter().map(|(_, commit)| commit));
        let mut kept = Vec::new();
        for commit in all {
            let is_young = || Ok::<_, Error>(self.time_of(&row.id, &commit)?.is_none_or(|time| time >= floor.before));
            if needed.contains(&commit.id(&row.id_key)) || is_young()? {
                kept.push(commit);
            }
        }
        Ok(kept)
    }

    /// Returns the floor of a scope of ours, if history was pruned there.
    pub(super) fn floor(&self, scope: &ScopeId) -> Result<Option<Floor>, Error> {
        let text = self.state.meta(&key(scope))?.unwrap_or_default();
        let parsed = text.split_once(' ').and_then(|(seq, before)| Some((seq.parse().ok()?, before.parse().ok()?)));
        Ok(parsed.map(|(seq, before)| Floor { seq, before: UnixMillis(before) }))
    }

    fn set_floor(&self, scope: &ScopeId, floor: Floor) -> Result<(), Error> {
        Ok(self.state.set_meta(&key(scope), &format!("{} {}", floor.seq, floor.before.0))?)
    }
}

fn key(scope: &ScopeId) -> String {
    format!("history-floor:{scope}")
}
