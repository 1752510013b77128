//! What only SQLite does to triggers: replacing, rebuilding, keys of any kind.

use std::fs;
use std::time::Duration;

use wbsync::connector::capturing::{Capturing, TriggerChange};
use wbsync::connector::contract::Connector;
use wbsync::connector::sqlite;
use wbsync::connector::sqlite::options::Options;

use super::harness::*;

const THINGS: &str = "
CREATE TABLE things (word TEXT NOT NULL COLLATE NOCASE PRIMARY KEY, name TEXT COLLATE NOCASE UNIQUE, a INTEGER, b TEXT,
    parent TEXT REFERENCES things2(code) ON DELETE CASCADE, sync_scope TEXT NOT NULL, UNIQUE(a, b)) WITHOUT ROWID;
CREATE UNIQUE INDEX partly ON things(b) WHERE a = 99;
CREATE TABLE things2 (code TEXT PRIMARY KEY, label TEXT, sync_scope TEXT NOT NULL);
CREATE UNIQUE INDEX by_expression ON things2(lower(label));
";

const MAPPING: &str = "
[dataset.things]
table = \"things\"
key = \"word\"
scope = { column = \"sync_scope\" }
[dataset.things.fields]
word = { type = \"text\" }
name = { type = \"text\" }
a = { type = \"int\" }
b = { type = \"text\" }
parent = { ref = \"things2\", missing = \"null\" }
[dataset.things2]
table = \"things2\"
key = \"code\"
scope = { column = \"sync_scope\" }
[dataset.things2.fields]
code = { type = \"text\" }
label = { type = \"text\" }
";

fn things() -> App {
    let app = App::with(THINGS, MAPPING);
    app.sql(
        "INSERT INTO things2 VALUES('p', 'P', 'public'), ('q', 'Q', 'public');
         INSERT INTO things VALUES('one', 'n1', 1, 'x', 'p', 'public'), ('two', 'n2', 2, 'y', 'p', 'public'),
            ('three', 'n3', 3, 'z', 'q', 'public')",
    );
    app.watched()
}

/// Tables that were read in a copy of the file are known by it: from then on notes are worked off in place, without one.
#[test]
fn only_the_first_capture_makes_a_copy() {
    let mut app = App::new();
    app.sync.change_triggers(TriggerChange::Install).unwrap();
    let scratch = app.dir.path().join("scratch");
    fs::create_dir(&scratch).unwrap();
    let mut options = Options::new(&app.db.path, app.dir.path(), &scratch);
    (options.copy_above_bytes, options.capturing) = (0, Capturing::Triggers);
    let connect = || sqlite::open(options.clone(), mapping(""), context()).unwrap();
    app.sync = connect();
    app.user("ann", "public");
    assert_eq!(app.settle().len(), 2);
    fs::remove_dir(&scratch).unwrap();
    app.sync = connect();
    app.user("bea", "public");
    let (capture, seen) = app.capture();
    assert_eq!((capture.rows, seen.len()), (1, 1));
}

#[test]
fn rows_that_are_replaced_are_noted() {
    for (sql, reported) in [
        // By the key itself, spelled otherwise: the old row is gone.
        ("INSERT OR REPLACE INTO things VALUES('ONE', 'n9', 9, 'w', NULL, 'public')", 2),
        // By one unique set, and by two at once.
        ("INSERT OR REPLACE INTO things VALUES('new', 'N2', 9, 'w', NULL, 'public')", 2),
        ("REPLACE INTO things VALUES('new', 'N2', 3, 'z', NULL, 'public')", 3),
        ("UPDATE OR REPLACE things SET a = 2, b = 'y' WHERE word = 'one'", 2),
        ("UPDATE OR REPLACE things SET word = 'TWO' WHERE word = 'one'", 3),
        ("UPDATE OR REPLACE things SET a = 99, b = 'z'", 3),
        ("INSERT INTO things VALUES('one', 'n1', 5, 'x', NULL, 'public') ON CONFLICT DO UPDATE SET a = 5", 1),
        (
            "INSERT OR IGNORE INTO things VALUES('four', 'n1', 5, 'x', NULL, 'public'), ('five', 'n5', 5, 'x', NULL, 'public')",
            1,
        ),
        // By an expression.
        ("INSERT OR REPLACE INTO things2 VALUES('r', 'p', 'public')", 4),
        ("UPDATE OR REPLACE things2 SET label = 'q' WHERE code = 'p'", 3),
    ] {
        let mut app = things();
        app.sql(sql);
        assert_eq!(app.settle_exactly().len(), reported, "{sql}");
    }
}

#[test]
fn cascades_and_recursive_triggers_are_noted() {
    for (sql, reported) in [
        ("PRAGMA foreign_keys = ON; DELETE FROM things2 WHERE code = 'p'", 3),
        ("PRAGMA foreign_keys = ON; REPLACE INTO things2 VALUES('p', 'new', 'public')", 3),
        ("PRAGMA recursive_triggers = ON; REPLACE INTO things VALUES('new', 'N2', 3, 'z', NULL, 'public')", 3),
    ] {
        let mut app = things();
        app.sql(sql);
        assert_eq!(app.settle_exactly().len(), reported, "{sql}");
    }
}

#[test]
fn keys_of_any_kind_are_noted() {
    let mut app = things();
    app.sql("INSERT INTO things SELECT 'k' || char(0) || '\"' || char(39), 'odd', 7, 'o', NULL, 'public'");
    assert_eq!(app.settle_exactly().len(), 1);
    app.sql("UPDATE things SET b = 'p' WHERE name = 'odd'; INSERT INTO things VALUES(x'00ff', 'blob', 8, 'v', NULL, 'public')");
    assert_eq!(app.settle_exactly().len(), 1, "a row with such a key stays home");
    app.sql("UPDATE things SET word = x'01' WHERE name = 'odd'");
    assert_eq!(app.settle_exactly().len(), 1);
    app.sql("DELETE FROM things");
    assert_eq!(app.settle_exactly().len(), 3);
}

#[test]
fn a_rowid_that_is_handed_out_again_is_another_record() {
    let mut app = App::new();
    let gone = app.request("old", None, "public");
    let mut app = {
        app.settle();
        app.watched()
    };
    app.sql(&format!(
        "DELETE FROM help_requests WHERE id = {gone};
         INSERT INTO help_requests(title, description, status, created_at, updated_at, sync_scope)
         VALUES('new', 'x', 'open', '2026-09-09 00:00:00.000000', '2026-09-09 00:00:00.000000', 'public')"
    ));
    assert_eq!(app.settle_exactly().len(), 2);
}

/// What a migration does in batch mode: the table is made anew, and its triggers are gone.
const REBUILD: &str = "
CREATE TABLE _alembic_tmp_users (id INTEGER NOT NULL, username VARCHAR, is_admin BOOLEAN NOT NULL, contact_email VARCHAR(255),
    created_at DATETIME NOT NULL, sync_scope VARCHAR NOT NULL, more TEXT, PRIMARY KEY (id));
INSERT INTO _alembic_tmp_users SELECT id, username, is_admin, contact_email, created_at, sync_scope, 'x' FROM users;
DROP TABLE users;
ALTER TABLE _alembic_tmp_users RENAME TO users;
CREATE UNIQUE INDEX ix_users_username ON users (username);
";

#[test]
fn migrations_go_through_and_are_noticed() {
    let app = App::new();
    let ann = app.user("ann", "public");
    app.request("bike", Some(ann), "public");
    let mut app = app.watched();
    app.sql(REBUILD);
    app.sql("UPDATE users SET username = 'anna' WHERE username = 'ann'");
    let (capture, seen) = app.capture();
    assert_eq!((capture.unwatched.as_slice(), seen.len()), (&["users".to_owned()][..], 1));
    app.settle();
    assert_eq!(app.sync.change_triggers(TriggerChange::Install).unwrap().len(), 5);
    app.sql("UPDATE users SET username = 'ann' WHERE username = 'anna'");
    assert_eq!(app.settle_exactly().len(), 1);
    // What isn't named in a trigger can be renamed and dropped; what is named, once its index is gone, only without it.
    app.sql("ALTER TABLE users RENAME COLUMN more TO less; ALTER TABLE users DROP COLUMN less");
    app.sql("ALTER TABLE invite_map_cache RENAME TO other; DROP TABLE other; VACUUM");
    app.sql("CREATE TABLE extra(x); UPDATE users SET username = 'anna' WHERE username = 'ann'");
    assert_eq!(app.settle_exactly().len(), 1);
    let (capture, _) = app.capture();
    assert_eq!(capture.rows, 0, "one scan was enough");
}

#[test]
fn what_the_outbox_was_dropped_with_is_told() {
    let mut app = App::new();
    app.settle();
    let mut app = app.watched();
    app.sql("DROP TABLE _wbsync_outbox");
    // The application can't write any more: the triggers are still there. Both commands help.
    assert!(app.db.conn.execute("UPDATE users SET username = 'x'", []).is_err());
    assert!(app.sync.triggers().unwrap().tables[0].faults[0].contains("_wbsync_outbox"));
    app.sync.change_triggers(TriggerChange::Install).unwrap();
    // A connection that failed looks at the schema again with its next statement that works.
    app.sql("SELECT 1 FROM users; UPDATE users SET username = 'x'");
    assert_eq!(app.settle_exactly().len(), 0, "the administrator is private");
    app.sql("DROP TABLE _wbsync_outbox");
    app.sync.change_triggers(TriggerChange::Uninstall).unwrap();
    app.sql("SELECT 1 FROM users; UPDATE users SET username = 'y'");
}

#[test]
fn what_is_not_noted_wakes_nobody() {
    let mut app = App::new();
    app.settle();
    let mut app = app.watched();
    app.sql("INSERT INTO invite_map_cache VALUES(1, 'a page was viewed')");
    assert!(!app.sync.wait_for_change(Duration::ZERO).unwrap());
    app.user("ann", "public");
    assert!(app.sync.wait_for_change(Duration::MAX).unwrap());
    app.settle();
    app.sql("DROP TRIGGER _wbsync_update_users; INSERT INTO invite_map_cache VALUES(2, 'another')");
    assert!(app.sync.wait_for_change(Duration::MAX).unwrap(), "without triggers anything may have changed");
}
