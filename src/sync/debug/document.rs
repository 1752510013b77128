//! Any signed document as text: what it says, who signed it, and whether the signature holds.

use crate::exchange::head::Head;
use crate::exchange::layout::DOCUMENT_BYTES_MAX;
use crate::exchange::receipt::Receipt;
use crate::id::bytes::{DocHash, InstanceId};
use crate::keys::card::{PREFIX, SignedCard};
use crate::keys::document::{self, DocKind, Unverified};
use crate::keys::identity::{fingerprint_of, public_line_of};
use crate::scope::manifest::Manifest;
use crate::sync::debug::plain;
use crate::sync::error::Error;
use crate::transport::bundle::index::Index;
use crate::transport::bundle::request::Request;

/// A signed document.
#[derive(Debug, serde::Serialize)]
pub struct DocumentShown {
    /// `card`, `manifest`, `head` or `receipt`, by its signature.
    pub kind: &'static str,
    /// BLAKE3 of its bytes.
    pub hash: DocHash,
    /// Who signed it, by its own word.
    pub signer: InstanceId,
    /// The signer's fingerprint.
    pub fingerprint: String,
    /// Whether signature and content hold.
    pub valid: bool,
    /// Why not.
    pub problem: Option<String>,
    /// What was signed, as JSON.
    pub content: serde_json::Value,
    /// What was signed, in diagnostic notation.
    #[serde(skip)]
    pub text: String,
}

/// A document taken apart for `ssh-keygen -Y verify`.
#[derive(Debug)]
pub struct Armored {
    /// The signed bytes.
    pub payload: Vec<u8>,
    /// The signature in armor.
    pub signature: String,
    /// A line for the file of allowed signers, with the signer's id as principal.
    pub allowed_signer: String,
    /// The signer's id.
    pub signer: InstanceId,
    /// The namespace to verify in.
    pub namespace: &'static str,
}

/// Returns the bytes of a document: `found` themselves, or those in the line of a card.
///
/// # Errors
/// `Document` if a line begins like a card and isn't one.
pub fn bytes_of(found: Vec<u8>) -> Result<Vec<u8>, Error> {
    match std::str::from_utf8(&found) {
        Ok(text) if text.trim().starts_with(PREFIX) => {
            SignedCard::from_line(text).map(|card| card.bytes).map_err(|error| Error::document("the card", error))
        }
        _ => Ok(found),
    }
}

/// Describes a document of any kind, also one that doesn't verify.
///
/// # Errors
/// `Document` if it isn't even in the form of a signed document.
pub fn describe(bytes: &[u8]) -> Result<DocumentShown, Error> {
    let (kind, signer) = kind_of(bytes)?;
    let (payload, _) = document::armored(bytes).map_err(broken)?;
    let problem = match kind {
        DocKind::Card => SignedCard::open(bytes).err().map(|error| one_line(&error)),
        DocKind::Manifest => Manifest::open(bytes, &signer).err().map(|error| one_line(&error)),
        DocKind::Head => Head::open(bytes, &signer).err().map(|error| one_line(&error)),
        DocKind::Receipt => Receipt::open(bytes, &signer).err().map(|error| one_line(&error)),
        DocKind::Bundle => Index::open(bytes).err().map(|error| one_line(&error)),
        DocKind::Request => Request::open(bytes).err().map(|error| one_line(&error)),
    };
    let content = plain::read(&payload)?;
    Ok(DocumentShown {
        kind: word(kind),
        hash: document::hash_of(bytes),
        signer,
        fingerprint: fingerprint_of(&signer),
        valid: problem.is_none(),
        problem,
        content: content.iter().map(plain::json).next().unwrap_or_default(),
        text: plain::diagnostic(&content),
    })
}

/// Takes a document apart for `ssh-keygen`. Nothing is verified: that is what it is for.
///
/// # Errors
/// `Document` if it isn't in the form of a signed document.
pub fn armored(bytes: &[u8]) -> Result<Armored, Error> {
    let (kind, signer) = kind_of(bytes)?;
    let (payload, signature) = document::armored(bytes).map_err(broken)?;
    let allowed_signer = format!("{signer} {}\n", public_line_of(&signer));
    Ok(Armored { payload, signature, allowed_signer, signer, namespace: kind.namespace() })
}

/// The most bytes of a file with a document: the line of a card is longer than its bytes.
pub const FILE_BYTES_MAX: u64 = 2 * DOCUMENT_BYTES_MAX;

const KINDS: [DocKind; 6] =
    [DocKind::Card, DocKind::Manifest, DocKind::Head, DocKind::Receipt, DocKind::Bundle, DocKind::Request];

fn kind_of(bytes: &[u8]) -> Result<(DocKind, InstanceId), Error> {
    let signer = Unverified::parse(bytes).and_then(|document| document.claimed_signer()).map_err(broken)?;
    for kind in KINDS {
        let document = Unverified::parse(bytes).map_err(broken)?;
        if !matches!(document.verify(kind, &signer), Err(document::Error::OtherKind { .. })) {
            return Ok((kind, signer));
        }
    }
    Err(Error::document(
        "the document",
        "it is signed as something else than a card, manifest, head, receipt, bundle or request",
    ))
}

fn word(kind: DocKind) -> &'static str {
    match kind {
        DocKind::Card => "card",
        DocKind::Manifest => "manifest",
        DocKind::Head => "head",
        DocKind::Receipt => "receipt",
        DocKind::Bundle => "bundle",
        DocKind::Request => "request",
    }
}

fn broken(error: document::Error) -> Error {
    Error::document("the document", error)
}

fn one_line(error: &dyn std::error::Error) -> String {
    crate::sync::status::explain(error)
}
