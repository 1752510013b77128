//! A store whose every writing is sent, and which is opened anew after that: what it shows is what arrived.

use std::io::Read;
use std::sync::Mutex;

use wbsync::exchange::store::{Store, StoreError, StoredObject};
use wbsync::id::bytes::{DocHash, InstanceId, ObjectId, ScopeId};
use wbsync::sys::clock::UnixMillis;

/// Opens the store again and again.
pub(crate) struct Through<F> {
    open: F,
    /// As it was after the last writing.
    opened: Mutex<Option<Box<dyn Store>>>,
}

impl<F: Fn() -> Box<dyn Store> + Send + Sync> Through<F> {
    pub(crate) fn new(open: F) -> Self {
        Self { open, opened: Mutex::new(None) }
    }

    fn written<T>(&self, write: impl FnOnce(&dyn Store) -> Result<T, StoreError>) -> Result<T, StoreError> {
        *self.opened.lock().unwrap() = None;
        let store = (self.open)();
        let written = write(&*store)?;
        store.flush()?;
        Ok(written)
    }

    fn read<T>(&self, read: impl FnOnce(&dyn Store) -> T) -> T {
        let mut opened = self.opened.lock().unwrap();
        read(&**opened.get_or_insert_with(|| (self.open)()))
    }
}

impl<F: Fn() -> Box<dyn Store> + Send + Sync> Store for Through<F> {
    fn describe(&self) -> String {
        self.read(|store| store.describe())
    }
    fn scopes(&self) -> Result<Vec<ScopeId>, StoreError> {
        self.read(|store| store.scopes())
    }
    fn heads(&self, scope: &ScopeId) -> Result<Vec<InstanceId>, StoreError> {
        self.read(|store| store.heads(scope))
    }
    fn cards(&self) -> Result<Vec<InstanceId>, StoreError> {
        self.read(|store| store.cards())
    }
    fn manifest(&self, scope: &ScopeId) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|store| store.manifest(scope))
    }
    fn head(&self, scope: &ScopeId, signer: &InstanceId) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|store| store.head(scope, signer))
    }
    fn card(&self, instance: &InstanceId) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|store| store.card(instance))
    }
    fn swap_manifest(&self, scope: &ScopeId, expected: Option<DocHash>, bytes: &[u8]) -> Result<(), StoreError> {
        self.written(|store| store.swap_manifest(scope, expected, bytes))
    }
    fn swap_head(
        &self,
        scope: &ScopeId,
        signer: &InstanceId,
        expected: Option<DocHash>,
        objects: &[(ObjectId, u64)],
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        self.written(|store| store.swap_head(scope, signer, expected, objects, bytes))
    }
    fn remove_head(&self, scope: &ScopeId, signer: &InstanceId, expected: DocHash) -> Result<bool, StoreError> {
        self.written(|store| store.remove_head(scope, signer, expected))
    }
    fn receipts(&self, scope: &ScopeId) -> Result<Vec<InstanceId>, StoreError> {
        self.read(|store| store.receipts(scope))
    }
    fn receipt(&self, scope: &ScopeId, reader: &InstanceId) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|store| store.receipt(scope, reader))
    }
    fn swap_receipt(
        &self,
        scope: &ScopeId,
        reader: &InstanceId,
        expected: Option<DocHash>,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        self.written(|store| store.swap_receipt(scope, reader, expected, bytes))
    }
    fn swap_card(&self, instance: &InstanceId, expected: Option<DocHash>, bytes: &[u8]) -> Result<(), StoreError> {
        self.written(|store| store.swap_card(instance, expected, bytes))
    }
    fn missing(&self, objects: &[(ObjectId, u64)]) -> Result<Vec<ObjectId>, StoreError> {
        self.read(|store| store.missing(objects))
    }
    fn object_size(&self, object: &ObjectId) -> Result<Option<u64>, StoreError> {
        self.read(|store| store.object_size(object))
    }
    fn object(&self, object: &ObjectId, offset: u64) -> Result<Box<dyn Read + Send>, StoreError> {
        self.read(|store| store.object(object, offset))
    }
    fn put_object(&self, object: &ObjectId, size: u64, bytes: &mut dyn Read) -> Result<(), StoreError> {
        self.written(|store| store.put_object(object, size, bytes))
    }
    fn heal_object(&self, object: &ObjectId, size: u64, bytes: &mut dyn Read) -> Result<bool, StoreError> {
        self.written(|store| store.heal_object(object, size, bytes))
    }
    fn remove_object(&self, object: &ObjectId, unused_since: UnixMillis) -> Result<bool, StoreError> {
        self.written(|store| store.remove_object(object, unused_since))
    }
    fn objects(&self) -> Result<Vec<StoredObject>, StoreError> {
        self.read(|store| store.objects())
    }
}
