//! A store behind a simulated network, which loses requests or their answers, repeats them and delays them.
//!
//! In simulations only (`sys::rig`): there a directory stands for a hub that is far away.

use std::io::{self, Read};
use std::sync::Arc;

use crate::exchange::layout::{OBJECT_BYTES_MAX, StorePath};
use crate::exchange::store::{Doing, Store, StoreError, StoredObject};
use crate::id::bytes::{DocHash, InstanceId, ObjectId, ScopeId};
use crate::sys::clock::UnixMillis;
use crate::sys::rig::{self, Fate};

/// A store, and what lies before it.
struct Unreliable {
    store: Arc<dyn Store>,
}

/// Puts what a simulation has of a network before a store; without a simulation there is none.
pub(super) fn beyond(store: Box<dyn Store>) -> Box<dyn Store> {
    if rig::installed().is_none() { store } else { Box::new(Unreliable { store: store.into() }) }
}

impl Unreliable {
    /// Makes a request as far as the network lets it.
    fn request<T>(
        &self,
        doing: Doing,
        make: impl Fn(&dyn Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let world = rig::installed();
        match world.as_ref().and_then(|world| world.request()).unwrap_or(Fate::Arrives) {
            Fate::Arrives => return make(&*self.store),
            Fate::Twice => {
                // Whoever repeats it doesn't look at the first answer.
                let _ = make(&*self.store);
                return make(&*self.store);
            }
            Fate::AnswerLost => drop(make(&*self.store)),
            Fate::Late => {
                let store = self.store.clone();
                if let Some(world) = world {
                    world.delay(Box::new(move || drop(make(&*store))));
                }
            }
            Fate::Lost => {}
        }
        let source = io::Error::new(io::ErrorKind::ConnectionReset, "the simulated connection broke");
        Err(StoreError::Io { store: self.describe(), doing, source })
    }

    /// Reads what is to be sent, which may have to be sent later or again.
    fn read_whole(&self, object: &ObjectId, bytes: &mut dyn Read) -> Result<Vec<u8>, StoreError> {
        let mut whole = Vec::new();
        let source = |source| StoreError::Source { store: self.describe(), object: *object, source };
        bytes.take(OBJECT_BYTES_MAX + 1).read_to_end(&mut whole).map_err(source)?;
        Ok(whole)
    }
}

impl Store for Unreliable {
    fn describe(&self) -> String {
        self.store.describe()
    }

    fn lanes(&self) -> usize {
        self.store.lanes()
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.store.flush()
    }

    fn scopes(&self) -> Result<Vec<ScopeId>, StoreError> {
        self.request(Doing::List("scopes"), |store| store.scopes())
    }

    fn heads(&self, scope: &ScopeId) -> Result<Vec<InstanceId>, StoreError> {
        let scope = *scope;
        self.request(Doing::List("heads"), move |store| store.heads(&scope))
    }

    fn cards(&self) -> Result<Vec<InstanceId>, StoreError> {
        self.request(Doing::List("cards"), |store| store.cards())
    }

    fn manifest(&self, scope: &ScopeId) -> Result<Option<Vec<u8>>, StoreError> {
        let scope = *scope;
        self.request(Doing::Read(StorePath::Manifest(scope)), move |store| store.manifest(&scope))
    }

    fn head(&self, scope: &ScopeId, signer: &InstanceId) -> Result<Option<Vec<u8>>, StoreError> {
        let (scope, signer) = (*scope, *signer);
        self.request(Doing::Read(StorePath::Head(scope, signer)), move |store| store.head(&scope, &signer))
    }

    fn card(&self, instance: &InstanceId) -> Result<Option<Vec<u8>>, StoreError> {
        let instance = *instance;
        self.request(Doing::Read(StorePath::Card(instance)), move |store| store.card(&instance))
    }

    fn swap_manifest(&self, scope: &ScopeId, expected: Option<DocHash>, bytes: &[u8]) -> Result<(), StoreError> {
        let (scope, bytes) = (*scope, bytes.to_vec());
        self.request(Doing::Write(StorePath::Manifest(scope)), move |store| {
            store.swap_manifest(&scope, expected, &bytes)
        })
    }

    fn swap_head(
        &self,
        scope: &ScopeId,
        signer: &InstanceId,
        expected: Option<DocHash>,
        objects: &[(ObjectId, u64)],
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        let (scope, signer, objects, bytes) = (*scope, *signer, objects.to_vec(), bytes.to_vec());
        self.request(Doing::Write(StorePath::Head(scope, signer)), move |store| {
            store.swap_head(&scope, &signer, expected, &objects, &bytes)
        })
    }

    fn remove_head(&self, scope: &ScopeId, signer: &InstanceId, expected: DocHash) -> Result<bool, StoreError> {
        let (scope, signer) = (*scope, *signer);
        let doing = Doing::Remove(StorePath::Head(scope, signer));
        self.request(doing, move |store| store.remove_head(&scope, &signer, expected))
    }

    fn receipts(&self, scope: &ScopeId) -> Result<Vec<InstanceId>, StoreError> {
        let scope = *scope;
        self.request(Doing::List("receipts"), move |store| store.receipts(&scope))
    }

    fn receipt(&self, scope: &ScopeId, reader: &InstanceId) -> Result<Option<Vec<u8>>, StoreError> {
        let (scope, reader) = (*scope, *reader);
        self.request(Doing::Read(StorePath::Receipt(scope, reader)), move |store| store.receipt(&scope, &reader))
    }

    fn swap_receipt(
        &self,
        scope: &ScopeId,
        reader: &InstanceId,
        expected: Option<DocHash>,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        let (scope, reader, bytes) = (*scope, *reader, bytes.to_vec());
        self.request(Doing::Write(StorePath::Receipt(scope, reader)), move |store| {
            store.swap_receipt(&scope, &reader, expected, &bytes)
        })
    }

    fn swap_card(&self, instance: &InstanceId, expected: Option<DocHash>, bytes: &[u8]) -> Result<(), StoreError> {
        let (instance, bytes) = (*instance, bytes.to_vec());
        self.request(Doing::Write(StorePath::Card(instance)), move |store| store.swap_card(&instance, expected, &bytes))
    }

    fn missing(&self, objects: &[(ObjectId, u64)]) -> Result<Vec<ObjectId>, StoreError> {
        let objects = objects.to_vec();
        self.request(Doing::List("objects"), move |store| store.missing(&objects))
    }

    fn object_size(&self, object: &ObjectId) -> Result<Option<u64>, StoreError> {
        let object = *object;
        self.request(Doing::Read(StorePath::Object(object)), move |store| store.object_size(&object))
    }

    fn object(&self, object: &ObjectId, offset: u64) -> Result<Box<dyn Read + Send>, StoreError> {
        let object = *object;
        self.request(Doing::Read(StorePath::Object(object)), move |store| store.object(&object, offset))
    }

    fn put_object(&self, object: &ObjectId, size: u64, bytes: &mut dyn Read) -> Result<(), StoreError> {
        let (object, whole) = (*object, self.read_whole(object, bytes)?);
        self.request(Doing::Write(StorePath::Object(object)), move |store| {
            store.put_object(&object, size, &mut whole.as_slice())
        })
    }

    fn heal_object(&self, object: &ObjectId, size: u64, bytes: &mut dyn Read) -> Result<bool, StoreError> {
        let (object, whole) = (*object, self.read_whole(object, bytes)?);
        self.request(Doing::Write(StorePath::Object(object)), move |store| {
            store.heal_object(&object, size, &mut whole.as_slice())
        })
    }

    fn remove_object(&self, object: &ObjectId, unused_since: UnixMillis) -> Result<bool, StoreError> {
        let object = *object;
        let doing = Doing::Remove(StorePath::Object(object));
        self.request(doing, move |store| store.remove_object(&object, unused_since))
    }

    fn objects(&self) -> Result<Vec<StoredObject>, StoreError> {
        self.request(Doing::List("objects"), |store| store.objects())
    }
}
