//! Looks for what is wrong with the bookkeeping and the rows that it stands for, and changes nothing.

use rusqlite::Connection;

use super::SqliteConnector;
use super::books::{Books, STUB};
use super::plan::{Plans, quote};
use crate::connector::contract::{Blemish, Standing};
use crate::connector::error::Error;
use crate::id::bytes::RecordKey;
use crate::id::name::ScopeName;
use crate::record::recordid::RecordId;

/// The tables of the bookkeeping.
const TABLES: &[&str] = &["meta", "origin", "dataset", "map", "override", "gone", "waiting", "position"];
/// How many faults of one kind are listed at most.
const FAULTS_MAX: usize = 20;

impl SqliteConnector {
    /// See `Connector::examine`.
    pub(super) fn examine_books(&self, see: &mut dyn FnMut(RecordId, Standing)) -> Result<Vec<Blemish>, Error> {
        let doing = "look at the bookkeeping";
        let failed = |source| self.failed(doing, source);
        let mut found = tables(&self.conn, &self.plans).map_err(failed)?;
        if found.iter().any(|blemish| blemish.place.starts_with("_wbsync_")) {
            return Ok(found);
        }
        let Some(books) = self.existing_books(doing)? else { return Ok(found) };
        found.extend(map(&self.conn, &self.plans, &books, see).map_err(failed)?);
        waiting(&self.conn, &self.plans, &books, see).map_err(failed)?;
        Ok(found)
    }
}

/// Looks at the file, the tables of the bookkeeping, and the foreign keys of mapped tables.
fn tables(conn: &Connection, plans: &Plans) -> rusqlite::Result<Vec<Blemish>> {
    let mut found = Vec::new();
    let mut find = |place: &str, detail: String| found.push(Blemish { place: place.to_owned(), detail });
    let sql = format!("PRAGMA integrity_check({FAULTS_MAX})");
    let lines: Vec<String> = conn.prepare(&sql)?.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    for line in lines.into_iter().filter(|line| line != "ok") {
        find("the database file", line);
    }
    let exists = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1";
    if conn.prepare("SELECT 1 FROM sqlite_schema WHERE name GLOB '_wbsync_*'")?.exists([])? {
        for table in TABLES {
            let name = format!("_wbsync_{table}");
            if !conn.prepare(exists)?.exists([&name])? {
                find(&name, "the table is missing".to_owned());
            }
        }
    }
    for plan in &plans.list {
        let mut statement = conn.prepare(&format!("PRAGMA foreign_key_check({})", quote(&plan.spec.table)))?;
        let broken = statement.query_map([], |row| Ok((row.get::<_, Option<i64>>(1)?, row.get::<_, String>(2)?)))?;
        for row in broken.take(FAULTS_MAX) {
            let (rowid, parent) = row?;
            let row = rowid.map_or_else(|| "a row".to_owned(), |rowid| format!("row {rowid}"));
            find(&plan.spec.table, format!("{row} refers to a row of {parent} that isn't there"));
        }
    }
    Ok(found)
}

/// Looks at every map row: gives those that stand for a record to `see`, and returns what is wrong with the others.
fn map(
    conn: &Connection,
    plans: &Plans,
    books: &Books,
    see: &mut dyn FnMut(RecordId, Standing),
) -> rusqlite::Result<Vec<Blemish>> {
    let mut found = Vec::new();
    let mut find = |detail: String| {
        if found.len() < FAULTS_MAX {
            found.push(Blemish { place: "_wbsync_map".to_owned(), detail });
        }
    };
    let mut statement = conn.prepare("SELECT dataset, key, origin, record, audience, seen, flags FROM _wbsync_map")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (number, origin): (i64, i64) = (row.get(0)?, row.get(2)?);
        let key: rusqlite::types::Value = row.get(1)?;
        let Some(dataset) = books.datasets.iter().position(|known| *known == number) else {
            // A dataset that the mapping no longer has keeps its rows.
            let known = conn.prepare_cached("SELECT 1 FROM _wbsync_dataset WHERE dataset = ?1")?.exists([number])?;
            if !known {
                find(format!("the row of key {key:?} names dataset {number}, which isn't there"));
            }
            continue;
        };
        let name = &plans.list[dataset].name;
        let instance = usize::try_from(origin).ok().and_then(|origin| books.origins.get(origin));
        let record: Result<[u8; 16], _> = row.get(3);
        let audience: Result<String, _> = row.get(4);
        let (Some(instance), Ok(record), Ok(audience)) = (instance, record, audience) else {
            find(format!("the row of {name} with key {key:?} doesn't name a record"));
            continue;
        };
        let id = RecordId { origin: *instance, dataset: name.clone(), key: RecordKey::from_bytes(record) };
        let is_settled = row.get::<_, i64>(5)? <= books.settled;
        let standing = match row.get::<_, i64>(6)? & STUB {
            0 => Standing::Row { is_settled, is_shared: audience.parse::<ScopeName>().is_ok() },
            _ => Standing::Placeholder,
        };
        see(id, standing);
    }
    Ok(found)
}

/// Gives every record to `see` that waits to be written, or whose row vanished and wasn't captured yet.
fn waiting(
    conn: &Connection,
    plans: &Plans,
    books: &Books,
    see: &mut dyn FnMut(RecordId, Standing),
) -> rusqlite::Result<()> {
    let sql =
        "SELECT dataset, origin, record FROM _wbsync_waiting UNION SELECT dataset, origin, record FROM _wbsync_gone";
    let mut statement = conn.prepare(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (number, origin): (i64, i64) = (row.get(0)?, row.get(1)?);
        let dataset = books.datasets.iter().position(|known| *known == number);
        let is_known = usize::try_from(origin).is_ok_and(|origin| origin < books.origins.len());
        if let (Some(dataset), true, Ok(record)) = (dataset, is_known, row.get(2)) {
            see(books.record_id(plans, dataset, origin, record), Standing::Waits);
        }
    }
    Ok(())
}
