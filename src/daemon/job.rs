//! Jobs: what the schedule wants done, done on the instance.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use crate::daemon::beat::Beat;
use crate::daemon::event::{Outcome, Trouble};
use crate::daemon::gauges::Gauges;
use crate::daemon::log::{Log, Told};
use crate::daemon::target::Targets;
use crate::exchange::pace::Terms;
use crate::id::name::PeerName;
use crate::sync::code::Code;
use crate::sync::commit::{CommitSummary, Mode};
use crate::sync::error::Error;
use crate::sync::instance::{Instance, Purpose};
use crate::sync::round::{PullSummary, SyncSummary};
use crate::sys::clock;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Job {
    /// Exchange with remotes.
    Exchange {
        /// With whom.
        remotes: Vec<PeerName>,
        /// Whether earlier failures say nothing any more.
        afresh: bool,
    },
    /// Commit what the application changed.
    Look,
}

/// What came of a job.
#[derive(Debug, Default)]
pub struct Done {
    /// For the schedule.
    pub outcome: Outcome,
    /// With whom to exchange from now on, if that could be read.
    pub targets: Option<Targets>,
    /// What an exchange did.
    pub exchanged: Option<SyncSummary>,
    /// What the instance holds now, if that could be read.
    pub gauges: Option<Gauges>,
    /// What a look did.
    pub committed: Option<CommitSummary>,
}

/// Does a job on the instance in `root`, and tells what came of it.
pub fn perform(root: &Path, job: &Job, beat: &Beat, log: &Log) -> Done {
    let pulse = beat.clone();
    beat.worked();
    let opened = Instance::open(root, Purpose::Change, Box::new(move |_| pulse.worked()));
    let mut done = Done::default();
    match opened {
        Ok(mut instance) => {
            // Nobody waits behind the only one.
            let is_among_others = instance.state.remotes().is_ok_and(|remotes| remotes.len() > 1);
            instance.terms = is_among_others.then_some(Terms::AMONG_OTHERS);
            let result = match job {
                Job::Look => look(&instance, &mut done),
                Job::Exchange { remotes, afresh } => exchange(&instance, remotes, *afresh, &mut done),
            };
            if let Err(error) = result {
                done.outcome.stopped = Some(Trouble::of(&error));
            }
            done.targets = Targets::of(&instance).ok();
            done.gauges = Gauges::of(&instance).ok();
        }
        Err(error) => done.outcome.stopped = Some(Trouble::of(&error)),
    }
    beat.rested();
    tell(&done, log);
    done
}

fn look(instance: &Instance, done: &mut Done) -> Result<(), Error> {
    let committed = instance.commit(Mode::Keep)?;
    done.outcome.news = !committed.scopes.is_empty();
    done.committed = Some(committed);
    // Where nobody is pushed to, peers come for what lies sealed in our own store.
    if done.outcome.news && instance.push_targets(None).is_ok_and(|targets| targets.is_empty()) {
        instance.publish()?;
    }
    Ok(())
}

fn exchange(instance: &Instance, remotes: &[PeerName], afresh: bool, done: &mut Done) -> Result<(), Error> {
    if afresh {
        for remote in remotes {
            instance.state.put_failing(remote, None)?;
        }
    }
    let summary = match instance.sync(remotes) {
        Ok(summary) => summary,
        // A remote that shows that we lost our own history is one remote's matter to the others.
        Err(error @ Error::LostHistory { .. }) => {
            let Error::LostHistory { remote, .. } = &error else { unreachable!("it was matched just above") };
            let name = remotes.iter().find(|name| name.as_str() == remote.as_str()).cloned();
            let Some(name) = name else { return Err(error) };
            done.outcome.remotes.push((name, Err(Trouble::of(&error))));
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let pulls = || std::iter::once(&summary.pull).chain(&summary.again);
    let failed = pulls().flat_map(|pull| &pull.fetched.failed).chain(&summary.pushed.failed);
    let mut answered = BTreeSet::new();
    for (name, error) in failed {
        if answered.insert(name.clone()) {
            let trouble = Trouble { wait: left_alone(instance, name)?, ..Trouble::of(error) };
            done.outcome.remotes.push((name.clone(), Err(trouble)));
        }
    }
    for name in remotes.iter().filter(|name| !answered.contains(*name)) {
        let is_there = summary.pull.fetched.remotes.contains_key(name.as_str());
        let result = if is_there { Ok(()) } else { Err(away(name, left_alone(instance, name)?)) };
        done.outcome.remotes.push((name.clone(), result));
    }
    done.outcome.news = pulls().any(is_news);
    done.exchanged = Some(summary);
    Ok(())
}

fn is_news(pull: &PullSummary) -> bool {
    !pull.committed.scopes.is_empty() || !pull.merge.merged.is_empty()
}

/// Returns how long the queue leaves a remote alone.
fn left_alone(instance: &Instance, name: &PeerName) -> Result<Option<Duration>, Error> {
    let failing = instance.state.failing(name)?;
    Ok(failing.map(|failing| Duration::from_millis(failing.next.0.saturating_sub(clock::now().0))))
}

/// A peer that isn't there while others are.
fn away(name: &PeerName, wait: Option<Duration>) -> Trouble {
    let hint = Some("nothing has to be done while other peers are there".to_owned());
    Trouble { code: Code::Unreachable, text: format!("the store of {name} is not there"), hint, wait }
}

fn tell(done: &Done, log: &Log) {
    let committed = |summary: &CommitSummary| {
        let records = summary.scopes.values().map(|scope| scope.put + scope.removed).sum();
        if !summary.scopes.is_empty() {
            log(&Told::Committed { records });
        }
        for (dataset, rows) in &summary.kept_home {
            log(&Told::KeptHome { dataset: dataset.clone(), rows: *rows });
        }
    };
    done.committed.iter().for_each(committed);
    if let Some(summary) = &done.exchanged {
        for pull in std::iter::once(&summary.pull).chain(&summary.again) {
            committed(&pull.committed);
            for (remote, fetched) in &pull.fetched.remotes {
                for refusal in &fetched.refused {
                    let (document, reason) = (refusal.document.clone(), refusal.reason.clone());
                    log(&Told::Refused { remote: remote.clone(), document, reason });
                }
            }
            if pull.merge.applied.rows() > 0 {
                log(&Told::Applied { rows: pull.merge.applied.rows() });
            }
        }
        for (remote, fetched) in &summary.pull.fetched.remotes {
            let pushed = summary.pushed.remotes.get(remote);
            log(&Told::Exchanged {
                remote: remote.clone(),
                heads_fetched: fetched.heads.len() as u64,
                bytes_fetched: fetched.bytes,
                heads_pushed: pushed.map_or(0, |pushed| pushed.heads),
                bytes_pushed: pushed.map_or(0, |pushed| pushed.bytes),
            });
        }
        let last = summary.again.last().unwrap_or(&summary.pull);
        if !last.merge.conflicts.is_empty() && last.merge.applied.rows() > 0 {
            log(&Told::Conflicts { open: last.merge.conflicts.len() as u64 });
        }
    }
    for (remote, result) in &done.outcome.remotes {
        if let Err(trouble) = result {
            log(&Told::Failed { remote: remote.clone(), trouble: trouble.clone() });
        }
    }
    if let Some(trouble) = &done.outcome.stopped {
        log(&Told::Stopped { trouble: trouble.clone() });
    }
}
