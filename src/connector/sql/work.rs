//! What a capture has to read: everything, or only what triggers noted.

use std::time::{Duration, Instant};

use super::books::Books;
use super::capture::{Extent, Stop, Work};
use super::connector::SqlConnector;
use super::outbox;
use super::session::{Session, SqlError, Standing};
use super::shape::Odd;
use super::touched::Noted;
use super::watch;
use crate::connector::capturing::Capturing;
use crate::connector::contract::{Capture, Sighting, SinkError};
use crate::connector::error::Error;
use crate::sys::clock::UnixMillis;

/// The most notes of triggers for which a rollback-journal database is held while they are worked off.
const FEW_NOTES: i64 = 5_000;

impl SqlConnector {
    /// Opens the snapshot that a capture reads, and finds out what of it has to be looked at.
    pub(super) fn work(&self, doing: &'static str, books: &Books, extent: Extent) -> Result<Work, Error> {
        let is_restoring = self.context.restoring;
        let read = || -> Result<Work, SqlError> {
            let has_outbox = self.session.has_outbox()?;
            let by_triggers = self.capturing == Capturing::Triggers && extent == Extent::Changed;
            if has_outbox && by_triggers && outbox::count(self.session(), FEW_NOTES + 1)? <= FEW_NOTES {
                let snapshot = self.session.brief_snapshot()?;
                let noted = Noted::read(snapshot.session.as_ref(), &self.plans, books)?;
                if !noted.watch.whole.contains(&true) && !noted.notes.whole.contains(&true) {
                    let (noted, unwatched) = (Some(noted), Vec::new());
                    return Ok(Work { snapshot, noted, is_part: true, is_restoring, unwatched });
                }
            }
            let snapshot = self.session.snapshot()?;
            let mut unwatched = Vec::new();
            if !has_outbox {
                if by_triggers {
                    unwatched.extend(self.plans.list.iter().map(|plan| plan.spec.table.clone()));
                }
                return Ok(Work { snapshot, noted: None, is_part: false, is_restoring, unwatched });
            }
            let noted = Noted::read(snapshot.session.as_ref(), &self.plans, books)?;
            if by_triggers {
                unwatched.clone_from(&noted.watch.unwatched);
            }
            let is_part = by_triggers && noted.watch.whole.contains(&false);
            Ok(Work { snapshot, noted: Some(noted), is_part, is_restoring, unwatched })
        };
        read().map_err(|source| self.failed(doing, source))
    }

    fn odd(&self, dataset: usize, odd: Odd) -> Error {
        let (dataset, table) = (&self.plans.list[dataset].name, &self.plans.list[dataset].spec.table);
        match odd {
            Odd::Elsewhere => Error::OtherTable { dataset: dataset.clone(), table: table.clone() },
            Odd::Reborn(rows) => Error::Reborn { dataset: dataset.clone(), rows },
        }
    }

    /// Reads what there is to read.
    pub(super) fn read_rows(
        &self,
        doing: &'static str,
        books: &Books,
        writer: Option<&dyn Session>,
        work: Work,
        what: (UnixMillis, Extent),
        sink: &mut dyn FnMut(Sighting) -> Result<(), SinkError>,
    ) -> Result<Capture, Error> {
        super::capture::run(&self.plans, books, writer, work, what, &mut |sighting| sink(sighting)).map_err(|stop| {
            match stop {
                Stop::Sql(source) => self.failed(doing, source),
                Stop::Sink(source) => Error::Sink(source),
                Stop::Odd(dataset, odd) => self.odd(dataset, odd),
            }
        })
    }

    /// See `Connector::wait_for_change`. Where triggers stand as they should, what they don't note is no change.
    pub(super) fn wait_for_more(&self, at_most: Duration) -> Result<bool, Error> {
        let begin = Instant::now();
        let wait = || -> Result<bool, SqlError> {
            loop {
                if !self.session.wait(at_most.saturating_sub(begin.elapsed()))? {
                    return Ok(false);
                }
                if self.capturing != Capturing::Triggers
                    || !self.session.has_outbox()?
                    || outbox::count(self.session(), 1)? > 0
                    || self.session.triggers(&watch::watched(&self.plans))?.iter().any(Standing::is_blind)
                {
                    return Ok(true);
                }
            }
        };
        wait().map_err(|source| self.failed("wait for changes", source))
    }
}
