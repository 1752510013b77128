//! Lists in the columns of databases that have none: JSON texts, whose items are spelled as a column of their kind shows them.
//!
//! Truth values, numbers and nothing are JSON's own; bytes are hexadecimal digits; floats that JSON lacks, times and decimals are texts.

use serde_json::value::RawValue;

use super::convert::{self, Logical};
use super::raw::{Raw, RawRef};
use crate::record::fieldtype::Kind;
use crate::record::value::{LIST_DEPTH_MAX, LIST_ITEMS_MAX, Value};

/// An item as JSON has it; numbers, lists and objects as they are spelled.
pub(in crate::connector) enum Item<'t> {
    Null,
    Bool(bool),
    Number(&'t str),
    Text(String),
    List(&'t str),
    Object(&'t str),
}

/// Returns the items of a JSON list; `None` if the text is none.
pub(in crate::connector) fn items(text: &str) -> Option<Vec<Item<'_>>> {
    let raws: Vec<&RawValue> = serde_json::from_str(text).ok()?;
    raws.into_iter().map(|raw| read_raw(raw.get())).collect()
}

fn read_raw(raw: &str) -> Option<Item<'_>> {
    Some(match raw.as_bytes().first()? {
        b'n' => Item::Null,
        b't' => Item::Bool(true),
        b'f' => Item::Bool(false),
        b'"' => Item::Text(serde_json::from_str(raw).ok()?),
        b'[' => Item::List(raw),
        b'{' => Item::Object(raw),
        _ => Item::Number(raw),
    })
}

/// Reads a list of items of a kind; `None` if the text is none, or longer or deeper than what can travel.
pub(super) fn read(kind: Kind, text: &str) -> Option<Vec<Value>> {
    read_at(kind, text, 0)
}

fn read_at(kind: Kind, text: &str, depth: usize) -> Option<Vec<Value>> {
    if depth >= LIST_DEPTH_MAX {
        return None;
    }
    let items = items(text).filter(|items| items.len() <= LIST_ITEMS_MAX)?;
    items.into_iter().map(|item| read_item(kind, item, depth)).collect()
}

/// Reads an item; what isn't of the list's kind is carried as what it is.
fn read_item(kind: Kind, item: Item<'_>, depth: usize) -> Option<Value> {
    let plain = |raw: RawRef<'_>| Logical::read(kind, raw).value();
    match item {
        Item::Null => Some(Value::Null),
        Item::Bool(value) => Some(Value::Bool(value)),
        Item::List(text) => read_at(kind, text, depth + 1).map(Value::List),
        Item::Object(text) => Some(Value::Json(text.to_owned())),
        Item::Number(digits) => match digits.parse() {
            Ok(value) if kind == Kind::Bool => Some(Value::Int(value)),
            Ok(value) => plain(RawRef::Integer(value)),
            Err(_) => plain(RawRef::Real(digits.parse().ok()?)),
        },
        Item::Text(text) => match (kind, text.as_str()) {
            (Kind::Float, "NaN") => Some(Value::Float(f64::NAN)),
            (Kind::Float, "Infinity") => Some(Value::Float(f64::INFINITY)),
            (Kind::Float, "-Infinity") => Some(Value::Float(f64::NEG_INFINITY)),
            (Kind::Bytes, digits) => Some(unhex(digits).map_or(Value::Text(text), Value::Bytes)),
            _ => plain(RawRef::Text(text.as_bytes())),
        },
    }
}

/// Spells a list of items of a kind.
///
/// # Errors
/// Which item can't be in such a list, in words.
pub(super) fn write(kind: Kind, items: &[Value]) -> Result<String, String> {
    let mut spelled = Vec::with_capacity(items.len());
    for item in items {
        spelled.push(match item {
            Value::List(items) => write(kind, items)?,
            item => {
                let raw = convert::write(kind, item).map_err(|why| format!("{why}, in a list"))?;
                spell(&raw, kind == Kind::Bool)
            }
        });
    }
    Ok(format!("[{}]", spelled.join(", ")))
}

/// Spells an item.
pub(in crate::connector) fn spell(raw: &Raw, is_bool: bool) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    match raw {
        Raw::Null => "null".to_owned(),
        Raw::Integer(value) if is_bool => (*value != 0).to_string(),
        Raw::Integer(value) => value.to_string(),
        Raw::Real(value) if value.is_finite() => format!("{value:?}"),
        Raw::Real(value) if value.is_nan() => quoted("NaN"),
        Raw::Real(value) => quoted(if *value > 0.0 { "Infinity" } else { "-Infinity" }),
        Raw::Text(text) => quoted(text),
        Raw::Blob(bytes) => quoted(&bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
    }
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    let fine = digits.len().is_multiple_of(2) && digits.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).ok();
    fine.then(|| (0..digits.len()).step_by(2).map(byte).collect()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_of_every_kind_come_back_as_they_were() {
        let cases = [
            (Kind::Text, vec![Value::Text("a\"\\\n\0".into()), Value::Text("007".into()), Value::Null]),
            (Kind::Int, vec![Value::Int(i64::MIN), Value::Int(7)]),
            (Kind::Bool, vec![Value::Bool(true), Value::Bool(false)]),
            (
                Kind::Float,
                [0.1, 2.0, -6.927986030056088e-217, -1e300, f64::NAN, f64::INFINITY, f64::NEG_INFINITY]
                    .map(Value::Float)
                    .into(),
            ),
            (Kind::Timestamp, vec![Value::Timestamp(-1)]),
            (Kind::Decimal, vec![Value::Decimal("12345678901234567890.5".into())]),
            (Kind::Bytes, vec![Value::Bytes(vec![0, 255]), Value::Bytes(Vec::new())]),
            (Kind::Json, vec![Value::Json("{\"a\": [1]}".into())]),
        ];
        for (kind, items) in cases {
            let nested = vec![Value::List(items.clone()), Value::List(items.clone())];
            for items in [items, nested, Vec::new()] {
                let text = write(kind, &items).unwrap();
                let found = Value::List(read(kind, &text).unwrap());
                assert!(found.same(&Value::List(items)), "{text}: {found:?}");
            }
        }
    }

    #[test]
    fn what_is_no_list_is_told() {
        for text in ["", "{}", "[1", "7", "[1] 2"] {
            assert_eq!(read(Kind::Int, text), None, "{text}");
        }
        assert_eq!(read(Kind::Int, &format!("{}1{}", "[".repeat(9), "]".repeat(9))), None);
        assert_eq!(read(Kind::Int, &format!("[{}1]", "1,".repeat(LIST_ITEMS_MAX))), None);
        assert_eq!(read(Kind::Int, "[\"x\", true]"), Some(vec![Value::Text("x".into()), Value::Bool(true)]));
        assert_eq!(read(Kind::Bytes, "[\"0g\"]"), Some(vec![Value::Text("0g".into())]));
        assert!(write(Kind::Int, &[Value::Text("x".into())]).unwrap_err().contains("in a list"));
    }
}
