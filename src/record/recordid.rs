//! Record ids: who bore the record, what kind it is, and sixteen bytes given at birth.

use std::fmt;

use crate::id::bytes::{InstanceId, RecordKey};
use crate::id::name::DatasetName;
use crate::sys::clock::UnixMillis;
use crate::sys::random;

/// The identity of a record everywhere. Never a local key, never reused.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId {
    /// The instance whose application made the row.
    pub origin: InstanceId,
    /// The kind of record.
    pub dataset: DatasetName,
    /// The sixteen bytes given at birth.
    pub key: RecordKey,
}

impl fmt::Display for RecordId {
    /// Writes `dataset/key`, as commands print and take it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.dataset, self.key)
    }
}

/// Gives `count` new keys in ascending order, all born at `now`.
///
/// UUIDv7-like (RFC 9562 §5.7): 48 bits of milliseconds, then the version and variant bits, then 74
/// random bits. Keys of one batch are sorted, so that rows keep the order in which they were read;
/// they tell when rows were first captured and nothing about how many there are.
pub fn births(now: UnixMillis, count: usize) -> Vec<RecordKey> {
    let mut random = vec![0; 16 * count];
    random::fill(&mut random);
    let (random, _) = random.as_chunks();
    let mut keys: Vec<RecordKey> = random.iter().map(|random| birth(now, *random)).collect();
    keys.sort_unstable();
    keys
}

fn birth(now: UnixMillis, mut bytes: [u8; 16]) -> RecordKey {
    bytes[..6].copy_from_slice(&now.0.to_be_bytes()[2..]);
    bytes[6] = 0x70 | bytes[6] & 0x0f;
    bytes[8] = 0x80 | bytes[8] & 0x3f;
    RecordKey::from_bytes(bytes)
}

/// Returns the time in a key: when the row was first captured.
pub fn born_at(key: &RecordKey) -> UnixMillis {
    let mut millis = [0; 8];
    millis[2..].copy_from_slice(&key.as_bytes()[..6]);
    UnixMillis(u64::from_be_bytes(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_a_batch_ascend_and_carry_their_time() {
        let now = UnixMillis(1_790_000_000_123);
        let keys = births(now, 1000);
        assert!(keys.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(keys.iter().all(|key| born_at(key) == now));
    }
}
