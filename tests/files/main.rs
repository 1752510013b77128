//! Directories through the library: instances that have files instead of a database exchange them through a store.

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test binary has no outside; whatever fails here fails the test; seeds are printed"
)]

mod around;
mod beside;
mod big;
mod documents;
mod exchange;
mod hostile;
mod interrupted;
mod left_alone;
mod quarrels;
mod restored;
mod site;
mod trees;
mod twins;
