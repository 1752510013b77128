//! What a capture finds in rows that don't show what their records say: which of it is new, and which of it stays.

use std::collections::{BTreeMap, BTreeSet};

use super::collect::{Collector, Working};
use super::error::Error;
use super::held::{Held, Why};
use super::write::Write;
use crate::connector::contract::Base;
use crate::id::name::{DatasetName, FieldName};
use crate::merge::record::Joined;
use crate::merge::strategy::show;
use crate::record::cell::Record;
use crate::record::codec::{self, CAPTURED_BYTES_MAX};
use crate::record::recordid::RecordId;
use crate::record::stamp::Stamp;
use crate::record::value::Value;

/// What scopes hold of a record and of its overlay, with their places among those of a capture.
pub(super) type Pieces = [(usize, Option<Record>, Option<Record>)];

/// What is known of the row that is looked at, beside its base.
#[derive(Default)]
pub(super) struct Behind {
    /// Whether it may show another version than its record has.
    pub(super) is_behind: bool,
    /// Fields of which its editor has not seen what the record says, with what it showed before.
    pub(super) unseen: BTreeMap<FieldName, Value>,
    /// What it showed that could not be taken in so far.
    pub(super) was: Option<Held>,
}

impl Collector<'_> {
    /// Tells whether a record that its row has lost lives on: somebody edited a piece of it that the row did not show yet.
    pub(super) fn lives_on(
        &self,
        base: Base,
        [whole, overlay]: [&RecordId; 2],
        pieces: &Pieces,
    ) -> Result<bool, Error> {
        for (index, ..) in pieces {
            let scope = &self.scopes[*index];
            let stamp = self.stamp(scope, base);
            if !scope.is_on_parent(base)
                && (self.left_of(scope, base, whole, &stamp)?.is_some()
                    || self.left_of(scope, base, overlay, &stamp)?.is_some())
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Returns what the parent has of a record if that holds anything that the row, which is gone, did not show.
    pub(super) fn left_of(
        &self,
        scope: &Working,
        base: Base,
        id: &RecordId,
        stamp: &Stamp,
    ) -> Result<Option<Record>, Error> {
        let held = scope.in_parent(self.instance, id)?;
        Ok(held.filter(|held| scope.join(base, None, held, stamp) != Joined::Absent))
    }

    /// Finds out of which fields that could not be taken in so far the record says something else by now.
    pub(super) fn look_back(&mut self, dataset: &DatasetName, pieces: &Pieces) {
        let Some(was) = &self.row.was else { return };
        for (field, before) in &was.before {
            let shown = self.shown(dataset, pieces, field);
            if shown.is_some_and(|shown| !shown.same(before)) {
                self.row.unseen.entry(field.clone()).or_insert_with(|| before.clone());
            }
        }
    }

    /// Returns what a record shows in a field, whichever scope has it.
    fn shown(&self, dataset: &DatasetName, pieces: &Pieces, field: &FieldName) -> Option<Value> {
        let overlay = dataset.overlay();
        pieces.iter().find_map(|(index, whole, overlaid)| {
            let scope = &self.scopes[*index];
            let shown = |record: &Option<Record>, tree: &DatasetName| {
                let cell = record.as_ref()?.cells.get(field)?;
                Some(show(cell, scope.open.schema.strategy(tree, field), &scope.open.row.origin).value)
            };
            shown(whole, dataset).or_else(|| shown(overlaid, &overlay))
        })
    }

    /// Keeps those of the fields that a row shows, and nobody takes in, of which the record says something else.
    pub(super) fn hold_edits(&mut self, id: &RecordId, pieces: &Pieces, fields: &BTreeMap<FieldName, Value>, why: Why) {
        let before = |(field, value): (&FieldName, &Value)| {
            let shown = match self.shown(&id.dataset, pieces, field) {
                // What nobody sent of it so far would have been shown as nothing.
                None if why == Why::Gone || self.least.of(&id.dataset, field).is_some() => Some(Value::Null),
                shown => shown,
            };
            shown.filter(|shown| !shown.same(value)).map(|shown| (field.clone(), shown))
        };
        let edited = fields.iter().filter_map(before).collect();
        self.hold_all(id, edited, why);
    }

    pub(super) fn hold_all(&mut self, id: &RecordId, mut edited: BTreeMap<FieldName, Value>, why: Why) {
        if edited.is_empty() {
            return;
        }
        for (field, before) in self.row.was.iter().flat_map(|was| &was.before) {
            edited.entry(field.clone()).and_modify(|shown| *shown = before.clone());
        }
        let held = self.held.entry(id.clone()).or_insert(Held { why, before: BTreeMap::new() });
        held.before.extend(edited);
    }

    /// Returns the fields that a write changes, with what the record said so far.
    pub(super) fn edited(
        &self,
        index: usize,
        base: Base,
        id: &RecordId,
        record: &Record,
        write: &Write<'_>,
    ) -> Result<BTreeMap<FieldName, Value>, Error> {
        let held = self.scopes[index].record(self.instance, base, id)?.unwrap_or_default();
        let written = record.elements().filter(|(_, element)| element.stamp == write.stamp);
        let before = |field: &FieldName| write.shown(&held, &id.dataset, field).unwrap_or(Value::Null);
        Ok(written.map(|(field, _)| (field.clone(), before(field))).collect())
    }

    /// Leaves out a record that is too large to travel: what is shared of it stays as it was.
    pub(super) fn bounded(&mut self, id: &RecordId, bytes: Vec<u8>) -> Option<Vec<u8>> {
        if !is_too_large(&bytes) {
            return Some(bytes);
        }
        self.too_large.insert(id.to_string(), bytes.len() as u64);
        None
    }

    /// Spells an edited record as the parent is to have it, whose record may be another one than the row showed; without the
    /// fields that are for fewer readers now.
    pub(super) fn onto_parent(
        &self,
        scope: &Working,
        base: Base,
        id: &RecordId,
        write: &Write<'_>,
        (record, narrowed): (&Record, &BTreeSet<FieldName>),
        fields: BTreeMap<FieldName, Value>,
    ) -> Result<Option<Vec<u8>>, Error> {
        let Some(held) = scope.in_parent(self.instance, id)? else {
            // Who edits a record that was deleted meanwhile writes all of it again, unless it was withdrawn from us.
            let row = &scope.open.row;
            let is_lost = !scope.open.manifest.may_write(&self.instance.id())
                && self.instance.state.is_withdrawn(&row.id, &id.dataset, &id.key)?;
            return Ok((!is_lost).then(|| codec::encode_written(&fields, &write.stamp, &id.origin)));
        };
        Ok(match scope.join(base, Some(record), &held, &write.stamp) {
            Joined::Absent => None,
            Joined::Present { mut record, .. } => {
                // Whoever wrote there meanwhile.
                record.cells.retain(|field, _| !narrowed.contains(field));
                Some(codec::encode(&record, &id.origin))
            }
        })
    }
}

/// Tells whether a record is too large to travel.
pub(super) fn is_too_large(bytes: &[u8]) -> bool {
    bytes.len() > CAPTURED_BYTES_MAX
}
