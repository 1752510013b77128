//! The connector for databases with SQL: what the contract promises, over any `Session`.
//!
//! The bookkeeping is in `books`; `plan` binds the mapping to the tables; `look` says what a row says; `capture` reads, `apply` with
//! `put`, `remove` and `waiting` writes. Nothing is created but the bookkeeping's tables, and no table of the application's is altered.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::time::Duration;

use super::apart;
use super::apply::{Apply, Fail};
use super::books::{Books, FORMAT, Refused};
use super::capture::{Extent, Work};
use super::plan::{Plans, constant, quote};
use super::purge::Purge;
use super::salvage::Likeness;
use super::session::{ROW_LOCK_MS, Session, Snapshot, SqlError, Transaction};
use crate::connector::alone::{AloneRows, Look};
use crate::connector::applied::{Applied, Newcomer, Parked};
use crate::connector::capturing::{Capturing, TriggerChange, Triggers};
use crate::connector::catalogue::DatabaseSizes;
use crate::connector::column::Column;
use crate::connector::contract::{
    Capture, Change, Connector, Context, Dropped, Position, Rows, Sighting, SinkError, Surveyed,
};
use crate::connector::error::Error;
use crate::connector::mapping::model::Mapping;
use crate::connector::said::Said;
use crate::connector::standing::{Blemish, Standing};
use crate::id::name::{DatasetName, ScopeName};
use crate::record::recordid::RecordId;
use crate::record::schema::Schema;
use crate::scope::audience::{Audience, Reason};
use crate::scope::fields::LeastScopes;
use crate::sys::clock::UnixMillis;

/// The most bytes of a view that the engine may keep in the bookkeeping.
pub const VIEW_BYTES_MAX: usize = 16 << 20;

/// An application's database.
#[derive(Debug)]
pub struct SqlConnector {
    pub(super) session: Box<dyn Session>,
    pub(super) app_dir: PathBuf,
    mapping: Mapping,
    pub(super) capturing: Capturing,
    pub(super) context: Context,
    pub(super) plans: Plans,
    /// What was applied while an apply began, to be told with the first batch.
    carried: Applied,
    held: AloneRows,
}

impl SqlConnector {
    /// Binds the mapping to the tables of an open database. Writes nothing.
    pub(in crate::connector) fn bind(
        session: Box<dyn Session>,
        app_dir: PathBuf,
        capturing: Capturing,
        mapping: Mapping,
        context: Context,
    ) -> Result<Self, Error> {
        let sql = |source| session.explain("open the database", source);
        let mut plans = Plans::bind(&mapping, &context.addressees, session.as_ref(), &sql)?;
        plans.recall_said(&context.said, session.as_ref());
        Ok(Self {
            session,
            app_dir,
            mapping,
            capturing,
            context,
            plans,
            carried: Applied::default(),
            held: AloneRows::new(),
        })
    }

    pub(super) fn session(&self) -> &dyn Session {
        self.session.as_ref()
    }

    /// Reads the bookkeeping, making it first if it isn't there.
    pub(super) fn books(&self, doing: &'static str) -> Result<Books, Error> {
        if let Some(books) = self.existing_books(doing)? {
            return Ok(books);
        }
        let create = || -> Result<(), SqlError> {
            let transaction = Transaction::begin(self.session())?;
            super::books::create(self.session(), self.context.own, &self.plans)?;
            transaction.commit()
        };
        create().map_err(|source| self.failed("make the bookkeeping", source))?;
        let books = self.existing_books(doing)?;
        books.ok_or_else(|| self.damaged("it was made and is not there".into()))
    }

    pub(super) fn existing_books(&self, doing: &'static str) -> Result<Option<Books>, Error> {
        self.books_in(self.session(), doing)
    }

    fn books_in(&self, conn: &dyn Session, doing: &'static str) -> Result<Option<Books>, Error> {
        Books::read(conn, &self.context, &self.plans).map_err(|refused| match refused {
            Refused::Newer(found) => Error::Newer { database: self.session.place(), found, known: FORMAT },
            Refused::Other(found) => Error::OtherInstance { database: self.session.place(), found: found.short() },
            Refused::Damaged(why) => self.damaged(why),
            Refused::Empty => Error::EmptyBooks { database: self.session.place() },
            Refused::Sql(source) => self.failed(doing, source),
        })
    }

    fn snapshot(&self, doing: &'static str) -> Result<Snapshot, Error> {
        self.session.snapshot().map_err(|source| self.failed(doing, source))
    }

    pub(super) fn failed(&self, doing: &'static str, source: SqlError) -> Error {
        self.session.explain(doing, source)
    }

    fn damaged(&self, why: String) -> Error {
        Error::Books { database: self.session.place(), why }
    }

    pub(super) fn stopped(&self, doing: &'static str, fail: Fail) -> Error {
        match fail {
            Fail::Sql(source) => self.failed(doing, source),
            Fail::Source(source) => Error::Source(source),
            Fail::Books(why) => self.damaged(why),
            Fail::Park { reason, .. } | Fail::Refused(reason) => {
                self.damaged(format!("a record can't even wait: {reason}"))
            }
            Fail::Dirty => Error::Locked { doing, database: self.session.place(), waited_ms: ROW_LOCK_MS },
            Fail::Same { .. } => unreachable!("what becomes of one record is never an error of the whole"),
        }
    }

    /// Runs a write transaction of a few statements.
    pub(super) fn write(
        &self,
        doing: &'static str,
        write: impl FnOnce(&dyn Session) -> Result<(), SqlError>,
    ) -> Result<(), Error> {
        let run = || {
            let transaction = Transaction::begin(self.session())?;
            write(self.session())?;
            transaction.commit()
        };
        run().map_err(|source| self.failed(doing, source))
    }

    /// Starts a run of apply, lets `wake` queue what waits, and writes the changes.
    fn run_apply(
        &self,
        doing: &'static str,
        wake_all: bool,
        changes: &mut dyn Iterator<Item = Result<Change, SinkError>>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Applied, Error> {
        let mut books = self.books(doing)?;
        if books.target.is_none() {
            return Err(Error::NoApply { doing });
        }
        let purge = Purge::new(&self.app_dir);
        let apply = Apply::new(self.session(), &self.plans, &mut books, &self.context.names, purge);
        let mut apply = apply.map_err(|source| self.failed(doing, source))?;
        (apply.restoring, apply.held) = (self.context.restoring, self.held.clone());
        if wake_all {
            apply.wake_all().map_err(|fail| self.stopped(doing, fail))?;
        }
        apply.run(changes, progress).map_err(|fail| self.stopped(doing, fail))
    }
}

impl Connector for SqlConnector {
    fn datasets(&self) -> Vec<DatasetName> {
        self.plans.list.iter().map(|plan| plan.name.clone()).collect()
    }

    fn schema(&self, scope: &ScopeName) -> Schema {
        self.mapping.schema(scope)
    }

    fn least_scopes(&self) -> LeastScopes {
        self.mapping.least_scopes(&self.context.addressees)
    }

    fn columns(&self) -> Vec<Column> {
        super::fit::columns(&self.plans, self.session())
    }

    fn check(&mut self) -> Result<(), Error> {
        let doing = "check the database";
        // The application may have migrated its tables since we opened it.
        self.session.reload();
        let sql = |source| self.session.explain(doing, source);
        self.plans = Plans::bind(&self.mapping, &self.context.addressees, self.session.as_ref(), &sql)?;
        self.plans.recall_said(&self.context.said, self.session.as_ref());
        self.existing_books(doing)?;
        self.session.probe()
    }

    fn check_ready(&mut self) -> Result<(), Error> {
        let Some(ready) = &self.mapping.ready else { return Ok(()) };
        let value = constant(&ready.value, str::to_owned);
        let (table, column) = (self.session.table(&ready.table), quote(&ready.column));
        let sql = format!("SELECT 1 FROM {table} WHERE {column} = ?1 LIMIT 1");
        match self
            .session()
            .exists(&sql, &bind![value])
            .map_err(|source| self.failed("see whether the application is ready", source))?
        {
            true => Ok(()),
            false => Err(Error::NotReady { why: ready.why.clone(), hint: ready.hint.clone() }),
        }
    }

    fn position(&mut self) -> Result<Position, Error> {
        Ok(match self.existing_books("read the position")? {
            Some(Books { settled, applied, target, .. }) => {
                Position { settled: settled.unsigned_abs(), applied, target }
            }
            None => Position { settled: self.settled_so_far()?, ..Position::default() },
        })
    }

    fn capture(
        &mut self,
        now: UnixMillis,
        sink: &mut dyn FnMut(Sighting) -> Result<(), SinkError>,
    ) -> Result<Capture, Error> {
        let doing = "capture the application's changes";
        let books = self.prepared(doing)?;
        self.session.watch().map_err(|source| self.failed(doing, source))?;
        let work = self.work(doing, &books, Extent::Changed)?;
        self.read_rows(doing, &books, Some(self.session()), work, (now, Extent::Changed), sink)
    }

    fn compare(
        &mut self,
        now: UnixMillis,
        sink: &mut dyn FnMut(Sighting) -> Result<(), SinkError>,
    ) -> Result<Capture, Error> {
        let doing = "compare the application's rows";
        let books = self.prepared(doing)?;
        self.session.watch().map_err(|source| self.failed(doing, source))?;
        let work = self.work(doing, &books, Extent::Every)?;
        self.read_rows(doing, &books, Some(self.session()), work, (now, Extent::Every), sink)
    }

    fn adopt(&mut self, records: &mut dyn Iterator<Item = Result<Change, SinkError>>) -> Result<Vec<RecordId>, Error> {
        self.adopt_alike(records, &Likeness::Born)
    }

    fn keep_home(&mut self, ids: &[RecordId]) -> Result<(), Error> {
        self.keep_rows_home(ids)
    }

    fn peek(
        &mut self,
        now: UnixMillis,
        sink: &mut dyn FnMut(Sighting) -> Result<(), SinkError>,
    ) -> Result<Capture, Error> {
        let doing = "look for the application's changes";
        if self.capturing == Capturing::Triggers
            && let Some(books) = self.existing_books(doing)?
        {
            let work = self.work(doing, &books, Extent::Changed)?;
            return self.read_rows(doing, &books, None, work, (now, Extent::Changed), sink);
        }
        let snapshot = self.snapshot(doing)?;
        let books = match self.books_in(snapshot.session.as_ref(), doing)? {
            Some(books) => books,
            None => {
                let pretended = super::books::pretend(snapshot.session.as_ref(), self.context.own, &self.plans);
                pretended.map_err(|source| self.failed(doing, source))?;
                let books = self.books_in(snapshot.session.as_ref(), doing)?;
                books.ok_or_else(|| self.damaged("a stand-in was made and is not there".into()))?
            }
        };
        let is_restoring = self.context.restoring;
        let work = Work { snapshot, noted: None, is_part: false, is_restoring, unwatched: Vec::new() };
        self.read_rows(doing, &books, None, work, (now, Extent::Changed), sink)
    }

    fn settle(&mut self, capture: &Capture, position: &Position) -> Result<(), Error> {
        let doing = "settle a capture";
        let views = [Some(&position.applied), position.target.as_ref()];
        assert!(views.into_iter().flatten().all(|view| view.len() <= VIEW_BYTES_MAX), "a view is bounded");
        let books = self.books(doing)?;
        let wanted = books.settled.unsigned_abs() + 1;
        if capture.number != wanted {
            return Err(Error::StaleCapture { number: capture.number, wanted });
        }
        let target = match (&books.target, &position.target) {
            (Some(open), given) => Some(given.as_ref().unwrap_or(open)),
            (None, _) => None,
        };
        let number = books.settled + 1;
        self.write(doing, |conn| {
            let sql = "UPDATE _wbsync_position SET settled = ?1, applied = ?2, target = ?3";
            conn.execute(sql, &bind![number, position.applied, target])?;
            conn.execute("DELETE FROM _wbsync_gone WHERE number <= ?1", &bind![number])?;
            if conn.has_outbox()? {
                conn.execute("DELETE FROM _wbsync_unsettled", &[])?;
            }
            Ok(())
        })
    }

    fn audiences(&mut self, ids: &[RecordId]) -> Result<Vec<Option<Audience>>, Error> {
        let doing = "read the audience of a record";
        let Some(books) = self.existing_books(doing)? else { return Ok(vec![None; ids.len()]) };
        books.audiences(self.session(), &self.plans, ids).map_err(|source| self.failed(doing, source))
    }

    fn survey(&mut self, rows: &Rows, sink: &mut dyn FnMut(Surveyed) -> Result<(), SinkError>) -> Result<(), Error> {
        let doing = "look at the rows";
        let books = self.books(doing)?;
        super::survey::survey(self.session(), &self.plans, &books, rows, sink).map_err(|stop| match stop {
            super::survey::Stop::Sql(source) => self.failed(doing, source),
            super::survey::Stop::Sink(source) => Error::Sink(source),
            super::survey::Stop::Condition(why) => Error::Condition { why },
        })
    }

    fn mark(&mut self, dataset: &DatasetName, keys: &[String], audience: &str) -> Result<u64, Error> {
        let doing = "mark rows";
        let books = self.books(doing)?;
        let Some(dataset) = self.plans.index(dataset) else { return Ok(0) };
        super::survey::mark(self.session(), &self.plans, (&books, dataset), keys, audience)
            .map_err(|source| self.failed(doing, source))?
            .map_err(|key| Error::NotCaptured { dataset: self.plans.list[dataset].name.clone(), key })
    }

    fn set_default(&mut self, dataset: &DatasetName, audience: Option<&str>) -> Result<(), Error> {
        let doing = "set a default scope";
        let books = self.books(doing)?;
        let Some(dataset) = self.plans.index(dataset) else { return Ok(()) };
        self.write(doing, |conn| books.set_default(conn, dataset, audience))
    }

    fn said(&mut self, of: Option<(&DatasetName, &[String])>) -> Result<Said, Error> {
        self.said_beside(of)
    }

    fn say_again(&mut self) -> Result<u64, Error> {
        self.say_beside_again()
    }

    fn hold(&mut self, held: AloneRows) {
        self.held = held;
    }

    fn begin_apply(&mut self, target: &[u8]) -> Result<(), Error> {
        let doing = "begin to apply";
        assert!(target.len() <= VIEW_BYTES_MAX, "a view is bounded");
        let books = self.prepared(doing)?;
        match &books.target {
            Some(open) if open == target => {}
            Some(_) => return Err(Error::ApplyUnfinished),
            None => self.write(doing, |conn| {
                conn.execute("UPDATE _wbsync_position SET target = ?1", &bind![target])?;
                Ok(())
            })?,
        }
        let carried = self.run_apply(doing, true, &mut std::iter::empty(), &mut |_| {})?;
        self.carried.add(carried);
        Ok(())
    }

    fn apply(
        &mut self,
        changes: &mut dyn Iterator<Item = Result<Change, SinkError>>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Applied, Error> {
        let mut applied = self.run_apply("apply changes", false, changes, progress)?;
        applied.add(std::mem::take(&mut self.carried));
        Ok(applied)
    }

    fn newcomers(&mut self) -> Result<Vec<Newcomer>, Error> {
        self.lagging_datasets()
    }

    fn caught_up(&mut self, datasets: &[DatasetName]) -> Result<(), Error> {
        self.note_caught_up(datasets)
    }

    fn foreign(&mut self, dataset: &DatasetName) -> Result<Vec<RecordId>, Error> {
        self.foreign_records(dataset)
    }

    fn wants(&mut self) -> Result<Vec<RecordId>, Error> {
        self.freed_names()
    }

    fn drop_rows(&mut self, dropped: &Dropped, progress: &mut dyn FnMut(u64)) -> Result<Applied, Error> {
        let doing = "give up rows";
        let mut books = self.books(doing)?;
        if books.target.is_none() {
            return Err(Error::NoApply { doing });
        }
        let purge = Purge::new(&self.app_dir);
        let ids = super::drop::records(self.session(), &self.plans, &books, dropped);
        let ids = ids.map_err(|source| self.failed(doing, source))?;
        let mut kept = match dropped {
            Dropped::Unused(wanted) => {
                let own: HashSet<&RecordId> = ids.iter().collect();
                wanted.iter().filter(|id| !own.contains(id)).cloned().collect()
            }
            Dropped::Origin(_) | Dropped::Record(_) => Vec::new(),
        };
        let apply = Apply::new(self.session(), &self.plans, &mut books, &self.context.names, purge);
        let mut apply = apply.map_err(|source| self.failed(doing, source))?;
        apply.held = self.held.clone();
        apply.removal =
            super::drop::removal(self.session(), &self.plans, dropped).map_err(|source| self.failed(doing, source))?;
        let mut changes = ids.into_iter().map(|id| Ok(Change { id, content: None }));
        let mut applied = apply.run(&mut changes, progress).map_err(|fail| self.stopped(doing, fail))?;
        applied.add(std::mem::take(&mut self.carried));
        applied.kept.append(&mut kept);
        let books = self.books(doing)?;
        self.write(doing, |conn| super::drop::waiting(conn, &self.plans, &books, dropped))?;
        Ok(applied)
    }

    fn count_rows(&mut self, dropped: &Dropped) -> Result<BTreeMap<DatasetName, u64>, Error> {
        let doing = "count rows";
        let Some(books) = self.existing_books(doing)? else { return Ok(BTreeMap::new()) };
        super::drop::counts(self.session(), &self.plans, &books, dropped).map_err(|source| self.failed(doing, source))
    }

    fn finish_apply(&mut self) -> Result<(), Error> {
        let doing = "finish to apply";
        let books = self.books(doing)?;
        if books.target.is_none() {
            return Err(Error::NoApply { doing });
        }
        let again = || self.held.iter().filter(|(_, alone)| alone.look == Look::Applied);
        self.write(doing, |conn| {
            conn.execute("UPDATE _wbsync_position SET applied = target, target = NULL, view = view + 1", &[])?;
            again().try_for_each(|(id, _)| apart::look_again(conn, &self.plans, &books, id).map(drop))
        })
    }

    fn wait_for_change(&mut self, at_most: Duration) -> Result<bool, Error> {
        self.wait_for_more(at_most)
    }

    fn triggers(&mut self) -> Result<Triggers, Error> {
        self.trigger_state()
    }

    fn plan_triggers(&mut self, change: TriggerChange) -> Result<Vec<String>, Error> {
        let steps = self.trigger_steps(change).map_err(|source| self.failed("look at the triggers", source))?;
        Ok(steps.into_iter().flat_map(|step| step.statements).collect())
    }

    fn change_triggers(&mut self, change: TriggerChange) -> Result<Vec<String>, Error> {
        self.run_trigger_steps(change)
    }

    fn private(&mut self) -> Result<BTreeMap<(DatasetName, Reason), u64>, Error> {
        let doing = "count what stays home";
        let Some(books) = self.existing_books(doing)? else { return Ok(BTreeMap::new()) };
        books.private(self.session(), &self.plans).map_err(|source| self.failed(doing, source))
    }

    fn sizes(&mut self) -> Result<DatabaseSizes, Error> {
        self.session().sizes().map_err(|source| self.failed("measure the database", source))
    }

    fn placeholders(&mut self) -> Result<BTreeMap<DatasetName, u64>, Error> {
        self.count_placeholders()
    }

    fn parked(&mut self, limit: usize) -> Result<(Vec<Parked>, u64), Error> {
        let doing = "list what waits";
        let Some(books) = self.existing_books(doing)? else { return Ok((Vec::new(), 0)) };
        books.parked(self.session(), &self.plans, limit).map_err(|source| self.failed(doing, source))
    }

    fn locate(&mut self, id: &RecordId) -> Result<Option<String>, Error> {
        let doing = "find the row of a record";
        let Some(books) = self.existing_books(doing)? else { return Ok(None) };
        let Some(dataset) = self.plans.index(&id.dataset.base()) else { return Ok(None) };
        let read = || match books.find(self.session(), dataset, id)? {
            None => books.find_covering(self.session(), dataset, id),
            found => Ok(found),
        };
        let entry = read().map_err(|source| self.failed(doing, source))?;
        Ok(entry.map(|entry| format!("{} {}", self.plans.list[dataset].spec.table, entry.key)))
    }

    fn examine(&mut self, see: &mut dyn FnMut(RecordId, Standing)) -> Result<Vec<Blemish>, Error> {
        self.examine_books(see)
    }
}
