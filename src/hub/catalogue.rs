//! What a hub knows of its documents, in memory: who may read which scope, what carries it, and what changed when.
//!
//! Built from the store and renewed from it, for other processes write there too. Whatever doesn't verify is listed for
//! those who see everything and gives nobody a right.

use std::collections::{BTreeMap, HashMap};

use crate::exchange::head::Head;
use crate::exchange::layout::StorePath;
use crate::exchange::store::{Store, StoreError};
use crate::hub::caller::Caller;
use crate::id::bytes::{DocHash, InstanceId, ObjectId, RecordKey, ScopeId};
use crate::keys::document::{self, Unverified};
use crate::scope::manifest::Manifest;
use crate::sys::clock::UnixMillis;
use crate::sys::{clock, random};
use crate::transport::dir::{DirStore, Stamp};
use crate::transport::http::wire::Change;

/// The documents of a store.
#[derive(Debug)]
pub struct Catalogue {
    /// Differs after each start, so that a cursor of another one is recognised.
    epoch: RecordKey,
    last: u64,
    documents: BTreeMap<StorePath, Entry>,
    /// By the number of its last change, each document; one that is gone stays here.
    by_number: BTreeMap<u64, StorePath>,
    /// The numbers of those that are gone.
    gone: BTreeMap<StorePath, u64>,
    rules: BTreeMap<ScopeId, Rules>,
    /// The change at which each instance last lost the right to read some scope.
    lost: HashMap<InstanceId, u64>,
    /// The change at which a scope last ceased to be public.
    lost_by_all: u64,
    carried: HashMap<ObjectId, Vec<ScopeId>>,
    /// Documents read so far.
    reads: u64,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    hash: DocHash,
    number: u64,
    stamp: Stamp,
    /// When it was looked at.
    seen: UnixMillis,
}

/// Who may do what with a scope, by its newest manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rules {
    origin: InstanceId,
    public: bool,
    /// Readers of what is written from now on, and writers; ascending.
    readers: Vec<InstanceId>,
}

impl Catalogue {
    /// Makes one that knows nothing yet.
    pub fn new() -> Self {
        Self {
            epoch: RecordKey::from_bytes(random::bytes()),
            last: 0,
            documents: BTreeMap::new(),
            by_number: BTreeMap::new(),
            gone: BTreeMap::new(),
            rules: BTreeMap::new(),
            lost: HashMap::new(),
            lost_by_all: 0,
            carried: HashMap::new(),
            reads: 0,
        }
    }

    /// Looks at the whole store for what changed, and tells whether anything did. Reads only what changed.
    ///
    /// # Errors
    /// As the store fails.
    pub fn renew(&mut self, store: &DirStore) -> Result<bool, StoreError> {
        let before = self.last;
        let mut paths: Vec<StorePath> = store.cards()?.into_iter().map(StorePath::Card).collect();
        for scope in store.scopes()? {
            paths.push(StorePath::Manifest(scope));
            paths.extend(store.heads(&scope)?.into_iter().map(|signer| StorePath::Head(scope, signer)));
            paths.extend(store.receipts(&scope)?.into_iter().map(|reader| StorePath::Receipt(scope, reader)));
        }
        paths.sort_unstable();
        let gone: Vec<StorePath> =
            self.documents.keys().filter(|path| paths.binary_search(path).is_err()).copied().collect();
        for path in paths.into_iter().chain(gone) {
            let stamp = store.stamp(&path)?;
            match (self.documents.get(&path), stamp) {
                (Some(known), Some(found)) if known.stamp == found && !known.is_fresh() => {}
                (None, None) => {}
                _ => self.load(store, path)?,
            }
        }
        if self.carried.len() > CARRIED_MIN.max(self.live_objects() * 2) {
            self.carried.clear();
            let heads: Vec<StorePath> =
                self.documents.keys().filter(|path| matches!(path, StorePath::Head(..))).copied().collect();
            for path in heads {
                self.carry(store, path)?;
            }
        }
        Ok(self.last != before)
    }

    /// Tells whether this is the document that is known at `path`.
    pub fn is_current(&self, path: &StorePath, hash: &DocHash) -> bool {
        self.documents.get(path).is_some_and(|entry| entry.hash == *hash)
    }

    /// Takes notice of one document as it is in the store.
    ///
    /// # Errors
    /// As the store fails.
    pub fn load(&mut self, store: &DirStore, path: StorePath) -> Result<(), StoreError> {
        self.reads += 1;
        let seen = clock::now();
        let stamp = store.stamp(&path)?;
        let bytes = match read(store, &path) {
            Err(StoreError::TooLarge { .. } | StoreError::Irregular { .. }) => None,
            other => other?,
        };
        let (Some(stamp), Some(bytes)) = (stamp, bytes) else {
            if let Some(entry) = self.documents.remove(&path) {
                self.by_number.remove(&entry.number);
                self.note_gone(path);
            }
            if let StorePath::Manifest(scope) = path {
                self.put_rules(scope, None);
            }
            return Ok(());
        };
        let hash = document::hash_of(&bytes);
        if let Some(entry) = self.documents.get_mut(&path) {
            (entry.stamp, entry.seen) = (stamp, seen);
            if entry.hash == hash {
                return Ok(());
            }
            self.by_number.remove(&entry.number);
        }
        self.last += 1;
        if let Some(number) = self.gone.remove(&path) {
            self.by_number.remove(&number);
        }
        self.documents.insert(path, Entry { hash, number: self.last, stamp, seen });
        self.by_number.insert(self.last, path);
        match path {
            StorePath::Manifest(scope) => {
                let rules = opened(&bytes).filter(|manifest| manifest.scope == scope).map(|it| Rules::of(&it));
                self.put_rules(scope, rules);
            }
            StorePath::Head(..) => self.carry_head(path, &bytes),
            StorePath::Receipt(..) | StorePath::Card(_) | StorePath::Object(_) | StorePath::Format => {}
        }
        Ok(())
    }

    /// Tells whether `caller` may read `scope`; `serves_public` is whether anyone may read public scopes.
    pub fn may_read(&self, caller: &Caller, serves_public: bool, scope: &ScopeId) -> bool {
        let rules = match (caller, self.rules.get(scope)) {
            (caller, _) if caller.is_admin() => return true,
            (_, None) => return false,
            (Caller::Anyone, Some(rules)) => return rules.public && serves_public,
            (_, Some(rules)) => rules,
        };
        let Some(id) = caller.id() else { return false };
        rules.public || rules.origin == id || rules.readers.binary_search(&id).is_ok()
    }

    /// Tells whether `caller` may read an object because a scope that it may read is carried by it.
    pub fn may_read_object(&self, caller: &Caller, serves_public: bool, object: &ObjectId) -> bool {
        let scopes = self.carried.get(object).map(Vec::as_slice).unwrap_or_default();
        caller.is_admin() || scopes.iter().any(|scope| self.may_read(caller, serves_public, scope))
    }

    /// Tells whether `caller` may read the card of `instance`: members all cards, anyone those of public origins.
    pub fn may_read_card(&self, caller: &Caller, serves_public: bool, instance: &InstanceId) -> bool {
        match caller {
            Caller::Member(..) | Caller::Owner => true,
            Caller::Anyone => {
                serves_public && self.rules.values().any(|rules| rules.public && rules.origin == *instance)
            }
        }
    }

    /// Tells whether `caller` may read a document.
    pub fn may_see(&self, caller: &Caller, serves_public: bool, path: &StorePath) -> bool {
        match path {
            StorePath::Manifest(scope) | StorePath::Head(scope, _) | StorePath::Receipt(scope, _) => {
                self.may_read(caller, serves_public, scope)
            }
            StorePath::Card(instance) => self.may_read_card(caller, serves_public, instance),
            StorePath::Object(object) => self.may_read_object(caller, serves_public, object),
            StorePath::Format => true,
        }
    }

    /// Tells whether a head names the object now.
    ///
    /// # Errors
    /// As the store fails.
    pub fn is_carried(&self, store: &DirStore, object: &ObjectId) -> Result<bool, StoreError> {
        for scope in self.carried.get(object).map(Vec::as_slice).unwrap_or_default() {
            for signer in self.heads(scope) {
                let head = store.head(scope, &signer)?.and_then(|bytes| Head::open(&bytes, &signer).ok());
                if head.is_some_and(|(head, _)| head.objects().any(|named| named.id == *object)) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Returns how many scopes of `origin` there are.
    pub fn scopes_of(&self, origin: &InstanceId) -> usize {
        self.rules.values().filter(|rules| rules.origin == *origin).count()
    }

    /// Returns the documents between two paths that `is_seen` accepts, in order.
    pub fn paths(&self, is_seen: impl Fn(&StorePath) -> bool) -> Vec<StorePath> {
        self.documents.keys().filter(|path| is_seen(path)).copied().collect()
    }

    /// Returns the heads of a scope, by signer.
    pub fn heads(&self, scope: &ScopeId) -> Vec<InstanceId> {
        let [first, last] = [[0; 32], [255; 32]].map(|id| StorePath::Head(*scope, InstanceId::from_bytes(id)));
        let signer = |path: &StorePath| match path {
            StorePath::Head(_, signer) => Some(*signer),
            _ => None,
        };
        self.documents.range(first..=last).filter_map(|(path, _)| signer(path)).collect()
    }

    /// Returns the readers with a receipt of a scope.
    pub fn receipts(&self, scope: &ScopeId) -> Vec<InstanceId> {
        let [first, last] = [[0; 32], [255; 32]].map(|id| StorePath::Receipt(*scope, InstanceId::from_bytes(id)));
        let reader = |path: &StorePath| match path {
            StorePath::Receipt(_, reader) => Some(*reader),
            _ => None,
        };
        self.documents.range(first..=last).filter_map(|(path, _)| reader(path)).collect()
    }

    /// Tells whether the manifest of a scope names an instance: as its origin, a reader or a writer.
    pub fn names(&self, scope: &ScopeId, instance: &InstanceId) -> bool {
        let rules = self.rules.get(scope);
        rules.is_some_and(|rules| rules.origin == *instance || rules.readers.binary_search(instance).is_ok())
    }

    /// Tells whether an instance is the origin of a scope.
    pub fn is_origin(&self, instance: &InstanceId, scope: &ScopeId) -> bool {
        self.rules.get(scope).is_some_and(|rules| rules.origin == *instance)
    }

    /// Tells whether every scope that ever had the object, as far as is known, is this origin's.
    pub fn carries_for(&self, origin: &InstanceId, object: &ObjectId) -> bool {
        let scopes = self.carried.get(object).map(Vec::as_slice).unwrap_or_default();
        !scopes.is_empty() && scopes.iter().all(|scope| self.is_origin(origin, scope))
    }

    /// Returns how many documents were read so far: what the catalogue costs.
    pub fn reads(&self) -> u64 {
        self.reads
    }

    /// Returns the newest change's number.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Returns at most `most` changes after a cursor that `is_seen` accepts, the cursor to go on from, and whether more follow.
    ///
    /// A cursor of another start, or none, begins at the beginning.
    pub fn changes(
        &self,
        cursor: Option<&str>,
        most: usize,
        is_seen: impl Fn(&StorePath) -> bool,
    ) -> (Vec<Change>, String, bool) {
        let since = cursor.and_then(|cursor| self.number_of(cursor)).unwrap_or(0);
        let mut reached = self.last;
        let mut more = false;
        let mut changes = Vec::new();
        for (number, path) in self.by_number.range(since + 1..) {
            if !is_seen(path) {
                continue;
            }
            if changes.len() == most {
                more = true;
                break;
            }
            reached = *number;
            let hash = self.documents.get(path).map(|entry| entry.hash.to_string());
            changes.push(Change { path: path.to_string(), hash });
        }
        if !more {
            reached = self.last;
        }
        (changes, self.cursor(reached), more)
    }

    /// Returns the cursor of now.
    pub fn now(&self) -> String {
        self.cursor(self.last)
    }

    /// Tells whether a cursor is one of this start, and `caller` may still read all that it could read then.
    pub fn knows(&self, caller: &Caller, cursor: &str) -> bool {
        let lost = caller.id().and_then(|id| self.lost.get(&id)).copied().unwrap_or(0).max(self.lost_by_all);
        self.number_of(cursor).is_some_and(|number| number >= lost)
    }

    fn put_rules(&mut self, scope: ScopeId, rules: Option<Rules>) {
        let old = match &rules {
            Some(rules) => self.rules.insert(scope, rules.clone()),
            None => self.rules.remove(&scope),
        };
        let Some(old) = old else { return };
        let is_reader = |id: &InstanceId| rules.as_ref().is_some_and(|new| new.readers.binary_search(id).is_ok());
        for reader in old.readers.into_iter().filter(|reader| !is_reader(reader)) {
            self.lost.insert(reader, self.last);
        }
        if old.public && rules.is_none_or(|rules| !rules.public) {
            self.lost_by_all = self.last;
        }
    }

    fn cursor(&self, number: u64) -> String {
        format!("{}.{number}", self.epoch)
    }

    fn number_of(&self, cursor: &str) -> Option<u64> {
        let (epoch, number) = cursor.split_once('.')?;
        let number = number.parse::<u64>().ok()?;
        (epoch == self.epoch.to_string() && number <= self.last).then_some(number)
    }

    /// Remembers that a document is gone, for those who know it; of too many, everybody begins anew.
    fn note_gone(&mut self, path: StorePath) {
        self.last += 1;
        self.by_number.insert(self.last, path);
        self.gone.insert(path, self.last);
        if self.gone.len() > GONE_MAX {
            self.epoch = RecordKey::from_bytes(random::bytes());
            for number in std::mem::take(&mut self.gone).into_values() {
                self.by_number.remove(&number);
            }
        }
    }

    fn carry(&mut self, store: &DirStore, path: StorePath) -> Result<(), StoreError> {
        if let Ok(Some(bytes)) = read(store, &path) {
            self.carry_head(path, &bytes);
        }
        Ok(())
    }

    /// Notes which objects a head names. What an older head named stays readable: somebody may be fetching it.
    fn carry_head(&mut self, path: StorePath, bytes: &[u8]) {
        let StorePath::Head(scope, signer) = path else { return };
        let Ok((head, _)) = Head::open(bytes, &signer) else { return };
        if head.scope != scope {
            return;
        }
        for object in head.objects() {
            let scopes = self.carried.entry(object.id).or_default();
            if !scopes.contains(&scope) {
                scopes.push(scope);
            }
        }
    }

    fn live_objects(&self) -> usize {
        // Without a count of each head's objects: a head has a few dozen.
        self.documents.len() * 64
    }
}

impl Default for Catalogue {
    fn default() -> Self {
        Self::new()
    }
}

impl Entry {
    /// Tells whether the file was looked at so soon after its date that it may have been replaced within the same tick.
    fn is_fresh(&self) -> bool {
        self.stamp.modified.0.saturating_add(TICK_MILLIS) > self.seen.0
    }
}

impl Rules {
    fn of(manifest: &Manifest) -> Self {
        let mut readers = manifest.readers();
        readers.extend(&manifest.writers);
        readers.sort_unstable();
        Self { origin: manifest.origin, public: manifest.public, readers }
    }
}

/// Opens a manifest that its own signer vouches for: its scope id is bound to that signer.
pub fn opened(bytes: &[u8]) -> Option<Manifest> {
    let signer = Unverified::parse(bytes).ok()?.claimed_signer().ok()?;
    Manifest::open(bytes, &signer).ok().map(|(manifest, _)| manifest)
}

/// Reads a document.
///
/// # Errors
/// As the store fails.
pub fn read(store: &DirStore, path: &StorePath) -> Result<Option<Vec<u8>>, StoreError> {
    match path {
        StorePath::Manifest(scope) => store.manifest(scope),
        StorePath::Head(scope, signer) => store.head(scope, signer),
        StorePath::Receipt(scope, reader) => store.receipt(scope, reader),
        StorePath::Card(instance) => store.card(instance),
        StorePath::Object(_) | StorePath::Format => Ok(None),
    }
}

/// The coarsest date of a file system that matters is FAT's: two seconds.
const TICK_MILLIS: u64 = 3_000;
/// Of so many documents that are gone it is remembered that they are: heads of writers, taken away once they are merged.
const GONE_MAX: usize = 10_000;
/// Below this many objects nothing is forgotten.
const CARRIED_MIN: usize = 65_536;
