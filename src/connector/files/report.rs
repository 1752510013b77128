//! Report: what a capture of the tables found, as the engine wants it: contents as values, and pieces as records.

use std::collections::{BTreeMap, BTreeSet};

use super::content::{Content, pack, unpack};
use super::document;
use super::pieces::{Piece, Pieces};
use super::section::{Sections, TURN, pieces_of};
use super::source::Sources;
use crate::connector::column::Column;
use crate::connector::contract::{Base, Seen, Sighting, SinkError};
use crate::id::bytes::InstanceId;
use crate::id::name::{DatasetName, FieldName};
use crate::record::fieldtype::FieldType;
use crate::record::recordid::RecordId;
use crate::record::value::Value;
use crate::scope::audience::Audience;

/// One capture on its way to the engine.
pub(super) struct Report<'a> {
    pub(super) sources: Sources<'a>,
    pub(super) sections: &'a Sections,
    pub(super) own: InstanceId,
    /// The capture's number.
    pub(super) number: u64,
    /// The number of the applied view.
    pub(super) view: i64,
    /// Pieces that were reported.
    pub(super) reported: u64,
    pub(super) sink: &'a mut dyn FnMut(Sighting) -> Result<(), SinkError>,
}

impl Report<'_> {
    /// Passes on what was found of a file, with the pieces that it needs and the view lacks.
    pub(super) fn file(&mut self, dataset: &DatasetName, mut sighting: Sighting) -> Result<(), SinkError> {
        let pieces = Pieces { conn: &self.sources.shadow.conn, dataset };
        let Seen::Row { audience, fields } = &mut sighting.seen else {
            pieces.name(&sighting.id, None, &[])?;
            pieces.keep_hidden(&sighting.id, None, &[])?;
            return (self.sink)(sighting);
        };
        fields.remove(&field(TURN));
        let path = match fields.get(&field(PATH)) {
            Some(Value::Text(path)) => path.clone(),
            _ => String::new(),
        };
        let content = match fields.remove(&field(CONTENT)) {
            Some(Value::Bytes(packed)) => unpack(&packed),
            _ => None,
        };
        let scope = match audience {
            Some(audience) => audience.scope().cloned(),
            None => pieces.home(&sighting.id)?,
        };
        let named = match content.as_ref().map(Content::of) {
            Some(Ok(content)) => content.chunks().to_vec(),
            _ => Vec::new(),
        };
        if let Some(scope) = &scope {
            let origin = sighting.id.origin;
            let mut fresh = BTreeSet::new();
            for chunk in &named {
                let piece = Piece { origin, scope: scope.clone(), hash: chunk.hash };
                if fresh.contains(&chunk.hash) || pieces.is_held(&piece)? {
                    continue;
                }
                let Some(bytes) = self.sources.get(chunk)? else {
                    // The file changed since it was scanned. Its record never names what nobody has.
                    self.sources.shadow.doubt(dataset, &path)?;
                    return (self.sink)(sighting);
                };
                fresh.insert(chunk.hash);
                self.piece(&pieces, &piece, bytes, (audience_of(&piece, self.own), sighting.base), &sighting.id)?;
            }
        }
        pieces.name(&sighting.id, scope.as_ref(), &named)?;
        if let (Some(content), Seen::Row { fields, .. }) = (content, &mut sighting.seen)
            && !fields.is_empty()
        {
            pieces.keep_hidden(&sighting.id, scope.as_ref(), &pack(&content))?;
            let is_document = self.sections[dataset].is_document(&path);
            fields.extend(taken_apart(&pieces, &sighting.id, content, is_document)?);
        }
        (self.sink)(sighting)
    }

    /// Reports what is left: pieces that were taken away although files name them, and those that no file names.
    pub(super) fn rest(&mut self, dataset: &DatasetName) -> Result<(), SinkError> {
        let pieces = Pieces { conn: &self.sources.shadow.conn, dataset };
        for piece in pieces.missing()? {
            let Some(file) = pieces.namer(&piece)? else { continue };
            if let Some(bytes) = self.sources.find(&piece.hash)? {
                self.piece(&pieces, &piece, bytes, (audience_of(&piece, self.own), Base::Applied), &file)?;
            }
        }
        for (key, view) in pieces.unnamed(&self.own, self.number)? {
            let base = if view > self.view { Base::Target } else { Base::Applied };
            let id = RecordId { origin: self.own, dataset: pieces_of(dataset), key };
            self.reported += 1;
            (self.sink)(Sighting {
                id,
                base,
                changed: true,
                seen: Seen::Gone,
                fresh: Vec::new(),
                beside: None,
                behind: None,
                stays: None,
            })?;
        }
        Ok(())
    }

    fn piece(
        &mut self,
        pieces: &Pieces<'_>,
        piece: &Piece,
        bytes: Vec<u8>,
        (audience, base): (Option<Audience>, Base),
        file: &RecordId,
    ) -> Result<(), SinkError> {
        let view = if base == Base::Target { self.view + 1 } else { self.view };
        pieces.put(piece, self.number, view)?;
        let id = RecordId { origin: piece.origin, dataset: pieces_of(pieces.dataset), key: piece.key() };
        let fields = [(field(DATA), Value::Bytes(bytes))].into();
        self.reported += 1;
        let beside = audience.is_none().then(|| file.clone());
        (self.sink)(Sighting {
            id,
            base,
            changed: true,
            seen: Seen::Row { audience, fields },
            fresh: Vec::new(),
            beside,
            behind: None,
            stays: None,
        })
    }
}

/// Returns the fields that a content is: itself, or the members of a document. A field that the record had as the other
/// is nothing now.
fn taken_apart(
    pieces: &Pieces<'_>,
    id: &RecordId,
    content: Value,
    is_document: bool,
) -> rusqlite::Result<BTreeMap<FieldName, Value>> {
    let known = pieces.members(id)?;
    let parts = match &content {
        Value::Bytes(bytes) if is_document || !known.is_empty() => document::fields(bytes),
        _ => None,
    };
    let mut fields: BTreeMap<_, _> = known.into_iter().map(|field| (field, Value::Null)).collect();
    match parts {
        Some(parts) => {
            pieces.add_members(id, parts.keys())?;
            fields.extend(parts);
            fields.insert(field(CONTENT), Value::Null);
        }
        None => drop(fields.insert(field(CONTENT), content)),
    }
    Ok(fields)
}

/// For whom a piece is meant: of another instance's, its origin knows.
fn audience_of(piece: &Piece, own: InstanceId) -> Option<Audience> {
    (piece.origin == own).then(|| Audience::Shared(piece.scope.clone()))
}

/// The fields of a file's record, and of a piece's.
pub(super) const PATH: &str = "path";
pub(super) const CONTENT: &str = "content";
pub(super) const LAYOUT: &str = "layout";
pub(super) const DATA: &str = "data";

/// Returns a field of these.
pub(super) fn field(name: &str) -> FieldName {
    FieldName::new(name).expect("it is a valid name")
}

/// A field that is no column of a table, and takes whatever is of its type.
pub(super) fn column(dataset: DatasetName, name: &str, kind: FieldType) -> Column {
    let (column, declared) = (format!("{dataset}.{name}"), kind.to_string());
    Column { dataset, field: field(name), kind, column, declared, fits: true, needed: false, is_scoped: false }
}
