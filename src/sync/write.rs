//! One write onto a record: the fields that changed, and those that move with them.

use std::collections::{BTreeMap, BTreeSet};

use super::scopes::OpenScope;
use crate::id::name::{DatasetName, FieldName};
use crate::merge::strategy::show;
use crate::record::cell::{Cell, Element, Record};
use crate::record::stamp::Stamp;
use crate::record::value::Value;

/// A write in a scope.
pub struct Write<'a> {
    /// The scope.
    pub scope: &'a OpenScope,
    /// The write's stamp.
    pub stamp: Stamp,
    /// Our newest write that others can have seen.
    pub published: u64,
}

impl Write<'_> {
    /// Returns the record with the changed fields written, or `None` if no field shows anything new.
    pub fn onto(
        &self,
        held: Option<Record>,
        dataset: &DatasetName,
        fields: BTreeMap<FieldName, Value>,
    ) -> Option<Record> {
        self.not_seeing(held, dataset, fields, &BTreeMap::new())
    }

    /// The same by somebody who has not seen what the record says in the fields `unseen`, but what is given for them: what
    /// others wrote there stays beside it.
    pub fn not_seeing(
        &self,
        held: Option<Record>,
        dataset: &DatasetName,
        fields: BTreeMap<FieldName, Value>,
        unseen: &BTreeMap<FieldName, Value>,
    ) -> Option<Record> {
        let Some(mut record) = held else {
            let cells = fields.into_iter().map(|(field, value)| (field, Cell::new(self.stamp, value)));
            return Some(Record { cells: cells.collect() });
        };
        // A field that a record doesn't have shows nothing, and nothing again is no edit.
        let differs = |field: &FieldName, value: &Value| match self.shown(&record, dataset, field) {
            Some(shown) => !shown.same(value) && !unseen.get(field).is_some_and(|before| before.same(value)),
            None => *value != Value::Null,
        };
        let mut changed: BTreeSet<FieldName> =
            fields.iter().filter(|(field, value)| differs(field, value)).map(|(field, _)| field.clone()).collect();
        let moved: Vec<FieldName> =
            changed.iter().flat_map(|field| self.scope.schema.group_of(dataset, field)).collect();
        changed.extend(moved.into_iter().filter(|field| fields.contains_key(field)));
        if changed.is_empty() {
            return None;
        }
        for field in changed {
            let value = fields[&field].clone();
            let cell = match (unseen.get(&field), record.cells.get(&field)) {
                (Some(before), Some(cell)) => {
                    let needs_base = self.scope.schema.strategy(dataset, &field).needs_base();
                    let over = needs_base.then(|| before.clone());
                    let theirs = cell.elements().iter().filter(|element| element.stamp.author != self.stamp.author);
                    let ours = Element { stamp: self.stamp, value, over };
                    Cell::of(theirs.cloned().chain([ours]).collect()).expect("ours is in it")
                }
                _ => Cell::replacing(self.stamp, value, self.over(&record, dataset, &field)),
            };
            record.cells.insert(field, cell);
        }
        Some(record)
    }

    /// Returns the record with the fields written beside what it has where that is something else, as by somebody who hasn't
    /// seen it; `None` if nothing is.
    pub fn beside(
        &self,
        mut record: Record,
        dataset: &DatasetName,
        fields: BTreeMap<FieldName, Value>,
    ) -> Option<Record> {
        let mut is_changed = false;
        for (field, value) in fields {
            let shown = self.shown(&record, dataset, &field);
            if shown.map_or(value == Value::Null, |shown| shown.same(&value)) {
                continue;
            }
            let known = record.cells.remove(&field);
            let mut elements = known.map_or_else(Vec::new, |cell| cell.elements().to_vec());
            elements.push(Element { stamp: self.stamp, value, over: None });
            record.cells.extend(Cell::of(elements).map(|cell| (field, cell)));
            is_changed = true;
        }
        is_changed.then_some(record)
    }

    /// Settles one field: the value is written even if it is the one that is shown, and with it the fields
    /// of its group: as the write `from` left them if the value comes from there, else as they are shown.
    pub fn settle(
        &self,
        record: &mut Record,
        dataset: &DatasetName,
        field: &FieldName,
        value: Value,
        from: Option<&Stamp>,
    ) {
        for moved in self.scope.schema.group_of(dataset, field) {
            let Some(cell) = record.cells.get(&moved) else { continue };
            let together = cell.elements().iter().find(|element| Some(&element.stamp) == from);
            let value = together.map(|element| element.value.clone()).or_else(|| self.shown(record, dataset, &moved));
            let over = self.over(record, dataset, &moved);
            record.cells.insert(moved, Cell::replacing(self.stamp, value.expect("the cell is there"), over));
        }
        let over = self.over(record, dataset, field);
        record.cells.insert(field.clone(), Cell::replacing(self.stamp, value, over));
    }

    /// Returns what a field of a record shows.
    pub fn shown(&self, record: &Record, dataset: &DatasetName, field: &FieldName) -> Option<Value> {
        let cell = record.cells.get(field)?;
        Some(show(cell, self.scope.schema.strategy(dataset, field), &self.scope.row.origin).value)
    }

    /// What the write replaces, for strategies that need it. A value of our own that nobody has seen is
    /// no common ground: what it replaced itself is carried on.
    fn over(&self, record: &Record, dataset: &DatasetName, field: &FieldName) -> Option<Value> {
        if !self.scope.schema.strategy(dataset, field).needs_base() {
            return None;
        }
        let cell = record.cells.get(field)?;
        match cell.elements() {
            [only]
                if (only.stamp.author, only.stamp.incarnation) == (self.stamp.author, self.stamp.incarnation)
                    && only.stamp.sequence > self.published =>
            {
                only.over.clone()
            }
            _ => self.shown(record, dataset, field),
        }
    }
}
