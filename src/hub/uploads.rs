//! Uploads: objects stored after their bytes are verified, and gone on with where they broke off.
//!
//! `Content-Range` says where the bytes that come belong (format/http.md, "Uploads that go on").

use std::io;
use std::sync::Arc;

use hyper::StatusCode;
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_RANGE, HeaderValue};
use hyper::http::request::Parts;
use tokio::sync::{mpsc, oneshot};

use crate::exchange::layout::OBJECT_BYTES_MAX;
use crate::exchange::store::{Store, StoreError};
use crate::hub::answer::{self, Answer};
use crate::hub::body::{self, PARTS_WAITING, Passed};
use crate::hub::caller::Caller;
use crate::hub::limits::PART_BYTES_MIN;
use crate::hub::lists::{not_a_writer, over_quota};
use crate::hub::parts::Sender;
use crate::hub::rates::Lasting;
use crate::hub::refusal::Refusal;
use crate::hub::service::Hub;
use crate::id::bytes::{InstanceId, ObjectId};
use crate::transport::http::wire::HEAL;

/// Stores an object, or the rest of one.
///
/// # Errors
/// `not-a-writer`, `no-length`, `too-large`, `uploads`, `busy`, `quota`, `offset`, `taken-over`, `damaged`; as the store fails.
pub(crate) async fn put(
    hub: &Arc<Hub>,
    caller: &Caller,
    parts: &Parts,
    incoming: Incoming,
    object: ObjectId,
) -> Result<Answer, Refusal> {
    if !caller.may_write() {
        return Err(not_a_writer(caller));
    }
    let coming = incoming.size_hint().exact();
    let coming =
        coming.ok_or_else(|| Refusal::new(411, "no-length", "an object has to come with its Content-Length"))?;
    let (offset, size) = match parts.headers.get(CONTENT_RANGE) {
        None => (0, coming),
        Some(range) => rest_of(range, coming)
            .ok_or_else(|| Refusal::malformed("Content-Range is `bytes FIRST-LAST/SIZE`, to the end of the object"))?,
    };
    if size > OBJECT_BYTES_MAX {
        return Err(Refusal::too_large(OBJECT_BYTES_MAX));
    }
    let _uploading = Uploading::begin(hub, caller)?;
    let _permit = hub.uploads.try_acquire().map_err(|_| Refusal::busy("too many objects are being sent at once"))?;
    let sender = caller.id();
    let growing = hub.parts.take_over(sender, object);
    let heals = parts.uri.query() == Some(HEAL);
    let upload = Upload { object, size, offset, sender, heals };
    let (to, from) = mpsc::channel(PARTS_WAITING);
    let (wants, wanted) = oneshot::channel();
    let worker = Arc::clone(hub);
    // Not under the bound of other work: this waits for the client.
    let mut storing = tokio::task::spawn_blocking(move || upload.store(&worker, Passed::new(from, wants)));
    let stored = tokio::select! {
        stored = &mut storing => stored,
        () = body::pass(incoming, coming, to, wanted) => storing.await,
        () = growing.taken_over() => match storing.await {
            Ok(Err(_)) => Ok(Err(Refusal::new(409, "taken-over", "a newer upload of this object by the same instance goes on"))),
            stored => stored,
        },
    };
    let was_held = stored.unwrap_or_else(|error| Err(Refusal::internal(error)))?;
    Ok(answer::empty(if was_held { StatusCode::NO_CONTENT } else { StatusCode::CREATED }))
}

/// Reads `Content-Range` of the last `coming` bytes of an object: where they begin, and the size of the whole.
fn rest_of(range: &HeaderValue, coming: u64) -> Option<(u64, u64)> {
    let (span, size) = range.to_str().ok()?.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = span.split_once('-')?;
    let [first, last, size] = [first, last, size].map(|digits| {
        let is_plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        is_plain.then(|| digits.parse::<u64>().ok()).flatten()
    });
    let (first, last, size) = (first?, last?, size?);
    let is_the_rest = first <= last && last.checked_add(1) == Some(size) && size - first == coming;
    is_the_rest.then_some((first, size))
}

/// An object that comes.
struct Upload {
    object: ObjectId,
    size: u64,
    /// Where the bytes that come begin.
    offset: u64,
    sender: Sender,
    /// Whether what is held is to be replaced, if it isn't what its name says.
    heals: bool,
}

impl Upload {
    /// Stores it, and tells whether it was held already. What a broken upload leaves is kept, if it is worth it.
    fn store(&self, hub: &Hub, mut bytes: Passed) -> Result<bool, Refusal> {
        let Self { object, size, offset, sender, heals } = self;
        if hub.store.object_size(object)? == Some(*size) {
            if *heals {
                // Whoever sends the right bytes may: the quota of whoever stored it has them already.
                return Ok(!hub.store.heal_object(object, *size, &mut bytes)?);
            }
            // Its clock starts again.
            hub.store.put_object(object, *size, &mut io::empty())?;
            return Ok(true);
        }
        let part = if *size < PART_BYTES_MIN {
            None
        } else {
            hub.parts.make_room(sender, object, &hub.members)?;
            // Where there is no room even for a directory, storing will say so.
            hub.parts.open(sender, object).ok().flatten()
        };
        let known = part.as_ref().map_or(0, |part| part.offset);
        if *offset > known {
            let mut refusal = Refusal::new(409, "offset", "less of this object is here; go on from there");
            refusal.problem.offset = Some(known);
            return Err(refusal);
        }
        if let Some(id) = sender
            && !hub.members.reserve(id, object, *size)?
        {
            hub.parts.settle(sender, object);
            return Err(over_quota());
        }
        let stored = match part {
            None => hub.store.put_object(object, *size, &mut bytes),
            Some(mut part) => {
                part.offset = *offset;
                hub.store.grow_object(object, *size, part, &mut bytes)
            }
        };
        let counted = match (&stored, sender) {
            (Ok(()), _) => hub.members.stored(object, sender.as_ref(), *size),
            (Err(_), sender) => match (hub.parts.settle(sender, object), sender) {
                (_, None) => Ok(()),
                (0, Some(id)) => hub.members.release_undone(id, object),
                (kept, Some(id)) => hub.members.keep_part(id, object, kept),
            },
        };
        match stored {
            Err(error @ StoreError::Damaged { .. }) if *offset > 0 => {
                let title = "what came in parts is not this object; it has to be sent anew";
                let refusal = Refusal::new(422, "damaged-part", title);
                Err(refusal.inside(Refusal::from(error).inside.unwrap_or_default()))
            }
            stored => stored.map_err(Refusal::from).and(counted.map_err(Refusal::from)).map(|()| false),
        }
    }
}

/// Counts an upload of an instance while it lasts.
struct Uploading<'a> {
    hub: &'a Hub,
    instance: Option<InstanceId>,
}

impl<'a> Uploading<'a> {
    fn begin(hub: &'a Hub, caller: &Caller) -> Result<Self, Refusal> {
        let instance = caller.id();
        match instance {
            Some(id) if !hub.rates().begin(Lasting::Upload, &id) => {
                Err(Refusal::new(429, "uploads", "this instance sends too many objects at once").later(1))
            }
            _ => Ok(Self { hub, instance }),
        }
    }
}

impl Drop for Uploading<'_> {
    fn drop(&mut self) {
        if let Some(id) = &self.instance {
            self.hub.rates().end(Lasting::Upload, id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_rest_of_an_object_is_a_range() {
        let parse = |text: &str, coming| rest_of(&HeaderValue::from_str(text).unwrap(), coming);
        assert_eq!(parse("bytes 5-9/10", 5), Some((5, 10)));
        assert_eq!(parse("bytes 0-9/10", 10), Some((0, 10)));
        for (text, coming) in [
            ("bytes 5-9/10", 4),
            ("bytes 5-8/10", 4),
            ("bytes 9-5/10", 5),
            ("bytes 10-9/10", 0),
            ("bytes 5-9/*", 5),
            ("bytes */10", 10),
            ("bytes 5-18446744073709551615/18446744073709551615", 5),
            ("bytes +5-9/10", 5),
            ("bytes 5-9/10 ", 5),
            ("items 5-9/10", 5),
            ("bytes=5-9/10", 5),
            ("", 0),
        ] {
            assert_eq!(parse(text, coming), None, "{text}");
        }
    }
}
