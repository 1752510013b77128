//! A store in memory for the tests of this module: what is asked of it in order, and failures on demand.

#![cfg(test)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::exchange::head::{Head, ObjectRef, Segment};
use crate::exchange::layout::StorePath;
use crate::exchange::store::{Doing, Store, StoreError, StoredObject};
use crate::id::bytes::{CommitId, DocHash, InstanceId, ObjectId, ScopeId};
use crate::keys::identity::Identity;
use crate::scope::manifest::Manifest;
use crate::scope::manifest::draft::ManifestDraft;
use crate::sys::clock::UnixMillis;

/// The time by a sample's clock.
pub(crate) const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

/// Documents by place, objects by name, and when each was last used.
#[derive(Default)]
pub(crate) struct Shelf {
    pub(crate) documents: BTreeMap<StorePath, Vec<u8>>,
    pub(crate) objects: Mutex<BTreeMap<ObjectId, (Vec<u8>, UnixMillis)>>,
    /// After how many bytes the connection breaks, once for each number.
    pub(crate) breaks: Mutex<Vec<u64>>,
    /// The same for bytes that are read from here.
    pub(crate) gives: Mutex<Vec<u64>>,
    /// Objects that were asked for, from which byte on.
    pub(crate) asked: Mutex<Vec<u64>>,
    /// Documents that are no plain files.
    pub(crate) irregular: BTreeSet<StorePath>,
    /// Whether nobody may list objects.
    pub(crate) hides: bool,
    /// Whether nobody may remove objects.
    pub(crate) keeps: bool,
    /// Whether objects that are listed can't be had any more.
    pub(crate) loses: bool,
    /// How much may be asked at once, if it is more than one thing.
    pub(crate) lanes: usize,
    /// How often it was told to look again.
    pub(crate) renewed: Arc<AtomicUsize>,
    /// How often it was told to send what it gathered.
    pub(crate) flushed: Arc<AtomicUsize>,
}

impl Shelf {
    /// Puts an object there that was last used so long before `NOW`.
    pub(crate) fn hold(&self, bytes: &[u8], unused_millis: u64) -> ObjectId {
        let id = ObjectId::from_bytes(blake3::hash(bytes).into());
        self.held().insert(id, (bytes.to_vec(), UnixMillis(NOW.0 - unused_millis)));
        id
    }

    /// Puts a public scope of the first fixed identity there, with the second as a writer.
    pub(crate) fn put_scope(&mut self) -> Manifest {
        let origin = Identity::fixed(1);
        let name = crate::id::name::ScopeName::public();
        let mut draft = ManifestDraft::new(&origin, &name, &[], NOW).unwrap();
        draft.add_writer(Identity::fixed(2).id()).unwrap();
        let signed = draft.sign().unwrap();
        self.documents.insert(StorePath::Manifest(signed.manifest.scope), signed.bytes);
        signed.manifest
    }

    /// Puts a head of the origin there that names these objects, changed as `change` says.
    pub(crate) fn put_head(
        &mut self,
        manifest: &Manifest,
        objects: &[(ObjectId, u64)],
        change: impl FnOnce(&mut Head),
    ) {
        let mut head = Head {
            scope: manifest.scope,
            signer: manifest.origin,
            incarnation: 0,
            seq: 1,
            prev: None,
            commit: CommitId::from_bytes([8; 32]),
            writes: 1,
            manifest_seq: 1,
            epoch: 1,
            base: None,
            segments: vec![Segment {
                from_seq: 0,
                to_seq: 1,
                objects: objects.iter().map(|(id, bytes)| ObjectRef { id: *id, bytes: *bytes }).collect(),
            }],
            time: NOW,
        };
        change(&mut head);
        let signer = [1, 2, 3].map(Identity::fixed).into_iter().find(|identity| identity.id() == head.signer).unwrap();
        self.documents.insert(StorePath::Head(head.scope, head.signer), head.sign(&signer));
    }

    fn held(&self) -> std::sync::MutexGuard<'_, BTreeMap<ObjectId, (Vec<u8>, UnixMillis)>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listed<T: Ord>(&self, of: impl Fn(&StorePath) -> Option<T>) -> Vec<T> {
        self.documents.keys().filter_map(of).collect::<BTreeSet<T>>().into_iter().collect()
    }

    fn document(&self, path: StorePath) -> Result<Option<Vec<u8>>, StoreError> {
        if self.irregular.contains(&path) {
            return Err(StoreError::Irregular { store: self.describe(), path: path.to_string() });
        }
        Ok(self.documents.get(&path).cloned())
    }

    /// Nobody replaces documents here.
    fn read_only<T>(&self) -> Result<T, StoreError> {
        self.denied(Doing::Open)
    }

    fn denied<T>(&self, doing: Doing) -> Result<T, StoreError> {
        Err(StoreError::Denied { store: self.describe(), doing, source: io::ErrorKind::PermissionDenied.into() })
    }
}

impl Store for Shelf {
    fn describe(&self) -> String {
        "the shelf".into()
    }

    fn lanes(&self) -> usize {
        self.lanes.max(1)
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.flushed.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn renew(&self) -> Result<(), StoreError> {
        self.renewed.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn scopes(&self) -> Result<Vec<ScopeId>, StoreError> {
        Ok(self.listed(|path| match path {
            StorePath::Manifest(scope) | StorePath::Head(scope, _) => Some(*scope),
            _ => None,
        }))
    }

    fn heads(&self, scope: &ScopeId) -> Result<Vec<InstanceId>, StoreError> {
        Ok(self.listed(|path| match path {
            StorePath::Head(of, signer) if of == scope => Some(*signer),
            _ => None,
        }))
    }

    fn cards(&self) -> Result<Vec<InstanceId>, StoreError> {
        Ok(self.listed(|path| match path {
            StorePath::Card(instance) => Some(*instance),
            _ => None,
        }))
    }

    fn receipts(&self, scope: &ScopeId) -> Result<Vec<InstanceId>, StoreError> {
        Ok(self.listed(|path| match path {
            StorePath::Receipt(of, reader) if of == scope => Some(*reader),
            _ => None,
        }))
    }

    fn manifest(&self, scope: &ScopeId) -> Result<Option<Vec<u8>>, StoreError> {
        self.document(StorePath::Manifest(*scope))
    }

    fn head(&self, scope: &ScopeId, signer: &InstanceId) -> Result<Option<Vec<u8>>, StoreError> {
        self.document(StorePath::Head(*scope, *signer))
    }

    fn card(&self, instance: &InstanceId) -> Result<Option<Vec<u8>>, StoreError> {
        self.document(StorePath::Card(*instance))
    }

    fn receipt(&self, scope: &ScopeId, reader: &InstanceId) -> Result<Option<Vec<u8>>, StoreError> {
        self.document(StorePath::Receipt(*scope, *reader))
    }

    fn swap_manifest(&self, _: &ScopeId, _: Option<DocHash>, _: &[u8]) -> Result<(), StoreError> {
        self.read_only()
    }

    fn swap_head(
        &self,
        _: &ScopeId,
        _: &InstanceId,
        _: Option<DocHash>,
        _: &[(ObjectId, u64)],
        _: &[u8],
    ) -> Result<(), StoreError> {
        self.read_only()
    }

    fn remove_head(&self, _: &ScopeId, _: &InstanceId, _: DocHash) -> Result<bool, StoreError> {
        self.read_only()
    }

    fn swap_receipt(&self, _: &ScopeId, _: &InstanceId, _: Option<DocHash>, _: &[u8]) -> Result<(), StoreError> {
        self.read_only()
    }

    fn swap_card(&self, _: &InstanceId, _: Option<DocHash>, _: &[u8]) -> Result<(), StoreError> {
        self.read_only()
    }

    fn missing(&self, objects: &[(ObjectId, u64)]) -> Result<Vec<ObjectId>, StoreError> {
        Ok(objects.iter().map(|(id, _)| *id).filter(|id| !self.held().contains_key(id)).collect())
    }

    fn object_size(&self, object: &ObjectId) -> Result<Option<u64>, StoreError> {
        Ok(self.held().get(object).map(|(bytes, _)| bytes.len() as u64))
    }

    fn object(&self, object: &ObjectId, offset: u64) -> Result<Box<dyn Read + Send>, StoreError> {
        let bytes = self.held().get(object).filter(|_| !self.loses).map(|(bytes, _)| bytes.clone());
        let missing = || StoreError::Missing { store: self.describe(), path: StorePath::Object(*object) };
        let mut cursor = io::Cursor::new(bytes.ok_or_else(missing)?);
        cursor.set_position(offset);
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(offset);
        Ok(match self.gives.lock().unwrap_or_else(PoisonError::into_inner).pop() {
            Some(count) => Box::new(cursor.take(count).chain(Broken)),
            None => Box::new(cursor),
        })
    }

    fn put_object(&self, object: &ObjectId, size: u64, bytes: &mut dyn Read) -> Result<(), StoreError> {
        let next = self.breaks.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut whole = Vec::new();
        let failed =
            |source| StoreError::Io { store: self.describe(), doing: Doing::Write(StorePath::Object(*object)), source };
        bytes.take(next.unwrap_or(size)).read_to_end(&mut whole).map_err(failed)?;
        if next.is_some() {
            return Err(failed(io::ErrorKind::ConnectionReset.into()));
        }
        self.held().insert(*object, (whole, NOW));
        Ok(())
    }

    fn heal_object(&self, _: &ObjectId, _: u64, _: &mut dyn Read) -> Result<bool, StoreError> {
        self.read_only()
    }

    fn remove_object(&self, object: &ObjectId, unused_since: UnixMillis) -> Result<bool, StoreError> {
        if self.keeps {
            return self.denied(Doing::List("objects"));
        }
        let mut held = self.held();
        let is_old = held.get(object).is_some_and(|(_, used)| *used <= unused_since);
        Ok(is_old && held.remove(object).is_some())
    }

    fn objects(&self) -> Result<Vec<StoredObject>, StoreError> {
        if self.hides {
            return self.denied(Doing::List("objects"));
        }
        let stored = |(id, (bytes, used)): (&ObjectId, &(Vec<u8>, UnixMillis))| StoredObject {
            id: *id,
            bytes: bytes.len() as u64,
            used: *used,
        };
        Ok(self.held().iter().map(stored).collect())
    }
}

impl Shelf {
    /// Another one with the same in it.
    pub(crate) fn twin(&self) -> Self {
        let objects = Mutex::new(self.held().clone());
        let documents = self.documents.clone();
        let told = (Arc::clone(&self.renewed), Arc::clone(&self.flushed));
        Self { documents, objects, lanes: self.lanes, renewed: told.0, flushed: told.1, ..Self::default() }
    }
}

/// A connection that is gone.
struct Broken;

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::ConnectionReset.into())
    }
}
