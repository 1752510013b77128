//! Version vectors: which writes a commit has seen.
//!
//! An instance's own capture commits of one scope form a line in each incarnation, so one number per
//! (instance, incarnation) says which of its writes are contained. With this the merge needs no base
//! tree (docs/adr/0001-version-vectors.md).

use std::collections::BTreeMap;

use super::stamp::{Stamp, decode_sequence};
use crate::cbor::error::Error;
use crate::cbor::reader::Reader;
use crate::cbor::writer::Writer;
use crate::id::bytes::InstanceId;

/// The most (instance, incarnation) pairs that a clock may hold.
pub const CLOCK_ENTRIES_MAX: usize = 65_536;

/// The set of writes that a commit contains: all of each author up to a sequence number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Clock {
    seen: BTreeMap<(InstanceId, u32), u64>,
}

impl Clock {
    /// Returns the greatest sequence number seen of an author's incarnation; 0 if none.
    pub fn seen(&self, author: &InstanceId, incarnation: u32) -> u64 {
        self.seen.get(&(*author, incarnation)).copied().unwrap_or(0)
    }

    /// Tells whether the write of `stamp` is contained.
    pub fn covers(&self, stamp: &Stamp) -> bool {
        self.seen(&stamp.author, stamp.incarnation) >= stamp.sequence
    }

    /// Tells whether everything in `other` is contained here too.
    pub fn contains(&self, other: &Self) -> bool {
        other.seen.iter().all(|((author, incarnation), sequence)| self.seen(author, *incarnation) >= *sequence)
    }

    /// Tells whether all that one author wrote, in any incarnation, and that is in `other`, is contained here too.
    pub fn contains_of(&self, author: &InstanceId, other: &Self) -> bool {
        let mut lines = other.iter().filter(|(other, ..)| other == author);
        lines.all(|(author, incarnation, sequence)| self.seen(&author, incarnation) >= sequence)
    }

    /// Adds an author's writes up to `sequence`.
    pub fn advance(&mut self, author: InstanceId, incarnation: u32, sequence: u64) {
        let seen = self.seen.entry((author, incarnation)).or_insert(0);
        *seen = sequence.max(*seen);
    }

    /// Returns the union of both sets of writes.
    #[must_use]
    pub fn join(&self, other: &Self) -> Self {
        let mut joined = self.clone();
        for (&(author, incarnation), &sequence) in &other.seen {
            joined.advance(author, incarnation, sequence);
        }
        joined
    }

    /// Iterates over (author, incarnation, sequence) in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = (InstanceId, u32, u64)> + '_ {
        self.seen.iter().map(|(&(author, incarnation), &sequence)| (author, incarnation, sequence))
    }

    /// Writes the clock as an ascending array of [author, incarnation, sequence].
    pub fn encode(&self, writer: &mut Writer) {
        writer.array(self.seen.len());
        for (author, incarnation, sequence) in self.iter() {
            writer.array(3);
            writer.bytes(author.as_bytes());
            writer.uint(u64::from(incarnation));
            writer.uint(sequence);
        }
    }

    /// Reads what `encode` writes.
    ///
    /// # Errors
    /// Any other form: entries that do not strictly ascend, or a sequence number out of its bounds.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let mut seen = BTreeMap::new();
        for _ in 0..reader.array(CLOCK_ENTRIES_MAX)? {
            let start = reader.offset();
            reader.array_of(3)?;
            let author = InstanceId::from_bytes(reader.fixed()?);
            let incarnation = reader.uint32()?;
            let sequence = decode_sequence(reader)?;
            if seen.last_key_value().is_some_and(|(last, _)| *last >= (author, incarnation)) {
                return Err(reader.invalid(start, "clock entries do not strictly ascend"));
            }
            seen.insert((author, incarnation), sequence);
        }
        Ok(Self { seen })
    }
}
