//! How much memory changes take, about.

use crate::record::value::Value;

/// Returns about how many bytes a value takes.
pub(super) fn weight(value: &Value) -> usize {
    match value {
        Value::Text(text) | Value::Json(text) | Value::Decimal(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::List(items) => items.iter().map(weight).sum(),
        _ => 16,
    }
}
