//! Vectors and properties of commits (format/commit.md).

use proptest::prelude::*;

use super::commit::{COMMIT_BYTES_MAX, Commit, DATASETS_MAX, Dot, FRONTIER_MAX, Making};
use crate::cbor::writer::Writer;
use crate::id::bytes::{CommitId, InstanceId, NodeId, ScopeId};
use crate::id::name::DatasetName;
use crate::keys::vectors::{self, Case, replaced};
use crate::record::clock::{CLOCK_ENTRIES_MAX, Clock};
use crate::record::stamp::NUMBER_MAX;
use crate::sys::clock::UnixMillis;
use crate::tree::key::IdKey;
use crate::tree::root::Root;

fn instance(n: u8) -> InstanceId {
    InstanceId::from_bytes([n; 32])
}

fn clock(entries: &[(u8, u32, u64)]) -> Clock {
    let mut clock = Clock::default();
    entries.iter().for_each(|&(author, incarnation, sequence)| clock.advance(instance(author), incarnation, sequence));
    clock
}

fn dot(author: u8, incarnation: u32, sequence: u64) -> Dot {
    Dot { author: instance(author), incarnation, sequence, id: CommitId::from_bytes([0xc0 + author; 32]) }
}

fn datasets(names: &[&str]) -> std::collections::BTreeMap<DatasetName, Root> {
    let root = |n: usize| Root { node: Some(NodeId::from_bytes([0xd0 + n as u8; 32])), count: 7 + n as u64 };
    names.iter().enumerate().map(|(n, name)| (DatasetName::new(name).unwrap(), root(n))).collect()
}

/// The third capture of author 2, which has seen two writes of author 1.
fn capture() -> Commit {
    Commit {
        scope: ScopeId::from_bytes([4; 16]),
        clock: clock(&[(1, 0, 2), (2, 1, 3)]),
        datasets: datasets(&["users", "requests"]),
        making: Making::Capture {
            parent: Some(CommitId::from_bytes([0xc1; 32])),
            author: instance(2),
            incarnation: 1,
            sequence: 3,
            time: UnixMillis(1_700_000_000_000),
        },
    }
}

/// The join of captures of authors 1 and 2, which have seen a write of author 3.
fn merge() -> Commit {
    Commit {
        clock: clock(&[(1, 0, 2), (2, 1, 3), (3, 0, 1)]),
        making: Making::Merge(vec![dot(1, 0, 2), dot(2, 1, 3)]),
        ..capture()
    }
}

fn with(base: Commit, change: impl FnOnce(&mut Commit)) -> Vec<u8> {
    let mut commit = base;
    change(&mut commit);
    commit.encode()
}

/// Replaces the making by items that may be no making.
fn making(base: &Commit, fill: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let bytes = base.encode();
    let at = |key: &[u8]| bytes.windows(key.len()).position(|window| window == key).unwrap();
    let mut items = Writer::new();
    fill(&mut items);
    [&bytes[..at(b"\x66making") + 7], &items.finish(), &bytes[at(b"\x68datasets")..]].concat()
}

fn write_dot(writer: &mut Writer, dot: &Dot) {
    writer.array(4);
    writer.bytes(dot.author.as_bytes());
    writer.uint(u64::from(dot.incarnation));
    writer.uint(dot.sequence);
    writer.bytes(dot.id.as_bytes());
}

fn set_sequence(commit: &mut Commit, to: u64) {
    let Making::Capture { sequence, .. } = &mut commit.making else { panic!("a capture is wanted") };
    *sequence = to;
}

fn set_time(commit: &mut Commit, to: u64) {
    let Making::Capture { time, .. } = &mut commit.making else { panic!("a capture is wanted") };
    *time = UnixMillis(to);
}

fn first() -> Commit {
    let making =
        Making::Capture { parent: None, author: instance(2), incarnation: 0, sequence: 1, time: UnixMillis(0) };
    Commit { clock: clock(&[(2, 0, 1)]), datasets: datasets(&[]), making, ..capture() }
}

fn largest() -> Commit {
    let making = Making::Capture {
        parent: Some(CommitId::from_bytes([0xc1; 32])),
        author: instance(2),
        incarnation: u32::MAX,
        sequence: NUMBER_MAX,
        time: UnixMillis(NUMBER_MAX),
    };
    let root = Root { node: Some(NodeId::from_bytes([0xd0; 32])), count: NUMBER_MAX };
    let datasets = [(DatasetName::new(&"x".repeat(64)).unwrap(), root)].into();
    Commit { clock: clock(&[(2, u32::MAX, NUMBER_MAX)]), datasets, making, ..capture() }
}

#[test]
fn vectors_hold() {
    let (good, joined) = (capture().encode(), merge().encode());
    let count = |n: u8| [&[0x58, 32][..], &[0xd0; 32], &[n]].concat();
    let sequence = |sequence| move |commit: &mut Commit| set_sequence(commit, sequence);
    let dots = |dots: &[Dot]| with(merge(), |commit| commit.making = Making::Merge(dots.to_vec()));
    let array_and_dots = |head: usize| {
        making(&merge(), |writer| {
            writer.array(head);
            writer.array(2);
            [dot(1, 0, 2), dot(2, 1, 3)].iter().for_each(|dot| write_dot(writer, dot));
        })
    };
    let cases = [
        Case::accept("first", first().encode()),
        Case::accept("capture", good.clone()),
        Case::accept("merge", joined.clone()),
        Case::accept("two-incarnations", {
            let dots = vec![dot(1, 0, 9), dot(1, 1, 4)];
            with(merge(), |commit| {
                (commit.clock, commit.making) = (clock(&[(1, 0, 9), (1, 1, 4)]), Making::Merge(dots))
            })
        }),
        Case::accept("largest-numbers", largest().encode()),
        Case::reject("empty", Vec::new()),
        Case::reject("truncated", good[..good.len() - 1].to_vec()),
        Case::reject("trailing", [&good[..], &[0]].concat()),
        Case::reject("format-0", replaced(&good, b"format\x01", b"format\x00")),
        Case::reject("format-2", replaced(&good, b"format\x01", b"format\x02")),
        Case::reject("long-format", replaced(&good, b"format\x01", b"format\x18\x01")),
        Case::reject("missing-key", replaced(&good, b"\x66format\x01", b"")),
        Case::reject("unknown-key", replaced(&good, b"\x66making", b"\x66masing")),
        Case::reject("unsorted-key", replaced(&good, b"\x65scope", b"\x65aaaaa")),
        Case::reject("short-scope", replaced(&good, &[0x50, 4, 4], &[0x4f, 4])),
        Case::reject("indefinite-map", [&[0xbf], &good[1..], &[0xff]].concat()),
        Case::reject("clock-unsorted", replaced(&good, &[0x58, 32, 1, 1], &[0x58, 32, 9, 1])),
        Case::reject(
            "clock-repeats",
            replaced(&good, &[&[2; 32][..], &[1, 3]].concat(), &[&[1; 32][..], &[0, 3]].concat()),
        ),
        Case::reject(
            "clock-sequence-0",
            replaced(&good, &[&[1; 32][..], &[0, 2]].concat(), &[&[1; 32][..], &[0, 0]].concat()),
        ),
        Case::reject("clock-entry-of-four", replaced(&good, &[0x83, 0x58, 32, 1], &[0x84, 0x58, 32, 1])),
        Case::reject("incarnation-too-large", {
            let over = [&[1; 32][..], &[0x1b, 0, 0, 0, 1, 0, 0, 0, 0]].concat();
            replaced(&good, &[&[1; 32][..], &[0]].concat(), &over)
        }),
        Case::reject("sequence-0", with(capture(), sequence(0))),
        Case::reject("sequence-behind-clock", with(capture(), sequence(2))),
        Case::reject("sequence-before-clock", with(capture(), sequence(4))),
        Case::reject("sequence-too-large", with(largest(), sequence(NUMBER_MAX + 1))),
        Case::reject("author-without-clock", with(capture(), |commit| commit.clock = clock(&[(1, 0, 2)]))),
        Case::reject("empty-clock", with(capture(), |commit| commit.clock = Clock::default())),
        Case::reject("first-has-seen-others", with(first(), |commit| commit.clock = clock(&[(1, 0, 2), (2, 0, 1)]))),
        Case::reject("time-too-large", with(capture(), |commit| set_time(commit, NUMBER_MAX + 1))),
        Case::reject("making-of-none", array_and_dots(0)),
        Case::reject("making-of-two", array_and_dots(2)),
        Case::reject("making-of-four", array_and_dots(4)),
        Case::reject(
            "making-of-six",
            making(&capture(), |writer| {
                writer.array(6);
                (0..6).for_each(|_| writer.null());
            }),
        ),
        Case::reject("merge-of-none", dots(&[])),
        Case::reject("merge-of-one", dots(&[dot(1, 0, 2)])),
        Case::reject("merge-unsorted", dots(&[dot(2, 1, 3), dot(1, 0, 2)])),
        Case::reject("merge-repeats", dots(&[dot(1, 0, 2), dot(1, 0, 2)])),
        Case::reject("merge-of-a-line", dots(&[dot(1, 0, 1), dot(1, 0, 2)])),
        Case::reject(
            "merge-of-a-fork",
            dots(&[dot(1, 0, 2), Dot { id: CommitId::from_bytes([0xff; 32]), ..dot(1, 0, 2) }]),
        ),
        Case::reject("merge-behind-clock", dots(&[dot(1, 0, 2), dot(2, 1, 2)])),
        Case::reject("merge-before-clock", dots(&[dot(1, 0, 2), dot(2, 1, 4)])),
        Case::reject("merge-of-unseen", dots(&[dot(1, 0, 2), dot(4, 0, 1)])),
        Case::reject("merge-sequence-0", dots(&[dot(1, 0, 2), dot(4, 0, 0)])),
        Case::reject(
            "merge-with-time",
            making(&merge(), |writer| {
                writer.array(2);
                writer.array(2);
                [dot(1, 0, 2), dot(2, 1, 3)].iter().for_each(|dot| write_dot(writer, dot));
                writer.uint(0);
            }),
        ),
        Case::reject("dataset-without-records", replaced(&good, &count(7), &count(0))),
        Case::reject(
            "dataset-too-large",
            with(largest(), |commit| {
                commit.datasets.values_mut().for_each(|root| root.count = NUMBER_MAX + 1);
            }),
        ),
        Case::reject("dataset-without-root", {
            let root = [&[0x82, 0x58, 32][..], &[0xd0; 32]].concat();
            replaced(&good, &root, &[0x82, 0xf6])
        }),
        Case::reject("dataset-unsorted", replaced(&good, b"\x65users", b"\x69usersuser")),
        Case::reject("dataset-repeats", {
            let one = [&b"\x65users\x82\x58\x20"[..], &[0xd0; 32], &[7]].concat();
            replaced(&replaced(&good, &one, &[&one[..], &one].concat()), b"datasets\xa2", b"datasets\xa3")
        }),
        Case::reject("dataset-upper-case", replaced(&good, b"\x65users", b"\x65Users")),
        Case::reject("dataset-name-of-65", {
            let name = [&[0x78, 64][..], &[b'x'; 64]].concat();
            replaced(&largest().encode(), &name, &[&[0x78, 65][..], &[b'x'; 65]].concat())
        }),
        Case::reject("257-datasets", {
            let name = |n: usize| DatasetName::new(&format!("d{n:03}")).unwrap();
            let root = Root { node: Some(NodeId::from_bytes([0; 32])), count: 1 };
            with(first(), |commit| commit.datasets = (0..=DATASETS_MAX).map(|n| (name(n), root)).collect())
        }),
    ];
    vectors::run("commit", &cases, |bytes| Commit::decode(bytes).map(drop));
}

/// The ids of format/commit.md, made with `b3sum` as that page says.
#[test]
fn ids_are_frozen() {
    let key = IdKey::from_bytes([0x11; 32]);
    let ids = [first(), capture(), merge()].map(|commit| commit.id(&key).to_string());
    let frozen = [
        "5f1ccf2efa4aee4bc924f1e400ae550db013d2e71cbd46b7ddd71a0cc936a107",
        "da92a934673113519585e25e8b63bcc9977878b8d6d243c739174b170a4ddb67",
        "67152a538d37eb0208e1658aac0cdeea7e68ada15fd892ca3b7b4eb79d6791f2",
    ];
    assert_eq!(ids, frozen);
}

/// What the bounds allow fits the bytes that a reader takes.
#[test]
fn largest_commit_fits_its_bytes() {
    let author = |n: usize| {
        let mut bytes = [0xff; 32];
        bytes[..8].copy_from_slice(&(n as u64).to_be_bytes());
        InstanceId::from_bytes(bytes)
    };
    let mut clock = Clock::default();
    (0..CLOCK_ENTRIES_MAX).for_each(|n| clock.advance(author(n), u32::MAX, NUMBER_MAX));
    let id = CommitId::from_bytes([0; 32]);
    let dot = |n| Dot { author: author(n), incarnation: u32::MAX, sequence: NUMBER_MAX, id };
    let name = |n: usize| DatasetName::new(&format!("d{n:063}")).unwrap();
    let root = Root { node: Some(NodeId::from_bytes([0; 32])), count: NUMBER_MAX };
    let datasets = (0..DATASETS_MAX).map(|n| (name(n), root)).collect();
    let mut commit =
        Commit { clock, datasets, making: Making::Merge((0..FRONTIER_MAX).map(dot).collect()), ..capture() };
    let bytes = commit.encode();
    assert!(bytes.len() <= COMMIT_BYTES_MAX, "{} bytes", bytes.len());
    assert_eq!(Commit::decode(&bytes).as_ref(), Ok(&commit));
    let Making::Merge(dots) = &mut commit.making else { unreachable!() };
    dots.push(dot(FRONTIER_MAX));
    assert!(Commit::decode(&commit.encode()).is_err(), "one joined commit more");
}

fn any_clock() -> impl Strategy<Value = Clock> {
    let entry = (0..4u8, 0..3u32, prop_oneof![1..5u64, Just(NUMBER_MAX)]);
    proptest::collection::vec(entry, 1..8).prop_map(|entries| clock(&entries))
}

fn any_commit() -> impl Strategy<Value = Commit> {
    let names = proptest::sample::subsequence(vec!["users", "requests", "comments", "z", "aa"], 0..5);
    let making = (any::<bool>(), any::<bool>(), any::<prop::sample::Index>(), 0..=NUMBER_MAX);
    (any_clock(), names, making).prop_map(|(clock, names, (merge, has_parent, index, time))| {
        let entries: Vec<_> = clock.iter().collect();
        let (author, incarnation, sequence) = *index.get(&entries);
        let id = CommitId::from_bytes([9; 32]);
        let making = if merge && entries.len() > 1 {
            let dot = |&(author, incarnation, sequence): &(_, _, _)| Dot { author, incarnation, sequence, id };
            Making::Merge(entries.iter().map(dot).collect())
        } else {
            let parent = (has_parent || entries.len() > 1).then_some(id);
            Making::Capture { parent, author, incarnation, sequence, time: UnixMillis(time) }
        };
        Commit { scope: ScopeId::from_bytes([4; 16]), clock, datasets: datasets(&names), making }
    })
}

proptest! {
    #[test]
    fn commits_round_trip(commit in any_commit()) {
        prop_assert_eq!(Commit::decode(&commit.encode()), Ok(commit));
    }

    #[test]
    fn whatever_decodes_encodes_to_the_same_bytes(
        commit in any_commit(),
        at in any::<prop::sample::Index>(),
        change in prop_oneof![
            any::<u8>().prop_map(|byte| vec![byte]),
            Just(vec![]),
            proptest::collection::vec(any::<u8>(), 2..4),
        ],
    ) {
        let mut bytes = commit.encode();
        let at = at.index(bytes.len());
        bytes.splice(at..=at, change);
        if let Ok(read) = Commit::decode(&bytes) {
            prop_assert_eq!(read.encode(), bytes);
        }
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Commit::decode(&bytes);
    }
}
