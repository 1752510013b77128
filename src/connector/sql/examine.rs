//! Looks for what is wrong with the bookkeeping and the rows that it stands for, and changes nothing.

use std::collections::BTreeMap;

use super::books::{Books, Refused, STUB};
use super::connector::SqlConnector;
use super::plan::Plans;
use super::raw::Raw;
use super::session::{Session, SqlError};
use crate::connector::error::Error;
use crate::connector::standing::{Blemish, Part, Standing};
use crate::id::bytes::RecordKey;
use crate::id::name::{DatasetName, ScopeName};
use crate::record::recordid::RecordId;

/// The tables of the bookkeeping.
const TABLES: &[&str] = &["meta", "origin", "dataset", "map", "override", "gone", "waiting", "position"];
/// How many faults of one kind are listed at most.
const FAULTS_MAX: usize = 20;

impl SqlConnector {
    /// See `Connector::examine`.
    pub(super) fn examine_books(&self, see: &mut dyn FnMut(RecordId, Standing)) -> Result<Vec<Blemish>, Error> {
        let doing = "look at the bookkeeping";
        let failed = |source| self.failed(doing, source);
        let mut found = tables(self.session(), &self.plans).map_err(failed)?;
        if found.iter().any(|blemish| blemish.part == Part::Books) {
            return Ok(found);
        }
        let Some(books) = self.existing_books(doing)? else { return Ok(found) };
        found.extend(map(self.session(), &self.plans, &books, see).map_err(failed)?);
        waiting(self.session(), &self.plans, &books, see).map_err(failed)?;
        Ok(found)
    }

    /// See `Connector::placeholders`.
    pub(super) fn count_placeholders(&self) -> Result<BTreeMap<DatasetName, u64>, Error> {
        let doing = "count the placeholders";
        let Some(books) = self.existing_books(doing)? else { return Ok(BTreeMap::new()) };
        let read = || -> Result<BTreeMap<DatasetName, u64>, SqlError> {
            // Spelled as the index on them is; the sign keeps SQLite from preferring the primary key.
            let sql = format!("SELECT count(*) FROM _wbsync_map WHERE +dataset = ?1 AND flags & {STUB} <> 0");
            let mut counts = BTreeMap::new();
            for (number, plan) in books.datasets.iter().zip(&self.plans.list) {
                let count: i64 = self.session().only(&sql, &bind![number], |row| row.get(0))?;
                if count > 0 {
                    counts.insert(plan.name.clone(), count.unsigned_abs());
                }
            }
            Ok(counts)
        };
        read().map_err(|source| self.failed(doing, source))
    }
}

impl SqlConnector {
    /// Returns the local key of a record's row.
    pub(in crate::connector) fn key_of(&self, id: &RecordId) -> Result<Option<String>, Error> {
        let doing = "find the row of a record";
        let (Some(books), Some(dataset)) = (self.existing_books(doing)?, self.plans.index(&id.dataset)) else {
            return Ok(None);
        };
        let entry = books.find(self.session(), dataset, id).map_err(|source| self.failed(doing, source))?;
        Ok(entry.map(|entry| entry.key.to_string()))
    }

    /// Returns the number of the last capture that was settled, also where the bookkeeping lacks a dataset that is new to the mapping:
    /// that makes it none the older.
    pub(super) fn settled_so_far(&self) -> Result<u64, Error> {
        let session = self.session();
        let read = || match session.has_books()? {
            true => session.one("SELECT settled FROM _wbsync_position", &[], |row| row.get::<i64>(0)),
            false => Ok(None),
        };
        let settled = read().map_err(|source| self.failed("read the position", source))?;
        Ok(settled.unwrap_or(0).unsigned_abs())
    }
}

/// Sees that no row is of a dataset whose name was lost: datasets that are new would be given its number, and so its rows.
pub(super) fn check_datasets(conn: &dyn Session) -> Result<(), Refused> {
    let sql = "SELECT dataset FROM _wbsync_map WHERE dataset NOT IN (SELECT dataset FROM _wbsync_dataset) LIMIT 1";
    match conn.one(sql, &[], |row| row.get::<i64>(0))? {
        Some(lost) => Err(Refused::Damaged(format!("rows are of dataset {lost}, whose name isn't there"))),
        None => Ok(()),
    }
}

/// Looks at what the database itself says, and whether the tables of the bookkeeping are there.
fn tables(conn: &dyn Session, plans: &Plans) -> Result<Vec<Blemish>, SqlError> {
    let mapped: Vec<&str> = plans.list.iter().map(|plan| plan.spec.table.as_str()).collect();
    let mut found = Vec::new();
    let ours: Vec<String> = TABLES.iter().map(|table| format!("_wbsync_{table}")).collect();
    for detail in conn.faults(&ours, FAULTS_MAX)? {
        found.push(Blemish { part: Part::File, place: "the database file".to_owned(), detail });
    }
    for (place, detail) in conn.orphans(&mapped, FAULTS_MAX)? {
        found.push(Blemish { part: Part::Orphan, place, detail });
    }
    let missing: Vec<String> = ours
        .into_iter()
        .filter(|table| conn.each(&format!("SELECT 1 FROM {table} LIMIT 1"), &[], &mut |_| Ok(false)).is_err())
        .collect();
    // With none of them there is no bookkeeping yet.
    if missing.len() < TABLES.len() {
        let detail = || "the table is missing, or can't be read".to_owned();
        found.extend(missing.into_iter().map(|place| Blemish { part: Part::Books, place, detail: detail() }));
    }
    Ok(found)
}

/// Looks at every map row: gives those that stand for a record to `see`, and returns what is wrong with the others.
fn map(
    conn: &dyn Session,
    plans: &Plans,
    books: &Books,
    see: &mut dyn FnMut(RecordId, Standing),
) -> Result<Vec<Blemish>, SqlError> {
    let mut found = Vec::new();
    let known: Vec<i64> = conn.all("SELECT dataset FROM _wbsync_dataset", &[], |row| row.get(0))?;
    let sql = "SELECT dataset, origin, record, audience, seen, flags FROM _wbsync_map";
    conn.each(sql, &[], &mut |row| {
        let (number, origin): (i64, i64) = (row.get(0)?, row.get(1)?);
        let mut find = |detail: String| {
            if found.len() < FAULTS_MAX {
                found.push(Blemish { part: Part::Books, place: "_wbsync_map".to_owned(), detail });
            }
        };
        let Some(dataset) = books.datasets.iter().position(|known| *known == number) else {
            // A dataset that the mapping no longer has keeps its rows.
            if !known.contains(&number) {
                find(format!("a row names dataset {number}, which isn't there"));
            }
            return Ok(true);
        };
        let name = &plans.list[dataset].name;
        let instance = usize::try_from(origin).ok().and_then(|origin| books.origins.get(origin));
        let record = match row.raw(2)?.to_raw() {
            Raw::Blob(bytes) => RecordKey::from_slice(&bytes),
            _ => None,
        };
        let (Some(instance), Some(key), Ok(audience)) = (instance, record, row.str(3)) else {
            find(format!("a row of {name} doesn't name a record"));
            return Ok(true);
        };
        let is_settled = row.get::<i64>(4)? <= books.settled;
        let standing = match row.get::<i64>(5)? & STUB {
            0 => Standing::Row { is_settled, is_shared: audience.parse::<ScopeName>().is_ok() },
            _ => Standing::Placeholder,
        };
        see(RecordId { origin: *instance, dataset: name.clone(), key }, standing);
        Ok(true)
    })?;
    Ok(found)
}

/// Gives every record to `see` that waits to be written, or whose row vanished and wasn't captured yet.
fn waiting(
    conn: &dyn Session,
    plans: &Plans,
    books: &Books,
    see: &mut dyn FnMut(RecordId, Standing),
) -> Result<(), SqlError> {
    let sql =
        "SELECT dataset, origin, record FROM _wbsync_waiting UNION SELECT dataset, origin, record FROM _wbsync_gone";
    conn.each(sql, &[], &mut |row| {
        let (number, origin): (i64, i64) = (row.get(0)?, row.get(1)?);
        let dataset = books.datasets.iter().position(|known| *known == number);
        let is_known = usize::try_from(origin).is_ok_and(|origin| origin < books.origins.len());
        if let (Some(dataset), true, Ok(record)) = (dataset, is_known, row.get(2)) {
            see(books.record_id(plans, dataset, origin, record), Standing::Waits);
        }
        Ok(true)
    })
}
