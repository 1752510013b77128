//! Late edits: what writers wrote into records of ours, or into fields, before they heard that these had left their scope.
//!
//! They are in no scope any more and must not come back into one by themselves, and the row is as its owner left
//! it. So they are kept here, with the values, until the owner has looked at them.

use super::error::Error;
use super::instance::Instance;
use super::scopes::OpenScope;
use crate::history::join::Known;
use crate::id::bytes::RecordKey;
use crate::id::name::DatasetName;
use crate::record::cell::Record;
use crate::state::late::LateRow;
use crate::sys::clock::UnixMillis;

/// A value that a writer gave a field of a record that had left the scope.
#[derive(Debug, Clone, serde::Serialize)]
pub struct LateEdit {
    /// The record, as `dataset/key`.
    pub record: String,
    /// Its row, as `table key`, if there is one.
    pub row: Option<String>,
    /// The scope that it had left.
    pub scope: String,
    /// The field.
    pub field: String,
    /// What was written.
    pub value: serde_json::Value,
    /// By whom.
    pub author: String,
    /// When, by the author's clock.
    pub time: UnixMillis,
}

/// How many heads are looked through for the record as it was.
const HEADS_BACK_MAX: u64 = 64;

impl Instance {
    /// Keeps what a record holds that `before` has not seen. The caller holds a transaction of the state.
    pub(super) fn keep_late(
        &self,
        scope: &OpenScope,
        before: &Known,
        dataset: &DatasetName,
        key: &RecordKey,
        record: &Record,
    ) -> Result<(), Error> {
        let shared = self.shared_last(scope, dataset, key)?;
        for (field, element) in record.elements() {
            let stamp = element.stamp;
            // Who edits a record that was deleted writes the rest of it again: that says nothing new.
            let is_known =
                shared.as_ref().and_then(|shared| shared.shown(field)).is_some_and(|value| value.same(&element.value));
            if stamp.author == self.id() || before.commit.clock.covers(&stamp) || is_known {
                continue;
            }
            let value = element.value.to_json().to_string();
            let (scope, dataset, field) = (scope.row.id, dataset.clone(), field.clone());
            self.state.put_late(&LateRow { scope, dataset, record: *key, field, stamp, value })?;
        }
        Ok(())
    }

    /// Returns the record as one of our newest heads last had it.
    fn shared_last(&self, scope: &OpenScope, dataset: &DatasetName, key: &RecordKey) -> Result<Option<Record>, Error> {
        let id = &scope.row.id;
        let Some(own) = self.state.head(id, &self.id())? else { return Ok(None) };
        for (_, commit) in self.state.published(id, own.seq.saturating_sub(HEADS_BACK_MAX), own.seq)?.into_iter().rev()
        {
            let known = self.state.known_commit(id, &commit)?;
            if !self.holds_trees(&known.commit)? {
                return Ok(None);
            }
            if let Some(record) = self.record_at(scope, &known, dataset, key)? {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    /// Lists the late edits: of a record, given by the first digits of its key, or all.
    ///
    /// # Errors
    /// `NotFound` if there is none of that record.
    pub fn late_edits(&self, record: Option<&str>) -> Result<Vec<LateEdit>, Error> {
        let mut list = Vec::new();
        for late in self.late_rows(record)? {
            let id =
                crate::record::recordid::RecordId { origin: self.id(), dataset: late.dataset.base(), key: late.record };
            list.push(LateEdit {
                row: self.with_database(|database| Ok(database.locate(&id)?))?,
                record: format!("{}/{}", id.dataset, id.key),
                scope: self.scope_label(&self.scope_row(&late.scope)?)?,
                field: late.field.to_string(),
                value: serde_json::from_str(&late.value).unwrap_or_default(),
                author: self.instance_label(&late.stamp.author)?,
                time: late.stamp.time,
            });
        }
        Ok(list)
    }

    /// Forgets the late edits of a record, or all, and returns how many there were.
    ///
    /// # Errors
    /// As `late_edits`.
    pub fn forget_late_edits(&self, record: Option<&str>) -> Result<usize, Error> {
        let rows = self.late_rows(record)?;
        for late in &rows {
            self.state.forget_late(&late.dataset, &late.record)?;
        }
        Ok(rows.len())
    }

    fn late_rows(&self, record: Option<&str>) -> Result<Vec<LateRow>, Error> {
        let mut rows = self.state.late()?;
        if let Some(record) = record {
            rows.retain(|late| {
                let key = late.record.to_string();
                format!("{}/{key}", late.dataset.base()).starts_with(record) || key.starts_with(record)
            });
            if rows.is_empty() {
                return Err(Error::NotFound { what: format!("late edit of record {record:?}") });
            }
        }
        Ok(rows)
    }
}
