//! The main job through the library: two real application databases exchange records through a store.

#![allow(unreachable_pub, reason = "a test binary has no outside")]
#![allow(clippy::print_stdout, reason = "a seed is printed for whoever replays it")]
#![allow(clippy::unwrap_used, reason = "whatever fails here fails the test")]

#[path = "../support/mod.rs"]
mod support;

mod canary;
mod converge;
mod crash;
mod exchange;
mod folding;
mod forge;
mod protocol;
mod tamper;
mod world;
