//! What integration tests share: an application with its database in a directory of its own, and the `wbsync` program.
//!
//! `mod support;` in a test file, then `App::new()`. Nothing here knows how wbsync works inside.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

pub mod app;
pub mod described;
pub mod document;
pub mod git_site;
pub mod pair;
pub mod pgwire;
pub mod postgres;
pub mod run;
pub mod sshd;
pub mod wire;
