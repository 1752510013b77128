//! The connector for directories: what the contract promises, over a table for each directory.
//!
//! The table (`shadow`) is to the connector for databases what an application's table is: it gives records their ids,
//! knows whose they are and for whom they are meant, and what was settled. This file puts a step before and a step
//! behind: `scan` takes in what changed on the disk before a capture, `checkout` writes it after an apply. Contents
//! are translated on the way, and their pieces are records of a dataset of their own (`pieces`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::ground::Ground;
use super::list::Found;
use super::pieces::{self, Pieces};
use super::report::{DATA, LAYOUT, Report, column};
use super::scan::Scan;
use super::section::{self, Sections, TURN, pieces_of};
use super::shadow::Shadow;
use super::source::Sources;
use super::watch::{Watch, picture};
use crate::connector::applied::{Applied, Newcomer, Parked};
use crate::connector::catalogue::DatabaseSizes;
use crate::connector::column::Column;
use crate::connector::contract::{
    Capture, Change, Connector, Context, Dropped, Position, Rows, Sighting, SinkError, Surveyed,
};
use crate::connector::error::{Error, OPEN_DIRECTORY};
use crate::connector::mapping::model::Mapping;
use crate::connector::said::Said;
use crate::connector::sql::connector::SqlConnector;
use crate::connector::sqlite;
use crate::connector::sqlite::options::Options;
use crate::connector::standing::{Blemish, Standing};
use crate::connector::twin::Twin;
use crate::id::name::{DatasetName, ScopeName};
use crate::record::fieldtype::{FieldType, Kind};
use crate::record::recordid::RecordId;
use crate::record::schema::Schema;
use crate::scope::audience::{Audience, Reason};
use crate::scope::fields::LeastScopes;
use crate::sys::beneath::Beneath;
use crate::sys::clock::{self, UnixMillis};
use crate::sys::disk::TEMPORARY_PREFIX;

/// The name of the bookkeeping's file.
pub const FILE: &str = "files.db";
/// The most pieces that are asked for at once.
const WANTS_MAX: usize = 256;

/// Where everything is.
#[derive(Debug, Clone)]
pub struct Place {
    /// What the directories are relative to.
    pub root: PathBuf,
    /// The instance's own directory, for the bookkeeping and temporary files.
    pub own: PathBuf,
    /// The file of the application's database, if it is one.
    pub database: Option<PathBuf>,
}

/// What a capture reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    Changed,
    Every,
}

/// Directories as datasets.
#[derive(Debug)]
pub struct FilesConnector {
    pub(super) inner: SqlConnector,
    pub(super) shadow: Shadow,
    pub(super) sections: Sections,
    mapping: Mapping,
    pub(super) context: Context,
    place: Place,
    /// By dataset, the directories that are there.
    pub(super) places: BTreeMap<String, Beneath>,
    /// The pieces that were wanted and not here after the last apply.
    lacking: BTreeMap<DatasetName, BTreeSet<[u8; 32]>>,
    watch: Watch,
}

impl FilesConnector {
    /// Opens the bookkeeping of these directories, making it if it isn't there.
    ///
    /// # Errors
    /// The sections contradict themselves; the bookkeeping can't be read or written.
    pub fn open(mut sections: Sections, place: Place, context: Context) -> Result<Self, Error> {
        let hide = |database| sections.values_mut().for_each(|section| section.hide(&place.root, database));
        place.database.as_deref().into_iter().for_each(hide);
        let path = place.own.join(FILE);
        Self::open_at(&path, sections, place, context)
    }

    fn open_at(path: &Path, sections: Sections, place: Place, context: Context) -> Result<Self, Error> {
        let mapping = section::mapping(&sections, section::Extent::Everything)?;
        let tables = section::mapping(&sections, section::Extent::Tables)?;
        let shadow = Shadow::open(path, &sections)?;
        let inner = sqlite::open(Options::new(path, &place.root, &place.own), tables, context.clone())?;
        let (places, lacking, watch) = Default::default();
        Ok(Self { inner, shadow, sections, mapping, context, place, places, lacking, watch })
    }

    /// Tells whether a dataset is one of these directories'.
    pub fn has(&self, dataset: &DatasetName) -> bool {
        self.sections.contains_key(dataset) || self.files_of(dataset).is_some()
    }

    /// Returns the names of all datasets.
    pub fn names(&self) -> BTreeSet<DatasetName> {
        self.datasets().into_iter().collect()
    }

    /// Opens the directories anew: one may have been exchanged since. Nothing is read or written in one that lost its files.
    fn look_around(&mut self) -> Result<(), Error> {
        self.places.clear();
        for (name, section) in &self.sections {
            let path = self.place.root.join(&section.dir);
            let beneath = Beneath::open(&path);
            let beneath = beneath.map_err(|source| Error::File { doing: OPEN_DIRECTORY, path, source })?;
            Ground { shadow: &self.shadow, dataset: name, beneath: &beneath }.check()?;
            self.places.insert(name.to_string(), beneath);
        }
        Ok(())
    }

    pub(super) fn pieces<'a>(&'a self, dataset: &'a DatasetName) -> Pieces<'a> {
        Pieces { conn: &self.shadow.conn, dataset }
    }

    /// Returns the dataset whose files the pieces of a dataset make up.
    pub(super) fn files_of(&self, pieces: &DatasetName) -> Option<&DatasetName> {
        self.sections.keys().find(|name| pieces_of(name) == *pieces)
    }

    pub(super) fn failed(&self, doing: &'static str) -> impl Fn(rusqlite::Error) -> Error + '_ {
        move |source| self.shadow.failed(doing, source)
    }

    /// Writes to the disk what is still to be written.
    pub(super) fn check_out(&mut self) -> Result<(), Error> {
        self.lacking.clear();
        let now_ns = now_ns();
        let mut is_due = false;
        for name in self.sections.keys() {
            is_due |= self.checkout(name, now_ns).is_due()?;
        }
        let was_quiet = is_due && self.watch.is_quiet(&self.sections, &self.places);
        for name in self.sections.keys() {
            let lacking = self.checkout(name, now_ns).run()?;
            if !lacking.is_empty() {
                self.lacking.insert(name.clone(), lacking);
            }
        }
        if was_quiet {
            // What we write is no change.
            self.watch.note(picture(&self.sections, &self.places));
        }
        pieces::forget_written(&self.shadow.conn).map_err(self.failed("let go of pieces"))
    }

    /// Writes what is still to be written, and reads the directories into their tables.
    pub(super) fn scan(&mut self) -> Result<(), Error> {
        self.look_around()?;
        self.check_out()?;
        let now_ns = now_ns();
        let found = self.take_in(now_ns)?;
        let mut picture = blake3::Hasher::new();
        for (name, found) in &found {
            found.draw(&mut picture);
            found.sweep(&self.places[name.as_str()], now_ns);
        }
        self.watch.note(picture.finalize());
        Ok(())
    }

    /// Reads the directories into their tables. Returns what lies there.
    fn take_in(&self, now_ns: i64) -> Result<Vec<(&DatasetName, Found)>, Error> {
        let take_in = |(name, section): (_, _)| {
            let beneath = &self.places[DatasetName::as_str(name)];
            let (shadow, marked) = (&self.shadow, self.kept_marks(name));
            let addressees = &self.context.addressees;
            let scan = Scan { shadow, dataset: name, section, beneath, now_ns, marked, addressees };
            Ok((name, scan.run()?))
        };
        self.sections.iter().map(take_in).collect()
    }

    /// Reads the directories, and gives the engine what changed, or everything.
    fn read(
        &mut self,
        extent: Extent,
        now: UnixMillis,
        sink: &mut dyn FnMut(Sighting) -> Result<(), SinkError>,
    ) -> Result<Capture, Error> {
        let (settled, view) = self.shadow.books().map_err(self.failed(READING))?;
        pieces::forget_unsettled(&self.shadow.conn).map_err(self.failed(READING))?;
        let sources = Sources { shadow: &self.shadow, places: &self.places };
        let number = settled.unsigned_abs() + 1;
        let mut report =
            Report { sources, sections: &self.sections, own: self.context.own, number, view, reported: 0, sink };
        let sections = &self.sections;
        let mut take = |sighting: Sighting| match sections.get_key_value(&sighting.id.dataset) {
            Some((dataset, _)) => report.file(dataset, sighting),
            None => Ok(()),
        };
        let mut capture = match extent {
            Extent::Changed => self.inner.capture(now, &mut take)?,
            Extent::Every => self.inner.compare(now, &mut take)?,
        };
        for dataset in sections.keys() {
            report.rest(dataset).map_err(Error::Sink)?;
        }
        capture.reported += report.reported;
        capture.heirs.taken.extend(self.new_marks()?);
        Ok(capture)
    }
}

impl Connector for FilesConnector {
    fn datasets(&self) -> Vec<DatasetName> {
        self.sections.keys().flat_map(|name| [pieces_of(name), name.clone()]).collect()
    }

    fn schema(&self, scope: &ScopeName) -> Schema {
        self.mapping.schema(scope)
    }

    fn least_scopes(&self) -> LeastScopes {
        self.mapping.least_scopes(&self.context.addressees)
    }

    fn columns(&self) -> Vec<Column> {
        let mut columns = self.inner.columns();
        columns.retain(|column| column.field.as_str() != TURN);
        for name in self.sections.keys() {
            columns.push(column(name.clone(), LAYOUT, FieldType::Plain(Kind::Json)));
            columns.push(column(pieces_of(name), DATA, FieldType::Plain(Kind::Bytes)));
        }
        columns
    }

    fn check(&mut self) -> Result<(), Error> {
        self.look_around()?;
        self.inner.check()
    }

    fn check_ready(&mut self) -> Result<(), Error> {
        self.look_around()
    }

    fn position(&mut self) -> Result<Position, Error> {
        self.inner.position()
    }

    fn capture(
        &mut self,
        now: UnixMillis,
        sink: &mut dyn FnMut(Sighting) -> Result<(), SinkError>,
    ) -> Result<Capture, Error> {
        self.scan()?;
        self.read(Extent::Changed, now, sink)
    }

    fn compare(
        &mut self,
        now: UnixMillis,
        sink: &mut dyn FnMut(Sighting) -> Result<(), SinkError>,
    ) -> Result<Capture, Error> {
        self.scan()?;
        self.read(Extent::Every, now, sink)
    }

    fn peek(
        &mut self,
        now: UnixMillis,
        sink: &mut dyn FnMut(Sighting) -> Result<(), SinkError>,
    ) -> Result<Capture, Error> {
        let scratch = tempfile::Builder::new().prefix(TEMPORARY_PREFIX).tempdir_in(&self.place.own);
        let failed =
            |source| Error::File { doing: "copy the bookkeeping of files to", path: self.place.own.clone(), source };
        let scratch = scratch.map_err(failed)?;
        let copy = scratch.path().join(FILE);
        self.shadow.copy(&copy)?;
        let mut other = Self::open_at(&copy, self.sections.clone(), self.place.clone(), self.context.clone())?;
        other.look_around()?;
        other.take_in(now_ns())?;
        other.read(Extent::Changed, now, sink)
    }

    fn adopt(&mut self, records: &mut dyn Iterator<Item = Result<Change, SinkError>>) -> Result<Vec<RecordId>, Error> {
        self.adopt_files(records)
    }

    fn said(&mut self, of: Option<(&DatasetName, &[String])>) -> Result<Said, Error> {
        self.said_of_files(of)
    }

    fn say_again(&mut self) -> Result<u64, Error> {
        self.say_of_files_again()
    }

    fn keep_home(&mut self, ids: &[RecordId]) -> Result<(), Error> {
        let files: Vec<RecordId> = ids.iter().filter(|id| self.files_of(&id.dataset).is_none()).cloned().collect();
        self.inner.keep_home(&files)
    }

    fn settle(&mut self, capture: &Capture, position: &Position) -> Result<(), Error> {
        // Before the rows: if a crash comes between, the same number is settled again.
        pieces::settle(&self.shadow.conn, capture.number).map_err(self.failed("settle a capture"))?;
        self.inner.settle(capture, position)
    }

    fn audiences(&mut self, ids: &[RecordId]) -> Result<Vec<Option<Audience>>, Error> {
        let mut found = self.inner.audiences(ids)?;
        for (found, id) in found.iter_mut().zip(ids) {
            if let Some(dataset) = self.files_of(&id.dataset) {
                let scope = self.pieces(dataset).scope(id).map_err(self.failed("read the audience of a piece"))?;
                *found = scope.map(Audience::Shared);
            }
        }
        Ok(found)
    }

    fn survey(&mut self, rows: &Rows, sink: &mut dyn FnMut(Surveyed) -> Result<(), SinkError>) -> Result<(), Error> {
        self.inner.survey(rows, sink)
    }

    fn mark(&mut self, dataset: &DatasetName, keys: &[String], audience: &str) -> Result<u64, Error> {
        self.inner.mark(dataset, keys, audience)
    }

    fn set_default(&mut self, dataset: &DatasetName, audience: Option<&str>) -> Result<(), Error> {
        self.inner.set_default(dataset, audience)
    }

    fn begin_apply(&mut self, target: &[u8]) -> Result<(), Error> {
        self.look_around()?;
        self.inner.begin_apply(target)
    }

    fn apply(
        &mut self,
        changes: &mut dyn Iterator<Item = Result<Change, SinkError>>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Applied, Error> {
        let mut dirty = Vec::new();
        let mut rows = Vec::new();
        let mut applied = Applied::default();
        loop {
            // In batches, so that memory stays bounded: what is fetched is written down before the tables are locked.
            let mut fetched = 0;
            while fetched < BATCH_CHANGES
                && let Some(change) = changes.next()
            {
                let change = change.map_err(Error::Source)?;
                fetched += 1;
                let file = self.file(&change.id)?;
                if let Some(file) = file
                    && self.is_dirty(&change.id.dataset, file)?
                {
                    dirty.push(change.id);
                    continue;
                }
                rows.push(self.translate(change, file).map_err(self.failed("take in changes"))?);
            }
            if fetched == 0 {
                break;
            }
            let mut batch = rows.drain(..).flatten().map(Ok);
            applied.add(self.inner.apply(&mut batch, progress)?);
        }
        applied.dirty.extend(dirty);
        self.check_out()?;
        Ok(applied)
    }

    fn newcomers(&mut self) -> Result<Vec<Newcomer>, Error> {
        let fresh = self.shadow.fresh().map_err(self.failed("look for new directories"))?;
        let fresh = self.sections.keys().filter(|name| fresh.contains(name.as_str()));
        let fresh = fresh.flat_map(|name| [pieces_of(name), name.clone()]);
        Ok(fresh.map(|dataset| Newcomer { dataset, with_own: false }).collect())
    }

    fn caught_up(&mut self, datasets: &[DatasetName]) -> Result<(), Error> {
        self.inner.caught_up(datasets)
    }

    fn wants(&mut self) -> Result<Vec<RecordId>, Error> {
        let mut wants = Vec::new();
        for (dataset, hashes) in &self.lacking {
            for hash in hashes {
                let named = self.pieces(dataset).named_as(hash).map_err(self.failed("look for pieces"))?;
                wants.extend(named.into_iter().map(|piece| RecordId {
                    origin: piece.origin,
                    dataset: pieces_of(dataset),
                    key: piece.key(),
                }));
                if wants.len() >= WANTS_MAX {
                    return Ok(wants);
                }
            }
        }
        Ok(wants)
    }

    fn drop_rows(&mut self, dropped: &Dropped, progress: &mut dyn FnMut(u64)) -> Result<Applied, Error> {
        self.give_up(dropped, progress)
    }

    fn count_rows(&mut self, dropped: &Dropped) -> Result<BTreeMap<DatasetName, u64>, Error> {
        if matches!(dropped, Dropped::Unused(_)) {
            return Ok(BTreeMap::new());
        }
        self.inner.count_rows(dropped)
    }

    fn sizes(&mut self) -> Result<DatabaseSizes, Error> {
        self.inner.sizes()
    }

    fn finish_apply(&mut self) -> Result<(), Error> {
        // After the position: what is given twice is known again, what isn't given would be missing.
        self.inner.finish_apply()?;
        self.shadow.clear_fresh().map_err(self.failed("finish to apply"))
    }

    fn wait_for_change(&mut self, at_most: Duration) -> Result<bool, Error> {
        self.look_around()?;
        Ok(self.watch.wait(&self.sections, &self.places, at_most))
    }

    fn private(&mut self) -> Result<BTreeMap<(DatasetName, Reason), u64>, Error> {
        self.inner.private()
    }

    fn twins(&mut self) -> Result<Vec<Twin>, Error> {
        Ok(self.rivals()?.into_iter().map(|rival| rival.twin).collect())
    }

    fn give_way(&mut self, twins: &[Twin]) -> Result<(), Error> {
        self.yield_places(twins)
    }

    fn parked(&mut self, limit: usize) -> Result<(Vec<Parked>, u64), Error> {
        let (mut parked, count) = self.inner.parked(limit)?;
        let (troubles, more) = self.shadow.troubles(limit).map_err(self.failed("list what waits"))?;
        parked.extend(troubles.into_iter().map(|(record, reason)| Parked { record, reason }));
        parked.truncate(limit);
        Ok((parked, count + more))
    }

    fn placeholders(&mut self) -> Result<BTreeMap<DatasetName, u64>, Error> {
        self.inner.placeholders()
    }

    fn locate(&mut self, id: &RecordId) -> Result<Option<String>, Error> {
        let Some((dataset, section)) = self.sections.get_key_value(&id.dataset) else { return Ok(None) };
        let Some(file) = self.file(id)? else { return Ok(None) };
        let disk = self.shadow.disk_of(dataset, file).map_err(self.failed("find a file"))?;
        Ok(disk.map(|disk| section.dir.join(disk.path).display().to_string()))
    }

    fn examine(&mut self, see: &mut dyn FnMut(RecordId, Standing)) -> Result<Vec<Blemish>, Error> {
        let blemishes = self.inner.examine(see)?;
        for dataset in self.sections.keys() {
            let standing = Standing::Row { is_settled: true, is_shared: true };
            let name = pieces_of(dataset);
            let mut held = |origin, key| see(RecordId { origin, dataset: name.clone(), key }, standing);
            self.pieces(dataset).each_held(&mut held).map_err(self.failed("examine the pieces"))?;
        }
        Ok(blemishes)
    }
}

/// The time, as file systems write it.
pub(super) fn now_ns() -> i64 {
    i64::try_from(clock::now().0).unwrap_or(0).saturating_mul(1_000_000)
}

/// How many changes are fetched at once: with pieces about 64 MiB.
const BATCH_CHANGES: usize = 1024;
const READING: &str = "read what changed in the directories";
