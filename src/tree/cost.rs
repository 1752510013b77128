//! What operations cost, in nodes read and written, on 100,000 records.

#![cfg(test)]

use super::apply::apply;
use super::diff::diff;
use super::get::get;
use super::memory::MemoryStore;
use super::samples::{Edits, build_map, id_key, record_key, record_value, records};
use super::scan::scan;

const RECORDS: u64 = 100_000;

/// Cost follows the change: scattered edits cost a few nodes each, neighbouring ones far less.
#[test]
fn cost_follows_the_change() {
    let store = MemoryStore::new();
    let root = build_map(&store, &records(RECORDS));
    let nodes = store.writes();
    assert!((9_000..12_000).contains(&nodes), "{nodes} nodes in the tree");

    let scattered: Edits = (0..100).map(|n| edit(n * 997 + 13, n)).collect();
    let appended: Edits = (0..100).map(|n| (record_key(RECORDS + n), Some(record_value(n, 1)))).collect();
    let adjacent: Edits = (50_000..50_100).map(|n| edit(n, n)).collect();
    for (name, edits, reads_max, writes_max, diff_max) in [
        ("scattered", scattered, 450, 300, 500),
        ("appended", appended, 15, 20, 30),
        ("adjacent", adjacent, 30, 25, 50),
    ] {
        store.reset_counts();
        let edited = apply(&store, &id_key(), &root, edits).unwrap();
        let (reads, writes) = (store.reads(), store.writes());
        assert!(reads <= reads_max && writes <= writes_max, "{name}: {reads} reads, {writes} writes");
        store.reset_counts();
        assert_eq!(diff(&store, &id_key(), &root, &edited).count(), 100, "{name}");
        assert!(store.reads() <= diff_max, "{name}: diff took {} reads", store.reads());
    }

    store.reset_counts();
    assert!(get(&store, &id_key(), &root, &record_key(77_777)).unwrap().is_some());
    assert!((3..=4).contains(&store.reads()), "a lookup took {} reads", store.reads());

    store.reset_counts();
    assert_eq!(scan(&store, &id_key(), &root, record_key(500)..record_key(600)).count(), 100);
    assert!(store.reads() <= 25, "a short scan took {} reads", store.reads());
}

/// Edits as many as the records cost about as much as building the tree.
#[test]
fn bulk_edits_cost_one_pass() {
    let store = MemoryStore::new();
    let map = records(10_000);
    let root = build_map(&store, &map);
    let nodes = store.writes();
    store.reset_counts();
    let edits: Edits = (0..10_000).map(|n| (record_key(n), Some(record_value(n, 9)))).collect();
    apply(&store, &id_key(), &root, edits).unwrap();
    assert!(store.writes() <= nodes + nodes / 50, "{} writes for a tree of {nodes} nodes", store.writes());
    assert!(store.reads() <= nodes + nodes / 20, "{} reads for a tree of {nodes} nodes", store.reads());
}

fn edit(number: u64, kind: u64) -> (Vec<u8>, Option<Vec<u8>>) {
    match kind % 4 {
        0 => (record_key(number), None),
        1 => ([record_key(number), vec![1]].concat(), Some(record_value(number, 3))),
        _ => (record_key(number), Some(record_value(number, 3))),
    }
}
