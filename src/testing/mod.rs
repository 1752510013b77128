//! What tests, benchmarks and demonstrations share: made-up databases, deterministic from a seed.
//!
//! Nothing outside `testing`, tests, benchmarks and examples may use it.

mod conversations;
pub mod decoders;
pub mod prng;
pub mod prose;
#[cfg(debug_assertions)]
pub mod replay;
pub mod seeds;
pub mod vocabulary;
pub mod whiteballoon;
