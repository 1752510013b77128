//! What holds for every map and every edit, against a `BTreeMap` as the model.

#![cfg(test)]

use std::ops::{Bound, RangeBounds};

use proptest::prelude::*;

use super::apply::apply;
use super::check::check;
use super::cursor::read_node;
use super::diff::{Difference, diff};
use super::error::{Corruption, TreeError};
use super::get::get;
use super::limits::{KEY_BYTES_MAX, NODE_BYTES_MAX, NODE_BYTES_MIN, VALUE_BYTES_MAX};
use super::memory::MemoryStore;
use super::node::{Node, encode};
use super::root::Root;
use super::samples::{Edits, Map, Story, build_map, edit_map, id_key, map, padding, records, story};
use super::scan::scan;
use super::store::{NodeStore, StoreError};
use super::walk::walk;
use crate::id::bytes::NodeId;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    /// After each batch of any edits, the tree is the one that a build of the map gives, node for node.
    #[test]
    fn editor_equals_rebuild(Story { start, batches } in story()) {
        let (edited, rebuilt) = (MemoryStore::new(), MemoryStore::new());
        let mut model = start;
        let first = build_map(&edited, &model);
        let mut roots = vec![first];
        for batch in &batches {
            let root = apply(&edited, &id_key(), roots.last().unwrap(), batch.clone()).unwrap();
            edit_map(&mut model, batch);
            prop_assert_eq!(root, build_map(&rebuilt, &model));
            prop_assert_eq!(root.count, model.len() as u64);
            check(&edited, &id_key(), &root).unwrap();
            roots.push(root);
        }
        // And back: undoing all batches at once gives the first root again.
        let last = *roots.last().unwrap();
        let undo: Edits = diff(&edited, &id_key(), &first, &last).map(|d| d.map(|d| (d.key, d.left)).unwrap()).collect();
        prop_assert_eq!(apply(&edited, &id_key(), &last, undo).unwrap(), first);
    }

    /// Edits that change nothing give the same root and write nothing.
    #[test]
    fn edits_without_effect_write_nothing(map in padding().prop_flat_map(map), absent in any::<[u8; 3]>()) {
        let store = MemoryStore::new();
        let root = build_map(&store, &map);
        store.reset_counts();
        let mut edits: Edits = map.into_iter().map(|(key, value)| (key, Some(value))).collect();
        edits.insert(absent.to_vec(), None);
        prop_assert_eq!(apply(&store, &id_key(), &root, edits).unwrap(), root);
        prop_assert_eq!(store.writes(), 0);
    }

    #[test]
    fn diff_equals_the_diff_of_the_maps(Story { start, batches } in story()) {
        let store = MemoryStore::new();
        let mut model = start.clone();
        batches.iter().for_each(|batch| edit_map(&mut model, batch));
        let (left, right) = (build_map(&store, &start), build_map(&store, &model));
        let found: Vec<_> = diff(&store, &id_key(), &left, &right).collect::<Result<_, _>>().unwrap();
        prop_assert_eq!(&found, &model_diff(&start, &model));
        let back: Vec<_> = diff(&store, &id_key(), &right, &left).collect::<Result<_, _>>().unwrap();
        prop_assert_eq!(back, model_diff(&model, &start));
    }

    #[test]
    fn scans_and_lookups_equal_the_map(
        map in padding().prop_flat_map(map),
        bounds in any::<[(u8, u16); 2]>(),
    ) {
        let store = MemoryStore::new();
        let root = build_map(&store, &map);
        let padding = map.keys().next().map_or(0, |key| key.len() - 4);
        let [start, end] = bounds.map(|(kind, number)| {
            let key = super::samples::padded_key(number % 520, padding);
            [Bound::Included(key.clone()), Bound::Excluded(key), Bound::Unbounded][usize::from(kind % 3)].clone()
        });
        let inside = |key: &Vec<u8>| (start.clone(), end.clone()).contains(key);
        let wanted: Vec<_> = map.clone().into_iter().filter(|(key, _)| inside(key)).collect();
        let found: Vec<_> = scan(&store, &id_key(), &root, (start.clone(), end.clone())).collect::<Result<_, _>>().unwrap();
        prop_assert_eq!(found, wanted);
        for number in 0..520 {
            let key = super::samples::padded_key(number, padding);
            prop_assert_eq!(get(&store, &id_key(), &root, &key).unwrap(), map.get(&key).cloned());
        }
    }

    /// Nodes keep their bounds, except that the last of a level may be small.
    #[test]
    fn nodes_keep_their_bounds(map in padding().prop_flat_map(map)) {
        let store = MemoryStore::new();
        let root = build_map(&store, &map);
        let mut ids = Vec::new();
        walk(&store, &id_key(), &root, |id, level| { ids.push((level, *id)); true }).unwrap();
        for (at, (level, id)) in ids.iter().enumerate() {
            let node = read_node(&store, &id_key(), id).unwrap();
            let bytes = store.read(id).unwrap().len();
            let last = !ids[at + 1..].iter().any(|(other, _)| other == level);
            prop_assert!(node.entries() == 1 || bytes <= NODE_BYTES_MAX);
            prop_assert!(last || *level == 0 || node.entries() > 1);
            let next_has_no_room = bytes + largest_entry(&map) > NODE_BYTES_MAX;
            prop_assert!(last || bytes >= NODE_BYTES_MIN || next_has_no_room, "{} bytes on level {}", bytes, level);
        }
        prop_assert_eq!(ids.len(), store.len(), "a build writes no node that isn't in the tree");
    }

    /// One flipped bit, a cut or an extended node is refused by whatever reads it, and never a panic.
    #[test]
    fn damaged_nodes_are_refused(
        map in padding().prop_flat_map(map).prop_filter("has a node", |map| !map.is_empty()),
        node in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        damage in 0u8..10,
    ) {
        let store = MemoryStore::new();
        let root = build_map(&store, &map);
        let mut ids = store.ids();
        ids.sort();
        let id = *node.get(&ids);
        let mut bytes = store.read(&id).unwrap();
        match (damage, at.index(bytes.len())) {
            (0, at) => bytes.truncate(at),
            (1, _) => bytes.push(0),
            (bit, at) => bytes[at] ^= 1 << (bit - 2),
        }
        if let Ok(node) = Node::decode(bytes.clone()) {
            prop_assert_eq!(reencoded(&node), bytes.clone(), "what is accepted is canonical");
        }
        store.write(&id, &bytes).unwrap();
        let found = scan(&store, &id_key(), &root, ..).find_map(Result::err);
        let refused = matches!(found, Some(TreeError::Corrupt { id: found, source: Corruption::Hash }) if found == id);
        prop_assert!(refused, "a scan found {:?}", found);
        store.remove(&id);
        let found = scan(&store, &id_key(), &root, ..).find_map(Result::err);
        let missed = matches!(found, Some(TreeError::Missing { id: found }) if found == id);
        prop_assert!(missed, "a scan found {:?}", found);
    }

    #[test]
    fn any_bytes_decode_without_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..80), level in 0u8..3) {
        let _ = Node::decode(bytes.clone());
        // Get past the first two items, where random bytes seldom do.
        bytes.splice(0..0, [0x82, level]);
        if let Ok(node) = Node::decode(bytes.clone()) {
            prop_assert_eq!(reencoded(&node), bytes);
        }
    }
}

/// Node sizes of records lie around the target, and very few nodes are small.
#[test]
fn record_nodes_are_about_4_kib() {
    let store = MemoryStore::new();
    let root = build_map(&store, &records(20_000));
    let (mut leaves, mut bytes, mut small) = (0, 0, 0);
    walk(&store, &id_key(), &root, |id, level| {
        if level == 0 {
            let size = store.read(id).unwrap().len();
            (leaves, bytes, small) = (leaves + 1, bytes + size, small + usize::from(size < 2048));
        }
        true
    })
    .unwrap();
    let mean = bytes / leaves;
    assert!((3600..4400).contains(&mean), "mean leaf of {mean} bytes");
    assert!(small * 10 < leaves, "{small} of {leaves} leaves are below 2 KiB");
}

#[test]
fn the_empty_tree_has_no_node() {
    let store = MemoryStore::new();
    let empty = build_map(&store, &Map::new());
    assert_eq!(empty, Root::EMPTY);
    assert!(store.is_empty());
    build_map(&store, &Map::from([(b"a".to_vec(), Vec::new())]));
    assert!(!store.is_empty());
    let one = apply(&store, &id_key(), &empty, [(b"a".to_vec(), Some(b"1".to_vec())), (b"b".to_vec(), None)]).unwrap();
    assert_eq!(one.count, 1);
    assert_eq!(apply(&store, &id_key(), &one, [(b"a".to_vec(), None)]).unwrap(), Root::EMPTY);
    assert_eq!(diff(&store, &id_key(), &empty, &one).count(), 1);
    assert_eq!(scan(&store, &id_key(), &empty, ..).count(), 0);
}

/// Found by `editor_equals_rebuild`: a node that keeps only the start of a region ends before the old
/// nodes whose entries are gone.
#[test]
fn an_equal_value_under_another_key_is_two_differences() {
    let store = MemoryStore::new();
    let [left, right] = [b"a", b"b"].map(|key| Map::from([(key.to_vec(), b"equal".to_vec())]));
    let (old, new) = (build_map(&store, &left), build_map(&store, &right));
    let found: Vec<_> = diff(&store, &id_key(), &old, &new).map(Result::unwrap).collect();
    assert_eq!(found, model_diff(&left, &right));
}

#[test]
fn deleting_all_but_the_first_entries_leaves_one_node() {
    let store = MemoryStore::new();
    let map = records(2_000);
    let root = build_map(&store, &map);
    let kept: Map = map.clone().into_iter().take(3).collect();
    let gone = map.into_keys().skip(3).map(|key| (key, None));
    assert_eq!(apply(&store, &id_key(), &root, gone).unwrap(), build_map(&store, &kept));
}

#[test]
fn too_large_keys_and_values_are_refused() {
    let store = MemoryStore::new();
    let put = |key: usize, value: usize| apply(&store, &id_key(), &Root::EMPTY, [(vec![0; key], Some(vec![0; value]))]);
    assert!(put(KEY_BYTES_MAX, VALUE_BYTES_MAX).is_ok_and(|root| check(&store, &id_key(), &root).is_ok()));
    assert!(matches!(put(KEY_BYTES_MAX + 1, 0), Err(TreeError::KeyTooLong { .. })));
    assert!(matches!(put(0, VALUE_BYTES_MAX + 1), Err(TreeError::ValueTooLarge { .. })));
}

/// What the store says comes through as the cause, and a failed write yields no root.
#[test]
fn a_failing_store_is_named_with_its_cause() {
    struct Broken;
    impl NodeStore for Broken {
        fn read(&self, _: &NodeId) -> Result<Vec<u8>, StoreError> {
            Err(StoreError::Failed("disk on fire".into()))
        }
        fn write(&self, _: &NodeId, _: &[u8]) -> Result<(), StoreError> {
            Err(StoreError::Failed("disk full".into()))
        }
    }
    let put = [(b"a".to_vec(), Some(b"1".to_vec()))];
    assert!(matches!(apply(&Broken, &id_key(), &Root::EMPTY, put), Err(TreeError::Write { .. })));
    let root = build_map(&MemoryStore::new(), &records(10));
    let key = id_key();
    let mut found = scan(&Broken, &key, &root, ..);
    assert!(matches!(found.next(), Some(Err(TreeError::Read { .. }))));
    assert!(found.next().is_none(), "a scan ends with its first error");
}

#[test]
#[should_panic(expected = "strictly ascending")]
fn unsorted_edits_are_our_own_mistake() {
    let edits = [(b"b".to_vec(), None), (b"a".to_vec(), None)];
    let _ = apply(&MemoryStore::new(), &id_key(), &Root::EMPTY, edits);
}

fn model_diff(left: &Map, right: &Map) -> Vec<Difference> {
    let keys: std::collections::BTreeSet<_> = left.keys().chain(right.keys()).collect();
    keys.into_iter()
        .filter(|key| left.get(*key) != right.get(*key))
        .map(|key| Difference { key: key.clone(), left: left.get(key).cloned(), right: right.get(key).cloned() })
        .collect()
}

fn largest_entry(map: &Map) -> usize {
    map.iter().map(|(key, value)| key.len() + value.len() + 16).max().unwrap_or(0)
}

fn reencoded(node: &Node) -> Vec<u8> {
    let mut body = crate::cbor::writer::Writer::new();
    for index in 0..node.entries() {
        body.bytes(node.key(index));
        if node.level() == 0 {
            body.bytes(node.value(index));
        } else {
            body.bytes(node.child(index).as_bytes());
            body.uint(node.entry_count(index));
        }
    }
    encode(node.level(), node.entries(), &body.finish())
}
