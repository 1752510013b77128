//! Stamps: the identity of one write.

use crate::id::bytes::InstanceId;
use crate::sys::clock::UnixMillis;

/// Identifies the write that put a value into a cell, so that equal values of different writes stay
/// distinguishable.
///
/// The order (author, incarnation, sequence, time) is that of a record's stamp table. The time is
/// what the writer's clock said: shown, used by `latest`, never trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct Stamp {
    /// The instance that wrote.
    pub author: InstanceId,
    /// The author's incarnation then.
    pub incarnation: u32,
    /// The author's sequence number of the capture commit in this scope.
    pub sequence: u64,
    /// The author's clock.
    pub time: UnixMillis,
}
