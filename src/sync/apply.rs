//! Apply: the application's rows come to show the local heads.

use std::collections::{BTreeMap, BTreeSet};

use super::admit::Gate;
use super::changes::{Span, count_new};
use super::commit::Mode;
use super::error::{Error, through};
use super::instance::Instance;
use super::progress::Event;
use super::view::View;
use crate::connector::applied::{Applied, Newcomer};
use crate::connector::contract::{Change, Connector};
use crate::id::bytes::InstanceId;
use crate::id::name::DatasetName;
use crate::record::recordid::RecordId;

/// How often rows may change under our hands before we give up.
pub(super) const ROUNDS_MAX: usize = 20;

/// What an apply did to the application's rows, by dataset.
#[derive(Debug, Default, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ApplySummary {
    /// Rows inserted, placeholders included.
    pub inserted: BTreeMap<DatasetName, u64>,
    /// Rows updated.
    pub updated: BTreeMap<DatasetName, u64>,
    /// Rows deleted.
    pub deleted: BTreeMap<DatasetName, u64>,
    /// Rows that became placeholders instead, because local rows refer to them.
    pub blanked: BTreeMap<DatasetName, u64>,
    /// Records that wait for something.
    pub parked: BTreeMap<DatasetName, u64>,
}

impl Instance {
    /// Writes into the application's rows what the local heads say.
    ///
    /// Works in many short transactions. Rows that the application changes meanwhile are captured, merged
    /// and applied again. After a crash the next apply goes on where this one stopped.
    ///
    /// # Errors
    /// The database can't be written or isn't ready; `Restless` if the application never rests.
    pub fn apply(&self, mode: Mode) -> Result<ApplySummary, Error> {
        self.settle_pending()?;
        if mode == Mode::Keep {
            self.finish_dropping()?;
        }
        let mut summary = ApplySummary::default();
        let mut retried = false;
        for _ in 0..ROUNDS_MAX {
            let position = self.with_database(|database| Ok(database.position()?))?;
            let applied = View::decode(&position.applied).map_err(Error::Bookkeeping)?;
            let heads = self.heads_view(&applied)?;
            let unfinished = position.target.is_some();
            let target = match &position.target {
                Some(bytes) => View::decode(bytes).map_err(Error::Bookkeeping)?,
                None => heads.clone(),
            };
            let newcomers = self.with_database(|database| Ok(database.newcomers()?))?;
            let brings = !newcomers.is_empty() && target != View::default();
            if !unfinished && target == applied && !brings {
                let waits = mode == Mode::Keep
                    && (!self.rows_again()?.is_empty()
                        || self.with_database(|database| {
                            Ok(database.parked(0)?.1 > 0 || !database.wants()?.is_empty())
                        })?);
                if !waits || retried {
                    return Ok(summary);
                }
                // Nothing came, but the application may have made room for what waits.
                retried = true;
            }
            if mode == Mode::DryRun {
                self.count(&applied, &heads, &mut summary)?;
                return Ok(summary);
            }
            let dirty = self.apply_once((&applied, &target), &newcomers, &mut summary)?;
            if dirty > 0 {
                // The application was quicker: take its changes in, then go on.
                self.commit(Mode::Keep)?;
            } else if target == heads {
                return Ok(summary);
            }
        }
        Err(Error::Restless)
    }

    /// Applies one target. Returns how many rows the application had changed meanwhile.
    fn apply_once(
        &self,
        (applied, target): (&View, &View),
        newcomers: &[Newcomer],
        summary: &mut ApplySummary,
    ) -> Result<usize, Error> {
        let spans = self.spans(applied, target)?;
        let (mut everything, mut with_own) = (BTreeMap::new(), BTreeMap::new());
        if !newcomers.is_empty() {
            everything = self.spans(&View::default(), target)?;
            // Our own rows were there before their records.
            everything.remove(&self.id());
            everything.extend(self.spans(applied, target)?.remove_entry(&self.id()));
            with_own = self.spans(&View::default(), target)?;
        }
        let mut datasets = self.with_database(|database| Ok(database.datasets()))?;
        let all_datasets = datasets.clone();
        let lagging = |wanted: bool| {
            let is_such =
                |dataset: &&DatasetName| newcomers.iter().any(|one| one.dataset == **dataset && one.with_own == wanted);
            all_datasets.iter().filter(is_such).cloned().collect::<Vec<_>>()
        };
        let (later, wider) = (lagging(false), lagging(true));
        datasets.retain(|dataset| !later.contains(dataset) && !wider.contains(dataset));
        let left = self.left_behind(target, &with_own, &later)?;
        let touches_foreign = spans.keys().chain(everything.keys()).any(|origin| *origin != self.id());
        let gate = self.gate(target)?;
        let is_counted = newcomers.is_empty() || *applied == View::default();
        let all = if is_counted { count_new(&spans, &all_datasets) } else { None };
        self.tell(Event::Phase { name: "writing rows", total: all });
        let held = self.held_fields()?;
        let done = self.with_database(|database| {
            if touches_foreign {
                database.check_ready()?;
            }
            database.hold(held);
            database.begin_apply(&target.encode())?;
            let changes = self.changes(&spans, &datasets).chain(self.changes(&everything, &later));
            let changes = changes.chain(self.changes(&with_own, &wider)).chain(left.into_iter().map(Ok));
            let mut changes = self.admitted(&gate, changes).map(|change| change.map_err(through));
            let mut done = database.apply(&mut changes, &mut |rows| self.tell(Event::Done(rows)))?;
            self.supply(database, target, &gate, &mut done)?;
            Ok(done)
        })?;
        self.tell(Event::End);
        let mut dirty = done.dirty.len();
        summary.add(done);
        if dirty == 0 {
            dirty += self.give_way(target)?;
        }
        if dirty == 0 {
            self.close(gate)?;
            self.with_database(|database| {
                if !newcomers.is_empty() {
                    database.caught_up(&[later, wider].concat())?;
                }
                Ok(database.finish_apply()?)
            })?;
            self.forget_again()?;
        }
        Ok(dirty)
    }

    /// Returns the deletions of rows whose records went while their datasets weren't looked after, children's first.
    fn left_behind(
        &self,
        target: &View,
        spans: &BTreeMap<InstanceId, Vec<Span>>,
        datasets: &[DatasetName],
    ) -> Result<Vec<Change>, Error> {
        let mut held: BTreeMap<InstanceId, usize> = BTreeMap::new();
        for row in self.state.scopes()?.iter().filter(|row| target.commits.contains_key(&row.id)) {
            *held.entry(row.origin).or_default() += 1;
        }
        let mut left = Vec::new();
        for dataset in datasets.iter().rev() {
            for id in self.with_database(|database| Ok(database.foreign(dataset)?))? {
                let Some(spans) = spans.get(&id.origin) else { continue };
                // Of scopes that can't be opened any more nothing is known.
                let opened = spans.iter().filter(|span| span.after.is_some()).count();
                if held.get(&id.origin) == Some(&opened) && self.content_after(spans, &id)?.is_none() {
                    left.push(Change { id, content: None });
                }
            }
        }
        Ok(left)
    }

    /// Gives the database what it wants of the target beyond what changed.
    fn supply(
        &self,
        database: &mut dyn Connector,
        target: &View,
        gate: &Gate,
        done: &mut Applied,
    ) -> Result<(), Error> {
        let (mut given, mut everything, mut again) = (BTreeSet::new(), None, self.rows_again()?);
        loop {
            let mut wanted = database.wants()?;
            wanted.append(&mut again);
            wanted.retain(|id| given.insert(id.clone()));
            if wanted.is_empty() {
                return Ok(());
            }
            let spans = match &everything {
                Some(spans) => spans,
                None => everything.insert(self.spans(&View::default(), target)?),
            };
            let content = |id: RecordId| {
                let of_origin = spans.get(&id.origin).map_or(&[][..], Vec::as_slice);
                let content = self.content_after(of_origin, &id).transpose()?;
                Some(content.map(|content| Change { id, content: Some(content) }))
            };
            let changes = self.admitted(gate, wanted.into_iter().filter_map(content));
            let more = database.apply(&mut changes.map(|change| change.map_err(through)), &mut |_| {})?;
            // A row that the application changed meanwhile is captured next, and looked at after that.
            done.add(Applied { dirty: Vec::new(), ..more });
        }
    }

    /// Returns the view of the local heads; what is no longer followed stays as it is.
    pub(super) fn heads_view(&self, applied: &View) -> Result<View, Error> {
        let mut view = applied.clone();
        for row in self.state.scopes()? {
            if let Some(head) = row.local_head
                && self.follows(&row)?
            {
                view.commits.insert(row.id, head);
            }
        }
        Ok(view)
    }

    /// Counts what an apply would touch, without asking the database what it has already.
    fn count(&self, applied: &View, target: &View, summary: &mut ApplySummary) -> Result<(), Error> {
        let spans = self.spans(applied, target)?;
        let datasets = self.with_database(|database| Ok(database.datasets()))?;
        let gate = self.gate(target)?;
        for change in self.admitted(&gate, self.changes(&spans, &datasets)) {
            let Change { id, content } = change?;
            let counts = if content.is_some() { &mut summary.updated } else { &mut summary.deleted };
            *counts.entry(id.dataset).or_default() += 1;
        }
        Ok(())
    }
}

impl ApplySummary {
    /// Tells whether no row was touched.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns how many rows were touched.
    pub fn rows(&self) -> u64 {
        [&self.inserted, &self.updated, &self.deleted, &self.blanked].into_iter().flat_map(BTreeMap::values).sum()
    }

    pub(super) fn add(&mut self, done: Applied) {
        let Applied { inserted, updated, deleted, blanked, parked, .. } = done;
        self.join(Self { inserted, updated, deleted, blanked, parked });
    }

    /// Adds what another apply did.
    pub(super) fn join(&mut self, done: Self) {
        let sides = [
            (&mut self.inserted, done.inserted),
            (&mut self.updated, done.updated),
            (&mut self.deleted, done.deleted),
            (&mut self.blanked, done.blanked),
            (&mut self.parked, done.parked),
        ];
        for (sum, counts) in sides {
            for (dataset, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
                *sum.entry(dataset).or_default() += count;
            }
        }
    }
}
