//! How the application's tables become records: `[dataset.NAME]` in `wbsync.toml`, or a preset.
//!
//! `model` is what is written, `check` what must hold of it by itself; whether it fits a database is
//! the connector's to say. Reference for people: docs/mapping.md.

pub mod check;
pub mod finding;
pub mod model;
pub mod order;
pub mod place;
pub mod preset;
pub mod propose;
pub mod review;
pub mod schema;
pub mod scope;
pub mod template;
mod when;
pub mod words;
