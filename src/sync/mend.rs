//! What a writer does to a scope right after a merge, in the same transaction.
//!
//! A merge is a pure function of histories and knows neither what is private by now nor what makes a
//! record whole. So the origin takes out again what was withdrawn, and whoever may write writes again the
//! rest of a record that one side deleted while the other edited it. Two writers who do so at once write
//! equal values, which are no conflict.

use std::collections::BTreeMap;

use super::error::Error;
use super::instance::Instance;
use super::merge::ScopeMerge;
use super::scopes::OpenScope;
use crate::history::commit::{Commit, Making};
use crate::history::join::{Cut, Known};
use crate::id::bytes::RecordKey;
use crate::id::name::DatasetName;
use crate::merge::strategy::show;
use crate::record::cell::{Cell, Record};
use crate::record::codec;
use crate::record::recordid::RecordId;
use crate::record::stamp::Stamp;
use crate::sys::clock;
use crate::tree::apply::apply;

type Mends = BTreeMap<(DatasetName, RecordKey), Option<Record>>;

impl Instance {
    /// Returns the joined commit, or a capture commit on top of it that mends it.
    ///
    /// # Errors
    /// A tree that can't be read or written; the application's database.
    pub(super) fn mend(
        &self,
        scope: &OpenScope,
        before: &Known,
        joined: &Known,
        cut: &[Cut],
        merge: &mut ScopeMerge,
    ) -> Result<Known, Error> {
        let sequence = self.scope_row(&scope.row.id)?.sequence + 1;
        let incarnation = self.card.card.incarnation;
        let stamp = Stamp { author: self.id(), incarnation, sequence, time: clock::now() };
        let mut mends = Mends::new();
        for cut in cut {
            if let Some(record) = self.whole_again(scope, joined, cut, stamp)? {
                mends.insert((cut.dataset.clone(), cut.key), Some(record));
            }
        }
        if scope.row.origin == self.id() {
            self.withdraw_again(scope, before, joined, &mut mends)?;
        }
        if mends.is_empty() {
            return Ok(joined.clone());
        }
        merge.withdrawn_again += mends.values().filter(|mend| mend.is_none()).count() as u64;
        merge.written_again += mends.values().filter(|mend| mend.is_some()).count() as u64;
        let datasets = self.mended(scope, joined, mends)?;
        let mut seen = joined.commit.clock.clone();
        seen.advance(self.id(), incarnation, sequence);
        let making =
            Making::Capture { parent: Some(joined.id), author: self.id(), incarnation, sequence, time: stamp.time };
        let commit = Commit { scope: scope.row.id, clock: seen, datasets, making };
        let id = self.state.put_commit(&scope.row.id, &scope.row.id_key, &commit.encode())?;
        self.state.set_sequence(&scope.row.id, sequence)?;
        Ok(Known { id, commit })
    }

    /// The record with the fields that the deletion took, written again; `None` if nothing of it lives.
    fn whole_again(&self, scope: &OpenScope, joined: &Known, cut: &Cut, stamp: Stamp) -> Result<Option<Record>, Error> {
        let Some(mut record) = self.record_at(scope, joined, &cut.dataset, &cut.key)? else { return Ok(None) };
        for (field, cell) in &cut.whole.cells {
            let strategy = scope.schema.strategy(&cut.dataset, field);
            let shown = || show(cell, strategy, &scope.row.origin).value;
            record.cells.entry(field.clone()).or_insert_with(|| Cell::new(stamp, shown()));
        }
        Ok(Some(record))
    }

    /// Finds what a writer's concurrent edit would bring back into our scope although its row is meant for
    /// fewer readers now: what is private never leaves, whoever edits it.
    fn withdraw_again(
        &self,
        scope: &OpenScope,
        before: &Known,
        joined: &Known,
        mends: &mut Mends,
    ) -> Result<(), Error> {
        self.each_difference(scope, Some(&before.commit), &joined.commit, &mut |dataset, key, bytes| {
            if bytes.is_none() {
                return Ok(());
            }
            let id = RecordId { origin: self.id(), dataset: dataset.clone(), key: *key };
            let audience = self.with_database(|database| Ok(database.audience(&id)?))?;
            // A row that is gone here was deleted; a concurrent edit brings it back, which is shown.
            if audience.is_some_and(|audience| audience.scope() != Some(&scope.row.name)) {
                mends.insert((dataset.clone(), *key), None);
            }
            Ok(())
        })
    }

    fn mended(
        &self,
        scope: &OpenScope,
        joined: &Known,
        mends: Mends,
    ) -> Result<BTreeMap<DatasetName, crate::tree::root::Root>, Error> {
        let mut datasets = joined.commit.datasets.clone();
        let mut by_dataset: BTreeMap<DatasetName, Vec<(Vec<u8>, Option<Vec<u8>>)>> = BTreeMap::new();
        for ((dataset, key), mend) in mends {
            if scope.row.origin == self.id() {
                self.state.set_withdrawn(&scope.row.id, &dataset, &key, mend.is_none())?;
            }
            let bytes = mend.map(|record| codec::encode(&record, &scope.row.origin));
            by_dataset.entry(dataset).or_default().push((key.as_bytes().to_vec(), bytes));
        }
        for (dataset, edits) in by_dataset {
            let root = datasets.get(&dataset).copied().unwrap_or_default();
            let root = apply(&self.state, &scope.row.id_key, &root, edits)
                .map_err(|source| Error::Tree { scope: scope.row.name.to_string(), source })?;
            if root.count == 0 {
                datasets.remove(&dataset)
            } else {
                datasets.insert(dataset, root)
            };
        }
        Ok(datasets)
    }
}
