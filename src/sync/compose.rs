//! Composing a capture commit of edits that don't come from the application's rows: mending, resolving,
//! reverting.

use std::collections::BTreeMap;

use super::error::Error;
use super::instance::Instance;
use super::scopes::OpenScope;
use crate::history::commit::{Commit, Making};
use crate::history::join::Known;
use crate::id::bytes::RecordKey;
use crate::id::name::DatasetName;
use crate::record::cell::Record;
use crate::record::codec;
use crate::record::stamp::Stamp;
use crate::sys::clock;
use crate::tree::apply::apply;

/// Whole records to put, or `None` to remove them.
pub(super) type Edits = BTreeMap<(DatasetName, RecordKey), Option<Record>>;

impl Instance {
    /// Returns the stamp of our next write in a scope.
    pub(super) fn next_stamp(&self, scope: &OpenScope) -> Result<Stamp, Error> {
        let sequence = self.scope_row(&scope.row.id)?.sequence + 1;
        let incarnation = self.card.card.incarnation;
        Ok(Stamp { author: self.id(), incarnation, sequence, time: clock::now() })
    }

    /// Stores a capture commit of `edits` on top of `base`, and our new sequence. The caller holds a
    /// transaction of the state.
    ///
    /// # Errors
    /// A tree that can't be read or written.
    pub(super) fn compose(&self, scope: &OpenScope, base: &Known, edits: Edits, stamp: Stamp) -> Result<Known, Error> {
        self.compose_on(scope, Some(base), edits, stamp)
    }

    /// Composes like `compose`, also as the first commit of a scope.
    ///
    /// # Errors
    /// As `compose`.
    pub(super) fn compose_on(
        &self,
        scope: &OpenScope,
        base: Option<&Known>,
        edits: Edits,
        stamp: Stamp,
    ) -> Result<Known, Error> {
        let mut datasets = base.map(|base| base.commit.datasets.clone()).unwrap_or_default();
        let mut by_dataset: BTreeMap<DatasetName, Vec<(Vec<u8>, Option<Vec<u8>>)>> = BTreeMap::new();
        for ((dataset, key), record) in edits {
            if scope.row.origin == self.id() {
                self.state.set_withdrawn(&scope.row.id, &dataset, &key, record.is_none())?;
            }
            let bytes = record.map(|record| codec::encode(&record, &scope.row.origin));
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
        let mut seen = base.map(|base| base.commit.clock.clone()).unwrap_or_default();
        seen.advance(stamp.author, stamp.incarnation, stamp.sequence);
        let Stamp { author, incarnation, sequence, time } = stamp;
        let making = Making::Capture { parent: base.map(|base| base.id), author, incarnation, sequence, time };
        let commit = Commit { scope: scope.row.id, clock: seen, datasets, making };
        let id = self.state.put_commit(&scope.row.id, &scope.row.id_key, &commit.encode())?;
        self.state.set_sequence(&scope.row.id, sequence)?;
        Ok(Known { id, commit })
    }
}
