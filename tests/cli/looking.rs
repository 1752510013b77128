//! Status, log, show, diff and scope.

use crate::shown::{Pair, check};

#[test]
fn status() {
    let pair = Pair::strangers();
    check!("status_new", pair.alpha.wbsync(&["status"]).ok());
    pair.alpha.wbsync(&["commit"]).ok();
    check!("status_committed", pair.alpha.wbsync(&["status"]).ok());
    let pair = Pair::new();
    pair.alpha.wbsync(&["sync"]).ok();
    pair.beta.wbsync(&["commit"]).ok();
    pair.beta.wbsync(&["fetch"]).ok();
    check!("status_fetched", pair.beta.wbsync(&["status"]).ok());
    pair.disagree();
    check!("status_conflict", pair.alpha.wbsync(&["status"]).ok());
    check!("status_json", pair.alpha.wbsync(&["status", "--json"]).ok());
    std::fs::rename(pair.alpha.db_path(), pair.alpha.dir().join("away")).unwrap();
    check!("status_without_database", pair.alpha.wbsync(&["status"]).ok());
}

#[test]
fn log() {
    let pair = Pair::new();
    check!("log_empty", pair.alpha.wbsync(&["log"]).ok());
    check!("log_empty_json", pair.alpha.wbsync(&["log", "--json"]).ok());
    pair.disagree();
    check!("log", pair.beta.wbsync(&["log", "alpha/public", "-n", "2"]).ok());
    check!("log_oneline", pair.beta.wbsync(&["log", "--oneline"]).ok());
    check!("log_json", pair.beta.wbsync(&["log", "public", "--json"]).ok());
    check!("log_unknown_scope", pair.beta.wbsync(&["log", "gamma/public"]).exits(1));
}

#[test]
fn show_and_diff() {
    let pair = Pair::new();
    pair.disagree();
    let (alpha, beta) = (&pair.alpha, &pair.beta);
    let status = alpha.wbsync(&["status", "--json"]).ok().json();
    let conflict = status["conflicts"][0].as_str().unwrap().to_owned();
    let record = conflict.split_once(' ').unwrap().1.rsplit_once('.').unwrap().0;
    check!("show_record", beta.wbsync(&["show", record]).ok());
    check!("show_record_json", alpha.wbsync(&["show", record, "--json"]).ok());
    let head = alpha.wbsync(&["log", "public", "-n", "1", "--json"]).ok().json();
    let head = head["commits"][0]["commit"].as_str().unwrap().to_owned();
    check!("show_commit", alpha.wbsync(&["show", &head[..12]]).ok());
    check!("show_scope", alpha.wbsync(&["show", "beta/public"]).ok());
    check!("show_unknown", alpha.wbsync(&["show", "zzzz"]).exits(1));
    check!("show_unknown_json", alpha.wbsync(&["show", "requests/ffff", "--json"]).exits(1));
    check!("diff", beta.wbsync(&["diff", "beta/public", "public"]).exits(1));
    check!("diff_first", beta.wbsync(&["diff", "public^", "public"]).ok());
    check!("diff_none", alpha.wbsync(&["diff", "public", "public"]).ok());
    let first = alpha.wbsync(&["log", "public", "--json"]).ok().json();
    let first = first["commits"].as_array().unwrap().last().unwrap()["commit"].as_str().unwrap().to_owned();
    check!("diff_two", alpha.wbsync(&["diff", &first[..12], "public"]).ok());
    check!("diff_json", alpha.wbsync(&["diff", &first[..12], "public", "--json"]).ok());
    // A merge has its parents in the order of their ids, which are others in every run.
    let commits = alpha.wbsync(&["log", "public", "--json"]).ok().json();
    let captured =
        |commit: &&serde_json::Value| commit["author"] == "alpha" && commit["parents"] != serde_json::json!([]);
    let edit = commits["commits"].as_array().unwrap().iter().find(captured).unwrap()["commit"].as_str().unwrap();
    check!("diff_parent", alpha.wbsync(&["diff", &format!("{}^", &edit[..12]), &edit[..12]]).ok());
    check!("diff_two_scopes", alpha.wbsync(&["diff", "public", "beta/public"]).exits(1));
}

#[test]
fn diff_with_the_database() {
    let pair = Pair::new();
    let alpha = &pair.alpha;
    check!("diff_before_the_first_commit", alpha.wbsync(&["diff"]).ok());
    pair.disagree();
    check!("diff_database_clean", alpha.wbsync(&["diff"]).ok());
    alpha.execute("UPDATE help_requests SET status = 'completed' WHERE description = 'from alpha'", &[]);
    alpha.execute("UPDATE help_requests SET description = 'whisper' WHERE description = 'nobody''s business'", &[]);
    alpha.execute("UPDATE users SET sync_scope = 'private' WHERE username = 'alice'", &[]);
    let first = alpha.wbsync(&["log", "public", "--json"]).ok().json();
    let first = first["commits"].as_array().unwrap().last().unwrap()["commit"].as_str().unwrap().to_owned();
    check!("diff_database", alpha.wbsync(&["diff"]).ok());
    check!("diff_database_json", alpha.wbsync(&["diff", "--json"]).ok());
    check!("diff_commit_database", alpha.wbsync(&["diff", &first[..12], "database"]).ok());
    let short = alpha.wbsync(&["diff", &first[..12], "--json"]).ok().stdout;
    assert_eq!(short, alpha.wbsync(&["diff", &first[..12], "database", "--json"]).ok().stdout);
    check!("diff_database_first", alpha.wbsync(&["diff", "database", "public"]).exits(1));
}

#[test]
fn scopes() {
    let pair = Pair::new();
    check!("scope_list_new", pair.alpha.wbsync(&["scope", "list"]).ok());
    pair.sync();
    check!("scope_list", pair.alpha.wbsync(&["scope", "list"]).ok());
    check!("scope_list_json", pair.alpha.wbsync(&["scope", "list", "--json"]).ok());
    check!("scope_show_trusted", pair.alpha.wbsync(&["scope", "show", "trusted"]).ok());
    check!("scope_show_foreign_json", pair.alpha.wbsync(&["scope", "show", "beta/public", "--json"]).ok());
    check!("scope_show_unknown", pair.alpha.wbsync(&["scope", "show", "everyone"]).exits(1));
}
