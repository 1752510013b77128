//! Each way in which the database or its mapping can be wrong has its error and its advice.

use rusqlite::Connection;
use wbsync::connector::contract::{Connector, Context};
use wbsync::connector::error::Error;
use wbsync::connector::mapping::model::Mapping;
use wbsync::connector::sql::connector::SqlConnector;
use wbsync::connector::sqlite;
use wbsync::connector::sqlite::options::Options;

use super::harness::*;

fn open(path: &std::path::Path, own: &str) -> Result<SqlConnector, Error> {
    let mapping = Mapping::load(Some("whiteballoon"), own.parse().unwrap(), "test")?;
    let mut options = Options::new(path, path.parent().unwrap(), path.parent().unwrap());
    options.busy_ms = 100;
    sqlite::open(options, mapping, context())
}

fn told(error: &Error, what: &str) {
    assert!(error.to_string().contains(what), "{error}");
    assert!(error.hint().is_some(), "{error:?} has no advice");
}

#[test]
fn a_missing_file_is_not_created() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("none.db");
    let error = open(&path, "").unwrap_err();
    assert!(matches!(error, Error::Missing { .. }));
    told(&error, "none.db");
    assert!(!path.exists());
}

#[test]
fn other_files_are_no_database() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("text.db");
    std::fs::write(&path, "hello ".repeat(1000)).unwrap();
    assert!(matches!(open(&path, "").unwrap_err(), Error::NotADatabase { .. }));
    assert!(matches!(open(dir.path(), "").unwrap_err(), Error::NotADatabase { .. }));
    std::fs::write(&path, "").unwrap();
    let error = open(&path, "").unwrap_err();
    assert!(matches!(error, Error::UnknownTable { .. }));
    told(&error, "no table");
}

#[test]
fn a_mapping_that_does_not_fit_is_named() {
    let app = App::new();
    for (own, what) in [
        ("dataset.users.fields.nick = { type = \"text\" }", "no column \"nick\""),
        ("dataset.users.table = \"people\"", "no table \"people\""),
        ("dataset.users.key = \"username\"", "is id, not username"),
        ("dataset.users.insert = { rank = 1 }", "no column \"rank\""),
        ("dataset.comments.enabled = false\ndataset.users.birth = [\"born\"]", "no column \"born\""),
    ] {
        told(&open(&app.db.path, own).unwrap_err(), what);
    }
    app.sql("ALTER TABLE users ADD COLUMN shoe_size INTEGER NOT NULL DEFAULT 42");
    open(&app.db.path, "").unwrap();
    app.sql(
        "DROP TABLE vouches; CREATE TABLE vouches (id INTEGER PRIMARY KEY, voucher_user_id INTEGER NOT NULL,
             subject_user_id INTEGER NOT NULL, signature TEXT, created_at DATETIME NOT NULL, weight INTEGER NOT NULL)",
    );
    told(&open(&app.db.path, "").unwrap_err(), "new rows need a value for \"weight\"");
    open(&app.db.path, "dataset.vouches.insert = { weight = 1 }").unwrap();
}

#[test]
fn a_lock_that_lasts_is_an_error_that_says_how_long() {
    let mut app = App::new();
    app.settle();
    let mut sync = open(&app.db.path, "").unwrap();
    app.sql("BEGIN IMMEDIATE");
    let error = sync.begin_apply(b"x").unwrap_err();
    assert!(matches!(error, Error::Locked { waited_ms: 100, .. }), "{error:?}");
    told(&error, "100 ms");
    assert!(matches!(sync.check().unwrap_err(), Error::Locked { .. }));
    app.sql("ROLLBACK");
    sync.check().unwrap();
    sync.begin_apply(b"x").unwrap();
}

#[test]
fn a_read_only_database_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.db");
    let conn = Connection::open(&path).unwrap();
    conn.execute_batch("CREATE TABLE t(x); PRAGMA query_only = ON").unwrap();
    let refused = conn.execute("INSERT INTO t VALUES(1)", []).unwrap_err();
    let error = Error::sqlite("write", &path, 0, refused);
    assert!(matches!(error, Error::ReadOnly { .. }), "{error:?}");
    told(&error, "app.db");
    assert!(error.hint().unwrap().contains("app.db"));
}

#[cfg(unix)]
#[test]
fn a_file_without_write_permission_is_found_before_work_begins() {
    use std::os::unix::fs::PermissionsExt;
    let app = App::new();
    std::fs::set_permissions(&app.db.path, std::fs::Permissions::from_mode(0o444)).unwrap();
    if std::fs::File::options().write(true).open(&app.db.path).is_ok() {
        return; // The superuser writes regardless.
    }
    let error = open(&app.db.path, "").unwrap().check().unwrap_err();
    assert!(matches!(error, Error::ReadOnly { .. }), "{error:?}");
}

#[test]
fn an_application_without_administrator_is_not_ready() {
    let mut app = App::new();
    app.sync.check_ready().unwrap();
    app.sql("DELETE FROM users");
    let error = app.sync.check_ready().unwrap_err();
    told(&error, "not ready");
    assert!(error.hint().unwrap().contains("register the first account"));
}

#[test]
fn bookkeeping_of_others_is_left_alone() {
    let mut app = App::new();
    app.settle();
    let options = Options::new(&app.db.path, app.dir.path(), app.dir.path());
    let mapping = Mapping::load(Some("whiteballoon"), toml::Table::new(), "").unwrap();
    let mut copy = sqlite::open(options, mapping, Context { own: BETA, ..context() }).unwrap();
    told(&copy.position().unwrap_err(), "belongs to the instance 01010101");
    app.sql("UPDATE _wbsync_meta SET format = 99");
    let error = app.sync.position().unwrap_err();
    assert!(matches!(error, Error::Newer { found: 99, .. }));
    told(&error, "format 99");
}

#[test]
fn checking_and_opening_write_nothing() {
    let mut app = App::new();
    let before = std::fs::read(&app.db.path).unwrap();
    app.sync.check().unwrap();
    app.sync.position().unwrap();
    assert_eq!(std::fs::read(&app.db.path).unwrap(), before);
}
