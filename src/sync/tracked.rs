//! Reads heads that the state keeps: they were verified before, so one that can't be opened is damage.

use super::error::Error;
use super::instance::Instance;
use crate::exchange::head::Head;
use crate::id::bytes::ObjectId;
use crate::state::heads::TrackedHead;

/// Opens a head that we signed ourselves.
pub(super) fn open_own(head: &TrackedHead, instance: &Instance) -> Result<Head, Error> {
    let opened = Head::open(&head.document, &instance.id());
    let damaged = |error| crate::state::error::Error::damaged(format!("our own head: {error}"));
    Ok(opened.map_err(damaged)?.0)
}

/// Lists the objects that a tracked head names.
pub(super) fn objects_of(head: &TrackedHead) -> Result<Vec<(ObjectId, u64)>, Error> {
    let damaged = |error| crate::state::error::Error::damaged(format!("a tracked head: {error}"));
    let (head, _) = Head::open(&head.document, &head.signer).map_err(damaged)?;
    Ok(head.objects().map(|object| (object.id, object.bytes)).collect())
}
