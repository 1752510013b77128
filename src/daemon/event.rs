//! What the scheduler hears, and what it wants done.

use std::time::Duration;

use crate::daemon::target::Targets;
use crate::id::name::PeerName;
use crate::sync::code::Code;
use crate::sync::error::Error;
use crate::sync::status::explain;

/// Something happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// With whom to exchange, at the beginning and whenever it was looked up again.
    Targets(Targets),
    /// The job at work ended.
    Ended(Outcome),
    /// A remote answered whether something changed there.
    Polled(PeerName, Polled),
    /// The application's database changed.
    Noticed,
    /// Everything is to be tried now.
    TryNow,
    /// The program is to end.
    Stop,
}

/// Something to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Exchange with these; at most one job is at work at a time. The next event about it is `Ended`.
    Exchange {
        /// With whom.
        remotes: Vec<PeerName>,
        /// Whether earlier failures say nothing any more, as after a sleep.
        afresh: bool,
    },
    /// Commit what the application changed. The next event about it is `Ended`.
    Look,
    /// Ask a remote whether something changed there. The next event about it is `Polled`.
    Poll(PeerName),
    /// Say that the machine slept, or its clock was set, by so many milliseconds.
    Resumed(i64),
    /// End the program; whatever is still at work is abandoned, which every step of it survives.
    Exit,
}

/// What came of a job.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// What came of each remote.
    pub remotes: Vec<(PeerName, Result<(), Trouble>)>,
    /// Whether something was committed or merged that other remotes may lack.
    pub news: bool,
    /// What stopped the job as a whole: something that is wrong here.
    pub stopped: Option<Trouble>,
}

/// What a remote answered when it was asked whether something changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Polled {
    /// Something did.
    Changed,
    /// Nothing did.
    Quiet,
    /// There was no answer.
    Failed,
}

/// An error, as it is reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// Its stable word.
    pub code: Code,
    /// The error with its causes.
    pub text: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// How long the remote is left alone, if that was decided already.
    pub wait: Option<Duration>,
}

impl Trouble {
    /// Takes the words of an error.
    pub fn of(error: &Error) -> Self {
        Self { code: error.code(), text: explain(error), hint: error.hint(), wait: None }
    }
}
