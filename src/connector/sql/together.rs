//! Writes the changes of many records of one dataset with a few statements for all, where each answer takes its time.
//!
//! What becomes of a record is decided by the same code as of a single one, from what was read ahead. Whatever isn't plain
//! is written alone afterwards. If the database refuses something, nothing of the run was written, and its halves are tried.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use super::ahead::Ahead;
use super::apply::{Apply, Done, Fail, Giver, Removal};
use super::key::Key;
use super::look::Override;
use super::put::stays_home;
use super::session::Held;
use super::weight::weight;
use crate::connector::contract::{Change, Content};
use crate::record::recordid::RecordId;
use crate::record::value::Value;

/// About how many bytes of changes are written together.
const RUN_BYTES: usize = 1 << 20;
/// So few are written one by one once they were refused together.
const FEW: usize = 4;

/// How many records share a savepoint at first, and after one couldn't be written.
const TOGETHER: usize = 32;
/// How many do while all can be: each time twice as many.
const TOGETHER_MAX: usize = 256;
/// How many records are written one by one after one couldn't be written: there may be more of its kind.
const ALONE: usize = 128;

/// What became of a change.
pub(super) enum Became {
    Done(Done),
    /// It has to wait, or stands behind another.
    Failed(Fail),
    /// It is written alone.
    Alone,
}

impl Apply<'_> {
    /// Takes the changes at the head of a queue that share a savepoint.
    pub(super) fn take_few(&self, queue: &mut VecDeque<Change>) -> Vec<Change> {
        let count = if self.separate > 0 { 1 } else { self.together.max(TOGETHER) };
        let (mut few, mut bytes) = (Vec::with_capacity(count.min(queue.len())), 0);
        while few.len() < count
            && bytes < RUN_BYTES
            && let Some(next) = queue.pop_front()
        {
            bytes += weight(&next);
            few.push(next);
        }
        few
    }

    /// Writes some records in one savepoint, which costs much less than one for each; if one of them can't be written,
    /// nothing of it holds, and each is queued to get its own.
    pub(super) fn several(&mut self, changes: Vec<Change>) -> Result<(), Fail> {
        self.separate = self.separate.saturating_sub(changes.len());
        if let [change] = &changes[..] {
            return self.change(change);
        }
        let (origins, kept) = (self.books.origins.len(), self.applied.kept.len());
        let written = self.whole(|apply| {
            let mut written = Vec::with_capacity(changes.len());
            for Change { id, content } in &changes {
                if let Some(dataset) = apply.plans.index(&id.dataset) {
                    let done = apply.act(dataset, id, content.as_ref())?;
                    written.push((dataset, id, done, std::mem::take(&mut apply.pending)));
                }
            }
            Ok::<_, Fail>(written)
        })?;
        let Ok(written) = written else {
            self.undo(origins);
            self.applied.kept.truncate(kept);
            (self.separate, self.together) = (ALONE, TOGETHER);
            // What one of them wakes is written before the next, which may be a later change of the same record.
            self.alone.extend(changes);
            return Ok(());
        };
        self.together = (2 * changes.len()).clamp(TOGETHER, TOGETHER_MAX);
        self.applied.unchanged += (changes.len() - written.len()) as u64;
        for (dataset, id, done, pending) in written {
            self.pending = pending;
            self.done(dataset, id, done)?;
        }
        Ok(())
    }

    /// Takes the changes at the head of a queue that can be written together: of one dataset, each of another record, none
    /// of which refers to another of them.
    pub(super) fn take_run(&self, queue: &mut VecDeque<Change>) -> Vec<Change> {
        let (mut run, mut ids, mut bytes): (Vec<Change>, HashSet<RecordId>, usize) = (Vec::new(), HashSet::new(), 0);
        while let Some(next) = queue.front() {
            let refers = |content: &Content| {
                content.fields.values().any(|value| matches!(value, Value::Ref(id) if ids.contains(id)))
            };
            let fits = run.first().is_none_or(|first| {
                run.len() < self.conn.batch_rows()
                    && bytes < RUN_BYTES
                    && first.id.dataset == next.id.dataset
                    && first.content.is_some() == next.content.is_some()
                    && !ids.contains(&next.id)
                    && !next.content.as_ref().is_some_and(refers)
            });
            if !fits {
                break;
            }
            bytes += weight(next);
            ids.insert(next.id.clone());
            run.extend(queue.pop_front());
        }
        run
    }

    /// Writes a run in its savepoint; what can't be written together is queued.
    pub(super) fn together(&mut self, mut run: Vec<Change>) -> Result<(), Fail> {
        let Some(dataset) = run.first().and_then(|first| self.plans.index(&first.id.dataset)) else {
            self.applied.unchanged += run.len() as u64;
            return Ok(());
        };
        let plan = &self.plans.list[dataset];
        let is_removal = run[0].content.is_none();
        let can_be_guarded = plan.guards.iter().all(|guard| guard.some.is_some());
        let is_plain = !is_removal || self.removal == Removal::Gone && plan.spec.same.is_empty() && can_be_guarded;
        if run.len() == 1 || !is_plain {
            self.alone.extend(run);
            return Ok(());
        }
        let origins = self.books.origins.len();
        let written = self.whole(|apply| {
            let became = match is_removal {
                true => apply.remove_run(dataset, &run)?,
                false => apply.put_run(dataset, &run)?,
            };
            apply.conn.check_deferred()?;
            apply.purge_all()?;
            Ok(became)
        })?;
        self.ahead = Ahead::default();
        match written {
            Ok(became) => self.end(dataset, run, became),
            Err(fail @ (Fail::Sql(_) | Fail::Books(_) | Fail::Source(_))) => Err(fail),
            Err(_) => {
                self.undo(origins);
                if run.len() <= FEW {
                    self.alone.extend(run);
                } else {
                    let second = run.split_off(run.len() / 2);
                    self.runs.push_front(second);
                    self.runs.push_front(run);
                }
                Ok(())
            }
        }
    }

    /// Counts what became of each, and wakes what waited: also one of the same run.
    fn end(&mut self, dataset: usize, run: Vec<Change>, became: Vec<Became>) -> Result<(), Fail> {
        self.keep_pending();
        let (mut arrived, mut awaited) = (Vec::new(), Vec::new());
        for (change, became) in run.into_iter().zip(became) {
            match became {
                Became::Done(done) => {
                    self.count(dataset, &change.id, done);
                    if self.wakes(dataset, done) {
                        awaited.push(change.id.clone());
                    }
                    arrived.push(change.id);
                }
                Became::Failed(fail) => {
                    self.not_written(dataset, &change.id, change.content.as_ref(), Giver::Engine, fail)?;
                }
                Became::Alone => self.alone.push_back(change),
            }
        }
        if self.has_waiting {
            self.retries.extend(self.books.arrived(self.conn, dataset, &arrived, &awaited)?);
        }
        Ok(())
    }

    /// Reads the rows that records have, but those that somebody holds, and what is known to show otherwise.
    pub(super) fn rows_of(&mut self, dataset: usize, ids: &[&RecordId]) -> Result<(Rows, Overrides), Fail> {
        let known = ids.iter().filter_map(|id| self.ahead.entries.get(*id)?.as_ref());
        let keys: Vec<Key> = known.map(|entry| entry.key.clone()).collect();
        if keys.is_empty() {
            return Ok((Rows::new(), Overrides::new()));
        }
        let rows: Rows = self.read_all(dataset, &keys, self.conn.row_lock_free())?.into_iter().collect();
        self.learn_parents(dataset, rows.values())?;
        let list = self.conn.list(&keys, false);
        let olds = self.books.overrides_in(self.conn, dataset, Some(&list))?;
        Ok((rows, olds))
    }

    /// Deletes the rows of records that are gone; where something refers to one, the whole is refused.
    fn remove_run(&mut self, dataset: usize, run: &[Change]) -> Result<Vec<Became>, Fail> {
        let plan = &self.plans.list[dataset];
        let ids: Vec<&RecordId> = run.iter().map(|change| &change.id).collect();
        self.learn_entries(dataset, &ids)?;
        let (rows, olds) = self.rows_of(dataset, &ids)?;
        let (mut became, mut leaving) = (Vec::with_capacity(run.len()), Vec::new());
        for id in ids {
            let entry = self.ahead.entries.get(id).cloned().flatten().filter(|entry| !stays_home(entry));
            let Some(entry) = entry else {
                became.push(Became::Done(Done::Unchanged));
                continue;
            };
            let Some(row) = rows.get(&entry.key) else {
                became.push(Became::Alone);
                continue;
            };
            let old = olds.get(&entry.key).map_or(&[][..], Vec::as_slice);
            let found = self.look_at(dataset, row, (entry.origin, entry.rule.as_deref()), old)?;
            let is_same = found.digest == entry.digest && entry.seen <= self.books.settled;
            became.push(match found.birth == entry.birth {
                false => Became::Alone,
                true if !entry.is_stub() && !is_same => Became::Failed(Fail::Dirty),
                true => {
                    self.stale(dataset, &entry.key, &found.raws.as_slice());
                    leaving.push(entry);
                    Became::Done(Done::Deleted)
                }
            });
        }
        if !leaving.is_empty() {
            let keys: Vec<Key> = leaving.iter().map(|entry| entry.key.clone()).collect();
            let list = self.conn.list(&keys, plan.key.is_integer());
            for guard in plan.guards.iter().filter_map(|guard| guard.some.as_deref()) {
                if self.conn.exists(guard, &bind![list])? {
                    return Err(Fail::park("something refers to one of them"));
                }
            }
            self.delete_all(dataset, &keys)?;
            self.books.remove_all(self.conn, dataset, &leaving)?;
            // Others may have gone with them.
            self.verified.clear();
            self.pending.written.extend(keys.into_iter().map(|key| (dataset, key)));
        }
        Ok(became)
    }

    /// Deletes cache rows that went stale.
    pub(super) fn purge_all(&mut self) -> Result<(), Fail> {
        let mut stale: BTreeMap<(usize, usize), BTreeSet<&str>> = BTreeMap::new();
        for known in self.pending.rows.iter().filter(|known| !self.purged.contains(*known)) {
            stale.entry((known.0, known.1)).or_default().insert(&known.2);
        }
        for ((dataset, index), values) in stale {
            let list: Vec<Key> = values.into_iter().map(|value| Key::Text(value.into())).collect();
            let (sql, _) = &self.plans.list[dataset].purge_rows[index];
            self.conn.execute(sql, &bind![self.conn.list(&list, false)])?;
        }
        Ok(())
    }
}

/// Rows by their keys.
pub(super) type Rows = HashMap<Key, Held>;
/// What is known to show otherwise, by key.
pub(super) type Overrides = HashMap<Key, Vec<Override>>;
