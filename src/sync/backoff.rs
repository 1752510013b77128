//! Backoff: how long to leave alone what failed.
//!
//! Full jitter: anything up to a bound that doubles with each failure, so that many who lost a hub at the same moment come
//! back one by one (Brooker, "Exponential backoff and jitter").

use std::time::Duration;

/// A bound that doubles, from the first to the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    first_millis: u64,
    max_millis: u64,
}

impl Backoff {
    /// For a remote: half a minute to an hour.
    pub const REMOTE: Self = Self::new(30_000, 3_600_000);
    /// For what is wrong here, like a database that another program keeps locked: two seconds to five minutes.
    pub const HERE: Self = Self::new(2_000, 300_000);
    /// For a question whether something changed: two seconds to five minutes.
    pub const POLL: Self = Self::new(2_000, 300_000);

    const fn new(first_millis: u64, max_millis: u64) -> Self {
        assert!(first_millis > 0 && first_millis <= max_millis && first_millis << DOUBLINGS_MAX > max_millis);
        Self { first_millis, max_millis }
    }

    /// Returns the bound of the wait after so many failures in a row.
    pub fn bound(self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(DOUBLINGS_MAX);
        Duration::from_millis((self.first_millis << doublings).min(self.max_millis))
    }

    /// Returns the longest wait of all.
    pub const fn longest(self) -> Duration {
        Duration::from_millis(self.max_millis)
    }

    /// Returns how long to wait after so many failures in a row; `chance` is any number, each as likely.
    pub fn wait(self, failures: u32, chance: u64) -> Duration {
        let bound = u64::try_from(self.bound(failures).as_millis()).expect("a bound is an hour at most");
        Duration::from_millis(chance % (bound + 1))
    }
}

/// The bound is reached long before.
const DOUBLINGS_MAX: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_are_spread_over_all_of_it() {
        let bounds: Vec<u64> = (1..=9).map(|failures| Backoff::REMOTE.bound(failures).as_secs()).collect();
        assert_eq!(bounds, [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]);
        assert_eq!(Backoff::REMOTE.bound(u32::MAX), Backoff::REMOTE.longest());
        let chance = |byte| u64::from_le_bytes([byte, 77, byte, 3, byte, 1, 2, byte]);
        let waits: Vec<u128> = (0..=255).map(|byte| Backoff::REMOTE.wait(1, chance(byte)).as_millis()).collect();
        assert!(waits.iter().all(|wait| *wait <= 30_000));
        assert!(waits.iter().any(|wait| *wait < 3_000) && waits.iter().any(|wait| *wait > 27_000));
    }
}
