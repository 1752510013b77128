//! Heads that wait for others: which of them bring something that isn't here in another way, and what is said of those.

use super::error::Error;
use super::fetch::FetchSummary;
use super::ingest::Incoming;
use super::instance::Instance;
use super::scopes::OpenScope;
use crate::exchange::head::Head;
use crate::record::clock::Clock;

/// Why a head waits.
#[derive(Debug)]
pub struct Waits {
    /// What it lacks.
    pub why: String,
    /// What its commit has seen; `None` if that couldn't be read.
    pub seen: Option<Clock>,
}

impl Instance {
    /// Reports the heads that wait, but not those that say nothing which hasn't come in other heads already.
    ///
    /// # Errors
    /// `State`.
    pub(super) fn report_held(
        &self,
        scope: &OpenScope,
        waiting: &[Incoming],
        held: Vec<Waits>,
        summary: &mut FetchSummary,
    ) -> Result<(), Error> {
        let mut here = Clock::default();
        for tracked in self.state.heads(&scope.row.id)? {
            here = here.join(&self.state.known_commit(&scope.row.id, &tracked.commit)?.commit.clock);
        }
        for (waiting, waits) in waiting.iter().zip(held) {
            if !says_nothing_new(&here, &waiting.head, waits.seen.as_ref()) {
                summary.held.push(waits.why);
            }
        }
        Ok(())
    }

    /// Tells whether the head that we hold of the origin contains all that a writer's head stands for.
    ///
    /// # Errors
    /// `State`.
    pub(super) fn is_merged_by_origin(
        &self,
        scope: &OpenScope,
        head: &Head,
        seen: Option<&Clock>,
    ) -> Result<bool, Error> {
        let Some(origin) = self.state.head(&scope.row.id, &scope.row.origin)? else { return Ok(false) };
        let merged = self.state.known_commit(&scope.row.id, &origin.commit)?.commit.clock;
        Ok(says_nothing_new(&merged, head, seen))
    }

    /// Tells whether a state contains all that a head's signer wrote itself. A head says only how much that is in the signer's present
    /// incarnation, and what it wrote before a restore only its commit tells: of one that we don't hold nothing is believed then.
    ///
    /// # Errors
    /// `State`.
    pub(super) fn has_all_of(&self, merged: &Clock, head: &Head) -> Result<bool, Error> {
        Ok(match self.state.commit(&head.scope, &head.commit)? {
            Some(known) => merged.contains_of(&head.signer, &known.commit.clock),
            None => head.writes > 0 && merged.seen(&head.signer, head.incarnation) >= head.writes,
        })
    }
}

/// Tells whether a state has seen all that a head has. A head whose commit can't be read tells of the writes of its signer's
/// present incarnation alone: of one that only merged, or was restored since it wrote, that is nothing at all.
fn says_nothing_new(here: &Clock, head: &Head, seen: Option<&Clock>) -> bool {
    match seen {
        Some(seen) => here.contains(seen),
        None => here.seen(&head.signer, head.incarnation) >= head.writes,
    }
}
