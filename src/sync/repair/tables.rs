//! Tables of the state: lost ones are made again, and those that aren't what was written are taken as they are, if they can be read.

use super::Repaired;
use crate::exchange::head::Head;
use crate::exchange::receipt::Receipt;
use crate::exchange::receipt::fork::Fork;
use crate::keys::document::hash_of;
use crate::state::census::Miscount;
use crate::state::receipts::ReceiptRow;
use crate::state::scopes::ScopeRow;
use crate::sync::error::Error;
use crate::sync::fsck::state::ESSENTIAL;
use crate::sync::instance::Instance;
use crate::sync::receipts::decode_held;

impl Instance {
    /// Makes lost tables again, if what they held can come back or isn't needed, and settles what others hold. Returns whether the
    /// state can be used: nothing is signed by one that forgot what it signed.
    pub(super) fn mend_tables(&self, repaired: &mut Repaired) -> Result<bool, Error> {
        let is_essential = |table: &str| ESSENTIAL.contains(&table);
        let missing = self.state.missing_tables()?;
        if missing.iter().any(|table| is_essential(table)) || !self.state.faults()?.is_empty() {
            return Ok(false);
        }
        if !missing.is_empty() {
            self.state.make_missing_tables()?;
            for table in missing {
                let lost = what_was_in(&table);
                repaired.done.push(format!("made the table {table} of the state again, empty: {lost}"));
            }
        }
        let miscounts = self.state.miscounts()?;
        if miscounts.iter().any(|miscount| is_essential(miscount.table) && miscount.written.is_some()) {
            return Ok(false);
        }
        for Miscount { table, written, .. } in miscounts {
            if written.is_none() {
                self.state.recount(table)?;
                repaired.done.push(format!("counted the table {table} of the state anew"));
                continue;
            }
            self.state.drop_strays(table)?;
            let verb = match self.reads_well(table) {
                true => "took as it is",
                false => {
                    self.state.empty(table)?;
                    "emptied"
                }
            };
            self.state.recount(table)?;
            repaired.done.push(format!("{verb} the table {table} of the state: {}", what_was_in(table)));
        }
        Ok(true)
    }

    /// Tells whether all that a table says can be read, and what is signed verifies.
    fn reads_well(&self, table: &str) -> bool {
        let scopes = self.state.scopes().unwrap_or_default();
        match table {
            // Half a commit is worse than none: its changes are still in the rows.
            "pending" => false,
            "follow" => self.state.follows().is_ok(),
            "remote" => self.state.remotes().is_ok(),
            "shun" => self.state.shunned().is_ok(),
            "pruned" => self.state.pruned().is_ok(),
            "bygone" => self.state.bygone().is_ok(),
            "conflict" => self.state.conflicts().is_ok(),
            "late" => self.state.late().is_ok(),
            "withdrawn" => scopes.iter().all(|row| self.state.withdrawals(&row.id).is_ok()),
            "fork" => scopes.iter().all(|row| {
                let forks = self.state.forks(&row.id);
                forks.is_ok_and(|forks| forks.iter().all(|fork| Fork::check([&fork.ours, &fork.theirs]).is_some()))
            }),
            "receipt" => scopes.iter().all(|row| {
                let receipts = self.state.receipts(&row.id);
                receipts.is_ok_and(|receipts| receipts.iter().all(|receipt| self.is_what_it_says(row, receipt)))
            }),
            "seen" => scopes.iter().all(|row| {
                let heads = self.state.heads(&row.id).unwrap_or_default();
                heads.iter().all(|head| {
                    let seen = self.state.seen(&row.id, &head.signer);
                    seen.is_ok_and(|seen| {
                        seen.iter().filter(|seen| !seen.document.is_empty()).all(|seen| {
                            let opened = Head::open(&seen.document, &head.signer);
                            hash_of(&seen.document) == seen.hash
                                && opened.is_ok_and(|(opened, _)| {
                                    (opened.incarnation, opened.seq, opened.writes)
                                        == (seen.incarnation, seen.seq, seen.writes)
                                })
                        })
                    })
                })
            }),
            _ => true,
        }
    }

    /// Tells whether a receipt's row says what the document says, as far as we can open it.
    fn is_what_it_says(&self, row: &ScopeRow, receipt: &ReceiptRow) -> bool {
        let opened = Receipt::open(&receipt.document, &receipt.signer);
        let is_it = opened.is_ok_and(|(opened, hash)| {
            (opened.scope, opened.incarnation, opened.seq, opened.time, hash)
                == (row.id, receipt.incarnation, receipt.seq, receipt.time, receipt.hash)
        });
        let scope = self.open_scope(row.clone()).ok().flatten();
        let states = scope.and_then(|scope| {
            self.open_receipt(&scope, &receipt.signer, receipt.document.clone()).ok().flatten().map(|it| it.statement)
        });
        is_it && decode_held(receipt).is_ok() && states.is_none_or(|states| states == receipt.statement)
    }
}

/// Says what becomes of what a lost table held.
fn what_was_in(table: &str) -> &'static str {
    match table {
        "node" | "commits" => "trees are built again from objects",
        "remote" => "look at `wbsync remote list`, and add what is lacking",
        "follow" => "look at `wbsync scope list`, and say again whom to follow",
        "shun" => "what was shunned comes back; shun it again",
        "fork" | "fork_settled" | "jump" | "seen" => "histories seen before are compared no more",
        "forgotten" | "bygone" | "retired" => "what was forgotten may be met again",
        "refold" | "refolded" | "sealed" | "spent" | "withdrawn" => {
            "objects that carry what was withdrawn may stay in remotes; `wbsync scope rotate --reseal` seals anew"
        }
        "receipt" | "noted" | "conflict" | "late" => "it fills again",
        "pruned" => "rows that were pruned may come back; prune again",
        "pending" => "a commit that a crash interrupted is captured again",
        "reseal" => "`wbsync scope rotate --reseal` seals anew what was to be",
        "census" => "every table is counted anew",
        _ => "what it held is lost",
    }
}
