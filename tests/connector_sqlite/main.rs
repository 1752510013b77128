//! The SQLite connector on real files: capture, apply, privacy, echo, and how it fails.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod apply;
mod capture;
mod circular;
mod clauses;
mod database;
mod failing;
mod files;
mod given_up;
mod hammer;
mod harness;
mod inserted;
mod same;
mod shapes;
mod speed;
mod triggers;
mod triggers_own;
mod triggers_shapes;
mod turns;
