//! wbsync: git for records between self-hosted instances.
//!
//! The layers and what each may import: docs/architecture.md. The byte formats: format/.

pub mod cbor;
pub mod changeset;
pub mod cli;
pub mod connector;
pub mod daemon;
pub mod exchange;
pub mod history;
pub mod hub;
pub mod id;
pub mod keys;
pub mod merge;
pub mod record;
pub mod scope;
pub mod state;
pub mod sync;
pub mod sys;
pub mod testing;
pub mod transport;
pub mod tree;
