//! The bookkeeping beside the application's tables: `_wbsync_*`, changed in the same transactions.
//!
//! A map row says which record a row is, the digest of what was last seen or written, under which
//! capture (`seen`: trusted once settled) and which view the row was last in step with (`view`).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rusqlite::types::Value as Raw;
use rusqlite::{Connection, OptionalExtension, Row, named_params, params};

use super::key::Key;
use super::look::{Marks, OWN, Override, Parent, Parents};
use super::plan::Plans;
use crate::connector::contract::Context;
use crate::id::bytes::{InstanceId, RecordKey};
use crate::id::name::{FieldName, PeerName, ScopeName};
use crate::record::recordid::RecordId;
use crate::scope::audience::{Audience, Reason};

/// The format of the tables below.
pub(super) const FORMAT: i64 = 1;
/// A map row of a placeholder.
pub(super) const STUB: i64 = 1;

const TABLES: &str = "
CREATE TABLE _wbsync_meta(format INTEGER NOT NULL);
CREATE TABLE _wbsync_origin(origin INTEGER PRIMARY KEY, instance BLOB NOT NULL UNIQUE);
CREATE TABLE _wbsync_dataset(dataset INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, audience TEXT);
CREATE TABLE _wbsync_map(
    dataset INTEGER NOT NULL, key NOT NULL, origin INTEGER NOT NULL, record BLOB NOT NULL,
    birth INTEGER NOT NULL, digest INTEGER NOT NULL, audience TEXT NOT NULL,
    seen INTEGER NOT NULL, view INTEGER NOT NULL, flags INTEGER NOT NULL, rule TEXT,
    PRIMARY KEY(dataset, key)) WITHOUT ROWID;
CREATE UNIQUE INDEX _wbsync_map_record ON _wbsync_map(dataset, origin, record);
CREATE TABLE _wbsync_override(
    dataset INTEGER NOT NULL, key NOT NULL, field TEXT NOT NULL, shown, reason TEXT NOT NULL,
    PRIMARY KEY(dataset, key, field)) WITHOUT ROWID;
CREATE TABLE _wbsync_gone(
    dataset INTEGER NOT NULL, origin INTEGER NOT NULL, record BLOB NOT NULL,
    number INTEGER NOT NULL, base INTEGER NOT NULL, PRIMARY KEY(dataset, origin, record)) WITHOUT ROWID;
CREATE TABLE _wbsync_waiting(
    id INTEGER PRIMARY KEY, dataset INTEGER NOT NULL, origin INTEGER NOT NULL, record BLOB NOT NULL,
    field TEXT NOT NULL, change BLOB, for_dataset INTEGER, for_origin INTEGER, for_record BLOB,
    reason TEXT NOT NULL, UNIQUE(dataset, origin, record, field));
CREATE INDEX _wbsync_waiting_for ON _wbsync_waiting(for_dataset, for_origin, for_record);
CREATE TABLE _wbsync_position(
    one INTEGER PRIMARY KEY CHECK(one = 1), settled INTEGER NOT NULL, view INTEGER NOT NULL,
    applied BLOB NOT NULL, target BLOB);
INSERT INTO _wbsync_position VALUES(1, 0, 0, x'', NULL);
";

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
    readers: BTreeMap<(InstanceId, ScopeName), BTreeSet<PeerName>>,
    /// The small number of each dataset, in the order of the plans.
    pub(super) datasets: Vec<i64>,
    /// By dataset, for whom rows are meant that don't say so themselves.
    pub(super) defaults: Vec<Option<String>>,
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
pub(super) const ENTRY: &str = "key, origin, record, birth, digest, audience, seen, view, flags, rule";

/// Why the bookkeeping can't be used.
#[derive(Debug)]
pub(super) enum Refused {
    Newer(i64),
    Other(InstanceId),
    Damaged(String),
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Refused {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// Tells whether the tables are there, or stand-ins for this connection.
pub(super) fn exist(conn: &Connection) -> rusqlite::Result<bool> {
    let sql = "SELECT 1 FROM sqlite_schema WHERE name = '_wbsync_meta'
               UNION ALL SELECT 1 FROM sqlite_temp_schema WHERE name = '_wbsync_meta'";
    conn.prepare_cached(sql)?.exists([])
}

/// Makes the tables, or adds the datasets that are new; the caller holds a write transaction.
pub(super) fn create(conn: &Connection, own: InstanceId, plans: &Plans) -> rusqlite::Result<()> {
    if !exist(conn)? {
        conn.execute_batch(TABLES)?;
        conn.execute("INSERT INTO _wbsync_meta VALUES(?1)", [FORMAT])?;
        conn.execute("INSERT INTO _wbsync_origin VALUES(?1, ?2)", params![OWN, own.as_bytes()])?;
    }
    add_datasets(conn, plans)
}

/// Makes what `create` would as temporary tables, which only this connection sees; nothing is written to the file.
pub(super) fn pretend(conn: &Connection, own: InstanceId, plans: &Plans) -> rusqlite::Result<()> {
    if exist(conn)? {
        let sql = "SELECT sql FROM main.sqlite_schema WHERE name = '_wbsync_dataset'";
        let table: String = conn.query_row(sql, [], |row| row.get(0))?;
        conn.execute_batch(&table.replace("CREATE TABLE", "CREATE TEMP TABLE"))?;
        conn.execute("INSERT INTO temp._wbsync_dataset SELECT * FROM main._wbsync_dataset", [])?;
    } else {
        conn.execute_batch(&TABLES.replace("CREATE TABLE", "CREATE TEMP TABLE"))?;
        conn.execute("INSERT INTO _wbsync_meta VALUES(?1)", [FORMAT])?;
        conn.execute("INSERT INTO _wbsync_origin VALUES(?1, ?2)", params![OWN, own.as_bytes()])?;
    }
    add_datasets(conn, plans)
}

fn add_datasets(conn: &Connection, plans: &Plans) -> rusqlite::Result<()> {
    for plan in &plans.list {
        conn.execute("INSERT OR IGNORE INTO _wbsync_dataset(name) VALUES(?1)", [plan.name.as_str()])?;
    }
    Ok(())
}

impl Books {
    /// Reads the bookkeeping; `None` if it isn't there or lacks a dataset.
    pub(super) fn read(conn: &Connection, context: &Context, plans: &Plans) -> Result<Option<Self>, Refused> {
        if !exist(conn)? {
            return Ok(None);
        }
        let format: i64 = conn.query_row("SELECT format FROM _wbsync_meta", [], |row| row.get(0))?;
        if format > FORMAT {
            return Err(Refused::Newer(format));
        }
        let mut origins = Vec::new();
        let mut statement = conn.prepare_cached("SELECT origin, instance FROM _wbsync_origin ORDER BY origin")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let instance = InstanceId::from_slice(&row.get::<_, Vec<u8>>(1)?);
            match instance.filter(|_| row.get(0) == Ok(origins.len() as i64)) {
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
            let mut find = conn.prepare_cached("SELECT dataset, audience FROM _wbsync_dataset WHERE name = ?1")?;
            match find.query_row([plan.name.as_str()], |row| Ok((row.get(0)?, row.get(1)?))).optional()? {
                Some((number, default)) => {
                    datasets.push(number);
                    defaults.push(default);
                }
                None => return Ok(None),
            }
        }
        let numbers = origins.iter().enumerate().map(|(number, id)| (*id, number as i64)).collect();
        let sql = "SELECT settled, view, applied, target FROM _wbsync_position";
        let mut statement = conn.prepare_cached(sql)?;
        Ok(Some(statement.query_row([], |row| {
            let (settled, view, applied, target) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
            let readers = context.readers.clone();
            Ok(Self { settled, view, applied, target, origins, numbers, readers, datasets, defaults })
        })?))
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
    pub(super) fn intern(&mut self, conn: &Connection, instance: &InstanceId) -> rusqlite::Result<i64> {
        if let Some(number) = self.number(instance) {
            return Ok(number);
        }
        let number = self.origins.len() as i64;
        conn.execute("INSERT INTO _wbsync_origin VALUES(?1, ?2)", params![number, instance.as_bytes()])?;
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
        let audience = self.seen_from_here(entry.origin, entry.audience.clone());
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
    pub(super) fn rule(&self, conn: &Connection, dataset: usize, key: &Key) -> rusqlite::Result<Option<String>> {
        let mut statement = conn.prepare_cached("SELECT rule FROM _wbsync_map WHERE dataset = ?1 AND key = ?2")?;
        Ok(statement.query_row(params![self.datasets[dataset], key], |row| row.get(0)).optional()?.flatten())
    }

    /// Says beside a row for whom it is meant.
    pub(super) fn set_rule(&self, conn: &Connection, dataset: usize, key: &Key, rule: &str) -> rusqlite::Result<()> {
        let mut statement = conn.prepare_cached("UPDATE _wbsync_map SET rule = ?3 WHERE dataset = ?1 AND key = ?2")?;
        statement.execute(params![self.datasets[dataset], key, rule])?;
        Ok(())
    }

    /// Says for whom rows are meant that don't say so themselves; `None` leaves it to the mapping.
    pub(super) fn set_default(
        &self,
        conn: &Connection,
        dataset: usize,
        audience: Option<&str>,
    ) -> rusqlite::Result<()> {
        let mut statement = conn.prepare_cached("UPDATE _wbsync_dataset SET audience = ?2 WHERE dataset = ?1")?;
        statement.execute(params![self.datasets[dataset], audience])?;
        Ok(())
    }

    /// Finds the map row of a record.
    pub(super) fn find(&self, conn: &Connection, dataset: usize, id: &RecordId) -> rusqlite::Result<Option<Entry>> {
        let Some(origin) = self.number(&id.origin) else { return Ok(None) };
        let sql = format!("SELECT {ENTRY} FROM _wbsync_map WHERE dataset = ?1 AND origin = ?2 AND record = ?3");
        let mut statement = conn.prepare_cached(&sql)?;
        statement.query_row(params![self.datasets[dataset], origin, id.key.as_bytes()], Entry::of).optional()
    }

    /// Finds the map row whose row stands for a record that has none of its own (`same`).
    pub(super) fn find_covering(
        &self,
        conn: &Connection,
        dataset: usize,
        id: &RecordId,
    ) -> rusqlite::Result<Option<Entry>> {
        let Some(origin) = self.number(&id.origin) else { return Ok(None) };
        let sql = format!(
            "SELECT {ENTRY} FROM _wbsync_map WHERE (dataset, origin, record) = (
                 SELECT for_dataset, for_origin, for_record FROM _wbsync_waiting
                 WHERE dataset = ?1 AND origin = ?2 AND record = ?3 AND field = '' AND for_dataset = dataset)"
        );
        let mut statement = conn.prepare_cached(&sql)?;
        statement.query_row(params![self.datasets[dataset], origin, id.key.as_bytes()], Entry::of).optional()
    }

    /// Finds the overrides of a row.
    pub(super) fn overrides(&self, conn: &Connection, dataset: usize, key: &Key) -> rusqlite::Result<Vec<Override>> {
        let sql = "SELECT field, shown, reason FROM _wbsync_override WHERE dataset = ?1 AND key = ?2";
        let mut statement = conn.prepare_cached(sql)?;
        let found = statement.query_map(params![self.datasets[dataset], key], |row| override_of(row, 0))?;
        found.collect()
    }

    /// Replaces the overrides of a row.
    pub(super) fn set_overrides(
        &self,
        conn: &Connection,
        dataset: usize,
        key: &Key,
        overrides: &[Override],
    ) -> rusqlite::Result<()> {
        let number = self.datasets[dataset];
        let mut statement = conn.prepare_cached("DELETE FROM _wbsync_override WHERE dataset = ?1 AND key = ?2")?;
        statement.execute(params![number, key])?;
        let mut statement = conn.prepare_cached("INSERT INTO _wbsync_override VALUES(?1, ?2, ?3, ?4, ?5)")?;
        for known in overrides {
            statement.execute(params![number, key, known.field.as_str(), known.shown, known.reason])?;
        }
        Ok(())
    }

    /// Writes a map row, in place of that of the same record. What was said beside a row stays while the key is
    /// the same record's.
    pub(super) fn put(&self, conn: &Connection, dataset: usize, entry: &Entry) -> rusqlite::Result<()> {
        let sql = "INSERT INTO _wbsync_map(dataset, key, origin, record, birth, digest, audience, seen, view, flags)
                   VALUES(:dataset, :key, :origin, :record, :birth, :digest, :audience, :seen, :view, :flags)
                   ON CONFLICT(dataset, key) DO UPDATE SET origin = excluded.origin, record = excluded.record,
                   birth = excluded.birth, digest = excluded.digest, audience = excluded.audience,
                   seen = excluded.seen, view = excluded.view, flags = excluded.flags,
                   rule = CASE WHEN origin = excluded.origin AND record = excluded.record THEN rule END";
        conn.prepare_cached(sql)?.execute(named_params! {
            ":dataset": self.datasets[dataset], ":key": entry.key, ":origin": entry.origin, ":record": entry.record,
            ":birth": entry.birth, ":digest": entry.digest, ":audience": audience_text(&entry.audience),
            ":seen": entry.seen, ":view": entry.view, ":flags": entry.flags,
        })?;
        Ok(())
    }

    /// Removes a map row with what hangs on it.
    pub(super) fn remove(&self, conn: &Connection, dataset: usize, entry: &Entry) -> rusqlite::Result<()> {
        let number = self.datasets[dataset];
        let mut statement = conn.prepare_cached("DELETE FROM _wbsync_map WHERE dataset = ?1 AND key = ?2")?;
        statement.execute(params![number, entry.key])?;
        let mut statement = conn.prepare_cached("DELETE FROM _wbsync_override WHERE dataset = ?1 AND key = ?2")?;
        statement.execute(params![number, entry.key])?;
        let sql = "DELETE FROM _wbsync_waiting WHERE dataset = ?1 AND origin = ?2 AND record = ?3 AND field <> ''";
        conn.prepare_cached(sql)?.execute(params![number, entry.origin, entry.record])?;
        Ok(())
    }

    /// Removes the map row of a row that the application deleted, to be reported until it is settled.
    pub(super) fn vanish(&self, conn: &Connection, dataset: usize, entry: &Entry) -> rusqlite::Result<()> {
        self.remove(conn, dataset, entry)?;
        if entry.flags & STUB == 0 {
            let sql = "INSERT OR REPLACE INTO _wbsync_gone(dataset, origin, record, number, base)
                       VALUES(?1, ?2, ?3, ?4, ?5)";
            let row = params![self.datasets[dataset], entry.origin, entry.record, self.settled + 1, entry.view];
            conn.prepare_cached(sql)?.execute(row)?;
        }
        Ok(())
    }
}

impl Entry {
    /// Reads the columns of `ENTRY`.
    pub(super) fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        let key = Key::of(row.get_ref(0)?).ok_or(rusqlite::Error::InvalidQuery)?;
        let audience = audience_of(row.get_ref(5)?.as_str()?);
        Ok(Self {
            key,
            origin: row.get(1)?,
            record: row.get(2)?,
            birth: row.get(3)?,
            digest: row.get(4)?,
            audience,
            seen: row.get(6)?,
            view: row.get(7)?,
            flags: row.get(8)?,
            rule: row.get(9)?,
        })
    }

    pub(super) fn is_stub(&self) -> bool {
        self.flags & STUB != 0
    }
}

/// Finds parents in the bookkeeping, as of the last capture or write.
#[derive(Debug)]
pub(super) struct Mapped<'a> {
    pub(super) conn: &'a Connection,
    pub(super) books: &'a Books,
}

impl Parents for Mapped<'_> {
    fn find(&mut self, dataset: usize, key: &Key) -> rusqlite::Result<Option<Parent>> {
        let sql = "SELECT origin, record, audience FROM _wbsync_map WHERE dataset = ?1 AND key = ?2";
        let mut statement = self.conn.prepare_cached(sql)?;
        let found = statement.query_row(params![self.books.datasets[dataset], key], |row| {
            let (origin, audience) = (row.get(0)?, audience_of(row.get_ref(2)?.as_str()?));
            let audience = self.books.seen_from_here(origin, audience);
            Ok(Parent { origin, record: row.get(1)?, audience })
        });
        found.optional()
    }
}

/// Reads the columns field, shown, reason from position `at`.
pub(super) fn override_of(row: &Row<'_>, at: usize) -> rusqlite::Result<Override> {
    let field = FieldName::new(row.get_ref(at)?.as_str()?).map_err(|_| rusqlite::Error::InvalidQuery)?;
    Ok(Override { field, shown: row.get::<_, Raw>(at + 1)?, reason: row.get(at + 2)? })
}

/// Spells an audience for the map: a scope's name, or `!` and a reason.
pub(super) fn audience_text(audience: &Audience) -> &str {
    match audience {
        Audience::Shared(scope) => scope.as_str(),
        Audience::Private(Reason::Chosen) => "!chosen",
        Audience::Private(Reason::UnknownScope) => "!unknown",
        Audience::Private(Reason::Filtered) => "!filtered",
        Audience::Private(Reason::Parent) => "!parent",
        Audience::Private(Reason::SoftDeleted) => "!deleted",
        Audience::Private(Reason::Withheld) => "!withheld",
    }
}

/// Reads what `audience_text` spells; anything else is private.
pub(super) fn audience_of(text: &str) -> Audience {
    match text {
        "public" => Audience::Shared(ScopeName::public()),
        "!chosen" => Audience::Private(Reason::Chosen),
        "!filtered" => Audience::Private(Reason::Filtered),
        "!parent" => Audience::Private(Reason::Parent),
        "!deleted" => Audience::Private(Reason::SoftDeleted),
        "!withheld" => Audience::Private(Reason::Withheld),
        _ => ScopeName::new(text).map_or(Audience::Private(Reason::UnknownScope), Audience::Shared),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn audiences_are_read_as_they_are_spelled() {
        use Reason::*;
        let private = [Chosen, UnknownScope, Filtered, Parent, SoftDeleted, Withheld].map(Audience::Private);
        let shared = [ScopeName::public(), ScopeName::trusted()].map(Audience::Shared);
        for audience in private.iter().chain(&shared) {
            assert_eq!(audience_of(audience_text(audience)), *audience);
        }
    }
}
