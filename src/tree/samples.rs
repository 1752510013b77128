//! Maps and edits for the tests of this module.

#![cfg(test)]

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::build::build;
use super::error::TreeError;
use super::key::IdKey;
use super::memory::MemoryStore;
use super::root::Root;

pub(super) type Map = BTreeMap<Vec<u8>, Vec<u8>>;
pub(super) type Edits = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// A starting map and batches of edits to apply one after the other.
#[derive(Debug, Clone)]
pub(super) struct Story {
    pub(super) start: Map,
    pub(super) batches: Vec<Edits>,
}

pub(super) fn id_key() -> IdKey {
    IdKey::from_bytes([0x11; 32])
}

pub(super) fn build_map(store: &MemoryStore, map: &Map) -> Root {
    let entries = map.iter().map(|(key, value)| Ok::<_, TreeError>((key.clone(), value.clone())));
    build(store, &id_key(), entries).unwrap()
}

pub(super) fn edit_map(map: &mut Map, edits: &Edits) {
    for (key, value) in edits {
        match value {
            Some(value) => map.insert(key.clone(), value.clone()),
            None => map.remove(key),
        };
    }
}

/// Map of `count` entries as records are: 16-byte ordered keys, values of about 400 bytes.
pub(super) fn records(count: u64) -> Map {
    (0..count).map(|number| (record_key(number), record_value(number, 0))).collect()
}

pub(super) fn record_key(number: u64) -> Vec<u8> {
    [(number * 1000).to_be_bytes(), number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()].concat()
}

pub(super) fn record_value(number: u64, edit: u8) -> Vec<u8> {
    let length = 300 + number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 200;
    (0..length).map(|at| (number as u8).wrapping_mul(7).wrapping_add(at as u8).wrapping_add(edit)).collect()
}

/// Keys of 4 bytes and a padding that is the same for all: long keys make deep trees of few entries.
pub(super) fn padded_key(number: u16, padding: usize) -> Vec<u8> {
    let mut key = u32::from(number).to_be_bytes().to_vec();
    key.resize(4 + padding, 0xaa);
    key
}

/// Mostly small values, some that fill a node, a few that no node has room for.
pub(super) fn value() -> impl Strategy<Value = Vec<u8>> {
    let length = prop_oneof![10 => 0usize..40, 10 => 300usize..500, 2 => 3_000usize..9_000, 1 => 12_000usize..20_000];
    (any::<u8>(), length).prop_map(|(byte, length)| vec![byte; length])
}

pub(super) fn padding() -> impl Strategy<Value = usize> {
    prop_oneof![Just(0usize), Just(12), Just(200), Just(1020)]
}

pub(super) fn map(padding: usize) -> impl Strategy<Value = Map> {
    btree_map((0u16..500).prop_map(move |number| padded_key(number, padding)), value(), 0..200)
}

pub(super) fn edits(padding: usize) -> impl Strategy<Value = Edits> {
    let key = (0u16..520).prop_map(move |number| padded_key(number, padding));
    prop_oneof![
        4 => btree_map(key.clone(), proptest::option::of(value()), 0..6),
        2 => btree_map(key, proptest::option::of(value()), 0..200),
        // A gap: all keys of a range go.
        1 => (0u16..500, 0u16..300).prop_map(move |(from, length)| {
            (from..from + length).map(|number| (padded_key(number, padding), None)).collect()
        }),
    ]
}

pub(super) fn story() -> impl Strategy<Value = Story> {
    padding().prop_flat_map(|padding| {
        (map(padding), vec(edits(padding), 1..5)).prop_map(|(start, batches)| Story { start, batches })
    })
}
