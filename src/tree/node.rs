//! One node of a tree: its bytes, strictly read.
//!
//! A node owns its bytes and a table of offsets, so reading one costs two allocations however many
//! entries it has. What two nodes must agree on is checked in `cursor`. Layout: format/tree.md, "Node".

use std::ops::Range;

use super::limits::{KEY_BYTES_MAX, LEVEL_MAX, NODE_BYTES_MAX, NODE_BYTES_MAX_SINGLE, VALUE_BYTES_MAX};
use crate::cbor::error::{Error, Problem};
use crate::cbor::reader::Reader;
use crate::cbor::writer::Writer;
use crate::id::bytes::NodeId;

/// A node whose encoding was found to be canonical and within bounds.
#[derive(Debug, Clone)]
pub struct Node {
    bytes: Vec<u8>,
    level: u8,
    count: u64,
    slots: Vec<Slot>,
}

/// Where one entry lies in the bytes. The tail is all that follows the key: of a leaf's entry the
/// value, of an inner node's the child's id and count.
#[derive(Debug, Clone)]
struct Slot {
    key: Range<u32>,
    tail: Range<u32>,
    /// Start of the contents of the byte string that begins the tail.
    value: u32,
    count: u64,
}

impl Node {
    /// Reads a node.
    ///
    /// # Errors
    /// The bytes aren't canonical CBOR, break the layout or a bound, keys don't strictly ascend, a child
    /// is empty, or the counts of the children exceed 64 bits.
    pub fn decode(bytes: Vec<u8>) -> Result<Self, Error> {
        if bytes.len() > NODE_BYTES_MAX_SINGLE {
            let (found, bound) = (bytes.len() as u64, NODE_BYTES_MAX_SINGLE as u64);
            return Err(Error { offset: 0, problem: Problem::TooLarge { found, bound } });
        }
        let mut reader = Reader::new(&bytes);
        reader.array_of(2)?;
        let level = reader.uint_max(u64::from(LEVEL_MAX))? as u8;
        let (slots, count) = read_slots(&mut reader, level)?;
        reader.finish()?;
        if slots.len() > 1 && bytes.len() > NODE_BYTES_MAX {
            let (found, bound) = (bytes.len() as u64, NODE_BYTES_MAX as u64);
            return Err(Error { offset: 0, problem: Problem::TooLarge { found, bound } });
        }
        Ok(Self { bytes, level, count, slots })
    }

    /// Returns the node as it is encoded.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns about how many bytes of memory the node takes.
    pub fn weight(&self) -> usize {
        size_of::<Self>() + self.bytes.len() + self.slots.len() * size_of::<Slot>()
    }

    /// Returns the distance to the leaves.
    pub fn level(&self) -> u8 {
        self.level
    }

    /// Returns how many entries of the map lie in or below this node.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Returns how many entries, or children, the node itself has: at least one.
    pub fn entries(&self) -> usize {
        self.slots.len()
    }

    /// Returns the key of an entry, or the greatest key below a child.
    pub fn key(&self, index: usize) -> &[u8] {
        self.part(&self.slots[index].key)
    }

    /// Returns the greatest key in or below the node.
    pub fn greatest_key(&self) -> &[u8] {
        self.key(self.slots.len() - 1)
    }

    /// Returns the value of a leaf's entry.
    ///
    /// # Panics
    /// If the node is no leaf.
    pub fn value(&self, index: usize) -> &[u8] {
        assert_eq!(self.level, 0, "only leaves have values");
        let slot = &self.slots[index];
        self.part(&(slot.value..slot.tail.end))
    }

    /// Returns the id of a child.
    ///
    /// # Panics
    /// If the node is a leaf.
    pub fn child(&self, index: usize) -> NodeId {
        assert_ne!(self.level, 0, "leaves have no children");
        let start = self.slots[index].value;
        NodeId::from_slice(self.part(&(start..start + NodeId::SIZE as u32))).expect("the range has the id's size")
    }

    /// Returns how many entries of the map an entry stands for: one in a leaf.
    pub fn entry_count(&self, index: usize) -> u64 {
        self.slots[index].count
    }

    /// Returns where `key` is, or else the index of the first entry after it.
    pub fn search(&self, key: &[u8]) -> Result<usize, usize> {
        self.slots.binary_search_by(|slot| self.part(&slot.key).cmp(key))
    }

    /// Returns what follows the key of an entry, encoded.
    pub(super) fn tail(&self, index: usize) -> &[u8] {
        self.part(&self.slots[index].tail)
    }

    fn part(&self, range: &Range<u32>) -> &[u8] {
        &self.bytes[range.start as usize..range.end as usize]
    }
}

/// Returns the encoded tail of a leaf's entry.
pub(super) fn value_tail(value: &[u8]) -> Vec<u8> {
    let mut writer = Writer::with_capacity(value.len() + 9);
    writer.bytes(value);
    writer.finish()
}

/// Returns the encoded tail of an inner node's entry.
pub(super) fn child_tail(id: &NodeId, count: u64) -> Vec<u8> {
    let mut writer = Writer::with_capacity(NodeId::SIZE + 11);
    writer.bytes(id.as_bytes());
    writer.uint(count);
    writer.finish()
}

/// Returns the child that an inner node's tail names.
pub(super) fn tail_child(tail: &[u8]) -> NodeId {
    let id = Reader::new(tail).bytes(NodeId::SIZE).ok().and_then(NodeId::from_slice);
    id.expect("`child_tail` made it, or `Node::decode` read it")
}

/// Returns the bytes of a node whose encoded entries are `body`.
pub(super) fn encode(level: u8, entries: usize, body: &[u8]) -> Vec<u8> {
    let mut writer = Writer::with_capacity(body.len() + 16);
    writer.array(2);
    writer.uint(u64::from(level));
    writer.array(entries * items_of_entry(level));
    writer.raw(body);
    writer.finish()
}

fn read_slots(reader: &mut Reader<'_>, level: u8) -> Result<(Vec<Slot>, u64), Error> {
    let start = reader.offset();
    let items = reader.array(NODE_BYTES_MAX)?;
    if items == 0 || items % items_of_entry(level) != 0 {
        return Err(reader.invalid(start, "a node has no entries or a part of one"));
    }
    let entries = items / items_of_entry(level);
    let mut slots = Vec::with_capacity(entries);
    let mut last: Option<&[u8]> = None;
    let mut total = 0u64;
    for _ in 0..entries {
        let start = reader.offset();
        let key = reader.bytes(KEY_BYTES_MAX)?;
        if last.is_some_and(|last| last >= key) {
            return Err(reader.error(start, Problem::Unsorted));
        }
        last = Some(key);
        let tail_start = reader.offset();
        let (value_bytes, value_end, count) = read_tail(reader, level)?;
        let tail_end = reader.offset();
        total = total.checked_add(count).ok_or_else(|| reader.invalid(start, "the counts exceed 64 bits"))?;
        slots.push(Slot {
            key: offset(tail_start - key.len())..offset(tail_start),
            tail: offset(tail_start)..offset(tail_end),
            value: offset(value_end - value_bytes),
            count,
        });
    }
    Ok((slots, total))
}

/// Reads a tail; returns the length and end of its byte string, and the count it stands for.
fn read_tail(reader: &mut Reader<'_>, level: u8) -> Result<(usize, usize, u64), Error> {
    if level == 0 {
        let value = reader.bytes(VALUE_BYTES_MAX)?;
        return Ok((value.len(), reader.offset(), 1));
    }
    let id = reader.fixed::<{ NodeId::SIZE }>()?;
    let end = reader.offset();
    match reader.uint()? {
        0 => Err(reader.invalid(end, "a child is empty")),
        count => Ok((id.len(), end, count)),
    }
}

fn items_of_entry(level: u8) -> usize {
    if level == 0 { 2 } else { 3 }
}

fn offset(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("a node is at most NODE_BYTES_MAX_SINGLE, far below 4 GiB")
}
