//! JSON documents: the members of the topmost object are fields of the record, so that they merge one by one.
//!
//! What is between the members is kept as a layout: whether each has a line, how it is indented, their order. A
//! document that is laid out in one way throughout is written back byte for byte; one that isn't is written evenly
//! once somebody else changed it. Format: format/files.md.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::report::{LAYOUT, field};
use crate::id::name::FieldName;
use crate::record::value::Value;

/// The most bytes of a document; what is larger is a file like others.
pub(super) const DOCUMENT_BYTES_MAX: usize = 512 << 10;
/// The most members of a document.
const MEMBERS_MAX: usize = 900;
/// The most bytes of a name that isn't spelled with letters, digits, `_` and `-` alone.
const ODD_NAME_BYTES_MAX: usize = 31;
/// The most characters of an indentation.
const INDENT_MAX: usize = 16;

/// What the fields of a document begin with, if its name is plain, and if it isn't.
const PLAIN: &str = "m-";
const ODD: &str = "x-";

/// How a document is laid out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Layout {
    /// What stands before each member on its line; nothing if all are on one.
    indent: Option<String>,
    /// Whether blanks follow colons and commas.
    airy: bool,
    /// Whether the file ends with the end of a line.
    newline: bool,
    /// The names in order.
    order: Vec<String>,
}

/// The members in order, as they are spelled.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

/// Takes a document apart; nothing if it is none whose members can be fields.
pub(super) fn fields(bytes: &[u8]) -> Option<BTreeMap<FieldName, Value>> {
    let text = std::str::from_utf8(bytes).ok().filter(|text| text.len() <= DOCUMENT_BYTES_MAX)?;
    let Members(members) = serde_json::from_str(text).ok()?;
    if members.len() > MEMBERS_MAX {
        return None;
    }
    let mut fields = BTreeMap::new();
    for (name, raw) in &members {
        // A name that comes twice means whatever its reader likes.
        if fields.insert(field_of(name)?, value(raw.get())).is_some() {
            return None;
        }
    }
    let order = members.into_iter().map(|(name, _)| name).collect();
    let layout = Layout { order, ..Layout::of(text) };
    let layout = serde_json::to_string(&layout).expect("a layout is text");
    fields.insert(field(LAYOUT), Value::Json(layout));
    Some(fields)
}

/// Puts a document together of a record's fields; the error says why it can't be.
pub(super) fn bytes(fields: &BTreeMap<FieldName, Value>) -> Result<Vec<u8>, &'static str> {
    let layout: Layout = match fields.get(&field(LAYOUT)) {
        Some(Value::Json(text)) => serde_json::from_str(text).map_err(|_| "its layout is none")?,
        _ => return Err("it has no layout"),
    };
    let mut members: BTreeMap<String, String> = BTreeMap::new();
    for (field, value) in fields.iter().filter(|(_, value)| **value != Value::Null) {
        if let Some(name) = name_of(field) {
            members.insert(name, spelled(value)?);
        }
    }
    let mut rows = Vec::with_capacity(members.len());
    let (colon, comma) = if layout.airy || layout.indent.is_some() { (": ", ", ") } else { (":", ",") };
    let mut row = |name: &str, raw: &str| {
        let name = serde_json::to_string(name).expect("a text can be spelled");
        rows.push(format!("{name}{colon}{raw}"));
    };
    for name in &layout.order {
        if let Some(raw) = members.remove(name) {
            row(name, &raw);
        }
    }
    for (name, raw) in &members {
        row(name, raw);
    }
    let is_indent = |text: &String| text.len() <= INDENT_MAX && text.bytes().all(|byte| matches!(byte, b' ' | b'\t'));
    let mut text = match &layout.indent {
        _ if rows.is_empty() => "{}".to_owned(),
        None => format!("{{{}}}", rows.join(comma)),
        Some(indent) => {
            let indent = if is_indent(indent) { indent } else { "  " };
            format!("{{\n{indent}{}\n}}", rows.join(&format!(",\n{indent}")))
        }
    };
    if layout.newline {
        text.push('\n');
    }
    Ok(text.into_bytes())
}

/// Tells whether a field belongs to a document only.
pub(super) fn is_part(field: &FieldName) -> bool {
    field.as_str() == LAYOUT || name_of(field).is_some()
}

/// Returns the fields that a document has besides the layout.
pub(super) fn parts(fields: &BTreeMap<FieldName, Value>) -> BTreeSet<FieldName> {
    fields.keys().filter(|field| is_part(field)).cloned().collect()
}

impl Layout {
    /// Reads the layout from what stands before the first member, after the first colon, and at the end.
    fn of(text: &str) -> Self {
        let inside = text.trim_start().strip_prefix('{').unwrap_or_default();
        let before = &inside[..inside.len() - inside.trim_start().len()];
        let indent = before.rfind('\n').map(|at| before[at + 1..].to_owned());
        // The name of the first member ends at the first quote that isn't escaped.
        let name = inside.trim_start().strip_prefix('"').unwrap_or_default();
        let mut escaped = false;
        let end = name.find(|c| {
            let is_end = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            is_end
        });
        let rest = end.map_or("", |end| &name[end + 1..]).trim_start();
        let airy = rest.strip_prefix(':').is_some_and(|rest| rest.starts_with(' '));
        Self { indent, airy, newline: text.ends_with('\n'), order: Vec::new() }
    }
}

/// Returns the field of a member; nothing if its name is too long.
fn field_of(name: &str) -> Option<FieldName> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let text = if !name.is_empty() && name.bytes().all(plain) {
        format!("{PLAIN}{name}")
    } else if name.len() <= ODD_NAME_BYTES_MAX {
        name.bytes().fold(ODD.to_owned(), |text, byte| format!("{text}{byte:02x}"))
    } else {
        return None;
    };
    FieldName::new(&text).ok()
}

/// Returns the name of the member that a field is; nothing if it is none, or isn't spelled as `field_of` does.
fn name_of(field: &FieldName) -> Option<String> {
    let text = field.as_str();
    let name = match (text.strip_prefix(PLAIN), text.strip_prefix(ODD)) {
        (Some(name), _) => name.to_owned(),
        (None, Some(digits)) => {
            let pairs = digits.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok());
            let bytes: Option<Vec<u8>> = pairs.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect();
            String::from_utf8(bytes?).ok()?
        }
        (None, None) => return None,
    };
    (field_of(&name).as_ref() == Some(field)).then_some(name)
}

/// Returns the value of a member: of a kind of ours if that is spelled the same, else as it is spelled.
fn value(raw: &str) -> Value {
    let typed = match serde_json::from_str(raw) {
        Ok(serde_json::Value::Bool(value)) => Some(Value::Bool(value)),
        Ok(serde_json::Value::String(text)) => Some(Value::Text(text)),
        Ok(serde_json::Value::Number(number)) => number.as_i64().map(Value::Int),
        _ => None,
    };
    let is_same = |value: &Value| spelled(value).is_ok_and(|text| text == raw);
    typed.filter(is_same).unwrap_or_else(|| Value::Json(raw.to_owned()))
}

/// Spells a value; the error says why it can't be.
fn spelled(value: &Value) -> Result<String, &'static str> {
    match value {
        Value::Bool(value) => Ok(value.to_string()),
        Value::Int(value) => Ok(value.to_string()),
        Value::Text(text) => Ok(serde_json::to_string(text).expect("a text can be spelled")),
        Value::Json(text) if serde_json::from_str::<IgnoredAny>(text).is_ok() => Ok(text.clone()),
        _ => Err("a member of it is none"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn again(text: &str) -> String {
        String::from_utf8(bytes(&fields(text.as_bytes()).unwrap()).unwrap()).unwrap()
    }

    #[test]
    fn even_documents_are_written_back_byte_for_byte() {
        for text in [
            "{}",
            "{}\n",
            "{\"a\":1,\"b\":\"two\"}",
            "{\"b\": 1, \"a\": [1, 2,3]}\n",
            "{\n  \"title\": \"x\",\n  \"nested\": {\n    \"a\": [\n      1\n    ]\n  },\n  \"n\": null\n}\n",
            "{\n\t\"a\": 1.50,\n\t\"b\": -0,\n\t\"c\": 12345678901234567890,\n\t\"d\": \"\\u00e9\"\n}",
            "{\"\": 1, \"with blank\": 2, \"ü\": 3, \"quote\\\"d\": 4}",
        ] {
            assert_eq!(again(text), text);
        }
        assert_eq!(again("{ \"a\" : 1 ,\n \"b\":2 }"), "{\"a\":1,\"b\":2}", "an uneven one is evened");
    }

    #[test]
    fn what_has_no_members_that_can_be_fields_is_no_document() {
        let wide = format!("{{{}}}", (0..=MEMBERS_MAX).map(|n| format!("\"{n}\":1")).collect::<Vec<_>>().join(","));
        let odd = format!("{{\"{}\":1}}", "ü".repeat(16));
        for text in ["", "[]", "1", "{", "{\"a\":1}x", "{\"a\":1,\"a\":2}", "\u{feff}{}", &wide, &odd] {
            assert_eq!(fields(text.as_bytes()), None, "{text}");
        }
        assert_eq!(fields(b"{\"a\":\"\xff\"}"), None);
    }

    #[test]
    fn fields_that_make_no_document_are_refused() {
        let good = fields(b"{\"a\":1}").unwrap();
        for (name, value) in [
            ("layout", Value::Null),
            ("layout", Value::Json("[".into())),
            ("m-a", Value::Json("1,\"b\":2".into())),
            ("m-a", Value::Json("".into())),
            ("m-a", Value::Bytes(vec![1])),
        ] {
            let mut fields = good.clone();
            fields.insert(field(name), value.clone());
            assert!(bytes(&fields).is_err(), "{name} {value:?}");
        }
        let mut evil = good.clone();
        evil.insert(field("layout"), Value::Json("{\"indent\":\"evil\",\"order\":[\"b\",\"a\",\"a\"]}".into()));
        assert_eq!(bytes(&evil).unwrap(), b"{\n  \"a\": 1\n}");
        // Another spelling of the same name is no member.
        evil.insert(field("x-61"), Value::Int(2));
        assert_eq!(bytes(&evil).unwrap(), b"{\n  \"a\": 1\n}");
    }

    #[test]
    fn members_are_fields_of_their_own_kind() {
        let found = fields(b"{\"t\":\"x\",\"n\":1,\"b\":true,\"z\":null,\"f\":1.5,\"o\":{\"a\": 1}}").unwrap();
        for (name, value) in [
            ("m-t", Value::Text("x".into())),
            ("m-n", Value::Int(1)),
            ("m-b", Value::Bool(true)),
            ("m-z", Value::Json("null".into())),
            ("m-f", Value::Json("1.5".into())),
            ("m-o", Value::Json("{\"a\": 1}".into())),
        ] {
            assert_eq!(found[&field(name)], value);
        }
    }

    proptest! {
        #[test]
        fn what_was_written_once_stays_as_it_is(names in proptest::collection::vec(".{0,7}", 0..6), n in any::<i64>()) {
            let members: serde_json::Map<_, _> = names.into_iter().map(|name| (name, n.into())).collect();
            let text = serde_json::to_string_pretty(&members).unwrap();
            let once = again(&text);
            prop_assert_eq!(&once, &text);
            prop_assert_eq!(again(&once), once);
        }
    }
}
