//! Rows that refer to each other and are all gone: each was refused because of another, and became a placeholder.
//!
//! A placeholder refers to nothing that it needn't, so that now one after the other can go. A crash before that leaves
//! placeholders, and the next run, which is given the same changes, deletes them.

use std::time::Instant;

use super::apply::{Apply, Done, Fail, Pending};
use super::pace::{LEAST, Pace};
use super::session::Transaction;
use crate::record::recordid::RecordId;

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
                let room = pace.room(LEAST);
                let transaction = Transaction::begin(self.conn)?;
                let begin = Instant::now();
                self.verified.clear();
                while begin.elapsed() < room
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
                pace.ended(begin);
            }
            if kept.len() == count {
                return self.sweep_at_once(&kept);
            }
            kept.reverse();
            self.blanked = kept;
        }
    }

    /// Deletes what is left, whose references can't be emptied, where the database checks foreign keys late and nothing else
    /// refers to it.
    fn sweep_at_once(&mut self, kept: &[(usize, RecordId)]) -> Result<(), Fail> {
        if kept.len() < 2 || !self.conn.checks_deferred() {
            return Ok(());
        }
        let transaction = Transaction::begin(self.conn)?;
        let swept = self.whole(|apply| {
            apply.conn.defer()?;
            for (dataset, id) in kept {
                let Some(entry) = apply.books.find(apply.conn, *dataset, id)? else { continue };
                if !entry.is_stub() {
                    return Err(Fail::Dirty);
                }
                apply.delete_all(*dataset, std::slice::from_ref(&entry.key))?;
                apply.books.remove(apply.conn, *dataset, &entry)?;
            }
            Ok::<(), Fail>(apply.conn.check_deferred()?)
        })?;
        match swept {
            Ok(()) => {
                for (_, id) in kept {
                    *self.applied.deleted.entry(id.dataset.clone()).or_default() += 1;
                    if let Some(blanked) = self.applied.blanked.get_mut(&id.dataset) {
                        *blanked -= 1;
                    }
                }
            }
            Err(fail @ (Fail::Sql(_) | Fail::Books(_) | Fail::Source(_))) => return Err(fail),
            Err(_) => {}
        }
        Ok(transaction.commit()?)
    }
}
