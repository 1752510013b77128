//! Finds the rows that a record refers to, and writes placeholders for those that aren't here.

use super::apply::{Apply, Fail};
use super::books::{Entry, STUB};
use super::circular::stand_in;
use super::key::{Key, bound};
use super::look;
use super::reference::RefPlan;
use crate::connector::mapping::model::Missing;
use crate::record::recordid::RecordId;
use crate::scope::audience::{Audience, Reason};

/// What a reference shows for a record.
pub(super) enum Target {
    /// Its row, or its placeholder.
    Row(Key),
    /// The row that means the same.
    Same(Key),
    /// Nothing yet.
    None,
}

impl Apply<'_> {
    /// Finds the local key of a record that is referred to.
    pub(super) fn resolve(&mut self, reference: &RefPlan, target: &RecordId) -> Result<Target, Fail> {
        let parent = reference.parent;
        let is_tied = self.tied.contains(target);
        if let Some(entry) = self.find(parent, target)?
            && (is_tied || !(entry.is_stub() && reference.missing == Missing::Park))
        {
            if self.is_there(parent, &entry)? {
                return Ok(Target::Row(entry.key));
            }
            if !entry.is_stub() {
                return Err(Fail::Dirty);
            }
            self.books.remove(self.conn, parent, &entry)?;
        }
        if !self.plans.list[parent].spec.same.is_empty()
            && let Some(entry) = self.books.find_covering(self.conn, parent, target)?
        {
            return if self.is_there(parent, &entry)? { Ok(Target::Same(entry.key)) } else { Err(Fail::Dirty) };
        }
        match reference.missing {
            _ if is_tied => Ok(Target::Row(stand_in(&self.plans.list[parent]))),
            Missing::Park => Err(Fail::Park { reason: format!("waits for {target}"), waits: Some(target.clone()) }),
            Missing::Null => Ok(Target::None),
            Missing::Stub if self.ahead.promised.contains(target) => {
                Ok(Target::Row(stand_in(&self.plans.list[parent])))
            }
            Missing::Stub => self.insert_stub(parent, target).map(Target::Row),
        }
    }

    /// Tells whether the row of a map entry is there, and no other with its key.
    fn is_there(&mut self, dataset: usize, entry: &Entry) -> Result<bool, Fail> {
        let at = (dataset, entry.key.clone());
        if self.verified.contains(&at) {
            return Ok(true);
        }
        let (plan, buffer) = (&self.plans.list[dataset], &mut self.buffer);
        let given = plan.key.given(&entry.key);
        let birth = self.conn.one(&plan.sql_locked, &bound(&given), |row| look::birth(plan, row, buffer))?;
        let is_there = birth == Some(entry.birth);
        if is_there {
            self.verified.insert(at);
        }
        Ok(is_there)
    }

    /// Writes a placeholder row for a record that isn't here.
    fn insert_stub(&mut self, dataset: usize, id: &RecordId) -> Result<Key, Fail> {
        let plan = &self.plans.list[dataset];
        let origin = self.books.intern(self.conn, &id.origin)?;
        let raws = self.stub_raws(plan, id, None)?;
        let key = self.insert(dataset, id, &raws, "private")?;
        self.write_down(dataset, id, origin, &key, Audience::Private(Reason::Withheld), STUB, &[])?;
        self.verified.insert((dataset, key.clone()));
        self.pending.stubs.push(dataset);
        Ok(key)
    }
}
