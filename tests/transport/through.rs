//! A store that is opened anew for every reading, and after each writing sent: what it shows is what arrived.

use std::io::Read;

use wbsync::exchange::store::{Store, StoreError, StoredObject};
use wbsync::id::bytes::{DocHash, InstanceId, ObjectId, ScopeId};
use wbsync::sys::clock::UnixMillis;

/// Opens the store again and again.
pub(crate) struct Through<F> {
    open: F,
}

impl<F: Fn() -> Box<dyn Store> + Send + Sync> Through<F> {
    pub(crate) fn new(open: F) -> Self {
        Self { open }
    }

    fn written<T>(&self, write: impl FnOnce(&dyn Store) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let store = (self.open)();
        let written = write(&*store)?;
        store.flush()?;
        Ok(written)
    }
}

impl<F: Fn() -> Box<dyn Store> + Send + Sync> Store for Through<F> {
    fn describe(&self) -> String {
        (self.open)().describe()
    }
    fn scopes(&self) -> Result<Vec<ScopeId>, StoreError> {
        (self.open)().scopes()
    }
    fn heads(&self, scope: &ScopeId) -> Result<Vec<InstanceId>, StoreError> {
        (self.open)().heads(scope)
    }
    fn cards(&self) -> Result<Vec<InstanceId>, StoreError> {
        (self.open)().cards()
    }
    fn manifest(&self, scope: &ScopeId) -> Result<Option<Vec<u8>>, StoreError> {
        (self.open)().manifest(scope)
    }
    fn head(&self, scope: &ScopeId, signer: &InstanceId) -> Result<Option<Vec<u8>>, StoreError> {
        (self.open)().head(scope, signer)
    }
    fn card(&self, instance: &InstanceId) -> Result<Option<Vec<u8>>, StoreError> {
        (self.open)().card(instance)
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
        (self.open)().receipts(scope)
    }
    fn receipt(&self, scope: &ScopeId, reader: &InstanceId) -> Result<Option<Vec<u8>>, StoreError> {
        (self.open)().receipt(scope, reader)
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
        (self.open)().missing(objects)
    }
    fn object_size(&self, object: &ObjectId) -> Result<Option<u64>, StoreError> {
        (self.open)().object_size(object)
    }
    fn object(&self, object: &ObjectId, offset: u64) -> Result<Box<dyn Read + Send>, StoreError> {
        (self.open)().object(object, offset)
    }
    fn put_object(&self, object: &ObjectId, size: u64, bytes: &mut dyn Read) -> Result<(), StoreError> {
        self.written(|store| store.put_object(object, size, bytes))
    }
    fn remove_object(&self, object: &ObjectId, unused_since: UnixMillis) -> Result<bool, StoreError> {
        self.written(|store| store.remove_object(object, unused_since))
    }
    fn objects(&self) -> Result<Vec<StoredObject>, StoreError> {
        (self.open)().objects()
    }
}
