//! What rows show that no capture could take in: an apply leaves it alone.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::name::FieldName;
use crate::record::recordid::RecordId;

/// The fields of one row in whose place nothing is written.
#[derive(Debug, Clone, Default)]
pub struct LeftAlone {
    /// The fields.
    pub fields: BTreeSet<FieldName>,
    /// When the row is to be looked at again.
    pub look: Look,
}

/// When the next capture is to look at a row again as if it had been edited: what stays in it may be taken in then.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Look {
    /// Once somebody edits it.
    #[default]
    Edited,
    /// Once its record says something else.
    Changed,
    /// After this apply, whatever it brings.
    Applied,
}

/// By record, what is left alone in its row.
pub type AloneRows = BTreeMap<RecordId, LeftAlone>;
