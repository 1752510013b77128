//! A hub that can't be reached: what is due waits, is told, and goes with the next successful contact.

use wbsync::id::name::PeerName;
use wbsync::state::queue::{Contact, Failing};
use wbsync::sync::instance::{Instance, Purpose};
use wbsync::sync::progress::silent;
use wbsync::sys::clock::{self, UnixMillis};

use crate::site::{Site, befriend, instance};
use crate::support::app::App;

fn remote(app: &App) -> serde_json::Value {
    app.wbsync(&["--json", "status"]).ok().json()["remotes"][0].clone()
}

/// Puts off the next try, or says that its time has come.
fn set_next(app: &App, next: u64) {
    let instance = Instance::open(app.dir(), Purpose::Change, silent()).unwrap();
    let failing = Failing { failures: 2, next: UnixMillis(next), contact: Contact::Push };
    instance.state.put_failing(&PeerName::new("hub").unwrap(), Some(failing)).unwrap();
}

#[test]
fn what_is_due_waits_for_the_hub_and_goes_with_the_next_contact() {
    let site = Site::start(&[]);
    let (alpha, beta) = (instance("alpha"), instance("beta"));
    befriend(&alpha, &beta);
    [&alpha, &beta].into_iter().for_each(|app| site.admit(app));
    for app in [&alpha, &beta] {
        app.wbsync(&["sync"]).ok();
    }
    assert_eq!(remote(&alpha)["waiting"]["heads"], 0);
    let address = site.url.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let (dir, _) = site.stop();
    alpha.insert_request(Some(App::ADMIN), "made while the hub was away", "trusted");
    alpha.wbsync(&["commit"]).ok();
    let run = alpha.wbsync(&["push"]).exits(4);
    assert!(run.stderr.contains("hub: waiting: 1 head, ") && run.stderr.contains("sync --due"), "{run}");
    let status = remote(&alpha);
    assert_eq!((&status["failures"], &status["waiting"]["heads"]), (&1.into(), &1.into()), "{status}");
    assert!(status["waiting"]["bytes"].as_u64().unwrap() > 0 && status["next_try"].is_string(), "{status}");
    assert!(alpha.wbsync(&["status"]).ok().stdout.contains("1 failure, next try 2"));
    // A sync that can't fetch leaves nothing unsealed either.
    alpha.insert_request(Some(App::ADMIN), "and for everybody", "public");
    alpha.wbsync(&["sync"]).exits(4);
    assert_eq!((&remote(&alpha)["failures"], &remote(&alpha)["waiting"]["heads"]), (&2.into(), &2.into()));

    let site = Site::start_in(dir, &address, &[]);
    set_next(&alpha, clock::now().0 + 600_000);
    let run = alpha.wbsync(&["sync", "--due"]).ok();
    assert!(run.stderr.contains("hub: left alone until 2"), "{run}");
    assert_eq!(remote(&alpha)["waiting"]["heads"], 2, "nothing was sent");
    // A command that doesn't ask always tries, and a read alone doesn't end the wait for a push.
    alpha.wbsync(&["fetch"]).ok();
    assert_eq!(remote(&alpha)["failures"], 2);
    set_next(&alpha, clock::now().0 - 1);
    let run = alpha.wbsync(&["sync", "--due"]).ok();
    assert!(run.stdout.contains("pushed hub: 2 heads"), "{run}");
    let status = remote(&alpha);
    assert_eq!((&status["failures"], &status["waiting"]["heads"]), (&0.into(), &0.into()), "{status}");
    assert!(status["next_try"].is_null() && status["error"].is_null(), "{status}");
    beta.wbsync(&["sync"]).ok();
    assert!(beta.dump_columns("help_requests", &["description"]).contains("made while the hub was away"));
    drop(site);
}
