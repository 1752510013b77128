//! What earlier captures knew of the mapping and of the tables: what a row shows because of a change of these is no edit.
//!
//! For each dataset there is its shape (fields with their columns, birth columns, the table) as of the last capture that was
//! settled, and the fields that the rows of records show. A field that is mapped now and wasn't then has whatever the
//! application put there: the record is right. A dataset that wasn't looked after for a while shows old versions.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::books::Books;
use super::connector::SqlConnector;
use super::look::{OWN, Override};
use super::plan::{Plan, Plans};
use super::session::{Row, Session, SqlError};
use crate::connector::applied::Newcomer;
use crate::connector::error::Error;
use crate::id::bytes::RecordKey;
use crate::id::name::{DatasetName, FieldName};
use crate::record::recordid::RecordId;

/// The table, in both databases; older bookkeeping gets it with the next capture.
const NAME: &str = "_wbsync_shape";
const TABLE: &str = "CREATE TABLE IF NOT EXISTS _wbsync_shape(
    dataset bigint PRIMARY KEY, known text, later text, seen bigint NOT NULL, shown text, resumed bigint NOT NULL)";
/// In `resumed`, of a dataset that isn't mapped.
const PAUSED: i64 = i64::MAX;
/// From how many rows on it is suspicious that most have another birth than before, and from how many on that all have.
const REBORN_MOST: u64 = 16;
const REBORN_ALL: u64 = 3;

/// What decides what the rows of a dataset say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Shape {
    /// By field, its columns.
    fields: BTreeMap<String, Vec<String>>,
    birth: Vec<String>,
    table: String,
    /// The number by which the database knows the table.
    number: Option<i64>,
}

/// What is written down of a dataset.
#[derive(Debug)]
struct Noted {
    known: Option<Shape>,
    later: Option<Shape>,
    seen: i64,
    shown: Option<BTreeSet<String>>,
    resumed: i64,
}

/// What is new about a dataset in this capture, and what it found of its rows.
#[derive(Debug, Default)]
pub(super) struct Change {
    now: Shape,
    before: Option<Shape>,
    /// Fields, by index, that rows of other instances don't show yet.
    hidden: Vec<usize>,
    /// Fields that rows of our own may not show yet.
    pub(super) fresh: Vec<FieldName>,
    /// Whether births are read anew.
    pub(super) rebirth: bool,
    /// Whether the table is another one, or has another name.
    is_elsewhere: bool,
    /// Whether the last capture knew the dataset and left it out.
    pub(super) resumed: bool,
    /// Whether rows of other instances may show an older version than the applied view.
    pub(super) is_stale: bool,
    /// Rows that were met as they were known, by their key and birth.
    pub(super) met: u64,
    /// Rows whose key was another row's.
    pub(super) reborn: u64,
    /// Rows that are gone.
    pub(super) gone: u64,
}

/// What is odd about a dataset's rows, so that nothing may be taken from them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Odd {
    /// The table is another one, and none of the known rows is in it.
    Elsewhere,
    /// Most rows have another birth than before.
    Reborn(u64),
}

/// The changes, by dataset.
#[derive(Debug)]
pub(super) struct Shapes {
    pub(super) list: Vec<Change>,
    /// Whether there is something to write down.
    is_new: bool,
}

impl Plan {
    fn maps(&self, field: &str) -> bool {
        self.fields.iter().any(|known| known.name.as_str() == field)
    }
}

impl Shape {
    fn of(conn: &dyn Session, plan: &Plan) -> Result<Self, SqlError> {
        let columns =
            |field: &super::plan::FieldPlan| field.columns.0.iter().map(|column| column.name.clone()).collect();
        Ok(Self {
            fields: plan.fields.iter().map(|field| (field.name.to_string(), columns(field))).collect(),
            birth: plan.spec.birth.clone(),
            table: conn.fold(&plan.spec.table),
            number: conn.number_of(&plan.spec.table)?,
        })
    }

    fn names(&self) -> BTreeSet<String> {
        self.fields.keys().cloned().collect()
    }
}

impl Noted {
    /// Reads what is written down, by the numbers of datasets; `None` where the bookkeeping is older.
    fn read_all(conn: &dyn Session) -> Result<Option<BTreeMap<i64, Self>>, SqlError> {
        if conn.number_of(NAME)?.is_none() {
            return Ok(None);
        }
        let sql = "SELECT dataset, known, later, seen, shown, resumed FROM _wbsync_shape";
        let all = conn.all(sql, &[], |row| {
            let noted = Self {
                known: read_json(row, 1)?,
                later: read_json(row, 2)?,
                seen: row.get(3)?,
                shown: read_json(row, 4)?,
                resumed: row.get(5)?,
            };
            Ok((row.get(0)?, noted))
        })?;
        Ok(Some(all.into_iter().collect()))
    }

    /// Returns the shape as of the last capture that was settled.
    fn settled(self, settled: i64) -> Option<Shape> {
        if self.seen <= settled && self.later.is_some() { self.later } else { self.known }
    }
}

/// What can't be read any more is as if it had never been written.
fn read_json<T: for<'de> Deserialize<'de>>(row: &dyn Row, at: usize) -> Result<Option<T>, SqlError> {
    let text: Option<String> = row.get(at)?;
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("names and numbers")
}

/// Makes the table if it isn't there, adds the datasets that are new, and notes which fields and datasets are not mapped any
/// more; the caller holds a write transaction.
fn prepare(conn: &dyn Session, plans: &Plans, books: &Books) -> Result<(), SqlError> {
    let noted = Noted::read_all(conn)?;
    let is_first = noted.is_none();
    if is_first {
        conn.execute(TABLE, &[])?;
    }
    let mut noted = noted.unwrap_or_default();
    for (dataset, plan) in plans.list.iter().enumerate() {
        let number = books.datasets[dataset];
        match noted.remove(&number) {
            Some(noted) => forget_fields(conn, number, noted, plan)?,
            None => {
                // Nothing says what older bookkeeping was made with: what it knows rows of is as it is now.
                let has_rows = "SELECT 1 FROM _wbsync_map WHERE dataset = ?1 LIMIT 1";
                let is_known = is_first && conn.exists(has_rows, &bind![number])?;
                let now = if is_known { Some(Shape::of(conn, plan)?) } else { None };
                let (known, shown) = (now.as_ref().map(json), now.as_ref().map(|now| json(&now.names())));
                let sql = "INSERT INTO _wbsync_shape(dataset, known, later, seen, shown, resumed)
                           VALUES(?1, ?2, NULL, 0, ?3, 0)";
                conn.execute(sql, &bind![number, known, shown])?;
            }
        }
    }
    for number in unmapped(conn, books)? {
        let sql = "UPDATE _wbsync_shape SET shown = NULL, resumed = ?2 WHERE dataset = ?1";
        if conn.execute(sql, &bind![number, PAUSED])? == 0 {
            let sql = "INSERT INTO _wbsync_shape(dataset, seen, resumed) VALUES(?1, 0, ?2)";
            conn.execute(sql, &bind![number, PAUSED])?;
        }
    }
    Ok(())
}

/// Returns the datasets that the bookkeeping knows, that the mapping doesn't have, and that isn't written down yet.
fn unmapped(conn: &dyn Session, books: &Books) -> Result<Vec<i64>, SqlError> {
    let sql = "SELECT d.dataset FROM _wbsync_dataset d
               WHERE NOT EXISTS (SELECT 1 FROM _wbsync_shape s WHERE s.dataset = d.dataset AND s.resumed = ?1)";
    let mut numbers: Vec<i64> = conn.all(sql, &bind![PAUSED], |row| row.get(0))?;
    numbers.retain(|number| !books.datasets.contains(number));
    Ok(numbers)
}

/// Forgets fields that are not mapped any more: should they come back, their columns have what nobody looked after.
fn forget_fields(conn: &dyn Session, number: i64, mut noted: Noted, plan: &Plan) -> Result<(), SqlError> {
    let mut is_changed = false;
    for shape in [&mut noted.known, &mut noted.later].into_iter().flatten() {
        let before = shape.fields.len();
        shape.fields.retain(|name, _| plan.maps(name));
        is_changed |= shape.fields.len() < before;
    }
    if let Some(shown) = &mut noted.shown {
        let before = shown.len();
        shown.retain(|name| plan.maps(name));
        is_changed |= shown.len() < before;
    }
    if is_changed {
        let sql = "UPDATE _wbsync_shape SET known = ?2, later = ?3, shown = ?4 WHERE dataset = ?1";
        let (known, later) = (noted.known.as_ref().map(json), noted.later.as_ref().map(json));
        conn.execute(sql, &bind![number, known, later, noted.shown.as_ref().map(json)])?;
    }
    Ok(())
}

/// Tells whether `prepare` would change anything.
fn is_prepared(conn: &dyn Session, plans: &Plans, books: &Books) -> Result<bool, SqlError> {
    let Some(all) = Noted::read_all(conn)? else { return Ok(false) };
    if !unmapped(conn, books)?.is_empty() {
        return Ok(false);
    }
    for (dataset, plan) in plans.list.iter().enumerate() {
        let Some(noted) = all.get(&books.datasets[dataset]) else { return Ok(false) };
        let shapes = [&noted.known, &noted.later].into_iter().flatten().flat_map(|shape| shape.fields.keys());
        if !shapes.chain(noted.shown.iter().flatten()).all(|name| plan.maps(name)) {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Shapes {
    /// Compares what is with what was.
    pub(super) fn read(conn: &dyn Session, plans: &Plans, books: &Books) -> Result<Self, SqlError> {
        let mut all = Noted::read_all(conn)?.unwrap_or_default();
        let mut shapes = Self { list: Vec::new(), is_new: false };
        for (dataset, plan) in plans.list.iter().enumerate() {
            let Some(noted) = all.remove(&books.datasets[dataset]) else {
                shapes.list.push(Change::default());
                continue;
            };
            let mut change = Change { now: Shape::of(conn, plan)?, ..Change::default() };
            change.resumed = noted.resumed > books.settled;
            change.is_stale = noted.shown.is_none();
            let of_fields = |shown: &BTreeSet<String>| {
                let names = plan.fields.iter().map(|field| &field.name);
                names.filter(|name| !shown.contains(name.as_str())).cloned().collect()
            };
            change.fresh = noted.shown.as_ref().map(of_fields).unwrap_or_default();
            change.before = noted.settled(books.settled);
            if let Some(before) = &change.before {
                let is_new = |field: &super::plan::FieldPlan| {
                    before.fields.get(field.name.as_str()) != change.now.fields.get(field.name.as_str())
                };
                // A dataset that wasn't looked after is compared as a whole.
                let fields = plan.fields.iter().enumerate().filter(|(_, field)| !change.is_stale && is_new(field));
                change.hidden = fields.map(|(index, _)| index).collect();
                change.rebirth = before.birth != change.now.birth;
                change.is_elsewhere = (&before.table, before.number) != (&change.now.table, change.now.number);
            }
            shapes.is_new |= change.resumed || change.before.as_ref() != Some(&change.now);
            shapes.list.push(change);
        }
        Ok(shapes)
    }

    /// Tells whether all rows of a dataset have to be looked at.
    pub(super) fn must_read(&self, dataset: usize) -> bool {
        let change = &self.list[dataset];
        change.resumed || change.before.as_ref().is_some_and(|before| *before != change.now)
    }

    /// Writes down what a capture knew; it counts once `number` is settled. The caller holds a write transaction.
    pub(super) fn keep(&self, conn: &dyn Session, books: &Books, number: i64) -> Result<(), SqlError> {
        for (change, dataset) in self.list.iter().zip(&books.datasets) {
            let sql = "UPDATE _wbsync_shape SET known = ?2, later = ?3, seen = ?4, resumed = ?5 WHERE dataset = ?1";
            let before = change.before.as_ref().map(json);
            let resumed = if change.resumed { number } else { 0 };
            conn.execute(sql, &bind![dataset, before, json(&change.now), number, resumed])?;
        }
        Ok(())
    }

    /// Tells whether there is something to write down.
    pub(super) fn is_new(&self) -> bool {
        self.is_new
    }

    /// Returns what is odd about the rows that were looked at so far. `whole` tells of which datasets those are all, in order.
    pub(super) fn odd(
        &self,
        books: &Books,
        conn: Option<&dyn Session>,
        whole: impl Fn(usize) -> bool,
    ) -> Result<Option<(usize, Odd)>, SqlError> {
        for (dataset, change) in self.list.iter().enumerate() {
            if change.is_elsewhere && change.met == 0 && change.gone > 0 {
                return Ok(Some((dataset, Odd::Elsewhere)));
            }
            if change.reborn < REBORN_ALL {
                continue;
            }
            let known = match (whole(dataset), conn) {
                (true, _) => change.met + change.gone,
                (false, Some(conn)) => {
                    let sql = "SELECT count(*) FROM _wbsync_map WHERE dataset = ?1";
                    conn.only(sql, &bind![books.datasets[dataset]], |row| row.get::<i64>(0))?.unsigned_abs()
                }
                (false, None) => continue,
            };
            if change.reborn >= known || change.reborn >= REBORN_MOST && 2 * change.reborn > known {
                return Ok(Some((dataset, Odd::Reborn(change.reborn))));
            }
        }
        Ok(None)
    }
}

impl Change {
    /// Tells whether no capture has known the dataset.
    pub(super) fn is_first(&self) -> bool {
        self.before.is_none()
    }

    /// Returns the fields that a row of another instance doesn't show yet, with what it shows instead; none that have a reason
    /// already.
    pub(super) fn hide(
        &self,
        plan: &Plan,
        row: &dyn Row,
        origin: i64,
        known: &[Override],
    ) -> Result<Vec<Override>, SqlError> {
        let mut more = Vec::new();
        for index in self.hidden.iter().filter(|_| origin != OWN) {
            let (field, shown) = (plan.fields[*index].name.clone(), row.raw(index + 1)?.to_raw());
            if !known.iter().any(|known| known.field == field) {
                more.push(Override { field, shown, reason: "it was not mapped before".to_owned() });
            }
        }
        Ok(more)
    }
}

impl SqlConnector {
    /// Reads the bookkeeping, which then knows what of the mapping isn't there any more.
    pub(super) fn prepared(&self, doing: &'static str) -> Result<Books, Error> {
        let books = self.books(doing)?;
        let failed = |source| self.failed(doing, source);
        if !is_prepared(self.session(), &self.plans, &books).map_err(failed)? {
            self.write(doing, |conn| prepare(conn, &self.plans, &books))?;
        }
        Ok(books)
    }

    /// See `Connector::newcomers`.
    pub(super) fn lagging_datasets(&self) -> Result<Vec<Newcomer>, Error> {
        let doing = "look for datasets that were mapped later";
        let Some(books) = self.existing_books(doing)? else { return Ok(Vec::new()) };
        newcomers(self.session(), &self.plans, &books).map_err(|source| self.failed(doing, source))
    }

    /// See `Connector::caught_up`.
    pub(super) fn note_caught_up(&self, datasets: &[DatasetName]) -> Result<(), Error> {
        let doing = "note what rows show";
        let books = self.books(doing)?;
        self.write(doing, |conn| caught_up(conn, &self.plans, &books, datasets))
    }

    /// See `Connector::foreign`.
    pub(super) fn foreign_records(&self, dataset: &DatasetName) -> Result<Vec<RecordId>, Error> {
        let doing = "list rows of others";
        let (Some(books), Some(dataset)) = (self.existing_books(doing)?, self.plans.index(dataset)) else {
            return Ok(Vec::new());
        };
        foreign(self.session(), &self.plans, &books, dataset).map_err(|source| self.failed(doing, source))
    }
}

/// Returns the datasets whose rows don't show all that records say, whatever the position says.
fn newcomers(conn: &dyn Session, plans: &Plans, books: &Books) -> Result<Vec<Newcomer>, SqlError> {
    let mut found = Vec::new();
    let all = Noted::read_all(conn)?.unwrap_or_default();
    for (dataset, plan) in plans.list.iter().enumerate() {
        let Some(noted) = all.get(&books.datasets[dataset]) else { continue };
        let is_shown = |shown: &BTreeSet<String>| plan.fields.iter().all(|field| shown.contains(field.name.as_str()));
        let with_own = match &noted.shown {
            Some(shown) if is_shown(shown) => continue,
            shown => shown.is_some(),
        };
        found.push(Newcomer { dataset: plan.name.clone(), with_own });
    }
    Ok(found)
}

/// Notes that the rows of a dataset show what records say.
fn caught_up(conn: &dyn Session, plans: &Plans, books: &Books, names: &[DatasetName]) -> Result<(), SqlError> {
    for dataset in names.iter().filter_map(|name| plans.index(name)) {
        let shown = json(&Shape::of(conn, &plans.list[dataset])?.names());
        let sql = "UPDATE _wbsync_shape SET shown = ?2 WHERE dataset = ?1";
        conn.execute(sql, &bind![books.datasets[dataset], shown])?;
    }
    Ok(())
}

/// Returns the records of other instances that rows of a dataset stand for.
fn foreign(conn: &dyn Session, plans: &Plans, books: &Books, dataset: usize) -> Result<Vec<RecordId>, SqlError> {
    let sql = "SELECT origin, record FROM _wbsync_map WHERE dataset = ?1 AND origin > ?2 ORDER BY origin, record";
    conn.all(sql, &bind![books.datasets[dataset], OWN], |row| {
        let record: [u8; 16] = row.get(1)?;
        let key = RecordKey::from_bytes(record);
        Ok(books.record_id(plans, dataset, row.get(0)?, *key.as_bytes()))
    })
}
