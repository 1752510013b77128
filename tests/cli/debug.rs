//! The plumbing: documents, objects, CBOR, trees and keys; and that standard tools agree with it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::shown::{Pair, check, path, skipped};
use crate::support::run::wbsync;

fn files(pair: &Pair, ending: &str) -> Vec<PathBuf> {
    let walk = walkdir::WalkDir::new(pair.store()).sort_by_file_name();
    let found = walk.into_iter().map(|entry| entry.unwrap().into_path());
    found.filter(|path| path.to_str().unwrap().contains(ending) && path.is_file()).collect()
}

#[test]
fn documents_of_every_kind() {
    let pair = Pair::new();
    pair.alpha.wbsync(&["sync"]).ok();
    let place = tempfile::tempdir().unwrap();
    let card = pair.alpha.wbsync(&["id"]).ok().stdout;
    fs::write(place.path().join("alpha.card"), &card).unwrap();
    check!("debug_doc_card", wbsync(place.path(), &["debug", "doc", "alpha.card"]).ok());
    check!("debug_doc_card_json", wbsync(place.path(), &["debug", "doc", "alpha.card", "--json"]).ok());
    for place_of in ["/manifest", "/heads/", "/instances/"] {
        let file = files(&pair, place_of).remove(0);
        let run = wbsync(place.path(), &["debug", "doc", &path(&file)]).ok();
        assert!(run.stdout.contains("signature    good"), "{run}");
        let mut bytes = fs::read(&file).unwrap();
        let middle = bytes.len() / 3;
        bytes[middle] ^= 0x20;
        fs::write(place.path().join("altered"), bytes).unwrap();
        let run = wbsync(place.path(), &["debug", "doc", "altered"]);
        assert_eq!(run.code, 6, "{run}");
    }
    fs::write(place.path().join("none"), "hello").unwrap();
    check!("debug_doc_none", wbsync(place.path(), &["debug", "doc", "none"]).exits(6));
    check!("debug_doc_missing", wbsync(place.path(), &["debug", "doc", "nothing"]).exits(1));
}

#[test]
fn ssh_keygen_verifies_what_armored_writes() {
    let pair = Pair::strangers();
    let dir = pair.alpha.dir();
    let card = pair.alpha.wbsync(&["id"]).ok().stdout;
    fs::write(dir.join("alpha.card"), &card).unwrap();
    pair.alpha.wbsync(&["debug", "doc", "alpha.card", "--armored", "out"]).ok();
    let allowed = fs::read_to_string(dir.join("out.allowed")).unwrap();
    let id = allowed.split(' ').next().unwrap();
    let verify = Command::new("ssh-keygen")
        .args(["-Y", "verify", "-f", "out.allowed", "-I", id, "-n", "card@wbsync", "-s", "out.sig"])
        .current_dir(dir)
        .stdin(fs::File::open(dir.join("out.payload")).unwrap())
        .output();
    match verify {
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => skipped(&format!("ssh-keygen can't be run: {error}")),
    }
    check!("debug_cbor", pair.alpha.wbsync(&["debug", "cbor", "out.payload"]).ok());
    check!("debug_cbor_json", pair.alpha.wbsync(&["debug", "cbor", "out.payload", "--json"]).ok());
    fs::write(dir.join("no.cbor"), [0x1c]).unwrap();
    check!("debug_cbor_none", pair.alpha.wbsync(&["debug", "cbor", "no.cbor"]).exits(6));
}

#[test]
fn objects_trees_and_keys() {
    let pair = Pair::new();
    pair.alpha.wbsync(&["sync"]).ok();
    let place = tempfile::tempdir().unwrap();
    let key = pair.alpha.wbsync(&["debug", "epoch-key", "public"]).ok();
    fs::write(place.path().join("key"), &key.stdout).unwrap();
    // Objects have random names; the public one is the one that the public key opens.
    let opens = |object: &String| wbsync(place.path(), &["debug", "object", object, "--key", "key"]).code == 0;
    let object = files(&pair, ".age").iter().map(|file| path(file)).find(opens).unwrap();
    check!("debug_object", pair.alpha.wbsync(&["debug", "object", &object]).ok());
    check!("debug_epoch_key", key);
    check!("debug_epoch_key_json", pair.alpha.wbsync(&["--json", "debug", "epoch-key", "public"]).ok());
    check!("debug_epoch_key_unknown", pair.alpha.wbsync(&["debug", "epoch-key", "everyone"]).exits(1));
    check!("debug_fork_json", pair.alpha.wbsync(&["--json", "debug", "fork"]).ok());
    check!("debug_object_key_json", wbsync(place.path(), &["--json", "debug", "object", &object, "--key", "key"]).ok());
    check!("debug_object_no_key", Pair::strangers().alpha.wbsync(&["debug", "object", &object]).exits(5));
    check!("debug_tree", pair.alpha.wbsync(&["debug", "tree", "public", "requests"]).ok());
    check!("debug_tree_json", pair.alpha.wbsync(&["debug", "tree", "public", "users", "--json"]).ok());
    check!("debug_tree_unknown", pair.alpha.wbsync(&["debug", "tree", "public", "invites"]).exits(1));
}

#[test]
fn no_other_command_prints_a_secret() {
    let pair = Pair::new();
    pair.sync();
    for args in [&["status", "--json"][..], &["id", "--json"], &["scope", "show", "trusted", "--json"], &["sync", "-v"]]
    {
        pair.alpha.wbsync(args).ok().says_nothing_of("SECRET").says_nothing_of("PRIVATE KEY");
    }
}
