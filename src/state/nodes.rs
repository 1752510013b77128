//! Tree nodes of all scopes, with a bounded cache.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::OptionalExtension;

use super::database::State;
use crate::id::bytes::NodeId;
use crate::tree::key::IdKey;
use crate::tree::node::Node;
use crate::tree::store::{NodeStore, StoreError};

/// The most bytes of nodes kept in memory.
const CACHE_BYTES_MAX: usize = 32 << 20;

/// Nodes read or written lately. When it is full the leaves go, of which there are most.
#[derive(Debug, Default)]
pub(super) struct Cache {
    held: RefCell<Held>,
}

#[derive(Debug, Default)]
struct Held {
    nodes: HashMap<NodeId, Kept>,
    bytes: usize,
    /// The keys that ids were checked with: those of the scopes.
    keys: Vec<IdKey>,
}

#[derive(Debug)]
enum Kept {
    /// As it was written.
    Written(Vec<u8>),
    /// As it was read, and checked with the key of this number.
    Checked(usize, Arc<Node>),
}

impl Kept {
    fn weight(&self) -> usize {
        match self {
            Self::Written(bytes) => bytes.len(),
            Self::Checked(_, node) => node.weight(),
        }
    }

    fn is_inner(&self) -> bool {
        matches!(self, Self::Checked(_, node) if node.level() > 0)
    }
}

impl Held {
    fn put(&mut self, id: NodeId, kept: Kept) {
        if self.bytes + kept.weight() > CACHE_BYTES_MAX {
            self.nodes.retain(|_, kept| kept.is_inner());
            self.bytes = self.nodes.values().map(Kept::weight).sum();
            if self.bytes > CACHE_BYTES_MAX / 2 {
                (self.nodes, self.bytes) = (HashMap::new(), 0);
            }
        }
        self.bytes += kept.weight();
        if let Some(before) = self.nodes.insert(id, kept) {
            self.bytes -= before.weight();
        }
    }

    fn number(&self, key: &IdKey) -> Option<usize> {
        self.keys.iter().position(|known| known.as_bytes() == key.as_bytes())
    }
}

impl Cache {
    /// Forgets everything: a transaction that wrote nodes was rolled back.
    pub(super) fn clear(&self) {
        *self.held.borrow_mut() = Held::default();
    }
}

impl State {
    /// Forgets cached nodes after a transaction that wrote some was rolled back.
    pub fn forget_cache(&self) {
        self.cache.clear();
    }
}

impl NodeStore for State {
    fn read(&self, id: &NodeId) -> Result<Vec<u8>, StoreError> {
        match self.cache.held.borrow().nodes.get(id) {
            Some(Kept::Written(bytes)) => return Ok(bytes.clone()),
            Some(Kept::Checked(_, node)) => return Ok(node.bytes().to_owned()),
            None => {}
        }
        let found: Option<Vec<u8>> = self
            .connection
            .prepare_cached("SELECT bytes FROM node WHERE id = ?1")
            .and_then(|mut statement| {
                let unpack = |row: &rusqlite::Row<'_>| Ok(self.packer.unpack(row.get_ref(0)?.as_blob()?));
                statement.query_row([id.as_bytes()], unpack).optional()
            })
            .map_err(failed)?;
        found.ok_or(StoreError::Missing)
    }

    fn write(&self, id: &NodeId, bytes: &[u8]) -> Result<(), StoreError> {
        self.connection
            .prepare_cached("INSERT OR IGNORE INTO node (id, bytes) VALUES (?1, ?2)")
            .and_then(|mut statement| statement.execute((id.as_bytes(), &*self.packer.pack(bytes))))
            .map_err(failed)?;
        let mut held = self.cache.held.borrow_mut();
        if !held.nodes.contains_key(id) {
            held.put(*id, Kept::Written(bytes.to_owned()));
        }
        Ok(())
    }

    fn kept(&self, key: &IdKey, id: &NodeId) -> Option<Arc<Node>> {
        let held = self.cache.held.borrow();
        match held.nodes.get(id) {
            Some(Kept::Checked(number, node)) if held.number(key) == Some(*number) => Some(Arc::clone(node)),
            _ => None,
        }
    }

    fn keep(&self, key: &IdKey, id: &NodeId, node: &Arc<Node>) {
        let mut held = self.cache.held.borrow_mut();
        let number = held.number(key).unwrap_or_else(|| {
            held.keys.push(key.clone());
            held.keys.len() - 1
        });
        held.put(*id, Kept::Checked(number, Arc::clone(node)));
    }
}

fn failed(error: rusqlite::Error) -> StoreError {
    StoreError::Failed(Box::new(error))
}
