//! Records as canonical bytes: a table of stamps, then the cells by field. Bytes: format/record.md.

use std::collections::BTreeMap;

use super::cell::{Cell, Element, Record};
use super::stamp::{NUMBER_MAX, Stamp, decode_sequence};
use super::value::Value;
use crate::cbor::error::Error;
use crate::cbor::reader::{Kind, Reader};
use crate::cbor::writer::Writer;
use crate::id::bytes::InstanceId;
use crate::id::name::FieldName;
use crate::sys::clock::UnixMillis;

/// The first item of the array that carries a value and what it replaced; after the codes of `value`.
const REPLACED: u64 = 7;
/// Room for most records, so that few grow while they are written.
const ROOM_BYTES: usize = 512;
/// Room for the fields of most records.
const ROOM_FIELDS: usize = 16;
/// The most bytes of one record.
pub const RECORD_BYTES_MAX: usize = 8 << 20;
/// The most bytes of a record that an application's row may make, so that a merge of several still fits.
pub const CAPTURED_BYTES_MAX: usize = 1 << 20;
/// The most fields of one record.
pub const FIELDS_MAX: usize = 1024;
/// The most distinct writes in one record.
pub const STAMPS_MAX: usize = 4096;
/// The most concurrent values in one cell.
pub const ELEMENTS_MAX: usize = 1024;

/// Encodes a record of a scope of `origin`. Stamps and references of the origin leave its id out.
pub fn encode(record: &Record, origin: &InstanceId) -> Vec<u8> {
    let mut stamps: Vec<Stamp> = record.elements().map(|(_, element)| element.stamp).collect();
    stamps.sort_unstable();
    stamps.dedup();
    debug_assert!(stamps.is_sorted_by(|a, b| !a.is_same_write(b)), "a write has two times: {stamps:?}");
    let mut writer = Writer::with_capacity(ROOM_BYTES);
    writer.array(2);
    writer.array(stamps.len());
    for stamp in &stamps {
        encode_stamp(&mut writer, stamp, origin);
    }
    let mut order = writer.map(record.cells.len());
    for (field, cell) in &record.cells {
        writer.key(&mut order, field.as_str());
        writer.array(cell.elements().len() * 2);
        for element in cell.elements() {
            let index = stamps.binary_search(&element.stamp).expect("the table was made of these stamps");
            writer.uint(index as u64);
            if let Some(over) = &element.over {
                writer.array(3);
                writer.uint(REPLACED);
                element.value.encode(&mut writer, origin);
                over.encode(&mut writer, origin);
            } else {
                element.value.encode(&mut writer, origin);
            }
        }
    }
    writer.finish()
}

/// Encodes a record that one write made, with all its fields: what `encode` makes of it, without making it.
pub fn encode_written(fields: &BTreeMap<FieldName, Value>, stamp: &Stamp, origin: &InstanceId) -> Vec<u8> {
    let mut writer = Writer::with_capacity(ROOM_BYTES);
    writer.array(2);
    writer.array(usize::from(!fields.is_empty()));
    if !fields.is_empty() {
        encode_stamp(&mut writer, stamp, origin);
    }
    let mut order = writer.map(fields.len());
    for (field, value) in fields {
        writer.key(&mut order, field.as_str());
        writer.array(2);
        writer.uint(0);
        value.encode(&mut writer, origin);
    }
    writer.finish()
}

/// Decodes what `encode` writes.
///
/// # Errors
/// Any other form, with its offset: an unsorted or unused stamp, an empty cell, a bound exceeded.
pub fn decode(bytes: &[u8], origin: &InstanceId) -> Result<Record, Error> {
    let mut reader = Reader::new(bytes);
    reader.array_of(2)?;
    let stamps = decode_stamps(&mut reader, origin)?;
    let mut used = vec![false; stamps.len()];
    let mut cells = Vec::with_capacity(ROOM_FIELDS);
    let mut keys = reader.map(FIELDS_MAX)?;
    loop {
        let start = reader.offset();
        let Some(name) = keys.next_key(&mut reader)? else { break };
        let field = FieldName::new(name).map_err(|_| reader.invalid(start, "a field has no valid name"))?;
        cells.push((field, decode_cell(&mut reader, origin, &stamps, &mut used)?));
    }
    reader.finish()?;
    if used.contains(&false) {
        return Err(reader.invalid(0, "a stamp is used by no cell"));
    }
    // They come in order, and are not searched for their places.
    Ok(Record { cells: cells.into_iter().collect() })
}

fn decode_cell(
    reader: &mut Reader<'_>,
    origin: &InstanceId,
    stamps: &[Stamp],
    used: &mut [bool],
) -> Result<Cell, Error> {
    let start = reader.offset();
    let items = reader.array(ELEMENTS_MAX * 2)?;
    if items == 0 || items % 2 == 1 {
        return Err(reader.invalid(start, "a cell is not a list of (stamp, value)"));
    }
    let mut elements = Vec::with_capacity(items / 2);
    let mut last = None;
    for _ in 0..items / 2 {
        let at = reader.offset();
        // `try_from`, because a number above the address space must not wrap round to an index.
        let index = usize::try_from(reader.uint()?).unwrap_or(usize::MAX);
        let stamp = *stamps.get(index).ok_or_else(|| reader.invalid(at, "a cell names no stamp of the table"))?;
        if last.is_some_and(|last| last >= index) {
            return Err(reader.invalid(at, "the elements of a cell do not ascend"));
        }
        (last, used[index]) = (Some(index), true);
        let (value, over) = decode_written(reader, origin)?;
        elements.push(Element { stamp, value, over });
    }
    Ok(Cell::of(elements).expect("at least one element was read"))
}

/// Reads a value, with what it replaced if the write tells.
fn decode_written(reader: &mut Reader<'_>, origin: &InstanceId) -> Result<(Value, Option<Value>), Error> {
    let mut ahead = reader.clone();
    if ahead.peek() == Kind::Array && ahead.array(4).is_ok_and(|items| items == 3) && ahead.uint() == Ok(REPLACED) {
        *reader = ahead;
        return Ok((Value::decode(reader, origin)?, Some(Value::decode(reader, origin)?)));
    }
    Ok((Value::decode(reader, origin)?, None))
}

fn encode_stamp(writer: &mut Writer, stamp: &Stamp, origin: &InstanceId) {
    writer.array(4);
    if stamp.author == *origin {
        writer.null()
    } else {
        writer.bytes(stamp.author.as_bytes())
    }
    writer.uint(u64::from(stamp.incarnation));
    writer.uint(stamp.sequence);
    writer.uint(stamp.time.0);
}

fn decode_stamps(reader: &mut Reader<'_>, origin: &InstanceId) -> Result<Vec<Stamp>, Error> {
    let count = reader.array(STAMPS_MAX)?;
    let mut stamps: Vec<Stamp> = Vec::with_capacity(count.min(64));
    for _ in 0..count {
        let start = reader.offset();
        reader.array_of(4)?;
        let at = reader.offset();
        let author = if reader.null() { *origin } else { InstanceId::from_bytes(reader.fixed()?) };
        if author == *origin && reader.since(at).len() > 1 {
            return Err(reader.invalid(at, "a stamp names the origin that it should leave out"));
        }
        let incarnation = reader.uint32()?;
        let sequence = decode_sequence(reader)?;
        let time = UnixMillis(reader.uint_max(NUMBER_MAX)?);
        let stamp = Stamp { author, incarnation, sequence, time };
        let same_write = |last: &Stamp| {
            (last.author, last.incarnation, last.sequence) >= (stamp.author, stamp.incarnation, stamp.sequence)
        };
        if stamps.last().is_some_and(same_write) {
            return Err(reader.invalid(start, "the stamps of a record do not strictly ascend"));
        }
        stamps.push(stamp);
    }
    Ok(stamps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::bytes::RecordKey;
    use crate::id::name::DatasetName;
    use crate::record::recordid::RecordId;
    use proptest::prelude::*;

    const ORIGIN: InstanceId = InstanceId::from_bytes([7; 32]);

    fn any_value() -> impl Strategy<Value = Value> {
        let record = (any::<bool>(), any::<[u8; 16]>()).prop_map(|(own, key)| RecordId {
            origin: if own { ORIGIN } else { InstanceId::from_bytes([9; 32]) },
            dataset: DatasetName::new("users").unwrap(),
            key: RecordKey::from_bytes(key),
        });
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::Int),
            proptest::num::f64::NORMAL.prop_map(Value::Float),
            ".{0,12}".prop_map(Value::Text),
            proptest::collection::vec(any::<u8>(), 0..12).prop_map(Value::Bytes),
            any::<i64>().prop_map(Value::Timestamp),
            record.prop_map(Value::Ref),
            (any::<[u8; 32]>(), 0..=NUMBER_MAX).prop_map(|(hash, size)| Value::Blob { hash, size }),
        ];
        leaf.prop_recursive(3, 12, 4, |inner| proptest::collection::vec(inner, 0..4).prop_map(Value::List))
    }

    fn any_record() -> impl Strategy<Value = Record> {
        let stamp = (0u8..3, 0u32..2, 1u64..5).prop_map(|(author, incarnation, sequence)| Stamp {
            author: if author == 0 { ORIGIN } else { InstanceId::from_bytes([author; 32]) },
            incarnation,
            sequence,
            time: UnixMillis(sequence * 1000),
        });
        let element = (stamp, any_value(), proptest::option::of(any_value()))
            .prop_map(|(stamp, value, over)| Element { stamp, value, over });
        let cell = proptest::collection::vec(element, 1..4).prop_map(|elements| Cell::of(elements).unwrap());
        let field = "[a-z_]{1,9}".prop_map(|name| FieldName::new(&name).unwrap());
        proptest::collection::btree_map(field, cell, 0..6).prop_map(|cells| Record { cells })
    }

    proptest! {
        #[test]
        fn records_round_trip(record in any_record()) {
            let bytes = encode(&record, &ORIGIN);
            prop_assert_eq!(decode(&bytes, &ORIGIN).unwrap(), record);
        }

        #[test]
        fn a_written_record_is_encoded_as_any_other(
            fields in proptest::collection::btree_map("[a-z_]{1,9}", any_value(), 0..6),
            author in prop_oneof![Just(ORIGIN), Just(InstanceId::from_bytes([9; 32]))],
        ) {
            let stamp = Stamp { author, incarnation: 1, sequence: 2, time: UnixMillis(3) };
            let fields: BTreeMap<_, _> =
                fields.into_iter().map(|(name, value)| (FieldName::new(&name).unwrap(), value)).collect();
            let cells = fields.iter().map(|(field, value)| (field.clone(), Cell::new(stamp, value.clone())));
            let record = Record { cells: cells.collect() };
            prop_assert_eq!(encode_written(&fields, &stamp, &ORIGIN), encode(&record, &ORIGIN));
        }

        #[test]
        fn whatever_decodes_encodes_to_the_same_bytes(record in any_record(), at in any::<usize>(), byte in any::<u8>()) {
            let mut bytes = encode(&record, &ORIGIN);
            let at = at % bytes.len();
            bytes[at] = byte;
            if let Ok(read) = decode(&bytes, &ORIGIN) {
                prop_assert_eq!(encode(&read, &ORIGIN), bytes);
            }
        }
    }
}
