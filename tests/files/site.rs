//! An instance with a directory, and what lies there.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use tempfile::TempDir;
use wbsync::id::name::{DatasetName, PeerName};
use wbsync::state::peers::Trust;
use wbsync::sync::commit::{CommitSummary, Mode};
use wbsync::sync::config::Directory;
use wbsync::sync::init::InitOptions;
use wbsync::sync::instance::{Instance, Purpose};
use wbsync::sync::peers::PeerAdd;
use wbsync::sync::progress::silent;
use wbsync::sync::round::PullSummary;

/// An instance whose directory is `d`.
pub struct Site {
    pub dir: TempDir,
    pub name: &'static str,
}

/// What lies in a directory: path, content, whether it can be run.
pub type Tree = BTreeMap<String, (Vec<u8>, bool)>;

impl Site {
    /// Makes an instance with an empty directory whose files are meant for `scope`.
    pub fn new(name: &'static str, scope: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("d")).unwrap();
        let options = InitOptions {
            name: Some(PeerName::new(name).unwrap()),
            files: Some(Directory { dir: "d".into(), dataset: DatasetName::new("docs").unwrap() }),
            ..InitOptions::default()
        };
        Instance::init(dir.path(), &options, silent()).unwrap();
        let site = Self { dir, name };
        site.configure("scope = \"private\"", &format!("scope = \"{scope}\""));
        site
    }

    /// Replaces a part of `wbsync.toml`.
    pub fn configure(&self, from: &str, to: &str) {
        let path = self.dir.path().join("wbsync.toml");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(&path, text.replacen(from, to, 1)).unwrap();
    }

    pub fn open(&self) -> Instance {
        Instance::open(self.dir.path(), Purpose::Change, silent()).unwrap()
    }

    pub fn knows(&self, other: &Self, trust: Option<Trust>) {
        let card = other.open().card.clone();
        let instance = self.open();
        instance.peer_add(&card, &PeerAdd::default()).unwrap();
        if let Some(trust) = trust {
            instance.peer_trust(other.name, trust).unwrap();
        }
        instance.follow(other.name, None).unwrap();
    }

    pub fn uses(&self, stick: &Path) {
        self.open().remote_add(&stick_name(), stick.to_str().unwrap(), self.dir.path()).unwrap();
    }

    pub fn commit(&self) -> CommitSummary {
        self.open().commit(Mode::Keep).unwrap()
    }

    pub fn pull(&self) -> PullSummary {
        let summary = self.open().pull(&[stick_name()]).unwrap();
        for fetched in summary.fetched.remotes.values() {
            assert!(fetched.refused.is_empty(), "{}: {:?}", self.name, fetched.refused);
        }
        assert!(summary.fetched.failed.is_empty(), "{}: {:?}", self.name, summary.fetched.failed);
        summary
    }

    pub fn sync(&self) {
        self.pull();
        self.open().push(&stick_name()).unwrap();
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join("d").join(path)
    }

    pub fn write(&self, path: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    pub fn read(&self, path: &str) -> Vec<u8> {
        fs::read(self.path(path)).unwrap()
    }

    pub fn text(&self, path: &str) -> String {
        String::from_utf8(self.read(path)).unwrap()
    }

    pub fn remove(&self, path: &str) {
        fs::remove_file(self.path(path)).unwrap();
    }

    pub fn set_executable(&self, path: &str) {
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Everything in the directory.
    pub fn tree(&self) -> Tree {
        tree_of(&self.path(""))
    }

    /// What waits, with the reason.
    pub fn waits(&self) -> BTreeMap<String, String> {
        let (parked, _) = self.open().with_database(|database| Ok(database.parked(100)?)).unwrap();
        parked.into_iter().map(|parked| (parked.record, parked.reason)).collect()
    }

    /// The bookkeeping, to look at and to play the liar.
    pub fn books(&self) -> Connection {
        Connection::open(self.dir.path().join(".wbsync/files.db")).unwrap()
    }

    /// How many records each dataset has in the local heads.
    pub fn records(&self) -> BTreeMap<String, u64> {
        let instance = self.open();
        let mut counts = BTreeMap::new();
        for row in instance.state.scopes().unwrap() {
            let Some(head) = row.local_head else { continue };
            for (dataset, root) in instance.state.known_commit(&row.id, &head).unwrap().commit.datasets {
                *counts.entry(dataset.to_string()).or_default() += root.count;
            }
        }
        counts
    }

    /// The roots of all scopes, by scope.
    pub fn roots(&self) -> BTreeMap<String, String> {
        let instance = self.open();
        let mut roots = BTreeMap::new();
        for row in instance.state.scopes().unwrap() {
            let Some(head) = row.local_head else { continue };
            let known = instance.state.known_commit(&row.id, &head).unwrap();
            if !known.commit.datasets.is_empty() {
                roots.insert(row.id.to_string(), format!("{:?}", known.commit.datasets));
            }
        }
        roots
    }
}

pub fn tree_of(dir: &Path) -> Tree {
    let mut tree = Tree::new();
    for entry in walkdir::WalkDir::new(dir).min_depth(1) {
        let entry = entry.unwrap();
        if entry.file_type().is_file() {
            let path = entry.path().strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
            let is_executable = entry.metadata().unwrap().permissions().mode() & 0o100 != 0;
            tree.insert(path, (fs::read(entry.path()).unwrap(), is_executable));
        }
    }
    tree
}

pub fn stick_name() -> PeerName {
    PeerName::new("stick").unwrap()
}

/// Two sites that follow each other and share a store.
pub fn pair(scope: &str, trust: Option<Trust>) -> (TempDir, Site, Site) {
    let (stick, alpha, beta) = (tempfile::tempdir().unwrap(), Site::new("alpha", scope), Site::new("beta", scope));
    alpha.knows(&beta, trust);
    beta.knows(&alpha, trust);
    let store = stick.path().join("wb");
    alpha.uses(&store);
    beta.uses(&store);
    (stick, alpha, beta)
}

/// Bytes that nothing compresses, the same for the same seed.
pub fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut noise = vec![0; bytes];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut noise);
    noise
}

/// How many bytes lie under a directory.
pub fn bytes_under(dir: &Path) -> u64 {
    let files = walkdir::WalkDir::new(dir).into_iter().map(Result::unwrap);
    files.filter(|entry| entry.file_type().is_file()).map(|entry| entry.metadata().unwrap().len()).sum()
}
