//! Instances that meet at a hub: joining, exchanging, being denied, quotas, and a hub that restarts.

use crate::site::{Site, befriend, card, id, instance, is_found};
use crate::support::app::App;
use crate::support::run::{wbsync, wbsync_with};

fn requests(app: &App) -> String {
    app.dump_columns("help_requests", &["description", "status"])
}

#[test]
fn three_instances_exchange_through_a_hub_that_restarts() {
    let site = Site::start(&[]);
    let apps = ["alpha", "beta", "gamma"].map(instance);
    for (index, app) in apps.iter().enumerate() {
        site.admit(app);
        apps[..index].iter().for_each(|other| befriend(app, other));
        app.insert_request(Some(App::ADMIN), &format!("public of {index}"), "public");
        app.insert_request(Some(App::ADMIN), &format!("trusted of {index}"), "trusted");
        app.insert_request(Some(App::ADMIN), &format!("private of {index}"), "private");
    }
    for app in [0, 1, 2, 0, 1, 2].map(|index| &apps[index]) {
        app.wbsync(&["sync"]).ok();
    }
    for (index, app) in apps.iter().enumerate() {
        let rows = requests(app);
        for other in 0..3 {
            assert!(
                rows.contains(&format!("public of {other}")) && rows.contains(&format!("trusted of {other}")),
                "{rows}"
            );
            assert_eq!(rows.contains(&format!("private of {other}")), other == index);
        }
        app.assert_whole();
    }
    let address = site.url.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let (dir, ended_well) = site.stop();
    assert!(ended_well, "it ends by SIGTERM as it should");
    apps[0].edit_request(1, "edited while the hub was away");
    let run = apps[0].wbsync(&["sync"]).exits(4);
    assert!(run.stderr.contains("hub"), "{run}");
    let _site = Site::start_in(dir, &address, &[]);
    apps[0].wbsync(&["sync"]).ok();
    apps[2].wbsync(&["sync"]).ok();
    assert!(requests(&apps[2]).contains("edited while the hub was away"));
}

#[test]
fn who_was_not_let_in_or_is_denied_gets_nothing_and_is_told() {
    let site = Site::start(&[]);
    let (alpha, stranger) = (instance("alpha"), instance("stranger"));
    site.admit(&alpha);
    alpha.insert_request(Some(App::ADMIN), "a ladder, please", "public");
    alpha.wbsync(&["sync"]).ok();
    stranger.wbsync(&["remote", "add", "hub", &site.url]).ok();
    let run = stranger.wbsync(&["sync"]).exits(5);
    assert!(run.stderr.contains("no member of this hub"), "{run}");
    std::fs::write(stranger.dir().join("token"), "wbsync-invite1:00").unwrap();
    stranger.wbsync(&["hub", "join", "hub", "--token-file", "token"]).exits(5);

    site.hub(&["allow", &card(&stranger), "--role", "reader"]).ok();
    stranger.wbsync(&["fetch"]).ok();
    stranger.wbsync(&["push"]).exits(5);
    assert_eq!(site.hub(&["list", "--json"]).ok().json()["members"].as_array().unwrap().len(), 2);
    site.hub(&["deny", &id(&stranger)]).ok();
    stranger.wbsync(&["fetch"]).exits(5);
    let log = site.log();
    assert!(log.contains("not-a-member") || log.contains("signed by"), "{log}");
    assert!(!log.contains("ladder") && !log.contains("wbsync-invite1"), "{log}");
}

#[test]
fn a_used_up_quota_is_said_and_leaves_what_was_there() {
    let site = Site::start(&[]);
    let alpha = instance("alpha");
    site.admit(&alpha);
    alpha.insert_request(Some(App::ADMIN), "one", "public");
    alpha.wbsync(&["sync"]).ok();
    site.hub(&["quota", &id(&alpha), "100"]).ok();
    alpha.insert_request(Some(App::ADMIN), "two", "public");
    let run = alpha.wbsync(&["sync"]);
    assert_ne!(run.code, 0, "{run}");
    assert!(run.stderr.contains("quota"), "{run}");
    site.hub(&["quota", &id(&alpha), "10M"]).ok();
    alpha.wbsync(&["sync"]).ok();
}

#[test]
fn public_scopes_can_be_cloned_by_anyone_if_the_hub_says_so() {
    for public in [true, false] {
        let site = Site::start(if public { &["--public"] } else { &[] });
        let alpha = instance("alpha");
        site.admit(&alpha);
        alpha.insert_request(Some(App::ADMIN), "a ladder, please", "public");
        alpha.insert_request(Some(App::ADMIN), "between us", "trusted");
        alpha.wbsync(&["sync"]).ok();
        let clone = App::new();
        let run = clone.wbsync(&["clone", &site.url, "--preset", "whiteballoon", "--name", "gamma"]);
        assert_eq!(run.code == 0, public, "{run}");
        assert_eq!(requests_of_anyone(&clone).contains("a ladder, please"), public, "{run}");
    }
}

#[test]
fn a_hub_for_members_is_cloned_with_an_invitation() {
    let site = Site::start(&[]);
    let alpha = instance("alpha");
    site.admit(&alpha);
    alpha.insert_request(Some(App::ADMIN), "a ladder, please", "public");
    alpha.wbsync(&["sync"]).ok();
    let clone = App::new();
    let options = ["clone", &site.url, "--preset", "whiteballoon", "--name", "gamma"];
    let run = clone.wbsync(&options).exits(5);
    assert!(run.stderr.contains("for its members") && run.stderr.contains("--invite FILE"), "{run}");
    assert!(!clone.dir().join(".wbsync").exists(), "nothing is begun");
    let invited = [&options[..], &["--invite", "token"]].concat();
    clone.wbsync(&invited).exits(2);
    let secret = format!("wbsync-invite1:{}", "5e".repeat(32));
    let run = clone.wbsync(&[&options[..], &["--invite", &secret]].concat()).exits(2);
    assert!(run.stderr.contains("in a file") && !run.stderr.contains("5e5e"), "{run}");
    assert!(!clone.dir().join(".wbsync").exists(), "nothing is begun");
    // One that doesn't count leaves an identity that another one is for.
    std::fs::write(clone.dir().join("token"), &secret).unwrap();
    let run = clone.wbsync(&invited).exits(5);
    assert!(run.stderr.contains("another invitation") && !run.stderr.contains("5e5e"), "{run}");
    let token = site.hub(&["invite"]).ok().stdout;
    std::fs::write(clone.dir().join("token"), &token).unwrap();
    let run = clone.wbsync(&invited).ok();
    std::fs::remove_file(clone.dir().join("token")).unwrap();
    assert!(requests(&clone).contains("a ladder, please"), "{run}");
    assert_eq!(site.hub(&["list", "--json"]).ok().json()["members"].as_array().unwrap().len(), 2);
    assert!(!is_found(clone.dir(), token.trim()) && !is_found(site.dir.path(), token.trim()), "it is kept nowhere");
    assert!(!site.log().contains(token.trim()) && !run.stderr.contains(token.trim()));
    // And it is a member from now on.
    alpha.insert_request(Some(App::ADMIN), "a drill, please", "public");
    alpha.wbsync(&["sync"]).ok();
    clone.wbsync(&["sync"]).ok();
    assert!(requests(&clone).contains("a drill, please"));

    let other = App::new();
    let token = site.hub(&["invite"]).ok().stdout;
    wbsync_with(other.dir(), &options, &[("WBSYNC_INVITE", token.trim())]).ok();
    assert!(requests(&other).contains("a drill, please"));
    assert!(!is_found(other.dir(), token.trim()));
}

fn requests_of_anyone(app: &App) -> String {
    requests(app)
}

#[test]
fn a_hub_is_bare_only_where_nobody_else_comes() {
    let dir = tempfile::tempdir().unwrap();
    let serve = |options: &[&str]| {
        wbsync(dir.path(), &[&["serve", "--store", "store", "--listen", "0.0.0.0:0"], options].concat())
    };
    let run = serve(&[]).exits(1);
    assert!(run.stderr.contains("no TLS") && run.stderr.contains("--behind-proxy"), "{run}");
    for options in [&["--insecure"][..], &["--behind-proxy"]] {
        let run = serve(options).exits(1);
        assert!(run.stderr.contains("its own URL") && run.stderr.contains("--url"), "{run}");
    }
    let run =
        wbsync(dir.path(), &["serve", "--store", "store", "--tls-cert", "no.pem", "--tls-key", "no.pem"]).exits(1);
    assert!(run.stderr.contains("no.pem"), "{run}");
}
