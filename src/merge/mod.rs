//! Merge of cells and records: pure functions of what both sides hold and have seen.
//!
//! An element (one write's value) survives if both sides hold it, or if one side holds it and the
//! other has never seen that write. A side that has seen a write and holds it no longer has replaced
//! it. This is the observed-remove set of Bieniusa et al. (2012) with version vectors in the place of
//! base trees; it is commutative, associative and idempotent, so the order of merging cannot matter
//! (docs/adr/0001-version-vectors.md).

pub mod cell;
pub mod record;
pub mod strategy;
pub mod text;
