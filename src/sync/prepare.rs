//! What a head needs before it can be verified: where its changesets start, and their objects.
//!
//! Objects gather in `incoming/`; parts of unfinished ones stay there for the next try.

use std::fs;
use std::path::PathBuf;

use super::error::Error;
use super::ingest::{HINT_AGAIN, Incoming, Ingested};
use super::instance::Instance;
use super::progress::Event;
use super::refusal::Refusal;
use super::scopes::OpenScope;
use super::waiting::Waits;
use crate::exchange::fetch::{FetchError, fetch_object};
use crate::exchange::head::{Head, ObjectRef, Segment};
use crate::exchange::lanes::in_lanes;
use crate::exchange::store::{Store, StoreError};
use crate::history::commit::Commit;
use crate::history::join::Known;
use crate::sys::disk;
use crate::tree::store::{NodeStore, StoreError as NodeError};

/// A head with what it carries.
pub(super) struct Prepared<'a> {
    pub(super) head: &'a Head,
    /// The commit that the changesets apply to; `None` is the empty scope.
    pub(super) start: Option<Commit>,
    pub(super) segments: Vec<&'a Segment>,
    pub(super) files: Vec<PathBuf>,
}

impl Instance {
    /// Finds what a head starts from and fetches what leads from there to it.
    pub(super) fn prepare<'a>(
        &self,
        store: &dyn Store,
        remote: &str,
        scope: &OpenScope,
        incoming: &'a Incoming,
    ) -> Result<Result<Prepared<'a>, Ingested>, Error> {
        let head = &incoming.head;
        let start = match self.start_of(scope, head)? {
            Ok(start) => start,
            Err(why) => return Ok(Err(Ingested::Held(Waits { why, seen: None }))),
        };
        let mut segments = needed(head, start.as_ref().map(|(seq, _)| *seq));
        let files = match self.download(store, remote, scope, &segments)? {
            Ok(files) => files,
            Err(refusal) => {
                // A bundle for somebody who is thought to have less, or one damaged object: another way may be whole.
                let way = needed(head, None);
                if way == segments {
                    return Ok(Err(Ingested::Refused(refusal)));
                }
                segments = way;
                match self.download(store, remote, scope, &segments)? {
                    Ok(files) => files,
                    Err(_) => return Ok(Err(Ingested::Refused(refusal))),
                }
            }
        };
        let from_nothing = head.base.is_none() && segments.first().is_some_and(|segment| segment.from_seq == 0);
        let start = if from_nothing { None } else { start.map(|(_, known)| known.commit) };
        Ok(Ok(Prepared { head, start, segments, files }))
    }

    /// Returns the commit that the head's changesets start from, with the head number it stands for.
    fn start_of(&self, scope: &OpenScope, head: &Head) -> Result<Result<Option<(u64, Known)>, String>, Error> {
        let Some(base) = &head.base else {
            // Our own newest may be a branch of what a backup took back: only a snapshot is sure.
            if head.signer == self.id() {
                return Ok(Ok(None));
            }
            let known = self.state.head(&scope.row.id, &head.signer)?;
            let known = known.filter(|known| known.incarnation == head.incarnation);
            let Some(known) = known else { return Ok(Ok(None)) };
            let commit = self.state.known_commit(&scope.row.id, &known.commit)?;
            return Ok(Ok(Some((known.seq, commit))));
        };
        match self.state.commit(&scope.row.id, &base.commit)? {
            Some(known) if self.holds_trees(&known.commit)? => Ok(Ok(Some((0, known)))),
            _ => Ok(Err(format!("it builds on head {} of the scope's origin, which we do not hold", base.seq))),
        }
    }

    /// Tells whether the trees of a commit are here: commits also travel without theirs. Trees are written
    /// from the leaves up, so the root stands for all.
    pub(super) fn holds_trees(&self, commit: &Commit) -> Result<bool, Error> {
        for id in commit.datasets.values().filter_map(|root| root.node) {
            match self.state.read(&id) {
                Ok(_) => {}
                Err(NodeError::Missing) => return Ok(false),
                Err(NodeError::Failed(error)) => {
                    return Err(crate::state::error::Error::damaged(error.to_string()).into());
                }
            }
        }
        Ok(true)
    }

    pub(super) fn incoming_dir(&self) -> PathBuf {
        self.dir().join("incoming")
    }

    /// Makes the directory for objects that are being fetched. Parts of unfinished ones stay.
    ///
    /// # Errors
    /// `Io`.
    pub(super) fn make_incoming(&self) -> Result<(), Error> {
        let dir = self.incoming_dir();
        disk::create_dir(&dir).map_err(Error::io("make", &dir))
    }

    /// Removes what was fetched whole for heads that have to wait; they will be fetched again.
    ///
    /// # Errors
    /// `Io`.
    pub(super) fn clear_incoming(&self) -> Result<(), Error> {
        let dir = self.incoming_dir();
        for entry in fs::read_dir(&dir).map_err(Error::io("list", &dir))? {
            let path = entry.map_err(Error::io("list", &dir))?.path();
            if path.extension().is_some_and(|extension| extension == "age") {
                fs::remove_file(&path).map_err(Error::io("remove", &path))?;
            }
        }
        Ok(())
    }

    /// Removes fetched objects that were used or refused.
    pub(super) fn remove_incoming(&self, prepared: &Prepared<'_>) -> Result<(), Error> {
        for path in &prepared.files {
            match fs::remove_file(path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io("remove", path)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn download(
        &self,
        store: &dyn Store,
        remote: &str,
        scope: &OpenScope,
        segments: &[&Segment],
    ) -> Result<Result<Vec<PathBuf>, Refusal>, Error> {
        let objects: Vec<&ObjectRef> = segments.iter().flat_map(|segment| &segment.objects).collect();
        let total = objects.iter().map(|object| object.bytes).sum();
        let name = format!("fetching {}", scope.label(self)?);
        self.tell(Event::Phase { name: &name, total: Some(total) });
        let dir = self.incoming_dir();
        // One that is named twice would be in its own way.
        let mut unique = objects.clone();
        unique.sort_by_key(|object| object.id);
        unique.dedup_by_key(|object| object.id);
        unique.sort_by_key(|object| objects.iter().position(|first| first.id == object.id));
        let fetch = |object: &&ObjectRef, step: &dyn Fn(i64)| {
            let path = fetch_object(store, &object.id, object.bytes, &dir)?;
            step(i64::try_from(object.bytes).unwrap_or(i64::MAX));
            Ok(path)
        };
        let outcome = in_lanes(&unique, store.lanes(), fetch, &mut |reached| self.tell(Event::Done(reached.bytes)));
        if let Some((_, error)) = outcome.failed {
            return match error {
                FetchError::Store { source, .. }
                    if matches!(
                        *source,
                        StoreError::Missing { .. }
                            | StoreError::Damaged { .. }
                            | StoreError::Irregular { .. }
                            | StoreError::TooLarge { .. }
                    ) =>
                {
                    Ok(Err(Refusal::new("", &source, HINT_AGAIN).damaged()))
                }
                FetchError::Store { source, .. } => Err(Error::store(remote)(*source)),
                FetchError::TooLarge { object, bytes } => {
                    let reason = format!("its object {object} of {bytes} bytes is too large");
                    Ok(Err(Refusal::because("", reason, HINT_AGAIN)))
                }
                error => Err(Error::io("write", self.incoming_dir())(std::io::Error::other(error))),
            };
        }
        self.tell(Event::End);
        Ok(Ok(objects.iter().map(|object| dir.join(format!("{}.age", object.id))).collect()))
    }
}

/// Returns the segments to apply: for a writer's head all; for the origin's those after the head that we
/// hold, or the snapshot and those after it.
pub(super) fn needed(head: &Head, known: Option<u64>) -> Vec<&Segment> {
    if head.base.is_some() {
        return head.segments.iter().collect();
    }
    let (snapshot, deltas) = head.segments.split_first().expect("the origin's head has a snapshot");
    let reachable = |known: u64| deltas.first().is_some_and(|first| first.from_seq <= known);
    match known.filter(|known| reachable(*known)) {
        Some(known) => deltas.iter().filter(|segment| segment.to_seq > known).collect(),
        None => {
            let after = deltas.iter().filter(|segment| segment.to_seq > snapshot.to_seq);
            std::iter::once(snapshot).chain(after).collect()
        }
    }
}
