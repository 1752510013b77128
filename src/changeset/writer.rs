//! Writes a changeset as a row of plaintext objects, cut by size.

use super::entry::{Body, Entry, FORMAT, PLAIN_BYTES_CUT, PLAIN_BYTES_MAX};
use crate::cbor::writer::Writer as CborWriter;
use crate::history::commit::COMMIT_BYTES_MAX;
use crate::id::bytes::{CommitId, RecordKey, ScopeId};
use crate::id::name::DatasetName;

/// What a changeset is about.
#[derive(Debug, Clone)]
pub struct Span {
    /// The scope.
    pub scope: ScopeId,
    /// The head number that it starts after; 0 for a snapshot.
    pub from: u64,
    /// The commit that it leads to.
    pub tip: CommitId,
}

/// Collects entries and hands out a finished plaintext whenever one is large enough.
///
/// Entries come by ascending dataset, then key. Memory: one plaintext of about 16 MiB.
#[derive(Debug)]
pub struct Writer<F> {
    span: Span,
    part: u32,
    cbor: CborWriter,
    entries: u64,
    dataset: Option<DatasetName>,
    last: Option<(DatasetName, RecordKey)>,
    emit: F,
}

impl<E, F: FnMut(Vec<u8>) -> Result<(), E>> Writer<F> {
    /// Starts a changeset; `commits` are the canonical bytes of commits that travel with it, the tip
    /// among them.
    pub fn new(span: Span, commits: &[Vec<u8>], emit: F) -> Self {
        let total: usize = commits.iter().map(Vec::len).sum();
        assert!(total <= COMMIT_BYTES_MAX * 2, "the caller bounds the commits of a changeset");
        let cbor = begin(&span, 0, commits);
        Self { span, part: 0, cbor, entries: 0, dataset: None, last: None, emit }
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// What `emit` gives.
    ///
    /// # Panics
    /// If entries don't strictly ascend.
    pub fn push(&mut self, entry: Entry<&[u8]>) -> Result<(), E> {
        let here = (entry.dataset, entry.key);
        assert!(self.last.as_ref().is_none_or(|last| *last < here), "entries of a changeset ascend");
        if self.cbor.len() >= PLAIN_BYTES_CUT {
            self.emit_part(false)?;
        }
        if self.dataset.as_ref() != Some(&here.0) {
            self.cbor.text(here.0.as_str());
            self.dataset = Some(here.0.clone());
        }
        self.cbor.array(2);
        self.cbor.bytes(here.1.as_bytes());
        match entry.body {
            Body::Put(record) => self.cbor.bytes(record),
            Body::Deleted => self.cbor.null(),
            Body::Withdrawn => self.cbor.bool(false),
        }
        self.entries += 1;
        self.last = Some(here);
        Ok(())
    }

    /// Ends the changeset.
    ///
    /// # Errors
    /// What `emit` gives.
    pub fn finish(mut self) -> Result<(), E> {
        self.emit_part(true)
    }

    fn emit_part(&mut self, last: bool) -> Result<(), E> {
        let next = begin(&self.span, self.part + 1, &[]);
        let plain = end(std::mem::replace(&mut self.cbor, next), self.entries, last);
        (self.part, self.entries, self.dataset) = (self.part + 1, 0, None);
        (self.emit)(plain)
    }
}

fn begin(span: &Span, part: u32, commits: &[Vec<u8>]) -> CborWriter {
    let mut cbor = CborWriter::new();
    let mut order = cbor.map(6);
    cbor.key(&mut order, "tip");
    cbor.bytes(span.tip.as_bytes());
    cbor.key(&mut order, "from");
    cbor.uint(span.from);
    cbor.key(&mut order, "part");
    cbor.uint(u64::from(part));
    cbor.key(&mut order, "scope");
    cbor.bytes(span.scope.as_bytes());
    cbor.key(&mut order, "format");
    cbor.uint(FORMAT);
    cbor.key(&mut order, "commits");
    cbor.array(commits.len());
    commits.iter().for_each(|commit| cbor.bytes(commit));
    cbor
}

fn end(mut cbor: CborWriter, entries: u64, last: bool) -> Vec<u8> {
    let checksum = blake3::hash(cbor.written());
    cbor.array(3);
    cbor.uint(entries);
    cbor.bool(last);
    cbor.bytes(checksum.as_bytes());
    let plain = cbor.finish();
    assert!(plain.len() <= PLAIN_BYTES_MAX, "an object is cut before it is too large");
    plain
}
