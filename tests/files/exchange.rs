//! Files go from one directory to another, and what happens to them there follows.

use std::fs;

use wbsync::state::peers::Trust;
use wbsync::sync::commit::Mode;

use super::site::{Site, bytes_under, noise, pair};

#[test]
fn a_directory_comes_to_be_what_the_other_is() {
    let (_stick, alpha, beta) = pair("trusted", Some(Trust::Trusted));
    alpha.write("a.txt", "hello\n");
    alpha.write("empty", "");
    alpha.write("sub/deep/große Datei.bin", noise(1, 700_000));
    alpha.write("run.sh", "#!/bin/sh\n");
    alpha.set_executable("run.sh");
    alpha.sync();
    beta.sync();
    assert_eq!(alpha.tree().len(), 4);
    assert_eq!(beta.tree(), alpha.tree());
    assert_eq!(beta.waits(), [].into());

    // Edited, renamed, removed, made executable and not, turned from file to directory and back.
    let renamed = beta.records();
    alpha.write("a.txt", "hello again\n");
    fs::rename(alpha.path("sub/deep/große Datei.bin"), alpha.path("moved.bin")).unwrap();
    fs::remove_dir_all(alpha.path("sub")).unwrap();
    alpha.remove("empty");
    alpha.write("empty/now/a/directory", "yes");
    alpha.set_executable("a.txt");
    alpha.sync();
    beta.sync();
    assert_eq!(beta.tree(), alpha.tree());
    assert!(!beta.path("sub").exists(), "directories that became empty are gone");
    assert_eq!(beta.records()["docs-pieces"], renamed["docs-pieces"], "a file that was renamed has the same pieces");
    assert_eq!(alpha.roots(), beta.roots());

    // Nothing changed: nothing is committed on either side, and nothing is kept for files that are written.
    assert!(alpha.commit().scopes.is_empty());
    assert!(beta.commit().scopes.is_empty());
    let staged: i64 = beta.books().query_row("SELECT count(*) FROM staged", [], |row| row.get(0)).unwrap();
    assert_eq!(staged, 0);

    fs::remove_dir_all(alpha.path("empty")).unwrap();
    alpha.remove("moved.bin");
    alpha.sync();
    beta.sync();
    assert_eq!(beta.tree(), alpha.tree());
    assert_eq!(beta.records().get("docs-pieces"), None, "pieces go with the last file that has them");
}

#[test]
fn a_renamed_file_is_the_same_record() {
    let (_stick, alpha, beta) = pair("trusted", Some(Trust::Trusted));
    alpha.write("one", noise(1, 100_000));
    alpha.sync();
    let record = |site: &Site| -> Vec<u8> {
        site.books().query_row("SELECT record FROM _wbsync_map", [], |row| row.get(0)).unwrap()
    };
    let before = record(&alpha);
    fs::create_dir(alpha.path("x")).unwrap();
    fs::rename(alpha.path("one"), alpha.path("x/two")).unwrap();
    alpha.sync();
    beta.sync();
    assert_eq!(record(&alpha), before);
    assert_eq!(record(&beta), before);
    assert_eq!(beta.tree(), alpha.tree());
}

#[test]
fn files_that_change_names_with_each_other_arrive() {
    let (_stick, alpha, beta) = pair("trusted", Some(Trust::Trusted));
    alpha.write("a", noise(1, 100_000));
    alpha.write("b", noise(2, 100_000));
    alpha.sync();
    beta.sync();
    // Not as a rename is seen on the disk, but as records that change: each has the other's name.
    alpha.books().execute("UPDATE files_docs SET path = CASE path WHEN 'a' THEN 'b' ELSE 'a' END", []).unwrap();
    alpha.sync();
    beta.sync();
    assert_eq!(alpha.read("a"), noise(2, 100_000));
    assert_eq!(beta.tree(), alpha.tree());
    assert_eq!(beta.waits(), [].into());
}

#[test]
fn what_is_inserted_moves_and_not_the_file() {
    let (stick, alpha, beta) = pair("trusted", Some(Trust::Trusted));
    let bytes = noise(7, 5 << 20);
    alpha.write("big", &bytes);
    alpha.sync();
    beta.sync();
    let before = bytes_under(stick.path());
    assert!(before > 5 << 20);
    alpha.write("big", [b"x", &bytes[..]].concat());
    alpha.sync();
    let inserted = bytes_under(stick.path()) - before;
    println!("a byte in front of 5 MiB added {inserted} bytes to the store");
    assert!(inserted < 600_000, "{inserted}");
    let before = bytes_under(stick.path());
    alpha.write("copies/of/big", [b"x", &bytes[..]].concat());
    alpha.sync();
    let copied = bytes_under(stick.path()) - before;
    println!("a copy of it added {copied} bytes");
    assert!(copied < 20_000, "{copied}");
    beta.sync();
    assert_eq!(beta.tree(), alpha.tree());
}

#[test]
fn a_writer_changes_files_of_the_other() {
    let (_stick, alpha, beta) = pair("trusted", Some(Trust::Writer));
    let bytes = noise(3, 400_000);
    alpha.write("big", &bytes);
    alpha.write("small", "one");
    alpha.sync();
    beta.sync();
    beta.write("big", [&bytes[..], b"and more"].concat());
    beta.write("small", "two");
    beta.sync();
    alpha.sync();
    beta.sync();
    assert_eq!(alpha.read("small"), b"two");
    assert_eq!(alpha.tree(), beta.tree());
    assert_eq!(alpha.roots(), beta.roots());
    assert_eq!(alpha.waits(), [].into());
    alpha.remove("big");
    alpha.sync();
    beta.sync();
    assert_eq!(alpha.tree(), beta.tree());
    assert_eq!(beta.records().get("docs-pieces"), None, "also those that the writer added");
}

#[test]
fn what_is_private_never_leaves() {
    let (stick, alpha, beta) = pair("private", Some(Trust::Trusted));
    alpha.configure("# rules = ", "rules = ");
    let secret = noise(11, 300_000);
    alpha.write("secret-name.bin", &secret);
    alpha.write("secret.txt", "zqcanary");
    alpha.write("open/a.txt", "for all");
    alpha.write("open/b.bin", [&noise(12, 200_000)[..], b"zqopen"].concat());
    let summary = alpha.commit();
    assert_eq!(summary.private.values().sum::<u64>(), 2);
    alpha.sync();
    beta.sync();
    assert_eq!(beta.tree().keys().collect::<Vec<_>>(), ["open/a.txt", "open/b.bin"]);
    assert_eq!(beta.read("open/b.bin"), alpha.read("open/b.bin"));
    // Everything of the state and of what followers hold is searched: a name, a text, a piece from the middle.
    let found = |dir: &std::path::Path, word: &[u8]| {
        let files = walkdir::WalkDir::new(dir).into_iter().map(Result::unwrap);
        let mut files = files.filter(|entry| entry.file_type().is_file());
        files.any(|entry| fs::read(entry.path()).unwrap().windows(word.len()).any(|window| window == word))
    };
    let state = alpha.dir.path().join(".wbsync/state.db");
    assert!(found(&state, b"zqopen"), "the search finds what is there");
    for word in [&b"secret-name"[..], b"zqcanary", &secret[150_000..150_032]] {
        assert!(!found(&state, word) && !found(stick.path(), word) && !found(&beta.dir.path().join(".wbsync"), word));
    }

    // Shared later, it goes; made private again, it is taken back with its pieces.
    alpha.configure("scope = \"private\"", "scope = \"trusted\"");
    alpha.sync();
    beta.sync();
    assert_eq!(beta.tree(), alpha.tree());
    alpha.configure("scope = \"trusted\"", "scope = \"private\"");
    alpha.sync();
    beta.sync();
    assert_eq!(beta.tree().keys().collect::<Vec<_>>(), ["open/a.txt", "open/b.bin"]);
    assert_eq!(alpha.tree().len(), 4, "here they stay");
    let pieces = beta.records()["docs-pieces"];
    assert!(pieces < 8, "{pieces} pieces of the public file are left");
}

#[test]
fn looking_changes_nothing() {
    let (_stick, alpha, beta) = pair("trusted", Some(Trust::Trusted));
    alpha.write("a", noise(1, 50_000));
    let seen = alpha.open().commit(Mode::DryRun).unwrap();
    assert!(seen.scopes.values().map(|scope| scope.put).sum::<u64>() >= 2, "{seen:?}");
    let rows: i64 = alpha.books().query_row("SELECT count(*) FROM files_docs", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 0);
    alpha.sync();
    assert!(alpha.open().commit(Mode::DryRun).unwrap().scopes.is_empty());
    beta.sync();
    alpha.remove("a");
    alpha.sync();
    let _ = beta.open().apply(Mode::DryRun).unwrap();
    assert!(beta.path("a").exists());
}

#[test]
fn a_disk_that_is_not_there_is_no_deletion() {
    let (_stick, alpha, beta) = pair("trusted", Some(Trust::Trusted));
    alpha.write("a", "one");
    alpha.sync();
    fs::rename(alpha.path(""), alpha.dir.path().join("elsewhere")).unwrap();
    assert!(alpha.open().commit(Mode::Keep).is_err());
    fs::create_dir(alpha.path("")).unwrap();
    let error = alpha.open().commit(Mode::Keep).unwrap_err();
    let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    assert!(format!("{error}: {cause}").contains("mounted"), "{error}: {cause}");
    // Nor does anything get written there that would make it look like the directory.
    beta.sync();
    beta.write("b", "two");
    beta.sync();
    let _ = alpha.open().fetch(&super::site::stick_name()).unwrap();
    alpha.open().merge().unwrap();
    assert!(alpha.open().apply(Mode::Keep).is_err());
    assert!(alpha.open().commit(Mode::Keep).is_err());
    assert_eq!(fs::read_dir(alpha.path("")).unwrap().count(), 0);
    fs::write(alpha.path("notes"), "somebody's own").unwrap();
    assert!(alpha.open().commit(Mode::Keep).is_err());
    fs::remove_dir_all(alpha.path("")).unwrap();
    fs::rename(alpha.dir.path().join("elsewhere"), alpha.path("")).unwrap();
    alpha.sync();
    beta.sync();
    assert_eq!((alpha.tree().len(), beta.tree().len()), (2, 2));
}

/// A directory that was copied to another disk is the same one.
#[test]
fn a_directory_may_move_with_its_files() {
    let (_stick, alpha, beta) = pair("trusted", Some(Trust::Trusted));
    alpha.write("a", "one");
    alpha.write("b", "two");
    alpha.sync();
    beta.sync();
    fs::remove_dir_all(alpha.path("")).unwrap();
    fs::create_dir(alpha.path("")).unwrap();
    alpha.write("b", "two");
    alpha.sync();
    beta.sync();
    assert_eq!(beta.tree().len(), 1, "what was left behind is deleted");
    fs::remove_file(alpha.path("b")).unwrap();
    alpha.sync();
    beta.sync();
    assert_eq!(beta.tree().len(), 0);
}

#[test]
fn whoever_waits_is_told_of_a_change_and_not_of_what_was_written_by_us() {
    use std::time::Duration;
    let (_stick, alpha, beta) = pair("trusted", Some(Trust::Trusted));
    let waits = |instance: &wbsync::sync::instance::Instance| {
        instance.with_database(|database| Ok(database.wait_for_change(Duration::ZERO)?)).unwrap()
    };
    let instance = beta.open();
    assert!(waits(&instance), "before a first capture it does not wait");
    instance.commit(Mode::Keep).unwrap();
    assert!(!waits(&instance));
    alpha.write("a", "from alpha");
    alpha.sync();
    instance.fetch(&super::site::stick_name()).unwrap();
    instance.commit(Mode::Keep).unwrap();
    instance.merge().unwrap();
    instance.apply(Mode::Keep).unwrap();
    assert_eq!(beta.read("a"), b"from alpha");
    assert!(!waits(&instance));
    beta.write("b/c", "here");
    assert!(waits(&instance));
    assert!(!waits(&instance));
    instance.commit(Mode::Keep).unwrap();
    assert!(!waits(&instance));
    beta.remove("b/c");
    assert!(waits(&instance));
}
