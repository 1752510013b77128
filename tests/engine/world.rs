//! Instances side by side on one machine, sharing a store on "a stick".

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use wbsync::changeset::seal;
use wbsync::id::name::{PeerName, ScopeName};
use wbsync::keys::card::SignedCard;
use wbsync::record::cell::Record;
use wbsync::record::codec;
use wbsync::state::peers::Trust;
use wbsync::sync::error::Error;
use wbsync::sync::init::{CloneOptions, InitOptions};
use wbsync::sync::instance::{Instance, Purpose};
use wbsync::sync::peers::PeerAdd;
use wbsync::sync::progress::silent;
use wbsync::sync::push::PushSummary;
use wbsync::sync::round::PullSummary;
use wbsync::tree::scan::scan;

use super::support::app::{App, Request};

/// A stick and who uses it.
pub struct Stick {
    dir: TempDir,
}

/// An application with wbsync beside it.
pub struct Site {
    pub app: App,
    pub name: &'static str,
}

impl Stick {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("wb")
    }

    /// Lists its files by their path in it.
    pub fn files(&self) -> Vec<String> {
        files_under(&self.path())
    }
}

/// A directory as it was once.
pub struct Saved {
    dir: TempDir,
}

impl Saved {
    pub fn of(dir: &Path) -> Self {
        let saved = Self { dir: tempfile::tempdir().unwrap() };
        copy_tree(dir, saved.dir.path());
        saved
    }

    /// Makes the directory as it was.
    pub fn restore(&self, dir: &Path) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.is_symlink() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) }
                .unwrap();
        }
        copy_tree(self.dir.path(), dir);
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

pub fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        let kind = entry.file_type().unwrap();
        #[cfg(unix)]
        if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(entry.path()).unwrap(), &target).unwrap();
            continue;
        }
        if kind.is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).unwrap();
        }
    }
}

/// Lists the files under a directory by their path in it, ascending.
pub fn files_under(dir: &Path) -> Vec<String> {
    let files = walkdir::WalkDir::new(dir).into_iter().map(Result::unwrap).filter(|entry| !entry.file_type().is_dir());
    let mut files: Vec<String> =
        files.map(|entry| entry.path().strip_prefix(dir).unwrap().to_str().unwrap().to_owned()).collect();
    files.sort();
    files
}

impl Site {
    /// Makes an instance beside a fresh application with an administrator.
    pub fn new(name: &'static str) -> Self {
        Self::of(App::new(), name)
    }

    pub fn of(app: App, name: &'static str) -> Self {
        let options = InitOptions {
            preset: Some("whiteballoon".into()),
            name: Some(PeerName::new(name).unwrap()),
            ..InitOptions::default()
        };
        Instance::init(app.dir(), &options, silent()).unwrap();
        Self { app, name }
    }

    pub fn open(&self) -> Instance {
        Instance::open(self.app.dir(), Purpose::Change, silent()).unwrap()
    }

    /// Opens it only to look, whatever state it is in.
    pub fn look(&self) -> Instance {
        Instance::open(self.app.dir(), Purpose::Look, silent()).unwrap()
    }

    pub fn card(&self) -> SignedCard {
        self.open().card.clone()
    }

    pub fn knows(&self, other: &Self, trust: Option<Trust>) {
        let card = other.card();
        let instance = self.open();
        instance.peer_add(&card, &PeerAdd::default()).unwrap();
        if let Some(trust) = trust {
            instance.peer_trust(other.name, trust).unwrap();
        }
        instance.follow(other.name, None).unwrap();
    }

    pub fn uses(&self, stick: &Stick) {
        self.uses_as(stick, STICK);
    }

    pub fn uses_as(&self, stick: &Stick, name: &str) {
        let name = PeerName::new(name).unwrap();
        self.open().remote_add(&name, stick.path().to_str().unwrap(), self.app.dir()).unwrap();
    }

    pub fn pull(&self) -> PullSummary {
        let summary = self.try_pull(STICK).unwrap();
        for fetched in summary.fetched.remotes.values() {
            assert!(fetched.refused.is_empty(), "{}: {:?}", self.name, fetched.refused);
        }
        summary
    }

    pub fn try_pull(&self, remote: &str) -> Result<PullSummary, Error> {
        let mut summary = self.open().pull(&[PeerName::new(remote).unwrap()])?;
        summary.fetched.failed.pop().map_or(Ok(summary), |(_, error)| Err(error))
    }

    pub fn push(&self) -> PushSummary {
        self.try_push(STICK).unwrap()
    }

    pub fn try_push(&self, remote: &str) -> Result<PushSummary, Error> {
        self.open().push(&PeerName::new(remote).unwrap())
    }

    pub fn save(&self) -> Saved {
        Saved::of(self.app.dir())
    }

    pub fn restore(&self, saved: &Saved) {
        saved.restore(self.app.dir());
    }

    /// Every tracked head as `scope/signer`, with the hash of its document.
    pub fn heads(&self) -> BTreeMap<String, String> {
        let instance = self.look();
        let mut heads = BTreeMap::new();
        for row in instance.state.scopes().unwrap() {
            for head in instance.state.heads(&row.id).unwrap() {
                heads.insert(format!("{}/{}", row.id, head.signer), head.hash.to_string());
            }
        }
        heads
    }

    /// The commit that each scope's local head names.
    pub fn local_heads(&self) -> BTreeMap<String, String> {
        let rows = self.look().state.scopes().unwrap();
        rows.into_iter().filter_map(|row| Some((row.id.to_string(), row.local_head?.to_string()))).collect()
    }

    /// Every record of every scope's local head: scope id, dataset and key, and the record.
    pub fn records(&self) -> Vec<(String, String, Record)> {
        let instance = self.look();
        let mut records = Vec::new();
        for row in instance.state.scopes().unwrap() {
            let Some(head) = row.local_head else { continue };
            let known = instance.state.known_commit(&row.id, &head).unwrap();
            for (dataset, root) in &known.commit.datasets {
                for found in scan(&instance.state, &row.id_key, root, ..) {
                    let (key, bytes) = found.unwrap();
                    let key: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
                    let record = codec::decode(&bytes, &row.origin).unwrap();
                    records.push((row.id.to_string(), format!("{dataset}/{key}"), record));
                }
            }
        }
        records
    }

    /// Opens every sealed object under a store that one of our epoch keys opens: path, scope name, plaintext.
    pub fn unseal(&self, store: &Path, skip: &BTreeSet<String>) -> Vec<(String, String, Vec<u8>)> {
        let instance = self.open();
        let mut scopes = Vec::new();
        for row in instance.state.scopes().unwrap() {
            scopes.extend(instance.open_scope(row).unwrap());
        }
        let objects = store.join("objects");
        let mut plain = Vec::new();
        for path in files_under(&objects).into_iter().filter(|path| !skip.contains(path)) {
            let bytes = fs::read(objects.join(&path)).unwrap();
            let id = seal::id_of(&bytes);
            assert!(path.ends_with(&format!("{id}.age")), "{path} is named for its bytes");
            let opened = scopes.iter().find_map(|scope| {
                let opened = scope.keys.epochs.values().find_map(|key| seal::open(&id, &bytes, key).ok())?;
                Some((scope.label(&instance).unwrap(), opened))
            });
            let (scope, opened) = opened.unwrap_or_else(|| panic!("no key opens {path}"));
            plain.push((path, scope, opened));
        }
        plain
    }

    pub fn sync(&self) {
        self.pull();
        self.push();
    }

    /// Makes a request with a title.
    pub fn request(&self, author: i64, title: &str, scope: &str) -> i64 {
        let request = Request { author: Some(author), title: Some(title), scope, ..Request::default() };
        self.app.insert_request_with(&request)
    }

    /// Changes one column of a request, as a page that edits it would.
    pub fn edit(&self, request: i64, column: &str, value: &str) {
        let sql = format!("UPDATE help_requests SET {column} = ?2, updated_at = ?3 WHERE id = ?1");
        self.app.execute(&sql, &[&request, &value, &self.app.now()]);
    }

    /// The roots of one scope, as this instance holds them.
    pub fn roots(&self, origin: &Self, scope: &ScopeName) -> Option<String> {
        let id = origin.open().id();
        let instance = self.open();
        let row = instance.state.scopes_of(&id).unwrap().into_iter().find(|row| row.name == *scope)?;
        let known = instance.state.known_commit(&row.id, &row.local_head?).unwrap();
        Some(format!("{:?}", known.commit.datasets))
    }
}

/// What every site calls the stick.
pub const STICK: &str = "stick";

/// Two sites that know and follow each other and share a stick.
pub fn pair(trust: Option<Trust>) -> (Stick, Site, Site) {
    let (stick, alpha, beta) = (Stick::new(), Site::new("alpha"), Site::new("beta"));
    alpha.knows(&beta, trust);
    beta.knows(&alpha, trust);
    alpha.uses(&stick);
    beta.uses(&stick);
    (stick, alpha, beta)
}

/// A third, fresh instance cloned from the stick.
pub fn clone(stick: &Stick, name: &'static str) -> Site {
    let app = App::new();
    let init = InitOptions {
        preset: Some("whiteballoon".into()),
        name: Some(PeerName::new(name).unwrap()),
        ..InitOptions::default()
    };
    let options = CloneOptions { init, ..CloneOptions::default() };
    Instance::clone_from(stick.path().to_str().unwrap(), app.dir(), &options, app.dir(), silent()).unwrap();
    Site { app, name }
}
