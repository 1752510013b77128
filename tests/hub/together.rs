//! Several at once: who loses a race fetches, merges and pushes again, and nothing is lost.

use crate::site::{Site, befriend, instance};
use crate::support::app::App;
use crate::support::run::wbsync;

#[test]
fn two_that_write_one_scope_at_once_end_alike_without_help() {
    let site = Site::start(&[]);
    let (alpha, beta) = (instance("alpha"), instance("beta"));
    befriend(&alpha, &beta);
    for app in [&alpha, &beta] {
        site.admit(app);
    }
    alpha.insert_request(Some(App::ADMIN), "shared", "trusted");
    for app in [&alpha, &beta, &alpha] {
        app.wbsync(&["sync"]).ok();
    }
    for round in 0..4 {
        let status = ["open", "completed"][round % 2];
        alpha.execute(
            "UPDATE help_requests SET description = ?1 WHERE description LIKE 'shared%'",
            &[&format!("shared {round}")],
        );
        beta.execute("UPDATE help_requests SET status = ?1 WHERE description LIKE 'shared%'", &[&status]);
        std::thread::scope(|scope| {
            for dir in [alpha.dir(), beta.dir()] {
                scope.spawn(move || {
                    let run = wbsync(dir, &["sync"]);
                    assert!([0, 3, 75].contains(&run.code), "{run}");
                });
            }
        });
        for app in [&alpha, &beta, &alpha] {
            app.wbsync(&["sync"]).ok();
        }
        let rows = |app: &App| app.dump_columns("help_requests", &["description", "status"]);
        assert_eq!(rows(&alpha), rows(&beta));
        assert!(rows(&alpha).contains(&format!("shared {round}")) && rows(&alpha).contains(status), "{}", rows(&alpha));
    }
}

/// Beta may write in alpha's scope, and comes to a hub where alpha has never been.
#[test]
fn what_a_writer_wrote_waits_at_a_hub_until_the_scopes_origin_comes() {
    let (first, second) = (Site::start(&[]), Site::start(&[]));
    let (alpha, beta) = (instance("alpha"), instance("beta"));
    befriend(&alpha, &beta);
    for app in [&alpha, &beta] {
        first.admit(app);
    }
    alpha.insert_request(Some(App::ADMIN), "shared", "public");
    for app in [&alpha, &beta] {
        app.wbsync(&["sync"]).ok();
    }
    beta.execute("UPDATE help_requests SET description = 'written by beta'", &[]);
    beta.insert_request(Some(App::ADMIN), "of beta", "public");
    beta.wbsync(&["sync"]).ok();
    for app in [&alpha, &beta] {
        app.wbsync(&["remote", "remove", "hub"]).ok();
    }
    drop(first);
    second.admit(&beta);
    let pushed = beta.wbsync(&["push"]).ok();
    assert!(pushed.stdout.contains("pushed hub: 2 heads"), "its own scopes' go, the other waits: {pushed}");
    second.admit(&alpha);
    for app in [&alpha, &beta, &alpha] {
        app.wbsync(&["sync"]).ok();
    }
    let texts = |app: &App| app.dump_columns("help_requests", &["description"]);
    assert!(texts(&alpha).contains("written by beta") && texts(&alpha).contains("of beta"), "{}", texts(&alpha));
    assert_eq!(texts(&alpha), texts(&beta));
}

#[test]
fn a_hub_that_is_killed_at_any_moment_loses_nothing() {
    let mut site = Some(Site::start(&[]));
    let (alpha, beta) = (instance("alpha"), instance("beta"));
    befriend(&alpha, &beta);
    for app in [&alpha, &beta] {
        site.as_ref().unwrap().admit(app);
    }
    let address = site.as_ref().unwrap().url.trim_start_matches("http://").trim_end_matches('/').to_owned();
    for round in 0..5u64 {
        for number in 0..40 {
            let text = format!("round {round} number {number} {}", "x".repeat(3000));
            alpha.insert_request(Some(App::ADMIN), &text, "trusted");
        }
        alpha.wbsync(&["commit"]).ok();
        let running = site.take().unwrap();
        let dir = std::thread::scope(|scope| {
            let at = alpha.dir();
            let push = scope.spawn(move || wbsync(at, &["push"]));
            // Somewhere in the middle of it.
            std::thread::sleep(std::time::Duration::from_millis(15 + 12 * round));
            let dir = running.kill();
            let run = push.join().unwrap();
            assert!([0, 1, 4, 75].contains(&run.code), "{run}");
            dir
        });
        site = Some(Site::start_in(dir, &address, &[]));
        alpha.wbsync(&["sync"]).ok();
        beta.wbsync(&["sync"]).ok();
        let count = beta.value("SELECT count(*) FROM help_requests WHERE description LIKE 'round%'");
        assert_eq!(count, (40 * (round + 1)).to_string());
    }
}
