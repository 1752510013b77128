//! Unseen: fields for fewer readers of a record that we deleted without having seen them.
//!
//! They lie in another scope than the record, and came after it, or were merged and not shown yet: who deletes a record deletes in every
//! scope what its row has shown, so what lives on there was not seen. So it is as with an edit against a deletion: the record comes
//! back with them. Once the origin of a record has merged our deletion this isn't asked any more: the origin has judged, and
//! deletes what is left or writes the record again.

use std::collections::{BTreeSet, VecDeque};

use super::error::Error;
use super::instance::Instance;
use super::pieces::{Side, Sign, Signs, note};
use crate::history::commit::Making;
use crate::history::join::Known;
use crate::id::bytes::RecordKey;
use crate::id::name::DatasetName;

/// They speak for whoever wrote them.
const LIVES: Sign = Sign { lives: true, counts: true };

impl Instance {
    /// Notes the records that a capture of ours has just deleted, and of which other scopes have fields that the row didn't show.
    ///
    /// # Errors
    /// A tree that can't be read.
    pub(super) fn unshown_signs(
        &self,
        sides: &[Side],
        overlaid: &BTreeSet<DatasetName>,
        signs: &mut Signs,
    ) -> Result<(), Error> {
        for side in sides {
            let Some((before, after)) = &side.captured else { continue };
            for dataset in overlaid {
                let overlay = dataset.overlay();
                self.each_removed(side, dataset, before, after, &mut |key| {
                    if self.is_here(sides, &overlay, key)? && !self.is_here(sides, dataset, key)? {
                        note(signs, (dataset.clone(), *key), LIVES);
                    }
                    Ok(())
                })?;
            }
        }
        Ok(())
    }

    /// Notes the records of another's that we deleted before this merge brought fields of them.
    ///
    /// # Errors
    /// A tree that can't be read.
    pub(super) fn unseen_signs(
        &self,
        sides: &[Side],
        overlaid: &BTreeSet<DatasetName>,
        signs: &mut Signs,
    ) -> Result<(), Error> {
        // Who held nothing of the origin has deleted nothing of it.
        if sides.iter().all(|side| side.is_first) {
            return Ok(());
        }
        for dataset in overlaid {
            let came = self.lone_fields(sides, dataset)?;
            if came.is_empty() {
                continue;
            }
            for side in sides {
                self.each_deletion(side, dataset, &mut |key| {
                    if came.contains(key) {
                        note(signs, (dataset.clone(), *key), LIVES);
                    }
                    Ok(())
                })?;
            }
        }
        Ok(())
    }

    /// Returns the records of which this merge brought fields, and that are in no scope themselves.
    fn lone_fields(&self, sides: &[Side], dataset: &DatasetName) -> Result<BTreeSet<RecordKey>, Error> {
        let (overlay, mut came) = (dataset.overlay(), BTreeSet::new());
        for side in sides.iter().filter(|side| side.is_first || side.before.is_some()) {
            let before = side.before.as_ref().map(|known| &known.commit);
            if let Some(before) = before
                && !self.holds_trees(before)?
            {
                continue;
            }
            self.each_change_of(&side.scope, &overlay, before, &side.head.commit, &mut |key, difference| {
                if difference.left.is_none() && !self.is_here(sides, dataset, key)? {
                    came.insert(*key);
                }
                Ok(())
            })?;
        }
        Ok(came)
    }

    /// Calls `work` with each record that a capture of ours removed which the scope's origin hasn't merged yet.
    fn each_deletion(
        &self,
        side: &Side,
        dataset: &DatasetName,
        work: &mut dyn FnMut(&RecordKey) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let row = &side.scope.row;
        let origin = self.state.head(&row.id, &row.origin)?;
        let origin = origin.map(|head| self.state.known_commit(&row.id, &head.commit)).transpose()?;
        let (mut queue, mut seen) = (VecDeque::from([side.head.id]), BTreeSet::new());
        while let Some(id) = queue.pop_front() {
            let known = if seen.insert(id) { self.state.commit(&row.id, &id)? } else { None };
            let Some(known) = known else { continue };
            match &known.commit.making {
                Making::Merge(dots) => queue.extend(dots.iter().map(|dot| dot.id)),
                Making::Capture { parent: Some(parent), author, incarnation, sequence, .. } => {
                    let has_merged = |origin: &Known| origin.commit.clock.seen(author, *incarnation) >= *sequence;
                    if origin.as_ref().is_some_and(has_merged) {
                        continue;
                    }
                    queue.push_back(*parent);
                    let before = if *author == self.id() { self.state.commit(&row.id, parent)? } else { None };
                    if let Some(before) = before {
                        self.each_removed(side, dataset, &before, &known, work)?;
                    }
                }
                Making::Capture { parent: None, .. } => {}
            }
        }
        Ok(())
    }

    /// Calls `work` with each record that one commit of a scope has and a later one hasn't, where both are held.
    fn each_removed(
        &self,
        side: &Side,
        dataset: &DatasetName,
        before: &Known,
        after: &Known,
        work: &mut dyn FnMut(&RecordKey) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if !self.holds_trees(&before.commit)? || !self.holds_trees(&after.commit)? {
            return Ok(());
        }
        let (before, after) = (Some(&before.commit), &after.commit);
        self.each_change_of(&side.scope, dataset, before, after, &mut |key, difference| match &difference.right {
            Some(_) => Ok(()),
            None => work(key),
        })
    }
}
