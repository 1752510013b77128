//! The seam to wherever nodes are kept.

use std::sync::Arc;

use super::key::IdKey;
use super::node::Node;
use crate::id::bytes::NodeId;

/// Keeps immutable nodes by their id.
///
/// Contract: a node that was written is read back byte for byte until it is removed by means outside of
/// this trait. Ids are functions of the bytes, so writing a node twice is as writing it once. The tree
/// verifies what it reads; a store needs no checks of its own. Stores use interior mutability, so that a
/// tree can be read while the next one is written.
pub trait NodeStore {
    /// Reads the bytes of a node.
    ///
    /// # Errors
    /// `Missing` if the store doesn't have it, `Failed` with the store's own cause.
    fn read(&self, id: &NodeId) -> Result<Vec<u8>, StoreError>;

    /// Keeps the bytes of a node.
    ///
    /// # Errors
    /// `Failed` with the store's own cause.
    fn write(&self, id: &NodeId, bytes: &[u8]) -> Result<(), StoreError>;

    /// Returns a node that was given to `keep` with this key and id, if it is still at hand.
    fn kept(&self, _key: &IdKey, _id: &NodeId) -> Option<Arc<Node>> {
        None
    }

    /// Takes a node that was read and found to be that of its id, so that it needs neither for some time. A store that
    /// has to see every read does nothing here.
    fn keep(&self, _key: &IdKey, _id: &NodeId, _node: &Arc<Node>) {}
}

/// A store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The node is not there.
    #[error("the store does not have the node")]
    Missing,
    /// The store failed.
    #[error("the node store failed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}
