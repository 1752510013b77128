//! Cuts the entries of one level into nodes and writes them.
//!
//! A node is a function of the entries since the last cut, and nothing else: whoever starts anywhere
//! after a cut gets the same nodes. Editing rests on this.

use super::boundary::ends_node;
use super::error::TreeError;
use super::key::IdKey;
use super::limits::{LEVEL_MAX, NODE_BYTES_MAX, NODE_HEAD_BYTES_MAX};
use super::node::{child_tail, encode};
use super::store::NodeStore;
use crate::cbor::writer::Writer;
use crate::id::bytes::NodeId;

/// An entry of some level, its tail encoded as `node` lays it out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: Vec<u8>,
    pub(super) tail: Vec<u8>,
    pub(super) count: u64,
}

/// Room for the entries of most nodes.
const BODY_BYTES: usize = 6 << 10;

/// Collects entries of one level until a node is full.
pub(super) struct Chunker<'a, S: ?Sized> {
    store: &'a S,
    key: &'a IdKey,
    level: u8,
    body: Writer,
    entries: usize,
    count: u64,
    last_key: Option<Vec<u8>>,
    nodes: u64,
    latest: Option<NodeId>,
}

impl<'a, S: NodeStore + ?Sized> Chunker<'a, S> {
    pub(super) fn new(store: &'a S, key: &'a IdKey, level: u8) -> Self {
        assert!(level <= LEVEL_MAX, "each level halves the one below, so no count of 64 bits gets here");
        Self {
            store,
            key,
            level,
            body: Writer::with_capacity(BODY_BYTES),
            entries: 0,
            count: 0,
            last_key: None,
            nodes: 0,
            latest: None,
        }
    }

    /// Tells whether the last entry ended its node.
    pub(super) fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Returns the key that was added last, to whatever node.
    pub(super) fn last_key(&self) -> Option<&[u8]> {
        self.last_key.as_deref()
    }

    /// Returns how many nodes were made.
    pub(super) fn nodes(&self) -> u64 {
        self.nodes
    }

    /// Returns the node that was made last.
    pub(super) fn latest(&self) -> Option<NodeId> {
        self.latest
    }

    /// Ends the node if an entry of this size has no room in it. To be called before each `add`.
    pub(super) fn make_room(&mut self, key: &[u8], tail: &[u8]) -> Result<Option<Entry>, TreeError> {
        if self.fits(key, tail) { Ok(None) } else { self.flush() }
    }

    /// Adds an entry, and ends the node if the boundary rule says so.
    pub(super) fn add(&mut self, key: &[u8], tail: &[u8], count: u64) -> Result<Option<Entry>, TreeError> {
        assert!(self.last_key.as_deref().is_none_or(|last| last < key), "the keys of a level must strictly ascend");
        assert!(self.fits(key, tail), "make_room comes before add");
        let before = self.body.len();
        self.body.bytes(key);
        self.body.raw(tail);
        self.entries += 1;
        self.count += count;
        let last_key = self.last_key.get_or_insert_default();
        last_key.clear();
        last_key.extend_from_slice(key);
        let may_end = self.level == 0 || self.entries > 1;
        if may_end && ends_node(before, self.body.len(), || self.key.boundary_hash(self.level, key)) {
            self.flush()
        } else {
            Ok(None)
        }
    }

    /// Ends the node whatever the rule says: at the end of the level.
    pub(super) fn flush(&mut self) -> Result<Option<Entry>, TreeError> {
        if self.entries == 0 {
            return Ok(None);
        }
        let body = std::mem::replace(&mut self.body, Writer::with_capacity(BODY_BYTES));
        let bytes = encode(self.level, self.entries, &body.finish());
        assert!(self.entries == 1 || bytes.len() <= NODE_BYTES_MAX, "make_room keeps nodes within bounds");
        let id = self.key.node_id(&bytes);
        self.store.write(&id, &bytes).map_err(|source| TreeError::Write { id, source })?;
        let key = self.last_key.clone().expect("there is an entry");
        let entry = Entry { key, tail: child_tail(&id, self.count), count: self.count };
        (self.entries, self.count) = (0, 0);
        self.nodes += 1;
        self.latest = Some(id);
        Ok(Some(entry))
    }

    fn fits(&self, key: &[u8], tail: &[u8]) -> bool {
        let entry = head_bytes(key) + key.len() + tail.len();
        self.entries == 0 || NODE_HEAD_BYTES_MAX + self.body.len() + entry <= NODE_BYTES_MAX
    }
}

/// Returns how many bytes CBOR spends before the contents of a key.
fn head_bytes(key: &[u8]) -> usize {
    match key.len() {
        0..24 => 1,
        24..256 => 2,
        _ => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::build::build;
    use crate::tree::memory::MemoryStore;

    /// Two entries share a node as long as it has room for both, to the byte.
    #[test]
    fn a_node_is_filled_to_its_bound_and_no_further() {
        let nodes_of = |key_bytes: usize, over: usize| {
            let (store, key) = (MemoryStore::new(), IdKey::from_bytes([0x11; 32]));
            let (first, second) = (vec![1; key_bytes], vec![2; key_bytes]);
            // Each value spends three bytes on its length.
            let spent = NODE_HEAD_BYTES_MAX + 2 * (head_bytes(&first) + key_bytes + 3);
            let values = [vec![0; 600], vec![0; NODE_BYTES_MAX - spent - 600 + over]];
            let entries = [first, second].into_iter().zip(values).map(Ok::<_, TreeError>);
            assert_eq!(build(&store, &key, entries).unwrap().count, 2);
            store.len()
        };
        for key_bytes in [8, 200, 400] {
            assert_eq!(nodes_of(key_bytes, 0), 1, "{key_bytes}");
            assert_eq!([1, 2, 3].map(|over| nodes_of(key_bytes, over)), [3, 3, 3], "two leaves and their root");
        }
    }
}
