//! Objects: read whole or from an offset, removed by admins and by those whose they are. How they are stored: `uploads`.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, IF_NONE_MATCH,
    IF_RANGE, RANGE,
};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};
use tokio::sync::mpsc;

use crate::exchange::store::Store;
use crate::hub::answer::{self, Answer, AnswerBody};
use crate::hub::body::{self, PARTS_WAITING};
use crate::hub::caller::Caller;
use crate::hub::lists::not_an_admin;
use crate::hub::refusal::Refusal;
use crate::hub::service::{Hub, value};
use crate::hub::uploads;
use crate::id::bytes::{InstanceId, ObjectId};
use crate::sys::clock::UnixMillis;
use crate::transport::http::wire::Removed;

/// Answers a request about an object.
///
/// # Errors
/// As what is asked for fails.
pub async fn answer(
    hub: &Arc<Hub>,
    caller: &Caller,
    parts: &Parts,
    incoming: Incoming,
    object: ObjectId,
) -> Result<Answer, Refusal> {
    match parts.method {
        Method::GET | Method::HEAD => get(hub, *caller, parts, object).await,
        Method::PUT => uploads::put(hub, caller, parts, incoming, object).await,
        Method::DELETE => delete(hub, *caller, parts.uri.query().unwrap_or_default(), object).await,
        _ => Err(Refusal::new(405, "method", "this path knows GET, HEAD, PUT and DELETE")),
    }
}

async fn get(hub: &Arc<Hub>, caller: Caller, parts: &Parts, object: ObjectId) -> Result<Answer, Refusal> {
    if caller == Caller::Anyone && !hub.options.public {
        return Err(Refusal::unsigned());
    }
    let tag = format!("\"{object}\"");
    let wanted = wanted(&parts.headers, &tag)?;
    let head_only = parts.method == Method::HEAD;
    let is_known = parts.headers.get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let worker = Arc::clone(hub);
    let (size, opened) = hub
        .work(move || {
            let carried =
                caller.is_admin() || worker.catalogue()?.may_read_object(&caller, worker.options.public, &object);
            // Whoever stored it may look at it before a head names it.
            let own = |id: InstanceId| worker.members.has_stored(&id, &object);
            if !carried && !caller.id().map(own).transpose()?.unwrap_or(false) {
                return Err(Refusal::not_found());
            }
            let size = worker.store.object_size(&object)?.ok_or_else(Refusal::not_found)?;
            let reads = !head_only && !is_known && wanted.is_none_or(|offset| offset < size);
            let opened = if reads { Some(worker.store.object(&object, wanted.unwrap_or(0))?) } else { None };
            Ok((size, opened))
        })
        .await?;
    let mut answer = match (opened, wanted) {
        (None, _) if is_known => answer::empty(StatusCode::NOT_MODIFIED),
        (None, Some(offset)) if offset >= size => {
            let mut answer = answer::empty(StatusCode::RANGE_NOT_SATISFIABLE);
            answer::set(&mut answer, CONTENT_RANGE, &format!("bytes */{size}"));
            answer
        }
        (None, _) => {
            let mut answer = answer::empty(StatusCode::OK);
            answer::set(&mut answer, CONTENT_LENGTH, &size.to_string());
            answer
        }
        (Some(reader), wanted) => {
            let left = size - wanted.unwrap_or(0);
            let (sender, receiver) = mpsc::channel(PARTS_WAITING);
            tokio::spawn(body::read_out(reader, left, sender));
            let mut answer = Response::new(AnswerBody::Read(left, receiver));
            if let Some(offset) = wanted {
                *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
                let last = size - 1;
                answer::set(&mut answer, CONTENT_RANGE, &format!("bytes {offset}-{last}/{size}"));
            }
            answer
        }
    };
    answer::set(&mut answer, CONTENT_TYPE, "application/octet-stream");
    answer::set(&mut answer, ACCEPT_RANGES, "bytes");
    answer::set(&mut answer, ETAG, &tag);
    // An object never changes, but not everybody may have it.
    let cached = if caller == Caller::Anyone { "public" } else { "private" };
    answer::set(&mut answer, CACHE_CONTROL, &format!("{cached}, max-age=31536000, immutable"));
    Ok(answer)
}

/// Reads `Range: bytes=N-`, the one form that is served; others get the whole, as RFC 9110 allows.
fn wanted(headers: &HeaderMap, tag: &str) -> Result<Option<u64>, Refusal> {
    if headers.get(IF_RANGE).is_some_and(|of| of.as_bytes() != tag.as_bytes()) {
        return Ok(None);
    }
    let Some(range) = headers.get(RANGE) else { return Ok(None) };
    let range = range.to_str().map_err(|_| Refusal::malformed("the range is not text"))?;
    let offset = range.strip_prefix("bytes=").and_then(|range| range.strip_suffix('-'));
    Ok(offset.filter(|digits| digits.chars().all(|c| c.is_ascii_digit())).and_then(|digits| digits.parse().ok()))
}

async fn delete(hub: &Arc<Hub>, caller: Caller, query: &str, object: ObjectId) -> Result<Answer, Refusal> {
    if !caller.is_admin() && !caller.may_write() {
        return Err(not_an_admin(&caller));
    }
    let unused_since = value(query, "unused_since").and_then(|text| text.parse().ok()).map(UnixMillis);
    let unused_since = unused_since.ok_or_else(|| Refusal::malformed("say `unused_since`, in milliseconds"))?;
    let worker = Arc::clone(hub);
    hub.work(move || {
        worker.renew()?;
        if !caller.is_admin() && !is_its_own(&worker, &caller, &object)? {
            return match worker.store.object_size(&object)? {
                // What somebody else removed, or what never came, is as gone as it is to be.
                None => Ok(answer::json(&Removed { removed: false })),
                Some(_) => Err(not_an_admin(&caller)),
            };
        }
        if worker.catalogue()?.is_carried(&worker.store, &object)? {
            return Err(Refusal::new(409, "in-use", "a head names this object"));
        }
        let removed = worker.store.remove_object(&object, unused_since)?;
        if removed {
            worker.members.release(&object)?;
        }
        Ok(answer::json(&Removed { removed }))
    })
    .await
}

/// Tells whether a writer may take an object away: whose scopes alone it carried, because what was withdrawn goes at once, and who
/// stored it, because it may be the only one who knows of it.
fn is_its_own(hub: &Hub, caller: &Caller, object: &ObjectId) -> Result<bool, Refusal> {
    let Some(id) = caller.id() else { return Ok(false) };
    Ok(hub.catalogue()?.carries_for(&id, object) || hub.members.has_stored(&id, object)?)
}
