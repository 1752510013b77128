//! Records as sync sees them: an id and a sorted map from field to cell. Bytes: format/record.md.

pub mod cell;
pub mod clock;
pub mod codec;
pub mod fieldtype;
pub mod recordid;
pub mod schema;
pub mod stamp;
#[cfg(test)]
mod tests;
pub mod value;
