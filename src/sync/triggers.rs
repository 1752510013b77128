//! The triggers in the application's database that note what changes, for captures that read only that.

use super::error::Error;
use super::instance::Instance;
use super::map;
use crate::connector::capturing::{Capturing, TriggerChange, Triggers};
use crate::connector::sql::schema::SchemaView;

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
        match self.removal(change)? {
            Some(view) => Ok(view.plan_uninstall()?),
            None => self.with_database(|database| Ok(database.plan_triggers(change)?)),
        }
    }

    /// Installs or removes the triggers; returns the statements that were run.
    ///
    /// # Errors
    /// The application's database can't be written.
    pub fn change_triggers(&self, change: TriggerChange) -> Result<Vec<String>, Error> {
        match self.removal(change)? {
            Some(view) => {
                self.forget_database();
                Ok(view.uninstall()?)
            }
            None => self.with_database(|database| Ok(database.change_triggers(change)?)),
        }
    }

    /// How captures find what changed, as it is configured.
    pub fn capturing(&self) -> Capturing {
        self.config.capture.mode
    }

    /// Connects without a mapping where triggers are to be removed: that is needed most when the tables were altered and the
    /// mapping doesn't fit them any more.
    fn removal(&self, change: TriggerChange) -> Result<Option<SchemaView>, Error> {
        if change == TriggerChange::Install || !self.has_tables() {
            return Ok(None);
        }
        Ok(Some(map::view_of(self.database_address()?, &self.root, self.config.busy_ms)?))
    }
}
