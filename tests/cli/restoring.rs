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
    check!("restore_json", pair.alpha.wbsync(&["restore", "--dry-run", "--json"]).exits(0));
    check!("restore", pair.alpha.wbsync(&["restore"]).exits(0));
    pair.alpha.wbsync(&["sync"]).exits(0);
    pair.beta.wbsync(&["sync"]).exits(0);
    check!("peer_accept_nothing", pair.beta.wbsync(&["peer", "accept", "alpha"]).exits(0));
    check!("peer_accept_json", pair.beta.wbsync(&["peer", "accept", "alpha", "--json"]).exits(0));
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

/// All that lies below a directory, with its bytes.
fn everything(dir: &std::path::Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let files = walkdir::WalkDir::new(dir).sort_by_file_name().into_iter().map(Result::unwrap);
    let bytes = |path: &std::path::Path| if path.is_file() { fs::read(path).unwrap() } else { Vec::new() };
    files.map(|entry| (entry.path().to_owned(), bytes(entry.path()))).collect()
}

#[test]
fn a_look_at_what_could_be_restored_writes_nothing() {
    let pair = Pair::new();
    pair.sync();
    let (dir, store) = (pair.alpha.dir(), pair.store());
    let remotes = pair.alpha.wbsync(&["remote", "list"]).exits(0).stdout;
    let elsewhere = tempfile::tempdir().unwrap();
    copy(std::path::Path::new(&store), elsewhere.path());
    let run = pair.alpha.wbsync(&["restore", "--dry-run", elsewhere.path().to_str().unwrap()]).exits(0);
    assert!(run.stdout.contains("nothing of ours that is newer"), "{run}");
    assert_eq!(pair.alpha.wbsync(&["remote", "list"]).exits(0).stdout, remotes, "a look makes no remote");
    for entry in fs::read_dir(dir.join(".wbsync")).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true if entry.file_name() == "keys" => {}
            true => fs::remove_dir_all(entry.path()).unwrap(),
            false => fs::remove_file(entry.path()).unwrap(),
        }
    }
    let before = everything(dir);
    let run = pair.alpha.wbsync(&["restore", "--dry-run", &store]).exits(0);
    assert!(run.stdout.contains("has head 1 of") && run.stdout.contains("would take incarnation 1"), "{run}");
    assert!(run.stderr.contains("a part of this instance is missing"), "{run}");
    let empty = tempfile::tempdir().unwrap();
    pair.alpha.wbsync(&["restore", "--dry-run", empty.path().to_str().unwrap()]).exits(4);
    pair.alpha.wbsync(&["restore", "--dry-run"]).exits(1);
    assert_eq!(everything(dir), before);
}
