//! Changesets: the touched records between two commits, as sealed objects. Bytes: format/changeset.md.

pub mod entry;
pub mod reader;
pub mod seal;
#[cfg(test)]
mod tests;
pub mod touched;
pub mod writer;
