//! Settling: the application's database is told that what was captured is committed, once, whatever crashes come between; and one that knows
//! less of it than this state does is refused.

use super::error::Error;
use super::instance::Instance;
use crate::connector::contract::{Capture, Position};
use crate::connector::error as connector;

/// The key under which the state keeps the number of the last capture that was settled.
pub(super) const SETTLED_KEY: &str = "settled";

impl Instance {
    /// Finishes a settlement that a crash interrupted.
    ///
    /// # Errors
    /// The database can't be written.
    pub fn settle_pending(&self) -> Result<(), Error> {
        let Some(pending) = self.state.pending()? else { return Ok(()) };
        let capture = Capture { number: pending.number, ..Capture::default() };
        let position = Position { settled: pending.number, applied: pending.applied, target: pending.target };
        self.with_database(|database| match database.settle(&capture, &position) {
            // The crash came after the database had taken it.
            Err(connector::Error::StaleCapture { number, wanted }) if wanted == number + 1 => Ok(()),
            other => Ok(other?),
        })?;
        Ok(self.state.clear_pending()?)
    }

    /// Refuses a database that has settled less than this state knows of: a backup of it was put back, and what it doesn't hold
    /// would look deleted by its owner. Nothing was read of it before: a capture gives rows that it doesn't know to new records, and a
    /// restore would not recognise them any more.
    pub(super) fn check_is_newest(&self, position: &Position) -> Result<(), Error> {
        let known = self.state.meta(SETTLED_KEY)?.and_then(|text| text.parse().ok()).unwrap_or(0);
        match position.settled >= known {
            true => Ok(()),
            false => Err(Error::OldDatabase { found: position.settled, known }),
        }
    }

    /// Takes the application's database as it is, as the next commit finds it: a restore brings it up to date.
    ///
    /// # Errors
    /// The state can't be written.
    pub(super) fn forget_settled(&self) -> Result<(), Error> {
        self.forget_schema()?;
        Ok(self.state.set_meta(SETTLED_KEY, "0")?)
    }
}
