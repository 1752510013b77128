//! Commits: the state of a scope, and which writes it contains. Bytes: format/commit.md.
//!
//! A *capture* commit is made by one instance from its application's changes. A *merge* commit is a
//! pure function of the set of newest capture commits that it joins: no author, no time, and the same
//! id whoever merges and in whatever order.

use std::collections::BTreeMap;

use crate::cbor::error::Error;
use crate::cbor::reader::Reader;
use crate::cbor::writer::Writer;
use crate::id::bytes::{CommitId, InstanceId, NodeId, ScopeId};
use crate::id::name::DatasetName;
use crate::record::clock::Clock;
use crate::record::stamp::{NUMBER_MAX, decode_sequence};
use crate::sys::clock::UnixMillis;
use crate::tree::key::IdKey;
use crate::tree::root::Root;

/// The format of commits, and with it the version of the merge algorithm.
pub const FORMAT: u64 = 1;
/// Separates commit ids from the node ids of the same scope key.
const ID_CONTEXT: &str = "wbsync 2026 commit id v1";
/// The most datasets of one scope.
pub const DATASETS_MAX: usize = 256;
/// The most capture commits that one merge joins.
pub const FRONTIER_MAX: usize = 4096;
/// The most bytes of one commit.
pub const COMMIT_BYTES_MAX: usize = 4 << 20;

/// The coordinates of one capture commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dot {
    /// Who captured.
    pub author: InstanceId,
    /// The author's incarnation.
    pub incarnation: u32,
    /// The author's sequence number in this scope.
    pub sequence: u64,
    /// The commit.
    pub id: CommitId,
}

/// How a commit came to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Making {
    /// Captured from an application's database.
    Capture {
        /// The commit that it builds on.
        parent: Option<CommitId>,
        /// Who captured.
        author: InstanceId,
        /// The author's incarnation.
        incarnation: u32,
        /// The author's sequence number in this scope.
        sequence: u64,
        /// The author's clock.
        time: UnixMillis,
    },
    /// The join of these capture commits, none of which contains another; ascending, at least two.
    Merge(Vec<Dot>),
}

/// The state of a scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The scope.
    pub scope: ScopeId,
    /// The writes that it contains.
    pub clock: Clock,
    /// The tree of each dataset that has records.
    pub datasets: BTreeMap<DatasetName, Root>,
    /// How it came to be.
    pub making: Making,
}

impl Commit {
    /// Returns the canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        let mut order = writer.map(5);
        writer.key(&mut order, "clock");
        self.clock.encode(&mut writer);
        writer.key(&mut order, "scope");
        writer.bytes(self.scope.as_bytes());
        writer.key(&mut order, "format");
        writer.uint(FORMAT);
        writer.key(&mut order, "making");
        self.encode_making(&mut writer);
        writer.key(&mut order, "datasets");
        let mut names = writer.map(self.datasets.len());
        for (name, root) in &self.datasets {
            let node = root.node.expect("a dataset without records is left out");
            writer.key(&mut names, name.as_str());
            writer.array(2);
            writer.bytes(node.as_bytes());
            writer.uint(root.count);
        }
        writer.finish()
    }

    fn encode_making(&self, writer: &mut Writer) {
        match &self.making {
            Making::Capture { parent, author, incarnation, sequence, time } => {
                writer.array(5);
                match parent {
                    Some(parent) => writer.bytes(parent.as_bytes()),
                    None => writer.null(),
                }
                writer.bytes(author.as_bytes());
                writer.uint(u64::from(*incarnation));
                writer.uint(*sequence);
                writer.uint(time.0);
            }
            Making::Merge(dots) => {
                writer.array(1);
                writer.array(dots.len());
                for dot in dots {
                    writer.array(4);
                    writer.bytes(dot.author.as_bytes());
                    writer.uint(u64::from(dot.incarnation));
                    writer.uint(dot.sequence);
                    writer.bytes(dot.id.as_bytes());
                }
            }
        }
    }

    /// Decodes what `encode` writes.
    ///
    /// # Errors
    /// Any other form, with its offset; a making that contradicts the clock.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(bytes);
        let mut keys = reader.map(5)?;
        keys.expect(&mut reader, "clock")?;
        let clock = Clock::decode(&mut reader)?;
        keys.expect(&mut reader, "scope")?;
        let scope = ScopeId::from_bytes(reader.fixed()?);
        keys.expect(&mut reader, "format")?;
        let at = reader.offset();
        if reader.uint()? != FORMAT {
            return Err(reader.invalid(at, "a commit of a newer format"));
        }
        keys.expect(&mut reader, "making")?;
        let at = reader.offset();
        let making = decode_making(&mut reader)?;
        if !agrees(&making, &clock) {
            return Err(reader.invalid(at, "the commit's making contradicts its clock"));
        }
        keys.expect(&mut reader, "datasets")?;
        let datasets = decode_datasets(&mut reader)?;
        keys.end(&reader)?;
        reader.finish()?;
        Ok(Self { scope, clock, datasets, making })
    }

    /// Returns the id: keyed BLAKE3 of the canonical bytes, under the scope's id key.
    pub fn id(&self, key: &IdKey) -> CommitId {
        id_of(&self.encode(), key)
    }

    /// Returns the newest capture commits that the commit contains: itself, or what it joins.
    pub fn frontier(&self, id: CommitId) -> Vec<Dot> {
        match &self.making {
            Making::Capture { author, incarnation, sequence, .. } => {
                vec![Dot { author: *author, incarnation: *incarnation, sequence: *sequence, id }]
            }
            Making::Merge(dots) => dots.clone(),
        }
    }

    /// Returns the commits that this one builds on.
    pub fn parents(&self) -> Vec<CommitId> {
        match &self.making {
            Making::Capture { parent, .. } => parent.iter().copied().collect(),
            Making::Merge(dots) => dots.iter().map(|dot| dot.id).collect(),
        }
    }

    /// Returns the tree of a dataset; the empty tree if it has no records.
    pub fn root(&self, dataset: &DatasetName) -> Root {
        self.datasets.get(dataset).cloned().unwrap_or_default()
    }

    /// Returns how many records the commit holds. Only of a commit whose trees were checked is this true.
    pub fn records(&self) -> u64 {
        self.datasets.values().fold(0, |sum, root| sum.saturating_add(root.count))
    }
}

/// Returns the id of a commit's canonical bytes.
pub fn id_of(bytes: &[u8], key: &IdKey) -> CommitId {
    CommitId::from_bytes(*blake3::keyed_hash(&blake3::derive_key(ID_CONTEXT, key.as_bytes()), bytes).as_bytes())
}

/// Tells whether the clock counts the very captures of a making as their authors' newest, and nothing
/// else if there is no parent that could have brought it.
fn agrees(making: &Making, clock: &Clock) -> bool {
    match making {
        Making::Capture { parent, author, incarnation, sequence, .. } => {
            clock.seen(author, *incarnation) == *sequence && (parent.is_some() || clock.iter().count() == 1)
        }
        Making::Merge(dots) => dots.iter().all(|dot| clock.seen(&dot.author, dot.incarnation) == dot.sequence),
    }
}

fn decode_making(reader: &mut Reader<'_>) -> Result<Making, Error> {
    let start = reader.offset();
    match reader.array(5)? {
        5 => Ok(Making::Capture {
            parent: if reader.null() { None } else { Some(CommitId::from_bytes(reader.fixed()?)) },
            author: InstanceId::from_bytes(reader.fixed()?),
            incarnation: reader.uint32()?,
            sequence: decode_sequence(reader)?,
            time: UnixMillis(reader.uint_max(NUMBER_MAX)?),
        }),
        1 => decode_joined(reader),
        _ => Err(reader.invalid(start, "a commit is neither captured nor merged")),
    }
}

fn decode_joined(reader: &mut Reader<'_>) -> Result<Making, Error> {
    let start = reader.offset();
    let mut dots: Vec<Dot> = Vec::new();
    for _ in 0..reader.array(FRONTIER_MAX)? {
        let at = reader.offset();
        reader.array_of(4)?;
        let dot = Dot {
            author: InstanceId::from_bytes(reader.fixed()?),
            incarnation: reader.uint32()?,
            sequence: decode_sequence(reader)?,
            id: CommitId::from_bytes(reader.fixed()?),
        };
        // Captures of one incarnation form a line, so that one of two would contain the other.
        if dots.last().is_some_and(|last| (last.author, last.incarnation) >= (dot.author, dot.incarnation)) {
            return Err(reader.invalid(at, "the joined commits do not strictly ascend"));
        }
        dots.push(dot);
    }
    if dots.len() < 2 {
        return Err(reader.invalid(start, "a merge joins fewer than two commits"));
    }
    Ok(Making::Merge(dots))
}

fn decode_datasets(reader: &mut Reader<'_>) -> Result<BTreeMap<DatasetName, Root>, Error> {
    let mut datasets = BTreeMap::new();
    let mut keys = reader.map(DATASETS_MAX)?;
    loop {
        let at = reader.offset();
        let Some(name) = keys.next_key(reader)? else { return Ok(datasets) };
        let name = DatasetName::new(name).map_err(|_| reader.invalid(at, "a dataset has no valid name"))?;
        let at = reader.offset();
        reader.array_of(2)?;
        let node = Some(NodeId::from_bytes(reader.fixed()?));
        let count = reader.uint_max(NUMBER_MAX)?;
        if count == 0 {
            return Err(reader.invalid(at, "a dataset without records is listed"));
        }
        datasets.insert(name, Root { node, count });
    }
}
