//! Bounds of a tree; what a decoder refuses and a writer never makes.

/// Longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 1024;

/// Longest value, in bytes; larger things are blobs and live outside the tree.
pub const VALUE_BYTES_MAX: usize = 8 << 20;

/// Entries of fewer bytes than this never end a node by their hash.
pub const NODE_BYTES_MIN: usize = 512;

/// Largest node of two or more entries, in bytes.
pub const NODE_BYTES_MAX: usize = 16 << 10;

/// Largest node of one entry, in bytes.
pub const NODE_BYTES_MAX_SINGLE: usize = NODE_HEAD_BYTES_MAX + KEY_BYTES_MAX + VALUE_BYTES_MAX + 2 * 5;

/// Highest level of a node; leaves are level 0. Each level has at most half the nodes of the one below
/// (rounded up), so this is out of reach of any count of 64 bits.
pub const LEVEL_MAX: u8 = 64;

/// What a node spends before its entries, at most.
pub(super) const NODE_HEAD_BYTES_MAX: usize = 6;

/// Longest encoded entry of an inner node.
const CHILD_BYTES_MAX: usize = (KEY_BYTES_MAX + 3) + (32 + 2) + 9;

// Inner nodes always have room for another child: only their own content ends them.
const _: () = assert!(
    NODE_HEAD_BYTES_MAX + super::boundary::SURELY_CUT_BYTES + CHILD_BYTES_MAX <= NODE_BYTES_MAX,
    "an inner node never overflows"
);
