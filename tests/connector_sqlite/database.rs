//! The application's database: a SQLite file.

use std::path::{Path, PathBuf};

use rusqlite::Connection;
use wbsync::connector::capturing::Capturing;
use wbsync::connector::contract::Context;
use wbsync::connector::mapping::model::Mapping;
use wbsync::connector::sql::connector::SqlConnector;
use wbsync::connector::sqlite;
use wbsync::connector::sqlite::options::Options;
use wbsync::testing::prng::Prng;

use super::harness::{Raw, context};

const SCHEMA: &str = "
CREATE TABLE users (id INTEGER NOT NULL, username VARCHAR, is_admin BOOLEAN NOT NULL, contact_email VARCHAR(255),
    created_at DATETIME NOT NULL, sync_scope VARCHAR NOT NULL, PRIMARY KEY (id));
CREATE UNIQUE INDEX ix_users_username ON users (username);
CREATE TABLE help_requests (id INTEGER NOT NULL, title VARCHAR(200), description VARCHAR(4000) NOT NULL,
    status VARCHAR NOT NULL, contact_email VARCHAR(255), created_by_user_id INTEGER, created_at DATETIME NOT NULL,
    updated_at DATETIME NOT NULL, completed_at DATETIME, sync_scope VARCHAR NOT NULL, PRIMARY KEY (id),
    FOREIGN KEY(created_by_user_id) REFERENCES users (id));
CREATE TABLE request_comments (id INTEGER NOT NULL, help_request_id INTEGER NOT NULL, user_id INTEGER NOT NULL,
    body TEXT NOT NULL, created_at DATETIME NOT NULL, deleted_at DATETIME, sync_scope VARCHAR NOT NULL,
    PRIMARY KEY (id), FOREIGN KEY(help_request_id) REFERENCES help_requests (id),
    FOREIGN KEY(user_id) REFERENCES users (id));
CREATE INDEX ix_request_comments_help_request_id ON request_comments (help_request_id);
CREATE INDEX ix_request_comments_user_id ON request_comments (user_id);
CREATE TABLE vouches (id INTEGER NOT NULL, voucher_user_id INTEGER NOT NULL, subject_user_id INTEGER NOT NULL,
    signature VARCHAR(128), created_at DATETIME NOT NULL, PRIMARY KEY (id),
    CONSTRAINT ux_vouches_unique UNIQUE (voucher_user_id, subject_user_id),
    FOREIGN KEY(voucher_user_id) REFERENCES users (id), FOREIGN KEY(subject_user_id) REFERENCES users (id));
CREATE TABLE user_attributes (id INTEGER NOT NULL, user_id INTEGER NOT NULL, key VARCHAR NOT NULL, value VARCHAR,
    created_at DATETIME NOT NULL, updated_at DATETIME NOT NULL, created_by_user_id INTEGER,
    updated_by_user_id INTEGER, PRIMARY KEY (id), CONSTRAINT ux_user_attributes_user_key UNIQUE (user_id, key),
    FOREIGN KEY(user_id) REFERENCES users (id));
CREATE TABLE invite_tokens (token VARCHAR NOT NULL, created_by_user_id INTEGER, created_at DATETIME NOT NULL,
    expires_at DATETIME, max_uses INTEGER NOT NULL, use_count INTEGER NOT NULL, disabled BOOLEAN NOT NULL,
    auto_approve BOOLEAN NOT NULL, suggested_username VARCHAR(64), suggested_bio VARCHAR(512),
    sync_scope VARCHAR NOT NULL, PRIMARY KEY (token), FOREIGN KEY(created_by_user_id) REFERENCES users (id));
CREATE TABLE invite_map_cache (user_id INTEGER NOT NULL, payload TEXT NOT NULL, PRIMARY KEY (user_id));
INSERT INTO users VALUES(1, 'admin', 1, 'admin@example.org', '2026-01-01 00:00:00.000000', 'private');
";

/// Finds nothing: the bookkeeping's tables have names of their own.
pub(crate) const BOOKS_ARE_A_SCHEMA: &str = "SELECT 1 FROM sqlite_schema WHERE name = 'map'";
/// Two tables whose rows need each other; `late` says how their foreign keys are declared.
pub(crate) fn circle(late: &str) -> String {
    format!(
        "CREATE TABLE ships (id INTEGER PRIMARY KEY, name TEXT NOT NULL,
             captain_id INTEGER NOT NULL REFERENCES captains(id) {late});
         CREATE TABLE captains (id INTEGER PRIMARY KEY, name TEXT NOT NULL,
             ship_id INTEGER NOT NULL REFERENCES ships(id) {late})"
    )
}
/// Whether such rows can be deleted together: it takes a database that checks late constraints when it is asked to.
pub(crate) const DELETES_CIRCLES: bool = false;
/// A key that the database chooses.
pub(crate) const SERIAL: &str = "INTEGER PRIMARY KEY";
/// A text that this database holds.
pub(crate) const ODD: &str = "line\r\nline\u{2028}\0";
/// What is said where a NULL is refused, and a second row with equal values.
pub(crate) const REFUSALS: [&str; 2] = ["help_requests.description", "vouches.voucher_user_id"];

pub(crate) struct Database {
    pub(crate) conn: Connection,
    pub(crate) path: PathBuf,
}

impl Database {
    pub(crate) fn new(dir: &Path) -> Self {
        let path = dir.join("app.db");
        let conn = Connection::open(&path).unwrap();
        conn.execute_batch(SCHEMA).unwrap();
        conn.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
        Self { conn, path }
    }

    pub(crate) fn connect(&self, dir: &Path, mapping: Mapping, capturing: Capturing) -> SqlConnector {
        self.connect_in(dir, mapping, capturing, context())
    }

    pub(crate) fn connect_as(&self, dir: &Path, mapping: Mapping, context: Context) -> SqlConnector {
        self.connect_in(dir, mapping, Capturing::Scan, context)
    }

    pub(crate) fn connect_in(
        &self,
        dir: &Path,
        mapping: Mapping,
        capturing: Capturing,
        context: Context,
    ) -> SqlConnector {
        let mut options = Options::new(&self.path, dir, dir);
        options.capturing = capturing;
        sqlite::open(options, mapping, context).unwrap()
    }

    pub(crate) fn batch(&self, sql: &str) {
        self.conn.execute_batch(sql).unwrap();
    }

    pub(crate) fn rows(&self, sql: &str) -> Vec<Vec<Raw>> {
        let mut statement = self.conn.prepare(sql).unwrap();
        let width = statement.column_count();
        let rows = statement.query_map([], |row| (0..width).map(|at| row.get(at)).collect()).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    }

    pub(crate) fn whole(&self) {
        let text = |sql| self.conn.query_row(sql, [], |row| row.get::<_, String>(0)).unwrap();
        assert_eq!(text("PRAGMA integrity_check"), "ok");
        assert_eq!(text("SELECT CAST(count(*) AS TEXT) FROM pragma_foreign_key_check"), "0", "foreign keys");
    }
}

/// What belongs to the capture by triggers, and all else.
pub(crate) const NOTHING_LEFT: &str = "SELECT type, name, sql FROM sqlite_schema ORDER BY type, name";

impl Database {
    /// Takes one trigger away, as a migration that rebuilds a table does.
    pub(crate) fn break_triggers(&self, table: &str) {
        self.batch(&format!("DROP TRIGGER _wbsync_update_{table}"));
    }

    /// Does something while a table has no triggers.
    pub(crate) fn without_triggers(&self, table: &str, sql: &str) {
        let name = format!("_wbsync_update_{table}");
        let text = self.rows(&format!("SELECT sql FROM sqlite_schema WHERE name = '{name}'"));
        let Raw::Text(trigger) = &text[0][0] else { panic!("{text:?}") };
        self.batch(&format!("DROP TRIGGER {name}; {sql}; {trigger}"));
    }
}

/// An edit that only SQLite has.
pub(crate) fn odd_edit(random: &mut Prng, time: &str, scope: &str) -> String {
    let (a, b, word) = (random.below(9) + 1, random.below(9) + 1, random.below(1000));
    match random.below(4) {
        0 => format!(
            "INSERT OR REPLACE INTO vouches(voucher_user_id, subject_user_id, signature, created_at)
             VALUES({a}, {b}, 'o{word}', '{time}')"
        ),
        1 => format!("UPDATE OR REPLACE vouches SET voucher_user_id = {a}, subject_user_id = {b} WHERE id = {b}"),
        2 => format!(
            "INSERT OR REPLACE INTO users(username, is_admin, created_at, sync_scope)
             SELECT username, 0, '{time}', '{scope}' FROM users WHERE id = {a} AND id <> 1"
        ),
        _ => {
            format!("UPDATE OR IGNORE users SET username = (SELECT username FROM users WHERE id = {b}) WHERE id = {a}")
        }
    }
}

impl Database {
    /// Returns a connection of its own that writes; it tells whether the database took it. It waits for no lock longer than
    /// so many milliseconds: then it panics.
    pub(crate) fn writer(&self, lock_ms: u64) -> impl FnMut(&str) -> bool + Send + use<> {
        let conn = Connection::open(&self.path).unwrap();
        conn.busy_timeout(std::time::Duration::from_millis(lock_ms)).unwrap();
        conn.execute_batch("PRAGMA foreign_keys = OFF; PRAGMA synchronous = OFF").unwrap();
        move |sql| match conn.execute_batch(&sql.replace("BEGIN;", "BEGIN IMMEDIATE;")) {
            Ok(()) => true,
            Err(error) => {
                let refused = error.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation);
                assert!(refused, "{sql}: {error}");
                if !conn.is_autocommit() {
                    conn.execute_batch("ROLLBACK").unwrap();
                }
                false
            }
        }
    }

    /// SQLite counts nothing by itself.
    pub(crate) fn rows_read(&self) -> Option<(i64, i64)> {
        None
    }

    pub(crate) fn forget_counts(&self) {}
}
