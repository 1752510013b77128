//! Local keys of rows, in the order in which the databases are told to sort them.
//!
//! A key of several columns is one text: its parts with commas between, a comma or backslash within a part behind a
//! backslash. The database spells it that way too, so that keys can be compared wherever they come from; rows are found by the columns.

use std::fmt;

use super::plan::quote;
use super::raw::{Bind, Raw, RawRef};
use super::session::Session;

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

/// The columns that hold a key: those of a table's own, or of a reference to it.
#[derive(Debug, Clone)]
pub(crate) struct KeyColumns(pub(super) Vec<KeyColumn>);

/// One of them.
#[derive(Debug, Clone)]
pub(crate) struct KeyColumn {
    pub(super) name: String,
    pub(super) is_integer: bool,
}

impl KeyColumns {
    /// Returns the only column, if there is only one.
    pub(super) fn single(&self) -> Option<&KeyColumn> {
        match self.0.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }

    /// Tells whether keys are integers.
    pub(super) fn is_integer(&self) -> bool {
        matches!(self.0.as_slice(), [only] if only.is_integer)
    }

    /// Tells whether they are this column alone.
    pub(super) fn is(&self, column: &str) -> bool {
        matches!(self.0.as_slice(), [only] if only.name == column)
    }

    /// Tells whether a column is one of them.
    pub(super) fn has(&self, column: &str) -> bool {
        self.0.iter().any(|known| known.name.eq_ignore_ascii_case(column))
    }

    /// Lists their names.
    pub(crate) fn list(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|column| column.name.as_str())
    }

    /// Names them for people.
    pub(super) fn names(&self) -> String {
        self.list().collect::<Vec<_>>().join(", ")
    }

    /// Spells the key as a value; `table` is nothing or an alias with its dot.
    pub(crate) fn value(&self, conn: &dyn Session, table: &str) -> String {
        let column = |column: &KeyColumn| format!("{table}{}", quote(&column.name));
        match self.0.as_slice() {
            [only] => column(only),
            several => {
                let parts: Vec<String> = several.iter().map(|part| conn.key_part(&column(part))).collect();
                format!("({})", parts.join(" || ',' || "))
            }
        }
    }

    /// Spells the key as the map has it.
    pub(super) fn in_map(&self, conn: &dyn Session, table: &str) -> String {
        conn.key_in_map(&self.value(conn, table))
    }

    /// Spells the order of the keys.
    pub(super) fn order(&self, conn: &dyn Session, table: &str) -> String {
        conn.key_order(&self.value(conn, table), self.is_integer())
    }

    /// Spells that a row has the key that the parameters from `first` on give.
    pub(super) fn test(&self, conn: &dyn Session, first: usize) -> String {
        self.test_of(conn, "", first)
    }

    /// Spells it for a table by an alias with its dot.
    pub(super) fn test_of(&self, conn: &dyn Session, table: &str, first: usize) -> String {
        let test = |(at, part): (usize, &KeyColumn)| {
            let value = conn.key_value(&format!("?{}", first + at), part.is_integer);
            format!("{table}{} = {value}", quote(&part.name))
        };
        self.0.iter().enumerate().map(test).collect::<Vec<_>>().join(" AND ")
    }

    /// Returns what the columns hold for a key: the parameters of `test`.
    pub(super) fn given(&self, key: &Key) -> Vec<Raw> {
        let Key::Text(text) = key else { return vec![key.raw()] };
        if self.0.len() == 1 {
            return vec![key.raw()];
        }
        let parts = parts(text);
        let part = |(at, column): (usize, &KeyColumn)| match parts.get(at) {
            Some(text) if column.is_integer => text.parse().map_or_else(|_| Raw::Text(text.clone()), Raw::Integer),
            Some(text) => Raw::Text(text.clone()),
            // No row has such a key.
            None => Raw::Null,
        };
        self.0.iter().enumerate().map(part).collect()
    }
}

/// Borrows values for a statement.
pub(super) fn bound(values: &[Raw]) -> Vec<RawRef<'_>> {
    values.iter().map(Bind::bind).collect()
}

/// Spells a key of several parts; `None` if one can't be in a key.
pub(super) fn spell<'a>(parts: impl IntoIterator<Item = &'a Raw>) -> Option<Key> {
    let mut spelled = Vec::new();
    for part in parts {
        spelled.push(match part {
            Raw::Integer(number) => number.to_string(),
            Raw::Text(text) => text.replace('\\', "\\\\").replace(',', "\\,"),
            Raw::Null | Raw::Real(_) | Raw::Blob(_) => return None,
        });
    }
    Some(Key::Text(spelled.join(",").into()))
}

fn parts(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            ',' => parts.push(String::new()),
            '\\' => parts.last_mut().expect("it begins with one").extend(chars.next()),
            c => parts.last_mut().expect("it begins with one").push(c),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_several_columns_comes_back_as_it_was() {
        let column = |is_integer| KeyColumn { name: "c".into(), is_integer };
        let columns = KeyColumns(vec![column(true), column(false), column(false)]);
        for text in ["", ",", "\\", "a,b", "a\\,b\\", "ä\n"] {
            let values = [Raw::Integer(-7), Raw::Text(text.into()), Raw::Text("x".into())];
            assert_eq!(columns.given(&spell(&values).unwrap()), values, "{text:?}");
        }
        assert_eq!(spell(&[Raw::Integer(3), Raw::Text("a,b".into())]).unwrap().to_string(), "3,a\\,b");
        assert_eq!(spell(&[Raw::Integer(3), Raw::Null]), None);
        let broken = columns.given(&Key::Text("1".into()));
        assert_eq!(broken, [Raw::Integer(1), Raw::Null, Raw::Null]);
    }
}
