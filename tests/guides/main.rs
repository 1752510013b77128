//! The guides in docs/ do what they say: their commands are run, in their order, and what they show is compared.
//!
//! To write what was said into the pages: `WBSYNC_UPDATE_DOCS=1 cargo test --test guides`, then read the difference.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

#[path = "../support/mod.rs"]
mod support;

mod instances;
mod links;
mod pages;
mod services;
mod spoken;
mod troubleshooting;
mod walks;
