//! The bookkeeping of many rows at once: a few statements, however many rows.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::apart::BEHIND;
use super::audience::audience_text;
use super::books::{Books, ENTRY, Entry, STUB, VANISHED_BEHIND, override_of};
use super::key::Key;
use super::look::{OWN, Override};
use super::plan::Plans;
use super::raw::{Bind, RawRef};
use super::session::{Session, SqlError};
use crate::record::recordid::RecordId;
use crate::scope::audience::Audience;

/// The most parameters of a statement; the databases take a few more.
const PARAMETERS_MAX: usize = 30_000;

impl Books {
    /// Finds the map rows of records of a dataset; those that have none are left out.
    pub(super) fn find_all<'a>(
        &self,
        conn: &dyn Session,
        dataset: usize,
        ids: impl IntoIterator<Item = &'a RecordId>,
    ) -> Result<HashMap<RecordId, Entry>, SqlError> {
        let mut found = HashMap::new();
        for (origin, ids) in self.by_origin(ids) {
            let among = conn.among_bytes("record", "?3");
            let sql = format!("SELECT {ENTRY} FROM _wbsync_map WHERE dataset = ?1 AND origin = ?2 AND {among}");
            let list = list_of(conn, &ids);
            let entries = conn
                .all(&sql, &bind![self.datasets[dataset], origin, list], |row| self.entry(dataset, row))?
                .into_iter()
                .map(|entry| (entry.record, entry))
                .collect::<HashMap<_, _>>();
            for id in ids {
                if let Some(entry) = entries.get(id.key.as_bytes()) {
                    found.insert(id.clone(), entry.clone());
                }
            }
        }
        Ok(found)
    }

    /// Returns for whom the rows of records are meant, in their order; `None` where there is no row.
    pub(super) fn audiences(
        &self,
        conn: &dyn Session,
        plans: &Plans,
        ids: &[RecordId],
    ) -> Result<Vec<Option<Audience>>, SqlError> {
        let find = |id: &RecordId| match plans.index(&id.dataset) {
            Some(dataset) => self.find(conn, dataset, id),
            None => Ok(None),
        };
        ids.iter().map(|id| Ok(find(id)?.filter(|entry| !entry.is_stub()).map(|entry| entry.audience))).collect()
    }

    /// Finds the map rows of rows with some keys.
    pub(super) fn at_all(&self, conn: &dyn Session, dataset: usize, keys: &[Key]) -> Result<Vec<Entry>, SqlError> {
        let sql = format!("SELECT {ENTRY} FROM _wbsync_map WHERE dataset = ?1 AND {}", conn.among("key", false, "?2"));
        conn.all(&sql, &bind![self.datasets[dataset], conn.list(keys, false)], |row| self.entry(dataset, row))
    }

    /// Tells which records vanished and were not settled.
    pub(super) fn gone_among<'a>(
        &self,
        conn: &dyn Session,
        dataset: usize,
        ids: impl IntoIterator<Item = &'a RecordId>,
    ) -> Result<HashSet<RecordId>, SqlError> {
        let mut gone = HashSet::new();
        for (origin, ids) in self.by_origin(ids) {
            let among = conn.among_bytes("record", "?3");
            let sql = format!("SELECT record FROM _wbsync_gone WHERE dataset = ?1 AND origin = ?2 AND {among}");
            let list = list_of(conn, &ids);
            let found: HashSet<[u8; 16]> =
                conn.all(&sql, &bind![self.datasets[dataset], origin, list], |row| row.get(0))?.into_iter().collect();
            gone.extend(ids.into_iter().filter(|id| found.contains(id.key.as_bytes())).cloned());
        }
        Ok(gone)
    }

    /// Forgets that records wait, and finds what waits for them.
    pub(super) fn arrived(
        &self,
        conn: &dyn Session,
        dataset: usize,
        ids: &[RecordId],
        waited_for: &[RecordId],
    ) -> Result<Vec<i64>, SqlError> {
        let (number, among) = (self.datasets[dataset], conn.among_bytes("record", "?3"));
        for (origin, ids) in self.by_origin(ids) {
            let sql =
                format!("DELETE FROM _wbsync_waiting WHERE dataset = ?1 AND origin = ?2 AND {among} AND field = ''");
            conn.execute(&sql, &bind![number, origin, list_of(conn, &ids)])?;
        }
        let (mut found, among) = (Vec::new(), conn.among_bytes("for_record", "?3"));
        for (origin, ids) in self.by_origin(waited_for) {
            let sql = format!(
                "SELECT id FROM _wbsync_waiting WHERE for_dataset = ?1 AND for_origin = ?2 AND {among} ORDER BY id"
            );
            found.extend(conn.all(&sql, &bind![number, origin, list_of(conn, &ids)], |row| row.get::<i64>(0))?);
        }
        Ok(found)
    }

    /// Reads the overrides of all rows, or of those with keys in a list.
    pub(super) fn overrides_in(
        &self,
        conn: &dyn Session,
        dataset: usize,
        list: Option<&str>,
    ) -> Result<HashMap<Key, Vec<Override>>, SqlError> {
        let mut all: HashMap<Key, Vec<Override>> = HashMap::new();
        let sql = "SELECT key, field, shown, reason FROM _wbsync_override WHERE dataset = ?1";
        let number = self.datasets[dataset];
        let (sql, values) = match &list {
            None => (sql.to_owned(), vec![number.bind()]),
            Some(list) => (format!("{sql} AND {}", conn.among("key", false, "?2")), vec![number.bind(), list.bind()]),
        };
        conn.each(&sql, &values, &mut |row| {
            let key = self.key(dataset, row, 0)?;
            all.entry(key).or_default().push(override_of(conn, row, 1)?);
            Ok(true)
        })?;
        Ok(all)
    }

    /// Writes map rows with different keys, each in place of that of the same record.
    pub(super) fn put_all(&self, conn: &dyn Session, dataset: usize, entries: &[Entry]) -> Result<(), SqlError> {
        if rows_max(conn, 10) == 1 {
            return entries.iter().try_for_each(|entry| self.put(conn, dataset, entry));
        }
        for entries in entries.chunks(rows_max(conn, 10)) {
            let sql = format!(
                "INSERT INTO _wbsync_map AS m(dataset, key, origin, record, birth, digest, audience, seen, view, flags)
                 VALUES {} ON CONFLICT(dataset, key) DO UPDATE SET origin = excluded.origin, record = excluded.record,
                 birth = excluded.birth, digest = excluded.digest, audience = excluded.audience,
                 seen = excluded.seen, view = excluded.view, flags = excluded.flags,
                 rule = CASE WHEN m.origin = excluded.origin AND m.record = excluded.record THEN m.rule END",
                rows(10, entries.len())
            );
            let mut values = Vec::with_capacity(entries.len() * 10);
            for entry in entries {
                values.extend([self.datasets[dataset].bind(), entry.key.bind(), entry.origin.bind()]);
                values.extend([entry.record.bind(), entry.birth.bind(), entry.digest.bind()]);
                values.push(RawRef::Text(audience_text(&entry.audience).as_bytes()));
                values.extend([entry.seen.bind(), entry.view.bind(), entry.flags.bind()]);
            }
            conn.execute(&sql, &values)?;
        }
        for entry in entries {
            self.recall.wrote(dataset, entry);
            // What is said beside a row of our own may have stayed.
            match entry.origin {
                OWN => self.recall.forget(dataset, &entry.key),
                _ => self.recall.note(dataset, entry),
            }
        }
        Ok(())
    }

    /// Replaces the overrides of rows.
    pub(super) fn set_all_overrides(
        &self,
        conn: &dyn Session,
        dataset: usize,
        overrides: &[(&Key, &[Override])],
    ) -> Result<(), SqlError> {
        if overrides.is_empty() {
            return Ok(());
        }
        let number = self.datasets[dataset];
        let keys: Vec<Key> = overrides.iter().map(|(key, _)| (*key).clone()).collect();
        let sql = format!("DELETE FROM _wbsync_override WHERE dataset = ?1 AND {}", conn.among("key", false, "?2"));
        conn.execute(&sql, &bind![number, conn.list(&keys, false)])?;
        let packed: Vec<_> = overrides
            .iter()
            .flat_map(|(key, overrides)| overrides.iter().map(|known| (*key, known, conn.pack(&known.shown))))
            .collect();
        for packed in packed.chunks(rows_max(conn, 5)) {
            let sql = format!("INSERT INTO _wbsync_override VALUES {}", rows(5, packed.len()));
            let mut values = Vec::with_capacity(packed.len() * 5);
            for (key, known, shown) in packed {
                values.extend([number.bind(), key.bind(), known.field.as_str().bind(), shown.bind()]);
                values.push(known.reason.bind());
            }
            conn.execute(&sql, &values)?;
        }
        Ok(())
    }

    /// Removes map rows with what hangs on them.
    pub(super) fn remove_all(&self, conn: &dyn Session, dataset: usize, entries: &[Entry]) -> Result<(), SqlError> {
        let number = self.datasets[dataset];
        let keys: Vec<Key> = entries.iter().map(|entry| entry.key.clone()).collect();
        keys.iter().for_each(|key| self.recall.forget(dataset, key));
        let list = conn.list(&keys, false);
        for table in ["map", "override"] {
            let among = conn.among("key", false, "?2");
            conn.execute(&format!("DELETE FROM _wbsync_{table} WHERE dataset = ?1 AND {among}"), &bind![number, list])?;
        }
        let mut by_origin: BTreeMap<i64, Vec<&[u8]>> = BTreeMap::new();
        for entry in entries {
            by_origin.entry(entry.origin).or_default().push(&entry.record);
        }
        for (origin, records) in by_origin {
            let among = conn.among_bytes("record", "?3");
            let sql =
                format!("DELETE FROM _wbsync_waiting WHERE dataset = ?1 AND origin = ?2 AND {among} AND field <> ''");
            conn.execute(&sql, &bind![number, origin, conn.list_bytes(&records)])?;
        }
        Ok(())
    }

    /// Removes the map rows of rows that the application deleted, to be reported until that is settled.
    pub(super) fn vanish_all(&self, conn: &dyn Session, dataset: usize, entries: &[Entry]) -> Result<(), SqlError> {
        self.remove_all(conn, dataset, entries)?;
        let (number, capture) = (self.datasets[dataset], self.settled + 1);
        let gone: Vec<&Entry> = entries.iter().filter(|entry| entry.flags & STUB == 0).collect();
        for gone in gone.chunks(rows_max(conn, 5)) {
            let sql = format!(
                "INSERT INTO _wbsync_gone(dataset, origin, record, number, base) VALUES {}
                 ON CONFLICT(dataset, origin, record) DO UPDATE SET number = excluded.number, base = excluded.base",
                rows(5, gone.len())
            );
            let mut values = Vec::with_capacity(gone.len() * 5);
            for entry in gone {
                values.extend([number.bind(), entry.origin.bind(), entry.record.bind()]);
                let base = if entry.flags & BEHIND == 0 { &entry.view } else { &VANISHED_BEHIND };
                values.extend([capture.bind(), base.bind()]);
            }
            conn.execute(&sql, &values)?;
        }
        Ok(())
    }

    /// Sorts records by the small numbers of their instances, without those of instances that have none.
    fn by_origin<'a>(&self, ids: impl IntoIterator<Item = &'a RecordId>) -> BTreeMap<i64, Vec<&'a RecordId>> {
        let mut sorted: BTreeMap<i64, Vec<&RecordId>> = BTreeMap::new();
        for id in ids {
            if let Some(origin) = self.number(&id.origin) {
                sorted.entry(origin).or_default().push(id);
            }
        }
        sorted
    }
}

fn list_of(conn: &dyn Session, ids: &[&RecordId]) -> String {
    let records: Vec<&[u8]> = ids.iter().map(|id| id.key.as_bytes().as_slice()).collect();
    conn.list_bytes(&records)
}

/// Returns how many rows of so many columns one statement takes.
pub(super) fn rows_max(conn: &dyn Session, columns: usize) -> usize {
    (PARAMETERS_MAX / columns.max(1)).clamp(1, conn.batch_rows())
}

/// Spells the parameters of rows: `(?1, ?2), (?3, ?4)`.
pub(super) fn rows(columns: usize, count: usize) -> String {
    let row = |row: usize| {
        let marks: Vec<String> = (1..=columns).map(|at| format!("?{}", row * columns + at)).collect();
        format!("({})", marks.join(", "))
    };
    (0..count).map(row).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_numbered_row_by_row() {
        assert_eq!(rows(2, 3), "(?1, ?2), (?3, ?4), (?5, ?6)");
        assert_eq!(rows(1, 1), "(?1)");
    }
}
