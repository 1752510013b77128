//! Manifests, heads and cards: reading with an entity tag, replacing by compare-and-swap after every check.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, ETAG, IF_MATCH, IF_NONE_MATCH};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};

use crate::exchange::head::Head;
use crate::exchange::layout::{DOCUMENT_BYTES_MAX, StorePath};
use crate::exchange::receipt::Receipt;
use crate::exchange::store::{Store, StoreError};
use crate::hub::accept;
use crate::hub::answer::{self, Answer};
use crate::hub::caller::Caller;
use crate::hub::catalogue::{opened, read};
use crate::hub::limits::SCOPES_PER_ORIGIN;
use crate::hub::lists::not_a_writer;
use crate::hub::refusal::Refusal;
use crate::hub::service::{Hub, checked_body};
use crate::id::bytes::DocHash;
use crate::keys::card::SignedCard;
use crate::keys::document::hash_of;
use crate::transport::http::wire::{Removed, document_tag, hash_of_tag};

/// Answers a request about a document.
///
/// # Errors
/// As what is asked for fails.
pub async fn answer(
    hub: &Arc<Hub>,
    caller: Caller,
    parts: Arc<Parts>,
    incoming: Incoming,
    path: StorePath,
) -> Result<Answer, Refusal> {
    let worker = Arc::clone(hub);
    match parts.method {
        Method::GET => hub.work(move || get(&worker, &caller, &parts, &path)).await,
        Method::PUT => {
            // A stranger's body isn't read. A member's is, for who hangs up on somebody who still sends isn't heard.
            if caller == Caller::Anyone {
                return Err(not_a_writer(&caller));
            }
            let bytes = checked_body(&parts, incoming, DOCUMENT_BYTES_MAX).await?;
            if !caller.may_write() {
                return Err(not_a_writer(&caller));
            }
            let expected = expected(&parts)?;
            hub.work(move || put(&worker, &caller, &path, expected, &bytes)).await
        }
        Method::DELETE if matches!(path, StorePath::Head(..)) => {
            if !caller.may_write() {
                return Err(not_a_writer(&caller));
            }
            let expected = expected(&parts)?;
            hub.work(move || delete_head(&worker, &caller, &path, expected)).await
        }
        _ => Err(Refusal::new(405, "method", "this path knows GET and PUT, and of heads DELETE")),
    }
}

fn get(hub: &Hub, caller: &Caller, parts: &Parts, path: &StorePath) -> Result<Answer, Refusal> {
    if *caller == Caller::Anyone && !hub.options.public {
        return Err(Refusal::unsigned());
    }
    if *caller != Caller::Owner && !hub.catalogue()?.may_see(caller, hub.options.public, path) {
        return Err(Refusal::not_found());
    }
    let bytes = read(&hub.store, path)?.ok_or_else(Refusal::not_found)?;
    let hash = hash_of(&bytes);
    // Somebody wrote the directory itself, as an instance does that serves its own store: what a head names is to be had
    // as soon as the head is.
    if *caller != Caller::Owner && !hub.catalogue()?.is_current(path, &hash) {
        hub.note(*path)?;
    }
    let tag = document_tag(&hash);
    let is_known = parts.headers.get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let mut answer = match is_known {
        true => answer::empty(StatusCode::NOT_MODIFIED),
        false => answer::bytes(StatusCode::OK, "application/octet-stream", bytes),
    };
    answer::set(&mut answer, ETAG, &tag);
    answer::set(&mut answer, CACHE_CONTROL, "private, no-cache");
    Ok(answer)
}

/// Reads what is to be replaced: `If-Match` with a hash, or `If-None-Match: *` for nothing.
fn expected(parts: &Parts) -> Result<Option<DocHash>, Refusal> {
    let field = |name| parts.headers.get_all(name).iter().map(|value| value.to_str().ok()).collect::<Vec<_>>();
    match (&field(IF_MATCH)[..], &field(IF_NONE_MATCH)[..]) {
        ([], [Some("*")]) => Ok(None),
        ([Some(tag)], []) => match hash_of_tag(tag) {
            Some(hash) => Ok(Some(hash)),
            None => Err(Refusal::malformed("If-Match holds one quoted hash")),
        },
        ([], []) => Err(Refusal::new(428, "no-condition", "say what is replaced: If-Match, or If-None-Match: *")),
        _ => Err(Refusal::malformed("give one of If-Match and If-None-Match, once")),
    }
}

/// Removes a head: for its signer, and for the origin of its scope, whose own head contains it.
fn delete_head(hub: &Hub, caller: &Caller, path: &StorePath, expected: Option<DocHash>) -> Result<Answer, Refusal> {
    let StorePath::Head(scope, signer) = path else { return Err(Refusal::not_found()) };
    let is_its_own = match caller.id() {
        Some(id) => id == *signer || hub.catalogue()?.is_origin(&id, scope),
        None => false,
    };
    if !caller.is_admin() && !is_its_own {
        return Err(Refusal::new(403, "not-yours", "only its signer and the scope's origin may remove a head"));
    }
    let expected = expected.ok_or_else(|| Refusal::malformed("say with If-Match which head is meant"))?;
    let removed = hub.store.remove_head(scope, signer, expected)?;
    hub.note(*path)?;
    Ok(answer::json(&Removed { removed }))
}

/// Tells whether a document is what its place says.
fn verifies(path: &StorePath, bytes: &[u8]) -> bool {
    match path {
        StorePath::Manifest(scope) => opened(bytes).is_some_and(|manifest| manifest.scope == *scope),
        StorePath::Head(scope, signer) => Head::open(bytes, signer).is_ok_and(|(head, _)| head.scope == *scope),
        StorePath::Receipt(scope, reader) => {
            Receipt::open(bytes, reader).is_ok_and(|(receipt, _)| receipt.scope == *scope)
        }
        StorePath::Card(instance) => SignedCard::open(bytes).is_ok_and(|card| card.card.instance == *instance),
        StorePath::Object(_) | StorePath::Format => false,
    }
}

fn put(
    hub: &Hub,
    caller: &Caller,
    path: &StorePath,
    expected: Option<DocHash>,
    bytes: &[u8],
) -> Result<Answer, Refusal> {
    let held = match read(&hub.store, path) {
        // Something that is no document lies there; it is replaced like one that doesn't verify, if the store can.
        Err(StoreError::TooLarge { .. }) => None,
        other => other?,
    };
    let held = held.as_deref();
    let found = held.map(hash_of);
    // What doesn't verify gives nobody the right to see it, so whoever mends it can't name it.
    let expected = if expected.is_none() && !held.is_none_or(|held| verifies(path, held)) { found } else { expected };
    let is_there = held == Some(bytes);
    let swapped = || StoreError::Swapped { store: String::new(), path: *path, found };
    match path {
        StorePath::Manifest(scope) => {
            let manifest = accept::manifest(scope, None, bytes)?;
            let is_own = caller.id() == Some(manifest.origin);
            let is_reader = caller.is_admin() || hub.catalogue()?.may_read(caller, hub.options.public, scope);
            if !is_own && !is_reader {
                return Err(Refusal::new(403, "not-yours", "only its origin may bring a new scope"));
            }
            if !is_there && found != expected {
                return Err(swapped().into());
            }
            accept::manifest(scope, held, bytes)?;
            if held.is_none() && !caller.is_admin() && hub.catalogue()?.scopes_of(&manifest.origin) >= SCOPES_PER_ORIGIN
            {
                return Err(Refusal::new(507, "scopes", "this origin has as many scopes here as one may have"));
            }
            hub.store.swap_manifest(scope, expected, bytes)?;
        }
        StorePath::Head(scope, signer) => {
            let is_reader = caller.is_admin() || hub.catalogue()?.may_read(caller, hub.options.public, scope);
            let manifest = hub.store.manifest(scope)?;
            if !is_reader && caller.id() != Some(*signer) {
                return Err(Refusal::new(
                    403,
                    "not-yours",
                    "only its signer and the readers of its scope may bring a head",
                ));
            }
            if !is_there && found != expected {
                // Whether its signer may write here is said first, for a stranger learns nothing of what is held.
                accept::head((scope, signer), manifest.as_deref(), None, bytes)?;
                return Err(swapped().into());
            }
            let objects = accept::head((scope, signer), manifest.as_deref(), held, bytes)?;
            hub.store.swap_head(scope, signer, expected, &objects, bytes)?;
        }
        StorePath::Receipt(scope, reader) => {
            let is_reader = caller.is_admin() || hub.catalogue()?.may_read(caller, hub.options.public, scope);
            // A carrier brings what others signed, of those whom the manifest names: nobody can fill the hub with others.
            let is_known = caller.is_admin() || caller.id() == Some(*reader) || hub.catalogue()?.names(scope, reader);
            if !is_reader || !is_known {
                let title = "only readers of the scope may bring receipts: their own, and those of readers that its manifest names";
                return Err(Refusal::new(403, "not-yours", title));
            }
            if !is_there && found != expected {
                return Err(swapped().into());
            }
            accept::receipt((scope, reader), held, bytes)?;
            hub.store.swap_receipt(scope, reader, expected, bytes)?;
        }
        StorePath::Card(instance) => {
            if !caller.is_admin() && caller.id() != Some(*instance) {
                return Err(Refusal::new(403, "not-yours", "only the instance itself may bring its card"));
            }
            if !is_there && found != expected {
                return Err(swapped().into());
            }
            accept::card(instance, held, bytes)?;
            hub.store.swap_card(instance, expected, bytes)?;
        }
        StorePath::Object(_) | StorePath::Format => return Err(Refusal::not_found()),
    }
    hub.note(*path)?;
    let mut answer = answer::empty(StatusCode::NO_CONTENT);
    answer::set(&mut answer, ETAG, &document_tag(&hash_of(bytes)));
    Ok(answer)
}
