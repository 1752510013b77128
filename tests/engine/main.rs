//! The main job through the library: two real application databases exchange records through a store.

#![allow(unreachable_pub, clippy::unwrap_used, reason = "a test binary has no outside")]

#[path = "../support/mod.rs"]
mod support;

mod canary;
mod exchange;
mod forge;
mod protocol;
mod tamper;
mod world;
