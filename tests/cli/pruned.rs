//! `wbsync prune` and what it answers.

use crate::shown::{Pair, check};

#[test]
fn prune_says_what_went_and_undo_what_came_back() {
    let pair = Pair::new();
    pair.sync();
    let beta = &pair.beta;
    check!("prune_nothing_asked", beta.wbsync(&["prune"]).exits(2));
    check!("prune_history_of_a_peer", beta.wbsync(&["prune", "--keep-history", "90d", "--from", "alpha"]).exits(2));
    check!("prune_none_old", beta.wbsync(&["prune", "--remote-records-older-than", "365d"]).ok());
    check!(
        "prune_unknown_peer",
        beta.wbsync(&["prune", "--remote-records-older-than", "0d", "--from", "delta"]).exits(1)
    );
    check!("prune_dry_run", beta.wbsync(&["prune", "--remote-records-older-than", "0d", "-n"]).ok());
    check!("prune", beta.wbsync(&["prune", "--remote-records-older-than", "0d"]).ok());
    assert_eq!(beta.value("SELECT count(*) FROM help_requests WHERE description = 'a ladder, please'"), "0");
    assert!(beta.wbsync(&["status"]).ok().stdout.contains("pruned here: 2 records"));
    let json = beta.wbsync(&["prune", "--remote-records-older-than", "0d", "--json"]).ok().json();
    assert_eq!(json["away"], 2);
    check!("prune_undo", beta.wbsync(&["prune", "--undo", "--from", "alpha"]).ok());
    check!("prune_undo_nothing", beta.wbsync(&["prune", "--undo"]).ok());
    assert_eq!(beta.value("SELECT count(*) FROM help_requests WHERE description = 'a ladder, please'"), "1");
    check!("prune_history", beta.wbsync(&["prune", "--keep-history", "90d"]).ok());
}
