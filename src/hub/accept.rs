//! Whether a document that is handed over may replace the one that is held: all that can be checked without keys.
//!
//! The swap itself compares again under the store's lock, so what is decided here about the held document holds when it is replaced.

use crate::exchange::head::Head;
use crate::exchange::head::verdict::{Known, Verdict, verdict};
use crate::exchange::receipt::Receipt;
use crate::hub::refusal::Refusal;
use crate::id::bytes::{InstanceId, ObjectId, ScopeId};
use crate::keys::card::SignedCard;
use crate::scope::manifest::{Manifest, Succession, succession};

use super::catalogue::opened;

/// Checks a manifest for `scope` against the one held.
///
/// # Errors
/// `invalid` if it isn't its origin's or is for another scope; `older` or `forked` beside the held one.
pub fn manifest(scope: &ScopeId, held: Option<&[u8]>, bytes: &[u8]) -> Result<Manifest, Refusal> {
    let signer = crate::keys::document::Unverified::parse(bytes).and_then(|document| document.claimed_signer());
    let signer = signer.map_err(|error| Refusal::invalid("this is no signed manifest", &error))?;
    let (manifest, hash) = Manifest::open(bytes, &signer)
        .map_err(|error| Refusal::invalid("this is no manifest of its signer", &error))?;
    if manifest.scope != *scope {
        return Err(Refusal::new(422, "invalid", "this manifest is for another scope"));
    }
    // What is held and doesn't verify is replaced.
    let known = held.and_then(|held| Manifest::open(held, &manifest.origin).ok());
    match succession(known.as_ref().map(|(known, hash)| (known.seq, hash)), &manifest, &hash) {
        Succession::New | Succession::Same => Ok(manifest),
        Succession::Older => Err(Refusal::new(409, "older", "a newer manifest is held here")),
        Succession::Forked => Err(Refusal::new(409, "forked", "its origin signed two histories of this manifest")),
    }
}

/// Checks a head of `scope` by `signer` against the manifest and the head that are held; returns the objects that it names.
///
/// # Errors
/// `no-manifest`, `not-a-writer`, `newer-manifest`; `invalid`; `older`, `forked` or `wild-jump` beside the held one.
pub fn head(
    (scope, signer): (&ScopeId, &InstanceId),
    manifest: Option<&[u8]>,
    held: Option<&[u8]>,
    bytes: &[u8],
) -> Result<Vec<(ObjectId, u64)>, Refusal> {
    let (head, hash) =
        Head::open(bytes, signer).map_err(|error| Refusal::invalid("this is no head of this signer", &error))?;
    if head.scope != *scope {
        return Err(Refusal::new(422, "invalid", "this head is for another scope"));
    }
    let manifest = manifest.and_then(opened).filter(|manifest| manifest.scope == *scope);
    let Some(manifest) = manifest else {
        return Err(Refusal::new(409, "no-manifest", "the manifest of this scope has to come first"));
    };
    if !manifest.may_write(signer) {
        return Err(Refusal::new(403, "not-a-writer", "its signer may not write this scope"));
    }
    if head.manifest_seq > manifest.seq {
        return Err(Refusal::new(409, "newer-manifest", "the manifest that it speaks of has to come first"));
    }
    if manifest.epochs.iter().all(|epoch| epoch.number != head.epoch) {
        return Err(Refusal::new(422, "invalid", "it names an epoch that its scope does not have"));
    }
    if *signer == manifest.origin && head.base.is_some() {
        return Err(Refusal::new(422, "invalid", "a head of the origin builds on no other"));
    }
    // What is held and doesn't verify is replaced.
    let known = held.and_then(|held| Head::open(held, signer).ok()).map(|(head, hash)| Known::of(&head, hash));
    match verdict(known.as_ref(), &head, &hash) {
        Verdict::New | Verdict::Same => Ok(head.objects().map(|object| (object.id, object.bytes)).collect()),
        Verdict::Older { .. } => Err(Refusal::new(409, "older", "a newer head of this signer is held here")),
        Verdict::Forked => Err(Refusal::new(409, "forked", "its signer signed two histories of this scope")),
        Verdict::WildJump => Err(Refusal::new(409, "wild-jump", "its number jumps too far from the one held here")),
    }
}

/// Checks a receipt of `scope` by `reader` against the one held.
///
/// # Errors
/// `invalid`; `older` if the held one is newer.
pub fn receipt((scope, reader): (&ScopeId, &InstanceId), held: Option<&[u8]>, bytes: &[u8]) -> Result<(), Refusal> {
    let (receipt, _) =
        Receipt::open(bytes, reader).map_err(|error| Refusal::invalid("this is no receipt of this reader", &error))?;
    if receipt.scope != *scope {
        return Err(Refusal::new(422, "invalid", "this receipt is for another scope"));
    }
    let known = held.and_then(|held| Receipt::open(held, reader).ok()).map(|(known, _)| known);
    match known {
        Some(known) if (known.incarnation, known.seq) > (receipt.incarnation, receipt.seq) => {
            Err(Refusal::new(409, "older", "a newer receipt of this reader is held here"))
        }
        _ => Ok(()),
    }
}

/// Checks the card of `instance` against the one held.
///
/// # Errors
/// `invalid`; `older` if the held one is of a later incarnation.
pub fn card(instance: &InstanceId, held: Option<&[u8]>, bytes: &[u8]) -> Result<(), Refusal> {
    let card = SignedCard::open(bytes).map_err(|error| Refusal::invalid("this is no card", &error))?;
    if card.card.instance != *instance {
        return Err(Refusal::new(422, "invalid", "this is the card of another instance"));
    }
    let known = held.and_then(|held| SignedCard::open(held).ok()).filter(|known| known.card.instance == *instance);
    match known {
        Some(known) if known.card.incarnation > card.card.incarnation => {
            Err(Refusal::new(409, "older", "the card held here is of a later incarnation"))
        }
        _ => Ok(()),
    }
}
