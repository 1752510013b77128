//! Records of ours that give way to another instance's which want the same place: those that nobody has yet.
//!
//! Who begins with the same files as somebody else has records of them before the other's are fetched. As long as ours were
//! never handed out, nobody loses anything if they go; and if both may write to each other's, nobody gets a right that
//! they didn't have. In all other cases both records stay, and the one that came waits.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::error::Error;
use super::instance::Instance;
use super::scopes::OpenScope;
use super::view::View;
use crate::connector::twin::Twin;
use crate::history::join::Known;
use crate::id::bytes::{CommitId, InstanceId};
use crate::record::cell::Record;
use crate::record::recordid::RecordId;

/// A scope as of a view.
struct Seen {
    open: OpenScope,
    at: Known,
    /// Our newest write in it that others can have seen.
    published: u64,
}

impl Instance {
    /// Lets those of the connector's twins go that may. Returns how many.
    ///
    /// # Errors
    /// The database or the state can't be read or written.
    pub(super) fn give_way(&self, target: &View) -> Result<usize, Error> {
        let twins = self.with_database(|database| Ok(database.twins()?))?;
        if twins.is_empty() {
            return Ok(0);
        }
        let ours = self.seen(&self.id(), |open| open.row.local_head)?;
        let mut theirs: BTreeMap<InstanceId, Vec<Seen>> = BTreeMap::new();
        let mut leaving = Vec::new();
        for twin in twins {
            let origin = twin.other.origin;
            if let Entry::Vacant(entry) = theirs.entry(origin) {
                entry.insert(self.seen(&origin, |open| target.commits.get(&open.row.id).copied())?);
            }
            if self.gives_way(&twin, &ours, &theirs[&origin])? {
                leaving.push(twin);
            }
        }
        if !leaving.is_empty() {
            self.with_database(|database| Ok(database.give_way(&leaving)?))?;
        }
        Ok(leaving.len())
    }

    fn gives_way(&self, twin: &Twin, ours: &[Seen], theirs: &[Seen]) -> Result<bool, Error> {
        let (Some((own, record)), Some((other, _))) =
            (self.find_in(ours, &twin.own)?, self.find_in(theirs, &twin.other)?)
        else {
            return Ok(false);
        };
        let is_unknown = record.elements().all(|(_, element)| element.stamp.sequence > own.published);
        let may_both = own.open.manifest.may_write(&twin.other.origin) && other.open.manifest.may_write(&self.id());
        Ok(is_unknown && may_both && own.open.row.name == other.open.row.name)
    }

    fn seen(&self, origin: &InstanceId, commit: impl Fn(&OpenScope) -> Option<CommitId>) -> Result<Vec<Seen>, Error> {
        let mut seen = Vec::new();
        for open in self.open_scopes_of(origin)? {
            let Some(commit) = commit(&open) else { continue };
            let at = self.state.known_commit(&open.row.id, &commit)?;
            let published = self.state.head(&open.row.id, &self.id())?.map_or(0, |head| head.writes);
            seen.push(Seen { open, at, published });
        }
        Ok(seen)
    }

    fn find_in<'a>(&self, scopes: &'a [Seen], id: &RecordId) -> Result<Option<(&'a Seen, Record)>, Error> {
        for seen in scopes {
            if let Some(record) = self.record_at(&seen.open, &seen.at, &id.dataset, &id.key)? {
                return Ok(Some((seen, record)));
            }
        }
        Ok(None)
    }
}
