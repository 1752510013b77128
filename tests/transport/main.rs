//! Stores: the contract that every transport keeps, and what is special to each.

#![allow(clippy::unwrap_used)]

mod contract;
mod copying;
mod dir;
mod faulty;
mod hostile;
mod http;
mod http2;
mod network;
mod signed;
mod ssh;
#[path = "../support/mod.rs"]
mod support;
