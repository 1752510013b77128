//! Takes one verified head: fetches its objects, rebuilds the signer's trees, and compares the roots.
//!
//! Everything happens in one transaction of the local state: either the head and all that it carries is
//! kept, or nothing is.

mod rebuild;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use super::error::Error;
use super::instance::Instance;
use super::prepare::Prepared;
use super::progress::Event;
use super::refusal::Refusal;
use super::scopes::OpenScope;
use super::vouch::Vouchers;
use super::waiting::Waits;
use crate::changeset::entry::{Body, Entry};
use crate::changeset::reader::{Part, read};
use crate::changeset::seal;
use crate::exchange::head::{Head, ObjectRef, Segment};
use crate::exchange::store::Store;
use crate::history::commit::{Commit, id_of};
use crate::id::bytes::{CommitId, DocHash, InstanceId, RecordKey};
use crate::id::name::DatasetName;
use crate::record::cell::{Element, Record};
use crate::record::clock::Clock;
use crate::record::codec;
use crate::state::database;
use crate::state::heads::TrackedHead;
use crate::sys::clock;
use crate::tree::apply::{Failed, try_apply};
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
    /// What it is wanted for.
    pub taking: Taking,
}

/// What a head is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taking {
    /// To be tracked as its signer's newest.
    Head,
    /// Only its records: an older head of ours, from which a restore may have something to save.
    Records,
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
    Held(Waits),
    /// It is wrong; nothing was kept. The document's name is left for the caller to fill in.
    Refused(Refusal),
}

/// Why the work on one head ends early.
pub(super) enum Stop {
    Refuse(Refusal),
    Hold(String),
    Fail(Error),
}

pub(super) type Step<T> = Result<T, Stop>;

/// The trees under construction and what was seen on the way.
pub(super) struct Building<'a> {
    pub(super) instance: &'a Instance,
    pub(super) scope: &'a OpenScope,
    pub(super) head: &'a Head,
    roots: BTreeMap<DatasetName, Root>,
    pub(super) start: Option<Commit>,
    stamps: Clock,
    pub(super) commits: BTreeMap<CommitId, Vec<u8>>,
    /// Who vouches for the words that are not the signer's own.
    pub(super) vouchers: Vouchers<'a>,
    /// The commit that the changeset being read leads to.
    tip: Option<CommitId>,
    records: u64,
    /// Whether the origin took records, or fields of them, out of the scope.
    withdraws: bool,
    /// The records of these that we hold.
    withdrawn: Vec<(DatasetName, RecordKey)>,
}

pub(super) const HINT_AGAIN: &str = "ask the instance that wrote it to push again, or fetch from another remote";
pub(super) const HINT_TWO: &str = "nothing was taken. Ask its operator whether it came back from a backup or runs twice: it stops one copy and runs \
                        `wbsync restore` on the other, whose next push is taken again; `wbsync fsck` tells whether our own state is whole";
const HINT_SIGNER: &str = "do not trust this peer before you know how it came to sign this";

impl Instance {
    /// Fetches what a head carries, verifies it, and tracks it.
    ///
    /// `others` are heads of the same scope that are not tracked yet. What their signers signed in them
    /// counts as said, whatever else may be wrong with them: two writers who merged each other hold
    /// words of each other, and neither could ever be first.
    ///
    /// # Errors
    /// The remote can't be read (any more), or the state can't be written.
    pub(super) fn ingest(
        &self,
        store: &dyn Store,
        remote: &str,
        scope: &OpenScope,
        incoming: &Incoming,
        others: &[&Incoming],
        writes: &Writes,
    ) -> Result<Ingested, Error> {
        let prepared = match self.prepare(store, remote, scope, incoming)? {
            Ok(prepared) => prepared,
            Err(ended) => return Ok(ended),
        };
        let mut said = Vec::new();
        for other in others {
            said.extend(self.prepare(store, remote, scope, other)?);
        }
        let head = &incoming.head;
        let objects = prepared.files.len() as u64;
        let bytes = prepared.segments.iter().flat_map(|segment| &segment.objects).map(|object| object.bytes).sum();
        let transaction = self.state.transaction()?;
        let mut vouchers = match head.signer == self.id() {
            true => Vouchers::nobody(self, scope, writes),
            false => Vouchers::new(self, scope, writes),
        };
        for other in &said {
            let mut building = Building::new(self, scope, other, Vouchers::nobody(self, scope, writes));
            match building.run(other, writes) {
                Ok(commit) => vouchers.believe(other.head.signer, commit),
                // Its own turn says what is wrong with it.
                Err(Stop::Refuse(_) | Stop::Hold(_)) => {}
                Err(Stop::Fail(error)) => {
                    self.state.forget_cache();
                    return Err(error);
                }
            }
        }
        let mut building = Building::new(self, scope, &prepared, vouchers);
        let done = building.run(&prepared, writes).and_then(|commit| building.keep_commits(commit));
        match done {
            Ok(()) => {}
            Err(Stop::Refuse(refusal)) => {
                drop(transaction);
                self.state.forget_cache();
                self.remove_incoming(&prepared)?;
                return Ok(Ingested::Refused(refusal));
            }
            Err(Stop::Hold(why)) => {
                drop(transaction);
                self.state.forget_cache();
                let seen = building.commits.get(&head.commit).and_then(|bytes| Commit::decode(bytes).ok());
                return Ok(Ingested::Held(Waits { why, seen: seen.map(|commit| commit.clock) }));
            }
            Err(Stop::Fail(error)) => {
                self.state.forget_cache();
                return Err(error);
            }
        }
        let records = building.records;
        if incoming.taking == Taking::Records {
            self.note_rescued(&scope.row.id, &head.commit)?;
            database::commit(transaction)?;
            self.remove_incoming(&prepared)?;
            return Ok(Ingested::Taken { records, objects, bytes });
        }
        // What our own edits may hold against it, where we may not write.
        for (dataset, key) in building.withdrawn.iter().filter(|_| head.signer == scope.row.origin) {
            self.state.set_withdrawn(&scope.row.id, dataset, key, true)?;
        }
        // A snapshot says nothing of what it leaves out.
        let leaves_out = || if prepared.start.is_none() { self.leaves_out(scope, head) } else { Ok(false) };
        if building.withdraws || leaves_out()? || self.takes_back(scope, head)? {
            self.note_withdrawn_by_origin(scope)?;
        }
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
        self.state.put_seen(head, &incoming.hash, &incoming.document)?;
        self.state.clear_jump(&scope.row.id, &head.signer)?;
        database::commit(transaction)?;
        self.keep_fetched(scope, &prepared)?;
        self.remove_incoming(&prepared)?;
        self.tell(Event::End);
        Ok(Ingested::Taken { records, objects, bytes })
    }
}

impl<'a> Building<'a> {
    fn new(instance: &'a Instance, scope: &'a OpenScope, prepared: &Prepared<'a>, vouchers: Vouchers<'a>) -> Self {
        Self {
            instance,
            scope,
            head: prepared.head,
            roots: prepared.start.as_ref().map_or_else(BTreeMap::new, |commit| commit.datasets.clone()),
            start: prepared.start.clone(),
            stamps: Clock::default(),
            commits: BTreeMap::new(),
            vouchers,
            tip: None,
            records: 0,
            withdraws: false,
            withdrawn: Vec::new(),
        }
    }

    /// Rebuilds the trees and returns the head's commit, which they match.
    fn run(&mut self, prepared: &Prepared<'_>, writes: &Writes) -> Step<Commit> {
        let total = Some(prepared.files.len() as u64);
        self.instance.tell(Event::Phase { name: "verifying and merging trees", total });
        let mut files = prepared.files.iter();
        let mut done = 0;
        for segment in &prepared.segments {
            let mut last_key = None;
            self.tip = None;
            for (index, object) in segment.objects.iter().enumerate() {
                let file = files.next().expect("one file was fetched for each object");
                let sealed = fs::read(file).map_err(Error::io("read", file)).map_err(Stop::Fail)?;
                self.take_object(segment, index, object, sealed, &mut last_key)?;
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
        sealed: Vec<u8>,
        last_key: &mut Option<(DatasetName, RecordKey)>,
    ) -> Step<()> {
        // Any epoch that we were granted may have sealed an older segment.
        let mut keys = self.scope.keys.epochs.values().rev();
        let mut opened = seal::open(&object.id, &sealed, keys.next().expect("a readable scope has an epoch key"));
        while let Err(seal::Error::Decrypt { .. }) = &opened
            && let Some(key) = keys.next()
        {
            opened = seal::open(&object.id, &sealed, key);
        }
        let plain = opened.map_err(|error| Stop::Refuse(Refusal::new("", &error, HINT_AGAIN).damaged()))?;
        drop(sealed);
        let part = read(&plain).map_err(|error| {
            let refusal = Refusal::new("", &error, HINT_SIGNER);
            Stop::Refuse(Refusal {
                reason: format!("object {} is no changeset: {}", object.id, refusal.reason),
                ..refusal
            })
        })?;
        let is_last = index + 1 == segment.objects.len();
        let tip = self.tip.get_or_insert(part.span.tip);
        let fits = part.span.scope == self.scope.row.id
            && part.span.tip == *tip
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
            let root = self.roots.get(&dataset).copied().unwrap_or_default();
            let (state, key) = (&self.instance.state, &self.scope.row.id_key);
            let edits = part.entries[at..at + group].iter().map(|entry| self.checked(entry).map_err(Failed::Edit));
            let root = try_apply(state, key, &root, edits).map_err(|failed| match failed {
                Failed::Tree(error) => self.tree(error),
                Failed::Edit(stop) => stop,
            })?;
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

    /// Checks what a changeset says of a record, and gives it as the tree takes it.
    fn checked(&mut self, entry: &Entry<&[u8]>) -> Step<(Vec<u8>, Option<Vec<u8>>)> {
        let (dataset, key) = (&entry.dataset, entry.key.as_bytes());
        let bytes = match entry.body {
            Body::Put(bytes) => {
                let record = codec::decode(bytes, &self.scope.row.origin).map_err(|error| {
                    let reason = format!("record {dataset}/{} is not canonical: {error}", entry.key);
                    Stop::Refuse(Refusal::because("", reason, HINT_SIGNER))
                })?;
                let mut last = None;
                for (_, Element { stamp, .. }) in record.elements() {
                    // Most fields were written by one write.
                    if last.replace(stamp) != Some(stamp) {
                        self.stamps.advance(stamp.author, stamp.incarnation, stamp.sequence);
                    }
                }
                let is_origin = self.head.signer == self.scope.row.origin;
                let before = match &self.start {
                    Some(start) if is_origin || self.has_old_words(&record) => self.lookup(start, dataset, key)?,
                    _ => None,
                };
                self.check_stamps(dataset, key, &record, before.as_ref())?;
                self.withdraws |= is_origin && before.is_some_and(|before| narrows(&before, &record));
                Some(bytes.to_vec())
            }
            Body::Deleted => None,
            Body::Withdrawn => {
                if self.is_here(dataset, key)? {
                    self.withdraws = true;
                    self.withdrawn.push((dataset.clone(), entry.key));
                }
                None
            }
        };
        Ok((key.to_vec(), bytes))
    }

    /// Tells whether we hold a record, as the head's signer left it or as it was merged here. Folded changesets
    /// repeat withdrawals that we know.
    fn is_here(&self, dataset: &DatasetName, key: &[u8]) -> Step<bool> {
        let scope = &self.scope.row.id;
        let local = self.instance.scope_row(scope).map_err(Stop::Fail)?.local_head;
        let local = local.map(|id| self.instance.state.known_commit(scope, &id)).transpose();
        let local = local.map_err(|error| Stop::Fail(error.into()))?.map(|known| known.commit);
        for state in self.start.iter().chain(&local) {
            if self.lookup(state, dataset, key)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn check_tip(&mut self, writes: &Writes) -> Step<Commit> {
        let head = self.head;
        let row = &self.scope.row;
        if head.segments.is_empty() {
            let base = head.base.as_ref().expect("a head without segments has a base");
            return match self.start.clone().filter(|_| base.commit == head.commit) {
                Some(commit) if commit.clock.seen(&head.signer, head.incarnation) == head.writes => Ok(commit),
                Some(_) => refuse("its commit doesn't contain as many writes of its signer as it says"),
                None => refuse("it carries nothing for its commit"),
            };
        }
        let Some(bytes) = self.commits.get(&head.commit) else {
            return refuse(format!("its commit {} is not among what it carries", head.commit));
        };
        if self.tip != Some(head.commit) {
            return refuse("its newest changeset leads to another commit than it signs");
        }
        let commit = Commit::decode(bytes).map_err(|error| {
            Stop::Refuse(Refusal::because("", format!("its commit is not canonical: {error}"), HINT_SIGNER))
        })?;
        if commit.scope != row.id {
            return refuse("its commit belongs to another scope");
        }
        if commit.datasets != self.roots {
            return self.refuse_roots();
        }
        if commit.clock.seen(&head.signer, head.incarnation) != head.writes || !commit.clock.contains(&self.stamps) {
            return refuse("its commit and the stamps in it contradict each other");
        }
        for (author, incarnation, sequence) in commit.clock.iter() {
            let signed = writes.get(&author).copied().unwrap_or((0, 0));
            let known = author == head.signer
                || head.signer == self.instance.id()
                || incarnation < signed.0
                || (incarnation, sequence) <= signed;
            if !known {
                let author = self.instance.instance_label(&author).map_err(Stop::Fail)?;
                return refuse(format!("it claims write {sequence} of {author}, whose own head does not show it"));
            }
        }
        if let Some(known) =
            self.instance.state.head(&row.id, &head.signer).map_err(|error| Stop::Fail(error.into()))?
            // Who was restored from a backup may have lost what it published; and so may we have.
            && known.incarnation == head.incarnation
            && known.commit != head.commit
            && head.signer != self.instance.id()
        {
            let before = self.instance.state.known_commit(&row.id, &known.commit);
            let before = before.map_err(|error| Stop::Fail(error.into()))?;
            if !commit.clock.contains(&before.commit.clock) {
                return refuse("it does not contain what the same signer published before");
            }
            self.check_own_words(known.seq, &before, &commit)?;
        }
        Ok(commit)
    }

    /// Says that the records don't give the signed root; on top of what the same signer published before, most likely because that
    /// was another history.
    fn refuse_roots(&self) -> Step<Commit> {
        const REASON: &str = "the records it carries do not give the root that it signs";
        let (scope, signer) = (&self.scope.row.id, &self.head.signer);
        let known = self.instance.state.head(scope, signer).map_err(|error| Stop::Fail(error.into()))?;
        match known.filter(|_| self.start.is_some() && self.head.base.is_none()) {
            Some(known) => {
                let reason = format!(
                    "{REASON} on top of head {0} that we took from the same signer, which may have signed two histories: head {0} \
                     or {1} of the other one would prove it, and whoever has it tells with a receipt",
                    known.seq,
                    known.seq + 1
                );
                Err(Stop::Refuse(Refusal::because("", reason, HINT_TWO)))
            }
            None => refuse(REASON),
        }
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
            let Some(bytes) = self.commits.get(&id) else { continue };
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

    pub(super) fn tree(&self, source: crate::tree::error::TreeError) -> Stop {
        Stop::Fail(Error::Tree { scope: self.scope.row.name.to_string(), source })
    }
}

pub(super) fn refuse<T>(reason: impl Into<String>) -> Step<T> {
    Err(Stop::Refuse(Refusal::because("", reason, HINT_SIGNER)))
}

/// Tells whether fields were taken out of a record.
fn narrows(before: &Record, record: &Record) -> bool {
    before.cells.keys().any(|field| !record.cells.contains_key(field))
}
