//! Modes: instances that serve their own stores and meet without a hub, and those that do both.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::serving::Serving;
use crate::site::{Site, befriend, free_address, instance_with};
use crate::support::app::App;

fn requests(app: &App) -> String {
    app.dump_columns("help_requests", &["description"])
}

/// Syncs as long as there is reason to: who serves a store looks every two seconds for what others wrote into it.
fn sync_while(app: &App, is_due: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(15);
    while is_due() {
        assert!(Instant::now() < until, "nothing came: {}", requests(app));
        app.wbsync(&["sync"]).ok();
    }
}

fn sync_until(app: &App, wanted: &str) {
    sync_while(app, || !requests(app).contains(wanted));
}

/// Two instances in a mode, each with a URL on its card, that know each other.
fn two(mode: &str) -> ([App; 2], [String; 2]) {
    let apps = ["alpha", "beta"].map(|name| instance_with(name, &["--mode", mode]));
    let addresses = [free_address(), free_address()];
    for (app, address) in apps.iter().zip(&addresses) {
        app.wbsync(&["id", "--url", &format!("http://{address}/")]).ok();
    }
    befriend(&apps[0], &apps[1]);
    (apps, addresses)
}

#[test]
fn peers_meet_at_each_others_stores_and_nobody_else_reads_them() {
    let ([alpha, beta], addresses) = two("p2p");
    alpha.insert_request(Some(App::ADMIN), "of alpha", "trusted");
    beta.insert_request(Some(App::ADMIN), "of beta", "trusted");
    assert!(alpha.wbsync(&["sync"]).exits(4).stderr.contains("beta"), "nobody is there");
    beta.wbsync(&["push"]).ok();
    let serving = Serving::start(&alpha, &addresses[0], &[]);
    let _other = Serving::start(&beta, &addresses[1], &[]);
    beta.wbsync(&["sync"]).ok();
    for (app, wanted) in [(&alpha, "of beta"), (&beta, "of alpha")] {
        sync_until(app, wanted);
    }
    // A stranger with the URL is none the wiser.
    let gamma = instance_with("gamma", &[]);
    gamma.wbsync(&["remote", "add", "alpha", &format!("http://{}/", addresses[0])]).ok();
    assert!(gamma.wbsync(&["fetch"]).exits(5).stderr.contains("member"));
    // A peer that is revoked is a stranger from its next request on.
    alpha.wbsync(&["peer", "revoke", "beta"]).ok();
    assert!(beta.wbsync(&["fetch", "alpha"]).exits(5).stderr.contains("member"));
    drop(serving);
}

#[test]
fn a_peer_that_moves_is_found_at_its_new_url() {
    let ([alpha, beta], addresses) = two("p2p");
    alpha.insert_request(Some(App::ADMIN), "before the move", "trusted");
    alpha.wbsync(&["push"]).ok();
    let serving = Serving::start(&alpha, &addresses[0], &[]);
    beta.wbsync(&["sync"]).ok();
    let moved = free_address();
    let urls = |app: &App| app.wbsync(&["--json", "peer", "show", "alpha"]).ok().json()["urls"].to_string();
    alpha.wbsync(&["id", "--url", &format!("http://{moved}/"), "--url", &format!("http://{}/", addresses[0])]).ok();
    sync_while(&beta, || !urls(&beta).contains(&moved));
    drop(serving);
    alpha.insert_request(Some(App::ADMIN), "after the move", "trusted");
    alpha.wbsync(&["commit"]).ok();
    alpha.wbsync(&["push"]).ok();
    let _serving = Serving::start(&alpha, &moved, &[]);
    sync_until(&beta, "after the move");
}

#[test]
fn hybrid_asks_peers_while_the_hub_is_away_and_the_hub_while_peers_are() {
    let site = Site::start(&[]);
    let ([alpha, beta], addresses) = two("hybrid");
    [&alpha, &beta].into_iter().for_each(|app| site.admit(app));
    alpha.insert_request(Some(App::ADMIN), "by the hub", "trusted");
    for app in [&alpha, &beta] {
        app.wbsync(&["sync"]).ok();
    }
    assert!(requests(&beta).contains("by the hub"), "no peer is there, and nobody minds");
    let address = site.url.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let (dir, _) = site.stop();
    alpha.insert_request(Some(App::ADMIN), "by the peer", "trusted");
    alpha.wbsync(&["sync"]).exits(4);
    let _serving = Serving::start(&alpha, &addresses[0], &[]);
    let run = beta.wbsync(&["sync"]).exits(4);
    assert!(run.stdout.contains("fetched alpha: alpha/trusted"), "{run}");
    assert!(requests(&beta).contains("by the peer"));
    let _site = Site::start_in(dir, &address, &[]);
    alpha.wbsync(&["sync"]).ok();
    assert!(beta.wbsync(&["sync"]).ok().stdout.contains("hub"));
}

fn copy(from: &Path, to: &Path) {
    for entry in walkdir::WalkDir::new(from).into_iter().map(Result::unwrap) {
        let target = to.join(entry.path().strip_prefix(from).unwrap());
        match entry.file_type().is_dir() {
            true => std::fs::create_dir_all(target).unwrap(),
            false => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// Nobody but beta has what alpha published after its backup, and beta serves it to whoever may read it.
#[test]
fn a_restored_instance_asks_the_own_stores_of_its_peers() {
    let ([alpha, beta], addresses) = two("p2p");
    alpha.insert_request(Some(App::ADMIN), "before the backup", "trusted");
    let mut serving = Serving::start(&alpha, &addresses[0], &[]);
    let _other = Serving::start(&beta, &addresses[1], &[]);
    alpha.wbsync(&["commit"]).ok();
    alpha.wbsync(&["push"]).ok();
    sync_until(&beta, "before the backup");
    let backup = tempfile::tempdir().unwrap();
    copy(alpha.dir(), backup.path());
    alpha.edit_request(1, "after the backup");
    alpha.wbsync(&["commit"]).ok();
    alpha.wbsync(&["push"]).ok();
    sync_until(&beta, "after the backup");
    serving.stop();
    std::fs::remove_dir_all(alpha.dir().join(".wbsync")).unwrap();
    copy(backup.path(), alpha.dir());
    assert!(requests(&alpha).contains("before the backup"));
    let run = alpha.wbsync(&["restore", "--dry-run"]).ok();
    assert!(run.stdout.contains("beta: has head"), "{run}");
    alpha.wbsync(&["restore"]).ok();
    assert!(requests(&alpha).contains("after the backup"), "{}", requests(&alpha));
    serving.start_again(&alpha);
    alpha.edit_request(1, "after the restore");
    alpha.wbsync(&["sync"]).ok();
    beta.wbsync(&["peer", "accept", "alpha"]).ok();
    sync_until(&beta, "after the restore");
}
