//! Relay: two that never meet exchange through a third, which keeps nothing that it may not.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::serving::Serving;
use crate::site::{befriend, free_address, instance_with};
use crate::support::app::App;

fn requests(app: &App) -> String {
    app.dump_columns("help_requests", &["description"])
}

fn sync_while(apps: &[&App], is_due: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while is_due() {
        assert!(Instant::now() < until, "nothing came");
        for app in apps {
            app.wbsync(&["sync"]);
        }
    }
}

fn objects(app: &App) -> BTreeSet<String> {
    let files = walkdir::WalkDir::new(app.dir().join(".wbsync/store/objects")).into_iter().map(Result::unwrap);
    files.map(|entry| entry.file_name().to_string_lossy().into_owned()).filter(|name| name.ends_with(".age")).collect()
}

/// Alpha and gamma know and follow each other and both know beta; only beta's store and alpha's are served, and gamma has
/// no URL of alpha's.
fn three(relay: &str) -> ([App; 3], [Serving; 2]) {
    let apps = ["alpha", "beta", "gamma"].map(|name| instance_with(name, &["--mode", "p2p"]));
    let addresses = [free_address(), free_address()];
    let config = apps[1].dir().join("wbsync.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text + &format!("relay = {relay}\n")).unwrap();
    befriend(&apps[0], &apps[2]);
    for (app, address) in apps.iter().zip(&addresses) {
        app.wbsync(&["id", "--url", &format!("http://{address}/")]).ok();
    }
    befriend(&apps[0], &apps[1]);
    befriend(&apps[1], &apps[2]);
    let serving = [Serving::start(&apps[0], &addresses[0], &[]), Serving::start(&apps[1], &addresses[1], &[])];
    (apps, serving)
}

#[test]
fn two_that_never_meet_exchange_through_a_third_until_a_record_is_withdrawn() {
    let ([alpha, beta, gamma], mut serving) = three("\"followed\"");
    let request = alpha.insert_request(Some(App::ADMIN), "of alpha, for friends", "trusted");
    alpha.insert_request(Some(App::ADMIN), "stays", "trusted");
    alpha.wbsync(&["sync"]);
    sync_while(&[&beta], || !requests(&beta).contains("of alpha, for friends"));
    let [of_alpha, _beta_serves] = &mut serving;
    // From here on alpha is away.
    of_alpha.stop();
    sync_while(&[&gamma], || !requests(&gamma).contains("of alpha, for friends"));
    // A withdrawal goes the same way, and takes with it what carried the record.
    let before = objects(&alpha);
    alpha.set_scope("help_requests", request, "private");
    alpha.wbsync(&["sync"]);
    let after = objects(&alpha);
    let carried: Vec<_> = before.difference(&after).collect();
    assert!(!carried.is_empty() && carried.iter().all(|object| objects(&beta).contains(*object)));
    of_alpha.start_again(&alpha);
    sync_while(&[&beta], || requests(&beta).contains("of alpha, for friends"));
    of_alpha.stop();
    sync_while(&[&gamma], || requests(&gamma).contains("of alpha, for friends"));
    assert!(carried.iter().all(|object| !objects(&beta).contains(*object)), "beta keeps what carried it");
    assert!(requests(&gamma).contains("stays"));
    // Who is revoked is relayed no more.
    let of_alpha = |app: &App| {
        let id = crate::site::id(&alpha);
        walkdir::WalkDir::new(app.dir().join(".wbsync/store/scopes"))
            .into_iter()
            .filter(|entry| entry.as_ref().unwrap().path().ends_with(format!("heads/{id}")))
            .count()
    };
    assert!(of_alpha(&beta) > 0);
    beta.wbsync(&["peer", "revoke", "alpha"]).ok();
    beta.wbsync(&["push"]).ok();
    assert_eq!(of_alpha(&beta), 0);
}

#[test]
fn nothing_is_relayed_that_policy_does_not_allow_and_sealed_scopes_if_it_does() {
    for (relay, comes) in [("false", false), ("true", true)] {
        let ([alpha, beta, gamma], mut serving) = three(relay);
        let stick = tempfile::tempdir().unwrap();
        // Only gamma may read it: beta carries from a stick what it can't open, or nothing.
        alpha.insert_request(Some(App::ADMIN), "for gamma alone", "peers:gamma");
        alpha.wbsync(&["commit"]).ok();
        for app in [&alpha, &beta] {
            app.wbsync(&["remote", "add", "stick", stick.path().to_str().unwrap()]).ok();
        }
        alpha.wbsync(&["push", "stick"]).ok();
        beta.wbsync(&["sync", "stick"]).ok();
        assert!(!requests(&beta).contains("for gamma"));
        serving[0].stop();
        for _ in 0..4 {
            gamma.wbsync(&["sync"]);
            std::thread::sleep(Duration::from_millis(700));
        }
        assert_eq!(requests(&gamma).contains("for gamma alone"), comes, "relay = {relay}: {}", requests(&gamma));
    }
}
