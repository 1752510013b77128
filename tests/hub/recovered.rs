//! Everything of an instance is lost but its printed identity and what a hub holds: docs/restore.md, "From a printed identity".

use std::fs;

use crate::site::{Site, befriend, instance};
use crate::support::app::App;
use crate::support::run::wbsync_with;

const PASSPHRASE: [(&str, &str); 1] = [("WBSYNC_PASSPHRASE", "seven moons over the quay")];

/// What both should show, whatever the keys of their rows.
fn shared(app: &App) -> String {
    let requests = "(SELECT * FROM help_requests WHERE sync_scope <> 'private')";
    let comments = "request_comments c JOIN help_requests r ON r.id = c.help_request_id";
    app.dump_columns(requests, &["description", "status", "created_at", "sync_scope"])
        + &app.dump_columns(comments, &["c.body", "r.description"])
}

#[test]
fn an_instance_comes_back_from_its_printed_identity_and_a_hub() {
    let site = Site::start(&[]);
    let (alpha, beta) = (instance("alpha"), instance("beta"));
    befriend(&alpha, &beta);
    for app in [&alpha, &beta] {
        site.admit(app);
    }
    alpha.wbsync(&["group", "create", "crew"]).ok();
    alpha.wbsync(&["group", "add", "crew", "beta"]).ok();
    let alice = alpha.insert_user("alice", "public");
    let bob = beta.insert_user("bob", "trusted");
    for (scope, text) in [("public", "a ladder"), ("trusted", "a key"), ("group:crew", "a boat")] {
        let request = alpha.insert_request(Some(alice), text, scope);
        alpha.insert_comment(request, alice, &format!("about {text}"), scope);
    }
    alpha.insert_request(Some(alice), "nobody's business", "private");
    for scope in ["public", "trusted"] {
        beta.insert_request(Some(bob), &format!("{scope} of beta"), scope);
    }
    for app in [&alpha, &beta, &alpha] {
        app.wbsync(&["sync"]).ok();
    }
    beta.execute("UPDATE help_requests SET status = 'completed' WHERE description = 'a ladder'", &[]);
    for app in [&beta, &alpha, &beta] {
        app.wbsync(&["sync"]).ok();
    }
    let before = shared(&alpha);
    for text in ["a ladder", "a key", "a boat", "public of beta", "trusted of beta", "about a boat"] {
        assert!(before.contains(text), "{text}: {before}");
    }

    let safe = tempfile::tempdir().unwrap();
    let paper = safe.path().join("alpha.identity");
    let paper = paper.to_str().unwrap();
    wbsync_with(alpha.dir(), &["export-identity", "--output", paper], &PASSPHRASE).ok();
    // What happened after it was printed comes back too.
    alpha.insert_request(Some(alice), "printed yesterday", "public");
    alpha.wbsync(&["sync"]).ok();
    let before = shared(&alpha);
    drop(alpha);

    // A new machine: the application is installed, its first account registered, and beta has gone on meanwhile.
    let alpha = App::new();
    beta.insert_request(Some(bob), "while alpha was away", "public");
    beta.wbsync(&["sync"]).ok();
    let said = wbsync_with(alpha.dir(), &["restore", "--identity", paper, "--dry-run"], &PASSPHRASE).ok();
    assert!(said.stdout.contains(&site.url), "{said}");
    assert!(!alpha.dir().join(".wbsync").exists() && !alpha.dir().join("wbsync.toml").exists());
    let wrong = [("WBSYNC_PASSPHRASE", "eight moons over the quay")];
    wbsync_with(alpha.dir(), &["restore", "--identity", paper, &site.url], &wrong).exits(5);
    assert!(!alpha.dir().join(".wbsync").exists());
    let args = ["restore", "--identity", paper, "--preset", "whiteballoon", &site.url, "--json"];
    let restored = wbsync_with(alpha.dir(), &args, &PASSPHRASE).ok();
    assert_eq!(restored.json()["incarnation"][1], 1, "{restored}");
    let after = shared(&alpha);
    let missing: Vec<_> = before.lines().filter(|line| !after.contains(*line)).collect();
    assert!(missing.is_empty(), "{missing:?} not in {after}\n{restored}");
    assert!(after.contains("while alpha was away"), "{after}");
    assert!(alpha.value("SELECT count(*) FROM users WHERE username = 'bob'") == "1");

    // It goes on: both write, both see it, also in the group, and nobody has more than once what was there.
    alpha.execute("UPDATE help_requests SET description = 'a long ladder' WHERE description = 'a ladder'", &[]);
    let alice = alpha.value("SELECT id FROM users WHERE username = 'alice'").parse().unwrap();
    alpha.insert_request(Some(alice), "a new boat", "group:crew");
    beta.execute("UPDATE help_requests SET status = 'completed' WHERE description = 'a key'", &[]);
    for app in [&alpha, &beta, &alpha, &beta] {
        app.wbsync(&["sync"]).ok();
    }
    let ends = [shared(&alpha), shared(&beta)];
    assert_eq!(ends[0], ends[1]);
    for text in ["a long ladder", "a new boat"] {
        assert_eq!(ends[0].matches(text).count(), if text == "a long ladder" { 2 } else { 1 }, "{}", ends[0]);
    }
    let peers = alpha.wbsync(&["peer", "list", "--json"]).ok();
    assert!(peers.stdout.contains("writer"), "{peers}");
    alpha.wbsync(&["fsck"]).ok();
    alpha.assert_whole();

    // The same command again is a restore again, and one of another instance is refused.
    wbsync_with(alpha.dir(), &["restore", "--identity", paper, &site.url], &PASSPHRASE).ok();
    wbsync_with(beta.dir(), &["restore", "--identity", paper, &site.url], &PASSPHRASE).exits(1);
    assert!(fs::metadata(paper).unwrap().len() < 4096);
}
