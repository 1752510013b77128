//! Tree nodes of all scopes, with a bounded cache.

use std::cell::RefCell;
use std::collections::HashMap;

use rusqlite::OptionalExtension;

use super::database::State;
use crate::id::bytes::NodeId;
use crate::tree::store::{NodeStore, StoreError};

/// The most bytes of nodes kept in memory.
const CACHE_BYTES_MAX: usize = 8 << 20;

/// Nodes read or written lately; emptied when it is full.
#[derive(Debug, Default)]
pub(super) struct Cache {
    nodes: RefCell<HashMap<NodeId, Vec<u8>>>,
    bytes: RefCell<usize>,
}

impl Cache {
    fn put(&self, id: NodeId, bytes: &[u8]) {
        let (mut nodes, mut held) = (self.nodes.borrow_mut(), self.bytes.borrow_mut());
        if *held + bytes.len() > CACHE_BYTES_MAX {
            nodes.clear();
            *held = 0;
        }
        if nodes.insert(id, bytes.to_owned()).is_none() {
            *held += bytes.len();
        }
    }

    /// Forgets everything: a transaction that wrote nodes was rolled back.
    pub(super) fn clear(&self) {
        self.nodes.borrow_mut().clear();
        *self.bytes.borrow_mut() = 0;
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
        if let Some(bytes) = self.cache.nodes.borrow().get(id) {
            return Ok(bytes.clone());
        }
        let found: Option<Vec<u8>> = self
            .connection
            .prepare_cached("SELECT bytes FROM node WHERE id = ?1")
            .and_then(|mut statement| statement.query_row([id.as_bytes()], |row| row.get(0)).optional())
            .map_err(failed)?;
        let bytes = self.packer.unpack(found.ok_or(StoreError::Missing)?);
        self.cache.put(*id, &bytes);
        Ok(bytes)
    }

    fn write(&self, id: &NodeId, bytes: &[u8]) -> Result<(), StoreError> {
        self.connection
            .prepare_cached("INSERT OR IGNORE INTO node (id, bytes) VALUES (?1, ?2)")
            .and_then(|mut statement| statement.execute((id.as_bytes(), &*self.packer.pack(bytes))))
            .map_err(failed)?;
        self.cache.put(*id, bytes);
        Ok(())
    }
}

fn failed(error: rusqlite::Error) -> StoreError {
    StoreError::Failed(Box::new(error))
}
