//! What applying did to the application's rows.

use std::collections::BTreeMap;

use crate::id::name::DatasetName;
use crate::record::recordid::RecordId;

/// What became of one batch of changes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Applied {
    /// Rows inserted (placeholders included), by dataset.
    pub inserted: BTreeMap<DatasetName, u64>,
    /// Rows updated.
    pub updated: BTreeMap<DatasetName, u64>,
    /// Rows deleted.
    pub deleted: BTreeMap<DatasetName, u64>,
    /// Rows that became placeholders instead, because local rows refer to them.
    pub blanked: BTreeMap<DatasetName, u64>,
    /// Records whose row already showed the content.
    pub unchanged: u64,
    /// Records that wait (for a parent, or because a constraint refused them), by dataset.
    pub parked: BTreeMap<DatasetName, u64>,
    /// Records whose row the application changed since the capture: capture, merge and apply again.
    pub dirty: Vec<RecordId>,
    /// Of `Dropped::Unused`: records whose rows stay, or that have none of their own.
    pub kept: Vec<RecordId>,
}

/// A record that waits to be written.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Parked {
    /// `dataset/key` of the record.
    pub record: String,
    /// Why, in words.
    pub reason: String,
}

impl Applied {
    /// Adds what another batch did.
    pub(crate) fn add(&mut self, more: Self) {
        for (sum, more) in [
            (&mut self.inserted, more.inserted),
            (&mut self.updated, more.updated),
            (&mut self.deleted, more.deleted),
            (&mut self.blanked, more.blanked),
            (&mut self.parked, more.parked),
        ] {
            for (dataset, count) in more {
                *sum.entry(dataset).or_default() += count;
            }
        }
        self.unchanged += more.unchanged;
        self.dirty.extend(more.dirty);
        self.kept.extend(more.kept);
    }
}

/// A dataset whose rows don't show all that records say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newcomer {
    /// The dataset.
    pub dataset: DatasetName,
    /// Whether that is so of own rows too.
    pub with_own: bool,
}
