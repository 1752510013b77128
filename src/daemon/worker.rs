//! The worker: a thin loop that feeds the schedule with events and starts what it says.
//!
//! Threads: this loop, one that does the jobs, one for signals, one for systemd's watchdog, one that watches the
//! application's database, one for each hub that is asked for changes. Only the job at work changes anything, under the
//! lock of the instance that every command takes; between jobs other commands run as ever.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};

use sd_notify::NotifyState;

use crate::daemon::beat::{Beat, notify};
use crate::daemon::error::Error;
use crate::daemon::event::{Action, Event, Polled, Trouble};
use crate::daemon::job::{self, Job};
use crate::daemon::lock::WorkerLock;
use crate::daemon::log::{Log, Told};
use crate::daemon::poll::Pollers;
use crate::daemon::report::Report;
use crate::daemon::schedule::Schedule;
use crate::daemon::target::Targets;
use crate::daemon::watch;
use crate::sync;
use crate::sync::instance::{Instance, Purpose};
use crate::sync::progress::silent;
use crate::sys::clock::{self, UnixMillis};
use crate::sys::random;
use crate::sys::signals::{self, Signal};

/// A worker for one instance.
struct Worker {
    dir: PathBuf,
    log: Log,
    schedule: Schedule,
    started: UnixMillis,
    events: Sender<Event>,
    jobs: Sender<Job>,
    doing: JoinHandle<()>,
    pollers: Pollers,
    beat: Beat,
    _lock: WorkerLock,
}

/// Runs a worker for the instance in `root` until a signal ends it.
///
/// # Errors
/// `Running`; `Start`; what is wrong with the instance at the beginning. What goes wrong later is told, and tried again.
pub fn run(root: &Path, log: Log) -> Result<(), Error> {
    let (events, heard) = channel();
    let mut worker = Worker::start(root, log, events)?;
    loop {
        for action in worker.schedule.actions(clock::moment()) {
            if !worker.perform(action)? {
                worker.end();
                return Ok(());
            }
        }
        match heard.recv_timeout(worker.schedule.wait(clock::moment())) {
            Ok(event) => worker.take(event),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => unreachable!("the worker holds a sender itself"),
        }
        worker.beat.looped();
        if worker.doing.is_finished() {
            return Err(Error::Broken);
        }
    }
}

impl Worker {
    fn start(root: &Path, log: Log, events: Sender<Event>) -> Result<Self, Error> {
        let instance = Instance::open(root, Purpose::Look, silent())?;
        let lock = WorkerLock::take(instance.dir())?;
        let (targets, now) = (Targets::of(&instance)?, clock::moment());
        let mut schedule = Schedule::new(now, u64::from_le_bytes(random::bytes()));
        log(&Told::Started { remotes: targets.list.len() as u64 });
        schedule.take(now, Event::Targets(targets));
        let beat = Beat::start().map_err(Error::Start)?;
        listen(root, events.clone(), log.clone())?;
        let (jobs, doing) = worker_thread(root, &events, &beat, &log)?;
        if instance.config.run.watches() {
            watch::start(root, events.clone()).map_err(Error::Start)?;
        }
        let pollers = Pollers::new(root, events.clone());
        let (dir, started) = (instance.dir().to_owned(), now.wall);
        let worker = Self { dir, log, schedule, started, events, jobs, doing, pollers, beat, _lock: lock };
        worker.report();
        notify(&[NotifyState::Ready]);
        Ok(worker)
    }

    fn take(&mut self, event: Event) {
        let is_quiet = matches!(event, Event::Polled(_, Polled::Quiet) | Event::Noticed);
        if let Event::Polled(remote, Polled::Changed) = &event {
            (self.log)(&Told::Heard { remote: remote.clone() });
        }
        if matches!(event, Event::Stop) && !self.schedule.is_stopping() {
            (self.log)(&Told::Ending);
            notify(&[NotifyState::Stopping]);
        }
        self.schedule.take(clock::moment(), event);
        if !is_quiet {
            let schedule = &self.schedule;
            self.pollers.keep(|name| schedule.remotes().any(|(known, remote)| known == name && remote.target.polls));
            self.report();
        }
    }

    /// Starts what is to be done; false if that is to end.
    fn perform(&mut self, action: Action) -> Result<bool, Error> {
        match action {
            Action::Exit => return Ok(false),
            Action::Exchange { remotes, afresh } => self.begin(Job::Exchange { remotes, afresh })?,
            Action::Look => self.begin(Job::Look)?,
            Action::Poll(name) => self.pollers.ask(&name).map_err(Error::Start)?,
            Action::Resumed(millis) => {
                (self.log)(&Told::Resumed { millis });
                self.report();
            }
        }
        Ok(true)
    }

    fn begin(&self, job: Job) -> Result<(), Error> {
        self.jobs.send(job).map_err(|_| Error::Broken)
    }

    fn report(&self) {
        // Without it `status` tells less, and the work goes on.
        let _ = Report::of(&self.schedule, clock::moment(), self.started, None).write(&self.dir);
    }

    fn end(self) {
        if self.schedule.is_at_work() {
            (self.log)(&Told::Abandoned);
        }
        drop(self.events);
    }
}

/// Starts the thread that does the jobs, one after the other.
fn worker_thread(
    root: &Path,
    events: &Sender<Event>,
    beat: &Beat,
    log: &Log,
) -> Result<(Sender<Job>, JoinHandle<()>), Error> {
    let (jobs, wanted) = channel::<Job>();
    let (root, events, beat, log) = (root.to_owned(), events.clone(), beat.clone(), log.clone());
    let work = move || {
        for wanted in wanted {
            let done = job::perform(&root, &wanted, &beat, &log);
            let targets = done.targets.map(Event::Targets);
            for event in [Some(Event::Ended(done.outcome)), targets].into_iter().flatten() {
                if events.send(event).is_err() {
                    return;
                }
            }
        }
    };
    let doing = thread::Builder::new().name("job".into()).spawn(work).map_err(Error::Start)?;
    Ok((jobs, doing))
}

/// Begins to listen for signals.
fn listen(root: &Path, events: Sender<Event>, log: Log) -> Result<(), Error> {
    let root = root.to_owned();
    let take = move |signal| {
        let heard = match signal {
            Signal::End => vec![Event::Stop],
            Signal::Reload => reload(&root, &log),
        };
        for event in heard {
            // Nobody listens only when the program has ended.
            let _ = events.send(event);
        }
    };
    signals::listen(take).map_err(Error::Start)
}

/// Reads the configuration again.
fn reload(root: &Path, log: &Log) -> Vec<Event> {
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        notify(&[NotifyState::Reloading, now]);
    }
    let read = Instance::open(root, Purpose::Look, silent()).and_then(|instance| Targets::of(&instance));
    let heard = match read {
        Ok(targets) => {
            log(&Told::Reloaded);
            vec![Event::Targets(targets), Event::TryNow]
        }
        Err(error) => {
            log(&Told::NotReloaded { trouble: Trouble::of(&error) });
            vec![Event::TryNow]
        }
    };
    notify(&[NotifyState::Ready]);
    heard
}

/// Finds the instance that a worker is to run for.
///
/// # Errors
/// As `Instance::find`.
pub fn root_of(start: &Path) -> Result<PathBuf, sync::error::Error> {
    Ok(Instance::find(start, Purpose::Look, silent())?.root)
}
