//! Names and contents that a hostile instance sends: refused, visible, and nothing is touched.

use std::fs;
use std::os::unix::fs::symlink;

use rusqlite::params;
use wbsync::state::peers::Trust;

use super::site::{noise, pair};

#[test]
fn names_that_lead_elsewhere_are_refused_and_seen() {
    let (_stick, alpha, beta) = pair("trusted", Some(Trust::Trusted));
    let outside = tempfile::tempdir().unwrap();
    let absolute = outside.path().join("x").to_str().unwrap().to_owned();
    // What lies beside our directory isn't ours: a name that nobody else has.
    let x = outside.path().file_name().unwrap().to_str().unwrap().replace('.', "x");
    let (two_up, one_up, down_and_up) = (format!("../../{x}"), format!("../{x}"), format!("a/../../{x}"));
    let paths = [
        &two_up,
        &one_up,
        &down_and_up,
        &absolute,
        ".wbsync/keys/x",
        ".git/hooks/pre-commit",
        ".GIT/config",
        "a//b",
        "./a",
        "wbsync.toml",
        ".env",
        "way/x",
        "dir",
        "loop",
    ];
    for path in paths {
        let sql =
            "INSERT INTO files_docs(path, scope, ruled, executable, content) VALUES(?1, 'trusted', 'trusted', 1, ?2)";
        // A record of a few bytes: the CBOR of "evil".
        alpha.books().execute(sql, params![path, b"\x44evil"]).unwrap();
    }
    alpha.write("good", "good");
    // On the other side a directory on the way is a link, and so is a file's own name.
    symlink(outside.path(), beta.path("way")).unwrap();
    symlink(outside.path().join("loop"), beta.path("loop")).unwrap();
    fs::create_dir(beta.path("dir")).unwrap();
    alpha.sync();
    beta.sync();
    assert_eq!(beta.tree().keys().collect::<Vec<_>>(), ["good"]);
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    assert!(!beta.dir.path().join(&x).exists() && !beta.dir.path().parent().unwrap().join(&x).exists());
    assert!(!beta.dir.path().join(".wbsync/keys/x").exists());
    let waits = beta.waits();
    for path in paths {
        assert!(waits.contains_key(&format!("docs/{path}")), "{path} is not in {waits:?}");
    }
    // What stands in the way goes, and what can be written is.
    fs::remove_file(beta.path("way")).unwrap();
    fs::remove_dir(beta.path("dir")).unwrap();
    fs::remove_file(beta.path("loop")).unwrap();
    beta.sync();
    assert_eq!(beta.tree().keys().collect::<Vec<_>>(), ["dir", "good", "loop", "way/x"]);
}

#[test]
fn a_file_that_is_here_is_never_written_over_because_a_name_is_equal() {
    let (_stick, alpha, beta) = pair("trusted", Some(Trust::Trusted));
    alpha.write("same", "alpha's");
    alpha.write("Case", "alpha's");
    alpha.write("caf\u{e9}", "alpha's");
    beta.write("same", "beta's");
    beta.write("case", "beta's");
    beta.write("cafe\u{301}", "beta's");
    alpha.sync();
    beta.sync();
    alpha.sync();
    for (site, name) in [(&alpha, "alpha's"), (&beta, "beta's")] {
        assert_eq!(site.tree().len(), 3);
        assert!(site.tree().values().all(|(bytes, _)| bytes == name.as_bytes()));
        assert_eq!(site.waits().len(), 3, "{:?}", site.waits());
    }
    // Once the name is free, the other's file comes.
    beta.remove("same");
    beta.remove("case");
    beta.remove("cafe\u{301}");
    beta.sync();
    assert_eq!(beta.tree(), alpha.tree());
    assert_eq!(beta.waits(), [].into());
}

#[test]
fn links_pipes_and_odd_names_stay_home_and_are_seen() {
    let (_stick, alpha, beta) = pair("public", None);
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "zqcanary").unwrap();
    symlink(outside.path().join("secret"), alpha.path("link")).unwrap();
    symlink(outside.path(), alpha.path("dir")).unwrap();
    alpha.write("back\\slash", "x");
    alpha.write(".env", "PASSWORD=zqcanary");
    alpha.write("good", "good");
    alpha.sync();
    beta.sync();
    assert_eq!(beta.tree().keys().collect::<Vec<_>>(), ["good"]);
    let waits = alpha.waits();
    assert_eq!(waits.keys().collect::<Vec<_>>(), ["docs/back\\slash", "docs/dir", "docs/link"], "{waits:?}");
}

#[test]
fn a_content_that_is_none_waits() {
    let (_stick, alpha, beta) = pair("trusted", Some(Trust::Trusted));
    let mut lie = vec![0x82, 4, 0x81, 0x83, 6, 0x58, 32];
    lie.extend([9; 32]);
    lie.extend([0x19, 0x40, 0x00]);
    for (path, content) in [("nowhere", lie), ("text", b"\x64text".to_vec()), ("garbage", b"\xff\xff".to_vec())] {
        let sql =
            "INSERT INTO files_docs(path, scope, ruled, executable, content) VALUES(?1, 'trusted', 'trusted', 0, ?2)";
        alpha.books().execute(sql, params![path, content]).unwrap();
    }
    alpha.write("good", noise(1, 40_000));
    alpha.sync();
    beta.sync();
    assert_eq!(beta.tree().keys().collect::<Vec<_>>(), ["good"]);
    let waits = beta.waits();
    assert_eq!(waits.len(), 3, "{waits:?}");
}

/// A rule and a name may be composed differently and look the same; and what tools keep secrets in is no file to share.
#[test]
fn what_is_to_stay_home_stays_however_its_name_is_spelled() {
    let (_stick, alpha, beta) = pair("public", None);
    alpha.configure(
        "scope = \"public\"",
        "scope = \"public\"\nrules = [{ path = \"priv\u{e9}/**\", scope = \"private\" }]",
    );
    let text = fs::read_to_string(alpha.dir.path().join("wbsync.toml")).unwrap();
    let mapping = "[dataset.notes]\ntable = \"notes\"\nkey = \"id\"\nscope = { constant = \"private\" }\nfields.body = { type = \"text\" }\n";
    let text = format!("database = \"sqlite:///d/app.db\"\n{text}\n{mapping}");
    fs::write(alpha.dir.path().join("wbsync.toml"), text).unwrap();
    alpha.write("prive\u{301}/a", "decomposed");
    alpha.write("priv\u{e9}s", "another name");
    for secret in [".env.local", ".ssh/id_ed25519", "sub/.htpasswd"] {
        alpha.write(secret, "secret");
    }
    let database = rusqlite::Connection::open(alpha.path("app.db")).unwrap();
    database.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE notes(id INTEGER PRIMARY KEY, body TEXT)").unwrap();
    assert!(alpha.path("app.db-wal").exists());
    alpha.sync();
    beta.sync();
    let names: Vec<String> = beta.tree().into_keys().collect();
    assert_eq!(names, ["priv\u{e9}s"]);
    drop(database);
}
