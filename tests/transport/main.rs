//! Stores: the contract that every transport keeps, and what is special to each.

#![allow(clippy::unwrap_used)]

mod contract;
mod copying;
mod dir;
mod faulty;
#[cfg(feature = "git")]
mod git;
#[cfg(feature = "git")]
mod git_apps;
#[cfg(feature = "git")]
mod git_far;
#[cfg(feature = "git")]
mod git_mirror;
mod hostile;
mod http;
mod http2;
mod load;
mod network;
mod recalled;
mod signed;
mod ssh;
#[path = "../support/mod.rs"]
mod support;
#[cfg(feature = "git")]
mod through;
