//! CBOR as text, read by another decoder than the one that the formats rest on.

use ciborium::Value;

use crate::sync::error::Error;

/// How deeply foreign CBOR may nest before we stop looking.
const DEPTH_MAX: usize = 64;

/// Reads CBOR of any form, canonical or not: one item or several in a row (RFC 8742), as in a changeset.
///
/// # Errors
/// `Document` if it is none, ends within an item, or nests too deeply.
pub fn read(bytes: &[u8]) -> Result<Vec<Value>, Error> {
    let mut rest = bytes;
    let mut items = Vec::new();
    while !rest.is_empty() || items.is_empty() {
        let item = ciborium::de::from_reader_with_recursion_limit(&mut rest, DEPTH_MAX)
            .map_err(|error| Error::document("the bytes as CBOR", reason(&error, bytes.len() - rest.len())))?;
        items.push(item);
    }
    Ok(items)
}

fn reason(error: &ciborium::de::Error<std::io::Error>, read: usize) -> String {
    use ciborium::de::Error as Cbor;
    match error {
        Cbor::Io(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            format!("the input ends too early, after {read} bytes")
        }
        Cbor::Io(error) => error.to_string(),
        Cbor::Syntax(at) => format!("byte {at} begins no item"),
        Cbor::Semantic(at, what) => format!("byte {}: {what}", at.unwrap_or(read)),
        Cbor::RecursionLimitExceeded => format!("it nests deeper than {DEPTH_MAX} levels"),
    }
}

/// Writes items in diagnostic notation (RFC 8949 §8), indented, a line end after each; byte strings as `h'…'`.
pub fn diagnostic(items: &[Value]) -> String {
    let mut text = String::new();
    for item in items {
        write(item, 0, &mut text);
        text.push('\n');
    }
    text
}

fn write(value: &Value, depth: usize, text: &mut String) {
    let indent = |depth: usize| "  ".repeat(depth);
    match value {
        Value::Array(items) if !items.is_empty() => {
            text.push_str("[\n");
            for item in items {
                text.push_str(&indent(depth + 1));
                write(item, depth + 1, text);
                text.push_str(",\n");
            }
            *text += &(indent(depth) + "]");
        }
        Value::Map(members) if !members.is_empty() => {
            text.push_str("{\n");
            for (key, item) in members {
                text.push_str(&indent(depth + 1));
                write(key, depth + 1, text);
                text.push_str(": ");
                write(item, depth + 1, text);
                text.push_str(",\n");
            }
            *text += &(indent(depth) + "}");
        }
        Value::Tag(tag, item) => {
            *text += &format!("{tag}(");
            write(item, depth, text);
            text.push(')');
        }
        other => *text += &scalar(other),
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::Integer(number) => i128::from(*number).to_string(),
        Value::Bytes(bytes) => hex(bytes),
        Value::Float(number) => format!("{number:?}"),
        // JSON's escapes keep control characters off the terminal.
        Value::Text(string) => serde_json::Value::from(string.as_str()).to_string(),
        Value::Bool(value) => value.to_string(),
        Value::Null => "null".into(),
        Value::Array(_) => "[]".into(),
        Value::Map(_) => "{}".into(),
        other => format!("{other:?}"),
    }
}

/// Returns a JSON picture; byte strings are texts of the form `h'…'`, keys that aren't texts are written as texts.
pub fn json(value: &Value) -> serde_json::Value {
    match value {
        Value::Integer(number) => match i64::try_from(i128::from(*number)) {
            Ok(number) => number.into(),
            Err(_) => i128::from(*number).to_string().into(),
        },
        Value::Float(number) => (*number).into(),
        Value::Text(string) => string.as_str().into(),
        Value::Bool(value) => (*value).into(),
        Value::Null => serde_json::Value::Null,
        Value::Array(items) => items.iter().map(json).collect(),
        Value::Map(members) => {
            let key = |key: &Value| key.as_text().map_or_else(|| scalar(key), ToOwned::to_owned);
            serde_json::Value::Object(members.iter().map(|(name, item)| (key(name), json(item))).collect())
        }
        other => scalar(other).into(),
    }
}

fn hex(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("h'{digits}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_items_are_indented() {
        let value = read(&[0xa1, 0x61, b'k', 0x82, 0x01, 0x42, 0xab, 0xcd]).unwrap();
        assert_eq!(diagnostic(&value), "{\n  \"k\": [\n    1,\n    h'abcd',\n  ],\n}\n");
        assert_eq!(json(&value[0]), serde_json::json!({ "k": [1, "h'abcd'"] }));
    }

    #[test]
    fn what_is_no_cbor_is_refused_with_its_place() {
        for bytes in [&b""[..], b"\x42a", b"\x01\xff", &[0x81; 200]] {
            let error = read(bytes).unwrap_err();
            assert!(std::error::Error::source(&error).is_some(), "{error}");
        }
    }
}
