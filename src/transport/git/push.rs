//! The push: from what was gathered, one commit for each branch that changes, all of them in one go.
//!
//! A commit has the one before it as its parent, so that the server need send only what is new. Where an object went, or
//! where there have been very many, it has none: nothing names the old ones then, and the server's garbage collection
//! drops them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gix_hash::ObjectId as Oid;
use gix_object::Kind;

use crate::exchange::health::named;
use crate::exchange::layout::{FORMAT, StorePath};
use crate::exchange::store::{Doing, Store, StoreError};
use crate::id::bytes::ObjectId;
use crate::keys::document::hash_of;
use crate::sys::{clock, random};
use crate::transport::git::branch::{Branch, BranchName, new_commit};
use crate::transport::git::error::GitError;
use crate::transport::git::gathered::Gathered;
use crate::transport::git::hub::{HISTORY_MAX, View, history};
use crate::transport::git::objects::{Content, NewObject};
use crate::transport::git::store::{GitStore, State};
use crate::transport::git::wire::Update;

type Entries = BTreeMap<StorePath, Oid>;

/// Branches as they shall be, and what the server needs for that.
struct Push {
    updates: Vec<Update>,
    after: BTreeMap<BranchName, Branch>,
    objects: Vec<NewObject>,
    /// Whether a branch begins anew only because it became long.
    shortens: bool,
}

/// Whether branches that became long begin anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shorten {
    Yes,
    No,
}

/// Sends what was gathered. Whatever comes of it, nothing is gathered afterwards.
pub(super) fn flush(store: &GitStore) -> Result<(), StoreError> {
    if store.state().gathered.is_empty() {
        return Ok(());
    }
    let spent = spent(store)?;
    let mut state = store.state();
    let sent = send(store, &mut state, &spent);
    state.gathered = Gathered::default();
    sent
}

fn send(store: &GitStore, state: &mut State, spent: &BTreeSet<ObjectId>) -> Result<(), StoreError> {
    let doing = Doing::Write(state.gathered.documents.keys().next_back().copied().unwrap_or(StorePath::Format));
    let failed = |error| store.fail(doing, error);
    let (mut wait, mut shorten) = (WAIT_FIRST, Shorten::Yes);
    for _ in 0..TRIES {
        let push = prepare(store, state, spent, shorten)?;
        if push.updates.is_empty() {
            return Ok(());
        }
        let pack = store.cache.packs().pack(&push.objects).map_err(failed)?;
        let refused = match store.server.push(&store.cache, &push.updates, pack) {
            Ok(()) => {
                state.view.branches.extend(push.after);
                let tips = state.view.branches.iter().filter_map(|(name, branch)| Some((*name, branch.tip?)));
                return store.cache.keep_tips(&tips.collect()).map_err(failed);
            }
            Err(refused @ (GitError::Stale | GitError::Denied(_))) => refused,
            Err(error) => return Err(failed(error)),
        };
        let before: Vec<_> = push.after.keys().map(|name| (*name, tip(&state.view, name))).collect();
        let view = std::mem::take(&mut state.view);
        state.view = View::look(store.server.as_ref(), &store.cache, &store.prefix, view).map_err(failed)?;
        let moved = before.iter().any(|(name, tip_before)| tip(&state.view, name) != *tip_before);
        match (moved, push.shortens) {
            (true, _) => {
                // Anything up to the bound: who met once must not meet again.
                let [byte] = random::bytes();
                std::thread::sleep(wait.mul_f64(f64::from(byte) / 255.0));
                wait = (wait * 2).min(WAIT_MAX);
            }
            // A host that keeps all history keeps it.
            (false, true) => shorten = Shorten::No,
            (false, false) => return Err(failed(refused)),
        }
    }
    Err(failed(GitError::Stale))
}

fn tip(view: &View, name: &BranchName) -> Option<Oid> {
    view.branches.get(name).and_then(|branch| branch.tip)
}

/// Makes the commits that put what was gathered on top of what the hub has.
fn prepare(store: &GitStore, state: &State, spent: &BTreeSet<ObjectId>, shorten: Shorten) -> Result<Push, StoreError> {
    let (view, gathered) = (&state.view, &state.gathered);
    let mut blobs: BTreeMap<Oid, NewObject> = BTreeMap::new();
    let mut after: BTreeMap<BranchName, Entries> = BTreeMap::new();
    let entries = |name: &BranchName| view.branches.get(name).map(|branch| branch.entries.clone()).unwrap_or_default();
    for (path, change) in &gathered.documents {
        let there = store.sent_document(view, path)?;
        if there == change.bytes {
            continue;
        }
        let found = there.as_deref().map(hash_of);
        if found != change.expected {
            return Err(StoreError::Swapped { store: store.describe(), path: *path, found });
        }
        let home = BranchName::of(path).expect("a document has a branch");
        let branch = after.entry(home).or_insert_with(|| entries(&home));
        match &change.bytes {
            Some(bytes) => {
                let blob = NewObject::new(Kind::Blob, bytes.clone());
                branch.insert(*path, blob.oid);
                blobs.insert(blob.oid, blob);
            }
            None => drop(branch.remove(path)),
        }
    }
    let mut put = |name: BranchName, object: &ObjectId, oid: Oid| {
        after.entry(name).or_insert_with(|| entries(&name)).insert(StorePath::Object(*object), oid);
    };
    for ((name, object), head) in &gathered.named {
        let held = store.blobs(view, object);
        match (gathered.objects.get(object), held.first()) {
            (Some(sealed), _) => put(*name, object, sealed.oid),
            (None, Some(oid)) => put(*name, object, *oid),
            // Somebody removed it, after it was seen to be there.
            (None, None) => {
                return Err(StoreError::Incomplete { store: store.describe(), path: *head, object: *object });
            }
        }
    }
    let own = BranchName::Instance(store.own.expect("nothing is gathered as nobody"));
    for (object, sealed) in &gathered.objects {
        if !gathered.named.keys().any(|(_, named)| named == object) {
            put(own, object, sealed.oid);
        }
        let content = Content::Sealed(sealed.path.clone());
        blobs.insert(sealed.oid, NewObject { oid: sealed.oid, kind: Kind::Blob, content });
    }
    for object in &gathered.removed {
        let path = StorePath::Object(*object);
        for name in view.branches.iter().filter(|(_, branch)| branch.entries.contains_key(&path)).map(|(name, _)| name)
        {
            after.entry(*name).or_insert_with(|| entries(name)).remove(&path);
        }
    }
    for object in spent {
        after.entry(own).or_insert_with(|| entries(&own)).remove(&StorePath::Object(*object));
    }
    if !entries(&BranchName::Store).contains_key(&StorePath::Format) && !after.is_empty() {
        let format = NewObject::new(Kind::Blob, FORMAT.as_bytes().to_vec());
        after
            .entry(BranchName::Store)
            .or_insert_with(|| entries(&BranchName::Store))
            .insert(StorePath::Format, format.oid);
        blobs.insert(format.oid, format);
    }
    Ok(commits(store, view, after, blobs, shorten))
}

fn commits(
    store: &GitStore,
    view: &View,
    after: BTreeMap<BranchName, Entries>,
    blobs: BTreeMap<Oid, NewObject>,
    shorten: Shorten,
) -> Push {
    let mut push = Push { updates: Vec::new(), after: BTreeMap::new(), objects: Vec::new(), shortens: false };
    let mut objects: BTreeMap<Oid, NewObject> = BTreeMap::new();
    for (name, entries) in after {
        let before = view.branches.get(&name);
        if before.is_some_and(|before| before.entries == entries) || (before.is_none() && entries.is_empty()) {
            continue;
        }
        let tip = before.and_then(|before| before.tip);
        let loses = before.is_some_and(|before| {
            let object = |path: &&StorePath| matches!(path, StorePath::Object(_));
            before.entries.keys().filter(object).any(|path| entries.get(path) != before.entries.get(path))
        });
        let is_long = shorten == Shorten::Yes && history(&store.cache, tip).len() >= HISTORY_MAX;
        push.shortens |= is_long && !loses;
        let trees = Branch::trees(&entries);
        let root = trees.last().expect("there is a root").oid;
        let commit = new_commit(&root, tip.as_ref().filter(|_| !loses && !is_long), clock::now());
        let mut branch = Branch { tip: Some(commit.oid), entries, ..Branch::default() };
        branch.held.insert(commit.oid, Kind::Commit);
        branch.held.extend(trees.iter().map(|tree| (tree.oid, Kind::Tree)));
        branch.held.extend(branch.entries.values().map(|oid| (*oid, Kind::Blob)));
        push.updates.push(Update { name: format!("{}/{name}", store.prefix), old: tip, new: commit.oid });
        let needed = branch.entries.values().filter_map(|oid| blobs.get(oid)).cloned();
        for object in trees.into_iter().chain([commit]).chain(needed) {
            if !view.holds(&object.oid) {
                objects.insert(object.oid, object);
            }
        }
        push.after.insert(name, branch);
    }
    push.objects = objects.into_values().collect();
    push
}

/// Returns the objects of our own branch that no head names any more, if they are more than the others.
fn spent(store: &GitStore) -> Result<BTreeSet<ObjectId>, StoreError> {
    let Some(own) = store.own else { return Ok(BTreeSet::new()) };
    let held: Vec<ObjectId> = {
        let state = store.state();
        let swaps = |path: &StorePath| matches!(path, StorePath::Head(_, signer) if *signer == own);
        let Some(branch) = state.view.branches.get(&BranchName::Instance(own)) else { return Ok(BTreeSet::new()) };
        if !state.gathered.documents.keys().any(swaps) {
            return Ok(BTreeSet::new());
        }
        let object = |path: &StorePath| if let StorePath::Object(id) = path { Some(*id) } else { None };
        branch.entries.keys().filter_map(object).filter(|id| !state.gathered.objects.contains_key(id)).collect()
    };
    let named = named(store)?;
    let (mut spent, mut spent_bytes, mut used_bytes) = (BTreeSet::new(), 0, SPENT_SLACK);
    for object in held {
        let size = store.object_size(&object)?.unwrap_or(0);
        if named.objects.contains_key(&object) {
            used_bytes += size;
        } else {
            spent_bytes += size;
            spent.insert(object);
        }
    }
    // A head that can't be read may name anything.
    if spent_bytes <= used_bytes || !named.unread.is_empty() {
        spent.clear();
    }
    Ok(spent)
}

const TRIES: u32 = 12;
const WAIT_FIRST: Duration = Duration::from_millis(50);
const WAIT_MAX: Duration = Duration::from_secs(2);
/// So many bytes may lie about before anything is done about it.
const SPENT_SLACK: u64 = 1 << 20;
