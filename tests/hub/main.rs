//! The program as a hub and as its clients: real processes, real sockets.

#![allow(clippy::unwrap_used)]

mod acknowledged;
mod blind;
mod deployed;
mod healed;
mod modes;
mod pages;
mod race;
mod recovered;
mod relayed;
mod secured;
mod served;
mod serving;
mod site;
mod sparse;
#[path = "../support/mod.rs"]
mod support;
mod together;
mod waiting;
