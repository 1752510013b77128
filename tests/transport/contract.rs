//! The store contract. A transport's test calls `store_contract` with a maker of fresh, empty stores.

use std::io::{self, Read};

use wbsync::exchange::check::{Damage, object_id};
use wbsync::exchange::layout::{DOCUMENT_BYTES_MAX, OBJECT_BYTES_MAX};
use wbsync::exchange::store::{FRESH_MILLIS, Store, StoreError};
use wbsync::id::bytes::{InstanceId, ObjectId, ScopeId};
use wbsync::keys::document::hash_of;
use wbsync::sys::clock::{self, UnixMillis};

use crate::signed::{NOBODY, People, card, origin_head, receipt, writer_head};

pub(crate) const ALPHA: InstanceId = InstanceId::from_bytes([0xa1; 32]);
pub(crate) const BETA: InstanceId = InstanceId::from_bytes([0xbe; 32]);
pub(crate) const SCOPE: ScopeId = ScopeId::from_bytes([0x5c; 16]);

/// Checks everything that `Store` promises of a single store, with documents that a hub takes too.
pub(crate) fn store_contract(make: impl Fn() -> Box<dyn Store>) {
    an_empty_store_holds_nothing(&*make());
    documents_are_compared_and_swapped(&*make());
    a_head_needs_its_objects(&*make());
    only_the_named_head_is_removed(&*make());
    receipts_lie_beside_heads(&*make());
    lists_ascend(&*make());
    objects_are_read_from_any_offset(&*make());
    wrong_bytes_never_become_visible(&*make());
    putting_again_reads_nothing(&*make());
    bounds_are_kept(&*make());
    only_unused_objects_are_removed(&*make());
    what_is_whole_is_not_healed(&*make());
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
    assert_eq!(store.head(&SCOPE, &NOBODY).unwrap(), None);
    assert_eq!(store.card(&NOBODY).unwrap(), None);
    assert_eq!((store.receipts(&SCOPE).unwrap(), store.receipt(&SCOPE, &NOBODY).unwrap()), (vec![], None));
    assert!(!store.remove_head(&SCOPE, &NOBODY, hash_of(b"none")).unwrap());
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
    let people = People::new();
    let scope = people.scope("trusted");
    let (id, alpha, beta) = (&scope.id, &people.alpha.id(), &people.beta.id());
    let next = people.without_gamma(&scope);
    let manifests = [scope.manifest.clone(), next.clone(), next];
    let objects = [(put(store, b"carried"), 7)];
    let first = origin_head(&people.alpha, id, 1, None, &objects);
    let second = origin_head(&people.alpha, id, 2, Some(&first), &objects);
    let third = origin_head(&people.alpha, id, 3, Some(&second), &objects);
    let cards = ["one", "two", "three"].map(|name| card(&people.alpha, name, 0));
    let manifest: (Swap<'_>, Get<'_>, _) =
        (&|old, new| store.swap_manifest(id, old.map(hash_of), new), &|| store.manifest(id).unwrap(), manifests);
    let head: (Swap<'_>, Get<'_>, _) = (
        &|old, new| store.swap_head(id, alpha, old.map(hash_of), &objects, new),
        &|| store.head(id, alpha).unwrap(),
        [first, second, third],
    );
    let card: (Swap<'_>, Get<'_>, _) =
        (&|old, new| store.swap_card(alpha, old.map(hash_of), new), &|| store.card(alpha).unwrap(), cards);
    for (swap, get, [one, two, three]) in [manifest, head, card] {
        assert_swapped(swap(Some(b"none"), &one), None);
        assert_eq!(get(), None);
        swap(None, &one).unwrap();
        assert_eq!(get().unwrap(), one);
        swap(None, &one).expect("a repeated call, whose answer was lost, succeeds");
        assert_swapped(swap(None, &two), Some(&one));
        assert_swapped(swap(Some(b"zero"), &two), Some(&one));
        assert_eq!(get().unwrap(), one);
        swap(Some(&one), &two).unwrap();
        assert_eq!(get().unwrap(), two);
        if three != two {
            assert_swapped(swap(Some(&one), &three), Some(&two));
        }
    }
    assert_eq!(store.head(id, beta).unwrap(), None, "another signer's head is another document");
}

fn assert_swapped(result: Result<(), StoreError>, wanted: Option<&[u8]>) {
    match result {
        Err(StoreError::Swapped { found, .. }) => assert_eq!(found, wanted.map(hash_of)),
        other => panic!("{other:?} instead of Swapped"),
    }
}

fn a_head_needs_its_objects(store: &dyn Store) {
    let people = People::new();
    let scope = people.scope("trusted");
    store.swap_manifest(&scope.id, None, &scope.manifest).unwrap();
    let alpha = people.alpha.id();
    let held = put(store, b"held");
    let lacking = object_id(b"lacking");
    let swap = |objects: &[_]| {
        let head = origin_head(&people.alpha, &scope.id, 1, None, objects);
        store.swap_head(&scope.id, &alpha, None, objects, &head).map(|()| head)
    };
    for objects in [vec![(held, 4), (lacking, 7)], vec![(lacking, 7), (held, 4)]] {
        match swap(&objects) {
            Err(StoreError::Incomplete { object, .. }) => assert_eq!(object, lacking),
            other => panic!("{other:?} instead of Incomplete"),
        }
    }
    assert!(matches!(swap(&[(held, 5)]), Err(StoreError::Incomplete { object, .. }) if object == held));
    assert_eq!(store.head(&scope.id, &alpha).unwrap(), None);
    assert_eq!(store.heads(&scope.id).unwrap(), [], "a refused head leaves nothing");
    put(store, b"lacking");
    let head = swap(&[(held, 4), (lacking, 7)]).unwrap();
    assert_eq!(store.head(&scope.id, &alpha).unwrap().unwrap(), head);
}

fn only_the_named_head_is_removed(store: &dyn Store) {
    let people = People::new();
    let scope = people.scope("trusted");
    let (id, alpha, beta) = (&scope.id, people.alpha.id(), people.beta.id());
    store.swap_manifest(id, None, &scope.manifest).unwrap();
    let objects = [(put(store, b"held"), 4)];
    let one = origin_head(&people.alpha, id, 1, None, &objects);
    store.swap_head(id, &alpha, None, &objects, &one).unwrap();
    let other = writer_head(&people.beta, id, 1, None);
    store.swap_head(id, &beta, None, &[], &other).unwrap();
    let mut both = [alpha, beta];
    both.sort();
    match store.remove_head(id, &beta, hash_of(b"older")) {
        Err(StoreError::Swapped { found, .. }) => assert_eq!(found, Some(hash_of(&other))),
        result => panic!("{result:?} instead of Swapped"),
    }
    assert_eq!(store.heads(id).unwrap(), both);
    assert!(store.remove_head(id, &beta, hash_of(&other)).unwrap());
    assert!(!store.remove_head(id, &beta, hash_of(&other)).unwrap(), "it is gone");
    assert_eq!((store.heads(id).unwrap(), store.head(id, &beta).unwrap()), (vec![alpha], None));
    assert_eq!(get(store, &objects[0].0, 0), b"held");
    store.swap_head(id, &beta, None, &[], &writer_head(&people.beta, id, 2, Some(&other))).unwrap();
}

fn receipts_lie_beside_heads(store: &dyn Store) {
    let people = People::new();
    let scope = people.scope("trusted");
    let (id, gamma) = (&scope.id, people.gamma.id());
    store.swap_manifest(id, None, &scope.manifest).unwrap();
    let [one, two] = [1, 2].map(|seq| receipt(&people.gamma, id, seq));
    store.swap_receipt(id, &gamma, None, &one).unwrap();
    store.swap_receipt(id, &gamma, None, &one).expect("a repeated call, whose answer was lost, succeeds");
    assert_swapped(store.swap_receipt(id, &gamma, None, &two), Some(&one));
    store.swap_receipt(id, &gamma, Some(hash_of(&one)), &two).unwrap();
    store.swap_receipt(id, &people.beta.id(), None, &receipt(&people.beta, id, 1)).unwrap();
    let mut readers = [gamma, people.beta.id()];
    readers.sort();
    assert_eq!(store.receipts(id).unwrap(), readers);
    assert_eq!(store.receipt(id, &gamma).unwrap(), Some(two));
    assert_eq!(store.heads(id).unwrap(), [], "a receipt is no head");
}

fn lists_ascend(store: &dyn Store) {
    let people = People::new();
    let mut scopes = [(); 3].map(|()| people.scope("trusted"));
    scopes.sort_by_key(|scope| scope.id);
    let objects = [(put(store, &[0]), 1)];
    for index in [2, 0, 1] {
        let scope = &scopes[index];
        store.swap_manifest(&scope.id, None, &scope.manifest).unwrap();
        if index != 1 {
            let head = writer_head(&people.beta, &scope.id, 1, None);
            store.swap_head(&scope.id, &people.beta.id(), None, &[], &head).unwrap();
            let head = origin_head(&people.alpha, &scope.id, 1, None, &objects);
            store.swap_head(&scope.id, &people.alpha.id(), None, &objects, &head).unwrap();
        }
    }
    let mut instances = [people.alpha.id(), people.beta.id()];
    instances.sort();
    for identity in [&people.beta, &people.alpha] {
        store.swap_card(&identity.id(), None, &card(identity, "name", 0)).unwrap();
    }
    assert_eq!(store.scopes().unwrap(), [0, 1, 2].map(|index: usize| scopes[index].id));
    assert_eq!(store.heads(&scopes[0].id).unwrap(), instances);
    assert_eq!(store.heads(&scopes[1].id).unwrap(), []);
    assert_eq!(store.cards().unwrap(), instances);
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
    for refused in [
        store.swap_manifest(&SCOPE, None, &document),
        store.swap_head(&SCOPE, &ALPHA, None, &[], &document),
        store.swap_card(&ALPHA, None, &document),
        store.swap_receipt(&SCOPE, &ALPHA, None, &document),
    ] {
        assert!(matches!(refused, Err(StoreError::TooLarge { bound: DOCUMENT_BYTES_MAX, .. })), "{refused:?}");
    }
}

fn what_is_whole_is_not_healed(store: &dyn Store) {
    let bytes = noise(300_000, 5);
    let (id, size) = (object_id(&bytes), bytes.len() as u64);
    assert!(store.heal_object(&id, size, &mut &bytes[..]).unwrap(), "what isn't there is stored");
    assert!(!store.heal_object(&id, size, &mut Broken).unwrap(), "nothing is read");
    let other = noise(300_000, 6);
    assert!(matches!(
        store.heal_object(&object_id(&other), size, &mut &bytes[..]),
        Err(StoreError::Damaged { damage: Damage::Hash { .. }, .. })
    ));
    assert_eq!((get(store, &id, 0) == bytes, store.object_size(&object_id(&other)).unwrap()), (true, None));
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
