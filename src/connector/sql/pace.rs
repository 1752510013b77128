//! How long we may hold the application's write lock, and how we let others in.

use std::thread;
use std::time::{Duration, Instant};

/// The longest that one write transaction collects changes.
pub(super) const HOLD: Duration = Duration::from_millis(150);
/// The pause after holding the lock for about that long. SQLite's busy handler looks every 50 ms in the
/// first quarter of a second, so a waiting writer comes in at the first pause.
const PAUSE: Duration = Duration::from_millis(60);

/// Counts how long the lock was held since the last pause.
#[derive(Debug, Default)]
pub(super) struct Pace {
    held: Duration,
}

impl Pace {
    /// Notes a transaction that began at `begin` and has just ended; pauses if others waited long.
    pub(super) fn ended(&mut self, begin: Instant, more: bool) {
        self.held += begin.elapsed();
        if more && self.held >= HOLD / 2 {
            thread::sleep(PAUSE);
            self.held = Duration::ZERO;
        }
    }
}
