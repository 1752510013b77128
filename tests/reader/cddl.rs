//! The CDDL of the pages in format/ is what is written and read: every document of the vectors, of the frozen store, and of the stores that
//! the other tests here make is judged by it.
//!
//! CDDL says which items there are and how large they may be. It can't say that keys ascend, that numbers are in their shortest form, or
//! that a signature holds, so that many of the vectors that are refused pass it; those that are refused for their layout mustn't.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use cddl_cat::cbor::validate_cbor;
use cddl_cat::context::{BasicContext, LookupContext};
use cddl_cat::flatten::flatten_from_str;
use ciborium::Value;
use wbsync::changeset::seal;
use wbsync::id::bytes::{InstanceId, ObjectId};
use wbsync::keys::document::Unverified;
use wbsync::keys::sealing::EpochKey;
use wbsync::scope::manifest::{Access, Manifest};

/// The rules of all pages, by page.
pub struct Pages(BTreeMap<String, BasicContext>);

impl Pages {
    pub fn read() -> Self {
        let pages = fs::read_dir(format_dir()).unwrap().map(|entry| entry.unwrap().path());
        let pages = pages.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
        let rules = pages.filter_map(|path| {
            let cddl = blocks(&fs::read_to_string(&path).unwrap());
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let rules = || flatten_from_str(&cddl).unwrap_or_else(|error| panic!("{}: {error:?}", path.display()));
            (!cddl.is_empty()).then(|| (name, BasicContext::new(rules())))
        });
        Self(rules.collect())
    }

    /// Judges one CBOR item by a rule of a page.
    pub fn judge(&self, page: &str, rule: &str, bytes: &[u8]) -> Result<(), String> {
        let mut rest = bytes;
        let value: Value = ciborium::from_reader(&mut rest).map_err(|error| format!("no CBOR: {error}"))?;
        if !rest.is_empty() {
            return Err("bytes follow the end".into());
        }
        self.judge_value(page, rule, &value)
    }

    fn judge_value(&self, page: &str, rule: &str, value: &Value) -> Result<(), String> {
        let context = &self.0[page];
        let rule = context.lookup_rule(rule).unwrap_or_else(|_| panic!("format/{page}.md has no rule {rule}"));
        validate_cbor(rule, value, context).map_err(|error| error.to_string())
    }

    /// Judges a signed document and its payload.
    fn document(&self, page: &str, rule: &str, bytes: &[u8]) -> Result<Vec<u8>, String> {
        self.judge("document", "document", bytes)?;
        let payload = payload_of(bytes).ok_or("no payload")?;
        self.judge(page, rule, &payload)?;
        Ok(payload)
    }

    /// Judges the sequence that an object's plaintext is; returns the commits and records in it, each with the name of its page.
    fn changeset(&self, plain: &[u8]) -> Result<Vec<(&'static str, Vec<u8>)>, String> {
        let (mut rest, mut rules, mut inner) = (plain, Vec::new(), Vec::new());
        while !rest.is_empty() {
            let value: Value = ciborium::from_reader(&mut rest).map_err(|error| format!("no CBOR: {error}"))?;
            let rule = match &value {
                Value::Map(_) => "header",
                Value::Text(_) => "dataset",
                Value::Array(items) if items.len() == 2 => "entry",
                _ => "footer",
            };
            self.judge_value("changeset", rule, &value)?;
            rules.push(rule);
            let header = value.as_map().into_iter();
            inner.extend(header.flat_map(|header| commits_in(header)).map(|commit| ("commit", commit.clone())));
            let entry = value.as_array().filter(|_| rule == "entry");
            inner.extend(entry.and_then(|entry| entry[1].as_bytes()).map(|record| ("record", record.clone())));
        }
        let ends = (rules.first().copied(), rules.last().copied());
        let alone = |rule: &&str| rules.iter().filter(|found| *found == rule).count() == 1;
        match ends == (Some("header"), Some("footer")) && ["header", "footer"].iter().all(alone) {
            true => Ok(inner),
            false => Err("it isn't a header, entries and a footer".into()),
        }
    }

    /// Judges every file of a store that `keys` open or that is in clear; returns how many of each kind there were.
    pub fn store(&self, root: &Path, keys: &[EpochKey]) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        let files = walkdir::WalkDir::new(root).into_iter().map(|entry| entry.unwrap().into_path());
        for path in files.filter(|path| path.is_file()) {
            let place = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            let bytes = fs::read(&path).unwrap();
            let parts: Vec<&str> = place.split('/').collect();
            let judged = match parts[..] {
                ["instances", _] => self.document("card", "card", &bytes).map(|_| Some("card")),
                ["scopes", _, "manifest"] => self.manifest(&bytes, keys).map(|()| Some("manifest")),
                ["scopes", _, "heads", _] => self.document("head", "head", &bytes).map(|_| Some("head")),
                ["scopes", _, "receipts", _] => self.receipt(&bytes, keys),
                ["objects", _, name] => match opened(name, &bytes, keys) {
                    Some(plain) => self.changeset(&plain).and_then(|inner| {
                        inner.iter().try_for_each(|(kind, bytes)| self.judge(kind, kind, bytes))?;
                        Ok(Some("object"))
                    }),
                    None => Ok(Some("sealed object")),
                },
                _ => Ok(None),
            };
            let kind = judged.unwrap_or_else(|error| panic!("{place}: {error}"));
            kind.into_iter().for_each(|kind| *counts.entry(kind).or_default() += 1);
        }
        counts
    }

    fn manifest(&self, bytes: &[u8], keys: &[EpochKey]) -> Result<(), String> {
        let payload = self.document("manifest", "manifest", bytes)?;
        let value: Value = ciborium::from_reader(&payload[..]).unwrap();
        let part = |wanted: &str| {
            value.as_map().unwrap().iter().find(|(key, _)| key.as_text() == Some(wanted)).unwrap().1.clone()
        };
        let details = part("details").into_bytes().unwrap();
        let plain = match part("public").as_bool().unwrap() {
            true => details,
            false => match keys.iter().find_map(|key| key.open(&details, 2 << 20).ok()) {
                Some(plain) => plain,
                None => return Ok(()),
            },
        };
        self.judge("manifest", "details", &plain)?;
        let details: Value = ciborium::from_reader(&plain[..]).unwrap();
        let schema = details.as_map().unwrap()[2].1.as_bytes().unwrap().clone();
        if schema.is_empty() { Ok(()) } else { self.judge("schema", "schema", &schema) }
    }

    fn receipt(&self, bytes: &[u8], keys: &[EpochKey]) -> Result<Option<&'static str>, String> {
        let payload = self.document("receipt", "receipt", bytes)?;
        let value: Value = ciborium::from_reader(&payload[..]).unwrap();
        let body = value.as_map().unwrap()[1].1.as_bytes().unwrap().clone();
        let statement = match body.starts_with(b"age-encryption.org/") {
            false => Some(body),
            true => opened(&seal::id_of(&body).to_string(), &body, keys),
        };
        statement.map(|statement| self.judge("receipt", "statement", &statement)).transpose()?;
        Ok(Some("receipt"))
    }
}

/// Returns the keys of all epochs in a store that are granted to a reader, who opens his grants with `open`, or that are in clear.
pub fn keys_for(root: &Path, reader: &InstanceId, open: impl Fn(&[u8]) -> Vec<u8>) -> Vec<EpochKey> {
    let mut keys = Vec::new();
    for entry in fs::read_dir(root.join("scopes")).unwrap() {
        let Ok(bytes) = fs::read(entry.unwrap().path().join("manifest")) else { continue };
        let signer = Unverified::parse(&bytes).unwrap().claimed_signer().unwrap();
        for epoch in Manifest::open(&bytes, &signer).unwrap().0.epochs {
            let text = match &epoch.access {
                Access::Clear(text) => Some(text.clone()),
                Access::Granted(grants) => grants
                    .iter()
                    .find(|(granted, _)| granted == reader)
                    .map(|(_, sealed)| String::from_utf8(open(sealed)).unwrap()),
            };
            keys.extend(text.map(|text| EpochKey::from_secret_text(&text).unwrap()));
        }
    }
    keys
}

fn opened(name: &str, bytes: &[u8], keys: &[EpochKey]) -> Option<Vec<u8>> {
    let id: ObjectId = name.trim_end_matches(".age").parse().ok()?;
    keys.iter().find_map(|key| seal::open(&id, bytes, key).ok())
}

fn commits_in(header: &[(Value, Value)]) -> impl Iterator<Item = &Vec<u8>> {
    let commits = header.iter().find(|(key, _)| key.as_text() == Some("commits"));
    commits.into_iter().flat_map(|(_, commits)| commits.as_array().unwrap()).map(|commit| commit.as_bytes().unwrap())
}

fn payload_of(envelope: &[u8]) -> Option<Vec<u8>> {
    let parts = ciborium::from_reader::<Value, _>(envelope).ok()?.into_array().ok()?;
    parts.into_iter().next()?.into_bytes().ok()
}

/// The fenced blocks of CDDL in a page.
fn blocks(page: &str) -> String {
    let mut cddl = String::new();
    let mut inside = false;
    for line in page.lines() {
        if line.starts_with("```") {
            inside = line == "```cddl";
        } else if inside {
            cddl += line;
            cddl.push('\n');
        }
    }
    cddl
}

fn format_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("format")
}

fn vectors(kind: &str, verdict: &str) -> Vec<(String, Vec<u8>, String)> {
    let dir = format_dir().join("vectors").join(kind).join(verdict);
    let mut found = Vec::new();
    for entry in fs::read_dir(&dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "hex") {
            let text: String = fs::read_to_string(&path).unwrap().split_whitespace().collect();
            let bytes =
                (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap()).collect();
            let why = fs::read_to_string(path.with_extension("txt")).unwrap_or_default();
            found.push((path.file_stem().unwrap().to_str().unwrap().to_owned(), bytes, why));
        }
    }
    found
}

/// Kind of vector, page, and rule; documents are judged as such first.
const KINDS: &[(&str, &str, &str, bool)] = &[
    ("document", "document", "document", false),
    ("card", "card", "card", true),
    ("manifest", "manifest", "manifest", true),
    ("manifest-unlock", "manifest", "manifest", true),
    ("head", "head", "head", true),
    ("receipt", "receipt", "receipt", true),
    ("receipt-statement", "receipt", "statement", false),
    ("bundle", "bundle", "index", true),
    ("request", "bundle", "request", true),
    ("schema", "schema", "schema", false),
    ("record", "record", "record", false),
    ("commit", "commit", "commit", false),
    ("proof", "proof", "proof", false),
];

/// What a reason says if the layout is wrong.
const OF_LAYOUT: [&str; 4] = ["wanted ", "wrong length", "exceeds the bound of", "ends too early"];

/// Rejections whose reason says so, and which CDDL, or the tool, can't see.
const UNSEEN: &[&str] = &[
    // what is wrong lies in a byte string
    "bundle/no-request-inside",
    "manifest-unlock/details-are-no-map",
    "proof/commit-is-none",
    "proof/manifest-is-no-document",
    "proof/value-is-no-record",
    // the page says it in words: the tool has no number as small
    "record/int-too-small",
    // ciborium reads `undefined` as null
    "record/value-undefined",
];

#[test]
fn vectors_are_what_the_pages_draw() {
    let pages = Pages::read();
    let (mut accepted, mut refused, mut passed) = (0, 0, 0);
    let mut unseen = BTreeSet::new();
    for (kind, page, rule, signed) in KINDS {
        let judge = |bytes: &[u8]| match signed {
            true => pages.document(page, rule, bytes).map(drop),
            false => pages.judge(page, rule, bytes),
        };
        for (name, bytes, _) in vectors(kind, "accept") {
            // The schema without datasets is no bytes at all, as its page says.
            if !bytes.is_empty() {
                judge(&bytes).unwrap_or_else(|error| panic!("{kind}/{name}: {error}"));
                accepted += 1;
            }
        }
        for (name, bytes, why) in vectors(kind, "reject") {
            let wrong = OF_LAYOUT.iter().any(|words| why.contains(words));
            match judge(&bytes) {
                Err(_) => refused += 1,
                Ok(()) if !wrong => passed += 1,
                Ok(()) => drop(unseen.insert(format!("{kind}/{name}"))),
            }
        }
    }
    let known: BTreeSet<String> = UNSEEN.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(unseen, known, "layout that CDDL doesn't see");
    for (name, bytes, _) in vectors("changeset/plain", "accept") {
        pages.changeset(&bytes).unwrap_or_else(|error| panic!("changeset/{name}: {error}"));
    }
    println!(
        "{accepted} accepted vectors fit; of the others {refused} don't, and {passed} are wrong in what CDDL can't say"
    );
    assert!(refused > 150, "{refused}");
}

#[test]
fn nodes_and_proofs_are_what_the_pages_draw() {
    let pages = Pages::read();
    let mut nodes = 0;
    for (name, bytes, _) in vectors("proof", "accept") {
        let value: Value = ciborium::from_reader(&bytes[..]).unwrap();
        let part = |at: usize| &value.as_map().unwrap()[at].1;
        for node in part(2).as_array().unwrap() {
            pages.judge("tree", "node", node.as_bytes().unwrap()).unwrap_or_else(|error| panic!("{name}: {error}"));
            nodes += 1;
        }
        pages.judge("commit", "commit", part(3).as_bytes().unwrap()).unwrap();
    }
    assert!(nodes > 10, "{nodes}");
    for wrong in ["820080", "8200824161", "8201834161", "82188080", "8200824161f6"] {
        let bytes: Vec<u8> =
            (0..wrong.len() / 2).map(|at| u8::from_str_radix(&wrong[2 * at..2 * at + 2], 16).unwrap()).collect();
        assert!(pages.judge("tree", "node", &bytes).is_err(), "{wrong}");
    }
}

#[test]
fn the_frozen_store_is_what_the_pages_draw() {
    let frozen = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/frozen/1");
    let keys = fs::read_to_string(frozen.join("keys/age.key")).unwrap();
    let secret = keys.lines().find(|line| line.starts_with("AGE-SECRET-KEY-1")).unwrap();
    let public = fs::read_to_string(frozen.join("keys/id_ed25519.pub")).unwrap();
    let (pages, secret) = (Pages::read(), EpochKey::from_secret_text(secret).unwrap());
    let keys = keys_for(&frozen.join("store"), &id_in(&public), |sealed| secret.open(sealed, 128).unwrap());
    let counts = pages.store(&frozen.join("store"), &keys);
    println!("{counts:?}");
    for kind in ["card", "manifest", "head", "receipt", "object"] {
        assert!(counts[kind] > 2, "{kind}: {counts:?}");
    }
    pages.document("bundle", "request", &fs::read(frozen.join("beta.request")).unwrap()).unwrap();
    for proof in ["present.proof", "absent.proof"] {
        pages.judge("proof", "proof", &fs::read(frozen.join(proof)).unwrap()).unwrap();
    }
    // The index is the first file of the tar file, its length in octal digits.
    let bundle = fs::read(frozen.join("all.tar")).unwrap();
    let length = usize::from_str_radix(std::str::from_utf8(&bundle[124..135]).unwrap(), 8).unwrap();
    pages.document("bundle", "index", &bundle[512..512 + length]).unwrap();
}

/// The id in a line `ssh-ed25519 AAAA…`: the last 32 bytes of its base64.
fn id_in(line: &str) -> InstanceId {
    use base64::Engine;
    let blob = base64::engine::general_purpose::STANDARD.decode(line.split(' ').nth(1).unwrap().trim()).unwrap();
    InstanceId::from_slice(&blob[blob.len() - 32..]).unwrap()
}
