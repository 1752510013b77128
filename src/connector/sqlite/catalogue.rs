//! What SQLite says of its tables.

use std::collections::BTreeMap;

use rusqlite::Connection;

use crate::connector::catalogue::{Column, ForeignKey, Table, TableKind};

/// Tells whether a column is what the rows of a table are numbered by, and no trigger of the application's is on the table.
pub(super) fn numbers_rows(conn: &Connection, table: &str, column: &str) -> rusqlite::Result<bool> {
    // A key may look like one and be none (`INTEGER PRIMARY KEY DESC`): the plan can't be wrong, but of a view it is that of
    // another table. And what the application's own triggers insert is nothing to rely on.
    let sql =
        "SELECT coalesce(group_concat(type), '') = 'table' FROM main.sqlite_schema WHERE tbl_name = ?1 COLLATE NOCASE
               AND (type IN ('table', 'view') OR type = 'trigger' AND name NOT LIKE '\\_wbsync\\_%' ESCAPE '\\')";
    if !conn.query_row(sql, [table], |row| row.get::<_, bool>(0))? {
        return Ok(false);
    }
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let sql = format!("EXPLAIN QUERY PLAN SELECT 1 FROM main.{} WHERE {} = 1", quoted(table), quoted(column));
    let plan: String = conn.query_row(&sql, [], |row| row.get("detail"))?;
    Ok(plan.contains("USING INTEGER PRIMARY KEY"))
}

/// Tells whether the application has triggers.
pub(super) fn has_triggers(conn: &Connection) -> rusqlite::Result<bool> {
    let sql = "SELECT 1 FROM main.sqlite_schema WHERE type = 'trigger' AND name NOT LIKE '\\_wbsync\\_%' ESCAPE '\\'";
    conn.prepare_cached(sql)?.exists([])
}

/// Describes everything that has columns, but for the bookkeeping and SQLite's own tables.
pub(super) fn tables(conn: &Connection) -> rusqlite::Result<Vec<Table>> {
    let sql = "SELECT l.name, l.type, coalesce(s.sql, '') FROM pragma_table_list l
               LEFT JOIN sqlite_schema s ON s.name = l.name AND s.type IN ('table', 'view')
               WHERE l.schema = 'main' AND l.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND l.name NOT LIKE '\\_wbsync\\_%' ESCAPE '\\'
               ORDER BY l.name";
    let mut statement = conn.prepare(sql)?;
    let found = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let found: Vec<(String, String, String)> = found.collect::<Result<_, _>>()?;
    let keys = foreign_keys(conn)?;
    let mut tables = Vec::with_capacity(found.len());
    for (name, kind, sql) in found {
        let kind = match kind.as_str() {
            "table" => TableKind::Table,
            "view" => TableKind::View,
            _ => TableKind::Foreign,
        };
        // Asking a virtual table needs its module, which only the application may have.
        let columns = if kind == TableKind::Foreign { Vec::new() } else { columns(conn, &name)? };
        let triggers = "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = ?1
                        AND name NOT LIKE '\\_wbsync\\_%' ESCAPE '\\' ORDER BY name";
        let triggers = conn.prepare(triggers)?.query_map([&name], |row| row.get(0))?.collect::<Result<_, _>>()?;
        let primary = columns.iter().filter(|column| column.primary > 0).count();
        let mut unique = unique_sets(conn, &name)?;
        // The index of the primary key is one of them, where it has one.
        unique.retain(|set| set.len() != primary || !set.iter().all(|name| is_primary(&columns, name)));
        let keys = keys.iter().filter(|key| key.table == name).cloned().collect();
        let reuses_keys = !sql.to_ascii_uppercase().contains("AUTOINCREMENT");
        tables.push(Table { name, kind, columns, unique, keys, triggers, reuses_keys });
    }
    Ok(tables)
}

fn is_primary(columns: &[Column], name: &str) -> bool {
    columns.iter().any(|column| column.primary > 0 && column.name == name)
}

fn columns(conn: &Connection, table: &str) -> rusqlite::Result<Vec<Column>> {
    let sql =
        "SELECT name, type, \"notnull\", dflt_value IS NOT NULL, hidden, pk FROM pragma_table_xinfo(?1) ORDER BY cid";
    let mut statement = conn.prepare(sql)?;
    let columns = statement.query_map([table], |row| {
        let declared: String = row.get(1)?;
        Ok(Column {
            name: row.get(0)?,
            not_null: row.get(2)?,
            has_default: row.get(3)?,
            is_generated: row.get::<_, i64>(4)? >= 2,
            primary: row.get(5)?,
            is_chosen: declared.eq_ignore_ascii_case("INTEGER"),
            is_known: true,
            some_value: None,
            seen: None,
            declared,
        })
    })?;
    let mut columns: Vec<Column> = columns.collect::<Result<_, _>>()?;
    let primary = columns.iter().filter(|column| column.primary > 0).count();
    for column in &mut columns {
        column.is_chosen &= primary == 1 && column.primary == 1;
    }
    Ok(columns)
}

/// Lists the sets of columns that are unique in all rows.
pub(super) fn unique_sets(conn: &Connection, table: &str) -> rusqlite::Result<Vec<Vec<String>>> {
    let sql = "SELECT i.name, c.name FROM pragma_index_list(?1) i, pragma_index_info(i.name) c
               WHERE i.\"unique\" AND NOT i.partial ORDER BY i.seq, c.seqno";
    let mut sets: BTreeMap<String, Vec<Option<String>>> = BTreeMap::new();
    let mut statement = conn.prepare(sql)?;
    let mut rows = statement.query([table])?;
    while let Some(row) = rows.next()? {
        sets.entry(row.get(0)?).or_default().push(row.get(1)?);
    }
    // An expression has no name: what is unique isn't a set of columns then.
    Ok(sets.into_values().filter_map(|set| set.into_iter().collect()).collect())
}

/// Lists the foreign keys of all tables.
pub(super) fn foreign_keys(conn: &Connection) -> rusqlite::Result<Vec<ForeignKey>> {
    let sql = "SELECT t.name, f.id, f.\"table\", f.\"from\", f.\"to\", f.on_delete, t.sql
               FROM sqlite_schema t, pragma_foreign_key_list(t.name) f WHERE t.type = 'table'
               ORDER BY t.name, f.id, f.seq";
    let mut keys: BTreeMap<(String, i64), ForeignKey> = BTreeMap::new();
    let mut statement = conn.prepare(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (table, number): (String, i64) = (row.get(0)?, row.get(1)?);
        let (on_delete, declared): (String, String) = (row.get(5)?, row.get(6)?);
        let declared = declared.to_ascii_uppercase();
        let says = |start: &str| declared.split_whitespace().any(|word| word.starts_with(start));
        let key = keys.entry((table.clone(), number)).or_insert_with(|| ForeignKey {
            table,
            columns: Vec::new(),
            parent: String::new(),
            parent_columns: Vec::new(),
            acts: !matches!(on_delete.as_str(), "NO ACTION" | "RESTRICT"),
            // No pragma tells which of the table's keys it is.
            is_deferred: says("DEFERRED"),
            is_deferrable: says("DEFERRABLE"),
        });
        key.parent = row.get(2)?;
        key.columns.push(row.get(3)?);
        key.parent_columns.extend(row.get::<_, Option<String>>(4)?);
    }
    Ok(keys.into_values().collect())
}
