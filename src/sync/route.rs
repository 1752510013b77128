//! Routing: which fields of a row go into which scope.

use std::collections::BTreeMap;

use super::scopes::OpenScope;
use crate::id::name::{DatasetName, FieldName, ScopeName};
use crate::record::cell::Record;
use crate::record::value::Value;
use crate::scope::fields::LeastScopes;

/// By scope, the fields that go there.
pub(super) type Routed = BTreeMap<ScopeName, BTreeMap<FieldName, Value>>;

/// Splits an own row of `row`. That scope is always among the results: it holds the record itself, the others
/// overlays of it.
pub(super) fn own(
    least: &LeastScopes,
    dataset: &DatasetName,
    row: &ScopeName,
    fields: BTreeMap<FieldName, Value>,
) -> Routed {
    if !least.fields.contains_key(dataset) {
        return Routed::from([(row.clone(), fields)]);
    }
    let mut routed = Routed::from([(row.clone(), BTreeMap::new())]);
    for (field, value) in fields {
        if let Some(scope) = least.route(dataset, &field, row) {
            routed.entry(scope).or_default().insert(field, value);
        }
    }
    routed
}

/// A scope of another instance that we read, and what it holds of a record.
pub(super) struct Place<'a> {
    /// The scope.
    pub(super) scope: &'a OpenScope,
    /// What it holds.
    pub(super) holds: Holds<'a>,
}

/// What a scope holds of a record.
pub(super) enum Holds<'a> {
    /// The record itself; nothing yet, if it is about to be made there.
    Record(Option<&'a Record>),
    /// Fields for fewer readers than the record has.
    Fields,
    /// Nothing.
    Nothing,
}

/// Splits the row of another instance's record, given its scopes that we read.
///
/// Its origin's rules count, as far as they are known here: a field that one of them claims goes there if the origin has put
/// fields of this very record there, or if the record is public. Else nobody here knows who is meant by both, as of a
/// group's record and what is for trusted readers: such a field goes nowhere but into the record itself, if it is there
/// already. Any other goes where the record is. A field that would be meant for fewer readers if the row were ours goes
/// nowhere else than to a scope of that name.
pub(super) fn foreign<'a>(
    least: &LeastScopes,
    dataset: &DatasetName,
    places: impl Iterator<Item = Place<'a>>,
    fields: BTreeMap<FieldName, Value>,
) -> Routed {
    let mut routed = Routed::new();
    let (mut wholes, mut others) = (Vec::new(), Vec::new());
    for Place { scope, holds } in places {
        match holds {
            Holds::Record(record) => wholes.push((&scope.row.name, record)),
            Holds::Fields => others.push((scope, true)),
            Holds::Nothing => others.push((scope, false)),
        }
    }
    if wholes.is_empty() {
        return routed;
    }
    let overlay = dataset.overlay();
    let is_public = wholes.iter().any(|(whole, _)| whole.is_public());
    for (field, value) in fields {
        let mut claims = others.iter().filter(|(scope, _)| scope.schema.names(&overlay, &field)).peekable();
        let is_claimed = claims.peek().is_some();
        let is_here = wholes.iter().any(|(_, record)| record.is_some_and(|record| record.cells.contains_key(&field)));
        // Where fields of the record lie already counts more than where they might.
        if let Some((scope, _)) = claims.filter(|(_, holds)| *holds || is_public).max_by_key(|(_, holds)| *holds) {
            routed.entry(scope.row.name.clone()).or_default().insert(field, value);
            continue;
        }
        if is_claimed && !is_here {
            continue;
        }
        let own = least.of(dataset, &field);
        for (whole, _) in wholes.iter().filter(|(whole, _)| own.is_none_or(|own| own == *whole)) {
            routed.entry((*whole).clone()).or_default().insert(field.clone(), value.clone());
        }
    }
    routed
}
