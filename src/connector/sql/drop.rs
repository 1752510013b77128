//! Rows that this instance gives up: which they are, and what waits of them.

use std::collections::BTreeMap;

use super::apply::Removal;
use super::books::{Books, STUB};
use super::look::OWN;
use super::plan::{Plans, quote};
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

/// Returns by dataset what tells whether any row refers to the row with the key `?1`: by a reference of the mapping,
/// or by a foreign key that would delete or alter the referring row. The database refuses the rest.
pub(super) fn referring(conn: &dyn Session, plans: &Plans) -> Result<Vec<Vec<String>>, SqlError> {
    let mut queries = vec![Vec::new(); plans.list.len()];
    for (index, plan) in plans.list.iter().enumerate() {
        for (field, reference) in plan.refs() {
            let column = quote(&plan.fields[field].column);
            let own =
                if reference.parent == index { format!(" AND {} <> ?1", quote(&plan.spec.key)) } else { String::new() };
            let sql = format!("SELECT 1 FROM {} WHERE {column} = ?1{own} LIMIT 1", plan.table);
            queries[reference.parent].push(sql);
        }
    }
    for acting in conn.acting_keys()? {
        for (index, plan) in plans.list.iter().enumerate() {
            if conn.fold(&plan.spec.table) == conn.fold(&acting.parent) {
                let pairs =
                    acting.columns.iter().map(|(child, parent)| format!("c.{} = p.{}", quote(child), quote(parent)));
                let (key, on) = (quote(&plan.spec.key), pairs.collect::<Vec<_>>().join(" AND "));
                let is_same = conn.fold(&acting.child) == conn.fold(&acting.parent);
                let other = if is_same { format!(" AND c.{key} <> ?1") } else { String::new() };
                let (child, table) = (&acting.spelled, &plan.table);
                queries[index]
                    .push(format!("SELECT 1 FROM {child} c JOIN {table} p ON {on} WHERE p.{key} = ?1{other} LIMIT 1"));
            }
        }
    }
    Ok(queries)
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
        Dropped::Unused(_) => Removal::Unused(referring(conn, plans)?),
        Dropped::Origin(_) | Dropped::Record(_) if conn.acting_keys()?.is_empty() => Removal::GivenUp,
        Dropped::Origin(_) | Dropped::Record(_) => Removal::BlankedOnly,
    })
}
