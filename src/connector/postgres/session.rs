//! A connection to a PostgreSQL database.
//!
//! `search_path` has the system's catalogue first, so that no function or operator of somebody else's is called in
//! its place; the application's triggers find their tables behind it.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

use postgres::types::ToSql;
use postgres::{Client, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::catalogue::Parents;
use super::notices::told;
use super::options::Options;
use super::value::{self, Found, Given, KNOWN};
use super::{catalogue, error, introspect, limits, orphans, pack, statement, tables, tls, triggers};
use crate::connector::catalogue::{DatabaseSizes, ForeignKey, Table};
use crate::connector::dburl::PostgresUrl;
use crate::connector::error::Error;
use crate::connector::sql::key::Key;
use crate::connector::sql::raw::{Bind, Raw, RawRef};
use crate::connector::sql::session::{
    Declared, Held, Outbox, ROW_LOCK_MS, Session, Snapshot, SqlError, Standing, Step, Visit, Watched,
};
use crate::record::fieldtype::Kind;

/// How long one of our statements may take within a write transaction, and how long we may be silent in one.
const STATEMENT_MS: u64 = 5_000;
/// The key of the lock that a worker holds while it writes: "wbsync".
const WORKER: i64 = 0x7762_7379_6e63;
/// How many rows a scan fetches at once.
const FETCH_ROWS: usize = 2_000;
/// How many statements are kept prepared.
const STATEMENTS_MAX: usize = 256;

/// A connection to a PostgreSQL database.
pub(super) struct PostgresSession {
    client: RefCell<Client>,
    url: PostgresUrl,
    tls: MakeRustlsConnect,
    busy_ms: u64,
    batch_rows: usize,
    prepared: RefCell<HashMap<String, Statement>>,
    /// Whether some constraint may be checked late; unknown at first.
    defers: Cell<Option<bool>>,
    is_open: Cell<bool>,
    is_listening: Cell<bool>,
}

impl fmt::Debug for PostgresSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresSession").field("place", &self.url.shown()).finish_non_exhaustive()
    }
}

impl PostgresSession {
    pub(super) fn open(options: &Options) -> Result<Self, Error> {
        let url = options.url.clone();
        let wrong = |why: String| Error::Tls { database: url.shown(), why };
        let tls = tls::connector(url.trust(), url.certificate()).map_err(wrong)?;
        let sql = |source| error::explain("connect to the database", &url.shown(), options.busy_ms, source);
        Self::connect(url.clone(), tls, options.busy_ms, options.batch_rows.max(1)).map_err(sql)
    }

    fn connect(
        url: PostgresUrl,
        tls: MakeRustlsConnect,
        busy_ms: u64,
        batch_rows: usize,
    ) -> Result<Self, postgres::Error> {
        let mut client = url.config().connect(tls.clone())?;
        client.batch_execute(&statement::settings(&quote(url.schema())))?;
        Ok(Self {
            client: RefCell::new(client),
            url,
            tls,
            busy_ms,
            batch_rows,
            prepared: RefCell::default(),
            defers: Cell::new(None),
            is_open: Cell::new(false),
            is_listening: Cell::new(false),
        })
    }

    /// Prepares a statement, or finds it prepared.
    fn prepare(&self, sql: &str) -> Result<Statement, SqlError> {
        if let Some(known) = self.prepared.borrow().get(sql) {
            return Ok(known.clone());
        }
        let statement = self.client.borrow_mut().prepare(&statement::spell(sql))?;
        let mut prepared = self.prepared.borrow_mut();
        if prepared.len() >= STATEMENTS_MAX {
            prepared.clear();
        }
        prepared.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    /// Takes everything that triggers told; waits for the first at most that long.
    fn told(&self, at_most: Duration) -> Result<bool, SqlError> {
        // Makes the connection read what has arrived, and fail if it is none any more.
        self.batch("")?;
        Ok(told(&mut self.client.borrow_mut(), at_most)?)
    }

    fn batch(&self, sql: &str) -> Result<(), SqlError> {
        Ok(self.client.borrow_mut().batch_execute(sql)?)
    }
}

impl From<postgres::Error> for SqlError {
    fn from(error: postgres::Error) -> Self {
        Self::Postgres(error)
    }
}

/// Reads a row of an answer into our values.
fn held(row: &postgres::Row) -> Result<Held, SqlError> {
    let values: Result<_, postgres::Error> = (0..row.len()).map(|at| Ok(row.try_get::<_, Found>(at)?.0)).collect();
    Ok(Held(values?))
}

impl Session for PostgresSession {
    fn place(&self) -> String {
        self.url.shown()
    }

    fn explain(&self, doing: &'static str, source: SqlError) -> Error {
        match source {
            SqlError::Postgres(source) => error::explain(doing, &self.place(), self.busy_ms, source),
            other => Error::Books { database: self.place(), why: other.to_string() },
        }
    }

    fn execute(&self, sql: &str, values: &[RawRef<'_>]) -> Result<u64, SqlError> {
        let statement = self.prepare(sql)?;
        let given: Vec<Given<'_>> = values.iter().map(|value| Given(*value)).collect();
        let given: Vec<&(dyn ToSql + Sync)> = given.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
        Ok(self.client.borrow_mut().execute(&statement, &given)?)
    }

    fn each(&self, sql: &str, values: &[RawRef<'_>], visit: &mut Visit<'_>) -> Result<(), SqlError> {
        let statement = self.prepare(sql)?;
        let given: Vec<Given<'_>> = values.iter().map(|value| Given(*value)).collect();
        let given: Vec<&(dyn ToSql + Sync)> = given.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
        let rows = self.client.borrow_mut().query(&statement, &given)?;
        for row in &rows {
            if !visit(&held(row)?)? {
                break;
            }
        }
        Ok(())
    }

    fn scan(&self, sql: &str, visit: &mut Visit<'_>) -> Result<(), SqlError> {
        self.batch(&format!("DECLARE wbsync_scan NO SCROLL CURSOR FOR {}", statement::spell(sql)))?;
        let fetch = self.client.borrow_mut().prepare(&format!("FETCH FORWARD {FETCH_ROWS} FROM wbsync_scan"))?;
        loop {
            let rows = self.client.borrow_mut().query(&fetch, &[])?;
            for row in &rows {
                if !visit(&held(row)?)? {
                    return self.batch("CLOSE wbsync_scan");
                }
            }
            if rows.len() < FETCH_ROWS {
                return self.batch("CLOSE wbsync_scan");
            }
        }
    }

    fn begin(&self) -> Result<(), SqlError> {
        let busy_ms = self.busy_ms.max(1);
        self.is_open.set(true);
        let begun = self.batch(&format!(
            "BEGIN; SET LOCAL lock_timeout = {busy_ms}; SELECT pg_catalog.pg_advisory_xact_lock({WORKER});
             SET LOCAL lock_timeout = {ROW_LOCK_MS}; SET LOCAL statement_timeout = {STATEMENT_MS};
             SET LOCAL idle_in_transaction_session_timeout = {STATEMENT_MS}; SET LOCAL wbsync.writes = on"
        ));
        if begun.is_err() {
            // What went wrong is the error to tell.
            let _ = self.roll_back();
        }
        begun
    }

    fn begin_read(&self) -> Result<(), SqlError> {
        self.is_open.set(true);
        self.batch("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    }

    fn commit(&self) -> Result<(), SqlError> {
        self.batch("COMMIT")?;
        self.is_open.set(false);
        Ok(())
    }

    fn roll_back(&self) -> Result<(), SqlError> {
        match self.is_open.replace(false) {
            true => self.batch("ROLLBACK"),
            false => Ok(()),
        }
    }

    fn check_deferred(&self) -> Result<(), SqlError> {
        let defers = match self.defers.get() {
            Some(known) => known,
            None => {
                let found = (self as &dyn Session).exists(introspect::DEFERRABLE, &bind![self.url.schema()])?;
                self.defers.set(Some(found));
                found
            }
        };
        match defers {
            true => self.batch("SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED"),
            false => Ok(()),
        }
    }

    fn defer(&self) -> Result<(), SqlError> {
        self.batch("SET CONSTRAINTS ALL DEFERRED")
    }

    /// Each record's constraints are checked before the next, deferred or not.
    fn defer_no_more(&self) -> Result<(), SqlError> {
        Ok(())
    }

    fn snapshot(&self) -> Result<Snapshot, SqlError> {
        let (url, tls) = (self.url.clone(), self.tls.clone());
        let session = Self::connect(url, tls, self.busy_ms, self.batch_rows)?;
        session.begin_read()?;
        // A transaction's state is that of its first query.
        (&session as &dyn Session).exists("SELECT 1", &[])?;
        Ok(Snapshot { session: Box::new(session), blocks_writers: false })
    }

    fn brief_snapshot(&self) -> Result<Snapshot, SqlError> {
        self.snapshot()
    }

    fn watch(&self) -> Result<(), SqlError> {
        if !self.is_listening.get() {
            self.batch("LISTEN wbsync")?;
            self.is_listening.set(true);
        }
        // What was told before is older than what is read now.
        self.told(Duration::ZERO).map(drop)
    }

    fn wait(&self, at_most: Duration) -> Result<bool, SqlError> {
        match self.is_listening.get() {
            true => self.told(at_most),
            false => self.watch().map(|()| true),
        }
    }

    fn columns(&self, table: &str) -> Result<BTreeMap<String, Declared>, SqlError> {
        let mut columns = BTreeMap::new();
        self.each(introspect::COLUMNS, &bind![self.url.schema(), table], &mut |row| {
            let (base, flag) = (row.get::<String>(5)?, |at| Ok::<_, SqlError>(row.get::<i64>(at)? != 0));
            let (is_integer, has_default) = (introspect::is_integer(&base), flag(3)?);
            let declared = Declared {
                kind: row.get(1)?,
                not_null: flag(2)?,
                has_default,
                primary: row.get(4)?,
                is_integer,
                is_chosen: has_default,
                is_known: flag(6)? || KNOWN.contains(&row.str(7)?),
            };
            columns.insert(row.get(0)?, declared);
            Ok(true)
        })?;
        Ok(columns)
    }

    fn unique_sets(&self, table: &str) -> Result<Vec<Vec<String>>, SqlError> {
        let mut sets: BTreeMap<i64, Vec<String>> = BTreeMap::new();
        self.each(introspect::UNIQUE_SETS, &bind![self.url.schema(), table], &mut |row| {
            sets.entry(row.get(0)?).or_default().push(row.get(1)?);
            Ok(true)
        })?;
        Ok(sets.into_values().collect())
    }

    fn catalogue(&self) -> Result<Vec<Table>, SqlError> {
        catalogue::tables(self, self.url.schema())
    }

    fn foreign_keys(&self) -> Result<Vec<ForeignKey>, SqlError> {
        catalogue::foreign_keys(self, self.url.schema(), Parents::Within)
    }

    fn checks_deferred(&self) -> bool {
        true
    }

    fn has_acting_keys(&self) -> Result<bool, SqlError> {
        (self as &dyn Session).exists(introspect::ACTING_KEYS, &bind![self.url.schema()])
    }

    fn sizes(&self) -> Result<DatabaseSizes, SqlError> {
        let session: &dyn Session = self;
        let sizes = session.only(introspect::SIZES, &[], |row| Ok((row.get::<i64>(0)?, row.get::<i64>(1)?)))?;
        Ok(DatabaseSizes { books: sizes.0.unsigned_abs(), whole: sizes.1.unsigned_abs() })
    }

    fn reload(&self) {
        self.prepared.borrow_mut().clear();
        self.client.borrow().clear_type_cache();
        self.defers.set(None);
    }

    fn probe(&self) -> Result<(), Error> {
        let tried = self.begin().and_then(|()| {
            if !self.has_books()? {
                self.make_books()?;
            }
            // Also in a database that takes no writes this fails.
            self.batch("UPDATE wbsync.position SET settled = settled")
        });
        let back = self.roll_back();
        self.prepared.borrow_mut().clear();
        tried.and(back).map_err(|source| self.explain("check the database", source))
    }

    /// PostgreSQL checks its pages when they are read.
    fn faults(&self, _ours: &[String], _limit: usize) -> Result<Vec<String>, SqlError> {
        // The server looks after its files.
        Ok(Vec::new())
    }

    fn orphans(&self, tables: &[&str], limit: usize) -> Result<Vec<(String, String)>, SqlError> {
        orphans::find(self, self.url.schema(), tables, limit)
    }

    fn has_books(&self) -> Result<bool, SqlError> {
        (self as &dyn Session).exists(introspect::HAS_BOOKS, &[])
    }

    fn number_of(&self, table: &str) -> Result<Option<i64>, SqlError> {
        tables::number_of(self, table)
    }

    fn make_books(&self) -> Result<(), SqlError> {
        if !(self as &dyn Session).exists(introspect::HAS_SCHEMA, &[])? {
            self.batch("CREATE SCHEMA wbsync")?;
        }
        self.batch(tables::TABLES)
    }

    fn pretend_books(&self) -> Result<(), SqlError> {
        // They are made in a transaction that is never committed.
        self.roll_back()?;
        self.is_open.set(true);
        self.batch(&format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ; SET LOCAL lock_timeout = {}",
            self.busy_ms.max(1)
        ))?;
        match self.has_books()? {
            true => Ok(()),
            false => self.make_books(),
        }
    }

    fn has_outbox(&self) -> Result<bool, SqlError> {
        triggers::has_outbox(self)
    }

    fn triggers(&self, tables: &[Watched]) -> Result<Vec<Standing>, SqlError> {
        triggers::standings(self, self.url.schema(), tables)
    }

    fn plan_install(&self, tables: &[Watched]) -> Result<Vec<Step>, SqlError> {
        triggers::plan_install(self, self.url.schema(), tables)
    }

    fn plan_uninstall(&self) -> Result<Vec<Step>, SqlError> {
        triggers::plan_uninstall(self)
    }

    fn outbox(&self) -> Outbox {
        triggers::OUTBOX
    }

    fn among(&self, column: &str, is_integer: bool, parameter: &str) -> String {
        match is_integer {
            true => format!("{column} = ANY({parameter}::bigint[])"),
            // The server gives the list the column's type.
            false => format!("{column} = ANY({parameter})"),
        }
    }

    fn list(&self, keys: &[Key], is_integer: bool) -> String {
        let fits = |key: &&Key| !is_integer || matches!(key, Key::Int(_));
        triggers::list(keys.iter().filter(fits).map(Bind::bind))
    }

    fn check_condition(&self, sql: &str) -> Result<(), String> {
        // The transaction is read-only, and a prepared statement is a single one.
        let prepared = self.client.borrow_mut().prepare(sql);
        match prepared {
            Err(error) => Err(SqlError::from(error).to_string()),
            Ok(statement) if statement.params().is_empty() => Ok(()),
            Ok(_) => Err("it must be a plain condition on the table's columns".into()),
        }
    }

    fn fold(&self, name: &str) -> String {
        name.to_owned()
    }

    fn table(&self, name: &str) -> String {
        format!("{}.{}", quote(self.url.schema()), quote(name))
    }

    fn key_order(&self, column: &str, is_integer: bool) -> String {
        if is_integer { column.to_owned() } else { format!("{column}::text COLLATE \"C\"") }
    }

    fn key_value(&self, parameter: &str, is_integer: bool) -> String {
        if is_integer { format!("{parameter}::bigint") } else { parameter.to_owned() }
    }

    fn key_part(&self, column: &str) -> String {
        format!("replace(replace({column}::text, '\\', '\\\\'), ',', '\\,')")
    }

    fn key_in_map(&self, column: &str) -> String {
        format!("{column}::text")
    }

    fn map_order(&self, is_integer: bool) -> &'static str {
        if is_integer { "number" } else { "key" }
    }

    fn hex(&self, column: &str) -> String {
        format!("encode({column}, 'hex')")
    }

    fn row_lock(&self) -> &'static str {
        // Weaker than UPDATE's: rows that refer to it can go on being inserted.
        " FOR NO KEY UPDATE"
    }

    fn row_lock_free(&self) -> &'static str {
        " FOR NO KEY UPDATE SKIP LOCKED"
    }

    fn among_bytes(&self, column: &str, parameter: &str) -> String {
        format!("{column} = ANY({parameter}::bytea[])")
    }

    fn list_bytes(&self, all: &[&[u8]]) -> String {
        let spell = |bytes: &&[u8]| {
            let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("\"\\\\x{digits}\"")
        };
        format!("{{{}}}", all.iter().map(spell).collect::<Vec<_>>().join(","))
    }

    fn or_refuse(&self) -> &'static str {
        ""
    }

    fn batch_rows(&self) -> usize {
        self.batch_rows
    }

    fn lacks(&self, declared: &str, raw: &Raw) -> Option<&'static str> {
        limits::lacks(declared, raw)
    }

    fn some_value(&self, declared: &str) -> Result<Option<Raw>, SqlError> {
        limits::some_value(self, declared)
    }

    fn keeps(&self, declared: &str, kind: Kind) -> bool {
        value::keeps(declared, kind)
    }

    fn pack(&self, raw: &Raw) -> Raw {
        pack::pack(raw)
    }

    fn unpack(&self, raw: RawRef<'_>) -> Option<Raw> {
        pack::unpack(raw)
    }
}

fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
