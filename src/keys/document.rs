//! The envelope of every signed document: a payload and the SSHSIG of the one who vouches for it.
//!
//! What the payload says is its module's business. Until it is verified against a pinned signer it can't
//! be had: `Unverified` has no way to it but `verify`. Layout: format/document.md.

use ed25519_dalek::{Signature, Signer, VerifyingKey};
use ssh_key::{HashAlg, SshSig};

use super::identity::Identity;
use super::sshsig::{self, Claim};
use crate::cbor;
use crate::cbor::reader::Reader;
use crate::cbor::writer::Writer;
use crate::id::bytes::{DocHash, InstanceId};

/// The kinds of signed document; a signature for one is none for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DocKind {
    /// Who an instance is (format/card.md).
    Card,
    /// The rules of a scope (format/manifest.md).
    Manifest,
    /// Where a signer's history of a scope stands (format/head.md).
    Head,
    /// What a reader's application shows (format/receipt.md).
    Receipt,
    /// What a bundle holds (format/bundle.md).
    Bundle,
    /// What an instance has (format/bundle.md).
    Request,
}

/// An envelope of which only the outer shape is checked.
#[derive(Debug, Clone, Copy)]
pub struct Unverified<'a> {
    envelope: &'a [u8],
    payload: &'a [u8],
    signature: &'a [u8],
}

/// A payload that the pinned signer signed as this kind of document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified<'a> {
    /// The signed bytes.
    pub payload: &'a [u8],
    /// BLAKE3 of the whole envelope: the name of this document.
    pub hash: DocHash,
}

/// Bytes are not a document that counts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is longer than any document may be.
    #[error("a signed document has at most {bound} bytes, this one has {bytes}")]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// What its kind may have.
        bound: usize,
    },
    /// The envelope isn't canonical.
    #[error("cannot read the envelope of a signed document")]
    Envelope(#[source] cbor::error::Error),
    /// The signature inside isn't the one form of SSHSIG that we use.
    #[error("cannot read the signature of a signed document")]
    Blob(#[source] sshsig::Error),
    /// Another key signed than the pinned one.
    #[error("{found} signed it, not {wanted}")]
    OtherSigner {
        /// The pinned signer.
        wanted: InstanceId,
        /// The key in the signature.
        found: InstanceId,
    },
    /// It was signed as something else.
    #[error("it is signed as {found:?}, not as {wanted:?}")]
    OtherKind {
        /// The namespace of the wanted kind.
        wanted: &'static str,
        /// The namespace in the signature.
        found: String,
    },
    /// The key is no curve point, or one of the few for which anybody can make signatures.
    #[error("{0} is no key that can sign safely")]
    WeakKey(InstanceId),
    /// The payload or signature was altered.
    #[error("the signature of {0} does not match")]
    Mismatch(InstanceId),
}

impl DocKind {
    /// Returns the SSHSIG namespace.
    pub const fn namespace(self) -> &'static str {
        match self {
            Self::Card => "card@wbsync",
            Self::Manifest => "manifest@wbsync",
            Self::Head => "head@wbsync",
            Self::Receipt => "receipt@wbsync",
            Self::Bundle => "bundle@wbsync",
            Self::Request => "request@wbsync",
        }
    }

    /// Returns how many bytes a payload of this kind may have.
    pub const fn payload_bytes_max(self) -> usize {
        match self {
            Self::Card => 32 << 10,
            Self::Manifest | Self::Head | Self::Receipt | Self::Bundle | Self::Request => {
                DOCUMENT_BYTES_MAX - ENVELOPE_BYTES_MAX
            }
        }
    }
}

/// Returns the signed document for `payload`. The same input gives the same bytes.
///
/// # Panics
/// If the payload is longer than its kind may be: whoever encodes it checks first.
pub fn sign(identity: &Identity, kind: DocKind, payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() <= kind.payload_bytes_max(), "a {kind:?} of {} bytes is too large", payload.len());
    let signature = identity.signing_key().sign(&signed_bytes(kind, payload)).to_bytes();
    envelope(payload, &Claim { public_key: *identity.id().as_bytes(), namespace: kind.namespace(), signature })
}

/// Returns the name of a document: BLAKE3 of its bytes.
pub fn hash_of(envelope: &[u8]) -> DocHash {
    DocHash::from_bytes(blake3::hash(envelope).into())
}

/// Takes an envelope apart for `ssh-keygen -Y verify`: the payload, and the signature in armor.
///
/// For people who look; nothing is verified.
///
/// # Errors
/// As `Unverified::parse`.
pub fn armored(envelope: &[u8]) -> Result<(Vec<u8>, String), Error> {
    let parts = Unverified::parse(envelope)?;
    Ok((parts.payload.to_vec(), sshsig::armor(parts.signature)))
}

impl<'a> Unverified<'a> {
    /// Reads the outer shape of an envelope.
    ///
    /// # Errors
    /// `TooLarge` and `Envelope`.
    pub fn parse(envelope: &'a [u8]) -> Result<Self, Error> {
        if envelope.len() > DOCUMENT_BYTES_MAX {
            return Err(Error::TooLarge { bytes: envelope.len(), bound: DOCUMENT_BYTES_MAX });
        }
        let mut reader = Reader::new(envelope);
        let (payload, signature) = parts(&mut reader).map_err(Error::Envelope)?;
        Ok(Self { envelope, payload, signature })
    }

    /// Returns the key that the signature names; whether it signed is for `verify` to say.
    ///
    /// # Errors
    /// `Blob`.
    pub fn claimed_signer(&self) -> Result<InstanceId, Error> {
        Ok(InstanceId::from_bytes(self.claim()?.public_key))
    }

    /// Checks that `signer` signed this as a document of `kind`. Costs about 0.1 ms.
    ///
    /// Strict (RFC 8032 without its leeway): keys and signatures of small order are refused.
    ///
    /// # Errors
    /// Every variant but `Envelope`.
    pub fn verify(self, kind: DocKind, signer: &InstanceId) -> Result<Verified<'a>, Error> {
        if self.payload.len() > kind.payload_bytes_max() {
            return Err(Error::TooLarge { bytes: self.payload.len(), bound: kind.payload_bytes_max() });
        }
        let claim = self.claim()?;
        if claim.public_key != *signer.as_bytes() {
            return Err(Error::OtherSigner { wanted: *signer, found: InstanceId::from_bytes(claim.public_key) });
        }
        if claim.namespace != kind.namespace() {
            let found = claim.namespace.chars().take(40).collect();
            return Err(Error::OtherKind { wanted: kind.namespace(), found });
        }
        let key = VerifyingKey::from_bytes(signer.as_bytes()).map_err(|_| Error::WeakKey(*signer))?;
        if key.is_weak() {
            return Err(Error::WeakKey(*signer));
        }
        key.verify_strict(&signed_bytes(kind, self.payload), &Signature::from_bytes(&claim.signature))
            .map_err(|_| Error::Mismatch(*signer))?;
        Ok(Verified { payload: self.payload, hash: hash_of(self.envelope) })
    }

    fn claim(&self) -> Result<Claim<'a>, Error> {
        Claim::parse(self.signature).map_err(Error::Blob)
    }
}

fn parts<'a>(reader: &mut Reader<'a>) -> Result<(&'a [u8], &'a [u8]), cbor::error::Error> {
    reader.array_of(2)?;
    let payload = reader.bytes(DOCUMENT_BYTES_MAX)?;
    let signature = reader.bytes(SIGNATURE_BYTES_MAX)?;
    reader.finish()?;
    Ok((payload, signature))
}

pub(super) fn envelope(payload: &[u8], claim: &Claim<'_>) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.array(2);
    writer.bytes(payload);
    writer.bytes(&claim.to_bytes());
    let envelope = writer.finish();
    assert!(envelope.len() <= payload.len() + ENVELOPE_BYTES_MAX);
    envelope
}

fn signed_bytes(kind: DocKind, payload: &[u8]) -> Vec<u8> {
    SshSig::signed_data(kind.namespace(), HashAlg::Sha512, payload).expect("our namespaces are not empty")
}

/// No signed document is longer. A head of 65,536 objects has about 3 MiB.
pub const DOCUMENT_BYTES_MAX: usize = 4 << 20;
const SIGNATURE_BYTES_MAX: usize = 512;
const ENVELOPE_BYTES_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::vectors::{self, Case};
    use proptest::prelude::*;

    fn open(bytes: &[u8]) -> Result<(), Error> {
        Unverified::parse(bytes)?.verify(DocKind::Head, &Identity::fixed(1).id()).map(drop)
    }

    #[test]
    fn vectors_hold() {
        let signer = Identity::fixed(1);
        let good = sign(&signer, DocKind::Head, b"hello");
        let claim = Unverified::parse(&good).unwrap().claim().unwrap();
        let with_key = |public_key: [u8; 32], signature| envelope(b"hello", &Claim { public_key, signature, ..claim });
        let mut altered = good.clone();
        altered[2] ^= 1;
        let mut high_s = claim.signature;
        add_order(&mut high_s[32..]);
        let mut small_r = [0; 64];
        small_r[0] = 1;
        let blob = claim.to_bytes();
        let with_blob = |blob: &[u8]| {
            let mut writer = Writer::new();
            writer.array(2);
            writer.bytes(b"hello");
            writer.bytes(blob);
            writer.finish()
        };
        let replaced = |from: &[u8], to: &[u8]| with_blob(&vectors::replaced(&blob, from, to));
        let cases = [
            Case::accept("hello", good.clone()),
            Case::accept("empty-payload", sign(&signer, DocKind::Head, b"")),
            Case::reject("truncated", good[..good.len() - 1].to_vec()),
            Case::reject("trailing", [&good[..], &[0]].concat()),
            Case::reject("long-length", [&[0x82, 0x58, 0x05], &good[2..]].concat()),
            Case::reject("three-items", [&[0x83], &good[1..], &[0xf6]].concat()),
            Case::reject("payload-is-text", [&[0x82, 0x65], &good[2..]].concat()),
            Case::reject("altered-payload", altered),
            Case::reject("other-signer", sign(&Identity::fixed(2), DocKind::Head, b"hello")),
            Case::reject("wrong-namespace", sign(&signer, DocKind::Manifest, b"hello")),
            Case::reject("malleated-s", with_key(claim.public_key, high_s)),
            Case::reject("small-order-r", with_key(claim.public_key, small_r)),
            Case::reject("blob-truncated", with_blob(&blob[..blob.len() - 1])),
            Case::reject("blob-trailing", with_blob(&[&blob[..], &[0]].concat())),
            Case::reject("blob-too-long", with_blob(&[0; 513])),
            Case::reject("blob-no-magic", with_blob(&blob[1..])),
            Case::reject("blob-version-2", replaced(&[0, 0, 0, 1, 0, 0, 0, 51], &[0, 0, 0, 2, 0, 0, 0, 51])),
            Case::reject("blob-reserved", replaced(b"\0\0\0\0\0\0\0\x06sha512", b"\0\0\0\x01x\0\0\0\x06sha512")),
            Case::reject("blob-sha256", replaced(b"sha512", b"sha256")),
            Case::reject("blob-dsa", replaced(b"ssh-ed25519", b"ssh-ed25518")),
        ];
        vectors::run("document", &cases, open);
    }

    /// A key of small order "verifies" any message unless one looks: it is refused even when pinned.
    #[test]
    fn weak_key_is_refused_even_if_it_is_pinned() {
        let mut identity_point = [0; 32];
        identity_point[0] = 1;
        let mut signature = [0; 64];
        signature[0] = 1;
        let namespace = DocKind::Head.namespace();
        let bytes = envelope(b"any", &Claim { public_key: identity_point, namespace, signature });
        let signer = InstanceId::from_bytes(identity_point);
        let error = Unverified::parse(&bytes).unwrap().verify(DocKind::Head, &signer).unwrap_err();
        assert_eq!(error, Error::WeakKey(signer));
    }

    #[test]
    fn too_large_documents_are_refused_by_length_alone() {
        let bytes = vec![0; DOCUMENT_BYTES_MAX + 1];
        assert!(matches!(Unverified::parse(&bytes), Err(Error::TooLarge { .. })));
        let head = sign(&Identity::fixed(1), DocKind::Head, &vec![0; DocKind::Card.payload_bytes_max() + 1]);
        let card = Unverified::parse(&head).unwrap().verify(DocKind::Card, &Identity::fixed(1).id());
        assert!(matches!(card, Err(Error::TooLarge { .. })));
    }

    proptest! {
        /// Whatever one byte becomes, the document no longer counts.
        #[test]
        fn a_mutated_document_never_counts(payload in proptest::collection::vec(any::<u8>(), 0..40), at: usize, flip in 1u8..) {
            let mut bytes = sign(&Identity::fixed(1), DocKind::Head, &payload);
            prop_assert!(open(&bytes).is_ok());
            let at = at % bytes.len();
            bytes[at] ^= flip;
            prop_assert!(open(&bytes).is_err());
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = open(&bytes);
            let _ = armored(&bytes);
        }
    }

    /// Adds the group order to a scalar: the same scalar for a lenient verifier.
    fn add_order(scalar: &mut [u8]) {
        let order = [
            0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0,
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
        ];
        let mut carry = 0;
        for (byte, add) in scalar.iter_mut().zip(order) {
            let sum = u16::from(*byte) + add + carry;
            (*byte, carry) = (sum as u8, sum >> 8);
        }
    }
}
