//! The index of a bundle: what is in it, in order, signed by whoever packed it.
//!
//! It vouches for the package and not for what is in it: each head, manifest, receipt and card is signed by its own
//! signer. Format: format/bundle.md.

use super::request::Request;
use crate::cbor;
use crate::cbor::reader::Reader;
use crate::cbor::writer::Writer;
use crate::exchange::layout::StorePath;
use crate::id::bytes::{DocHash, InstanceId};
use crate::keys::document::{self, DocKind, Unverified};
use crate::keys::identity::Identity;
use crate::sys::clock::UnixMillis;

/// What a bundle, or one part of it, holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// Who packed it.
    pub signer: InstanceId,
    /// A random name; the same in all parts.
    pub id: [u8; 16],
    /// The number of this part, from 1.
    pub part: u32,
    /// How many parts there are.
    pub parts: u32,
    /// When it was packed, by the packer's own clock.
    pub time: UnixMillis,
    /// What follows, in the order of the tar file.
    pub entries: Vec<Entry>,
    /// What the packer has itself, for whoever packs the way back: its signed request.
    pub request: Option<Vec<u8>>,
}

/// A file of a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the store.
    pub path: StorePath,
    /// Its bytes.
    pub bytes: u64,
    /// BLAKE3 of its bytes; of an object, its name.
    pub hash: DocHash,
}

/// An index can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The document doesn't count.
    #[error("cannot verify the index of the bundle")]
    Verify(#[source] document::Error),
    /// What was signed is no index.
    #[error("cannot read the index of the bundle")]
    Decode(#[source] cbor::error::Error),
    /// It names another signer than the one that signed it.
    #[error("the index of {index} is signed by {signer}")]
    OtherSigner {
        /// Whom it names.
        index: InstanceId,
        /// Who signed it.
        signer: InstanceId,
    },
    /// What its packer says to have doesn't count.
    #[error("the request in the index doesn't count")]
    Request(#[source] Box<Self>),
}

impl Index {
    /// Signs the index.
    ///
    /// # Panics
    /// If the identity isn't the signer, or the index breaks a rule of format/bundle.md.
    pub fn sign(&self, identity: &Identity) -> Vec<u8> {
        assert!(self.signer == identity.id(), "an instance signs its own bundles only");
        let payload = self.encode();
        assert!(Self::decode(&payload).as_ref() == Ok(self), "the index breaks a rule of its format");
        document::sign(identity, DocKind::Bundle, &payload)
    }

    /// Reads an index, signed by whomever it says.
    ///
    /// # Errors
    /// Every variant.
    pub fn open(bytes: &[u8]) -> Result<Self, Error> {
        let document = Unverified::parse(bytes).map_err(Error::Verify)?;
        let signer = document.claimed_signer().map_err(Error::Verify)?;
        let verified = document.verify(DocKind::Bundle, &signer).map_err(Error::Verify)?;
        let index = Self::decode(verified.payload).map_err(Error::Decode)?;
        if index.signer != signer {
            return Err(Error::OtherSigner { index: index.signer, signer });
        }
        let nested = |error| Error::Request(Box::new(error));
        match index.request.as_ref().map(|bytes| Request::open(bytes)).transpose().map_err(nested)? {
            Some(request) if request.signer != signer => {
                Err(nested(Error::OtherSigner { index: request.signer, signer }))
            }
            _ => Ok(index),
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        let mut order = writer.map(8);
        writer.key(&mut order, "id");
        writer.bytes(&self.id);
        writer.key(&mut order, "part");
        writer.uint(self.part.into());
        writer.key(&mut order, "time");
        writer.uint(self.time.0);
        writer.key(&mut order, "parts");
        writer.uint(self.parts.into());
        writer.key(&mut order, "format");
        writer.uint(FORMAT);
        writer.key(&mut order, "signer");
        writer.bytes(self.signer.as_bytes());
        writer.key(&mut order, "entries");
        writer.array(self.entries.len());
        for entry in &self.entries {
            writer.array(3);
            writer.text(&entry.path.to_string());
            writer.uint(entry.bytes);
            writer.bytes(entry.hash.as_bytes());
        }
        writer.key(&mut order, "request");
        match &self.request {
            None => writer.null(),
            Some(bytes) => writer.bytes(bytes),
        }
        writer.finish()
    }

    fn decode(payload: &[u8]) -> Result<Self, cbor::error::Error> {
        let mut reader = Reader::new(payload);
        let mut keys = reader.map(8)?;
        keys.expect(&mut reader, "id")?;
        let id = reader.fixed()?;
        keys.expect(&mut reader, "part")?;
        let part = reader.uint32()?;
        keys.expect(&mut reader, "time")?;
        let time = UnixMillis(reader.uint_max(i64::MAX as u64)?);
        keys.expect(&mut reader, "parts")?;
        let at = reader.offset();
        let parts = reader.uint32()?;
        if part == 0 || part > parts || parts > PARTS_MAX {
            return Err(reader.invalid(at, "parts are numbered from 1 to their count"));
        }
        keys.expect(&mut reader, "format")?;
        let at = reader.offset();
        if reader.uint()? != FORMAT {
            return Err(reader.invalid(at, "this format of bundle is not known"));
        }
        keys.expect(&mut reader, "signer")?;
        let signer = InstanceId::from_bytes(reader.fixed()?);
        keys.expect(&mut reader, "entries")?;
        let mut entries: Vec<Entry> = Vec::new();
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..reader.array(ENTRIES_MAX)? {
            reader.array_of(3)?;
            let at = reader.offset();
            let path: Option<StorePath> = reader.text(PATH_BYTES_MAX)?.parse().ok();
            let Some(path) = path else { return Err(reader.invalid(at, "an entry is a place in a store")) };
            if !seen.insert(path) {
                return Err(reader.invalid(at, "a place is listed once"));
            }
            let at = reader.offset();
            let bytes = reader.uint()?;
            if bytes == 0 || bytes > path.bytes_max() {
                return Err(reader.invalid(at, "an entry is within the bounds of its place"));
            }
            let at = reader.offset();
            let hash = DocHash::from_bytes(reader.fixed()?);
            if matches!(path, StorePath::Object(id) if id.as_bytes() != hash.as_bytes()) {
                return Err(reader.invalid(at, "an object's hash is its name"));
            }
            entries.push(Entry { path, bytes, hash });
        }
        keys.expect(&mut reader, "request")?;
        let request = if reader.null() { None } else { Some(reader.bytes(REQUEST_BYTES_MAX)?.to_vec()) };
        keys.end(&reader)?;
        reader.finish()?;
        Ok(Self { signer, id, part, parts, time, entries, request })
    }
}

const FORMAT: u64 = 1;
const PATH_BYTES_MAX: usize = 128;
/// A part lists at most this many files.
pub const ENTRIES_MAX: usize = 24_576;
/// A request inside an index has at most this many bytes.
pub const REQUEST_BYTES_MAX: usize = 256 << 10;
/// A bundle has at most this many parts.
pub const PARTS_MAX: u32 = 10_000;

// Every index that is within its bounds fits a document: the longest path is a receipt's, of 113 bytes.
const _: () = assert!(ENTRIES_MAX * (113 + 42) + REQUEST_BYTES_MAX + 256 < DocKind::Bundle.payload_bytes_max());

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::bytes::{ObjectId, ScopeId};
    use crate::keys::vectors::{Case, run};

    fn sample() -> (Identity, Index) {
        let identity = Identity::fixed(1);
        let entries = vec![
            Entry { path: StorePath::Format, bytes: 15, hash: DocHash::from_bytes([1; 32]) },
            Entry {
                path: StorePath::Object(ObjectId::from_bytes([7; 32])),
                bytes: 300,
                hash: DocHash::from_bytes([7; 32]),
            },
            Entry {
                path: StorePath::Receipt(ScopeId::from_bytes([5; 16]), InstanceId::from_bytes([6; 32])),
                bytes: 500,
                hash: DocHash::from_bytes([9; 32]),
            },
        ];
        let time = UnixMillis(1_790_000_000_000);
        let request = Request { signer: identity.id(), time, cards: Default::default(), scopes: Default::default() };
        let request = Some(request.sign(&identity));
        let index = Index { signer: identity.id(), id: [3; 16], part: 1, parts: 2, time, entries, request };
        (identity, index)
    }

    #[test]
    fn an_index_comes_back_and_every_changed_byte_is_noticed() {
        let (identity, index) = sample();
        let bytes = index.sign(&identity);
        assert_eq!(Index::open(&bytes).unwrap(), index);
        for at in 0..bytes.len() {
            let mut altered = bytes.clone();
            altered[at] ^= 1;
            assert!(Index::open(&altered).is_err(), "byte {at}");
            assert!(Index::open(&bytes[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn vectors_hold() {
        let (identity, index) = sample();
        let signed = |index: &Index| document::sign(&identity, DocKind::Bundle, &index.encode());
        let broken = |alter: fn(&mut Index)| {
            let mut index = index.clone();
            alter(&mut index);
            signed(&index)
        };
        let mut longer = index.encode();
        longer.push(0);
        let mut empty = index.clone();
        empty.entries.clear();
        empty.request = None;
        let cases = [
            Case::accept("first-part", signed(&index)),
            Case::accept("nothing-in-it", signed(&empty)),
            Case::reject("part-zero", broken(|index| index.part = 0)),
            Case::reject("part-beyond", broken(|index| index.part = 3)),
            Case::reject("too-many-parts", broken(|index| index.parts = PARTS_MAX + 1)),
            Case::reject("too-large", broken(|index| index.entries[0].bytes = 65)),
            Case::reject("empty-file", broken(|index| index.entries[0].bytes = 0)),
            Case::reject("object-of-other-name", broken(|index| index.entries[1].hash = DocHash::from_bytes([8; 32]))),
            Case::reject("listed-twice", broken(|index| index.entries[2] = index.entries[0])),
            Case::reject("no-request-inside", broken(|index| index.request = Some(vec![0; 40]))),
            Case::reject(
                "request-of-another",
                broken(|index| {
                    let (other, time) = (Identity::fixed(2), index.time);
                    let nothing =
                        Request { signer: other.id(), time, cards: Default::default(), scopes: Default::default() };
                    index.request = Some(nothing.sign(&other));
                }),
            ),
            Case::reject("other-signer", document::sign(&Identity::fixed(2), DocKind::Bundle, &index.encode())),
            Case::reject("signed-as-head", document::sign(&identity, DocKind::Head, &index.encode())),
            Case::reject("trailing-byte", document::sign(&identity, DocKind::Bundle, &longer)),
        ];
        run("bundle", &cases, |bytes| Index::open(bytes).map(drop));
    }
}
