//! How much memory changes take, about.

use crate::connector::contract::Change;
use crate::record::value::Value;

/// Returns about how many bytes a change takes.
pub(super) fn weight(change: &Change) -> usize {
    change.content.iter().flat_map(|content| content.fields.values()).map(weight_of_value).sum()
}

fn weight_of_value(value: &Value) -> usize {
    match value {
        Value::Text(text) | Value::Json(text) | Value::Decimal(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::List(items) => items.iter().map(weight_of_value).sum(),
        _ => 16,
    }
}
