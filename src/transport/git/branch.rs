//! One branch of a hub: what its newest commit holds of the store's layout, and the commit that holds something else.
//!
//! Which branch a document lies in follows from its path alone, so that whoever replaces it replaces it there, and the
//! server's compare-and-swap of the branch is one of the document. The layout: format/git.md.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use gix_hash::{Kind as HashKind, ObjectId as Oid};
use gix_object::tree::{Entry, EntryKind};
use gix_object::{CommitRef, Kind, Tree, TreeRefIter, WriteTo};

use crate::exchange::layout::StorePath;
use crate::id::bytes::InstanceId;
use crate::sys::clock::UnixMillis;
use crate::transport::git::error::GitError;
use crate::transport::git::objects::{NewObject, Packs};

/// The name of a branch of ours, without the prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum BranchName {
    /// What belongs to nobody alone: `format`, and the manifests.
    Store,
    /// What one instance signs, and the objects that it needs.
    Instance(InstanceId),
}

impl BranchName {
    /// Returns the branch of a document; an object lies wherever it is needed.
    pub(super) fn of(path: &StorePath) -> Option<Self> {
        match path {
            StorePath::Format | StorePath::Manifest(_) => Some(Self::Store),
            StorePath::Head(_, instance) | StorePath::Receipt(_, instance) | StorePath::Card(instance) => {
                Some(Self::Instance(*instance))
            }
            StorePath::Object(_) => None,
        }
    }

    /// Parses what `Display` writes, and nothing else.
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text {
            "store" => Some(Self::Store),
            _ => text.parse().ok().map(Self::Instance),
        }
    }
}

impl fmt::Display for BranchName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store => f.write_str("store"),
            Self::Instance(instance) => instance.fmt(f),
        }
    }
}

/// What a branch holds.
#[derive(Debug, Clone, Default)]
pub(super) struct Branch {
    /// Its newest commit; none if it isn't there.
    pub(super) tip: Option<Oid>,
    /// The blobs at paths of the layout that belong here.
    pub(super) entries: BTreeMap<StorePath, Oid>,
    /// Everything that the newest commit needs, which the server therefore has.
    pub(super) held: HashMap<Oid, Kind>,
    /// Places of the layout where something else than a plain file lies.
    pub(super) irregular: Vec<String>,
}

impl Branch {
    /// Reads the branch whose newest commit is `tip`.
    ///
    /// # Errors
    /// `Cache`.
    pub(super) fn read(packs: &Packs, name: BranchName, tip: Oid) -> Result<Self, GitError> {
        let mut branch = Self { tip: Some(tip), ..Self::default() };
        let (tree, _, _) = commit(packs, &tip)?;
        branch.held.insert(tip, Kind::Commit);
        branch.walk(packs, name, &tree, "")?;
        Ok(branch)
    }

    fn walk(&mut self, packs: &Packs, name: BranchName, tree: &Oid, above: &str) -> Result<(), GitError> {
        let bytes = packs.read(tree, Kind::Tree, TREE_BYTES_MAX)?;
        self.held.insert(*tree, Kind::Tree);
        for entry in TreeRefIter::from_bytes(&bytes, HashKind::Sha1) {
            let entry = entry.map_err(|error| GitError::damaged(format!("git tree {tree}: {error:#}")))?;
            // What isn't UTF-8 is none of ours.
            let Ok(file) = std::str::from_utf8(entry.filename) else { continue };
            let path = format!("{above}{file}");
            if entry.mode.is_tree() && is_dir_of_layout(&path) {
                self.walk(packs, name, &entry.oid.to_owned(), &format!("{path}/"))?;
                continue;
            }
            let Ok(place) = path.parse::<StorePath>() else { continue };
            if BranchName::of(&place).is_some_and(|home| home != name) {
                continue;
            }
            if entry.mode.kind() == EntryKind::Blob {
                self.held.insert(entry.oid.to_owned(), Kind::Blob);
                self.entries.insert(place, entry.oid.to_owned());
            } else {
                self.irregular.push(path);
            }
            if self.entries.len() > ENTRIES_MAX {
                return Err(GitError::NotARepository("a branch of it holds too many files"));
            }
        }
        Ok(())
    }

    /// Makes the trees that hold `entries`; the last one is the root.
    pub(super) fn trees(entries: &BTreeMap<StorePath, Oid>) -> Vec<NewObject> {
        let files: Vec<(String, Oid)> = entries.iter().map(|(path, oid)| (path.to_string(), *oid)).collect();
        let files: Vec<(&str, Oid)> = files.iter().map(|(path, oid)| (path.as_str(), *oid)).collect();
        let mut trees = Vec::new();
        tree_of(&files, &mut trees);
        trees
    }
}

/// Makes the tree of these files, after the trees in it, and returns its name.
fn tree_of(files: &[(&str, Oid)], made: &mut Vec<NewObject>) -> Oid {
    let mut dirs: BTreeMap<&str, Vec<(&str, Oid)>> = BTreeMap::new();
    let mut entries = Vec::new();
    for (path, oid) in files {
        match path.split_once('/') {
            Some((dir, rest)) => dirs.entry(dir).or_default().push((rest, *oid)),
            None => entries.push(Entry { mode: EntryKind::Blob.into(), filename: (*path).into(), oid: *oid }),
        }
    }
    for (dir, files) in dirs {
        let oid = tree_of(&files, made);
        entries.push(Entry { mode: EntryKind::Tree.into(), filename: dir.into(), oid });
    }
    entries.sort();
    let mut bytes = Vec::new();
    Tree { entries }.write_to(&mut bytes).expect("memory takes it, and our names hold no zero");
    let tree = NewObject::new(Kind::Tree, bytes);
    let oid = tree.oid;
    made.push(tree);
    oid
}

/// Makes the commit of a tree. It tells nothing but the day.
pub(super) fn new_commit(tree: &Oid, parent: Option<&Oid>, now: UnixMillis) -> NewObject {
    let day = now.0 / DAY_MILLIS * DAY_MILLIS / 1000;
    let parent = parent.map(|parent| format!("parent {parent}\n")).unwrap_or_default();
    let text =
        format!("tree {tree}\n{parent}author {AUTHOR} {day} +0000\ncommitter {AUTHOR} {day} +0000\n\n{MESSAGE}\n");
    NewObject::new(Kind::Commit, text.into_bytes())
}

/// Returns tree, first parent and date of a commit.
///
/// # Errors
/// `Cache`.
pub(super) fn commit(packs: &Packs, oid: &Oid) -> Result<(Oid, Option<Oid>, UnixMillis), GitError> {
    commit_in(oid, &packs.read(oid, Kind::Commit, COMMIT_BYTES_MAX)?)
}

/// Returns what `commit` does, of a commit with these bytes.
///
/// # Errors
/// `Cache`.
pub(super) fn commit_in(oid: &Oid, bytes: &[u8]) -> Result<(Oid, Option<Oid>, UnixMillis), GitError> {
    let bad = |error: &dyn fmt::Display| GitError::damaged(format!("git commit {oid}: {error}"));
    let commit = CommitRef::from_bytes(bytes, HashKind::Sha1).map_err(|error| bad(&error))?;
    let seconds = commit.committer().and_then(|committer| committer.time()).map_err(|error| bad(&error))?.seconds;
    let millis = u64::try_from(seconds).unwrap_or(0).saturating_mul(1000);
    Ok((commit.tree(), commit.parents().next(), UnixMillis(millis)))
}

fn is_dir_of_layout(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    match parts.as_slice() {
        ["objects" | "scopes" | "instances"] | ["scopes", _] | ["scopes", _, "heads" | "receipts"] => true,
        ["objects", name] => name.len() == 2,
        _ => false,
    }
}

/// How exact the dates of commits are.
pub(super) const DAY_MILLIS: u64 = 24 * 3_600_000;
const AUTHOR: &str = "wbsync <wbsync@localhost>";
const MESSAGE: &str = "sync";
const COMMIT_BYTES_MAX: u64 = 64 << 10;
/// The most bytes of a tree.
pub(super) const TREE_BYTES_MAX: u64 = 64 << 20;
const ENTRIES_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::bytes::{ObjectId, ScopeId};

    #[test]
    fn every_document_has_one_branch_and_every_branch_one_name() {
        let (scope, instance) = (ScopeId::from_bytes([0x5c; 16]), InstanceId::from_bytes([0x1a; 32]));
        let own = Some(BranchName::Instance(instance));
        assert_eq!(BranchName::of(&StorePath::Format), Some(BranchName::Store));
        assert_eq!(BranchName::of(&StorePath::Manifest(scope)), Some(BranchName::Store));
        for path in [StorePath::Head(scope, instance), StorePath::Receipt(scope, instance), StorePath::Card(instance)] {
            assert_eq!(BranchName::of(&path), own);
        }
        assert_eq!(BranchName::of(&StorePath::Object(ObjectId::from_bytes([1; 32]))), None);
        for name in [BranchName::Store, BranchName::Instance(instance)] {
            assert_eq!(BranchName::parse(&name.to_string()), Some(name));
        }
        for other in ["", "main", "Store", "store/x", &"1A".repeat(32), &"1a".repeat(16)] {
            assert_eq!(BranchName::parse(other), None, "{other:?}");
        }
    }

    #[test]
    fn a_commit_tells_the_day_and_nothing_else() {
        let tree = Oid::empty_tree(HashKind::Sha1);
        let at = |millis| new_commit(&tree, None, UnixMillis(millis)).oid;
        assert_eq!(at(86_400_000), at(2 * 86_400_000 - 1));
        assert_ne!(at(86_400_000), at(2 * 86_400_000));
        // What `git commit-tree` makes of the same.
        assert_eq!(at(0).to_string(), "ad72ccd85440939000b7a43c715012a6676ad9c3");
    }
}
