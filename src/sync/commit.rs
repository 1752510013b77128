//! Commit: what the application changed becomes a capture commit in each scope concerned.

use std::collections::BTreeMap;

use super::collect::{Collector, Working};
use super::edits::{Edit, Edited, Edits};
use super::error::{Error, through};
use super::held::HeldRows;
use super::instance::Instance;
use super::merge::Trace;
use super::progress::Event;
use super::scopes::OpenScope;
use super::settle::SETTLED_KEY;
use super::status::{PRIVATE_KEY, TOO_LARGE_KEY};
use super::view::View;
use crate::connector::contract::{Base, Capture, Connector, Position, Sighting, SinkError};
use crate::connector::error as connector;
use crate::history::commit::{Commit, Making};
use crate::history::join::Known;
use crate::id::bytes::{InstanceId, RecordKey};
use crate::id::name::DatasetName;
use crate::record::cell::Record;
use crate::record::clock::Clock;
use crate::record::codec;
use crate::scope::audience::Reason;
use crate::state::database;
use crate::state::pending::PendingSettle;
use crate::sys::clock::UnixMillis;
use crate::tree::apply::{Failed, try_apply};

/// What a commit did.
#[derive(Debug, Default, serde::Serialize)]
pub struct CommitSummary {
    /// The scopes that got a commit, by label.
    pub scopes: BTreeMap<String, ScopeCommit>,
    /// Rows read from the application's database.
    pub rows: u64,
    /// Own rows that stay home, by dataset and reason.
    pub private: BTreeMap<String, u64>,
    /// Records too large to travel, with their bytes: what is shared of them stays as it was.
    pub too_large: BTreeMap<String, u64>,
    /// New rows that stay home because they may be rows that were marked, by dataset.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub kept_home: BTreeMap<DatasetName, u64>,
    /// Own records of datasets that the mapping doesn't have any more, by dataset: they are withdrawn.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub unmapped: BTreeMap<DatasetName, u64>,
    /// Tables that were read as a whole although captures are by triggers: theirs don't stand as they should.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unwatched: Vec<String>,
}

/// A new commit of one scope.
#[derive(Debug, Clone, serde::Serialize)]
pub struct ScopeCommit {
    /// The commit.
    pub commit: crate::id::bytes::CommitId,
    /// Records written.
    pub put: u64,
    /// Records deleted or withdrawn.
    pub removed: u64,
}

/// Whether to keep what was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Commit it.
    Keep,
    /// Only say what would be committed.
    DryRun,
}

/// After how many rows whoever watches is told.
const TELL_EVERY: u64 = 64;

impl Instance {
    /// Captures the application's changes and commits them.
    ///
    /// Scopes whose rows did not change get no commit. A crash at any point loses nothing: rows that
    /// were reported and not settled are reported again.
    ///
    /// # Errors
    /// The database or the state can't be read or written; `OldDatabase`.
    pub fn commit(&self, mode: Mode) -> Result<CommitSummary, Error> {
        if mode == Mode::DryRun {
            let (working, mut summary) = self.uncommitted()?;
            for working in working {
                working.describe(self, &mut summary)?;
            }
            return Ok(summary);
        }
        self.settle_pending()?;
        let position = self.with_database(|database| Ok(database.position()?))?;
        self.check_is_newest(&position)?;
        self.end_saying()?;
        let views = views_of(&position)?;
        let (collector, capture) = self.collect(&views, |database, now, sink| database.capture(now, sink))?;
        let mut summary = summarize(&capture);
        let Collector { scopes, now, too_large, unmapped, held, .. } = collector;
        (summary.too_large, summary.unmapped) = (too_large, unmapped);
        self.keep((scopes, &held), now, views, &capture, &mut summary)?;
        Ok(summary)
    }

    /// Finds what a commit would take, and writes nothing anywhere.
    ///
    /// # Errors
    /// The database or the state can't be read.
    pub(super) fn uncommitted(&self) -> Result<(Vec<Working>, CommitSummary), Error> {
        let position = match self.state.pending()? {
            // These commits were made; a crash kept them from the application's database.
            Some(pending) => Position { settled: pending.number, applied: pending.applied, target: pending.target },
            None => self.with_database(|database| Ok(database.position()?))?,
        };
        let views = views_of(&position)?;
        let (collector, capture) = self.collect(&views, |database, now, sink| database.peek(now, sink))?;
        let Collector { scopes, too_large, unmapped, .. } = collector;
        Ok((scopes, CommitSummary { too_large, unmapped, ..summarize(&capture) }))
    }

    /// Reads the application's rows in one of the two ways, and collects the edits against the views that they show.
    fn collect(
        &self,
        (applied, target): &(View, Option<View>),
        read: impl FnOnce(
            &mut dyn Connector,
            UnixMillis,
            &mut dyn FnMut(Sighting) -> Result<(), SinkError>,
        ) -> Result<Capture, connector::Error>,
    ) -> Result<(Collector<'_>, Capture), Error> {
        self.tell(Event::Phase { name: "reading the application's rows", total: None });
        let mut collector = Collector::new(self, applied, target.as_ref())?;
        let capture = self.with_database(|database| {
            let now = collector.now;
            let mut seen = 0;
            Ok(read(database, now, &mut |sighting| {
                seen += 1;
                if seen % TELL_EVERY == 0 {
                    self.tell(Event::Done(seen));
                }
                collector.take(sighting).map_err(through)
            })?)
        })?;
        self.tell(Event::End);
        collector.withdraw_unmapped()?;
        Ok((collector, capture))
    }

    fn keep(
        &self,
        (scopes, held): (Vec<Working>, &HeldRows),
        now: UnixMillis,
        views: (View, Option<View>),
        capture: &Capture,
        summary: &mut CommitSummary,
    ) -> Result<(), Error> {
        let (mut applied, mut target) = views;
        let transaction = self.state.transaction()?;
        self.refresh_schemas()?;
        // Nothing was written down in the application's database either, so nothing is to be settled.
        let idle = capture.reported == 0;
        let mut traces: BTreeMap<InstanceId, Vec<Trace>> = BTreeMap::new();
        for working in scopes {
            let trace = self.keep_scope(working, now, &mut applied, target.as_mut(), summary)?;
            trace.into_iter().for_each(|(origin, trace)| traces.entry(origin).or_default().push(trace));
        }
        traces.iter().try_for_each(|(origin, traces)| self.keep_pieces_together(origin, traces).map(drop))?;
        self.found_scopes(now)?;
        self.keep_held(held)?;
        self.keep_heirs(capture)?;
        let (applied, target) = (applied.encode(), target.map(|view| view.encode()));
        let position = Position { settled: capture.number, applied: applied.clone(), target: target.clone() };
        let json = |counts| serde_json::to_string(counts).expect("words and counts");
        for (key, counts) in [(PRIVATE_KEY, &summary.private), (TOO_LARGE_KEY, &summary.too_large)] {
            // A part of the rows says nothing of all.
            if (!capture.is_part || key != PRIVATE_KEY) && self.counts(key)? != *counts {
                self.state.set_meta(key, &json(counts))?;
            }
        }
        if idle {
            return Ok(database::commit(transaction)?);
        }
        self.state.put_pending(&PendingSettle { number: capture.number, applied, target })?;
        self.state.set_meta(SETTLED_KEY, &capture.number.to_string())?;
        self.note_schema()?;
        database::commit(transaction)?;
        self.with_database(|database| Ok(database.settle(capture, &position)?))?;
        Ok(self.state.clear_pending()?)
    }

    /// Gives scopes of ours that others may write in, and that have no record yet, a first commit: a writer's head
    /// builds on one of the origin's.
    fn found_scopes(&self, now: UnixMillis) -> Result<(), Error> {
        for scope in self.open_scopes_of(&self.id())? {
            if scope.row.local_head.is_none() && !scope.manifest.writers.is_empty() {
                let sequence = scope.row.sequence + 1;
                let made = self.make_commit(&scope, None, Edits::default(), sequence, now)?.known;
                self.state.set_sequence(&scope.row.id, sequence)?;
                self.advance(&scope, &made)?;
            }
        }
        Ok(())
    }

    fn keep_scope(
        &self,
        working: Working,
        now: UnixMillis,
        applied: &mut View,
        target: Option<&mut View>,
        summary: &mut CommitSummary,
    ) -> Result<Option<(InstanceId, Trace)>, Error> {
        let is_on_target = working.target.is_some() && !working.is_behind && working.is_on_parent(Base::Target);
        let is_on_applied = working.target.is_none() && !working.is_behind && working.is_on_parent(Base::Applied);
        let Working { open, applied: shown, parent, on_applied, on_target, late, is_new, .. } = working;
        if on_applied.is_empty() && on_target.is_empty() {
            return Ok(None);
        }
        if is_new {
            self.state.put_manifest(&open.row)?;
        }
        let label = open.label(self)?;
        let row = &open.row;
        let (mut sequence, mut newest, mut removed) = (row.sequence, parent.clone(), 0);
        for edits in [on_applied, on_target] {
            if let Some(made) = self.commit_edits(&open, newest.as_ref(), edits, sequence + 1, now)? {
                summary.add(&label, &made);
                removed += made.counts.removed;
                sequence += 1;
                newest = Some(made.known);
            }
        }
        let newest = newest.expect("there are edits, so there is a commit");
        // Rows that show neither get their merge by the next apply.
        if is_on_applied {
            applied.commits.insert(row.id, newest.id);
        } else if let (Some(view), true) = (target, is_on_target) {
            view.commits.insert(row.id, newest.id);
        }
        if let Some(before) = shown.filter(|_| !late.is_empty()) {
            for (dataset, key, record) in &late {
                self.keep_late(&open, &before, dataset, key, record)?;
            }
            self.state.mark_refold(&row.id)?;
        }
        self.state.set_sequence(&row.id, sequence)?;
        let captured = parent.filter(|_| removed > 0).map(|parent| (parent, newest.clone()));
        Ok(Some((row.origin, Trace { captured, ..self.advance(&open, &newest)? })))
    }

    fn commit_edits(
        &self,
        scope: &OpenScope,
        base: Option<&Known>,
        edits: Edits,
        sequence: u64,
        now: UnixMillis,
    ) -> Result<Option<Made>, Error> {
        if edits.is_empty() {
            return Ok(None);
        }
        self.make_commit(scope, base, edits, sequence, now).map(Some)
    }

    fn make_commit(
        &self,
        scope: &OpenScope,
        base: Option<&Known>,
        edits: Edits,
        sequence: u64,
        now: UnixMillis,
    ) -> Result<Made, Error> {
        let mut datasets = base.map_or_else(Default::default, |known| known.commit.datasets.clone());
        let mut counts = Counts::default();
        // Most scopes never had a withdrawal, and a first commit has as many edits as there are rows.
        let had_withdrawals = self.state.has_withdrawn(&scope.row.id)?;
        let mut edits = self.sorted(edits)?.peekable();
        while let Some(next) = edits.peek() {
            let dataset = match next {
                Ok(next) => next.dataset.clone(),
                Err(_) => return Err(edits.next().and_then(Result::err).expect("an error was seen just above")),
            };
            let of_dataset = std::iter::from_fn(|| {
                let edited = edits.next_if(|next| next.as_ref().is_ok_and(|next| next.dataset == dataset))?;
                Some(edited.and_then(|edited| self.note_edit(scope, edited, had_withdrawals, &mut counts)))
            });
            let root = datasets.get(&dataset).copied().unwrap_or_default();
            let edits_of_dataset = of_dataset.map(|edit| edit.map_err(Failed::Edit));
            let root =
                try_apply(&self.state, &scope.row.id_key, &root, edits_of_dataset).map_err(|failed| match failed {
                    Failed::Tree(source) => Error::Tree { scope: scope.row.name.to_string(), source },
                    Failed::Edit(error) => error,
                })?;
            if root.count == 0 {
                datasets.remove(&dataset)
            } else {
                datasets.insert(dataset, root)
            };
        }
        let mut clock = base.map_or_else(Clock::default, |known| known.commit.clock.clone());
        let incarnation = self.card.card.incarnation;
        clock.advance(self.id(), incarnation, sequence);
        let making =
            Making::Capture { parent: base.map(|known| known.id), author: self.id(), incarnation, sequence, time: now };
        let commit = Commit { scope: scope.row.id, clock, datasets, making };
        let id = self.state.put_commit(&scope.row.id, &scope.row.id_key, &commit.encode())?;
        Ok(Made { known: Known { id, commit }, counts })
    }

    /// Notes what an edit withdraws, or brings back, and gives it as the tree takes it.
    fn note_edit(
        &self,
        scope: &OpenScope,
        edited: Edited,
        had_withdrawals: bool,
        counts: &mut Counts,
    ) -> Result<(Vec<u8>, Option<Vec<u8>>), Error> {
        let Edited { dataset, key, edit } = edited;
        counts.add(&edit);
        if scope.row.origin == self.id() {
            let is_withdrawn = edit == Edit::Withdrawn;
            if is_withdrawn || had_withdrawals {
                self.state.set_withdrawn(&scope.row.id, &dataset, &key, is_withdrawn)?;
            }
            if is_withdrawn || matches!(edit, Edit::Narrowed(_)) {
                self.note_withdrawal(scope, &dataset, &key)?;
            }
        }
        Ok((key.as_bytes().to_vec(), edit.into_content()))
    }

    /// Gives edits once each, by dataset and key.
    ///
    /// # Errors
    /// `Io` if those that were put aside can't be read.
    pub(super) fn sorted(&self, edits: Edits) -> Result<impl Iterator<Item = Result<Edited, Error>>, Error> {
        let dir = self.dir().to_owned();
        let failed = move |source| Error::io("read edits in", &dir)(source);
        let sorted = edits.into_sorted().map_err(&failed)?;
        Ok(sorted.map(move |edited| edited.map_err(&failed)))
    }
}

/// A commit with what it did.
struct Made {
    known: Known,
    counts: Counts,
}

/// How many records edits write and remove.
#[derive(Debug, Default)]
struct Counts {
    put: u64,
    removed: u64,
}

impl Counts {
    fn add(&mut self, edit: &Edit) {
        match edit.content() {
            Some(_) => self.put += 1,
            None => self.removed += 1,
        }
    }
}

impl Working {
    fn describe(mut self, instance: &Instance, summary: &mut CommitSummary) -> Result<(), Error> {
        let label = self.open.label(instance)?;
        let nothing = crate::id::bytes::CommitId::from_bytes([0; 32]);
        for (_, edits) in self.take_edits() {
            let mut counts = Counts::default();
            let is_empty = edits.is_empty();
            for edited in instance.sorted(edits)? {
                counts.add(&edited?.edit);
            }
            if !is_empty {
                summary.count(&label, nothing, &counts);
            }
        }
        Ok(())
    }
}

impl CommitSummary {
    /// Adds what a later commit did.
    pub(super) fn then(&mut self, later: Self) {
        for (label, made) in later.scopes {
            let entry = self.scopes.entry(label).or_insert(ScopeCommit { commit: made.commit, put: 0, removed: 0 });
            entry.commit = made.commit;
            entry.put += made.put;
            entry.removed += made.removed;
        }
        (self.rows, self.private, self.too_large) = (later.rows, later.private, later.too_large);
        self.unwatched = later.unwatched;
        for (sums, more) in [(&mut self.unmapped, later.unmapped), (&mut self.kept_home, later.kept_home)] {
            for (dataset, count) in more {
                *sums.entry(dataset).or_default() += count;
            }
        }
    }

    fn add(&mut self, label: &str, made: &Made) {
        self.count(label, made.known.id, &made.counts);
    }

    fn count(&mut self, label: &str, commit: crate::id::bytes::CommitId, counts: &Counts) {
        let entry = self.scopes.entry(label.to_owned()).or_insert(ScopeCommit { commit, put: 0, removed: 0 });
        entry.commit = commit;
        entry.put += counts.put;
        entry.removed += counts.removed;
    }
}

/// Decodes a record of the local state.
pub(super) fn decode_record(
    bytes: &[u8],
    origin: &InstanceId,
    dataset: &DatasetName,
    key: &RecordKey,
) -> Result<Record, Error> {
    codec::decode(bytes, origin).map_err(|source| Error::Record { record: format!("{dataset}/{key}"), source })
}

fn summarize(capture: &Capture) -> CommitSummary {
    CommitSummary {
        rows: capture.rows,
        private: private_counts(&capture.private),
        unwatched: capture.unwatched.clone(),
        kept_home: capture.heirs.kept.clone(),
        ..CommitSummary::default()
    }
}

/// Spells for what reasons rows of which datasets stay home.
pub(super) fn private_counts(counts: &BTreeMap<(DatasetName, Reason), u64>) -> BTreeMap<String, u64> {
    let spelled = |((dataset, reason), count): (&(DatasetName, Reason), &u64)| {
        let reason = serde_json::to_value(reason).expect("a reason is a word");
        (format!("{dataset}: {}", reason.as_str().unwrap_or_default()), *count)
    };
    counts.iter().map(spelled).collect()
}

/// Reads the views that the application's rows show, the applied one and that of an unfinished apply.
fn views_of(position: &Position) -> Result<(View, Option<View>), Error> {
    let applied = View::decode(&position.applied).map_err(Error::Bookkeeping)?;
    let target = position.target.as_deref().map(View::decode).transpose().map_err(Error::Bookkeeping)?;
    Ok((applied, target))
}
