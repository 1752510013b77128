//! Edits one level of a tree: takes changes of its entries, gives changes of its nodes.
//!
//! The changes of a level's nodes are the changes of the entries of the level above, so an edit is one
//! editor per level, each pulling from the one below, and memory stays at a few nodes per level.
//!
//! An editor rewrites *regions*. A region begins at the start of the node that a change falls into. It
//! ends when an old node and a new one end at the same entry: from there on the old nodes are what
//! the chunker would make again, up to the next change. A node may also end because the entry after it
//! has no room in it; so if a change may alter what comes after a node, the region begins with that node.

use std::collections::VecDeque;
use std::iter::Peekable;

use super::chunker::{Chunker, Entry};
use super::cursor::Cursor;
use super::error::TreeError;
use super::key::IdKey;
use super::root::Root;
use super::store::NodeStore;

/// One entry of a level put (`Some`) or removed. Changes come in strictly ascending order of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) key: Vec<u8>,
    pub(super) put: Option<Put>,
}

/// What an entry becomes: its tail, encoded, and the count it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Put {
    pub(super) tail: Vec<u8>,
    pub(super) count: u64,
}

/// Changes of some level, in order.
pub(super) type Changes<'a, E> = Box<dyn Iterator<Item = Result<Change, E>> + 'a>;

/// Gives the changes of one level's nodes.
pub(super) struct LevelEditor<'a, S: ?Sized, E> {
    old: Cursor<'a, S>,
    level: u8,
    changes: Peekable<Changes<'a, E>>,
    new: Chunker<'a, S>,
    /// Where the region is: the index in the old node. `None` between regions.
    at: Option<usize>,
    /// Greatest key of the old node that the last region ended with.
    rewritten_to: Option<Vec<u8>>,
    /// Changes to give, in order. Those that are not settled may be replaced, or others come before them.
    out: VecDeque<Change>,
    done: bool,
}

impl<'a, S, E> LevelEditor<'a, S, E>
where
    S: NodeStore + ?Sized,
    E: From<TreeError>,
{
    /// Edits `level` of a tree that isn't empty.
    pub(super) fn open(
        store: &'a S,
        key: &'a IdKey,
        root: &Root,
        level: u8,
        changes: Changes<'a, E>,
    ) -> Result<Self, TreeError> {
        Ok(Self {
            old: Cursor::open(store, key, root)?,
            level,
            changes: changes.peekable(),
            new: Chunker::new(store, key, level),
            at: None,
            rewritten_to: None,
            out: VecDeque::new(),
            done: false,
        })
    }

    /// Goes to the next change that changes anything and opens a region there. False if there is none.
    fn begin(&mut self) -> Result<bool, E> {
        while let Some(change) = peek(&mut self.changes)? {
            self.old.seek(&change.key, self.level)?;
            let (node, index) = self.old.place().expect("the tree isn't empty");
            let old_tail = (index < node.entries() && node.key(index) == change.key).then(|| node.tail(index));
            if old_tail == change.put.as_ref().map(|put| &*put.tail) {
                self.changes.next();
                continue;
            }
            let alters_first = index == 0 && self.level == 0;
            let before = self.old.key_before_node();
            let follows_old = before.is_some() && before != self.rewritten_to.as_deref();
            if alters_first && follows_old {
                self.old.previous_node()?;
            }
            self.at = Some(0);
            return Ok(true);
        }
        Ok(false)
    }

    /// Moves one old entry, or one change, into the new nodes.
    fn step(&mut self, at: usize) -> Result<(), E> {
        let (node, _) = self.old.place().expect("a region is in a node");
        if at == node.entries() {
            // Only in the last node of the level: what is left comes after it.
            match self.changes.next().transpose()? {
                Some(change) => self.put(change)?,
                None => self.end()?,
            }
            return Ok(());
        }
        let old_key = node.key(at);
        let change = peek(&mut self.changes)?;
        let takes_change = change.is_some_and(|change| change.key.as_slice() <= old_key);
        let passes_old = !takes_change || change.is_some_and(|change| change.key == old_key);
        if takes_change {
            let change = self.changes.next().transpose()?.expect("just peeked");
            self.put(change)?;
        } else {
            let (key, tail) = (node.key(at), node.tail(at));
            if let Some(made) = self.new.make_room(key, tail)? {
                give(&mut self.out, made.into());
            }
            if let Some(made) = self.new.add(key, tail, node.entry_count(at))? {
                give(&mut self.out, made.into());
            }
        }
        if passes_old { self.pass(at + 1) } else { Ok(()) }
    }

    fn put(&mut self, change: Change) -> Result<(), TreeError> {
        let Some(Put { tail, count }) = change.put else { return Ok(()) };
        if let Some(made) = self.new.make_room(&change.key, &tail)? {
            give(&mut self.out, made.into());
        }
        if let Some(made) = self.new.add(&change.key, &tail, count)? {
            give(&mut self.out, made.into());
        }
        Ok(())
    }

    /// Moves on in the old node; at its end it is gone, and perhaps the region with it.
    fn pass(&mut self, at: usize) -> Result<(), E> {
        self.at = Some(at);
        let (node, _) = self.old.place().expect("a region is in a node");
        if at < node.entries() {
            return Ok(());
        }
        let gone = node.greatest_key().to_vec();
        give(&mut self.out, Change { key: gone.clone(), put: None });
        if self.old.in_last_node() {
            return Ok(());
        }
        if self.new.is_empty() {
            self.rewritten_to = Some(gone);
            self.at = None;
        } else {
            self.old.next_node()?;
            self.at = Some(0);
        }
        Ok(())
    }

    /// Ends the level.
    fn end(&mut self) -> Result<(), TreeError> {
        if let Some(made) = self.new.flush()? {
            give(&mut self.out, made.into());
        }
        self.at = None;
        self.done = true;
        Ok(())
    }

    /// Tells whether the next change to give is final.
    ///
    /// While a region is open, nodes to come end at the last entry that was added, or after it.
    fn is_settled(&self) -> bool {
        let before_what_comes = |change: &Change| self.new.last_key().is_some_and(|last| change.key.as_slice() < last);
        self.out.front().is_some_and(|change| self.at.is_none() || before_what_comes(change))
    }

    fn next_change(&mut self) -> Result<Option<Change>, E> {
        loop {
            if self.is_settled() {
                return Ok(self.out.pop_front());
            }
            match self.at {
                Some(at) => self.step(at)?,
                None => {
                    if self.done || !self.begin()? {
                        return Ok(None);
                    }
                }
            }
        }
    }
}

impl<S, E> Iterator for LevelEditor<'_, S, E>
where
    S: NodeStore + ?Sized,
    E: From<TreeError>,
{
    type Item = Result<Change, E>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.next_change().transpose();
        if !matches!(next, Some(Ok(_))) {
            self.done = true;
            self.at = None;
            self.out.clear();
        }
        next
    }
}

impl From<Entry> for Change {
    fn from(entry: Entry) -> Self {
        Self { key: entry.key, put: Some(Put { tail: entry.tail, count: entry.count }) }
    }
}

/// Returns the next change without taking it, or takes the error that is in its place.
fn peek<'c, E>(changes: &'c mut Peekable<Changes<'_, E>>) -> Result<Option<&'c Change>, E> {
    if let Some(error) = changes.next_if(Result::is_err).and_then(Result::err) {
        return Err(error);
    }
    Ok(changes.peek().and_then(|change| change.as_ref().ok()))
}

/// Puts a change in its place; an old and a new node with the same greatest key are one replacement.
///
/// A new node may come after old ones with greater keys, whose entries are gone.
fn give(out: &mut VecDeque<Change>, change: Change) {
    match out.binary_search_by(|other| other.key.cmp(&change.key)) {
        Ok(at) => {
            if change.put.is_some() {
                out[at].put = change.put;
            }
        }
        Err(at) => out.insert(at, change),
    }
}
