//! The background worker: when to exchange with whom, doing it, and telling how it goes.

pub mod beat;
pub mod chance;
pub mod error;
pub mod event;
pub mod job;
pub mod lock;
pub mod log;
pub mod once;
pub mod poll;
pub mod remote;
pub mod report;
pub mod schedule;
pub mod target;
pub mod watch;
pub mod worker;
