//! Rows that were just inserted: what they show is known without reading them back, where nothing can have altered it.
//!
//! That is so in a table of which the database says the number of the row that was inserted last (`Session::numbers_rows`: so no
//! trigger of the application's is on it), if everything that is read of the row was given, and each column shows
//! what it was given (`Session::as_written`).

use std::borrow::Cow;
use std::rc::Rc;

use super::apply::{Apply, Fail};
use super::as_written::AsWritten;
use super::key::Key;
use super::plan::{self, Plan};
use super::raw::{Raw, RawRef};
use super::session::{Row, Session, SqlError};

/// The columns of a new row.
pub(super) type Given<'a, 'r> = Vec<(&'a str, Cow<'r, Raw>)>;

/// How rows with the same columns are inserted into a table, found out once as long as the application doesn't alter its tables.
#[derive(Debug)]
pub(super) struct Insertion<'a> {
    columns: Vec<&'a str>,
    pub(super) sql: String,
    /// Whether the database can say the number of the row that was inserted last, and that is its key.
    pub(super) is_numbered: bool,
    /// What the plan reads of a row, in its order; `None` if not all of that is known from what was given.
    sources: Option<Vec<Source>>,
}

/// Where a column's value is known from.
#[derive(Debug, Clone, Copy)]
enum Source {
    Key,
    Given(usize, AsWritten),
}

/// A row as it was inserted.
#[derive(Debug)]
pub(super) struct Inserted<'i, 'r> {
    key: &'i Key,
    sources: &'i [Source],
    given: &'i [(&'i str, Cow<'r, Raw>)],
}

impl<'a> Apply<'a> {
    /// Finds out how a row with these columns is inserted.
    pub(super) fn insertion(&mut self, dataset: usize, given: &Given<'a, '_>) -> Result<Rc<Insertion<'a>>, Fail> {
        let is_it = |known: &&Rc<Insertion<'_>>| known.columns.iter().eq(given.iter().map(|(column, _)| column));
        if let Some(known) = self.insertions.get(&dataset).filter(is_it) {
            return Ok(Rc::clone(known));
        }
        let plan = &self.plans.list[dataset];
        let is_numbered = match plan.key.single() {
            Some(only) if only.is_integer => self.conn.numbers_rows(&plan.spec.table, &only.name)?,
            _ => false,
        };
        let made = Rc::new(Insertion {
            columns: given.iter().map(|(column, _)| *column).collect(),
            sql: plan::insertion(self.conn.or_refuse(), &plan.table, given),
            is_numbered,
            sources: if is_numbered { sources(self.conn, plan, given)? } else { None },
        });
        self.insertions.insert(dataset, Rc::clone(&made));
        Ok(made)
    }
}

/// Finds what is read of a row among what it is given.
fn sources(conn: &dyn Session, plan: &Plan, given: &Given<'_, '_>) -> Result<Option<Vec<Source>>, SqlError> {
    let is_twice = |at: usize| given[..at].iter().any(|(column, _)| column.eq_ignore_ascii_case(given[at].0));
    // Where a column is one of several fields, what a field says may be another's value.
    if (0..given.len()).any(is_twice) || plan.fields.iter().any(|field| !field.turns.is_empty()) {
        return Ok(None);
    }
    let mut sources = Vec::with_capacity(plan.width);
    for read in &plan.read {
        let Some((column, declared)) = read else { return Ok(None) };
        sources.push(match given.iter().position(|(name, _)| name.eq_ignore_ascii_case(column)) {
            _ if plan.key.single().is_some_and(|key| key.name.eq_ignore_ascii_case(column)) => Source::Key,
            Some(at) => Source::Given(at, conn.as_written(declared)?),
            None => return Ok(None),
        });
    }
    Ok(Some(sources))
}

impl Insertion<'_> {
    /// Returns the row that was inserted with a key, if all of it is known.
    pub(super) fn row<'i, 'r>(&'i self, key: &'i Key, given: &'i Given<'_, 'r>) -> Option<Inserted<'i, 'r>> {
        let sources = self.sources.as_deref()?;
        let is_known = |source: &Source| match source {
            Source::Key => true,
            Source::Given(at, shown) => shown.keeps((&*given[*at].1).into()),
        };
        sources.iter().all(is_known).then_some(Inserted { key, sources, given })
    }
}

impl Row for Inserted<'_, '_> {
    fn raw(&self, at: usize) -> Result<RawRef<'_>, SqlError> {
        match (self.sources.get(at), self.key) {
            (Some(Source::Key), Key::Int(number)) => Ok(RawRef::Integer(*number)),
            (Some(Source::Given(at, _)), _) => Ok((&*self.given[*at].1).into()),
            _ => Err(SqlError::Column { at, wanted: "anything" }),
        }
    }
}
