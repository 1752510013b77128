//! The application's database: one of its own in a temporary cluster.
//!
//! Its keys are the highest plus one, as SQLite's are, so that the same tests hold; `pair` has real sequences. The application's own
//! connection doesn't enforce foreign keys, as it doesn't on SQLite.

use std::cell::{Cell, RefCell};
use std::path::Path;

use postgres::types::Type;
use postgres::{Client, SimpleQueryMessage};
use wbsync::connector::capturing::Capturing;
use wbsync::connector::contract::Context;
use wbsync::connector::dburl::{self, Address};
use wbsync::connector::mapping::model::Mapping;
use wbsync::connector::postgres::options::Options;
use wbsync::connector::sql::connector::SqlConnector;
use wbsync::testing::prng::Prng;

use super::harness::{Raw, context};
use super::support::postgres::{Cluster, connect};

const SCHEMA: &str = "
CREATE TABLE users (id INTEGER NOT NULL, username VARCHAR, is_admin BOOLEAN NOT NULL, contact_email VARCHAR(255),
    created_at TIMESTAMP NOT NULL, sync_scope VARCHAR NOT NULL, PRIMARY KEY (id));
CREATE UNIQUE INDEX ix_users_username ON users (username);
CREATE TABLE help_requests (id INTEGER NOT NULL, title VARCHAR(200), description VARCHAR(4000) NOT NULL,
    status VARCHAR NOT NULL, contact_email VARCHAR(255), created_by_user_id INTEGER, created_at TIMESTAMP NOT NULL,
    updated_at TIMESTAMP NOT NULL, completed_at TIMESTAMP, sync_scope VARCHAR NOT NULL, PRIMARY KEY (id),
    FOREIGN KEY(created_by_user_id) REFERENCES users (id));
CREATE TABLE request_comments (id INTEGER NOT NULL, help_request_id INTEGER NOT NULL, user_id INTEGER NOT NULL,
    body TEXT NOT NULL, created_at TIMESTAMP NOT NULL, deleted_at TIMESTAMP, sync_scope VARCHAR NOT NULL,
    PRIMARY KEY (id), FOREIGN KEY(help_request_id) REFERENCES help_requests (id),
    FOREIGN KEY(user_id) REFERENCES users (id));
CREATE INDEX ix_request_comments_help_request_id ON request_comments (help_request_id);
CREATE INDEX ix_request_comments_user_id ON request_comments (user_id);
CREATE TABLE vouches (id INTEGER NOT NULL, voucher_user_id INTEGER NOT NULL, subject_user_id INTEGER NOT NULL,
    signature VARCHAR(128), created_at TIMESTAMP NOT NULL, PRIMARY KEY (id),
    CONSTRAINT ux_vouches_unique UNIQUE (voucher_user_id, subject_user_id),
    FOREIGN KEY(voucher_user_id) REFERENCES users (id), FOREIGN KEY(subject_user_id) REFERENCES users (id));
CREATE TABLE user_attributes (id INTEGER NOT NULL, user_id INTEGER NOT NULL, key VARCHAR NOT NULL, value VARCHAR,
    created_at TIMESTAMP NOT NULL, updated_at TIMESTAMP NOT NULL, created_by_user_id INTEGER,
    updated_by_user_id INTEGER, PRIMARY KEY (id), CONSTRAINT ux_user_attributes_user_key UNIQUE (user_id, key),
    FOREIGN KEY(user_id) REFERENCES users (id));
CREATE TABLE invite_tokens (token VARCHAR NOT NULL, created_by_user_id INTEGER, created_at TIMESTAMP NOT NULL,
    expires_at TIMESTAMP, max_uses INTEGER NOT NULL, use_count INTEGER NOT NULL, disabled BOOLEAN NOT NULL,
    auto_approve BOOLEAN NOT NULL, suggested_username VARCHAR(64), suggested_bio VARCHAR(512),
    sync_scope VARCHAR NOT NULL, PRIMARY KEY (token), FOREIGN KEY(created_by_user_id) REFERENCES users (id));
CREATE TABLE invite_map_cache (user_id INTEGER NOT NULL, payload TEXT NOT NULL, PRIMARY KEY (user_id));
INSERT INTO users VALUES(1, 'admin', TRUE, 'admin@example.org', '2026-01-01 00:00:00.000000', 'private');
";

const LIKE_SQLITE: &str = "
CREATE FUNCTION next_users() RETURNS integer LANGUAGE sql AS 'SELECT coalesce(max(id), 0) + 1 FROM public.users';
ALTER TABLE users ALTER id SET DEFAULT next_users();
CREATE FUNCTION next_help_requests() RETURNS integer LANGUAGE sql AS 'SELECT coalesce(max(id), 0) + 1 FROM public.help_requests';
ALTER TABLE help_requests ALTER id SET DEFAULT next_help_requests();
CREATE FUNCTION next_request_comments() RETURNS integer LANGUAGE sql AS 'SELECT coalesce(max(id), 0) + 1 FROM public.request_comments';
ALTER TABLE request_comments ALTER id SET DEFAULT next_request_comments();
CREATE FUNCTION next_vouches() RETURNS integer LANGUAGE sql AS 'SELECT coalesce(max(id), 0) + 1 FROM public.vouches';
ALTER TABLE vouches ALTER id SET DEFAULT next_vouches();
CREATE FUNCTION next_user_attributes() RETURNS integer LANGUAGE sql AS 'SELECT coalesce(max(id), 0) + 1 FROM public.user_attributes';
ALTER TABLE user_attributes ALTER id SET DEFAULT next_user_attributes();
CREATE FUNCTION concat_texts(text, text) RETURNS text LANGUAGE sql AS $$SELECT coalesce($1 || ',', '') || $2$$;
CREATE FUNCTION concat_numbers(text, integer) RETURNS text LANGUAGE sql AS $$SELECT coalesce($1 || ',', '') || $2$$;
CREATE AGGREGATE group_concat(text) (SFUNC = concat_texts, STYPE = text);
CREATE AGGREGATE group_concat(integer) (SFUNC = concat_numbers, STYPE = text);
SET session_replication_role = replica;
";

/// Finds the schema of the bookkeeping.
pub(crate) const BOOKS_ARE_A_SCHEMA: &str = "SELECT 1 FROM pg_namespace WHERE nspname = 'wbsync'";
/// Two tables whose rows need each other; `late` says how their foreign keys are declared.
pub(crate) fn circle(late: &str) -> String {
    format!(
        "CREATE TABLE ships (id SERIAL PRIMARY KEY, name TEXT NOT NULL, captain_id INTEGER NOT NULL);
         CREATE TABLE captains (id SERIAL PRIMARY KEY, name TEXT NOT NULL,
             ship_id INTEGER NOT NULL REFERENCES ships(id) {late});
         ALTER TABLE ships ADD FOREIGN KEY (captain_id) REFERENCES captains(id) {late}"
    )
}
/// Whether such rows can be deleted together: it takes a database that checks late constraints when it is asked to.
pub(crate) const DELETES_CIRCLES: bool = true;
/// A key that the database chooses.
pub(crate) const SERIAL: &str = "SERIAL PRIMARY KEY";
/// A text that this database holds: NUL is not for it.
pub(crate) const ODD: &str = "line\r\nline\u{2028}";
/// What is said where a NULL is refused, and a second row with equal values.
pub(crate) const REFUSALS: [&str; 2] = ["column \"description\" of relation \"help_requests\"", "ux_vouches_unique"];

pub(crate) struct Database {
    client: RefCell<Client>,
    pub(crate) url: String,
    /// How many records are written together.
    pub(crate) batch_rows: Cell<Option<usize>>,
}

impl Database {
    pub(crate) fn new(_: &Path) -> Self {
        Self::of(Cluster::or_skip())
    }

    /// Makes one in a cluster of a test's own.
    pub(crate) fn of(cluster: &Cluster) -> Self {
        let url = cluster.new_database();
        let mut client = connect(&url);
        client.batch_execute(SCHEMA).unwrap();
        client.batch_execute(LIKE_SQLITE).unwrap();
        Self { client: RefCell::new(client), url, batch_rows: Cell::new(None) }
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
        let mut options = self.options(dir);
        options.capturing = capturing;
        wbsync::connector::postgres::open(options, mapping, context).unwrap()
    }

    pub(crate) fn options(&self, dir: &Path) -> Options {
        let mut options = self.options_by(&self.url, dir);
        options.batch_rows = self.batch_rows.get().unwrap_or(options.batch_rows);
        options
    }

    /// Connects anew, after the server ended what was open.
    pub(crate) fn connect_again(&self) {
        let mut client = connect(&self.url);
        client.batch_execute("SET session_replication_role = replica").unwrap();
        *self.client.borrow_mut() = client;
    }

    /// Returns the options for another way to the server.
    pub(crate) fn options_by(&self, url: &str, dir: &Path) -> Options {
        match dburl::parse(url, dir).unwrap() {
            Address::Postgres(url) => Options::new(*url, dir),
            Address::Sqlite(path) => panic!("{path:?}"),
        }
    }

    pub(crate) fn batch(&self, sql: &str) {
        self.client.borrow_mut().batch_execute(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    pub(crate) fn rows(&self, sql: &str) -> Vec<Vec<Raw>> {
        let mut client = self.client.borrow_mut();
        let statement = client.prepare(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        let kinds: Vec<Type> = statement.columns().iter().map(|column| column.type_().clone()).collect();
        let mut rows = Vec::new();
        for message in client.simple_query(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}")) {
            if let SimpleQueryMessage::Row(row) = message {
                rows.push(kinds.iter().enumerate().map(|(at, kind)| shown(kind, row.get(at))).collect());
            }
        }
        rows
    }

    pub(crate) fn whole(&self) {
        for (table, column, parent) in [
            ("help_requests", "created_by_user_id", "users"),
            ("request_comments", "help_request_id", "help_requests"),
            ("request_comments", "user_id", "users"),
            ("vouches", "voucher_user_id", "users"),
            ("vouches", "subject_user_id", "users"),
            ("user_attributes", "user_id", "users"),
            ("invite_tokens", "created_by_user_id", "users"),
        ] {
            let key = if parent == "invite_tokens" { "token" } else { "id" };
            let sql = format!(
                "SELECT count(*) FROM {table} t WHERE t.{column} IS NOT NULL AND NOT EXISTS
                 (SELECT 1 FROM {parent} p WHERE p.{key} = t.{column})"
            );
            assert_eq!(self.rows(&sql), [[Raw::Integer(0)]], "{table}.{column}");
        }
    }
}

/// Shows a value as SQLite would have it.
fn shown(kind: &Type, text: Option<&str>) -> Raw {
    let Some(text) = text else { return Raw::Null };
    match *kind {
        Type::BOOL => Raw::Integer(i64::from(text == "t")),
        Type::INT4 | Type::INT8 => Raw::Integer(text.parse().unwrap()),
        Type::TIMESTAMP if text.len() == 19 => Raw::Text(format!("{text}.000000")),
        Type::TIMESTAMP => Raw::Text(format!("{text:0<26}")),
        _ => Raw::Text(text.to_owned()),
    }
}

/// What belongs to the capture by triggers, and all else.
pub(crate) const NOTHING_LEFT: &str = "
SELECT c.relkind::text, c.relname::text, n.nspname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname IN ('public', 'wbsync')
UNION ALL SELECT 'trigger', t.tgname::text, t.tgrelid::regclass::text FROM pg_trigger t WHERE NOT t.tgisinternal
UNION ALL SELECT 'function', f.proname::text, n.nspname::text FROM pg_proc f JOIN pg_namespace n ON n.oid = f.pronamespace
WHERE n.nspname IN ('public', 'wbsync') ORDER BY 1, 2, 3";

impl Database {
    /// Takes one trigger away, as a migration that rebuilds a table does.
    pub(crate) fn break_triggers(&self, table: &str) {
        self.batch(&format!("DROP TRIGGER _wbsync_update ON {table}"));
    }

    /// Does something while a table has no triggers.
    pub(crate) fn without_triggers(&self, table: &str, sql: &str) {
        self.batch(&format!(
            "ALTER TABLE {table} DISABLE TRIGGER _wbsync_update; {sql};
             ALTER TABLE {table} ENABLE ALWAYS TRIGGER _wbsync_update"
        ));
    }
}

/// An edit that only PostgreSQL has.
pub(crate) fn odd_edit(random: &mut Prng, time: &str, scope: &str) -> String {
    let (a, b, word) = (random.below(9) + 1, random.below(9) + 1, random.below(1000));
    match random.below(5) {
        0 => format!(
            "INSERT INTO vouches(voucher_user_id, subject_user_id, signature, created_at) VALUES({a}, {b}, 'o{word}', '{time}')
             ON CONFLICT(voucher_user_id, subject_user_id) DO UPDATE SET signature = excluded.signature"
        ),
        1 => "TRUNCATE vouches".to_owned(),
        2 => format!("UPDATE users SET sync_scope = '{scope}' WHERE id IN ({a}, {b})"),
        3 => format!("WITH gone AS (DELETE FROM vouches WHERE id = {a} RETURNING *) UPDATE users SET sync_scope = '{scope}' WHERE id = {b}"),
        _ => "DELETE FROM request_comments WHERE id % 3 = 0".to_owned(),
    }
}

impl Database {
    /// Returns a connection of its own that writes, with foreign keys; it tells whether the database took it. It waits for no
    /// lock longer than so many milliseconds: then it panics.
    pub(crate) fn writer(&self, lock_ms: u64) -> impl FnMut(&str) -> bool + Send + use<> {
        let mut client = connect(&self.url);
        client.batch_execute(&format!("SET lock_timeout = {lock_ms}")).unwrap();
        move |sql| match client.batch_execute(sql) {
            Ok(()) => true,
            Err(error) => {
                let code = error.code().map(|code| code.code().to_owned()).unwrap_or_default();
                assert!(code.starts_with("23"), "{sql}: {error:?}");
                client.batch_execute("ROLLBACK").unwrap();
                false
            }
        }
    }

    /// Tells how often the comments were scanned, and how many rows of them were read, by connections that are closed.
    pub(crate) fn rows_read(&self) -> Option<(i64, i64)> {
        let sql = "SELECT seq_scan, seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_user_tables WHERE relname = 'request_comments'";
        // Our own connection counts when a second went by since it last did: it made the table's indexes, each by a scan of it.
        self.batch("SELECT pg_sleep(1.1)");
        // Others count when they end, and end a little after they are closed.
        let mut last = None;
        loop {
            let others =
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'active'";
            let busy = self.rows(others);
            self.batch("SELECT pg_sleep(0.3), pg_stat_clear_snapshot()");
            let rows = self.rows(sql);
            let [Raw::Integer(scans), Raw::Integer(read)] = rows[0][..] else { panic!("{rows:?}") };
            if busy == [[Raw::Integer(1)]] && last == Some((scans, read)) {
                return last;
            }
            last = Some((scans, read));
        }
    }

    /// The database's own statistics have to be there before it can choose an index.
    pub(crate) fn forget_counts(&self) {
        self.batch("ANALYZE");
    }
}
