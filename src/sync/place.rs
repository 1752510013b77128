//! The schema of a PostgreSQL database that this instance has captured rows of.
//!
//! The bookkeeping is one for the whole database, and a mapping fits tables of the same names in another schema too: with another
//! `search_path` in the address these would be taken for those that were captured, with all rows exchanged.

use super::error::Error;
use super::instance::Instance;
use crate::connector::dburl::Address;

/// The key of the schema in the state.
const SCHEMA_KEY: &str = "schema";

impl Instance {
    /// Refuses tables of another schema than was captured last, unless a restore is at work: that takes rows as they are.
    ///
    /// # Errors
    /// `OtherSchema`, `State`.
    pub(super) fn check_schema(&self, found: &str) -> Result<(), Error> {
        match self.state.meta(SCHEMA_KEY)?.filter(|known| !known.is_empty() && known != found) {
            Some(known) if !self.is_restoring() => Err(Error::OtherSchema { found: found.to_owned(), known }),
            _ => Ok(()),
        }
    }

    /// Notes the schema whose rows are captured now.
    ///
    /// # Errors
    /// `Database` if the address can't be found, `State`.
    pub(super) fn note_schema(&self) -> Result<(), Error> {
        let schema = match self.has_tables().then(|| self.database_address()).transpose()? {
            Some(Address::Postgres(url)) => url.schema().to_owned(),
            _ => return Ok(()),
        };
        Ok(self.state.set_meta(SCHEMA_KEY, &schema)?)
    }

    /// Takes the tables that the address names now for those of this instance, whatever they were.
    ///
    /// # Errors
    /// `State`.
    pub(super) fn forget_schema(&self) -> Result<(), Error> {
        Ok(self.state.set_meta(SCHEMA_KEY, "")?)
    }
}
