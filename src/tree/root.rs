//! What names a whole tree.

use crate::id::bytes::NodeId;

/// A tree: its topmost node and how many entries it has. Equal trees have equal roots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Root {
    /// The topmost node; `None` if and only if the tree is empty.
    pub node: Option<NodeId>,
    /// How many entries the tree has.
    pub count: u64,
}

impl Root {
    /// The tree without entries.
    pub const EMPTY: Self = Self { node: None, count: 0 };
}

impl Default for Root {
    fn default() -> Self {
        Self::EMPTY
    }
}
