//! Strict deterministic CBOR (RFC 8949 §4.2.1): one byte string for one value.
//!
//! No CBOR crate refuses every non-canonical form, and an id is worth nothing if two byte strings
//! mean the same. So the reader is our own, small and strict; the writer's headers come from
//! `ciborium-ll`. What we use of CBOR, and its bounds: format/cbor.md.

pub mod error;
pub mod reader;
#[cfg(test)]
mod tests;
pub mod writer;
