//! Creates a made-up application database of any size, deterministic from its options.
//!
//! Rows go in as the application would have written them, in one transaction; memory is a few dozen bytes per
//! member and request. Foreign keys hold, though the application doesn't check them.

use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::testing::whiteballoon::maker::Maker;
use crate::testing::whiteballoon::{board, invites, local_only, people};

/// The application's tables.
pub const SCHEMA: &str = include_str!("../../../fixtures/whiteballoon/schema.sql");

/// What to make. Equal options make equal databases.
#[derive(Debug, Clone)]
pub struct Seed {
    /// Rows of the tables that can be synced, all together; the tables that never are come on top.
    pub records: u64,
    /// Where the random sequence starts.
    pub seed: u64,
    /// A word that, followed by a number, goes into every text that must never leave, and nowhere else.
    ///
    /// That is: texts of rows whose effective audience is private (also by a draft, a private parent or a soft
    /// deletion), addresses, tokens, private attributes, and the tables that are never synced.
    pub canary: Option<String>,
    /// Goes before every user name, so that two databases share none.
    pub username_prefix: String,
    /// Integer keys begin after this number; the administrator is the first user.
    pub id_offset: i64,
}

impl Seed {
    /// Returns options for `records` rows with nothing special.
    pub fn new(records: u64, seed: u64) -> Self {
        Self { records, seed, canary: None, username_prefix: String::new(), id_offset: 0 }
    }
}

/// How many rows each table that can be synced gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// `users`: a fortieth of all, at least the administrator.
    pub users: u64,
    /// `user_attributes`
    pub user_attributes: u64,
    /// `vouches`
    pub vouches: u64,
    /// `invite_tokens`
    pub invites: u64,
    /// `invite_personalizations`
    pub personalizations: u64,
    /// `help_requests`
    pub requests: u64,
    /// `request_comments`: eight for each request.
    pub comments: u64,
}

impl Counts {
    /// Divides `records` among the tables; the sum is `records`, or 1 if that is 0.
    pub fn plan(records: u64) -> Self {
        let users = (records / 40).max(1);
        let mut left = records.saturating_sub(users);
        let mut take = |wanted: u64| {
            let taken = wanted.min(left);
            left -= taken;
            taken
        };
        let user_attributes = take(if records < 40 { 0 } else { users * 2 });
        let vouches = take(if users > 1 { users } else { 0 });
        let invites = take(users * 4 / 5);
        let personalizations = take(invites / 4);
        let requests = left.div_ceil(9);
        Self { users, user_attributes, vouches, invites, personalizations, requests, comments: left - requests }
    }

    /// Returns the sum.
    pub fn total(&self) -> u64 {
        self.users
            + self.user_attributes
            + self.vouches
            + self.invites
            + self.personalizations
            + self.requests
            + self.comments
    }
}

/// A made-up database couldn't be written or edited.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// A file is in the way.
    #[error("cannot create application database {path}: it exists", path = .0.display())]
    Exists(PathBuf),
    /// The database doesn't open, or its transaction doesn't begin or end.
    #[error("cannot {doing} application database {path}", path = path.display())]
    Database {
        /// "open", "prepare" or "commit".
        doing: &'static str,
        /// Its file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// A row couldn't be written or read.
    #[error("cannot make rows of table {table}")]
    Table {
        /// Its name.
        table: &'static str,
        /// Why.
        source: rusqlite::Error,
    },
}

/// Names the table in the error of a statement.
pub(super) fn in_table(table: &'static str) -> impl Fn(rusqlite::Error) -> SeedError {
    move |source| SeedError::Table { table, source }
}

/// Creates the database `path`, which must not exist.
///
/// # Errors
/// `Exists` if there is a file; else as SQLite says, and the file may be there, in part.
pub fn create(path: &Path, options: &Seed) -> Result<Counts, SeedError> {
    if path.exists() {
        return Err(SeedError::Exists(path.to_owned()));
    }
    let failed = |doing| move |source| SeedError::Database { doing, path: path.to_owned(), source };
    let mut db = Connection::open(path).map_err(failed("open"))?;
    // A crash leaves a broken file, and that is fine for one that can be made again.
    db.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -65536")
        .map_err(failed("prepare"))?;
    let transaction = db.transaction().map_err(failed("prepare"))?;
    transaction.execute_batch(SCHEMA).map_err(failed("prepare"))?;

    let counts = Counts::plan(options.records);
    let mut maker = Maker::new(options);
    people::write(&mut maker, &transaction, &counts)?;
    invites::write(&mut maker, &transaction, &counts)?;
    board::write(&mut maker, &transaction, &counts)?;
    local_only::write(&mut maker, &transaction)?;
    transaction.commit().map_err(failed("commit"))?;
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORD: &str = "zqcanary";

    fn made(options: &Seed) -> (tempfile::TempDir, Connection) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.db");
        create(&path, options).unwrap();
        let db = Connection::open(&path).unwrap();
        (dir, db)
    }

    fn count(db: &Connection, sql: &str) -> i64 {
        db.query_row(sql, [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn every_size_is_divided_without_rest() {
        for records in (1..500).chain([1_000, 100_000, 1_000_000]) {
            assert_eq!(Counts::plan(records).total(), records);
        }
        let counts = Counts::plan(100_000);
        assert_eq!((counts.users, counts.comments / counts.requests), (2500, 7), "{counts:?}");
    }

    #[test]
    fn every_small_size_can_be_made() {
        for records in [1, 2, 3, 10, 39, 40, 41, 80, 97, 200] {
            let (_dir, db) = made(&Seed::new(records, 3));
            let sql = "SELECT (SELECT count(*) FROM users) + (SELECT count(*) FROM help_requests) \
                + (SELECT count(*) FROM request_comments) + (SELECT count(*) FROM invite_tokens) \
                + (SELECT count(*) FROM invite_personalizations) + (SELECT count(*) FROM vouches) \
                + (SELECT count(*) FROM user_attributes)";
            assert_eq!(count(&db, sql), records as i64);
        }
    }

    #[test]
    fn equal_options_make_equal_files() {
        let file = |seed| {
            let (dir, db) = made(&Seed::new(500, seed));
            drop(db);
            std::fs::read(dir.path().join("app.db")).unwrap()
        };
        assert_eq!(file(7), file(7));
        assert_ne!(file(7), file(8));
    }

    #[test]
    fn the_database_is_whole_and_varied() {
        let (_dir, db) = made(&Seed { id_offset: 1000, username_prefix: "b-".into(), ..Seed::new(4000, 5) });
        let none = "SELECT count(*) FROM pragma_foreign_key_check";
        assert_eq!(count(&db, none), 0);
        assert_eq!(db.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0)).unwrap(), "ok");
        assert_eq!(count(&db, "SELECT id FROM users WHERE is_admin = 1"), 1001);
        assert_eq!(count(&db, "SELECT count(*) FROM users WHERE username NOT LIKE 'b-%'"), 0);
        for sql in [
            "SELECT count(*) FROM help_requests WHERE status = 'draft'",
            "SELECT count(*) FROM help_requests WHERE status = 'pending'",
            "SELECT count(*) FROM help_requests WHERE created_by_user_id IS NULL",
            "SELECT count(*) FROM help_requests WHERE contact_email IS NOT NULL",
            "SELECT count(*) FROM help_requests WHERE status = 'completed' AND completed_at IS NOT NULL",
            "SELECT count(*) FROM request_comments WHERE deleted_at IS NOT NULL",
            "SELECT count(*) FROM request_comments WHERE sync_scope = 'do_not_sync'",
            "SELECT count(*) FROM request_comments WHERE instr(body, char(13)) > 0",
            "SELECT count(*) FROM request_comments WHERE instr(body, char(0x2028)) > 0",
            "SELECT count(*) FROM sessions",
            "SELECT count(*) FROM invite_map_cache",
        ] {
            assert!(count(&db, sql) > 0, "{sql}");
        }
        for (scope, low, high) in [("public", 66, 74), ("private", 17, 23), ("trusted", 6, 10)] {
            let sql = format!("SELECT 100 * avg(sync_scope = '{scope}') FROM request_comments");
            let percent: f64 = db.query_row(&sql, [], |row| row.get(0)).unwrap();
            assert!(percent > f64::from(low) && percent < f64::from(high), "{percent} % are {scope}");
        }
    }

    /// The rule of who sees a row is written here a second time, in SQL, as a check on the one that placed the canaries.
    #[test]
    fn canaries_are_in_every_private_text_and_in_no_other() {
        let (_dir, db) = made(&Seed { canary: Some(WORD.into()), ..Seed::new(4000, 9) });
        let shared = "('public', 'trusted')";
        let shown = format!("(r.sync_scope IN {shared} AND r.status IN ('open', 'completed'))");
        let seen = format!("(c.sync_scope IN {shared} AND c.deleted_at IS NULL AND {shown})");
        let comment = "request_comments c JOIN help_requests r ON r.id = c.help_request_id";
        let user = format!("(u.sync_scope IN {shared})");
        let vouch = "vouches v JOIN users u ON u.id = v.voucher_user_id JOIN users w ON w.id = v.subject_user_id";
        let both = format!("({user} AND w.sync_scope IN {shared})");
        let invite = format!("(i.sync_scope IN {shared})");
        let attribute = "user_attributes a JOIN users u ON u.id = a.user_id";
        let carried = "(a.key = 'profile_photo_url' OR a.key LIKE 'signal_display_name:%')";
        let listed = format!("({user} AND {carried})");
        for (from, text, leaves) in [
            ("users u", "u.username", user.as_str()),
            ("users u", "u.contact_email", "false"),
            ("help_requests r", "r.title", &shown),
            ("help_requests r", "r.description", &shown),
            ("help_requests r", "r.contact_email", "false"),
            (comment, "c.body", &seen),
            ("invite_tokens i", "i.token", "false"),
            ("invite_tokens i", "i.suggested_username", &invite),
            ("invite_tokens i", "i.suggested_bio", &invite),
            ("invite_personalizations p JOIN invite_tokens i USING (token)", "p.gratitude_note", &invite),
            ("invite_personalizations p JOIN invite_tokens i USING (token)", "p.photo_url", "false"),
            (vouch, "v.signature", &both),
            (&format!("{attribute} AND a.key <> 'invited_by_user_id'"), "a.value", &listed),
            ("sessions s", "s.id", "false"),
            ("rss_feed_tokens s", "s.token", "false"),
            ("user_profile_highlights s", "s.bio_text", "false"),
            ("recurring_request_templates s", "s.description", "false"),
        ] {
            let has = format!("(instr({text}, '{WORD}') > 0)");
            let wrong = format!("SELECT count(*) FROM {from} WHERE {text} IS NOT NULL AND {has} = {leaves}");
            assert_eq!(count(&db, &wrong), 0, "{wrong}");
            let some = format!("SELECT count(*) FROM {from} WHERE {has}");
            assert!(count(&db, &some) > 0, "{some}");
        }
    }
}
