//! Routing: which fields of a row go into which scope.

use std::collections::BTreeMap;

use super::scopes::OpenScope;
use crate::id::name::{DatasetName, FieldName, ScopeName};
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

/// Splits the row of another instance's record, given its scopes that we read and whether each holds the record
/// itself.
///
/// Its origin's rules count: a field that one of them claims goes there, any other where the record is. A field that
/// would be meant for fewer readers if the row were ours goes nowhere else than to a scope of that name.
pub(super) fn foreign<'a>(
    least: &LeastScopes,
    dataset: &DatasetName,
    scopes: impl Iterator<Item = (&'a OpenScope, bool)>,
    fields: BTreeMap<FieldName, Value>,
) -> Routed {
    let mut routed = Routed::new();
    let mut wholes = Vec::new();
    let mut claims: BTreeMap<FieldName, ScopeName> = BTreeMap::new();
    let overlay = dataset.overlay();
    for (scope, is_whole) in scopes {
        if is_whole {
            wholes.push(&scope.row.name);
            continue;
        }
        for field in fields.keys().filter(|field| scope.schema.names(&overlay, field)) {
            claims.insert(field.clone(), scope.row.name.clone());
        }
    }
    if wholes.is_empty() {
        return routed;
    }
    for (field, value) in fields {
        if let Some(scope) = claims.get(&field) {
            routed.entry(scope.clone()).or_default().insert(field, value);
            continue;
        }
        let own = least.of(dataset, &field);
        for whole in wholes.iter().filter(|whole| own.is_none_or(|own| own == **whole)) {
            routed.entry((*whole).clone()).or_default().insert(field.clone(), value.clone());
        }
    }
    routed
}
