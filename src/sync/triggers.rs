//! The triggers in the application's database that note what changes, for captures that read only that.

use super::error::Error;
use super::instance::Instance;
use crate::connector::capturing::{TriggerChange, Triggers};

impl Instance {
    /// Says how the triggers stand.
    ///
    /// # Errors
    /// The application's database can't be read.
    pub fn triggers(&self) -> Result<Triggers, Error> {
        self.with_database(|database| Ok(database.triggers()?))
    }

    /// Returns the statements that `change_triggers` would run.
    ///
    /// # Errors
    /// The application's database can't be read.
    pub fn plan_triggers(&self, change: TriggerChange) -> Result<Vec<String>, Error> {
        self.with_database(|database| Ok(database.plan_triggers(change)?))
    }

    /// Installs or removes the triggers; returns the statements that were run.
    ///
    /// # Errors
    /// The application's database can't be written.
    pub fn change_triggers(&self, change: TriggerChange) -> Result<Vec<String>, Error> {
        self.with_database(|database| Ok(database.change_triggers(change)?))
    }
}
