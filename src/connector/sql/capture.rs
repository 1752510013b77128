//! Capture: one pass over the mapped rows, joined with the map in key order.
//!
//! What is found is written down before it is reported: an id that got out is never given again. Memory
//! is flat but for the keys of parents and, with a rollback journal, what is reported.

use std::collections::HashMap;
use std::time::Instant;

use super::books::{Books, ENTRY, Entry, override_of};
use super::circle;
use super::key::Key;
use super::look::{self, OWN, Override, Parent, Parents};
use super::pace::Pace;
use super::plan::{Plan, Plans};
use super::session::{Row, Session, Snapshot, SqlError, Transaction};
use crate::connector::contract::{Base, Capture, Seen, Sighting, SinkError};
use crate::id::bytes::RecordKey;
use crate::record::recordid;
use crate::scope::audience::{Audience, Reason};
use crate::sys::clock::UnixMillis;

/// The most rows that are written down in one transaction.
const BATCH_ROWS: usize = 5_000;
/// How many ids are made at once beyond those that were counted.
const SPARE_IDS: usize = 64;
/// How many rows of the map are read at once.
const MAP_ROWS: i64 = 2_000;

/// Receives what was found.
pub(super) type Sink<'a> = dyn FnMut(Sighting) -> Result<(), SinkError> + 'a;

/// Why a capture stopped.
#[derive(Debug)]
pub(super) enum Stop {
    Sql(SqlError),
    Sink(SinkError),
}

impl From<SqlError> for Stop {
    fn from(error: SqlError) -> Self {
        Self::Sql(error)
    }
}

/// Which rows a capture reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// Those that changed.
    Changed,
    /// All.
    Every,
}

/// What is to be written down, and the report that follows.
struct Found {
    dataset: usize,
    write: Write,
    report: Option<Sighting>,
}

enum Write {
    /// The row was seen; edited overrides are dropped.
    Seen {
        entry: Entry,
        edited: bool,
        overrides: Vec<Override>,
    },
    Vanished(Entry),
    /// The row is as it was known.
    Nothing,
}

pub(super) struct Run<'a> {
    pub(super) plans: &'a Plans,
    pub(super) books: &'a Books,
    /// Where to write down what is found; without it nothing is.
    writer: Option<&'a dyn Session>,
    pub(super) now: UnixMillis,
    extent: Extent,
    sink: &'a mut Sink<'a>,
    pub(super) parents: Known,
    capture: Capture,
    found: Vec<Found>,
    flush_at: usize,
    pace: Pace,
    pub(super) buffer: Vec<u8>,
}

/// The rows of parent datasets, by key.
#[derive(Default)]
pub(super) struct Known {
    pub(super) lists: Vec<Vec<(Key, Parent)>>,
}

impl Known {
    pub(super) fn get(&self, dataset: usize, key: &Key) -> Option<&Parent> {
        let list = &self.lists[dataset];
        list.binary_search_by(|(known, _)| known.cmp(key)).ok().map(|at| &list[at].1)
    }
}

impl Parents for Known {
    fn find(&mut self, dataset: usize, key: &Key) -> Result<Option<Parent>, SqlError> {
        Ok(self.get(dataset, key).cloned())
    }
}

/// Reads the snapshot, writes down through `writer` (if there is one) what changed, and reports it.
pub(super) fn run<'a>(
    plans: &'a Plans,
    books: &'a Books,
    writer: Option<&'a dyn Session>,
    snapshot: Snapshot,
    (now, extent): (UnixMillis, Extent),
    sink: &'a mut Sink<'a>,
) -> Result<Capture, Stop> {
    let mut run = Run {
        plans,
        books,
        writer,
        now,
        extent,
        sink,
        parents: Known { lists: plans.list.iter().map(|_| Vec::new()).collect() },
        capture: Capture { number: books.settled.unsigned_abs() + 1, ..Capture::default() },
        found: Vec::new(),
        flush_at: if snapshot.blocks_writers { usize::MAX } else { BATCH_ROWS },
        pace: Pace::default(),
        buffer: Vec::new(),
    };
    let leftovers = run.leftovers(snapshot.session.as_ref())?;
    for datasets in plans.groups() {
        if plans.list[datasets[0]].circle.is_some() {
            circle::learn(&mut run, snapshot.session.as_ref(), &datasets)?;
        }
        for dataset in datasets {
            run.scan(snapshot.session.as_ref(), dataset)?;
        }
    }
    drop(snapshot);
    run.flush()?;
    for sighting in leftovers {
        run.report(sighting)?;
    }
    Ok(run.capture)
}

impl Run<'_> {
    /// Rows that vanished in a capture that was not settled.
    fn leftovers(&self, conn: &dyn Session) -> Result<Vec<Sighting>, SqlError> {
        let sql = "SELECT dataset, origin, record, base FROM _wbsync_gone ORDER BY dataset, origin, record";
        let mut leftovers = Vec::new();
        conn.each(sql, &[], &mut |row| {
            let number: i64 = row.get(0)?;
            let Some(dataset) = self.books.datasets.iter().position(|known| *known == number) else { return Ok(true) };
            let id = self.books.record_id(self.plans, dataset, row.get(1)?, row.get(2)?);
            leftovers.push(Sighting { id, base: self.base(row.get(3)?), changed: true, seen: Seen::Gone });
            Ok(true)
        })?;
        Ok(leftovers)
    }

    fn scan(&mut self, conn: &dyn Session, dataset: usize) -> Result<(), Stop> {
        let plan = &self.plans.list[dataset];
        let overrides = self.overrides(conn, dataset)?;
        let mut map = Map::new(conn, self.books, dataset, plan.key.is_integer());
        let mut mapped = map.next()?;
        let mut ids = Ids::default();
        conn.scan_into(&plan.sql_scan, |row| -> Result<(), Stop> {
            self.capture.rows += 1;
            let Some(key) = Key::of(row.raw(0)?) else {
                self.count_private(plan, Reason::Withheld);
                return Ok(());
            };
            while mapped.as_ref().is_some_and(|entry| entry.key < key) {
                self.vanished(dataset, mapped.take().expect("it was just there"))?;
                mapped = map.next()?;
            }
            let birth = look::birth(plan, row, &mut self.buffer)?;
            let mut entry = None;
            if mapped.as_ref().is_some_and(|entry| entry.key == key) {
                let known = mapped.take().expect("it was just there");
                mapped = map.next()?;
                if known.birth == birth {
                    entry = Some(known);
                } else {
                    self.vanished(dataset, known)?;
                }
            }
            match entry {
                Some(entry) if entry.is_stub() => self.remember(dataset, &entry),
                Some(entry) => {
                    let overrides = overrides.get(&entry.key).map_or(&[][..], Vec::as_slice);
                    self.seen(dataset, row, entry, overrides, false)?;
                }
                None => {
                    let record = match plan.circle.and_then(|_| self.parents.get(dataset, &key)) {
                        Some(learned) => learned.record,
                        None => ids.next(conn, plan, self.books.datasets[dataset], &key, self.now)?,
                    };
                    let audience = Audience::Private(Reason::Chosen);
                    let (seen, view) = (0, self.books.view);
                    let entry = Entry {
                        key,
                        origin: OWN,
                        record,
                        birth,
                        digest: 0,
                        audience,
                        seen,
                        view,
                        flags: 0,
                        rule: None,
                    };
                    self.seen(dataset, row, entry, &[], true)?;
                }
            }
            if self.found.len() >= self.flush_at { self.flush() } else { Ok(()) }
        })?;
        while let Some(entry) = mapped {
            self.vanished(dataset, entry)?;
            mapped = map.next()?;
        }
        Ok(())
    }

    fn seen(
        &mut self,
        dataset: usize,
        row: &dyn Row,
        mut entry: Entry,
        overrides: &[Override],
        newborn: bool,
    ) -> Result<(), Stop> {
        let plan = &self.plans.list[dataset];
        let marks = self.books.marks(dataset, entry.rule.as_deref());
        let look = look::look(plan, row, entry.origin, marks, overrides, &mut self.parents, &mut self.buffer)?;
        if let Some(Audience::Private(reason)) = &look.audience {
            self.count_private(plan, *reason);
        }
        let known = !newborn && look.digest == entry.digest && entry.seen <= self.books.settled;
        if !known {
            let fields = look.fields(plan, self.plans, &self.books.origins);
            let id = self.books.record_id(self.plans, dataset, entry.origin, entry.record);
            let seen = Seen::Row { audience: look.audience.clone(), fields };
            let report = Some(Sighting { id, base: self.base(entry.view), changed: true, seen });
            entry.digest = look.digest;
            entry.seen = self.books.settled + 1;
            if let Some(audience) = &look.audience {
                entry.audience = audience.clone();
            }
            self.remember(dataset, &entry);
            let still: Vec<Override> = overrides.iter().filter(|known| look.hides(plan, known)).cloned().collect();
            let edited = still.len() != overrides.len();
            self.found.push(Found { dataset, write: Write::Seen { entry, edited, overrides: still }, report });
        } else {
            self.remember(dataset, &entry);
            if self.extent == Extent::Every {
                let id = self.books.record_id(self.plans, dataset, entry.origin, entry.record);
                let seen = Seen::Row {
                    audience: look.audience.clone(),
                    fields: look.fields(plan, self.plans, &self.books.origins),
                };
                let report = Some(Sighting { id, base: self.base(entry.view), changed: false, seen });
                self.found.push(Found { dataset, write: Write::Nothing, report });
            }
        }
        Ok(())
    }

    fn vanished(&mut self, dataset: usize, entry: Entry) -> Result<(), Stop> {
        let report = (!entry.is_stub()).then(|| Sighting {
            id: self.books.record_id(self.plans, dataset, entry.origin, entry.record),
            base: self.base(entry.view),
            changed: true,
            seen: Seen::Gone,
        });
        self.found.push(Found { dataset, write: Write::Vanished(entry), report });
        if self.found.len() >= self.flush_at { self.flush() } else { Ok(()) }
    }

    /// Writes down what was found, then reports it.
    fn flush(&mut self) -> Result<(), Stop> {
        let found = std::mem::take(&mut self.found);
        for (writer, batch) in
            self.writer.into_iter().flat_map(|writer| found.chunks(BATCH_ROWS).map(move |batch| (writer, batch)))
        {
            let begin = Instant::now();
            let transaction = Transaction::begin(writer)?;
            for found in batch {
                match &found.write {
                    Write::Seen { entry, edited, overrides } => {
                        self.books.put(writer, found.dataset, entry)?;
                        if *edited {
                            self.books.set_overrides(writer, found.dataset, &entry.key, overrides)?;
                        }
                    }
                    Write::Nothing => {}
                    Write::Vanished(entry) => self.books.vanish(writer, found.dataset, entry)?,
                }
            }
            transaction.commit()?;
            self.pace.ended(begin, true);
        }
        for sighting in found.into_iter().filter_map(|found| found.report) {
            self.report(sighting)?;
        }
        Ok(())
    }

    fn report(&mut self, sighting: Sighting) -> Result<(), Stop> {
        self.capture.reported += 1;
        (self.sink)(sighting).map_err(Stop::Sink)
    }

    fn remember(&mut self, dataset: usize, entry: &Entry) {
        let plan = &self.plans.list[dataset];
        // Those of a circle are known already.
        if plan.is_parent && plan.circle.is_none() {
            self.parents.lists[dataset].push((entry.key.clone(), self.books.parent(entry)));
        }
    }

    fn count_private(&mut self, plan: &Plan, reason: Reason) {
        *self.capture.private.entry((plan.name.clone(), reason)).or_default() += 1;
    }

    pub(super) fn overrides(
        &self,
        conn: &dyn Session,
        dataset: usize,
    ) -> Result<HashMap<Key, Vec<Override>>, SqlError> {
        let mut all: HashMap<Key, Vec<Override>> = HashMap::new();
        let sql = "SELECT key, field, shown, reason FROM _wbsync_override WHERE dataset = ?1";
        conn.each(sql, &bind![self.books.datasets[dataset]], &mut |row| {
            let key = self.books.key(dataset, row, 0)?;
            all.entry(key).or_default().push(override_of(conn, row, 1)?);
            Ok(true)
        })?;
        Ok(all)
    }

    fn base(&self, view: i64) -> Base {
        if self.books.target.is_some() && view > self.books.view { Base::Target } else { Base::Applied }
    }
}

/// Gives record keys that ascend with the local keys.
#[derive(Default)]
pub(super) struct Ids {
    batch: std::vec::IntoIter<RecordKey>,
    batches: u64,
}

impl Ids {
    pub(super) fn next(
        &mut self,
        conn: &dyn Session,
        plan: &Plan,
        number: i64,
        key: &Key,
        now: UnixMillis,
    ) -> Result<[u8; 16], SqlError> {
        loop {
            if let Some(key) = self.batch.next() {
                return Ok(*key.as_bytes());
            }
            // The first batch is as large as the new rows that follow; rows whose key was handed out
            // again aren't counted and take from later, spare batches.
            let count = match self.batches {
                0 => count_new(conn, plan, number, key)?.max(1),
                _ => SPARE_IDS,
            };
            self.batch = recordid::births(UnixMillis(now.0 + self.batches), count).into_iter();
            self.batches += 1;
        }
    }
}

fn count_new(conn: &dyn Session, plan: &Plan, number: i64, from: &Key) -> Result<usize, SqlError> {
    let (order, value) = (plan.key.order(conn, "t."), conn.key_value("?2", plan.key.is_integer()));
    let sql = format!(
        "SELECT count(*) FROM {} t WHERE {order} >= {value} AND NOT EXISTS
         (SELECT 1 FROM _wbsync_map m WHERE m.dataset = ?1 AND m.key = {})",
        plan.table,
        plan.key.in_map(conn, "t.")
    );
    let count = conn.only(&sql, &bind![number, from], |row| row.get::<i64>(0))?;
    Ok(usize::try_from(count).unwrap_or(0))
}

/// The map rows of a dataset in the order of its keys, read a page at a time.
pub(super) struct Map<'a> {
    conn: &'a dyn Session,
    books: &'a Books,
    dataset: usize,
    first: String,
    more: String,
    page: std::vec::IntoIter<Entry>,
    last: Option<Key>,
    is_done: bool,
}

impl<'a> Map<'a> {
    pub(super) fn new(conn: &'a dyn Session, books: &'a Books, dataset: usize, is_integer: bool) -> Self {
        let order = conn.map_order(is_integer);
        let rest = format!("ORDER BY {order} LIMIT {MAP_ROWS}");
        let first = format!("SELECT {ENTRY} FROM _wbsync_map WHERE dataset = ?1 {rest}");
        let more = format!("SELECT {ENTRY} FROM _wbsync_map WHERE dataset = ?1 AND {order} > ?2 {rest}");
        Self { conn, books, dataset, first, more, page: Vec::new().into_iter(), last: None, is_done: false }
    }

    pub(super) fn next(&mut self) -> Result<Option<Entry>, SqlError> {
        if self.page.len() == 0 && !self.is_done {
            let (books, number) = (self.books, self.books.datasets[self.dataset]);
            let read = |row: &dyn Row| books.entry(self.dataset, row);
            let page = match &self.last {
                None => self.conn.all(&self.first, &bind![number], read)?,
                Some(last) => self.conn.all(&self.more, &bind![number, last], read)?,
            };
            self.is_done = (page.len() as i64) < MAP_ROWS;
            self.last = page.last().map(|entry| entry.key.clone());
            self.page = page.into_iter();
        }
        Ok(self.page.next())
    }
}
