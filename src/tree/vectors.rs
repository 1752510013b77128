//! Frozen ids and refused nodes (format/tree.md, "Vectors"): an accidental change of format fails here.

#![cfg(test)]

use super::error::{Corruption, TreeError};
use super::limits::{KEY_BYTES_MAX, LEVEL_MAX, NODE_BYTES_MAX, VALUE_BYTES_MAX};
use super::memory::MemoryStore;
use super::node::{Node, child_tail, encode, value_tail};
use super::root::Root;
use super::samples::{Map, build_map, id_key};
use super::scan::scan;
use super::store::NodeStore;
use crate::cbor::writer::Writer;
use crate::id::bytes::NodeId;

#[test]
fn small_map_has_its_frozen_node() {
    let store = MemoryStore::new();
    let map = Map::from([(b"a".to_vec(), b"one".to_vec()), (b"b".to_vec(), vec![]), (b"ba".to_vec(), vec![0xff])]);
    let root = build_map(&store, &map);
    let id = root.node.unwrap();
    assert_eq!(id.to_string(), "3be71dd9d1f3b620b515e8a2fd9b6dea1eca6254483599a0d44041199bf54307");
    assert_eq!(store.read(&id).unwrap(), b"\x82\x00\x86\x41a\x43one\x41b\x40\x42ba\x41\xff");
}

#[test]
fn deep_map_has_its_frozen_root() {
    let store = MemoryStore::new();
    let root = build_map(&store, &numbers());
    assert_eq!(root.count, 2000);
    assert_eq!(root.node.unwrap().to_string(), "9c29d37ae69fa2f694b42fe3dd38361395ccda6c924d13ccc6e6a3daaddfe2ea");
    let top = Node::decode(store.read(&root.node.unwrap()).unwrap()).unwrap();
    assert_eq!((top.level(), store.len()), (2, 222));
}

/// Every fifth value is larger than a node may be: it ends the node before it, and its own.
#[test]
fn map_with_oversized_values_has_its_frozen_root() {
    let store = MemoryStore::new();
    let value = |n: u32| vec![7; if n % 5 == 4 { 20_000 } else { 300 }];
    let root = build_map(&store, &(0u32..40).map(|n| (n.to_be_bytes().to_vec(), value(n))).collect());
    assert_eq!(root.node.unwrap().to_string(), "62086b898a3b79b4cbf4a9037e2dba807f7cb6f9c74011d57e872ee1f74cb695");
    assert_eq!(store.len(), 17);
}

#[test]
fn boundary_hash_is_frozen() {
    assert_eq!(id_key().as_bytes(), &[0x11; 32]);
    assert_eq!(format!("{:?}", id_key()), "IdKey(secret)");
    assert_eq!(id_key().boundary_hash(0, b"a"), 0x1fb9_ee90);
    assert_eq!(id_key().boundary_hash(1, b"a"), 0xdf82_b0c9);
    assert_eq!(id_key().boundary_hash(0, b""), 0x7c13_a720);
}

/// Each node is well-formed but for the one thing that its name tells.
#[test]
fn malformed_nodes_are_refused() {
    let leaf = |entries: &[(&[u8], &[u8])]| {
        let body = entries.iter().flat_map(|(key, value)| [value_tail(key), value_tail(value)].concat());
        encode(0, entries.len(), &body.collect::<Vec<_>>())
    };
    let inner = |level: u64, count: u64| {
        let mut writer = Writer::new();
        writer.array(2);
        writer.uint(level);
        writer.array(3);
        writer.bytes(b"k");
        writer.raw(&child_tail(&NodeId::from_bytes([7; 32]), count));
        writer.finish()
    };
    assert!(Node::decode(leaf(&[(b"a", b"1"), (b"b", b"2")])).is_ok());
    assert!(Node::decode(inner(1, 1)).is_ok());
    assert!(Node::decode(leaf(&[(b"a", &[0; 20_000])])).is_ok());
    // All but the second value takes 12 bytes.
    assert!(Node::decode(leaf(&[(b"a", b"1"), (b"b", &[0; NODE_BYTES_MAX - 12])])).is_ok_and(|node| {
        assert_eq!((node.entries(), node.bytes().len()), (2, NODE_BYTES_MAX));
        assert!((1..200).contains(&(node.weight() - NODE_BYTES_MAX)));
        true
    }));
    let many: Vec<_> = (0..100).map(|key| ([key], [key])).collect();
    let many: Vec<(&[u8], &[u8])> = many.iter().map(|(key, value)| (&key[..], &value[..])).collect();
    let many = Node::decode(leaf(&many)).unwrap();
    assert!(
        many.weight() > many.bytes().len() + 100 * size_of::<u64>(),
        "each entry is found without reading the others"
    );
    for (name, bytes) in [
        ("no entries", encode(0, 0, &[])),
        ("half an entry", b"\x82\x00\x81\x41a".to_vec()),
        ("equal keys", leaf(&[(b"a", b"1"), (b"a", b"2")])),
        ("descending keys", leaf(&[(b"b", b"1"), (b"a", b"2")])),
        ("long key", leaf(&[(&[0; KEY_BYTES_MAX + 1], b"")])),
        ("large value", leaf(&[(b"a", &vec![0; VALUE_BYTES_MAX + 1])])),
        ("large node of two entries", leaf(&[(b"a", &[0; 10_000]), (b"b", &[0; 10_000])])),
        ("node of two entries with a byte too much", leaf(&[(b"a", b"1"), (b"b", &[0; NODE_BYTES_MAX - 11])])),
        ("text key", b"\x82\x00\x82\x61a\x41b".to_vec()),
        ("long form of a length", b"\x82\x00\x82\x58\x01a\x41b".to_vec()),
        ("indefinite length", b"\x82\x00\x9f\x41a\x41b\xff".to_vec()),
        ("trailing byte", b"\x82\x00\x82\x41a\x41b\x00".to_vec()),
        ("level too high", inner(u64::from(LEVEL_MAX) + 1, 1)),
        ("empty child", inner(1, 0)),
        ("short child id", b"\x82\x01\x83\x41a\x41b\x01".to_vec()),
        ("nothing", Vec::new()),
    ] {
        assert!(Node::decode(bytes).is_err(), "{name}");
    }
    let overflow = [value_tail(b"a"), child_tail(&NodeId::from_bytes([7; 32]), u64::MAX)].concat();
    let second = [value_tail(b"b"), child_tail(&NodeId::from_bytes([7; 32]), 1)].concat();
    assert!(Node::decode(encode(1, 2, &[overflow, second].concat())).is_err(), "counts over 64 bits");
}

/// Nodes with good ids that don't fit their place are refused when they are reached.
#[test]
fn misplaced_nodes_are_refused() {
    let store = MemoryStore::new();
    let put = |level, entries: &[(&[u8], Vec<u8>)]| {
        let body: Vec<u8> = entries.iter().flat_map(|(key, tail)| [value_tail(key), tail.clone()].concat()).collect();
        let bytes = encode(level, entries.len(), &body);
        let id = id_key().node_id(&bytes);
        store.write(&id, &bytes).unwrap();
        id
    };
    let a = put(0, &[(b"a", value_tail(b"1"))]);
    let b = put(0, &[(b"b", value_tail(b"2"))]);
    let ab = put(0, &[(b"a", value_tail(b"1")), (b"b", value_tail(b"2"))]);
    let fault = |node, count| match scan(&store, &id_key(), &Root { node: Some(node), count }, ..).find_map(Result::err)
    {
        Some(TreeError::Corrupt { source, .. }) => source,
        other => panic!("found {other:?}"),
    };
    let sound = put(1, &[(b"a", child_tail(&a, 1)), (b"b", child_tail(&b, 1))]);
    assert_eq!(scan(&store, &id_key(), &Root { node: Some(sound), count: 2 }, ..).filter(Result::is_ok).count(), 2);
    assert_eq!(fault(sound, 3), Corruption::Count { wanted: 3, found: 2 });

    let count = put(1, &[(b"a", child_tail(&a, 1)), (b"b", child_tail(&b, 5))]);
    assert_eq!(fault(count, 6), Corruption::Count { wanted: 5, found: 1 });
    let greatest = put(1, &[(b"a", child_tail(&a, 1)), (b"c", child_tail(&b, 1))]);
    assert_eq!(fault(greatest, 2), Corruption::GreatestKey);
    let order = put(1, &[(b"a", child_tail(&a, 1)), (b"b", child_tail(&ab, 2))]);
    assert_eq!(fault(order, 3), Corruption::Order);
    let level = put(2, &[(b"a", child_tail(&a, 1)), (b"b", child_tail(&b, 1))]);
    assert_eq!(fault(level, 2), Corruption::Level { wanted: 1, found: 0 });
    let single = put(1, &[(b"a", child_tail(&a, 1))]);
    assert_eq!(fault(single, 1), Corruption::SingleChildRoot);

    // All nodes fit, but these entries don't make this tree: only `check` looks that closely.
    let checked = super::check::check(&store, &id_key(), &Root { node: Some(sound), count: 2 });
    assert!(matches!(checked, Err(TreeError::Shape { id }) if id == sound));
}

/// Keys are 16 bytes, the number in the first eight; the value is the number's low byte, 400 times.
fn numbers() -> Map {
    (0u64..2000).map(|n| ([n.to_be_bytes(), [0; 8]].concat(), vec![n as u8; 400])).collect()
}
