//! How the concurrent values of a cell become the one that is shown: pure, and the same everywhere.
//!
//! A merge keeps every concurrent value; strategies decide only what is shown for them, and whether a
//! person is asked. So a strategy can be changed at any time, and nothing is ever lost by one
//! (docs/adr/0005-strategies-show.md).

use std::cmp::Ordering;

use crate::id::bytes::InstanceId;
use crate::merge::text::{self, Merged};
use crate::record::cell::{Cell, Element};
use crate::record::schema::Strategy;
use crate::record::value::Value;

/// What is shown for a cell.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    /// The value.
    pub value: Value,
    /// Whether it is only one of several, and somebody should choose.
    pub open: bool,
}

/// Returns what is shown for a cell of a scope of `origin`.
///
/// A single value is shown as it is. Where a strategy doesn't fit the values (a text merge of a number,
/// values that replaced different ones), the latest is shown and the conflict is open.
pub fn show(cell: &Cell, strategy: Strategy, origin: &InstanceId) -> Shown {
    let winner = || cell.winner().value.clone();
    if !cell.is_conflict() {
        return Shown { value: winner(), open: false };
    }
    let elements = cell.elements();
    let settled = match strategy {
        Strategy::Conflict => None,
        Strategy::Latest => Some(winner()),
        Strategy::Text => merge_texts(elements),
        Strategy::Set => merge_sets(elements),
        Strategy::Counter => sum(elements),
        Strategy::Max => extreme(elements, Ordering::Greater),
        Strategy::Min => extreme(elements, Ordering::Less),
        Strategy::Or => any_true(elements),
        Strategy::Once => earliest(elements),
        Strategy::Origin => of_origin(elements, origin).or_else(|| Some(winner())),
    };
    match settled {
        Some(value) => Shown { value, open: false },
        None => Shown { value: winner(), open: !all_same(elements) },
    }
}

fn all_same(elements: &[Element]) -> bool {
    elements.windows(2).all(|pair| pair[0].value.same(&pair[1].value))
}

/// The value that all elements replaced; `None` if they replaced different ones.
fn common_base(elements: &[Element]) -> Option<Option<&Value>> {
    let first = elements[0].over.as_ref();
    let same = |element: &Element| match (first, &element.over) {
        (Some(first), Some(other)) => first.same(other),
        (None, None) => true,
        _ => false,
    };
    elements.iter().all(same).then_some(first)
}

fn merge_texts(elements: &[Element]) -> Option<Value> {
    let text = |value: &Value| match value {
        Value::Text(text) => Some(text.clone()),
        Value::Null => Some(String::new()),
        _ => None,
    };
    let base = common_base(elements)?.map_or(Some(String::new()), text)?;
    let mut merged = text(&elements[0].value)?;
    for element in &elements[1..] {
        match text::merge(&base, &merged, &text(&element.value)?) {
            Merged::Clean(text) => merged = text,
            Merged::Conflict(_) => return None,
        }
    }
    Some(Value::Text(merged))
}

fn merge_sets(elements: &[Element]) -> Option<Value> {
    let list = |value: &Value| match value {
        Value::List(items) => Some(items.clone()),
        Value::Null => Some(Vec::new()),
        _ => None,
    };
    let base = common_base(elements)?.map_or(Some(Vec::new()), list)?;
    let sides: Vec<Vec<Value>> = elements.iter().map(|element| list(&element.value)).collect::<Option<_>>()?;
    let holds = |list: &[Value], item: &Value| list.iter().any(|other| other.same(item));
    let mut merged: Vec<Value> =
        base.iter().filter(|item| sides.iter().all(|side| holds(side, item))).cloned().collect();
    for item in sides.iter().flatten() {
        if !holds(&base, item) && !holds(&merged, item) {
            merged.push(item.clone());
        }
    }
    Some(Value::List(merged))
}

fn sum(elements: &[Element]) -> Option<Value> {
    let int = |value: &Value| match value {
        Value::Int(number) => Some(*number),
        Value::Null => Some(0),
        _ => None,
    };
    let base = i128::from(common_base(elements)?.map_or(Some(0), int)?);
    // At most a thousand elements: 128 bits can't overflow, in whatever order they are added.
    let sum = elements.iter().try_fold(base, |sum, element| Some(sum + i128::from(int(&element.value)?) - base))?;
    i64::try_from(sum).ok().map(Value::Int)
}

/// The greatest or least of the values; nothing bounds nothing, so it never counts.
fn extreme(elements: &[Element], wanted: Ordering) -> Option<Value> {
    let mut best: Option<&Value> = None;
    for value in elements.iter().map(|element| &element.value).filter(|value| **value != Value::Null) {
        let better = match best {
            None => true,
            Some(best) => compare(value, best)? == wanted,
        };
        if better {
            best = Some(value);
        }
    }
    Some(best.cloned().unwrap_or(Value::Null))
}

/// Orders two values of one kind; `None` of two kinds, or of a kind without an order.
fn compare(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Int(left), Value::Int(right)) | (Value::Timestamp(left), Value::Timestamp(right)) => {
            Some(left.cmp(right))
        }
        (Value::Float(left), Value::Float(right)) => left.partial_cmp(right),
        (Value::Text(left), Value::Text(right)) => Some(left.cmp(right)),
        (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(right)),
        _ => None,
    }
}

fn any_true(elements: &[Element]) -> Option<Value> {
    let truths = elements.iter().map(|element| match element.value {
        Value::Bool(truth) => Some(truth),
        Value::Null => Some(false),
        _ => None,
    });
    truths.collect::<Option<Vec<bool>>>().map(|truths| Value::Bool(truths.contains(&true)))
}

fn earliest(elements: &[Element]) -> Option<Value> {
    let set = elements.iter().filter(|element| element.value != Value::Null);
    let first = set.min_by_key(|element| (element.stamp.time, element.stamp));
    Some(first.map_or(Value::Null, |element| element.value.clone()))
}

fn of_origin(elements: &[Element], origin: &InstanceId) -> Option<Value> {
    let own = elements.iter().filter(|element| element.stamp.author == *origin);
    own.max_by_key(|element| (element.stamp.time, element.stamp)).map(|element| element.value.clone())
}

#[cfg(test)]
mod tests;
