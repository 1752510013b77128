//! Visits the nodes of a tree: for garbage collection, copies and inspection.

use super::cursor::read_node;
use super::error::{Corruption, TreeError};
use super::key::IdKey;
use super::root::Root;
use super::store::NodeStore;
use crate::id::bytes::NodeId;

/// Calls `visit` with the id and level of every node, parents first, left to right.
///
/// `visit` tells whether to go on below the node: not if it was seen in another tree already. Leaves
/// aren't read, except for a root that is one. Memory: the ids of a node's children per level.
///
/// # Errors
/// `Missing`, `Read` or `Corrupt` for an inner node.
pub fn walk<S: NodeStore + ?Sized>(
    store: &S,
    key: &IdKey,
    root: &Root,
    mut visit: impl FnMut(&NodeId, u8) -> bool,
) -> Result<(), TreeError> {
    let Some(id) = root.node else { return Ok(()) };
    let mut waiting = vec![(id, read_node(store, key, &id)?.level())];
    while let Some((id, level)) = waiting.pop() {
        if !visit(&id, level) || level == 0 {
            continue;
        }
        let node = read_node(store, key, &id)?;
        if node.level() != level {
            let source = Corruption::Level { wanted: level, found: node.level() };
            return Err(TreeError::Corrupt { id, source });
        }
        waiting.extend((0..node.entries()).rev().map(|index| (node.child(index), level - 1)));
    }
    Ok(())
}
