//! Stamps: the identity of one write.

use crate::cbor::error::Error;
use crate::cbor::reader::Reader;
use crate::id::bytes::InstanceId;
use crate::sys::clock::UnixMillis;

/// The greatest sequence number or time: what databases hold as well.
pub const NUMBER_MAX: u64 = i64::MAX as u64;

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

impl Stamp {
    /// Tells whether both name one write. A write has one time.
    pub fn is_same_write(&self, other: &Self) -> bool {
        (self.author, self.incarnation, self.sequence) == (other.author, other.incarnation, other.sequence)
    }
}

/// Reads a sequence number: 1 to `NUMBER_MAX`.
///
/// # Errors
/// 0, a larger number, or no number.
pub fn decode_sequence(reader: &mut Reader<'_>) -> Result<u64, Error> {
    let at = reader.offset();
    match reader.uint_max(NUMBER_MAX)? {
        0 => Err(reader.invalid(at, "a sequence number of 0 counts no write")),
        sequence => Ok(sequence),
    }
}
