//! The worker's pulse: systemd's watchdog hears it only while the loop turns and the job at work gets on.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use sd_notify::NotifyState;

use crate::sys::clock;

/// When the parts of the worker last showed that they live, in milliseconds of the clock that only runs forward.
#[derive(Debug, Clone, Default)]
pub struct Beat {
    looped: Arc<AtomicU64>,
    /// `None` while no job is at work.
    worked: Arc<Mutex<Option<u64>>>,
}

impl Beat {
    /// Begins to tell systemd, if it wants to know.
    ///
    /// # Errors
    /// The thread can't be started.
    pub fn start() -> io::Result<Self> {
        let beat = Self::default();
        beat.looped();
        if let Some(patience) = sd_notify::watchdog_enabled() {
            let pulse = beat.clone();
            let tell = move || loop {
                if pulse.is_alive(millis_now()) {
                    notify(&[NotifyState::Watchdog]);
                }
                thread::sleep(patience / 3);
            };
            thread::Builder::new().name("watchdog".into()).spawn(tell)?;
        }
        Ok(beat)
    }

    /// The loop turned.
    pub fn looped(&self) {
        self.looped.store(millis_now(), Ordering::Relaxed);
    }

    /// The job at work got on.
    pub fn worked(&self) {
        *self.work() = Some(millis_now());
    }

    /// No job is at work any more.
    pub fn rested(&self) {
        *self.work() = None;
    }

    fn is_alive(&self, now: u64) -> bool {
        let loops = now.saturating_sub(self.looped.load(Ordering::Relaxed)) <= LOOP_MAX_MILLIS;
        let works = self.work().is_none_or(|worked| now.saturating_sub(worked) <= WORK_MAX_MILLIS);
        loops && works
    }

    fn work(&self) -> std::sync::MutexGuard<'_, Option<u64>> {
        self.worked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells systemd, if it is there to be told.
pub fn notify(state: &[NotifyState<'_>]) {
    // Whoever started us may have gone.
    let _ = sd_notify::notify(state);
}

fn millis_now() -> u64 {
    u64::try_from(clock::moment().running.as_millis()).unwrap_or(u64::MAX)
}

/// The loop turns at least every `schedule::TICK`.
const LOOP_MAX_MILLIS: u64 = 120_000;
/// The largest object takes less at 40 KB a second, and a stuck connection is given up long before.
const WORK_MAX_MILLIS: u64 = Duration::from_secs(1800).as_millis() as u64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pulse_stops_when_the_loop_or_the_job_does() {
        let beat = Beat::default();
        beat.looped();
        let now = millis_now();
        assert!(beat.is_alive(now + LOOP_MAX_MILLIS / 2));
        assert!(!beat.is_alive(now + LOOP_MAX_MILLIS + 10_000));
        beat.worked();
        beat.looped.store(now + WORK_MAX_MILLIS + 10_000, Ordering::Relaxed);
        assert!(!beat.is_alive(now + WORK_MAX_MILLIS + 10_000));
        beat.rested();
        assert!(beat.is_alive(now + WORK_MAX_MILLIS + 10_000));
    }
}
