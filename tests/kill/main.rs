//! Real `wbsync` processes, ended by SIGKILL at random moments, and several at once.
//!
//! After a kill the same command must go through, and everything must be as if it had never been killed: the rows on both
//! sides, the stores, the local state, and no rubbish left. `WBSYNC_SEED=n` replays the moments as far as a
//! machine's timing allows; `WBSYNC_ROUNDS=10` goes on ten times as long.

#![cfg(unix)]
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a test binary has no outside; seeds and counts are printed"
)]

#[path = "../hub/site.rs"]
#[expect(dead_code, reason = "the tests of the hub need more of it")]
mod hub;
#[path = "../support/mod.rs"]
mod support;

mod began;
mod collected;
mod directories;
mod exchanged;
mod interrupted;
mod scene;
mod sound;
mod strike;
mod together;
mod withdrawn;
