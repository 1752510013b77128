//! Real `wbsync` processes on PostgreSQL, ended by SIGKILL at random moments of applying, capturing, installing and removing
//! triggers; the last two on SQLite too, where tests/kill shows the others. `WBSYNC_ROUNDS=10` goes on ten times as long.

use std::path::Path;
use std::time::Duration;

use super::database::NOTHING_LEFT;
use super::pair::{Remote, roots};
use super::support::app::App;
use super::support::run::wbsync;
use wbsync::testing::whiteballoon::seed::Seed;

#[allow(dead_code, unreachable_pub, clippy::print_stderr, reason = "it is shared with other tests")]
#[path = "../kill/strike.rs"]
mod strike;

use strike::{Striker, seed};

fn init(dir: &Path, name: &str, database: &[&str], stick: &Path) {
    wbsync(dir, &[&["init", "--preset", "whiteballoon", "--name", name], database].concat()).ok();
    wbsync(dir, &["remote", "add", "stick", stick.join("store").to_str().unwrap()]).ok();
}

fn follow(dir: &Path, other: &Path, name: &str) {
    let card = wbsync(other, &["id"]).ok().stdout;
    wbsync(dir, &["peer", "add", card.trim()]).ok();
    wbsync(dir, &["follow", name]).ok();
}

/// Runs a command that is killed again and again until it is through.
fn strike_through(striker: &mut Striker, dir: &Path, args: &[&str]) {
    let mut within = Duration::from_millis(30);
    // One that was too quick may have been struck in vain; the next begins where it ended.
    while striker.strike(dir, args, within) {
        within = within * 4 / 3;
    }
    wbsync(dir, args).ok();
}

const SHOWN: [&str; 2] = [
    "SELECT coalesce(title, '-') || '|' || description || '|' || status FROM help_requests WHERE sync_scope = 'public'",
    "SELECT body FROM request_comments WHERE sync_scope = 'public'",
];

fn lines(app: &App, sql: &str) -> Vec<String> {
    let db = app.db();
    let mut select = db.prepare(sql).unwrap();
    let mut lines: Vec<String> = select.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    lines.sort();
    lines
}

fn rounds() -> u64 {
    std::env::var("WBSYNC_ROUNDS").map_or(1, |rounds| rounds.parse().unwrap())
}

#[test]
fn applies_and_captures_that_are_killed_end_as_if_they_had_not_been() {
    let mut striker = Striker::new(seed("killed on PostgreSQL"));
    let stick = tempfile::tempdir().unwrap();
    let alpha = App::seeded(&Seed { username_prefix: "a-".into(), ..Seed::new(1_500, 1) });
    let (gamma, mut remote) = (App::new(), Remote::new());
    let there = remote.dir.path().to_owned();
    init(alpha.dir(), "alpha", &[], stick.path());
    init(&there, "beta", &["--db", &remote.url.clone()], stick.path());
    init(gamma.dir(), "gamma", &[], stick.path());
    alpha.wbsync(&["sync"]).ok();
    follow(&there, alpha.dir(), "alpha");
    follow(gamma.dir(), alpha.dir(), "alpha");
    for round in 0..rounds() + 1 {
        strike_through(&mut striker, &there, &["pull"]);
        gamma.wbsync(&["pull"]).ok();
        for sql in SHOWN {
            assert_eq!(remote.lines(sql), lines(&gamma, sql), "round {round}: {sql}");
        }
        wbsync(&there, &["fsck"]).ok();
        remote.whole();
        // What alpha changes, and what beta writes beside it.
        let sql = "UPDATE help_requests SET title = coalesce(title, '') || ?1 WHERE id % 3 = 0";
        let db = alpha.db();
        assert!(db.execute(sql, [format!(" [{round}]")]).unwrap() > 10);
        assert!(db.execute("DELETE FROM request_comments WHERE id % 5 = ?1", [round as i64]).unwrap() > 10);
        drop(db);
        alpha.wbsync(&["sync"]).ok();
    }
    remote.batch(
        "INSERT INTO help_requests(title, description, status, created_at, updated_at, sync_scope)
         SELECT 'of beta', 'row ' || n, 'open', '2026-02-02 01:02:03', '2026-02-02 01:02:03', 'public' FROM generate_series(1, 2000) n",
    );
    strike_through(&mut striker, &there, &["commit"]);
    wbsync(&there, &["sync"]).ok();
    wbsync(&there, &["fsck"]).ok();
    follow(gamma.dir(), &there, "beta");
    gamma.wbsync(&["pull"]).ok();
    let count = "SELECT count(DISTINCT description) || '|' || count(*) FROM help_requests WHERE title = 'of beta'";
    assert_eq!(gamma.value(count), "2000|2000", "each once");
    let of_beta = |dir: &Path| roots(dir).into_iter().find(|root| root.contains("requests") && root.contains("2000"));
    assert_eq!(of_beta(gamma.dir()), of_beta(&there));
    assert!(striker.landed > 4, "{} kills landed, {} were late", striker.landed, striker.late);
}

#[test]
fn triggers_that_are_installed_and_removed_under_kills() {
    let mut striker = Striker::new(seed("killed while installing"));
    let stick = tempfile::tempdir().unwrap();
    let (app, mut remote) = (App::new(), Remote::new());
    init(app.dir(), "alpha", &[], stick.path());
    init(remote.dir.path(), "beta", &["--db", &remote.url.clone()], stick.path());
    let there = remote.dir.path().to_owned();
    for dir in [app.dir(), &there] {
        wbsync(dir, &["commit"]).ok();
    }
    let sqlite = "SELECT type || ' ' || name || ' ' || coalesce(sql, '') FROM sqlite_schema";
    let postgres = format!("SELECT concat_ws(' ', relkind, relname, nspname) FROM ({NOTHING_LEFT}) t");
    let (before, before_there) = (lines(&app, sqlite), remote.lines(&postgres));
    for round in 0..rounds() * 2 {
        for dir in [app.dir(), &there] {
            strike_through(&mut striker, dir, &["db", "install"]);
            wbsync(dir, &["db", "check"]).ok();
        }
        app.insert_request(Some(App::ADMIN), &format!("noted {round}"), "public");
        remote.batch(
            "INSERT INTO help_requests(description, status, created_at, updated_at, sync_scope)
             VALUES('noted', 'open', '2026-02-02 01:02:03', '2026-02-02 01:02:03', 'public')",
        );
        for dir in [app.dir(), &there] {
            wbsync(dir, &["commit"]).ok();
            strike_through(&mut striker, dir, &["db", "uninstall"]);
            wbsync(dir, &["fsck"]).ok();
        }
        assert_eq!(lines(&app, sqlite), before, "round {round}");
        assert_eq!(remote.lines(&postgres), before_there, "round {round}");
    }
    assert!(striker.landed > 4, "{} kills landed, {} were late", striker.landed, striker.late);
}
