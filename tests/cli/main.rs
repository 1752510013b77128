//! The program as a person or a script meets it: every command, its answers, its errors, its exit codes.
//!
//! What it says is compared with snapshots in which ids, times, sizes and places are replaced. To accept new ones:
//! `INSTA_UPDATE=always cargo test --test cli`, then read the difference.

#![allow(unreachable_pub, clippy::unwrap_used, reason = "a test binary has no outside")]

#[path = "../support/mod.rs"]
mod support;

mod absent;
mod carried;
mod conflict_round;
mod covered;
mod debug;
mod directories;
mod documented;
mod exchange;
mod habits;
mod help;
mod kept;
mod lifecycle;
mod looking;
mod mended;
mod misconfigured;
mod paged;
mod people;
mod printed;
mod private;
mod proven;
mod pruned;
mod restoring;
mod schemas;
mod served;
mod settling;
mod shown;
mod standing;
mod triggers;
mod withdrawn;
mod worded;
mod working;
