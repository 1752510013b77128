//! What a merge costs: nodes follow the edits, not the records.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "whatever fails here fails the test; the counts are told")]

use std::collections::BTreeMap;

use wbsync::history::commit::{Commit, Making};
use wbsync::history::join::{Known, Outcome, join};
use wbsync::id::bytes::{InstanceId, ScopeId};
use wbsync::id::name::{DatasetName, FieldName};
use wbsync::record::cell::{Cell, Record};
use wbsync::record::clock::Clock;
use wbsync::record::codec::encode;
use wbsync::record::stamp::Stamp;
use wbsync::record::value::Value;
use wbsync::sys::clock::UnixMillis;
use wbsync::tree::apply::apply;
use wbsync::tree::build::build;
use wbsync::tree::error::TreeError;
use wbsync::tree::key::IdKey;
use wbsync::tree::memory::MemoryStore;
use wbsync::tree::root::Root;

const ORIGIN: InstanceId = InstanceId::from_bytes([1; 32]);
const WRITER: InstanceId = InstanceId::from_bytes([2; 32]);
const EDITS: u64 = 1000;

fn record(author: InstanceId, sequence: u64, number: i64) -> Vec<u8> {
    let stamp = Stamp { author, incarnation: 0, sequence, time: UnixMillis(sequence) };
    let cells = BTreeMap::from([(FieldName::new("number").unwrap(), Cell::new(stamp, Value::Int(number)))]);
    encode(&Record { cells }, &ORIGIN)
}

fn key_of(number: u64) -> Vec<u8> {
    u128::from(number).to_be_bytes().to_vec()
}

fn commit(author: InstanceId, clock: Clock, root: Root, key: &IdKey) -> Known {
    let sequence = clock.seen(&author, 0);
    let making = Making::Capture { parent: None, author, incarnation: 0, sequence, time: UnixMillis(0) };
    let datasets = BTreeMap::from([(DatasetName::new("notes").unwrap(), root)]);
    let commit = Commit { scope: ScopeId::from_bytes([3; 16]), clock, datasets, making };
    Known { id: commit.id(key), commit }
}

/// Returns how many nodes a merge of two copies with a thousand edits each reads and writes.
fn nodes(records: u64) -> (u64, u64) {
    let (store, key) = (MemoryStore::new(), IdKey::from_bytes([7; 32]));
    let all = (0..records).map(|number| Ok::<_, TreeError>((key_of(number), record(ORIGIN, 1, 0))));
    let base = build(&store, &key, all).unwrap();
    let step = records / EDITS;
    let edited = |author, sequence, offset| {
        let edits = (0..EDITS).map(|edit| (key_of(edit * step + offset), Some(record(author, sequence, 1))));
        apply(&store, &key, &base, edits).unwrap()
    };
    let mut clock = Clock::default();
    clock.advance(ORIGIN, 0, 1);
    let (mut ours, mut theirs) = (clock.clone(), clock);
    ours.advance(ORIGIN, 0, 2);
    theirs.advance(WRITER, 0, 1);
    let left = commit(ORIGIN, ours, edited(ORIGIN, 2, 0), &key);
    let right = commit(WRITER, theirs, edited(WRITER, 1, step / 2), &key);
    store.reset_counts();
    let Outcome::Merged(merged) = join(&store, &key, &ORIGIN, &left, &right).unwrap() else {
        panic!("both sides have edits")
    };
    assert_eq!(merged.known.commit.records(), records);
    (store.reads(), store.writes())
}

#[test]
fn a_merge_of_a_million_records_touches_nodes_by_its_edits() {
    let small = nodes(100_000);
    let large = nodes(1_000_000);
    eprintln!("nodes (read, written): {small:?} of 100,000 records, {large:?} of 1,000,000");
    // Two thousand edits, far apart, in trees of four or five levels that are walked and edited.
    let bound = 2 * EDITS * 5 * 3;
    assert!(large.0 < bound && large.1 < bound, "{large:?}");
    assert!(large.0 + large.1 < 3 * (small.0 + small.1), "{small:?}, {large:?}");
}
