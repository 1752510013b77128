//! Installs and removes the triggers that note what changes, and says how they stand.

use std::thread;
use std::time::{Duration, Instant};

use super::connector::SqlConnector;
use super::session::{Meaning, Session, SqlError, Step, Transaction};
use super::{outbox, watch};
use crate::connector::capturing::{TriggerChange, Triggers, TriggersOf};
use crate::connector::error::Error;

/// How long we try to get a table's lock, and how long we let its writers go on in between.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(100);

impl SqlConnector {
    /// See `Connector::triggers`.
    pub(super) fn trigger_state(&self) -> Result<Triggers, Error> {
        let read = || -> Result<Triggers, SqlError> {
            let standings = self.session.triggers(&watch::watched(&self.plans))?;
            let tables = self.plans.list.iter().zip(standings).map(|(plan, standing)| TriggersOf {
                table: plan.spec.table.clone(),
                faults: standing.faults,
                uncovered: standing.uncovered,
            });
            let noted = if self.session.has_outbox()? { outbox::count(self.session(), i64::MAX)? } else { 0 };
            Ok(Triggers {
                mode: self.capturing,
                installed: !self.session.plan_uninstall()?.is_empty(),
                tables: tables.collect(),
                noted: noted.unsigned_abs(),
            })
        };
        read().map_err(|source| self.failed("look at the triggers", source))
    }

    /// Plans a change of the triggers.
    pub(super) fn trigger_steps(&self, change: TriggerChange) -> Result<Vec<Step>, SqlError> {
        match change {
            TriggerChange::Install => self.session.plan_install(&watch::watched(&self.plans)),
            TriggerChange::Uninstall => self.session.plan_uninstall(),
        }
    }

    /// See `Connector::change_triggers`.
    pub(super) fn run_trigger_steps(&self, change: TriggerChange) -> Result<Vec<String>, Error> {
        let doing = match change {
            TriggerChange::Install => "install the triggers",
            TriggerChange::Uninstall => "remove the triggers",
        };
        if change == TriggerChange::Install {
            self.books(doing)?;
        }
        let failed = |source| self.failed(doing, source);
        let run = run_steps(self.session(), self.trigger_steps(change).map_err(failed)?).map_err(failed)?;
        self.session.reload();
        Ok(run)
    }
}

/// Runs steps, each in a transaction of its own; returns their statements.
pub(super) fn run_steps(conn: &dyn Session, steps: Vec<Step>) -> Result<Vec<String>, SqlError> {
    let mut run = Vec::new();
    for step in steps {
        let begin = Instant::now();
        loop {
            match run_step(conn, &step) {
                Ok(()) => break,
                // Nobody is kept waiting behind us for long.
                Err(error) if error.meaning() == Meaning::Contended && begin.elapsed() < PATIENCE => {
                    thread::sleep(PAUSE);
                }
                Err(error) => return Err(error),
            }
        }
        run.extend(step.statements);
    }
    Ok(run)
}

fn run_step(conn: &dyn Session, step: &Step) -> Result<(), SqlError> {
    let transaction = Transaction::begin(conn)?;
    for statement in &step.statements {
        conn.execute(statement, &[])?;
    }
    transaction.commit()
}
