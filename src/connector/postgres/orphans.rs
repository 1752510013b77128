//! Rows whose foreign keys lead nowhere. The server keeps foreign keys, but not those that nobody validated, nor against
//! sessions that switch them off.

use super::catalogue::{self, Parents};
use crate::connector::sql::session::{Session, SqlError};

/// Counts them by foreign key, each up to `limit`; returns tables and what is wrong there.
pub(super) fn find(
    conn: &dyn Session,
    schema: &str,
    tables: &[&str],
    limit: usize,
) -> Result<Vec<(String, String)>, SqlError> {
    let mut found = Vec::new();
    let keys = catalogue::foreign_keys(conn, schema, Parents::Within)?;
    for key in keys.into_iter().filter(|key| tables.contains(&key.table.as_str())) {
        let quote = |name: &String| format!("\"{}\"", name.replace('"', "\"\""));
        let is_set: Vec<String> = key.columns.iter().map(|name| format!("c.{} IS NOT NULL", quote(name))).collect();
        let pairs = key.columns.iter().zip(&key.parent_columns);
        let meets: Vec<String> = pairs.map(|(from, to)| format!("p.{} = c.{}", quote(to), quote(from))).collect();
        let sql = format!(
            "SELECT count(*) FROM (SELECT 1 FROM {} c WHERE {} AND NOT EXISTS (SELECT 1 FROM {} p WHERE {}) LIMIT {limit}) o",
            conn.table(&key.table),
            is_set.join(" AND "),
            conn.table(&key.parent),
            meets.join(" AND ")
        );
        let count: i64 = conn.only(&sql, &[], |row| row.get(0))?;
        if count > 0 {
            let (columns, parent) = (key.columns.join(", "), key.parent);
            let rows = if count == 1 { "a row refers" } else { "rows refer" };
            found.push((key.table, format!("{rows} by {columns} to a row of {parent} that isn't there")));
        }
    }
    Ok(found)
}
