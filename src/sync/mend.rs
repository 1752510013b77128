//! What a writer does to a scope right after a merge, in the same transaction.
//!
//! A merge is a pure function of histories and knows neither what is private by now nor what makes a
//! record whole. So the origin takes out again what was withdrawn, and whoever may write writes again the
//! rest of a record that one side deleted while the other edited it. Two writers who do so at once write
//! equal values, which are no conflict.

use super::belongs::Belongs;
use super::commit::decode_record;
use super::compose::Edits;
use super::error::Error;
use super::instance::Instance;
use super::merge::ScopeMerge;
use super::scopes::OpenScope;
use crate::history::join::{Cut, Known};
use crate::id::bytes::RecordKey;
use crate::id::name::DatasetName;
use crate::merge::strategy::show;
use crate::record::cell::{Cell, Record};
use crate::record::recordid::RecordId;
use crate::record::stamp::Stamp;
use crate::scope::audience::Audience;

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
        let stamp = self.next_stamp(scope)?;
        let mut mends = Edits::new();
        for cut in cut {
            // Of what its origin withdrew only our own words go on: the origin keeps them, and takes the record out again.
            if !self.is_withdrawn_there(scope, &cut.dataset, &cut.key)?
                && let Some(record) = self.whole_again(scope, joined, cut, stamp)?
            {
                mends.insert((cut.dataset.clone(), cut.key), Some(record));
            }
        }
        // During a restore the rows may be older than what was published: they say nothing about it yet.
        if scope.row.origin == self.id() && !self.is_restoring() {
            self.withdraw_again(scope, before, joined, &mut mends)?;
        }
        if mends.is_empty() {
            return Ok(joined.clone());
        }
        merge.withdrawn_again += mends.values().filter(|mend| mend.is_none()).count() as u64;
        merge.written_again += mends.values().filter(|mend| mend.is_some()).count() as u64;
        self.compose(scope, joined, mends, stamp)
    }

    /// Returns the joined commit, or one on top of it where one side deleted a record that the other edited and we may not write, so that
    /// nobody else ever hears of our side: without the records that the scope's origin withdrew and that only our own edits held, and with
    /// all fields of the others, in the words of whoever wrote them.
    ///
    /// # Errors
    /// A tree that can't be read or written.
    pub(super) fn let_go(
        &self,
        scope: &OpenScope,
        joined: &Known,
        cut: &[Cut],
        merge: &mut ScopeMerge,
    ) -> Result<Known, Error> {
        let row = &scope.row;
        if cut.is_empty() || scope.manifest.may_write(&self.id()) {
            return Ok(joined.clone());
        }
        if self.state.head(&row.id, &row.origin)?.is_none() {
            return Ok(joined.clone());
        }
        let mut edits = Edits::new();
        for Cut { dataset, key, whole } in cut {
            if self.is_withdrawn_there(scope, dataset, key)? {
                edits.insert((dataset.clone(), *key), None);
                merge.withdrawn_again += 1;
            } else if let Some(mut record) = self.record_at(scope, joined, dataset, key)? {
                for (field, cell) in &whole.cells {
                    record.cells.entry(field.clone()).or_insert_with(|| cell.clone());
                }
                edits.insert((dataset.clone(), *key), Some(record));
                merge.written_again += 1;
            }
        }
        if edits.is_empty() {
            return Ok(joined.clone());
        }
        self.compose(scope, joined, edits, self.next_stamp(scope)?)
    }

    /// Tells whether the origin of another's scope took a record out of it, for fewer readers.
    pub(super) fn is_withdrawn_there(
        &self,
        scope: &OpenScope,
        dataset: &DatasetName,
        key: &RecordKey,
    ) -> Result<bool, Error> {
        let row = &scope.row;
        if row.origin == self.id() || !self.state.is_withdrawn(&row.id, dataset, key)? {
            return Ok(false);
        }
        let Some(origin) = self.state.head(&row.id, &row.origin)? else { return Ok(false) };
        let origin = self.state.known_commit(&row.id, &origin.commit)?;
        Ok(self.record_at(scope, &origin, dataset, key)?.is_none())
    }

    /// Tells whether another's scope holds nothing of a record but what writers wrote into it before they heard that its origin took it out:
    /// until that takes it out again, the record is where the origin put it.
    pub(super) fn is_left_over(&self, scope: &OpenScope, id: &RecordId, record: &Record) -> Result<bool, Error> {
        let row = &scope.row;
        let is_by_others = || record.elements().all(|(_, element)| element.stamp.author != row.origin);
        Ok(row.origin != self.id() && is_by_others() && self.state.is_withdrawn(&row.id, &id.dataset, &id.key)?)
    }

    /// The record with the fields that the deletion took, written again; `None` if nothing of it lives.
    fn whole_again(&self, scope: &OpenScope, joined: &Known, cut: &Cut, stamp: Stamp) -> Result<Option<Record>, Error> {
        let Some(mut record) = self.record_at(scope, joined, &cut.dataset, &cut.key)? else { return Ok(None) };
        for (field, cell) in &cut.whole.cells {
            let strategy = scope.schema.strategy(&cut.dataset, field);
            let again = || Cell::again(stamp, show(cell, strategy, &scope.row.origin).value, strategy);
            record.cells.entry(field.clone()).or_insert_with(again);
        }
        Ok(Some(record))
    }

    /// Finds what a writer's concurrent edit would bring back into our scope although its row, or the field, is meant for
    /// fewer readers now: what is private never leaves, whoever edits it.
    fn withdraw_again(
        &self,
        scope: &OpenScope,
        before: &Known,
        joined: &Known,
        mends: &mut Edits,
    ) -> Result<(), Error> {
        if before.commit.datasets == joined.commit.datasets {
            return Ok(());
        }
        let mapping = self.mapping()?;
        let (least, mapped) = self.with_database(|database| Ok((database.least_scopes(), database.datasets())))?;
        let belongs = Belongs { mapping: &mapping, least: &least, mapped: &mapped };
        // Few at a time: the records are in memory, and the database is asked for all of them at once.
        let mut several = Vec::new();
        let mut look = |several: &mut Vec<(RecordId, DatasetName, Vec<u8>)>| -> Result<(), Error> {
            if several.is_empty() {
                return Ok(());
            }
            let ids: Vec<RecordId> = several.iter().map(|(id, ..)| id.clone()).collect();
            let audiences = self.with_database(|database| Ok(database.audiences(&ids)?))?;
            for ((id, tree, bytes), audience) in several.drain(..).zip(audiences) {
                let row = audience.as_ref().map(Audience::scope);
                let is_for_it = match row {
                    Some(row) => row.is_some_and(|row| belongs.piece(&tree, row, &scope.row.name)),
                    // A row that is gone here was deleted; a concurrent edit brings it back, which is shown. But where it had left the
                    // scope before, nobody wanted it there any more.
                    None => !self.state.is_withdrawn(&scope.row.id, &tree, &id.key)?,
                };
                let may_stay = belongs.dataset(&id.dataset) && is_for_it;
                if may_stay && !belongs.narrows(&id.dataset) {
                    continue;
                }
                let place = (tree.clone(), id.key);
                let joined = decode_record(&bytes, &scope.row.origin, &tree, &id.key)?;
                let mut rest = mends.get(&place).cloned().flatten().unwrap_or_else(|| joined.clone());
                let late = if may_stay {
                    let taken = belongs.take_out(&tree, row.flatten(), &scope.row.name, &mut rest);
                    if taken.cells.is_empty() {
                        continue;
                    }
                    taken
                } else {
                    rest.cells.clear();
                    joined
                };
                mends.insert(place, (!rest.cells.is_empty()).then_some(rest));
                // What the writer wrote is not lost: its owner decides what becomes of it.
                self.keep_late(scope, before, &tree, &id.key, &late)?;
                // The writer's head carries it.
                self.state.mark_refold(&scope.row.id)?;
            }
            Ok(())
        };
        self.each_difference(scope, Some(&before.commit), &joined.commit, &mut |dataset, key, bytes| {
            let Some(bytes) = bytes else { return Ok(()) };
            let id = RecordId { origin: self.id(), dataset: dataset.base(), key: *key };
            several.push((id, dataset.clone(), bytes.to_vec()));
            if several.len() < SEVERAL { Ok(()) } else { look(&mut several) }
        })?;
        look(&mut several)
    }
}

/// How many records are asked for at once.
const SEVERAL: usize = 200;
