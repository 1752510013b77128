//! Which records changed between commits, and their final content: what goes into a changeset.

use std::collections::{BTreeMap, BTreeSet};

use super::entry::{Body, Entry};
use crate::history::commit::Commit;
use crate::id::bytes::RecordKey;
use crate::id::name::DatasetName;
use crate::tree::diff::diff;
use crate::tree::error::TreeError;
use crate::tree::get::get;
use crate::tree::key::IdKey;
use crate::tree::scan::scan;
use crate::tree::store::NodeStore;

/// Touched records by dataset, with what was read of them on the way.
#[derive(Debug, Default)]
pub struct Touched {
    records: BTreeMap<DatasetName, BTreeMap<RecordKey, Content>>,
    held_bytes: usize,
}

/// What a touched record is at the tip.
#[derive(Debug)]
enum Content {
    /// To be looked up there.
    Unread,
    Put(Vec<u8>),
    Gone,
}

/// Where a step leads that is looked at for touched records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// To the tip: what records are there is what they are.
    Last,
    /// To a commit before the tip.
    Earlier,
}

/// The most bytes of records that are kept on the way; what is beyond is looked up again.
const HELD_BYTES_MAX: usize = 16 << 20;

impl Touched {
    /// Iterates over the datasets with touched records.
    pub fn datasets(&self) -> impl Iterator<Item = &DatasetName> {
        self.records.keys()
    }

    /// Returns how many records were touched.
    pub fn count(&self) -> usize {
        self.records.values().map(BTreeMap::len).sum()
    }

    fn note(&mut self, dataset: &DatasetName, record: RecordKey, step: Step, at_tip: Option<Vec<u8>>) {
        let bytes = at_tip.as_ref().map_or(0, Vec::len);
        let content = match at_tip {
            _ if step == Step::Earlier || self.held_bytes + bytes > HELD_BYTES_MAX => Content::Unread,
            Some(bytes) => Content::Put(bytes),
            None => Content::Gone,
        };
        if !self.records.contains_key(dataset) {
            self.records.insert(dataset.clone(), BTreeMap::new());
        }
        let known = self.records.get_mut(dataset).expect("it was just put there");
        let known = known.entry(record).or_insert(Content::Unread);
        if matches!(known, Content::Unread) && !matches!(content, Content::Unread) {
            self.held_bytes += bytes;
            *known = content;
        }
    }
}

/// Why the touched records couldn't be found.
#[derive(Debug, thiserror::Error)]
pub enum Error<E> {
    /// A tree can't be read.
    #[error("cannot read the tree of dataset {dataset}")]
    Tree {
        /// The dataset.
        dataset: DatasetName,
        /// Why.
        source: TreeError,
    },
    /// A key in a tree has another length than a record key.
    #[error("dataset {dataset} has a key that is no record key")]
    Key {
        /// The dataset.
        dataset: DatasetName,
    },
    /// The sink's own error.
    #[error("cannot write the changeset")]
    Sink(#[source] E),
}

/// Adds the records in which two commits differ. Cost: O(differences · log records); memory: what is read of the tip, up
/// to 16 MiB.
///
/// # Errors
/// A tree that can't be read.
pub fn add_differences<E>(
    store: &impl NodeStore,
    key: &IdKey,
    (from, to, step): (&Commit, &Commit, Step),
    touched: &mut Touched,
) -> Result<(), Error<E>> {
    let names: BTreeSet<&DatasetName> = from.datasets.keys().chain(to.datasets.keys()).collect();
    for name in names {
        for difference in diff(store, key, &from.root(name), &to.root(name)) {
            let difference = difference.map_err(|source| Error::Tree { dataset: name.clone(), source })?;
            let record = record_key(name, &difference.key)?;
            touched.note(name, record, step, difference.right);
        }
    }
    Ok(())
}

/// Gives the final content of each touched record in the order of a changeset. `withdrawn` says which
/// of the records that are gone were withdrawn, not deleted.
///
/// # Errors
/// A tree that can't be read, or the sink's error.
pub fn entries_of<E>(
    store: &impl NodeStore,
    key: &IdKey,
    tip: &Commit,
    touched: &Touched,
    withdrawn: &BTreeMap<DatasetName, BTreeSet<RecordKey>>,
    sink: &mut dyn FnMut(Entry<&[u8]>) -> Result<(), E>,
) -> Result<(), Error<E>> {
    for (dataset, records) in &touched.records {
        let root = tip.root(dataset);
        for (record, content) in records {
            let looked_up = match content {
                Content::Unread => get(store, key, &root, record.as_bytes())
                    .map_err(|source| Error::Tree { dataset: dataset.clone(), source })?,
                Content::Put(_) | Content::Gone => None,
            };
            let known = if let Content::Put(bytes) = content { Some(bytes) } else { looked_up.as_ref() };
            let body = match known {
                Some(bytes) => Body::Put(&bytes[..]),
                None if withdrawn.get(dataset).is_some_and(|records| records.contains(record)) => Body::Withdrawn,
                None => Body::Deleted,
            };
            give(sink, dataset, *record, body)?;
        }
    }
    Ok(())
}

/// Gives every record of a commit, and what was `withdrawn` and isn't in it, in the order of a changeset: a snapshot. Who comes by it
/// has to know what was withdrawn from what was deleted.
///
/// # Errors
/// A tree that can't be read, or the sink's error.
pub fn snapshot<E>(
    store: &impl NodeStore,
    key: &IdKey,
    tip: &Commit,
    withdrawn: &BTreeMap<DatasetName, BTreeSet<RecordKey>>,
    sink: &mut dyn FnMut(Entry<&[u8]>) -> Result<(), E>,
) -> Result<(), Error<E>> {
    let names: BTreeSet<&DatasetName> = tip.datasets.keys().chain(withdrawn.keys()).collect();
    for dataset in names {
        let mut gone = withdrawn.get(dataset).into_iter().flatten().copied().peekable();
        for found in scan(store, key, &tip.root(dataset), ..) {
            let (record, bytes) = found.map_err(|source| Error::Tree { dataset: dataset.clone(), source })?;
            let record = record_key(dataset, &record)?;
            while let Some(before) = gone.next_if(|key| *key < record) {
                give(sink, dataset, before, Body::Withdrawn)?;
            }
            // It is back.
            gone.next_if_eq(&record);
            give(sink, dataset, record, Body::Put(&bytes[..]))?;
        }
        gone.try_for_each(|key| give(sink, dataset, key, Body::Withdrawn))?;
    }
    Ok(())
}

fn give<E>(
    sink: &mut dyn FnMut(Entry<&[u8]>) -> Result<(), E>,
    dataset: &DatasetName,
    key: RecordKey,
    body: Body<&[u8]>,
) -> Result<(), Error<E>> {
    sink(Entry { dataset: dataset.clone(), key, body }).map_err(Error::Sink)
}

fn record_key<E>(dataset: &DatasetName, key: &[u8]) -> Result<RecordKey, Error<E>> {
    RecordKey::from_slice(key).ok_or_else(|| Error::Key { dataset: dataset.clone() })
}
