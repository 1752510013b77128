//! A store in a bare git repository, by file, SSH or a web server (format/git.md).
//!
//! The objects and packet lines are gitoxide's; what is said to the server, and where what lies, is ours. No type of
//! gitoxide is seen outside of this module.

mod branch;
mod cache;
mod error;
mod gathered;
pub(crate) mod heard;
mod http;
mod hub;
pub mod mirror;
mod objects;
mod open;
pub mod places;
mod process;
mod program;
mod push;
pub mod store;
pub mod url;
mod wire;
