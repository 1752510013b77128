//! Both implementations read and refuse the same bytes: all vectors, and thousands that were made of them by small changes.
//!
//! `WBSYNC_CASES=20000` tries more of each kind.

use std::fs;
use std::path::{Path, PathBuf};

use ciborium::Value;
use wbsync::changeset::reader::read;
use wbsync::exchange::head::Head;
use wbsync::exchange::receipt::{Receipt, Statement};
use wbsync::history::commit::Commit;
use wbsync::id::bytes::InstanceId;
use wbsync::keys::card::SignedCard;
use wbsync::keys::document::{DocKind, sign};
use wbsync::keys::identity::Identity;
use wbsync::record::codec;
use wbsync::record::schema::Schema;
use wbsync::scope::manifest::Manifest;
use wbsync::sync::proof::{Proof, Trusted};
use wbsync::testing::prng::Prng;
use wbsync::transport::bundle::index::Index;
use wbsync::transport::bundle::request::Request;

use super::run::{python_at_hand, reader, said};

#[test]
fn every_vector_is_read_or_refused() {
    let Some(_alone) = python_at_hand() else { return };
    let output = reader("vectors", &[&format()], None, &[]);
    assert!(output.status.success(), "{}", said(&output));
}

/// Changes the accepted vectors, asks our own decoders, and has the reader agree or not.
#[test]
fn changed_bytes_are_judged_alike() {
    let Some(_alone) = python_at_hand() else { return };
    let cases = std::env::var("WBSYNC_CASES").map_or(400, |cases| cases.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let identity = Identity::from_secrets(&[1; 32], AGE_SECRET).unwrap();
    let (id, origin) = (identity.id(), InstanceId::from_bytes([7; 32]));
    let document =
        |kind| move |payload: &[u8]| sign(&Identity::from_secrets(&[1; 32], AGE_SECRET).unwrap(), kind, payload);
    let plain = |bytes: &[u8]| bytes.to_vec();
    let mut judge = Judge { dir: dir.path(), cases, random: Prng::new(1) };
    judge.kind("record", plain, |bytes| codec::decode(bytes, &origin).err().map(say));
    judge.kind("schema", plain, |bytes| Schema::decode(bytes).err().map(say));
    judge.kind("commit", plain, |bytes| Commit::decode(bytes).err().map(say));
    judge.kind("changeset/plain", plain, |bytes| read(bytes).err().map(say));
    judge.kind("card", document(DocKind::Card), |bytes| SignedCard::open(bytes).err().map(say));
    judge.kind("manifest", document(DocKind::Manifest), |bytes| Manifest::open(bytes, &id).err().map(say));
    judge.kind("head", document(DocKind::Head), |bytes| Head::open(bytes, &id).err().map(say));
    judge.kind("receipt", document(DocKind::Receipt), |bytes| Receipt::open(bytes, &id).err().map(say));
    judge.kind("receipt-statement", plain, |bytes| Statement::decode(bytes).err().map(say));
    judge.kind("request", document(DocKind::Request), |bytes| Request::open(bytes).err().map(say));
    judge.kind("bundle", document(DocKind::Bundle), |bytes| Index::open(bytes).err().map(say));
    let origin = Trusted::Instance(id);
    judge.kind("proof", plain, |bytes| {
        Proof::decode(bytes).and_then(|proof| proof.verify(&origin)).err().map(|error| error.to_string())
    });
    let output = reader("vectors", &[dir.path()], None, &[]);
    assert!(output.status.success(), "{}", said(&output));
    println!("{}", said(&output));
}

struct Judge<'a> {
    dir: &'a Path,
    cases: u64,
    random: Prng,
}

impl Judge<'_> {
    /// Makes cases of one kind; `wrap` makes a document of a payload.
    fn kind(&mut self, kind: &str, wrap: impl Fn(&[u8]) -> Vec<u8>, refuse: impl Fn(&[u8]) -> Option<String>) {
        let signed = ["card", "manifest", "head", "receipt", "request", "bundle"].contains(&kind);
        let seeds: Vec<Vec<Value>> = accepted(kind).iter().map(|bytes| items(bytes, signed)).collect();
        let mut counts = [0, 0];
        for number in 0..self.cases {
            let mut items = seeds[self.random.below(seeds.len() as u64) as usize].clone();
            for _ in 0..=self.random.below(2) {
                let at = self.random.below(items.len() as u64 + 1) as usize;
                match items.get_mut(at) {
                    Some(item) => self.change(item),
                    None => change_list(&mut self.random, &mut items),
                }
            }
            let mut bytes = encode(&items, kind == "changeset/plain");
            if self.random.chance(100) && !bytes.is_empty() {
                let at = self.random.below(bytes.len() as u64) as usize;
                bytes[at] ^= 1 << self.random.below(8);
            }
            // Nobody signs more than a card may have.
            if signed && bytes.len() > 32 << 10 {
                continue;
            }
            let bytes = wrap(&bytes);
            let refusal = refuse(&bytes);
            counts[usize::from(refusal.is_none())] += 1;
            let place = self.dir.join("vectors").join(kind).join(if refusal.is_none() { "accept" } else { "reject" });
            fs::create_dir_all(&place).unwrap();
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            fs::write(place.join(format!("{number}.hex")), hex).unwrap();
            refusal.iter().for_each(|why| fs::write(place.join(format!("{number}.txt")), why).unwrap());
        }
        assert!(counts[0] > 0 && counts[1] * 50 > self.cases, "{kind}: {counts:?} refused and read");
    }

    /// Changes one item somewhere inside another.
    fn change(&mut self, item: &mut Value) {
        let random = &mut self.random;
        match item {
            Value::Array(items) if random.chance(800) && !items.is_empty() => {
                let at = random.below(items.len() as u64) as usize;
                if random.chance(250) { change_list(random, items) } else { self.change(&mut items[at]) }
            }
            Value::Map(entries) if random.chance(800) && !entries.is_empty() => {
                let at = random.below(entries.len() as u64) as usize;
                match random.below(10) {
                    0 | 1 => change_list(random, entries),
                    2 => self.change(&mut entries[at].0),
                    _ => self.change(&mut entries[at].1),
                }
            }
            Value::Bytes(bytes) if random.chance(700) => change_list(random, bytes),
            Value::Text(text) if random.chance(700) => {
                let mut chars: Vec<char> = text.chars().collect();
                change_list(random, &mut chars);
                let odd = ['a', 'A', '0', '_', '-', '.', ' ', '\u{85}', '\u{a0}', 'é', '\n', ':', ','];
                if random.chance(500) {
                    chars.insert(random.below(chars.len() as u64 + 1) as usize, odd[random.below(13) as usize]);
                }
                *text = chars.into_iter().collect();
            }
            Value::Integer(number) if random.chance(700) => {
                let number: i128 = (*number).into();
                let near = number + i128::from(random.below(3)) - 1;
                *item = Value::Integer(near.try_into().unwrap_or(0.into()));
            }
            _ => *item = self.other(),
        }
    }

    fn other(&mut self) -> Value {
        let numbers: [i128; 14] = [
            0,
            1,
            7,
            23,
            24,
            255,
            65_536,
            (1 << 32) - 1,
            1 << 32,
            (1 << 63) - 1,
            1 << 63,
            (1 << 64) - 1,
            -1,
            -(1 << 63),
        ];
        let lengths = [0, 1, 16, 31, 32, 33];
        match self.random.below(9) {
            0..3 => Value::Integer(numbers[self.random.below(14) as usize].try_into().unwrap()),
            3 => Value::Bytes(vec![self.random.below(256) as u8; lengths[self.random.below(6) as usize]]),
            4 => Value::Text(["", "a", "Z", "trusted", "public"][self.random.below(5) as usize].into()),
            5 => Value::Float(
                [0.0, -0.0, 1.0, 0.1, f64::NAN, f64::INFINITY, 65_504.0, 1e300][self.random.below(8) as usize],
            ),
            6 => Value::Bool(self.random.chance(500)),
            7 => Value::Array(Vec::new()),
            _ => Value::Null,
        }
    }
}

/// An error with its causes.
fn say(error: impl std::error::Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        said = format!("{said}: {error}");
        cause = error.source();
    }
    said
}

/// Repeats, removes, or swaps neighbours.
fn change_list<T: Clone>(random: &mut Prng, items: &mut Vec<T>) {
    if items.is_empty() {
        return;
    }
    let at = random.below(items.len() as u64) as usize;
    match random.below(3) {
        0 => items.insert(at, items[at].clone()),
        1 => drop(items.remove(at)),
        _ => items.swap(at, at.saturating_sub(1)),
    }
}

/// Decodes a sequence of items, or the payload of a document.
fn items(bytes: &[u8], signed: bool) -> Vec<Value> {
    let (mut rest, mut items) = (bytes, Vec::new());
    while !rest.is_empty() {
        items.push(ciborium::from_reader(&mut rest).unwrap());
    }
    match items.first() {
        Some(Value::Array(parts)) if signed => self::items(parts[0].as_bytes().unwrap(), false),
        _ => items,
    }
}

/// Encodes items; a changeset's checksum is made right again, so that the change itself is judged.
fn encode(items: &[Value], is_changeset: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    for item in items {
        let mut item = item.clone();
        if let Value::Array(parts) = &mut item
            && let (true, [Value::Integer(_), Value::Bool(_), Value::Bytes(sum)]) = (is_changeset, &mut parts[..])
        {
            *sum = blake3::hash(&bytes).as_bytes().to_vec();
        }
        ciborium::into_writer(&item, &mut bytes).unwrap();
    }
    bytes
}

fn accepted(kind: &str) -> Vec<Vec<u8>> {
    let dir = format().join("vectors").join(kind).join("accept");
    let mut files: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let digits = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    let text = |path| fs::read(path).unwrap().into_iter().filter(u8::is_ascii_hexdigit).collect::<Vec<u8>>();
    files.iter().map(|path| text(path).chunks(2).map(digits).collect()).collect()
}

fn format() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("format")
}

/// The 32 bytes `01`, as in the vectors.
const AGE_SECRET: &str = "AGE-SECRET-KEY-1QYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQYQSZ9K4CN";
