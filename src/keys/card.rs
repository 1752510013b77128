//! Instance card: who an instance is, signed by itself, in one line that people can paste.
//!
//! A card proves only that whoever holds the key wrote it; that the key belongs to the people you mean is
//! for you to check by its fingerprint. Format: format/card.md.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::document::{self, DocKind, Unverified};
use super::identity::Identity;
use super::sealing;
use crate::cbor;
use crate::cbor::reader::Reader;
use crate::cbor::writer::Writer;
use crate::id::bytes::{DocHash, InstanceId};
use crate::id::name::PeerName;

/// What an instance says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    /// Its id, which also verifies the card.
    pub instance: InstanceId,
    /// Where to seal what only it may read: `age1…`.
    pub recipient: String,
    /// What it calls itself; a proposal.
    pub name: PeerName,
    /// Where its store may be found, best first; at most 16 of at most 1,024 bytes, without blanks.
    pub urls: Vec<String>,
    /// Raised when the instance was restored from a backup.
    pub incarnation: u32,
}

/// A card, and the bytes that it is known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCard {
    /// What it says.
    pub card: Card,
    /// The signed document, to be stored and passed on unchanged.
    pub bytes: Vec<u8>,
    /// Its name.
    pub hash: DocHash,
}

/// Text or bytes are not a card that counts.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text doesn't begin like a card.
    #[error("a card begins with {PREFIX:?}")]
    Prefix,
    /// The text is longer than any card.
    #[error("a card has at most {LINE_BYTES_MAX} characters, this one has {0}")]
    LineTooLong(usize),
    /// The text was damaged on its way, or cut.
    #[error("the text of the card is damaged")]
    Base64(#[source] base64::DecodeError),
    /// The document inside doesn't count.
    #[error("cannot verify the card")]
    Verify(#[source] document::Error),
    /// What was signed is no card.
    #[error("cannot read the card")]
    Decode(#[source] cbor::error::Error),
    /// The card names another instance than the one that signed it.
    #[error("the card of {card} is signed by {signer}")]
    OtherInstance {
        /// Whom it describes.
        card: InstanceId,
        /// Who signed it.
        signer: InstanceId,
    },
}

impl SignedCard {
    /// Signs a card.
    ///
    /// # Panics
    /// If the card isn't the identity's own, or breaks a rule of format/card.md.
    pub fn sign(card: Card, identity: &Identity) -> Self {
        assert!(card.instance == identity.id(), "an instance signs its own card only");
        let payload = card.encode();
        assert!(Card::decode(&payload).as_ref() == Ok(&card), "the card breaks a rule of its format");
        let bytes = document::sign(identity, DocKind::Card, &payload);
        Self { hash: document::hash_of(&bytes), card, bytes }
    }

    /// Reads a card and checks that the instance itself signed it.
    ///
    /// # Errors
    /// `Verify`, `Decode` and `OtherInstance`.
    pub fn open(bytes: &[u8]) -> Result<Self, Error> {
        let document = Unverified::parse(bytes).map_err(Error::Verify)?;
        let signer = document.claimed_signer().map_err(Error::Verify)?;
        let verified = document.verify(DocKind::Card, &signer).map_err(Error::Verify)?;
        let card = Card::decode(verified.payload).map_err(Error::Decode)?;
        if card.instance != signer {
            return Err(Error::OtherInstance { card: card.instance, signer });
        }
        Ok(Self { card, bytes: bytes.to_vec(), hash: verified.hash })
    }

    /// Reads the one-line form; white space around it is fine.
    ///
    /// # Errors
    /// Every variant.
    pub fn from_line(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        if text.len() > LINE_BYTES_MAX {
            return Err(Error::LineTooLong(text.len()));
        }
        let encoded = text.strip_prefix(PREFIX).ok_or(Error::Prefix)?;
        Self::open(&URL_SAFE_NO_PAD.decode(encoded).map_err(Error::Base64)?)
    }

    /// Writes the one-line form, without an end of line.
    pub fn line(&self) -> String {
        let line = PREFIX.to_owned() + &URL_SAFE_NO_PAD.encode(&self.bytes);
        assert!(line.len() <= LINE_BYTES_MAX);
        line
    }
}

impl Card {
    fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        let mut order = writer.map(6);
        writer.key(&mut order, "name");
        writer.text(self.name.as_str());
        writer.key(&mut order, "urls");
        writer.array(self.urls.len());
        self.urls.iter().for_each(|url| writer.text(url));
        writer.key(&mut order, "format");
        writer.uint(FORMAT);
        writer.key(&mut order, "instance");
        writer.bytes(self.instance.as_bytes());
        writer.key(&mut order, "recipient");
        writer.text(&self.recipient);
        writer.key(&mut order, "incarnation");
        writer.uint(self.incarnation.into());
        writer.finish()
    }

    fn decode(payload: &[u8]) -> Result<Self, cbor::error::Error> {
        let mut reader = Reader::new(payload);
        let mut keys = reader.map(6)?;
        keys.expect(&mut reader, "name")?;
        let at = reader.offset();
        let name = PeerName::new(reader.text(64)?).map_err(|_| reader.invalid(at, "this is no peer name"))?;
        keys.expect(&mut reader, "urls")?;
        let mut urls = Vec::new();
        for _ in 0..reader.array(URLS_MAX)? {
            let at = reader.offset();
            let url = reader.text(URL_BYTES_MAX)?;
            if url.is_empty() || url.contains(|c: char| c.is_control() || c.is_whitespace()) {
                return Err(reader.invalid(at, "a URL is empty or holds blanks or control characters"));
            }
            urls.push(url.to_owned());
        }
        keys.expect(&mut reader, "format")?;
        let at = reader.offset();
        if reader.uint()? != FORMAT {
            return Err(reader.invalid(at, "this format of card is not known"));
        }
        keys.expect(&mut reader, "instance")?;
        let instance = InstanceId::from_bytes(reader.fixed()?);
        keys.expect(&mut reader, "recipient")?;
        let at = reader.offset();
        let recipient = reader.text(sealing::RECIPIENT_BYTES_MAX)?.to_owned();
        sealing::check_recipient(&recipient).map_err(|_| reader.invalid(at, "this is no age X25519 recipient"))?;
        keys.expect(&mut reader, "incarnation")?;
        let incarnation = reader.uint32()?;
        keys.end(&reader)?;
        reader.finish()?;
        Ok(Self { instance, recipient, name, urls, incarnation })
    }
}

/// What the one-line form begins with.
pub const PREFIX: &str = "wbsync-card1:";
const FORMAT: u64 = 1;
const LINE_BYTES_MAX: usize = 64 << 10;
const URLS_MAX: usize = 16;
const URL_BYTES_MAX: usize = 1024;
// 16 URLs of 1,024 bytes and the rest fit the payload, and the payload in base64 fits the line.
const _: () = assert!(URLS_MAX * (URL_BYTES_MAX + 3) + 1024 <= DocKind::Card.payload_bytes_max());
const _: () = assert!((DocKind::Card.payload_bytes_max() + 1024) * 4 / 3 + PREFIX.len() < LINE_BYTES_MAX);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::sshsig::Claim;
    use crate::keys::vectors::{self, Case};
    use proptest::prelude::*;

    fn card() -> Card {
        Card {
            instance: Identity::fixed(1).id(),
            recipient: Identity::fixed(1).recipient(),
            name: PeerName::new("alpha").unwrap(),
            urls: vec!["https://alpha.example/sync".into(), "alpha.example:wbsync".into()],
            incarnation: 0,
        }
    }

    /// Signs what `SignedCard::sign` would refuse.
    fn signed_anyway(card: &Card) -> Vec<u8> {
        document::sign(&Identity::fixed(1), DocKind::Card, &card.encode())
    }

    fn resigned(change: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
        let mut payload = card().encode();
        change(&mut payload);
        document::sign(&Identity::fixed(1), DocKind::Card, &payload)
    }

    fn replaced(from: &[u8], to: &[u8]) -> Vec<u8> {
        resigned(|payload| *payload = vectors::replaced(payload, from, to))
    }

    /// The card of a key for which anybody can sign anything.
    fn weak_key() -> Vec<u8> {
        let (mut public_key, mut signature) = ([0; 32], [0; 64]);
        (public_key[0], signature[0]) = (1, 1);
        let payload = Card { instance: InstanceId::from_bytes(public_key), ..card() }.encode();
        let namespace = DocKind::Card.namespace();
        document::envelope(&payload, &Claim { public_key, namespace, signature })
    }

    #[test]
    fn vectors_hold() {
        let good = signed_anyway(&card());
        let url = |url: &str| signed_anyway(&Card { urls: vec![url.into()], ..card() });
        let full = Card { urls: vec!["u".repeat(1024); 16], incarnation: u32::MAX, ..card() };
        let mut altered = good.clone();
        altered[20] ^= 1;
        let cases = [
            Case::accept("two-urls", good.clone()),
            Case::accept("no-urls", signed_anyway(&Card { urls: vec![], ..card() })),
            Case::accept("full", signed_anyway(&full)),
            Case::reject("truncated", good[..good.len() - 1].to_vec()),
            Case::reject("altered", altered),
            Case::reject("wrong-namespace", document::sign(&Identity::fixed(1), DocKind::Head, &card().encode())),
            Case::reject("other-signer", document::sign(&Identity::fixed(2), DocKind::Card, &card().encode())),
            Case::reject("weak-key", weak_key()),
            Case::reject("payload-truncated", resigned(|payload| payload.truncate(payload.len() - 1))),
            Case::reject("payload-trailing", resigned(|payload| payload.push(0))),
            Case::reject("payload-empty", resigned(Vec::clear)),
            Case::reject("format-2", replaced(b"format\x01", b"format\x02")),
            Case::reject("unsorted-key", replaced(b"\x64urls", b"\x64nale")),
            Case::reject("unknown-key", replaced(b"\x64urls", b"\x64uris")),
            Case::reject("bad-name", replaced(b"\x65alpha", b"\x65Alpha")),
            Case::reject("long-incarnation", replaced(b"incarnation\x00", b"incarnation\x18\x00")),
            Case::reject("too-large-incarnation", replaced(b"incarnation\x00", b"incarnation\x1b\0\0\0\x01\0\0\0\0")),
            Case::reject("17-urls", signed_anyway(&Card { urls: vec!["u".into(); 17], ..card() })),
            Case::reject("long-url", url(&"u".repeat(1025))),
            Case::reject("empty-url", url("")),
            Case::reject("url-with-escape", url("https://a\u{1b}[2J")),
            Case::reject("no-recipient", signed_anyway(&Card { recipient: "age1".into(), ..card() })),
            Case::reject(
                "upper-recipient",
                signed_anyway(&Card { recipient: card().recipient.to_uppercase(), ..card() }),
            ),
        ];
        vectors::run("card", &cases, |bytes| SignedCard::open(bytes).map(drop));
    }

    #[test]
    fn line_is_read_with_white_space_around_and_nothing_else() {
        let signed = SignedCard::sign(card(), &Identity::fixed(1));
        let line = signed.line();
        assert_eq!(SignedCard::from_line(&format!("\n  {line}\r\n")).unwrap(), signed);
        assert!(matches!(SignedCard::from_line("hello"), Err(Error::Prefix)));
        assert!(matches!(SignedCard::from_line(&line.repeat(200)), Err(Error::LineTooLong(_))));
        assert!(matches!(SignedCard::from_line(&line.replacen(':', ":?", 1)), Err(Error::Base64(_))));
        assert!(SignedCard::from_line(&line[..line.len() - 3]).is_err());
    }

    #[test]
    #[should_panic(expected = "breaks a rule")]
    fn signing_a_broken_card_is_our_own_mistake() {
        let _ = SignedCard::sign(Card { urls: vec![String::new()], ..card() }, &Identity::fixed(1));
    }

    proptest! {
        #[test]
        fn decoded_is_what_was_encoded(urls in proptest::collection::vec("[!-~é]{1,40}", 0..16), incarnation: u32, name in "[a-z][a-z0-9_-]{0,63}") {
            let card = Card { urls, incarnation, name: PeerName::new(&name).unwrap(), ..card() };
            prop_assert_eq!(Card::decode(&card.encode()), Ok(card));
        }

        #[test]
        fn a_mutated_payload_is_refused_or_canonical(at: usize, byte: u8) {
            let mut payload = card().encode();
            let at = at % payload.len();
            payload[at] = byte;
            if let Ok(card) = Card::decode(&payload) {
                prop_assert_eq!(card.encode(), payload);
            }
        }
    }
}
