//! What can go wrong with a tree. No text here shows a key or a value.

use super::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use super::store::StoreError;
use crate::cbor;
use crate::id::bytes::NodeId;

/// An operation on a tree failed.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// A node that the tree refers to is not in the store.
    #[error("node {id} of the tree is missing from the store")]
    Missing {
        /// The node.
        id: NodeId,
    },
    /// The store failed to read a node.
    #[error("cannot read node {id} of the tree")]
    Read {
        /// The node.
        id: NodeId,
        /// The store's cause.
        source: StoreError,
    },
    /// The store failed to write a node.
    #[error("cannot write node {id} of the tree")]
    Write {
        /// The node.
        id: NodeId,
        /// The store's cause.
        source: StoreError,
    },
    /// A node isn't what its id or its place in the tree says.
    #[error("node {id} of the tree is corrupt")]
    Corrupt {
        /// The node.
        id: NodeId,
        /// What is wrong with it.
        source: Corruption,
    },
    /// The nodes are well-formed, but the same entries make another tree.
    #[error("the entries below node {id} make another tree")]
    Shape {
        /// The root that was checked.
        id: NodeId,
    },
    /// A key to be written is too long.
    #[error("a key of {bytes} bytes exceeds the bound of {KEY_BYTES_MAX}")]
    KeyTooLong {
        /// Its length.
        bytes: usize,
    },
    /// A value to be written is too large.
    #[error("a value of {bytes} bytes exceeds the bound of {VALUE_BYTES_MAX}")]
    ValueTooLarge {
        /// Its length.
        bytes: usize,
    },
}

/// Why a node is corrupt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Corruption {
    /// The keyed hash of the bytes isn't the id.
    #[error("its bytes do not hash to its id")]
    Hash,
    /// The bytes are no canonical node.
    #[error("its bytes are no canonical node")]
    Encoding(#[source] cbor::error::Error),
    /// The node has another level than its place.
    #[error("its level is {found}, its parent says {wanted}")]
    Level {
        /// One less than the parent's level.
        wanted: u8,
        /// The level in the node.
        found: u8,
    },
    /// The node holds another number of entries than its parent, or the root, says.
    #[error("it holds {found} entries, not {wanted}")]
    Count {
        /// The count in the parent or root.
        wanted: u64,
        /// The count in the node.
        found: u64,
    },
    /// The greatest key of the node isn't the one that its parent lists.
    #[error("its greatest key is not the one its parent lists")]
    GreatestKey,
    /// The first key of the node isn't after the node before it.
    #[error("its first key is not after the node before it")]
    Order,
    /// The root is an inner node of one child, so it isn't the lowest that is alone on its level.
    #[error("it is the root but has a single child")]
    SingleChildRoot,
}
