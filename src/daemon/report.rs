//! The worker's report: a small file beside the state that tells other commands what it does and when it goes on.
//!
//! Written anew whenever something in it changes. It counts only while the worker's lock is held: a worker that was killed
//! leaves its last one.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::daemon::event::Trouble;
use crate::daemon::schedule::Schedule;
use crate::sys::clock::{Moment, UnixMillis};
use crate::sys::disk::{self, Access};

/// What the worker tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Its process.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// Since when it runs.
    pub started: String,
    /// When it wrote this.
    pub updated: String,
    /// Where it answers `/healthz`, `/readyz` and `/metrics`.
    pub listening: Option<String>,
    /// What is wrong here, whatever the remote.
    pub here: Option<Stopped>,
    /// The remotes that it exchanges with.
    pub remotes: Vec<RemoteReport>,
}

/// What keeps every exchange from being made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    /// How often in a row.
    pub failures: u32,
    /// When it tries again.
    pub next: String,
    /// What is wrong.
    pub error: Wrong,
}

/// How it stands with one remote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteReport {
    /// Its name.
    pub name: String,
    /// When the next exchange begins at the latest; `None` for one in reserve.
    pub next: Option<String>,
    /// The last exchange that went well, in this run.
    pub succeeded: Option<String>,
    /// Failures in a row.
    pub failures: u32,
    /// The last failure, if the last exchange was one.
    pub error: Option<Wrong>,
}

/// An error, in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wrong {
    /// Its stable word.
    pub code: String,
    /// The error with its causes.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Report {
    /// Reads what the schedule says now.
    pub fn of(schedule: &Schedule, now: Moment, started: UnixMillis, listening: Option<String>) -> Self {
        let at = |running: std::time::Duration| {
            let left = u64::try_from(running.saturating_sub(now.running).as_millis()).unwrap_or(u64::MAX);
            UnixMillis(now.wall.0.saturating_add(left)).to_string()
        };
        let here = schedule.here();
        let needed = schedule.remotes().any(|(_, remote)| !remote.target.reserve && remote.failures > 0);
        let remotes = schedule.remotes().map(|(name, remote)| RemoteReport {
            name: name.to_string(),
            next: (needed || !remote.target.reserve).then(|| at(schedule.begins(remote))),
            succeeded: remote.succeeded.map(|time| time.to_string()),
            failures: remote.failures,
            error: remote.trouble.as_ref().map(Wrong::of),
        });
        Self {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").into(),
            started: started.to_string(),
            updated: now.wall.to_string(),
            listening,
            here: here.trouble.as_ref().map(|trouble| Stopped {
                failures: here.failures,
                next: at(here.rest_until),
                error: Wrong::of(trouble),
            }),
            remotes: remotes.collect(),
        }
    }

    /// Writes it into the directory of the instance's own files, also onto a disk that is full: there over the last one, which
    /// left room for that.
    pub fn write(&self, dir: &Path) -> bool {
        let path = dir.join(FILE);
        let bytes = serde_json::to_vec(self).expect("a report has text keys");
        let mut whole = bytes.clone();
        whole.resize((bytes.len() + SPARE_BYTES).next_multiple_of(SPARE_BYTES), b' ');
        disk::replace(&path, &whole, Access::Shared).or_else(|_| disk::overwrite(&path, &bytes)).is_ok()
    }

    /// Reads the last one; `None` if there is none that this version understands.
    pub fn read(dir: &Path) -> Option<Self> {
        let bytes = disk::read_bounded(&dir.join(FILE), BYTES_MAX).ok()??;
        serde_json::from_slice(&bytes).ok()
    }
}

impl Wrong {
    fn of(trouble: &Trouble) -> Self {
        Self { code: trouble.code.as_str().into(), message: trouble.text.clone(), hint: trouble.hint.clone() }
    }
}

const FILE: &str = "worker.json";
/// More than the words of a failure; and file systems give room in such pieces.
const SPARE_BYTES: usize = 4096;
const BYTES_MAX: u64 = 16 << 20;
