//! The secret that node ids and boundaries are made with.

use std::fmt;

use zeroize::Zeroizing;

use super::limits::KEY_BYTES_MAX;
use crate::id::bytes::NodeId;

/// A scope's id key: who lacks it can neither confirm a guess from an id nor predict a boundary.
///
/// The boundary key is derived from it (format/tree.md, "Boundary"). Both are overwritten when dropped.
#[derive(Clone)]
pub struct IdKey {
    id: Zeroizing<[u8; 32]>,
    boundary: Zeroizing<[u8; 32]>,
}

impl IdKey {
    /// Wraps the 32 secret bytes of a scope's id key.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        let boundary = Zeroizing::new(blake3::derive_key(BOUNDARY_CONTEXT, &bytes));
        Self { id: Zeroizing::new(bytes), boundary }
    }

    /// Returns the secret bytes, to be kept where the scope's other secrets are.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.id
    }

    /// Returns the id of a node with these bytes.
    pub fn node_id(&self, bytes: &[u8]) -> NodeId {
        NodeId::from_bytes(*blake3::keyed_hash(&self.id, bytes).as_bytes())
    }

    /// Returns the number, uniform in 32 bits, that decides whether `key` ends a node of `level`.
    pub(super) fn boundary_hash(&self, level: u8, key: &[u8]) -> u32 {
        let mut input = [0; 1 + KEY_BYTES_MAX];
        input[0] = level;
        input[1..=key.len()].copy_from_slice(key);
        let hash = blake3::keyed_hash(&self.boundary, &input[..=key.len()]);
        let [a, b, c, d, ..] = *hash.as_bytes();
        u32::from_le_bytes([a, b, c, d])
    }
}

impl fmt::Debug for IdKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdKey(secret)")
    }
}

const BOUNDARY_CONTEXT: &str = "wbsync tree boundary v1";
