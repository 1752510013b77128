//! Nodes in memory: for tests, dry runs and trees that are soon forgotten.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::store::{NodeStore, StoreError};
use crate::id::bytes::NodeId;

/// A node store in memory that counts what it is asked.
#[derive(Debug, Default)]
pub struct MemoryStore {
    nodes: Mutex<HashMap<NodeId, Vec<u8>>>,
    reads: AtomicU64,
    writes: AtomicU64,
}

impl MemoryStore {
    /// Starts empty.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns how many nodes were asked for since the counts were last reset.
    pub fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    /// Returns how many nodes were written since the counts were last reset; repeated writes count.
    pub fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }

    /// Sets both counts to zero.
    pub fn reset_counts(&self) {
        self.reads.store(0, Ordering::Relaxed);
        self.writes.store(0, Ordering::Relaxed);
    }

    /// Returns how many different nodes are kept.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Tells whether no node is kept.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Returns the ids of all nodes, in no order.
    pub fn ids(&self) -> Vec<NodeId> {
        self.lock().keys().copied().collect()
    }

    /// Forgets a node, and returns its bytes if it was there.
    pub fn remove(&self, id: &NodeId) -> Option<Vec<u8>> {
        self.lock().remove(id)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NodeId, Vec<u8>>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl NodeStore for MemoryStore {
    fn read(&self, id: &NodeId) -> Result<Vec<u8>, StoreError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.lock().get(id).cloned().ok_or(StoreError::Missing)
    }

    fn write(&self, id: &NodeId, bytes: &[u8]) -> Result<(), StoreError> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.lock().insert(*id, bytes.to_vec());
        Ok(())
    }
}
