//! What must hold of an installation and a store whatever was killed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rusqlite::Connection;
use walkdir::WalkDir;
use wbsync::exchange::head::Head;
use wbsync::exchange::store::Store;
use wbsync::transport::dir::DirStore;

use crate::support::app::App;

/// Asserts that the application's database, our state and our store are whole, and that nothing is left lying about.
#[track_caller]
pub fn assert_sound(app: &App, label: &str) {
    app.assert_whole();
    let state = Connection::open(app.dir().join(".wbsync/state.db")).unwrap();
    let verdict: String = state.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(verdict, "ok", "{label}: state.db");
    assert_store(&app.dir().join(".wbsync/store"), label);
    let litter = rubbish(app.dir());
    assert!(litter.is_empty(), "{label}: left lying about: {litter:?}");
}

/// Asserts that every visible object is what its name says, and that every head has all of its objects.
#[track_caller]
pub fn assert_store(dir: &Path, label: &str) {
    for file in WalkDir::new(dir.join("objects")).into_iter().map(Result::unwrap) {
        let name = file.file_name().to_string_lossy().into_owned();
        if !file.file_type().is_file() || name.starts_with(".tmp-") {
            continue;
        }
        let hash = blake3::hash(&fs::read(file.path()).unwrap()).to_hex();
        assert_eq!(name, format!("{hash}.age"), "{label}: an object under a wrong name");
    }
    let store = DirStore::open(dir).unwrap();
    for scope in store.scopes().unwrap() {
        for signer in store.heads(&scope).unwrap() {
            let (head, _) = Head::open(&store.head(&scope, &signer).unwrap().unwrap(), &signer).unwrap();
            let objects: Vec<_> = head.objects().map(|object| (object.id, object.bytes)).collect();
            assert_eq!(store.missing(&objects).unwrap(), [], "{label}: objects that a head names");
        }
    }
}

/// Lists what no finished command leaves: temporary files, objects in part, a half-made instance.
fn rubbish(root: &Path) -> Vec<PathBuf> {
    let store = root.join(".wbsync/store");
    let mut found = vec![];
    for entry in WalkDir::new(root).into_iter().map(Result::unwrap) {
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_temporary = name.starts_with(".tmp-") || name.starts_with(".wbsync-new") || name.ends_with("-journal");
        let in_incoming = entry.path().parent().is_some_and(|parent| parent.ends_with(".wbsync/incoming"));
        // A store is used by others too: what a dead writer left there goes after a day.
        if (is_temporary && !entry.path().starts_with(&store) && entry.path() != root) || in_incoming {
            found.push(entry.into_path());
        }
    }
    found
}

/// Lists the temporary files of a store.
pub fn temporaries(store: &Path) -> Vec<PathBuf> {
    let files = WalkDir::new(store).min_depth(1).into_iter().map(|entry| entry.unwrap().into_path());
    files.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with(".tmp-")).collect()
}

/// Makes the temporary files of a store two days old.
pub fn age_temporaries(store: &Path) {
    for path in temporaries(store) {
        let past = SystemTime::now() - Duration::from_secs(2 * 24 * 3600);
        File::options().write(true).open(path).unwrap().set_modified(past).unwrap();
    }
}
