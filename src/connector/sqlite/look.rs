//! What a row says: its fields, for whom it is meant, and a digest of both.
//!
//! Capture and apply look through the same code, so that what was written is not taken for an edit.

use std::collections::BTreeMap;

use rusqlite::Row;
use rusqlite::types::{Value as Raw, ValueRef};

use super::convert::Logical;
use super::key::Key;
use super::plan::{Content, Plan, Plans, ScopePlan, matches};
use crate::id::bytes::{InstanceId, RecordKey};
use crate::id::name::FieldName;
use crate::record::recordid::RecordId;
use crate::record::value::Value;
use crate::scope::audience::{Audience, Reason};

/// The number of our own instance in the bookkeeping.
pub(super) const OWN: i64 = 0;

/// A row that others refer to.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Parent {
    pub(super) origin: i64,
    pub(super) record: [u8; 16],
    pub(super) audience: Audience,
}

/// Finds rows that are referred to.
pub(super) trait Parents {
    fn find(&mut self, dataset: usize, key: &Key) -> rusqlite::Result<Option<Parent>>;
}

/// A field that deliberately shows something else than its record says.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Override {
    pub(super) field: FieldName,
    pub(super) shown: Raw,
    pub(super) reason: String,
}

/// What a row says.
#[derive(Debug)]
pub(super) struct Look<'r> {
    pub(super) values: Vec<Logical<'r>>,
    pub(super) birth: i64,
    pub(super) digest: i64,
    /// For whom an own row is meant; `None` for those of others.
    pub(super) audience: Option<Audience>,
}

/// Looks at a row of `origin`.
pub(super) fn look<'r>(
    plan: &Plan,
    row: &'r Row<'_>,
    origin: i64,
    overrides: &[Override],
    parents: &mut dyn Parents,
    buffer: &mut Vec<u8>,
) -> rusqlite::Result<Look<'r>> {
    let mut values = Vec::with_capacity(plan.fields.len());
    for (index, field) in plan.fields.iter().enumerate() {
        let raw = row.get_ref(index + 1)?;
        let hidden = overrides.iter().any(|known| known.field == field.name && ValueRef::from(&known.shown) == raw);
        values.push(match &field.content {
            _ if hidden => Logical::Hidden,
            Content::Plain(kind) => Logical::read(*kind, raw),
            Content::Ref(_) if raw == ValueRef::Null => Logical::Null,
            Content::Ref(reference) => match Key::of(raw) {
                None => Logical::Dangling,
                Some(key) => parents.find(reference.parent, &key)?.map_or(Logical::Dangling, Logical::Ref),
            },
        });
    }
    let audience = match origin {
        OWN => Some(audience(plan, row, &values)?),
        _ => None,
    };
    let digest = digest(plan, audience.as_ref(), &values, buffer);
    Ok(Look { values, birth: birth(plan, row, buffer)?, digest, audience })
}

/// Returns the digest of the columns that never change in a row's life.
pub(super) fn birth(plan: &Plan, row: &Row<'_>, buffer: &mut Vec<u8>) -> rusqlite::Result<i64> {
    if plan.birth.is_empty() {
        return Ok(0);
    }
    buffer.clear();
    for &(at, kind) in &plan.birth {
        Logical::read(kind, row.get_ref(at)?).digest(buffer);
    }
    Ok(short_hash(buffer))
}

impl Look<'_> {
    /// Tells whether an override still stands: nobody edited the field.
    pub(super) fn hides(&self, plan: &Plan, known: &Override) -> bool {
        plan.field(&known.field).is_some_and(|index| self.values[index] == Logical::Hidden)
    }

    /// Returns the fields that are reported: none of a row that stays home.
    pub(super) fn fields(&self, plan: &Plan, plans: &Plans, origins: &[InstanceId]) -> BTreeMap<FieldName, Value> {
        if matches!(self.audience, Some(Audience::Private(_))) {
            return BTreeMap::new();
        }
        let mut fields = BTreeMap::new();
        for (field, shown) in plan.fields.iter().zip(&self.values) {
            let value = match (&field.content, shown) {
                (Content::Ref(reference), Logical::Ref(parent)) => Some(Value::Ref(RecordId {
                    origin: origins[usize::try_from(parent.origin).expect("origins are numbered from 0")],
                    dataset: plans.list[reference.parent].name.clone(),
                    key: RecordKey::from_bytes(parent.record),
                })),
                // Nothing is there to refer to any more: an own row says so, one of others keeps silent.
                (_, Logical::Dangling) if self.audience.is_some() => Some(Value::Null),
                (_, shown) => shown.value(),
            };
            if let Some(value) = value {
                fields.insert(field.name.clone(), value);
            }
        }
        fields
    }
}

fn audience(plan: &Plan, row: &Row<'_>, values: &[Logical<'_>]) -> rusqlite::Result<Audience> {
    let private = |reason| Ok(Audience::Private(reason));
    for (at, patterns) in &plan.filters {
        let passes = match row.get_ref(*at)? {
            ValueRef::Text(bytes) => std::str::from_utf8(bytes).is_ok_and(|text| matches(patterns, text)),
            ValueRef::Integer(value) => matches(patterns, &value.to_string()),
            _ => false,
        };
        if !passes {
            return private(Reason::Filtered);
        }
    }
    if let Some(at) = plan.soft_delete
        && row.get_ref(at)? != ValueRef::Null
    {
        return private(Reason::SoftDeleted);
    }
    let under = |audience: Audience, value: &Logical<'_>| match value {
        Logical::Ref(parent) => audience.capped_by(&parent.audience),
        // A parent that isn't there, or isn't shown, can't vouch for anything.
        _ if audience.scope().is_some() => Audience::Private(Reason::Withheld),
        _ => audience,
    };
    let mut audience = match &plan.scope {
        ScopePlan::Column(at) => match row.get_ref(*at)? {
            ValueRef::Null => Audience::from_value(None),
            ValueRef::Text(bytes) => Audience::from_value(Some(std::str::from_utf8(bytes).unwrap_or("\u{fffd}"))),
            _ => Audience::Private(Reason::UnknownScope),
        },
        ScopePlan::Constant(audience) => audience.clone(),
        ScopePlan::Parents(fields) => {
            let public = Audience::Shared(crate::id::name::ScopeName::public());
            fields.iter().fold(public, |audience, index| under(audience, &values[*index]))
        }
    };
    for (index, reference) in plan.refs() {
        let value = &values[index];
        if reference.required {
            audience = under(audience, value);
        }
        let foreign = matches!(value, Logical::Ref(parent) if parent.origin != OWN);
        let broken = *value == Logical::Dangling && plan.fields[index].not_null;
        if audience.scope().is_some() && (reference.author && foreign || broken) {
            audience = Audience::Private(Reason::Withheld);
        }
    }
    Ok(audience)
}

fn digest(plan: &Plan, audience: Option<&Audience>, values: &[Logical<'_>], buffer: &mut Vec<u8>) -> i64 {
    buffer.clear();
    match audience {
        Some(Audience::Private(reason)) => buffer.extend_from_slice(&[0, *reason as u8]),
        shared => {
            buffer.push(1 + u8::from(shared.is_none()));
            let scope = shared.and_then(Audience::scope).map_or("", |scope| scope.as_str());
            buffer.extend_from_slice(scope.as_bytes());
            for (field, value) in plan.fields.iter().zip(values) {
                if *value != Logical::Hidden {
                    buffer.push(b'\n');
                    buffer.extend_from_slice(field.name.as_str().as_bytes());
                    buffer.push(b'=');
                    value.digest(buffer);
                }
            }
        }
    }
    short_hash(buffer)
}

fn short_hash(bytes: &[u8]) -> i64 {
    let hash = blake3::hash(bytes);
    i64::from_le_bytes(hash.as_bytes()[..8].try_into().expect("a hash has 32 bytes"))
}
