//! The schedule: a state machine that hears what happened and says what to do now.
//!
//! It asks no clock and starts nothing: times come in with each call and actions go out, so a simulated day takes a
//! moment. At most one job is at work. What fails is tried again for ever, ever more seldom; nothing is tried more often
//! than the gaps in `remote` allow.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::daemon::chance::Chance;
use crate::daemon::event::{Action, Event, Outcome, Trouble};
use crate::daemon::remote::{GAP_MIN, Remote, SPREAD, WAIT_MIN};
use crate::daemon::target::Targets;
use crate::id::name::PeerName;
use crate::sync::backoff::Backoff;
use crate::sys::clock::Moment;

/// What is to be done, and when.
#[derive(Debug, Clone)]
pub struct Schedule {
    remotes: BTreeMap<PeerName, Remote>,
    look: Look,
    /// The remotes of the job at work; none for a look.
    at_work: Option<Vec<PeerName>>,
    here: Here,
    /// No remote that fails is tried before, while others may be.
    alone_from: Duration,
    last: Moment,
    /// When the last jump of the clock was answered, and when the next one will be.
    resumed: Option<Duration>,
    to_resume: Option<(Duration, i64)>,
    stop_by: Option<Duration>,
    chance: Chance,
}

/// When to look at the application's database.
#[derive(Debug, Clone, Copy)]
struct Look {
    every: Duration,
    due: Duration,
    started: Option<Duration>,
    /// How long the last job took: a look reads what a job begins with.
    took: Duration,
}

/// What is wrong here, whatever the remote.
#[derive(Debug, Clone, Default)]
pub struct Here {
    /// Failures in a row.
    pub failures: u32,
    /// The last one, if the last job failed as a whole.
    pub trouble: Option<Trouble>,
    /// No job begins before.
    pub rest_until: Duration,
}

impl Schedule {
    /// Begins with nobody to exchange with. `seed` spreads the waits.
    pub fn new(now: Moment, seed: u64) -> Self {
        Self {
            remotes: BTreeMap::new(),
            look: Look { every: TICK, due: now.running, started: None, took: Duration::ZERO },
            at_work: None,
            here: Here::default(),
            alone_from: Duration::ZERO,
            last: now,
            resumed: None,
            to_resume: None,
            stop_by: None,
            chance: Chance::new(seed),
        }
    }

    /// Takes note of what happened.
    pub fn take(&mut self, now: Moment, event: Event) {
        self.notice_jump(now);
        match event {
            Event::Targets(targets) => self.retarget(now.running, targets),
            Event::Ended(outcome) => self.end(now, outcome),
            Event::Polled(name, polled) => {
                if let Some(remote) = self.remotes.get_mut(&name) {
                    remote.answered(polled, now.running, &mut self.chance);
                }
            }
            Event::Noticed => self.look.notice(now.running),
            Event::TryNow => self.forgive(now.running),
            Event::Stop => {
                // Whoever asks twice means at once.
                let by = if self.stop_by.is_some() { now.running } else { now.running + STOP_WITHIN };
                self.stop_by = Some(by);
            }
        }
    }

    /// Returns what to do now. Whoever calls does it, and calls again after each event and after `wait`.
    pub fn actions(&mut self, now: Moment) -> Vec<Action> {
        self.notice_jump(now);
        let mut actions = Vec::new();
        if let Some((_, millis)) = self.to_resume.take_if(|(at, _)| *at <= now.running) {
            self.resumed = Some(now.running);
            self.forgive(now.running);
            actions.push(Action::Resumed(millis));
        }
        if let Some(by) = self.stop_by {
            if self.at_work.is_none() || now.running >= by {
                actions.push(Action::Exit);
            }
            return actions;
        }
        for (name, remote) in &mut self.remotes {
            if remote.asked_from().is_some_and(|from| from <= now.running) {
                remote.ask(now.running);
                actions.push(Action::Poll(name.clone()));
            }
        }
        if self.at_work.is_none() && self.here.rest_until <= now.running {
            actions.extend(self.job(now.running));
        }
        actions
    }

    /// Returns how long nothing will have to be done unless something happens: never longer than `TICK`, for a machine
    /// that wakes doesn't tell.
    pub fn wait(&self, now: Moment) -> Duration {
        let polls = self.remotes.values().filter_map(Remote::asked_from);
        let next = match self.stop_by {
            Some(by) => Some(by),
            None if self.at_work.is_some() => polls.min(),
            None => {
                let dues = self.active().map(|(_, remote)| self.begins(remote));
                dues.chain([self.look.ready().max(self.here.rest_until)]).chain(polls).min()
            }
        };
        let next = next.into_iter().chain(self.to_resume.map(|(at, _)| at)).min();
        let left = next.map_or(TICK, |next| next.saturating_sub(now.running));
        left.clamp(WAIT_SHORTEST, TICK)
    }

    /// Returns the remotes.
    pub fn remotes(&self) -> impl Iterator<Item = (&PeerName, &Remote)> {
        self.remotes.iter()
    }

    /// Returns when the next exchange with a remote may begin, if no job is at work then.
    pub fn begins(&self, remote: &Remote) -> Duration {
        let from = if remote.failures > 0 { self.alone_from } else { Duration::ZERO };
        remote.ready().max(self.here.rest_until).max(from)
    }

    /// Returns what is wrong here.
    pub fn here(&self) -> &Here {
        &self.here
    }

    /// Tells whether a job is at work.
    pub fn is_at_work(&self) -> bool {
        self.at_work.is_some()
    }

    /// Tells whether the program is to end.
    pub fn is_stopping(&self) -> bool {
        self.stop_by.is_some()
    }

    fn retarget(&mut self, now: Duration, targets: Targets) {
        if targets.look < self.look.every {
            self.look.due = self.look.due.min(now + targets.look);
        }
        self.look.every = targets.look;
        self.remotes.retain(|name, _| targets.list.iter().any(|target| target.name == *name));
        for target in targets.list {
            match self.remotes.get_mut(&target.name) {
                Some(remote) => remote.update(target, now),
                None => {
                    self.remotes.insert(target.name.clone(), Remote::new(target, now));
                }
            }
        }
    }

    /// Chooses the job that is to begin, if one is due: all that work at once, those that fail one by one and for a part of the
    /// time only, so that hubs that let us wait don't hold up the others.
    fn job(&mut self, now: Duration) -> Option<Action> {
        let due: Vec<(Duration, u32, PeerName)> = self
            .active()
            .filter(|(_, remote)| self.begins(remote) <= now)
            .map(|(name, remote)| (remote.due, remote.failures, name.clone()))
            .collect();
        let mut chosen: Vec<PeerName> =
            due.iter().filter(|(_, failures, _)| *failures == 0).map(|(_, _, name)| name.clone()).collect();
        if chosen.is_empty() {
            chosen.extend(due.into_iter().min().map(|(_, _, name)| name));
        }
        if chosen.is_empty() {
            let is_due = self.look.ready() <= now;
            return is_due.then(|| {
                self.begin(Vec::new(), now);
                Action::Look
            });
        }
        let mut afresh = false;
        for name in &chosen {
            let remote = self.remotes.get_mut(name).expect("it was chosen among them");
            afresh |= remote.afresh;
            remote.start(now);
        }
        self.begin(chosen.clone(), now);
        Some(Action::Exchange { remotes: chosen, afresh })
    }

    fn begin(&mut self, remotes: Vec<PeerName>, now: Duration) {
        // Each job begins with a look.
        self.look.started = Some(now);
        self.at_work = Some(remotes);
    }

    /// Returns the remotes that count now: those in reserve only while another one fails.
    fn active(&self) -> impl Iterator<Item = (&PeerName, &Remote)> {
        let needed = self.remotes.values().any(|remote| !remote.target.reserve && remote.failures > 0);
        self.remotes.iter().filter(move |(_, remote)| needed || !remote.target.reserve)
    }

    fn end(&mut self, now: Moment, outcome: Outcome) {
        let Some(job) = self.at_work.take() else { return };
        self.look.took = self.look.started.map_or(Duration::ZERO, |started| now.running.saturating_sub(started));
        if outcome.remotes.iter().any(|(_, result)| result.is_err()) {
            self.alone_from = now.running + self.look.took * ALONE_SHARE;
        }
        for (name, result) in outcome.remotes {
            if let Some(remote) = self.remotes.get_mut(&name) {
                remote.end(result, now, &mut self.chance);
            }
        }
        if outcome.news {
            let others = self.remotes.iter_mut().filter(|(name, remote)| remote.failures == 0 && !job.contains(name));
            for (_, remote) in others {
                remote.hurry(now.running, &mut self.chance);
            }
        }
        match outcome.stopped {
            None => {
                self.here = Here::default();
                self.look.due = now.running + self.chance.about(self.look.every);
            }
            Some(trouble) => {
                let failures = self.here.failures.saturating_add(1);
                let wait = Backoff::HERE.wait(failures, self.chance.draw()).max(WAIT_MIN);
                self.here = Here { failures, trouble: Some(trouble), rest_until: now.running + wait };
            }
        }
    }

    /// Notices that the machine slept, or that its clock was set: then everybody is asked again, and what failed before
    /// says little.
    fn notice_jump(&mut self, now: Moment) {
        let running = now.running.saturating_sub(self.last.running).as_millis();
        let wall = i128::from(now.wall.0) - i128::from(self.last.wall.0);
        let jump = wall - i128::try_from(running).unwrap_or(i128::MAX);
        self.last = now;
        if jump.unsigned_abs() < JUMP_MIN.as_millis() {
            return;
        }
        // A clock that jumps all the time must not keep us running.
        let at = now.running.max(self.resumed.map_or(Duration::ZERO, |at| at + RESUME_GAP_MIN));
        self.to_resume = Some((at, i64::try_from(jump).unwrap_or(i64::MAX)));
    }

    fn forgive(&mut self, now: Duration) {
        for remote in self.remotes.values_mut() {
            remote.forgive(now + self.chance.up_to(SPREAD));
        }
        self.here.rest_until = self.here.rest_until.min(now);
        self.alone_from = now;
        self.look.due = self.look.due.min(now);
    }
}

impl Look {
    /// Makes it due soon, though not so soon that an application which writes all the time keeps us looking all the time.
    fn notice(&mut self, now: Duration) {
        let rest = (self.took * LOOK_SHARE).max(LOOK_GAP_MIN);
        let from = self.started.map_or(Duration::ZERO, |started| started + rest);
        self.due = self.due.min(from.max(now + SPREAD / 2));
    }

    fn ready(&self) -> Duration {
        self.due.max(self.started.map_or(Duration::ZERO, |started| started + GAP_MIN))
    }
}

/// The longest time without looking at the clock.
pub const TICK: Duration = Duration::from_secs(20);
/// How long a job may go on after the program was asked to end.
pub const STOP_WITHIN: Duration = Duration::from_secs(20);
/// Clocks that disagree by less are only slewed.
const JUMP_MIN: Duration = Duration::from_secs(30);
/// Looks that somebody's writing caused begin at least so far apart.
const LOOK_GAP_MIN: Duration = Duration::from_secs(5);
/// And take one part in so many of the time.
const LOOK_SHARE: u32 = 10;
/// After a remote failed, for so many times as long as that took, only those that work are exchanged with.
const ALONE_SHARE: u32 = 3;
const RESUME_GAP_MIN: Duration = Duration::from_secs(60);
const WAIT_SHORTEST: Duration = Duration::from_millis(10);
