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
