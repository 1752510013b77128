//! `wbsync restore` and the errors that ask for it.

use std::fs;

use crate::shown::{Pair, check};

/// Alpha, put back to what it was before its last push.
fn set_back() -> Pair {
    let pair = Pair::new();
    pair.sync();
    let backup = tempfile::tempdir().unwrap();
    copy(pair.alpha.dir(), backup.path());
    pair.alpha
        .execute("UPDATE help_requests SET description = 'edited since' WHERE description = 'a ladder, please'", &[]);
    pair.alpha.wbsync(&["sync"]).exits(0);
    fs::remove_dir_all(pair.alpha.dir().join(".wbsync")).unwrap();
    copy(backup.path(), pair.alpha.dir());
    pair
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target)
        } else {
            fs::copy(entry.path(), &target).map(drop).unwrap()
        }
    }
}

#[test]
fn a_restore_says_what_it_does() {
    let pair = set_back();
    check!("restore_needed", pair.alpha.wbsync(&["sync"]).exits(5));
    check!("restore_dry_run", pair.alpha.wbsync(&["restore", "--dry-run"]).exits(0));
    check!("restore", pair.alpha.wbsync(&["restore"]).exits(0));
    pair.alpha.wbsync(&["sync"]).exits(0);
    pair.beta.wbsync(&["sync"]).exits(0);
    check!("peer_accept_nothing", pair.beta.wbsync(&["peer", "accept", "alpha"]).exits(0));
}

#[test]
fn a_restore_without_a_remote_is_refused_and_one_that_was_begun_has_to_be_finished() {
    let pair = set_back();
    let (store, away) = (pair.store(), pair.store() + "-away");
    fs::rename(&store, &away).unwrap();
    check!("restore_alone", pair.alpha.wbsync(&["restore"]).exits(4));
    fs::rename(&away, &store).unwrap();
    fs::write(pair.alpha.dir().join(".wbsync/restoring"), "7").unwrap();
    check!("restore_unfinished", pair.alpha.wbsync(&["sync"]).exits(7));
    assert!(pair.alpha.wbsync(&["restore"]).exits(0).stdout.contains("incarnation 7"));
    pair.alpha.wbsync(&["sync"]).exits(0);
}
