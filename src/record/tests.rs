//! Vectors of records (format/record.md), bounds of values, and properties of clocks.

use proptest::prelude::*;

use super::cell::{Cell, Element, Record};
use super::clock::{CLOCK_ENTRIES_MAX, Clock};
use super::codec::{ELEMENTS_MAX, FIELDS_MAX, STAMPS_MAX, decode, encode};
use super::recordid::RecordId;
use super::stamp::{NUMBER_MAX, Stamp};
use super::value::{LIST_DEPTH_MAX, LIST_ITEMS_MAX, VALUE_BYTES_MAX, Value};
use crate::cbor::error::{Error, Problem};
use crate::cbor::reader::Reader;
use crate::cbor::writer::Writer;
use crate::id::bytes::{InstanceId, RecordKey};
use crate::id::name::{DatasetName, FieldName};
use crate::keys::vectors::{self, Case, replaced};
use crate::sys::clock::UnixMillis;

/// The origin of the scope that the vectors belong to.
const ORIGIN: InstanceId = InstanceId::from_bytes([7; 32]);

fn stamp(author: u8, incarnation: u32, sequence: u64) -> Stamp {
    Stamp { author: InstanceId::from_bytes([author; 32]), incarnation, sequence, time: UnixMillis(1_700_000_000_000) }
}

fn record_id(origin: u8) -> RecordId {
    RecordId {
        origin: InstanceId::from_bytes([origin; 32]),
        dataset: DatasetName::new("users").unwrap(),
        key: RecordKey::from_bytes([0xa; 16]),
    }
}

fn field(name: &str) -> FieldName {
    FieldName::new(name).unwrap()
}

/// The second write of the origin put `value` into the field `f`.
fn of_one(value: Value) -> Record {
    Record { cells: [(field("f"), Cell::new(stamp(7, 0, 2), value))].into() }
}

fn nested(depth: usize) -> Value {
    (0..depth).fold(Value::Null, |inner, _| Value::List(vec![inner]))
}

fn every_kind() -> Record {
    let text = |text: &str| text.to_owned();
    let values = [
        ("null", Value::Null),
        ("bool", Value::Bool(true)),
        ("int", Value::Int(-1)),
        ("float", Value::Float(1.5)),
        ("text", Value::Text(text("h\u{e9}llo\0\u{1f388}"))),
        ("bytes", Value::Bytes(vec![0, 255])),
        ("time", Value::Timestamp(-1_000_001)),
        ("decimal", Value::Decimal(text("-12.50"))),
        ("json", Value::Json(text("{ \"b\":1, \"a\":2 }"))),
        ("list", Value::List(vec![Value::Int(1), Value::List(vec![]), Value::Text(text(""))])),
        ("ref_own", Value::Ref(record_id(7))),
        ("ref_other", Value::Ref(record_id(9))),
        ("blob", Value::Blob { hash: [0xb; 32], size: 1 << 32 }),
    ];
    Record { cells: values.into_iter().map(|(name, value)| (field(name), Cell::new(stamp(7, 0, 1), value))).collect() }
}

/// Two authors, and two incarnations of one of them, wrote one field at the same time; another field is settled.
fn conflict() -> Record {
    let element = |stamp, value: &str| Element { stamp, value: Value::Text(value.to_owned()), over: None };
    let open =
        [element(stamp(9, 0, 4), "theirs"), element(stamp(7, 0, 2), "ours"), element(stamp(7, 1, 1), "ours again")];
    let settled = Cell::new(stamp(9, 0, 4), Value::Int(0));
    Record { cells: [(field("title"), Cell::of(open.to_vec()).unwrap()), (field("n"), settled)].into() }
}

/// Two writes that tell what they replaced: the same text, nothing; a third doesn't.
fn replaced_values() -> Record {
    let text = |text: &str| Value::Text(text.to_owned());
    let element = |stamp, value, over| Element { stamp, value, over };
    let open = [
        element(stamp(7, 0, 2), text("soup and bread"), Some(text("soup"))),
        element(stamp(9, 0, 4), Value::Null, Some(text("soup"))),
    ];
    let count = Cell::replacing(stamp(7, 0, 2), Value::Int(3), Some(Value::Null));
    let plain = Cell::new(stamp(9, 0, 4), Value::List(vec![]));
    let cells = [(field("description"), Cell::of(open.to_vec()).unwrap()), (field("n"), count), (field("tags"), plain)];
    Record { cells: cells.into() }
}

fn largest_numbers() -> Record {
    let last = Stamp { time: UnixMillis(NUMBER_MAX), ..stamp(0xff, u32::MAX, NUMBER_MAX) };
    let numbers = [Value::Int(i64::MAX), Value::Int(i64::MIN), Value::Timestamp(i64::MAX), Value::Timestamp(i64::MIN)];
    let blob = Value::Blob { hash: [0; 32], size: NUMBER_MAX };
    let floats =
        [0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 65504.0, 5.960_464_477_539_063e-8, 0.1, f64::MAX];
    let values = numbers.into_iter().chain([blob]).chain(floats.map(Value::Float)).collect();
    Record { cells: [(field(&"F".repeat(64)), Cell::new(last, Value::List(values)))].into() }
}

/// The stamp (origin, 0, 2) and the field `f` with `items` written by hand; for a well-formed cell of one
/// element `items` is 2, the index 0 and a value.
fn cell(items: usize, fill: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.array(2);
    writer.array(1);
    writer.array(4);
    writer.null();
    [0, 2, 1_700_000_000_000].into_iter().for_each(|number| writer.uint(number));
    let mut order = writer.map(1);
    writer.key(&mut order, "f");
    writer.array(items);
    fill(&mut writer);
    writer.finish()
}

/// A well-formed cell but for its value.
fn raw(value: &[u8]) -> Vec<u8> {
    cell(2, |writer| writer.raw(&[&[0], value].concat()))
}

/// A record of one stamp, written by hand, that a field `f` uses.
fn stamps(items: &[&[u8]]) -> Vec<u8> {
    let table = [&[0x82, 0x80 + items.len() as u8][..], &items.concat()].concat();
    let used: Vec<u8> = (0..items.len() as u8).flat_map(|index| [index, 0xf6]).collect();
    [&table[..], b"\xa1\x61f", &[0x80 + used.len() as u8], &used].concat()
}

fn author(n: u8) -> Vec<u8> {
    [&[0x58, 32][..], &[n; 32]].concat()
}

#[test]
fn vectors_hold() {
    let good = encode(&every_kind(), &ORIGIN);
    let open = encode(&conflict(), &ORIGIN);
    let other = |tail: &[u8]| [&[0x84][..], &author(9), tail].concat();
    let own: &[u8] = b"\x84\xf6\x00\x02\x00";
    let key = [&[0x50][..], &[0xa; 16]].concat();
    let cases = [
        Case::accept("no-fields", encode(&Record::default(), &ORIGIN)),
        Case::accept("every-kind", good.clone()),
        Case::accept("conflict", open.clone()),
        Case::accept("replaced", encode(&replaced_values(), &ORIGIN)),
        Case::accept("largest-numbers", encode(&largest_numbers(), &ORIGIN)),
        Case::accept("nested-8-deep", encode(&of_one(nested(LIST_DEPTH_MAX)), &ORIGIN)),
        Case::accept("two-authors", stamps(&[own, &other(b"\x00\x02\x00")])),
        Case::reject("empty", Vec::new()),
        Case::reject("truncated", good[..good.len() - 1].to_vec()),
        Case::reject("trailing", [&good[..], &[0]].concat()),
        Case::reject("array-of-three", [&[0x83], &good[1..], &[0xf6]].concat()),
        Case::reject("indefinite-cells", replaced(&cell(2, |w| w.raw(b"\x00\xf6\xff")), b"\xa1\x61f", b"\xbf\x61f")),
        Case::reject("stamp-of-three", stamps(&[b"\x83\xf6\x00\x02"])),
        Case::reject("stamp-names-origin", stamps(&[&[&[0x84][..], &author(7), b"\x00\x02\x00"].concat()])),
        Case::reject("stamp-of-short-author", stamps(&[b"\x84\x41\x07\x00\x02\x00"])),
        Case::reject("stamp-incarnation-too-large", stamps(&[b"\x84\xf6\x1b\x00\x00\x00\x01\x00\x00\x00\x00\x02\x00"])),
        Case::reject("stamp-sequence-0", stamps(&[b"\x84\xf6\x00\x00\x00"])),
        Case::reject("stamp-sequence-too-large", stamps(&[b"\x84\xf6\x00\x1b\x80\x00\x00\x00\x00\x00\x00\x00\x00"])),
        Case::reject("stamp-long-sequence", stamps(&[b"\x84\xf6\x00\x18\x02\x00"])),
        Case::reject("stamp-time-too-large", stamps(&[b"\x84\xf6\x00\x02\x1b\x80\x00\x00\x00\x00\x00\x00\x00"])),
        Case::reject("stamp-negative-time", stamps(&[b"\x84\xf6\x00\x02\x20"])),
        Case::reject("stamps-unsorted", stamps(&[b"\x84\xf6\x00\x03\x00", own])),
        Case::reject("stamps-repeat", stamps(&[own, own])),
        Case::reject("stamps-differ-in-time-only", stamps(&[own, b"\x84\xf6\x00\x02\x01"])),
        Case::reject("stamps-own-after-later-author", stamps(&[&other(b"\x00\x02\x00"), own])),
        Case::reject(
            "stamp-unused",
            replaced(&stamps(&[own, b"\x84\xf6\x00\x03\x00"]), b"\x84\x00\xf6\x01\xf6", b"\x82\x00\xf6"),
        ),
        Case::reject("stamp-missing", cell(2, |w| w.raw(b"\x01\xf6"))),
        Case::reject("stamp-index-2-to-the-32", cell(2, |w| w.raw(b"\x1b\x00\x00\x00\x01\x00\x00\x00\x00\xf6"))),
        Case::reject("cell-empty", cell(0, |_| ())),
        Case::reject("cell-of-odd-items", cell(3, |w| w.raw(b"\x00\xf6\x00"))),
        Case::reject("cell-repeats-stamp", cell(4, |w| w.raw(b"\x00\xf6\x00\xf6"))),
        Case::reject("cell-unsorted", replaced(&open, b"\x86\x00", b"\x86\x02")),
        Case::reject("cell-is-null", replaced(&cell(0, |_| ()), b"\x61f\x80", b"\x61f\xf6")),
        Case::reject("fields-unsorted", replaced(&open, b"\x61n", b"\x65title")),
        Case::reject("fields-by-bytes-not-length", replaced(&good, b"\x63int", b"\x65zzint")),
        Case::reject("field-of-no-name", replaced(&raw(b"\xf6"), b"\x61f", b"\x60")),
        Case::reject("field-with-space", replaced(&raw(b"\xf6"), b"\x61f", b"\x61 ")),
        Case::reject("field-of-65", replaced(&raw(b"\xf6"), b"\x61f", &[&[0x78, 65][..], &[b'f'; 65]].concat())),
        Case::reject("field-is-bytes", replaced(&raw(b"\xf6"), b"\x61f", b"\x41f")),
        Case::reject("value-missing", cell(2, |w| w.uint(0))),
        Case::reject("value-undefined", raw(b"\xf7")),
        Case::reject("value-simple", raw(b"\xf8\x20")),
        Case::reject("value-map", raw(b"\xa0")),
        Case::reject("value-tagged", raw(b"\xc1\x00")),
        Case::reject("int-too-large", raw(b"\x1b\x80\x00\x00\x00\x00\x00\x00\x00")),
        Case::reject("int-too-small", raw(b"\x3b\x80\x00\x00\x00\x00\x00\x00\x00")),
        Case::reject("int-long", raw(b"\x18\x17")),
        Case::reject("float-wide", raw(b"\xfa\x3f\xc0\x00\x00")),
        Case::reject("float-other-nan", raw(b"\xf9\x7e\x01")),
        Case::reject("float-truncated", raw(b"\xfb\x3f")),
        Case::reject("text-not-utf8", raw(b"\x61\xff")),
        Case::reject("text-surrogate", raw(b"\x63\xed\xa0\x80")),
        Case::reject("text-indefinite", raw(b"\x7f\x61a\xff")),
        Case::reject("text-too-long", raw(&text_head(VALUE_BYTES_MAX + 1))),
        Case::reject("bytes-truncated", raw(b"\x42\x00")),
        Case::reject("kind-none", raw(b"\x80")),
        Case::reject("kind-0", raw(b"\x82\x00\x00")),
        Case::reject("kind-8", raw(b"\x82\x08\x00")),
        Case::reject("replaced-of-two", raw(b"\x82\x07\x00")),
        Case::reject("replaced-of-four", raw(b"\x84\x07\x00\x00\x00")),
        Case::reject("replaced-of-one", raw(b"\x83\x07\x00")),
        Case::reject("replaced-within-list", raw(b"\x82\x04\x81\x83\x07\x00\x00")),
        Case::reject("replaced-within-value", raw(b"\x83\x07\x83\x07\x00\x00\x00")),
        Case::reject("replaced-within-before", raw(b"\x83\x07\x00\x83\x07\x00\x00")),
        Case::reject("replaced-long", raw(b"\x83\x18\x07\x00\x00")),
        Case::reject("kind-long", raw(b"\x82\x18\x01\x00")),
        Case::reject("kind-of-five-items", raw(b"\x85\x01\x00\x00\x00\x00")),
        Case::reject("timestamp-of-three", raw(b"\x83\x01\x00\x00")),
        Case::reject("timestamp-float", raw(b"\x82\x01\xf9\x00\x00")),
        Case::reject("timestamp-too-large", raw(b"\x82\x01\x1b\x80\x00\x00\x00\x00\x00\x00\x00")),
        Case::reject("decimal-of-int", raw(b"\x82\x02\x01")),
        Case::reject("json-of-bytes", raw(b"\x82\x03\x40")),
        Case::reject("list-nested-9-deep", encode(&of_one(nested(LIST_DEPTH_MAX + 1)), &ORIGIN)),
        Case::reject("list-flat", raw(b"\x83\x04\x00\x00")),
        Case::reject("list-of-too-many", raw(b"\x82\x04\x9a\x00\x01\x00\x01")),
        Case::reject("list-of-more-than-bytes", raw(b"\x82\x04\x99\x01\x00")),
        Case::reject("ref-of-three", raw(&[b"\x83\x05\x65users", &key[..]].concat())),
        Case::reject("ref-names-origin", raw(&[b"\x84\x05", &author(7)[..], b"\x65users", &key].concat())),
        Case::reject("ref-of-no-dataset", raw(&[b"\x84\x05\xf6\x65Users", &key[..]].concat())),
        Case::reject("ref-to-overlay", raw(&[b"\x84\x05\xf6\x66users+", &key[..]].concat())),
        Case::reject("ref-of-short-key", raw(&[b"\x84\x05\xf6\x65users\x4f", &[0xa; 15][..]].concat())),
        Case::reject("blob-of-short-hash", raw(&[&[0x83, 6, 0x58, 31][..], &[0; 31], &[0]].concat())),
        Case::reject("blob-of-negative-size", raw(&[&[0x83, 6, 0x58, 32][..], &[0; 32], &[0x20]].concat())),
        Case::reject("blob-too-large", raw(&[&[0x83, 6, 0x58, 32][..], &[0; 32], &[0x1b, 0x80], &[0; 7]].concat())),
    ];
    vectors::run("record", &cases, |bytes| decode(bytes, &ORIGIN).map(drop));
}

fn text_head(bytes: usize) -> Vec<u8> {
    [&[0x7a][..], &u32::try_from(bytes).unwrap().to_be_bytes()].concat()
}

/// A record with `fields` fields of `elements` elements each, and as many stamps as elements.
fn wide(fields: usize, elements: u64) -> Record {
    let element = |sequence| Element { stamp: stamp(7, 0, sequence), value: Value::Null, over: None };
    let cell = Cell::of((1..=elements).map(element).collect()).unwrap();
    Record { cells: (0..fields).map(|n| (field(&format!("f{n}")), cell.clone())).collect() }
}

#[test]
fn each_bound_is_accepted_and_one_more_is_not() {
    let read = |record: &Record| decode(&encode(record, &ORIGIN), &ORIGIN).map(drop).map_err(|error| error.problem);
    let list = |items| of_one(Value::List(vec![Value::Null; items]));
    let text = |bytes| of_one(Value::Text("x".repeat(bytes)));
    let stamps = |count: usize| {
        let cell = |n| {
            Cell::of(
                (0..512)
                    .map(|i| Element { stamp: stamp(7, 0, n * 512 + i + 1), value: Value::Null, over: None })
                    .collect(),
            )
        };
        let mut record = Record {
            cells: (0..STAMPS_MAX as u64 / 512).map(|n| (field(&format!("f{n}")), cell(n).unwrap())).collect(),
        };
        (STAMPS_MAX..count)
            .for_each(|n| drop(record.cells.insert(field("more"), Cell::new(stamp(7, 0, n as u64 + 1), Value::Null))));
        record
    };
    let too_large = |found: usize, bound: usize| Err(Problem::TooLarge { found: found as u64, bound: bound as u64 });
    type Make<'a> = &'a dyn Fn(usize) -> Record;
    let cases: [(&str, usize, Make<'_>, usize); 5] = [
        ("fields", FIELDS_MAX, &|n| wide(n, 1), 1),
        ("elements", ELEMENTS_MAX, &|n| wide(1, n as u64), 2),
        ("list items", LIST_ITEMS_MAX, &list, 1),
        ("text bytes", VALUE_BYTES_MAX, &text, 1),
        ("stamps", STAMPS_MAX, &stamps, 1),
    ];
    for (what, bound, make, items) in cases {
        assert_eq!(read(&make(bound)), Ok(()), "{what}");
        assert_eq!(read(&make(bound + 1)), too_large((bound + 1) * items, bound * items), "{what}");
    }
    assert_eq!(read(&of_one(nested(LIST_DEPTH_MAX))), Ok(()));
    assert_eq!(read(&of_one(nested(LIST_DEPTH_MAX + 1))), Err(Problem::TooDeep));
}

/// Of what nests a million times only a few levels are ever read.
#[test]
fn deep_nesting_does_not_exhaust_the_stack() {
    let error = decode(&raw(&b"\x82\x04\x81".repeat(1_000_000)), &ORIGIN).unwrap_err();
    assert_eq!(error.problem, Problem::TooDeep);
}

#[test]
fn winner_is_the_latest_and_then_the_greatest_stamp() {
    let element = |author, sequence, time| Element {
        stamp: Stamp { time: UnixMillis(time), ..stamp(author, 0, sequence) },
        value: Value::Null,
        over: None,
    };
    let winner = |elements: &[Element]| Cell::of(elements.to_vec()).unwrap().winner().stamp;
    let (early, late, later_author) = (element(9, 9, 1), element(1, 1, 2), element(2, 1, 2));
    assert_eq!(winner(&[early.clone(), late.clone()]), late.stamp);
    assert_eq!(winner(&[later_author.clone(), early, late]), later_author.stamp);
}

fn any_clock() -> impl Strategy<Value = Clock> {
    let entry = (0..4u8, 0..3u32, prop_oneof![1..5u64, Just(NUMBER_MAX)]);
    proptest::collection::vec(entry, 0..8).prop_map(|entries| {
        let mut clock = Clock::default();
        entries
            .into_iter()
            .for_each(|(author, incarnation, n)| clock.advance(stamp(author, 0, 1).author, incarnation, n));
        clock
    })
}

fn clock_bytes(clock: &Clock) -> Vec<u8> {
    let mut writer = Writer::new();
    clock.encode(&mut writer);
    writer.finish()
}

fn read_clock(bytes: &[u8]) -> Result<Clock, Error> {
    let mut reader = Reader::new(bytes);
    let clock = Clock::decode(&mut reader)?;
    reader.finish()?;
    Ok(clock)
}

#[test]
fn clock_has_a_bound() {
    let error = read_clock(&[0x9a, 0, 1, 0, 1]).unwrap_err();
    assert_eq!(error.problem, Problem::TooLarge { found: 65_537, bound: CLOCK_ENTRIES_MAX as u64 });
}

proptest! {
    #[test]
    fn clocks_round_trip_and_have_one_form(clock in any_clock(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = clock_bytes(&clock);
        prop_assert_eq!(read_clock(&bytes), Ok(clock));
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(read) = read_clock(&bytes) {
            prop_assert_eq!(clock_bytes(&read), bytes);
        }
    }

    /// `join` is the least clock that contains both, and a stamp is covered if and only if one side covers it.
    #[test]
    fn join_of_clocks_is_their_least_upper_bound(a in any_clock(), b in any_clock(), c in any_clock(), author in 0..4u8, incarnation in 0..3u32, sequence in 1..6u64) {
        let joined = a.join(&b);
        prop_assert!(joined.contains(&a) && joined.contains(&b));
        prop_assert_eq!(&joined, &b.join(&a));
        prop_assert_eq!(joined.join(&c), a.join(&b.join(&c)));
        prop_assert_eq!(&a.join(&a), &a);
        prop_assert_eq!(c.contains(&joined), c.contains(&a) && c.contains(&b));
        let stamp = stamp(author, incarnation, sequence);
        prop_assert_eq!(joined.covers(&stamp), a.covers(&stamp) || b.covers(&stamp));
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes, &ORIGIN);
        let _ = decode(&[&[0x82, 0x80, 0xa1, 0x61, b'f'], &bytes[..]].concat(), &ORIGIN);
        let _ = read_clock(&bytes);
    }
}
