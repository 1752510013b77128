//! `repair` of stores, sites made from bundles, and history that isn't kept for somebody, as people see them.

use std::fs;

use crate::shown::{Pair, check, path};
use crate::support::app::App;

/// Flips a byte of some object in a store.
fn damage(store: &str) {
    let object = walkdir::WalkDir::new(store)
        .sort_by_file_name()
        .into_iter()
        .map(|entry| entry.unwrap().into_path())
        .find(|path| path.extension().is_some_and(|ending| ending == "age"));
    let object = object.unwrap();
    let mut bytes = fs::read(&object).unwrap();
    bytes[100] ^= 1;
    fs::write(&object, bytes).unwrap();
}

#[test]
fn a_store_is_mended_and_made_anew() {
    let pair = Pair::new();
    let (alpha, store) = (&pair.alpha, pair.store());
    alpha.wbsync(&["sync"]).ok();
    damage(&store);
    check!("repair_store_dry_run", alpha.wbsync(&["repair", "stick", "--dry-run"]).exits(6));
    check!("repair_store", alpha.wbsync(&["repair", "stick"]).ok());
    fs::remove_file(format!("{store}/format")).unwrap();
    check!("repair_no_store", alpha.wbsync(&["fsck", &store]).exits(1));
    check!("repair_directory", alpha.wbsync(&["repair", &store]).ok());
    check!("repair_unknown", alpha.wbsync(&["repair", "hub"]).exits(1));
    fs::rename(&store, format!("{store}-away")).unwrap();
    check!("repair_away", alpha.wbsync(&["repair", "stick"]).exits(4));
    check!("repair_recreate", alpha.wbsync(&["repair", "stick", "--recreate"]).ok());
    alpha.wbsync(&["fsck", "stick"]).ok();
}

#[test]
fn a_site_is_made_from_a_bundle() {
    let pair = Pair::new();
    let file = path(&pair.stick.path().join("all.tar"));
    pair.alpha.wbsync(&["bundle", "create", "--all", "-o", &file]).ok();
    let gamma = App::new();
    let clone = |app: &App, file: &str| app.wbsync(&["clone", file, "--preset", "whiteballoon", "--name", "gamma"]);
    check!("clone_bundle", clone(&gamma, &file).ok());
    check!("clone_bundle_used", clone(&gamma, &file).exits(1));
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    check!("clone_bundle_cut", clone(&App::new(), &file).exits(6));
    let sealed = path(&pair.stick.path().join("for-beta.tar"));
    pair.alpha.wbsync(&["bundle", "create", "--for", "beta", "--to", "beta", "-o", &sealed]).ok();
    check!("clone_bundle_sealed", clone(&App::new(), &sealed).exits(5));
}

#[test]
fn history_is_not_kept_for_somebody() {
    let pair = Pair::new();
    pair.sync();
    check!("prune_without", pair.alpha.wbsync(&["prune", "--keep-history", "0d", "--without", "beta"]).ok());
    check!(
        "prune_without_unknown",
        pair.alpha.wbsync(&["prune", "--keep-history", "90d", "--without", "carol"]).exits(1)
    );
    check!("prune_without_alone", pair.alpha.wbsync(&["prune", "--without", "beta"]).exits(2));
}
