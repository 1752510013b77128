//! Prolly tree: a sorted map of bytes to bytes whose shape depends only on its content.
//!
//! Equal maps have equal root ids, whatever edits led to them; diff, merge and the check after every
//! sync rest on this. Keys and values are bytes; what they mean is the caller's business. Nodes live in
//! a `store::NodeStore`, and their ids are keyed, so that they tell nothing to who lacks the key.
//! Merging is not done here: it is a `diff`, decisions, and an `apply`.
//! Layout and boundary rule: format/tree.md. Idea: the prolly trees of Noms and Dolt.
//!
//! Invariants: keys strictly ascend across a level; a node but the last of its level ends at a boundary;
//! an inner node but the last of its level has two children or more; the root is the lowest node that
//! is alone on its level; no node of several entries exceeds `limits::NODE_BYTES_MAX`.

pub mod apply;
pub mod build;
pub mod check;
pub mod diff;
pub mod error;
pub mod get;
pub mod key;
pub mod limits;
pub mod memory;
pub mod node;
pub mod root;
pub mod scan;
pub mod store;
pub mod walk;

mod boundary;
mod chunker;
#[cfg(test)]
mod cost;
mod cursor;
mod level;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod vectors;
