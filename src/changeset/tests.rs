//! Vectors of changesets, plain and sealed (format/changeset.md).

use std::io::Write;

use super::entry::{Body, COMMITS_MAX, Entry, PLAIN_BYTES_CUT, PLAIN_BYTES_MAX};
use super::reader::read;
use super::seal::{Padding, Sealed, id_of, open, seal};
use super::writer::{Span, Writer};
use crate::cbor::writer::Writer as CborWriter;
use crate::id::bytes::{CommitId, RecordKey, ScopeId};
use crate::id::name::DatasetName;
use crate::keys::sealing::EpochKey;
use crate::keys::vectors::{self, Case};
use crate::record::codec::RECORD_BYTES_MAX;

/// The key of the sealed vectors, for tests only; also in format/vectors/changeset/sealed/epoch.key.
const EPOCH_KEY: &str = include_str!("../../format/vectors/changeset/sealed/epoch.key");

fn epoch_key() -> EpochKey {
    let secret = EPOCH_KEY.lines().find(|line| line.starts_with("AGE-SECRET-KEY-1")).unwrap();
    EpochKey::from_secret_text(secret).unwrap()
}

fn span() -> Span {
    Span { scope: ScopeId::from_bytes([4; 16]), from: 3, tip: CommitId::from_bytes([8; 32]) }
}

fn entry(dataset: &str, key: u8, body: Body<&'static [u8]>) -> Entry<&'static [u8]> {
    Entry { dataset: DatasetName::new(dataset).unwrap(), key: RecordKey::from_bytes([key; 16]), body }
}

fn parts(commits: &[Vec<u8>], entries: impl IntoIterator<Item = Entry<&'static [u8]>>) -> Vec<Vec<u8>> {
    let mut parts = Vec::new();
    let mut writer = Writer::new(span(), commits, |part| {
        parts.push(part);
        Ok::<_, ()>(())
    });
    entries.into_iter().for_each(|entry| writer.push(entry).unwrap());
    writer.finish().unwrap();
    parts
}

fn plain() -> Vec<u8> {
    let entries = [
        entry("users", 1, Body::Put(b"record one")),
        entry("users", 2, Body::Deleted),
        entry("comments", 1, Body::Withdrawn),
        entry("comments", 9, Body::Put(b"record two")),
    ];
    parts(&[b"the tip".to_vec(), b"its parent".to_vec()], entries).remove(0)
}

/// A header without commits, of which each item may be another.
struct Header<'a> {
    entries: u8,
    from: &'a [u8],
    part: &'a [u8],
    format: &'a [u8],
    commits: &'a [u8],
    tip: u8,
    tail: &'a [u8],
}

impl Header<'_> {
    fn good() -> Self {
        Self { entries: 6, from: &[3], part: &[0], format: &[1], commits: &[0x80], tip: 32, tail: &[] }
    }

    fn bytes(&self) -> Vec<u8> {
        let tip = [&[0x58, self.tip][..], &vec![8; usize::from(self.tip)]].concat();
        let pieces: [&[u8]; 12] = [
            &[0xa0 + self.entries],
            b"\x63tip",
            &tip,
            b"\x64from",
            self.from,
            b"\x64part",
            self.part,
            b"\x65scope\x50\x04\x04\x04\x04\x04\x04\x04\x04\x04\x04\x04\x04\x04\x04\x04\x04\x66format",
            self.format,
            b"\x67commits",
            self.commits,
            self.tail,
        ];
        pieces.concat()
    }
}

/// Ends bytes with a footer whose checksum is right, so that only what was asked for is wrong.
fn closed(mut bytes: Vec<u8>, entries: u64) -> Vec<u8> {
    let checksum = blake3::hash(&bytes);
    let mut footer = CborWriter::new();
    footer.array(3);
    footer.uint(entries);
    footer.bool(true);
    footer.bytes(checksum.as_bytes());
    bytes.extend(footer.finish());
    bytes
}

fn with_header(header: &Header<'_>) -> Vec<u8> {
    closed(header.bytes(), 0)
}

/// A good header, these items and a good footer.
fn with_items(items: &[&[u8]], entries: u64) -> Vec<u8> {
    closed([Header::good().bytes(), items.concat()].concat(), entries)
}

#[test]
fn vectors_hold() {
    let good = plain();
    let deleted = |key: u8| [&[0x82, 0x50][..], &[key; 16], &[0xf6]].concat();
    let body = |body: &[u8]| with_items(&[b"\x65users\x82\x50", &[1; 16], body], 1);
    let footer = |footer: &[u8]| [&Header::good().bytes(), footer].concat();
    let checksum = *blake3::hash(&Header::good().bytes()).as_bytes();
    let mut altered = good.clone();
    let at = altered.windows(10).position(|window| window == b"record one").unwrap();
    altered[at] ^= 1;
    let header = Header::good;
    let cases = [
        Case::accept("every-body", good.clone()),
        Case::accept("no-entries", with_header(&header())),
        Case::accept("snapshot-part", with_header(&Header { from: &[0], part: &[9], ..header() })),
        Case::accept("empty-record", body(&[0x40])),
        Case::accept("overlay-of-64", with_items(&[b"\x78\x41", &[b'x'; 64], b"+", &deleted(1)], 1)),
        Case::reject("empty", Vec::new()),
        Case::reject("truncated", good[..good.len() - 1].to_vec()),
        Case::reject("without-footer", good[..good.len() - 36].to_vec()),
        Case::reject("trailing", [&good[..], &[0]].concat()),
        Case::reject("altered-record", altered),
        Case::reject("header-is-array", [&[0x86], &good[1..]].concat()),
        Case::reject("header-indefinite", [&[0xbf], &good[1..]].concat()),
        Case::reject("header-of-five", with_header(&Header { entries: 5, ..header() })),
        Case::reject("header-of-seven", with_header(&Header { entries: 7, tail: b"\x69zzzzzzzzz\x00", ..header() })),
        Case::reject("header-unsorted", vectors::replaced(&good, b"\x64from", b"\x64zzzz")),
        Case::reject("format-0", with_header(&Header { format: &[0], ..header() })),
        Case::reject("format-2", with_header(&Header { format: &[2], ..header() })),
        Case::reject("from-negative", with_header(&Header { from: &[0x20], ..header() })),
        Case::reject("from-long", with_header(&Header { from: &[0x18, 3], ..header() })),
        Case::reject(
            "part-too-large",
            with_header(&Header { part: b"\x1b\x00\x00\x00\x01\x00\x00\x00\x00", ..header() }),
        ),
        Case::reject("short-tip", with_header(&Header { tip: 31, ..header() })),
        Case::reject("commits-null", with_header(&Header { commits: &[0xf6], ..header() })),
        Case::reject("commit-is-map", with_header(&Header { commits: &[0x81, 0xa0], ..header() })),
        Case::reject("commit-too-long", with_header(&Header { commits: b"\x81\x5a\x00\x40\x00\x01", ..header() })),
        Case::reject("too-many-commits", with_header(&Header { commits: b"\x9a\x00\x01\x00\x01", ..header() })),
        Case::reject("entry-before-dataset", with_items(&[&deleted(1)], 1)),
        Case::reject("dataset-without-entries", with_items(&[b"\x65users"], 0)),
        Case::reject("dataset-after-dataset", with_items(&[b"\x65posts\x65users", &deleted(1)], 1)),
        Case::reject("datasets-repeat", with_items(&[b"\x65users", &deleted(1), b"\x65users", &deleted(2)], 2)),
        Case::reject(
            "datasets-by-bytes-not-length",
            with_items(&[b"\x66badges", &deleted(1), b"\x65users", &deleted(2)], 2),
        ),
        Case::reject("dataset-upper-case", with_items(&[b"\x65Users", &deleted(1)], 1)),
        Case::reject("dataset-of-65", with_items(&[b"\x78\x41", &[b'x'; 65], &deleted(1)], 1)),
        Case::reject("overlay-of-65", with_items(&[b"\x78\x42", &[b'x'; 65], b"+", &deleted(1)], 1)),
        Case::reject("keys-unsorted", with_items(&[b"\x65users", &deleted(2), &deleted(1)], 2)),
        Case::reject("keys-repeat", with_items(&[b"\x65users", &deleted(1), &deleted(1)], 2)),
        Case::reject("short-key", with_items(&[b"\x65users\x82\x4f", &[1; 15], &[0xf6]], 1)),
        Case::reject("entry-of-one", with_items(&[b"\x65users\x81\x50", &[1; 16]], 1)),
        Case::reject("entry-of-four", with_items(&[b"\x65users\x84\x50", &[1; 16], &[0xf6; 3]], 1)),
        Case::reject("entry-is-int", with_items(&[b"\x65users\x00"], 1)),
        Case::reject("body-true", body(&[0xf5])),
        Case::reject("body-undefined", body(&[0xf7])),
        Case::reject("body-text", body(b"\x66record")),
        Case::reject("body-decoded", body(&[0x82, 0x80, 0xa0])),
        Case::reject("body-long-length", body(&[0x58, 1, 0])),
        Case::reject("body-too-long", body(b"\x5a\x00\x80\x00\x01")),
        Case::reject("footer-counts-more", closed(Header::good().bytes(), 1)),
        Case::reject("footer-counts-less", with_items(&[b"\x65users", &deleted(1)], 0)),
        Case::reject("footer-null-for-last", footer(&[&[0x83, 0, 0xf6, 0x58, 32][..], &checksum].concat())),
        Case::reject("footer-short-checksum", footer(&[&[0x83, 0, 0xf5, 0x58, 31][..], &checksum[..31]].concat())),
        Case::reject("footer-other-checksum", footer(&[&[0x83, 0, 0xf5, 0x58, 32][..], &[0; 32]].concat())),
    ];
    vectors::run("changeset/plain", &cases, |bytes| read(bytes).map(drop));
}

fn aged(packed: &[u8], key: &EpochKey) -> Vec<u8> {
    let mut writer = key.encryptor(Vec::new()).unwrap();
    writer.write_all(packed).unwrap();
    writer.finish().unwrap()
}

/// Sealed bytes differ each time they are made, so all of these are only opened.
#[test]
fn sealed_vectors_hold() {
    let key = epoch_key();
    let recipient = key.recipient();
    let sealed = |padding| seal(&plain(), &recipient, padding).unwrap().bytes;
    let good = sealed(Padding::None);
    let flipped = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    };
    let mac = good.windows(4).position(|window| window == b"\n---").unwrap() + 8;
    let packed = |plain: &[u8]| zstd::bulk::compress(plain, 3).unwrap();
    let skippable = |frame: &[u8]| [&[0x50, 0x2a, 0x4d, 0x18, frame.len() as u8, 0, 0, 0], frame].concat();
    let split = [packed(&plain()[..50]), skippable(b"between"), packed(&plain()[50..])].concat();
    let cases = [
        Case::accept("public", good.clone()),
        Case::accept("padded", sealed(Padding::Padme)),
        Case::accept("two-frames", aged(&split, &key)),
        Case::reject("empty", Vec::new()),
        Case::reject("truncated", good[..good.len() - 1].to_vec()),
        Case::reject("truncated-in-header", good[..60].to_vec()),
        Case::reject("flipped-in-header", flipped(mac)),
        Case::reject("flipped-in-payload", flipped(good.len() - 20)),
        Case::reject("flipped-at-end", flipped(good.len() - 1)),
        Case::reject("trailing-byte", [&good[..], &[0]].concat()),
        Case::reject("trailing-age-file", [&good[..], &good].concat()),
        Case::reject("other-key", seal(&plain(), &EpochKey::generate().recipient(), Padding::None).unwrap().bytes),
        Case::reject("not-compressed", aged(&plain(), &key)),
        Case::reject("cut-in-zstd", aged(&packed(&plain())[..40], &key)),
        Case::reject("trailing-in-zstd", aged(&[packed(&plain()), b"garbage".to_vec()].concat(), &key)),
        Case::reject("cut-in-padding", aged(&[&packed(&plain())[..], &skippable(b"filler")[..10]].concat(), &key)),
        Case::reject("bomb-of-65-mib", aged(&packed(&vec![0; 65 << 20]), &key)),
    ];
    let cases = cases.map(Case::decode_only);
    vectors::run("changeset/sealed", &cases, |bytes| {
        open(&id_of(bytes), bytes, &key).map(|opened| assert!(opened == plain(), "another plaintext"))
    });
}

#[test]
fn objects_are_cut_at_16_mib_and_each_part_reads_alone() {
    static RECORD: [u8; 3 << 20] = [7; 3 << 20];
    let entries = (0..14u8).map(|n| entry(if n < 7 { "users" } else { "comments" }, n, Body::Put(&RECORD)));
    let parts = parts(&[vec![1], vec![2]], entries);
    let read: Vec<_> = parts.iter().map(|part| read(part).unwrap()).collect();
    assert_eq!(read.iter().map(|part| part.entries.len()).collect::<Vec<_>>(), [6, 6, 2]);
    assert_eq!(read.iter().map(|part| (part.part, part.last)).collect::<Vec<_>>(), [(0, false), (1, false), (2, true)]);
    assert_eq!(read.iter().map(|part| part.commits.len()).collect::<Vec<_>>(), [2, 0, 0]);
    let keys: Vec<u8> = read.iter().flat_map(|part| &part.entries).map(|entry| entry.key.as_bytes()[0]).collect();
    assert_eq!(keys, (0..14).collect::<Vec<_>>());
    assert!(parts.iter().all(|part| part.len() < PLAIN_BYTES_CUT + RECORD.len() + 100));
}

/// The largest object that a writer can make: the most commits, then records up to the cut, then the largest record.
#[test]
fn largest_object_is_sealed_and_opened() {
    static LARGEST: [u8; RECORD_BYTES_MAX] = [7; RECORD_BYTES_MAX];
    let commits = vec![vec![0; 100]; COMMITS_MAX];
    let nearly = &LARGEST[..PLAIN_BYTES_CUT - COMMITS_MAX * 102 - 300 - (8 << 20)];
    let entries = [
        entry("users", 0, Body::Put(nearly)),
        entry("users", 1, Body::Put(&LARGEST)),
        entry("users", 2, Body::Put(&LARGEST)),
    ];
    let parts = parts(&commits, entries);
    assert_eq!(parts.len(), 1);
    assert!((PLAIN_BYTES_CUT + RECORD_BYTES_MAX - 300..PLAIN_BYTES_MAX).contains(&parts[0].len()));
    let key = epoch_key();
    let Sealed { id, bytes } = seal(&parts[0], &key.recipient(), Padding::Padme).unwrap();
    let opened = open(&id, &bytes, &key).unwrap();
    assert_eq!(read(&opened).unwrap().entries.len(), 3);
}
