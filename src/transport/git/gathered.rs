//! What was written to a store in git and isn't sent yet: everything goes in one push.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use gix_hash::ObjectId as Oid;

use crate::exchange::layout::StorePath;
use crate::id::bytes::{DocHash, ObjectId};
use crate::transport::git::branch::BranchName;

/// Everything that the next push sends.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// Documents that were replaced.
    pub(super) documents: BTreeMap<StorePath, Change>,
    /// Objects that were handed over.
    pub(super) objects: BTreeMap<ObjectId, Sealed>,
    /// Objects that branches need for their heads, with the head that named each last.
    pub(super) named: BTreeMap<(BranchName, ObjectId), StorePath>,
    /// Objects that shall go.
    pub(super) removed: BTreeSet<ObjectId>,
}

/// A document that was replaced, or removed.
#[derive(Debug, Clone)]
pub(super) struct Change {
    /// What the hub had when it was replaced first.
    pub(super) expected: Option<DocHash>,
    /// What it is now.
    pub(super) bytes: Option<Vec<u8>>,
}

/// An object on its way: a file that is removed when nobody wants it any more.
#[derive(Debug)]
pub(super) struct Sealed {
    /// Its bytes.
    pub(super) path: PathBuf,
    /// How many.
    pub(super) size: u64,
    /// Its name as a blob.
    pub(super) oid: Oid,
}

impl Drop for Sealed {
    fn drop(&mut self) {
        // What stays behind is swept away with the cache.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Gathered {
    /// Tells whether there is nothing to send.
    pub(super) fn is_empty(&self) -> bool {
        self.documents.is_empty() && self.objects.is_empty() && self.named.is_empty() && self.removed.is_empty()
    }

    /// Returns the bytes of all objects on their way.
    pub(super) fn bytes(&self) -> u64 {
        self.objects.values().map(|object| object.size).sum()
    }
}
