//! A plain git repository that we fill: three levels of readable files, and commits that depend on what they hold only.
//!
//! It belongs to whoever made it and to nobody else: everything in it is in clear. What was written is remembered in a file
//! beside the objects, by which later runs go on; without it, or where objects are lost, all is written again, to the same ids.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use gix_hash::{Kind as HashKind, ObjectId as Oid};
use gix_object::tree::{Entry, EntryKind};
use gix_object::{Kind, Tree, TreeRefIter, WriteTo};

use crate::id::bytes::CommitId;
use crate::sys::clock::UnixMillis;
use crate::sys::disk::{self, Access};
use crate::transport::git::branch::{TREE_BYTES_MAX, commit};
use crate::transport::git::cache::make_bare;
use crate::transport::git::error::GitError;
use crate::transport::git::objects::{Content, NewObject, Packs};

/// A mirror that is being written.
pub struct Mirror {
    dir: PathBuf,
    packs: Packs,
    known: BTreeMap<CommitId, Oid>,
    pending: HashMap<Oid, NewObject>,
    pending_bytes: usize,
    branches: Vec<(String, CommitId)>,
}

/// What a commit says of itself.
#[derive(Debug, Clone)]
pub struct Said {
    /// Who made it, as a name.
    pub author: String,
    /// Who made it, in the form of an address.
    pub address: String,
    /// When; of what has no time, the time of its newest parent.
    pub time: Option<UnixMillis>,
    /// The message.
    pub message: String,
}

/// A file of a mirror: its two directories, its name, and its content unless it is to go.
pub type File = ([String; 3], Option<Vec<u8>>);

/// A mirror could not be written.
#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    /// Something else is there.
    #[error("{path} holds something else than a mirror, and a new one wants an empty directory")]
    Occupied {
        /// The place.
        path: String,
    },
    /// The disk.
    #[error("cannot {doing} {path}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// What is there isn't what was written.
    #[error("the mirror in {path} is damaged: {why}")]
    Damaged {
        /// The place.
        path: String,
        /// What is wrong.
        why: String,
    },
}

/// Whether what was written before counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// It does: only what is new is written.
    WhereItEnded,
    /// It is removed, with all that only it holds.
    Anew,
}

impl Mirror {
    /// Opens the mirror in `dir`, or makes it, for its owner only.
    ///
    /// # Errors
    /// `Occupied`, `Io`.
    pub fn open(dir: &Path, begin: Begin) -> Result<Self, MirrorError> {
        let failed = |doing, source| MirrorError::Io { doing, path: dir.display().to_string(), source };
        let names = disk::names(dir, ENTRIES_MAX).map_err(|error| failed("read", error))?.unwrap_or_default();
        let map = disk::read_bounded(&dir.join(MAP), MAP_BYTES_MAX).map_err(|error| failed("read", error))?;
        if map.is_none() && !names.is_empty() {
            return Err(MirrorError::Occupied { path: dir.display().to_string() });
        }
        let of = |error: GitError| MirrorError::Damaged { path: dir.display().to_string(), why: chain(&error) };
        let known = map.as_deref().and_then(known_in);
        let packs = Packs::open(&dir.join("objects/pack"));
        if let (Begin::WhereItEnded, Some(known), Ok(packs)) = (begin, known, packs)
            && known.values().all(|oid| packs.contains(oid))
        {
            return Ok(Self::with(dir, packs, known));
        }
        for part in names {
            let part = dir.join(part);
            let removed = if part.is_dir() { disk::remove_tree(&part) } else { fs::remove_file(&part) };
            removed.map_err(|error| failed("remove what was in", error))?;
        }
        fs::create_dir_all(dir).map_err(|error| failed("make", error))?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).map_err(|error| failed("close", error))?;
        }
        make_bare(dir).map_err(of)?;
        let config = dir.join("config");
        let text =
            fs::read_to_string(&config).map_err(|error| failed("read", error))? + "[mailmap]\n\tfile = mailmap\n";
        fs::write(&config, text).map_err(|error| failed("write", error))?;
        disk::replace(&dir.join(MAP), HEADER.as_bytes(), Access::Shared).map_err(|error| failed("write", error))?;
        Ok(Self::with(dir, Packs::open(&dir.join("objects/pack")).map_err(of)?, BTreeMap::new()))
    }

    fn with(dir: &Path, packs: Packs, known: BTreeMap<CommitId, Oid>) -> Self {
        let dir = dir.to_owned();
        Self { dir, packs, known, pending: HashMap::new(), pending_bytes: 0, branches: Vec::new() }
    }

    /// Tells whether a commit is in it.
    pub fn holds(&self, commit: &CommitId) -> bool {
        self.known.contains_key(commit)
    }

    /// Returns git's name of a commit in it.
    pub fn name_of(&self, commit: &CommitId) -> Option<String> {
        self.known.get(commit).map(Oid::to_string)
    }

    /// Adds a commit: what `base` holds, with these files changed. `parents` are in it.
    ///
    /// # Errors
    /// `Damaged`, `Io`.
    pub fn add(
        &mut self,
        id: CommitId,
        said: &Said,
        parents: &[CommitId],
        base: Option<&CommitId>,
        files: impl IntoIterator<Item = File>,
    ) -> Result<(), MirrorError> {
        let before = match base {
            Some(base) => Some(self.commit_parts(base)?.0),
            None => None,
        };
        let root = self.edited(before, files)?;
        let mut newest = 0;
        let mut text = format!("tree {root}\n");
        for parent in parents {
            let (_, time) = self.commit_parts(parent)?;
            newest = newest.max(time.0);
            text += &format!("parent {}\n", self.known[parent]);
        }
        let seconds = said.time.map_or(newest, |time| time.0) / 1000;
        let who = format!("{} <{}> {seconds} +0000", said.author, said.address);
        text += &format!("author {who}\ncommitter {who}\n\n{}\n", said.message);
        let oid = self.put(Kind::Commit, text.into_bytes());
        self.known.insert(id, oid);
        if self.pending_bytes > PENDING_BYTES_MAX { self.write_pack() } else { Ok(()) }
    }

    /// Has a branch point to a commit.
    pub fn branch(&mut self, name: &str, commit: CommitId) {
        self.branches.push((name.to_owned(), commit));
    }

    /// Writes what was added, and then the branches. `names` says how addresses are shown.
    ///
    /// # Errors
    /// `Io`.
    pub fn finish(mut self, names: &BTreeMap<String, String>) -> Result<(), MirrorError> {
        self.write_pack()?;
        let mailmap: String = names.iter().map(|(address, name)| format!("{name} <{address}>\n")).collect();
        self.write("mailmap", mailmap.as_bytes())?;
        let lines = self.known.iter().map(|(commit, oid)| format!("{commit} {oid}\n"));
        self.write(MAP, (HEADER.to_owned() + &lines.collect::<String>()).as_bytes())?;
        for (name, commit) in &self.branches {
            let path = self.dir.join("refs/heads").join(name);
            let parent = path.parent().expect("a branch lies below refs/heads");
            fs::create_dir_all(parent).map_err(|source| self.failed("make", source))?;
            self.write(&format!("refs/heads/{name}"), format!("{}\n", self.known[commit]).as_bytes())?;
        }
        match self.branches.first() {
            Some((name, _)) => self.write("HEAD", format!("ref: refs/heads/{name}\n").as_bytes()),
            None => Ok(()),
        }
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), MirrorError> {
        disk::replace(&self.dir.join(name), bytes, Access::Shared).map_err(|source| self.failed("write", source))
    }

    fn failed(&self, doing: &'static str, source: io::Error) -> MirrorError {
        MirrorError::Io { doing, path: self.dir.display().to_string(), source }
    }

    fn damaged(&self, error: &GitError) -> MirrorError {
        MirrorError::Damaged { path: self.dir.display().to_string(), why: chain(error) }
    }

    fn write_pack(&mut self) -> Result<(), MirrorError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let mut objects: Vec<NewObject> = std::mem::take(&mut self.pending).into_values().collect();
        objects.sort_by_key(|object| object.oid);
        self.pending_bytes = 0;
        self.packs.pack(&objects).map(drop).map_err(|error| self.damaged(&error))
    }

    fn put(&mut self, kind: Kind, bytes: Vec<u8>) -> Oid {
        let size = bytes.len();
        let object = NewObject::new(kind, bytes);
        let oid = object.oid;
        if !self.pending.contains_key(&oid) && !self.packs.contains(&oid) {
            self.pending_bytes += size;
            self.pending.insert(oid, object);
        }
        oid
    }

    /// Returns tree and time of a commit that is in it.
    fn commit_parts(&self, id: &CommitId) -> Result<(Oid, UnixMillis), MirrorError> {
        let oid = self.known[id];
        let parts = match self.pending.get(&oid).map(|object| &object.content) {
            Some(Content::Bytes(bytes)) => crate::transport::git::branch::commit_in(&oid, bytes),
            _ => commit(&self.packs, &oid),
        };
        parts.map(|(tree, _, time)| (tree, time)).map_err(|error| self.damaged(&error))
    }

    fn entries(&self, tree: Option<Oid>) -> Result<BTreeMap<String, Entry>, MirrorError> {
        let Some(tree) = tree else { return Ok(BTreeMap::new()) };
        let read;
        let bytes = match self.pending.get(&tree).map(|object| &object.content) {
            Some(Content::Bytes(bytes)) => bytes,
            _ => {
                read = self.packs.read(&tree, Kind::Tree, TREE_BYTES_MAX).map_err(|error| self.damaged(&error))?;
                &read
            }
        };
        let mut entries = BTreeMap::new();
        for entry in TreeRefIter::from_bytes(bytes, HashKind::Sha1) {
            let entry = entry.map_err(|error| self.damaged(&GitError::damaged(format!("{error:#}"))))?;
            let name = entry.filename.to_string();
            let entry = Entry { mode: entry.mode, filename: entry.filename.to_owned(), oid: entry.oid.to_owned() };
            entries.insert(name, entry);
        }
        Ok(entries)
    }

    /// Makes a tree of two levels of directories with files changed, reading only the directories concerned.
    fn edited(&mut self, root: Option<Oid>, files: impl IntoIterator<Item = File>) -> Result<Oid, MirrorError> {
        type Dir = BTreeMap<String, Option<Oid>>;
        let mut changed: BTreeMap<String, BTreeMap<String, Dir>> = BTreeMap::new();
        for ([first, second, name], content) in files {
            let blob = content.map(|bytes| self.put(Kind::Blob, bytes));
            changed.entry(first).or_default().entry(second).or_default().insert(name, blob);
        }
        let mut top = self.entries(root)?;
        for (first, seconds) in changed {
            let mut middle = self.entries(top.get(&first).map(|entry| entry.oid))?;
            for (second, names) in seconds {
                let mut bottom = self.entries(middle.get(&second).map(|entry| entry.oid))?;
                for (name, blob) in names {
                    set(&mut bottom, name, blob, EntryKind::Blob);
                }
                let tree = self.put_tree(bottom);
                set(&mut middle, second, tree, EntryKind::Tree);
            }
            let tree = self.put_tree(middle);
            set(&mut top, first, tree, EntryKind::Tree);
        }
        Ok(match self.put_tree(top) {
            Some(tree) => tree,
            None => self.put(Kind::Tree, Vec::new()),
        })
    }

    /// Keeps a tree; an empty one is none.
    fn put_tree(&mut self, entries: BTreeMap<String, Entry>) -> Option<Oid> {
        let mut entries: Vec<Entry> = entries.into_values().collect();
        entries.sort();
        let mut bytes = Vec::new();
        Tree { entries }.write_to(&mut bytes).expect("memory takes it, and our names hold no zero");
        (!bytes.is_empty()).then(|| self.put(Kind::Tree, bytes))
    }
}

fn set(dir: &mut BTreeMap<String, Entry>, name: String, oid: Option<Oid>, kind: EntryKind) {
    match oid {
        Some(oid) => drop(dir.insert(name.clone(), Entry { mode: kind.into(), filename: name.into(), oid })),
        None => drop(dir.remove(&name)),
    }
}

fn known_in(map: &[u8]) -> Option<BTreeMap<CommitId, Oid>> {
    let lines = std::str::from_utf8(map).ok()?.strip_prefix(HEADER)?;
    let pair = |line: &str| {
        let (commit, oid) = line.split_once(' ')?;
        Some((commit.parse().ok()?, Oid::from_hex(oid.as_bytes()).ok()?))
    };
    lines.lines().map(pair).collect()
}

fn chain(error: &GitError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

impl fmt::Debug for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mirror").field("dir", &self.dir).finish_non_exhaustive()
    }
}

const MAP: &str = "wbsync-mirror";
const HEADER: &str = "wbsync mirror 1\n";
const MAP_BYTES_MAX: u64 = 1 << 30;
const ENTRIES_MAX: usize = 1 << 16;
const PENDING_BYTES_MAX: usize = 64 << 20;
