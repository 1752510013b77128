//! Records that moved to another scope of their origin's: what their rows say may be what the scope said that they left.

use std::collections::BTreeMap;

use super::side::{Doubt, Side, says};
use crate::connector::contract::Base;
use crate::id::name::FieldName;
use crate::merge::strategy::show;
use crate::record::cell::Record;
use crate::record::recordid::RecordId;
use crate::record::value::Value;
use crate::sync::error::Error;
use crate::sync::instance::Instance;

/// Leaves out the fields of a row that are as its record had them elsewhere: nobody edited those here.
///
/// For a record that was not where it is when the row was last in step; `elsewhere` are the other places that may have held it.
pub(super) fn unheard(
    instance: &Instance,
    elsewhere: &[(&Side, RecordId)],
    (base, doubt): (Base, Doubt),
    newest: &Record,
    fields: &BTreeMap<FieldName, Value>,
) -> Result<BTreeMap<FieldName, Value>, Error> {
    let mut then = Vec::new();
    for (side, piece) in elsewhere {
        then.extend(side.at(instance, side.known(base), piece)?.map(|record| (side, piece, record)));
    }
    let mut unheard = BTreeMap::new();
    for (field, value) in fields {
        let mut is_heard = then.iter().any(|(side, piece, record)| {
            let strategy = side.open.schema.strategy(&piece.dataset, field);
            let cell = record.cells.get(field);
            cell.is_some_and(|cell| show(cell, strategy, &piece.origin).value.same(value))
        });
        // Of a row that is as it was, whatever the record once said tells its age.
        if !is_heard && doubt == Doubt::Untouched && !says(newest, field, value) {
            for (side, piece) in elsewhere {
                is_heard = is_heard || side.was_said(instance, piece, field, value)?;
            }
        }
        if !is_heard {
            unheard.insert(field.clone(), value.clone());
        }
    }
    Ok(unheard)
}
