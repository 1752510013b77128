//! The store in a git repository, as seen when it was opened and with what was written to it since.
//!
//! Opening fetches; reading asks nobody. What is written is gathered, seen by this handle only, and sent by `flush` in one
//! push. Whoever was first wins: after a lost race the hub is looked at again, and what still fits is sent again.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Cursor, Read, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use gix_hash::ObjectId as Oid;
use gix_object::Kind;

use crate::exchange::check::{ObjectCheck, PumpError, object_id, pump};
use crate::exchange::copy::verify;
use crate::exchange::layout::{OBJECT_BYTES_MAX, StorePath};
use crate::exchange::store::{Doing, Store, StoreError, StoredObject};
use crate::id::bytes::{DocHash, InstanceId, ObjectId, ScopeId};
use crate::keys::document::hash_of;
use crate::sys::clock::{self, UnixMillis};
use crate::sys::disk;
use crate::transport::git::branch::{Branch, BranchName, DAY_MILLIS, commit};
use crate::transport::git::cache::Cache;
use crate::transport::git::error::GitError;
use crate::transport::git::gathered::{Change, Gathered, Sealed};
use crate::transport::git::hub::{Server, View, history};
use crate::transport::git::objects::blob_hasher;
use crate::transport::git::push;

/// A store in a git repository.
pub struct GitStore {
    pub(super) name: String,
    pub(super) server: Box<dyn Server>,
    pub(super) cache: Cache,
    pub(super) prefix: String,
    pub(super) own: Option<InstanceId>,
    pub(super) state: Mutex<State>,
}

/// What is known of the hub, and what it is yet to learn.
#[derive(Default)]
pub(super) struct State {
    pub(super) view: View,
    pub(super) gathered: Gathered,
}

impl GitStore {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn fail(&self, doing: Doing, error: GitError) -> StoreError {
        if matches!(error, GitError::Cache(_)) {
            self.cache.condemn();
        }
        error.of(self.describe(), doing)
    }

    /// Returns a document with what was gathered.
    pub(super) fn document(&self, state: &State, path: &StorePath) -> Result<Option<Vec<u8>>, StoreError> {
        match state.gathered.documents.get(path) {
            Some(change) => Ok(change.bytes.clone()),
            None => self.sent_document(&state.view, path),
        }
    }

    /// Returns a document as the hub has it.
    pub(super) fn sent_document(&self, view: &View, path: &StorePath) -> Result<Option<Vec<u8>>, StoreError> {
        let home = BranchName::of(path).expect("a document has a branch");
        let Some(branch) = view.branches.get(&home) else { return Ok(None) };
        if branch.irregular.contains(&path.to_string()) {
            return Err(StoreError::Irregular { store: self.describe(), path: path.to_string() });
        }
        let Some(oid) = branch.entries.get(path) else { return Ok(None) };
        let failed = |error| self.fail(Doing::Read(*path), error);
        if self.cache.packs().size(oid).map_err(failed)? > path.bytes_max() {
            return Err(StoreError::TooLarge { store: self.describe(), path: *path, bound: path.bytes_max() });
        }
        self.cache.packs().read(oid, Kind::Blob, path.bytes_max()).map(Some).map_err(failed)
    }

    fn read_document(&self, path: StorePath) -> Result<Option<Vec<u8>>, StoreError> {
        self.document(&self.state(), &path)
    }

    /// Lists the instances for which there is a document.
    fn instances(&self, path: impl Fn(InstanceId) -> StorePath) -> Vec<InstanceId> {
        let state = self.state();
        let mut found: BTreeSet<InstanceId> = state
            .view
            .branches
            .iter()
            .filter_map(|(name, branch)| match name {
                BranchName::Instance(instance) => branch.entries.contains_key(&path(*instance)).then_some(*instance),
                BranchName::Store => None,
            })
            .collect();
        for (place, change) in &state.gathered.documents {
            if let Some(BranchName::Instance(instance)) = BranchName::of(place)
                && path(instance) == *place
            {
                match &change.bytes {
                    Some(_) => found.insert(instance),
                    None => found.remove(&instance),
                };
            }
        }
        found.into_iter().collect()
    }

    fn swap(
        &self,
        path: StorePath,
        expected: Option<DocHash>,
        objects: &[(ObjectId, u64)],
        bytes: Option<&[u8]>,
    ) -> Result<bool, StoreError> {
        if bytes.is_some_and(|bytes| bytes.len() as u64 > path.bytes_max()) {
            return Err(StoreError::TooLarge { store: self.describe(), path, bound: path.bytes_max() });
        }
        self.check_writer(Doing::Write(path))?;
        for (object, size) in objects {
            if self.object_size(object)? != Some(*size) {
                return Err(StoreError::Incomplete { store: self.describe(), path, object: *object });
            }
        }
        let mut state = self.state();
        let present = self.document(&state, &path)?;
        if present.as_deref() == bytes {
            return Ok(false);
        }
        let found = present.as_deref().map(hash_of);
        if found != expected {
            return Err(StoreError::Swapped { store: self.describe(), path, found });
        }
        let home = BranchName::of(&path).expect("a document has a branch");
        let first = state.gathered.documents.get(&path).map_or(expected, |change| change.expected);
        let bytes = bytes.map(<[u8]>::to_vec);
        state.gathered.documents.insert(path, Change { expected: first, bytes });
        for (object, _) in objects {
            state.gathered.removed.remove(object);
            state.gathered.named.insert((home, *object), path);
        }
        Ok(true)
    }

    /// Takes the bytes of an object for the next flush, verified.
    fn gather(&self, object: &ObjectId, size: u64, bytes: &mut dyn Read) -> Result<(), StoreError> {
        let doing = Doing::Write(StorePath::Object(*object));
        let failed = |error| self.fail(doing, error);
        let damaged = |damage| StoreError::Damaged { store: self.describe(), object: *object, damage };
        let local = |error| failed(GitError::Local(error));
        let staging = self.cache.staging().map_err(failed)?;
        let file = tempfile::NamedTempFile::new_in(staging).map_err(local)?;
        let mut check = ObjectCheck::new(*object, size);
        let mut blob = Blob { file, hasher: blob_hasher(size) };
        pump(bytes, &mut check, &mut blob).map_err(|error| match error {
            PumpError::Read(source) => StoreError::Source { store: self.describe(), object: *object, source },
            PumpError::Damaged(damage) => damaged(damage),
            PumpError::Write(error) => local(error),
        })?;
        check.finish().map_err(damaged)?;
        let oid = blob.hasher.try_finalize().map_err(|error| failed(GitError::said(format!("{error:#}"))))?;
        let (_, path) = blob.file.keep().map_err(|error| local(error.error))?;
        let mut state = self.state();
        state.gathered.removed.remove(object);
        state.gathered.objects.insert(*object, Sealed { path, size, oid });
        let is_much = state.gathered.bytes() > GATHERED_BYTES_MAX;
        drop(state);
        // So that a long upload that breaks needn't begin again, and no server refuses it as too large.
        if is_much { self.flush() } else { Ok(()) }
    }

    fn check_writer(&self, doing: Doing) -> Result<(), StoreError> {
        match self.own {
            Some(_) => Ok(()),
            None => {
                let source = io::Error::new(io::ErrorKind::ReadOnlyFilesystem, "it was opened as nobody");
                Err(StoreError::ReadOnly { store: self.describe(), doing, source })
            }
        }
    }

    /// Returns the blobs that branches hold under the name of an object; of several, the one that is right first.
    pub(super) fn blobs(&self, view: &View, object: &ObjectId) -> Vec<Oid> {
        let path = StorePath::Object(*object);
        let mut blobs: Vec<Oid> =
            view.branches.values().filter_map(|branch| branch.entries.get(&path)).copied().collect();
        blobs.sort();
        blobs.dedup();
        if blobs.len() > 1 {
            // Somebody put other bytes under this name.
            let is_right = |oid: &Oid| {
                let bytes = self.cache.packs().read(oid, Kind::Blob, OBJECT_BYTES_MAX);
                bytes.is_ok_and(|bytes| object_id(&bytes) == *object)
            };
            blobs.sort_by_key(|oid| !is_right(oid));
        }
        blobs
    }

    /// Returns when each object of a branch came into it, or the end of that day.
    fn ages(&self, branch: &Branch, name: BranchName) -> Result<BTreeMap<ObjectId, UnixMillis>, GitError> {
        let objects = |branch: &Branch| -> BTreeSet<ObjectId> {
            let object = |path: &StorePath| if let StorePath::Object(id) = path { Some(*id) } else { None };
            branch.entries.keys().filter_map(object).collect()
        };
        let mut still = objects(branch);
        let mut came = BTreeMap::new();
        for oid in history(&self.cache, branch.tip) {
            let (_, _, date) = commit(self.cache.packs(), &oid)?;
            let held = match Branch::read(self.cache.packs(), name, oid) {
                Ok(branch) => objects(&branch),
                // Of older commits the cache may hold nothing else.
                Err(_) => break,
            };
            still.retain(|object| held.contains(object));
            let until = UnixMillis(date.0.saturating_add(DAY_MILLIS).min(clock::now().0));
            came.extend(still.iter().map(|object| (*object, until)));
        }
        Ok(came)
    }
}

impl Store for GitStore {
    fn describe(&self) -> String {
        self.name.clone()
    }

    fn flush(&self) -> Result<(), StoreError> {
        push::flush(self)
    }

    fn scopes(&self) -> Result<Vec<ScopeId>, StoreError> {
        let state = self.state();
        let scope = |path: &StorePath| match path {
            StorePath::Manifest(scope) | StorePath::Head(scope, _) => Some(*scope),
            _ => None,
        };
        let gone = |path: &StorePath| state.gathered.documents.get(path).is_some_and(|change| change.bytes.is_none());
        let sent = state.view.branches.values().flat_map(|branch| branch.entries.keys()).filter(|path| !gone(path));
        let new = state.gathered.documents.iter().filter(|(_, change)| change.bytes.is_some()).map(|(path, _)| path);
        Ok(sent.chain(new).filter_map(scope).collect::<BTreeSet<_>>().into_iter().collect())
    }

    fn heads(&self, scope: &ScopeId) -> Result<Vec<InstanceId>, StoreError> {
        Ok(self.instances(|instance| StorePath::Head(*scope, instance)))
    }

    fn cards(&self) -> Result<Vec<InstanceId>, StoreError> {
        Ok(self.instances(StorePath::Card))
    }

    fn manifest(&self, scope: &ScopeId) -> Result<Option<Vec<u8>>, StoreError> {
        self.read_document(StorePath::Manifest(*scope))
    }

    fn head(&self, scope: &ScopeId, signer: &InstanceId) -> Result<Option<Vec<u8>>, StoreError> {
        self.read_document(StorePath::Head(*scope, *signer))
    }

    fn card(&self, instance: &InstanceId) -> Result<Option<Vec<u8>>, StoreError> {
        self.read_document(StorePath::Card(*instance))
    }

    fn swap_manifest(&self, scope: &ScopeId, expected: Option<DocHash>, bytes: &[u8]) -> Result<(), StoreError> {
        self.swap(StorePath::Manifest(*scope), expected, &[], Some(bytes)).map(drop)
    }

    fn swap_head(
        &self,
        scope: &ScopeId,
        signer: &InstanceId,
        expected: Option<DocHash>,
        objects: &[(ObjectId, u64)],
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        self.swap(StorePath::Head(*scope, *signer), expected, objects, Some(bytes)).map(drop)
    }

    fn remove_head(&self, scope: &ScopeId, signer: &InstanceId, expected: DocHash) -> Result<bool, StoreError> {
        self.swap(StorePath::Head(*scope, *signer), Some(expected), &[], None)
    }

    fn receipts(&self, scope: &ScopeId) -> Result<Vec<InstanceId>, StoreError> {
        Ok(self.instances(|instance| StorePath::Receipt(*scope, instance)))
    }

    fn receipt(&self, scope: &ScopeId, reader: &InstanceId) -> Result<Option<Vec<u8>>, StoreError> {
        self.read_document(StorePath::Receipt(*scope, *reader))
    }

    fn swap_receipt(
        &self,
        scope: &ScopeId,
        reader: &InstanceId,
        expected: Option<DocHash>,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        self.swap(StorePath::Receipt(*scope, *reader), expected, &[], Some(bytes)).map(drop)
    }

    fn swap_card(&self, instance: &InstanceId, expected: Option<DocHash>, bytes: &[u8]) -> Result<(), StoreError> {
        self.swap(StorePath::Card(*instance), expected, &[], Some(bytes)).map(drop)
    }

    fn missing(&self, objects: &[(ObjectId, u64)]) -> Result<Vec<ObjectId>, StoreError> {
        let mut missing = Vec::new();
        for (id, size) in objects {
            if self.object_size(id)? != Some(*size) {
                missing.push(*id);
            }
        }
        Ok(missing)
    }

    fn object_size(&self, object: &ObjectId) -> Result<Option<u64>, StoreError> {
        let state = self.state();
        if let Some(sealed) = state.gathered.objects.get(object) {
            return Ok(Some(sealed.size));
        }
        if state.gathered.removed.contains(object) {
            return Ok(None);
        }
        let Some(oid) = self.blobs(&state.view, object).first().copied() else { return Ok(None) };
        let size = self.cache.packs().size(&oid);
        size.map(Some).map_err(|error| self.fail(Doing::Read(StorePath::Object(*object)), error))
    }

    fn object(&self, object: &ObjectId, offset: u64) -> Result<Box<dyn Read + Send>, StoreError> {
        let path = StorePath::Object(*object);
        let state = self.state();
        if let Some(sealed) = state.gathered.objects.get(object) {
            let file = disk::open_at(&sealed.path, offset).map_err(GitError::Local);
            return Ok(Box::new(file.map_err(|error| self.fail(Doing::Read(path), error))?));
        }
        let blobs = self.blobs(&state.view, object);
        let Some(oid) = blobs.first().filter(|_| !state.gathered.removed.contains(object)) else {
            return Err(StoreError::Missing { store: self.describe(), path });
        };
        let bytes = self.cache.packs().read(oid, Kind::Blob, path.bytes_max());
        let mut bytes = Cursor::new(bytes.map_err(|error| self.fail(Doing::Read(path), error))?);
        bytes.set_position(offset);
        Ok(Box::new(bytes))
    }

    fn put_object(&self, object: &ObjectId, size: u64, bytes: &mut dyn Read) -> Result<(), StoreError> {
        let path = StorePath::Object(*object);
        let doing = Doing::Write(path);
        if size > path.bytes_max() {
            return Err(StoreError::TooLarge { store: self.describe(), path, bound: path.bytes_max() });
        }
        self.check_writer(doing)?;
        match self.object_size(object)? == Some(size) {
            true => Ok(()),
            false => self.gather(object, size, bytes),
        }
    }

    fn heal_object(&self, object: &ObjectId, size: u64, bytes: &mut dyn Read) -> Result<bool, StoreError> {
        let path = StorePath::Object(*object);
        if size > path.bytes_max() {
            return Err(StoreError::TooLarge { store: self.describe(), path, bound: path.bytes_max() });
        }
        self.check_writer(Doing::Write(path))?;
        if verify(self, *object, size).is_ok() {
            return Ok(false);
        }
        self.gather(object, size, bytes).map(|()| true)
    }

    fn remove_object(&self, object: &ObjectId, unused_since: UnixMillis) -> Result<bool, StoreError> {
        let doing = Doing::Remove(StorePath::Object(*object));
        self.check_writer(doing)?;
        let mut used: Option<UnixMillis> = None;
        let mut state = self.state();
        for (name, branch) in &state.view.branches {
            if branch.entries.contains_key(&StorePath::Object(*object)) {
                let ages = self.ages(branch, *name).map_err(|error| self.fail(doing, error))?;
                used = used.max(ages.get(object).copied());
            }
        }
        if state.gathered.objects.contains_key(object) {
            used = Some(clock::now());
        }
        if used.is_none_or(|used| used > unused_since) || state.gathered.removed.contains(object) {
            return Ok(false);
        }
        state.gathered.objects.remove(object);
        state.gathered.named.retain(|(_, named), _| named != object);
        if !self.blobs(&state.view, object).is_empty() {
            state.gathered.removed.insert(*object);
        }
        Ok(true)
    }

    fn objects(&self) -> Result<Vec<StoredObject>, StoreError> {
        let doing = Doing::List("objects");
        let mut found: BTreeMap<ObjectId, StoredObject> = BTreeMap::new();
        let mut ages: Vec<(ObjectId, UnixMillis)> = Vec::new();
        {
            let state = self.state();
            for (name, branch) in &state.view.branches {
                ages.extend(self.ages(branch, *name).map_err(|error| self.fail(doing, error))?);
            }
            ages.retain(|(object, _)| !state.gathered.removed.contains(object));
            ages.extend(state.gathered.objects.keys().map(|object| (*object, clock::now())));
        }
        for (id, used) in ages {
            let Some(bytes) = self.object_size(&id)? else { continue };
            let held = found.entry(id).or_insert(StoredObject { id, bytes, used });
            held.used = held.used.max(used);
        }
        Ok(found.into_values().collect())
    }
}

/// A blob in the making: a file, and the name that git gives to its content.
struct Blob {
    file: tempfile::NamedTempFile,
    hasher: gix_hash::Hasher,
}

impl Write for Blob {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// After how many bytes objects are sent without a head that names them.
const GATHERED_BYTES_MAX: u64 = 64 << 20;
