//! A proof that a signed state of a scope holds a record, or none of that key: its bytes, and their verification.
//!
//! Verifying needs no instance: only the file, and whom to believe about the scope. What is read in a tree is
//! what `tree::get` reads, so that the path has one form. Format, and what a proof reveals: format/proof.md.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;

use super::error::Error;
use super::peers::read_card;
use crate::cbor;
use crate::cbor::reader::Reader;
use crate::cbor::writer::Writer;
use crate::exchange::head::{self, Head};
use crate::history::commit::{COMMIT_BYTES_MAX, Commit, id_of};
use crate::id::bytes::{CommitId, InstanceId, NodeId, RecordKey, ScopeId};
use crate::id::name::{DATASET_BYTES_MAX, DatasetName};
use crate::keys::document::{self, DOCUMENT_BYTES_MAX, Unverified};
use crate::keys::identity::fingerprint_of;
use crate::record::cell::Record;
use crate::record::codec;
use crate::record::stamp::Stamp;
use crate::scope::manifest::{self, Manifest};
use crate::sys::clock::UnixMillis;
use crate::tree::error::TreeError;
use crate::tree::get::get;
use crate::tree::key::IdKey;
use crate::tree::limits::{LEVEL_MAX, NODE_BYTES_MAX_SINGLE};
use crate::tree::node::Node;
use crate::tree::store::{NodeStore, StoreError};

/// What one needs to see for oneself that a state holds a record.
#[derive(Clone, PartialEq, Eq)]
pub struct Proof {
    /// The rules of the scope, as signed.
    pub manifest: Vec<u8>,
    /// The head that names the state, as signed.
    pub head: Vec<u8>,
    /// The bytes of its commit.
    pub commit: Vec<u8>,
    /// What all ids of the scope are keyed with.
    pub id_key: [u8; 32],
    /// The dataset.
    pub dataset: DatasetName,
    /// The record.
    pub key: RecordKey,
    /// The nodes from the root to the leaf where the record is, or would be.
    pub nodes: Vec<Vec<u8>>,
}

/// Whom to believe about a scope: its origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trusted {
    /// By its id.
    Instance(InstanceId),
    /// By the fingerprint that its operator reads out.
    Fingerprint(String),
}

/// What a proof shows.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Proven {
    /// Whose records these are.
    pub origin: InstanceId,
    /// Its fingerprint.
    pub fingerprint: String,
    /// The scope.
    pub scope: ScopeId,
    /// Whether anybody may read it.
    pub public: bool,
    /// Who signed the head: the origin, or one of its writers.
    pub signer: InstanceId,
    /// The number of that head.
    pub seq: u64,
    /// The signer's incarnation.
    pub incarnation: u32,
    /// When it was signed, by the signer's clock.
    pub time: UnixMillis,
    /// The commit that it names.
    pub commit: CommitId,
    /// `dataset/key`.
    pub record: String,
    /// Whether the state has it.
    pub present: bool,
    /// Its fields, the newest value of each first; empty if it is absent.
    pub fields: BTreeMap<String, Vec<ProvenValue>>,
    /// How many other records the proof shows whole.
    pub others: usize,
}

/// One value of a field.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ProvenValue {
    /// The value.
    pub value: serde_json::Value,
    /// Who wrote it, by the word of the head's signer.
    pub author: InstanceId,
    /// When, by the writer's clock.
    pub time: UnixMillis,
}

/// A file proves nothing.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// It is longer than a proof can be.
    #[error("a proof has at most {bound} bytes, this one has {bytes}")]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// What is allowed.
        bound: usize,
    },
    /// It isn't the CBOR of one.
    #[error("it is no proof")]
    Decode(#[source] cbor::error::Error),
    /// One of its documents has no signature that can be read.
    #[error("its {what} is no signed document")]
    Document {
        /// Manifest or head.
        what: &'static str,
        /// Why.
        source: document::Error,
    },
    /// It is about the records of another instance.
    #[error("it is about records of {found}, not of {wanted}")]
    OtherOrigin {
        /// Whom we asked about.
        wanted: String,
        /// The fingerprint of whoever signed the manifest.
        found: String,
    },
    /// The manifest is none.
    #[error("its manifest doesn't hold")]
    Manifest(#[source] manifest::Error),
    /// The id key isn't the scope's.
    #[error("its id key is not the one of the public scope")]
    IdKey,
    /// The head is none.
    #[error("its head doesn't hold")]
    Head(#[source] head::Error),
    /// Manifest and head don't go together.
    #[error("its manifest doesn't allow its head: {0}")]
    Right(&'static str),
    /// The commit is none.
    #[error("its commit is none")]
    Commit(#[source] cbor::error::Error),
    /// Commit and head don't go together.
    #[error("its commit is not the one of its head: {0}")]
    OtherCommit(&'static str),
    /// The nodes don't lead from the signed root to the key.
    #[error("its nodes don't lead to the record")]
    Tree(#[source] TreeError),
    /// There are nodes that don't belong to the path.
    #[error("it has {found} nodes, where the way to the record has {wanted}")]
    Nodes {
        /// How many there are.
        found: usize,
        /// How many were needed.
        wanted: usize,
    },
    /// The value in the leaf is no record.
    #[error("what it leads to is no record")]
    Record(#[source] cbor::error::Error),
    /// The record has a write that the state hasn't.
    #[error("the record has a write that its commit has not seen")]
    Stamp,
}

impl Proof {
    /// Returns the canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        let mut order = writer.map(8);
        writer.key(&mut order, "key");
        writer.bytes(self.key.as_bytes());
        writer.key(&mut order, "head");
        writer.bytes(&self.head);
        writer.key(&mut order, "nodes");
        writer.array(self.nodes.len());
        for node in &self.nodes {
            writer.bytes(node);
        }
        writer.key(&mut order, "commit");
        writer.bytes(&self.commit);
        writer.key(&mut order, "format");
        writer.uint(FORMAT);
        writer.key(&mut order, "id_key");
        writer.bytes(&self.id_key);
        writer.key(&mut order, "dataset");
        writer.text(self.dataset.as_str());
        writer.key(&mut order, "manifest");
        writer.bytes(&self.manifest);
        writer.finish()
    }

    /// Decodes what `encode` writes. What is in it is for `verify`.
    ///
    /// # Errors
    /// `TooLarge`, `Decode`.
    pub fn decode(bytes: &[u8]) -> Result<Self, ProofError> {
        if bytes.len() > PROOF_BYTES_MAX {
            return Err(ProofError::TooLarge { bytes: bytes.len(), bound: PROOF_BYTES_MAX });
        }
        read(&mut Reader::new(bytes)).map_err(ProofError::Decode)
    }

    /// Checks everything that format/proof.md asks for, and returns what it shows.
    ///
    /// # Errors
    /// Every variant but `TooLarge` and `Decode`.
    pub fn verify(&self, trusted: &Trusted) -> Result<Proven, ProofError> {
        let manifest = self.open_manifest(trusted)?;
        let head = self.open_head(&manifest)?;
        let key = IdKey::from_bytes(self.id_key);
        let commit = self.open_commit(&head, &key)?;
        let (value, others) = self.walk(&commit, &key)?;
        let record = value.map(|bytes| codec::decode(&bytes, &manifest.origin).map_err(ProofError::Record));
        let record = record.transpose()?;
        if let Some(record) = &record
            && !record.elements().all(|(_, element)| commit.clock.covers(&element.stamp))
        {
            return Err(ProofError::Stamp);
        }
        Ok(Proven {
            origin: manifest.origin,
            fingerprint: fingerprint_of(&manifest.origin),
            scope: manifest.scope,
            public: manifest.public,
            signer: head.signer,
            seq: head.seq,
            incarnation: head.incarnation,
            time: head.time,
            commit: head.commit,
            record: format!("{}/{}", self.dataset, self.key),
            present: record.is_some(),
            fields: record.as_ref().map(fields).unwrap_or_default(),
            others,
        })
    }

    fn open_manifest(&self, trusted: &Trusted) -> Result<Manifest, ProofError> {
        let signer = signer_of("manifest", &self.manifest)?;
        if !trusted.is(&signer) {
            return Err(ProofError::OtherOrigin { wanted: trusted.to_string(), found: fingerprint_of(&signer) });
        }
        let (manifest, _) = Manifest::open(&self.manifest, &signer).map_err(ProofError::Manifest)?;
        match manifest.public_id_key().map_err(ProofError::Manifest)? {
            Some(id_key) if *id_key != self.id_key => Err(ProofError::IdKey),
            _ => Ok(manifest),
        }
    }

    fn open_head(&self, manifest: &Manifest) -> Result<Head, ProofError> {
        let signer = signer_of("head", &self.head)?;
        let (head, _) = Head::open(&self.head, &signer).map_err(ProofError::Head)?;
        let refused = |reason| Err(ProofError::Right(reason));
        if head.scope != manifest.scope {
            return refused("they are of different scopes");
        }
        if !manifest.may_write(&signer) {
            return refused("its signer may not write");
        }
        if head.base.is_none() != (signer == manifest.origin) {
            return refused("a writer's head builds on one of the origin, and no other does");
        }
        if head.manifest_seq > manifest.seq {
            return refused("the head speaks of a newer manifest");
        }
        Ok(head)
    }

    fn open_commit(&self, head: &Head, key: &IdKey) -> Result<Commit, ProofError> {
        if id_of(&self.commit, key) != head.commit {
            return Err(ProofError::OtherCommit("it has another id"));
        }
        let commit = Commit::decode(&self.commit).map_err(ProofError::Commit)?;
        if commit.scope != head.scope {
            return Err(ProofError::OtherCommit("it is of another scope"));
        }
        if commit.clock.seen(&head.signer, head.incarnation) != head.writes {
            return Err(ProofError::OtherCommit("it has another number of writes by its signer"));
        }
        Ok(commit)
    }

    /// Follows the path; returns the record's bytes if they are there, and how many other records the leaf has.
    fn walk(&self, commit: &Commit, key: &IdKey) -> Result<(Option<Vec<u8>>, usize), ProofError> {
        let path = PathStore { nodes: &self.nodes, read: Cell::new(0) };
        let value = get(&path, key, &commit.root(&self.dataset), self.key.as_bytes()).map_err(ProofError::Tree)?;
        let (found, wanted) = (self.nodes.len(), path.read.get());
        if found != wanted {
            return Err(ProofError::Nodes { found, wanted });
        }
        let leaf = self.nodes.last().map(|bytes| Node::decode(bytes.clone()).expect("it was read just now"));
        let entries = leaf.map_or(0, |leaf| leaf.entries());
        Ok((value.clone(), entries - usize::from(value.is_some())))
    }
}

impl std::fmt::Debug for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let nodes = self.nodes.len();
        f.debug_struct("Proof").field("dataset", &self.dataset).field("key", &self.key).field("nodes", &nodes).finish()
    }
}

impl Trusted {
    /// Reads an id, a fingerprint, a card's line, or a file with one.
    ///
    /// # Errors
    /// `Card`, `Io`.
    pub fn read(text: &str, current_dir: &Path) -> Result<Self, Error> {
        if text.starts_with("SHA256:") {
            return Ok(Self::Fingerprint(text.to_owned()));
        }
        match text.parse() {
            Ok(id) => Ok(Self::Instance(id)),
            Err(_) => Ok(Self::Instance(read_card(text, current_dir)?.card.instance)),
        }
    }

    fn is(&self, instance: &InstanceId) -> bool {
        match self {
            Self::Instance(id) => id == instance,
            Self::Fingerprint(fingerprint) => *fingerprint == fingerprint_of(instance),
        }
    }
}

impl std::fmt::Display for Trusted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Instance(id) => f.write_str(&fingerprint_of(id)),
            Self::Fingerprint(fingerprint) => f.write_str(fingerprint),
        }
    }
}

/// The nodes of a proof, given out in their order whatever is asked for: a tree checks what it reads by its id.
struct PathStore<'a> {
    nodes: &'a [Vec<u8>],
    read: Cell<usize>,
}

impl NodeStore for PathStore<'_> {
    fn read(&self, _id: &NodeId) -> Result<Vec<u8>, StoreError> {
        let at = self.read.get();
        self.read.set(at + 1);
        self.nodes.get(at).cloned().ok_or(StoreError::Missing)
    }

    fn write(&self, _id: &NodeId, _bytes: &[u8]) -> Result<(), StoreError> {
        Err(StoreError::Failed("a proof is only read".into()))
    }
}

fn read(reader: &mut Reader<'_>) -> Result<Proof, cbor::error::Error> {
    let mut keys = reader.map(8)?;
    keys.expect(reader, "key")?;
    let key = RecordKey::from_bytes(reader.fixed()?);
    keys.expect(reader, "head")?;
    let head = reader.bytes(DOCUMENT_BYTES_MAX)?.to_vec();
    keys.expect(reader, "nodes")?;
    let mut nodes = Vec::new();
    for _ in 0..reader.array(NODES_MAX)? {
        nodes.push(reader.bytes(NODE_BYTES_MAX_SINGLE)?.to_vec());
    }
    keys.expect(reader, "commit")?;
    let commit = reader.bytes(COMMIT_BYTES_MAX)?.to_vec();
    keys.expect(reader, "format")?;
    let at = reader.offset();
    if reader.uint()? != FORMAT {
        return Err(reader.invalid(at, "this format of proof is not known"));
    }
    keys.expect(reader, "id_key")?;
    let id_key = reader.fixed()?;
    keys.expect(reader, "dataset")?;
    let at = reader.offset();
    let dataset = reader.text(DATASET_BYTES_MAX)?;
    let dataset = DatasetName::new(dataset).map_err(|_| reader.invalid(at, "a dataset has no valid name"))?;
    keys.expect(reader, "manifest")?;
    let manifest = reader.bytes(DOCUMENT_BYTES_MAX)?.to_vec();
    keys.end(reader)?;
    reader.finish()?;
    Ok(Proof { manifest, head, commit, id_key, dataset, key, nodes })
}

fn signer_of(what: &'static str, bytes: &[u8]) -> Result<InstanceId, ProofError> {
    let signer = Unverified::parse(bytes).and_then(|document| document.claimed_signer());
    signer.map_err(|source| ProofError::Document { what, source })
}

fn fields(record: &Record) -> BTreeMap<String, Vec<ProvenValue>> {
    let mut fields: BTreeMap<String, Vec<(Stamp, ProvenValue)>> = BTreeMap::new();
    for (field, element) in record.elements() {
        let (author, time) = (element.stamp.author, element.stamp.time);
        let value = ProvenValue { value: element.value.to_json(), author, time };
        fields.entry(field.to_string()).or_default().push((element.stamp, value));
    }
    let newest_first = |mut values: Vec<(Stamp, ProvenValue)>| {
        values.sort_by_key(|(stamp, _)| std::cmp::Reverse((stamp.time, *stamp)));
        values.into_iter().map(|(_, value)| value).collect()
    };
    fields.into_iter().map(|(field, values)| (field, newest_first(values))).collect()
}

/// The most bytes of a proof.
pub const PROOF_BYTES_MAX: usize = 24 << 20;
const NODES_MAX: usize = LEVEL_MAX as usize + 1;
const FORMAT: u64 = 1;

const _: () = assert!(
    3 * DOCUMENT_BYTES_MAX + NODE_BYTES_MAX_SINGLE + LEVEL_MAX as usize * crate::tree::limits::NODE_BYTES_MAX
        < PROOF_BYTES_MAX,
    "whatever a tree can be, it can be proven"
);

#[cfg(test)]
mod tests;
