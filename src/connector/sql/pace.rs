//! How long we may hold the application's write lock, and how we let others in.

use std::thread;
use std::time::{Duration, Instant};

/// The longest that the lock is held, in one write transaction or several, before others get a turn.
pub(super) const HOLD: Duration = Duration::from_millis(150);
/// What is worth beginning a transaction for that ends in time.
pub(super) const LEAST: Duration = Duration::from_millis(15);
/// The turn of others. SQLite's busy handler looks every 50 ms in the first quarter of a second, so a waiting writer comes in
/// at the first pause.
const PAUSE: Duration = Duration::from_millis(60);

/// Counts how long the lock was held since the last pause.
#[derive(Debug, Default)]
pub(super) struct Pace {
    held: Duration,
    ended: Option<Instant>,
}

impl Pace {
    /// Lets others in before the next transaction, unless that may last for `least`; returns how long it may. Whatever was done
    /// since the last one ended is a part of the pause.
    pub(super) fn room(&mut self, least: Duration) -> Duration {
        if let Some(ended) = self.ended.take_if(|_| self.held + least > HOLD) {
            thread::sleep(PAUSE.saturating_sub(ended.elapsed()));
            self.held = Duration::ZERO;
        }
        HOLD.saturating_sub(self.held)
    }

    /// Notes a transaction that began at `begin` and has just ended.
    pub(super) fn ended(&mut self, begin: Instant) {
        self.held += begin.elapsed();
        self.ended = Some(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_get_their_turn_before_the_lock_was_held_too_long() {
        // The last transaction ended long ago: nothing is left of the pause.
        let held = |millis| Pace { held: Duration::from_millis(millis), ended: Instant::now().checked_sub(PAUSE) };
        assert_eq!(Pace::default().room(HOLD), HOLD);
        assert_eq!(held(100).room(LEAST), Duration::from_millis(50));
        assert_eq!(held(140).room(LEAST), HOLD, "it isn't worth while to begin for 10 ms");
        assert_eq!(held(80).room(HOLD / 2), HOLD, "one that doesn't end when it should might last too long");
        let mut pace = held(1000);
        assert_eq!((pace.room(LEAST), pace.held, pace.ended), (HOLD, Duration::ZERO, None));
    }
}
