//! Local keys of rows, in the order in which the databases are told to sort them.

use std::fmt;

use super::raw::{Bind, Raw, RawRef};

/// The key of a row: an integer or a text. Other keys can't be mapped.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Key {
    Int(i64),
    Text(Box<str>),
}

impl Key {
    pub(crate) fn of(value: RawRef<'_>) -> Option<Self> {
        match value {
            RawRef::Integer(key) => Some(Self::Int(key)),
            RawRef::Text(bytes) => std::str::from_utf8(bytes).ok().map(|text| Self::Text(text.into())),
            _ => None,
        }
    }

    /// Reads a key from the bookkeeping, where an integer may stand as its digits.
    pub(super) fn noted(value: RawRef<'_>, is_integer: bool) -> Option<Self> {
        let key = Self::of(value)?;
        match &key {
            Self::Text(text) if is_integer => Some(text.parse().map_or(key, Self::Int)),
            _ => Some(key),
        }
    }

    pub(super) fn raw(&self) -> Raw {
        match self {
            Self::Int(key) => Raw::Integer(*key),
            Self::Text(text) => Raw::Text(text.to_string()),
        }
    }
}

impl Bind for Key {
    fn bind(&self) -> RawRef<'_> {
        match self {
            Self::Int(key) => RawRef::Integer(*key),
            Self::Text(text) => RawRef::Text(text.as_bytes()),
        }
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
