//! The application's rows in a restore: each is compared with what was published of its record.
//!
//! Rows may be older than what was published, newer, or both; the bookkeeping beside them says what it knew. What
//! they say and nobody has heard becomes a write of the new incarnation; everything else follows the records.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::RestoreSummary;
use super::before::Before;
use super::meant;
use super::moved;
use super::side::{Doubt, Outcome, Side};
use crate::connector::contract::{Base, Capture, Change, Position, Seen, Sighting};
use crate::id::bytes::ScopeId;
use crate::id::name::{DatasetName, FieldName, ScopeName};
use crate::record::codec::{self, CAPTURED_BYTES_MAX};
use crate::record::recordid::RecordId;
use crate::record::value::Value;
use crate::scope::audience::Audience;
use crate::scope::fields::LeastScopes;
use crate::state::database;
use crate::sync::commit::Mode;
use crate::sync::error::{Error, through};
use crate::sync::instance::Instance;
use crate::sync::progress::Event;
use crate::sync::route::{self, Holds, Place, Routed};
use crate::sync::view::View;
use crate::sys::clock;

/// What became of the application's rows.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct RowsSummary {
    /// Rows compared.
    pub compared: u64,
    /// Rows that the bookkeeping had lost and that are known records.
    pub recognised: u64,
    /// Records made of rows that no remote has.
    pub unpublished: u64,
    /// Fields in which the rows were ahead of what was published.
    pub edits: u64,
    /// Fields of which both sides may be newer: both values are kept.
    pub conflicts: u64,
    /// Records whose rows were deleted here.
    pub deleted: u64,
    /// Records that were taken out of their scope because their rows are private here and were edited.
    pub withdrawn: Vec<String>,
    /// Own rows in no scope any more, deleted or withdrawn since the backup: kept, and private.
    pub kept_home: Vec<String>,
    /// Own rows that nobody had heard of and that stay home because they may be rows that were marked, by dataset.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub in_doubt: BTreeMap<DatasetName, u64>,
    /// Own rows that were removed: their records were deleted, here or by somebody who may, and nobody edited the rows since.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<String>,
    /// Fields and records that only a copy of this instance had published.
    pub rescued: u64,
}

/// How often the application may change rows under our hands.
const ROUNDS_MAX: usize = 20;

/// All scopes, and what the rows ask for.
struct Survey<'a> {
    instance: &'a Instance,
    sides: Vec<Side>,
    before: &'a Before,
    least: LeastScopes,
    adopted: BTreeSet<RecordId>,
    rows: RowsSummary,
    /// Own rows to be kept private.
    homeless: Vec<RecordId>,
    /// Rows whose records are gone.
    gone: Vec<RecordId>,
}

impl Instance {
    /// Brings rows and records together.
    pub(super) fn restore_rows(&mut self, before: &Before, summary: &mut RestoreSummary) -> Result<(), Error> {
        // What was about to be settled belongs to another moment of the database.
        self.state.clear_pending()?;
        self.set_restoring(true);
        self.say_again()?;
        for _ in 0..ROUNDS_MAX {
            let gone = self.survey_rows(before, &mut summary.rows)?;
            if self.apply_all(gone, summary)? == 0 {
                self.gather_said()?;
                return self.bring_newcomers(summary);
            }
        }
        Err(Error::Restless)
    }

    /// Has rows of datasets that nobody looked after so far show all that records say; the bookkeeping then knows that they do.
    fn bring_newcomers(&self, summary: &mut RestoreSummary) -> Result<(), Error> {
        if !self.with_database(|database| Ok(database.newcomers()?))?.is_empty() {
            summary.applied.join(self.apply(Mode::Keep)?);
        }
        Ok(())
    }

    /// Compares all rows, and commits what they say beyond the records. Returns the rows whose records are gone.
    fn survey_rows(&self, before: &Before, rows: &mut RowsSummary) -> Result<Vec<RecordId>, Error> {
        let position = self.with_database(|database| Ok(database.position()?))?;
        let applied = View::decode(&position.applied).map_err(Error::Bookkeeping)?;
        let target = position.target.as_deref().map(View::decode).transpose().map_err(Error::Bookkeeping)?;
        let mut sides = Vec::new();
        for row in self.state.scopes()? {
            if self.follows(&row)? {
                sides.extend(Side::new(self, before, row, (&applied, target.as_ref()))?);
            }
        }
        let adopted = self.adopt_rows(&mut sides)?;
        self.tell(Event::Phase { name: "comparing the application's rows", total: None });
        let (homeless, gone) = Default::default();
        let rows_so_far = std::mem::take(rows);
        let least = self.with_database(|database| Ok(database.least_scopes()))?;
        let mut survey = Survey { instance: self, sides, before, least, adopted, rows: rows_so_far, homeless, gone };
        survey.rows.recognised += survey.adopted.len() as u64;
        let capture = self.with_database(|database| {
            Ok(database.compare(clock::now(), &mut |sighting| survey.take(sighting).map_err(through))?)
        })?;
        self.tell(Event::End);
        survey.rescue()?;
        survey.rows.compared += capture.rows;
        survey.keep(&capture, &applied, target.is_some())?;
        for (dataset, count) in &capture.heirs.kept {
            *survey.rows.in_doubt.entry(dataset.clone()).or_default() += count;
        }
        if !survey.homeless.is_empty() {
            survey.rows.kept_home.extend(survey.homeless.iter().map(ToString::to_string));
            self.with_database(|database| Ok(database.keep_home(&survey.homeless)?))?;
        }
        *rows = survey.rows;
        Ok(survey.gone)
    }

    /// Finds the rows of records that the bookkeeping has lost.
    fn adopt_rows(&self, sides: &mut [Side]) -> Result<BTreeSet<RecordId>, Error> {
        let mut tips = View::default();
        tips.commits.extend(sides.iter().filter_map(|side| Some((side.open.row.id, side.tip.as_ref()?.id))));
        let spans = self.spans(&View::default(), &tips)?;
        let datasets = self.with_database(|database| Ok(database.datasets()))?;
        let mut changes = self.changes(&spans, &datasets).map(|change| change.map_err(through));
        self.with_database(|database| Ok(database.adopt(&mut changes)?.into_iter().collect()))
    }

    /// Writes every record into its row. Returns how many rows the application had changed meanwhile.
    fn apply_all(&self, mut gone: Vec<RecordId>, summary: &mut RestoreSummary) -> Result<usize, Error> {
        let position = self.with_database(|database| Ok(database.position()?))?;
        let applied = View::decode(&position.applied).map_err(Error::Bookkeeping)?;
        let target = self.heads_view(&applied)?;
        let spans = self.spans(&applied, &target)?;
        let datasets = self.with_database(|database| Ok(database.datasets()))?;
        // Children before the parents that they refer to.
        gone.sort_by_key(|id| std::cmp::Reverse(datasets.iter().position(|dataset| *dataset == id.dataset)));
        let touches_foreign = spans.keys().any(|origin| *origin != self.id());
        self.tell(Event::Phase { name: "writing rows", total: None });
        let held = self.held_fields()?;
        let dirty = self.with_database(|database| {
            if touches_foreign {
                database.check_ready()?;
            }
            database.hold(held);
            database.begin_apply(&target.encode())?;
            let removals = gone.into_iter().map(|id| Ok(Change { id, content: None }));
            let mut changes = self.changes(&spans, &datasets).chain(removals).map(|change| change.map_err(through));
            let done = database.apply(&mut changes, &mut |rows| self.tell(Event::Done(rows)))?;
            let dirty = done.dirty.len();
            summary.applied.add(done);
            if dirty == 0 {
                database.finish_apply()?;
            }
            Ok(dirty)
        })?;
        self.tell(Event::End);
        Ok(dirty)
    }
}

impl Survey<'_> {
    fn take(&mut self, sighting: Sighting) -> Result<(), Error> {
        let Sighting { id, base, changed, seen, behind, stays, .. } = sighting;
        // Who deleted it has not seen what waits, and what stays here is nobody else's business.
        if stays.is_some() || seen == Seen::Gone && behind.is_some() {
            return Ok(());
        }
        // What was found again is as old as the backup: nobody says that it was edited since.
        let edited = changed && !self.adopted.contains(&id);
        let doubt = if edited { Doubt::Edited } else { Doubt::Untouched };
        match seen {
            Seen::Gone => self.take_gone(&id, base),
            Seen::Row { audience: Some(audience), fields } => self.take_own(&id, base, doubt, &audience, &fields),
            Seen::Row { audience: None, fields } => self.take_foreign(&id, base, doubt, &fields),
        }
    }

    /// Deletes a record whose row was deleted, unless others have changed it since.
    fn take_gone(&mut self, id: &RecordId, base: Base) -> Result<(), Error> {
        for (index, piece) in self.pieces(id) {
            let side = &self.sides[index];
            let known = side.known(base).or(side.base.as_ref());
            let at = |known| side.at(self.instance, known, &piece);
            let (newest, then) = (at(side.tip.as_ref())?, at(known)?);
            if newest.is_some() && newest == then {
                self.rows.deleted += u64::from(piece == *id);
                let side = &mut self.sides[index];
                side.edits.insert((piece.dataset.clone(), piece.key), None);
                side.deleted.push(piece);
            }
        }
        Ok(())
    }

    fn take_own(
        &mut self,
        id: &RecordId,
        base: Base,
        doubt: Doubt,
        audience: &Audience,
        fields: &BTreeMap<FieldName, Value>,
    ) -> Result<(), Error> {
        let mut holders = Vec::new();
        for (index, piece) in self.pieces(id) {
            let side = &self.sides[index];
            if side.at(self.instance, side.tip.as_ref(), &piece)?.is_some() {
                holders.push((index, piece));
            }
        }
        let meant = match doubt {
            Doubt::Edited => meant::edited(self.instance, &self.sides, (id, base), audience, &holders)?,
            _ => audience.clone(),
        };
        if meant.scope().is_none() && audience.scope().is_some() {
            self.homeless.push(id.clone());
        }
        let audience = &meant;
        let mut routed = Routed::new();
        if let Some(row) = audience.scope() {
            routed = route::own(&self.least, &id.dataset, row, fields.clone());
            for name in routed.keys() {
                self.make_room(name)?;
            }
        }
        // The record itself lies where its row is meant for, what is for fewer readers as an overlay beside it.
        let piece_in = |name: &ScopeName| if audience.scope() == Some(name) { id.clone() } else { overlay(id) };
        if doubt == Doubt::Untouched && holders.is_empty() {
            return if routed.is_empty() { Ok(()) } else { self.take_homeless(id, audience, &routed) };
        }
        if doubt == Doubt::Edited {
            for (index, piece) in &holders {
                let name = &self.sides[*index].open.row.name;
                if !routed.contains_key(name) || piece_in(name) != *piece {
                    self.sides[*index].edits.insert((piece.dataset.clone(), piece.key), None);
                }
            }
            // A private row that no scope ever had isn't taken out of any.
            if routed.is_empty() && !holders.is_empty() {
                self.rows.withdrawn.push(id.to_string());
            }
        }
        let is_in_place = audience.scope().is_some_and(|name| holders.contains(&(self.named(name), id.clone())));
        for (name, fields) in &routed {
            let (index, piece) = (self.named(name), piece_in(name));
            if holders.contains(&(index, piece.clone())) {
                self.join(&piece, index, base, doubt, fields)?;
            } else if doubt == Doubt::Edited || is_in_place && self.is_unheard(index, &piece)? {
                self.put_new(&piece, index, fields);
            }
        }
        Ok(())
    }

    /// Tells whether fields for fewer readers never were in their scope: the row got them after all that is held.
    fn is_unheard(&self, index: usize, piece: &RecordId) -> Result<bool, Error> {
        Ok(piece.dataset.is_overlay() && !self.sides[index].was_there(self.instance, piece)?)
    }

    /// Makes a record in a scope; one that holds only fields for fewer readers needs something in them.
    fn put_new(&mut self, id: &RecordId, index: usize, fields: &BTreeMap<FieldName, Value>) {
        let side = &mut self.sides[index];
        let is_home = !id.dataset.is_overlay();
        if is_home || fields.values().any(|value| *value != Value::Null) {
            side.put_whole(id, None, fields);
            self.rows.unpublished += u64::from(is_home);
        }
    }

    /// Makes a scope of ours that a row asks for and that is nowhere.
    fn make_room(&mut self, name: &ScopeName) -> Result<(), Error> {
        let own = self.instance.id();
        if self.sides.iter().any(|side| side.open.row.origin == own && side.open.row.name == *name) {
            return Ok(());
        }
        self.instance.create_scope(name)?;
        for row in self.instance.state.scopes_of(&own)?.into_iter().filter(|row| row.name == *name) {
            self.sides.extend(Side::new(self.instance, self.before, row, (&View::default(), None))?);
        }
        Ok(())
    }

    /// Takes an own row that is as it was known, and whose record no newest state has: never published, or gone.
    fn take_homeless(&mut self, id: &RecordId, audience: &Audience, routed: &Routed) -> Result<(), Error> {
        let mut was_shared = false;
        for index in self.of(id) {
            was_shared |= self.sides[index].was_there(self.instance, id)?;
        }
        if !was_shared {
            for (name, fields) in routed {
                let piece = if audience.scope() == Some(name) { id.clone() } else { overlay(id) };
                self.put_new(&piece, self.named(name), fields);
            }
        } else if meant::was_taken_out(self.instance, &self.sides, id)? {
            self.homeless.push(id.clone());
        } else {
            let named = id.to_string();
            if !self.rows.removed.contains(&named) {
                self.rows.removed.push(named);
            }
            self.gone.push(id.clone());
        }
        Ok(())
    }

    fn take_foreign(
        &mut self,
        id: &RecordId,
        base: Base,
        doubt: Doubt,
        fields: &BTreeMap<FieldName, Value>,
    ) -> Result<(), Error> {
        let all = self.of(id);
        let mut held = Vec::new();
        for index in &all {
            let side = &self.sides[*index];
            let at = |id| side.at(self.instance, side.tip.as_ref(), id);
            held.push((*index, at(id)?, at(&overlay(id))?.is_some()));
        }
        let is_held = held.iter().any(|(_, record, _)| record.is_some());
        let places = held.iter().map(|(index, record, has_fields)| {
            let holds = match record {
                Some(record) => Holds::Record(Some(record)),
                None if *has_fields => Holds::Fields,
                None => Holds::Nothing,
            };
            Place { scope: &self.sides[*index].open, holds }
        });
        let mut routed = route::foreign(&self.least, &id.dataset, places, fields.clone());
        for (index, record, has_fields) in &held {
            let Some(fields) = routed.remove(&self.sides[*index].open.row.name) else { continue };
            let piece = if record.is_some() { id.clone() } else { overlay(id) };
            if record.is_some() || *has_fields {
                self.join(&piece, *index, base, doubt, &fields)?;
            } else if is_held && (doubt == Doubt::Edited || self.is_unheard(*index, &piece)?) {
                self.put_new(&piece, *index, &fields);
            }
        }
        if is_held || all.is_empty() {
            return Ok(());
        }
        if doubt == Doubt::Edited {
            for index in all {
                let side = &self.sides[index];
                let then = side.at(self.instance, side.known(base).or(side.base.as_ref()), id)?;
                if then.is_some() {
                    // Edited here, deleted there: the record lives on.
                    self.sides[index].put_whole(id, then, fields);
                    self.rows.edits += 1;
                    return Ok(());
                }
            }
        }
        self.gone.push(id.clone());
        Ok(())
    }

    fn join(
        &mut self,
        id: &RecordId,
        index: usize,
        base: Base,
        doubt: Doubt,
        fields: &BTreeMap<FieldName, Value>,
    ) -> Result<(), Error> {
        let side = &self.sides[index];
        let known = side.known(base).cloned();
        // A row that is as it was, in step with a state that we hold, says nothing that the state doesn't.
        let record = RecordId { dataset: id.dataset.base(), ..id.clone() };
        if doubt == Doubt::Untouched && known.is_some() && !self.adopted.contains(&record) {
            return Ok(());
        }
        let Some(newest) = side.at(self.instance, side.tip.as_ref(), id)? else { return Ok(()) };
        let then = side.at(self.instance, known.as_ref().or(side.base.as_ref()), id)?;
        let mut fields = Cow::Borrowed(fields);
        if then.is_none() {
            let elsewhere = self.pieces(&record).into_iter().filter(|(other, _)| *other != index);
            let elsewhere: Vec<_> = elsewhere.map(|(other, piece)| (&self.sides[other], piece)).collect();
            fields = Cow::Owned(moved::unheard(self.instance, &elsewhere, (base, doubt), &newest, &fields)?);
        }
        let side = &mut self.sides[index];
        let Outcome { edits, conflicts } = side.join(self.instance, id, (newest, known.as_ref()), &fields, doubt)?;
        self.rows.edits += edits;
        self.rows.conflicts += conflicts;
        Ok(())
    }

    /// Takes in what only a copy of this instance has published.
    fn rescue(&mut self) -> Result<(), Error> {
        for index in 0..self.sides.len() {
            for rescued in self.instance.rescue(&self.sides[index])? {
                let side = &mut self.sides[index];
                if side.edits.contains_key(&(rescued.id.dataset.clone(), rescued.id.key)) {
                    continue;
                }
                let Some(newest) = side.at(self.instance, side.tip.as_ref(), &rescued.id)? else {
                    let whole = rescued.on_top.into_iter().chain(rescued.beside).collect();
                    side.put_whole(&rescued.id, None, &whole);
                    self.rows.rescued += 1;
                    continue;
                };
                self.rows.rescued += side.put_fields(&rescued.id, newest.clone(), &rescued.on_top);
                let edited = side.edits.get(&(rescued.id.dataset.clone(), rescued.id.key)).cloned().flatten();
                let joined = (edited.unwrap_or(newest), None);
                let outcome = side.join(self.instance, &rescued.id, joined, &rescued.beside, Doubt::Elsewhere)?;
                self.rows.rescued += outcome.edits + outcome.conflicts;
            }
        }
        Ok(())
    }

    /// Commits what the rows said, and takes the rows as known.
    fn keep(&mut self, capture: &Capture, applied: &View, is_applying: bool) -> Result<(), Error> {
        let instance = self.instance;
        let transaction = instance.state.transaction()?;
        for side in &mut self.sides {
            let mut edits = std::mem::take(&mut side.edits);
            // What is too large to travel stays as it was, as at every commit.
            edits.retain(|_, record| {
                record
                    .as_ref()
                    .is_none_or(|record| codec::encode(record, &side.open.row.origin).len() <= CAPTURED_BYTES_MAX)
            });
            if edits.is_empty() {
                continue;
            }
            let made = instance.compose_on(&side.open, side.tip.as_ref(), edits, side.stamp)?;
            for id in &side.deleted {
                instance.state.set_withdrawn(&side.open.row.id, &id.dataset, &id.key, false)?;
            }
            instance.advance(&side.open, &made)?;
        }
        instance.keep_heirs(capture)?;
        database::commit(transaction)?;
        // From nothing to the heads: every row is looked at once more when it is written.
        let ours: BTreeSet<ScopeId> = self.sides.iter().map(|side| side.open.row.id).collect();
        let mut view = View::default();
        for (scope, commit) in applied.commits.iter().filter(|(scope, _)| !ours.contains(scope)) {
            if instance.state.commit(scope, commit)?.is_some() {
                view.commits.insert(*scope, *commit);
            }
        }
        let target = if is_applying { Some(instance.heads_view(&view)?.encode()) } else { None };
        let position = Position { settled: capture.number, applied: view.encode(), target };
        instance.with_database(|database| Ok(database.settle(capture, &position)?))
    }

    /// The places that may hold a record, or an overlay of it.
    fn pieces(&self, id: &RecordId) -> Vec<(usize, RecordId)> {
        self.of(id).into_iter().flat_map(|index| [(index, id.clone()), (index, overlay(id))]).collect()
    }

    /// The scopes that may hold a record.
    fn of(&self, id: &RecordId) -> Vec<usize> {
        (0..self.sides.len()).filter(|index| self.sides[*index].open.row.origin == id.origin).collect()
    }

    /// The own scope of a name, which was made if it wasn't there.
    fn named(&self, name: &ScopeName) -> usize {
        let own = self.instance.id();
        let found = self.sides.iter().position(|side| side.open.row.origin == own && side.open.row.name == *name);
        found.expect("room was made for every scope that a row asks for")
    }
}

fn overlay(id: &RecordId) -> RecordId {
    RecordId { dataset: id.dataset.overlay(), ..id.clone() }
}
