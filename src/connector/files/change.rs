//! Changes of records on their way to the tables: contents packed, pieces kept for the files that they make up.

use std::collections::BTreeMap;

use super::checkout::Checkout;
use super::connector::{FilesConnector, now_ns};
use super::content::{CHUNK_BYTES_MAX, Chunk, Content, pack};
use super::document;
use super::ground::Ground;
use super::pieces::{Piece, Pieces};
use super::report::{CONTENT, DATA, LAYOUT, field};
use super::section::{TURN, pieces_of};
use super::source::Sources;
use crate::connector::applied::Applied;
use crate::connector::contract::{Change, Connector, Dropped};
use crate::connector::error::Error;
use crate::id::name::{DatasetName, FieldName};
use crate::record::recordid::RecordId;
use crate::record::value::Value;
use crate::sys::beneath::is_way_blocked;

/// Puts the content of a document together of the fields that its record has instead.
fn assemble(pieces: &Pieces<'_>, id: &RecordId, fields: &mut BTreeMap<FieldName, Value>) -> rusqlite::Result<()> {
    let parts = document::parts(fields);
    if parts.is_empty() {
        return Ok(());
    }
    pieces.add_members(id, parts.iter())?;
    let has = |name: &str| fields.get(&field(name)).is_some_and(|value| *value != Value::Null);
    if has(LAYOUT) && !has(CONTENT) {
        // What makes no document becomes a content that none can be, and waits.
        let content = document::bytes(fields).map_or_else(|why| Value::Text(why.into()), Value::Bytes);
        fields.insert(field(CONTENT), content);
    }
    fields.retain(|field, _| !document::is_part(field));
    Ok(())
}

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
            pieces.keep_hidden(&change.id, None, &[])?;
            return Ok(Some(change));
        };
        content.fields.remove(&field(TURN));
        assemble(&pieces, &change.id, &mut content.fields)?;
        if let Some(value) = content.fields.get_mut(&field(CONTENT)) {
            let chunks =
                |value: &Value| Content::of(value).map(|content| content.chunks().to_vec()).unwrap_or_default();
            let hidden = content.hidden.get(&field(CONTENT)).map_or(&[][..], Vec::as_slice);
            let lost = hidden.iter().filter(|(author, _)| *author == self.context.own);
            let lost: Vec<Vec<u8>> = lost.map(|(_, value)| pack(value)).collect();
            if let Some(file) = file {
                self.shadow.set_lost(dataset, file, &lost)?;
            }
            pieces.name(&change.id, Some(&content.scope), &chunks(value))?;
            let packed = pack(value);
            let kept: Vec<Chunk> = hidden.iter().flat_map(|(_, value)| chunks(value)).collect();
            pieces.hide(&change.id, &content.scope, &kept, &packed)?;
            *value = Value::Bytes(packed);
        }
        if change.id.origin != self.context.own {
            pieces.set_home(&change.id, &content.scope)?;
        }
        Ok(Some(change))
    }

    /// Gives up files without anybody else's losing them.
    pub(super) fn give_up(&mut self, dropped: &Dropped, progress: &mut dyn FnMut(u64)) -> Result<Applied, Error> {
        if let Dropped::Unused(records) = dropped {
            // Which files use a piece is no reference that the tables know of: nothing here counts as unused.
            return Ok(Applied { kept: records.clone(), ..Applied::default() });
        }
        let applied = self.inner.drop_rows(dropped, progress)?;
        for dataset in self.sections.keys() {
            let pieces = self.pieces(dataset);
            let done = match dropped {
                Dropped::Origin(origin) => pieces.drop_origin(origin),
                Dropped::Record(id) if id.dataset == *dataset => pieces.name(id, None, &[]),
                Dropped::Record(id) if id.dataset == pieces_of(dataset) => pieces.remove(id),
                Dropped::Record(_) | Dropped::Unused(_) => Ok(()),
            };
            done.map_err(self.failed("give up files"))?;
        }
        self.check_out()?;
        Ok(applied)
    }

    /// Returns the row of a file's record.
    pub(super) fn file(&self, id: &RecordId) -> Result<Option<i64>, Error> {
        if !self.sections.contains_key(&id.dataset) {
            return Ok(None);
        }
        Ok(self.inner.key_of(id)?.and_then(|key| key.parse().ok()))
    }

    /// Returns what writes a directory.
    pub(super) fn checkout<'a>(&'a self, name: &'a DatasetName, now_ns: i64) -> Checkout<'a> {
        let sources = Sources { shadow: &self.shadow, places: &self.places };
        Checkout { sources, dataset: name, section: &self.sections[name], beneath: &self.places[name.as_str()], now_ns }
    }

    /// Tells whether somebody changed a file since it was last read.
    pub(super) fn is_dirty(&self, dataset: &DatasetName, file: i64) -> Result<bool, Error> {
        let failed = self.failed("look at a file");
        let Some(disk) = self.shadow.disk_of(dataset, file).map_err(&failed)? else { return Ok(false) };
        let Some(beneath) = self.places.get(dataset.as_str()) else { return Ok(false) };
        // What is left alone on the disk is nobody's change.
        if self.sections[dataset].is_ignored(&disk.path) {
            return Ok(false);
        }
        let checkout = self.checkout(dataset, now_ns());
        if checkout.is_pending(file).map_err(&failed)? {
            // A change of before is still to be written; what is there meanwhile is set aside then.
            return Ok(false);
        }
        match beneath.stat(&disk.path) {
            Ok(Some(_)) => Ok(!checkout.is_untouched(&disk).map_err(&failed)?),
            Ok(None) => {
                let ground = Ground { shadow: &self.shadow, dataset, beneath };
                Ok(!ground.is_strange_above(&disk.path).map_err(&failed)?)
            }
            // Where nobody can look nothing is written either.
            Err(error) => Ok(is_way_blocked(&error)),
        }
    }
}
