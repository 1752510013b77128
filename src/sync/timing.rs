//! `[run]` of `wbsync.toml`: how often the background worker exchanges with whom (docs/worker.md).

use std::collections::BTreeMap;
use std::time::Duration;

use crate::id::name::PeerName;

/// How often the worker does what.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timing {
    /// Seconds from one exchange with a remote to the next, if nothing happens.
    pub interval_seconds: Option<u64>,
    /// Seconds from one look at the application's database to the next, if nothing happens.
    pub look_seconds: Option<u64>,
    /// Whether hubs are asked to say at once when something changes; left out, yes.
    pub long_poll: Option<bool>,
    /// Whether the application's database is watched; left out, yes.
    pub watch: Option<bool>,
    /// What differs for single remotes.
    pub remote: BTreeMap<PeerName, RemoteTiming>,
}

/// What differs for one remote.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RemoteTiming {
    /// As in `Timing`.
    pub interval_seconds: Option<u64>,
    /// As in `Timing`.
    pub long_poll: Option<bool>,
}

impl Timing {
    /// Returns how often at least to exchange with a remote.
    pub fn interval(&self, remote: &PeerName) -> Duration {
        let own = self.remote.get(remote).and_then(|remote| remote.interval_seconds);
        seconds(own.or(self.interval_seconds).unwrap_or(INTERVAL_SECONDS))
    }

    /// Returns how often at least to look at the application's database.
    pub fn look(&self) -> Duration {
        seconds(self.look_seconds.unwrap_or(LOOK_SECONDS))
    }

    /// Tells whether a remote that can say what changed is asked.
    pub fn polls(&self, remote: &PeerName) -> bool {
        self.remote.get(remote).and_then(|remote| remote.long_poll).or(self.long_poll).unwrap_or(true)
    }

    /// Tells whether the application's database is watched.
    pub fn watches(&self) -> bool {
        self.watch.unwrap_or(true)
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds.clamp(SECONDS_MIN, SECONDS_MAX))
}

/// Five minutes, unless said otherwise.
pub const INTERVAL_SECONDS: u64 = 300;
/// A minute, unless said otherwise.
pub const LOOK_SECONDS: u64 = 60;
/// Nothing is done by the clock more often.
const SECONDS_MIN: u64 = 5;
/// A week.
const SECONDS_MAX: u64 = 7 * 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_a_remote_counts_more() {
        let timing: Timing = toml::from_str(
            "interval_seconds = 60\nlong_poll = false\n[remote.hub]\ninterval_seconds = 1\nlong_poll = true",
        )
        .unwrap();
        let [hub, stick] = ["hub", "stick"].map(|name| PeerName::new(name).unwrap());
        assert_eq!(timing.interval(&hub), Duration::from_secs(5), "no faster than the bound");
        assert_eq!(timing.interval(&stick), Duration::from_secs(60));
        assert!(timing.polls(&hub) && !timing.polls(&stick));
        assert_eq!(Timing::default().look(), Duration::from_secs(60));
        assert!(toml::from_str::<Timing>("intervall_seconds = 1").is_err());
    }
}
