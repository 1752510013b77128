//! Typed identifiers: every id and name of the system is a type of its own.

pub mod bytes;
pub mod name;
