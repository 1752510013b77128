//! The `wbsync` program.
fn main() {}
