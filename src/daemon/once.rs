//! One round without a worker, for timers: what a worker would do now, once.

use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::daemon::beat::Beat;
use crate::daemon::chance::Chance;
use crate::daemon::error::Error;
use crate::daemon::event::Trouble;
use crate::daemon::job::{Done, Job, perform};
use crate::daemon::lock::WorkerLock;
use crate::daemon::log::Log;
use crate::daemon::target::Targets;
use crate::id::name::PeerName;
use crate::sync::backoff::Backoff;
use crate::sync::code::Code;
use crate::sync::instance::{Instance, Purpose};
use crate::sync::progress::silent;
use crate::sys::{clock, random};

/// How to do the round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Whether remotes that failed are tried before their time has come.
    pub all: bool,
    /// How long to wait for another command that is at work.
    pub patience: Duration,
}

/// What a round did.
#[derive(Debug)]
pub struct Round {
    /// The remotes whose time had come.
    pub tried: Vec<PeerName>,
    /// Those that failed before and are left alone for so long.
    pub later: Vec<(PeerName, Duration)>,
    /// What came of it.
    pub done: Done,
}

impl Round {
    /// Returns what went wrong, the worst for a script first: what is wrong here, then the first remote that failed.
    pub fn trouble(&self) -> Option<&Trouble> {
        let failed = self.done.outcome.remotes.iter().find_map(|(_, result)| result.as_ref().err());
        self.done.outcome.stopped.as_ref().or(failed)
    }
}

/// Does a round for the instance in `root`.
///
/// # Errors
/// `Running` if a worker does all that already; what is wrong with the instance. What goes wrong later is in the round.
pub fn run(root: &Path, options: Options, log: &Log) -> Result<Round, Error> {
    let instance = Instance::open(root, Purpose::Look, silent())?;
    let _lock = WorkerLock::take(instance.dir())?;
    let targets = Targets::of(&instance)?;
    drop(instance);
    let (mut tried, mut later) = (Vec::new(), Vec::new());
    for target in targets.list.into_iter().filter(|target| !target.reserve) {
        match target.failing.filter(|(_, left)| !options.all && !left.is_zero() && *left <= Backoff::REMOTE.longest()) {
            Some((_, left)) => later.push((target.name, left)),
            None => tried.push(target.name),
        }
    }
    let job = match tried.is_empty() {
        true => Job::Look,
        false => Job::Exchange { remotes: tried.clone(), afresh: false },
    };
    let (began, mut chance) = (clock::moment().running, Chance::new(u64::from_le_bytes(random::bytes())));
    let beat = Beat::default();
    let done = loop {
        let done = perform(root, &job, &beat, log);
        let is_busy = done.outcome.stopped.as_ref().is_some_and(|trouble| trouble.code == Code::Busy);
        if !is_busy || clock::moment().running.saturating_sub(began) >= options.patience {
            break done;
        }
        thread::sleep(AGAIN_MIN + chance.up_to(AGAIN_MIN));
    };
    Ok(Round { tried, later, done })
}

const AGAIN_MIN: Duration = Duration::from_millis(250);
