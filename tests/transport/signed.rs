//! Properly signed documents of made-up instances, for stores that check what they are given.

use wbsync::exchange::head::{Base, Head, ObjectRef, Segment};
use wbsync::exchange::receipt::{Receipt, Statement};
use wbsync::id::bytes::{CommitId, DocHash, InstanceId, ObjectId, ScopeId};
use wbsync::id::name::{PeerName, ScopeName};
use wbsync::keys::card::{Card, SignedCard};
use wbsync::keys::document::hash_of;
use wbsync::keys::identity::Identity;
use wbsync::scope::manifest::Manifest;
use wbsync::scope::manifest::draft::{ManifestDraft, Reader, Since};
use wbsync::sys::clock::UnixMillis;

pub(crate) const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

/// An origin, a writer and a reader of its scopes, and a stranger.
pub(crate) struct People {
    pub(crate) alpha: Identity,
    pub(crate) beta: Identity,
    pub(crate) gamma: Identity,
    pub(crate) stranger: Identity,
}

/// A scope of `alpha` with its signed manifest.
pub(crate) struct Scope {
    pub(crate) id: ScopeId,
    pub(crate) manifest: Vec<u8>,
}

impl People {
    pub(crate) fn new() -> Self {
        let [alpha, beta, gamma, stranger] = [(); 4].map(|()| Identity::generate());
        Self { alpha, beta, gamma, stranger }
    }

    /// Makes a scope of `alpha` that `beta` may write, if it isn't public, and `gamma` may read.
    pub(crate) fn scope(&self, name: &str) -> Scope {
        let name = ScopeName::new(name).unwrap();
        let mut draft = ManifestDraft::new(&self.alpha, &name, b"schema", NOW).unwrap();
        if !name.is_public() {
            for reader in [&self.beta, &self.gamma] {
                let reader = Reader { instance: reader.id(), recipient: reader.recipient() };
                draft.grant(&reader, Since::Beginning).unwrap();
            }
        }
        draft.add_writer(self.beta.id()).unwrap();
        let signed = draft.sign().unwrap();
        Scope { id: signed.manifest.scope, manifest: signed.bytes }
    }

    /// Returns the manifest after the one of `scope`, `gamma` being no reader any more.
    pub(crate) fn without_gamma(&self, scope: &Scope) -> Vec<u8> {
        let (manifest, hash) = Manifest::open(&scope.manifest, &self.alpha.id()).unwrap();
        let mut draft = ManifestDraft::next(&self.alpha, &manifest, hash, NOW).unwrap();
        let reader = Reader { instance: self.beta.id(), recipient: self.beta.recipient() };
        draft.new_epoch(&[reader]).unwrap();
        draft.sign().unwrap().bytes
    }
}

/// Signs the card of an instance; a name makes it another one.
pub(crate) fn card(identity: &Identity, name: &str, incarnation: u32) -> Vec<u8> {
    let card = Card {
        instance: identity.id(),
        recipient: identity.recipient(),
        name: PeerName::new(name).unwrap(),
        urls: Vec::new(),
        incarnation,
    };
    SignedCard::sign(card, identity).bytes
}

/// Signs the head number `seq` of an origin, after `prev`, carried by `objects`.
pub(crate) fn origin_head(
    origin: &Identity,
    scope: &ScopeId,
    seq: u64,
    prev: Option<&[u8]>,
    objects: &[(ObjectId, u64)],
) -> Vec<u8> {
    let objects = objects.iter().map(|(id, bytes)| ObjectRef { id: *id, bytes: *bytes }).collect();
    let segments = vec![Segment { from_seq: 0, to_seq: seq, objects }];
    head(origin, scope, seq, prev.map(hash_of), None, segments)
}

/// Signs the head number `seq` of a writer, after `prev`, which adds nothing to the origin's.
pub(crate) fn writer_head(writer: &Identity, scope: &ScopeId, seq: u64, prev: Option<&[u8]>) -> Vec<u8> {
    let base = Base { seq: 1, commit: CommitId::from_bytes([7; 32]) };
    head(writer, scope, seq, prev.map(hash_of), Some(base), Vec::new())
}

/// Signs the receipt number `seq` of a reader, which says nothing.
pub(crate) fn receipt(reader: &Identity, scope: &ScopeId, seq: u64) -> Vec<u8> {
    let receipt = Receipt {
        scope: *scope,
        signer: reader.id(),
        incarnation: 0,
        seq,
        time: NOW,
        epoch: None,
        body: Statement::default().encode(),
    };
    receipt.sign(reader)
}

fn head(
    signer: &Identity,
    scope: &ScopeId,
    seq: u64,
    prev: Option<DocHash>,
    base: Option<Base>,
    segments: Vec<Segment>,
) -> Vec<u8> {
    let head = Head {
        scope: *scope,
        signer: signer.id(),
        incarnation: 0,
        seq,
        prev,
        commit: CommitId::from_bytes([7; 32]),
        writes: seq,
        manifest_seq: 1,
        epoch: 1,
        base,
        segments,
        time: NOW,
    };
    head.sign(signer)
}

/// Nobody's id.
pub(crate) const NOBODY: InstanceId = InstanceId::from_bytes([0xa1; 32]);
