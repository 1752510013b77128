//! The connector for directories: files as records, what they hold as pieces. Decisions: docs/adr/0027-files.md.

mod adopt;
mod aside;
mod change;
mod checkout;
pub mod connector;
pub mod content;
mod document;
mod ground;
mod list;
mod marks;
mod partner;
pub mod path;
mod pieces;
mod read;
mod report;
mod rival;
mod scan;
pub mod section;
mod shadow;
mod source;
mod watch;
