//! What a row says: its fields, for whom it is meant, and a digest of both.
//!
//! Capture and apply look through the same code, so that what was written is not taken for an edit.

use std::collections::BTreeMap;

use super::books::DANGLING;
use super::convert::Logical;
use super::key::Key;
use super::plan::{Content, Plan, Plans, ScopePlan, matches};
use super::raw::{Raw, RawRef};
use super::session::{Row, SqlError};
use crate::connector::contract::Source;
use crate::id::bytes::{InstanceId, RecordKey};
use crate::id::name::{FieldName, ScopeName};
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
    fn find(&mut self, dataset: usize, key: &Key) -> Result<Option<Parent>, SqlError>;
}

/// A field that deliberately shows something else than its record says.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Override {
    pub(super) field: FieldName,
    pub(super) shown: Raw,
    pub(super) reason: String,
}

/// What operators said beside a row for whom it is meant.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Marks<'a> {
    /// Of this row.
    pub(super) rule: Option<&'a str>,
    /// Of all rows of the dataset that don't say so themselves.
    pub(super) default: Option<&'a str>,
}

/// For whom an own row is meant, and why.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Decision {
    pub(super) audience: Audience,
    /// What the row's own audience was before anything narrowed it.
    pub(super) own: Audience,
    pub(super) source: Source,
    /// The reference, by its field's index, that narrowed it last.
    pub(super) narrowed_by: Option<usize>,
}

/// What a row says.
#[derive(Debug)]
pub(super) struct Look<'r> {
    pub(super) values: Vec<Logical<'r>>,
    pub(super) digest: i64,
    /// For whom an own row is meant; `None` for those of others.
    pub(super) audience: Option<Audience>,
}

/// Looks at a row of `origin`.
pub(super) fn look<'r>(
    plan: &Plan,
    row: &'r dyn Row,
    origin: i64,
    marks: Marks<'_>,
    overrides: &[Override],
    parents: &mut dyn Parents,
    buffer: &mut Vec<u8>,
) -> Result<Look<'r>, SqlError> {
    let values = values(plan, row, overrides, parents, Caps::All)?;
    let audience = match origin {
        OWN => Some(decide(plan, row, marks, &values, Caps::All)?.audience),
        _ => None,
    };
    let digest = digest(plan, audience.as_ref(), &values, buffer);
    Ok(Look { values, digest, audience })
}

/// Returns what the fields of a row show; references that don't narrow it show nothing.
pub(super) fn values<'r>(
    plan: &Plan,
    row: &'r dyn Row,
    overrides: &[Override],
    parents: &mut dyn Parents,
    caps: Caps,
) -> Result<Vec<Logical<'r>>, SqlError> {
    let mut values = Vec::with_capacity(plan.fields.len());
    for (index, field) in plan.fields.iter().enumerate() {
        let raw = row.raw(index + 1)?;
        let hidden = overrides.iter().any(|known| known.field == field.name && RawRef::from(&known.shown) == raw);
        values.push(match &field.content {
            _ if hidden => Logical::Hidden,
            // The column is another field in this row.
            _ if !field.has_turn(row)? => Logical::Null,
            Content::Plain(kind) => Logical::read(*kind, raw),
            Content::Ref(_) if raw == RawRef::Null => Logical::Null,
            Content::Ref(reference) if reference.in_circle && caps == Caps::OutsideCircle => Logical::Hidden,
            Content::Ref(reference) => match reference.key_of(raw) {
                None => Logical::Dangling,
                Some(key) => parents.find(reference.parent, &key)?.map_or(Logical::Dangling, Logical::Ref),
            },
        });
    }
    Ok(values)
}

/// Returns the digest of the columns that never change in a row's life.
pub(super) fn birth(plan: &Plan, row: &dyn Row, buffer: &mut Vec<u8>) -> Result<i64, SqlError> {
    if plan.birth.is_empty() {
        return Ok(0);
    }
    buffer.clear();
    for &(at, kind) in &plan.birth {
        Logical::read(kind, row.raw(at)?).digest(buffer);
    }
    Ok(short_hash(buffer))
}

impl Look<'_> {
    /// Returns the flags of the row's map row.
    pub(super) fn flags(&self, known: i64) -> i64 {
        if self.values.contains(&Logical::Dangling) { known | DANGLING } else { known & !DANGLING }
    }

    /// Tells whether an override still stands: nobody edited the field.
    pub(super) fn hides(&self, plan: &Plan, known: &Override) -> bool {
        plan.field(&known.field).is_some_and(|index| self.values[index] == Logical::Hidden)
    }

    /// Returns the fields that are reported: none of a row that stays home.
    pub(super) fn fields(&self, plan: &Plan, plans: &Plans, origins: &[InstanceId]) -> BTreeMap<FieldName, Value> {
        if matches!(self.audience, Some(Audience::Private(_))) {
            return BTreeMap::new();
        }
        let mut fields = Vec::with_capacity(plan.fields.len());
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
            fields.extend(value.map(|value| (field.name.clone(), value)));
        }
        // They are in order, and not searched for their places.
        fields.into_iter().collect()
    }
}

/// Which references narrow a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Caps {
    All,
    /// Those that lie in no circle.
    OutsideCircle,
}

/// Decides for whom an own row is meant. `values` are those that the row shows.
pub(super) fn decide(
    plan: &Plan,
    row: &dyn Row,
    marks: Marks<'_>,
    values: &[Logical<'_>],
    caps: Caps,
) -> Result<Decision, SqlError> {
    let (own, source) = stated(plan, row, marks)?;
    let mut decision = Decision { audience: own.clone(), own, source, narrowed_by: None };
    if let Some(reason) = excluded(plan, row)? {
        decision.audience = Audience::Private(reason);
        return Ok(decision);
    }
    for (index, reference) in plan.refs().filter(|(_, reference)| caps == Caps::All || !reference.in_circle) {
        let value = &values[index];
        if !plan.fields[index].has_turn(row)? {
            continue;
        }
        let before = decision.audience.clone();
        if plan.caps(index, reference) {
            decision.audience = match value {
                // The root of a tree hangs on nothing.
                Logical::Null if reference.to_itself => decision.audience,
                Logical::Ref(parent) => decision.audience.capped_by(&parent.audience, &plan.addressees),
                // A parent that isn't there, or isn't shown, can't vouch for anything.
                _ if decision.audience.scope().is_some() => Audience::Private(Reason::Withheld),
                _ => decision.audience,
            };
        }
        let foreign = matches!(value, Logical::Ref(parent) if parent.origin != OWN);
        let broken = *value == Logical::Dangling && plan.fields[index].not_null;
        if decision.audience.scope().is_some() && (reference.author && foreign || broken) {
            decision.audience = Audience::Private(Reason::Withheld);
        }
        if decision.audience != before {
            decision.narrowed_by = Some(index);
        }
    }
    Ok(decision)
}

/// Returns the audience that the row has by itself, and who says so.
fn stated(plan: &Plan, row: &dyn Row, marks: Marks<'_>) -> Result<(Audience, Source), SqlError> {
    let read = |text: Option<&str>| Audience::from_value(text, &plan.addressees);
    if let (Some(rule), false) = (marks.rule, matches!(plan.scope, ScopePlan::Column(_))) {
        return Ok((read(Some(rule)), Source::Rule));
    }
    let (own, source) = match &plan.scope {
        ScopePlan::Column(at) => {
            let value = match row.raw(*at)? {
                RawRef::Null => None,
                RawRef::Text(bytes) => Some(std::str::from_utf8(bytes).unwrap_or("\u{fffd}")),
                _ => Some("\u{fffd}"),
            };
            if value.is_some_and(|value| !value.is_empty()) {
                return Ok((read(value), Source::Column));
            }
            (read(None), Source::Column)
        }
        ScopePlan::Constant(audience) => (audience.clone(), Source::Mapping),
        ScopePlan::Parents(_) => (Audience::Shared(ScopeName::public()), Source::Parents),
    };
    Ok(match marks.default {
        Some(default) => (read(Some(default)), Source::Default),
        None => (own, source),
    })
}

/// Tells why a row stays home whatever its audience is.
fn excluded(plan: &Plan, row: &dyn Row) -> Result<Option<Reason>, SqlError> {
    for (at, patterns) in &plan.filters {
        let passes = match row.raw(*at)? {
            RawRef::Text(bytes) => std::str::from_utf8(bytes).is_ok_and(|text| matches(patterns, text)),
            RawRef::Integer(value) => matches(patterns, &value.to_string()),
            _ => false,
        };
        if !passes {
            return Ok(Some(Reason::Filtered));
        }
    }
    match plan.soft_delete {
        Some(at) if row.raw(at)? != RawRef::Null => Ok(Some(Reason::SoftDeleted)),
        _ => Ok(None),
    }
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
                    // Where a field goes is a part of what the row says.
                    if let (Some(least), Some(row)) = (&field.least, shared.and_then(Audience::scope)) {
                        buffer.push(b'@');
                        let goes = plan.addressees.common(least, row);
                        buffer.extend_from_slice(goes.as_ref().map_or("", ScopeName::as_str).as_bytes());
                    }
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
