//! Every decoder of foreign bytes under one roof: what fuzzing feeds, and what must hold of whatever it feeds.

use std::path::Path;

use crate::changeset::{reader, seal};
use crate::connector::mapping::model::Mapping;
use crate::exchange::head::Head;
use crate::exchange::layout::StorePath;
use crate::exchange::receipt::{Receipt, Statement};
use crate::history::commit::Commit;
use crate::id::bytes::InstanceId;
use crate::keys::card::SignedCard;
use crate::keys::document::{DocKind, Unverified, sign};
use crate::keys::identity::Identity;
use crate::keys::sealing::EpochKey;
use crate::record::codec;
use crate::record::schema::Schema;
use crate::scope::manifest::Manifest;
use crate::sync::config::Config;
use crate::transport::bundle::index::Index;
use crate::transport::bundle::request::Request;
use crate::transport::http::signature::Claim;
use crate::transport::url::RemoteUrl;

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
    Decoder { name: "card", read: |bytes| SignedCard::open(&signed(DocKind::Card, bytes)).is_ok() },
    Decoder { name: "manifest", read: |bytes| Manifest::open(&signed(DocKind::Manifest, bytes), &key().id()).is_ok() },
    Decoder { name: "head", read: |bytes| Head::open(&signed(DocKind::Head, bytes), &key().id()).is_ok() },
    Decoder { name: "receipt", read: |bytes| Receipt::open(&signed(DocKind::Receipt, bytes), &key().id()).is_ok() },
    Decoder { name: "bundle", read: |bytes| Index::open(&signed(DocKind::Bundle, bytes)).is_ok() },
    Decoder { name: "request", read: |bytes| Request::open(&signed(DocKind::Request, bytes)).is_ok() },
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
    Decoder { name: "changeset/plain", read: |bytes| reader::read(&summed(bytes)).is_ok() },
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
    Decoder { name: "path", read: |bytes| text(bytes).is_some_and(|text| text.parse::<StorePath>().is_ok()) },
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

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

fn same(encoded: &[u8], given: &[u8]) -> bool {
    assert_eq!(encoded, given, "nothing has two spellings");
    true
}
