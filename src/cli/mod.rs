//! The command line: parse, one call of the library, show.

pub mod arguments;
pub mod commands;
pub mod context;
pub mod failure;
pub mod groups;
pub mod pager;
pub mod passphrase;
pub mod progress;
pub mod qr;
pub mod span;
pub mod text;
pub mod told;
