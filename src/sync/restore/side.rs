//! One scope in a restore: what was published of it, what the rows were once in step with, and what the rows say
//! beyond that.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use super::before::{Before, Standing};
use crate::connector::contract::Base;
use crate::history::commit::Commit;
use crate::history::join::Known;
use crate::id::bytes::CommitId;
use crate::id::name::{DatasetName, FieldName};
use crate::merge::strategy::show;
use crate::record::cell::{Cell, Element, Record};
use crate::record::recordid::RecordId;
use crate::record::stamp::Stamp;
use crate::record::value::Value;
use crate::state::scopes::ScopeRow;
use crate::sync::compose::Edits;
use crate::sync::error::Error;
use crate::sync::instance::Instance;
use crate::sync::scopes::OpenScope;
use crate::sync::view::View;
use crate::sync::write::Write;
use crate::sys::clock::UnixMillis;

/// One scope.
pub(super) struct Side {
    pub(super) open: OpenScope,
    pub(super) standing: Standing,
    /// All heads joined.
    pub(super) tip: Option<Known>,
    /// The commit that the rows are in step with, if it is known and is history.
    pub(super) applied: Option<Known>,
    /// The same of an unfinished apply.
    pub(super) target: Option<Known>,
    /// A commit that the rows surely contained, if not even that is known.
    pub(super) base: Option<Known>,
    pub(super) stamp: Stamp,
    pub(super) published: u64,
    pub(super) edits: Edits,
    /// The records that the rows' deletion took out, not a withdrawal.
    pub(super) deleted: Vec<RecordId>,
    history: OnceCell<Vec<Commit>>,
}

/// How sure it is that a row was edited here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doubt {
    /// It differs from what was last known of it.
    Edited,
    /// It is as it was last known, or nothing is known of it.
    Untouched,
    /// A copy of this instance published it, beside what counts.
    Elsewhere,
}

/// What became of the fields of a row.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Outcome {
    /// Fields that became an edit.
    pub(super) edits: u64,
    /// Fields that became a concurrent value.
    pub(super) conflicts: u64,
}

/// The most commits of a scope that are looked through for what a row says.
const HISTORY_MAX: usize = 10_000;

impl Side {
    pub(super) fn new(
        instance: &Instance,
        before: &Before,
        row: ScopeRow,
        views: (&View, Option<&View>),
    ) -> Result<Option<Self>, Error> {
        let standing = instance.standing(before, &row)?;
        let Some(open) = instance.open_scope(row)? else { return Ok(None) };
        let row = &open.row;
        let known = |id: Option<CommitId>| -> Result<Option<Known>, Error> {
            let known = id.map(|id| instance.state.commit(&row.id, &id)).transpose()?.flatten();
            let Some(known) = known else { return Ok(None) };
            let counts = standing.counts(&known.commit, &row.id_key) && instance.holds_trees(&known.commit)?;
            Ok(counts.then_some(known))
        };
        let applied = known(views.0.commits.get(&row.id).copied())?;
        let target = known(views.1.and_then(|view| view.commits.get(&row.id)).copied())?;
        let base = known(standing.base)?;
        let tip = row.local_head.map(|id| instance.state.known_commit(&row.id, &id)).transpose()?;
        let published = instance.state.head(&row.id, &instance.id())?.map_or(0, |head| head.writes);
        let stamp = instance.next_stamp(&open)?;
        let (edits, deleted, history) = Default::default();
        Ok(Some(Self { open, standing, tip, applied, target, base, stamp, published, edits, deleted, history }))
    }

    /// Reads a record of a commit of the scope.
    pub(super) fn at(
        &self,
        instance: &Instance,
        known: Option<&Known>,
        id: &RecordId,
    ) -> Result<Option<Record>, Error> {
        known.map_or(Ok(None), |known| instance.record_at(&self.open, known, &id.dataset, &id.key))
    }

    /// Returns the state that a row was in step with, if it is known.
    pub(super) fn known(&self, base: Base) -> Option<&Known> {
        if base == Base::Target { self.target.as_ref() } else { self.applied.as_ref() }
    }

    /// Makes a record of a row that no state has, or that was taken out while the row was edited.
    pub(super) fn put_whole(&mut self, id: &RecordId, held: Option<Record>, fields: &BTreeMap<FieldName, Value>) {
        let write = Write { scope: &self.open, stamp: self.stamp, published: self.published };
        let record = write.onto(held.clone(), &id.dataset, fields.clone()).or(held);
        if let Some(record) = record {
            self.edits.insert((id.dataset.clone(), id.key), Some(record));
        }
    }

    /// Brings what a row says together with what the newest state says of its record.
    ///
    /// A field that says nothing new is left to the newest state. One that nobody else has changed since the
    /// rows were last known is an edit; of one that both sides may have changed both values stay.
    pub(super) fn join(
        &mut self,
        instance: &Instance,
        id: &RecordId,
        (newest, known): (Record, Option<&Known>),
        fields: &BTreeMap<FieldName, Value>,
        doubt: Doubt,
    ) -> Result<Outcome, Error> {
        let schema = &self.open.schema;
        let origin = self.open.row.origin;
        let shown = |record: &Record, field: &FieldName| {
            let cell = record.cells.get(field)?;
            Some(show(cell, schema.strategy(&id.dataset, field), &origin).value)
        };
        let then = self.at(instance, known.or(self.base.as_ref()), id)?;
        let (mut clean, mut beside) = (BTreeMap::new(), Vec::new());
        for (field, value) in fields {
            let cell = newest.cells.get(field);
            if says(&newest, field, value) || shown(&newest, field).is_some_and(|shown| shown.same(value)) {
                continue;
            }
            let was_so = match (known, &then) {
                (Some(_), Some(then)) => shown(then, field).is_some_and(|shown| shown.same(value)),
                (Some(_), None) => false,
                (None, _) => doubt == Doubt::Untouched && self.was_said(instance, id, field, value)?,
            };
            if was_so {
                continue;
            }
            let is_common = doubt != Doubt::Elsewhere;
            if is_common && then.as_ref().is_some_and(|then| then.cells.get(field) == cell) {
                clean.insert(field.clone(), value.clone());
            } else {
                beside.push((field.clone(), value.clone()));
            }
        }
        let outcome = Outcome { edits: clean.len() as u64, conflicts: beside.len() as u64 };
        let held = |field: &FieldName| newest.cells.get(field).map_or(&[][..], Cell::elements);
        let mut time = self.stamp.time;
        if doubt != Doubt::Edited {
            // What may be out of date must not be shown in the place of what is newer.
            let latest = |(field, _): &(FieldName, Value)| held(field).iter().map(|element| element.stamp.time).max();
            let before = beside.iter().filter_map(latest).map(|latest| UnixMillis(latest.0.saturating_sub(1)));
            time = before.min().unwrap_or(time);
        }
        let stamp = Stamp { time, ..self.stamp };
        let mut record = at_one_time(newest.clone(), &stamp);
        if !clean.is_empty() {
            let moved: Vec<FieldName> = clean.keys().flat_map(|field| schema.group_of(&id.dataset, field)).collect();
            for field in moved.into_iter().filter(|field| beside.iter().all(|(other, _)| other != field)) {
                if let Some(value) = fields.get(&field) {
                    clean.insert(field, value.clone());
                }
            }
            let write = Write { scope: &self.open, stamp, published: self.published };
            record = write.onto(Some(record.clone()), &id.dataset, clean).unwrap_or(record);
        }
        for (field, value) in beside {
            let strategy = schema.strategy(&id.dataset, &field);
            let over = then.as_ref().filter(|_| strategy.needs_base()).and_then(|then| shown(then, &field));
            let elements = record.cells.get(&field).map_or(&[][..], Cell::elements).iter().cloned();
            let elements: Vec<Element> = elements.chain([Element { stamp, value, over }]).collect();
            record.cells.extend(Cell::of(elements).map(|cell| (field, cell)));
        }
        if outcome.edits + outcome.conflicts > 0 {
            self.edits.insert((id.dataset.clone(), id.key), Some(record));
        }
        Ok(outcome)
    }

    /// Takes in fields that a copy of this instance wrote on top of what the newest state still says.
    pub(super) fn put_fields(&mut self, id: &RecordId, newest: Record, fields: &BTreeMap<FieldName, Value>) -> u64 {
        let write = Write { scope: &self.open, stamp: self.stamp, published: self.published };
        let Some(record) = write.onto(Some(newest), &id.dataset, fields.clone()) else { return 0 };
        self.edits.insert((id.dataset.clone(), id.key), Some(record));
        fields.len() as u64
    }

    /// Tells whether some state of the scope that we hold and trust has the record.
    pub(super) fn was_there(&self, instance: &Instance, id: &RecordId) -> Result<bool, Error> {
        for commit in self.history(instance)? {
            if self.lookup(instance, commit, &id.dataset, id)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Tells whether some state of the scope that we hold and trust has said this of the record.
    pub(super) fn was_said(
        &self,
        instance: &Instance,
        id: &RecordId,
        field: &FieldName,
        value: &Value,
    ) -> Result<bool, Error> {
        for commit in self.history(instance)? {
            if self.lookup(instance, commit, &id.dataset, id)?.is_some_and(|record| says(&record, field, value)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn lookup(
        &self,
        instance: &Instance,
        commit: &Commit,
        dataset: &DatasetName,
        id: &RecordId,
    ) -> Result<Option<Record>, Error> {
        // The id is of no use to a lookup by commit.
        let known = Known { id: CommitId::from_bytes([0; 32]), commit: commit.clone() };
        instance.record_at(&self.open, &known, dataset, &id.key)
    }

    fn history(&self, instance: &Instance) -> Result<&[Commit], Error> {
        if let Some(history) = self.history.get() {
            return Ok(history);
        }
        let row = &self.open.row;
        let strange = instance.rescued(&row.id)?;
        let mut history = Vec::new();
        for commit in instance.state.commits(&row.id, HISTORY_MAX)? {
            // What we stood on ourselves is history unless it is surely on another line.
            let id = commit.id(&row.id_key);
            let is_ours = !self.standing.off_line && self.base.as_ref().is_some_and(|base| base.id == id);
            let is_strange = !is_ours && strange.contains(&id);
            if self.standing.counts(&commit, &row.id_key) && !is_strange && instance.holds_trees(&commit)? {
                history.push(commit);
            }
        }
        Ok(self.history.get_or_init(|| history))
    }
}

/// Tells whether a value is among those that a record has for a field.
pub(super) fn says(record: &Record, field: &FieldName, value: &Value) -> bool {
    let elements = record.cells.get(field).map_or(&[][..], Cell::elements);
    elements.iter().any(|element| element.value.same(value))
}

/// Gives what a write has said of a record already the time of all of it.
fn at_one_time(mut record: Record, stamp: &Stamp) -> Record {
    for cell in record.cells.values_mut() {
        if cell.elements().iter().any(|element| element.stamp.is_same_write(stamp)) {
            let again = |element: &Element| match element.stamp.is_same_write(stamp) {
                true => Element { stamp: *stamp, ..element.clone() },
                false => element.clone(),
            };
            *cell = Cell::of(cell.elements().iter().map(again).collect()).expect("a cell is never empty");
        }
    }
    record
}
