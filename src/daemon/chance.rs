//! Chance of the scheduler: numbers from a seed, so that a simulation can be run again.

use std::time::Duration;

/// A stream of numbers (SplitMix64, Steele and others 2014). Spreads waits; never for secrets.
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// Begins the stream of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns the next number; each is as likely.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns any time up to `most`.
    pub fn up_to(&mut self, most: Duration) -> Duration {
        let millis = u64::try_from(most.as_millis()).unwrap_or(u64::MAX - 1);
        Duration::from_millis(self.draw() % (millis + 1))
    }

    /// Returns about `time`: a tenth less or more, so that what began together doesn't stay together.
    pub fn about(&mut self, time: Duration) -> Duration {
        time - time / 10 + self.up_to(time / 5)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_stay_within_their_bounds_and_use_them() {
        let mut chance = Chance::new(7);
        let times: Vec<Duration> = (0..1000).map(|_| chance.about(Duration::from_secs(100))).collect();
        assert!(times.iter().all(|time| (90..=110).contains(&time.as_secs())));
        assert!(times.iter().any(|time| time.as_secs() < 92) && times.iter().any(|time| time.as_secs() > 108));
        assert_eq!(chance.up_to(Duration::ZERO), Duration::ZERO);
    }
}
