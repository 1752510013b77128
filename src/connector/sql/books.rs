//! The bookkeeping beside the application's tables, changed in the same transactions.
//!
//! Its tables are made by the session: `_wbsync_NAME` in SQLite, `wbsync.NAME` in PostgreSQL.
//!
//! A map row says which record a row is, the digest of what was last seen or written, under which
//! capture (`seen`: trusted once settled) and which view the row was last in step with (`view`).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::apart::NARROWED;
use super::audience::{audience_of, audience_text};
use super::key::Key;
use super::look::{Marks, OWN, Override, Parent, Parents};
use super::plan::Plans;
use super::recall::Recall;
use super::session::{Row, Session, SqlError};
use crate::connector::contract::Context;
use crate::id::bytes::{InstanceId, RecordKey};
use crate::id::name::{DatasetName, FieldName, PeerName, ScopeName};
use crate::record::recordid::RecordId;
use crate::scope::audience::{Audience, Reason};

/// The format of the tables below.
pub(super) const FORMAT: i64 = 1;
/// A map row of a placeholder.
pub(super) const STUB: i64 = 1;
/// A map row of a row that refers to something which isn't there.
pub(super) const DANGLING: i64 = 2;
/// Stands for the view of a row that vanished while it showed an older version than its record had.
pub(super) const VANISHED_BEHIND: i64 = -1;

/// What the bookkeeping says of the whole database.
#[derive(Debug)]
pub(super) struct Books {
    /// The last capture that was settled.
    pub(super) settled: i64,
    /// The number of the applied view; a target's is one more.
    pub(super) view: i64,
    pub(super) applied: Vec<u8>,
    pub(super) target: Option<Vec<u8>>,
    /// Instances by their small numbers; 0 is our own.
    pub(super) origins: Vec<InstanceId>,
    numbers: HashMap<InstanceId, i64>,
    pub(super) readers: BTreeMap<(InstanceId, ScopeName), BTreeSet<PeerName>>,
    /// The small number of each dataset, in the order of the plans.
    pub(super) datasets: Vec<i64>,
    /// By dataset, for whom rows are meant that don't say so themselves.
    pub(super) defaults: Vec<Option<String>>,
    /// By dataset, whether its keys are integers.
    integer_keys: Vec<bool>,
    /// By dataset, whether rows refer to its rows.
    are_parents: Vec<bool>,
    /// Map rows of the write transaction that is open, if that wants it.
    pub(super) recall: Recall,
}

/// A map row.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: Key,
    pub(super) origin: i64,
    pub(super) record: [u8; 16],
    pub(super) birth: i64,
    pub(super) digest: i64,
    pub(super) audience: Audience,
    pub(super) seen: i64,
    pub(super) view: i64,
    pub(super) flags: i64,
    /// For whom the row is meant, if that was said beside the row.
    pub(super) rule: Option<String>,
}

/// The columns of an `Entry`, in its order.
macro_rules! entry {
    () => {
        "key, origin, record, birth, digest, audience, seen, view, flags, rule"
    };
}

pub(super) const ENTRY: &str = entry!();
const FIND: &str = concat!("SELECT ", entry!(), " FROM _wbsync_map WHERE dataset = ?1 AND origin = ?2 AND record = ?3");
const LAST_RECORD: &str =
    "SELECT record FROM _wbsync_map WHERE dataset = ?1 AND origin = ?2 ORDER BY record DESC LIMIT 1";
const AT: &str = concat!("SELECT ", entry!(), " FROM _wbsync_map WHERE dataset = ?1 AND key = ?2");

/// Why the bookkeeping can't be used.
#[derive(Debug)]
pub(super) enum Refused {
    Newer(i64),
    Other(InstanceId),
    Damaged(String),
    /// Its tables are there, as after a copy of the tables alone, and nothing is in them.
    Empty,
    Sql(SqlError),
}

impl From<SqlError> for Refused {
    fn from(error: SqlError) -> Self {
        Self::Sql(error)
    }
}

/// Makes the bookkeeping, or adds the datasets that are new; the caller holds a write transaction.
pub(super) fn create(conn: &dyn Session, own: InstanceId, plans: &Plans) -> Result<(), SqlError> {
    if !conn.has_books()? {
        conn.make_books()?;
        begin(conn, own)?;
    }
    add_datasets(conn, plans)
}

/// Makes what `create` would where only this connection sees it.
pub(super) fn pretend(conn: &dyn Session, own: InstanceId, plans: &Plans) -> Result<(), SqlError> {
    let exist = conn.has_books()?;
    conn.pretend_books()?;
    if !exist {
        begin(conn, own)?;
    }
    add_datasets(conn, plans)
}

fn begin(conn: &dyn Session, own: InstanceId) -> Result<(), SqlError> {
    conn.execute("INSERT INTO _wbsync_meta VALUES(?1)", &bind![FORMAT])?;
    conn.execute("INSERT INTO _wbsync_origin VALUES(?1, ?2)", &bind![OWN, own.as_bytes()])?;
    Ok(())
}

fn add_datasets(conn: &dyn Session, plans: &Plans) -> Result<(), SqlError> {
    for plan in &plans.list {
        let sql = "INSERT INTO _wbsync_dataset(name) VALUES(?1) ON CONFLICT(name) DO NOTHING";
        conn.execute(sql, &bind![plan.name.as_str()])?;
    }
    Ok(())
}

impl Books {
    /// Reads the bookkeeping; `None` if it isn't there or lacks a dataset.
    pub(super) fn read(conn: &dyn Session, context: &Context, plans: &Plans) -> Result<Option<Self>, Refused> {
        if !conn.has_books()? {
            return Ok(None);
        }
        let format = conn.one("SELECT format FROM _wbsync_meta", &[], |row| row.get::<i64>(0))?;
        let format = format.ok_or(Refused::Empty)?;
        if format > FORMAT {
            return Err(Refused::Newer(format));
        }
        let sql = "SELECT origin, instance FROM _wbsync_origin ORDER BY origin";
        let mut origins = Vec::new();
        for (number, bytes) in conn.all(sql, &[], |row| Ok((row.get::<i64>(0)?, row.get::<Vec<u8>>(1)?)))? {
            match InstanceId::from_slice(&bytes).filter(|_| number == origins.len() as i64) {
                Some(instance) => origins.push(instance),
                None => return Err(Refused::Damaged("the instances are not numbered in order".into())),
            }
        }
        match origins.first() {
            Some(first) if *first == context.own => {}
            Some(first) => return Err(Refused::Other(*first)),
            None => return Err(Refused::Damaged("no instance is recorded".into())),
        }
        let (mut datasets, mut defaults) = (Vec::new(), Vec::new());
        for plan in &plans.list {
            let sql = "SELECT dataset, audience FROM _wbsync_dataset WHERE name = ?1";
            match conn.one(sql, &bind![plan.name.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))? {
                Some((number, default)) => {
                    datasets.push(number);
                    defaults.push(plan.default_audience(default));
                }
                None => return super::examine::check_datasets(conn).map(|()| None),
            }
        }
        let numbers = origins.iter().enumerate().map(|(number, id)| (*id, number as i64)).collect();
        let integer_keys = plans.list.iter().map(|plan| plan.key.is_integer()).collect();
        let are_parents = plans.list.iter().map(|plan| plan.is_parent).collect();
        let sql = "SELECT settled, view, applied, target FROM _wbsync_position";
        let (settled, view, applied, target) =
            conn.only(sql, &[], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
        let (readers, recall) = (context.readers.clone(), Recall::default());
        let books = Self {
            settled,
            view,
            applied,
            target,
            origins,
            numbers,
            readers,
            datasets,
            defaults,
            integer_keys,
            are_parents,
            recall,
        };
        Ok(Some(books))
    }

    /// Counts the own rows that stay home, by dataset and reason.
    pub(super) fn private(
        &self,
        conn: &dyn Session,
        plans: &Plans,
    ) -> Result<BTreeMap<(DatasetName, Reason), u64>, SqlError> {
        let sql = "SELECT dataset, audience, count(*) FROM _wbsync_map
                   WHERE origin = ?1 AND flags & ?2 = 0 AND audience LIKE '!%' GROUP BY dataset, audience";
        let mut counts = BTreeMap::new();
        conn.each(sql, &bind![OWN, STUB], &mut |row| {
            let (number, count): (i64, i64) = (row.get(0)?, row.get(2)?);
            let dataset = self.datasets.iter().position(|known| *known == number);
            if let (Some(dataset), Audience::Private(reason)) = (dataset, audience_of(row.str(1)?)) {
                counts.insert((plans.list[dataset].name.clone(), reason), count.unsigned_abs());
            }
            Ok(true)
        })?;
        Ok(counts)
    }

    /// Returns the number of the view that rows written now reflect.
    pub(super) fn target_view(&self) -> i64 {
        self.view + i64::from(self.target.is_some())
    }

    /// Returns the small number of an instance, if it has one.
    pub(super) fn number(&self, instance: &InstanceId) -> Option<i64> {
        self.numbers.get(instance).copied()
    }

    /// Returns the small number of an instance, giving it one; the caller holds a write transaction.
    pub(super) fn intern(&mut self, conn: &dyn Session, instance: &InstanceId) -> Result<i64, SqlError> {
        if let Some(number) = self.number(instance) {
            return Ok(number);
        }
        let number = self.origins.len() as i64;
        conn.execute("INSERT INTO _wbsync_origin VALUES(?1, ?2)", &bind![number, instance.as_bytes()])?;
        self.origins.push(*instance);
        self.numbers.insert(*instance, number);
        Ok(number)
    }

    /// Forgets the instances that a transaction gave numbers before it was rolled back.
    pub(super) fn truncate(&mut self, origins: usize) {
        for lost in self.origins.drain(origins..) {
            self.numbers.remove(&lost);
        }
    }

    /// Makes the id of a record from its row in the bookkeeping.
    pub(super) fn record_id(&self, plans: &Plans, dataset: usize, origin: i64, record: [u8; 16]) -> RecordId {
        let origin = self.origins[usize::try_from(origin).expect("origins are numbered from 0")];
        RecordId { origin, dataset: plans.list[dataset].name.clone(), key: RecordKey::from_bytes(record) }
    }

    /// Returns a row as rows of ours see it that refer to it.
    pub(super) fn parent(&self, entry: &Entry) -> Parent {
        let audience = match entry.flags & NARROWED {
            0 => self.seen_from_here(entry.origin, entry.audience.clone()),
            // Nobody here is to hear of it, nor of what hangs on it.
            _ => Audience::Private(Reason::Parent),
        };
        Parent { origin: entry.origin, record: entry.record, audience }
    }

    /// Returns who of ours may see what hangs on a row of another instance: its readers, one by one, since its
    /// `trusted` are not our `trusted`.
    fn seen_from_here(&self, origin: i64, audience: Audience) -> Audience {
        let Some(scope) = audience.scope().filter(|scope| origin != OWN && !scope.is_public()) else { return audience };
        let instance = usize::try_from(origin).ok().and_then(|number| self.origins.get(number));
        let readers = instance.and_then(|instance| self.readers.get(&(*instance, scope.clone())));
        readers.and_then(ScopeName::peers).map_or(Audience::Private(Reason::Parent), Audience::Shared)
    }

    /// Returns what operators said beside the rows of a dataset.
    pub(super) fn marks<'a>(&'a self, dataset: usize, rule: Option<&'a str>) -> Marks<'a> {
        Marks { rule, default: self.defaults[dataset].as_deref() }
    }

    /// Returns for whom a row is meant, if that was said beside it.
    pub(super) fn rule(&self, conn: &dyn Session, dataset: usize, key: &Key) -> Result<Option<String>, SqlError> {
        let sql = "SELECT rule FROM _wbsync_map WHERE dataset = ?1 AND key = ?2";
        Ok(conn.one(sql, &bind![self.datasets[dataset], key], |row| row.get::<Option<String>>(0))?.flatten())
    }

    /// Says beside a row for whom it is meant.
    pub(super) fn set_rule(&self, conn: &dyn Session, dataset: usize, key: &Key, rule: &str) -> Result<(), SqlError> {
        let sql = "UPDATE _wbsync_map SET rule = ?3 WHERE dataset = ?1 AND key = ?2";
        self.recall.forget(dataset, key);
        conn.execute(sql, &bind![self.datasets[dataset], key, rule])?;
        Ok(())
    }

    /// Says for whom rows are meant that don't say so themselves; `None` leaves it to the mapping.
    pub(super) fn set_default(
        &self,
        conn: &dyn Session,
        dataset: usize,
        audience: Option<&str>,
    ) -> Result<(), SqlError> {
        let sql = "UPDATE _wbsync_dataset SET audience = ?2 WHERE dataset = ?1";
        conn.execute(sql, &bind![self.datasets[dataset], audience])?;
        Ok(())
    }

    /// Finds the map row of a record.
    pub(super) fn find(&self, conn: &dyn Session, dataset: usize, id: &RecordId) -> Result<Option<Entry>, SqlError> {
        let Some(origin) = self.number(&id.origin) else { return Ok(None) };
        if let Some(entry) = self.recall.of(dataset, origin, id.key.as_bytes()) {
            return Ok(Some(entry));
        }
        let number = self.datasets[dataset];
        let last = || conn.one(LAST_RECORD, &bind![number, origin], |row| row.get(0));
        if self.recall.is_past_records(dataset, (origin, id.key.as_bytes()), last)? {
            return Ok(None);
        }
        let entry = conn.one(FIND, &bind![number, origin, id.key.as_bytes()], |row| self.entry(dataset, row))?;
        Ok(entry.inspect(|entry| self.recall.note(dataset, entry)))
    }

    /// Finds the map row of a row.
    pub(super) fn at(&self, conn: &dyn Session, dataset: usize, key: &Key) -> Result<Option<Entry>, SqlError> {
        if let Some(entry) = self.recall.at(dataset, key) {
            return Ok(Some(entry));
        }
        let last = || {
            let order = conn.map_order(self.integer_keys[dataset]);
            let sql = format!("SELECT key FROM _wbsync_map WHERE dataset = ?1 ORDER BY {order} DESC LIMIT 1");
            conn.one(&sql, &bind![self.datasets[dataset]], |row| self.key(dataset, row, 0))
        };
        if self.recall.is_past_keys(dataset, key, last)? {
            return Ok(None);
        }
        let entry = conn.one(AT, &bind![self.datasets[dataset], key], |row| self.entry(dataset, row))?;
        Ok(entry.inspect(|entry| self.recall.note(dataset, entry)))
    }

    /// Reads the columns of `ENTRY`.
    pub(super) fn entry(&self, dataset: usize, row: &dyn Row) -> Result<Entry, SqlError> {
        Ok(Entry {
            key: self.key(dataset, row, 0)?,
            origin: row.get(1)?,
            record: row.get(2)?,
            birth: row.get(3)?,
            digest: row.get(4)?,
            audience: audience_of(row.str(5)?),
            seen: row.get(6)?,
            view: row.get(7)?,
            flags: row.get(8)?,
            rule: row.get(9)?,
        })
    }

    /// Reads a key of the bookkeeping's.
    pub(super) fn key(&self, dataset: usize, row: &dyn Row, at: usize) -> Result<Key, SqlError> {
        Key::noted(row.raw(at)?, self.integer_keys[dataset]).ok_or(SqlError::Column { at, wanted: "a key" })
    }

    /// Finds the map row whose row stands for a record that has none of its own (`same`).
    pub(super) fn find_covering(
        &self,
        conn: &dyn Session,
        dataset: usize,
        id: &RecordId,
    ) -> Result<Option<Entry>, SqlError> {
        let Some(origin) = self.number(&id.origin) else { return Ok(None) };
        let sql = format!(
            "SELECT {ENTRY} FROM _wbsync_map WHERE (dataset, origin, record) = (
                 SELECT for_dataset, for_origin, for_record FROM _wbsync_waiting
                 WHERE dataset = ?1 AND origin = ?2 AND record = ?3 AND field = '' AND for_dataset = dataset)"
        );
        conn.one(&sql, &bind![self.datasets[dataset], origin, id.key.as_bytes()], |row| self.entry(dataset, row))
    }

    /// Finds the overrides of a row.
    pub(super) fn overrides(&self, conn: &dyn Session, dataset: usize, key: &Key) -> Result<Vec<Override>, SqlError> {
        let sql = "SELECT field, shown, reason FROM _wbsync_override WHERE dataset = ?1 AND key = ?2";
        conn.all(sql, &bind![self.datasets[dataset], key], |row| override_of(conn, row, 0))
    }

    /// Replaces the overrides of a row.
    pub(super) fn set_overrides(
        &self,
        conn: &dyn Session,
        dataset: usize,
        key: &Key,
        overrides: &[Override],
    ) -> Result<(), SqlError> {
        let number = self.datasets[dataset];
        conn.execute("DELETE FROM _wbsync_override WHERE dataset = ?1 AND key = ?2", &bind![number, key])?;
        for known in overrides {
            let sql = "INSERT INTO _wbsync_override VALUES(?1, ?2, ?3, ?4, ?5)";
            conn.execute(sql, &bind![number, key, known.field.as_str(), conn.pack(&known.shown), known.reason])?;
        }
        Ok(())
    }

    /// Writes a map row, in place of that of the same record. What was said beside a row stays while the key is
    /// the same record's.
    pub(super) fn put(&self, conn: &dyn Session, dataset: usize, entry: &Entry) -> Result<(), SqlError> {
        let sql =
            "INSERT INTO _wbsync_map AS m(dataset, key, origin, record, birth, digest, audience, seen, view, flags)
                   VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
                   ON CONFLICT(dataset, key) DO UPDATE SET origin = excluded.origin, record = excluded.record,
                   birth = excluded.birth, digest = excluded.digest, audience = excluded.audience,
                   seen = excluded.seen, view = excluded.view, flags = excluded.flags,
                   rule = CASE WHEN m.origin = excluded.origin AND m.record = excluded.record THEN m.rule END";
        let audience = audience_text(&entry.audience);
        let values = bind![
            self.datasets[dataset],
            entry.key,
            entry.origin,
            entry.record,
            entry.birth,
            entry.digest,
            audience,
            entry.seen,
            entry.view,
            entry.flags,
        ];
        conn.execute(sql, &values)?;
        self.recall.wrote(dataset, entry);
        // What is said beside a row of our own may have stayed; and rows that none refers to aren't looked for again.
        match entry.origin != OWN && self.are_parents[dataset] {
            true => self.recall.note(dataset, entry),
            false => self.recall.forget(dataset, &entry.key),
        }
        Ok(())
    }

    /// Removes a map row with what hangs on it.
    pub(super) fn remove(&self, conn: &dyn Session, dataset: usize, entry: &Entry) -> Result<(), SqlError> {
        let number = self.datasets[dataset];
        self.recall.forget(dataset, &entry.key);
        conn.execute("DELETE FROM _wbsync_map WHERE dataset = ?1 AND key = ?2", &bind![number, entry.key])?;
        conn.execute("DELETE FROM _wbsync_override WHERE dataset = ?1 AND key = ?2", &bind![number, entry.key])?;
        let sql = "DELETE FROM _wbsync_waiting WHERE dataset = ?1 AND origin = ?2 AND record = ?3 AND field <> ''";
        conn.execute(sql, &bind![number, entry.origin, entry.record])?;
        Ok(())
    }
}

impl Entry {
    pub(super) fn is_stub(&self) -> bool {
        self.flags & STUB != 0
    }
}

/// Finds parents in the bookkeeping, as of the last capture or write.
#[derive(Debug)]
pub(super) struct Mapped<'a> {
    pub(super) conn: &'a dyn Session,
    pub(super) books: &'a Books,
}

impl Parents for Mapped<'_> {
    fn find(&mut self, dataset: usize, key: &Key) -> Result<Option<Parent>, SqlError> {
        let remembered = self.books.recall.look_at(dataset, key, |entry| self.books.parent(entry));
        match remembered {
            Some(parent) => Ok(Some(parent)),
            None => Ok(self.books.at(self.conn, dataset, key)?.map(|entry| self.books.parent(&entry))),
        }
    }
}

/// Reads the columns field, shown, reason from position `at`.
pub(super) fn override_of(conn: &dyn Session, row: &dyn Row, at: usize) -> Result<Override, SqlError> {
    let wrong = |at, wanted| SqlError::Column { at, wanted };
    let field = FieldName::new(row.str(at)?).map_err(|_| wrong(at, "a field's name"))?;
    let shown = conn.unpack(row.raw(at + 1)?).ok_or(wrong(at + 1, "a value"))?;
    Ok(Override { field, shown, reason: row.get(at + 2)? })
}
