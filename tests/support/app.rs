//! An application with its database in a temporary directory, written to as the application itself does.

use std::cell::Cell;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::types::ToSql;
use rusqlite::{Connection, params};
use tempfile::TempDir;
use wbsync::testing::whiteballoon::seed::{SCHEMA, Seed, create};
use wbsync::testing::whiteballoon::stamp::spell;

use super::run::{Run, wbsync};

/// One installation: a directory with `data/app.db`. Gone when dropped.
pub struct App {
    dir: TempDir,
    /// Microseconds; every row gets a later one, so runs are alike.
    now: Cell<i64>,
}

/// A new row of `help_requests`; the rest of its columns as the application fills them.
pub struct Request<'a> {
    pub author: Option<i64>,
    pub title: Option<&'a str>,
    pub description: &'a str,
    pub status: &'a str,
    pub scope: &'a str,
}

impl Default for Request<'_> {
    fn default() -> Self {
        Self { author: Some(App::ADMIN), title: None, description: "", status: "open", scope: "public" }
    }
}

impl App {
    /// Key of the administrator that `new` makes.
    pub const ADMIN: i64 = 1;

    /// Makes an installation whose only user is the administrator `admin`, who is private like every new user.
    pub fn new() -> Self {
        let app = Self::without_users();
        let admin = app.insert_user("admin", "private");
        assert_eq!(admin, Self::ADMIN);
        app.execute("UPDATE users SET is_admin = 1 WHERE id = ?1", &[&admin]);
        app
    }

    /// Makes an installation that nobody has registered at.
    pub fn without_users() -> Self {
        let app = Self::empty();
        app.db().execute_batch(SCHEMA).expect("the schema is sound");
        app
    }

    /// Makes an installation full of made-up rows.
    pub fn seeded(options: &Seed) -> Self {
        let app = Self::empty();
        create(&app.db_path(), options).expect("the database can be made");
        app
    }

    fn empty() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        std::fs::create_dir(dir.path().join("data")).expect("an empty directory");
        // 2026-02-01 12:00:00 UTC
        Self { dir, now: Cell::new(1_769_947_200_000_000) }
    }

    /// Returns the directory it runs in.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Returns its database file.
    pub fn db_path(&self) -> PathBuf {
        self.dir().join("data/app.db")
    }

    /// Opens its database like the application: foreign keys off, five seconds of patience.
    pub fn db(&self) -> Connection {
        let db = Connection::open(self.db_path()).expect("the database opens");
        db.busy_timeout(Duration::from_secs(5)).expect("a timeout is set");
        db.execute_batch("PRAGMA foreign_keys = OFF").expect("a pragma");
        db
    }

    /// Lets some time pass, in microseconds: rows of two installations are hardly ever made in the same one.
    pub fn wait(&self, micros: i64) {
        self.now.set(self.now.get() + micros);
    }

    /// Returns a time later than any before, in the application's spelling.
    pub fn now(&self) -> String {
        self.now.set(self.now.get() + 1_000_001);
        spell(self.now.get())
    }

    /// Adds a user without rights or address and returns its key.
    pub fn insert_user(&self, username: &str, scope: &str) -> i64 {
        let sql = "INSERT INTO users (username, is_admin, contact_email, created_at, sync_scope) \
            VALUES (?1, 0, NULL, ?2, ?3)";
        self.insert(sql, params![username, self.now(), scope])
    }

    /// Adds an open request and returns its key.
    pub fn insert_request(&self, author: Option<i64>, description: &str, scope: &str) -> i64 {
        self.insert_request_with(&Request { author, description, scope, ..Request::default() })
    }

    /// Adds a request and returns its key; a completed one was completed at once.
    pub fn insert_request_with(&self, request: &Request<'_>) -> i64 {
        let now = self.now();
        let completed = (request.status == "completed").then_some(&now);
        let sql = "INSERT INTO help_requests (title, description, status, contact_email, created_by_user_id, \
            created_at, updated_at, completed_at, sync_scope) VALUES (?1, ?2, ?3, NULL, ?4, ?5, ?5, ?6, ?7)";
        let Request { author, title, description, status, scope } = request;
        self.insert(sql, params![title, description, status, author, now, completed, scope])
    }

    /// Adds a comment and returns its key.
    pub fn insert_comment(&self, request: i64, author: i64, body: &str, scope: &str) -> i64 {
        let sql = "INSERT INTO request_comments (help_request_id, user_id, body, created_at, deleted_at, sync_scope) \
            VALUES (?1, ?2, ?3, ?4, NULL, ?5)";
        self.insert(sql, params![request, author, body, self.now(), scope])
    }

    /// Adds a vouch and returns its key.
    pub fn insert_vouch(&self, voucher: i64, subject: i64) -> i64 {
        let sql = "INSERT INTO vouches (voucher_user_id, subject_user_id, signature, created_at) \
            VALUES (?1, ?2, NULL, ?3)";
        self.insert(sql, params![voucher, subject, self.now()])
    }

    /// Adds a user's attribute and returns its key.
    pub fn insert_attribute(&self, user: i64, key: &str, value: &str) -> i64 {
        let sql = "INSERT INTO user_attributes (user_id, \"key\", value, created_at, updated_at, \
            created_by_user_id, updated_by_user_id) VALUES (?1, ?2, ?3, ?4, ?4, ?1, ?1)";
        self.insert(sql, params![user, key, value, self.now()])
    }

    /// Adds an invitation for one use.
    pub fn insert_invite(&self, token: &str, author: Option<i64>, scope: &str) {
        let sql = "INSERT INTO invite_tokens (token, created_by_user_id, created_at, expires_at, max_uses, use_count, \
            disabled, auto_approve, suggested_username, suggested_bio, sync_scope) \
            VALUES (?1, ?2, ?3, NULL, 1, 0, 0, 1, NULL, NULL, ?4)";
        self.insert(sql, params![token, author, self.now(), scope]);
    }

    /// Changes a request's description as its author would, with `updated_at`.
    pub fn edit_request(&self, request: i64, description: &str) {
        let sql = "UPDATE help_requests SET description = ?2, updated_at = ?3 WHERE id = ?1";
        self.execute(sql, &[&request, &description, &self.now()]);
    }

    /// Completes a request.
    pub fn complete_request(&self, request: i64) {
        let now = self.now();
        let sql = "UPDATE help_requests SET status = 'completed', completed_at = ?2, updated_at = ?2 WHERE id = ?1";
        self.execute(sql, &[&request, &now]);
    }

    /// Marks a comment as deleted; the application does no more than that either.
    pub fn delete_comment(&self, comment: i64) {
        self.execute("UPDATE request_comments SET deleted_at = ?2 WHERE id = ?1", &[&comment, &self.now()]);
    }

    /// Changes a row's scope and nothing else, like the application.
    pub fn set_scope(&self, table: &str, id: i64, scope: &str) {
        self.execute(&format!("UPDATE {table} SET sync_scope = ?2 WHERE id = ?1"), &[&id, &scope]);
    }

    /// Runs a statement that must change exactly one row.
    #[track_caller]
    pub fn execute(&self, sql: &str, values: &[&dyn ToSql]) {
        let changed = self.db().execute(sql, values).unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert_eq!(changed, 1, "rows changed by {sql}");
    }

    /// Returns the first column of the first row as text; NULL is `NULL`, text is unquoted.
    #[track_caller]
    pub fn value(&self, sql: &str) -> String {
        use rusqlite::types::ValueRef;
        let read = |row: &rusqlite::Row<'_>| {
            Ok(match row.get_ref(0)? {
                ValueRef::Null => "NULL".to_owned(),
                ValueRef::Integer(number) => number.to_string(),
                ValueRef::Real(number) => number.to_string(),
                ValueRef::Text(bytes) | ValueRef::Blob(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            })
        };
        self.db().query_row(sql, [], read).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Returns a table as text, a line for each row, sorted: `id=1 username='admin' …`.
    pub fn dump(&self, table: &str) -> String {
        let db = self.db();
        let mut columns = db.prepare("SELECT name FROM pragma_table_info(?1)").expect("a pragma");
        let columns: Result<Vec<String>, _> = columns.query_map([table], |row| row.get(0)).expect("runs").collect();
        let columns = columns.expect("names are text");
        assert!(!columns.is_empty(), "there is no table {table}");
        self.dump_columns(table, &columns.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Returns some columns of a table (or of a join) as text; without the keys, two installations can be compared.
    pub fn dump_columns(&self, table: &str, columns: &[&str]) -> String {
        let quoted: Vec<String> = columns.iter().map(|column| format!("quote({column})")).collect();
        let sql = format!("SELECT {} FROM {table}", quoted.join(", "));
        let db = self.db();
        let mut select = db.prepare(&sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        let mut rows = select.query([]).expect("runs");
        let mut lines = Vec::new();
        while let Some(row) = rows.next().expect("reads") {
            let mut line = String::new();
            for (index, column) in columns.iter().enumerate() {
                let value: String = row.get(index).expect("quote() gives text");
                let blank = if index == 0 { "" } else { " " };
                // A line break inside a text must not look like another row.
                write!(line, "{blank}{column}={}", value.replace('\n', "\\n")).expect("strings grow");
            }
            lines.push(line);
        }
        lines.sort();
        lines.into_iter().map(|line| line + "\n").collect()
    }

    /// Asserts that no foreign key dangles and that the file is sound.
    #[track_caller]
    pub fn assert_whole(&self) {
        let dangling = self.dump_columns("pragma_foreign_key_check", &["\"table\"", "rowid", "parent"]);
        assert_eq!(dangling, "", "rows that refer to nothing");
        assert_eq!(self.value("PRAGMA integrity_check"), "ok");
    }

    /// Runs `wbsync` in its directory.
    pub fn wbsync(&self, args: &[&str]) -> Run {
        wbsync(self.dir(), args)
    }

    fn insert(&self, sql: &str, values: impl rusqlite::Params) -> i64 {
        let db = self.db();
        db.execute(sql, values).unwrap_or_else(|error| panic!("{sql}: {error}"));
        db.last_insert_rowid()
    }
}
