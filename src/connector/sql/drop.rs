//! Rows that this instance gives up: which they are, and what waits of them.

use std::collections::BTreeMap;

use super::apply::Removal;
use super::books::{Books, STUB};
use super::guard;
use super::look::OWN;
use super::plan::Plans;
use super::session::{Row, Session, SqlError};
use crate::connector::contract::Dropped;
use crate::id::name::DatasetName;
use crate::record::recordid::RecordId;

/// Lists the records whose rows are given up, children's datasets first; placeholders are none of them.
pub(super) fn records(
    conn: &dyn Session,
    plans: &Plans,
    books: &Books,
    dropped: &Dropped,
) -> Result<Vec<RecordId>, SqlError> {
    let mut ids = Vec::new();
    match dropped {
        Dropped::Origin(instance) => {
            let Some(origin) = books.number(instance) else { return Ok(ids) };
            for dataset in (0..plans.list.len()).rev() {
                let sql = "SELECT record FROM _wbsync_map WHERE dataset = ?1 AND origin = ?2 AND flags & ?3 = 0";
                let id = |row: &dyn Row| Ok(books.record_id(plans, dataset, origin, row.get(0)?));
                ids.extend(conn.all(sql, &bind![books.datasets[dataset], origin, STUB], id)?);
            }
        }
        Dropped::Record(id) => {
            if let Some(dataset) = plans.index(&id.dataset)
                && books.find(conn, dataset, id)?.is_some_and(|entry| !entry.is_stub())
            {
                ids.push(id.clone());
            }
        }
        Dropped::Unused(wanted) => {
            for (dataset, plan) in plans.list.iter().enumerate().rev() {
                for id in wanted.iter().filter(|id| id.dataset == plan.name) {
                    if books.find(conn, dataset, id)?.is_some_and(|entry| !entry.is_stub() && entry.origin != OWN) {
                        ids.push(id.clone());
                    }
                }
            }
        }
    }
    Ok(ids)
}

/// Counts the rows that are given up, by dataset.
pub(super) fn counts(
    conn: &dyn Session,
    plans: &Plans,
    books: &Books,
    dropped: &Dropped,
) -> Result<BTreeMap<DatasetName, u64>, SqlError> {
    let mut counts = BTreeMap::new();
    for id in records(conn, plans, books, dropped)? {
        *counts.entry(id.dataset).or_default() += 1;
    }
    Ok(counts)
}

/// Forgets what waits of rows that are given up, and which of them vanished.
pub(super) fn waiting(conn: &dyn Session, plans: &Plans, books: &Books, dropped: &Dropped) -> Result<(), SqlError> {
    match dropped {
        Dropped::Origin(instance) => {
            let Some(origin) = books.number(instance) else { return Ok(()) };
            conn.execute("DELETE FROM _wbsync_waiting WHERE origin = ?1", &bind![origin])?;
            conn.execute("DELETE FROM _wbsync_gone WHERE origin = ?1", &bind![origin])?;
        }
        Dropped::Record(id) => {
            let (Some(origin), Some(dataset)) = (books.number(&id.origin), plans.index(&id.dataset)) else {
                return Ok(());
            };
            let sql = "DELETE FROM _wbsync_waiting WHERE dataset = ?1 AND origin = ?2 AND record = ?3";
            conn.execute(sql, &bind![books.datasets[dataset], origin, id.key.as_bytes()])?;
        }
        // What waits is no row yet, and isn't given up.
        Dropped::Unused(_) => {}
    }
    Ok(())
}

/// Tells how rows can be given up in this database: to delete one must not delete or alter any other.
pub(super) fn removal(conn: &dyn Session, plans: &Plans, dropped: &Dropped) -> Result<Removal, SqlError> {
    Ok(match dropped {
        Dropped::Unused(_) => {
            let keys = conn.foreign_keys()?;
            Removal::Unused((0..plans.list.len()).map(|dataset| guard::all(plans, dataset, conn, &keys)).collect())
        }
        Dropped::Origin(_) | Dropped::Record(_) if !conn.has_acting_keys()? => Removal::GivenUp,
        Dropped::Origin(_) | Dropped::Record(_) => Removal::BlankedOnly,
    })
}
