//! Builds a tree from sorted entries, bottom-up, in one pass.

use super::chunker::{Chunker, Entry};
use super::error::TreeError;
use super::key::IdKey;
use super::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use super::node::value_tail;
use super::root::Root;
use super::store::NodeStore;

/// Writes the tree of `entries` and returns its root.
///
/// Memory: one unfinished node per level. Writes every node once, and none that isn't in the tree.
///
/// # Errors
/// The first error of `entries`; a key or value that is too large; a store that can't write.
///
/// # Panics
/// If keys don't strictly ascend: sorting is the caller's business.
pub fn build<S, E>(
    store: &S,
    key: &IdKey,
    entries: impl IntoIterator<Item = Result<(Vec<u8>, Vec<u8>), E>>,
) -> Result<Root, E>
where
    S: NodeStore + ?Sized,
    E: From<TreeError>,
{
    let mut builder = Builder::new(store, key, 0);
    for entry in entries {
        let (entry_key, value) = entry?;
        check_bounds(&entry_key, Some(&value))?;
        builder.push(Entry { key: entry_key, tail: value_tail(&value), count: 1 })?;
    }
    Ok(builder.finish()?)
}

/// Builds all levels from `base` up out of the entries of `base`.
pub(super) struct Builder<'a, S: ?Sized> {
    store: &'a S,
    key: &'a IdKey,
    base: u8,
    count: u64,
    levels: Vec<Chunker<'a, S>>,
}

impl<'a, S: NodeStore + ?Sized> Builder<'a, S> {
    pub(super) fn new(store: &'a S, key: &'a IdKey, base: u8) -> Self {
        Self { store, key, base, count: 0, levels: Vec::new() }
    }

    /// Adds an entry of the base level.
    pub(super) fn push(&mut self, entry: Entry) -> Result<(), TreeError> {
        self.count += entry.count;
        self.push_at(0, entry)
    }

    /// Ends all levels and returns the root: the lowest node that is alone on its level.
    ///
    /// With a base above the leaves, there must be two entries or more.
    pub(super) fn finish(mut self) -> Result<Root, TreeError> {
        let mut index = 0;
        while index < self.levels.len() {
            let last = self.levels[index].flush()?;
            if self.levels[index].nodes() == 1 {
                return Ok(Root { node: self.levels[index].latest(), count: self.count });
            }
            if let Some(node) = last {
                self.push_at(index + 1, node)?;
            }
            index += 1;
        }
        assert_eq!(self.count, 0, "a level of several nodes has a level above it");
        Ok(Root::EMPTY)
    }

    fn push_at(&mut self, index: usize, entry: Entry) -> Result<(), TreeError> {
        if index == self.levels.len() {
            self.levels.push(Chunker::new(self.store, self.key, self.base + index as u8));
        }
        if let Some(node) = self.levels[index].make_room(&entry.key, &entry.tail)? {
            self.push_at(index + 1, node)?;
        }
        if let Some(node) = self.levels[index].add(&entry.key, &entry.tail, entry.count)? {
            self.push_at(index + 1, node)?;
        }
        Ok(())
    }
}

/// Refuses a key or value that no node may hold.
pub(super) fn check_bounds(key: &[u8], value: Option<&[u8]>) -> Result<(), TreeError> {
    if key.len() > KEY_BYTES_MAX {
        return Err(TreeError::KeyTooLong { bytes: key.len() });
    }
    match value {
        Some(value) if value.len() > VALUE_BYTES_MAX => Err(TreeError::ValueTooLarge { bytes: value.len() }),
        _ => Ok(()),
    }
}
