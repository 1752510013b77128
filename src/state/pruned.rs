//! Records of others whose rows were pruned here, with what they said then: until they say something else, they stay away.

use std::collections::BTreeMap;

use rusqlite::params;

use super::database::{State, blob};
use super::error::Error;
use super::heads::number;
use crate::id::bytes::{InstanceId, RecordKey};
use crate::id::name::DatasetName;
use crate::record::recordid::RecordId;
use crate::sys::clock::UnixMillis;

/// BLAKE3 of what a record showed.
pub type ContentHash = [u8; 32];

impl State {
    /// Notes that the row of a record is pruned, and what it showed.
    ///
    /// # Errors
    /// `Query`.
    pub fn put_pruned(&self, id: &RecordId, content: &ContentHash, now: UnixMillis) -> Result<(), Error> {
        let row =
            params![id.origin.as_bytes(), id.dataset.as_str(), id.key.as_bytes(), content.as_slice(), number(now.0)];
        self.connection
            .prepare_cached("INSERT OR REPLACE INTO pruned VALUES (?1, ?2, ?3, ?4, ?5)")
            .and_then(|mut statement| statement.execute(row))
            .map_err(Error::query("note that a record is pruned"))?;
        Ok(())
    }

    /// Notes that a record has its row again, or never lost it.
    ///
    /// # Errors
    /// `Query`.
    pub fn drop_pruned(&self, id: &RecordId) -> Result<(), Error> {
        let row = params![id.origin.as_bytes(), id.dataset.as_str(), id.key.as_bytes()];
        self.connection
            .prepare_cached("DELETE FROM pruned WHERE origin = ?1 AND dataset = ?2 AND record = ?3")
            .and_then(|mut statement| statement.execute(row))
            .map_err(Error::query("note that a record is not pruned"))?;
        Ok(())
    }

    /// Forgets what was pruned: the rows are made anew.
    ///
    /// # Errors
    /// `Query`.
    pub fn clear_pruned(&self) -> Result<(), Error> {
        self.connection.execute("DELETE FROM pruned", []).map_err(Error::query("forget what was pruned"))?;
        Ok(())
    }

    /// Counts the records that are pruned.
    ///
    /// # Errors
    /// `Query`.
    pub fn pruned_count(&self) -> Result<u64, Error> {
        let count: i64 = self
            .connection
            .query_row("SELECT count(*) FROM pruned", [], |row| row.get(0))
            .map_err(Error::query("count what is pruned"))?;
        Ok(count.unsigned_abs())
    }

    /// Reads the records that are pruned, with what they showed.
    ///
    /// # Errors
    /// `Query`; `Damaged` if a name in the table isn't one.
    pub fn pruned(&self) -> Result<BTreeMap<RecordId, ContentHash>, Error> {
        let read = |row: &rusqlite::Row<'_>| Ok((blob(row, 0)?, row.get(1)?, blob(row, 2)?, blob(row, 3)?));
        let rows: Vec<([u8; 32], String, [u8; 16], ContentHash)> = self
            .connection
            .prepare_cached("SELECT origin, dataset, record, content FROM pruned")
            .and_then(|mut statement| statement.query_map([], read)?.collect())
            .map_err(Error::query("read what is pruned"))?;
        rows.into_iter()
            .map(|(origin, dataset, key, content)| {
                let dataset = DatasetName::new(&dataset).map_err(|error| Error::damaged(error.to_string()))?;
                let (origin, key) = (InstanceId::from_bytes(origin), RecordKey::from_bytes(key));
                Ok((RecordId { origin, dataset, key }, content))
            })
            .collect()
    }
}
