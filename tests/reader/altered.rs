//! Whatever is altered, cut short, removed or put in another's place is noticed, whoever looks.
//!
//! Each case is a copy of one good store, and one run of the reader judges them all: most of the time of a run of its own would
//! go into starting it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::run::{python_at_hand, reader, said};
use super::stores::Scene;
use super::world::{copy_tree, files_under};

/// Copies of a store with one thing wrong in each.
struct Cases {
    good: PathBuf,
    dir: TempDir,
    wrong: BTreeMap<PathBuf, String>,
}

impl Cases {
    fn of(good: PathBuf) -> Self {
        Self { good, dir: tempfile::tempdir().unwrap(), wrong: BTreeMap::new() }
    }

    fn add(&mut self, what: String, spoil: impl FnOnce(&Path)) {
        let copy = self.dir.path().join(self.wrong.len().to_string());
        copy_tree(&self.good, &copy);
        spoil(&copy);
        self.wrong.insert(copy, what);
    }

    /// Has all judged, with a key or none, and the good store last: it alone is without problems.
    fn all_fail(&self, key: Option<&Path>) {
        let mut stores: Vec<&Path> = self.wrong.keys().map(PathBuf::as_path).collect();
        stores.push(&self.good);
        let output = reader("verify", &stores, key, &["--apart"]);
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(output.stderr.is_empty(), "the reader itself failed: {}", said(&output));
        let lines = String::from_utf8(output.stdout).unwrap();
        let judged: BTreeMap<&Path, bool> = lines
            .lines()
            .filter(|line| !line.starts_with("BAD") && !line.starts_with("note"))
            .map(|line| (Path::new(line.split_once(": ").unwrap().0), line.ends_with(", 0 problems")))
            .collect();
        assert_eq!(judged.len(), stores.len(), "each is judged");
        for (store, what) in &self.wrong {
            assert!(!judged[store.as_path()], "{what}: not noticed with {key:?}");
        }
        assert!(judged[self.good.as_path()], "what nobody altered is good: {lines}");
    }
}

#[test]
fn whatever_is_altered_is_noticed() {
    let Some(_alone) = python_at_hand() else { return };
    let mut scene = Scene::new(3);
    let store = scene.stick.path();
    let files: Vec<String> = files_under(&store).into_iter().filter(|file| file != "lock").collect();
    let key = scene.sites[0].app.dir().join(".wbsync/keys/age.key");
    let (mut with_key, mut without) = (Cases::of(store.clone()), Cases::of(store.clone()));
    for file in &files {
        let bytes = fs::read(store.join(file)).unwrap();
        let length = bytes.len() as u64;
        for at in [0, length / 2, scene.random.below(length), length - 1] {
            let mut altered = bytes.clone();
            altered[at as usize] ^= 1 << scene.random.below(8);
            let cases = if at % 2 == 0 { &mut with_key } else { &mut without };
            let what = format!("{file} with byte {at} of {length} altered");
            cases.add(what, |copy| fs::write(copy.join(file), altered).unwrap());
        }
        without.add(format!("{file} cut short"), |copy| {
            fs::write(copy.join(file), &bytes[..bytes.len() - 1]).unwrap();
        });
        if file.starts_with("objects/") || file.ends_with("/manifest") {
            without.add(format!("{file} removed"), |copy| fs::remove_file(copy.join(file)).unwrap());
        }
    }
    // A good document in another's place.
    for kind in ["objects/", "instances/", "/heads/", "/manifest", "/receipts/"] {
        let places: Vec<&String> = files.iter().filter(|file| file.contains(kind)).collect();
        without.add(format!("{} as {}", places[0], places[1]), |copy| {
            fs::copy(copy.join(places[0]), copy.join(places[1])).unwrap();
        });
    }
    with_key.all_fail(Some(&key));
    without.all_fail(None);
}
