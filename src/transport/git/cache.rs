//! The cache: a bare repository on this machine that holds what was fetched from one hub.
//!
//! It is ordinary enough for `git` to work on it, and nothing in it matters: gitoxide never syncs files, so after a
//! crash it may be damaged. Whatever can't be read in it condemns it; a condemned cache is deleted, and all is fetched again.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use gix_hash::ObjectId as Oid;
use tempfile::TempDir;

use crate::sys::disk::{self, Access, Lock};
use crate::transport::git::branch::BranchName;
use crate::transport::git::error::GitError;
use crate::transport::git::objects::Packs;

/// A cache of one hub.
pub(super) struct Cache {
    dir: PathBuf,
    packs: Packs,
    // Removes it when dropped.
    _temporary: Option<TempDir>,
}

impl Cache {
    /// Opens the cache in `dir`, or makes it; without a directory, makes one that is gone when it is dropped.
    ///
    /// # Errors
    /// `Local`.
    pub(super) fn open(dir: Option<&Path>) -> Result<Self, GitError> {
        let Some(dir) = dir else {
            let temporary = TempDir::new().map_err(GitError::Local)?;
            let dir = temporary.path().join("hub.git");
            let packs = make(&dir)?;
            return Ok(Self { dir, packs, _temporary: Some(temporary) });
        };
        let packs = match dir.join(DAMAGED).exists() {
            true => Err(GitError::damaged("it was condemned")),
            false if !dir.exists() => make(dir),
            false => Packs::open(&dir.join(PACKS)),
        };
        let packs = match packs {
            Err(GitError::Cache(_)) => {
                disk::remove_tree(dir).map_err(GitError::Local)?;
                make(dir)
            }
            packs => packs,
        };
        Ok(Self { dir: dir.to_owned(), packs: packs?, _temporary: None })
    }

    /// Locks a cache, so that nobody removes what another process is fetching.
    ///
    /// # Errors
    /// `Local`.
    pub(super) fn lock(dir: Option<&Path>) -> Result<Option<Lock>, GitError> {
        let Some(dir) = dir else { return Ok(None) };
        let parent = dir.parent().expect("a cache lies in a directory");
        disk::create_dir(parent).map_err(GitError::Local)?;
        match Lock::take(&dir.with_extension("lock")) {
            Err(error) if error.kind() == std::io::ErrorKind::Unsupported => Ok(None),
            lock => lock.map(Some).map_err(GitError::Local),
        }
    }

    /// Returns where it is.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the objects in it.
    pub(super) fn packs(&self) -> &Packs {
        &self.packs
    }

    /// Returns the directory for objects that are yet to be sent.
    ///
    /// # Errors
    /// `Local`.
    pub(super) fn staging(&self) -> Result<PathBuf, GitError> {
        let dir = self.dir.join("staged");
        fs::create_dir_all(&dir).map_err(GitError::Local)?;
        Ok(dir)
    }

    /// Returns the newest commits that are wholly here.
    pub(super) fn tips(&self) -> BTreeMap<BranchName, Oid> {
        let read = |name: &str| {
            let text = disk::read_bounded(&self.dir.join(REFS).join(name), REF_BYTES_MAX).ok().flatten()?;
            let oid = Oid::from_hex(text.trim_ascii_end()).ok().filter(|oid| self.packs.contains(oid))?;
            Some((BranchName::parse(name)?, oid))
        };
        let names = disk::names(&self.dir.join(REFS), REFS_MAX).ok().flatten().unwrap_or_default();
        names.iter().filter_map(|name| read(name)).collect()
    }

    /// Remembers which commits are wholly here.
    ///
    /// # Errors
    /// `Local`.
    pub(super) fn keep_tips(&self, tips: &BTreeMap<BranchName, Oid>) -> Result<(), GitError> {
        let before = self.tips();
        for (name, oid) in tips.iter().filter(|(name, oid)| before.get(name) != Some(oid)) {
            fs::write(self.dir.join(REFS).join(name.to_string()), format!("{oid}\n")).map_err(GitError::Local)?;
        }
        for name in before.keys().filter(|name| !tips.contains_key(name)) {
            disk::remove(&self.dir.join(REFS).join(name.to_string())).map_err(GitError::Local)?;
        }
        Ok(())
    }

    /// Has it deleted when it is opened next.
    pub(super) fn condemn(&self) {
        // Where it can't even be marked, the next one who reads it finds the same damage.
        let _ = fs::write(self.dir.join(DAMAGED), b"");
    }
}

/// Makes an empty bare repository, in a directory whose parent is there.
///
/// # Errors
/// `Local`.
pub(super) fn make_bare(dir: &Path) -> Result<(), GitError> {
    for part in ["", "objects", "objects/info", PACKS, "refs", "refs/heads"] {
        match fs::create_dir(dir.join(part)) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            other => other.map_err(GitError::Local)?,
        }
    }
    let config = "[core]\n\trepositoryformatversion = 0\n\tbare = true\n\tlogallrefupdates = false\n";
    disk::replace(&dir.join("config"), config.as_bytes(), Access::Shared).map_err(GitError::Local)?;
    disk::replace(&dir.join("HEAD"), b"ref: refs/heads/main\n", Access::Shared).map_err(GitError::Local)
}

fn make(dir: &Path) -> Result<Packs, GitError> {
    make_bare(dir)?;
    fs::create_dir_all(dir.join(REFS)).map_err(GitError::Local)?;
    // `git`, where it is used on the cache, must leave the packs alone and make no loose objects.
    let config = dir.join("config");
    let ours =
        "[gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n[fetch]\n\tunpackLimit = 1\n\twriteCommitGraph = false\n";
    let text = fs::read_to_string(&config).map_err(GitError::Local)? + ours;
    fs::write(&config, text).map_err(GitError::Local)?;
    Packs::open(&dir.join(PACKS))
}

const PACKS: &str = "objects/pack";
const REFS: &str = "refs/hub";
const DAMAGED: &str = "damaged";
const REF_BYTES_MAX: u64 = 256;
const REFS_MAX: usize = 1 << 17;
