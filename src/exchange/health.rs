//! Health of a store: every object against its name, every document against its signature and its place.
//!
//! Needs no keys, and reads nothing but the store: what can't be judged from there (whether a head is the newest that its
//! signer signed, what an object says) is left to who has more. Changes nothing. What a store promises: format/store.md.

use std::collections::{BTreeMap, BTreeSet};

use crate::exchange::copy::verify;
use crate::exchange::head::Head;
use crate::exchange::layout::StorePath;
use crate::exchange::receipt::Receipt;
use crate::exchange::store::{Store, StoreError};
use crate::id::bytes::{InstanceId, ObjectId, ScopeId};
use crate::keys::card::SignedCard;
use crate::keys::document::Unverified;
use crate::scope::manifest::Manifest;

/// How closely objects are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Whether they are there, at the sizes that heads name.
    Sizes,
    /// All their bytes.
    Contents,
}

/// What is wrong with a thing in a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// An object's bytes are others than its name says, or its size is another than a head says.
    DamagedObject,
    /// A head names an object that isn't there.
    MissingObject,
    /// A document doesn't verify, is too large, or is no plain file.
    DamagedDocument,
    /// A document speaks of another scope or instance than the place where it lies.
    Misplaced,
    /// A scope has heads and no manifest.
    NoManifest,
    /// A head was signed by an instance that the manifest gives no right to write.
    NoRight,
    /// A head needs a newer manifest, or a newer head of the origin, than the one that the store has.
    Behind,
    /// Two documents contradict each other.
    Contradiction,
    /// An object that no head names.
    Garbage,
}

impl Kind {
    /// Tells whether the store is damaged by it: somebody who fetches here doesn't get all that heads promise.
    pub const fn is_damage(self) -> bool {
        match self {
            Kind::DamagedObject | Kind::MissingObject | Kind::DamagedDocument | Kind::Misplaced | Kind::NoManifest => {
                true
            }
            Kind::NoRight | Kind::Behind | Kind::Contradiction | Kind::Garbage => false,
        }
    }

    /// Says what it is, in a few words.
    pub const fn words(self) -> &'static str {
        match self {
            Kind::DamagedObject => "damaged object",
            Kind::MissingObject => "missing object",
            Kind::DamagedDocument => "damaged document",
            Kind::Misplaced => "misplaced document",
            Kind::NoManifest => "missing manifest",
            Kind::NoRight => "head without right",
            Kind::Behind => "store behind",
            Kind::Contradiction => "contradiction",
            Kind::Garbage => "unused object",
        }
    }
}

/// Something that isn't as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub kind: Kind,
    /// Where.
    pub path: StorePath,
    /// How it shows.
    pub detail: String,
    /// Of objects: their size, as the head says that names them, or as they lie there.
    pub bytes: u64,
    /// Of objects: whether a head names them.
    pub is_named: bool,
}

/// What was looked at, and what is wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// By place: documents first, then objects.
    pub findings: Vec<Finding>,
    /// Documents read.
    pub documents: u64,
    /// Objects held.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Whether the store doesn't say which objects it holds; then only those were looked at that heads name.
    pub is_unlisted: bool,
}

/// Looks at everything in a store. `progress` gets the bytes read and those to be read.
///
/// Cost: reads every document, and with `Contents` every object, once.
///
/// # Errors
/// As the store fails as a whole; what is wrong with single things is in the result.
pub fn examine(store: &dyn Store, depth: Depth, progress: &mut dyn FnMut(u64, u64)) -> Result<Health, StoreError> {
    let mut look = Look::default();
    for instance in listed(store.cards())? {
        look.card(store, instance)?;
    }
    for scope in store.scopes()? {
        look.scope(store, scope)?;
    }
    look.objects(store, depth, progress)?;
    Ok(look.health)
}

/// Lists every object that a head in the store names, with the size and the head; heads that can't be read are told.
///
/// # Errors
/// As the store fails.
pub fn named(store: &dyn Store) -> Result<Named, StoreError> {
    let mut look = Look::default();
    for scope in store.scopes()? {
        look.scope(store, scope)?;
    }
    let unread = look.health.findings.iter().filter(|finding| {
        matches!(finding.path, StorePath::Head(..)) && matches!(finding.kind, Kind::DamagedDocument | Kind::Misplaced)
    });
    Ok(Named { unread: unread.map(|finding| finding.path).collect(), objects: look.named })
}

/// What the heads of a store name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Named {
    /// Objects, with their sizes and a head that names each.
    pub objects: BTreeMap<ObjectId, (u64, StorePath)>,
    /// Heads that can't be read: what they name is unknown.
    pub unread: BTreeSet<StorePath>,
}

#[derive(Default)]
struct Look {
    health: Health,
    named: BTreeMap<ObjectId, (u64, StorePath)>,
}

impl Look {
    fn find(&mut self, kind: Kind, path: StorePath, detail: impl Into<String>) {
        self.health.findings.push(Finding { kind, path, detail: detail.into(), bytes: 0, is_named: false });
    }

    /// Notes what is wrong with one document; `None` if it can't be had.
    fn document(
        &mut self,
        path: StorePath,
        read: Result<Option<Vec<u8>>, StoreError>,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        self.health.documents += 1;
        match read {
            Err(error @ (StoreError::TooLarge { .. } | StoreError::Irregular { .. } | StoreError::Denied { .. })) => {
                self.find(Kind::DamagedDocument, path, error.to_string());
                Ok(None)
            }
            other => other,
        }
    }

    fn card(&mut self, store: &dyn Store, instance: InstanceId) -> Result<(), StoreError> {
        let path = StorePath::Card(instance);
        let Some(bytes) = self.document(path, store.card(&instance))? else { return Ok(()) };
        match SignedCard::open(&bytes) {
            Err(error) => self.find(Kind::DamagedDocument, path, chain(&error)),
            Ok(card) if card.card.instance != instance => {
                self.find(Kind::Misplaced, path, format!("it is the card of {}", card.card.instance));
            }
            Ok(_) => {}
        }
        Ok(())
    }

    fn scope(&mut self, store: &dyn Store, scope: ScopeId) -> Result<(), StoreError> {
        let path = StorePath::Manifest(scope);
        let manifest = match self.document(path, store.manifest(&scope))? {
            Some(bytes) => self.manifest(path, scope, &bytes),
            None => {
                if !self.health.findings.iter().any(|finding| finding.path == path) {
                    self.find(Kind::NoManifest, path, "the scope has heads, and nobody can tell who may sign them");
                }
                None
            }
        };
        let mut heads = Vec::new();
        for signer in listed(store.heads(&scope))? {
            heads.extend(self.head(store, scope, signer)?);
        }
        if let Some(manifest) = &manifest {
            self.rights(manifest, &heads);
        }
        for reader in listed(store.receipts(&scope))? {
            self.receipt(store, scope, reader)?;
        }
        Ok(())
    }

    fn manifest(&mut self, path: StorePath, scope: ScopeId, bytes: &[u8]) -> Option<Manifest> {
        let claimed = Unverified::parse(bytes).and_then(|document| document.claimed_signer());
        let opened = match claimed {
            Ok(origin) => Manifest::open(bytes, &origin).map_err(|error| chain(&error)),
            Err(error) => Err(chain(&error)),
        };
        match opened {
            Err(why) => self.find(Kind::DamagedDocument, path, why),
            Ok((manifest, _)) if manifest.scope != scope => {
                self.find(Kind::Misplaced, path, format!("it is the manifest of scope {}", manifest.scope));
            }
            Ok((manifest, _)) => return Some(manifest),
        }
        None
    }

    fn head(&mut self, store: &dyn Store, scope: ScopeId, signer: InstanceId) -> Result<Option<Head>, StoreError> {
        let path = StorePath::Head(scope, signer);
        let Some(bytes) = self.document(path, store.head(&scope, &signer))? else { return Ok(None) };
        let head = match Head::open(&bytes, &signer) {
            Err(error) => {
                self.find(Kind::DamagedDocument, path, chain(&error));
                return Ok(None);
            }
            Ok((head, _)) if head.scope != scope => {
                self.find(Kind::Misplaced, path, format!("it is a head of scope {}", head.scope));
                return Ok(None);
            }
            Ok((head, _)) => head,
        };
        for object in head.objects() {
            let (bytes, other) = *self.named.entry(object.id).or_insert((object.bytes, path));
            if bytes != object.bytes {
                let detail =
                    format!("it says that object {} has {} bytes, {other} says {bytes}", object.id, object.bytes);
                self.find(Kind::Contradiction, path, detail);
            }
        }
        Ok(Some(head))
    }

    /// Compares the heads of a scope with its manifest and with the origin's head.
    fn rights(&mut self, manifest: &Manifest, heads: &[Head]) {
        let origin = heads.iter().find(|head| head.signer == manifest.origin);
        for head in heads {
            let path = StorePath::Head(head.scope, head.signer);
            if !manifest.may_write(&head.signer) && manifest.former.binary_search(&head.signer).is_err() {
                self.find(Kind::NoRight, path, "the manifest doesn't name its signer as a writer; nobody takes it");
            }
            if head.manifest_seq > manifest.seq {
                let detail = format!("it needs manifest {}, here is {}", head.manifest_seq, manifest.seq);
                self.find(Kind::Behind, path, detail);
            }
            self.base(head, manifest.origin, origin, path);
        }
    }

    fn base(&mut self, head: &Head, origin_id: InstanceId, origin: Option<&Head>, path: StorePath) {
        match &head.base {
            None if head.signer == origin_id => {}
            None => self.find(Kind::Contradiction, path, "it doesn't build on the origin's head, as a writer's must"),
            Some(_) if head.signer == origin_id => {
                self.find(Kind::Contradiction, path, "it is the origin's and builds on another head");
            }
            Some(base) => {
                // Where the origin publishes nothing, as in a writer's own store, there is nothing to be behind of.
                let Some(origin) = origin else { return };
                if base.seq > origin.seq {
                    let detail = format!("it builds on head {} of the origin, here is {}", base.seq, origin.seq);
                    self.find(Kind::Behind, path, detail);
                } else if base.seq == origin.seq && base.commit != origin.commit {
                    let detail = format!("it builds on another head {} of the origin than the one here", base.seq);
                    self.find(Kind::Contradiction, path, detail);
                }
            }
        }
    }

    fn receipt(&mut self, store: &dyn Store, scope: ScopeId, reader: InstanceId) -> Result<(), StoreError> {
        let path = StorePath::Receipt(scope, reader);
        let Some(bytes) = self.document(path, store.receipt(&scope, &reader))? else { return Ok(()) };
        match Receipt::open(&bytes, &reader) {
            Err(error) => self.find(Kind::DamagedDocument, path, chain(&error)),
            Ok((receipt, _)) if receipt.scope != scope => {
                self.find(Kind::Misplaced, path, format!("it is a receipt of scope {}", receipt.scope));
            }
            Ok(_) => {}
        }
        Ok(())
    }

    fn objects(
        &mut self,
        store: &dyn Store,
        depth: Depth,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(), StoreError> {
        let mut held: BTreeMap<ObjectId, u64> = BTreeMap::new();
        match store.objects() {
            Ok(objects) => held.extend(objects.into_iter().map(|object| (object.id, object.bytes))),
            Err(StoreError::Denied { .. }) => {
                self.health.is_unlisted = true;
                for id in self.named.keys() {
                    held.extend(store.object_size(id)?.map(|bytes| (*id, bytes)));
                }
            }
            Err(error) => return Err(error),
        }
        self.health.objects = held.len() as u64;
        self.health.bytes = held.values().sum();
        let mut found = |kind, id: ObjectId, detail: String, bytes| {
            let is_named = self.named.contains_key(&id);
            self.health.findings.push(Finding { kind, path: StorePath::Object(id), detail, bytes, is_named });
        };
        for (id, (bytes, head)) in &self.named {
            match held.get(id) {
                None => found(Kind::MissingObject, *id, format!("{head} names it"), *bytes),
                Some(there) if there != bytes => {
                    let detail = format!("it has {there} bytes, and {head} says {bytes}");
                    found(Kind::DamagedObject, *id, detail, *bytes);
                }
                Some(_) => {}
            }
        }
        let (total, mut done) = (self.health.bytes, 0);
        progress(0, total);
        for (id, bytes) in &held {
            let names = self.named.get(id);
            let is_sized = names.is_none_or(|(named, _)| named == bytes);
            if depth == Depth::Contents && is_sized {
                match verify(store, *id, *bytes) {
                    Ok(()) => {}
                    Err(StoreError::Damaged { damage, .. }) => {
                        found(Kind::DamagedObject, *id, damage.to_string(), *bytes)
                    }
                    // Collected, or withdrawn, since it was listed.
                    Err(StoreError::Missing { .. }) if names.is_none() => {}
                    Err(
                        error @ (StoreError::Missing { .. } | StoreError::Irregular { .. } | StoreError::Io { .. }),
                    ) => {
                        found(Kind::DamagedObject, *id, chain(&error), *bytes);
                    }
                    Err(error) => return Err(error),
                }
            }
            if names.is_none() {
                found(Kind::Garbage, *id, format!("no head names its {bytes} bytes"), *bytes);
            }
            done += bytes;
            progress(done, total);
        }
        Ok(())
    }
}

/// Returns what a directory lists; nothing if a link or a file is in its place, which is a finding of its own.
fn listed<T>(list: Result<Vec<T>, StoreError>) -> Result<Vec<T>, StoreError> {
    match list {
        Err(StoreError::Irregular { .. }) => Ok(Vec::new()),
        list => list,
    }
}

/// An error with its causes, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests;
