//! Crashes between any two system calls that change the disk, SQLite's own among them, of real `wbsync` processes.
//!
//! Two ways. `killed`: `strace` ends the process at the nth such call. `power`: `strace` records all of them, and the disk is
//! made as it was after each, with what was never synced there, gone, or in part (`disk`). After each crash the command is
//! run again and everybody exchanges: databases, stores and rows must be as if nothing had happened.
//!
//! In `cargo test` a few points of each command; `scripts/crash-walk` goes through all. `WBSYNC_POINTS=n`: about so many of
//! each; `WBSYNC_SEED`: which.

#![cfg(target_os = "linux")]
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a test binary has no outside; counts are printed"
)]

#[path = "../support/mod.rs"]
mod support;

#[allow(dead_code, reason = "of what the tests of kills share a part is used")]
#[path = "../kill/scene.rs"]
mod scene;
#[allow(dead_code, reason = "of what the tests of kills share a part is used")]
#[path = "../kill/sound.rs"]
mod sound;

mod acts;
mod disk;
mod killed;
mod power;
mod strace;
mod trace;
