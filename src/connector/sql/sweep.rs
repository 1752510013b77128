//! Rows that refer to each other and are all gone: each was refused because of another, and became a placeholder.
//!
//! A placeholder refers to nothing that it needn't, so that now one after the other can go. A crash before that leaves
//! placeholders, and the next run, which is given the same changes, deletes them.

use std::time::Instant;

use super::apply::{Apply, Done, Fail, Pending};
use super::pace::{HOLD, Pace};
use super::session::Transaction;

impl Apply<'_> {
    /// Deletes the placeholders that this run has made in circles and that nothing refers to any more.
    pub(super) fn sweep(&mut self) -> Result<(), Fail> {
        let mut pace = Pace::default();
        loop {
            let count = self.blanked.len();
            // Children are younger than what they refer to, mostly.
            let mut rest = std::mem::take(&mut self.blanked).into_iter().rev().peekable();
            let mut kept = Vec::new();
            while rest.peek().is_some() {
                let begin = Instant::now();
                let transaction = Transaction::begin(self.conn)?;
                self.verified.clear();
                while begin.elapsed() < HOLD
                    && let Some((dataset, id)) = rest.next()
                {
                    let removed = self.whole(|apply| apply.remove(dataset, &id))?;
                    // Its caches went stale when it was blanked, and were removed then.
                    self.pending = Pending::default();
                    match removed {
                        Ok(Done::Deleted) => {
                            *self.applied.deleted.entry(id.dataset.clone()).or_default() += 1;
                            if let Some(blanked) = self.applied.blanked.get_mut(&id.dataset) {
                                *blanked -= 1;
                            }
                        }
                        Ok(_) | Err(Fail::Dirty | Fail::Park { .. } | Fail::Refused(_)) => kept.push((dataset, id)),
                        Err(fail) => return Err(fail),
                    }
                }
                transaction.commit()?;
                pace.ended(begin, true);
            }
            if kept.len() == count {
                return Ok(());
            }
            kept.reverse();
            self.blanked = kept;
        }
    }
}
