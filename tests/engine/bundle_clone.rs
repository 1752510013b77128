//! A site that is made from nothing but a bundle: whole or in parts, for anyone or sealed to its keys; and how it goes on.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use wbsync::id::name::PeerName;
use wbsync::state::peers::Trust;
use wbsync::sync::bundle::BundleOptions;
use wbsync::sync::commit::Mode;
use wbsync::sync::error::Error;
use wbsync::sync::init::{CloneOptions, CloneSummary, InitOptions};
use wbsync::sync::instance::Instance;
use wbsync::sync::peers::PeerAdd;
use wbsync::sync::progress::silent;

use super::support::app::App;
use super::world::{Site, Stick, pair};

fn all() -> BundleOptions {
    BundleOptions { all: true, ..BundleOptions::default() }
}

fn pack(site: &Site, options: &BundleOptions, dir: &Path, name: &str) -> Vec<PathBuf> {
    let instance = site.open();
    let packing = instance.bundle_pack(options, Mode::Keep).unwrap();
    let write = |part: usize| {
        let path = dir.join(format!("{name}.{}", part + 1));
        instance.bundle_write(&packing, part, &mut fs::File::create(&path).unwrap()).unwrap();
        path
    };
    (0..packing.indexes.len()).map(write).collect()
}

fn options(name: &str) -> CloneOptions {
    let name = Some(PeerName::new(name).unwrap());
    let init = InitOptions { preset: Some("whiteballoon".into()), name, ..InitOptions::default() };
    CloneOptions { init, ..CloneOptions::default() }
}

fn clone(app: &App, files: &[PathBuf]) -> Result<CloneSummary, Error> {
    Instance::clone_from_bundle(files, app.dir(), &options("gamma"), silent()).map(|(_, summary)| summary)
}

/// Alpha and beta, who have exchanged, with requests in both scopes of alpha.
fn scene() -> (TempDir, Stick, Site, Site) {
    let (stick, alpha, beta) = pair(Some(Trust::Trusted));
    let (author, other) = (alpha.app.insert_user("mara", "public"), beta.app.insert_user("jo", "public"));
    for title in ["a ladder", "a drill"] {
        let request = alpha.request(author, title, "public");
        alpha.edit(request, "description", &"long and wooden ".repeat(40));
    }
    alpha.request(author, "a key", "trusted");
    beta.request(other, "a saw", "public");
    for site in [&alpha, &beta, &alpha] {
        site.sync();
    }
    (tempfile::tempdir().unwrap(), stick, alpha, beta)
}

fn titles(app: &App) -> String {
    app.dump_columns("help_requests", &["title"])
}

#[test]
fn a_site_is_made_from_one_file_and_goes_on_in_small_steps() {
    let (dir, _stick, alpha, _beta) = scene();
    let files = pack(&alpha, &all(), dir.path(), "all");
    let gamma = Site { app: App::new(), name: "gamma" };
    let summary = clone(&gamma.app, &files).unwrap();
    assert!(summary.peers.iter().any(|(name, _)| name == "alpha"), "{:?}", summary.peers);
    assert!(titles(&gamma.app).contains("a ladder") && !titles(&gamma.app).contains("a key"));
    assert!(gamma.open().state.remotes().unwrap().is_empty(), "a file is no remote");
    gamma.app.assert_whole();

    // The way back, and what came after: no more than that.
    let card = gamma.card();
    alpha.open().peer_add(&card, &PeerAdd::default()).unwrap();
    alpha.open().follow("gamma", None).unwrap();
    let known = gamma.open().bundle_request().unwrap();
    let empty = BundleOptions { requests: vec![known], ..BundleOptions::default() };
    let packed = alpha.open().bundle_pack(&empty, Mode::Keep).unwrap();
    assert!(packed.indexes[0].entries.iter().all(|entry| !entry.path.to_string().starts_with("objects/")));
    alpha.request(1, "after the clone", "public");
    let more =
        pack(&alpha, &BundleOptions { peers: vec!["gamma".into()], ..BundleOptions::default() }, dir.path(), "more");
    let applied = gamma.open().bundle_apply(&more, Mode::Keep).unwrap();
    assert_eq!((applied.fetched.heads.len(), applied.bundle.objects), (1, 1), "{:?}", applied.bundle);
    assert!(titles(&gamma.app).contains("after the clone"));
    let user = gamma.app.insert_user("gus", "public");
    gamma.request(user, "a kettle", "public");
    let back =
        pack(&gamma, &BundleOptions { peers: vec!["alpha".into()], ..BundleOptions::default() }, dir.path(), "back");
    alpha.open().bundle_apply(&back, Mode::Keep).unwrap();
    assert!(titles(&alpha.app).contains("a kettle"));
}

#[test]
fn all_parts_make_a_site_in_any_order_and_some_make_nothing() {
    let (dir, _stick, alpha, _beta) = scene();
    let largest =
        alpha.open().bundle_pack(&all(), Mode::Keep).unwrap().indexes[0].entries.iter().map(|entry| entry.bytes).max();
    let split = BundleOptions { split: Some(largest.unwrap() + (12 << 10)), ..all() };
    let mut files = pack(&alpha, &split, dir.path(), "part");
    assert!(files.len() > 1, "{files:?}");
    let app = App::new();
    assert!(matches!(clone(&app, &files[1..]), Err(Error::Bundle(_))));
    assert!(!app.dir().join(".wbsync").exists() && !app.dir().join("wbsync.toml").exists());
    files.reverse();
    clone(&app, &files).unwrap();
    assert!(titles(&app).contains("a ladder"));
    // A damaged one makes nothing either.
    let mut bytes = fs::read(&files[0]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&files[0], bytes).unwrap();
    let other = App::new();
    assert!(matches!(clone(&other, &files), Err(Error::Bundle(_))));
    assert!(!other.dir().join(".wbsync").exists());
}

#[test]
fn a_sealed_bundle_fills_the_instance_that_it_is_sealed_to_and_no_other() {
    let (dir, _stick, alpha, beta) = scene();
    let delta = Site::new("delta");
    alpha.knows(&delta, Some(Trust::Trusted));
    let options = BundleOptions {
        peers: vec!["delta".into()],
        sealed_to: vec!["delta".into()],
        whole: true,
        ..BundleOptions::default()
    };
    let files = pack(&alpha, &options, dir.path(), "sealed");
    let stranger = App::new();
    let refused = clone(&stranger, &files).unwrap_err();
    assert!(refused.hint().unwrap().contains("wbsync init"), "{refused}");
    assert!(!stranger.dir().join(".wbsync").exists());
    let other = Site::new("other");
    assert!(matches!(clone(&other.app, &files), Err(Error::Bundle(_))));
    // Who is somebody already takes a bundle in by `bundle apply`.
    let plain = pack(&alpha, &all(), dir.path(), "plain");
    assert!(matches!(clone(&beta.app, &plain), Err(Error::AlreadyAnInstance { .. })));

    clone(&delta.app, &files).unwrap();
    assert!(titles(&delta.app).contains("a ladder") && titles(&delta.app).contains("a key"), "what is trusted too");
    assert!(matches!(clone(&delta.app, &files), Err(Error::AlreadyAnInstance { .. })), "once");
    alpha.request(1, "later", "trusted");
    let more =
        pack(&alpha, &BundleOptions { peers: vec!["delta".into()], ..BundleOptions::default() }, dir.path(), "more");
    delta.open().bundle_apply(&more, Mode::Keep).unwrap();
    assert!(titles(&delta.app).contains("later"));
}

/// Names are what people chose: two in one store may have the same, and neither keeps others from beginning there.
#[test]
fn of_two_that_call_themselves_the_same_both_are_cloned() {
    let stick = Stick::new();
    let [one, other] = ["board", "board"].map(Site::new);
    for (site, title) in [(&one, "a ladder"), (&other, "a saw")] {
        site.uses(&stick);
        let author = site.app.insert_user("mara", "public");
        site.request(author, title, "public");
        site.open().commit(Mode::Keep).unwrap();
        site.push();
    }
    let app = App::new();
    let url = stick.path();
    let (instance, _) =
        Instance::clone_from(url.to_str().unwrap(), app.dir(), &options("gamma"), app.dir(), silent()).unwrap();
    let titles = app.value("SELECT group_concat(title, ', ') FROM (SELECT title FROM help_requests ORDER BY title)");
    assert_eq!(titles, "a ladder, a saw");
    let names: Vec<String> = instance.state.peers().unwrap().into_iter().map(|peer| peer.name.to_string()).collect();
    assert!(
        names.len() == 2 && names.iter().all(|name| name.starts_with("board")) && names[0] != names[1],
        "{names:?}"
    );
}
