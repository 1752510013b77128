//! Hub: a store served over HTTP, to instances that sign their requests and, for what is public, to anyone.
//!
//! Needs no keys to any content. Everything that it is given is checked again before it is stored: hash, signature, rights,
//! succession, completeness, size, quota. The only async part of wbsync; whatever touches the disk runs on threads for
//! blocking work. The protocol: format/http.md.

pub mod accept;
pub(crate) mod activity;
pub mod answer;
pub mod auth;
pub mod body;
pub mod caller;
pub mod catalogue;
pub mod changes;
pub mod documents;
pub mod error;
pub mod guard;
pub(crate) mod http2;
pub mod limits;
pub mod listen;
pub mod lists;
pub mod log;
pub mod members;
pub mod nonces;
pub mod objects;
pub mod rates;
pub mod refusal;
pub mod service;
pub mod stdio;
