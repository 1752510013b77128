//! The bytes of a receipt and of its statement (format/receipt.md).

use super::*;
use crate::cbor::error::Error as CborError;
use crate::cbor::reader::Reader;
use crate::cbor::writer::Writer;

impl Receipt {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        let mut order = writer.map(8);
        writer.key(&mut order, "seq");
        writer.uint(self.seq);
        writer.key(&mut order, "body");
        writer.bytes(&self.body);
        writer.key(&mut order, "time");
        writer.uint(self.time.0);
        writer.key(&mut order, "epoch");
        match self.epoch {
            None => writer.null(),
            Some(epoch) => writer.uint(epoch.into()),
        }
        writer.key(&mut order, "scope");
        writer.bytes(self.scope.as_bytes());
        writer.key(&mut order, "format");
        writer.uint(FORMAT);
        writer.key(&mut order, "signer");
        writer.bytes(self.signer.as_bytes());
        writer.key(&mut order, "incarnation");
        writer.uint(self.incarnation.into());
        writer.finish()
    }

    pub(super) fn decode(payload: &[u8]) -> Result<Self, CborError> {
        let mut reader = Reader::new(payload);
        let mut keys = reader.map(8)?;
        keys.expect(&mut reader, "seq")?;
        let seq = positive(&mut reader)?;
        keys.expect(&mut reader, "body")?;
        let body = reader.bytes(BODY_BYTES_MAX)?.to_vec();
        keys.expect(&mut reader, "time")?;
        let time = UnixMillis(reader.uint_max(NUMBER_MAX)?);
        keys.expect(&mut reader, "epoch")?;
        let at = reader.offset();
        let epoch = if reader.null() { None } else { Some(reader.uint32()?) };
        if epoch == Some(0) {
            return Err(reader.invalid(at, "sequence and epoch numbers begin at 1"));
        }
        keys.expect(&mut reader, "scope")?;
        let scope = ScopeId::from_bytes(reader.fixed()?);
        keys.expect(&mut reader, "format")?;
        let at = reader.offset();
        if reader.uint()? != FORMAT {
            return Err(reader.invalid(at, "this format of receipt is not known"));
        }
        keys.expect(&mut reader, "signer")?;
        let signer = InstanceId::from_bytes(reader.fixed()?);
        keys.expect(&mut reader, "incarnation")?;
        let incarnation = reader.uint32()?;
        keys.end(&reader)?;
        reader.finish()?;
        Ok(Self { scope, signer, incarnation, seq, time, epoch, body })
    }
}

impl Statement {
    /// Returns the statement's bytes, before they are sealed.
    ///
    /// # Panics
    /// If it breaks a rule of format/receipt.md.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        let mut order = writer.map(3);
        writer.key(&mut order, "forks");
        writer.array(self.forks.len());
        for pair in &self.forks {
            writer.array(2);
            pair.iter().for_each(|document| writer.bytes(document));
        }
        writer.key(&mut order, "heads");
        writer.array(self.heads.len());
        self.heads.iter().for_each(|document| writer.bytes(document));
        writer.key(&mut order, "applied");
        writer.array(self.applied.len());
        for applied in &self.applied {
            writer.array(4);
            writer.bytes(applied.signer.as_bytes());
            writer.uint(applied.incarnation.into());
            writer.uint(applied.seq);
            writer.bytes(applied.hash.as_bytes());
        }
        let bytes = writer.finish();
        assert!(Self::decode(&bytes).as_ref() == Ok(self), "the statement breaks a rule of its format");
        bytes
    }

    /// Reads what `encode` writes.
    ///
    /// # Errors
    /// Any other form, or something beyond its bound.
    pub fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        let mut reader = Reader::new(bytes);
        if bytes.len() > STATEMENT_BYTES_MAX {
            return Err(reader.invalid(0, "a statement is longer than 1 MiB"));
        }
        let mut keys = reader.map(3)?;
        keys.expect(&mut reader, "forks")?;
        let mut forks = Vec::new();
        for _ in 0..reader.array(FORKS_MAX)? {
            reader.array_of(2)?;
            forks.push([reader.bytes(PART_BYTES_MAX)?.to_vec(), reader.bytes(PART_BYTES_MAX)?.to_vec()]);
        }
        keys.expect(&mut reader, "heads")?;
        let mut heads = Vec::new();
        for _ in 0..reader.array(HEADS_MAX)? {
            heads.push(reader.bytes(PART_BYTES_MAX)?.to_vec());
        }
        keys.expect(&mut reader, "applied")?;
        let mut applied: Vec<Applied> = Vec::new();
        for _ in 0..reader.array(HEADS_MAX)? {
            let at = reader.offset();
            reader.array_of(4)?;
            let signer = InstanceId::from_bytes(reader.fixed()?);
            let incarnation = reader.uint32()?;
            let (seq, hash) = (positive(&mut reader)?, DocHash::from_bytes(reader.fixed()?));
            if applied.last().is_some_and(|last| last.signer >= signer) {
                return Err(reader.invalid(at, "signers do not ascend"));
            }
            applied.push(Applied { signer, incarnation, seq, hash });
        }
        keys.end(&reader)?;
        reader.finish()?;
        Ok(Self { applied, heads, forks })
    }
}

fn positive(reader: &mut Reader<'_>) -> Result<u64, CborError> {
    let at = reader.offset();
    match reader.uint_max(NUMBER_MAX)? {
        0 => Err(reader.invalid(at, "sequence and epoch numbers begin at 1")),
        number => Ok(number),
    }
}

const FORMAT: u64 = 1;
/// Numbers and times fit a signed integer of 64 bits, which databases and other languages have.
const NUMBER_MAX: u64 = i64::MAX as u64;
const _: () = assert!(BODY_BYTES_MAX + 300 <= DocKind::Receipt.payload_bytes_max());
