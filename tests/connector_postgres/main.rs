//! The PostgreSQL connector on a real server: the tests of the SQLite connector that aren't SQLite's own, what is
//! PostgreSQL's own, and pairs of instances on both databases.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

#[path = "../connector_sqlite/apply.rs"]
mod apply;
#[path = "../connector_sqlite/capture.rs"]
mod capture;
#[path = "../connector_sqlite/circular.rs"]
mod circular;
mod database;
mod faults;
#[path = "../connector_sqlite/given_up.rs"]
mod given_up;
#[path = "../connector_sqlite/hammer.rs"]
mod hammer;
#[path = "../connector_sqlite/harness.rs"]
mod harness;
mod killed;
mod own;
mod pair;
#[path = "../connector_sqlite/same.rs"]
mod same;
#[path = "../connector_sqlite/shapes.rs"]
mod shapes;
mod speed;
#[allow(dead_code, reason = "its own tests use the rest")]
#[path = "../connector_sqlite/database.rs"]
mod sqlite;
#[path = "../support/mod.rs"]
mod support;
mod tls;
mod together;
#[path = "../connector_sqlite/triggers.rs"]
mod triggers;
mod triggers_own;
#[path = "../connector_sqlite/triggers_shapes.rs"]
mod triggers_shapes;
#[path = "../connector_sqlite/turns.rs"]
mod turns;
mod types;
