//! Capture: one pass over the mapped rows, joined with the map in key order.
//!
//! What is found is written down before it is reported: an id that got out is never given again. Memory
//! is flat but for the keys of parents and, with a rollback journal, what is reported.

use std::collections::HashMap;
use std::time::Instant;

use rusqlite::{Connection, Rows, params};

use super::books::{Books, ENTRY, Entry, override_of};
use super::key::Key;
use super::look::{self, OWN, Override, Parent, Parents};
use super::pace::Pace;
use super::plan::{Plan, Plans};
use super::snapshot::Snapshot;
use crate::connector::contract::{Base, Capture, Seen, Sighting, SinkError};
use crate::id::bytes::RecordKey;
use crate::record::recordid;
use crate::scope::audience::{Audience, Reason};
use crate::sys::clock::UnixMillis;

/// The most rows that are written down in one transaction.
const BATCH_ROWS: usize = 5_000;
/// How many ids are made at once beyond those that were counted.
const SPARE_IDS: usize = 64;

/// Receives what was found.
pub(super) type Sink<'a> = dyn FnMut(Sighting) -> Result<(), SinkError> + 'a;

/// Why a capture stopped.
#[derive(Debug)]
pub(super) enum Stop {
    Sqlite(rusqlite::Error),
    Sink(SinkError),
}

impl From<rusqlite::Error> for Stop {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
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

struct Run<'a> {
    plans: &'a Plans,
    books: &'a Books,
    /// Where to write down what is found; without it nothing is.
    writer: Option<&'a Connection>,
    now: UnixMillis,
    extent: Extent,
    sink: &'a mut Sink<'a>,
    parents: Known,
    capture: Capture,
    found: Vec<Found>,
    flush_at: usize,
    pace: Pace,
    buffer: Vec<u8>,
}

/// The rows of parent datasets, by key.
#[derive(Default)]
struct Known {
    lists: Vec<Vec<(Key, Parent)>>,
}

impl Parents for Known {
    fn find(&mut self, dataset: usize, key: &Key) -> rusqlite::Result<Option<Parent>> {
        let list = &self.lists[dataset];
        Ok(list.binary_search_by(|(known, _)| known.cmp(key)).ok().map(|at| list[at].1.clone()))
    }
}

/// Reads the snapshot, writes down through `writer` (if there is one) what changed, and reports it.
pub(super) fn run<'a>(
    plans: &'a Plans,
    books: &'a Books,
    writer: Option<&'a Connection>,
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
    let leftovers = run.leftovers(&snapshot.conn)?;
    for dataset in 0..plans.list.len() {
        run.scan(&snapshot.conn, dataset)?;
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
    fn leftovers(&self, conn: &Connection) -> rusqlite::Result<Vec<Sighting>> {
        let sql = "SELECT dataset, origin, record, base FROM _wbsync_gone ORDER BY dataset, origin, record";
        let mut statement = conn.prepare(sql)?;
        let mut rows = statement.query([])?;
        let mut leftovers = Vec::new();
        while let Some(row) = rows.next()? {
            let number: i64 = row.get(0)?;
            let Some(dataset) = self.books.datasets.iter().position(|known| *known == number) else { continue };
            let id = self.books.record_id(self.plans, dataset, row.get(1)?, row.get(2)?);
            leftovers.push(Sighting { id, base: self.base(row.get(3)?), changed: true, seen: Seen::Gone });
        }
        Ok(leftovers)
    }

    fn scan(&mut self, conn: &Connection, dataset: usize) -> Result<(), Stop> {
        let plan = &self.plans.list[dataset];
        let overrides = self.overrides(conn, dataset)?;
        let mut map = conn.prepare(&format!("SELECT {ENTRY} FROM _wbsync_map WHERE dataset = ?1 ORDER BY key"))?;
        let mut map = map.query([self.books.datasets[dataset]])?;
        let mut mapped = next(&mut map)?;
        let mut statement = conn.prepare(&plan.sql_scan)?;
        let mut rows = statement.query([])?;
        let mut ids = Ids::default();
        while let Some(row) = rows.next()? {
            self.capture.rows += 1;
            let Some(key) = Key::of(row.get_ref(0)?) else {
                self.count_private(plan, Reason::Withheld);
                continue;
            };
            while mapped.as_ref().is_some_and(|entry| entry.key < key) {
                self.vanished(dataset, mapped.take().expect("it was just there"))?;
                mapped = next(&mut map)?;
            }
            let birth = look::birth(plan, row, &mut self.buffer)?;
            let mut entry = None;
            if mapped.as_ref().is_some_and(|entry| entry.key == key) {
                let known = mapped.take().expect("it was just there");
                mapped = next(&mut map)?;
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
                    let record = ids.next(conn, plan, self.books.datasets[dataset], &key, self.now)?;
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
            if self.found.len() >= self.flush_at {
                self.flush()?;
            }
        }
        while let Some(entry) = mapped {
            self.vanished(dataset, entry)?;
            mapped = next(&mut map)?;
        }
        Ok(())
    }

    fn seen(
        &mut self,
        dataset: usize,
        row: &rusqlite::Row<'_>,
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
            self.writer.iter().flat_map(|writer| found.chunks(BATCH_ROWS).map(move |batch| (writer, batch)))
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
        if self.plans.list[dataset].is_parent {
            self.parents.lists[dataset].push((entry.key.clone(), self.books.parent(entry)));
        }
    }

    fn count_private(&mut self, plan: &Plan, reason: Reason) {
        *self.capture.private.entry((plan.name.clone(), reason)).or_default() += 1;
    }

    fn overrides(&self, conn: &Connection, dataset: usize) -> rusqlite::Result<HashMap<Key, Vec<Override>>> {
        let mut all: HashMap<Key, Vec<Override>> = HashMap::new();
        let mut statement =
            conn.prepare("SELECT key, field, shown, reason FROM _wbsync_override WHERE dataset = ?1")?;
        let mut rows = statement.query([self.books.datasets[dataset]])?;
        while let Some(row) = rows.next()? {
            if let Some(key) = Key::of(row.get_ref(0)?) {
                all.entry(key).or_default().push(override_of(row, 1)?);
            }
        }
        Ok(all)
    }

    fn base(&self, view: i64) -> Base {
        if self.books.target.is_some() && view > self.books.view { Base::Target } else { Base::Applied }
    }
}

/// Gives record keys that ascend with the local keys.
#[derive(Default)]
struct Ids {
    batch: std::vec::IntoIter<RecordKey>,
    batches: u64,
}

impl Ids {
    fn next(
        &mut self,
        conn: &Connection,
        plan: &Plan,
        number: i64,
        key: &Key,
        now: UnixMillis,
    ) -> rusqlite::Result<[u8; 16]> {
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

fn count_new(conn: &Connection, plan: &Plan, number: i64, from: &Key) -> rusqlite::Result<usize> {
    let (table, key) = (super::plan::quote(&plan.spec.table), super::plan::quote(&plan.spec.key));
    let sql = format!(
        "SELECT count(*) FROM {table} t WHERE t.{key} >= ?2 AND NOT EXISTS
         (SELECT 1 FROM _wbsync_map m WHERE m.dataset = ?1 AND m.key = t.{key})"
    );
    let count: i64 = conn.query_row(&sql, params![number, from], |row| row.get(0))?;
    Ok(usize::try_from(count).unwrap_or(0))
}

fn next(rows: &mut Rows<'_>) -> rusqlite::Result<Option<Entry>> {
    rows.next()?.map(Entry::of).transpose()
}

/// A write transaction that is rolled back unless it is committed.
#[derive(Debug)]
pub(super) struct Transaction<'a> {
    conn: &'a Connection,
}

impl<'a> Transaction<'a> {
    pub(super) fn begin(conn: &'a Connection) -> rusqlite::Result<Self> {
        conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        Ok(Self { conn })
    }

    pub(super) fn commit(self) -> rusqlite::Result<()> {
        self.conn.prepare_cached("COMMIT")?.execute([])?;
        Ok(())
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if !self.conn.is_autocommit() {
            // Closing the connection would roll back as well, so a failure here loses nothing.
            let _ = self.conn.execute_batch("ROLLBACK");
        }
    }
}
