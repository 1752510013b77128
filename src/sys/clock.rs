//! The clocks. The wall clock is never trusted for safety: it is shown to people, and used by the `latest` strategy.
//! What waits goes by the clock that only runs forward.

use std::fmt;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::rig;

/// Milliseconds since 1970-01-01 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMillis(pub u64);

/// Returns the time now; a clock before 1970 reads as 1970.
pub fn now() -> UnixMillis {
    if let Some(rig) = rig::installed() {
        return rig.now();
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Waits; a simulated clock goes on at once.
pub fn pause(time: Duration) {
    match rig::installed() {
        Some(rig) => rig.pause(time),
        None => std::thread::sleep(time),
    }
}

/// One moment by both clocks. Where they disagree about how long it was since another moment, the machine slept or its
/// wall clock was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Since the program first asked, by the clock that only runs forward. On most systems it stands still while the
    /// machine sleeps.
    pub running: Duration,
    /// The wall clock.
    pub wall: UnixMillis,
}

/// Returns this moment.
pub fn moment() -> Moment {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    Moment { running: BEGAN.get_or_init(Instant::now).elapsed(), wall: now() }
}

/// As it is shown, in every answer that is JSON.
impl serde::Serialize for UnixMillis {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for UnixMillis {
    /// Writes `2026-11-22T10:20:30Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = i64::try_from(self.0).unwrap_or(i64::MAX);
        match jiff::Timestamp::from_millisecond(millis) {
            Ok(timestamp) => write!(f, "{}", timestamp.strftime("%Y-%m-%dT%H:%M:%SZ")),
            Err(_) => write!(f, "{} ms", self.0),
        }
    }
}
