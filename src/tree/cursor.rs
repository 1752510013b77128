//! A place in a tree, and the moves from there; reads and verifies the nodes on its way.
//!
//! A cursor stands before one item of its innermost node: an entry of a leaf, or a child that it may
//! step over unread or descend into. Memory: the nodes from the root to that place.
//!
//! Every node is checked against its id, its parent (level, count, greatest key) and the node before it
//! (order), so keys ascend whatever the store returns.

use std::sync::Arc;

use super::error::{Corruption, TreeError};
use super::key::IdKey;
use super::node::Node;
use super::root::Root;
use super::store::{NodeStore, StoreError};
use crate::id::bytes::NodeId;

/// A place in a tree. At the end there is no innermost node.
pub(super) struct Cursor<'a, S: ?Sized> {
    store: &'a S,
    key: &'a IdKey,
    path: Vec<Step>,
}

/// A node of the path and the item in it that the path goes through, or stands before.
struct Step {
    node: Arc<Node>,
    index: usize,
}

impl<'a, S: NodeStore + ?Sized> Cursor<'a, S> {
    /// Opens a tree before the first item of its topmost node, or at the end if it is empty.
    pub(super) fn open(store: &'a S, key: &'a IdKey, root: &Root) -> Result<Self, TreeError> {
        let mut path = Vec::new();
        if let Some(id) = root.node {
            let node = read_node(store, key, &id)?;
            if node.level() > 0 && node.entries() == 1 {
                return Err(TreeError::Corrupt { id, source: Corruption::SingleChildRoot });
            }
            check_count(id, root.count, &node)?;
            path.push(Step { node, index: 0 });
        }
        Ok(Self { store, key, path })
    }

    /// Returns the innermost node and the index in it, or `None` at the end.
    pub(super) fn place(&self) -> Option<(&Node, usize)> {
        self.path.last().map(|step| (&*step.node, step.index))
    }

    /// Goes to the node of `level` that holds `key` or would: the first whose greatest key isn't less, or
    /// else the last. Stands before its first entry that isn't less than `key`, or at its end.
    ///
    /// Reads only nodes that aren't on the path already. Not to be called at the end.
    pub(super) fn seek(&mut self, key: &[u8], level: u8) -> Result<(), TreeError> {
        let mut depth = 0;
        loop {
            let innermost = self.path.len() == depth + 1;
            let step = &mut self.path[depth];
            let index = step.node.search(key).unwrap_or_else(|next| next);
            if step.node.level() == level {
                step.index = index;
                self.path.truncate(depth + 1);
                return Ok(());
            }
            let index = index.min(step.node.entries() - 1);
            if innermost || index != step.index {
                step.index = index;
                self.path.truncate(depth + 1);
                self.descend()?;
            }
            depth += 1;
        }
    }

    /// Goes into the child that the cursor stands before, to its first item.
    pub(super) fn descend(&mut self) -> Result<(), TreeError> {
        let step = self.path.last().expect("only called before a child");
        let (parent, index) = (&step.node, step.index);
        let id = parent.child(index);
        let node = read_node(self.store, self.key, &id)?;
        let corrupt = |source| Err(TreeError::Corrupt { id, source });
        let wanted = parent.level() - 1;
        if node.level() != wanted {
            return corrupt(Corruption::Level { wanted, found: node.level() });
        }
        check_count(id, parent.entry_count(index), &node)?;
        if node.greatest_key() != parent.key(index) {
            return corrupt(Corruption::GreatestKey);
        }
        if self.key_before(self.path.len()).is_some_and(|before| before >= node.key(0)) {
            return corrupt(Corruption::Order);
        }
        self.path.push(Step { node, index: 0 });
        Ok(())
    }

    /// Goes down to the next entry of a leaf; returns it, or `None` at the end.
    pub(super) fn leaf(&mut self) -> Result<Option<(&Node, usize)>, TreeError> {
        while self.path.last().is_some_and(|step| step.node.level() > 0) {
            self.descend()?;
        }
        Ok(self.place())
    }

    /// Steps over one item, and out of the nodes that end with it.
    pub(super) fn advance(&mut self) {
        while let Some(step) = self.path.last_mut() {
            step.index += 1;
            if step.index < step.node.entries() {
                return;
            }
            self.path.pop();
        }
    }

    /// Goes to the next node of the innermost node's level, before its first entry. There must be one.
    pub(super) fn next_node(&mut self) -> Result<(), TreeError> {
        let level = self.path.last().expect("only called inside of a node").node.level();
        self.path.pop();
        self.advance();
        while self.path.last().expect("there is a next node").node.level() > level {
            self.descend()?;
        }
        Ok(())
    }

    /// Goes to the node before the innermost one, on the same level. There must be one.
    pub(super) fn previous_node(&mut self) -> Result<(), TreeError> {
        let level = self.path.last().expect("only called inside of a node").node.level();
        self.path.pop();
        while self.path.last().expect("there is a previous node").index == 0 {
            self.path.pop();
        }
        let mut step = self.path.last_mut().expect("the loop ended on it");
        step.index -= 1;
        while step.node.level() > level + 1 {
            self.descend()?;
            step = self.path.last_mut().expect("just descended");
            step.index = step.node.entries() - 1;
        }
        self.descend()
    }

    /// Returns the greatest key before the innermost node, or `None` if it is the first of its level.
    pub(super) fn key_before_node(&self) -> Option<&[u8]> {
        self.key_before(self.path.len() - 1)
    }

    /// Tells whether no node of the same level follows the innermost one.
    pub(super) fn in_last_node(&self) -> bool {
        let parents = &self.path[..self.path.len() - 1];
        parents.iter().all(|step| step.index + 1 == step.node.entries())
    }

    /// Returns the greatest key before the place where the first `depth` steps of the path lead.
    fn key_before(&self, depth: usize) -> Option<&[u8]> {
        let step = self.path[..depth].iter().rev().find(|step| step.index > 0)?;
        Some(step.node.key(step.index - 1))
    }
}

/// Reads a node and checks it against its id, unless the store has it at hand since it was checked.
pub(super) fn read_node<S: NodeStore + ?Sized>(store: &S, key: &IdKey, id: &NodeId) -> Result<Arc<Node>, TreeError> {
    if let Some(node) = store.kept(key, id) {
        return Ok(node);
    }
    let id = *id;
    let bytes = store.read(&id).map_err(|source| match source {
        StoreError::Missing => TreeError::Missing { id },
        source @ StoreError::Failed(_) => TreeError::Read { id, source },
    })?;
    if key.node_id(&bytes) != id {
        return Err(TreeError::Corrupt { id, source: Corruption::Hash });
    }
    let node = Node::decode(bytes).map_err(|error| TreeError::Corrupt { id, source: Corruption::Encoding(error) })?;
    let node = Arc::new(node);
    store.keep(key, &id, &node);
    Ok(node)
}

fn check_count(id: NodeId, wanted: u64, node: &Node) -> Result<(), TreeError> {
    let found = node.count();
    if found == wanted { Ok(()) } else { Err(TreeError::Corrupt { id, source: Corruption::Count { wanted, found } }) }
}
