//! Bundles: the layout of a store in one tar file, behind a signed index, for sites that exchange sticks.
//!
//! The format, and how to take a bundle apart with `tar`, `age`, `zstd` and `b3sum`: format/bundle.md.

pub mod index;
pub mod request;
pub mod store;
pub mod tar;
pub mod write;
