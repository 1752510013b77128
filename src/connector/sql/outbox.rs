//! The outbox: what triggers noted, and what else a capture by triggers has to look at.
//!
//! A note says that a row with this key was inserted, changed or deleted, or, without a key, that any row of the table may
//! have been. Beside the notes there are rows that were reported and never settled, and keys of the map whose record or
//! audience changed: what refers to them says something else now. All of it is read in the snapshot that the rows are read
//! in, and taken away after what it led to was written down.

use std::collections::{BTreeMap, BTreeSet};

use super::books::Books;
use super::key::Key;
use super::many::{rows, rows_max};
use super::plan::Plans;
use super::raw::{Bind, RawRef};
use super::session::{Session, SqlError};

/// The most notes that are worked off one by one; with more their tables are read as a whole.
const NOTES_MAX: i64 = 200_000;
/// How many notes are deleted in one transaction.
pub(super) const FORGET: i64 = 20_000;

/// What a snapshot held.
#[derive(Debug)]
pub(super) struct Notes {
    /// What tells later which notes were seen.
    pub(super) horizon: String,
    /// By dataset, the keys to look at.
    pub(super) keys: Vec<BTreeSet<Key>>,
    /// By dataset, whether all its rows are to be looked at.
    pub(super) whole: Vec<bool>,
    /// By dataset, keys whose record or audience changed.
    pub(super) moved: Vec<BTreeSet<Key>>,
    /// Whether there was anything to take away.
    pub(super) any: bool,
}

impl Notes {
    /// Reads what there is.
    pub(super) fn read(conn: &dyn Session, plans: &Plans, books: &Books) -> Result<Self, SqlError> {
        let nothing = || vec![BTreeSet::new(); plans.list.len()];
        let horizon = conn.only(conn.outbox().horizon, &[], |row| row.get(0))?;
        let mut notes = Self {
            horizon,
            keys: nothing(),
            whole: vec![false; plans.list.len()],
            moved: nothing(),
            any: conn.exists("SELECT 1 FROM _wbsync_outbox LIMIT 1", &[])?,
        };
        let sql = "SELECT DISTINCT place, key FROM _wbsync_outbox LIMIT ?1";
        let mut count = 0;
        conn.each(sql, &bind![NOTES_MAX], &mut |row| {
            count += 1;
            let Some(dataset) = dataset_of(plans, row.str(0)?) else { return Ok(true) };
            match row.raw(1)? {
                RawRef::Null | RawRef::Blob([]) => notes.whole[dataset] = true,
                // A row with another key stays home, always.
                key => notes.keys[dataset].extend(Key::noted(key, plans.list[dataset].key.is_integer())),
            }
            Ok(true)
        })?;
        if count >= NOTES_MAX {
            notes.whole_places(conn, plans)?;
        }
        for (table, is_moved) in [("unsettled", false), ("moved", true)] {
            let sql = format!("SELECT dataset, key FROM _wbsync_{table}");
            conn.each(&sql, &[], &mut |row| {
                notes.any |= is_moved;
                let number: i64 = row.get(0)?;
                let Some(dataset) = books.datasets.iter().position(|known| *known == number) else { return Ok(true) };
                let keys = if is_moved { &mut notes.moved } else { &mut notes.keys };
                keys[dataset].insert(books.key(dataset, row, 1)?);
                Ok(true)
            })?;
        }
        for dataset in 0..plans.list.len() {
            // What refers to nothing may have got what it refers to. The sign keeps SQLite from preferring the primary key, and with
            // it all rows of the dataset, to the index on these few.
            let sql = "SELECT key FROM _wbsync_map WHERE +dataset = ?1 AND flags & 2 <> 0";
            conn.each(sql, &bind![books.datasets[dataset]], &mut |row| {
                notes.keys[dataset].insert(books.key(dataset, row, 0)?);
                Ok(true)
            })?;
        }
        Ok(notes)
    }

    /// Gives up the keys of tables with too many notes.
    fn whole_places(&mut self, conn: &dyn Session, plans: &Plans) -> Result<(), SqlError> {
        conn.each("SELECT DISTINCT place FROM _wbsync_outbox", &[], &mut |row| {
            if let Some(dataset) = dataset_of(plans, row.str(0)?) {
                self.whole[dataset] = true;
                self.keys[dataset].clear();
            }
            Ok(true)
        })
    }
}

/// Counts the notes, up to a limit.
pub(super) fn count(conn: &dyn Session, limit: i64) -> Result<i64, SqlError> {
    let sql = "SELECT count(*) FROM (SELECT 1 FROM _wbsync_outbox LIMIT ?1) n";
    conn.only(sql, &bind![limit], |row| row.get(0))
}

/// Notes that a row is to be looked at; the caller holds a write transaction.
pub(super) fn note(conn: &dyn Session, plans: &Plans, dataset: usize, key: &Key) -> Result<(), SqlError> {
    if !conn.has_outbox()? {
        return Ok(());
    }
    let place = plans.list[dataset].spec.table.as_str();
    conn.execute("DELETE FROM _wbsync_outbox WHERE place = ?1 AND key = ?2", &bind![place, key])?;
    conn.execute("INSERT INTO _wbsync_outbox(place, key) VALUES(?1, ?2)", &bind![place, key])?;
    Ok(())
}

/// Notes that rows were reported, until that is settled; the caller holds a write transaction.
pub(super) fn reported(conn: &dyn Session, books: &Books, dataset: usize, keys: &[Key]) -> Result<(), SqlError> {
    let number = books.datasets[dataset];
    for keys in keys.chunks(rows_max(conn, 2)) {
        let rows = rows(2, keys.len());
        let sql = format!("INSERT INTO _wbsync_unsettled VALUES {rows} ON CONFLICT(dataset, key) DO NOTHING");
        let values: Vec<_> = keys.iter().flat_map(|key| [number.bind(), key.bind()]).collect();
        conn.execute(&sql, &values)?;
    }
    Ok(())
}

/// Takes away the notes of rows that the map knows as they are; the caller holds the transaction that wrote both, and with
/// it the rows.
pub(super) fn forget_keys(conn: &dyn Session, plans: &Plans, rows: &[(usize, Key)]) -> Result<(), SqlError> {
    let mut by_dataset: BTreeMap<usize, Vec<Key>> = BTreeMap::new();
    for (dataset, key) in rows {
        by_dataset.entry(*dataset).or_default().push(key.clone());
    }
    for (dataset, keys) in by_dataset {
        let place = plans.list[dataset].spec.table.as_str();
        conn.execute(conn.outbox().forget_keys, &bind![place, conn.list(&keys, false)])?;
    }
    Ok(())
}

fn dataset_of(plans: &Plans, place: &str) -> Option<usize> {
    plans.list.iter().position(|plan| plan.spec.table == place)
}
