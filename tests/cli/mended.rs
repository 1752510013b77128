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

/// Whatever happens to a file that an instance can't be opened without is told of that file, and mended by `repair`.
#[test]
fn files_of_the_instance_itself_are_written_again() {
    let pair = Pair::new();
    pair.sync();
    let alpha = &pair.alpha;
    let (card, format) = (alpha.dir().join(".wbsync/card"), alpha.dir().join(".wbsync/format"));
    let whole = fs::read(&card).unwrap();
    let mut flipped = whole.clone();
    flipped[90] ^= 1;
    let foreign = fs::read(pair.beta.dir().join(".wbsync/card")).unwrap();
    let line = alpha.wbsync(&["id"]).ok().stdout;
    for (file, bytes, told) in [
        (&card, None, ".wbsync/card is missing"),
        (&card, Some(&flipped[..]), ".wbsync/card is damaged: "),
        (&card, Some(&foreign), ".wbsync/card isn't the card of the keys that are here"),
        (&format, None, ".wbsync/format is missing"),
        (&format, Some(b"wbsync insta"), ".wbsync/format is damaged"),
    ] {
        match bytes {
            Some(bytes) => fs::write(file, bytes).unwrap(),
            None => fs::remove_file(file).unwrap(),
        }
        for command in ["status", "sync", "fsck"] {
            let run = alpha.wbsync(&[command]).exits(6);
            assert!(run.stderr.contains(told) && run.stderr.contains("hint: `wbsync repair` writes it again"), "{run}");
        }
        alpha.wbsync(&["repair", "--dry-run"]).exits(6);
        let run = alpha.wbsync(&["repair"]).ok();
        let name = file.file_name().unwrap().to_str().unwrap();
        assert!(run.stdout.starts_with(&format!("wrote the {name}")), "{run}");
        assert!(run.stdout.ends_with(": all is well\n"), "{run}");
        assert_eq!(fs::read(&card).unwrap(), whole);
    }
    alpha.insert_request(None, "after all that", "public");
    pair.sync();
    assert_eq!(alpha.wbsync(&["id"]).ok().stdout, line);
    assert!(pair.beta.dump_columns("help_requests", &["description"]).contains("after all that"));
    // A later version's instance isn't damaged.
    fs::write(&format, "wbsync instance 2\n").unwrap();
    assert!(alpha.wbsync(&["repair"]).exits(1).stderr.contains("later version"));
}

#[test]
fn a_lost_card_comes_from_a_remote_and_without_any_is_made_anew() {
    let pair = Pair::new();
    pair.sync();
    let alpha = &pair.alpha;
    let (card, own) = (alpha.dir().join(".wbsync/card"), alpha.dir().join(".wbsync/store"));
    let whole = fs::read(&card).unwrap();
    fs::remove_file(&card).unwrap();
    fs::remove_dir_all(&own).unwrap();
    let run = alpha.wbsync(&["repair"]).ok();
    assert!(run.stdout.starts_with("wrote the card of this instance again, from the copy in stick\n"), "{run}");
    assert_eq!(fs::read(&card).unwrap(), whole);
    let new = App::new();
    new.wbsync(&["init", "--preset", "whiteballoon", "--name", "gamma"]).ok();
    fs::remove_dir_all(new.dir().join(".wbsync/store")).unwrap();
    fs::write(new.dir().join(".wbsync/card"), "nothing like it").unwrap();
    check!("repair_no_card", new.wbsync(&["repair"]).exits(6));
    check!("restore_no_name", new.wbsync(&["restore", "--without-remotes"]).exits(1));
    check!("restore_no_card", new.wbsync(&["restore", "--without-remotes", "--name", "gamma"]).ok());
    assert!(new.wbsync(&["status"]).ok().stdout.starts_with("gamma "));
}

/// Rows would be given to other datasets, if the mapping names them in another order by then.
#[test]
fn bookkeeping_without_the_names_of_datasets_is_damage() {
    let pair = Pair::new();
    pair.sync();
    let alpha = &pair.alpha;
    alpha.db().execute_batch("DELETE FROM _wbsync_dataset").unwrap();
    let told = "rows are of dataset 1, whose name isn't there";
    let run = alpha.wbsync(&["fsck"]).exits(6);
    assert!(run.stdout.contains("unusable database") && run.stdout.contains(told), "{run}");
    let run = alpha.wbsync(&["sync"]).exits(6);
    assert!(run.stderr.contains(told), "{run}");
    assert_eq!(alpha.value("SELECT count(*) FROM _wbsync_dataset"), "0");
}
