//! Commit, fetch, merge, push, pull, sync and clone.

use std::fs;

use crate::shown::{Pair, check, path};
use crate::support::app::App;
use crate::support::run::wbsync;

#[test]
fn commit() {
    let pair = Pair::strangers();
    let alpha = &pair.alpha;
    check!("commit_dry_run", alpha.wbsync(&["commit", "--dry-run"]).ok());
    check!("commit", alpha.wbsync(&["commit"]).ok());
    check!("commit_nothing", alpha.wbsync(&["commit"]).ok());
    alpha.insert_request(Some(App::ADMIN), "secret", "private");
    check!("commit_private_only", alpha.wbsync(&["commit"]).ok().says_nothing_of("secret"));
    alpha.set_scope("help_requests", 2, "public");
    check!("commit_json", alpha.wbsync(&["commit", "--json"]).ok());
}

#[test]
fn push_fetch_and_merge_step_by_step() {
    let pair = Pair::new();
    let (alpha, beta) = (&pair.alpha, &pair.beta);
    check!("push_dry_run_before_commit", alpha.wbsync(&["push", "--dry-run"]).ok());
    alpha.wbsync(&["commit"]).ok();
    check!("push_dry_run", alpha.wbsync(&["push", "-n"]).ok());
    assert!(!pair.stick.path().join("store").exists(), "a dry run makes no store");
    check!("push", alpha.wbsync(&["push", "stick"]).ok());
    check!("push_nothing", alpha.wbsync(&["push"]).ok());
    check!("push_json", alpha.wbsync(&["push", "--json"]).ok());

    beta.wbsync(&["commit"]).ok();
    check!("merge_nothing", beta.wbsync(&["merge"]).ok());
    check!("fetch_dry_run", beta.wbsync(&["fetch", "--dry-run"]).ok());
    check!("pull_dry_run", beta.wbsync(&["pull", "-n"]).ok());
    check!("fetch", beta.wbsync(&["fetch"]).ok());
    check!("fetch_dry_run_nothing", beta.wbsync(&["fetch", "-n"]).ok());
    check!("fetch_nothing", beta.wbsync(&["fetch", "stick"]).ok());
    check!("fetch_json", beta.wbsync(&["fetch", "--json"]).ok());
    check!("merge_dry_run", beta.wbsync(&["merge", "--dry-run"]).ok());
    let rows = "SELECT count(*) FROM help_requests";
    assert_eq!(beta.value(rows), "2", "a dry run writes no rows");
    check!("merge", beta.wbsync(&["merge"]).ok());
    assert_eq!(beta.value(rows), "3");
    beta.assert_whole();
    check!("merge_json", beta.wbsync(&["merge", "--json"]).ok());
}

#[test]
fn pull_and_sync() {
    let pair = Pair::new();
    check!("sync_dry_run_first", pair.alpha.wbsync(&["sync", "--dry-run"]).ok());
    check!("sync_first", pair.alpha.wbsync(&["sync"]).ok());
    check!("sync_dry_run", pair.beta.wbsync(&["sync", "-n"]).ok());
    check!("sync_dry_run_json", pair.beta.wbsync(&["sync", "-n", "--json"]).ok());
    check!("sync_second", pair.beta.wbsync(&["sync"]).ok());
    check!("pull", pair.alpha.wbsync(&["pull", "stick"]).ok());
    check!("sync_nothing", pair.alpha.wbsync(&["sync"]).ok());
    check!("sync_nothing_json", pair.alpha.wbsync(&["sync", "--json"]).ok());
    check!("pull_nothing", pair.alpha.wbsync(&["pull"]).ok());
    check!("pull_json", pair.alpha.wbsync(&["pull", "--json"]).ok());
    assert_eq!(
        pair.alpha.value("SELECT username FROM users ORDER BY id DESC LIMIT 1"),
        "alice@beta",
        "the foreign alice has another name"
    );
}

#[test]
fn conflicts_end_merge_pull_and_sync_with_3() {
    let pair = Pair::new();
    pair.disagree();
    check!("conflict_sync", pair.alpha.wbsync(&["sync"]).exits(3));
    check!("conflict_pull", pair.beta.wbsync(&["pull"]).exits(3));
    check!("conflict_merge_json", pair.alpha.wbsync(&["merge", "--json"]).exits(3));
    pair.alpha.wbsync(&["status"]).ok();
    pair.alpha.wbsync(&["push"]).ok();
    pair.alpha.wbsync(&["fetch"]).ok();
    // An edit that saw both values settles it.
    pair.alpha.execute("UPDATE help_requests SET description = 'settled' WHERE id = 1", &[]);
    pair.alpha.wbsync(&["sync"]).ok();
    pair.beta.wbsync(&["sync"]).ok();
    assert_eq!(pair.beta.value("SELECT count(*) FROM help_requests WHERE description = 'settled'"), "1");
}

#[test]
fn one_remote_that_fails_stops_nothing() {
    let pair = Pair::new();
    let (alpha, gone) = (&pair.alpha, pair.stick.path().join("gone"));
    alpha.wbsync(&["remote", "add", "gone", &path(&gone)]).ok();
    alpha.wbsync(&["sync"]).ok();
    fs::remove_dir_all(&gone).unwrap();
    alpha.insert_request(None, "another", "public");
    check!("unreachable_sync", alpha.wbsync(&["sync"]).exits(4));
    check!("unreachable_fetch_json", alpha.wbsync(&["fetch", "--json"]).exits(4));
    check!("unreachable_push", alpha.wbsync(&["push", "gone"]).exits(4));
    assert!(!gone.exists(), "where a store was, none is made");
    pair.beta.wbsync(&["sync"]).ok();
    assert_eq!(pair.beta.value("SELECT count(*) FROM help_requests WHERE description = 'another'"), "1");
}

#[test]
fn damaged_documents_end_a_fetch_with_6() {
    let pair = Pair::new();
    pair.alpha.wbsync(&["sync"]).ok();
    for entry in walkdir::WalkDir::new(pair.stick.path()) {
        let entry = entry.unwrap();
        if entry.file_name() == "manifest" {
            let mut bytes = fs::read(entry.path()).unwrap();
            bytes[20] ^= 1;
            fs::write(entry.path(), bytes).unwrap();
        }
    }
    check!("refused_fetch", pair.beta.wbsync(&["fetch"]).exits(6));
    check!("refused_fetch_json", pair.beta.wbsync(&["fetch", "--json"]).exits(6));
    check!("refused_sync", pair.beta.wbsync(&["sync"]).exits(6));
}

#[test]
fn clone() {
    let pair = Pair::new();
    pair.sync();
    let gamma = App::new();
    let store = pair.store();
    let args = ["clone", &store, "--preset", "whiteballoon", "--name", "gamma"];
    check!("clone", gamma.wbsync(&args).ok());
    gamma.assert_whole();
    assert_eq!(gamma.value("SELECT count(*) FROM help_requests"), "2", "what is private stayed home");
    check!("clone_again", gamma.wbsync(&args).exits(1));

    let delta = App::new();
    let place = tempfile::tempdir().unwrap();
    let wrong = format!("SHA256:{}", "A".repeat(43));
    let dir = path(delta.dir());
    let args = ["clone", &store, &dir, "--preset", "whiteballoon", "--name", "delta", "--follow", "alpha"];
    let pinned: Vec<&str> = args.iter().copied().chain(["--expect", &wrong]).collect();
    let run = wbsync(place.path(), &pinned).exits(5);
    assert!(!delta.dir().join(".wbsync").exists(), "{run}");
    let fingerprint = pair.alpha.wbsync(&["id", "--fingerprint"]).ok().stdout;
    let pinned: Vec<&str> = args.iter().copied().chain(["--expect", fingerprint.trim(), "--json"]).collect();
    check!("clone_json", wbsync(place.path(), &pinned).ok());
    let nobody = App::new();
    let args = ["clone", &store, "--preset", "whiteballoon", "--follow", "zeta"];
    check!("clone_nobody", nobody.wbsync(&args).exits(1));
    check!("clone_unreachable", nobody.wbsync(&["clone", "/does/not/exist", "--preset", "whiteballoon"]).exits(4));
    let unused = App::without_users();
    let args = ["clone", &store, "--preset", "whiteballoon", "--name", "epsilon"];
    check!("clone_not_ready", unused.wbsync(&args).exits(1));
    unused.insert_user("first", "private");
    unused.execute("UPDATE users SET is_admin = 1", &[]);
    unused.wbsync(&args).ok();
}
