//! Vectors, bounds and properties of this format.

use super::*;
use crate::keys::vectors::{self, Case};
use proptest::prelude::*;

/// The third head of the origin: a snapshot and a delta.
pub(crate) fn head() -> Head {
    Head {
        scope: ScopeId::from_bytes([4; 16]),
        signer: Identity::fixed(1).id(),
        incarnation: 0,
        seq: 3,
        prev: Some(DocHash::from_bytes([6; 32])),
        commit: CommitId::from_bytes([8; 32]),
        writes: 12,
        manifest_seq: 2,
        epoch: 1,
        base: None,
        segments: vec![segment(0, 2, 2), segment(2, 3, 1)],
        time: UnixMillis(1_700_000_000_000),
    }
}

fn segment(from_seq: u64, to_seq: u64, objects: u8) -> Segment {
    let object = |n| ObjectRef { id: ObjectId::from_bytes([n; 32]), bytes: 1000 + u64::from(n) };
    Segment { from_seq, to_seq, objects: (0..objects).map(object).collect() }
}

fn base() -> Option<Base> {
    Some(Base { seq: 2, commit: CommitId::from_bytes([9; 32]) })
}

fn signed_anyway(payload: &[u8]) -> Vec<u8> {
    document::sign(&Identity::fixed(1), DocKind::Head, payload)
}

#[test]
fn vectors_hold() {
    let payload = head().encode();
    let good = signed_anyway(&payload);
    let with = |change: &dyn Fn(&mut Head)| {
        let mut head = head();
        change(&mut head);
        signed_anyway(&head.encode())
    };
    let swapped = |from: &[u8], to: &[u8]| signed_anyway(&vectors::replaced(&payload, from, to));
    let mut altered = good.clone();
    altered[40] ^= 1;
    let cases = [
        Case::accept("snapshot-and-delta", good.clone()),
        Case::accept(
            "delta-older-than-snapshot",
            with(&|h| h.segments = vec![segment(0, 3, 1), segment(1, 2, 1), segment(2, 3, 1)]),
        ),
        Case::reject("two-snapshots", with(&|h| h.segments = vec![segment(0, 3, 1), segment(0, 3, 1)])),
        Case::accept("first", with(&|h| (h.seq, h.prev, h.segments) = (1, None, vec![segment(0, 1, 1)]))),
        Case::accept("writer", with(&|h| (h.base, h.segments) = (base(), vec![segment(2, 3, 1)]))),
        Case::accept("writer-without-writes", with(&|h| (h.base, h.writes, h.segments) = (base(), 0, vec![]))),
        Case::accept(
            "largest-numbers",
            with(&|h| {
                (h.seq, h.incarnation, h.epoch) = (i64::MAX as u64, u32::MAX, u32::MAX);
                (h.time.0, h.writes, h.manifest_seq) = (h.seq, h.seq, h.seq);
                h.segments = vec![segment(0, h.seq, 1)];
                h.segments[0].objects[0].bytes = OBJECT_BYTES_MAX;
            }),
        ),
        Case::reject("truncated", good[..good.len() - 1].to_vec()),
        Case::reject("altered", altered),
        Case::reject("wrong-namespace", document::sign(&Identity::fixed(1), DocKind::Manifest, &payload)),
        Case::reject("other-signer", document::sign(&Identity::fixed(2), DocKind::Head, &payload)),
        Case::reject("other-signer-named", with(&|h| h.signer = Identity::fixed(2).id())),
        Case::reject("payload-truncated", signed_anyway(&payload[..payload.len() - 1])),
        Case::reject("payload-trailing", signed_anyway(&[&payload[..], &[0]].concat())),
        Case::reject("format-2", swapped(b"format\x01", b"format\x02")),
        Case::reject("unsorted-key", swapped(b"\x64prev", b"\x64bare")),
        Case::reject("unknown-key", swapped(b"\x66writes", b"\x66writer")),
        Case::reject("missing-key", swapped(b"\xad\x63seq\x03", b"\xac")),
        Case::reject("long-seq", swapped(b"\x63seq\x03", b"\x63seq\x18\x03")),
        Case::reject("seq-0", with(&|h| (h.seq, h.prev) = (0, None))),
        Case::reject("seq-too-large", with(&|h| h.seq = 1 << 63)),
        Case::reject("seq-1-with-prev", with(&|h| h.seq = 1)),
        Case::reject("seq-3-without-prev", with(&|h| h.prev = None)),
        Case::reject("short-prev", swapped(&[0x58, 32, 6], &[0x58, 31])),
        Case::reject("epoch-0", with(&|h| h.epoch = 0)),
        Case::reject("manifest-seq-0", with(&|h| h.manifest_seq = 0)),
        Case::reject("base-seq-0", with(&|h| h.base = Some(Base { seq: 0, ..base().unwrap() }))),
        Case::reject("no-segment", with(&|h| h.segments.clear())),
        Case::reject("gap-in-segments", with(&|h| h.segments = vec![segment(0, 1, 1), segment(2, 3, 1)])),
        Case::reject(
            "overlap-in-deltas",
            with(&|h| h.segments = vec![segment(0, 1, 1), segment(1, 3, 1), segment(2, 3, 1)]),
        ),
        Case::reject("segment-backward", with(&|h| h.segments = vec![segment(3, 2, 1)])),
        Case::reject("segment-of-nothing", with(&|h| h.segments.push(segment(3, 3, 1)))),
        Case::reject("no-snapshot", with(&|h| h.segments = vec![segment(1, 3, 1)])),
        Case::reject("ends-early", with(&|h| h.segments.truncate(1))),
        Case::reject("ends-late", with(&|h| h.segments.push(segment(3, 4, 1)))),
        Case::reject("based-ends-early", with(&|h| (h.base, h.segments) = (base(), vec![segment(1, 2, 1)]))),
        Case::reject("segment-without-object", with(&|h| h.segments[1].objects.clear())),
        Case::reject(
            "65-segments",
            with(&|h| {
                h.seq = 65;
                h.segments = (0..65).map(|seq| segment(seq, seq + 1, 1)).collect();
            }),
        ),
        Case::reject("empty-object", with(&|h| h.segments[0].objects[0].bytes = 0)),
        Case::reject("object-too-large", with(&|h| h.segments[0].objects[0].bytes = OBJECT_BYTES_MAX + 1)),
    ];
    vectors::run("head", &cases, |bytes| Head::open(bytes, &Identity::fixed(1).id()).map(drop));
}

/// The largest head that the bounds allow fits a document, and one object more is refused.
#[test]
fn objects_are_bounded_over_all_segments() {
    let object = ObjectRef { id: ObjectId::from_bytes([7; 32]), bytes: OBJECT_BYTES_MAX };
    let of = |from_seq, to_seq, objects| Segment { from_seq, to_seq, objects: vec![object; objects] };
    let mut head = Head { segments: vec![of(0, 2, OBJECTS_MAX / 2), of(2, 3, OBJECTS_MAX / 2)], ..head() };
    let bytes = head.sign(&Identity::fixed(1));
    assert_eq!(Head::open(&bytes, &head.signer).unwrap().0.objects().count(), OBJECTS_MAX);
    head.segments[1].objects.push(object);
    let error = Head::decode(&head.encode()).unwrap_err();
    assert_eq!(error.problem, cbor::error::Problem::TooLarge { found: 32_769, bound: 32_768 });
}

#[test]
#[should_panic(expected = "breaks a rule")]
fn signing_a_broken_head_is_our_own_mistake() {
    let _ = Head { segments: vec![], ..head() }.sign(&Identity::fixed(1));
}

prop_compose! {
    fn any_head()(
        ids in any::<([u8; 16], [u8; 32], [u8; 32])>(),
        (incarnation, epoch) in (any::<u32>(), 1u32..),
        (writes, manifest_seq, time) in (0u64..1 << 63, 1u64..1 << 63, 0u64..1 << 63),
        base in proptest::option::of((1u64..1 << 63, any::<[u8; 32]>())),
        steps in proptest::collection::vec((1u64..1 << 56, proptest::collection::vec((any::<[u8; 32]>(), 1..=OBJECT_BYTES_MAX), 1..4)), 1..6),
        start in 0u64..1 << 40,
    ) -> Head {
        let mut seq = if base.is_some() { start } else { 0 };
        let segments = steps.into_iter().map(|(step, objects)| {
            let from_seq = seq;
            seq += step;
            let objects = objects.into_iter().map(|(id, bytes)| ObjectRef { id: ObjectId::from_bytes(id), bytes }).collect();
            Segment { from_seq, to_seq: seq, objects }
        }).collect();
        Head {
            scope: ScopeId::from_bytes(ids.0), signer: Identity::fixed(1).id(), incarnation, seq,
            prev: (seq > 1).then_some(DocHash::from_bytes(ids.1)), commit: CommitId::from_bytes(ids.2),
            writes, manifest_seq, epoch, segments, time: UnixMillis(time),
            base: base.map(|(seq, commit)| Base { seq, commit: CommitId::from_bytes(commit) }),
        }
    }
}

proptest! {
    #[test]
    fn opened_is_what_was_signed(head in any_head()) {
        let bytes = head.sign(&Identity::fixed(1));
        let signer = head.signer;
        prop_assert_eq!(Head::open(&bytes, &signer).unwrap(), (head, document::hash_of(&bytes)));
    }

    #[test]
    fn a_mutated_payload_is_refused_or_canonical(head in any_head(), at: usize, byte: u8, cut: usize) {
        let mut payload = head.encode();
        let at = at % payload.len();
        payload[at] = byte;
        if let Ok(head) = Head::decode(&payload) {
            prop_assert_eq!(head.encode(), &payload[..]);
        }
        prop_assert!(Head::decode(&payload[..cut % payload.len()]).is_err());
    }

    /// The head that we know is never called anything but the same, whatever else it says.
    #[test]
    fn a_head_is_the_same_as_itself(head in any_head(), hash: [u8; 32]) {
        let hash = DocHash::from_bytes(hash);
        let known = verdict::Known::of(&head, hash);
        prop_assert_eq!(verdict::verdict(Some(&known), &head, &hash), verdict::Verdict::Same);
    }
}
