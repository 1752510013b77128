//! The bytes of a manifest and of its details (format/manifest.md).

use super::*;
use crate::cbor::error::Error as CborError;
use crate::cbor::reader::Reader;
use crate::cbor::writer::Writer;

impl Manifest {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        let mut order = writer.map(12);
        writer.key(&mut order, "seq");
        writer.uint(self.seq);
        writer.key(&mut order, "prev");
        match &self.prev {
            None => writer.null(),
            Some(hash) => writer.bytes(hash.as_bytes()),
        }
        writer.key(&mut order, "salt");
        writer.bytes(&self.salt);
        writer.key(&mut order, "time");
        writer.uint(self.time.0);
        writer.key(&mut order, "scope");
        writer.bytes(self.scope.as_bytes());
        writer.key(&mut order, "epochs");
        writer.array(self.epochs.len());
        self.epochs.iter().for_each(|epoch| epoch.encode(&mut writer));
        writer.key(&mut order, "format");
        writer.uint(FORMAT);
        writer.key(&mut order, "former");
        encode_instances(&mut writer, &self.former);
        writer.key(&mut order, "origin");
        writer.bytes(self.origin.as_bytes());
        writer.key(&mut order, "public");
        writer.bool(self.public);
        writer.key(&mut order, "details");
        writer.bytes(&self.details);
        writer.key(&mut order, "writers");
        encode_instances(&mut writer, &self.writers);
        writer.finish()
    }

    pub(super) fn decode(payload: &[u8]) -> Result<Self, CborError> {
        let mut reader = Reader::new(payload);
        let mut keys = reader.map(12)?;
        keys.expect(&mut reader, "seq")?;
        let at = reader.offset();
        let seq = reader.uint_max(NUMBER_MAX)?;
        if seq == 0 {
            return Err(reader.invalid(at, "sequence numbers begin at 1"));
        }
        keys.expect(&mut reader, "prev")?;
        let at = reader.offset();
        let prev = if reader.null() { None } else { Some(DocHash::from_bytes(reader.fixed()?)) };
        if prev.is_none() != (seq == 1) {
            return Err(reader.invalid(at, "the first document, and no other, has no predecessor"));
        }
        keys.expect(&mut reader, "salt")?;
        let salt = reader.fixed()?;
        keys.expect(&mut reader, "time")?;
        let time = UnixMillis(reader.uint_max(NUMBER_MAX)?);
        keys.expect(&mut reader, "scope")?;
        let scope_at = reader.offset();
        let scope = ScopeId::from_bytes(reader.fixed()?);
        keys.expect(&mut reader, "epochs")?;
        let epochs_at = reader.offset();
        let count = reader.array(EPOCHS_MAX)?;
        let epochs = (0..count).map(|_| Epoch::decode(&mut reader)).collect::<Result<Vec<_>, _>>()?;
        keys.expect(&mut reader, "format")?;
        let at = reader.offset();
        if reader.uint()? != FORMAT {
            return Err(reader.invalid(at, "this format of manifest is not known"));
        }
        keys.expect(&mut reader, "former")?;
        let former_at = reader.offset();
        let former = decode_instances(&mut reader)?;
        keys.expect(&mut reader, "origin")?;
        let origin = InstanceId::from_bytes(reader.fixed()?);
        keys.expect(&mut reader, "public")?;
        let public = reader.bool()?;
        keys.expect(&mut reader, "details")?;
        let details = reader.bytes(DETAILS_BYTES_MAX)?.to_vec();
        keys.expect(&mut reader, "writers")?;
        let writers_at = reader.offset();
        let writers = decode_instances(&mut reader)?;
        keys.end(&reader)?;
        reader.finish()?;
        let manifest = Self { scope, origin, salt, seq, prev, public, writers, former, epochs, details, time };
        let broken = |at, rule: Option<&'static str>| rule.map_or(Ok(()), |rule| Err(reader.invalid(at, rule)));
        broken(scope_at, manifest.scope_rule())?;
        broken(epochs_at, manifest.epoch_rule())?;
        broken(writers_at, manifest.writer_rule())?;
        broken(former_at, manifest.former_rule())?;
        Ok(manifest)
    }

    fn scope_rule(&self) -> Option<&'static str> {
        (self.scope != scope_id(&self.origin, &self.salt)).then_some("the scope id does not belong to origin and salt")
    }

    fn epoch_rule(&self) -> Option<&'static str> {
        if self.epochs.is_empty() {
            return Some("a manifest has at least one epoch");
        }
        if self.epochs[0].number == 0 || !self.epochs.is_sorted_by(|a, b| a.number < b.number) {
            return Some("epoch numbers begin at 1 and ascend");
        }
        for epoch in &self.epochs {
            match &epoch.access {
                Access::Clear(_) if !self.public => return Some("an epoch that is not public is in clear"),
                Access::Granted(_) if self.public => return Some("a public epoch is sealed"),
                access if !access.is_granted_to(&self.origin) => return Some("an epoch is not granted to the origin"),
                _ => {}
            }
        }
        None
    }

    fn writer_rule(&self) -> Option<&'static str> {
        if self.writers.contains(&self.origin) {
            return Some("the origin is no other writer");
        }
        let newest = &self.newest_epoch().access;
        let blind = self.writers.iter().any(|writer| !newest.is_granted_to(writer));
        blind.then_some("a writer is not granted the newest epoch")
    }

    fn former_rule(&self) -> Option<&'static str> {
        let current = self.former.iter().any(|former| self.may_write(former));
        current.then_some("a former writer is a writer")
    }
}

impl Epoch {
    fn encode(&self, writer: &mut Writer) {
        let mut order = writer.map(3);
        match &self.access {
            Access::Clear(secret) => {
                writer.key(&mut order, "clear");
                writer.text(secret);
            }
            Access::Granted(grants) => {
                writer.key(&mut order, "grants");
                writer.array(grants.len());
                for (reader, sealed) in grants {
                    writer.array(2);
                    writer.bytes(reader.as_bytes());
                    writer.bytes(sealed);
                }
            }
        }
        writer.key(&mut order, "number");
        writer.uint(self.number.into());
        writer.key(&mut order, "recipient");
        writer.text(&self.recipient);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        let mut keys = reader.map(3)?;
        let access = if keys.maybe(reader, "clear")? {
            Access::Clear(reader.text(SECRET_BYTES_MAX)?.to_owned())
        } else {
            keys.expect(reader, "grants")?;
            let mut grants: Vec<(InstanceId, Vec<u8>)> = Vec::new();
            for _ in 0..reader.array(GRANTS_MAX)? {
                let at = reader.offset();
                reader.array_of(2)?;
                let instance = InstanceId::from_bytes(reader.fixed()?);
                if grants.last().is_some_and(|(last, _)| *last >= instance) {
                    return Err(reader.error(at, cbor::error::Problem::Unsorted));
                }
                grants.push((instance, reader.bytes(GRANT_BYTES_MAX)?.to_vec()));
            }
            Access::Granted(grants)
        };
        keys.expect(reader, "number")?;
        let number = reader.uint32()?;
        keys.expect(reader, "recipient")?;
        let at = reader.offset();
        let recipient = reader.text(sealing::RECIPIENT_BYTES_MAX)?.to_owned();
        sealing::check_recipient(&recipient).map_err(|_| reader.invalid(at, "this is no age X25519 recipient"))?;
        keys.end(reader)?;
        Ok(Self { number, recipient, access })
    }
}

fn encode_instances(writer: &mut Writer, instances: &[InstanceId]) {
    writer.array(instances.len());
    instances.iter().for_each(|instance| writer.bytes(instance.as_bytes()));
}

fn decode_instances(reader: &mut Reader<'_>) -> Result<Vec<InstanceId>, CborError> {
    let mut instances = Vec::new();
    for _ in 0..reader.array(WRITERS_MAX)? {
        let at = reader.offset();
        let instance = InstanceId::from_bytes(reader.fixed()?);
        if instances.last().is_some_and(|last| *last >= instance) {
            return Err(reader.error(at, cbor::error::Problem::Unsorted));
        }
        instances.push(instance);
    }
    Ok(instances)
}

pub(super) fn encode_details(name: &ScopeName, id_key: &[u8; 32], schema: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut writer = Writer::new();
    let mut order = writer.map(3);
    writer.key(&mut order, "name");
    writer.text(name.as_str());
    writer.key(&mut order, "id_key");
    writer.bytes(id_key);
    writer.key(&mut order, "schema");
    writer.bytes(schema);
    Zeroizing::new(writer.finish())
}

/// Name, id key and schema.
type Details = (ScopeName, Zeroizing<[u8; 32]>, Vec<u8>);

pub(super) fn decode_details(bytes: &[u8], public: bool) -> Result<Details, CborError> {
    let mut reader = Reader::new(bytes);
    let mut keys = reader.map(3)?;
    keys.expect(&mut reader, "name")?;
    let at = reader.offset();
    let name = reader.text(NAME_BYTES_MAX)?;
    let name = ScopeName::new(name).map_err(|_| reader.invalid(at, "this is no scope name"))?;
    if name.is_public() != public {
        return Err(reader.invalid(at, "the scope that is public, and no other, is called so"));
    }
    keys.expect(&mut reader, "id_key")?;
    let id_key = Zeroizing::new(reader.fixed()?);
    keys.expect(&mut reader, "schema")?;
    let schema = reader.bytes(SCHEMA_BYTES_MAX)?.to_vec();
    keys.end(&reader)?;
    reader.finish()?;
    Ok((name, id_key, schema))
}

const FORMAT: u64 = 1;
const NAME_BYTES_MAX: usize = 2048;
/// Sequence numbers and times fit a signed integer of 64 bits, which databases and other languages have.
const NUMBER_MAX: u64 = i64::MAX as u64;
