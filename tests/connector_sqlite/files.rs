//! What only SQLite files have: journals, private copies, values of any type in any column.

use std::time::Duration;

use wbsync::connector::contract::Connector;
use wbsync::connector::sqlite;
use wbsync::connector::sqlite::options::Options;

use super::harness::*;

#[test]
fn wal_and_rollback_journals_give_the_same() {
    let mut app = App::with("PRAGMA journal_mode = WAL", "");
    assert_eq!(app.text("PRAGMA journal_mode"), "wal");
    let ann = app.user("ann", "public");
    app.request("bike", Some(ann), "public");
    assert_eq!(app.settle().len(), 3);
    assert_eq!(app.settle(), []);
    let beta = id(BETA, "users", 5);
    app.apply_quietly(vec![user(&beta, "bea"), request(&id(BETA, "requests", 6), "boat", Some(&beta))]);
}

#[test]
fn a_large_database_is_read_from_a_private_copy() {
    let mut app = App::new();
    let mut options = Options::new(&app.db.path, app.dir.path(), app.dir.path());
    options.copy_above_bytes = 0;
    app.sync = sqlite::open(options, mapping(""), context()).unwrap();
    app.user("ann", "public");
    app.settle();
    // The application writes while the capture reports: the report is of one state, and what was
    // written is found the next time.
    app.user("bob", "public");
    let db = &app.db.conn;
    let mut names = Vec::new();
    let capture = app.sync.capture(NOW, &mut |sighting| {
        db.execute("UPDATE users SET username = 'eve' WHERE username = 'bob'", []).unwrap();
        names.push(shown(&sighting, "username").unwrap());
        Ok(())
    });
    let position = app.sync.position().unwrap();
    app.sync.settle(&capture.unwrap(), &position).unwrap();
    assert_eq!(names, [text("bob")]);
    find(&app.settle(), "username", "eve");
    let left: Vec<_> = std::fs::read_dir(app.dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["app.db"], "no copy is left behind");
}

#[test]
fn odd_values_travel_as_they_are() {
    let mut app = App::new();
    app.request("odd", None, "public");
    app.sql("UPDATE help_requests SET updated_at = '', completed_at = '2026-02-03T04:05:06.000007Z', title = char(0x2028) || char(13)");
    let seen = app.settle();
    let odd = find(&seen, "title", "\u{2028}\r");
    assert_eq!(shown(odd, "updated_at"), Some(text("")));
    assert_eq!(shown(odd, "completed_at"), Some(time()));
}

#[test]
fn waiting_ends_when_somebody_else_writes() {
    let mut app = App::new();
    assert!(app.sync.wait_for_change(Duration::ZERO).unwrap(), "nothing was captured yet");
    app.settle();
    assert!(!app.sync.wait_for_change(Duration::ZERO).unwrap(), "our own writing is no change");
    app.user("ann", "public");
    assert!(app.sync.wait_for_change(Duration::MAX).unwrap());
    assert!(!app.sync.wait_for_change(Duration::ZERO).unwrap(), "it was told");
    app.user("bob", "public");
    app.settle();
    assert!(!app.sync.wait_for_change(Duration::from_millis(1)).unwrap(), "it was captured");
    let path = app.db.path.clone();
    let late = std::thread::spawn(move || {
        let conn = rusqlite::Connection::open(path).unwrap();
        conn.execute("UPDATE users SET username = 'eve' WHERE username = 'bob'", []).unwrap();
    });
    assert!(app.sync.wait_for_change(Duration::MAX).unwrap());
    late.join().unwrap();
}
