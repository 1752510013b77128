//! A sealed object as text: which changeset it carries, and its records.

use std::str::FromStr;

use crate::changeset::entry::Body;
use crate::changeset::{reader, seal};
use crate::id::bytes::{CommitId, ObjectId, ScopeId};
use crate::keys::sealing::EpochKey;
use crate::record::codec;
use crate::sync::error::Error;
use crate::sync::instance::Instance;

/// An opened object.
#[derive(Debug, serde::Serialize)]
pub struct ObjectShown {
    /// Its name: BLAKE3 of its bytes.
    pub object: ObjectId,
    /// Whether the file's name says so too, if it is in the form of one.
    pub name_matches: Option<bool>,
    /// Which key opened it.
    pub opened_with: String,
    /// The scope.
    pub scope: ScopeId,
    /// What we call it, if we hold it.
    pub label: Option<String>,
    /// The head number that the changeset starts after; 0 for a snapshot.
    pub from: u64,
    /// The commit that it leads to.
    pub tip: CommitId,
    /// Which object of the changeset this is, from 0.
    pub part: u32,
    /// Whether it is the last one.
    pub last: bool,
    /// Commits that travel with it.
    pub commits: usize,
    /// Its records.
    pub entries: Vec<EntryShown>,
}

/// A record of an object.
#[derive(Debug, serde::Serialize)]
pub struct EntryShown {
    /// `dataset/key`.
    pub record: String,
    /// `put`, `deleted` or `withdrawn`.
    pub change: &'static str,
    /// Bytes of the record.
    pub bytes: usize,
    /// The shown value of each field, if we know whose record it is.
    pub fields: Option<serde_json::Value>,
}

/// Reads an epoch's key from an age identity file.
///
/// # Errors
/// `Document` if there is none in it.
pub fn key_in(text: &str) -> Result<EpochKey, Error> {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
    let line = line.ok_or_else(|| Error::document("the key file", "it holds no key"))?;
    EpochKey::from_secret_text(line).map_err(|error| Error::document("the key file", error))
}

/// Opens an object with a key and lists it; `file_stem` is the file's name without its ending.
///
/// # Errors
/// `Document` if the key doesn't open it, or what is inside is no changeset.
pub fn open(bytes: &[u8], file_stem: &str, key: &EpochKey) -> Result<ObjectShown, Error> {
    let id = seal::id_of(bytes);
    let plain = seal::open(&id, bytes, key).map_err(|error| Error::document("the object", error))?;
    list(id, file_stem, &plain, "the key given".into(), None)
}

impl Instance {
    /// Opens an object with whichever of our epoch keys fits, and lists it.
    ///
    /// # Errors
    /// `NoKey` if none does; `Document` if what is inside is no changeset.
    pub fn open_object(&self, bytes: &[u8], file_stem: &str) -> Result<ObjectShown, Error> {
        let id = seal::id_of(bytes);
        for open in self.scopes_labelled(None)? {
            for (epoch, key) in &open.keys.epochs {
                let plain = match seal::open(&id, bytes, key) {
                    Ok(plain) => plain,
                    Err(seal::Error::Decrypt { .. }) => continue,
                    Err(error) => return Err(Error::document("the object", error)),
                };
                let label = open.label(self)?;
                let opened_with = format!("epoch {epoch} of {label}");
                return list(id, file_stem, &plain, opened_with, Some((&open.row.origin, label)));
            }
        }
        Err(Error::NoKey { object: id })
    }
}

fn list(
    object: ObjectId,
    file_stem: &str,
    plain: &[u8],
    opened_with: String,
    known: Option<(&crate::id::bytes::InstanceId, String)>,
) -> Result<ObjectShown, Error> {
    let part = reader::read(plain).map_err(|error| Error::document("the object", error))?;
    let entries = part.entries.iter().map(|entry| {
        let record = format!("{}/{}", entry.dataset, entry.key);
        let (change, bytes) = match entry.body {
            Body::Put(bytes) => ("put", bytes),
            Body::Deleted => ("deleted", &[][..]),
            Body::Withdrawn => ("withdrawn", &[][..]),
        };
        let decoded = known.as_ref().filter(|_| change == "put").map(|(origin, _)| codec::decode(bytes, origin));
        let decoded = decoded.transpose().map_err(|error| Error::document(format!("record {record}"), error))?;
        let fields = decoded.map(|record| {
            let fields = record.cells.iter().map(|(name, cell)| (name.to_string(), cell.winner().value.to_json()));
            serde_json::Value::Object(fields.collect())
        });
        Ok(EntryShown { record, change, bytes: bytes.len(), fields })
    });
    let entries = entries.collect::<Result<Vec<_>, Error>>()?;
    Ok(ObjectShown {
        object,
        name_matches: ObjectId::from_str(file_stem).ok().map(|name| name == object),
        opened_with,
        scope: part.span.scope,
        label: known.map(|(_, label)| label),
        from: part.span.from,
        tip: part.span.tip,
        part: part.part,
        last: part.last,
        commits: part.commits.len(),
        entries,
    })
}
