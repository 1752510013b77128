//! A database's schema as it is: its tables, and everything that a mapping has wrong about them.

use super::plan::Plans;
use super::session::Session;
use super::{fit, install};
use crate::connector::catalogue::Table;
use crate::connector::column::Column;
use crate::connector::error::Error;
use crate::connector::mapping::model::Mapping;
use crate::scope::audience::Addressees;

/// A connection that looks at a schema.
#[derive(Debug)]
pub struct SchemaView {
    session: Box<dyn Session>,
}

impl SchemaView {
    pub(in crate::connector) fn new(session: Box<dyn Session>) -> Self {
        Self { session }
    }

    pub(super) fn session(&self) -> &dyn Session {
        self.session.as_ref()
    }

    /// Names the database; without a password.
    pub fn place(&self) -> String {
        self.session.place()
    }

    /// Describes the tables.
    ///
    /// # Errors
    /// The database can't be read.
    pub fn tables(&self) -> Result<Vec<Table>, Error> {
        self.session.catalogue().map_err(|source| self.session.explain("look at the tables", source))
    }

    /// Returns the statements that `uninstall` would run.
    ///
    /// # Errors
    /// The database can't be read.
    pub fn plan_uninstall(&self) -> Result<Vec<String>, Error> {
        let steps = self.session.plan_uninstall().map_err(|source| self.session.explain(UNINSTALL, source))?;
        Ok(steps.into_iter().flat_map(|step| step.statements).collect())
    }

    /// Removes the triggers, and what they noted, whether or not a mapping fits the tables. Returns the statements that were run.
    ///
    /// # Errors
    /// The database can't be written.
    pub fn uninstall(&self) -> Result<Vec<String>, Error> {
        let run = self.session.plan_uninstall().and_then(|steps| install::run_steps(self.session.as_ref(), steps));
        run.map_err(|source| self.session.explain(UNINSTALL, source))
    }

    /// Binds a mapping, and describes the columns of its fields.
    ///
    /// # Errors
    /// Everything that makes syncing impossible, at least one.
    pub fn columns(&self, mapping: &Mapping) -> Result<Vec<Column>, Vec<Error>> {
        let sql = |source| self.session.explain("look at the tables", source);
        let plans = Plans::try_bind(mapping, &Addressees::default(), self.session.as_ref(), &sql)?;
        Ok(fit::columns(&plans, self.session.as_ref()))
    }
}

const UNINSTALL: &str = "remove the triggers";
