//! What people do to instances with directories beside syncing: put backups back, prune, carry bundles.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use wbsync::state::peers::Trust;
use wbsync::sync::bundle::BundleOptions;
use wbsync::sync::commit::Mode;
use wbsync::sync::instance::{Instance, Purpose};
use wbsync::sync::progress::silent;
use wbsync::sync::prune::{OldRecords, PruneOptions};
use wbsync::sync::restore::RestoreOptions;
use wbsync::sys::clock;

use super::site::{Site, Tree, noise, pair};

pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target)
        } else {
            fs::copy(entry.path(), target).map(drop).unwrap()
        }
    }
}

/// Paths, with the ends of what lies there: enough to tell what went wrong.
fn shown(tree: &Tree) -> BTreeMap<String, String> {
    let end = |bytes: &[u8]| {
        let end = &bytes[bytes.len().saturating_sub(9)..];
        format!(
            "{} bytes, {} … {}",
            bytes.len(),
            blake3::hash(bytes).to_hex().split_at(8).0,
            String::from_utf8_lossy(end)
        )
    };
    tree.iter().map(|(path, (bytes, _))| (path.clone(), end(bytes))).collect()
}

/// What of alpha is put back as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Everything,
    /// The directory alone.
    Files,
    /// `.wbsync` alone.
    Own,
}

#[test]
fn a_backup_that_is_put_back_catches_up() {
    for part in [Part::Everything, Part::Files, Part::Own] {
        let (_stick, alpha, beta) = pair("trusted", Some(Trust::Writer));
        alpha.write("stays", noise(1, 90_000));
        alpha.write("edited", noise(2, 90_000));
        alpha.write("goes", "goes");
        alpha.write("moves", noise(3, 50_000));
        for site in [&alpha, &beta, &alpha] {
            site.sync();
        }
        let backup = tempfile::tempdir().unwrap();
        copy(alpha.dir.path(), backup.path());
        alpha.write("edited", [&noise(2, 90_000)[..], b"on Monday"].concat());
        alpha.remove("goes");
        fs::rename(alpha.path("moves"), alpha.path("moved")).unwrap();
        alpha.write("new", noise(4, 60_000));
        alpha.sync();
        beta.sync();
        beta.write("stays", [&noise(1, 90_000)[..], b"by beta"].concat());
        beta.write("of beta", "new at beta");
        beta.sync();
        let expected = beta.tree();
        for (dir, is_meant) in [("d", part != Part::Own), (".wbsync", part != Part::Files)] {
            if is_meant {
                fs::remove_dir_all(alpha.dir.path().join(dir)).unwrap();
                copy(&backup.path().join(dir), &alpha.dir.path().join(dir));
            }
        }
        if part != Part::Files {
            let mut instance = Instance::open(alpha.dir.path(), Purpose::Restore, silent()).unwrap();
            instance.restore(&RestoreOptions::default(), Mode::Keep).unwrap();
        }
        for site in [&alpha, &beta, &alpha, &beta] {
            site.sync();
        }
        let mut here = shown(&alpha.tree());
        if part == Part::Everything {
            // What was deleted since the backup is kept, for nobody else.
            assert!(here.remove("goes").is_some(), "{here:?}");
        }
        assert_eq!(here, shown(&beta.tree()), "{part:?}");
        assert_eq!(alpha.roots(), beta.roots(), "{part:?}");
        assert_eq!(alpha.waits(), [].into(), "{part:?}");
        match part {
            // A directory that is put back by itself is what its owner wants: it counts as edits.
            Part::Files => assert!(alpha.path("goes").exists() && !alpha.path("new").exists(), "{part:?}"),
            Part::Everything | Part::Own => assert_eq!(here, shown(&expected), "{part:?}"),
        }
        assert!(alpha.commit().scopes.is_empty(), "{part:?}");
    }
}

#[test]
fn pruning_leaves_files_alone() {
    let (_stick, alpha, beta) = pair("trusted", Some(Trust::Writer));
    alpha.write("big", noise(1, 300_000));
    alpha.write("small", "small");
    alpha.sync();
    beta.sync();
    let before = beta.tree();
    let records = Some(OldRecords { before: clock::now(), datasets: Vec::new(), from: None });
    for mode in [Mode::DryRun, Mode::Keep] {
        let options =
            PruneOptions { history_before: Some(clock::now()), records: records.clone(), ..PruneOptions::default() };
        let pruned = beta.open().prune(&options, mode).unwrap();
        assert!(pruned.rows.is_empty() && pruned.away == 0, "{mode:?}: {pruned:?}");
    }
    assert_eq!(beta.tree(), before);
    // What comes later comes as before.
    alpha.write("big", [&noise(1, 300_000)[..], b"more"].concat());
    for site in [&alpha, &beta, &alpha] {
        site.sync();
    }
    assert_eq!(beta.tree(), alpha.tree());
    assert!(beta.commit().scopes.is_empty());
    assert_eq!(beta.waits(), [].into());
}

fn bundle(site: &Site, to: &str, dir: &Path) -> Vec<PathBuf> {
    let instance = site.open();
    let packing = instance
        .bundle_pack(&BundleOptions { peers: vec![to.into()], ..BundleOptions::default() }, Mode::Keep)
        .unwrap();
    let write = |part| {
        let path = dir.join(format!("{}.{part}", site.name));
        instance.bundle_write(&packing, part, &mut fs::File::create(&path).unwrap()).unwrap();
        path
    };
    (0..packing.indexes.len()).map(write).collect()
}

#[test]
fn files_go_by_bundles() {
    let (_stick, alpha, beta) = pair("trusted", Some(Trust::Writer));
    let dir = tempfile::tempdir().unwrap();
    let carry = |from: &Site, to: &Site| {
        from.commit();
        let files = bundle(from, to.name, dir.path());
        let size: u64 = files.iter().map(|file| file.metadata().unwrap().len()).sum();
        to.open().bundle_apply(&files, Mode::Keep).unwrap();
        size
    };
    alpha.write("big", noise(1, 2 << 20));
    alpha.write("docs/small", "small");
    let first = carry(&alpha, &beta);
    assert_eq!(beta.tree(), alpha.tree());
    beta.write("big", [&noise(1, 2 << 20)[..], b"by beta"].concat());
    carry(&beta, &alpha);
    assert_eq!(beta.tree(), alpha.tree());
    fs::remove_file(alpha.path("docs/small")).unwrap();
    let last = carry(&alpha, &beta);
    assert_eq!(beta.tree(), alpha.tree());
    assert_eq!(alpha.roots(), beta.roots());
    assert!(last < first / 4, "what beta has isn't carried again: {first}, then {last} bytes");
}
