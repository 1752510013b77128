//! Lists: scopes, heads, cards and objects, and which objects are missing.

use std::io;

use crate::exchange::layout::{OBJECT_BYTES_MAX, StorePath};
use crate::exchange::store::Store;
use crate::hub::answer::{self, Answer};
use crate::hub::caller::Caller;
use crate::hub::limits::OBJECTS_PER_PAGE;
use crate::hub::refusal::Refusal;
use crate::hub::service::{Hub, value};
use crate::id::bytes::{ObjectId, ScopeId};
use crate::transport::http::wire::{Held, Names, Offers};

/// Lists the scopes that the caller may know of.
///
/// # Errors
/// `unsigned`; as the store fails.
pub fn scopes(hub: &Hub, caller: &Caller) -> Result<Answer, Refusal> {
    listens(hub, caller)?;
    if *caller == Caller::Owner {
        return Ok(names(hub.store.scopes()?));
    }
    let catalogue = hub.catalogue()?;
    let mut scopes: Vec<ScopeId> = catalogue
        .paths(|path| catalogue.may_see(caller, hub.options.public, path))
        .into_iter()
        .filter_map(|path| match path {
            StorePath::Manifest(scope) | StorePath::Head(scope, _) => Some(scope),
            _ => None,
        })
        .collect();
    scopes.sort_unstable();
    scopes.dedup();
    Ok(names(scopes))
}

/// Lists the signers of heads of a scope; none if the caller may not read it.
///
/// # Errors
/// `unsigned`; as the store fails.
pub fn heads(hub: &Hub, caller: &Caller, scope: &ScopeId) -> Result<Answer, Refusal> {
    listens(hub, caller)?;
    if *caller == Caller::Owner {
        return Ok(names(hub.store.heads(scope)?));
    }
    let catalogue = hub.catalogue()?;
    let may = catalogue.may_read(caller, hub.options.public, scope);
    Ok(names(if may { catalogue.heads(scope) } else { Vec::new() }))
}

/// Lists the readers with a receipt of a scope; none if the caller may not read it.
///
/// # Errors
/// `unsigned`; as the store fails.
pub fn receipts(hub: &Hub, caller: &Caller, scope: &ScopeId) -> Result<Answer, Refusal> {
    listens(hub, caller)?;
    if *caller == Caller::Owner {
        return Ok(names(hub.store.receipts(scope)?));
    }
    let catalogue = hub.catalogue()?;
    let may = catalogue.may_read(caller, hub.options.public, scope);
    Ok(names(if may { catalogue.receipts(scope) } else { Vec::new() }))
}

/// Lists the cards that the caller may read.
///
/// # Errors
/// `unsigned`; as the store fails.
pub fn cards(hub: &Hub, caller: &Caller) -> Result<Answer, Refusal> {
    listens(hub, caller)?;
    if *caller == Caller::Owner {
        return Ok(names(hub.store.cards()?));
    }
    let catalogue = hub.catalogue()?;
    let seen = catalogue
        .paths(|path| matches!(path, StorePath::Card(_)) && catalogue.may_see(caller, hub.options.public, path));
    Ok(names(seen.into_iter().filter_map(|path| match path {
        StorePath::Card(instance) => Some(instance),
        _ => None,
    })))
}

/// Lists a page of all objects, for admins.
///
/// # Errors
/// `not-an-admin`; `malformed`; as the store fails.
pub fn objects(hub: &Hub, caller: &Caller, query: &str) -> Result<Answer, Refusal> {
    if !caller.is_admin() {
        return Err(not_an_admin(caller));
    }
    let after: Option<ObjectId> = match value(query, "after") {
        None => None,
        Some(text) => Some(text.parse().map_err(|_| Refusal::malformed("`after` is an object's id"))?),
    };
    let all = hub.store.objects()?;
    let from = after.map_or(0, |after| all.partition_point(|object| object.id <= after));
    let page = &all[from..all.len().min(from + OBJECTS_PER_PAGE)];
    let objects = page.iter().map(|object| (object.id.to_string(), object.bytes, object.used.0)).collect();
    Ok(answer::json(&Held { objects, more: from + page.len() < all.len() }))
}

/// Says which objects are not held at their sizes.
///
/// # Errors
/// As the store fails.
pub fn missing(hub: &Hub, objects: &[(ObjectId, u64)]) -> Result<Answer, Refusal> {
    Ok(names(hub.store.missing(objects)?))
}

/// Reads objects from end to end, and says which of them are not held whole: what only the hub itself can be believed to know.
///
/// # Errors
/// `not-a-writer`; `too-large` if they are more than may be read for one request; as the store fails.
pub fn damaged(hub: &Hub, caller: &Caller, objects: &[(ObjectId, u64)]) -> Result<Answer, Refusal> {
    if !caller.may_write() {
        return Err(not_a_writer(caller));
    }
    if objects.iter().fold(0, |sum: u64, (_, size)| sum.saturating_add(*size)) > OBJECT_BYTES_MAX {
        return Err(Refusal::too_large(OBJECT_BYTES_MAX));
    }
    let mut damaged = Vec::new();
    for (id, size) in objects {
        if hub.store.object_size(id)? != Some(*size) || !hub.store.is_whole(id, *size)? {
            damaged.push(*id);
        }
    }
    Ok(names(damaged))
}

/// Says which of the objects that the caller means to store are wanted, and how much of them is here; the garbage
/// clocks of the others start again.
///
/// # Errors
/// `not-a-writer`; `too-large`; `full` if the quota has no room for those that are wanted; as the store fails.
pub fn offers(hub: &Hub, caller: &Caller, objects: &[(ObjectId, u64)]) -> Result<Answer, Refusal> {
    if !caller.may_write() {
        return Err(not_a_writer(caller));
    }
    if objects.iter().any(|(_, size)| *size > OBJECT_BYTES_MAX) {
        return Err(Refusal::too_large(OBJECT_BYTES_MAX));
    }
    let wanted = hub.store.missing(objects)?;
    let mut wanted_bytes = 0u64;
    let mut parts = Vec::new();
    for (id, size) in objects {
        if wanted.contains(id) {
            wanted_bytes = wanted_bytes.saturating_add(*size);
            match hub.parts.length(&caller.id(), id, *size) {
                0 => {}
                part => parts.push((id.to_string(), part)),
            }
        } else {
            // Held: nothing is read, and its clock starts again.
            hub.store.put_object(id, *size, &mut io::empty())?;
        }
    }
    if let Caller::Member(instance, _) = caller
        && let Some(member) = hub.members.member(instance)?
    {
        let counted = hub.members.undone_bytes(instance, &wanted)?;
        if member.used_bytes.saturating_sub(counted).saturating_add(wanted_bytes) > member.quota_bytes {
            return Err(over_quota());
        }
    }
    let names = wanted.iter().map(ObjectId::to_string).collect();
    Ok(answer::json(&Offers { names, parts }))
}

/// The answer to somebody who stores more than their part.
pub fn over_quota() -> Refusal {
    Refusal::new(507, "quota", "the quota of this instance at this hub is used up")
}

/// The answer to somebody who may not store anything.
pub fn not_a_writer(caller: &Caller) -> Refusal {
    match caller {
        Caller::Anyone => Refusal::unsigned(),
        _ => Refusal::new(403, "read-only-member", "this instance may read from this hub, and not write"),
    }
}

/// The answer to somebody who isn't an admin.
pub fn not_an_admin(caller: &Caller) -> Refusal {
    match caller {
        Caller::Anyone => Refusal::unsigned(),
        _ => Refusal::new(403, "not-an-admin", "only an admin of this hub may do this"),
    }
}

/// Refuses strangers, unless something is for anyone.
fn listens(hub: &Hub, caller: &Caller) -> Result<(), Refusal> {
    if *caller == Caller::Anyone && !hub.options.public { Err(Refusal::unsigned()) } else { Ok(()) }
}

fn names<T: ToString>(names: impl IntoIterator<Item = T>) -> Answer {
    answer::json(&Names { names: names.into_iter().map(|name| name.to_string()).collect() })
}
