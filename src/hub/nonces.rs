//! The nonces seen lately: no signed request counts twice.
//!
//! A request's date is near the hub's clock, so a nonce need only be remembered while its date is. After a start
//! nothing is remembered, and requests dated before it don't count.

use std::collections::{BTreeMap, HashSet};

use crate::hub::limits::{CLOCK_SECONDS, NONCES_MAX};
use crate::id::bytes::InstanceId;

/// What is remembered.
#[derive(Debug)]
pub struct Nonces {
    started: u64,
    seen: HashSet<[u8; 16]>,
    by_date: BTreeMap<u64, Vec<[u8; 16]>>,
}

/// Why a request doesn't count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stale {
    /// Its date is too far from the hub's clock, or before the hub's start.
    Clock,
    /// It was seen before.
    Replayed,
    /// No more nonces can be remembered now.
    Full,
}

impl Nonces {
    /// Begins at the hub's time, in seconds.
    pub fn new(started: u64) -> Self {
        Self { started, seen: HashSet::new(), by_date: BTreeMap::new() }
    }

    /// Checks a date before anything is verified.
    ///
    /// # Errors
    /// `Clock`.
    pub fn check_date(&self, now: u64, created: u64) -> Result<(), Stale> {
        if created.abs_diff(now) > CLOCK_SECONDS || created < self.started { Err(Stale::Clock) } else { Ok(()) }
    }

    /// Remembers the nonce of a request whose signature is good.
    ///
    /// # Errors
    /// Every variant.
    pub fn remember(&mut self, now: u64, created: u64, signer: &InstanceId, nonce: &[u8; 16]) -> Result<(), Stale> {
        self.check_date(now, created)?;
        while let Some(entry) = self.by_date.first_entry() {
            if *entry.key() + CLOCK_SECONDS >= now {
                break;
            }
            for key in entry.remove() {
                self.seen.remove(&key);
            }
        }
        let hash = blake3::Hasher::new().update(signer.as_bytes()).update(nonce).finalize();
        let key: [u8; 16] = hash.as_bytes()[..16].try_into().expect("a hash is longer");
        if self.seen.contains(&key) {
            return Err(Stale::Replayed);
        }
        if self.seen.len() >= NONCES_MAX {
            return Err(Stale::Full);
        }
        self.seen.insert(key);
        self.by_date.entry(created).or_default().push(key);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALPHA: InstanceId = InstanceId::from_bytes([1; 32]);
    const BETA: InstanceId = InstanceId::from_bytes([2; 32]);

    #[test]
    fn a_nonce_counts_once_for_each_signer_as_long_as_its_date_does() {
        let mut nonces = Nonces::new(1000);
        let far = CLOCK_SECONDS;
        assert_eq!(nonces.remember(2000, 2000, &ALPHA, &[1; 16]), Ok(()));
        assert_eq!(nonces.remember(2000, 2000, &ALPHA, &[1; 16]), Err(Stale::Replayed));
        assert_eq!(nonces.remember(2000, 2000, &BETA, &[1; 16]), Ok(()));
        assert_eq!(nonces.remember(2000, 2000 + far, &ALPHA, &[2; 16]), Ok(()));
        assert_eq!(
            nonces.remember(2000 + 2 * far, 2000 + far, &ALPHA, &[2; 16]),
            Err(Stale::Replayed),
            "its date counts still"
        );
        assert_eq!(nonces.seen.len(), 1, "what can't count is forgotten");
        assert_eq!(nonces.remember(2001 + 2 * far, 2000 + far, &ALPHA, &[2; 16]), Err(Stale::Clock));
    }

    #[test]
    fn dates_are_near_and_after_the_start() {
        let nonces = Nonces::new(1000);
        assert_eq!(nonces.check_date(1000, 999), Err(Stale::Clock), "it may have been seen before the start");
        assert_eq!(nonces.check_date(1000, 1000), Ok(()));
        assert_eq!(nonces.check_date(1000, 1000 + CLOCK_SECONDS), Ok(()));
        assert_eq!(nonces.check_date(1000, 1001 + CLOCK_SECONDS), Err(Stale::Clock));
        assert_eq!(nonces.check_date(9000, 8999 - CLOCK_SECONDS), Err(Stale::Clock));
    }
}
