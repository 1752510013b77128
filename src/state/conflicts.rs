//! The list of open conflicts of the local heads, kept while heads move so that nobody has to search.

use super::database::{State, blob};
use super::error::Error;
use crate::id::bytes::{RecordKey, ScopeId};
use crate::id::name::{DatasetName, FieldName};

/// One field with more than one concurrent value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenConflict {
    /// The scope.
    pub scope: ScopeId,
    /// The dataset.
    pub dataset: DatasetName,
    /// The record.
    pub record: RecordKey,
    /// The field.
    pub field: FieldName,
}

impl State {
    /// Sets the open conflicts of one record to those that it has now.
    ///
    /// # Errors
    /// `Query`.
    pub fn set_conflicts(
        &self,
        scope: &ScopeId,
        dataset: &DatasetName,
        record: &RecordKey,
        open: &[FieldName],
    ) -> Result<(), Error> {
        let query = Error::query("note the conflicts of a record");
        self.connection
            .prepare_cached("DELETE FROM conflict WHERE scope = ?1 AND dataset = ?2 AND record = ?3")
            .and_then(|mut statement| statement.execute((scope.as_bytes(), dataset.as_str(), record.as_bytes())))
            .map_err(&query)?;
        for field in open {
            self.connection
                .prepare_cached("INSERT INTO conflict VALUES (?1, ?2, ?3, ?4)")
                .and_then(|mut statement| {
                    statement.execute((scope.as_bytes(), dataset.as_str(), record.as_bytes(), field.as_str()))
                })
                .map_err(&query)?;
        }
        Ok(())
    }

    /// Tells whether a scope has open conflicts.
    ///
    /// # Errors
    /// `Query`.
    pub fn has_conflicts(&self, scope: &ScopeId) -> Result<bool, Error> {
        self.connection
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM conflict WHERE scope = ?1)")
            .and_then(|mut statement| statement.query_row([scope.as_bytes()], |row| row.get(0)))
            .map_err(Error::query("look for conflicts"))
    }

    /// Counts the open conflicts of a scope.
    ///
    /// # Errors
    /// `Query`.
    pub fn conflict_count(&self, scope: &ScopeId) -> Result<u64, Error> {
        self.connection
            .prepare_cached("SELECT count(*) FROM conflict WHERE scope = ?1")
            .and_then(|mut statement| statement.query_row([scope.as_bytes()], |row| row.get::<_, i64>(0)))
            .map(i64::unsigned_abs)
            .map_err(Error::query("count conflicts"))
    }

    /// Returns all open conflicts.
    ///
    /// # Errors
    /// `Query`; `Damaged` if a name in the table isn't one.
    pub fn conflicts(&self) -> Result<Vec<OpenConflict>, Error> {
        let read = |row: &rusqlite::Row<'_>| Ok((blob(row, 0)?, row.get(1)?, blob(row, 2)?, row.get(3)?));
        let rows: Vec<([u8; 16], String, [u8; 16], String)> = self
            .connection
            .prepare_cached("SELECT scope, dataset, record, field FROM conflict ORDER BY 1, 2, 3, 4")
            .and_then(|mut statement| statement.query_map([], read)?.collect())
            .map_err(Error::query("read the conflicts"))?;
        rows.into_iter()
            .map(|(scope, dataset, record, field)| {
                Ok(OpenConflict {
                    scope: ScopeId::from_bytes(scope),
                    dataset: DatasetName::new(&dataset).map_err(|error| Error::damaged(error.to_string()))?,
                    record: RecordKey::from_bytes(record),
                    field: FieldName::new(&field).map_err(|error| Error::damaged(error.to_string()))?,
                })
            })
            .collect()
    }
}
