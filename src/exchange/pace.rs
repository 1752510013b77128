//! A store that has to get on: one that drips is given up, so that whoever exchanges with many isn't held up by one.
//!
//! Only time spent waiting for the store counts; every answer and every byte of an object is progress. Whatever hangs for good
//! is the transport's business, which gives up a connection on which nothing moves at all.

use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::exchange::store::{Doing, Store, StoreError, StoredObject};
use crate::id::bytes::{DocHash, InstanceId, ObjectId, ScopeId};
use crate::sys::clock::{self, UnixMillis};

/// How long to be patient with a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// How long to wait for it in all.
    pub all: Duration,
    /// In so much waiting …
    pub window: Duration,
    /// … it moves at least so many bytes, where an answer counts as some thousand.
    pub bytes: u64,
}

impl Terms {
    /// For a store among several: half an hour, and 32 KiB in two minutes, which the slowest mobile line moves in seconds.
    pub const AMONG_OTHERS: Self =
        Self { all: Duration::from_secs(1800), window: Duration::from_secs(120), bytes: 32 << 10 };
}

/// A store on terms.
pub struct Paced {
    store: Box<dyn Store>,
    pace: Arc<Pace>,
}

impl Paced {
    /// Puts a store on terms.
    pub fn new(store: Box<dyn Store>, terms: Terms) -> Self {
        let counted = Mutex::new(Counted::default());
        Self { store, pace: Arc::new(Pace { terms, counted }) }
    }

    fn call<T>(&self, doing: Doing, call: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.pace.check().map_err(|source| self.broken(doing, source))?;
        let began = clock::moment().running;
        let answer = call();
        self.pace.count(began, ANSWER_BYTES);
        answer
    }

    fn give<T>(
        &self,
        bytes: &mut dyn Read,
        put: impl FnOnce(&mut dyn Read) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.pace.check().map_err(|source| self.broken(OBJECTS, source))?;
        let began = clock::moment().running;
        let mut bytes = Moving { bytes, pace: Arc::clone(&self.pace), given: Some(began) };
        let put = put(&mut bytes);
        self.pace.count(bytes.given.unwrap_or(began), ANSWER_BYTES);
        match self.pace.check() {
            // It says that its bytes stopped coming, and doesn't know why.
            Err(why) if put.is_err() => Err(self.broken(OBJECTS, why)),
            _ => put,
        }
    }

    fn broken(&self, doing: Doing, source: io::Error) -> StoreError {
        StoreError::Io { store: self.store.describe(), doing, source }
    }
}

#[derive(Debug)]
struct Pace {
    terms: Terms,
    counted: Mutex<Counted>,
}

#[derive(Debug, Default)]
struct Counted {
    waited: Duration,
    /// Waited and moved in the window.
    window: Duration,
    moved: u64,
    broken: Option<&'static str>,
}

impl Pace {
    fn count(&self, began: Duration, bytes: u64) {
        self.note(clock::moment().running.saturating_sub(began), bytes);
    }

    /// Notes that so long a wait moved so many bytes.
    fn note(&self, waited: Duration, bytes: u64) {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        counted.waited += waited;
        counted.window += waited;
        counted.moved = counted.moved.saturating_add(bytes);
        if counted.waited > self.terms.all {
            counted.broken = Some(LONG);
        } else if counted.window > self.terms.window {
            if counted.moved < self.terms.bytes {
                counted.broken = Some(SLOW);
            }
            (counted.window, counted.moved) = (Duration::ZERO, 0);
        }
    }

    fn check(&self) -> io::Result<()> {
        match self.counted.lock().unwrap_or_else(PoisonError::into_inner).broken {
            None => Ok(()),
            Some(why) => Err(io::Error::new(io::ErrorKind::TimedOut, why)),
        }
    }
}

/// Bytes on their way, in either direction.
struct Moving<R> {
    bytes: R,
    pace: Arc<Pace>,
    /// When the reader gave the last ones away: a store that takes them takes its time until it asks for more.
    given: Option<Duration>,
}

impl<R: Read> Read for Moving<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.pace.check()?;
        let began = self.given.unwrap_or_else(|| clock::moment().running);
        let count = self.bytes.read(buffer)?;
        self.pace.count(began, count as u64);
        if self.given.is_some() {
            self.given = Some(clock::moment().running);
        }
        Ok(count)
    }
}

// What the trait does by default isn't what the store would do.
#[deny(clippy::missing_trait_methods)]
impl Store for Paced {
    fn describe(&self) -> String {
        self.store.describe()
    }

    fn lanes(&self) -> usize {
        self.store.lanes()
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.call(Doing::Open, || self.store.flush())
    }

    fn renew(&self) -> Result<(), StoreError> {
        self.call(Doing::Open, || self.store.renew())
    }

    fn scopes(&self) -> Result<Vec<ScopeId>, StoreError> {
        self.call(Doing::List("scopes"), || self.store.scopes())
    }

    fn heads(&self, scope: &ScopeId) -> Result<Vec<InstanceId>, StoreError> {
        self.call(Doing::List("heads"), || self.store.heads(scope))
    }

    fn cards(&self) -> Result<Vec<InstanceId>, StoreError> {
        self.call(Doing::List("cards"), || self.store.cards())
    }

    fn manifest(&self, scope: &ScopeId) -> Result<Option<Vec<u8>>, StoreError> {
        self.call(Doing::List("manifests"), || self.store.manifest(scope))
    }

    fn head(&self, scope: &ScopeId, signer: &InstanceId) -> Result<Option<Vec<u8>>, StoreError> {
        self.call(Doing::List("heads"), || self.store.head(scope, signer))
    }

    fn card(&self, instance: &InstanceId) -> Result<Option<Vec<u8>>, StoreError> {
        self.call(Doing::List("cards"), || self.store.card(instance))
    }

    fn swap_manifest(&self, scope: &ScopeId, expected: Option<DocHash>, bytes: &[u8]) -> Result<(), StoreError> {
        self.call(Doing::List("manifests"), || self.store.swap_manifest(scope, expected, bytes))
    }

    fn swap_head(
        &self,
        scope: &ScopeId,
        signer: &InstanceId,
        expected: Option<DocHash>,
        objects: &[(ObjectId, u64)],
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        self.call(Doing::List("heads"), || self.store.swap_head(scope, signer, expected, objects, bytes))
    }

    fn remove_head(&self, scope: &ScopeId, signer: &InstanceId, expected: DocHash) -> Result<bool, StoreError> {
        self.call(Doing::List("heads"), || self.store.remove_head(scope, signer, expected))
    }

    fn receipts(&self, scope: &ScopeId) -> Result<Vec<InstanceId>, StoreError> {
        self.call(Doing::List("receipts"), || self.store.receipts(scope))
    }

    fn receipt(&self, scope: &ScopeId, reader: &InstanceId) -> Result<Option<Vec<u8>>, StoreError> {
        self.call(Doing::List("receipts"), || self.store.receipt(scope, reader))
    }

    fn swap_receipt(
        &self,
        scope: &ScopeId,
        reader: &InstanceId,
        expected: Option<DocHash>,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        self.call(Doing::List("receipts"), || self.store.swap_receipt(scope, reader, expected, bytes))
    }

    fn swap_card(&self, instance: &InstanceId, expected: Option<DocHash>, bytes: &[u8]) -> Result<(), StoreError> {
        self.call(Doing::List("cards"), || self.store.swap_card(instance, expected, bytes))
    }

    fn missing(&self, objects: &[(ObjectId, u64)]) -> Result<Vec<ObjectId>, StoreError> {
        self.call(OBJECTS, || self.store.missing(objects))
    }

    fn object_size(&self, object: &ObjectId) -> Result<Option<u64>, StoreError> {
        self.call(OBJECTS, || self.store.object_size(object))
    }

    fn object(&self, object: &ObjectId, offset: u64) -> Result<Box<dyn Read + Send>, StoreError> {
        let bytes = self.call(OBJECTS, || self.store.object(object, offset))?;
        Ok(Box::new(Moving { bytes, pace: Arc::clone(&self.pace), given: None }))
    }

    fn put_object(&self, object: &ObjectId, size: u64, bytes: &mut dyn Read) -> Result<(), StoreError> {
        self.give(bytes, |bytes| self.store.put_object(object, size, bytes))
    }

    fn heal_object(&self, object: &ObjectId, size: u64, bytes: &mut dyn Read) -> Result<bool, StoreError> {
        self.give(bytes, |bytes| self.store.heal_object(object, size, bytes))
    }

    fn remove_object(&self, object: &ObjectId, unused_since: UnixMillis) -> Result<bool, StoreError> {
        self.call(OBJECTS, || self.store.remove_object(object, unused_since))
    }

    fn objects(&self) -> Result<Vec<StoredObject>, StoreError> {
        self.call(OBJECTS, || self.store.objects())
    }
}

const OBJECTS: Doing = Doing::List("objects");
/// What an answer counts as.
const ANSWER_BYTES: u64 = 4 << 10;
const SLOW: &str = "it moves too slowly to let others wait for it";
const LONG: &str = "it took half an hour, and others wait; the next exchange goes on from there";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::layout::StorePath;
    use crate::exchange::samples::{NOW, Shelf};
    use std::sync::atomic::Ordering;

    const TERMS: Terms = Terms { all: Duration::from_secs(1000), window: Duration::from_secs(100), bytes: 10_000 };

    fn after(waits: &[(u64, u64)]) -> Result<(), String> {
        let pace = Pace { terms: TERMS, counted: Mutex::default() };
        for (seconds, bytes) in waits {
            pace.note(Duration::from_secs(*seconds), *bytes);
        }
        pace.check().map_err(|error| error.to_string())
    }

    #[test]
    fn slow_is_fine_and_dripping_is_not() {
        assert_eq!(after(&[(99, 0)]), Ok(()), "a window isn't over yet");
        assert_eq!(after(&[(101, 10_000), (101, 10_000)]), Ok(()));
        assert_eq!(after(&[(50, ANSWER_BYTES), (30, ANSWER_BYTES), (30, ANSWER_BYTES)]), Ok(()), "three answers");
        assert_eq!(after(&[(101, 9_999)]), Err(SLOW.into()));
        assert_eq!(after(&[(60, 90_000), (60, 0), (101, 5)]), Err(SLOW.into()), "each window counts for itself");
        assert_eq!(after(&[(1001, u64::MAX)]), Err(LONG.into()));
        assert_eq!(after(&[(1, 1); 99]), Ok(()));
        assert_eq!(after(&[(100, 0)]), Ok(()), "a window isn't over at its end");
        assert_eq!(after(&[(1000, u64::MAX)]), Ok(()), "nor is all the time");
    }

    /// Every question, and every answer as the store gives it.
    #[test]
    fn a_paced_store_says_what_the_store_says() {
        let mut shelf = Shelf { lanes: 3, ..Default::default() };
        let manifest = shelf.put_scope();
        let id = shelf.hold(b"object", 0);
        shelf.put_head(&manifest, &[(id, 6)], |_| {});
        let (scope, origin) = (manifest.scope, manifest.origin);
        for path in [StorePath::Card(origin), StorePath::Receipt(scope, origin)] {
            shelf.documents.insert(path, path.to_string().into());
        }
        let paced = Paced::new(Box::new(shelf.twin()), TERMS);
        assert_eq!((paced.describe(), paced.lanes()), (shelf.describe(), 3));
        paced.renew().unwrap();
        paced.flush().unwrap();
        assert_eq!([&shelf.renewed, &shelf.flushed].map(|told| told.load(Ordering::SeqCst)), [1, 1]);
        assert_eq!((paced.scopes().unwrap(), paced.cards().unwrap()), (vec![scope], vec![origin]));
        assert_eq!((paced.heads(&scope).unwrap(), paced.receipts(&scope).unwrap()), (vec![origin], vec![origin]));
        assert_eq!(paced.manifest(&scope).unwrap(), shelf.manifest(&scope).unwrap());
        assert_eq!(paced.head(&scope, &origin).unwrap(), shelf.head(&scope, &origin).unwrap());
        assert_eq!(paced.card(&origin).unwrap(), shelf.card(&origin).unwrap());
        assert_eq!(paced.receipt(&scope, &origin).unwrap(), shelf.receipt(&scope, &origin).unwrap());
        let missing = ObjectId::from_bytes([9; 32]);
        assert_eq!(paced.missing(&[(id, 6), (missing, 6)]).unwrap(), [missing]);
        assert_eq!([&id, &missing].map(|id| paced.object_size(id).unwrap()), [Some(6), None]);
        assert_eq!(paced.objects().unwrap(), shelf.objects().unwrap());
        let mut read = Vec::new();
        paced.object(&id, 2).unwrap().take(100).read_to_end(&mut read).unwrap();
        assert_eq!(read, b"ject");
        paced.put_object(&missing, 3, &mut &b"new"[..]).unwrap();
        assert_eq!(paced.object_size(&missing).unwrap(), Some(3));
        assert_eq!([true, false].map(|_| paced.remove_object(&missing, NOW).unwrap()), [true, false]);
        let refused = [
            paced.swap_manifest(&scope, None, b"").is_err(),
            paced.swap_head(&scope, &origin, None, &[], b"").is_err(),
            paced.remove_head(&scope, &origin, DocHash::from_bytes([0; 32])).is_err(),
            paced.swap_receipt(&scope, &origin, None, b"").is_err(),
            paced.swap_card(&origin, None, b"").is_err(),
            paced.heal_object(&id, 6, &mut io::empty()).is_err(),
        ];
        assert_eq!(refused, [true; 6], "the shelf lets nobody write");
    }

    /// Each wait is too long here: what came in one go is there, and whatever else is asked is refused.
    #[test]
    fn whoever_is_out_of_time_is_asked_no_more() {
        let paced = || Paced::new(Box::new(Shelf::default()), Terms { all: Duration::ZERO, ..TERMS });
        let id = ObjectId::from_bytes([9; 32]);
        let store = paced();
        store.put_object(&id, 3, &mut &b"new"[..]).unwrap();
        assert_eq!(store.scopes().unwrap_err().to_string(), "cannot list scopes in the shelf");
        let stopped = paced().put_object(&id, 6, &mut b"new".chain(&b"er!"[..])).unwrap_err();
        assert!(matches!(&stopped, StoreError::Io { doing: OBJECTS, source, .. } if source.to_string() == LONG));
    }
}
