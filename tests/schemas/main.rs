//! Applications of other shapes than WhiteBalloon's, on both databases: whatever their keys and references are, instances
//! end with equal roots and equal rows.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod blog;
mod presets;
mod proposed;
mod random;
mod shapes;
mod site;
#[path = "../support/mod.rs"]
mod support;
mod turns;
mod vocabulary;
