//! Rows that this instance gives up: which they are, and what waits of them.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};

use super::apply::Removal;
use super::books::{Books, STUB};
use super::plan::Plans;
use crate::connector::contract::Dropped;
use crate::id::name::DatasetName;
use crate::record::recordid::RecordId;

/// Lists the records whose rows are given up, children's datasets first; placeholders are none of them.
pub(super) fn records(
    conn: &Connection,
    plans: &Plans,
    books: &Books,
    dropped: &Dropped,
) -> rusqlite::Result<Vec<RecordId>> {
    let mut ids = Vec::new();
    match dropped {
        Dropped::Origin(instance) => {
            let Some(origin) = books.number(instance) else { return Ok(ids) };
            for dataset in (0..plans.list.len()).rev() {
                let sql = "SELECT record FROM _wbsync_map WHERE dataset = ?1 AND origin = ?2 AND flags & ?3 = 0";
                let mut statement = conn.prepare_cached(sql)?;
                let found = statement.query_map(params![books.datasets[dataset], origin, STUB], |row| row.get(0))?;
                for record in found {
                    ids.push(books.record_id(plans, dataset, origin, record?));
                }
            }
        }
        Dropped::Record(id) => {
            if let Some(dataset) = plans.index(&id.dataset)
                && books.find(conn, dataset, id)?.is_some_and(|entry| !entry.is_stub())
            {
                ids.push(id.clone());
            }
        }
    }
    Ok(ids)
}

/// Counts the rows that are given up, by dataset.
pub(super) fn counts(
    conn: &Connection,
    plans: &Plans,
    books: &Books,
    dropped: &Dropped,
) -> rusqlite::Result<BTreeMap<DatasetName, u64>> {
    let mut counts = BTreeMap::new();
    for id in records(conn, plans, books, dropped)? {
        *counts.entry(id.dataset).or_default() += 1;
    }
    Ok(counts)
}

/// Forgets what waits of rows that are given up, and which of them vanished.
pub(super) fn waiting(conn: &Connection, plans: &Plans, books: &Books, dropped: &Dropped) -> rusqlite::Result<()> {
    match dropped {
        Dropped::Origin(instance) => {
            let Some(origin) = books.number(instance) else { return Ok(()) };
            conn.execute("DELETE FROM _wbsync_waiting WHERE origin = ?1", [origin])?;
            conn.execute("DELETE FROM _wbsync_gone WHERE origin = ?1", [origin])?;
        }
        Dropped::Record(id) => {
            let (Some(origin), Some(dataset)) = (books.number(&id.origin), plans.index(&id.dataset)) else {
                return Ok(());
            };
            let sql = "DELETE FROM _wbsync_waiting WHERE dataset = ?1 AND origin = ?2 AND record = ?3";
            conn.execute(sql, params![books.datasets[dataset], origin, id.key.as_bytes()])?;
        }
    }
    Ok(())
}

/// Tells how rows can be given up in this database: to delete one must not delete or alter any other.
pub(super) fn removal(conn: &Connection) -> rusqlite::Result<Removal> {
    let sql = "SELECT 1 FROM sqlite_schema t, pragma_foreign_key_list(t.name) f
               WHERE t.type = 'table' AND f.on_delete NOT IN ('NO ACTION', 'RESTRICT') LIMIT 1";
    let acts = conn.prepare(sql)?.exists([])?;
    Ok(if acts { Removal::BlankedOnly } else { Removal::GivenUp })
}
