//! Every decoder of foreign bytes under one roof: what fuzzing feeds, and what must hold of whatever it feeds.

use std::convert::Infallible;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::changeset::writer::Writer;
use crate::changeset::{reader, seal};
use crate::connector::mapping::model::Mapping;
use crate::connector::{dburl, dotenv};
use crate::exchange::head::Head;
use crate::exchange::layout::StorePath;
use crate::exchange::receipt::{Receipt, Statement};
use crate::history::commit::Commit;
use crate::id::bytes::{InstanceId, ObjectId};
use crate::keys::card::SignedCard;
use crate::keys::document::{DocKind, Unverified, sign};
use crate::keys::identity::Identity;
use crate::keys::sealing::EpochKey;
use crate::record::codec;
use crate::record::schema::Schema;
use crate::scope::manifest::Manifest;
use crate::sync::config::Config;
use crate::sync::debug::plain;
use crate::sync::proof::{Proof, Trusted};
use crate::testing::conversations;
use crate::transport::bundle::index::Index;
use crate::transport::bundle::request::Request;
use crate::transport::http::signature::Claim;
use crate::transport::http::url::normal_authority;
use crate::transport::http::wire::{Changes, Held, Info, Join, Names, Objects, Offers, Problem, hash_of_tag, parsed};
use crate::transport::url::RemoteUrl;
use crate::tree::node::Node;

/// A decoder.
#[derive(Clone, Copy)]
pub struct Decoder {
    /// Its name, and that of the folder under format/vectors with examples, if there is one.
    pub name: &'static str,
    /// Reads bytes; tells whether they were accepted.
    ///
    /// Panics if what it accepted encodes to other bytes.
    pub read: fn(&[u8]) -> bool,
}

/// The secret of the fixed key of the vectors, which everybody knows.
const AGE_SECRET: &str = "AGE-SECRET-KEY-1QYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQYQSZ9K4CN";

/// The key that the sealed vectors are sealed to.
const EPOCH_KEY: &str = include_str!("../../format/vectors/changeset/sealed/epoch.key");

/// All of them.
pub const ALL: &[Decoder] = &[
    Decoder { name: "document", read: |bytes| Unverified::parse(bytes).is_ok() },
    // What is read of a document and signed again is the same document.
    Decoder {
        name: "card",
        read: |bytes| {
            let document = signed(DocKind::Card, bytes);
            SignedCard::open(&document).is_ok_and(|read| same(&SignedCard::sign(read.card, &key()).bytes, &document))
        },
    },
    Decoder {
        name: "manifest",
        read: |bytes| {
            let document = signed(DocKind::Manifest, bytes);
            let again = |read: Manifest| read.sign(&key()).expect("it was no larger");
            Manifest::open(&document, &key().id()).is_ok_and(|(read, _)| same(&again(read), &document))
        },
    },
    Decoder {
        name: "head",
        read: |bytes| {
            let document = signed(DocKind::Head, bytes);
            Head::open(&document, &key().id()).is_ok_and(|(read, _)| same(&read.sign(&key()), &document))
        },
    },
    Decoder {
        name: "receipt",
        read: |bytes| {
            let document = signed(DocKind::Receipt, bytes);
            Receipt::open(&document, &key().id()).is_ok_and(|(read, _)| same(&read.sign(&key()), &document))
        },
    },
    Decoder {
        name: "bundle",
        read: |bytes| {
            let document = signed(DocKind::Bundle, bytes);
            Index::open(&document).is_ok_and(|read| same(&read.sign(&key()), &document))
        },
    },
    Decoder {
        name: "request",
        read: |bytes| {
            let document = signed(DocKind::Request, bytes);
            Request::open(&document).is_ok_and(|read| same(&read.sign(&key()), &document))
        },
    },
    Decoder {
        name: "card-line",
        read: |bytes| {
            let Some(text) = text(bytes) else { return false };
            SignedCard::from_line(text).is_ok_and(|read| same(read.line().as_bytes(), text.trim().as_bytes()))
        },
    },
    Decoder {
        name: "proof",
        read: |bytes| {
            let Ok(proof) = Proof::decode(bytes) else { return false };
            same(&proof.encode(), bytes) && proof.verify(&Trusted::Instance(key().id())).is_ok()
        },
    },
    Decoder { name: "node", read: |bytes| Node::decode(bytes.to_vec()).is_ok() },
    Decoder {
        name: "receipt-statement",
        read: |bytes| Statement::decode(bytes).is_ok_and(|read| same(&read.encode(), bytes)),
    },
    Decoder { name: "commit", read: |bytes| Commit::decode(bytes).is_ok_and(|read| same(&read.encode(), bytes)) },
    Decoder {
        name: "schema",
        // Words of later versions are read as what they count for here: it is what is read that has one spelling.
        read: |bytes| {
            Schema::decode(bytes).is_ok_and(|read| {
                let again = Schema::decode(&read.encode()).expect("what we write is read");
                same(&again.encode(), &read.encode())
            })
        },
    },
    Decoder {
        name: "record",
        read: |bytes| {
            let origin = InstanceId::from_bytes([7; 32]);
            codec::decode(bytes, &origin).is_ok_and(|read| same(&codec::encode(&read, &origin), bytes))
        },
    },
    Decoder {
        name: "changeset/plain",
        read: |bytes| {
            let plain = summed(bytes);
            reader::read(&plain).is_ok_and(|part| part.part != 0 || !part.last || same(&rewritten(part), &plain))
        },
    },
    Decoder {
        name: "changeset/sealed",
        read: |bytes| {
            let secret = EPOCH_KEY.lines().find(|line| line.starts_with("AGE-SECRET-KEY-1")).expect("a key is in it");
            let key = EpochKey::from_secret_text(secret).expect("the fixed key is one");
            seal::open(&seal::id_of(bytes), bytes, &key).is_ok()
        },
    },
    Decoder { name: "mapping", read: |bytes| text(bytes).is_some_and(|text| Mapping::parse(text, "fuzz").is_ok()) },
    Decoder {
        name: "config",
        read: |bytes| text(bytes).is_some_and(|text| Config::parse(text, Path::new("wbsync.toml")).is_ok()),
    },
    Decoder {
        name: "url",
        read: |bytes| text(bytes).is_some_and(|text| RemoteUrl::parse(text, Path::new("/here")).is_ok()),
    },
    Decoder {
        name: "path",
        read: |bytes| {
            let path = text(bytes).and_then(|text| text.parse::<StorePath>().ok());
            path.is_some_and(|path| same(path.to_string().as_bytes(), bytes))
        },
    },
    Decoder {
        name: "dotenv",
        read: |bytes| {
            text(bytes).is_some_and(|text| dotenv::lookup(text, "DATABASE_URL").is_ok_and(|found| found.is_some()))
        },
    },
    Decoder {
        name: "dburl",
        read: |bytes| text(bytes).is_some_and(|text| dburl::parse(text, Path::new("/here")).is_ok()),
    },
    // What `wbsync debug cbor` shows; people hand it anything.
    Decoder {
        name: "any-cbor",
        read: |bytes| {
            plain::read(bytes).is_ok_and(|items| items.iter().all(|item| !plain::json(item).to_string().is_empty()))
        },
    },
    // The bodies of the protocol, as both sides read them.
    Decoder { name: "http/objects", read: |bytes| json::<Objects>(bytes).is_some_and(|read| read.parsed().is_some()) },
    Decoder { name: "http/join", read: |bytes| json::<Join>(bytes).is_some() },
    Decoder { name: "http/info", read: |bytes| json::<Info>(bytes).is_some() },
    Decoder {
        name: "http/names",
        read: |bytes| json::<Names>(bytes).is_some_and(|read| parsed::<ObjectId>(&read.names).is_some()),
    },
    Decoder { name: "http/offers", read: |bytes| json::<Offers>(bytes).is_some() },
    Decoder { name: "http/held", read: |bytes| json::<Held>(bytes).is_some() },
    Decoder { name: "http/changes", read: |bytes| json::<Changes>(bytes).is_some() },
    Decoder { name: "http/problem", read: |bytes| json::<Problem>(bytes).is_some() },
    Decoder { name: "http/tag", read: |bytes| text(bytes).is_some_and(|text| hash_of_tag(text).is_some()) },
    Decoder {
        name: "http/authority",
        read: |bytes| text(bytes).is_some_and(|text| normal_authority(text, true).is_some()),
    },
    // Whole requests, in either version of HTTP, with their fields and bodies.
    Decoder { name: "hub", read: conversations::hub_answers },
    Decoder { name: "bundle-file", read: conversations::is_bundle },
    #[cfg(feature = "git")]
    Decoder { name: "git/server", read: conversations::is_git_server },
    #[cfg(feature = "git")]
    Decoder { name: "git/pack", read: conversations::is_git_pack },
    Decoder {
        name: "signature",
        read: |bytes| {
            let Some((input, signature)) = text(bytes).and_then(|text| text.split_once('\n')) else { return false };
            Claim::parse(input, signature).is_ok()
        },
    },
];

/// Returns the decoder of that name.
pub fn named(name: &str) -> Option<Decoder> {
    ALL.iter().find(|decoder| decoder.name == name).copied()
}

fn key() -> Identity {
    Identity::from_secrets(&[1; 32], AGE_SECRET).expect("the fixed key is one")
}

/// Whatever comes is signed properly: what is fuzzed is behind the signature, where only peers get to.
fn signed(kind: DocKind, payload: &[u8]) -> Vec<u8> {
    let bounded = &payload[..payload.len().min(kind.payload_bytes_max())];
    sign(&key(), kind, bounded)
}

/// A changeset ends with a hash of what is before it: it is made right, so that the rest is looked at.
fn summed(bytes: &[u8]) -> Vec<u8> {
    const SUM: usize = 32;
    let Some(end) = bytes.len().checked_sub(SUM) else { return bytes.to_vec() };
    // The trailer is an array of a number, a bool and the hash; it begins at the last byte that says so.
    let Some(start) = bytes[..end].iter().rposition(|byte| *byte == 0x83) else { return bytes.to_vec() };
    [&bytes[..end], blake3::hash(&bytes[..start]).as_bytes()].concat()
}

/// Writes a changeset of one part anew.
fn rewritten(part: reader::Part<'_>) -> Vec<u8> {
    let mut written = Vec::new();
    let commits: Vec<_> = part.commits.iter().map(|commit| commit.to_vec()).collect();
    let mut writer = Writer::new(part.span, &commits, |plain| {
        written = plain;
        Ok::<_, Infallible>(())
    });
    let Ok(()) = part.entries.into_iter().try_for_each(|entry| writer.push(entry));
    let Ok(()) = writer.finish();
    written
}

/// Reads JSON, and checks that what was read is written and read again as the same.
fn json<T: DeserializeOwned + Serialize + PartialEq>(bytes: &[u8]) -> Option<T> {
    let read: T = serde_json::from_slice(bytes).ok()?;
    let written = serde_json::to_vec(&read).expect("what was read is written");
    assert!(serde_json::from_slice::<T>(&written).is_ok_and(|again| again == read), "it comes back");
    Some(read)
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

fn same(encoded: &[u8], given: &[u8]) -> bool {
    assert_eq!(encoded, given, "nothing has two spellings");
    true
}
