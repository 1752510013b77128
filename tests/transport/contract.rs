//! The store contract. A transport's test calls `store_contract` with a maker of fresh, empty stores.

use std::io::{self, Read};

use wbsync::exchange::check::{Damage, object_id};
use wbsync::exchange::layout::{DOCUMENT_BYTES_MAX, OBJECT_BYTES_MAX};
use wbsync::exchange::store::{FRESH_MILLIS, Store, StoreError};
use wbsync::id::bytes::{InstanceId, ObjectId, ScopeId};
use wbsync::keys::document::hash_of;
use wbsync::sys::clock::{self, UnixMillis};

pub(crate) const ALPHA: InstanceId = InstanceId::from_bytes([0xa1; 32]);
pub(crate) const BETA: InstanceId = InstanceId::from_bytes([0xbe; 32]);
pub(crate) const SCOPE: ScopeId = ScopeId::from_bytes([0x5c; 16]);

/// Checks everything that `Store` promises of a single store.
pub(crate) fn store_contract(make: impl Fn() -> Box<dyn Store>) {
    an_empty_store_holds_nothing(&*make());
    documents_are_compared_and_swapped(&*make());
    a_head_needs_its_objects(&*make());
    only_the_named_head_is_removed(&*make());
    lists_ascend(&*make());
    objects_are_read_from_any_offset(&*make());
    wrong_bytes_never_become_visible(&*make());
    putting_again_reads_nothing(&*make());
    bounds_are_kept(&*make());
    only_unused_objects_are_removed(&*make());
}

/// Puts bytes as an object.
pub(crate) fn put(store: &dyn Store, bytes: &[u8]) -> ObjectId {
    let id = object_id(bytes);
    store.put_object(&id, bytes.len() as u64, &mut &*bytes).unwrap();
    id
}

/// Reads an object from `offset` on.
pub(crate) fn get(store: &dyn Store, id: &ObjectId, offset: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    store.object(id, offset).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

/// Returns bytes that don't repeat within a buffer.
pub(crate) fn noise(size: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; size];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn an_empty_store_holds_nothing(store: &dyn Store) {
    assert!(!store.describe().is_empty());
    assert_eq!(store.scopes().unwrap(), []);
    assert_eq!(store.heads(&SCOPE).unwrap(), []);
    assert_eq!(store.cards().unwrap(), []);
    assert_eq!(store.manifest(&SCOPE).unwrap(), None);
    assert_eq!(store.head(&SCOPE, &ALPHA).unwrap(), None);
    assert_eq!(store.card(&ALPHA).unwrap(), None);
    assert_eq!(store.receipts(&SCOPE).unwrap(), []);
    assert_eq!(store.receipt(&SCOPE, &ALPHA).unwrap(), None);
    assert!(!store.remove_head(&SCOPE, &ALPHA, hash_of(b"none")).unwrap());
    let id = object_id(b"nothing");
    assert_eq!(store.missing(&[(id, 7)]).unwrap(), [id]);
    assert_eq!(store.object_size(&id).unwrap(), None);
    assert!(matches!(store.object(&id, 0).err(), Some(StoreError::Missing { .. })));
    assert_eq!(store.objects().unwrap(), []);
    assert!(!store.remove_object(&id, UnixMillis(u64::MAX)).unwrap());
}

fn documents_are_compared_and_swapped(store: &dyn Store) {
    type Swap<'a> = &'a dyn Fn(Option<&[u8]>, &[u8]) -> Result<(), StoreError>;
    type Get<'a> = &'a dyn Fn() -> Option<Vec<u8>>;
    let manifest: (Swap<'_>, Get<'_>) =
        (&|old, new| store.swap_manifest(&SCOPE, old.map(hash_of), new), &|| store.manifest(&SCOPE).unwrap());
    let head: (Swap<'_>, Get<'_>) = (&|old, new| store.swap_head(&SCOPE, &ALPHA, old.map(hash_of), &[], new), &|| {
        store.head(&SCOPE, &ALPHA).unwrap()
    });
    let card: (Swap<'_>, Get<'_>) =
        (&|old, new| store.swap_card(&ALPHA, old.map(hash_of), new), &|| store.card(&ALPHA).unwrap());
    let receipt: (Swap<'_>, Get<'_>) = (&|old, new| store.swap_receipt(&SCOPE, &ALPHA, old.map(hash_of), new), &|| {
        store.receipt(&SCOPE, &ALPHA).unwrap()
    });
    for (swap, get) in [manifest, head, card, receipt] {
        assert_swapped(swap(Some(b"none"), b"one"), None);
        assert_eq!(get(), None);
        swap(None, b"one").unwrap();
        assert_eq!(get().unwrap(), b"one");
        swap(None, b"one").expect("a repeated call, whose answer was lost, succeeds");
        assert_swapped(swap(None, b"two"), Some(b"one"));
        assert_swapped(swap(Some(b"zero"), b"two"), Some(b"one"));
        assert_eq!(get().unwrap(), b"one");
        swap(Some(b"one"), b"two").unwrap();
        assert_eq!(get().unwrap(), b"two");
        assert_swapped(swap(Some(b"one"), b"three"), Some(b"two"));
    }
    assert_eq!(store.head(&SCOPE, &BETA).unwrap(), None, "another signer's head is another document");
}

fn assert_swapped(result: Result<(), StoreError>, wanted: Option<&[u8]>) {
    match result {
        Err(StoreError::Swapped { found, .. }) => assert_eq!(found, wanted.map(hash_of)),
        other => panic!("{other:?} instead of Swapped"),
    }
}

fn a_head_needs_its_objects(store: &dyn Store) {
    let held = put(store, b"held");
    let lacking = object_id(b"lacking");
    let swap = |objects: &[_]| store.swap_head(&SCOPE, &ALPHA, None, objects, b"head");
    for objects in [vec![(held, 4), (lacking, 7)], vec![(lacking, 7), (held, 4)]] {
        match swap(&objects) {
            Err(StoreError::Incomplete { object, .. }) => assert_eq!(object, lacking),
            other => panic!("{other:?} instead of Incomplete"),
        }
    }
    assert!(matches!(swap(&[(held, 5)]), Err(StoreError::Incomplete { object, .. }) if object == held));
    assert_eq!(store.head(&SCOPE, &ALPHA).unwrap(), None);
    assert_eq!(store.scopes().unwrap(), [], "a refused head leaves no scope");
    put(store, b"lacking");
    swap(&[(held, 4), (lacking, 7)]).unwrap();
    assert_eq!(store.head(&SCOPE, &ALPHA).unwrap().unwrap(), b"head");
}

fn only_the_named_head_is_removed(store: &dyn Store) {
    let held = put(store, b"held");
    store.swap_head(&SCOPE, &ALPHA, None, &[(held, 4)], b"head").unwrap();
    store.swap_head(&SCOPE, &BETA, None, &[], b"other").unwrap();
    store.swap_manifest(&SCOPE, None, b"manifest").unwrap();
    match store.remove_head(&SCOPE, &ALPHA, hash_of(b"older")) {
        Err(StoreError::Swapped { found, .. }) => assert_eq!(found, Some(hash_of(b"head"))),
        other => panic!("{other:?} instead of Swapped"),
    }
    assert_eq!(store.heads(&SCOPE).unwrap(), [ALPHA, BETA]);
    assert!(store.remove_head(&SCOPE, &ALPHA, hash_of(b"head")).unwrap());
    assert!(!store.remove_head(&SCOPE, &ALPHA, hash_of(b"head")).unwrap(), "it is gone");
    assert_eq!(store.heads(&SCOPE).unwrap(), [BETA]);
    assert_eq!((store.head(&SCOPE, &ALPHA).unwrap(), get(store, &held, 0)), (None, b"held".to_vec()));
    store.swap_head(&SCOPE, &ALPHA, None, &[(held, 4)], b"newer").unwrap();
}

fn lists_ascend(store: &dyn Store) {
    let scopes = [ScopeId::from_bytes([1; 16]), ScopeId::from_bytes([9; 16]), ScopeId::from_bytes([0xf0; 16])];
    for scope in [scopes[2], scopes[0]] {
        store.swap_head(&scope, &BETA, None, &[], b"b").unwrap();
        store.swap_head(&scope, &ALPHA, None, &[], b"a").unwrap();
        store.swap_receipt(&scope, &BETA, None, b"b").unwrap();
        store.swap_receipt(&scope, &ALPHA, None, b"a").unwrap();
    }
    // A receipt alone makes no scope.
    store.swap_receipt(&ScopeId::from_bytes([5; 16]), &ALPHA, None, b"a").unwrap();
    assert_eq!(store.receipts(&scopes[0]).unwrap(), [ALPHA, BETA]);
    store.swap_manifest(&scopes[1], None, b"m").unwrap();
    store.swap_card(&BETA, None, b"b").unwrap();
    store.swap_card(&ALPHA, None, b"a").unwrap();
    assert_eq!(store.scopes().unwrap(), scopes);
    assert_eq!(store.heads(&scopes[0]).unwrap(), [ALPHA, BETA]);
    assert_eq!(store.heads(&scopes[1]).unwrap(), []);
    assert_eq!(store.cards().unwrap(), [ALPHA, BETA]);
    let mut ids: Vec<_> = (0..20u8).map(|n| put(store, &[n])).collect();
    ids.sort();
    assert_eq!(store.objects().unwrap().iter().map(|object| object.id).collect::<Vec<_>>(), ids);
    assert!(store.objects().unwrap().iter().all(|object| object.bytes == 1));
}

fn objects_are_read_from_any_offset(store: &dyn Store) {
    let bytes = noise(700_001, 1);
    let id = put(store, &bytes);
    assert_eq!(store.object_size(&id).unwrap(), Some(700_001));
    for offset in [0, 1, 262_144, 700_000] {
        assert!(get(store, &id, offset) == bytes[offset as usize..], "from {offset}");
    }
    assert_eq!(get(store, &id, 700_001), b"");
    assert_eq!(get(store, &id, 1 << 40), b"");
    let empty = put(store, b"");
    assert_eq!(get(store, &empty, 0), b"");
    let other = object_id(b"other");
    assert_eq!(store.missing(&[(other, 5), (id, 700_001), (empty, 0), (id, 3)]).unwrap(), [other, id]);
}

fn wrong_bytes_never_become_visible(store: &dyn Store) {
    let bytes = noise(300_000, 2);
    let (id, size) = (object_id(&bytes), bytes.len() as u64);
    let mut flipped = bytes.clone();
    flipped[150_000] ^= 1;
    let longer = [&bytes[..], b"x"].concat();
    let put = |bytes: &[u8]| match store.put_object(&id, size, &mut &*bytes) {
        Err(StoreError::Damaged { object, damage, .. }) if object == id => damage,
        other => panic!("{other:?} instead of Damaged"),
    };
    assert_eq!(put(&bytes[..299_999]), Damage::Short { expected: size, found: 299_999 });
    assert_eq!(put(&longer), Damage::Long { expected: size });
    assert_eq!(put(&flipped), Damage::Hash { found: object_id(&flipped) });
    let mut breaking = (&bytes[..200_000]).chain(Broken);
    assert!(matches!(store.put_object(&id, size, &mut breaking), Err(StoreError::Source { .. })));
    assert_eq!(store.objects().unwrap(), []);
    assert_eq!(store.missing(&[(id, size)]).unwrap(), [id]);
    store.put_object(&id, size, &mut &*bytes).unwrap();
    assert!(get(store, &id, 0) == bytes);
}

fn putting_again_reads_nothing(store: &dyn Store) {
    let id = put(store, b"once");
    store.put_object(&id, 4, &mut Broken).expect("the object is held, so its bytes are not asked for");
    assert_eq!(get(store, &id, 0), b"once");
}

fn bounds_are_kept(store: &dyn Store) {
    let id = object_id(b"big");
    let refused = store.put_object(&id, OBJECT_BYTES_MAX + 1, &mut Broken);
    assert!(matches!(refused, Err(StoreError::TooLarge { bound: OBJECT_BYTES_MAX, .. })), "{refused:?}");
    let document = vec![7; DOCUMENT_BYTES_MAX as usize + 1];
    let most = &document[1..];
    for refused in [
        store.swap_manifest(&SCOPE, None, &document),
        store.swap_head(&SCOPE, &ALPHA, None, &[], &document),
        store.swap_card(&ALPHA, None, &document),
        store.swap_receipt(&SCOPE, &ALPHA, None, &document),
    ] {
        assert!(matches!(refused, Err(StoreError::TooLarge { bound: DOCUMENT_BYTES_MAX, .. })), "{refused:?}");
    }
    store.swap_card(&ALPHA, None, most).unwrap();
    assert!(store.card(&ALPHA).unwrap().unwrap() == most);
}

fn only_unused_objects_are_removed(store: &dyn Store) {
    let id = put(store, b"garbage");
    let now = clock::now().0;
    assert!(!store.remove_object(&id, UnixMillis(now - FRESH_MILLIS)).unwrap(), "it was just put");
    assert_eq!(store.object_size(&id).unwrap(), Some(7));
    assert!(store.remove_object(&id, UnixMillis(now + 60_000)).unwrap());
    assert_eq!(store.object_size(&id).unwrap(), None);
    assert!(!store.remove_object(&id, UnixMillis(now + 60_000)).unwrap(), "it was gone");
}

/// A reader that fails when it is read.
pub(crate) struct Broken;

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::ConnectionReset.into())
    }
}
