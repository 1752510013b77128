//! Takes one verified head: fetches its objects, rebuilds the signer's trees, and compares the roots.
//!
//! Everything happens in one transaction of the local state: either the head and all that it carries is
//! kept, or nothing is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use super::error::Error;
use super::fetch::Refusal;
use super::instance::Instance;
use super::progress::Event;
use super::scopes::OpenScope;
use crate::changeset::entry::Body;
use crate::changeset::reader::{Part, read};
use crate::changeset::seal;
use crate::exchange::fetch::{FetchError, fetch_object};
use crate::exchange::head::{Head, ObjectRef, Segment};
use crate::exchange::store::{Store, StoreError};
use crate::history::commit::{Commit, id_of};
use crate::history::join::Known;
use crate::id::bytes::{CommitId, DocHash, InstanceId};
use crate::id::name::{DatasetName, FieldName};
use crate::record::cell::{Element, Record};
use crate::record::clock::Clock;
use crate::record::codec;
use crate::record::stamp::Stamp;
use crate::state::database;
use crate::state::heads::TrackedHead;
use crate::sys::{clock, disk};
use crate::tree::apply::apply;
use crate::tree::get::get;
use crate::tree::root::Root;

/// The newest own write that each instance has signed for: (incarnation, sequence).
pub type Writes = BTreeMap<InstanceId, (u32, u64)>;

/// A head whose signature and place in history are checked.
#[derive(Debug)]
pub struct Incoming {
    /// The head.
    pub head: Head,
    /// BLAKE3 of the document.
    pub hash: DocHash,
    /// The signed document.
    pub document: Vec<u8>,
}

/// What became of a head.
#[derive(Debug)]
pub enum Ingested {
    /// It is tracked now.
    Taken {
        /// Records written or removed.
        records: u64,
        /// Objects fetched.
        objects: u64,
        /// Their bytes.
        bytes: u64,
    },
    /// It builds on something that we don't have yet; nothing was kept.
    Held {
        /// On what.
        why: String,
    },
    /// It is wrong; nothing was kept. The document's name is left for the caller to fill in.
    Refused(Refusal),
}

/// Why the work on one head ends early.
enum Stop {
    Refuse(Refusal),
    Fail(Error),
}

type Step<T> = Result<T, Stop>;

/// The trees under construction and what was seen on the way.
struct Building<'a> {
    instance: &'a Instance,
    scope: &'a OpenScope,
    head: &'a Head,
    roots: BTreeMap<DatasetName, Root>,
    start: Option<Commit>,
    stamps: Clock,
    commits: BTreeMap<CommitId, Vec<u8>>,
    tips: BTreeMap<InstanceId, Option<Known>>,
    records: u64,
}

const HINT_AGAIN: &str = "ask the instance that wrote it to push again, or fetch from another remote";
const HINT_SIGNER: &str = "do not trust this peer before you know how it came to sign this";

impl Instance {
    /// Fetches what a head carries, verifies it, and tracks it.
    ///
    /// # Errors
    /// The remote can't be read (any more), or the state can't be written.
    pub(super) fn ingest(
        &self,
        store: &dyn Store,
        remote: &str,
        scope: &OpenScope,
        incoming: &Incoming,
        writes: &Writes,
    ) -> Result<Ingested, Error> {
        let head = &incoming.head;
        let start = match self.start_of(scope, head)? {
            Ok(start) => start,
            Err(why) => return Ok(Ingested::Held { why }),
        };
        let segments = needed(head, start.as_ref().map(|(seq, _)| *seq));
        let files = match self.download(store, remote, scope, &segments)? {
            Ok(files) => files,
            Err(refusal) => return Ok(Ingested::Refused(refusal)),
        };
        let objects = files.len() as u64;
        let bytes = segments.iter().flat_map(|segment| &segment.objects).map(|object| object.bytes).sum();
        let from_nothing = head.base.is_none() && segments.first().is_some_and(|segment| segment.from_seq == 0);
        let start = if from_nothing { None } else { start.map(|(_, known)| known.commit) };
        let transaction = self.state.transaction()?;
        let mut building = Building {
            instance: self,
            scope,
            head,
            roots: start.as_ref().map_or_else(BTreeMap::new, |commit| commit.datasets.clone()),
            start,
            stamps: Clock::default(),
            commits: BTreeMap::new(),
            tips: BTreeMap::new(),
            records: 0,
        };
        match building.run(&segments, &files, writes) {
            Ok(()) => {}
            Err(Stop::Refuse(refusal)) => {
                drop(transaction);
                self.state.forget_cache();
                self.clear_incoming()?;
                return Ok(Ingested::Refused(refusal));
            }
            Err(Stop::Fail(error)) => {
                self.state.forget_cache();
                return Err(error);
            }
        }
        let records = building.records;
        self.state.put_head(&TrackedHead {
            scope: scope.row.id,
            signer: head.signer,
            incarnation: head.incarnation,
            seq: head.seq,
            hash: incoming.hash,
            document: incoming.document.clone(),
            commit: head.commit,
            writes: head.writes,
            received: clock::now(),
            via: remote.to_owned(),
        })?;
        database::commit(transaction)?;
        self.clear_incoming()?;
        self.tell(Event::End);
        Ok(Ingested::Taken { records, objects, bytes })
    }

    /// Returns the commit that the head's changesets start from, with the head number it stands for.
    fn start_of(&self, scope: &OpenScope, head: &Head) -> Result<Result<Option<(u64, Known)>, String>, Error> {
        let Some(base) = &head.base else {
            let known = self.state.head(&scope.row.id, &head.signer)?;
            let known = known.filter(|known| known.incarnation == head.incarnation);
            let Some(known) = known else { return Ok(Ok(None)) };
            let commit = self.state.known_commit(&scope.row.id, &known.commit)?;
            return Ok(Ok(Some((known.seq, commit))));
        };
        match self.state.commit(&scope.row.id, &base.commit)? {
            Some(known) => Ok(Ok(Some((0, known)))),
            None => Ok(Err(format!("it builds on head {} of the scope's origin, which we do not hold", base.seq))),
        }
    }

    fn incoming_dir(&self) -> PathBuf {
        self.dir().join("incoming")
    }

    /// Removes objects of earlier fetches that were used or refused; parts of unfinished ones stay.
    ///
    /// # Errors
    /// `Io`.
    pub(super) fn clear_incoming(&self) -> Result<(), Error> {
        let dir = self.incoming_dir();
        disk::create_dir(&dir).map_err(Error::io("make", &dir))?;
        Ok(())
    }

    fn remove_incoming(&self, object: &ObjectRef) -> Result<(), Error> {
        let path = self.incoming_dir().join(format!("{}.age", object.id));
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", &path)(error)),
            _ => Ok(()),
        }
    }

    fn download(
        &self,
        store: &dyn Store,
        remote: &str,
        scope: &OpenScope,
        segments: &[&Segment],
    ) -> Result<Result<Vec<PathBuf>, Refusal>, Error> {
        let objects: Vec<&ObjectRef> = segments.iter().flat_map(|segment| &segment.objects).collect();
        let total = objects.iter().map(|object| object.bytes).sum();
        let name = format!("fetching {}", scope.label(self)?);
        self.tell(Event::Phase { name: &name, total: Some(total) });
        let (mut files, mut done) = (Vec::new(), 0);
        for object in objects {
            match fetch_object(store, &object.id, object.bytes, &self.incoming_dir()) {
                Ok(path) => files.push(path),
                Err(FetchError::Store { source, .. })
                    if matches!(
                        *source,
                        StoreError::Missing { .. }
                            | StoreError::Damaged { .. }
                            | StoreError::Irregular { .. }
                            | StoreError::TooLarge { .. }
                    ) =>
                {
                    return Ok(Err(Refusal::new("", &source, HINT_AGAIN).damaged()));
                }
                Err(FetchError::Store { source, .. }) => return Err(Error::store(remote)(*source)),
                Err(FetchError::TooLarge { object, bytes }) => {
                    let reason = format!("its object {object} of {bytes} bytes is too large");
                    return Ok(Err(Refusal::because("", reason, HINT_AGAIN)));
                }
                Err(error) => {
                    return Err(Error::io("write", self.incoming_dir())(std::io::Error::other(error)));
                }
            }
            done += object.bytes;
            self.tell(Event::Done(done));
        }
        self.tell(Event::End);
        Ok(Ok(files))
    }
}

impl Building<'_> {
    fn run(&mut self, segments: &[&Segment], files: &[PathBuf], writes: &Writes) -> Step<()> {
        let objects = segments.iter().map(|segment| segment.objects.len()).sum::<usize>();
        self.instance.tell(Event::Phase { name: "verifying and merging trees", total: Some(objects as u64) });
        let mut files = files.iter();
        let mut done = 0;
        for segment in segments {
            let mut last_key = None;
            for (index, object) in segment.objects.iter().enumerate() {
                let file = files.next().expect("one file was fetched for each object");
                let sealed = fs::read(file).map_err(Error::io("read", file)).map_err(Stop::Fail)?;
                self.take_object(segment, index, object, &sealed, &mut last_key)?;
                drop(sealed);
                self.instance.remove_incoming(object).map_err(Stop::Fail)?;
                done += 1;
                self.instance.tell(Event::Done(done));
            }
        }
        self.check_tip(writes)
    }

    fn take_object(
        &mut self,
        segment: &Segment,
        index: usize,
        object: &ObjectRef,
        sealed: &[u8],
        last_key: &mut Option<(DatasetName, crate::id::bytes::RecordKey)>,
    ) -> Step<()> {
        // Any epoch that we were granted may have sealed an older segment.
        let mut keys = self.scope.keys.epochs.values().rev();
        let mut opened = seal::open(&object.id, sealed, keys.next().expect("a readable scope has an epoch key"));
        while let Err(seal::Error::Decrypt { .. }) = &opened
            && let Some(key) = keys.next()
        {
            opened = seal::open(&object.id, sealed, key);
        }
        let plain = opened.map_err(|error| Stop::Refuse(Refusal::new("", &error, HINT_AGAIN).damaged()))?;
        let part = read(&plain).map_err(|error| {
            let refusal = Refusal::new("", &error, HINT_SIGNER);
            Stop::Refuse(Refusal {
                reason: format!("object {} is no changeset: {}", object.id, refusal.reason),
                ..refusal
            })
        })?;
        let is_last = index + 1 == segment.objects.len();
        let fits = part.span.scope == self.scope.row.id
            && part.span.from == segment.from_seq
            && part.part as usize == index
            && part.last == is_last;
        if !fits {
            return refuse(format!("object {} belongs to another changeset", object.id));
        }
        if let (Some(last), Some(first)) = (&*last_key, part.entries.first())
            && *last >= (first.dataset.clone(), first.key)
        {
            return refuse(format!("object {} repeats records of the one before", object.id));
        }
        *last_key = part.entries.last().map(|entry| (entry.dataset.clone(), entry.key)).or_else(|| last_key.take());
        for commit in &part.commits {
            self.commits.insert(id_of(commit, &self.scope.row.id_key), commit.to_vec());
        }
        self.take_entries(&part)
    }

    fn take_entries(&mut self, part: &Part<'_>) -> Step<()> {
        let mut at = 0;
        while at < part.entries.len() {
            let dataset = part.entries[at].dataset.clone();
            let group = part.entries[at..].iter().take_while(|entry| entry.dataset == dataset).count();
            let mut edits = Vec::with_capacity(group);
            for entry in &part.entries[at..at + group] {
                let bytes = match entry.body {
                    Body::Put(bytes) => {
                        let record = codec::decode(bytes, &self.scope.row.origin).map_err(|error| {
                            let reason = format!("record {dataset}/{} is not canonical: {error}", entry.key);
                            Stop::Refuse(Refusal::because("", reason, HINT_SIGNER))
                        })?;
                        self.check_stamps(&dataset, entry.key.as_bytes(), &record)?;
                        Some(bytes.to_vec())
                    }
                    Body::Deleted | Body::Withdrawn => None,
                };
                edits.push((entry.key.as_bytes().to_vec(), bytes));
            }
            let root = self.roots.get(&dataset).copied().unwrap_or_default();
            let root =
                apply(&self.instance.state, &self.scope.row.id_key, &root, edits).map_err(|error| self.tree(error))?;
            if root.count == 0 {
                self.roots.remove(&dataset)
            } else {
                self.roots.insert(dataset, root)
            };
            self.records += group as u64;
            at += group;
        }
        Ok(())
    }

    /// No signer can speak for another: a foreign stamp must come from a head that its author signed.
    fn check_stamps(&mut self, dataset: &DatasetName, key: &[u8], record: &Record) -> Step<()> {
        for (field, element) in record.elements() {
            let stamp = &element.stamp;
            self.stamps.advance(stamp.author, stamp.incarnation, stamp.sequence);
            if stamp.author == self.head.signer {
                continue;
            }
            match self.vouched(dataset, key, field, element)? {
                Some(true) => {}
                // The author's own tree has moved on. What the origin keeps of it is dropped at the next
                // merge unless it is true, and `check_tip` sees that the author signed for the write.
                None if self.head.signer == self.scope.row.origin => {}
                _ => {
                    let author = self.instance.instance_label(&stamp.author).map_err(Stop::Fail)?;
                    return refuse(format!("it puts words under the stamp of {author}, who never signed them"));
                }
            }
        }
        Ok(())
    }

    /// Tells whether the tree that the head builds on, or the author's own, holds this very element;
    /// `None` if neither has the write any more.
    fn vouched(
        &mut self,
        dataset: &DatasetName,
        key: &[u8],
        field: &FieldName,
        element: &Element,
    ) -> Step<Option<bool>> {
        if let Some(start) = self.start.clone()
            && let Some(record) = self.lookup(&start, dataset, key)?
            && let Some(same) = compare(&record, field, element)
        {
            return Ok(Some(same));
        }
        let author = element.stamp.author;
        if !self.tips.contains_key(&author) {
            let tip = self.tip_of(&author).map_err(Stop::Fail)?;
            self.tips.insert(author, tip);
        }
        let Some(Some(tip)) = self.tips.get(&author).cloned() else { return Ok(None) };
        let held = self.lookup(&tip.commit, dataset, key)?;
        Ok(held.and_then(|record| compare(&record, field, element)))
    }

    /// Returns the newest commit of an author that we hold: of ourselves the local head.
    fn tip_of(&self, author: &InstanceId) -> Result<Option<Known>, Error> {
        let (state, scope) = (&self.instance.state, &self.scope.row.id);
        let id = if *author == self.instance.id() {
            self.instance.scope_row(scope)?.local_head
        } else {
            state.head(scope, author)?.map(|head| head.commit)
        };
        Ok(id.map(|id| state.commit(scope, &id)).transpose()?.flatten())
    }

    fn lookup(&self, commit: &Commit, dataset: &DatasetName, key: &[u8]) -> Step<Option<Record>> {
        let found = get(&self.instance.state, &self.scope.row.id_key, &commit.root(dataset), key);
        let Some(bytes) = found.map_err(|error| self.tree(error))? else { return Ok(None) };
        let record = codec::decode(&bytes, &self.scope.row.origin)
            .map_err(|source| Stop::Fail(Error::Record { record: dataset.to_string(), source }))?;
        Ok(Some(record))
    }

    fn check_tip(&mut self, writes: &Writes) -> Step<()> {
        let head = self.head;
        let row = &self.scope.row;
        if head.segments.is_empty() {
            let base = head.base.as_ref().expect("a head without segments has a base");
            return if base.commit == head.commit { Ok(()) } else { refuse("it carries nothing for its commit") };
        }
        let Some(bytes) = self.commits.get(&head.commit) else {
            return refuse(format!("its commit {} is not among what it carries", head.commit));
        };
        let commit = Commit::decode(bytes).map_err(|error| {
            Stop::Refuse(Refusal::because("", format!("its commit is not canonical: {error}"), HINT_SIGNER))
        })?;
        if commit.scope != row.id {
            return refuse("its commit belongs to another scope");
        }
        if commit.datasets != self.roots {
            return refuse("the records it carries do not give the root that it signs");
        }
        if commit.clock.seen(&head.signer, head.incarnation) != head.writes || !commit.clock.contains(&self.stamps) {
            return refuse("its commit and the stamps in it contradict each other");
        }
        for (author, incarnation, sequence) in commit.clock.iter() {
            let signed = writes.get(&author).copied().unwrap_or((0, 0));
            let known = author == head.signer || incarnation < signed.0 || (incarnation, sequence) <= signed;
            if !known {
                let author = self.instance.instance_label(&author).map_err(Stop::Fail)?;
                return refuse(format!("it claims write {sequence} of {author}, whose own head does not show it"));
            }
        }
        if let Some(known) =
            self.instance.state.head(&row.id, &head.signer).map_err(|error| Stop::Fail(error.into()))?
        {
            let known = self.instance.state.known_commit(&row.id, &known.commit);
            if !commit.clock.contains(&known.map_err(|error| Stop::Fail(error.into()))?.commit.clock) {
                return refuse("it does not contain what the same signer published before");
            }
        }
        self.keep_commits(commit)
    }

    /// Stores the commits that came along: those that the tip really contains.
    fn keep_commits(&self, tip: Commit) -> Step<()> {
        let row = &self.scope.row;
        let mut kept = BTreeSet::new();
        let mut queue = vec![(self.head.commit, tip)];
        while let Some((id, commit)) = queue.pop() {
            if !kept.insert(id) {
                continue;
            }
            let bytes = &self.commits[&id];
            self.instance.state.put_commit(&row.id, &row.id_key, bytes).map_err(|error| Stop::Fail(error.into()))?;
            for parent in commit.parents() {
                let Some(bytes) = self.commits.get(&parent) else { continue };
                match Commit::decode(bytes) {
                    Ok(parent_commit) if parent_commit.scope == row.id => queue.push((parent, parent_commit)),
                    _ => return refuse(format!("commit {parent} that it carries is damaged")),
                }
            }
        }
        Ok(())
    }

    fn tree(&self, source: crate::tree::error::TreeError) -> Stop {
        Stop::Fail(Error::Tree { scope: self.scope.row.name.to_string(), source })
    }
}

/// Tells whether the field holds the same write with the same value; `None` if it hasn't the write.
fn compare(record: &Record, field: &FieldName, element: &Element) -> Option<bool> {
    let write = |stamp: &Stamp| (stamp.author, stamp.incarnation, stamp.sequence);
    let elements = record.cells.get(field)?.elements();
    let held = elements.iter().find(|held| write(&held.stamp) == write(&element.stamp))?;
    Some(held.stamp == element.stamp && held.value.same(&element.value))
}

fn refuse<T>(reason: impl Into<String>) -> Step<T> {
    Err(Stop::Refuse(Refusal::because("", reason, HINT_SIGNER)))
}

/// Returns the segments to apply: for a writer's head all; for the origin's those after the head that we
/// hold, or the snapshot and those after it.
fn needed(head: &Head, known: Option<u64>) -> Vec<&Segment> {
    if head.base.is_some() {
        return head.segments.iter().collect();
    }
    let (snapshot, deltas) = head.segments.split_first().expect("the origin's head has a snapshot");
    let reachable = |known: u64| deltas.first().is_some_and(|first| first.from_seq <= known);
    match known.filter(|known| reachable(*known)) {
        Some(known) => deltas.iter().filter(|segment| segment.to_seq > known).collect(),
        None => {
            let after = deltas.iter().filter(|segment| segment.to_seq > snapshot.to_seq);
            std::iter::once(snapshot).chain(after).collect()
        }
    }
}
