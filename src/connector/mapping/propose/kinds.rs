//! From the types that databases declare to the kinds of values that travel.

use crate::record::fieldtype::{self, Kind};

/// Returns the kind of the values in a column of a declared type; `None` if the type says nothing.
pub(super) fn kind(declared: &str) -> Option<Kind> {
    let declared = declared.to_ascii_lowercase();
    if let Some(item) = declared.strip_suffix("[]") {
        let item = kind(item)?;
        return fieldtype::NAMES.iter().find(|(known, _)| *known == item).map(|(known, _)| Kind::List(known));
    }
    let has = |parts: &[&str]| parts.iter().any(|part| declared.contains(part));
    Some(match without_length(&declared).as_str() {
        "" => return None,
        "tinyint" if declared == "tinyint(1)" => Kind::Bool,
        // Days and times of day have no zone and no date: they travel as they are spelled.
        "date" | "time" | "time without time zone" | "time with time zone" | "interval" => Kind::Text,
        _ if has(&["enum ", "char", "text", "clob", "uuid", "string", "citext"]) || declared == "name" => Kind::Text,
        _ if has(&["json"]) => Kind::Json,
        _ if has(&["bool"]) => Kind::Bool,
        _ if has(&["timestamp", "datetime"]) => Kind::Timestamp,
        _ if has(&["blob", "bytea", "binary"]) => Kind::Bytes,
        _ if has(&["numeric", "decimal", "money"]) => Kind::Decimal,
        _ if has(&["real", "floa", "doub"]) => Kind::Float,
        _ if has(&["int", "serial"]) => Kind::Int,
        _ => return None,
    })
}

/// Returns how many characters a text of a declared type may have, if it says so.
pub(super) fn length(declared: &str) -> Option<usize> {
    let (_, rest) = declared.split_once('(')?;
    rest.split(')').next()?.trim().parse().ok()
}

/// Takes the first parentheses out of a type: `time(2) with time zone`.
fn without_length(declared: &str) -> String {
    match (declared.find('('), declared.find(')')) {
        (Some(begin), Some(end)) if begin < end => {
            format!("{}{}", declared[..begin].trim_end(), &declared[end + 1..])
        }
        _ => declared.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_of_both_databases_have_a_kind() {
        for (declared, wanted) in [
            ("VARCHAR(200)", Some(Kind::Text)),
            ("character varying(9)", Some(Kind::Text)),
            ("enum mood", Some(Kind::Text)),
            ("uuid", Some(Kind::Text)),
            ("date", Some(Kind::Text)),
            ("DATETIME", Some(Kind::Timestamp)),
            ("timestamp with time zone", Some(Kind::Timestamp)),
            ("timestamp(0) without time zone", Some(Kind::Timestamp)),
            ("time(2) without time zone", Some(Kind::Text)),
            ("time(0) with time zone[]", Some(Kind::List(&Kind::Text))),
            ("TINYINT(1)", Some(Kind::Bool)),
            ("TINYINT(4)", Some(Kind::Int)),
            ("BOOLEAN", Some(Kind::Bool)),
            ("smallint", Some(Kind::Int)),
            ("INTEGER", Some(Kind::Int)),
            ("numeric(10,2)", Some(Kind::Decimal)),
            ("double precision", Some(Kind::Float)),
            ("jsonb", Some(Kind::Json)),
            ("BLOB", Some(Kind::Bytes)),
            ("", None),
            ("text[]", Some(Kind::List(&Kind::Text))),
            ("character varying(9)[]", Some(Kind::List(&Kind::Text))),
            ("numeric(5,2)[]", Some(Kind::List(&Kind::Decimal))),
            ("tsvector[]", None),
            ("tsvector", None),
        ] {
            assert_eq!(kind(declared), wanted, "{declared}");
        }
    }
}
