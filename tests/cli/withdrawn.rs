//! What is taken back: who has confirmed it, what came too late, and proofs of forks.

use crate::shown::{Pair, check};

#[test]
fn receipts_of_a_withdrawal_and_a_late_edit() {
    let pair = Pair::new();
    let (alpha, beta) = (&pair.alpha, &pair.beta);
    alpha.wbsync(&["peer", "trust", "beta", "--write"]).ok();
    pair.sync();
    pair.sync();
    check!("privacy_receipts_none", alpha.wbsync(&["privacy", "receipts"]).ok());
    check!("privacy_late_none", alpha.wbsync(&["privacy", "late"]).ok());
    alpha.set_scope("help_requests", 1, "private");
    alpha.wbsync(&["commit"]).ok();
    check!("privacy_receipts_unpublished", alpha.wbsync(&["privacy", "receipts"]).ok());
    // Beta edits the request before it hears of that.
    let sql = "UPDATE help_requests SET title = 'late words' WHERE description = 'a ladder, please'";
    beta.execute(sql, &[]);
    beta.wbsync(&["sync"]).ok();
    check!("sync_withdrawn_again", alpha.wbsync(&["sync"]).ok());
    check!("privacy_receipts_waiting", alpha.wbsync(&["privacy", "receipts"]).ok());
    check!("sync_follower_of_withdrawal", beta.wbsync(&["sync"]).ok());
    alpha.wbsync(&["sync"]).ok();
    check!("privacy_receipts_confirmed", alpha.wbsync(&["privacy", "receipts", "requests/"]).ok());
    check!("privacy_receipts_json", alpha.wbsync(&["privacy", "receipts", "--json"]).ok());
    check!("privacy_receipts_unknown", alpha.wbsync(&["privacy", "receipts", "requests/zz"]).exits(1));
    check!("status_late", alpha.wbsync(&["status"]).ok());
    check!("privacy_late", alpha.wbsync(&["privacy", "late"]).ok());
    check!("privacy_late_json", alpha.wbsync(&["privacy", "late", "--json"]).ok());
    check!("privacy_late_forget", alpha.wbsync(&["privacy", "late", "--forget"]).ok());
    check!("privacy_late_unknown", alpha.wbsync(&["privacy", "late", "requests/zz"]).exits(1));
    check!("debug_fork_none", alpha.wbsync(&["debug", "fork"]).ok());
    check!("debug_fork_unknown", alpha.wbsync(&["debug", "fork", "gamma"]).exits(1));
}
