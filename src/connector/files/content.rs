//! What a file holds, as its record says: its bytes if they are few, else the pieces that make it up.
//!
//! Format: format/files.md.

use crate::cbor::reader::Reader;
use crate::cbor::writer::Writer;
use crate::id::bytes::{InstanceId, RecordKey};
use crate::id::name::ScopeName;
use crate::record::value::{LIST_ITEMS_MAX, Value};

/// Files up to this size travel within their record.
pub const INLINE_BYTES_MAX: usize = 16 << 10;
/// The most bytes of one piece.
pub const CHUNK_BYTES_MAX: usize = 256 << 10;
/// The most pieces of one file.
pub const CHUNKS_MAX: usize = 24_000;
/// Under which a piece's hash becomes the key of its record.
const KEY_CONTEXT: &str = "wbsync file piece v1";

/// The content of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// The bytes themselves.
    Inline(Vec<u8>),
    /// Its pieces in order.
    Chunks(Vec<Chunk>),
}

/// A piece of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// BLAKE3 of its bytes.
    pub hash: [u8; 32],
    /// How many they are.
    pub size: u64,
}

impl Content {
    /// Reads a record's value; the error says what is wrong with it.
    ///
    /// # Errors
    /// A value that is neither bytes nor a list of pieces within the bounds.
    pub fn of(value: &Value) -> Result<Self, &'static str> {
        match value {
            Value::Bytes(bytes) => Ok(Self::Inline(bytes.clone())),
            Value::List(items) if items.is_empty() || items.len() > CHUNKS_MAX => {
                Err("its content has no piece, or too many")
            }
            Value::List(items) => items.iter().map(piece).collect::<Result<_, _>>().map(Self::Chunks),
            Value::Null => Err("its content has not come"),
            _ => Err("its content is of a kind that this version does not know"),
        }
    }

    /// Returns the value of the record.
    pub fn value(&self) -> Value {
        match self {
            Self::Inline(bytes) => Value::Bytes(bytes.clone()),
            Self::Chunks(chunks) => {
                Value::List(chunks.iter().map(|chunk| Value::Blob { hash: chunk.hash, size: chunk.size }).collect())
            }
        }
    }

    /// Returns up to what size a file is read whole that may hold this content.
    pub(super) fn inline_max(&self) -> usize {
        match self {
            Self::Inline(bytes) => INLINE_BYTES_MAX.max(bytes.len()),
            Self::Chunks(_) => INLINE_BYTES_MAX,
        }
    }

    /// Returns the pieces; none of what is inline.
    pub fn chunks(&self) -> &[Chunk] {
        match self {
            Self::Inline(_) => &[],
            Self::Chunks(chunks) => chunks,
        }
    }
}

fn piece(value: &Value) -> Result<Chunk, &'static str> {
    match value {
        Value::Blob { hash, size } if (1..=CHUNK_BYTES_MAX as u64).contains(size) => {
            Ok(Chunk { hash: *hash, size: *size })
        }
        _ => Err("its content names a piece that is none"),
    }
}

/// Returns a value as the bytes that the bookkeeping keeps.
pub(super) fn pack(value: &Value) -> Vec<u8> {
    let mut writer = Writer::new();
    value.encode(&mut writer, &NOBODY);
    writer.finish()
}

/// Reads what `pack` gives; nothing if it is something else.
pub(super) fn unpack(bytes: &[u8]) -> Option<Value> {
    let mut reader = Reader::new(bytes);
    let value = Value::decode(&mut reader, &NOBODY).ok()?;
    reader.finish().ok()?;
    Some(value)
}

/// Returns the key of a piece's record: the same for the same bytes in the same scope, unlike in any other.
pub fn key(origin: &InstanceId, scope: &ScopeName, hash: &[u8; 32]) -> RecordKey {
    let mut hasher = blake3::Hasher::new_derive_key(KEY_CONTEXT);
    hasher.update(origin.as_bytes()).update(hash).update(scope.as_str().as_bytes());
    let mut key = [0; 16];
    key.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    RecordKey::from_bytes(key)
}

/// The origin of values that name none.
const NOBODY: InstanceId = InstanceId::from_bytes([0; 32]);

const _: () = assert!(CHUNKS_MAX <= LIST_ITEMS_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(size: u64) -> Value {
        Value::Blob { hash: [7; 32], size }
    }

    #[test]
    fn a_content_is_what_its_value_says_and_nothing_else_is_one() {
        for content in [
            Content::Inline(Vec::new()),
            Content::Inline(b"abc".to_vec()),
            Content::Chunks(vec![Chunk { hash: [7; 32], size: 1 }, Chunk { hash: [8; 32], size: 262_144 }]),
        ] {
            let packed = pack(&content.value());
            assert_eq!(Content::of(&unpack(&packed).unwrap()).unwrap(), content);
        }
        for value in [
            Value::Null,
            Value::Text("abc".into()),
            Value::List(Vec::new()),
            Value::List(vec![blob(0)]),
            Value::List(vec![blob(CHUNK_BYTES_MAX as u64 + 1)]),
            Value::List(vec![blob(1), Value::Null]),
            Value::List(vec![blob(1); CHUNKS_MAX + 1]),
        ] {
            assert!(Content::of(&value).is_err(), "{value:?}");
        }
    }

    #[test]
    fn a_piece_has_another_key_in_every_scope() {
        let (one, other) = (InstanceId::from_bytes([1; 32]), InstanceId::from_bytes([2; 32]));
        let keys = [
            key(&one, &ScopeName::public(), &[7; 32]),
            key(&one, &ScopeName::trusted(), &[7; 32]),
            key(&other, &ScopeName::public(), &[7; 32]),
            key(&one, &ScopeName::public(), &[8; 32]),
        ];
        assert!((0..4).all(|a| (a + 1..4).all(|b| keys[a] != keys[b])));
        assert_eq!(keys[0], key(&one, &ScopeName::public(), &[7; 32]));
    }
}
