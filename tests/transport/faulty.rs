//! A store whose objects come out wrong, in front of a good one.

use std::io::Read;
use std::sync::atomic::{AtomicU64, Ordering};

use wbsync::exchange::store::{Store, StoreError, StoredObject};
use wbsync::id::bytes::{DocHash, InstanceId, ObjectId, ScopeId};
use wbsync::sys::clock::UnixMillis;

use crate::contract::Broken;

/// How objects come out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// The connection breaks after so many bytes of each read.
    BreaksAfter(u64),
    /// The end is lacking.
    EndsAfter(u64),
    /// The bytes are others.
    Garbles,
    /// Storing fails.
    RefusesPut,
}

/// A store with a fault, counting the bytes it was asked for.
pub(crate) struct Faulty<'a> {
    pub(crate) store: &'a dyn Store,
    pub(crate) fault: Fault,
    pub(crate) delivered: AtomicU64,
}

impl<'a> Faulty<'a> {
    pub(crate) fn new(store: &'a dyn Store, fault: Fault) -> Self {
        Self { store, fault, delivered: AtomicU64::new(0) }
    }
}

struct Garbling(Box<dyn Read + Send>);

impl Read for Garbling {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.0.read(buffer)?;
        buffer[..count].iter_mut().for_each(|byte| *byte ^= 0x40);
        Ok(count)
    }
}

impl Store for Faulty<'_> {
    fn describe(&self) -> String {
        "the faulty store".into()
    }
    fn scopes(&self) -> Result<Vec<ScopeId>, StoreError> {
        self.store.scopes()
    }
    fn heads(&self, scope: &ScopeId) -> Result<Vec<InstanceId>, StoreError> {
        self.store.heads(scope)
    }
    fn cards(&self) -> Result<Vec<InstanceId>, StoreError> {
        self.store.cards()
    }
    fn manifest(&self, scope: &ScopeId) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.manifest(scope)
    }
    fn head(&self, scope: &ScopeId, signer: &InstanceId) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.head(scope, signer)
    }
    fn card(&self, instance: &InstanceId) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.card(instance)
    }
    fn swap_manifest(&self, scope: &ScopeId, expected: Option<DocHash>, bytes: &[u8]) -> Result<(), StoreError> {
        self.store.swap_manifest(scope, expected, bytes)
    }
    fn swap_head(
        &self,
        scope: &ScopeId,
        signer: &InstanceId,
        expected: Option<DocHash>,
        objects: &[(ObjectId, u64)],
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        self.store.swap_head(scope, signer, expected, objects, bytes)
    }
    fn remove_head(&self, scope: &ScopeId, signer: &InstanceId, expected: DocHash) -> Result<bool, StoreError> {
        self.store.remove_head(scope, signer, expected)
    }
    fn receipts(&self, scope: &ScopeId) -> Result<Vec<InstanceId>, StoreError> {
        self.store.receipts(scope)
    }
    fn receipt(&self, scope: &ScopeId, reader: &InstanceId) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.receipt(scope, reader)
    }
    fn swap_receipt(
        &self,
        scope: &ScopeId,
        reader: &InstanceId,
        expected: Option<DocHash>,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        self.store.swap_receipt(scope, reader, expected, bytes)
    }
    fn swap_card(&self, instance: &InstanceId, expected: Option<DocHash>, bytes: &[u8]) -> Result<(), StoreError> {
        self.store.swap_card(instance, expected, bytes)
    }
    fn missing(&self, objects: &[(ObjectId, u64)]) -> Result<Vec<ObjectId>, StoreError> {
        self.store.missing(objects)
    }
    fn object_size(&self, object: &ObjectId) -> Result<Option<u64>, StoreError> {
        self.store.object_size(object)
    }
    fn object(&self, object: &ObjectId, offset: u64) -> Result<Box<dyn Read + Send>, StoreError> {
        let size = self.store.object_size(object)?.unwrap_or(0).saturating_sub(offset);
        let reader = self.store.object(object, offset)?;
        let (reader, size): (Box<dyn Read + Send>, u64) = match self.fault {
            Fault::BreaksAfter(bytes) => (Box::new(reader.take(bytes).chain(Broken)), bytes.min(size)),
            Fault::EndsAfter(bytes) => (Box::new(reader.take(bytes)), bytes.min(size)),
            Fault::Garbles => (Box::new(Garbling(reader)), size),
            Fault::None | Fault::RefusesPut => (reader, size),
        };
        self.delivered.fetch_add(size, Ordering::Relaxed);
        Ok(reader)
    }
    fn put_object(&self, object: &ObjectId, size: u64, bytes: &mut dyn Read) -> Result<(), StoreError> {
        if self.fault == Fault::RefusesPut {
            bytes.read_exact(&mut [0; 1]).unwrap();
            let doing = wbsync::exchange::store::Doing::Create;
            let source = std::io::ErrorKind::StorageFull.into();
            return Err(StoreError::Full { store: self.describe(), doing, source });
        }
        self.store.put_object(object, size, bytes)
    }
    fn heal_object(&self, object: &ObjectId, size: u64, bytes: &mut dyn Read) -> Result<bool, StoreError> {
        self.store.heal_object(object, size, bytes)
    }
    fn remove_object(&self, object: &ObjectId, unused_since: UnixMillis) -> Result<bool, StoreError> {
        self.store.remove_object(object, unused_since)
    }
    fn objects(&self) -> Result<Vec<StoredObject>, StoreError> {
        self.store.objects()
    }
}
