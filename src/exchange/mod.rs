//! Exchange: stores of sealed objects and signed documents, and copying between them.
//!
//! Knows nothing of records and needs no keys. The layout of a store: format/store.md.

pub mod check;
pub mod copy;
pub mod fetch;
pub mod garbage;
pub mod head;
pub mod health;
pub(crate) mod lanes;
pub mod layout;
pub mod pace;
pub mod receipt;
#[cfg(test)]
pub(crate) mod samples;
pub mod store;
