//! Records of two instances that want one place, as files of one path do.

use crate::record::recordid::RecordId;

/// Two such records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Twin {
    /// The one that was born here and has the place.
    pub own: RecordId,
    /// The one that waits for it.
    pub other: RecordId,
}
