//! What a hub holds now: its branches, fetched as far as they are new, and the swap of several of them at once.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;

use gix_hash::ObjectId as Oid;
use gix_object::Kind;

use crate::transport::git::branch::{Branch, BranchName, commit};
use crate::transport::git::cache::Cache;
use crate::transport::git::error::GitError;
use crate::transport::git::wire::{Link, Service, Session, Update};

/// Whoever can bring a cache up to date and push from it.
pub(super) trait Server: Send + Sync {
    /// Brings everything below `prefix` that the cache lacks, and returns the newest commits.
    ///
    /// # Errors
    /// `Unreachable`, `NotARepository`, `Denied`, `Spoken`, `Local`.
    fn refresh(&self, cache: &Cache, prefix: &str) -> Result<BTreeMap<BranchName, Oid>, GitError>;

    /// Swaps branches, sending the objects in `pack`, which the cache holds too.
    ///
    /// # Errors
    /// As `refresh`; `Stale` or `Denied` if a branch was moved by somebody else, `Denied` if it may not be moved.
    fn push(&self, cache: &Cache, updates: &[Update], pack: File) -> Result<(), GitError>;
}

/// We ourselves, over some way.
pub(super) struct Native(pub(super) Box<dyn Link>);

impl Server for Native {
    fn refresh(&self, cache: &Cache, prefix: &str) -> Result<BTreeMap<BranchName, Oid>, GitError> {
        let session = Session::begin(self.0.as_ref(), Service::UploadPack)?;
        let ours = |name: &String| BranchName::parse(name.strip_prefix(prefix)?.strip_prefix('/')?);
        let tips: BTreeMap<BranchName, Oid> =
            session.refs.iter().filter_map(|(name, oid)| Some((ours(name)?, *oid))).collect();
        let mut wanted: Vec<Oid> = tips.values().filter(|oid| !cache.packs().contains(oid)).copied().collect();
        wanted.sort();
        wanted.dedup();
        if wanted.is_empty() {
            session.leave();
        } else {
            let had: Vec<Oid> = cache.tips().into_values().collect();
            session.fetch(&wanted, &had, &mut |pack| cache.packs().take(pack))?;
        }
        Ok(tips)
    }

    fn push(&self, _: &Cache, updates: &[Update], mut pack: File) -> Result<(), GitError> {
        Session::begin(self.0.as_ref(), Service::ReceivePack)?.push(updates, &mut pack)
    }
}

/// What a hub holds, all at one moment.
#[derive(Debug, Default)]
pub(super) struct View {
    /// Its branches.
    pub(super) branches: BTreeMap<BranchName, Branch>,
}

impl View {
    /// Looks at the hub. `before` saves reading again what hasn't changed.
    ///
    /// # Errors
    /// As `Server::refresh`; `Cache`.
    pub(super) fn look(server: &dyn Server, cache: &Cache, prefix: &str, mut before: Self) -> Result<Self, GitError> {
        let tips = server.refresh(cache, prefix)?;
        let mut view = Self::default();
        for (name, tip) in &tips {
            let branch = match before.branches.remove(name) {
                Some(branch) if branch.tip == Some(*tip) => branch,
                _ => Branch::read(cache.packs(), *name, *tip)?,
            };
            view.branches.insert(*name, branch);
        }
        cache.keep_tips(&tips)?;
        if cache.packs().count() > PACKS_MAX {
            view.repack(cache)?;
        }
        Ok(view)
    }

    /// Returns what the hub has for certain.
    pub(super) fn holds(&self, oid: &Oid) -> bool {
        self.branches.values().any(|branch| branch.held.contains_key(oid))
    }

    /// Puts what is in use into one pack. Of older commits only their number counts.
    fn repack(&self, cache: &Cache) -> Result<(), GitError> {
        let mut kept: HashMap<Oid, Kind> = HashMap::new();
        for branch in self.branches.values() {
            kept.extend(&branch.held);
            kept.extend(history(cache, branch.tip).into_iter().map(|oid| (oid, Kind::Commit)));
        }
        cache.packs().repack(kept.into_iter().collect::<Vec<_>>().into_iter())
    }
}

/// Returns the commits behind `tip`, itself first, as far as they are in the cache and not too many.
pub(super) fn history(cache: &Cache, tip: Option<Oid>) -> Vec<Oid> {
    let (mut commits, mut next) = (Vec::new(), tip);
    while let Some(oid) = next.filter(|oid| cache.packs().contains(oid) && commits.len() < HISTORY_MAX) {
        commits.push(oid);
        next = commit(cache.packs(), &oid).ok().and_then(|(_, parent, _)| parent);
    }
    commits
}

/// How many commits follow each other before a branch begins anew.
pub(super) const HISTORY_MAX: usize = 1000;
/// How many packs a cache holds before they become one.
const PACKS_MAX: usize = 64;
