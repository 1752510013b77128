//! What a receiver has is told to the sender by any path: a stick, a hub, another peer at the hub. The next bundle holds exactly
//! what is still lacking.

use std::fs;

use crate::site::{Site, befriend, id, instance};
use crate::support::app::App;

/// How many of alpha's own heads a bundle for beta would hold.
fn lacking(alpha: &App) -> usize {
    let packed = alpha.wbsync(&["--json", "bundle", "create", "--for", "beta", "--dry-run"]).ok().json();
    heads_of(alpha, &packed)
}

fn heads_of(alpha: &App, packed: &serde_json::Value) -> usize {
    let own = format!("/heads/{}", id(alpha));
    let files = packed["bundle"]["files"].as_array().unwrap().iter();
    files.filter(|file| file[0].as_str().unwrap().ends_with(&own)).count()
}

/// Packs at `from` for `to`, and takes it in there.
fn carry(from: &App, to: &App, name: &str) {
    let file = to.dir().join("stick.tar");
    from.wbsync(&["bundle", "create", "--for", name, "--whole", "-o", file.to_str().unwrap()]).ok();
    to.wbsync(&["bundle", "apply", file.to_str().unwrap()]).ok();
    fs::remove_file(file).unwrap();
}

#[test]
fn a_sender_learns_by_any_path_what_arrived() {
    let site = Site::start(&[]);
    let (alpha, beta, gamma) = (instance("alpha"), instance("beta"), instance("gamma"));
    befriend(&alpha, &beta);
    befriend(&alpha, &gamma);
    befriend(&beta, &gamma);
    [&alpha, &gamma].into_iter().for_each(|app| site.admit(app));
    let mut round = 0;
    let mut written = || {
        round += 1;
        alpha.insert_request(Some(App::ADMIN), &format!("request {round}"), "trusted");
        alpha.wbsync(&["commit"]).ok();
    };
    // By stick.
    written();
    carry(&alpha, &beta, "beta");
    assert_ne!(lacking(&alpha), 0, "nothing has come back yet: the stick may be lost");
    carry(&beta, &alpha, "alpha");
    assert_eq!(lacking(&alpha), 0, "by stick");

    // By another peer, who takes beta's word to the hub.
    written();
    carry(&alpha, &beta, "beta");
    assert_ne!(lacking(&alpha), 0);
    carry(&beta, &gamma, "gamma");
    alpha.wbsync(&["push", "hub"]).ok();
    gamma.wbsync(&["push", "hub"]).ok();
    alpha.wbsync(&["fetch", "hub"]).ok();
    assert_eq!(lacking(&alpha), 0, "by another peer");

    // By HTTP: beta has become a member itself, and only leaves its word there.
    site.admit(&beta);
    written();
    carry(&alpha, &beta, "beta");
    assert_ne!(lacking(&alpha), 0);
    beta.wbsync(&["push", "hub"]).ok();
    alpha.wbsync(&["fetch", "hub"]).ok();
    assert_eq!(lacking(&alpha), 0, "by HTTP");

    // And the next holds what is new, and nothing else.
    written();
    let file = beta.dir().join("stick.tar");
    let args = ["--json", "bundle", "create", "--for", "beta", "-o", file.to_str().unwrap()];
    let packed = alpha.wbsync(&args).ok().json();
    assert_eq!(heads_of(&alpha, &packed), 1, "{packed}");
    beta.wbsync(&["bundle", "apply", file.to_str().unwrap()]).ok();
    assert!(beta.dump("help_requests").contains(&format!("request {round}")));
}

#[test]
fn nobody_fills_a_hub_with_receipts_of_strangers() {
    let site = Site::start(&[]);
    let (alpha, beta, gamma) = (instance("alpha"), instance("beta"), instance("gamma"));
    befriend(&alpha, &beta);
    befriend(&alpha, &gamma);
    befriend(&beta, &gamma);
    [&alpha, &gamma].into_iter().for_each(|app| site.admit(app));
    alpha.insert_request(Some(App::ADMIN), "for the trusted", "trusted");
    alpha.wbsync(&["push", "hub"]).ok();
    carry(&alpha, &beta, "beta");
    carry(&beta, &gamma, "gamma");
    // Gamma brings beta's word while alpha names beta as a reader, and not once it doesn't.
    let receipts = || {
        let store = site.dir.path().join("store/scopes");
        let beta = id(&beta);
        let files = walkdir::WalkDir::new(store).into_iter().map(Result::unwrap);
        files
            .filter(|entry| entry.path().to_str().unwrap().contains("receipts") && entry.path().ends_with(&beta))
            .count()
    };
    alpha.wbsync(&["peer", "revoke", "beta"]).ok();
    alpha.wbsync(&["push", "hub"]).ok();
    gamma.wbsync(&["push", "hub"]).ok();
    assert_eq!(receipts(), 0);
}
