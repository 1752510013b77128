//! Which commit each of our own heads named, and which records left a scope without being deleted.

use std::collections::BTreeSet;

use super::database::{State, blob};
use super::error::Error;
use super::heads::number;
use crate::id::bytes::{CommitId, RecordKey, ScopeId};
use crate::id::name::DatasetName;
use crate::sys::clock;

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
