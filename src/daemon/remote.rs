//! One remote in the schedule: when it is due, how it fails, whether it is being asked.

use std::time::Duration;

use crate::daemon::chance::Chance;
use crate::daemon::event::{Polled, Trouble};
use crate::daemon::target::Target;
use crate::sync::backoff::Backoff;
use crate::sys::clock::{Moment, UnixMillis};

/// A remote in the schedule. Times are of the clock that only runs forward.
#[derive(Debug, Clone)]
pub struct Remote {
    /// What the configuration says.
    pub target: Target,
    /// When to exchange next.
    pub due: Duration,
    /// Failures in a row.
    pub failures: u32,
    /// The last failure, if the last exchange was one.
    pub trouble: Option<Trouble>,
    /// The last exchange that went well, in this run.
    pub succeeded: Option<UnixMillis>,
    /// Whether earlier failures say nothing any more.
    pub afresh: bool,
    started: Option<Duration>,
    /// Whether something changed there since the exchange at work began.
    changed: bool,
    asking: Asking,
    asked: Option<Duration>,
    poll_failures: u32,
}

/// Whether a remote is being asked for changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asking {
    /// Not before this time.
    From(Duration),
    /// It is, and has not answered yet.
    Waiting,
}

impl Remote {
    /// Takes a remote into the schedule: due at once, or when it may be tried again.
    pub fn new(target: Target, now: Duration) -> Self {
        let (failures, wait) = target.failing.unwrap_or_default();
        Self {
            due: now + wait.min(Backoff::REMOTE.longest()),
            failures,
            trouble: None,
            succeeded: None,
            afresh: false,
            started: None,
            changed: false,
            asking: Asking::From(now),
            asked: None,
            poll_failures: 0,
            target,
        }
    }

    /// Takes what the configuration and the state say now.
    pub fn update(&mut self, target: Target, now: Duration) {
        // Somebody exchanged by hand, and it went well.
        let healed = self.failures > 0
            && target.failing.is_none()
            && self.trouble.as_ref().is_none_or(|trouble| trouble.wait.is_some());
        if healed {
            (self.failures, self.trouble) = (0, None);
        }
        if healed || target.interval < self.target.interval {
            self.due = self.due.min(now + target.interval);
        }
        self.target = target;
    }

    /// Tells when an exchange may begin.
    pub fn ready(&self) -> Duration {
        self.due.max(self.started.map_or(Duration::ZERO, |started| started + GAP_MIN))
    }

    /// Begins an exchange.
    pub fn start(&mut self, now: Duration) {
        (self.started, self.changed) = (Some(now), false);
    }

    /// Takes what came of an exchange.
    pub fn end(&mut self, result: Result<(), Trouble>, now: Moment, chance: &mut Chance) {
        self.afresh = false;
        match result {
            Ok(()) => {
                (self.failures, self.trouble, self.succeeded) = (0, None, Some(now.wall));
                self.due = now.running + chance.about(self.target.interval);
                if self.changed {
                    self.hurry(now.running, chance);
                }
            }
            Err(trouble) => {
                self.failures = self.failures.saturating_add(1);
                let wait = trouble.wait.unwrap_or_else(|| Backoff::REMOTE.wait(self.failures, chance.draw()));
                self.due = now.running + wait.clamp(WAIT_MIN, Backoff::REMOTE.longest());
                self.trouble = Some(trouble);
            }
        }
    }

    /// Makes it due soon: at any time within a little while, so that many who heard the same don't come at once.
    pub fn hurry(&mut self, now: Duration, chance: &mut Chance) {
        self.due = self.due.min(now + chance.up_to(SPREAD));
        self.changed = true;
    }

    /// Forgets failures: the world is another one since.
    pub fn forgive(&mut self, due: Duration) {
        (self.failures, self.poll_failures, self.afresh) = (0, 0, true);
        self.due = self.due.min(due);
        if let Asking::From(time) = &mut self.asking {
            *time = (*time).min(due);
        }
    }

    /// Tells when to ask it for changes; `None` if it is being asked, or can't be.
    pub fn asked_from(&self) -> Option<Duration> {
        match self.asking {
            // A hub with too many who wait answers at once.
            Asking::From(time) if self.target.polls => {
                Some(time.max(self.asked.map_or(Duration::ZERO, |asked| asked + POLL_GAP_MIN)))
            }
            _ => None,
        }
    }

    /// Begins to ask.
    pub fn ask(&mut self, now: Duration) {
        (self.asking, self.asked) = (Asking::Waiting, Some(now));
    }

    /// Takes the answer.
    pub fn answered(&mut self, polled: Polled, now: Duration, chance: &mut Chance) {
        if self.asking != Asking::Waiting {
            return;
        }
        let mut next = now;
        match polled {
            Polled::Failed => {
                self.poll_failures = self.poll_failures.saturating_add(1);
                next = now + Backoff::POLL.wait(self.poll_failures, chance.draw()).max(WAIT_MIN);
            }
            Polled::Changed | Polled::Quiet => {
                let is_back = self.poll_failures > 0 && self.failures > 0;
                self.poll_failures = 0;
                if polled == Polled::Changed || is_back {
                    self.hurry(now, chance);
                }
            }
        }
        self.asking = Asking::From(next);
    }
}

/// Exchanges with one remote begin at least so far apart.
pub const GAP_MIN: Duration = Duration::from_secs(2);
/// Questions for changes begin at least so far apart.
pub const POLL_GAP_MIN: Duration = Duration::from_secs(2);
/// What failed is left alone for at least so long.
pub const WAIT_MIN: Duration = Duration::from_secs(1);
/// What is due soon is due within this.
pub const SPREAD: Duration = Duration::from_secs(2);
