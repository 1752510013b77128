//! The values that a cell can hold.

use crate::cbor::error::{Error, Problem};
use crate::cbor::reader::{Kind, Reader};
use crate::cbor::writer::Writer;
use crate::id::bytes::{InstanceId, RecordKey};
use crate::id::name::DatasetName;

use super::recordid::RecordId;
use super::stamp::NUMBER_MAX;

/// The most bytes of one text or byte string.
pub const VALUE_BYTES_MAX: usize = 8 << 20;
/// The most items of one list.
pub const LIST_ITEMS_MAX: usize = 65_536;
/// How deeply lists may nest.
pub const LIST_DEPTH_MAX: usize = 8;

/// A logical value, the same on every kind of database.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// No value.
    Null,
    /// A truth value.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A float. All NaNs are one.
    Float(f64),
    /// A text, any Unicode.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A point in time, in microseconds since 1970-01-01 UTC.
    Timestamp(i64),
    /// A decimal number in canonical spelling.
    Decimal(String),
    /// A JSON document, as the application spelled it.
    Json(String),
    /// A list.
    List(Vec<Value>),
    /// Another record.
    Ref(RecordId),
    /// An attachment: BLAKE3 of its content, and its size.
    Blob {
        /// BLAKE3 of the content.
        hash: [u8; 32],
        /// Size in bytes.
        size: u64,
    },
}

// The first item of the arrays that carry what CBOR has no item of its own for.
const TIMESTAMP: u64 = 1;
const DECIMAL: u64 = 2;
const JSON: u64 = 3;
const LIST: u64 = 4;
const REF: u64 = 5;
const BLOB: u64 = 6;

impl Value {
    /// Writes the value; a reference to a record of `origin` leaves its origin out.
    pub fn encode(&self, writer: &mut Writer, origin: &InstanceId) {
        let mut kind = |items, code| {
            writer.array(items);
            writer.uint(code);
        };
        match self {
            Self::Null => writer.null(),
            Self::Bool(value) => writer.bool(*value),
            Self::Int(value) => writer.int(*value),
            Self::Float(value) => writer.float(*value),
            Self::Text(value) => writer.text(value),
            Self::Bytes(value) => writer.bytes(value),
            Self::Timestamp(micros) => {
                kind(2, TIMESTAMP);
                writer.int(*micros);
            }
            Self::Decimal(text) => {
                kind(2, DECIMAL);
                writer.text(text);
            }
            Self::Json(text) => {
                kind(2, JSON);
                writer.text(text);
            }
            Self::List(items) => {
                kind(2, LIST);
                writer.array(items.len());
                for item in items {
                    item.encode(writer, origin);
                }
            }
            Self::Ref(record) => {
                kind(4, REF);
                if record.origin == *origin {
                    writer.null()
                } else {
                    writer.bytes(record.origin.as_bytes())
                }
                writer.text(record.dataset.as_str());
                writer.bytes(record.key.as_bytes());
            }
            Self::Blob { hash, size } => {
                kind(3, BLOB);
                writer.bytes(hash);
                writer.uint(*size);
            }
        }
    }

    /// Reads what `encode` writes.
    ///
    /// # Errors
    /// Any other form, an unknown kind, or a bound exceeded.
    pub fn decode(reader: &mut Reader<'_>, origin: &InstanceId) -> Result<Self, Error> {
        Self::decode_at(reader, origin, 0)
    }

    fn decode_at(reader: &mut Reader<'_>, origin: &InstanceId, depth: usize) -> Result<Self, Error> {
        Ok(match reader.peek() {
            Kind::Null => (reader.null(), Self::Null).1,
            Kind::Bool => Self::Bool(reader.bool()?),
            Kind::Uint | Kind::Negative => Self::Int(reader.int()?),
            Kind::Float => Self::Float(reader.float()?),
            Kind::Text => Self::Text(reader.text(VALUE_BYTES_MAX)?.to_owned()),
            Kind::Bytes => Self::Bytes(reader.bytes(VALUE_BYTES_MAX)?.to_owned()),
            Kind::Array => Self::decode_kind(reader, origin, depth)?,
            Kind::Map | Kind::Other => return Err(reader.unexpected("a value")),
        })
    }

    fn decode_kind(reader: &mut Reader<'_>, origin: &InstanceId, depth: usize) -> Result<Self, Error> {
        let start = reader.offset();
        let items = reader.array(4)?;
        if items == 0 {
            return Err(reader.invalid(start, "a value of no kind"));
        }
        match (reader.uint()?, items) {
            (TIMESTAMP, 2) => Ok(Self::Timestamp(reader.int()?)),
            (DECIMAL, 2) => Ok(Self::Decimal(reader.text(VALUE_BYTES_MAX)?.to_owned())),
            (JSON, 2) => Ok(Self::Json(reader.text(VALUE_BYTES_MAX)?.to_owned())),
            (LIST, 2) => {
                if depth == LIST_DEPTH_MAX {
                    return Err(reader.error(start, Problem::TooDeep));
                }
                let count = reader.array(LIST_ITEMS_MAX)?;
                (0..count).map(|_| Self::decode_at(reader, origin, depth + 1)).collect::<Result<_, _>>().map(Self::List)
            }
            (REF, 4) => {
                let at = reader.offset();
                let of = if reader.null() { *origin } else { InstanceId::from_bytes(reader.fixed()?) };
                if of == *origin && reader.since(at).len() > 1 {
                    return Err(reader.invalid(at, "a reference names the origin that it should leave out"));
                }
                let at = reader.offset();
                // An overlay is no record of its own that something could refer to.
                let dataset = DatasetName::new(reader.text(64)?).ok().filter(|dataset| !dataset.is_overlay());
                let dataset = dataset.ok_or_else(|| reader.invalid(at, "a reference names no dataset"))?;
                Ok(Self::Ref(RecordId { origin: of, dataset, key: RecordKey::from_bytes(reader.fixed()?) }))
            }
            (BLOB, 3) => Ok(Self::Blob { hash: reader.fixed()?, size: reader.uint_max(NUMBER_MAX)? }),
            _ => Err(reader.invalid(start, "a value of unknown kind")),
        }
    }

    /// Tells whether both are one value: equal canonical bytes, so that NaN equals itself.
    pub fn same(&self, other: &Self) -> bool {
        self == other || self.canonical() == other.canonical()
    }

    /// Returns the canonical bytes, with every origin spelled out.
    pub(super) fn canonical(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        self.encode(&mut writer, &InstanceId::from_bytes([0; 32]));
        writer.finish()
    }

    /// Returns a JSON picture for people and `--json`.
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::json;
        match self {
            Self::Null => serde_json::Value::Null,
            Self::Bool(value) => json!(value),
            Self::Int(value) => json!(value),
            Self::Float(value) => json!(value),
            Self::Text(text) => json!(text),
            Self::Bytes(bytes) => {
                json!({ "bytes": bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>() })
            }
            Self::Timestamp(micros) => match jiff::Timestamp::from_microsecond(*micros) {
                Ok(time) => json!(time.to_string()),
                Err(_) => json!({ "timestamp_us": micros }),
            },
            Self::Decimal(text) => json!({ "decimal": text }),
            Self::Json(text) => json!({ "json": text }),
            Self::List(items) => items.iter().map(Self::to_json).collect(),
            Self::Ref(record) => json!({ "ref": record.to_string() }),
            Self::Blob { hash, size } => json!({ "blob": blake3::Hash::from_bytes(*hash).to_string(), "bytes": size }),
        }
    }
}
