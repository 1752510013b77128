//! The map rows that a write transaction read or wrote: many rows refer to the same few. And where the map ends: new records
//! and new rows mostly come after all that it has, so that it needn't be asked.
//!
//! Nobody else writes the map while such a transaction is open, so what is remembered is what is there. It is forgotten when
//! anything was taken back, and before the next transaction if anybody else may have written since.

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry as Place;

use super::books::Entry;
use super::key::Key;
use super::session::SqlError;

/// The most map rows that are remembered.
const ENTRIES_MAX: usize = 16_384;

/// The map rows known by key, and their keys by record. Remembers nothing until it is begun.
#[derive(Debug, Default)]
pub(super) struct Recall {
    known: RefCell<Option<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    entries: HashMap<(usize, Key), Entry>,
    keys: HashMap<(usize, i64, [u8; 16]), Key>,
    ends: Ends,
}

/// The greatest that the map has, or had in this transaction; `None` where it has nothing.
#[derive(Debug, Default)]
struct Ends {
    records: HashMap<(usize, i64), Option<[u8; 16]>>,
    keys: HashMap<usize, Option<Key>>,
}

impl Recall {
    /// Begins to remember, with nothing.
    pub(super) fn begin(&self) {
        *self.known.borrow_mut() = Some(Known::default());
    }

    /// Forgets everything, and remembers nothing from now on.
    pub(super) fn end(&self) {
        *self.known.borrow_mut() = None;
    }

    /// Forgets everything that is remembered: something was taken back.
    pub(super) fn forget_all(&self) {
        if let Some(known) = &mut *self.known.borrow_mut() {
            *known = Known::default();
        }
    }

    /// Returns the map row of a row.
    pub(super) fn at(&self, dataset: usize, key: &Key) -> Option<Entry> {
        self.look_at(dataset, key, Entry::clone)
    }

    /// Returns what `read` makes of the map row of a row.
    pub(super) fn look_at<T>(&self, dataset: usize, key: &Key, read: impl FnOnce(&Entry) -> T) -> Option<T> {
        let known = self.known.borrow();
        known.as_ref()?.entries.get(&(dataset, key.clone())).map(read)
    }

    /// Returns the map row of a record.
    pub(super) fn of(&self, dataset: usize, origin: i64, record: &[u8; 16]) -> Option<Entry> {
        let known = self.known.borrow();
        let known = known.as_ref()?;
        let key = known.keys.get(&(dataset, origin, *record))?;
        known.entries.get(&(dataset, key.clone())).cloned()
    }

    /// Tells whether a record of an instance comes after all that have map rows; `last` finds the last of these.
    pub(super) fn is_past_records(
        &self,
        dataset: usize,
        (origin, record): (i64, &[u8; 16]),
        last: impl FnOnce() -> Result<Option<[u8; 16]>, SqlError>,
    ) -> Result<bool, SqlError> {
        let mut known = self.known.borrow_mut();
        let Some(known) = &mut *known else { return Ok(false) };
        let last = match known.ends.records.entry((dataset, origin)) {
            Place::Occupied(place) => place.into_mut(),
            Place::Vacant(place) => place.insert(last()?),
        };
        Ok(last.as_ref().is_none_or(|last| record > last))
    }

    /// Tells whether a number comes after the keys of all map rows; `last` finds the last of these. Only numbers sort for us as
    /// they do for every database.
    pub(super) fn is_past_keys(
        &self,
        dataset: usize,
        key: &Key,
        last: impl FnOnce() -> Result<Option<Key>, SqlError>,
    ) -> Result<bool, SqlError> {
        let mut known = self.known.borrow_mut();
        let (Some(known), Key::Int(number)) = (&mut *known, key) else { return Ok(false) };
        let last = match known.ends.keys.entry(dataset) {
            Place::Occupied(place) => place.into_mut(),
            Place::Vacant(place) => place.insert(last()?),
        };
        Ok(match last {
            None => true,
            Some(Key::Int(last)) => number > last,
            Some(Key::Text(_)) => false,
        })
    }

    /// Notes that a map row was written, whatever was there.
    pub(super) fn wrote(&self, dataset: usize, entry: &Entry) {
        let mut known = self.known.borrow_mut();
        let Some(Known { ends, .. }) = &mut *known else { return };
        if let Some(last) = ends.records.get_mut(&(dataset, entry.origin)) {
            *last = (*last).max(Some(entry.record));
        }
        if let Some(last) = ends.keys.get_mut(&dataset)
            && last.as_ref().is_none_or(|last| *last < entry.key)
        {
            *last = Some(entry.key.clone());
        }
    }

    /// Remembers a map row as it is.
    pub(super) fn note(&self, dataset: usize, entry: &Entry) {
        self.forget(dataset, &entry.key);
        if let Some(known) = &mut *self.known.borrow_mut() {
            if known.entries.len() >= ENTRIES_MAX {
                *known = Known { ends: std::mem::take(&mut known.ends), ..Known::default() };
            }
            known.keys.insert((dataset, entry.origin, entry.record), entry.key.clone());
            known.entries.insert((dataset, entry.key.clone()), entry.clone());
        }
    }

    /// Forgets a map row, which changed or is gone.
    pub(super) fn forget(&self, dataset: usize, key: &Key) {
        if let Some(known) = &mut *self.known.borrow_mut()
            && let Some(entry) = known.entries.remove(&(dataset, key.clone()))
        {
            known.keys.remove(&(dataset, entry.origin, entry.record));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scope::audience::{Audience, Reason};

    fn entry(key: i64, record: u8) -> Entry {
        let (key, audience) = (Key::Int(key), Audience::Private(Reason::Chosen));
        let record = [record; 16];
        Entry { key, origin: 1, record, birth: 0, digest: 0, audience, seen: 0, view: 0, flags: 0, rule: None }
    }

    #[test]
    fn a_row_is_found_both_ways_until_it_changes() {
        let recall = Recall::default();
        recall.note(0, &entry(1, 1));
        assert!(recall.at(0, &Key::Int(1)).is_none(), "nothing was begun");
        recall.begin();
        recall.note(0, &entry(1, 1));
        recall.note(1, &entry(1, 1));
        assert!(recall.at(0, &Key::Int(1)).is_some() && recall.of(0, 1, &[1; 16]).is_some());
        // The key is another record's now.
        recall.note(0, &entry(1, 2));
        assert!(recall.of(0, 1, &[1; 16]).is_none());
        assert_eq!(recall.of(0, 1, &[2; 16]).map(|entry| entry.key), Some(Key::Int(1)));
        recall.forget(0, &Key::Int(1));
        assert!(recall.at(0, &Key::Int(1)).is_none() && recall.of(0, 1, &[2; 16]).is_none());
        assert!(recall.at(1, &Key::Int(1)).is_some());
        for key in 0..ENTRIES_MAX as i64 * 2 {
            recall.note(0, &entry(key, 3));
            assert!(recall.at(0, &Key::Int(key)).is_some());
        }
        recall.end();
        assert!(recall.at(1, &Key::Int(1)).is_none());
    }

    #[test]
    fn what_comes_after_all_is_known_without_asking() {
        let recall = Recall::default();
        let never = || -> Result<Option<[u8; 16]>, SqlError> { panic!("it is known") };
        assert!(!recall.is_past_records(0, (1, &[9; 16]), never).unwrap(), "nothing was begun");
        recall.begin();
        assert!(recall.is_past_records(0, (1, &[1; 16]), || Ok(None)).unwrap());
        assert!(!recall.is_past_records(0, (2, &[1; 16]), || Ok(Some([1; 16]))).unwrap());
        assert!(recall.is_past_keys(0, &Key::Int(5), || Ok(Some(Key::Int(4)))).unwrap());
        recall.wrote(0, &entry(5, 3));
        assert!(!recall.is_past_records(0, (1, &[3; 16]), never).unwrap());
        assert!(recall.is_past_records(0, (1, &[4; 16]), never).unwrap());
        let asked = || -> Result<Option<Key>, SqlError> { panic!("it is known") };
        assert!(!recall.is_past_keys(0, &Key::Int(5), asked).unwrap());
        assert!(recall.is_past_keys(0, &Key::Int(6), asked).unwrap());
        // However much is remembered, and whatever is forgotten of rows.
        for key in 0..ENTRIES_MAX as i64 * 2 {
            recall.note(0, &entry(key, 3));
        }
        recall.forget(0, &Key::Int(5));
        assert!(!recall.is_past_keys(0, &Key::Int(5), asked).unwrap());
        // Texts sort as each database likes, and come after numbers.
        assert!(!recall.is_past_keys(0, &Key::Text("x".into()), asked).unwrap());
        recall.wrote(0, &Entry { key: Key::Text("x".into()), ..entry(0, 0) });
        assert!(!recall.is_past_keys(0, &Key::Int(6), asked).unwrap());
        recall.forget_all();
        assert!(recall.is_past_keys(0, &Key::Int(1), || Ok(None)).unwrap());
    }
}
