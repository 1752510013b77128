//! What is the same for all databases with SQL. `session` is the seam: what differs is behind it.

#[macro_use]
pub(in crate::connector) mod raw;
mod alias;
mod apply;
mod bind;
mod books;
mod capture;
mod circle;
pub mod connector;
mod convert;
mod drop;
mod examine;
mod fit;
mod guard;
mod install;
mod join;
pub(in crate::connector) mod key;
mod look;
mod outbox;
mod pace;
mod plan;
mod purge;
mod put;
mod reference;
mod remove;
mod resolve;
mod salvage;
mod same;
pub mod schema;
pub(in crate::connector) mod session;
mod survey;
mod sweep;
pub(in crate::connector) mod timestamp;
mod touched;
mod waiting;
mod watch;
mod work;
