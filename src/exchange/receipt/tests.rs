//! Vectors, bounds and properties of this format.

use super::*;
use crate::keys::vectors::{self, Case};
use proptest::prelude::*;

fn statement() -> Statement {
    let applied = |n: u8| Applied {
        signer: InstanceId::from_bytes([n; 32]),
        incarnation: 0,
        seq: u64::from(n),
        hash: DocHash::from_bytes([n; 32]),
    };
    Statement {
        applied: vec![applied(3), applied(7)],
        heads: vec![b"a head".to_vec()],
        forks: vec![[b"one".to_vec(), b"two".to_vec()]],
    }
}

fn receipt() -> Receipt {
    Receipt {
        scope: ScopeId::from_bytes([4; 16]),
        signer: Identity::fixed(1).id(),
        incarnation: 2,
        seq: 3,
        time: UnixMillis(1_700_000_000_000),
        epoch: None,
        body: statement().encode(),
    }
}

fn signed_anyway(payload: &[u8]) -> Vec<u8> {
    document::sign(&Identity::fixed(1), DocKind::Receipt, payload)
}

#[test]
fn vectors_hold() {
    let payload = receipt().encode();
    let good = signed_anyway(&payload);
    let with = |change: &dyn Fn(&mut Receipt)| {
        let mut receipt = receipt();
        change(&mut receipt);
        signed_anyway(&receipt.encode())
    };
    let swapped = |from: &[u8], to: &[u8]| signed_anyway(&vectors::replaced(&payload, from, to));
    let mut altered = good.clone();
    altered[40] ^= 1;
    let max = i64::MAX as u64;
    let cases = [
        Case::accept("in-clear", good.clone()),
        Case::accept("sealed", with(&|r| (r.epoch, r.body) = (Some(2), b"sealed".to_vec()))),
        Case::accept(
            "largest-numbers",
            with(&|r| (r.seq, r.time.0, r.incarnation, r.epoch) = (max, max, u32::MAX, Some(u32::MAX))),
        ),
        Case::reject("truncated", good[..good.len() - 1].to_vec()),
        Case::reject("altered", altered),
        Case::reject("wrong-namespace", document::sign(&Identity::fixed(1), DocKind::Head, &payload)),
        Case::reject("other-signer", document::sign(&Identity::fixed(2), DocKind::Receipt, &payload)),
        Case::reject("other-signer-named", with(&|r| r.signer = Identity::fixed(2).id())),
        Case::reject("payload-trailing", signed_anyway(&[&payload[..], &[0]].concat())),
        Case::reject("format-2", swapped(b"format\x01", b"format\x02")),
        Case::reject("unsorted-key", swapped(b"\x64body", b"\x64zzzz")),
        Case::reject("missing-key", swapped(b"\xa8\x63seq\x03", b"\xa7")),
        Case::reject("seq-0", with(&|r| r.seq = 0)),
        Case::reject("seq-too-large", with(&|r| r.seq = 1 << 63)),
        Case::reject("epoch-0", with(&|r| r.epoch = Some(0))),
        Case::reject("time-too-large", with(&|r| r.time.0 = 1 << 63)),
    ];
    vectors::run("receipt", &cases, |bytes| Receipt::open(bytes, &Identity::fixed(1).id()).map(drop));
}

#[test]
fn vectors_of_statements_hold() {
    let good = statement().encode();
    let replaced = |from: &[u8], to: &[u8]| vectors::replaced(&good, from, to);
    let cases = [
        Case::accept("everything", good.clone()),
        Case::accept("nothing", Statement::default().encode()),
        Case::reject("truncated", good[..good.len() - 1].to_vec()),
        Case::reject("trailing", [&good[..], &[0]].concat()),
        Case::reject("unknown-key", replaced(b"\x65heads", b"\x65hands")),
        Case::reject("one-document-is-no-fork", replaced(b"\x82\x43one\x43two", b"\x81\x43one")),
        Case::reject("five-forks", replaced(b"forks\x81", b"forks\x85")),
        Case::reject("signers-descend", replaced(&[[7; 32], [7; 32]].concat()[..32], &[2; 32])),
        Case::reject("number-0", replaced(b"\x00\x03\x58\x20", b"\x00\x00\x58\x20")),
        Case::reject("long-number", replaced(b"\x00\x03\x58\x20", b"\x00\x18\x03\x58\x20")),
    ];
    vectors::run("receipt-statement", &cases, |bytes| Statement::decode(bytes).map(drop));
}

#[test]
fn bounds_hold_from_both_sides() {
    let mut most = Statement { heads: vec![vec![1; PART_BYTES_MAX]; 15], ..Statement::default() };
    // Another head, whose length takes three bytes, fills it.
    most.heads.push(vec![1; STATEMENT_BYTES_MAX - most.encode().len() - 3]);
    assert_eq!(most.encode().len(), STATEMENT_BYTES_MAX);
    assert_eq!(Statement::decode(&most.encode()), Ok(most));
    let build = |forks: usize, heads: usize, part: usize| {
        let mut writer = cbor::writer::Writer::new();
        let mut order = writer.map(3);
        writer.key(&mut order, "forks");
        writer.array(forks);
        for _ in 0..forks {
            writer.array(2);
            writer.bytes(b"a");
            writer.bytes(b"b");
        }
        writer.key(&mut order, "heads");
        writer.array(heads);
        (0..heads).for_each(|_| writer.bytes(&vec![0; part]));
        writer.key(&mut order, "applied");
        writer.array(0);
        Statement::decode(&writer.finish())
    };
    assert!(build(FORKS_MAX, HEADS_MAX, 1).is_ok());
    assert!(build(FORKS_MAX + 1, 0, 1).is_err());
    assert!(build(0, HEADS_MAX + 1, 1).is_err());
    assert!(build(0, 1, PART_BYTES_MAX).is_ok());
    assert!(build(0, 1, PART_BYTES_MAX + 1).is_err());
    assert!(build(0, 17, PART_BYTES_MAX).is_err(), "all of it has a bound too");
    let large = Receipt { body: vec![0; BODY_BYTES_MAX], ..receipt() };
    assert_eq!(Receipt::open(&large.sign(&Identity::fixed(1)), &large.signer).unwrap().0, large);
    let larger = Receipt { body: vec![0; BODY_BYTES_MAX + 1], ..receipt() };
    assert!(Receipt::decode(&larger.encode()).is_err());
}

proptest! {
    #[test]
    fn a_mutated_payload_is_refused_or_canonical(at: usize, byte: u8, cut: usize) {
        let mut payload = receipt().encode();
        let at = at % payload.len();
        payload[at] = byte;
        if let Ok(receipt) = Receipt::decode(&payload) {
            prop_assert_eq!(receipt.encode(), &payload[..]);
        }
        prop_assert!(Receipt::decode(&payload[..cut % payload.len()]).is_err());
    }

    #[test]
    fn a_mutated_statement_is_refused_or_canonical(at: usize, byte: u8) {
        let mut bytes = statement().encode();
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Ok(statement) = Statement::decode(&bytes) {
            prop_assert_eq!(statement.encode(), bytes);
        }
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = (Receipt::decode(&bytes), Statement::decode(&bytes), fork::Fork::check([&bytes, &bytes]));
    }
}
