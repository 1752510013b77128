//! Publish: seals what is new in a scope into our outgoing store and signs a head for it.
//!
//! The origin's head lists a snapshot and a ladder of deltas, folded like the levels of an LSM tree, so
//! that their number stays logarithmic. A writer's head holds one delta on top of the origin's head that
//! it builds on, and needs none once the origin has merged it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::error::Error;
use super::instance::Instance;
use super::own::HERE;
use super::progress::Event;
use super::receipts::decode_held;
use super::refold::OWN_STORE_KEY;
use super::scopes::OpenScope;
use super::sealer::Sealer;
use super::tracked::{objects_of, open_own};
use crate::changeset::entry::Entry;
use crate::changeset::seal::Padding;
use crate::changeset::touched::{self, Step, Touched, add_differences, entries_of, snapshot};
use crate::changeset::writer::{Span, Writer};
use crate::exchange::head::{Base, Head, Segment};
use crate::exchange::store::Store;
use crate::history::join::Known;
use crate::id::bytes::{CommitId, RecordKey};
use crate::id::name::DatasetName;
use crate::keys::document;
use crate::state::database;
use crate::state::heads::TrackedHead;
use crate::sys::clock;
use crate::transport::dir::DirStore;

/// What publishing one scope did.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Published {
    /// The head's number.
    pub seq: u64,
    /// New objects.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How many changesets the head lists.
    pub segments: usize,
}

/// Whether our own store holds what our newest head names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Placed {
    /// All of it.
    Whole,
    /// The store was emptied or is older than the state: what is missing has to be sealed anew.
    Incomplete,
}

/// The most bytes of commits that travel with one changeset; older ones are left out.
const COMMITS_BYTES_MAX: usize = 4 << 20;
/// Deltas together may be this fraction of the snapshot, and these bytes, before a new snapshot is made.
const SNAPSHOT_SHARE: u64 = 2;
const SNAPSHOT_SLACK: u64 = 16 << 10;
/// So many deltas of about a size become one. Fewer would rewrite what is new more often, so that followers fetch it again; more would
/// make heads longer.
const TIER: usize = 8;
/// From so many touched records on a delta's size is judged by the snapshot's, not by sealing it.
const MANY_RECORDS: u64 = 1_000;
/// From so many deltas on they are folded whoever stands where; a head may list 64.
const UNFOLDED_MAX: usize = 32;

impl Instance {
    /// Publishes every scope in which we may write and have something new.
    ///
    /// # Errors
    /// The state or our own store can't be read or written.
    pub fn publish(&self) -> Result<BTreeMap<String, Published>, Error> {
        let mut all = BTreeMap::new();
        let store = self.own_store()?;
        for row in self.state.scopes()? {
            if !self.takes_part(&row)? {
                self.leave(&store, row)?;
                continue;
            }
            let Some(scope) = self.open_scope(row)? else { continue };
            if !scope.manifest.may_write(&self.id()) {
                self.stop_writing(&store, &scope)?;
                continue;
            }
            let scope = self.drop_old_epochs(scope)?;
            let placed = self.place_documents(&store, &scope)?;
            if let Some(published) = self.publish_scope(&store, &scope, placed)? {
                all.insert(scope.label(self)?, published);
            }
        }
        self.write_receipts(&store)?;
        self.retire_in_own_store(&store)?;
        self.retire_relayed(&store)?;
        self.sweep_own_store(&store)?;
        Ok(all)
    }

    /// Puts the scope's manifest and our newest head into our own store, if a crash kept them out.
    fn place_documents(&self, store: &DirStore, scope: &OpenScope) -> Result<Placed, Error> {
        let error = || Error::store("this instance");
        let row = &scope.row;
        let there = store.manifest(&row.id).map_err(error())?.map(|bytes| document::hash_of(&bytes));
        if there != Some(row.manifest_hash) {
            store.swap_manifest(&row.id, there, &row.manifest).map_err(error())?;
        }
        let Some(head) = self.state.head(&row.id, &self.id())? else { return Ok(Placed::Whole) };
        if self.state.is_head_withdrawn(&row.id)? {
            // It was taken out on purpose: only a new one comes in its place.
            return Ok(Placed::Incomplete);
        }
        let objects = objects_of(&head)?;
        let incomplete = !store.missing(&objects).map_err(error())?.is_empty();
        let there = store.head(&row.id, &self.id()).map_err(error())?.map(|bytes| document::hash_of(&bytes));
        if (incomplete || there != Some(head.hash)) && self.state.refolded(&row.id)? > 0 {
            // An older store came back, perhaps with what was withdrawn.
            self.state.set_meta(OWN_STORE_KEY, "due")?;
        }
        if incomplete {
            return Ok(Placed::Incomplete);
        }
        if there != Some(head.hash) {
            store.swap_head(&row.id, &self.id(), there, &objects, &head.document).map_err(error())?;
        }
        Ok(Placed::Whole)
    }

    fn publish_scope(&self, store: &DirStore, scope: &OpenScope, placed: Placed) -> Result<Option<Published>, Error> {
        let row = self.scope_row(&scope.row.id)?;
        let Some(tip) = row.local_head else { return Ok(None) };
        let tip = self.state.known_commit(&row.id, &tip)?;
        let last = self.state.head(&row.id, &self.id())?;
        let is_origin = row.origin == self.id();
        let base = if is_origin { None } else { Some(self.base_of(scope, &tip)?) };
        let refold = last.is_some() && self.state.refold_due(&row.id)?;
        // A writer whose words the origin has merged says nothing, unless its last head still carries what was withdrawn, or
        // what the origin's newest snapshot stands for: then an empty one takes its place. An origin that made a fresh ladder
        // takes such heads out of stores, and we would send them again for ever.
        let mut supersedes = false;
        if let Some(base) = &base {
            let Some((_, known)) = base else { return Ok(None) };
            if known.commit.clock.contains(&tip.commit.clock) {
                supersedes =
                    carries_objects(last.as_ref(), self)? && (refold || self.is_built_over(scope, last.as_ref())?);
                if !supersedes {
                    // Nothing is named any more, but what was named before an empty head may lie about.
                    if let Some(last) = last.filter(|_| refold) {
                        self.spend_all_sealed(&last)?;
                    }
                    return Ok(None);
                }
            }
        }
        let base = base.flatten();
        let sealed_anew = self.is_sealed_anew(scope, last.as_ref())?;
        let is_said = last.as_ref().is_some_and(|last| last.commit == tip.id);
        // Also where the origin took our very commit for its own.
        if placed == Placed::Whole && is_said && !refold && !sealed_anew && !supersedes {
            return Ok(None);
        }
        let label = scope.label(self)?;
        self.tell(Event::Phase { name: &format!("sealing {label}"), total: None });
        let seq = last.as_ref().map_or(0, |last| last.seq) + 1;
        let mut work = Publishing { instance: self, store, scope, tip: &tip, seq, objects: 0, bytes: 0 };
        let segments = match &base {
            Some(_) if supersedes => Vec::new(),
            Some((_, known)) => vec![work.delta(Some(known), seq - 1)?],
            None if refold => work.refolded(&open_own(last.as_ref().expect("checked just above"), self)?)?,
            // Of lost objects nothing can be built on: the ladder begins again.
            None if placed == Placed::Incomplete => work.ladder(None)?,
            // Of an earlier incarnation others may hold heads that we have lost: nobody can start from them.
            None if last.as_ref().is_some_and(|last| last.incarnation != self.card.card.incarnation) => {
                work.ladder(None)?
            }
            None => work.ladder(last.as_ref().map(|last| open_own(last, self)).transpose()?.as_ref())?,
        };
        let (objects, bytes) = (work.objects, work.bytes);
        let head = Head {
            scope: row.id,
            signer: self.id(),
            incarnation: self.card.card.incarnation,
            seq,
            prev: last.as_ref().map(|last| last.hash),
            commit: if supersedes { base.as_ref().map_or(tip.id, |(_, known)| known.id) } else { tip.id },
            writes: tip.commit.clock.seen(&self.id(), self.card.card.incarnation),
            manifest_seq: scope.manifest.seq,
            epoch: scope.manifest.newest_epoch().number,
            base: base.map(|(seq, known)| Base { seq, commit: known.id }),
            segments,
            time: clock::now(),
        };
        self.keep_head(store, scope, &head)?;
        self.tell(Event::End);
        Ok(Some(Published { seq, objects, bytes, segments: head.segments.len() }))
    }

    /// Tells whether what we wrote in another's scope, and its origin has not merged, has to be sealed to a newer epoch: else
    /// its readers of then could not open it, nor the origin once it has let the old epochs go.
    fn is_sealed_anew(&self, scope: &OpenScope, last: Option<&TrackedHead>) -> Result<bool, Error> {
        match last {
            Some(last) if scope.row.origin != self.id() => {
                Ok(open_own(last, self)?.epoch < scope.manifest.newest_epoch().number)
            }
            _ => Ok(false),
        }
    }

    /// Signs a head, remembers it, and moves it into our own store. After a crash in between, the next
    /// publish finds it in the state and moves it.
    pub(super) fn keep_head(&self, store: &DirStore, scope: &OpenScope, head: &Head) -> Result<(), Error> {
        let document = head.sign(&self.identity);
        let tracked = TrackedHead {
            scope: head.scope,
            signer: head.signer,
            incarnation: head.incarnation,
            seq: head.seq,
            hash: document::hash_of(&document),
            document,
            commit: head.commit,
            writes: head.writes,
            received: head.time,
            via: HERE.into(),
        };
        let transaction = self.state.transaction()?;
        self.state.put_head(&tracked)?;
        self.state.put_seen(head, &tracked.hash, &tracked.document)?;
        self.state.put_published(&head.scope, head.seq, &head.commit)?;
        self.state.clear_head_withdrawn(&head.scope)?;
        self.state.publish_withdrawals(&head.scope, head.seq)?;
        if self.state.refold_due(&head.scope)? {
            self.note_objects_of_writers(&scope.row)?;
            self.state.spend_sealed(&head.scope, head.seq)?;
            self.state.set_meta(OWN_STORE_KEY, "due")?;
            self.state.clear_refold(&head.scope)?;
        }
        self.state.put_sealed(&head.scope, head.objects().map(|object| object.id))?;
        database::commit(transaction)?;
        self.place_documents(store, scope).map(drop)
    }

    /// Lists the heads of ours that readers have whom we reach by bundles: those we handed out, and those they confirmed.
    /// What comes after such a head is not folded with what came before it, so that nobody is carried anything twice.
    fn stands(&self, scope: &OpenScope) -> Result<BTreeSet<u64>, Error> {
        let mut stands: BTreeSet<u64> = self.state.handed(&scope.row.id)?.into_iter().collect();
        if !stands.is_empty() {
            for receipt in self.state.receipts(&scope.row.id)? {
                let applied = decode_held(&receipt)?.applied.into_iter().find(|applied| applied.signer == self.id());
                stands.extend(applied.map(|applied| applied.seq));
            }
        }
        Ok(stands)
    }

    /// Returns the origin's head that our local head builds on, if it contains one.
    fn base_of(&self, scope: &OpenScope, tip: &Known) -> Result<Option<(u64, Known)>, Error> {
        let Some(head) = self.state.head(&scope.row.id, &scope.row.origin)? else { return Ok(None) };
        let known = self.state.known_commit(&scope.row.id, &head.commit)?;
        Ok(tip.commit.clock.contains(&known.commit.clock).then_some((head.seq, known)))
    }
}

/// What was touched from one of our own heads to the tip.
struct Since {
    from_seq: u64,
    /// Its commit; `None` if we don't know it any more.
    from: Option<Known>,
    touched: Touched,
}

/// One head in the making.
struct Publishing<'a> {
    instance: &'a Instance,
    store: &'a DirStore,
    scope: &'a OpenScope,
    tip: &'a Known,
    seq: u64,
    objects: u64,
    bytes: u64,
}

impl Publishing<'_> {
    /// The next ladder of the origin: the old one with what is new, folded where it would have as many steps of about the same size as
    /// make one.
    fn ladder(&mut self, last: Option<&Head>) -> Result<Vec<Segment>, Error> {
        let Some(last) = last else { return Ok(vec![self.snapshot()?]) };
        let (snapshot, deltas) = last.segments.split_first().expect("the origin's head has a snapshot");
        let mut deltas = deltas.to_vec();
        let mut since = self.since(last.seq)?;
        let mut sealed = None;
        let stands = self.instance.stands(self.scope)?;
        loop {
            let bytes = match self.size_of_many(&since, snapshot) {
                Some(bytes) => bytes,
                None => size(sealed.insert(self.delta_of(&since)?)),
            };
            let is_full = deltas.len() >= UNFOLDED_MAX;
            let tier = deltas.iter().rev().take_while(|below| {
                let is_alike = size(below) <= 2 * bytes;
                is_alike && (is_full || !stands.contains(&below.to_seq))
            });
            let folded = match tier.count() {
                alike if alike + 1 >= TIER => alike,
                alike if is_full => alike.max(1),
                _ => break,
            };
            let lowest = deltas.len() - folded;
            sealed = None;
            self.reach_back(&mut since, deltas[lowest].from_seq)?;
            deltas.truncate(lowest);
        }
        let delta = sealed.map_or_else(|| self.delta_of(&since), Ok)?;
        deltas.push(delta);
        let since_snapshot: u64 = deltas.iter().filter(|delta| delta.to_seq > snapshot.to_seq).map(size).sum();
        let mut segments = vec![snapshot.clone()];
        if since_snapshot > size(snapshot) / SNAPSHOT_SHARE + SNAPSHOT_SLACK {
            let snapshot = self.snapshot()?;
            // Followers that are not far behind still catch up by deltas; old deltas go when they
            // outweigh the snapshot.
            let mut kept = 0;
            let keep_from = deltas.iter().rposition(|delta| {
                kept += size(delta);
                kept > size(&snapshot)
            });
            deltas.drain(..keep_from.map_or(0, |at| at + 1));
            segments = vec![snapshot];
        }
        segments.append(&mut deltas);
        Ok(segments)
    }

    /// A ladder that shares no object with the heads before: a snapshot of the tip, and one delta with the final
    /// content of all that the deltas touched, so that nobody who could catch up has to fetch the snapshot.
    fn refolded(&mut self, last: &Head) -> Result<Vec<Segment>, Error> {
        let snapshot = self.snapshot()?;
        let floor = self.instance.floor(&self.scope.row.id)?.map_or(0, |floor| floor.seq);
        let oldest = last.segments.get(1).map_or(last.seq, |delta| delta.from_seq).max(floor.min(last.seq));
        let mut delta = self.delta_since(oldest)?;
        if size(&delta) > size(&snapshot) && oldest < last.seq {
            delta = self.delta_since(last.seq)?;
        }
        let worthwhile = size(&delta) <= size(&snapshot);
        Ok(std::iter::once(snapshot).chain(Some(delta).filter(|_| worthwhile)).collect())
    }

    fn snapshot(&mut self) -> Result<Segment, Error> {
        let commits = vec![self.tip.commit.encode()];
        let (store, key, commit) = (&self.instance.state, &self.scope.row.id_key, &self.tip.commit);
        let mut withdrawn: BTreeMap<DatasetName, BTreeSet<RecordKey>> = BTreeMap::new();
        // Nobody has what left the scope before its first head.
        if self.seq > 1 {
            for left in store.withdrawals(&self.scope.row.id)? {
                withdrawn.entry(left.dataset).or_default().insert(left.record);
            }
        }
        self.segment(0, commits, |sink| {
            let _reading = store.reading();
            snapshot(store, key, commit, &withdrawn, sink)
        })
    }

    /// The changes since one of our own heads.
    fn delta_since(&mut self, from: u64) -> Result<Segment, Error> {
        let since = self.since(from)?;
        self.delta_of(&since)
    }

    /// Finds what was touched since one of our own heads.
    fn since(&self, from_seq: u64) -> Result<Since, Error> {
        let steps = self.published(from_seq, self.seq - 1)?;
        let mut touched = Touched::default();
        self.touch(steps.iter().chain([self.tip]), &mut touched)?;
        Ok(Since { from_seq, from: steps.into_iter().next(), touched })
    }

    /// Adds what was touched between an earlier head and the one that `since` begins with.
    fn reach_back(&self, since: &mut Since, from_seq: u64) -> Result<(), Error> {
        let Some(from) = &since.from else {
            *since = self.since(from_seq)?;
            return Ok(());
        };
        let mut steps = self.published(from_seq, since.from_seq)?;
        steps.retain(|step| step.id != from.id);
        self.touch(steps.iter().chain([from]), &mut since.touched)?;
        since.from_seq = from_seq;
        since.from = steps.into_iter().next().or(since.from.take());
        Ok(())
    }

    fn published(&self, from: u64, to: u64) -> Result<Vec<Known>, Error> {
        let (scope, state) = (&self.scope.row.id, &self.instance.state);
        let published = state.published(scope, from, to)?;
        published.iter().map(|(_, commit)| Ok(state.known_commit(scope, commit)?)).collect()
    }

    /// Adds what was touched in any of some steps, also if a later one took it back: a follower may stand between.
    fn touch<'k>(&self, steps: impl Iterator<Item = &'k Known>, touched: &mut Touched) -> Result<(), Error> {
        let steps: Vec<&Known> = steps.collect();
        steps.windows(2).try_for_each(|pair| self.differences(pair[0], pair[1], touched))
    }

    /// Says about how large a delta gets that touches many records: to seal it only to learn that would be most of the work.
    fn size_of_many(&self, since: &Since, snapshot: &Segment) -> Option<u64> {
        let count = since.touched.count() as u64;
        (count >= MANY_RECORDS).then(|| count * size(snapshot) / self.tip.commit.records().max(1))
    }

    /// The changes since a commit.
    fn delta(&mut self, from: Option<&Known>, from_seq: u64) -> Result<Segment, Error> {
        let mut touched = Touched::default();
        self.touch(from.into_iter().chain([self.tip]), &mut touched)?;
        self.delta_of(&Since { from_seq, from: from.cloned(), touched })
    }

    fn differences(&self, from: &Known, to: &Known, touched: &mut Touched) -> Result<(), Error> {
        let step = if to.id == self.tip.id { Step::Last } else { Step::Earlier };
        let between = (&from.commit, &to.commit, step);
        add_differences(&self.instance.state, &self.scope.row.id_key, between, touched)
            .map_err(|error| self.changeset(error))
    }

    fn delta_of(&mut self, since: &Since) -> Result<Segment, Error> {
        let commits = self.commits_since(since.from.as_ref())?;
        let mut withdrawn: BTreeMap<DatasetName, BTreeSet<RecordKey>> = BTreeMap::new();
        for dataset in since.touched.datasets() {
            withdrawn.insert(dataset.clone(), self.instance.state.withdrawn(&self.scope.row.id, dataset)?);
        }
        let (store, key, commit) = (&self.instance.state, &self.scope.row.id_key, &self.tip.commit);
        let touched = &since.touched;
        self.segment(since.from_seq, commits, |sink| entries_of(store, key, commit, touched, &withdrawn, sink))
    }

    /// The commits after `from` up to the tip that we hold, the tip first, as far as there is room.
    fn commits_since(&self, from: Option<&Known>) -> Result<Vec<Vec<u8>>, Error> {
        let row = &self.scope.row;
        let mut seen: BTreeSet<CommitId> = BTreeSet::new();
        let mut queue = std::collections::VecDeque::from([self.tip.id]);
        let (mut commits, mut total) = (Vec::new(), 0);
        while let Some(id) = queue.pop_front() {
            if !seen.insert(id) {
                continue;
            }
            let Some(known) = self.instance.state.commit(&row.id, &id)? else { continue };
            if from.is_some_and(|from| from.commit.clock.contains(&known.commit.clock)) && id != self.tip.id {
                continue;
            }
            let bytes = known.commit.encode();
            total += bytes.len();
            if total > COMMITS_BYTES_MAX && !commits.is_empty() {
                break;
            }
            commits.push(bytes);
            queue.extend(known.commit.parents());
        }
        Ok(commits)
    }

    fn segment(
        &mut self,
        from: u64,
        commits: Vec<Vec<u8>>,
        fill: impl FnOnce(&mut dyn FnMut(Entry<&[u8]>) -> Result<(), io::Error>) -> Result<(), touched::Error<io::Error>>,
    ) -> Result<Segment, Error> {
        let epoch = self.scope.manifest.newest_epoch();
        let padding = if self.scope.manifest.public { Padding::None } else { Padding::Padme };
        let span = Span { scope: self.scope.row.id, from, tip: self.tip.id };
        let mut sealer = Sealer::new(self.store, &epoch.recipient, padding);
        let mut writer = Writer::new(span, &commits, |plain| sealer.take(plain));
        let filled = fill(&mut |entry| writer.push(entry));
        let filled = filled.and_then(|()| writer.finish().map_err(touched::Error::Sink));
        let objects = sealer.finish(filled, touched::Error::Sink)?.map_err(|error| self.changeset(error))?;
        self.objects += objects.len() as u64;
        self.bytes += objects.iter().map(|object| object.bytes).sum::<u64>();
        Ok(Segment { from_seq: from, to_seq: self.seq, objects })
    }

    fn changeset(&self, source: touched::Error<io::Error>) -> Error {
        Error::Changeset { scope: self.scope.row.name.to_string(), source: Box::new(source) }
    }
}

fn size(segment: &Segment) -> u64 {
    segment.objects.iter().map(|object| object.bytes).sum()
}

/// Tells whether our last head names objects.
pub(super) fn carries_objects(last: Option<&TrackedHead>, instance: &Instance) -> Result<bool, Error> {
    Ok(last.map(|last| open_own(last, instance)).transpose()?.is_some_and(|head| !head.segments.is_empty()))
}
