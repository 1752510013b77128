//! Which commit each of our own heads named, and which records left a scope without being deleted.

use std::collections::BTreeSet;

use super::database::{State, blob};
use super::error::Error;
use super::heads::number;
use crate::id::bytes::{CommitId, RecordKey, ScopeId};
use crate::id::name::DatasetName;
use crate::sys::clock::{self, UnixMillis};

/// A record that left one of our scopes, although its row lives on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withdrawal {
    /// The dataset.
    pub dataset: DatasetName,
    /// The record.
    pub record: RecordKey,
    /// When.
    pub time: UnixMillis,
    /// Our head that carries the withdrawal, once there is one.
    pub head: Option<u64>,
}

impl State {
    /// Remembers the commit of one of our heads.
    ///
    /// # Errors
    /// `Query`.
    pub fn put_published(&self, scope: &ScopeId, seq: u64, commit: &CommitId) -> Result<(), Error> {
        self.connection
            .execute(
                "INSERT OR REPLACE INTO published VALUES (?1, ?2, ?3)",
                (scope.as_bytes(), number(seq), commit.as_bytes()),
            )
            .map_err(Error::query("remember a published commit"))?;
        Ok(())
    }

    /// Returns the commits of our heads numbered `from` to `to`, both included, in order.
    ///
    /// # Errors
    /// `Query`.
    pub fn published(&self, scope: &ScopeId, from: u64, to: u64) -> Result<Vec<(u64, CommitId)>, Error> {
        self.connection
            .prepare_cached(
                "SELECT seq, commit_id FROM published WHERE scope = ?1 AND seq BETWEEN ?2 AND ?3 ORDER BY seq",
            )
            .and_then(|mut statement| {
                let read = |row: &rusqlite::Row<'_>| {
                    Ok((row.get::<_, i64>(0)?.unsigned_abs(), CommitId::from_bytes(blob(row, 1)?)))
                };
                statement.query_map((scope.as_bytes(), number(from), number(to)), read)?.collect()
            })
            .map_err(Error::query("read the published commits"))
    }

    /// Remembers whether a record that left a scope was withdrawn (its row lives on, for fewer readers).
    ///
    /// # Errors
    /// `Query`.
    pub fn set_withdrawn(
        &self,
        scope: &ScopeId,
        dataset: &DatasetName,
        record: &RecordKey,
        withdrawn: bool,
    ) -> Result<(), Error> {
        let sql = if withdrawn {
            "INSERT OR IGNORE INTO withdrawn (scope, dataset, record, time) VALUES (?1, ?2, ?3, ?4)"
        } else {
            "DELETE FROM withdrawn WHERE scope = ?1 AND dataset = ?2 AND record = ?3 AND ?4 >= 0"
        };
        let now = number(clock::now().0);
        self.connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute((scope.as_bytes(), dataset.as_str(), record.as_bytes(), now)))
            .map_err(Error::query("note a withdrawal"))?;
        Ok(())
    }

    /// Tells whether a withdrawal from a scope is remembered.
    ///
    /// # Errors
    /// `Query`.
    pub fn has_withdrawn(&self, scope: &ScopeId) -> Result<bool, Error> {
        self.connection
            .query_row("SELECT EXISTS (SELECT 1 FROM withdrawn WHERE scope = ?1)", [scope.as_bytes()], |row| row.get(0))
            .map_err(Error::query("look for withdrawals"))
    }

    /// Tells whether a record was withdrawn from a scope.
    ///
    /// # Errors
    /// `Query`.
    pub fn is_withdrawn(&self, scope: &ScopeId, dataset: &DatasetName, record: &RecordKey) -> Result<bool, Error> {
        self.connection
            .prepare_cached("SELECT 1 FROM withdrawn WHERE scope = ?1 AND dataset = ?2 AND record = ?3")
            .and_then(|mut statement| statement.exists((scope.as_bytes(), dataset.as_str(), record.as_bytes())))
            .map_err(Error::query("look for a withdrawal"))
    }

    /// Returns the records of a dataset that were withdrawn from a scope.
    ///
    /// # Errors
    /// `Query`.
    pub fn withdrawn(&self, scope: &ScopeId, dataset: &DatasetName) -> Result<BTreeSet<RecordKey>, Error> {
        self.connection
            .prepare_cached("SELECT record FROM withdrawn WHERE scope = ?1 AND dataset = ?2")
            .and_then(|mut statement| {
                let read = |row: &rusqlite::Row<'_>| Ok(RecordKey::from_bytes(blob(row, 0)?));
                statement.query_map((scope.as_bytes(), dataset.as_str()), read)?.collect()
            })
            .map_err(Error::query("read the withdrawals"))
    }

    /// Returns what was withdrawn from a scope, with the heads that carry it.
    ///
    /// # Errors
    /// `Query`; `Damaged` if a name in the table isn't one.
    pub fn withdrawals(&self, scope: &ScopeId) -> Result<Vec<Withdrawal>, Error> {
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, blob(row, 1)?, row.get(2)?, row.get(3)?));
        let rows: Vec<(String, [u8; 16], i64, Option<i64>)> = self
            .connection
            .prepare_cached("SELECT dataset, record, time, head FROM withdrawn WHERE scope = ?1 ORDER BY 1, 2")
            .and_then(|mut statement| statement.query_map([scope.as_bytes()], read)?.collect())
            .map_err(Error::query("read the withdrawals"))?;
        rows.into_iter()
            .map(|(dataset, record, time, head)| {
                Ok(Withdrawal {
                    dataset: DatasetName::new(&dataset).map_err(|error| Error::damaged(error.to_string()))?,
                    record: RecordKey::from_bytes(record),
                    time: UnixMillis(time.unsigned_abs()),
                    head: head.map(i64::unsigned_abs),
                })
            })
            .collect()
    }

    /// Notes that one of our heads carries all withdrawals that were made so far.
    ///
    /// # Errors
    /// `Query`.
    pub fn publish_withdrawals(&self, scope: &ScopeId, seq: u64) -> Result<(), Error> {
        self.connection
            .execute(
                "UPDATE withdrawn SET head = ?2 WHERE scope = ?1 AND head IS NULL",
                (scope.as_bytes(), number(seq)),
            )
            .map_err(Error::query("note a published withdrawal"))?;
        Ok(())
    }

    /// Notes that the next publish of a scope has to make a fresh ladder: nothing that a live head names may
    /// carry older content, or be sealed to an older epoch.
    ///
    /// # Errors
    /// `Query`.
    pub fn mark_refold(&self, scope: &ScopeId) -> Result<(), Error> {
        self.connection
            .prepare_cached("INSERT OR IGNORE INTO refold VALUES (?1)")
            .and_then(|mut statement| statement.execute([scope.as_bytes()]))
            .map_err(Error::query("note that a scope is to be folded anew"))?;
        Ok(())
    }

    /// Tells whether the next publish of a scope has to make a fresh ladder.
    ///
    /// # Errors
    /// `Query`.
    pub fn refold_due(&self, scope: &ScopeId) -> Result<bool, Error> {
        self.connection
            .query_row("SELECT EXISTS (SELECT 1 FROM refold WHERE scope = ?1)", [scope.as_bytes()], |row| row.get(0))
            .map_err(Error::query("look whether a scope is to be folded anew"))
    }

    /// Takes the note back: the fresh ladder is made.
    ///
    /// # Errors
    /// `Query`.
    pub fn clear_refold(&self, scope: &ScopeId) -> Result<(), Error> {
        self.connection
            .execute("DELETE FROM refold WHERE scope = ?1", [scope.as_bytes()])
            .map_err(Error::query("note that a scope was folded anew"))?;
        Ok(())
    }
}
