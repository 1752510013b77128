//! The census of the state: how many rows each table has and what they add up to, kept by whoever writes through `State`.
//!
//! A table that lost rows, or has a changed byte anywhere, adds up to something else: so damage is noticed that no other
//! document speaks of. Triggers of the connection itself keep the sums, in the transactions of the rows, so whatever changes the
//! file by another way isn't counted. A table gets its triggers when it is first written (`counted.rs`). Trees and commits aren't
//! counted: they are named by their content.

use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension};

use super::check::tables;
use super::database::{SCHEMA, State, commit};
use super::error::Error;

/// Tables that are named by their content, and the census itself.
const UNCOUNTED: &[&str] = &["census", "commits", "node"];
/// Adds a row to a sum, or takes it out: the order of rows doesn't matter, and no two of a table are equal.
const FUNCTION: &str = "census_sum";

/// A table that isn't what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Miscount {
    /// The table.
    pub table: &'static str,
    /// How many rows were written; `None` if the census doesn't know.
    pub written: Option<u64>,
    /// How many there are.
    pub found: u64,
}

/// Prepares a connection to keep the census.
pub(super) fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    connection.create_scalar_function(FUNCTION, -1, flags, sum)?;
    // Rows that another one replaces are taken out as well.
    connection.execute_batch("PRAGMA recursive_triggers = ON")
}

/// Has the connection count what it writes into a table from now on; `false` if the table isn't there.
pub(super) fn watch(connection: &Connection, table: &str) -> rusqlite::Result<bool> {
    let columns = columns(connection, table)?;
    if UNCOUNTED.contains(&table) || columns.is_empty() {
        return Ok(!columns.is_empty());
    }
    let row = |of: &str| columns.iter().map(|column| format!(", {of}.\"{column}\"")).collect::<String>();
    let (old, new) = (row("OLD"), row("NEW"));
    let triggers = [
        ("INSERT", "count = count + 1", format!("{FUNCTION}(sum{new})")),
        ("DELETE", "count = count - 1", format!("{FUNCTION}(sum{old})")),
        ("UPDATE", "count = count", format!("{FUNCTION}({FUNCTION}(sum{old}){new})")),
    ]
    .map(|(event, change, sum)| {
        format!(
            "CREATE TEMP TRIGGER IF NOT EXISTS census_{table}_{event} AFTER {event} ON main.{table} BEGIN
             UPDATE census SET {change}, sum = {sum} WHERE name = '{table}'; END;"
        )
    });
    connection.execute_batch(&triggers.concat())?;
    Ok(true)
}

impl State {
    /// Lists the tables that aren't what was written. One that can't be read is left to who tells of those.
    ///
    /// # Errors
    /// `Query`.
    pub fn miscounts(&self) -> Result<Vec<Miscount>, Error> {
        let failed = Error::query("count the rows");
        let mut miscounts = Vec::new();
        for table in counted() {
            let Ok(Some((found, sum))) = count(self.connection.uncounted(), table) else { continue };
            let sql = "SELECT count, sum FROM census WHERE name = ?1";
            let written: Option<(i64, i64)> = self
                .connection
                .query_row(sql, [table], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()
                .map_err(&failed)?;
            if written != Some((found, sum)) {
                let written = written.map(|(count, _)| count.unsigned_abs());
                miscounts.push(Miscount { table, written, found: found.unsigned_abs() });
            }
        }
        Ok(miscounts)
    }

    /// Takes a table as it is from now on.
    ///
    /// # Errors
    /// `Query`.
    pub fn recount(&self, table: &str) -> Result<(), Error> {
        let failed = Error::query("count the rows");
        let transaction = self.transaction()?;
        if let Some((found, sum)) = count(self.connection.uncounted(), table).map_err(&failed)? {
            put(self.connection.uncounted(), table, found, sum).map_err(&failed)?;
        }
        commit(transaction)
    }

    /// Removes the rows of a table that speak of scopes which aren't there.
    ///
    /// # Errors
    /// `Query`.
    pub fn drop_strays(&self, table: &str) -> Result<(), Error> {
        let failed = Error::query("drop rows of unknown scopes");
        let columns = columns(self.connection.uncounted(), table).map_err(&failed)?;
        if columns.iter().any(|column| column == "scope") && table != "follow" {
            let sql = format!("DELETE FROM {table} WHERE scope NOT IN (SELECT id FROM scope)");
            self.connection.execute(&sql, []).map_err(&failed)?;
        }
        Ok(())
    }

    /// Removes all rows of a table.
    ///
    /// # Errors
    /// `Query`.
    pub fn empty(&self, table: &str) -> Result<(), Error> {
        self.connection.execute(&format!("DELETE FROM {table}"), []).map_err(Error::query("empty a table")).map(drop)
    }

    /// Counts tables that were made anew, and watches them.
    pub(super) fn recount_made(&self, tables: &[String]) -> Result<(), Error> {
        self.connection.forget_watched();
        tables.iter().try_for_each(|table| self.recount(table))
    }
}

/// Counts every table for the first time.
pub(super) fn begin(connection: &Connection) -> rusqlite::Result<()> {
    for table in counted() {
        if let Some((found, sum)) = count(connection, table)? {
            put(connection, table, found, sum)?;
        }
    }
    Ok(())
}

/// Makes the census of a state that has none: it was made before there was one, or lost it, with which nothing else is lost.
pub(super) fn begin_where_missing(connection: &Connection) -> rusqlite::Result<()> {
    let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'census')";
    if connection.query_row(sql, [], |row| row.get(0))? {
        return Ok(());
    }
    let made = SCHEMA.lines().find(|line| line.starts_with("CREATE TABLE census"));
    connection.execute_batch(made.expect("the census is a table of the schema"))?;
    begin(connection)
}

fn counted() -> impl Iterator<Item = &'static str> {
    tables().filter(|table| !UNCOUNTED.contains(table))
}

fn put(connection: &Connection, table: &str, count: i64, sum: i64) -> rusqlite::Result<()> {
    let sql = "INSERT INTO census VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET count = ?2, sum = ?3";
    connection.execute(sql, (table, count, sum)).map(drop)
}

/// Counts a table; `None` if it isn't there.
fn count(connection: &Connection, table: &str) -> rusqlite::Result<Option<(i64, i64)>> {
    let columns = columns(connection, table)?;
    if columns.is_empty() || UNCOUNTED.contains(&table) {
        return Ok(None);
    }
    let mut statement = connection.prepare(&format!("SELECT \"{}\" FROM main.{table}", columns.join("\", \"")))?;
    let mut rows = statement.query([])?;
    let (mut found, mut all) = (0, 0);
    while let Some(row) = rows.next()? {
        let mut hasher = blake3::Hasher::new();
        for at in 0..columns.len() {
            add(&mut hasher, row.get_ref(at)?);
        }
        found += 1;
        all ^= short(&hasher);
    }
    Ok(Some((found, all)))
}

/// Returns the columns of a table; none if it isn't there.
fn columns(connection: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare_cached("SELECT name FROM pragma_table_info(?1, 'main')")?;
    statement.query_map([table], |row| row.get(0))?.collect()
}

/// `census_sum(sum, column…)`: the sum with this row in it, or without it.
fn sum(context: &mut Context<'_>) -> rusqlite::Result<i64> {
    let mut hasher = blake3::Hasher::new();
    for at in 1..context.len() {
        add(&mut hasher, context.get_raw(at));
    }
    Ok(context.get::<i64>(0)? ^ short(&hasher))
}

/// Adds a value so that no two rows look alike: its type, its length, its bytes.
fn add(hasher: &mut blake3::Hasher, value: ValueRef<'_>) {
    let number;
    let (kind, bytes): (u8, &[u8]) = match value {
        ValueRef::Null => (0, &[]),
        ValueRef::Integer(integer) => {
            number = integer.to_le_bytes();
            (1, &number)
        }
        ValueRef::Real(real) => {
            number = real.to_bits().to_le_bytes();
            (2, &number)
        }
        ValueRef::Text(text) => (3, text),
        ValueRef::Blob(blob) => (4, blob),
    };
    hasher.update(&[kind]).update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
}

fn short(hasher: &blake3::Hasher) -> i64 {
    let mut first = [0; 8];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    i64::from_le_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn open(dir: &Path) -> State {
        State::open(&dir.join("state.db")).unwrap()
    }

    fn raw(dir: &Path, sql: &str) {
        Connection::open(dir.join("state.db")).unwrap().execute_batch(sql).unwrap();
    }

    #[test]
    fn what_is_written_through_the_state_adds_up() {
        let dir = tempfile::tempdir().unwrap();
        let state = open(dir.path());
        assert_eq!(state.miscounts().unwrap(), []);
        for sql in [
            "INSERT INTO retired VALUES (x'01'), (x'02'), (x'03')",
            "INSERT OR REPLACE INTO reseal VALUES (x'01', 1, NULL)",
            "INSERT OR REPLACE INTO reseal VALUES (x'01', 2, 7)",
            "INSERT INTO reseal VALUES (x'01', 3, NULL) ON CONFLICT DO UPDATE SET epoch = 9",
            "UPDATE reseal SET since = 8",
            "DELETE FROM retired WHERE scope = x'02'",
            "INSERT OR IGNORE INTO retired VALUES (x'01')",
            "DELETE FROM retired",
        ] {
            state.connection.execute(sql, []).unwrap();
            assert_eq!(state.miscounts().unwrap(), [], "{sql}");
        }
        drop(state);
        assert_eq!(open(dir.path()).miscounts().unwrap(), []);
    }

    #[test]
    fn tables_that_a_transaction_wrote_first_are_counted_after_it_was_taken_back() {
        let dir = tempfile::tempdir().unwrap();
        let state = open(dir.path());
        let retire = || state.connection.execute("INSERT INTO retired VALUES (x'01')", []).unwrap();
        let transaction = state.transaction().unwrap();
        retire();
        drop(transaction);
        assert_eq!(state.miscounts().unwrap(), []);
        retire();
        assert_eq!(state.miscounts().unwrap(), []);
        let transaction = state.transaction().unwrap();
        state.connection.execute("DELETE FROM retired", []).unwrap();
        commit(transaction).unwrap();
        assert_eq!(state.miscounts().unwrap(), []);
    }

    #[test]
    fn what_changes_by_another_way_is_noticed_until_it_is_taken_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let state = open(dir.path());
        state.connection.execute("INSERT INTO reseal VALUES (x'01', 1, 5), (x'02', 2, 6)", []).unwrap();
        for (sql, found) in [
            ("UPDATE reseal SET since = 7 WHERE scope = x'01'", 2),
            ("UPDATE reseal SET since = NULL WHERE scope = x'01'", 2),
            ("DELETE FROM reseal WHERE scope = x'01'", 1),
            ("DELETE FROM reseal", 0),
        ] {
            raw(dir.path(), sql);
            let miscounts = state.miscounts().unwrap();
            assert_eq!(miscounts.len(), 1, "{sql}");
            assert_eq!((miscounts[0].table, miscounts[0].found), ("reseal", found), "{sql}");
            state.recount("reseal").unwrap();
            assert_eq!(state.miscounts().unwrap(), [], "{sql}");
        }
        raw(dir.path(), "DELETE FROM census WHERE name = 'shun'; UPDATE census SET sum = 1 WHERE name = 'jump'");
        let tables: Vec<_> = state.miscounts().unwrap().into_iter().map(|miscount| miscount.table).collect();
        assert_eq!(tables, ["jump", "shun"]);
    }

    #[test]
    fn a_state_of_before_the_census_is_counted_when_it_is_opened() {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path()).connection.execute("INSERT INTO retired VALUES (x'01')", []).unwrap();
        raw(dir.path(), "DROP TABLE census");
        let state = open(dir.path());
        assert_eq!(state.miscounts().unwrap(), []);
        state.connection.execute("DELETE FROM retired", []).unwrap();
        assert_eq!(state.miscounts().unwrap(), []);
    }
}
