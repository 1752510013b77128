//! Checks a whole tree, boundaries included: for `fsck` and tests.

use super::build::build;
use super::error::TreeError;
use super::key::IdKey;
use super::root::Root;
use super::scan::scan;
use super::store::{NodeStore, StoreError};
use crate::id::bytes::NodeId;

/// Reads every node and checks that the tree is the one that its entries make.
///
/// # Errors
/// `Missing`, `Read` or `Corrupt` for a node; `Shape` if all nodes are well but make no canonical tree.
pub fn check<S: NodeStore + ?Sized>(store: &S, key: &IdKey, root: &Root) -> Result<(), TreeError> {
    let canonical = build::<_, TreeError>(&Nowhere, key, scan(store, key, root, ..))?;
    match root.node {
        Some(id) if canonical != *root => Err(TreeError::Shape { id }),
        _ => Ok(()),
    }
}

/// A store that forgets what it is given.
struct Nowhere;

impl NodeStore for Nowhere {
    fn read(&self, _: &NodeId) -> Result<Vec<u8>, StoreError> {
        Err(StoreError::Missing)
    }

    fn write(&self, _: &NodeId, _: &[u8]) -> Result<(), StoreError> {
        Ok(())
    }
}
