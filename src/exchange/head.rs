//! Head: a signer's statement "my history of this scope stands at this commit, and these objects carry it".
//!
//! The only document of a store that is ever replaced. Whether a head may replace the one we know is decided
//! by `verdict`; whether its signer may write is the manifest's business. Format: format/head.md.
//!
//! Invariants, checked on decode and before signing: sequence 1 and only it has no predecessor; segments
//! follow on each other without a gap and end at the head's sequence; the origin's begin at 0.

mod codec;
pub mod verdict;

use crate::cbor;
use crate::id::bytes::{CommitId, DocHash, InstanceId, ObjectId, ScopeId};
use crate::keys::document::{self, DocKind, Unverified};
use crate::keys::identity::Identity;
use crate::sys::clock::UnixMillis;

/// Where a signer's history of a scope stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The scope.
    pub scope: ScopeId,
    /// Who says so.
    pub signer: InstanceId,
    /// The signer's incarnation, raised after a restore from backup.
    pub incarnation: u32,
    /// 1 for the first head, then one more each time; goes on over incarnations or begins again.
    pub seq: u64,
    /// The head before; `None` for sequence 1.
    pub prev: Option<DocHash>,
    /// The commit that this head stands for.
    pub commit: CommitId,
    /// Sequence of the signer's newest own stamp in this scope; never goes back within an incarnation.
    pub writes: u64,
    /// Sequence of the newest manifest that the signer knew.
    pub manifest_seq: u64,
    /// The epoch that new objects of this head are sealed to.
    pub epoch: u32,
    /// The origin's head that this one builds on; `None` for the origin's own heads.
    pub base: Option<Base>,
    /// What carries the commit, oldest first. Empty only if a base carries all of it.
    pub segments: Vec<Segment>,
    /// When it was signed, by the signer's own clock.
    pub time: UnixMillis,
}

/// A head of the origin that a writer's head builds on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Base {
    /// Sequence of the origin's head.
    pub seq: u64,
    /// Its commit.
    pub commit: CommitId,
}

/// One changeset: what was touched after the head `from_seq` up to the head `to_seq`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// The head that it applies to; 0 is the empty scope, so the segment is a snapshot.
    pub from_seq: u64,
    /// The head that it leads to.
    pub to_seq: u64,
    /// The sealed objects, at least one, in key order.
    pub objects: Vec<ObjectRef>,
}

/// A sealed object of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectRef {
    /// Its name.
    pub id: ObjectId,
    /// Its length in the store, 1 to 128 MiB.
    pub bytes: u64,
}

/// A head can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The document doesn't count.
    #[error("cannot verify the head")]
    Verify(#[source] document::Error),
    /// What was signed is no head.
    #[error("cannot read the head")]
    Decode(#[source] cbor::error::Error),
    /// It names another signer than the one that signed it.
    #[error("the head of {head} is signed by {signer}")]
    OtherSigner {
        /// Whom it names.
        head: InstanceId,
        /// Who signed it.
        signer: InstanceId,
    },
}

impl Head {
    /// Signs the head.
    ///
    /// # Panics
    /// If the identity isn't the signer, or the head breaks a rule of format/head.md.
    pub fn sign(&self, identity: &Identity) -> Vec<u8> {
        assert!(self.signer == identity.id(), "an instance signs its own heads only");
        let payload = self.encode();
        assert!(Self::decode(&payload).as_ref() == Ok(self), "the head breaks a rule of its format");
        document::sign(identity, DocKind::Head, &payload)
    }

    /// Reads a head that `signer` signed.
    ///
    /// # Errors
    /// Every variant.
    pub fn open(bytes: &[u8], signer: &InstanceId) -> Result<(Self, DocHash), Error> {
        let document = Unverified::parse(bytes).map_err(Error::Verify)?;
        let verified = document.verify(DocKind::Head, signer).map_err(Error::Verify)?;
        let head = Self::decode(verified.payload).map_err(Error::Decode)?;
        if head.signer != *signer {
            return Err(Error::OtherSigner { head: head.signer, signer: *signer });
        }
        Ok((head, verified.hash))
    }

    /// Returns every object of the head, oldest segment first.
    pub fn objects(&self) -> impl Iterator<Item = &ObjectRef> {
        self.segments.iter().flat_map(|segment| &segment.objects)
    }
}

/// A head lists at most this many segments.
pub const SEGMENTS_MAX: usize = 64;
/// All segments of a head list at most this many objects.
pub const OBJECTS_MAX: usize = 65_536;
/// No object is longer.
pub const OBJECT_BYTES_MAX: u64 = 128 << 20;

#[cfg(test)]
pub(crate) mod tests;
