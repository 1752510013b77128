//! Changes of records on their way to the tables: contents packed, pieces kept for the files that they make up.

use super::checkout::Checkout;
use super::connector::{FilesConnector, now_ns};
use super::content::{CHUNK_BYTES_MAX, Chunk, Content, pack};
use super::pieces::Piece;
use super::report::{CONTENT, DATA, field};
use super::section::TURN;
use super::source::Sources;
use crate::connector::contract::Change;
use crate::connector::error::Error;
use crate::id::name::DatasetName;
use crate::record::recordid::RecordId;
use crate::record::value::Value;

impl FilesConnector {
    /// Notes what a change says of pieces, and turns it into one of a row; nothing if it is of a piece.
    /// `file` is the record's row, if it has one.
    pub(super) fn translate(&self, mut change: Change, file: Option<i64>) -> rusqlite::Result<Option<Change>> {
        let (_, view) = self.shadow.books()?;
        if let Some(dataset) = self.files_of(&change.id.dataset) {
            let pieces = self.pieces(dataset);
            let Some(content) = change.content else { return pieces.remove(&change.id).map(|()| None) };
            if let Some(Value::Bytes(data)) = content.fields.get(&field(DATA)) {
                let hash = *blake3::hash(data).as_bytes();
                let piece = Piece { origin: change.id.origin, scope: content.scope, hash };
                // What isn't what its id says is of no use to anybody.
                if piece.key() == change.id.key && data.len() <= CHUNK_BYTES_MAX {
                    self.shadow.stage(&hash, data)?;
                    pieces.put(&piece, 0, view + 1)?;
                }
            }
            return Ok(None);
        }
        let Some(dataset) = self.sections.keys().find(|name| **name == change.id.dataset) else {
            return Ok(Some(change));
        };
        let pieces = self.pieces(dataset);
        let Some(content) = &mut change.content else {
            pieces.name(&change.id, None, &[])?;
            return Ok(Some(change));
        };
        content.fields.remove(&field(TURN));
        if let Some(value) = content.fields.get_mut(&field(CONTENT)) {
            let hidden = content.hidden.get(&field(CONTENT)).map_or(&[][..], Vec::as_slice);
            let all = std::iter::once(&*value).chain(hidden.iter().map(|(_, value)| value));
            // What a conflict doesn't show is kept too.
            let named = all.filter_map(|value| Content::of(value).ok());
            let named: Vec<Chunk> = named.flat_map(|content| content.chunks().to_vec()).collect();
            let lost = hidden.iter().filter(|(author, _)| *author == self.context.own);
            let lost: Vec<Vec<u8>> = lost.map(|(_, value)| pack(value)).collect();
            if let Some(file) = file {
                self.shadow.set_lost(dataset, file, &lost)?;
            }
            pieces.name(&change.id, Some(&content.scope), &named)?;
            *value = Value::Bytes(pack(value));
        }
        if change.id.origin != self.context.own {
            pieces.set_home(&change.id, &content.scope)?;
        }
        Ok(Some(change))
    }

    /// Returns the row of a file's record.
    pub(super) fn file(&self, id: &RecordId) -> Result<Option<i64>, Error> {
        if !self.sections.contains_key(&id.dataset) {
            return Ok(None);
        }
        Ok(self.inner.key_of(id)?.and_then(|key| key.parse().ok()))
    }

    /// Tells whether somebody changed a file since it was last read.
    pub(super) fn is_dirty(&self, dataset: &DatasetName, file: i64) -> Result<bool, Error> {
        let failed = self.failed("look at a file");
        let Some(disk) = self.shadow.disk_of(dataset, file).map_err(&failed)? else { return Ok(false) };
        let Some(beneath) = self.places.get(dataset.as_str()) else { return Ok(false) };
        let sources = Sources { shadow: &self.shadow, places: &self.places };
        let checkout = Checkout { sources, dataset, beneath, now_ns: now_ns() };
        if checkout.is_pending(file).map_err(&failed)? {
            // A change of before is still to be written; what is there meanwhile is set aside then.
            return Ok(false);
        }
        let is_there = beneath.stat(&disk.path).is_ok_and(|stat| stat.is_some());
        Ok(!is_there || !checkout.is_untouched(&disk).map_err(&failed)?)
    }
}
