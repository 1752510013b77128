//! Vectors of proofs: each rejection is wrong in one way, and everything else in it is signed and hashed anew.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::exchange::head::{Base, ObjectRef, Segment};
use crate::history::commit::Making;
use crate::id::bytes::{DocHash, ObjectId};
use crate::id::name::FieldName;
use crate::keys::identity::Identity;
use crate::keys::identity::tests::AGE_SECRETS;
use crate::keys::vectors::{Case, run};
use crate::record::cell::{Cell as RecordCell, Record};
use crate::record::clock::Clock;
use crate::record::value::Value;
use crate::scope::manifest::{Access, Epoch, scope_id};
use crate::tree::build::build;
use crate::tree::memory::MemoryStore;
use crate::tree::root::Root;

const NOW: UnixMillis = UnixMillis(1_700_000_000_000);
const ID_KEY: [u8; 32] = [0x11; 32];
/// The first and the last of 400 records, and one between; each odd number is missing.
const RECORDS: [u8; 3] = [0, 200, 2];

fn origin() -> Identity {
    Identity::fixed(1)
}

/// A scope, its records, and a head; tests change a part and prove what came of it.
struct Scene {
    manifest: Manifest,
    manifest_signer: Identity,
    head: Head,
    head_signer: Identity,
    commit: Commit,
    store: MemoryStore,
    id_key: [u8; 32],
    key: RecordKey,
    dataset: DatasetName,
}

fn key(number: u16) -> RecordKey {
    let mut bytes = [7; 16];
    bytes[..2].copy_from_slice(&number.to_be_bytes());
    RecordKey::from_bytes(bytes)
}

fn record(author: u8, sequence: u64, text: &str) -> Record {
    let stamp = Stamp { author: Identity::fixed(author).id(), incarnation: 0, sequence, time: NOW };
    let value = RecordCell::new(stamp, Value::Text(text.to_owned()));
    Record { cells: [(FieldName::new("title").unwrap(), value)].into() }
}

fn encoded(author: u8, sequence: u64, text: &str) -> Vec<u8> {
    codec::encode(&record(author, sequence, text), &origin().id())
}

fn details(id_key: &[u8; 32]) -> Vec<u8> {
    let mut writer = Writer::new();
    let mut order = writer.map(3);
    writer.key(&mut order, "name");
    writer.text("public");
    writer.key(&mut order, "id_key");
    writer.bytes(id_key);
    writer.key(&mut order, "schema");
    writer.bytes(&[]);
    writer.finish()
}

fn named(name: &str) -> DatasetName {
    DatasetName::new(name).unwrap()
}

impl Scene {
    /// A public scope with 400 requests of which record 200 is to be proven, and one comment.
    fn new() -> Self {
        let (identity, salt) = (origin(), [2; 16]);
        let scope = scope_id(&identity.id(), &salt);
        let manifest = Manifest {
            scope,
            origin: identity.id(),
            salt,
            seq: 2,
            prev: Some(DocHash::from_bytes([6; 32])),
            public: true,
            writers: vec![Identity::fixed(2).id()],
            former: vec![Identity::fixed(3).id()],
            epochs: vec![Epoch {
                number: 1,
                recipient: identity.recipient(),
                access: Access::Clear(AGE_SECRETS[0].to_owned()),
            }],
            details: details(&ID_KEY),
            time: NOW,
        };
        let mut clock = Clock::default();
        clock.advance(identity.id(), 0, 9);
        clock.advance(Identity::fixed(2).id(), 0, 4);
        let making = Making::Capture {
            parent: Some(CommitId::from_bytes([5; 32])),
            author: identity.id(),
            incarnation: 0,
            sequence: 9,
            time: NOW,
        };
        let head = Head {
            scope,
            signer: identity.id(),
            incarnation: 0,
            seq: 3,
            prev: Some(DocHash::from_bytes([6; 32])),
            commit: CommitId::from_bytes([0; 32]),
            writes: 9,
            manifest_seq: 2,
            epoch: 1,
            base: None,
            segments: vec![Segment {
                from_seq: 0,
                to_seq: 3,
                objects: vec![ObjectRef { id: ObjectId::from_bytes([4; 32]), bytes: 1000 }],
            }],
            time: NOW,
        };
        let mut scene = Self {
            manifest,
            manifest_signer: origin(),
            head,
            head_signer: origin(),
            commit: Commit { scope, clock, datasets: BTreeMap::new(), making },
            store: MemoryStore::new(),
            id_key: ID_KEY,
            key: key(400),
            dataset: named("requests"),
        };
        scene.fill(400, 30);
        scene
    }

    /// Builds the trees under the scene's key.
    fn fill(&mut self, records: u16, words: usize) {
        let requests = (0..records)
            .map(|n| (key(2 * n), encoded(1 + (n % 2) as u8, 1 + u64::from(n % 4), &"word ".repeat(words))));
        let root = self.tree(requests);
        self.commit.datasets.insert(named("requests"), root);
        let root = self.tree([(key(1), encoded(1, 9, "alone"))]);
        self.commit.datasets.insert(named("comments"), root);
    }

    fn tree(&self, records: impl IntoIterator<Item = (RecordKey, Vec<u8>)>) -> Root {
        let entries = records.into_iter().map(|(key, bytes)| Ok::<_, TreeError>((key.as_bytes().to_vec(), bytes)));
        build(&self.store, &IdKey::from_bytes(self.id_key), entries).unwrap()
    }

    /// Makes a tree of hand-made nodes: a root, and what it lists.
    fn hand_made(&mut self, level: u8, entries: &[(RecordKey, NodeId, u64)]) -> Root {
        let mut writer = Writer::new();
        writer.array(2);
        writer.uint(level.into());
        writer.array(entries.len() * 3);
        for (key, child, count) in entries {
            writer.bytes(key.as_bytes());
            writer.bytes(child.as_bytes());
            writer.uint(*count);
        }
        let bytes = writer.finish();
        let id = IdKey::from_bytes(self.id_key).node_id(&bytes);
        self.store.write(&id, &bytes).unwrap();
        Root { node: Some(id), count: entries.iter().map(|(_, _, count)| count).sum() }
    }

    /// Signs everything and goes down the tree, whatever is wrong on the way.
    fn proof(mut self) -> Proof {
        let id_key = IdKey::from_bytes(self.id_key);
        let commit = self.commit.encode();
        if self.head.commit == CommitId::from_bytes([0; 32]) {
            self.head.commit = id_of(&commit, &id_key);
        }
        let (mut nodes, mut next) = (Vec::new(), self.commit.root(&self.dataset).node);
        while let Some(bytes) = next.and_then(|id| self.store.read(&id).ok()) {
            let node = Node::decode(bytes.clone()).unwrap();
            next = (node.level() > 0).then(|| {
                let at = node.search(self.key.as_bytes()).unwrap_or_else(|next| next);
                node.child(at.min(node.entries() - 1))
            });
            nodes.push(bytes);
        }
        Proof {
            manifest: self.manifest.sign(&self.manifest_signer).unwrap(),
            head: self.head.sign(&self.head_signer),
            commit,
            id_key: self.id_key,
            dataset: self.dataset,
            key: self.key,
            nodes,
        }
    }

    fn by_writer(&mut self) {
        self.head_signer = Identity::fixed(2);
        self.head.signer = self.head_signer.id();
        self.head.writes = 4;
        self.head.base = Some(Base { seq: 2, commit: CommitId::from_bytes([9; 32]) });
    }

    /// Makes a scope that isn't public of it; its sealed parts are stand-ins.
    fn sealed(&mut self) {
        self.manifest.public = false;
        self.manifest.details = b"sealed details".to_vec();
        let mut grants: Vec<_> = [1, 2].map(|number| (Identity::fixed(number).id(), vec![number; 4])).into();
        grants.sort();
        self.manifest.epochs[0].access = Access::Granted(grants);
    }
}

fn changed(change: impl FnOnce(&mut Scene)) -> Proof {
    let mut scene = Scene::new();
    change(&mut scene);
    scene.proof()
}

fn altered(change: impl FnOnce(&mut Proof)) -> Vec<u8> {
    let mut proof = Scene::new().proof();
    change(&mut proof);
    proof.encode()
}

fn opened(bytes: &[u8]) -> Result<Proven, ProofError> {
    Proof::decode(bytes)?.verify(&Trusted::Instance(origin().id()))
}

#[test]
fn vectors_hold() {
    let good = Scene::new().proof().encode();
    let with = |change: &dyn Fn(&mut Scene)| changed(change).encode();
    let replaced = |from: &[u8], to: &[u8]| crate::keys::vectors::replaced(&good, from, to);
    let flipped = |of: &dyn Fn(&mut Proof) -> &mut Vec<u8>| {
        altered(|proof| {
            let bytes = of(proof);
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        })
    };
    let cases = [
        Case::accept("present", good.clone()),
        Case::accept("only-record", with(&|s| (s.dataset, s.key) = (named("comments"), key(1)))),
        Case::accept("three-levels", with(&|s| s.fill(600, 300))),
        Case::accept("first-record", with(&|s| s.key = key(0))),
        Case::accept("absent-between", with(&|s| s.key = key(401))),
        Case::accept("absent-after-all", with(&|s| s.key = key(900))),
        Case::accept("absent-dataset", with(&|s| s.dataset = named("invites"))),
        Case::accept("by-writer", with(&|s| s.by_writer())),
        Case::accept("sealed-scope", with(&|s| s.sealed())),
        Case::reject("truncated", good[..good.len() - 1].to_vec()),
        Case::reject("trailing", [&good[..], &[0]].concat()),
        Case::reject("newer-format", replaced(b"\x66format\x01\x66id_key", b"\x66format\x02\x66id_key")),
        Case::reject("keys-in-other-order", replaced(b"\x63key\x50", b"\x63kez\x50")),
        Case::reject("dataset-without-name", replaced(b"\x67dataset\x68requests", b"\x67dataset\x68Requests")),
        Case::reject("too-many-nodes", altered(|p| p.nodes = vec![vec![0]; NODES_MAX + 1])),
        Case::reject("manifest-is-no-document", altered(|p| p.manifest = vec![0x80])),
        Case::reject("manifest-altered", flipped(&|p| &mut p.manifest)),
        Case::reject("manifest-is-a-head", altered(|p| p.manifest = p.head.clone())),
        Case::reject(
            "other-origin",
            with(&|s| {
                s.manifest_signer = Identity::fixed(2);
                s.manifest.origin = s.manifest_signer.id();
                s.manifest.writers = vec![];
                s.manifest.scope = scope_id(&s.manifest.origin, &s.manifest.salt);
            }),
        ),
        Case::reject(
            "other-key-of-public-scope",
            with(&|s| {
                s.id_key = [0x12; 32];
                s.fill(400, 30);
            }),
        ),
        Case::reject(
            "other-key-of-sealed-scope",
            changed(|s| {
                s.sealed();
                s.head.commit = id_of(&s.commit.encode(), &IdKey::from_bytes([0x12; 32]));
            })
            .encode(),
        ),
        Case::reject("head-altered", flipped(&|p| &mut p.head)),
        Case::reject("head-of-other-scope", with(&|s| s.head.scope = ScopeId::from_bytes([9; 16]))),
        Case::reject(
            "head-by-former-writer",
            with(&|s| {
                s.by_writer();
                s.head_signer = Identity::fixed(3);
                s.head.signer = s.head_signer.id();
                s.head.writes = 0;
            }),
        ),
        Case::reject(
            "head-by-writer-without-base",
            with(&|s| {
                s.by_writer();
                s.head.base = None;
            }),
        ),
        Case::reject(
            "head-by-origin-with-base",
            with(&|s| s.head.base = Some(Base { seq: 2, commit: CommitId::from_bytes([9; 32]) })),
        ),
        Case::reject("head-of-newer-manifest", with(&|s| s.head.manifest_seq = 3)),
        Case::reject("head-of-other-commit", with(&|s| s.head.commit = CommitId::from_bytes([8; 32]))),
        Case::reject("head-of-more-writes", with(&|s| s.head.writes = 10)),
        Case::reject("commit-altered", flipped(&|p| &mut p.commit)),
        Case::reject("commit-of-other-scope", with(&|s| s.commit.scope = ScopeId::from_bytes([9; 16]))),
        Case::reject(
            "commit-is-none",
            altered(|p| {
                let mut scene = Scene::new();
                p.commit = vec![0xa0];
                scene.head.commit = id_of(&p.commit, &IdKey::from_bytes(ID_KEY));
                p.head = scene.head.sign(&origin());
            }),
        ),
        Case::reject("root-counts-more", with(&|s| s.commit.datasets.get_mut(&named("requests")).unwrap().count = 401)),
        Case::reject("leaf-missing", altered(|p| drop(p.nodes.pop()))),
        Case::reject("leaf-twice", altered(|p| p.nodes.push(p.nodes.last().unwrap().clone()))),
        Case::reject("nodes-without-dataset", altered(|p| p.dataset = named("invites"))),
        Case::reject("leaf-altered", flipped(&|p| p.nodes.last_mut().unwrap())),
        Case::reject(
            "leaf-of-other-key",
            altered(|p| *p.nodes.last_mut().unwrap() = changed(|s| s.key = key(0)).nodes.pop().unwrap()),
        ),
        Case::reject("nodes-in-other-order", altered(|p| p.nodes.reverse())),
        Case::reject(
            "greatest-key-of-another",
            with(&|s| {
                let leaf = s.tree([(key(400), encoded(1, 1, "left"))]);
                let right = s.tree([(key(500), encoded(1, 1, "right"))]);
                let root = s.hand_made(1, &[(key(401), leaf.node.unwrap(), 1), (key(500), right.node.unwrap(), 1)]);
                s.commit.datasets.insert(named("requests"), root);
            }),
        ),
        Case::reject(
            "first-key-is-before-the-path",
            with(&|s| {
                let left = s.tree([(key(399), encoded(1, 1, "left"))]);
                let right = s.tree([(key(398), encoded(1, 1, "hidden")), (key(400), encoded(1, 1, "right"))]);
                let root = s.hand_made(1, &[(key(399), left.node.unwrap(), 1), (key(400), right.node.unwrap(), 2)]);
                s.commit.datasets.insert(named("requests"), root);
            }),
        ),
        Case::reject(
            "level-is-skipped",
            with(&|s| {
                let left = s.tree([(key(100), encoded(1, 1, "left"))]);
                let right = s.tree([(key(400), encoded(1, 1, "right"))]);
                let root = s.hand_made(2, &[(key(100), left.node.unwrap(), 1), (key(400), right.node.unwrap(), 1)]);
                s.commit.datasets.insert(named("requests"), root);
            }),
        ),
        Case::reject(
            "root-of-one-child",
            with(&|s| {
                let leaf = s.tree([(key(400), encoded(1, 1, "left"))]);
                let root = s.hand_made(1, &[(key(400), leaf.node.unwrap(), 1)]);
                s.commit.datasets.insert(named("requests"), root);
            }),
        ),
        Case::reject(
            "value-is-no-record",
            with(&|s| {
                let root = s.tree([(key(400), vec![0x80])]);
                s.commit.datasets.insert(named("requests"), root);
            }),
        ),
        Case::reject(
            "write-beyond-the-clock",
            with(&|s| {
                let root = s.tree([(key(400), encoded(2, 5, "not seen"))]);
                s.commit.datasets.insert(named("requests"), root);
            }),
        ),
    ];
    run("proof", &cases, |bytes| opened(bytes).map(drop));
}

/// What a proof says is what is in the tree, and only the right origin's proofs count.
#[test]
fn a_proof_shows_the_record_and_tells_absence() {
    let deep = changed(|s| s.fill(600, 300));
    assert!(deep.nodes.len() >= 3 && opened(&deep.encode()).unwrap().present, "{} nodes", deep.nodes.len());
    let proof = Scene::new().proof();
    let shown = opened(&proof.encode()).unwrap();
    assert!(shown.present && shown.public && shown.others > 0);
    assert_eq!(shown.record, format!("requests/{}", key(400)));
    assert_eq!(shown.fields["title"][0].value, serde_json::json!("word ".repeat(30)));
    let absent = opened(&changed(|s| s.key = key(401)).encode()).unwrap();
    assert!(!absent.present && absent.fields.is_empty());
    for number in RECORDS {
        assert!(opened(&changed(|s| s.key = key(number.into())).encode()).unwrap().present);
    }
    let by_writer = opened(&changed(|s| s.by_writer()).encode()).unwrap();
    assert_eq!((by_writer.origin, by_writer.signer), (origin().id(), Identity::fixed(2).id()));
    let fingerprint = Trusted::read(&origin().fingerprint(), Path::new("/")).unwrap();
    assert!(proof.verify(&fingerprint).is_ok());
    let other = Trusted::read(&Identity::fixed(2).id().to_string(), Path::new("/")).unwrap();
    assert!(matches!(proof.verify(&other), Err(ProofError::OtherOrigin { .. })));
}

#[test]
fn what_is_too_long_is_refused_by_its_length() {
    let bytes = vec![0; PROOF_BYTES_MAX + 1];
    assert!(matches!(Proof::decode(&bytes), Err(ProofError::TooLarge { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever one byte becomes, the file proves nothing, or something else than before only about another key.
    #[test]
    fn a_mutated_proof_never_says_otherwise(at: usize, flip in 1u8..) {
        static GOOD: LazyLock<Vec<u8>> = LazyLock::new(|| Scene::new().proof().encode());
        let mut bytes = GOOD.clone();
        let wanted = opened(&bytes).unwrap();
        let at = at % bytes.len();
        bytes[at] ^= flip;
        if let Ok(proven) = opened(&bytes) {
            prop_assert!(proven.record != wanted.record);
            prop_assert_eq!((proven.commit, proven.scope, proven.seq), (wanted.commit, wanted.scope, wanted.seq));
        }
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(opened(&bytes).is_err());
    }
}
