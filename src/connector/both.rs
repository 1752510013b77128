//! A database and directories at once: each dataset has its own connector, and all have one position.
//!
//! What changes the position is done to the database first and to the directories then. A crash between the two is
//! found by comparing their positions, and whoever goes on ends it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::applied::{Applied, Newcomer, Parked};
use super::capturing::{TriggerChange, Triggers};
use super::catalogue::DatabaseSizes;
use super::column::Column;
use super::contract::{Base, Capture, Change, Connector, Dropped, Position, Rows, Sighting, SinkError, Surveyed};
use super::error::Error;
use super::files::connector::FilesConnector;
use super::said::Said;
use super::standing::{Blemish, Standing};
use super::twin::Twin;
use crate::id::name::{DatasetName, ScopeName};
use crate::record::recordid::RecordId;
use crate::record::schema::Schema;
use crate::scope::audience::{Audience, Reason};
use crate::scope::fields::LeastScopes;
use crate::sys::clock::UnixMillis;

/// A database and directories.
pub struct Both {
    tables: Box<dyn Connector>,
    files: FilesConnector,
}

/// How long one side is watched before the other is looked at.
const TURN: Duration = Duration::from_secs(5);

/// How a capture is read.
type Read =
    fn(&mut dyn Connector, UnixMillis, &mut dyn FnMut(Sighting) -> Result<(), SinkError>) -> Result<Capture, Error>;

impl Both {
    /// Joins the two; their datasets differ.
    pub fn new(tables: Box<dyn Connector>, files: FilesConnector) -> Self {
        Self { tables, files }
    }

    fn of(&mut self, dataset: &DatasetName) -> &mut dyn Connector {
        if self.files.has(dataset) { &mut self.files } else { self.tables.as_mut() }
    }

    fn read(
        &mut self,
        read: Read,
        now: UnixMillis,
        sink: &mut dyn FnMut(Sighting) -> Result<(), SinkError>,
    ) -> Result<Capture, Error> {
        let has_target = self.tables.position()?.target.is_some();
        let mut capture = read(self.tables.as_mut(), now, sink)?;
        // An apply that is finished in the database is finished, even if the directories don't know yet.
        let files = read(&mut self.files, now, &mut |sighting| {
            let base = if has_target { sighting.base } else { Base::Applied };
            sink(Sighting { base, ..sighting })
        })?;
        capture.rows += files.rows;
        capture.reported += files.reported;
        capture.private.extend(files.private);
        capture.is_part |= files.is_part;
        capture.heirs.add(files.heirs);
        Ok(capture)
    }
}

impl Connector for Both {
    fn datasets(&self) -> Vec<DatasetName> {
        let mut datasets = self.tables.datasets();
        datasets.extend(self.files.datasets());
        datasets
    }

    fn schema(&self, scope: &ScopeName) -> Schema {
        let mut schema = self.tables.schema(scope);
        schema.fields.extend(self.files.schema(scope).fields);
        schema
    }

    fn least_scopes(&self) -> LeastScopes {
        // Fields of files have no scopes of their own.
        self.tables.least_scopes()
    }

    fn columns(&self) -> Vec<Column> {
        let mut columns = self.tables.columns();
        columns.extend(self.files.columns());
        columns
    }

    fn check(&mut self) -> Result<(), Error> {
        self.tables.check()?;
        self.files.check()
    }

    fn check_ready(&mut self) -> Result<(), Error> {
        self.tables.check_ready()?;
        self.files.check_ready()
    }

    fn position(&mut self) -> Result<Position, Error> {
        self.tables.position()
    }

    fn capture(
        &mut self,
        now: UnixMillis,
        sink: &mut dyn FnMut(Sighting) -> Result<(), SinkError>,
    ) -> Result<Capture, Error> {
        self.catch_up()?;
        self.read(|connector, now, sink| connector.capture(now, sink), now, sink)
    }

    fn compare(
        &mut self,
        now: UnixMillis,
        sink: &mut dyn FnMut(Sighting) -> Result<(), SinkError>,
    ) -> Result<Capture, Error> {
        self.catch_up()?;
        self.read(|connector, now, sink| connector.compare(now, sink), now, sink)
    }

    fn peek(
        &mut self,
        now: UnixMillis,
        sink: &mut dyn FnMut(Sighting) -> Result<(), SinkError>,
    ) -> Result<Capture, Error> {
        self.read(|connector, now, sink| connector.peek(now, sink), now, sink)
    }

    fn adopt(&mut self, records: &mut dyn Iterator<Item = Result<Change, SinkError>>) -> Result<Vec<RecordId>, Error> {
        let mut files = Vec::new();
        let known = &self.files;
        let mut rows = records.filter_map(|record| match record {
            Ok(change) if known.has(&change.id.dataset) => {
                files.push(Ok(change));
                None
            }
            other => Some(other),
        });
        let mut adopted = self.tables.adopt(&mut rows)?;
        adopted.extend(self.files.adopt(&mut files.into_iter())?);
        Ok(adopted)
    }

    fn keep_home(&mut self, ids: &[RecordId]) -> Result<(), Error> {
        let (files, rows): (Vec<_>, Vec<_>) = ids.iter().cloned().partition(|id| self.files.has(&id.dataset));
        self.tables.keep_home(&rows)?;
        self.files.keep_home(&files)
    }

    fn settle(&mut self, capture: &Capture, position: &Position) -> Result<(), Error> {
        // A capture that the database has settled may be new to the directories.
        let rows = self.tables.settle(capture, position);
        let is_late = matches!(&rows, Err(Error::StaleCapture { number, wanted }) if *wanted == number + 1);
        if rows.is_ok() || is_late {
            self.files.settle_with(capture.number, position)?;
        }
        rows
    }

    fn audiences(&mut self, ids: &[RecordId]) -> Result<Vec<Option<Audience>>, Error> {
        let mut found = Vec::with_capacity(ids.len());
        for ids in ids.chunk_by(|a, b| a.dataset == b.dataset) {
            found.extend(self.of(&ids[0].dataset).audiences(ids)?);
        }
        Ok(found)
    }

    fn survey(&mut self, rows: &Rows, sink: &mut dyn FnMut(Surveyed) -> Result<(), SinkError>) -> Result<(), Error> {
        match rows {
            Rows::Own(Some(dataset))
            | Rows::Key(dataset, _)
            | Rows::Record(Some(dataset), _)
            | Rows::Where(dataset, _) => self.of(&dataset.clone()).survey(rows, sink),
            Rows::Own(None) | Rows::Record(None, _) => {
                self.tables.survey(rows, sink)?;
                self.files.survey(rows, sink)
            }
        }
    }

    fn mark(&mut self, dataset: &DatasetName, keys: &[String], audience: &str) -> Result<u64, Error> {
        self.of(dataset).mark(dataset, keys, audience)
    }

    fn set_default(&mut self, dataset: &DatasetName, audience: Option<&str>) -> Result<(), Error> {
        self.of(dataset).set_default(dataset, audience)
    }

    fn said(&mut self, of: Option<(&DatasetName, &[String])>) -> Result<Said, Error> {
        let mut said = self.tables.said(of)?;
        let files = self.files.said(of)?;
        said.rows.extend(files.rows);
        said.defaults.extend(files.defaults);
        Ok(said)
    }

    fn say_again(&mut self) -> Result<u64, Error> {
        Ok(self.tables.say_again()? + self.files.say_again()?)
    }

    fn hold(&mut self, held: super::alone::AloneRows) {
        self.tables.hold(held);
    }

    fn begin_apply(&mut self, target: &[u8]) -> Result<(), Error> {
        self.catch_up()?;
        self.tables.begin_apply(target)?;
        self.files.begin_apply(target)
    }

    fn apply(
        &mut self,
        changes: &mut dyn Iterator<Item = Result<Change, SinkError>>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Applied, Error> {
        // Datasets come in the order of `datasets`, and for deletions in the other; neither's rows refer to the
        // other's, so that each side may take its own as they come.
        let mut applied = Applied::default();
        let mut changes = changes.peekable();
        loop {
            let is_file = match changes.peek() {
                None => break,
                Some(Err(_)) => false,
                Some(Ok(change)) => self.files.has(&change.id.dataset),
            };
            let known = self.files.names();
            let belongs = |change: &Result<Change, SinkError>| {
                change.as_ref().map_or(!is_file, |change| known.contains(&change.id.dataset) == is_file)
            };
            let mut run = std::iter::from_fn(|| changes.next_if(belongs));
            let done = match is_file {
                true => self.files.apply(&mut run, progress)?,
                false => self.tables.apply(&mut run, progress)?,
            };
            applied.add(done);
        }
        // What waits in either is tried again even if nothing came.
        applied.add(self.tables.apply(&mut std::iter::empty(), progress)?);
        applied.add(self.files.apply(&mut std::iter::empty(), progress)?);
        Ok(applied)
    }

    fn newcomers(&mut self) -> Result<Vec<Newcomer>, Error> {
        let mut newcomers = self.tables.newcomers()?;
        newcomers.extend(self.files.newcomers()?);
        Ok(newcomers)
    }

    fn caught_up(&mut self, datasets: &[DatasetName]) -> Result<(), Error> {
        self.tables.caught_up(datasets)?;
        self.files.caught_up(datasets)
    }

    fn foreign(&mut self, dataset: &DatasetName) -> Result<Vec<RecordId>, Error> {
        self.of(dataset).foreign(dataset)
    }

    fn wants(&mut self) -> Result<Vec<RecordId>, Error> {
        let mut wants = self.tables.wants()?;
        wants.extend(self.files.wants()?);
        Ok(wants)
    }

    fn drop_rows(&mut self, dropped: &Dropped, progress: &mut dyn FnMut(u64)) -> Result<Applied, Error> {
        let files = self.files.datasets();
        let (of_tables, of_files) = match dropped {
            Dropped::Origin(_) | Dropped::Record(_) => (dropped.clone(), dropped.clone()),
            Dropped::Unused(records) => {
                let (of_files, of_tables) = records.iter().cloned().partition(|id| files.contains(&id.dataset));
                (Dropped::Unused(of_tables), Dropped::Unused(of_files))
            }
        };
        let mut applied = self.tables.drop_rows(&of_tables, progress)?;
        applied.add(self.files.drop_rows(&of_files, progress)?);
        Ok(applied)
    }

    fn count_rows(&mut self, dropped: &Dropped) -> Result<BTreeMap<DatasetName, u64>, Error> {
        let mut counts = self.tables.count_rows(dropped)?;
        counts.extend(self.files.count_rows(dropped)?);
        Ok(counts)
    }

    fn sizes(&mut self) -> Result<DatabaseSizes, Error> {
        let (tables, files) = (self.tables.sizes()?, self.files.sizes()?);
        Ok(DatabaseSizes { books: tables.books + files.books, whole: tables.whole + files.whole })
    }

    fn finish_apply(&mut self) -> Result<(), Error> {
        self.tables.finish_apply()?;
        self.files.finish_apply()
    }

    fn wait_for_change(&mut self, at_most: Duration) -> Result<bool, Error> {
        let begin = Instant::now();
        loop {
            // Turn by turn; the first that is asked notices what the other's turn kept from it.
            if self.files.wait_for_change(Duration::ZERO)? {
                return Ok(true);
            }
            let left = at_most.saturating_sub(begin.elapsed());
            if self.tables.wait_for_change(left.min(TURN))? {
                return Ok(true);
            }
            if left.is_zero() {
                return Ok(false);
            }
        }
    }

    fn triggers(&mut self) -> Result<Triggers, Error> {
        self.tables.triggers()
    }

    fn plan_triggers(&mut self, change: TriggerChange) -> Result<Vec<String>, Error> {
        self.tables.plan_triggers(change)
    }

    fn change_triggers(&mut self, change: TriggerChange) -> Result<Vec<String>, Error> {
        self.tables.change_triggers(change)
    }

    fn private(&mut self) -> Result<BTreeMap<(DatasetName, Reason), u64>, Error> {
        let mut private = self.tables.private()?;
        private.extend(self.files.private()?);
        Ok(private)
    }

    fn twins(&mut self) -> Result<Vec<Twin>, Error> {
        self.files.twins()
    }

    fn give_way(&mut self, twins: &[Twin]) -> Result<(), Error> {
        self.files.give_way(twins)
    }

    fn parked(&mut self, limit: usize) -> Result<(Vec<Parked>, u64), Error> {
        let (mut parked, rows) = self.tables.parked(limit)?;
        let (more, files) = self.files.parked(limit)?;
        parked.extend(more);
        parked.truncate(limit);
        Ok((parked, rows + files))
    }

    fn placeholders(&mut self) -> Result<BTreeMap<DatasetName, u64>, Error> {
        self.tables.placeholders()
    }

    fn locate(&mut self, id: &RecordId) -> Result<Option<String>, Error> {
        self.of(&id.dataset).locate(id)
    }

    fn examine(&mut self, see: &mut dyn FnMut(RecordId, Standing)) -> Result<Vec<Blemish>, Error> {
        let mut blemishes = self.tables.examine(see)?;
        blemishes.extend(self.files.examine(see)?);
        Ok(blemishes)
    }
}

impl Both {
    /// Ends what a crash left between the two.
    fn catch_up(&mut self) -> Result<(), Error> {
        let (rows, files) = (self.tables.position()?, self.files.position()?);
        if files.target.is_some() && rows.target.is_none() && files.target.as_ref() == Some(&rows.applied) {
            self.files.finish_apply()?;
        }
        Ok(())
    }
}
