//! Two sites that begin with the same files, each in a directory of its own.

use wbsync::state::peers::Trust;

use super::site::{Site, noise, pair};

/// Files that both have before they meet; `own` is different at each.
fn begin(site: &Site) {
    site.write("same.txt", "the same");
    site.write("deep/same.bin", noise(1, 200_000));
    site.write("own.txt", format!("of {}", site.name));
    site.write(&format!("only-{}.txt", site.name), "alone");
}

fn conflicts(site: &Site) -> Vec<(String, Vec<u8>)> {
    let conflicts = site.tree().into_iter().filter(|(path, _)| path.contains(".sync-conflict-"));
    conflicts.map(|(path, (bytes, _))| (path, bytes)).collect()
}

#[test]
fn equal_files_become_one_and_different_ones_a_conflict() {
    let (_stick, alpha, beta) = pair("trusted", Some(Trust::Writer));
    begin(&alpha);
    begin(&beta);
    for site in [&alpha, &beta, &alpha, &beta] {
        site.sync();
    }
    assert_eq!(alpha.tree(), beta.tree());
    assert_eq!(alpha.roots(), beta.roots());
    assert_eq!(beta.waits(), [].into());
    assert_eq!(alpha.records()["docs"], 6, "one record for each path: {:?}", alpha.records());
    assert_eq!(beta.text("own.txt"), "of alpha", "who was there first keeps the name");
    let [(path, bytes)] = &conflicts(&alpha)[..] else { panic!("{:?}", alpha.tree().keys()) };
    assert!(path.starts_with("own.sync-conflict-") && bytes == b"of beta", "{path}");
    // From now on there is one file: whoever edits it edits everybody's.
    beta.write("same.txt", "edited by beta");
    beta.write("deep/same.bin", [&noise(1, 200_000)[..], b"more"].concat());
    beta.sync();
    alpha.sync();
    assert_eq!(alpha.text("same.txt"), "edited by beta");
    alpha.remove("deep/same.bin");
    alpha.sync();
    beta.sync();
    assert_eq!(alpha.tree(), beta.tree());
    assert_eq!(beta.records().get("docs-pieces"), None, "no piece is left behind");
    assert!(beta.commit().scopes.is_empty());
}

#[test]
fn what_others_may_have_already_stays() {
    let (_stick, alpha, beta) = pair("trusted", Some(Trust::Writer));
    begin(&alpha);
    begin(&beta);
    // Both hand out theirs before they have seen the other's.
    for site in [&alpha, &beta] {
        site.commit();
        site.open().push(&super::site::stick_name()).unwrap();
    }
    for site in [&alpha, &beta, &alpha, &beta] {
        site.sync();
    }
    assert_eq!(alpha.text("own.txt"), "of alpha");
    assert_eq!(beta.text("own.txt"), "of beta");
    assert!(conflicts(&alpha).is_empty() && conflicts(&beta).is_empty());
    for site in [&alpha, &beta] {
        let waits = site.waits();
        assert_eq!(waits.keys().collect::<Vec<_>>(), ["docs/own.txt"], "what is the same is no trouble: {waits:?}");
        assert!(waits["docs/own.txt"].contains("rename or delete"), "{waits:?}");
    }
    // Beta renames its own: both are there, everywhere.
    std::fs::rename(beta.path("own.txt"), beta.path("beta's own.txt")).unwrap();
    for site in [&beta, &alpha, &beta] {
        site.sync();
    }
    assert_eq!(beta.text("own.txt"), "of alpha");
    assert_eq!(alpha.text("beta's own.txt"), "of beta");
    assert_eq!(alpha.waits(), [].into());
    assert_eq!(alpha.tree(), beta.tree());
}

#[test]
fn nobody_gives_way_to_somebody_who_may_not_write() {
    for (ours, theirs) in [(Trust::Trusted, Trust::Writer), (Trust::Writer, Trust::Trusted)] {
        let (_stick, alpha, beta) = pair("trusted", Some(Trust::Trusted));
        alpha.open().peer_trust("beta", ours).unwrap();
        beta.open().peer_trust("alpha", theirs).unwrap();
        begin(&alpha);
        begin(&beta);
        for site in [&alpha, &beta, &alpha, &beta] {
            site.sync();
        }
        assert_eq!(beta.text("own.txt"), "of beta");
        assert!(conflicts(&beta).is_empty() && conflicts(&alpha).is_empty());
        // An edit of one's own file is one's own.
        beta.write("same.txt", "beta's");
        for site in [&beta, &alpha, &beta] {
            site.sync();
        }
        assert_eq!((alpha.text("same.txt"), beta.text("same.txt")), ("the same".into(), "beta's".into()));
    }
}

#[test]
fn a_conflict_is_not_shared_with_more_people_than_its_file() {
    let (_stick, alpha, beta) = pair("trusted", Some(Trust::Writer));
    for site in [&alpha, &beta] {
        site.configure(
            "scope = \"trusted\"",
            "scope = \"public\"\nrules = [{ path = \"own.txt\", scope = \"trusted\" }]",
        );
        begin(site);
    }
    for site in [&alpha, &beta, &alpha, &beta] {
        site.sync();
    }
    let [(path, _)] = &conflicts(&beta)[..] else { panic!("{:?}", beta.tree().keys()) };
    let scope: String =
        beta.books().query_row("SELECT scope FROM files_docs WHERE path = ?1", [path], |row| row.get(0)).unwrap();
    assert_eq!(scope, "trusted");
    assert_eq!(alpha.tree(), beta.tree());
}
