//! `wbsync prune`, `status --size`, and what small mistakes are answered with.

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
    check!(
        "prune_unknown_dataset",
        beta.wbsync(&["prune", "--remote-records-older-than", "0d", "--dataset", "request"]).exits(1)
    );
    let undo = beta.wbsync(&["prune", "--undo", "--dataset", "request"]).exits(1);
    assert!(undo.stderr.contains("there is no dataset \"request\"\nhint: datasets: "), "{undo}");
    check!("prune_json", beta.wbsync(&["prune", "--remote-records-older-than", "0d", "-n", "--json"]).ok());
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

#[test]
fn sizes_of_everything_are_told() {
    let pair = Pair::new();
    pair.sync();
    let sizes = pair.alpha.wbsync(&["status", "--size", "--json"]).ok().json();
    for (part, member) in [("state", "used"), ("state", "nodes"), ("store", "bytes"), ("database", "books")] {
        assert!(sizes[part][member].as_u64().unwrap() > 0, "{part}.{member}: {sizes}");
    }
    assert!(sizes["database"]["whole"].as_u64().unwrap() > sizes["database"]["books"].as_u64().unwrap(), "{sizes}");
    assert_eq!(sizes["remotes"]["stick"]["is_listed"], true);
    std::fs::rename(pair.store(), pair.store() + "-away").unwrap();
    std::fs::remove_file(pair.alpha.db_path()).unwrap();
    let text = pair.alpha.wbsync(&["status", "--size"]).ok().stdout;
    let words = ["state", "store", "bookkeeping", "unknown"];
    assert!(words.iter().all(|word| text.contains(word)), "{text}");
}

/// Each says what it would do, and nothing moves.
#[test]
fn dry_runs_of_rights_change_nothing() {
    let pair = Pair::new();
    pair.sync();
    let alpha = &pair.alpha;
    alpha.wbsync(&["group", "create", "board"]).ok();
    let seen = || {
        let shown: Vec<String> =
            [&["peer", "show", "beta"][..], &["group", "show", "board"], &["scope", "show", "trusted"]]
                .iter()
                .map(|args| alpha.wbsync(args).ok().stdout)
                .collect();
        (shown, alpha.wbsync(&["group", "list"]).ok().stdout, alpha.wbsync(&["privacy", "list"]).ok().stdout)
    };
    let before = seen();
    for args in [
        &["peer", "trust", "beta", "--from-now"][..],
        &["peer", "untrust", "beta"],
        &["peer", "revoke", "beta"],
        &["group", "create", "kitchen"],
        &["group", "add", "board", "beta"],
        &["group", "remove", "board", "beta"],
        &["group", "delete", "board"],
        &["scope", "rotate", "trusted", "--reseal"],
        &["privacy", "default", "vouches", "trusted"],
    ] {
        let run = alpha.wbsync(&[args, &["--dry-run"]].concat()).ok();
        assert!(run.stdout.starts_with("if done: "), "{run}");
        assert_eq!(seen(), before, "{run}");
    }
    check!("peer_revoke_dry_run", alpha.wbsync(&["peer", "revoke", "beta", "-n"]).ok());
}

#[test]
fn a_group_is_not_called_like_a_scope_and_foreign_rows_are_counted() {
    let pair = Pair::new();
    pair.sync();
    for name in ["private", "public"] {
        pair.alpha.wbsync(&["group", "create", name]).exits(1);
    }
    check!("group_create_reserved", pair.alpha.wbsync(&["group", "create", "trusted"]).exits(1));
    let marking = ["privacy", "set", "--where", "sync_scope = 'public'", "--dataset", "requests", "trusted"];
    check!("privacy_set_foreign", pair.alpha.wbsync(&marking));
}
