//! The local state of an instance: nodes, commits, heads, peers and what we follow, in one SQLite
//! database in WAL mode, so that several commands can read while one writes.

pub mod accepted;
pub mod census;
pub mod check;
pub mod commits;
pub mod conflicts;
pub mod counted;
pub mod database;
pub mod error;
pub mod forgotten;
pub mod heads;
pub mod late;
pub mod nodes;
mod pack;
pub mod peers;
pub mod pending;
pub mod pruned;
pub mod published;
pub mod queue;
pub mod receipts;
pub mod remotes;
pub mod scopes;
pub mod spent;
pub mod sweep;
pub mod told;
