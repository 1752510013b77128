//! What a changeset says of one record, and the bounds of its objects.

use crate::id::bytes::RecordKey;
use crate::id::name::DatasetName;

/// The format of changesets.
pub const FORMAT: u64 = 1;
/// The most bytes of one object before compression.
pub const PLAIN_BYTES_MAX: usize = 64 << 20;
/// Where a writer cuts a changeset into the next object.
pub const PLAIN_BYTES_CUT: usize = 16 << 20;
/// The most commits that one object carries.
pub const COMMITS_MAX: usize = 65_536;

const _: () = assert!(
    PLAIN_BYTES_CUT + crate::record::codec::RECORD_BYTES_MAX + crate::history::commit::COMMIT_BYTES_MAX
        <= PLAIN_BYTES_MAX,
    "the last record before a cut still fits"
);

/// One record of a changeset, with its final content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<B> {
    /// The dataset.
    pub dataset: DatasetName,
    /// The record.
    pub key: RecordKey,
    /// What it is now.
    pub body: Body<B>,
}

/// The final content of a touched record. `B` holds the canonical record bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body<B> {
    /// The record lives; its canonical bytes.
    Put(B),
    /// The record was deleted.
    Deleted,
    /// The record lives, but no longer in this scope.
    Withdrawn,
}
