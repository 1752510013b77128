//! How often and how much at once each instance, and each address that is refused, may ask.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::time::Instant;

use crate::hub::limits::{
    RATES_MAX, REFUSALS_BURST, REFUSALS_PER_SECOND, REQUESTS_BURST, REQUESTS_PER_SECOND, UPLOADS_PER_INSTANCE,
    WAITS_PER_INSTANCE,
};
use crate::id::bytes::InstanceId;

/// What is counted.
#[derive(Debug, Default)]
pub struct Rates {
    instances: HashMap<InstanceId, Bucket>,
    addresses: HashMap<IpAddr, Bucket>,
    uploads: HashMap<InstanceId, usize>,
    waits: HashMap<InstanceId, usize>,
}

/// What an instance does for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lasting {
    /// Sends an object.
    Upload,
    /// Waits for changes.
    Wait,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl Rates {
    /// Counts a request; tells whether it is allowed.
    pub fn request(&mut self, instance: &InstanceId, now: Instant) -> bool {
        take(&mut self.instances, *instance, now, REQUESTS_PER_SECOND, REQUESTS_BURST)
    }

    /// Counts a refused request of an address.
    pub fn refused(&mut self, address: IpAddr, now: Instant) {
        take(&mut self.addresses, address, now, REFUSALS_PER_SECOND, REFUSALS_BURST);
    }

    /// Tells whether an address was refused too often to be listened to now.
    pub fn is_tiresome(&self, address: &IpAddr, now: Instant) -> bool {
        self.addresses.get(address).is_some_and(|bucket| filled(bucket, now, REFUSALS_PER_SECOND, REFUSALS_BURST) < 1.0)
    }

    /// Begins something lasting; tells whether it is allowed.
    pub fn begin(&mut self, what: Lasting, instance: &InstanceId) -> bool {
        let (counts, most) = self.counts(what);
        let count = counts.entry(*instance).or_default();
        let allowed = *count < most;
        if allowed {
            *count += 1;
        }
        allowed
    }

    /// Ends something lasting that was allowed.
    pub fn end(&mut self, what: Lasting, instance: &InstanceId) {
        let (counts, _) = self.counts(what);
        if let Some(count) = counts.get_mut(instance) {
            *count -= 1;
            if *count == 0 {
                counts.remove(instance);
            }
        }
    }

    fn counts(&mut self, what: Lasting) -> (&mut HashMap<InstanceId, usize>, usize) {
        match what {
            Lasting::Upload => (&mut self.uploads, UPLOADS_PER_INSTANCE),
            Lasting::Wait => (&mut self.waits, WAITS_PER_INSTANCE),
        }
    }
}

fn take<K: Eq + Hash + Copy>(buckets: &mut HashMap<K, Bucket>, key: K, now: Instant, rate: u32, burst: u32) -> bool {
    if buckets.len() >= RATES_MAX && !buckets.contains_key(&key) {
        buckets.retain(|_, bucket| filled(bucket, now, rate, burst) < f64::from(burst));
        if buckets.len() >= RATES_MAX {
            return false;
        }
    }
    let bucket = buckets.entry(key).or_insert(Bucket { left: f64::from(burst), at: now });
    let left = filled(bucket, now, rate, burst);
    let allowed = left >= 1.0;
    *bucket = Bucket { left: if allowed { left - 1.0 } else { left }, at: now };
    allowed
}

fn filled(bucket: &Bucket, now: Instant, rate: u32, burst: u32) -> f64 {
    let since = now.saturating_duration_since(bucket.at).as_secs_f64();
    (bucket.left + since * f64::from(rate)).min(f64::from(burst))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const ALPHA: InstanceId = InstanceId::from_bytes([1; 32]);
    const BETA: InstanceId = InstanceId::from_bytes([2; 32]);

    #[test]
    fn a_burst_then_the_rate_and_nobody_else_is_held_up() {
        let mut rates = Rates::default();
        let start = Instant::now();
        assert!((0..REQUESTS_BURST).all(|_| rates.request(&ALPHA, start)));
        assert!(!rates.request(&ALPHA, start));
        assert!(rates.request(&BETA, start));
        let later = start + Duration::from_secs(1);
        assert_eq!((0..REQUESTS_BURST).filter(|_| rates.request(&ALPHA, later)).count(), REQUESTS_PER_SECOND as usize);
    }

    #[test]
    fn lasting_things_are_counted_while_they_last() {
        let mut rates = Rates::default();
        assert!((0..UPLOADS_PER_INSTANCE).all(|_| rates.begin(Lasting::Upload, &ALPHA)));
        assert!(!rates.begin(Lasting::Upload, &ALPHA));
        assert!(rates.begin(Lasting::Wait, &ALPHA) && rates.begin(Lasting::Upload, &BETA));
        rates.end(Lasting::Upload, &ALPHA);
        assert!(rates.begin(Lasting::Upload, &ALPHA));
    }

    #[test]
    fn who_is_refused_too_often_is_not_listened_to_for_a_while() {
        let mut rates = Rates::default();
        let (start, address) = (Instant::now(), IpAddr::from([192, 0, 2, 1]));
        for _ in 0..REFUSALS_BURST {
            assert!(!rates.is_tiresome(&address, start));
            rates.refused(address, start);
        }
        assert!(rates.is_tiresome(&address, start));
        assert!(!rates.is_tiresome(&address, start + Duration::from_secs(1)));
    }
}
