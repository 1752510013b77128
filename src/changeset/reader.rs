//! Reads the plaintext of one object of a changeset.

use super::entry::{Body, COMMITS_MAX, Entry, FORMAT};
use super::writer::Span;
use crate::cbor::error::Error;
use crate::cbor::reader::{Kind, Reader};
use crate::history::commit::COMMIT_BYTES_MAX;
use crate::id::bytes::{CommitId, RecordKey, ScopeId};
use crate::id::name::{DATASET_BYTES_MAX, DatasetName};
use crate::record::codec::RECORD_BYTES_MAX;

/// One object of a changeset, checked as a whole: form, order, count and checksum. The records in it
/// are not decoded.
#[derive(Debug)]
pub struct Part<'a> {
    /// What the changeset is about.
    pub span: Span,
    /// Which object of it this is, from 0.
    pub part: u32,
    /// Whether it is the last one.
    pub last: bool,
    /// The canonical bytes of commits that travel with it.
    pub commits: Vec<&'a [u8]>,
    /// The records, ascending by dataset and key.
    pub entries: Vec<Entry<&'a [u8]>>,
}

/// Reads an object's plaintext.
///
/// # Errors
/// Anything that isn't as format/changeset.md says, with its offset.
pub fn read(plain: &[u8]) -> Result<Part<'_>, Error> {
    let mut reader = Reader::new(plain);
    let mut keys = reader.map(6)?;
    keys.expect(&mut reader, "tip")?;
    let tip = CommitId::from_bytes(reader.fixed()?);
    keys.expect(&mut reader, "from")?;
    let from = reader.uint()?;
    keys.expect(&mut reader, "part")?;
    let part = reader.uint32()?;
    keys.expect(&mut reader, "scope")?;
    let scope = ScopeId::from_bytes(reader.fixed()?);
    keys.expect(&mut reader, "format")?;
    let at = reader.offset();
    if reader.uint()? != FORMAT {
        return Err(reader.invalid(at, "a changeset of a newer format"));
    }
    keys.expect(&mut reader, "commits")?;
    let count = reader.array(COMMITS_MAX)?;
    let commits = (0..count).map(|_| reader.bytes(COMMIT_BYTES_MAX)).collect::<Result<_, _>>()?;
    keys.end(&reader)?;
    let entries = read_entries(&mut reader)?;
    let last = read_footer(&mut reader, entries.len())?;
    Ok(Part { span: Span { scope, from, tip }, part, last, commits, entries })
}

fn read_entries<'a>(reader: &mut Reader<'a>) -> Result<Vec<Entry<&'a [u8]>>, Error> {
    let mut entries: Vec<Entry<&'a [u8]>> = Vec::new();
    let mut dataset: Option<DatasetName> = None;
    loop {
        let start = reader.offset();
        if reader.peek() == Kind::Text {
            let name = reader.text(DATASET_BYTES_MAX)?;
            let name = DatasetName::new(name).map_err(|_| reader.invalid(start, "no dataset name"))?;
            if dataset.as_ref().is_some_and(|last| *last >= name) {
                return Err(reader.invalid(start, "the datasets do not strictly ascend"));
            }
            dataset = Some(name);
        }
        let at = reader.offset();
        let mut ahead = reader.clone();
        if ahead.array(3)? == 3 {
            return if at == start { Ok(entries) } else { Err(reader.invalid(start, "a dataset without entries")) };
        }
        reader.array_of(2)?;
        let key = RecordKey::from_bytes(reader.fixed()?);
        let body = match reader.peek() {
            Kind::Null => (reader.null(), Body::Deleted).1,
            Kind::Bool if !reader.bool()? => Body::Withdrawn,
            Kind::Bytes => Body::Put(reader.bytes(RECORD_BYTES_MAX)?),
            _ => return Err(reader.invalid(at, "an entry has no body")),
        };
        let dataset = dataset.clone().ok_or_else(|| reader.invalid(at, "an entry before the first dataset"))?;
        if entries.last().is_some_and(|last| last.dataset == dataset && last.key >= key) {
            return Err(reader.invalid(at, "the records of a dataset do not strictly ascend"));
        }
        entries.push(Entry { dataset, key, body });
    }
}

fn read_footer(reader: &mut Reader<'_>, entries: usize) -> Result<bool, Error> {
    let start = reader.offset();
    let checksum = *blake3::hash(reader.since(0)).as_bytes();
    reader.array_of(3)?;
    if reader.uint()? != entries as u64 {
        return Err(reader.invalid(start, "the footer counts other entries"));
    }
    let last = reader.bool()?;
    if reader.fixed::<32>()? != checksum {
        return Err(reader.invalid(start, "the footer's checksum is another"));
    }
    reader.finish()?;
    Ok(last)
}

#[cfg(test)]
mod tests {
    use super::super::writer::Writer;
    use super::*;
    use proptest::prelude::*;

    fn sample(records: u8) -> Vec<u8> {
        let span = Span { scope: ScopeId::from_bytes([1; 16]), from: 3, tip: CommitId::from_bytes([2; 32]) };
        let mut plain = Vec::new();
        let mut writer = Writer::new(span, &[vec![1, 2, 3]], |part| {
            plain.push(part);
            Ok::<_, ()>(())
        });
        for (name, body) in
            [("notes", Body::Put(&b"record"[..])), ("users", Body::Deleted), ("persons", Body::Withdrawn)]
        {
            for record in 0..records {
                let dataset = DatasetName::new(name).unwrap();
                writer.push(Entry { dataset, key: RecordKey::from_bytes([record; 16]), body }).unwrap();
            }
        }
        writer.finish().unwrap();
        assert_eq!(plain.len(), 1);
        plain.remove(0)
    }

    #[test]
    fn what_is_written_is_read() {
        let plain = sample(3);
        let part = read(&plain).unwrap();
        assert_eq!((part.span.from, part.part, part.last, part.entries.len()), (3, 0, true, 9));
        assert_eq!(part.commits, [[1, 2, 3]]);
        assert_eq!(part.entries[0].body, Body::Put(&b"record"[..]));
        assert_eq!(part.entries[8].body, Body::Withdrawn);
        assert_eq!(read(&sample(0)).unwrap().entries, []);
    }

    proptest! {
        #[test]
        fn no_changed_byte_goes_unnoticed(at in any::<usize>(), flip in 1u8..) {
            let mut plain = sample(2);
            let at = at % plain.len();
            plain[at] ^= flip;
            prop_assert!(read(&plain).is_err());
        }

        #[test]
        fn no_cut_goes_unnoticed(at in any::<usize>()) {
            let plain = sample(2);
            prop_assert!(read(&plain[..at % plain.len()]).is_err());
        }
    }
}
