//! Bookkeeping of files, or all of `.wbsync`, that is older than the files, or gone: after a restore files are the records that they were, and
//! what was marked by hand stays as it was marked.

use std::fs;

use wbsync::connector::contract::Rows;
use wbsync::id::name::DatasetName;
use wbsync::state::peers::Trust;
use wbsync::sync::commit::Mode;
use wbsync::sync::instance::{Instance, Purpose};
use wbsync::sync::progress::silent;
use wbsync::sync::restore::RestoreOptions;

use super::around::copy;
use super::site::{Site, noise, pair};

fn restore(site: &Site) {
    let mut instance = Instance::open(site.dir.path(), Purpose::Restore, silent()).unwrap();
    instance.restore(&RestoreOptions::default(), Mode::Keep).unwrap();
}

fn lose_books(site: &Site) {
    for suffix in ["", "-wal", "-shm"] {
        fs::remove_file(site.dir.path().join(format!(".wbsync/files.db{suffix}"))).ok();
    }
}

fn exchange(sites: [&Site; 2]) {
    for _ in 0..2 {
        sites.iter().for_each(|site| site.sync());
    }
}

fn mark(site: &Site, path: &str, audience: &str) {
    let rows = Rows::Where(DatasetName::new("docs").unwrap(), format!("path = '{path}'"));
    assert_eq!(site.open().mark_rows(&rows, audience, Mode::Keep).unwrap().rows.len(), 1);
}

#[test]
fn files_are_the_records_again_that_hold_their_paths() {
    for case in ["old state", "old bookkeeping", "no bookkeeping"] {
        let (_stick, alpha, beta) = pair("public", Some(Trust::Writer));
        alpha.write("a", "a-1");
        alpha.write("b", "b-1");
        alpha.write("c", noise(1, 90_000));
        beta.write("of beta", "beta-1");
        exchange([&alpha, &beta]);
        let backup = tempfile::tempdir().unwrap();
        copy(&alpha.dir.path().join(".wbsync"), backup.path());
        alpha.write("a", "a-2");
        alpha.remove("b");
        alpha.write("d", "d-1");
        alpha.set_executable("d");
        exchange([&alpha, &beta]);
        beta.write("of beta", "beta-2");
        exchange([&beta, &alpha]);
        match case {
            "old state" => {
                fs::remove_dir_all(alpha.dir.path().join(".wbsync")).unwrap();
                copy(backup.path(), &alpha.dir.path().join(".wbsync"));
            }
            "old bookkeeping" => {
                lose_books(&alpha);
                fs::copy(backup.path().join("files.db"), alpha.dir.path().join(".wbsync/files.db")).unwrap();
            }
            _ => lose_books(&alpha),
        }
        restore(&alpha);
        exchange([&alpha, &beta]);
        assert_eq!(alpha.records()["docs"], 4, "{case}: {:?}", alpha.tree().keys());
        assert_eq!((beta.text("a"), beta.text("of beta")), ("a-2".into(), "beta-2".into()), "{case}");
        assert_eq!((alpha.waits(), beta.waits()), ([].into(), [].into()), "{case}");
        alpha.write("a", "a-3");
        alpha.write("d", "d-3");
        alpha.remove("c");
        beta.write("of beta", "beta-3");
        exchange([&alpha, &beta]);
        assert_eq!(alpha.tree(), beta.tree(), "{case}");
        assert_eq!((alpha.text("d"), alpha.text("of beta")), ("d-3".into(), "beta-3".into()), "{case}");
        assert!(!beta.path("c").exists(), "{case}");
        assert_eq!(alpha.roots(), beta.roots(), "{case}");
    }
}

#[test]
fn a_file_that_was_edited_before_the_restore_is_its_record_all_the_same() {
    for trust in [None, Some(Trust::Writer)] {
        let (_stick, alpha, beta) = pair("public", trust);
        alpha.write("a", "a-1");
        exchange([&alpha, &beta]);
        lose_books(&alpha);
        alpha.write("a", "a-2");
        restore(&alpha);
        exchange([&alpha, &beta]);
        assert_eq!(alpha.tree().len(), 1, "{trust:?}");
        assert_eq!((alpha.waits(), beta.waits()), ([].into(), [].into()), "{trust:?}");
        alpha.write("a", "a-3");
        exchange([&alpha, &beta]);
        assert_eq!((beta.text("a"), beta.tree()), ("a-3".into(), alpha.tree()), "{trust:?}");
    }
}

#[test]
fn what_the_rules_keep_home_does_not_get_into_anothers_file_of_its_path() {
    let (_stick, alpha, beta) = pair("public", Some(Trust::Writer));
    alpha.configure("scope = \"public\"", "scope = \"private\"");
    beta.write("f", "beta's");
    exchange([&beta, &alpha]);
    assert_eq!(alpha.text("f"), "beta's");
    lose_books(&alpha);
    alpha.write("f", "for nobody");
    restore(&alpha);
    exchange([&alpha, &beta]);
    assert_eq!((alpha.text("f"), beta.text("f")), ("for nobody".into(), "beta's".into()));
    // As it was it is beta's again.
    lose_books(&alpha);
    alpha.write("f", "beta's");
    restore(&alpha);
    beta.write("f", "beta's, later");
    exchange([&beta, &alpha]);
    assert_eq!(alpha.text("f"), "beta's, later");
}

#[test]
fn files_that_were_marked_by_hand_stay_as_they_were_marked() {
    let (_stick, alpha, beta) = pair("public", Some(Trust::Writer));
    for name in ["kept", "moved", "shared", "late"] {
        alpha.write(name, name);
    }
    alpha.commit();
    mark(&alpha, "kept", "private");
    mark(&alpha, "moved", "private");
    exchange([&alpha, &beta]);
    fs::rename(alpha.path("moved"), alpha.path("moved on")).unwrap();
    exchange([&alpha, &beta]);
    // Nobody has taken it back yet.
    mark(&alpha, "late", "private");
    for round in 0..2 {
        lose_books(&alpha);
        restore(&alpha);
        exchange([&alpha, &beta]);
        assert_eq!(beta.tree().into_keys().collect::<Vec<_>>(), ["shared"], "{round}");
    }
    assert_eq!(alpha.tree().len(), 4);
    // And what is said then holds as well.
    mark(&alpha, "kept", "public");
    exchange([&alpha, &beta]);
    lose_books(&alpha);
    restore(&alpha);
    exchange([&alpha, &beta]);
    assert_eq!(beta.tree().into_keys().collect::<Vec<_>>(), ["kept", "shared"]);
}
