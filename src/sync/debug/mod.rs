//! Plumbing for people who look inside: documents, objects, CBOR, trees, keys. Nothing here changes anything.

pub mod document;
pub mod fork;
pub mod object;
pub mod plain;
pub mod tree;
