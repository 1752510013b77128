//! What PostgreSQL says of the tables of one schema.

use std::collections::BTreeMap;

use super::introspect;
use super::value::KNOWN;
use crate::connector::catalogue::{Column, ForeignKey, Table, TableKind};
use crate::connector::sql::session::{Row, Session, SqlError};

/// Describes everything in a schema that has columns.
pub(super) fn tables(conn: &dyn Session, schema: &str) -> Result<Vec<Table>, SqlError> {
    let mut keys = foreign_keys(conn, schema, Parents::Within)?;
    keys.extend(foreign_keys(conn, schema, Parents::Elsewhere)?);
    let mut tables: Vec<Table> = conn.all(introspect::TABLES, &bind![schema], |row| {
        let name: String = row.get(0)?;
        let kind = match row.str(1)? {
            "r" | "p" => TableKind::Table,
            "v" | "m" => TableKind::View,
            _ => TableKind::Foreign,
        };
        let keys = keys.iter().filter(|key| key.table == name).cloned().collect();
        // A sequence never goes back.
        let reuses_keys = false;
        Ok(Table { name, kind, columns: Vec::new(), unique: Vec::new(), keys, triggers: Vec::new(), reuses_keys })
    })?;
    for table in &mut tables {
        let columns = conn.all(introspect::TABLE_COLUMNS, &bind![schema, table.name], column)?;
        let primary = columns.iter().filter(|(column, _)| column.primary > 0).count();
        table.columns = columns.into_iter().map(|(column, is_numbered)| settle(column, is_numbered, primary)).collect();
        let mut unique = conn.unique_sets(&table.name)?;
        let is_primary = |name: &String| table.column(name).is_some_and(|column| column.primary > 0);
        unique.retain(|set| set.len() != primary || !set.iter().all(is_primary));
        table.unique = unique;
        table.triggers = conn.all(introspect::TRIGGERS, &bind![schema, table.name], |row| row.get(0))?;
    }
    Ok(tables)
}

/// Reads a column, and whether nobody but the database numbers rows by it.
fn column(row: &dyn Row) -> Result<(Column, bool), SqlError> {
    let flag = |at| Ok::<_, SqlError>(row.get::<i64>(at)? != 0);
    let base: String = row.get(7)?;
    let (has_default, is_generated) = (flag(3)?, flag(4)?);
    let column = Column {
        name: row.get(0)?,
        declared: row.get(1)?,
        not_null: flag(2)?,
        has_default,
        is_generated,
        primary: row.get(6)?,
        is_chosen: has_default && !is_generated && introspect::is_integer(&base),
        is_known: flag(8)? || KNOWN.contains(&row.str(9)?),
        some_value: row.get(10)?,
        seen: None,
    };
    Ok((column, flag(5)?))
}

/// Decides who chooses the values of a column, in a table whose key has so many.
fn settle(mut column: Column, is_numbered: bool, primary: usize) -> Column {
    column.is_chosen &= primary == 1 && column.primary == 1;
    // A number that is the key is the database's here and another one elsewhere; any other we could only read.
    column.is_generated |= is_numbered && !column.is_chosen;
    column
}

/// Whose rows foreign keys refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parents {
    /// Those of tables of the same schema.
    Within,
    /// Those of tables of other schemas.
    Elsewhere,
}

/// Lists the foreign keys of the tables of a schema.
pub(super) fn foreign_keys(conn: &dyn Session, schema: &str, parents: Parents) -> Result<Vec<ForeignKey>, SqlError> {
    let mut keys: BTreeMap<i64, ForeignKey> = BTreeMap::new();
    let is_within = i64::from(parents == Parents::Within);
    conn.each(introspect::FOREIGN_KEYS, &bind![schema, is_within], &mut |row| {
        let (table, parent, flag) = (row.get(1)?, row.get(3)?, |at| Ok::<_, SqlError>(row.get::<i64>(at)? != 0));
        let (acts, is_deferred, is_deferrable) = (flag(5)?, flag(6)?, flag(7)?);
        let (columns, parent_columns) = (Vec::new(), Vec::new());
        let new = || ForeignKey { table, columns, parent, parent_columns, acts, is_deferred, is_deferrable };
        let key = keys.entry(row.get(0)?).or_insert_with(new);
        key.columns.push(row.get(2)?);
        key.parent_columns.push(row.get(4)?);
        Ok(true)
    })?;
    Ok(keys.into_values().collect())
}
