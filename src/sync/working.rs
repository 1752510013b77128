//! The working copy: how the application's rows differ from what was committed.
//!
//! Nothing is written, neither here nor in the database. Rows that stay home are counted, never shown. The
//! database is what a commit would make of it: a record that waits to be written counts as there.

use std::collections::{BTreeMap, BTreeSet};

use super::collect::Working;
use super::commit::decode_record;
use super::edits::{Edit, Edited};
use super::error::Error;
use super::inspect::{RecordDiff, record_diff};
use super::instance::Instance;
use super::scopes::OpenScope;
use crate::history::join::Known;
use crate::id::bytes::RecordKey;
use crate::id::name::DatasetName;
use crate::record::cell::Record;
use crate::record::recordid::RecordId;

/// What stands for the application's database among commits.
pub const DATABASE: &str = "database";

/// How the application's rows differ from commits.
#[derive(Debug, serde::Serialize)]
pub struct WorkingDiff {
    /// The records that differ, by scope.
    pub records: Vec<ScopedDiff>,
    /// Own rows that stay home, by dataset and reason.
    pub private: BTreeMap<String, u64>,
    /// Rows read.
    pub rows: u64,
}

/// How a record differs, and where.
#[derive(Debug, serde::Serialize)]
pub struct ScopedDiff {
    /// The scope's label.
    pub scope: String,
    /// How it differs; `withdrawn` if its row is there and is not shared any more.
    #[serde(flatten)]
    pub diff: RecordDiff,
}

impl Instance {
    /// Lists what the application's database says that isn't committed; with `from`, how it differs from that
    /// commit of one scope. Writes nothing.
    ///
    /// # Errors
    /// `NotFound`, `Ambiguous`; the database or the state can't be read.
    pub fn diff_database(&self, from: Option<&str>) -> Result<WorkingDiff, Error> {
        let from = from.map(|from| self.find_commit(from)).transpose()?;
        let (scopes, summary) = self.uncommitted()?;
        let mut records = Vec::new();
        for working in scopes {
            let scope = working.open.label(self)?;
            let diffs = match &from {
                None => self.edits_of(working)?,
                Some((open, from)) if open.row.id == working.open.row.id => self.since(open, from, working)?,
                Some(_) => continue,
            };
            records.extend(diffs.into_iter().map(|diff| ScopedDiff { scope: scope.clone(), diff }));
        }
        // Our own scopes first, as in the status.
        records.sort_by_key(|record| (record.scope.contains('/'), record.scope.clone()));
        Ok(WorkingDiff { records, private: summary.private, rows: summary.rows })
    }

    /// The edits against what they will be committed upon.
    fn edits_of(&self, mut working: Working) -> Result<Vec<RecordDiff>, Error> {
        let mut diffs = Vec::new();
        for (_, edits) in working.take_edits() {
            for edit in self.sorted(edits)? {
                let Edited { dataset, key, edit } = edit?;
                let id = RecordId { origin: working.open.row.origin, dataset, key };
                let old = working.in_parent(self, &id)?;
                diffs.extend(edited(&id, &edit, old.as_ref())?);
            }
        }
        Ok(diffs)
    }

    /// What differs from a commit to the rows, edits included.
    fn since(&self, open: &OpenScope, from: &Known, mut working: Working) -> Result<Vec<RecordDiff>, Error> {
        let mut edits = BTreeMap::new();
        for (_, sorted) in working.take_edits() {
            for edit in self.sorted(sorted)? {
                let Edited { dataset, key, edit } = edit?;
                edits.insert((dataset, key), edit);
            }
        }
        let shown = working.target.as_ref().or(working.applied.as_ref());
        let mut keys: BTreeSet<(DatasetName, RecordKey)> = BTreeSet::new();
        let (before, after) = match shown {
            Some(shown) => (Some(&from.commit), &shown.commit),
            // No row shows anything of the scope: all of the commit differs.
            None => (None, &from.commit),
        };
        self.each_difference(open, before, after, &mut |dataset, key, _| {
            keys.insert((dataset.clone(), *key));
            Ok(())
        })?;
        keys.extend(edits.keys().cloned());
        let mut diffs = Vec::new();
        for (dataset, key) in keys {
            let id = RecordId { origin: open.row.origin, dataset, key };
            let old = self.record_at(open, from, &id.dataset, &id.key)?;
            let name = (id.dataset.clone(), id.key);
            if let Some(edit) = edits.get(&name) {
                diffs.extend(edited(&id, edit, old.as_ref())?);
                continue;
            }
            let new = match shown {
                Some(shown) => self.record_at(open, shown, &id.dataset, &id.key)?,
                None => None,
            };
            diffs.extend(differing(&id, old.as_ref(), new.as_ref()));
        }
        Ok(diffs)
    }
}

fn edited(id: &RecordId, edit: &Edit, old: Option<&Record>) -> Result<Option<RecordDiff>, Error> {
    let new = edit.content().map(|bytes| decode_record(bytes, &id.origin, &id.dataset, &id.key)).transpose()?;
    let mut diff = differing(id, old, new.as_ref());
    if let (Some(diff), Edit::Withdrawn) = (&mut diff, edit) {
        diff.change = "withdrawn";
    }
    Ok(diff)
}

fn differing(id: &RecordId, old: Option<&Record>, new: Option<&Record>) -> Option<RecordDiff> {
    (old != new).then(|| record_diff(id.to_string(), old, new))
}
