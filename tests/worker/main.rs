//! The background worker: days of its schedule in a simulated world, and the program itself for a few moments.

#![allow(unreachable_pub, clippy::unwrap_used, reason = "a test binary has no outside")]

#[path = "../support/mod.rs"]
mod support;

#[path = "../hub/site.rs"]
#[allow(dead_code, reason = "the tests of the hub use more of it")]
mod site;

mod day;
mod metrics;
mod process;
#[cfg(target_os = "linux")]
mod trouble;
mod world;
