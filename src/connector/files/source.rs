//! Where the bytes of a piece are: kept for files that are being written, or in a file of any of our directories.

use std::collections::BTreeMap;

use super::content::Chunk;
use super::read;
use super::shadow::Shadow;
use crate::sys::beneath::Beneath;

/// Everywhere that a piece can be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sources<'a> {
    pub(super) shadow: &'a Shadow,
    /// The directories by dataset.
    pub(super) places: &'a BTreeMap<String, Beneath>,
}

impl Sources<'_> {
    /// Returns a piece, if it is anywhere and what its hash says.
    pub(super) fn get(&self, chunk: &Chunk) -> rusqlite::Result<Option<Vec<u8>>> {
        if let Some(bytes) = self.shadow.staged(&chunk.hash)?
            && *blake3::hash(&bytes).as_bytes() == chunk.hash
            && bytes.len() as u64 == chunk.size
        {
            return Ok(Some(bytes));
        }
        for (dataset, path, start) in self.shadow.parts(&chunk.hash)? {
            let Some(beneath) = self.places.get(&dataset) else { continue };
            if let Ok(Some(bytes)) = read::piece(beneath, &path, start.unsigned_abs(), chunk) {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }

    /// Returns a piece of which only the hash is known.
    pub(super) fn find(&self, hash: &[u8; 32]) -> rusqlite::Result<Option<Vec<u8>>> {
        let size = self.shadow.part_size(hash)?;
        size.map_or(Ok(None), |size| self.get(&Chunk { hash: *hash, size }))
    }

    /// Tells whether a piece is known to be anywhere; the file that holds it may have changed.
    pub(super) fn has(&self, hash: &[u8; 32]) -> rusqlite::Result<bool> {
        Ok(self.shadow.is_staged(hash)? || !self.shadow.parts(hash)?.is_empty())
    }
}
