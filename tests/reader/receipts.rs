//! What receipts say is checked, and believed only as far as those signed it whom it is about; and a signer that came back from a
//! backup contradicts nobody.

use std::fs;
use std::path::PathBuf;

use wbsync::exchange::head::Head;
use wbsync::exchange::layout::StorePath;
use wbsync::exchange::receipt::{Applied, Receipt, Statement};
use wbsync::id::bytes::{CommitId, DocHash, InstanceId, ScopeId};
use wbsync::keys::document::hash_of;
use wbsync::sync::commit::Mode;
use wbsync::sync::instance::{Instance, Purpose};
use wbsync::sync::progress::silent;
use wbsync::sync::restore::RestoreOptions;
use wbsync::sys::clock::UnixMillis;

use super::run::{python_at_hand, reader, said};
use super::stores::Scene;
use super::world::{Saved, Site};

/// The public scope of an origin, and the head of a writer in it whose edit everybody has merged.
struct Place {
    scope: ScopeId,
    writer: InstanceId,
    head: PathBuf,
}

impl Place {
    fn of(scene: &Scene) -> Self {
        let [alpha, beta, ..] = &scene.sites;
        alpha.request(1, "for a writer", "public");
        alpha.sync();
        beta.pull();
        let id = beta.app.value("SELECT id FROM help_requests WHERE title = 'for a writer'").parse().unwrap();
        beta.edit(id, "description", "by a writer");
        for at in [1, 0, 1, 2, 3] {
            scene.sites[at].sync();
        }
        let alpha = scene.sites[0].open();
        let rows = alpha.state.scopes_of(&alpha.id()).unwrap();
        let scope = rows.into_iter().find(|row| row.name.as_str() == "public").unwrap().id;
        let writer = scene.sites[1].open().id();
        let head = StorePath::Head(scope, writer).under(&scene.stick.path());
        Self { scope, writer, head }
    }
}

#[test]
fn a_head_that_the_origin_removed_is_proved_by_receipts() {
    let Some(_alone) = python_at_hand() else { return };
    let scene = Scene::new(9);
    let place = Place::of(&scene);
    let shown = said(&scene.reader("verify", Some(0), &[]));
    assert!(shown.contains("its application shows the heads"), "{shown}");
    fs::remove_file(&place.head).unwrap();
    let proved = scene.reader("verify", Some(0), &[]);
    assert!(proved.status.success(), "{}", said(&proved));
    fs::remove_dir_all(scene.stick.path().join(format!("scopes/{}/receipts", place.scope))).unwrap();
    let unproved = scene.reader("verify", Some(0), &[]);
    assert_eq!(unproved.status.code(), Some(1), "{}", said(&unproved));
    assert!(said(&unproved).contains("whose own head does not show it"), "{}", said(&unproved));
}

/// Receipts that are properly signed by a reader and lie, or tell of somebody who does.
#[test]
fn receipts_prove_what_others_signed_and_nothing_more() {
    let Some(_alone) = python_at_hand() else { return };
    let scene = Scene::new(9);
    let place = Place::of(&scene);
    let (beta, delta) = (scene.sites[1].open(), scene.sites[3].open());
    let (store, good) = (scene.stick.path(), Saved::of(&scene.stick.path()));
    let document = fs::read(&place.head).unwrap();
    let (newest, hash) = Head::open(&document, &place.writer).unwrap();
    let verify = |statement: &Statement, epoch: Option<u32>| {
        let (scope, signer, body) = (place.scope, delta.id(), statement.encode());
        let receipt = Receipt { scope, signer, incarnation: 0, seq: 99, time: UnixMillis(1), epoch, body };
        let path = StorePath::Receipt(scope, signer).under(&store);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, receipt.sign(&delta.identity)).unwrap();
        let output = scene.reader("verify", None, &[]);
        good.restore(&store);
        (output.status.success(), said(&output))
    };
    let refused = |statement: &Statement, why: &str| {
        let (good, said) = verify(statement, None);
        assert!(!good && said.contains(why), "{why}: {said}");
    };
    let other = |change: &dyn Fn(&mut Head)| {
        let mut head = newest.clone();
        change(&mut head);
        head.sign(&beta.identity)
    };
    let heads = |documents: &[&Vec<u8>]| Statement {
        heads: documents.iter().map(|document| (*document).clone()).collect(),
        ..Statement::default()
    };
    let pair =
        |one: &Vec<u8>, two: &Vec<u8>| Statement { forks: vec![[one.clone(), two.clone()]], ..Statement::default() };
    let shows = |signer, hash| Statement {
        applied: vec![Applied { signer, incarnation: newest.incarnation, seq: newest.seq, hash }],
        ..Statement::default()
    };
    let second = other(&|head| head.commit = CommitId::from_bytes([1; 32]));
    let restored = other(&|head| (head.incarnation, head.writes) = (1, 0));
    let elsewhere = other(&|head| head.scope = ScopeId::from_bytes([1; 16]));

    assert!(verify(&heads(&[&document]), None).0 && verify(&shows(place.writer, hash), None).0);
    let (_, sealed) = verify(&Statement::default(), Some(1));
    assert!(sealed.contains("in clear if and only if"), "{sealed}");
    refused(&heads(&[&second]), "two histories");
    refused(&pair(&document, &second), "signed two histories");
    refused(&heads(&[&document[..document.len() - 1].to_vec()]), "ends too early");
    refused(&heads(&[&elsewhere]), "another scope");
    refused(&shows(delta.id(), hash), "a head of its own signer");
    refused(&shows(place.writer, DocHash::from_bytes([1; 32])), "names another head");
    // What an honest signer may have signed accuses nobody.
    for innocent in [&document, &restored, &elsewhere] {
        let (good, said) = verify(&pair(&document, innocent), None);
        assert!(good && said.contains("proves nothing"), "{said}");
    }
    assert!(verify(&heads(&[&restored]), None).0, "a head of a later incarnation begins anew");
    assert_eq!(hash_of(&document), hash);
}

#[test]
fn a_signer_that_came_back_from_a_backup_contradicts_nobody() {
    let Some(_alone) = python_at_hand() else { return };
    let scene = Scene::new(5);
    for at in [0, 1] {
        let site = &scene.sites[at];
        let (before, earlier) = (site.save(), Saved::of(&scene.stick.path()));
        site.request(1, "what the backup lacks", "public");
        site.sync();
        // Their receipts hand on the heads that the backup doesn't have.
        scene.sites.iter().for_each(Site::sync);
        let lost = Saved::of(&scene.stick.path());
        site.restore(&before);
        let mut instance = Instance::open(site.app.dir(), Purpose::Restore, silent()).unwrap();
        instance.restore(&RestoreOptions::default(), Mode::Keep).unwrap();
        drop(instance);
        site.request(1, "in a later incarnation", "public");
        site.sync();
        scene.check();
        let compared = reader("verify", &[earlier.path(), lost.path(), &scene.stick.path()], None, &[]);
        assert!(compared.status.success(), "{}", said(&compared));
        scene.sites.iter().for_each(Site::sync);
        scene.check();
    }
}
