//! Edits that came too late: writers made them before they heard that the record had left the scope.

use super::database::{State, blob};
use super::error::Error;
use super::heads::number;
use crate::id::bytes::{InstanceId, RecordKey, ScopeId};
use crate::id::name::{DatasetName, FieldName};
use crate::record::stamp::Stamp;
use crate::sys::clock::UnixMillis;

/// One value that a writer gave a field of a record that was withdrawn meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LateRow {
    /// The scope that the record had left.
    pub scope: ScopeId,
    /// The dataset.
    pub dataset: DatasetName,
    /// The record.
    pub record: RecordKey,
    /// The field.
    pub field: FieldName,
    /// The write.
    pub stamp: Stamp,
    /// The value, as JSON.
    pub value: String,
}

impl State {
    /// Keeps a late value; fine if it is kept already.
    ///
    /// # Errors
    /// `Query`.
    pub fn put_late(&self, late: &LateRow) -> Result<(), Error> {
        self.connection
            .prepare_cached("INSERT OR IGNORE INTO late VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")
            .and_then(|mut statement| {
                statement.execute((
                    late.scope.as_bytes(),
                    late.dataset.as_str(),
                    late.record.as_bytes(),
                    late.field.as_str(),
                    late.stamp.author.as_bytes(),
                    late.stamp.incarnation,
                    number(late.stamp.sequence),
                    number(late.stamp.time.0),
                    &late.value,
                ))
            })
            .map_err(Error::query("keep a late edit"))?;
        Ok(())
    }

    /// Reads all late values.
    ///
    /// # Errors
    /// `Query`; `Damaged` if a name in the table isn't one.
    pub fn late(&self) -> Result<Vec<LateRow>, Error> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT * FROM late ORDER BY time, dataset, record, field")
            .map_err(Error::query("read the late edits"))?;
        let mut rows = statement.query([]).map_err(Error::query("read the late edits"))?;
        let mut list = Vec::new();
        while let Some(row) = rows.next().map_err(Error::query("read the late edits"))? {
            list.push(late_row(row).map_err(Error::query("read the late edits"))??);
        }
        Ok(list)
    }

    /// Forgets the late values of a record.
    ///
    /// # Errors
    /// `Query`.
    pub fn forget_late(&self, dataset: &DatasetName, record: &RecordKey) -> Result<(), Error> {
        self.connection
            .execute("DELETE FROM late WHERE dataset = ?1 AND record = ?2", (dataset.as_str(), record.as_bytes()))
            .map_err(Error::query("forget a late edit"))?;
        Ok(())
    }
}

fn late_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Result<LateRow, Error>> {
    let (dataset, field): (String, String) = (row.get(1)?, row.get(3)?);
    let stamp = Stamp {
        author: InstanceId::from_bytes(blob(row, 4)?),
        incarnation: row.get(5)?,
        sequence: row.get::<_, i64>(6)?.unsigned_abs(),
        time: UnixMillis(row.get::<_, i64>(7)?.unsigned_abs()),
    };
    let (scope, record, value) =
        (ScopeId::from_bytes(blob(row, 0)?), RecordKey::from_bytes(blob(row, 2)?), row.get(8)?);
    let named = || {
        let damaged = |error: String| Error::damaged(error);
        let dataset = DatasetName::new(&dataset).map_err(|error| damaged(error.to_string()))?;
        let field = FieldName::new(&field).map_err(|error| damaged(error.to_string()))?;
        Ok(LateRow { scope, dataset, record, field, stamp, value })
    };
    Ok(named())
}
