//! Vectors, bounds and properties of this format.

use super::draft::{DraftError, ManifestDraft, Reader, Signed, Since};
use super::*;
use crate::keys::identity::tests::AGE_SECRETS;
use crate::keys::vectors::{self, Case};
use proptest::prelude::*;

type Grants = Vec<(InstanceId, Vec<u8>)>;

const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

fn reader(number: u8) -> Reader {
    let identity = Identity::fixed(number);
    Reader { instance: identity.id(), recipient: identity.recipient() }
}

fn first(name: &str) -> Signed {
    let name = ScopeName::new(name).unwrap();
    ManifestDraft::new(&Identity::fixed(1), &name, b"schema", NOW).unwrap().sign().unwrap()
}

fn after<'a>(origin: &'a Identity, last: &Signed) -> ManifestDraft<'a> {
    ManifestDraft::next(origin, &last.manifest, last.hash, NOW).unwrap()
}

fn unlocked(signed: &Signed, number: u8) -> Option<Keys> {
    let (manifest, hash) = Manifest::open(&signed.bytes, &Identity::fixed(1).id()).unwrap();
    assert_eq!((&manifest, hash), (&signed.manifest, signed.hash));
    manifest.unlock(&Identity::fixed(number)).unwrap()
}

/// The epochs that an identity can open, or none if it is no reader.
fn epochs(signed: &Signed, number: u8) -> Vec<u32> {
    unlocked(signed, number).map(|keys| keys.epochs.into_keys().collect()).unwrap_or_default()
}

#[test]
fn new_scope_opens_for_its_origin_alone() {
    let signed = first("group:board");
    let keys = unlocked(&signed, 1).unwrap();
    assert_eq!((keys.name.as_str(), &*keys.schema), ("group:board", &b"schema"[..]));
    assert!(unlocked(&signed, 2).is_none());
    assert_eq!(signed.manifest.readers(), [Identity::fixed(1).id()]);
    let holds = |needle: &[u8]| signed.bytes.windows(needle.len()).any(|window| window == needle);
    assert!(!holds(b"group:board") && !holds(b"SECRET") && !holds(&keys.id_key[..]), "a hub learns no name and no key");
    assert_eq!(format!("{keys:?}"), r#"Keys { name: "group:board", epochs: [1], .. }"#);
}

#[test]
fn public_scope_opens_for_anyone() {
    let signed = first("public");
    assert!(signed.manifest.public);
    let keys = unlocked(&signed, 3).unwrap();
    assert_eq!(keys.name, ScopeName::public());
    assert_eq!(signed.manifest.public_id_key().unwrap(), Some(keys.id_key));
    assert_eq!(first("trusted").manifest.public_id_key().unwrap(), None);
    let origin = Identity::fixed(1);
    let mut draft = after(&origin, &signed);
    assert!(matches!(draft.grant(&reader(2), Since::Now), Err(DraftError::Public { .. })));
    draft.add_writer(reader(2).instance).unwrap();
    draft.new_epoch(&[]).unwrap();
    let second = draft.sign().unwrap();
    assert!(second.manifest.may_write(&reader(2).instance), "a writer of a public scope needs no grant");
    assert_eq!(epochs(&second, 3), [1, 2]);
}

/// A life of a scope: readers come, one of them late, one leaves.
#[test]
fn grants_and_epochs_decide_who_reads_what() {
    let origin = Identity::fixed(1);
    let one = first("trusted");
    let mut draft = after(&origin, &one);
    draft.grant(&reader(2), Since::Beginning).unwrap();
    draft.add_writer(reader(2).instance).unwrap();
    draft.new_epoch(&[reader(2)]).unwrap();
    let two = draft.sign().unwrap();
    assert_eq!((two.manifest.seq, two.manifest.prev), (2, Some(one.hash)));
    assert_eq!((epochs(&two, 1), epochs(&two, 2)), (vec![1, 2], vec![1, 2]));

    let mut draft = after(&origin, &two);
    draft.grant(&reader(3), Since::Now).unwrap();
    draft.set_schema(b"another").unwrap();
    let three = draft.sign().unwrap();
    assert_eq!((epochs(&three, 2), epochs(&three, 3)), (vec![1, 2], vec![2]));
    assert_eq!(unlocked(&three, 3).unwrap().schema, b"another");
    assert_eq!(unlocked(&three, 3).unwrap().id_key, unlocked(&one, 1).unwrap().id_key, "ids outlive epochs");

    let mut draft = after(&origin, &three);
    draft.new_epoch(&[reader(3)]).unwrap();
    let four = draft.sign().unwrap();
    assert!(unlocked(&four, 2).is_none());
    assert_eq!((epochs(&four, 1), epochs(&four, 3)), (vec![1, 2, 3], vec![2, 3]));
    assert!(!four.manifest.may_write(&reader(2).instance), "who can't read can't write");
    assert_eq!(four.manifest.former, [reader(2).instance]);
    let granted = |epoch: &Epoch| epoch.access.is_granted_to(&reader(2).instance);
    assert!(!four.manifest.epochs.iter().any(granted), "nothing stays sealed to a revoked reader");

    let mut draft = after(&origin, &four);
    draft.drop_epochs_before(u32::MAX);
    assert_eq!(epochs(&draft.sign().unwrap(), 1), [3]);
}

#[test]
fn writers_come_and_go() {
    let origin = Identity::fixed(1);
    let one = first("trusted");
    let mut draft = after(&origin, &one);
    let writer = reader(2).instance;
    assert!(matches!(draft.add_writer(writer), Err(DraftError::NotReader { .. })));
    draft.add_writer(origin.id()).unwrap();
    draft.grant(&reader(2), Since::Now).unwrap();
    draft.add_writer(writer).unwrap();
    let two = draft.sign().unwrap();
    assert_eq!(two.manifest.writers, [writer], "the origin is not listed");
    let mut draft = after(&origin, &two);
    draft.remove_writer(writer).unwrap();
    draft.remove_writer(writer).unwrap();
    let three = draft.sign().unwrap();
    assert_eq!((three.manifest.writers.len(), &three.manifest.former[..]), (0, &[writer][..]));
    assert_eq!(epochs(&three, 2), [1], "it still reads");
    let mut draft = after(&origin, &three);
    draft.add_writer(writer).unwrap();
    assert!(draft.sign().unwrap().manifest.former.is_empty());
}

#[test]
fn only_the_origin_drafts_and_bad_recipients_are_named() {
    let one = first("trusted");
    let other = Identity::fixed(2);
    let refused = ManifestDraft::next(&other, &one.manifest, one.hash, NOW);
    assert!(matches!(refused, Err(DraftError::NotOrigin { .. })));
    let origin = Identity::fixed(1);
    let bad = Reader { recipient: "age1nobody".into(), ..reader(2) };
    assert!(matches!(after(&origin, &one).grant(&bad, Since::Now), Err(DraftError::Grant { epoch: 1, .. })));
    let large = vec![0; SCHEMA_BYTES_MAX + 1];
    assert!(matches!(after(&origin, &one).set_schema(&large), Err(DraftError::TooMany { .. })));
    let mut draft = after(&origin, &one);
    draft.set_schema(&large[1..]).unwrap();
    assert_eq!(unlocked(&draft.sign().unwrap(), 1).unwrap().schema.len(), SCHEMA_BYTES_MAX);
}

#[test]
fn succession_tells_news_from_forks() {
    let (one, hash) = (first("trusted").manifest, DocHash::from_bytes([1; 32]));
    let other = DocHash::from_bytes([2; 32]);
    let at = |seq, prev| Manifest { seq, prev, ..one.clone() };
    assert_eq!(succession(None, &at(9, Some(other)), &hash), Succession::New);
    assert_eq!(succession(Some((1, &hash)), &at(1, None), &hash), Succession::Same);
    assert_eq!(succession(Some((1, &hash)), &at(1, None), &other), Succession::Forked);
    assert_eq!(succession(Some((1, &hash)), &at(2, Some(hash)), &other), Succession::New);
    assert_eq!(succession(Some((1, &hash)), &at(2, Some(other)), &other), Succession::Forked);
    assert_eq!(succession(Some((1, &hash)), &at(3, Some(other)), &other), Succession::New);
    assert_eq!(succession(Some((3, &hash)), &at(2, Some(other)), &other), Succession::Older);
}

#[test]
fn removed_readers_lose_what_comes_and_the_origin_never_goes() {
    let origin = Identity::fixed(1);
    let one = first("trusted");
    let mut draft = after(&origin, &one);
    for number in [2, 3] {
        draft.grant(&reader(number), Since::Beginning).unwrap();
        draft.add_writer(reader(number).instance).unwrap();
    }
    let two = draft.sign().unwrap();
    let mut draft = after(&origin, &two);
    draft.remove_readers(&[reader(2).instance], &[reader(3)]).unwrap();
    let three = draft.sign().unwrap();
    assert_eq!((epochs(&three, 1), epochs(&three, 2), epochs(&three, 3)), (vec![1, 2], vec![], vec![1, 2]));
    assert_eq!(
        (&three.manifest.writers[..], &three.manifest.former[..]),
        (&[reader(3).instance][..], &[reader(2).instance][..])
    );
    assert_eq!(three.manifest.granted_since(&reader(2).instance), None);
    let mut draft = after(&origin, &three);
    draft.remove_readers(&[reader(3).instance], &[]).unwrap();
    assert_eq!(draft.sign().unwrap().manifest.readers(), [origin.id()], "the origin is left");
    for scope in [&three, &first("public")] {
        let refused = after(&origin, scope).remove_readers(&[origin.id()], &[reader(3)]);
        assert!(matches!(refused, Err(DraftError::LastReader { .. })), "{refused:?}");
    }
}

#[test]
fn a_newer_recipient_gets_the_epochs_of_the_older_and_no_more() {
    let origin = Identity::fixed(1);
    let one = first("trusted");
    let mut draft = after(&origin, &one);
    draft.new_epoch(&[]).unwrap();
    draft.grant(&reader(2), Since::Now).unwrap();
    let two = draft.sign().unwrap();
    let mut draft = after(&origin, &two);
    draft.regrant(&Reader { instance: reader(2).instance, recipient: reader(3).recipient }).unwrap();
    let three = draft.sign().unwrap();
    assert_eq!(three.manifest.granted_since(&reader(2).instance), Some(2));
    let Access::Granted(grants) = &three.manifest.epochs[1].access else { panic!("it isn't public") };
    let (_, sealed) = grants.iter().find(|(instance, _)| *instance == reader(2).instance).unwrap();
    assert!(Identity::fixed(3).open_sealed(sealed, SECRET_BYTES_MAX).is_ok());
    assert!(Identity::fixed(2).open_sealed(sealed, SECRET_BYTES_MAX).is_err());
}

/// An origin and its restored copy rotate at the same time.
#[test]
fn of_two_rotations_the_first_seen_counts_until_the_origin_has_caught_up() {
    let origin = Identity::fixed(1);
    let one = first("trusted");
    let rotated = |last: &Signed| {
        let mut draft = after(&origin, last);
        draft.new_epoch(&[]).unwrap();
        draft.sign().unwrap()
    };
    let (left, right) = (rotated(&one), rotated(&one));
    let meets = |known: &Signed, other: &Signed| {
        succession(Some((known.manifest.seq, &known.hash)), &other.manifest, &other.hash)
    };
    assert_eq!((meets(&left, &right), meets(&right, &left)), (Succession::Forked, Succession::Forked));
    assert_eq!(meets(&left, &rotated(&right)), Succession::Forked, "what builds on the other is no successor");
    // Caught up, the copy goes on from what it had published, and everybody who saw either takes that.
    let next = rotated(&left);
    assert_eq!(meets(&left, &next), Succession::New);
    let beyond = rotated(&next);
    assert_eq!(meets(&right, &beyond), Succession::New);
    assert_eq!(meets(&beyond, &right), Succession::Older);
}

fn public() -> Manifest {
    let (origin, salt) = (Identity::fixed(1).id(), [5; 16]);
    let key = Identity::fixed_age(2);
    Manifest {
        scope: scope_id(&origin, &salt),
        origin,
        salt,
        seq: 1,
        prev: None,
        public: true,
        writers: vec![],
        former: vec![],
        epochs: vec![Epoch { number: 1, recipient: key.recipient(), access: Access::Clear(AGE_SECRETS[1].to_owned()) }],
        details: codec::encode_details(&ScopeName::public(), &[7; 32], b"schema").to_vec(),
        time: NOW,
    }
}

/// Sealed parts are stand-ins: this can be read, but not unlocked.
fn sealed() -> Manifest {
    let mut grants = [1, 2, 3].map(|number| (Identity::fixed(number).id(), b"a sealed secret".to_vec()));
    grants.sort();
    let epoch = |number, secret| Epoch {
        number,
        recipient: Identity::fixed_age(secret).recipient(),
        access: Access::Granted(grants.to_vec()),
    };
    Manifest {
        seq: 7,
        prev: Some(DocHash::from_bytes([6; 32])),
        public: false,
        writers: vec![Identity::fixed(2).id()],
        former: vec![Identity::fixed(3).id()],
        epochs: vec![epoch(1, 1), epoch(3, 2)],
        details: b"sealed details".to_vec(),
        ..public()
    }
}

#[test]
fn a_manifest_has_the_time_of_its_signing() {
    let (origin, signed) = (Identity::fixed(1), first("trusted"));
    let later = UnixMillis(NOW.0 + 1);
    let next = ManifestDraft::next(&origin, &signed.manifest, signed.hash, later).unwrap();
    assert_eq!((signed.manifest.time, next.sign().unwrap().manifest.time), (NOW, later));
}

/// Grants that fill a document to its last byte, and with one byte more.
#[test]
fn a_manifest_is_as_large_as_a_document_may_be() {
    let mut manifest = sealed();
    let Access::Granted(grants) = &mut manifest.epochs[0].access else { unreachable!() };
    grants.extend((0..1030_u16).map(|number| {
        let mut id = [0; 32];
        id[..2].copy_from_slice(&number.to_be_bytes());
        (InstanceId::from_bytes(id), vec![0; 4000])
    }));
    grants.sort();
    manifest.details = vec![0; 1000];
    let room = DocKind::Manifest.payload_bytes_max() - manifest.encode().len();
    for (more, fits) in [(room, true), (room + 1, false)] {
        let mut manifest = manifest.clone();
        manifest.details.extend(vec![0; more]);
        let signed = manifest.sign(&Identity::fixed(1));
        assert_eq!(signed.is_ok(), fits);
        assert!(fits || matches!(signed, Err(Error::TooLarge { .. })));
    }
}

fn signed_anyway(payload: &[u8]) -> Vec<u8> {
    document::sign(&Identity::fixed(1), DocKind::Manifest, payload)
}

#[test]
fn vectors_hold() {
    let good = signed_anyway(&public().encode());
    let with = |change: &dyn Fn(&mut Manifest)| {
        let mut manifest = sealed();
        change(&mut manifest);
        signed_anyway(&manifest.encode())
    };
    let swapped = |from: &[u8], to: &[u8]| signed_anyway(&vectors::replaced(&sealed().encode(), from, to));
    let grants = |manifest: &mut Manifest, change: &dyn Fn(&mut Grants)| {
        let Access::Granted(grants) = &mut manifest.epochs[1].access else { unreachable!() };
        change(grants);
    };
    let many = |count: u16| -> Vec<InstanceId> {
        let id = |n: u16| [&n.to_be_bytes()[..], &[0; 30]].concat();
        (0..count).map(|n| InstanceId::from_slice(&id(n)).unwrap()).collect()
    };
    let mut altered = good.clone();
    altered[30] ^= 1;
    let payload = sealed().encode();
    let cases = [
        Case::accept("public", good.clone()),
        Case::accept("sealed-stand-ins", with(&|_| {})),
        Case::reject("truncated", good[..good.len() - 1].to_vec()),
        Case::reject("altered", altered),
        Case::reject("wrong-namespace", document::sign(&Identity::fixed(1), DocKind::Card, &payload)),
        Case::reject("other-signer", document::sign(&Identity::fixed(2), DocKind::Manifest, &payload)),
        Case::reject("other-origin", {
            let (origin, salt) = (Identity::fixed(2).id(), [5; 16]);
            with(&|m| {
                (m.origin, m.scope) = (origin, scope_id(&origin, &salt));
                m.writers.clear();
            })
        }),
        Case::reject("payload-truncated", signed_anyway(&payload[..payload.len() - 1])),
        Case::reject("payload-trailing", signed_anyway(&[&payload[..], &[0]].concat())),
        Case::reject("format-2", swapped(b"format\x01", b"format\x02")),
        Case::reject("unsorted-key", swapped(b"\x64salt", b"\x64past")),
        Case::reject("unknown-key", swapped(b"\x66former", b"\x66fourth")),
        Case::reject("long-seq", swapped(b"\x63seq\x07", b"\x63seq\x18\x07")),
        Case::reject("seq-0", with(&|m| (m.seq, m.prev) = (0, None))),
        Case::reject("seq-too-large", with(&|m| m.seq = 1 << 63)),
        Case::reject("seq-1-with-prev", with(&|m| m.seq = 1)),
        Case::reject("seq-2-without-prev", with(&|m| (m.seq, m.prev) = (2, None))),
        Case::reject("bad-scope-id", with(&|m| m.salt[0] ^= 1)),
        Case::reject("no-epoch", with(&|m| m.epochs.clear())),
        Case::reject("epoch-0", with(&|m| m.epochs[0].number = 0)),
        Case::reject("epochs-descend", with(&|m| m.epochs.swap(0, 1))),
        Case::reject("epoch-twice", with(&|m| m.epochs[1].number = 1)),
        Case::reject("epoch-recipient", with(&|m| m.epochs[1].recipient = "age1q".into())),
        Case::reject("clear-but-not-public", with(&|m| m.epochs[0].access = Access::Clear(AGE_SECRETS[0].into()))),
        Case::reject("public-but-sealed", with(&|m| m.public = true)),
        Case::reject(
            "origin-without-grant",
            with(&|m| grants(m, &|g| g.retain(|(id, _)| *id != Identity::fixed(1).id()))),
        ),
        Case::reject(
            "writer-without-grant",
            with(&|m| grants(m, &|g| g.retain(|(id, _)| *id != Identity::fixed(2).id()))),
        ),
        Case::reject("grants-unsorted", with(&|m| grants(m, &|g| g.swap(0, 1)))),
        Case::reject("grant-twice", with(&|m| grants(m, &|g| g[1] = g[0].clone()))),
        Case::reject("grant-too-large", with(&|m| grants(m, &|g| g[1].1 = vec![0; 4097]))),
        Case::reject("origin-as-writer", with(&|m| m.writers = vec![m.origin])),
        Case::reject("writer-twice", with(&|m| m.writers.push(m.writers[0]))),
        Case::reject("former-writer-writes", with(&|m| m.former = m.writers.clone())),
        Case::reject("1025-former-writers", with(&|m| m.former = many(1025))),
    ];
    vectors::run("manifest", &cases, |bytes| Manifest::open(bytes, &Identity::fixed(1).id()).map(drop));
}

/// Sealed parts differ each time they are made, so these files are only read.
#[test]
fn unlock_vectors_hold() {
    let (origin, two) = (Identity::fixed(1), first("trusted"));
    let mut draft = after(&origin, &two);
    draft.new_epoch(&[reader(2)]).unwrap();
    let good = draft.sign().unwrap().manifest;
    let own = good.epochs[0].access.readers().position(|reader| reader == origin.id()).unwrap();
    let with_grant = |sealed: Vec<u8>| {
        let mut manifest = good.clone();
        let Access::Granted(grants) = &mut manifest.epochs[0].access else { unreachable!() };
        grants[own].1 = sealed;
        signed_anyway(&manifest.encode())
    };
    let seal = |text: &str| sealing::seal_to(&[&origin.recipient()], text.as_bytes()).unwrap();
    let newest = &good.newest_epoch().recipient;
    let with_details = |details: Vec<u8>| signed_anyway(&Manifest { details, ..good.clone() }.encode());
    let details = |name: &str| {
        let details = codec::encode_details(&ScopeName::new(name).unwrap(), &[7; 32], b"schema");
        sealing::seal_to(&[newest], &details).unwrap()
    };
    let wrong_clear = |secret: &str| {
        let mut manifest = public();
        manifest.epochs[0].access = Access::Clear(secret.to_owned());
        signed_anyway(&manifest.encode())
    };
    let cases = [
        Case::accept("granted", signed_anyway(&good.encode())).decode_only(),
        Case::accept("public", signed_anyway(&public().encode())),
        Case::reject("grant-damaged", with_grant(b"age-encryption.org/v1\n".to_vec())).decode_only(),
        Case::reject("grant-to-somebody-else", with_grant(sealing::seal_to(&[&reader(2).recipient], b"x").unwrap()))
            .decode_only(),
        Case::reject("grant-of-other-epoch", with_grant(seal(AGE_SECRETS[2]))).decode_only(),
        Case::reject("grant-of-no-key", with_grant(seal("hello"))).decode_only(),
        Case::reject("grant-in-lower-case", with_grant(seal(&AGE_SECRETS[2].to_lowercase()))).decode_only(),
        Case::reject("grant-too-long", with_grant(seal(&"x".repeat(129)))).decode_only(),
        Case::reject("details-to-somebody-else", with_details(seal("hello"))).decode_only(),
        Case::reject("details-of-public", with_details(details("public"))).decode_only(),
        Case::reject("details-are-no-map", with_details(sealing::seal_to(&[newest], b"hello").unwrap())).decode_only(),
        Case::reject("public-secret-of-other-epoch", wrong_clear(AGE_SECRETS[2])),
        Case::reject("public-secret-is-none", wrong_clear("hello")),
    ];
    vectors::run("manifest-unlock", &cases, |bytes| {
        let (manifest, _) = Manifest::open(bytes, &Identity::fixed(1).id())?;
        assert!(manifest.unlock(&Identity::fixed(1))?.is_some(), "identity 1 is granted");
        Ok::<_, Error>(())
    });
}

prop_compose! {
    fn any_manifest()(
        (salt, seq, public) in (any::<[u8; 16]>(), 1u64..1 << 63, any::<bool>()),
        people in proptest::collection::btree_map(any::<[u8; 32]>(), (0u8..4, proptest::collection::vec(any::<u8>(), 0..50)), 0..6),
        numbers in proptest::collection::btree_set(1u32.., 1..4),
        details in proptest::collection::vec(any::<u8>(), 0..50),
        time in 0u64..1 << 63,
    ) -> Manifest {
        let origin = Identity::fixed(1).id();
        let mut grants: Vec<_> = people.iter().map(|(id, (_, sealed))| (InstanceId::from_bytes(*id), sealed.clone())).collect();
        grants.push((origin, b"own".to_vec()));
        grants.sort();
        let role = |wanted| people.iter().filter(move |(_, (role, _))| *role == wanted).map(|(id, _)| InstanceId::from_bytes(*id));
        let access = if public { Access::Clear(AGE_SECRETS[0].to_owned()) } else { Access::Granted(grants) };
        let epoch = |number| Epoch { number, recipient: Identity::fixed_age(1).recipient(), access: access.clone() };
        Manifest {
            scope: scope_id(&origin, &salt), origin, salt, seq, public, details,
            prev: (seq > 1).then_some(DocHash::from_bytes([1; 32])),
            writers: role(1).collect(), former: role(2).collect(),
            epochs: numbers.into_iter().map(epoch).collect(), time: UnixMillis(time),
        }
    }
}

proptest! {
    #[test]
    fn opened_is_what_was_signed(manifest in any_manifest()) {
        let origin = Identity::fixed(1);
        let bytes = manifest.sign(&origin).unwrap();
        prop_assert_eq!(Manifest::open(&bytes, &origin.id()).unwrap(), (manifest, document::hash_of(&bytes)));
    }

    #[test]
    fn a_mutated_payload_is_refused_or_canonical(manifest in any_manifest(), at: usize, byte: u8, cut: usize) {
        let mut payload = manifest.encode();
        let at = at % payload.len();
        payload[at] = byte;
        if let Ok(manifest) = Manifest::decode(&payload) {
            prop_assert_eq!(manifest.encode(), &payload[..]);
        }
        prop_assert!(Manifest::decode(&payload[..cut % payload.len()]).is_err());
    }

    #[test]
    fn any_details_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100), public: bool) {
        let _ = codec::decode_details(&bytes, public);
    }
}
