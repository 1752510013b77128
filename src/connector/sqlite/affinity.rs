//! What SQLite makes of the values that it stores.

use crate::record::fieldtype::Kind;

/// What SQLite does to values that it stores in a column (sqlite.org/datatype3.html, section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Affinity {
    Integer,
    Text,
    Blob,
    Real,
    Numeric,
}

/// Returns the affinity of a column.
fn affinity(declared: &str) -> Affinity {
    let declared = declared.to_ascii_uppercase();
    let has = |parts: &[&str]| parts.iter().any(|part| declared.contains(part));
    if has(&["INT"]) {
        Affinity::Integer
    } else if has(&["CHAR", "CLOB", "TEXT"]) {
        Affinity::Text
    } else if declared.is_empty() || has(&["BLOB"]) {
        Affinity::Blob
    } else if has(&["REAL", "FLOA", "DOUB"]) {
        Affinity::Real
    } else {
        Affinity::Numeric
    }
}

/// Tells whether a column gives back what of this kind is stored in it, as that kind.
pub(super) fn keeps(declared: &str, kind: Kind) -> bool {
    use Affinity::{Blob, Integer, Numeric, Real, Text};
    let affinity = affinity(declared);
    // What applications spell as texts in such columns (days, times, truth values) is no number, so it stays as it is.
    let is_spelled = ["DATE", "TIME", "BOOL"].iter().any(|name| declared.to_ascii_uppercase().contains(name));
    match kind {
        Kind::Text if is_spelled => true,
        // The text 007 becomes the number 7 in a column of numbers.
        Kind::Text => matches!(affinity, Text | Blob),
        // DATETIME and JSON are columns of numbers by SQLite's rules; such texts are none, and stay.
        Kind::Timestamp | Kind::Json | Kind::Decimal | Kind::List(_) => matches!(affinity, Text | Blob | Numeric),
        Kind::Int | Kind::Bool => matches!(affinity, Integer | Numeric | Blob),
        Kind::Float => matches!(affinity, Real | Integer | Numeric | Blob),
        // Bytes are never converted; but what the application itself writes into a column of texts is text.
        Kind::Bytes => matches!(affinity, Blob | Numeric),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_fits_where_sqlite_gives_back_what_was_stored() {
        let conn = rusqlite::Connection::open_in_memory().unwrap();
        let stored = |declared: &str, value: &dyn rusqlite::ToSql| -> rusqlite::types::Value {
            conn.execute_batch(&format!("DROP TABLE IF EXISTS t; CREATE TABLE t(x {declared})")).unwrap();
            conn.execute("INSERT INTO t VALUES(?1)", [value]).unwrap();
            conn.query_row("SELECT x FROM t", [], |row| row.get(0)).unwrap()
        };
        for declared in
            ["", "VARCHAR(64)", "TEXT", "INTEGER", "BIGINT", "REAL", "NUMERIC", "DATETIME", "BLOB", "BOOLEAN"]
        {
            let text = if matches!(declared, "DATETIME" | "BOOLEAN") { "2026-01-01T10:00:00Z" } else { "007" };
            let kept = stored(declared, &text) == rusqlite::types::Value::Text(text.into());
            assert_eq!(keeps(declared, Kind::Text), kept, "text in {declared:?}");
            let kept = stored(declared, &7) == rusqlite::types::Value::Integer(7);
            assert_eq!(keeps(declared, Kind::Int), kept, "int in {declared:?}");
        }
    }
}
