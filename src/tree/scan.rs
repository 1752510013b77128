//! Reads a range of entries in order.

use std::ops::{Bound, RangeBounds};

use super::cursor::Cursor;
use super::error::TreeError;
use super::key::IdKey;
use super::root::Root;
use super::store::NodeStore;

/// Returns the entries of `range` in key order, reading nodes as it goes.
///
/// Keys compare bytewise; a range whose end is before its start is empty. Reads one node per level to
/// start and one per about ten entries of 400 bytes. Memory: one node per level.
///
/// # Errors
/// `Missing`, `Read` or `Corrupt` for a node on the way. The scan ends with the first error.
pub fn scan<'a, S: NodeStore + ?Sized>(
    store: &'a S,
    key: &'a IdKey,
    root: &Root,
    range: impl RangeBounds<Vec<u8>>,
) -> Scan<'a, S> {
    let (start, end) = (range.start_bound().cloned(), range.end_bound().cloned());
    Scan { place: Place::Unopened { store, key, root: *root, start }, end }
}

/// A key and its value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// Iterator over the entries of a range; see `scan`.
pub struct Scan<'a, S: ?Sized> {
    place: Place<'a, S>,
    end: Bound<Vec<u8>>,
}

enum Place<'a, S: ?Sized> {
    Unopened { store: &'a S, key: &'a IdKey, root: Root, start: Bound<Vec<u8>> },
    At(Cursor<'a, S>),
    Done,
}

impl<S: NodeStore + ?Sized> Iterator for Scan<'_, S> {
    type Item = Result<Entry, TreeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.next_entry().transpose();
        if !matches!(next, Some(Ok(_))) {
            self.place = Place::Done;
        }
        next
    }
}

impl<S: NodeStore + ?Sized> Scan<'_, S> {
    fn next_entry(&mut self) -> Result<Option<Entry>, TreeError> {
        if let Place::Unopened { store, key, root, start } = &self.place {
            self.place = Place::At(open_at(*store, key, root, start)?);
        }
        let Place::At(cursor) = &mut self.place else { return Ok(None) };
        let Some((leaf, index)) = cursor.leaf()? else { return Ok(None) };
        let key = leaf.key(index);
        let inside = match &self.end {
            Bound::Included(end) => key <= end.as_slice(),
            Bound::Excluded(end) => key < end.as_slice(),
            Bound::Unbounded => true,
        };
        if !inside {
            return Ok(None);
        }
        let entry = (key.to_vec(), leaf.value(index).to_vec());
        cursor.advance();
        Ok(Some(entry))
    }
}

fn open_at<'a, S: NodeStore + ?Sized>(
    store: &'a S,
    key: &'a IdKey,
    root: &Root,
    start: &Bound<Vec<u8>>,
) -> Result<Cursor<'a, S>, TreeError> {
    let mut cursor = Cursor::open(store, key, root)?;
    let (Bound::Included(first) | Bound::Excluded(first)) = start else { return Ok(cursor) };
    if cursor.place().is_none() {
        return Ok(cursor);
    }
    cursor.seek(first, 0)?;
    let (leaf, index) = cursor.place().expect("seek never goes to the end");
    let past_leaf = index == leaf.entries();
    if past_leaf || (matches!(start, Bound::Excluded(_)) && leaf.key(index) == first.as_slice()) {
        cursor.advance();
    }
    Ok(cursor)
}
