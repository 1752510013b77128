//! The settlement that is due in the application's database: written in the transaction that made its
//! commits, removed once the application's database has taken it.

use rusqlite::OptionalExtension;

use super::database::State;
use super::error::Error;
use super::heads::number;

/// A capture whose commits are durable here but may not be settled there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingSettle {
    /// The capture's number.
    pub number: u64,
    /// The applied view to set.
    pub applied: Vec<u8>,
    /// The target view to set.
    pub target: Option<Vec<u8>>,
}

impl State {
    /// Notes the settlement that is due.
    ///
    /// # Errors
    /// `Query`.
    pub fn put_pending(&self, pending: &PendingSettle) -> Result<(), Error> {
        self.connection
            .execute(
                "INSERT OR REPLACE INTO pending VALUES ('settle', ?1, ?2, ?3)",
                (number(pending.number), &pending.applied, &pending.target),
            )
            .map_err(Error::query("note a settlement"))?;
        Ok(())
    }

    /// Reads the settlement that is due, if any.
    ///
    /// # Errors
    /// `Query`.
    pub fn pending(&self) -> Result<Option<PendingSettle>, Error> {
        self.connection
            .query_row("SELECT number, applied, target FROM pending WHERE what = 'settle'", [], |row| {
                Ok(PendingSettle {
                    number: row.get::<_, i64>(0)?.unsigned_abs(),
                    applied: row.get(1)?,
                    target: row.get(2)?,
                })
            })
            .optional()
            .map_err(Error::query("read a settlement"))
    }

    /// Forgets the settlement.
    ///
    /// # Errors
    /// `Query`.
    pub fn clear_pending(&self) -> Result<(), Error> {
        self.connection.execute("DELETE FROM pending", []).map_err(Error::query("forget a settlement"))?;
        Ok(())
    }
}
