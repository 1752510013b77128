//! Rows that stand apart from their records: what a row shows is older than its record, or its edits stay here.
//!
//! A record that can't be written waits, and its row goes on showing an older version (`BEHIND`). Who edits or deletes such a
//! row hasn't seen the newer one. And a row of another instance's record may have been set to fewer readers than that has
//! (`NARROWED`), or say what the mapping lets nobody send (`UNFIT`): then what is written into it stays.

use std::collections::BTreeMap;

use super::books::{Books, Entry};
use super::convert::Logical;
use super::key::Key;
use super::look::{Look, OWN, Override};
use super::outbox;
use super::plan::{Content, Plan, Plans, ScopePlan, matches};
use super::raw::RawRef;
use super::session::{Row, Session, SqlError};
use crate::connector::column::Stays;
use crate::id::name::{FieldName, ScopeName};
use crate::record::recordid::RecordId;
use crate::record::value::Value;
use crate::scope::audience::Audience;

/// A map row of a row that shows an older version than its record has.
pub(super) const BEHIND: i64 = 4;
/// A map row of a row that isn't ours and is meant for fewer here.
pub(super) const NARROWED: i64 = 8;
/// A map row of a row that isn't ours and says what doesn't travel.
pub(super) const UNFIT: i64 = 16;
/// Both: its edits stay here.
pub(super) const STAYS: i64 = NARROWED | UNFIT;

/// Tells by flags whether edits of a row stay here.
pub(super) fn flags(plan: &Plan, row: &dyn Row, entry: &Entry) -> Result<i64, SqlError> {
    if entry.origin == OWN || entry.is_stub() {
        return Ok(0);
    }
    let narrowed = if is_narrowed(plan, row, entry)? { NARROWED } else { 0 };
    Ok(narrowed | if is_fit(plan, row)? { 0 } else { UNFIT })
}

/// Returns why edits of a row stay here, if they do.
pub(super) fn stays(flags: i64) -> Option<Stays> {
    match flags {
        _ if flags & NARROWED != 0 => Some(Stays::Narrowed),
        _ if flags & UNFIT != 0 => Some(Stays::Unfit),
        _ => None,
    }
}

/// Returns the edited fields of which the row showed an older value, with that value; `None` if the row isn't behind.
pub(super) fn behind(
    plan: &Plan,
    entry: &Entry,
    overrides: &[Override],
    look: &Look<'_>,
) -> Option<BTreeMap<FieldName, Value>> {
    if entry.flags & BEHIND == 0 {
        return None;
    }
    let mut edited = BTreeMap::new();
    for known in overrides.iter().filter(|known| !look.hides(plan, known)) {
        let Some(index) = plan.field(&known.field) else { continue };
        let before = match &plan.fields[index].content {
            Content::Plain(kind) => Logical::read(*kind, RawRef::from(&known.shown)).value(),
            Content::Ref(_) => None,
        };
        edited.insert(known.field.clone(), before.unwrap_or(Value::Null));
    }
    Some(edited)
}

/// Has the next capture look at a record's row as if it had been edited. Returns the row's key, if it has one.
pub(super) fn look_again(
    conn: &dyn Session,
    plans: &Plans,
    books: &Books,
    id: &RecordId,
) -> Result<Option<Key>, SqlError> {
    let Some(dataset) = plans.index(&id.dataset) else { return Ok(None) };
    let Some(mut entry) = books.find(conn, dataset, id)? else { return Ok(None) };
    entry.digest = entry.digest.wrapping_add(1);
    books.put(conn, dataset, &entry)?;
    outbox::note(conn, plans, dataset, &entry.key)?;
    Ok(Some(entry.key))
}

/// Tells whether the scope column says that a row is meant for fewer than its record is. What isn't understood is.
fn is_narrowed(plan: &Plan, row: &dyn Row, entry: &Entry) -> Result<bool, SqlError> {
    let ScopePlan::Column(at) = &plan.scope else { return Ok(false) };
    let text = match row.raw(*at)? {
        RawRef::Text(bytes) => std::str::from_utf8(bytes).unwrap_or("\u{fffd}"),
        _ => "",
    };
    if entry.audience.scope().is_some_and(|scope| scope.as_str() == text) {
        return Ok(false);
    }
    Ok(!Audience::from_value(Some(text), &plan.addressees).scope().is_some_and(ScopeName::is_public))
}

/// Tells whether the columns of `only` have values that travel.
fn is_fit(plan: &Plan, row: &dyn Row) -> Result<bool, SqlError> {
    for (column, patterns) in &plan.spec.only {
        for (index, _) in plan.fields.iter().enumerate().filter(|(_, field)| field.columns.is(column)) {
            let is_fit = match row.raw(index + 1)? {
                RawRef::Text(bytes) => std::str::from_utf8(bytes).is_ok_and(|text| matches(patterns, text)),
                RawRef::Integer(value) => matches(patterns, &value.to_string()),
                _ => false,
            };
            if !is_fit {
                return Ok(false);
            }
        }
    }
    Ok(true)
}
