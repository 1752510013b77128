//! The program as a person or a script meets it: every command, its answers, its errors, its exit codes.
//!
//! What it says is compared with snapshots in which ids, times, sizes and places are replaced. To accept new ones:
//! `INSTA_UPDATE=always cargo test --test cli`, then read the difference.

#![allow(unreachable_pub, clippy::unwrap_used, reason = "a test binary has no outside")]

#[path = "../support/mod.rs"]
mod support;

mod carried;
mod conflict_round;
mod debug;
mod directories;
mod documented;
mod exchange;
mod habits;
mod help;
mod lifecycle;
mod looking;
mod misconfigured;
mod people;
mod printed;
mod proven;
mod pruned;
mod restoring;
mod schemas;
mod served;
mod settling;
mod shown;
mod triggers;
mod withdrawn;
mod working;
