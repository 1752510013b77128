//! Commits, how they relate, and their merge.

pub mod commit;
pub mod join;
#[cfg(test)]
mod tests;
