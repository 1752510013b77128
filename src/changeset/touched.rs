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

/// Touched records by dataset.
pub type Touched = BTreeMap<DatasetName, BTreeSet<RecordKey>>;

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

/// Adds the records in which two commits differ. Cost: O(differences · log records).
///
/// # Errors
/// A tree that can't be read.
pub fn add_differences<E>(
    store: &impl NodeStore,
    key: &IdKey,
    from: &Commit,
    to: &Commit,
    touched: &mut Touched,
) -> Result<(), Error<E>> {
    let names: BTreeSet<&DatasetName> = from.datasets.keys().chain(to.datasets.keys()).collect();
    for name in names {
        for difference in diff(store, key, &from.root(name), &to.root(name)) {
            let difference = difference.map_err(|source| Error::Tree { dataset: name.clone(), source })?;
            let record = record_key(name, &difference.key)?;
            touched.entry(name.clone()).or_default().insert(record);
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
    for (dataset, records) in touched {
        let root = tip.root(dataset);
        for record in records {
            let found = get(store, key, &root, record.as_bytes())
                .map_err(|source| Error::Tree { dataset: dataset.clone(), source })?;
            let body = match &found {
                Some(bytes) => Body::Put(&bytes[..]),
                None if withdrawn.get(dataset).is_some_and(|records| records.contains(record)) => Body::Withdrawn,
                None => Body::Deleted,
            };
            sink(Entry { dataset: dataset.clone(), key: *record, body }).map_err(Error::Sink)?;
        }
    }
    Ok(())
}

/// Gives every record of a commit in the order of a changeset: a snapshot.
///
/// # Errors
/// A tree that can't be read, or the sink's error.
pub fn snapshot<E>(
    store: &impl NodeStore,
    key: &IdKey,
    tip: &Commit,
    sink: &mut dyn FnMut(Entry<&[u8]>) -> Result<(), E>,
) -> Result<(), Error<E>> {
    for (dataset, root) in &tip.datasets {
        for found in scan(store, key, root, ..) {
            let (record, bytes) = found.map_err(|source| Error::Tree { dataset: dataset.clone(), source })?;
            let record = record_key(dataset, &record)?;
            sink(Entry { dataset: dataset.clone(), key: record, body: Body::Put(&bytes[..]) }).map_err(Error::Sink)?;
        }
    }
    Ok(())
}

fn record_key<E>(dataset: &DatasetName, key: &[u8]) -> Result<RecordKey, Error<E>> {
    RecordKey::from_slice(key).ok_or_else(|| Error::Key { dataset: dataset.clone() })
}
