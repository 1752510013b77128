//! Local keys of rows, in the order in which SQLite sorts them.

use std::fmt;

use rusqlite::ToSql;
use rusqlite::types::{ToSqlOutput, Value as Raw, ValueRef};

/// The key of a row: an integer or a text. Other keys can't be mapped.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Key {
    Int(i64),
    Text(Box<str>),
}

impl Key {
    pub(super) fn of(value: ValueRef<'_>) -> Option<Self> {
        match value {
            ValueRef::Integer(key) => Some(Self::Int(key)),
            ValueRef::Text(bytes) => std::str::from_utf8(bytes).ok().map(|text| Self::Text(text.into())),
            _ => None,
        }
    }

    pub(super) fn raw(&self) -> Raw {
        match self {
            Self::Int(key) => Raw::Integer(*key),
            Self::Text(text) => Raw::Text(text.to_string()),
        }
    }
}

impl ToSql for Key {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Int(key) => ValueRef::Integer(*key),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
        }))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(key) => write!(f, "{key}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}
