//! Between the values of columns and logical ones.
//!
//! Reading never fails: what isn't of the column's type is carried as what it is. Writing is strict: a
//! foreign value of another type would break the application.

use super::list;
use super::look::Parent;
use super::raw::{Raw, RawRef};
use super::timestamp;
use crate::cbor::writer::Writer;
use crate::id::bytes::InstanceId;
use crate::record::fieldtype::Kind;
use crate::record::value::Value;

/// A field as a row shows it, borrowed from the row.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Logical<'r> {
    /// It deliberately shows something else, and nobody edited it.
    Hidden,
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'r str),
    Bytes(&'r [u8]),
    Timestamp(i64),
    Decimal(String),
    Json(&'r str),
    List(Vec<Value>),
    Ref(Parent),
    /// A reference to a row that isn't there.
    Dangling,
}

impl<'r> Logical<'r> {
    /// Reads a column that is no reference.
    pub(super) fn read(kind: Kind, value: RawRef<'r>) -> Self {
        match (kind, value) {
            (_, RawRef::Null) => Self::Null,
            (Kind::Bool, RawRef::Integer(value)) => Self::Bool(value != 0),
            (Kind::Float, RawRef::Integer(value)) => Self::Float(value as f64),
            (Kind::Decimal, RawRef::Integer(value)) => Self::Decimal(value.to_string()),
            (Kind::Decimal, RawRef::Real(value)) => {
                decimal(&value.to_string()).map_or(Self::Float(value), Self::Decimal)
            }
            (_, RawRef::Integer(value)) => Self::Int(value),
            (_, RawRef::Real(value)) => Self::Float(value),
            (_, RawRef::Blob(bytes)) => Self::Bytes(bytes),
            (kind, RawRef::Text(bytes)) => match std::str::from_utf8(bytes) {
                Err(_) => Self::Bytes(bytes),
                Ok(text) => match kind {
                    Kind::Timestamp => timestamp::parse(text).map_or(Self::Text(text), Self::Timestamp),
                    Kind::Decimal => decimal(text).map_or(Self::Text(text), Self::Decimal),
                    Kind::Json => Self::Json(text),
                    Kind::List(item) => list::read(*item, text).map_or(Self::Text(text), Self::List),
                    _ => Self::Text(text),
                },
            },
        }
    }

    /// Appends bytes that are equal only for equal values.
    pub(super) fn digest(&self, buffer: &mut Vec<u8>) {
        let mut sized = |tag: u8, bytes: &[u8]| {
            buffer.push(tag);
            buffer.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
            buffer.extend_from_slice(bytes);
        };
        match self {
            Self::Hidden => {}
            Self::Null => sized(0, &[]),
            Self::Bool(value) => sized(1, &[u8::from(*value)]),
            Self::Int(value) => sized(2, &value.to_le_bytes()),
            Self::Float(value) => sized(3, &value.to_bits().to_le_bytes()),
            Self::Text(text) => sized(4, text.as_bytes()),
            Self::Bytes(bytes) => sized(5, bytes),
            Self::Timestamp(micros) => sized(6, &micros.to_le_bytes()),
            Self::Decimal(text) => sized(7, text.as_bytes()),
            Self::Json(text) => sized(8, text.as_bytes()),
            Self::Ref(parent) => {
                sized(9, &parent.record);
                buffer.extend_from_slice(&parent.origin.to_le_bytes());
            }
            Self::Dangling => sized(10, &[]),
            Self::List(items) => {
                let mut writer = Writer::new();
                Value::List(items.clone()).encode(&mut writer, &InstanceId::from_bytes([0; 32]));
                sized(11, &writer.finish());
            }
        }
    }

    /// Makes the value that travels; `None` for what doesn't, and for references, which need names.
    pub(super) fn value(&self) -> Option<Value> {
        Some(match self {
            Self::Hidden | Self::Dangling | Self::Ref(_) => return None,
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(*value),
            Self::Int(value) => Value::Int(*value),
            Self::Float(value) => Value::Float(*value),
            Self::Text(text) => Value::Text((*text).to_owned()),
            Self::Bytes(bytes) => Value::Bytes(bytes.to_vec()),
            Self::Timestamp(micros) => Value::Timestamp(*micros),
            Self::Decimal(text) => Value::Decimal(text.clone()),
            Self::Json(text) => Value::Json((*text).to_owned()),
            Self::List(items) => Value::List(items.clone()),
        })
    }
}

/// Tells whether a column shows a value already, in whatever spelling.
pub(super) fn shows(kind: Kind, raw: &Raw, value: &Value) -> bool {
    match (Logical::read(kind, raw.into()), value) {
        (Logical::Text(shown), Value::Text(text)) => shown == text,
        (shown, value) => shown.value().is_some_and(|shown| shown.same(value)),
    }
}

/// Makes what a column of `kind` holds for a value.
///
/// # Errors
/// Why this column can't hold it, in words.
pub(super) fn write(kind: Kind, value: &Value) -> Result<Raw, String> {
    Ok(match (kind, value) {
        (_, Value::Null) => Raw::Null,
        (Kind::Text, Value::Text(text)) | (Kind::Json, Value::Json(text)) => Raw::Text(text.clone()),
        (Kind::Int, Value::Int(value)) => Raw::Integer(*value),
        (Kind::Bool, Value::Bool(value)) => Raw::Integer(i64::from(*value)),
        (Kind::Float, Value::Float(value)) => Raw::Real(*value),
        (Kind::Bytes, Value::Bytes(bytes)) => Raw::Blob(bytes.clone()),
        (Kind::Timestamp, Value::Timestamp(micros)) => {
            Raw::Text(timestamp::format(*micros).ok_or("holds a time outside the years 1 to 9999")?)
        }
        (Kind::Decimal, Value::Decimal(text)) => Raw::Text(decimal(text).ok_or("holds no decimal number")?),
        (Kind::List(item), Value::List(items)) => Raw::Text(list::write(*item, items)?),
        (kind, value) => return Err(format!("holds {} where this database wants {}", called(value), wanted(kind))),
    })
}

/// Spells a decimal number without leading or trailing zeros; `None` if it is none.
fn decimal(text: &str) -> Option<String> {
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("-", digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let fine = |part: &str| part.bytes().all(|c| c.is_ascii_digit());
    if digits.len() > 1000 || whole.is_empty() || !fine(whole) || !fine(fraction) || digits.ends_with('.') {
        return None;
    }
    let whole = whole.trim_start_matches('0');
    let fraction = fraction.trim_end_matches('0');
    Some(match (whole, fraction) {
        ("", "") => "0".to_owned(),
        (whole, "") => format!("{sign}{whole}"),
        (whole, fraction) => format!("{sign}{}.{fraction}", if whole.is_empty() { "0" } else { whole }),
    })
}

fn called(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a truth value",
        Value::Int(_) => "an integer",
        Value::Float(_) => "a float",
        Value::Text(_) => "a text",
        Value::Bytes(_) => "bytes",
        Value::Timestamp(_) => "a time",
        Value::Decimal(_) => "a decimal",
        Value::Json(_) => "JSON",
        Value::List(_) => "a list",
        Value::Ref(_) => "a reference",
        Value::Blob { .. } => "an attachment",
    }
}

fn wanted(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "a text",
        Kind::Int => "an integer",
        Kind::Bool => "a truth value",
        Kind::Float => "a float",
        Kind::Timestamp => "a time",
        Kind::Bytes => "bytes",
        Kind::Json => "JSON",
        Kind::Decimal => "a decimal",
        Kind::List(_) => "a list",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back_and_other_types_are_refused() {
        let cases = [
            (Kind::Text, Value::Text("a\u{2028}\0\r\n".into())),
            (Kind::Int, Value::Int(i64::MIN)),
            (Kind::Bool, Value::Bool(true)),
            (Kind::Float, Value::Float(-0.5)),
            (Kind::Timestamp, Value::Timestamp(-1)),
            (Kind::Bytes, Value::Bytes(vec![0, 255])),
            (Kind::Json, Value::Json("{\"a\": 1}".into())),
            (Kind::Decimal, Value::Decimal("-12.5".into())),
            (Kind::List(&Kind::Int), Value::List(vec![Value::Int(1), Value::Null])),
        ];
        for (kind, value) in &cases {
            assert!(shows(*kind, &write(*kind, value).unwrap(), value), "{value:?}");
            for (other, _) in cases.iter().filter(|(other, _)| other != kind) {
                assert!(write(*other, value).is_err(), "{value:?} as {other:?}");
            }
        }
    }

    #[test]
    fn odd_storage_is_carried_as_it_is() {
        assert_eq!(Logical::read(Kind::Timestamp, RawRef::Text(b"")), Logical::Text(""));
        assert_eq!(Logical::read(Kind::Text, RawRef::Text(b"\xff")), Logical::Bytes(b"\xff"));
        assert_eq!(Logical::read(Kind::Bool, RawRef::Integer(7)), Logical::Bool(true));
        assert_eq!(decimal("007.50").as_deref(), Some("7.5"));
        assert_eq!(decimal("-0.0").as_deref(), Some("0"));
        assert_eq!(decimal("1e5"), None);
    }
}
