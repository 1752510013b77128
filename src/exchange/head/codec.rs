//! The bytes of a head (format/head.md).

use super::*;
use crate::cbor::error::{Error as CborError, Problem};
use crate::cbor::reader::Reader;
use crate::cbor::writer::Writer;

impl Head {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        let mut order = writer.map(13);
        writer.key(&mut order, "seq");
        writer.uint(self.seq);
        writer.key(&mut order, "base");
        match &self.base {
            None => writer.null(),
            Some(base) => base.encode(&mut writer),
        }
        writer.key(&mut order, "prev");
        encode_optional(&mut writer, self.prev.as_ref().map(|hash| &hash.as_bytes()[..]));
        writer.key(&mut order, "time");
        writer.uint(self.time.0);
        writer.key(&mut order, "epoch");
        writer.uint(self.epoch.into());
        writer.key(&mut order, "scope");
        writer.bytes(self.scope.as_bytes());
        writer.key(&mut order, "commit");
        writer.bytes(self.commit.as_bytes());
        writer.key(&mut order, "format");
        writer.uint(FORMAT);
        writer.key(&mut order, "signer");
        writer.bytes(self.signer.as_bytes());
        writer.key(&mut order, "writes");
        writer.uint(self.writes);
        writer.key(&mut order, "segments");
        writer.array(self.segments.len());
        self.segments.iter().for_each(|segment| segment.encode(&mut writer));
        writer.key(&mut order, "incarnation");
        writer.uint(self.incarnation.into());
        writer.key(&mut order, "manifest_seq");
        writer.uint(self.manifest_seq);
        writer.finish()
    }

    pub(super) fn decode(payload: &[u8]) -> Result<Self, CborError> {
        let mut reader = Reader::new(payload);
        let mut keys = reader.map(13)?;
        keys.expect(&mut reader, "seq")?;
        let seq = positive(&mut reader)?;
        keys.expect(&mut reader, "base")?;
        let base = if reader.null() { None } else { Some(Base::decode(&mut reader)?) };
        keys.expect(&mut reader, "prev")?;
        let at = reader.offset();
        let prev = if reader.null() { None } else { Some(DocHash::from_bytes(reader.fixed()?)) };
        if prev.is_none() != (seq == 1) {
            return Err(reader.invalid(at, "the first document, and no other, has no predecessor"));
        }
        keys.expect(&mut reader, "time")?;
        let time = UnixMillis(reader.uint_max(NUMBER_MAX)?);
        keys.expect(&mut reader, "epoch")?;
        let at = reader.offset();
        let epoch = reader.uint32()?;
        if epoch == 0 {
            return Err(reader.invalid(at, "sequence and epoch numbers begin at 1"));
        }
        keys.expect(&mut reader, "scope")?;
        let scope = ScopeId::from_bytes(reader.fixed()?);
        keys.expect(&mut reader, "commit")?;
        let commit = CommitId::from_bytes(reader.fixed()?);
        keys.expect(&mut reader, "format")?;
        let at = reader.offset();
        if reader.uint()? != FORMAT {
            return Err(reader.invalid(at, "this format of head is not known"));
        }
        keys.expect(&mut reader, "signer")?;
        let signer = InstanceId::from_bytes(reader.fixed()?);
        keys.expect(&mut reader, "writes")?;
        let writes = reader.uint_max(NUMBER_MAX)?;
        keys.expect(&mut reader, "segments")?;
        let segments = decode_segments(&mut reader, seq, base.is_some())?;
        keys.expect(&mut reader, "incarnation")?;
        let incarnation = reader.uint32()?;
        keys.expect(&mut reader, "manifest_seq")?;
        let manifest_seq = positive(&mut reader)?;
        keys.end(&reader)?;
        reader.finish()?;
        Ok(Self { scope, signer, incarnation, seq, prev, commit, writes, manifest_seq, epoch, base, segments, time })
    }
}

impl Base {
    fn encode(&self, writer: &mut Writer) {
        let mut order = writer.map(2);
        writer.key(&mut order, "seq");
        writer.uint(self.seq);
        writer.key(&mut order, "commit");
        writer.bytes(self.commit.as_bytes());
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        let mut keys = reader.map(2)?;
        keys.expect(reader, "seq")?;
        let seq = positive(reader)?;
        keys.expect(reader, "commit")?;
        let commit = CommitId::from_bytes(reader.fixed()?);
        keys.end(reader)?;
        Ok(Self { seq, commit })
    }
}

impl Segment {
    fn encode(&self, writer: &mut Writer) {
        let mut order = writer.map(3);
        writer.key(&mut order, "to");
        writer.uint(self.to_seq);
        writer.key(&mut order, "from");
        writer.uint(self.from_seq);
        writer.key(&mut order, "objects");
        writer.array(self.objects.len());
        for object in &self.objects {
            writer.array(2);
            writer.bytes(object.id.as_bytes());
            writer.uint(object.bytes);
        }
    }

    /// Reads one segment of at most `objects_max` objects.
    fn decode(reader: &mut Reader<'_>, objects_max: usize) -> Result<Self, CborError> {
        let at = reader.offset();
        let mut keys = reader.map(3)?;
        keys.expect(reader, "to")?;
        let to_seq = positive(reader)?;
        keys.expect(reader, "from")?;
        let from_seq = reader.uint_max(NUMBER_MAX)?;
        if from_seq >= to_seq {
            return Err(reader.invalid(at, "a segment does not lead forward"));
        }
        keys.expect(reader, "objects")?;
        let at = reader.offset();
        let count = reader.array(objects_max)?;
        if count == 0 {
            return Err(reader.invalid(at, "a segment has no object"));
        }
        let objects = (0..count).map(|_| ObjectRef::decode(reader)).collect::<Result<_, _>>()?;
        keys.end(reader)?;
        Ok(Self { from_seq, to_seq, objects })
    }
}

impl ObjectRef {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        reader.array_of(2)?;
        let id = ObjectId::from_bytes(reader.fixed()?);
        let at = reader.offset();
        let bytes = reader.uint_max(OBJECT_BYTES_MAX)?;
        if bytes == 0 {
            return Err(reader.invalid(at, "an object is empty"));
        }
        Ok(Self { id, bytes })
    }
}

fn decode_segments(reader: &mut Reader<'_>, seq: u64, based: bool) -> Result<Vec<Segment>, CborError> {
    let start = reader.offset();
    let mut segments: Vec<Segment> = Vec::new();
    let mut objects_left = OBJECTS_MAX;
    for _ in 0..reader.array(SEGMENTS_MAX)? {
        let at = reader.offset();
        let segment = Segment::decode(reader, objects_left)?;
        objects_left -= segment.objects.len();
        // The first delta may begin before the snapshot ends: so those who are not far behind need no
        // new snapshot.
        let overlaps = !based && segments.len() == 1;
        match segments.last() {
            Some(last) if overlaps && segment.from_seq < last.to_seq && segment.from_seq > 0 => segments.push(segment),
            Some(last) if last.to_seq != segment.from_seq => {
                return Err(reader.invalid(at, "a segment does not follow on the one before"));
            }
            None if !based && segment.from_seq != 0 => {
                return Err(reader.invalid(at, "the first segment of a head without a base is not a snapshot"));
            }
            _ => segments.push(segment),
        }
    }
    match segments.last() {
        None if !based => Err(reader.invalid(start, "a head without a base has no segment")),
        Some(last) if last.to_seq != seq => {
            Err(reader.invalid(start, "the last segment does not lead to the head's sequence"))
        }
        _ => Ok(segments),
    }
}

fn encode_optional(writer: &mut Writer, bytes: Option<&[u8]>) {
    match bytes {
        None => writer.null(),
        Some(bytes) => writer.bytes(bytes),
    }
}

/// Reads a sequence number: they begin at 1.
fn positive(reader: &mut Reader<'_>) -> Result<u64, CborError> {
    let at = reader.offset();
    match reader.uint_max(NUMBER_MAX)? {
        0 => Err(reader.error(at, Problem::Invalid("sequence and epoch numbers begin at 1"))),
        number => Ok(number),
    }
}

const FORMAT: u64 = 1;
/// Sequence numbers and times fit a signed integer of 64 bits, which databases and other languages have.
const NUMBER_MAX: u64 = i64::MAX as u64;
// An object takes 41 bytes at most, a segment 50 without its objects, the rest 300.
const _: () = assert!(OBJECTS_MAX * 41 + SEGMENTS_MAX * 50 + 300 <= DocKind::Head.payload_bytes_max());
