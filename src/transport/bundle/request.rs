//! A request: what an instance has, so that a bundle for it holds what it lacks. Format: format/bundle.md.

use std::collections::BTreeMap;

use super::index::Error;
use crate::cbor;
use crate::cbor::reader::Reader;
use crate::cbor::writer::Writer;
use crate::id::bytes::{DocHash, InstanceId, ScopeId};
use crate::keys::document::{DocKind, Unverified, sign};
use crate::keys::identity::Identity;
use crate::sys::clock::UnixMillis;

/// What an instance has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Whose it is.
    pub signer: InstanceId,
    /// When it was signed, by the signer's own clock.
    pub time: UnixMillis,
    /// The cards that it has of others.
    pub cards: BTreeMap<InstanceId, DocHash>,
    /// By scope.
    pub scopes: BTreeMap<ScopeId, Held>,
}

/// What it has of a scope.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// The manifest.
    pub manifest: Option<DocHash>,
    /// The head of each signer.
    pub heads: BTreeMap<InstanceId, HeldHead>,
    /// The receipt of each reader: incarnation and number.
    pub receipts: BTreeMap<InstanceId, (u32, u64)>,
}

/// A head that it has, with all that the head names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldHead {
    /// The signer's incarnation.
    pub incarnation: u32,
    /// Its number.
    pub seq: u64,
    /// Its name.
    pub hash: DocHash,
}

impl Request {
    /// Signs the request.
    ///
    /// # Panics
    /// If the identity isn't the signer.
    pub fn sign(&self, identity: &Identity) -> Vec<u8> {
        assert!(self.signer == identity.id(), "an instance signs its own requests only");
        sign(identity, DocKind::Request, &self.encode())
    }

    /// Reads a request, signed by whomever it says.
    ///
    /// # Errors
    /// As of an index.
    pub fn open(bytes: &[u8]) -> Result<Self, Error> {
        let document = Unverified::parse(bytes).map_err(Error::Verify)?;
        let signer = document.claimed_signer().map_err(Error::Verify)?;
        let verified = document.verify(DocKind::Request, &signer).map_err(Error::Verify)?;
        let request = Self::decode(verified.payload).map_err(Error::Decode)?;
        if request.signer != signer {
            return Err(Error::OtherSigner { index: request.signer, signer });
        }
        Ok(request)
    }

    fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        let mut order = writer.map(5);
        writer.key(&mut order, "time");
        writer.uint(self.time.0);
        writer.key(&mut order, "cards");
        writer.array(self.cards.len());
        for (instance, hash) in &self.cards {
            writer.array(2);
            writer.bytes(instance.as_bytes());
            writer.bytes(hash.as_bytes());
        }
        writer.key(&mut order, "format");
        writer.uint(FORMAT);
        writer.key(&mut order, "scopes");
        writer.array(self.scopes.len());
        for (scope, held) in &self.scopes {
            writer.array(4);
            writer.bytes(scope.as_bytes());
            match &held.manifest {
                None => writer.null(),
                Some(hash) => writer.bytes(hash.as_bytes()),
            }
            writer.array(held.heads.len());
            for (signer, head) in &held.heads {
                writer.array(4);
                writer.bytes(signer.as_bytes());
                writer.uint(head.incarnation.into());
                writer.uint(head.seq);
                writer.bytes(head.hash.as_bytes());
            }
            writer.array(held.receipts.len());
            for (reader, (incarnation, seq)) in &held.receipts {
                writer.array(3);
                writer.bytes(reader.as_bytes());
                writer.uint((*incarnation).into());
                writer.uint(*seq);
            }
        }
        writer.key(&mut order, "signer");
        writer.bytes(self.signer.as_bytes());
        writer.finish()
    }

    fn decode(payload: &[u8]) -> Result<Self, cbor::error::Error> {
        let mut reader = Reader::new(payload);
        let mut keys = reader.map(5)?;
        keys.expect(&mut reader, "time")?;
        let time = UnixMillis(reader.uint_max(i64::MAX as u64)?);
        keys.expect(&mut reader, "cards")?;
        let mut cards = BTreeMap::new();
        for _ in 0..reader.array(CARDS_MAX)? {
            reader.array_of(2)?;
            let instance = ascending(&mut reader, &cards, "instances ascend")?;
            cards.insert(instance, DocHash::from_bytes(reader.fixed()?));
        }
        keys.expect(&mut reader, "format")?;
        let at = reader.offset();
        if reader.uint()? != FORMAT {
            return Err(reader.invalid(at, "this format of request is not known"));
        }
        keys.expect(&mut reader, "scopes")?;
        let mut scopes = BTreeMap::new();
        for _ in 0..reader.array(SCOPES_MAX)? {
            reader.array_of(4)?;
            let at = reader.offset();
            let scope = ScopeId::from_bytes(reader.fixed()?);
            if scopes.last_key_value().is_some_and(|(last, _)| *last >= scope) {
                return Err(reader.invalid(at, "scopes ascend"));
            }
            let manifest = if reader.null() { None } else { Some(DocHash::from_bytes(reader.fixed()?)) };
            let mut heads = BTreeMap::new();
            for _ in 0..reader.array(HEADS_MAX)? {
                reader.array_of(4)?;
                let signer = ascending(&mut reader, &heads, "signers ascend")?;
                let (incarnation, seq) = (reader.uint32()?, reader.uint()?);
                heads.insert(signer, HeldHead { incarnation, seq, hash: DocHash::from_bytes(reader.fixed()?) });
            }
            let mut receipts = BTreeMap::new();
            for _ in 0..reader.array(HEADS_MAX)? {
                reader.array_of(3)?;
                let signer = ascending(&mut reader, &receipts, "readers ascend")?;
                receipts.insert(signer, (reader.uint32()?, reader.uint()?));
            }
            scopes.insert(scope, Held { manifest, heads, receipts });
        }
        keys.expect(&mut reader, "signer")?;
        let signer = InstanceId::from_bytes(reader.fixed()?);
        keys.end(&reader)?;
        reader.finish()?;
        Ok(Self { signer, time, cards, scopes })
    }
}

/// Reads an id that comes after all in `before`.
fn ascending<T>(
    reader: &mut Reader<'_>,
    before: &BTreeMap<InstanceId, T>,
    rule: &'static str,
) -> Result<InstanceId, cbor::error::Error> {
    let at = reader.offset();
    let id = InstanceId::from_bytes(reader.fixed()?);
    match before.last_key_value() {
        Some((last, _)) if *last >= id => Err(reader.invalid(at, rule)),
        _ => Ok(id),
    }
}

const FORMAT: u64 = 1;
const CARDS_MAX: usize = 4096;
const SCOPES_MAX: usize = 4096;
const HEADS_MAX: usize = 1025;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::vectors::{Case, run};

    fn sample() -> (Identity, Request) {
        let identity = Identity::fixed(1);
        let head = HeldHead { incarnation: 1, seq: 7, hash: DocHash::from_bytes([4; 32]) };
        let receipts =
            BTreeMap::from([(InstanceId::from_bytes([2; 32]), (0, 3)), (InstanceId::from_bytes([6; 32]), (1, 4))]);
        let held = Held { manifest: None, heads: BTreeMap::from([(InstanceId::from_bytes([2; 32]), head)]), receipts };
        let scopes = BTreeMap::from([
            (ScopeId::from_bytes([1; 16]), held),
            (ScopeId::from_bytes([3; 16]), Held { manifest: Some(DocHash::from_bytes([5; 32])), ..Held::default() }),
        ]);
        let cards = [7, 8].map(|byte| (InstanceId::from_bytes([byte; 32]), DocHash::from_bytes([9; 32])));
        let (cards, time) = (BTreeMap::from(cards), UnixMillis(1_790_000_000_000));
        let request = Request { signer: identity.id(), time, cards, scopes };
        (identity, request)
    }

    #[test]
    fn a_request_comes_back_and_every_changed_byte_is_noticed() {
        let (identity, request) = sample();
        let bytes = request.sign(&identity);
        assert_eq!(Request::open(&bytes).unwrap(), request);
        for at in 0..bytes.len() {
            let mut altered = bytes.clone();
            altered[at] ^= 1;
            assert!(Request::open(&altered).is_err(), "byte {at}");
        }
    }

    #[test]
    fn vectors_hold() {
        let (identity, request) = sample();
        let payload = request.encode();
        // Ids of one byte over and over are easy to find and to put in another order.
        let place = |of: &[u8]| payload.windows(of.len()).position(|window| window == of).unwrap();
        let mut unordered = payload.clone();
        unordered[place(&[1; 16])..][..16].fill(9);
        let moved = |of: &[u8], by: u8| {
            let mut payload = payload.clone();
            let at = place(of);
            payload[at..][..of.len()].fill(by);
            payload
        };
        let (cards_descend, readers_descend) = (moved(&[7; 32], 9), moved(&[6; 32], 1));
        let mut cut = payload.clone();
        cut.pop();
        let sealed = |payload: &[u8]| sign(&identity, DocKind::Request, payload);
        let nothing = Request { cards: BTreeMap::new(), scopes: BTreeMap::new(), ..request.clone() };
        let cases = [
            Case::accept("two-scopes", sealed(&payload)),
            Case::accept("nothing", sealed(&nothing.encode())),
            Case::reject("scopes-descend", sealed(&unordered)),
            Case::reject("cards-descend", sealed(&cards_descend)),
            Case::reject("readers-descend", sealed(&readers_descend)),
            Case::reject("cut", sealed(&cut)),
            Case::reject("other-signer", sign(&Identity::fixed(2), DocKind::Request, &payload)),
            Case::reject("signed-as-bundle", sign(&identity, DocKind::Bundle, &payload)),
        ];
        run("request", &cases, |bytes| Request::open(bytes).map(drop));
    }
}
