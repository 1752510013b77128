//! What SQLite makes of the values that it stores.

use crate::connector::sql::as_written::AsWritten;
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

/// Tells which values a column shows just as they are written.
pub(super) fn as_written(declared: &str) -> AsWritten {
    match affinity(declared) {
        Affinity::Text => AsWritten { integers: false, texts: true, words: true },
        Affinity::Blob => AsWritten { integers: true, texts: true, words: true },
        // A text that spells a number becomes that number.
        Affinity::Integer | Affinity::Numeric => AsWritten { integers: true, texts: false, words: true },
        Affinity::Real => AsWritten { integers: false, texts: false, words: true },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::sql::raw::RawRef;

    /// Whatever is said to be shown as it was written is, in columns of all types, also of strict tables.
    #[test]
    fn what_is_shown_as_written_is() {
        let conn = rusqlite::Connection::open_in_memory().unwrap();
        let texts = [
            "",
            "7",
            "007",
            "7.0",
            " 7",
            "7 ",
            "\u{b}7",
            "\u{c}7\t",
            "+7",
            "-7",
            ".7",
            "7.",
            "7e2",
            "7E+2",
            "e7",
            "-",
            "0x10",
            "1_000",
            "inf",
            "-Infinity",
            "nan",
            "NULL",
            "9223372036854775808",
            "1e400",
            "2026-03-01 09:00:00.000000",
            "7\0",
            "7\0x",
            " \t7.5e3\0 and more",
            "\0",
            "٧",
            "Ａ",
            "{\"a\": 1}",
            "true",
        ];
        let values = texts.iter().map(|text| RawRef::Text(text.as_bytes())).chain([
            RawRef::Null,
            RawRef::Integer(0),
            RawRef::Integer(-7),
            RawRef::Integer(i64::MIN),
            RawRef::Integer((1 << 53) + 1),
            RawRef::Blob(b""),
            RawRef::Blob(b"7"),
            RawRef::Real(7.0),
        ]);
        let values: Vec<RawRef<'_>> = values.collect();
        let types = [
            "",
            "VARCHAR(64)",
            "TEXT",
            "CLOB",
            "INTEGER",
            "INT",
            "BIGINT",
            "REAL",
            "DOUBLE",
            "NUMERIC",
            "DATETIME",
            "DATE",
            "TIME",
            "BLOB",
            "BOOLEAN",
            "JSON",
            "DECIMAL(9, 2)",
            "STRING",
            "FLOATING POINT",
            "ANY",
        ];
        let strict = ["INT", "INTEGER", "REAL", "TEXT", "BLOB", "ANY"];
        let mut kept = 0;
        for (declared, end) in types.map(|declared| (declared, "")).into_iter().chain(strict.map(|d| (d, " STRICT"))) {
            conn.execute_batch(&format!("DROP TABLE IF EXISTS t; CREATE TABLE t(x {declared}){end}")).unwrap();
            for value in values.iter().filter(|value| as_written(declared).keeps(**value)) {
                // A strict table refuses what isn't of the type.
                if conn.execute("DELETE FROM t", []).is_ok()
                    && conn.execute("INSERT INTO t VALUES(?1)", [value]).is_err()
                {
                    assert_eq!(end, " STRICT");
                    continue;
                }
                let same: bool = conn
                    .query_row("SELECT x FROM t", [], |row| {
                        Ok(crate::connector::sql::session::Row::raw(row, 0).is_ok_and(|shown| shown == *value))
                    })
                    .unwrap();
                assert!(same, "{value:?} in {declared:?}{end}");
                kept += 1;
            }
        }
        assert!(kept > 500, "{kept} values were shown as written");
        assert!(as_written("DATETIME").keeps(RawRef::Text(b"2026-03-01 09:00:00.000000")));
        assert!(!as_written("DATETIME").keeps(RawRef::Text(b"20260301")));
    }

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
