//! What is wrong with a store is named, and nothing else.

use super::*;
use crate::exchange::head::Base;
use crate::exchange::samples::{NOW, Shelf};
use crate::id::bytes::{CommitId, DocHash};
use crate::id::name::PeerName;
use crate::keys::card::Card;
use crate::keys::identity::Identity;

fn found(shelf: &Shelf) -> Vec<Kind> {
    let health = examine(shelf, Depth::Contents, &mut |_, _| {}).unwrap();
    health.findings.iter().map(|finding| finding.kind).collect()
}

/// A store with a manifest, a head of the origin, its object, and a writer's head on top of `base`.
fn shelf(base: Option<(u64, u8)>) -> Shelf {
    let mut shelf = Shelf::default();
    let manifest = shelf.put_scope();
    let id = shelf.hold(b"object", 0);
    shelf.put_head(&manifest, &[(id, 6)], |_| {});
    if let Some((seq, commit)) = base {
        shelf.put_head(&manifest, &[(id, 6)], |head| {
            head.signer = Identity::fixed(2).id();
            head.base = Some(Base { seq, commit: CommitId::from_bytes([commit; 32]) });
        });
    }
    shelf
}

#[test]
fn a_whole_store_is_well_and_counted() {
    let whole = shelf(Some((1, 8)));
    let health = examine(&whole, Depth::Contents, &mut |_, _| {}).unwrap();
    assert_eq!((health.findings.len(), health.documents, health.objects, health.bytes), (0, 3, 1, 6));
}

#[test]
fn what_heads_build_on_is_compared() {
    assert_eq!(found(&shelf(Some((1, 9)))), [Kind::Contradiction], "another commit under the same number");
    assert_eq!(found(&shelf(Some((2, 9)))), [Kind::Behind], "the origin's head isn't here yet");
    let mut alone = shelf(Some((2, 9)));
    let origin = Identity::fixed(1).id();
    alone.documents.retain(|path, _| !matches!(path, StorePath::Head(_, signer) if *signer == origin));
    assert_eq!(found(&alone), [], "a writer's own store, where the origin publishes nothing");
    let mut wrong = shelf(None);
    let manifest = wrong.put_scope();
    wrong.documents.retain(|path, _| !matches!(path, StorePath::Head(..)));
    wrong.put_head(&manifest, &[(wrong.hold(b"object", 0), 6)], |head| {
        head.base = Some(Base { seq: 1, commit: CommitId::from_bytes([8; 32]) });
    });
    assert!(found(&wrong).contains(&Kind::Contradiction), "the origin builds on nobody");
}

#[test]
fn a_head_counts_in_its_own_scope_only() {
    let mut misplaced = shelf(None);
    let place = *misplaced.documents.keys().find(|path| matches!(path, StorePath::Head(..))).unwrap();
    let StorePath::Head(scope, signer) = place else { unreachable!() };
    let bytes = misplaced.documents.remove(&place).unwrap();
    let mut other = *scope.as_bytes();
    other[0] ^= 1;
    misplaced.documents.insert(StorePath::Head(ScopeId::from_bytes(other), signer), bytes);
    assert!(found(&misplaced).contains(&Kind::Misplaced));
}

#[test]
fn objects_are_compared_with_what_names_them() {
    let missing = shelf(None);
    missing.objects.lock().unwrap().clear();
    assert_eq!(found(&missing), [Kind::MissingObject]);
    let damaged = shelf(None);
    damaged.objects.lock().unwrap().values_mut().for_each(|(bytes, _)| bytes[0] ^= 1);
    assert_eq!(found(&damaged), [Kind::DamagedObject]);
    let longer = shelf(None);
    longer.objects.lock().unwrap().values_mut().for_each(|(bytes, _)| bytes.push(0));
    assert_eq!(found(&longer), [Kind::DamagedObject]);
    let unused = shelf(None);
    unused.hold(b"nobody's", 0);
    assert_eq!(found(&unused), [Kind::Garbage]);
}

/// A card and a receipt, each in its place, in another's, damaged, and no plain file.
#[test]
fn cards_and_receipts_count_in_their_place_only() {
    let identity = Identity::fixed(1);
    let mut whole = shelf(None);
    let scope = whole.scopes().unwrap()[0];
    let name = PeerName::new("alpha").unwrap();
    let recipient = identity.recipient();
    let card = Card { instance: identity.id(), recipient, name, urls: Vec::new(), incarnation: 0 };
    let card = SignedCard::sign(card, &identity).bytes;
    let receipt = |scope| {
        let (signer, body) = (identity.id(), Vec::new());
        Receipt { scope, signer, incarnation: 0, seq: 1, epoch: None, body, time: NOW }.sign(&identity)
    };
    let places = [StorePath::Card(identity.id()), StorePath::Receipt(scope, identity.id())];
    whole.documents.extend(places.into_iter().zip([card.clone(), receipt(scope)]));
    assert_eq!(found(&whole), []);
    let other = StorePath::Card(Identity::fixed(2).id());
    whole.documents.extend([(other, card), (places[1], receipt(ScopeId::from_bytes([9; 16])))]);
    assert_eq!(found(&whole), [Kind::Misplaced; 2]);
    for path in [other, places[1]] {
        whole.documents.insert(path, b"damaged".to_vec());
    }
    let health = examine(&whole, Depth::Contents, &mut |_, _| {}).unwrap();
    assert_eq!(health.findings.len(), 2);
    let is_told = |finding: &Finding| finding.kind == Kind::DamagedDocument && finding.detail.contains(": ");
    assert!(health.findings.iter().all(is_told), "with its cause: {health:?}");
    whole.documents.remove(&other);
    whole.irregular.insert(places[1]);
    assert_eq!(found(&whole), [Kind::DamagedDocument]);
}

/// Who may write is in the manifest alone; what it says of another scope doesn't count.
#[test]
fn a_manifest_is_missing_damaged_or_of_another_scope() {
    let with = |change: &dyn Fn(&mut Shelf, StorePath)| {
        let mut shelf = shelf(None);
        let path = StorePath::Manifest(shelf.scopes().unwrap()[0]);
        change(&mut shelf, path);
        let named = named(&shelf).unwrap();
        assert_eq!((named.objects.len(), named.unread.len()), (1, 0), "its heads are read all the same");
        found(&shelf)
    };
    assert_eq!(with(&|shelf, path| drop(shelf.documents.remove(&path))), [Kind::NoManifest]);
    assert_eq!(with(&|shelf, path| drop(shelf.documents.insert(path, vec![0]))), [Kind::DamagedDocument]);
    assert_eq!(with(&|shelf, path| assert!(shelf.irregular.insert(path))), [Kind::DamagedDocument]);
    let misplace = |shelf: &mut Shelf, path: StorePath| {
        let mut other = Shelf::default();
        let scope = other.put_scope().scope;
        shelf.documents.insert(path, other.documents[&StorePath::Manifest(scope)].clone());
    };
    assert_eq!(with(&misplace), [Kind::Misplaced]);
}

#[test]
fn heads_need_a_right_and_the_manifest_that_they_know() {
    let with = |change: &dyn Fn(&mut Head)| {
        let mut shelf = Shelf::default();
        let manifest = shelf.put_scope();
        let id = shelf.hold(b"object", 0);
        // A writer's head has a number of its own.
        shelf.put_head(&manifest, &[(id, 6)], |head| {
            (head.seq, head.prev) = (2, Some(DocHash::from_bytes([1; 32])));
            (head.segments[0].to_seq, head.commit) = (2, CommitId::from_bytes([7; 32]));
        });
        shelf.put_head(&manifest, &[(id, 6)], |head| {
            head.signer = Identity::fixed(2).id();
            head.base = Some(Base { seq: 2, commit: CommitId::from_bytes([7; 32]) });
            change(head);
        });
        found(&shelf)
    };
    assert_eq!(with(&|_| {}), []);
    assert_eq!(with(&|head| head.manifest_seq = 2), [Kind::Behind]);
    assert_eq!(with(&|head| head.base = None), [Kind::Contradiction], "a writer builds on the origin");
    assert_eq!(with(&|head| head.signer = Identity::fixed(3).id()), [Kind::NoRight]);
}

/// What vanished since it was listed is missed if a head names it, and else nobody minds.
#[test]
fn objects_that_vanish_meanwhile_are_missed_where_a_head_names_them() {
    let mut vanished = shelf(None);
    vanished.loses = true;
    assert_eq!(found(&vanished), [Kind::DamagedObject]);
    let mut unused = Shelf { loses: true, ..Default::default() };
    unused.put_scope();
    unused.hold(b"nobody's", 0);
    assert_eq!(found(&unused), [Kind::Garbage]);
}

#[test]
fn of_a_store_that_lists_nothing_the_named_objects_are_looked_at() {
    let mut hidden = shelf(None);
    hidden.hides = true;
    hidden.hold(b"nobody's", 0);
    let mut told = Vec::new();
    let health = examine(&hidden, Depth::Contents, &mut |done, total| told.push((done, total))).unwrap();
    assert_eq!((health.findings.len(), health.objects, health.is_unlisted), (0, 1, true));
    assert_eq!(told, [(0, 6), (6, 6)]);
}
