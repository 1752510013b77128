//! Unseen: fields for fewer readers that come of a record that we have deleted.
//!
//! They lie in another scope than the record, and came after it: whoever deleted it here can't have seen them. So it is as with an edit
//! against a deletion: the record comes back with them. Once its origin has merged our deletion it is not asked here any more: the
//! origin has judged, and deletes what is left or writes the record again.

use std::collections::{BTreeSet, VecDeque};

use super::error::Error;
use super::instance::Instance;
use super::pieces::{Side, Sign, Signs, note};
use crate::history::commit::Making;
use crate::history::join::Known;
use crate::id::bytes::RecordKey;
use crate::id::name::DatasetName;

impl Instance {
    /// Notes the records that we deleted before this merge brought fields of them.
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
                        note(signs, (dataset.clone(), *key), Sign { lives: true, counts: true });
                    }
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
    fn each_deletion(&self, side: &Side, dataset: &DatasetName, work: &mut dyn FnMut(&RecordKey)) -> Result<(), Error> {
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
                    if *author != self.id() {
                        continue;
                    }
                    let Some(before) = self.state.commit(&row.id, parent)? else { continue };
                    if !self.holds_trees(&before.commit)? || !self.holds_trees(&known.commit)? {
                        continue;
                    }
                    let (before, after) = (Some(&before.commit), &known.commit);
                    self.each_change_of(&side.scope, dataset, before, after, &mut |key, difference| {
                        if difference.right.is_none() {
                            work(key);
                        }
                        Ok(())
                    })?;
                }
                Making::Capture { parent: None, .. } => {}
            }
        }
        Ok(())
    }
}
