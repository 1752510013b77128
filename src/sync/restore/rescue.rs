//! Heads of ours that are not on the line of the newest: published by a copy of this instance that ran beside it, or where no
//! restore could look. They are joined as anybody's; where both lines used one number, what only they say becomes concurrent
//! values of the newest records.

use std::collections::{BTreeMap, BTreeSet};

use super::side::Side;
use crate::history::commit::Making;
use crate::history::join::{self, Known};
use crate::id::bytes::{CommitId, ScopeId};
use crate::id::name::FieldName;
use crate::merge::strategy::show;
use crate::record::cell::{Cell, Record};
use crate::record::recordid::RecordId;
use crate::record::value::Value;
use crate::state::heads::TrackedHead;
use crate::state::scopes::ScopeRow;
use crate::sync::commit::decode_record;
use crate::sync::error::Error;
use crate::sync::instance::Instance;
use crate::sys::clock::UnixMillis;

/// What a copy wrote into one record.
pub(super) struct Rescued {
    pub(super) id: RecordId,
    /// Fields of which the copy had seen what the newest state says.
    pub(super) on_top: BTreeMap<FieldName, Value>,
    /// Fields that both may have written.
    pub(super) beside: BTreeMap<FieldName, Value>,
}

/// Our captures, by incarnation and number.
type Captures = BTreeMap<(u32, u64), CommitId>;

/// When each of our writes was made, by incarnation and number.
type Times = BTreeMap<(u32, u64), UnixMillis>;

impl Instance {
    /// Notes a commit of ours that may be on another line than our newest.
    ///
    /// # Errors
    /// `State`.
    pub(in crate::sync) fn note_rescued(&self, scope: &ScopeId, commit: &CommitId) -> Result<(), Error> {
        let mut all = self.rescued(scope)?;
        if all.insert(*commit) {
            let text: Vec<String> = all.iter().map(ToString::to_string).collect();
            self.state.set_meta(&key(scope), &text.join(" "))?;
        }
        Ok(())
    }

    /// Returns the commits noted for a scope.
    pub(super) fn rescued(&self, scope: &ScopeId) -> Result<BTreeSet<CommitId>, Error> {
        let text = self.state.meta(&key(scope))?.unwrap_or_default();
        Ok(text.split_whitespace().filter_map(|id| id.parse().ok()).collect())
    }

    /// Joins what we published on other lines, as far as no number of ours stands for two writes; the rest is rescued. Whoever met
    /// such a line has joined it too.
    ///
    /// # Errors
    /// As `work`, unless the lines contradict each other; the state.
    pub(in crate::sync) fn join_lines(
        &self,
        row: &ScopeRow,
        mut joined: Known,
        mut work: impl FnMut(&Known, &Known) -> Result<Known, Error>,
    ) -> Result<Known, Error> {
        for id in self.rescued(&row.id)? {
            let Some(line) = self.state.commit(&row.id, &id)? else { continue };
            if !self.holds_trees(&line.commit)? || !self.agree(&row.id, &joined, &line)? {
                continue;
            }
            joined = match work(&joined, &line) {
                Err(Error::Join { source: join::Error::Diverged { .. }, .. }) => joined,
                done => done?,
            };
        }
        Ok(joined)
    }

    /// Tells whether something that we published is on another line than our newest head.
    pub(super) fn has_strays(&self, scope: &ScopeId, head: Option<&TrackedHead>) -> Result<bool, Error> {
        let newest = head.map(|head| self.state.commit(scope, &head.commit)).transpose()?.flatten();
        for id in self.rescued(scope)? {
            let line = self.state.commit(scope, &id)?;
            let clocks =
                newest.as_ref().zip(line.as_ref()).map(|(newest, line)| (&newest.commit.clock, &line.commit.clock));
            if clocks.is_none_or(|(newest, line)| !newest.contains(line)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Tells whether each of our numbers that two commits contain stands for one write.
    fn agree(&self, scope: &ScopeId, one: &Known, other: &Known) -> Result<bool, Error> {
        let (ours, theirs) = (self.own_captures(scope, one)?, self.own_captures(scope, other)?);
        let own = one.commit.clock.iter().filter(|(author, ..)| *author == self.id());
        Ok(own.into_iter().all(|(author, incarnation, sequence)| {
            let common = sequence.min(other.commit.clock.seen(&author, incarnation));
            let newest =
                |line: &Captures| line.range((incarnation, 0)..=(incarnation, common)).next_back().map(|(_, id)| *id);
            common == 0 || newest(&ours).is_some() && newest(&ours) == newest(&theirs)
        }))
    }

    /// Our captures that a commit builds on, as far as we hold them.
    fn own_captures(&self, scope: &ScopeId, tip: &Known) -> Result<Captures, Error> {
        let mut captures = Captures::new();
        for id in self.ancestors(scope, tip.id)? {
            let Some(known) = self.state.commit(scope, &id)? else { continue };
            if let Making::Capture { author, incarnation, sequence, .. } = known.commit.making
                && author == self.id()
            {
                captures.insert((incarnation, sequence), id);
            }
        }
        Ok(captures)
    }

    pub(super) fn forget_rescued(&self, scope: &ScopeId) -> Result<(), Error> {
        if !self.rescued(scope)?.is_empty() {
            self.state.set_meta(&key(scope), "")?;
        }
        Ok(())
    }

    /// Finds what the noted commits say that the newest records have never heard.
    ///
    /// Our own writes form a line: where the newest state shows an older write of ours in a field, or another
    /// one under the same number, a copy of this instance made the write.
    pub(super) fn rescue(&self, side: &Side) -> Result<Vec<Rescued>, Error> {
        let mut found = Vec::new();
        let Some(tip) = &side.tip else { return Ok(found) };
        let row = &side.open.row;
        let lines = self.rescued(&row.id)?;
        if lines.is_empty() {
            return Ok(found);
        }
        let times = self.times_of(side)?;
        for id in lines {
            let Some(line) = self.state.commit(&row.id, &id)? else { continue };
            if line.id == tip.id || !self.holds_trees(&line.commit)? {
                continue;
            }
            let lineage = self.lineage(side, &line)?;
            self.each_difference(&side.open, Some(&tip.commit), &line.commit, &mut |dataset, key, bytes| {
                let Some(bytes) = bytes else { return Ok(()) };
                let theirs = decode_record(bytes, &row.origin, dataset, key)?;
                let ours = self.record_at(&side.open, tip, dataset, key)?;
                let strange = self.strange(&theirs, ours.as_ref(), tip, &times);
                if strange.is_empty() {
                    return Ok(());
                }
                let wanted = theirs.cells.iter().filter(|(field, _)| ours.is_none() || strange.contains(field));
                let schema = &side.open.schema;
                let shown = |field, cell: &Cell| show(cell, schema.strategy(dataset, field), &row.origin).value;
                let id = RecordId { origin: row.origin, dataset: dataset.clone(), key: *key };
                let mut rescued = Rescued { id, on_top: BTreeMap::new(), beside: BTreeMap::new() };
                for (field, cell) in wanted {
                    let held = ours.as_ref().and_then(|ours| ours.cells.get(field));
                    let is_on_top = match held {
                        Some(held) => self.knew(side, &lineage, &rescued.id, field, held)?,
                        None => false,
                    };
                    let fields = if is_on_top { &mut rescued.on_top } else { &mut rescued.beside };
                    fields.insert(field.clone(), shown(field, cell));
                }
                found.push(rescued);
                Ok(())
            })?;
        }
        Ok(found)
    }

    /// Finds the fields that hold a write which is not on our line.
    fn strange<'a>(
        &self,
        theirs: &'a Record,
        ours: Option<&Record>,
        tip: &Known,
        times: &Times,
    ) -> BTreeSet<&'a FieldName> {
        let mut strange = BTreeSet::new();
        for (field, element) in theirs.elements().filter(|(_, element)| element.stamp.author == self.id()) {
            let stamp = &element.stamp;
            let number = (stamp.incarnation, stamp.sequence);
            let other_time = times.get(&number).is_some_and(|time| *time != stamp.time);
            let held = ours.and_then(|ours| ours.cells.get(field)).map_or(&[][..], Cell::elements);
            let older = held.iter().any(|held| {
                let held = &held.stamp;
                held.author == self.id() && held.incarnation == number.0 && held.sequence < number.1
            });
            if other_time || older || !tip.commit.clock.covers(stamp) {
                strange.insert(field);
            }
        }
        strange
    }

    /// The states that a commit builds on, as far as we hold them.
    fn lineage(&self, side: &Side, line: &Known) -> Result<Vec<Known>, Error> {
        let mut lineage = Vec::new();
        for id in self.ancestors(&side.open.row.id, line.id)? {
            if let Some(known) = self.state.commit(&side.open.row.id, &id)?
                && self.holds_trees(&known.commit)?
            {
                lineage.push(known);
            }
        }
        Ok(lineage)
    }

    /// Tells whether a copy had seen all that a field says in the newest state.
    fn knew(
        &self,
        side: &Side,
        lineage: &[Known],
        id: &RecordId,
        field: &FieldName,
        held: &Cell,
    ) -> Result<bool, Error> {
        let mut unseen: Vec<_> = held.elements().iter().map(|element| element.stamp).collect();
        for known in lineage {
            let Some(record) = self.record_at(&side.open, known, &id.dataset, &id.key)? else { continue };
            let said = record.cells.get(field).map_or(&[][..], Cell::elements);
            unseen.retain(|stamp| said.iter().all(|element| element.stamp != *stamp));
            if unseen.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Finds when our writes in the newest state were made, as far as they still show.
    fn times_of(&self, side: &Side) -> Result<Times, Error> {
        let mut times = Times::new();
        let row = &side.open.row;
        let tip = side.tip.as_ref().expect("the caller has looked");
        self.each_difference(&side.open, None, &tip.commit, &mut |dataset, key, bytes| {
            let Some(bytes) = bytes else { return Ok(()) };
            let record = decode_record(bytes, &row.origin, dataset, key)?;
            for (_, element) in record.elements().filter(|(_, element)| element.stamp.author == self.id()) {
                let stamp = &element.stamp;
                times.insert((stamp.incarnation, stamp.sequence), stamp.time);
            }
            Ok(())
        })?;
        Ok(times)
    }
}

fn key(scope: &ScopeId) -> String {
    format!("rescued:{scope}")
}
