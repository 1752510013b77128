//! Orphaned words: of a writer who may write no more, or who has left and taken its head back (`leave.rs`), merged here before, and
//! never taken by the scope's origin.
//!
//! Nobody takes or finds that writer's head any more, and so nobody could check its words in ours: our next head would wait for ever,
//! with all that we wrote beside them. Our people have seen them and left them standing; so we write them again as our own, and
//! answer for them (docs/adr/0006-who-vouches.md). Several who do so at once write equal values, which are no conflict.

use std::collections::BTreeSet;

use super::commit::decode_record;
use super::compose::Edits;
use super::error::Error;
use super::instance::Instance;
use super::merge::ScopeMerge;
use super::scopes::OpenScope;
use crate::history::join::Known;
use crate::id::bytes::InstanceId;
use crate::id::name::DatasetName;
use crate::record::cell::{Cell, Element, Record};
use crate::record::schema::Strategy;
use crate::record::stamp::Stamp;
use crate::state::heads::TrackedHead;

impl Instance {
    /// Returns the joined commit, or captures on top of it with such words under our own stamps. The caller holds a
    /// transaction of the state.
    ///
    /// # Errors
    /// A tree that can't be read or written.
    pub(super) fn write_orphans_again(
        &self,
        scope: &OpenScope,
        joined: &Known,
        merge: &mut ScopeMerge,
    ) -> Result<Known, Error> {
        let row = &scope.row;
        let mut local = joined.clone();
        let mut gone: BTreeSet<InstanceId> = scope.manifest.former.iter().copied().collect();
        gone.extend(self.taken_back(scope)?);
        if gone.is_empty() || row.origin == self.id() || !scope.manifest.may_write(&self.id()) {
            return Ok(local);
        }
        let Some(origin) = self.state.head(&row.id, &row.origin)? else { return Ok(local) };
        let origin = self.state.known_commit(&row.id, &origin.commit)?.commit;
        if !self.holds_trees(&origin)? {
            return Ok(local);
        }
        let is_orphan = |stamp: &Stamp| gone.contains(&stamp.author) && !origin.clock.covers(stamp);
        let has_lines = local.commit.clock.iter().any(|(author, incarnation, sequence)| {
            gone.contains(&author) && origin.clock.seen(&author, incarnation) < sequence
        });
        if !has_lines {
            return Ok(local);
        }
        // A write of ours has one time in a record, and one value in a cell: of what a record has of several writes, each comes in
        // a write of its own.
        loop {
            let (stamp, mut edits) = (self.next_stamp(scope)?, Edits::new());
            self.each_difference(scope, Some(&origin), &local.commit, &mut |dataset, key, bytes| {
                let Some(bytes) = bytes else { return Ok(()) };
                let record = decode_record(bytes, &row.origin, dataset, key)?;
                let stamps = record.elements().map(|(_, element)| element.stamp);
                if let Some(first) = stamps.filter(is_orphan).min() {
                    let record = written_again(scope, dataset, record, stamp, &first);
                    edits.insert((dataset.clone(), *key), Some(record));
                }
                Ok(())
            })?;
            if edits.is_empty() {
                return Ok(local);
            }
            merge.written_again += edits.len() as u64;
            local = self.compose(scope, &local, edits, stamp)?;
        }
    }

    /// Notes whose heads are gone from the remote that we have them from, since the origin of the scope has made a fresh ladder. What
    /// the origin had merged by then is no orphan; who still takes part puts a newer head in the place of one that it takes back.
    ///
    /// # Errors
    /// `State`.
    pub(super) fn note_taken_back(&self, remote: &str, scope: &OpenScope, there: &[InstanceId]) -> Result<(), Error> {
        let row = &scope.row;
        for head in self.state.heads(&row.id)?.into_iter().filter(|head| head.via == remote) {
            if head.signer == row.origin || head.signer == self.id() {
                continue;
            }
            let key = gone_key(&head);
            let is_noted = self.state.meta(&key)?.is_some();
            let is_gone = !there.contains(&head.signer) && self.is_built_over(scope, Some(&head))?;
            match (is_noted, is_gone) {
                (false, true) => self.state.set_meta(&key, &head.hash.to_string())?,
                (true, false) => self.state.forget_meta(&key)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Lists the writers whose newest heads were taken back.
    fn taken_back(&self, scope: &OpenScope) -> Result<Vec<InstanceId>, Error> {
        let mut list = Vec::new();
        for head in self.state.heads(&scope.row.id)? {
            if self.state.meta(&gone_key(&head))?.is_some_and(|hash| hash == head.hash.to_string()) {
                list.push(head.signer);
            }
        }
        Ok(list)
    }
}

fn gone_key(head: &TrackedHead) -> String {
    format!("gone:{}:{}", head.scope, head.signer)
}

/// Puts a write of ours in the place of another. Its time stays: who wrote later is still the later one.
fn written_again(scope: &OpenScope, dataset: &DatasetName, mut record: Record, stamp: Stamp, orphan: &Stamp) -> Record {
    let stamp = Stamp { time: orphan.time, ..stamp };
    for (field, cell) in &mut record.cells {
        if !cell.elements().iter().any(|element| element.stamp.is_same_write(orphan)) {
            continue;
        }
        // Several who say a number again must not add it up.
        let counts = scope.schema.strategy(dataset, field) == Strategy::Counter;
        let again = |element: &Element| match element.stamp.is_same_write(orphan) {
            true => Element {
                stamp,
                value: element.value.clone(),
                over: if counts { Some(element.value.clone()) } else { element.over.clone() },
            },
            false => element.clone(),
        };
        *cell = Cell::of(cell.elements().iter().map(again).collect()).expect("a cell is never empty");
    }
    record
}
