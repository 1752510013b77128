//! What can't be looked at, isn't mounted or is ignored is no deletion, and nothing is written there.

use std::fs;

use wbsync::state::peers::Trust;

use super::site::{Site, pair};

/// Alpha and beta, who write each other's files, with some of alpha's that both have.
fn with_files(paths: &[&str]) -> (tempfile::TempDir, Site, Site) {
    let (stick, alpha, beta) = pair("trusted", Some(Trust::Writer));
    for path in paths {
        alpha.write(path, format!("{path} of alpha"));
    }
    for site in [&alpha, &beta, &alpha] {
        site.sync();
    }
    assert_eq!(beta.tree(), alpha.tree());
    (stick, alpha, beta)
}

fn names(site: &Site) -> Vec<String> {
    site.tree().into_keys().collect()
}

#[test]
fn what_is_ignored_later_stays_everywhere_as_it_is() {
    let (_stick, alpha, beta) = with_files(&["a", "b", "c.tmp", "d.tmp", "sub/e"]);
    beta.configure("scope = \"trusted\"", "scope = \"trusted\"\nignore = [\"*.tmp\", \"sub\"]");
    let all = ["a", "b", "c.tmp", "d.tmp", "sub/e"];
    for site in [&beta, &alpha, &beta] {
        site.sync();
        assert_eq!((names(&alpha), names(&beta)), (all.map(String::from).into(), all.map(String::from).into()));
    }
    assert_eq!(beta.waits(), [].into());
    // Neither way: what alpha does to them doesn't come, and what beta does doesn't go.
    alpha.write("c.tmp", "edited");
    alpha.write("new.tmp", "new");
    alpha.write("a", "edited");
    alpha.remove("d.tmp");
    alpha.remove("sub/e");
    beta.write("c.tmp", "of beta");
    beta.write("own.tmp", "of beta");
    beta.write("b", "of beta");
    for site in [&alpha, &beta, &alpha, &beta] {
        site.sync();
    }
    assert_eq!(names(&alpha), ["a", "b", "c.tmp", "new.tmp"]);
    assert_eq!(names(&beta), ["a", "b", "c.tmp", "d.tmp", "own.tmp", "sub/e"]);
    assert_eq!((alpha.text("c.tmp"), alpha.text("b")), ("edited".into(), "of beta".into()));
    assert_eq!((beta.text("c.tmp"), beta.text("a")), ("of beta".into(), "edited".into()));
    assert_eq!(beta.waits(), [].into());
    // Ignored no more, all is level again; what beta had edited meanwhile is beside it.
    beta.configure("\nignore = [\"*.tmp\", \"sub\"]", "");
    for site in [&beta, &alpha, &beta, &alpha] {
        site.sync();
    }
    let (aside, level): (Vec<_>, Vec<_>) = names(&beta).into_iter().partition(|name| name.contains(".sync-conflict-"));
    assert_eq!(
        (level, names(&alpha)),
        (names(&alpha), ["a", "b", "c.tmp", "new.tmp", "own.tmp"].map(String::from).into())
    );
    assert_eq!((beta.text("c.tmp"), beta.text(&aside[0])), ("edited".into(), "of beta".into()));
    assert_eq!((aside.len(), alpha.text("own.tmp")), (1, "of beta".into()));
}

#[test]
fn what_its_origin_ignores_later_stays_shared_and_is_named() {
    let (_stick, alpha, beta) = with_files(&["a", "c.tmp"]);
    alpha.configure("scope = \"trusted\"", "scope = \"trusted\"\nignore = [\"*.tmp\"]");
    alpha.write("c.tmp", "edited");
    alpha.sync();
    beta.sync();
    assert_eq!(beta.text("c.tmp"), "c.tmp of alpha");
    assert!(alpha.waits()["docs/c.tmp"].contains("ignored"), "{:?}", alpha.waits());
    // A rule takes it back.
    let rule = "scope = \"trusted\"\nrules = [{ path = \"*.tmp\", scope = \"private\" }]";
    alpha.configure("scope = \"trusted\"", rule);
    alpha.sync();
    beta.sync();
    assert_eq!((names(&alpha), names(&beta)), (vec!["a".into(), "c.tmp".into()], vec!["a".to_owned()]));
    assert_eq!(alpha.waits(), [].into());
}

/// As in a directory that may be listed and not entered: the names are seen, and of what they are nothing.
#[test]
fn what_is_listed_and_can_not_be_looked_at_is_not_gone() {
    let (_stick, alpha, beta) = with_files(&["a", "sub/deep/e", "sub/d"]);
    // The same directory at a place so deep that the operating system takes no path to what lies in it.
    let rest = 4090 - "//d".len() - beta.dir.path().as_os_str().len();
    let count = (rest - 1) / 200;
    let mut deep = beta.dir.path().to_owned();
    deep.extend(std::iter::repeat_n("x".repeat(199), count));
    deep.push("y".repeat(rest - 200 * count));
    fs::create_dir_all(&deep).unwrap();
    let deep = deep.join("d");
    fs::rename(beta.path(""), &deep).unwrap();
    let dir = deep.strip_prefix(beta.dir.path()).unwrap().to_str().unwrap();
    beta.configure("dir = \"d\"", &format!("dir = \"{dir}\""));
    beta.sync();
    let waits = beta.waits();
    alpha.sync();
    assert_eq!(names(&alpha), ["a", "sub/d", "sub/deep/e"]);
    assert!(waits.values().any(|why| why == "it can't be read"), "{waits:?}");
    // At its place again it goes on.
    fs::rename(&deep, beta.path("")).unwrap();
    beta.configure(&format!("dir = \"{dir}\""), "dir = \"d\"");
    beta.remove("sub/d");
    beta.sync();
    alpha.sync();
    assert_eq!((names(&alpha), beta.waits()), (vec!["a".into(), "sub/deep/e".into()], [].into()));
}

#[test]
fn a_directory_within_that_is_not_mounted_is_no_deletion() {
    for is_empty in [true, false] {
        let (_stick, alpha, beta) = with_files(&["a", "m/d", "m/e", "m/in/f"]);
        // What a disk leaves behind: an empty directory of this one, or what lay there before.
        fs::rename(beta.path("m"), beta.dir.path().join("disk")).unwrap();
        fs::create_dir(beta.path("m")).unwrap();
        if !is_empty {
            beta.books().execute("UPDATE ground SET device = device + 1 WHERE path LIKE 'm%'", []).unwrap();
            beta.write("m/other", "of another disk");
        }
        let before = alpha.tree();
        for site in [&beta, &alpha, &beta] {
            site.sync();
        }
        assert_eq!(alpha.tree(), before);
        assert!(beta.waits()["docs/m"].contains("not mounted"), "{:?}", beta.waits());
        // What comes for it waits, and isn't written where the disk isn't.
        alpha.write("m/d", "edited");
        alpha.write("m/new", "new");
        alpha.remove("m/e");
        alpha.sync();
        beta.sync();
        beta.sync();
        alpha.sync();
        let lies: Vec<_> = if is_empty { vec!["a"] } else { vec!["a", "m/other"] };
        assert_eq!(
            (names(&alpha), names(&beta)),
            (["a", "m/d", "m/in/f", "m/new"].map(String::from).into(), lies.iter().map(ToString::to_string).collect())
        );
        // Mounted again, it is level, and the files are still alpha's.
        fs::remove_dir_all(beta.path("m")).unwrap();
        fs::rename(beta.dir.path().join("disk"), beta.path("m")).unwrap();
        if !is_empty {
            beta.books().execute("UPDATE ground SET device = device - 1 WHERE path LIKE 'm%'", []).unwrap();
        }
        for site in [&beta, &alpha] {
            site.sync();
        }
        assert_eq!(beta.tree(), alpha.tree());
        assert_eq!((beta.text("m/d"), beta.waits()), ("edited".into(), [].into()));
        let instance = beta.open();
        let heads = instance.state.scopes_of(&instance.id()).unwrap();
        let heads = heads.iter().filter_map(|row| Some((row.id, row.local_head?)));
        let own: u64 =
            heads.map(|(scope, head)| instance.state.known_commit(&scope, &head).unwrap().commit.records()).sum();
        assert_eq!(own, 0, "beta has no files of its own");
    }
}

#[test]
fn a_directory_that_was_made_anew_is_an_edit() {
    let (_stick, alpha, beta) = with_files(&["a", "dist/1", "dist/2", "gone/x"]);
    fs::rename(beta.path("dist"), beta.dir.path().join("aside")).unwrap();
    beta.write("dist/3", "made anew");
    fs::remove_dir_all(beta.path("gone")).unwrap();
    beta.sync();
    alpha.sync();
    assert_eq!(names(&alpha), ["a", "dist/3"]);
    assert_eq!(beta.waits(), [].into());
}
