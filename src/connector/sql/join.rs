//! Joins the rows of a dataset with what the map has of them, both in the order of their keys, and gives ids to new rows.

use std::collections::HashMap;

use super::books::{Books, ENTRY, Entry};
use super::key::Key;
use super::look::Override;
use super::plan::Plan;
use super::session::{Row, Session, SqlError};
use crate::id::bytes::RecordKey;
use crate::record::recordid;
use crate::sys::clock::UnixMillis;

/// How many ids are made at once beyond those that were counted.
const SPARE_IDS: usize = 64;
/// How many rows of the map are read at once.
const MAP_ROWS: i64 = 2_000;

/// The map rows beside the rows of a dataset, both in the order of their keys.
pub(super) struct Join<'a> {
    pub(super) dataset: usize,
    entries: Entries<'a>,
    next: Option<Entry>,
    /// The key of the last row.
    last: Option<Key>,
    pub(super) overrides: HashMap<Key, Vec<Override>>,
    pub(super) ids: Ids,
}

pub(super) enum Entries<'a> {
    All(Map<'a>),
    Some(std::vec::IntoIter<Entry>),
}

impl<'a> Join<'a> {
    pub(super) fn new(
        dataset: usize,
        entries: Entries<'a>,
        overrides: HashMap<Key, Vec<Override>>,
        ids: Ids,
    ) -> Result<Self, SqlError> {
        let mut join = Self { dataset, entries, next: None, last: None, overrides, ids };
        join.take()?;
        Ok(join)
    }

    /// Notes the next row, and tells whether the one before had the same key. Only tables that hold the rows of others too let
    /// that happen: PostgreSQL's inheritance.
    pub(super) fn repeats(&mut self, key: &Key) -> bool {
        let repeats = self.last.as_ref() == Some(key);
        self.last = Some(key.clone());
        repeats
    }

    /// Takes the next map row.
    pub(super) fn take(&mut self) -> Result<Option<Entry>, SqlError> {
        let following = match &mut self.entries {
            Entries::All(map) => map.next()?,
            Entries::Some(entries) => entries.next(),
        };
        Ok(std::mem::replace(&mut self.next, following))
    }

    /// Takes the next map row if it comes before a key.
    pub(super) fn before(&mut self, key: &Key) -> Result<Option<Entry>, SqlError> {
        let is_before = self.next.as_ref().is_some_and(|entry| entry.key < *key);
        if is_before { self.take() } else { Ok(None) }
    }

    /// Takes the next map row if it is that of a key.
    pub(super) fn at(&mut self, key: &Key) -> Result<Option<Entry>, SqlError> {
        let is_there = self.next.as_ref().is_some_and(|entry| entry.key == *key);
        if is_there { self.take() } else { Ok(None) }
    }
}

/// Gives record keys that ascend with the local keys.
#[derive(Default)]
pub(super) struct Ids {
    batch: std::vec::IntoIter<RecordKey>,
    batches: u64,
    /// How many there may be, if that is known.
    expected: Option<usize>,
}

impl Ids {
    /// Makes ids for at most so many new rows.
    pub(super) fn expecting(rows: usize) -> Self {
        Self { expected: Some(rows), ..Self::default() }
    }

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
            let count = match (self.batches, self.expected) {
                (0, Some(expected)) => expected.max(1),
                (0, None) => count_new(conn, plan, number, key)?.max(1),
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
