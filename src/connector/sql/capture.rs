//! Capture: one pass over the mapped rows, joined with the map in key order.
//!
//! What is found is written down before it is reported: an id that got out is never given again. Memory
//! is flat but for the keys of parents and, with a rollback journal, what is reported.

use std::collections::BTreeMap;
use std::time::Instant;

use super::apart::{self, BEHIND, STAYS};
use super::books::{Books, ENTRY, Entry, VANISHED_BEHIND};
use super::circle;
use super::join::{Entries, Ids, Join, Map};
use super::key::{Key, bound};
use super::look::{self, OWN, Override};
use super::outbox;
use super::pace::{HOLD, Pace};
use super::parents::{Known, Lookup};
use super::plan::{Plan, Plans};
use super::session::{Row, Session, Snapshot, SqlError, Transaction};
use super::shape::{Odd, Shapes};
use super::touched::{Noted, Touched};
use crate::connector::contract::{Base, Capture, Seen, Sighting, SinkError};
use crate::id::bytes::RecordKey;
use crate::record::recordid::RecordId;
use crate::scope::audience::{Audience, Reason};
use crate::sys::clock::UnixMillis;

/// The most rows that are written down in one transaction.
const BATCH_ROWS: usize = 5_000;

/// Receives what was found.
pub(super) type Sink<'a> = dyn FnMut(Sighting) -> Result<(), SinkError> + 'a;

/// Why a capture stopped.
#[derive(Debug)]
pub(super) enum Stop {
    Sql(SqlError),
    Sink(SinkError),
    /// Nothing may be taken from the rows of a dataset.
    Odd(usize, Odd),
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
        /// What is to be said beside the row, and isn't yet.
        inherits: Option<String>,
    },
    Vanished(Entry),
    /// The row is as it was known, but whether all is there that it refers to.
    Flagged(Entry),
    /// The row is as it was known.
    Nothing,
}

impl Write {
    fn entry(&self) -> Option<&Entry> {
        match self {
            Self::Seen { entry, .. } | Self::Vanished(entry) | Self::Flagged(entry) => Some(entry),
            Self::Nothing => None,
        }
    }
}

/// What is to be said beside a row that is seen, and whether that is new.
struct Inherits {
    is_new: bool,
    audience: Option<String>,
}

/// One capture.
pub(super) struct Run<'a> {
    pub(super) plans: &'a Plans,
    pub(super) books: &'a Books,
    /// Where to write down what is found; without it nothing is.
    writer: Option<&'a dyn Session>,
    pub(super) now: UnixMillis,
    extent: Extent,
    sink: &'a mut Sink<'a>,
    pub(super) parents: Known,
    /// What triggers noted, if only that is looked at.
    pub(super) touched: Option<Touched>,
    pub(super) shapes: Shapes,
    pub(super) is_restoring: bool,
    /// By dataset, the marks that no row can be matched with.
    pub(super) lost: Vec<Vec<usize>>,
    pub(super) capture: Capture,
    found: Vec<Found>,
    flush_at: usize,
    pace: Pace,
    pub(super) buffer: Vec<u8>,
}

/// What a capture reads.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) snapshot: Snapshot,
    /// What triggers noted, where there are any.
    pub(super) noted: Option<Noted>,
    /// Whether that is all that is looked at.
    pub(super) is_part: bool,
    /// Whether the rows may be of any age.
    pub(super) is_restoring: bool,
    /// Tables that are read as a whole because their triggers don't stand.
    pub(super) unwatched: Vec<String>,
}

/// Reads the snapshot, writes down through `writer` (if there is one) what changed, and reports it.
pub(super) fn run<'a>(
    plans: &'a Plans,
    books: &'a Books,
    writer: Option<&'a dyn Session>,
    work: Work,
    (now, extent): (UnixMillis, Extent),
    sink: &'a mut Sink<'a>,
) -> Result<Capture, Stop> {
    let Work { snapshot, mut noted, is_part, is_restoring, unwatched } = work;
    let number = books.settled.unsigned_abs() + 1;
    let shapes = Shapes::read(snapshot.session.as_ref(), plans, books)?;
    let mut run = Run {
        plans,
        books,
        writer,
        now,
        extent,
        sink,
        parents: Known { lists: plans.list.iter().map(|_| Vec::new()).collect() },
        touched: noted.as_mut().filter(|_| is_part).map(|noted| Touched::new(noted, &shapes)),
        shapes,
        is_restoring,
        lost: Vec::new(),
        capture: Capture { number, is_part, unwatched, ..Capture::default() },
        found: Vec::new(),
        flush_at: if snapshot.blocks_writers { usize::MAX } else { BATCH_ROWS },
        pace: Pace::default(),
        buffer: Vec::new(),
    };
    let leftovers = run.leftovers(snapshot.session.as_ref())?;
    run.look_for_lost(snapshot.session.as_ref())?;
    if is_part {
        run.look_at_touched(snapshot.session.as_ref())?;
    } else {
        for datasets in plans.groups() {
            run.scan_group(snapshot.session.as_ref(), &datasets)?;
        }
    }
    drop(snapshot);
    run.flush()?;
    run.give_up_lost();
    for sighting in leftovers {
        run.report(sighting)?;
    }
    if let (Some(writer), true) = (writer, run.shapes.is_new()) {
        // What was reported counts only once it is settled.
        let transaction = Transaction::begin(writer)?;
        run.shapes.keep(writer, books, books.settled + i64::from(run.capture.reported > 0))?;
        transaction.commit()?;
    }
    if let (Some(noted), Some(writer)) = (noted, writer) {
        let read = run.touched.take().map_or_else(|| vec![true; plans.list.len()], |touched| touched.read);
        noted.take_away(writer, plans, books, &read, run.capture.reported > 0)?;
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
            let base: i64 = row.get(3)?;
            leftovers.push(gone(id, self.base(base), base == VANISHED_BEHIND));
            Ok(true)
        })?;
        Ok(leftovers)
    }

    /// Looks at all rows of a dataset, or of those of a circle.
    pub(super) fn scan_group(&mut self, conn: &dyn Session, datasets: &[usize]) -> Result<(), Stop> {
        if self.plans.list[datasets[0]].circle.is_some() {
            circle::learn(self, conn, datasets)?;
        }
        datasets.iter().try_for_each(|dataset| self.scan(conn, *dataset))
    }

    /// Looks at all rows of a dataset.
    pub(super) fn scan(&mut self, conn: &dyn Session, dataset: usize) -> Result<(), Stop> {
        let plan = &self.plans.list[dataset];
        let overrides = self.books.overrides_in(conn, dataset, None)?;
        let map = Map::new(conn, self.books, dataset, plan.key.is_integer());
        let mut join = Join::new(dataset, Entries::All(map), overrides, Ids::default())?;
        conn.scan_into(&plan.sql_scan, |row| self.meet(conn, &mut join, row))?;
        self.rest(join)
    }

    /// Looks at the rows with some keys, in order; returns the ids that are left.
    pub(super) fn look_at(&mut self, conn: &dyn Session, dataset: usize, keys: &[Key], ids: Ids) -> Result<Ids, Stop> {
        let (plan, number) = (&self.plans.list[dataset], self.books.datasets[dataset]);
        let list = conn.list(keys, plan.key.is_integer());
        let sql = format!("SELECT {ENTRY} FROM _wbsync_map WHERE dataset = ?1 AND {}", conn.among("key", false, "?2"));
        let mut entries = conn.all(&sql, &bind![number, list], |row| self.books.entry(dataset, row))?;
        entries.sort_by(|a, b| a.key.cmp(&b.key));
        let overrides = self.books.overrides_in(conn, dataset, Some(list.as_str()))?;
        let mut join = Join::new(dataset, Entries::Some(entries.into_iter()), overrides, ids)?;
        match &plan.sql_some {
            Some(sql) => conn.each_into(sql, &bind![list], |row| match Key::of(row.raw(0)?) {
                // A database may take another key for equal.
                Some(key) if keys.binary_search(&key).is_err() => Ok(()),
                _ => self.meet(conn, &mut join, row),
            })?,
            None => {
                for key in keys {
                    conn.each_into(&plan.sql_row, &bound(&plan.key.given(key)), |row| self.meet(conn, &mut join, row))?;
                }
            }
        }
        let ids = std::mem::take(&mut join.ids);
        self.rest(join)?;
        Ok(ids)
    }

    /// Looks at the next row, and at what the map has up to it.
    fn meet(&mut self, conn: &dyn Session, join: &mut Join<'_>, row: &dyn Row) -> Result<(), Stop> {
        let (dataset, plan) = (join.dataset, &self.plans.list[join.dataset]);
        self.capture.rows += 1;
        let Some(key) = Key::of(row.raw(0)?).filter(|key| !join.repeats(key)) else {
            self.count_private(plan, Reason::Withheld);
            return Ok(());
        };
        while let Some(known) = join.before(&key)? {
            self.vanished(dataset, known)?;
        }
        let birth = look::birth(plan, row, &mut self.buffer)?;
        let mut entry = None;
        if let Some(known) = join.at(&key)? {
            let change = &mut self.shapes.list[dataset];
            if known.birth == birth || change.rebirth {
                change.met += 1;
                entry = Some(Entry { birth, ..known });
            } else {
                change.reborn += 1;
                self.vanished(dataset, known)?;
            }
        }
        match entry {
            Some(entry) if entry.is_stub() => {
                self.remember(dataset, &entry);
                if self.shapes.list[dataset].rebirth {
                    self.found.push(Found { dataset, write: Write::Flagged(entry), report: None });
                }
            }
            Some(entry) => {
                let overrides = join.overrides.get(&entry.key).map_or(&[][..], Vec::as_slice);
                let inherits = plan.said_again(&entry);
                let entry = Entry { rule: inherits.clone().or_else(|| entry.rule.clone()), ..entry };
                self.seen(conn, dataset, row, entry, overrides, Inherits { is_new: false, audience: inherits })?;
            }
            None => {
                let record = match plan.circle.and_then(|_| self.parents.get(dataset, &key)) {
                    Some(learned) => learned.record,
                    None => join.ids.next(conn, plan, self.books.datasets[dataset], &key, self.now)?,
                };
                let audience = Audience::Private(Reason::Chosen);
                let (seen, view) = (0, self.books.view);
                let inherited = self.inherited(conn, dataset, &key, birth)?;
                let rule = inherited.as_ref().map(|inherited| inherited.audience.clone());
                let entry = Entry { key, origin: OWN, record, birth, digest: 0, audience, seen, view, flags: 0, rule };
                let inherits = inherited.and_then(|inherited| self.inherit(dataset, &entry, inherited));
                self.seen(conn, dataset, row, entry, &[], Inherits { is_new: true, audience: inherits })?;
            }
        }
        if self.found.len() >= self.flush_at { self.flush() } else { Ok(()) }
    }

    /// What the map has beyond the last row is gone.
    fn rest(&mut self, mut join: Join<'_>) -> Result<(), Stop> {
        while let Some(known) = join.take()? {
            self.vanished(join.dataset, known)?;
        }
        Ok(())
    }

    fn seen(
        &mut self,
        conn: &dyn Session,
        dataset: usize,
        row: &dyn Row,
        mut entry: Entry,
        overrides: &[Override],
        Inherits { is_new: newborn, audience: inherits }: Inherits,
    ) -> Result<(), Stop> {
        let plan = &self.plans.list[dataset];
        let change = &self.shapes.list[dataset];
        let hidden = if newborn { Vec::new() } else { change.hide(plan, row, entry.origin, overrides)? };
        let hides = !hidden.is_empty();
        let is_again = hides || change.resumed && entry.origin == OWN;
        let fresh = if newborn || entry.origin != OWN { Vec::new() } else { change.fresh.clone() };
        let is_reborn = change.rebirth;
        let overrides = &[overrides, &hidden].concat()[..];
        let marks = self.books.marks(dataset, entry.rule.as_deref());
        let mut parents = Lookup { known: &self.parents, touched: self.touched.as_ref(), conn, books: self.books };
        let look = look::look(plan, row, entry.origin, marks, overrides, &mut parents, &mut self.buffer)?;
        if let Some(Audience::Private(reason)) = &look.audience {
            self.count_private(plan, *reason);
        }
        let stays = apart::flags(plan, row, &entry)?;
        let is_as_known = look.digest == entry.digest && entry.flags & STAYS == stays;
        let known = !newborn && !is_again && is_as_known && entry.seen <= self.books.settled;
        let before = (!newborn).then(|| self.books.parent(&entry));
        let behind = apart::behind(plan, &entry, overrides, &look);
        let flags = look.flags(entry.flags) & !STAYS | stays;
        let is_flagged = std::mem::replace(&mut entry.flags, flags) == flags && !is_reborn;
        let (base, stays) = (self.base_of(dataset, &entry), apart::stays(stays));
        if !known {
            let fields = look.fields(plan, self.plans, &self.books.origins);
            let id = self.books.record_id(self.plans, dataset, entry.origin, entry.record);
            let seen = Seen::Row { audience: look.audience.clone(), fields };
            let report = Some(Sighting { id, base, changed: true, seen, fresh, beside: None, behind, stays });
            entry.digest = look.digest;
            entry.seen = self.books.settled + 1;
            if let Some(audience) = &look.audience {
                entry.audience = audience.clone();
            }
            match &mut self.touched {
                None => self.remember(dataset, &entry),
                Some(touched) => touched.saw(self.plans, dataset, &entry.key, before, Some(self.books.parent(&entry))),
            }
            let still: Vec<Override> = overrides.iter().filter(|known| look.hides(plan, known)).cloned().collect();
            let edited = hides || still.len() != overrides.len();
            self.found.push(Found {
                dataset,
                write: Write::Seen { entry, edited, overrides: still, inherits },
                report,
            });
        } else {
            self.remember(dataset, &entry);
            if self.extent == Extent::Every {
                let id = self.books.record_id(self.plans, dataset, entry.origin, entry.record);
                let seen = Seen::Row {
                    audience: look.audience.clone(),
                    fields: look.fields(plan, self.plans, &self.books.origins),
                };
                let report = Some(Sighting { id, base, changed: false, seen, fresh, beside: None, behind, stays });
                self.found.push(Found { dataset, write: Write::Nothing, report });
            }
            if !is_flagged {
                self.found.push(Found { dataset, write: Write::Flagged(entry), report: None });
            }
        }
        Ok(())
    }

    fn vanished(&mut self, dataset: usize, entry: Entry) -> Result<(), Stop> {
        if let Some(touched) = &mut self.touched {
            touched.saw(self.plans, dataset, &entry.key, Some(self.books.parent(&entry)), None);
        }
        self.shapes.list[dataset].gone += u64::from(!entry.is_stub());
        if entry.rule.is_some() {
            let left = (self.plans.list[dataset].name.clone(), RecordKey::from_bytes(entry.record));
            self.capture.heirs.gone.push(left);
        }
        let report = (!entry.is_stub()).then(|| {
            let id = self.books.record_id(self.plans, dataset, entry.origin, entry.record);
            gone(id, self.base_of(dataset, &entry), entry.flags & BEHIND != 0)
        });
        self.found.push(Found { dataset, write: Write::Vanished(entry), report });
        if self.found.len() >= self.flush_at { self.flush() } else { Ok(()) }
    }

    /// Writes down what was found, then reports it.
    fn flush(&mut self) -> Result<(), Stop> {
        let whole = |dataset: usize| self.touched.as_ref().is_none_or(|touched| touched.read[dataset]);
        if let Some((dataset, odd)) = self.shapes.odd(self.books, self.writer, whole)?.filter(|_| !self.is_restoring) {
            return Err(Stop::Odd(dataset, odd));
        }
        let found = std::mem::take(&mut self.found);
        for (writer, batch) in
            self.writer.into_iter().flat_map(|writer| found.chunks(BATCH_ROWS).map(move |batch| (writer, batch)))
        {
            self.pace.room(HOLD / 2);
            let transaction = Transaction::begin(writer)?;
            let begin = Instant::now();
            self.write_down(writer, batch)?;
            transaction.commit()?;
            self.pace.ended(begin);
        }
        for sighting in found.into_iter().filter_map(|found| found.report) {
            self.report(sighting)?;
        }
        Ok(())
    }

    /// Writes down what was found, in few statements. A row that vanished makes room for one with its key, so the order stays.
    fn write_down(&self, writer: &dyn Session, batch: &[Found]) -> Result<(), SqlError> {
        let kind = |found: &Found| (found.dataset, matches!(found.write, Write::Vanished(_)));
        let written: Vec<&Found> = batch.iter().filter(|found| !matches!(found.write, Write::Nothing)).collect();
        for found in written.chunk_by(|a, b| kind(a) == kind(b)) {
            let (dataset, is_vanished) = kind(found[0]);
            let entries: Vec<Entry> = found.iter().filter_map(|found| found.write.entry().cloned()).collect();
            if is_vanished {
                self.books.vanish_all(writer, dataset, &entries)?;
                continue;
            }
            self.books.put_all(writer, dataset, &entries)?;
            let (mut reported, mut edited) = (Vec::new(), Vec::new());
            for found in found {
                if let Write::Seen { entry, edited: is_edited, overrides, inherits } = &found.write {
                    if let Some(audience) = inherits {
                        self.books.set_rule(writer, dataset, &entry.key, audience)?;
                    }
                    reported.push(entry.key.clone());
                    edited.extend(is_edited.then_some((&entry.key, &overrides[..])));
                }
            }
            if self.touched.as_ref().is_some_and(|touched| touched.notes_reports(dataset)) {
                outbox::reported(writer, self.books, dataset, &reported)?;
            }
            self.books.set_all_overrides(writer, dataset, &edited)?;
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
        if self.touched.is_none() && plan.is_parent && plan.circle.is_none() {
            self.parents.lists[dataset].push((entry.key.clone(), self.books.parent(entry)));
        }
    }

    fn count_private(&mut self, plan: &Plan, reason: Reason) {
        *self.capture.private.entry((plan.name.clone(), reason)).or_default() += 1;
    }

    /// Returns the view that a row was last in step with, as far as that is known.
    fn base_of(&self, dataset: usize, entry: &Entry) -> Base {
        match self.base(entry.view) {
            Base::Applied if entry.origin != OWN && self.shapes.list[dataset].is_stale => Base::Neither,
            base => base,
        }
    }

    fn base(&self, view: i64) -> Base {
        if self.books.target.is_some() && view > self.books.view { Base::Target } else { Base::Applied }
    }
}

/// Tells that a row is gone; `is_behind` if it showed an older version than its record has.
fn gone(id: RecordId, base: Base, is_behind: bool) -> Sighting {
    let behind = is_behind.then(BTreeMap::new);
    Sighting { id, base, changed: true, seen: Seen::Gone, fresh: Vec::new(), beside: None, behind, stays: None }
}
