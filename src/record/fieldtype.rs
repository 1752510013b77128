//! What a field holds, by its origin's word: so that another instance can tell beforehand whether its columns fit.
//!
//! It is a description and no rule: a value of another type is a value all the same. Spelling: format/schema.md.

use std::fmt;

use crate::id::name::DatasetName;

/// The type of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldType {
    /// A value.
    Plain(Kind),
    /// A record of this dataset.
    Ref(DatasetName),
}

/// Logical types of values, the same on every kind of database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any Unicode text.
    Text,
    /// A 64-bit integer.
    Int,
    /// True or false.
    Bool,
    /// A float.
    Float,
    /// A point in time.
    Timestamp,
    /// Bytes.
    Bytes,
    /// A JSON document.
    Json,
    /// A decimal number.
    Decimal,
    /// A list of such, which are no lists by their type; an item may be a list again.
    List(&'static Kind),
}

/// The most bytes of a spelled type: `ref:` and a dataset's name.
pub const TYPE_BYTES_MAX: usize = 68;

impl FieldType {
    /// Reads what `Display` writes; `None` for anything else, such as a type of a later version.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(dataset) = text.strip_prefix("ref:") {
            return DatasetName::new(dataset).ok().filter(|dataset| !dataset.is_overlay()).map(Self::Ref);
        }
        Kind::parse(text).map(Self::Plain)
    }
}

impl Kind {
    /// Reads what `Display` writes; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let item = text.strip_prefix(LIST);
        let (kind, _) = NAMES.iter().find(|(_, name)| *name == item.unwrap_or(text))?;
        Some(if item.is_some() { Self::List(kind) } else { *kind })
    }
}

impl<'de> serde::Deserialize<'de> for Kind {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::unknown_variant(&text, EXPECTED))
    }
}

impl fmt::Display for FieldType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ref(dataset) => write!(f, "ref:{dataset}"),
            Self::Plain(kind) => kind.fmt(f),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::List(item) = self {
            return write!(f, "{LIST}{item}");
        }
        f.write_str(NAMES.iter().find(|(kind, _)| kind == self).expect("every kind has a name").1)
    }
}

/// What the type of a list begins with.
const LIST: &str = "list:";

/// What a mapping may say.
const EXPECTED: &[&str] =
    &["text", "int", "bool", "float", "timestamp", "bytes", "json", "decimal", "list: and one of these"];

/// The kinds of values by name, but for lists.
pub static NAMES: [(Kind, &str); 8] = [
    (Kind::Text, "text"),
    (Kind::Int, "int"),
    (Kind::Bool, "bool"),
    (Kind::Float, "float"),
    (Kind::Timestamp, "timestamp"),
    (Kind::Bytes, "bytes"),
    (Kind::Json, "json"),
    (Kind::Decimal, "decimal"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read_as_they_are_spelled() {
        let users = FieldType::Ref(DatasetName::new("users").unwrap());
        let lists = NAMES.iter().map(|(kind, _)| FieldType::Plain(Kind::List(kind)));
        for kind in NAMES.iter().map(|(kind, _)| FieldType::Plain(*kind)).chain(lists).chain([users]) {
            assert_eq!(FieldType::parse(&kind.to_string()), Some(kind));
        }
        for text in ["", "Text", "ref", "ref:", "ref:No Name", "uuid", "list", "list:", "list:list:int", "list:ref:a"] {
            assert_eq!(FieldType::parse(text), None, "{text}");
        }
    }
}
