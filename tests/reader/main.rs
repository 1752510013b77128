//! A second implementation reads what we wrote: `scripts/reader.py`, made from the pages in `format/` alone.
//!
//! It runs with `WBSYNC_PYTHON`, or `python3`; without that or its packages the tests say loudly that they are skipped, and fail on
//! a build server as those of `tests/age_cli.rs` do.

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test binary has no outside; whatever fails here fails the test; seeds are printed"
)]

#[allow(dead_code, reason = "each test uses a part of it")]
#[path = "../engine/forge.rs"]
mod forge;
#[path = "../support/mod.rs"]
mod support;
#[allow(dead_code, reason = "each test uses a part of it")]
#[path = "../engine/world.rs"]
mod world;

mod altered;
mod bundles;
mod bytes;
mod cddl;
mod proofs;
mod receipts;
mod run;
mod stores;
