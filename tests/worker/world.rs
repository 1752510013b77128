//! A simulated world around the schedule: remotes that come and go, a database that is locked, a machine that sleeps, a
//! clock that jumps. What really happens is written down, and after every step compared with what the worker reports.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use wbsync::daemon::chance::Chance;
use wbsync::daemon::event::{Action, Event, Outcome, Polled, Trouble};
use wbsync::daemon::remote::{GAP_MIN, POLL_GAP_MIN};
use wbsync::daemon::report::Report;
use wbsync::daemon::schedule::{Schedule, TICK};
use wbsync::daemon::target::{Target, Targets};
use wbsync::id::name::PeerName;
use wbsync::sync::backoff::Backoff;
use wbsync::sync::code::Code;
use wbsync::sys::clock::{Moment, UnixMillis};

pub const INTERVAL: Duration = Duration::from_secs(300);
pub const LOOK: Duration = Duration::from_secs(60);

/// What goes wrong, and when it changes.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    /// The chance of a change in each step of ten seconds, in thousandths; 0 is a calm day.
    pub storm: u64,
}

/// A remote as it really is.
#[derive(Debug, Default)]
struct Place {
    is_up: bool,
    /// Whether it takes connections and says nothing, while it isn't up.
    hangs: bool,
    /// What it holds, and what of that we have.
    theirs: u64,
    fetched: u64,
    /// What of ours it has.
    pushed: u64,
    /// What the queue in the local state remembers: failures in a row, and the time until which it is left alone.
    failing: Option<(u32, UnixMillis)>,
    /// Since the last success, or since everything was begun afresh.
    failures: u32,
    last_failed: bool,
    succeeded: Option<UnixMillis>,
    tried: Option<Duration>,
    asked: Option<Duration>,
    polled: u64,
    waiting_poll: Option<Duration>,
    pub attempts: u64,
}

/// What is to happen at some time of the clock that only runs forward.
#[derive(Debug)]
enum Due {
    JobEnds,
    PollEnds(PeerName),
}

pub struct World {
    pub now: Moment,
    pub schedule: Schedule,
    places: BTreeMap<PeerName, Place>,
    weather: Weather,
    chance: Chance,
    pub is_locked: bool,
    pub disk_full: bool,
    ours: u64,
    committed: u64,
    job: Option<Vec<PeerName>>,
    afresh: BTreeSet<PeerName>,
    here_failed: bool,
    due: Vec<(Duration, Due)>,
    next_weather: Duration,
    pub wakes: u64,
    pub jobs: u64,
    pub resumes: u64,
    /// How long jobs took in which a remote hung.
    pub hung: Duration,
    pub exited: bool,
    began: Moment,
}

impl World {
    pub fn new(seed: u64, weather: Weather) -> Self {
        let now = Moment { running: Duration::from_secs(5), wall: UnixMillis(1_790_000_000_000) };
        let mut schedule = Schedule::new(now, seed);
        let mut places = BTreeMap::new();
        for name in ["hub", "office", "stick"] {
            places.insert(PeerName::new(name).unwrap(), Place { is_up: true, theirs: 1, ..Place::default() });
        }
        let chance = Chance::new(seed ^ 0x5eed);
        let mut world = Self {
            now,
            places,
            weather,
            chance,
            is_locked: false,
            disk_full: false,
            ours: 1,
            committed: 0,
            job: None,
            afresh: BTreeSet::new(),
            here_failed: false,
            due: Vec::new(),
            next_weather: now.running,
            wakes: 0,
            jobs: 0,
            resumes: 0,
            hung: Duration::ZERO,
            exited: false,
            began: now,
            schedule: schedule.clone(),
        };
        schedule.take(now, Event::Targets(world.targets()));
        world.schedule = schedule;
        world
    }

    /// Lets time pass until the machine has run for so long from now on.
    pub fn live(&mut self, long: Duration) {
        let until = self.now.running + long;
        while self.now.running < until && !self.exited {
            self.step(until);
        }
    }

    pub fn calm(&mut self) {
        self.weather.storm = 0;
        (self.is_locked, self.disk_full) = (false, false);
        self.places.values_mut().for_each(|place| place.is_up = true);
    }

    pub fn take_down(&mut self, name: &str) {
        self.places.get_mut(name_of(name)).unwrap().is_up = false;
    }

    /// A hub takes connections and says nothing.
    pub fn hang(&mut self, name: &str) {
        let place = self.places.get_mut(name_of(name)).unwrap();
        (place.is_up, place.hangs) = (false, true);
    }

    /// The machine sleeps: the wall clock goes on, the other doesn't.
    pub fn sleep(&mut self, long: Duration) {
        self.set_clock(i64::try_from(long.as_millis()).unwrap());
    }

    pub fn set_clock(&mut self, millis: i64) {
        self.now.wall = UnixMillis(self.now.wall.0.checked_add_signed(millis).unwrap());
    }

    /// The application writes.
    pub fn edit(&mut self) {
        self.ours += 1;
        self.schedule.take(self.now, Event::Noticed);
    }

    /// Somebody pushes to a remote.
    pub fn change(&mut self, name: &str) {
        self.places.get_mut(name_of(name)).unwrap().theirs += 1;
        self.wake_polls();
    }

    pub fn stop(&mut self) {
        self.schedule.take(self.now, Event::Stop);
    }

    pub fn is_synced(&self) -> bool {
        self.committed == self.ours
            && self.places.values().all(|place| place.fetched == place.theirs && place.pushed == self.ours)
    }

    pub fn is_synced_with(&self, name: &str) -> bool {
        let place = &self.places[name_of(name)];
        place.fetched == place.theirs && place.pushed == self.ours
    }

    pub fn attempts(&self, name: &str) -> u64 {
        self.places[name_of(name)].attempts
    }

    pub fn ran(&self) -> Duration {
        self.now.running - self.began.running
    }

    pub fn report(&self) -> Report {
        Report::of(&self.schedule, self.now, self.began.wall, None)
    }

    fn step(&mut self, until: Duration) {
        self.wakes += 1;
        for action in self.schedule.actions(self.now) {
            self.perform(action);
        }
        self.check();
        let mut next = (self.now.running + self.schedule.wait(self.now)).min(until);
        if let Some((time, _)) = self.due.iter().min_by_key(|(time, _)| *time) {
            next = next.min(*time);
        }
        next = next.min(self.next_weather.max(self.now.running));
        let passed = next - self.now.running;
        assert!(passed <= TICK + Duration::from_secs(1), "it looks at the clock often enough to notice a sleep");
        self.now.running = next;
        self.now.wall = UnixMillis(self.now.wall.0 + passed.as_millis() as u64);
        if self.now.running >= self.next_weather {
            self.next_weather = self.now.running + Duration::from_secs(10);
            self.turn_weather();
        }
        while let Some(at) = self.due.iter().position(|(time, _)| *time <= self.now.running) {
            match self.due.swap_remove(at).1 {
                Due::JobEnds => self.end_job(),
                Due::PollEnds(name) => self.end_poll(&name),
            }
        }
    }

    fn turn_weather(&mut self) {
        let storm = self.weather.storm;
        if storm == 0 {
            return;
        }
        let mut happens = |thousandths: u64| self.chance.draw() % 1000 < thousandths;
        let flips: Vec<bool> = (0..self.places.len()).map(|_| happens(storm)).collect();
        let (lock, disk, sleep, clock) = (happens(storm), happens(storm / 2), happens(storm / 4), happens(storm / 4));
        let (edit, change) = (happens(100), happens(100));
        for (place, flip) in self.places.values_mut().zip(flips) {
            place.is_up ^= flip;
        }
        self.is_locked ^= lock;
        self.disk_full ^= disk;
        if sleep {
            let long = self.chance.up_to(Duration::from_secs(8 * 3600));
            self.sleep(long);
        }
        if clock {
            let hours = i64::try_from(self.chance.draw() % 96).unwrap() - 48;
            self.set_clock(hours * 3_600_000);
        }
        if edit {
            self.edit();
        }
        if change {
            let names: Vec<String> = self.places.keys().map(ToString::to_string).collect();
            let name = names[(self.chance.draw() % 3) as usize].clone();
            self.change(&name);
        }
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Exit => self.exited = true,
            Action::Resumed(_) => {
                self.resumes += 1;
                // Whatever failed before counts no more; what is at work is judged when it ends.
                for place in self.places.values_mut() {
                    place.failures = 0;
                }
            }
            Action::Look => self.begin(Vec::new()),
            Action::Exchange { remotes, afresh } => {
                assert!(!remotes.is_empty());
                for name in &remotes {
                    let place = self.places.get_mut(name).unwrap();
                    if let Some(tried) = place.tried {
                        assert!(self.now.running >= tried + GAP_MIN, "{name} is tried without a pause");
                    }
                    (place.tried, place.attempts) = (Some(self.now.running), place.attempts + 1);
                    if afresh {
                        place.failing = None;
                        self.afresh.insert(name.clone());
                    }
                }
                self.begin(remotes);
            }
            Action::Poll(name) => {
                let now = self.now.running;
                let place = self.places.get_mut(&name).unwrap();
                assert!(place.waiting_poll.is_none(), "{name} is asked twice at once");
                if let Some(asked) = place.asked {
                    assert!(now >= asked + POLL_GAP_MIN, "{name} is asked without a pause");
                }
                place.asked = Some(now);
                // A hub with too many who wait answers at once, now and then for a long time.
                let answers_at_once = (now.as_secs() / 1800) % 7 == 3;
                let long = match place.is_up {
                    true if place.theirs > place.polled || answers_at_once => Duration::from_millis(20),
                    true => Duration::from_secs(50),
                    false => self.chance.up_to(Duration::from_secs(15)),
                };
                self.places.get_mut(&name).unwrap().waiting_poll = Some(now + long);
                self.due.push((now + long, Due::PollEnds(name)));
            }
        }
    }

    fn begin(&mut self, remotes: Vec<PeerName>) {
        assert!(self.job.is_none(), "two jobs are at work at once");
        self.jobs += 1;
        let is_slow = remotes.iter().any(|name| !self.places[name].is_up);
        let hanging = remotes.iter().filter(|name| self.places[*name].hangs && !self.places[*name].is_up).count();
        let most = Duration::from_secs(if is_slow { 15 } else { 3 });
        let hung = Duration::from_secs(120) * u32::try_from(hanging).unwrap();
        self.hung += hung;
        let long = Duration::from_millis(50) + self.chance.up_to(most) + hung;
        self.job = Some(remotes);
        self.due.push((self.now.running + long, Due::JobEnds));
    }

    fn end_job(&mut self) {
        let remotes = self.job.take().expect("a job ends");
        let mut outcome = Outcome::default();
        if self.is_locked || self.disk_full {
            let code = if self.is_locked { Code::DatabaseLocked } else { Code::State };
            outcome.stopped = Some(trouble(code, None));
            self.here_failed = true;
        } else {
            self.here_failed = false;
            outcome.news = self.committed < self.ours;
            self.committed = self.ours;
            for name in remotes {
                let wall = self.now.wall;
                let chance = self.chance.draw();
                let place = self.places.get_mut(&name).unwrap();
                let result = if place.is_up {
                    outcome.news |= place.fetched < place.theirs;
                    (place.fetched, place.pushed) = (place.theirs, self.ours);
                    (place.failing, place.failures, place.last_failed) = (None, 0, false);
                    place.succeeded = Some(wall);
                    Ok(())
                } else {
                    let failures = place.failing.map_or(0, |(failures, _)| failures) + 1;
                    let wait = Backoff::REMOTE.wait(failures, chance);
                    place.failing = Some((failures, UnixMillis(wall.0 + wait.as_millis() as u64)));
                    (place.failures, place.last_failed) = (place.failures + 1, true);
                    Err(trouble(Code::Unreachable, Some(wait)))
                };
                outcome.remotes.push((name, result));
            }
        }
        self.schedule.take(self.now, Event::Ended(outcome));
        // As after a real job; what a jump of the clock made of the queue's times must do no harm.
        let targets = self.targets();
        self.schedule.take(self.now, Event::Targets(targets));
    }

    fn end_poll(&mut self, name: &PeerName) {
        let now = self.now;
        let place = self.places.get_mut(name).unwrap();
        place.waiting_poll = None;
        let polled = match place.is_up {
            false => Polled::Failed,
            true if place.theirs > place.polled => Polled::Changed,
            true => Polled::Quiet,
        };
        if place.is_up {
            place.polled = place.theirs;
        }
        self.schedule.take(now, Event::Polled(name.clone(), polled));
    }

    /// Whoever waits for a change that just came is answered at once.
    fn wake_polls(&mut self) {
        let now = self.now.running;
        for (time, due) in &mut self.due {
            if let Due::PollEnds(name) = due
                && self.places[name].is_up
                && self.places[name].theirs > self.places[name].polled
            {
                *time = now;
            }
        }
    }

    fn targets(&self) -> Targets {
        let list = self.places.iter().map(|(name, place)| Target {
            name: name.clone(),
            interval: INTERVAL,
            polls: name.as_str() != "stick",
            reserve: false,
            failing: place
                .failing
                .map(|(failures, next)| (failures, Duration::from_millis(next.0.saturating_sub(self.now.wall.0)))),
        });
        Targets { list: list.collect(), look: LOOK, watch: true }
    }

    /// What the worker tells is what happened, and nothing is given up.
    fn check(&mut self) {
        let report = self.report();
        let says_stopped = report.here.is_some();
        assert_eq!(says_stopped, self.here_failed, "whether something is wrong here");
        for told in &report.remotes {
            let place = &self.places[name_of(&told.name)];
            assert_eq!(told.error.is_some(), place.last_failed, "whether {} failed last", told.name);
            assert_eq!(
                told.succeeded,
                place.succeeded.map(|time| time.to_string()),
                "when {} was last well",
                told.name
            );
            assert_eq!(told.failures, place.failures, "how often {} failed", told.name);
        }
        for (name, remote) in self.schedule.remotes() {
            let left = remote.ready().saturating_sub(self.now.running);
            assert!(left <= Backoff::REMOTE.longest() + INTERVAL, "{name} is given up");
        }
    }
}

/// Tells whether every promise of a next try was kept, by looking at them for a while.
pub fn keeps_its_word(world: &mut World, long: Duration) {
    let until = world.now.running + long;
    while world.now.running < until {
        if world.schedule.is_at_work() {
            world.live(Duration::from_secs(1));
            continue;
        }
        let promised: Vec<(PeerName, Duration, u64)> = world
            .schedule
            .remotes()
            .map(|(name, remote)| (name.clone(), world.schedule.begins(remote), 0))
            .map(|(name, due, _)| (name.clone(), due, world.places[&name].attempts))
            .collect();
        let latest = promised.iter().map(|(_, due, _)| *due).max().unwrap();
        // One job may be at work, and one for each remote that fails comes before.
        let patience = Duration::from_secs(20 * 4);
        let left = latest.saturating_sub(world.now.running) + patience;
        world.live(left);
        for (name, _, before) in promised {
            assert!(world.places[&name].attempts > before, "{name} was not tried when it was said");
        }
    }
}

fn trouble(code: Code, wait: Option<Duration>) -> Trouble {
    Trouble { code, text: "the weather".into(), hint: None, wait }
}

/// Names of the places, as keys to look them up by.
fn name_of(name: &str) -> &'static PeerName {
    static NAMES: std::sync::OnceLock<Vec<PeerName>> = std::sync::OnceLock::new();
    let names = NAMES.get_or_init(|| ["hub", "office", "stick"].map(|name| PeerName::new(name).unwrap()).into());
    names.iter().find(|known| known.as_str() == name).expect("a known place")
}
