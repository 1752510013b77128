//! The worker: a thin loop that feeds the schedule with events and starts what it says.
//!
//! Threads: this loop, one that does the jobs, one for signals, one for systemd's watchdog, one that watches the
//! application's database, one for each hub that is asked for changes. Only the job at work changes anything, under the
//! lock of the instance that every command takes; between jobs other commands run as ever.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use sd_notify::NotifyState;

use crate::daemon::beat::{Beat, notify};
use crate::daemon::error::Error;
use crate::daemon::event::{Action, Event, Polled, Trouble};
use crate::daemon::gauges::Gauges;
use crate::daemon::job::{self, Done, Job};
use crate::daemon::lock::WorkerLock;
use crate::daemon::log::{Log, Told};
use crate::daemon::metrics::Metrics;
use crate::daemon::poll::Pollers;
use crate::daemon::probe::{self, Answer, Probe};
use crate::daemon::report::Report;
use crate::daemon::schedule::Schedule;
use crate::daemon::target::Targets;
use crate::daemon::watch::Watch;
use crate::sync;
use crate::sync::instance::{Instance, Purpose};
use crate::sync::progress::silent;
use crate::sys::clock::{self, UnixMillis};
use crate::sys::disk::{self, Access};
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
    watch: Watch,
    beat: Beat,
    listening: Option<String>,
    shown: Arc<Shown>,
    _lock: WorkerLock,
}

/// What a worker shows to others.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Where it answers probes.
    pub listen: Option<SocketAddr>,
    /// The file that it writes its metrics to after each job, for node_exporter.
    pub textfile: Option<PathBuf>,
}

/// What the probes see of the worker.
#[derive(Debug, Default)]
struct Shown {
    metrics: Metrics,
    /// Why it can't work at the moment, as a code.
    unready: Mutex<Option<&'static str>>,
}

/// Runs a worker for the instance in `root` until a signal ends it.
///
/// # Errors
/// `Running`; `Start`; what is wrong with the instance at the beginning. What goes wrong later is told, and tried again.
pub fn run(root: &Path, options: &Options, log: Log) -> Result<(), Error> {
    let (events, heard) = channel();
    let mut worker = Worker::start(root, options, log, events)?;
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
    fn start(root: &Path, options: &Options, log: Log, events: Sender<Event>) -> Result<Self, Error> {
        let instance = Instance::open(root, Purpose::Look, silent())?;
        let lock = WorkerLock::take(instance.dir())?;
        let (targets, now) = (Targets::of(&instance)?, clock::moment());
        let mut schedule = Schedule::new(now, u64::from_le_bytes(random::bytes()));
        let beat = Beat::start().map_err(Error::Start)?;
        // Whoever reads that it has started may tell it to end.
        listen(root, events.clone(), log.clone())?;
        log(&Told::Started { remotes: targets.list.len() as u64 });
        let is_watched = targets.watch;
        schedule.take(now, Event::Targets(targets));
        let shown = Arc::new(Shown::default());
        if let Ok(gauges) = Gauges::of(&instance) {
            shown.metrics.show(&gauges);
        }
        let listening = match options.listen {
            Some(address) => Some(format!("http://{}/", probe::start(address, answers(&shown, &beat))?)),
            None => None,
        };
        if let Some(url) = &listening {
            log(&Told::Listening { url: url.clone() });
        }
        let place = JobPlace { root: root.to_owned(), textfile: options.textfile.clone(), shown: Arc::clone(&shown) };
        let (jobs, doing) = worker_thread(place, &events, &beat, &log)?;
        let mut watch = Watch::new(root, events.clone());
        watch.set(is_watched).map_err(Error::Start)?;
        let pollers = Pollers::new(root, events.clone());
        let (dir, started) = (instance.dir().to_owned(), now.wall);
        let worker = Self {
            dir,
            log,
            schedule,
            started,
            events,
            jobs,
            doing,
            pollers,
            watch,
            beat,
            listening,
            shown,
            _lock: lock,
        };
        worker.report();
        notify(&[NotifyState::Ready]);
        Ok(worker)
    }

    fn take(&mut self, event: Event) {
        let is_quiet = matches!(event, Event::Polled(_, Polled::Quiet) | Event::Noticed);
        if let Event::Polled(remote, Polled::Changed) = &event {
            (self.log)(&Told::Heard { remote: remote.clone() });
        }
        if let Event::Targets(targets) = &event {
            // Without the thread, changes are found when it is time to look.
            let _ = self.watch.set(targets.watch);
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
        let report = Report::of(&self.schedule, clock::moment(), self.started, self.listening.clone());
        let _ = report.write(&self.dir);
        let here = self.schedule.here().trouble.as_ref().map(|trouble| trouble.code.as_str());
        let unready = if self.schedule.is_stopping() { Some("ending") } else { here };
        *self.shown.unready.lock().unwrap_or_else(PoisonError::into_inner) = unready;
    }

    fn end(self) {
        if self.schedule.is_at_work() {
            (self.log)(&Told::Abandoned);
        }
        drop(self.events);
    }
}

/// Returns what answers probes.
fn answers(shown: &Arc<Shown>, beat: &Beat) -> Answer {
    let (shown, beat) = (Arc::clone(shown), beat.clone());
    Arc::new(move |asked| match asked {
        Probe::Alive if beat.is_alive() => (true, "alive\n".into()),
        Probe::Alive => (false, "stuck\n".into()),
        Probe::Ready => match *shown.unready.lock().unwrap_or_else(PoisonError::into_inner) {
            None => (true, "ready\n".into()),
            Some(code) => (false, format!("{code}\n")),
        },
        Probe::Metrics => (true, shown.metrics.text()),
    })
}

/// Where jobs are done, and shown.
struct JobPlace {
    root: PathBuf,
    textfile: Option<PathBuf>,
    shown: Arc<Shown>,
}

impl JobPlace {
    fn show(&self, done: &Done, took: Duration) {
        self.shown.metrics.count(done, took);
        if let Some(gauges) = &done.gauges {
            self.shown.metrics.show(gauges);
        }
        if let Some(path) = &self.textfile {
            // Whoever reads it sees by its date that it isn't written any more.
            let _ = disk::replace(path, self.shown.metrics.text().as_bytes(), Access::Shared);
        }
    }
}

/// Starts the thread that does the jobs, one after the other.
fn worker_thread(
    place: JobPlace,
    events: &Sender<Event>,
    beat: &Beat,
    log: &Log,
) -> Result<(Sender<Job>, JoinHandle<()>), Error> {
    let (jobs, wanted) = channel::<Job>();
    let (events, beat, log) = (events.clone(), beat.clone(), log.clone());
    let work = move || {
        for wanted in wanted {
            let began = clock::moment().running;
            let done = job::perform(&place.root, &wanted, &beat, &log);
            place.show(&done, clock::moment().running.saturating_sub(began));
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

/// Finds the directory of an instance without opening it.
///
/// # Errors
/// `NotAnInstance`.
pub fn place_of(start: &Path) -> Result<PathBuf, sync::error::Error> {
    Instance::root_of(start)
}

/// Finds the instance that a worker is to run for.
///
/// # Errors
/// As `Instance::find`.
pub fn root_of(start: &Path) -> Result<PathBuf, sync::error::Error> {
    Ok(Instance::find(start, Purpose::Look, silent())?.root)
}
