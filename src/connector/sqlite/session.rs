//! A connection to a SQLite database.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, params_from_iter};

use super::snapshot::{self, Place};
use super::tables::TABLES;
use super::{affinity, catalogue, error, triggers};
use crate::connector::catalogue::{DatabaseSizes, ForeignKey, Table};
use crate::connector::error::Error;
use crate::connector::sql::as_written::AsWritten;
use crate::connector::sql::key::Key;
use crate::connector::sql::raw::{Bind, Raw, RawRef};
use crate::connector::sql::session::{
    Declared, Outbox, Row, Session, Snapshot, SqlError, Standing, Step, Visit, Watched,
};
use crate::record::fieldtype::Kind;

/// How often we look whether somebody else has written.
const LOOK: Duration = Duration::from_millis(200);

/// A connection to a SQLite database, or to a private copy of one.
#[derive(Debug)]
pub(in crate::connector) struct SqliteSession {
    conn: Connection,
    place: Place,
    /// The version of the database as others had written it when we last looked.
    version: Cell<Option<i64>>,
    /// The same when a write transaction last asked.
    known: Cell<Option<i64>>,
    /// The copy that the connection reads. Closed before it is removed.
    _copy: Option<tempfile::NamedTempFile>,
}

impl SqliteSession {
    pub(super) fn open(place: Place) -> Result<Self, Error> {
        let busy_ms = place.busy.as_millis() as u64;
        let conn = snapshot::open(&place.path, place.busy)
            .map_err(|source| Error::sqlite("open the database", &place.path, busy_ms, source))?;
        // What takes a savepoint back stays in memory: it is pages of a few rows. Snapshots sort whole tables, and don't.
        // And what is settled stays settled, whenever the power fails: the state goes on from it. With FULL a journal that was
        // removed may come back and take the last transaction with it. What is withdrawn leaves no words in free pages.
        for (name, value) in [("temp_store", "MEMORY"), ("synchronous", "EXTRA"), ("secure_delete", "ON")] {
            conn.pragma_update(None, name, value)
                .map_err(|source| Error::sqlite("open the database", &place.path, busy_ms, source))?;
        }
        Ok(Self { conn, place, version: Cell::default(), known: Cell::default(), _copy: None })
    }
}

impl SqliteSession {
    /// Returns a number that is another one once somebody else has written; our own commits don't change it.
    fn version(&self) -> Result<i64, SqlError> {
        Ok(self.conn.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))?)
    }
}

impl From<rusqlite::Error> for SqlError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl Row for rusqlite::Row<'_> {
    fn raw(&self, at: usize) -> Result<RawRef<'_>, SqlError> {
        Ok(match self.get_ref(at)? {
            ValueRef::Null => RawRef::Null,
            ValueRef::Integer(value) => RawRef::Integer(value),
            ValueRef::Real(value) => RawRef::Real(value),
            ValueRef::Text(bytes) => RawRef::Text(bytes),
            ValueRef::Blob(bytes) => RawRef::Blob(bytes),
        })
    }
}

impl ToSql for RawRef<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match *self {
            RawRef::Null => ValueRef::Null,
            RawRef::Integer(value) => ValueRef::Integer(value),
            RawRef::Real(value) => ValueRef::Real(value),
            RawRef::Text(bytes) => ValueRef::Text(bytes),
            RawRef::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

impl Session for SqliteSession {
    fn place(&self) -> String {
        self.place.path.display().to_string()
    }

    fn explain(&self, doing: &'static str, source: SqlError) -> Error {
        match source {
            SqlError::Sqlite(source) => {
                Error::sqlite(doing, &self.place.path, self.place.busy.as_millis() as u64, source)
            }
            other => Error::Books { database: self.place(), why: other.to_string() },
        }
    }

    fn execute(&self, sql: &str, values: &[RawRef<'_>]) -> Result<u64, SqlError> {
        Ok(self.conn.prepare_cached(sql)?.execute(params_from_iter(values))? as u64)
    }

    fn each(&self, sql: &str, values: &[RawRef<'_>], visit: &mut Visit<'_>) -> Result<(), SqlError> {
        let mut statement = self.conn.prepare_cached(sql)?;
        let mut rows = statement.query(params_from_iter(values))?;
        while let Some(row) = rows.next()? {
            if !visit(row)? {
                break;
            }
        }
        Ok(())
    }

    fn scan(&self, sql: &str, visit: &mut Visit<'_>) -> Result<(), SqlError> {
        self.each(sql, &[], visit)
    }

    fn begin(&self) -> Result<(), SqlError> {
        self.execute("BEGIN IMMEDIATE", &[]).map(drop)
    }

    fn begin_read(&self) -> Result<(), SqlError> {
        self.execute("BEGIN", &[]).map(drop)
    }

    fn commit(&self) -> Result<(), SqlError> {
        self.execute("COMMIT", &[]).map(drop)
    }

    fn roll_back(&self) -> Result<(), SqlError> {
        match self.conn.is_autocommit() {
            true => Ok(()),
            false => Ok(self.conn.execute_batch("ROLLBACK")?),
        }
    }

    fn check_deferred(&self) -> Result<(), SqlError> {
        // Deferred keys are counted, and the count can't be asked for; `COMMIT` refuses.
        Ok(())
    }

    fn defer(&self) -> Result<(), SqlError> {
        Ok(self.conn.execute_batch("PRAGMA defer_foreign_keys = ON")?)
    }

    fn defer_no_more(&self) -> Result<(), SqlError> {
        Ok(self.conn.execute_batch("PRAGMA defer_foreign_keys = OFF")?)
    }

    fn snapshot(&self) -> Result<Snapshot, SqlError> {
        let (conn, copy, blocks_writers) = snapshot::take(&self.conn, &self.place)?;
        let session =
            Self { conn, place: self.place.clone(), version: Cell::default(), known: Cell::default(), _copy: copy };
        Ok(Snapshot { session: Box::new(session), blocks_writers })
    }

    fn brief_snapshot(&self) -> Result<Snapshot, SqlError> {
        let (conn, blocks_writers) = snapshot::hold(&self.conn, &self.place)?;
        let session =
            Self { conn, place: self.place.clone(), version: Cell::default(), known: Cell::default(), _copy: None };
        Ok(Snapshot { session: Box::new(session), blocks_writers })
    }

    fn watch(&self) -> Result<(), SqlError> {
        self.version.set(Some(self.version()?));
        Ok(())
    }

    fn wait(&self, at_most: Duration) -> Result<bool, SqlError> {
        let begin = Instant::now();
        loop {
            let version = self.version()?;
            if self.version.replace(Some(version)) != Some(version) {
                return Ok(true);
            }
            let rest = at_most.saturating_sub(begin.elapsed());
            if rest.is_zero() {
                return Ok(false);
            }
            thread::sleep(rest.min(LOOK));
        }
    }

    fn may_differ(&self) -> Result<bool, SqlError> {
        let version = self.version()?;
        Ok(self.known.replace(Some(version)) != Some(version) || catalogue::has_triggers(&self.conn)?)
    }

    fn columns(&self, table: &str) -> Result<BTreeMap<String, Declared>, SqlError> {
        let mut columns = BTreeMap::new();
        let mut statement =
            self.conn.prepare("SELECT name, type, \"notnull\", dflt_value, pk FROM pragma_table_info(?1)")?;
        let mut rows = statement.query([table])?;
        while let Some(row) = rows.next()? {
            let name: String = row.get(0)?;
            let kind: String = row.get(1)?;
            let is_integer = kind.eq_ignore_ascii_case("INTEGER");
            let declared = Declared {
                not_null: row.get(2)?,
                has_default: row.get_ref(3)? != ValueRef::Null,
                primary: row.get(4)?,
                is_integer,
                is_chosen: is_integer,
                is_known: true,
                kind,
            };
            columns.insert(self.fold(&name), declared);
        }
        Ok(columns)
    }

    fn unique_sets(&self, table: &str) -> Result<Vec<Vec<String>>, SqlError> {
        let sets = catalogue::unique_sets(&self.conn, table)?;
        Ok(sets.into_iter().map(|set| set.iter().map(|name| self.fold(name)).collect()).collect())
    }

    fn catalogue(&self) -> Result<Vec<Table>, SqlError> {
        Ok(catalogue::tables(&self.conn)?)
    }

    fn foreign_keys(&self) -> Result<Vec<ForeignKey>, SqlError> {
        Ok(catalogue::foreign_keys(&self.conn)?)
    }

    fn checks_deferred(&self) -> bool {
        false
    }

    fn has_acting_keys(&self) -> Result<bool, SqlError> {
        let sql = "SELECT 1 FROM sqlite_schema t, pragma_foreign_key_list(t.name) f
                   WHERE t.type = 'table' AND f.on_delete NOT IN ('NO ACTION', 'RESTRICT') LIMIT 1";
        Ok(self.conn.prepare(sql)?.exists([])?)
    }

    fn sizes(&self) -> Result<DatabaseSizes, SqlError> {
        let number = |sql| self.conn.query_row(sql, [], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs);
        let books = "SELECT coalesce(sum(d.pgsize), 0) FROM sqlite_schema s JOIN dbstat d ON d.name = s.name
                     WHERE s.tbl_name GLOB '_wbsync_*'";
        let whole = "SELECT c.page_count * s.page_size FROM pragma_page_count c, pragma_page_size s";
        Ok(DatabaseSizes { books: number(books)?, whole: number(whole)? })
    }

    fn reload(&self) {
        self.conn.flush_prepared_statement_cache();
    }

    fn probe(&self) -> Result<(), Error> {
        let sql = |source| self.explain("check the database", SqlError::Sqlite(source));
        if self.conn.is_readonly("main").map_err(sql)? {
            return Err(Error::ReadOnly { path: self.place.path.clone() });
        }
        // Taking the lock, and making a journal by a write that is taken back, shows that we may.
        let tried = self.conn.execute_batch("BEGIN IMMEDIATE; CREATE TABLE _wbsync_probe(x); ROLLBACK").map_err(sql);
        if tried.is_err() {
            // The error of the probe is the one to tell.
            let _ = self.roll_back();
        }
        tried
    }

    fn faults(&self, ours: &[String], limit: usize) -> Result<Vec<String>, SqlError> {
        let check = |what: &str| -> rusqlite::Result<Vec<String>> {
            let mut statement = self.conn.prepare(&format!("PRAGMA integrity_check({what})"))?;
            let lines = statement.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
            Ok(lines.into_iter().filter(|line| line != "ok").collect())
        };
        match check(&limit.to_string()) {
            // A function or a collation of the application's own is in its indexes: only ours can be looked at.
            Err(error) if error::is_unable(&error) => {
                let mut found = Vec::new();
                for table in ours {
                    found.extend(check(&self.table(table))?);
                }
                Ok(found)
            }
            checked => Ok(checked?),
        }
    }

    fn orphans(&self, tables: &[&str], limit: usize) -> Result<Vec<(String, String)>, SqlError> {
        let mut found = Vec::new();
        for table in tables {
            let mut statement = self.conn.prepare(&format!("PRAGMA foreign_key_check({})", self.table(table)))?;
            let broken =
                statement.query_map([], |row| Ok((row.get::<_, Option<i64>>(1)?, row.get::<_, String>(2)?)))?;
            for row in broken.take(limit) {
                let (rowid, parent) = row?;
                let row = rowid.map_or_else(|| "a row".to_owned(), |rowid| format!("row {rowid}"));
                found.push(((*table).to_owned(), format!("{row} refers to a row of {parent} that isn't there")));
            }
        }
        Ok(found)
    }

    fn has_books(&self) -> Result<bool, SqlError> {
        let sql = "SELECT 1 FROM sqlite_schema WHERE name = '_wbsync_meta'
                   UNION ALL SELECT 1 FROM sqlite_temp_schema WHERE name = '_wbsync_meta'";
        Ok(self.conn.prepare_cached(sql)?.exists([])?)
    }

    fn number_of(&self, table: &str) -> Result<Option<i64>, SqlError> {
        let session: &dyn Session = self;
        session.one("SELECT rowid FROM sqlite_schema WHERE name = ?1 COLLATE NOCASE", &[table.bind()], |row| row.get(0))
    }

    fn make_books(&self) -> Result<(), SqlError> {
        Ok(self.conn.execute_batch(TABLES)?)
    }

    fn pretend_books(&self) -> Result<(), SqlError> {
        // Temporary tables: nothing is written to the file.
        if !self.has_books()? {
            return Ok(self.conn.execute_batch(&TABLES.replace("CREATE TABLE", "CREATE TEMP TABLE"))?);
        }
        let sql = "SELECT sql FROM main.sqlite_schema WHERE name = '_wbsync_dataset'";
        let table: String = self.conn.query_row(sql, [], |row| row.get(0))?;
        self.conn.execute_batch(&table.replace("CREATE TABLE", "CREATE TEMP TABLE"))?;
        Ok(self.conn.execute_batch("INSERT INTO temp._wbsync_dataset SELECT * FROM main._wbsync_dataset")?)
    }

    fn has_outbox(&self) -> Result<bool, SqlError> {
        triggers::has_outbox(&self.conn)
    }

    fn triggers(&self, tables: &[Watched]) -> Result<Vec<Standing>, SqlError> {
        triggers::standings(self, &self.conn, tables)
    }

    fn plan_install(&self, tables: &[Watched]) -> Result<Vec<Step>, SqlError> {
        triggers::plan_install(self, &self.conn, tables)
    }

    fn plan_uninstall(&self) -> Result<Vec<Step>, SqlError> {
        triggers::plan_uninstall(&self.conn)
    }

    fn outbox(&self) -> Outbox {
        triggers::OUTBOX
    }

    fn among(&self, column: &str, _is_integer: bool, parameter: &str) -> String {
        format!("{column} IN (SELECT value FROM json_each({parameter}))")
    }

    fn list(&self, keys: &[Key], _is_integer: bool) -> String {
        let value = |key: &Key| match key {
            Key::Int(number) => serde_json::Value::from(*number),
            Key::Text(text) => serde_json::Value::from(&**text),
        };
        serde_json::Value::Array(keys.iter().map(value).collect()).to_string()
    }

    fn check_condition(&self, sql: &str) -> Result<(), String> {
        let statement = self.conn.prepare(sql).map_err(|error| error.to_string())?;
        match statement.readonly() && statement.parameter_count() == 0 {
            true => Ok(()),
            false => Err("it must be a plain condition on the table's columns".into()),
        }
    }

    fn fold(&self, name: &str) -> String {
        name.to_ascii_lowercase()
    }

    fn table(&self, name: &str) -> String {
        format!("\"{}\"", name.replace('"', "\"\""))
    }

    fn key_order(&self, column: &str, is_integer: bool) -> String {
        if is_integer { column.to_owned() } else { format!("{column} COLLATE BINARY") }
    }

    fn key_value(&self, parameter: &str, is_integer: bool) -> String {
        self.key_order(parameter, is_integer)
    }

    fn key_part(&self, column: &str) -> String {
        let text = format!("replace(replace(CAST({column} AS TEXT), '\\', '\\\\'), ',', '\\,')");
        format!("CASE WHEN typeof({column}) IN ('integer', 'text') THEN {text} END")
    }

    fn key_in_map(&self, column: &str) -> String {
        // The sign takes the column's affinity away, with which the map's primary key couldn't be used: its keys have none.
        format!("+{column}")
    }

    fn map_order(&self, _is_integer: bool) -> &'static str {
        "key"
    }

    fn hex(&self, column: &str) -> String {
        format!("lower(hex({column}))")
    }

    fn among_bytes(&self, column: &str, parameter: &str) -> String {
        format!("{column} IN (SELECT unhex(value) FROM json_each({parameter}))")
    }

    fn list_bytes(&self, all: &[&[u8]]) -> String {
        let digits = |bytes: &&[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        serde_json::Value::Array(all.iter().map(|bytes| digits(bytes).into()).collect()).to_string()
    }

    fn row_lock(&self) -> &'static str {
        ""
    }

    fn row_lock_free(&self) -> &'static str {
        ""
    }

    fn or_refuse(&self) -> &'static str {
        " OR ABORT"
    }

    fn numbers_rows(&self, table: &str, column: &str) -> Result<bool, SqlError> {
        Ok(catalogue::numbers_rows(&self.conn, table, column)?)
    }

    fn last_number(&self) -> Option<i64> {
        Some(self.conn.last_insert_rowid())
    }

    fn as_written(&self, declared: &str) -> Result<AsWritten, SqlError> {
        let encoding: String = self.conn.prepare_cached("PRAGMA encoding")?.query_row([], |row| row.get(0))?;
        Ok(if encoding == "UTF-8" { affinity::as_written(declared) } else { AsWritten::default() })
    }

    fn batch_rows(&self) -> usize {
        1
    }

    fn lacks(&self, _declared: &str, raw: &Raw) -> Option<&'static str> {
        match raw {
            // It would become NULL.
            Raw::Real(value) if value.is_nan() => Some("a float that is no number"),
            _ => None,
        }
    }

    fn some_value(&self, _declared: &str) -> Result<Option<Raw>, SqlError> {
        Ok(None)
    }

    fn keeps(&self, declared: &str, kind: Kind) -> bool {
        affinity::keeps(declared, kind)
    }

    fn pack(&self, raw: &Raw) -> Raw {
        raw.clone()
    }

    fn unpack(&self, raw: RawRef<'_>) -> Option<Raw> {
        Some(raw.to_raw())
    }
}

#[cfg(test)]
mod tests;
