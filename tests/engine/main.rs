//! The main job through the library: two real application databases exchange records through a store.

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test binary has no outside; whatever fails here fails the test; seeds are printed"
)]

#[path = "../support/mod.rs"]
mod support;

mod accept;
mod apart;
mod bundle_clone;
mod bundles;
mod by_hand;
mod canary;
mod cards;
mod converge;
mod crash;
mod damage;
mod exchange;
mod folding;
mod forge;
mod giving_up;
mod gossip;
mod health;
mod leaving;
mod lost_stick;
mod mapping;
mod marks;
mod meanwhile;
mod mending;
mod narrowing;
mod outcomes;
mod peers;
mod pieces;
mod privacy;
mod protocol;
mod prune;
mod readers;
mod restore;
mod returning;
mod sticks;
mod tamper;
mod waiting;
mod withdrawal;
mod working;
mod world;
