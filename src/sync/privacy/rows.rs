//! For whom the application's own rows are meant: listed, and said.
//!
//! What is said takes effect at the next commit; what was shared before is withdrawn then.

use std::collections::BTreeMap;

use crate::connector::contract::{Rows, Surveyed};
use crate::id::name::DatasetName;
use crate::scope::audience::{Audience, Reason, scope_of};
use crate::sync::commit::Mode;
use crate::sync::error::{Error, through};
use crate::sync::instance::Instance;

/// What is shared with whom.
#[derive(Debug, Default, serde::Serialize)]
pub struct Sharing {
    /// Rows by dataset and audience: a scope, or `private: ` and why.
    pub counts: BTreeMap<DatasetName, BTreeMap<String, u64>>,
    /// The rows, if they were asked for.
    pub rows: Vec<SharedRow>,
}

/// One row.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct SharedRow {
    /// `dataset#key`, the row's own key in this database.
    pub row: String,
    /// `dataset/key` of its record; `None` until it was captured.
    pub record: Option<String>,
    /// For whom it is meant: a scope, or `private: ` and why.
    pub audience: String,
}

/// What was said of rows.
#[derive(Debug, Default, serde::Serialize)]
pub struct Marked {
    /// For whom the rows are meant now.
    pub audience: String,
    /// The rows that were named, with the audience that they had.
    pub rows: Vec<SharedRow>,
    /// How many of them say something else than before.
    pub changed: u64,
    /// Rows that meet the condition and belong to other instances, which decide who sees them.
    pub foreign: u64,
}

impl Instance {
    /// Tells what is shared with whom, as the rows are now.
    ///
    /// Reads every row. Memory: the rows that others refer to, and all if `listed`.
    ///
    /// # Errors
    /// The database can't be read; `NotFound` if no dataset has this name.
    pub fn sharing(&self, dataset: Option<&str>, listed: bool) -> Result<Sharing, Error> {
        let dataset = dataset.map(|name| self.dataset_named(name)).transpose()?;
        let mut sharing = Sharing::default();
        self.survey(&Rows::Own(dataset), &mut |surveyed| {
            let row = SharedRow::of(&surveyed);
            let counts = sharing.counts.entry(surveyed.dataset).or_default();
            *counts.entry(row.audience.clone()).or_default() += 1;
            if listed {
                sharing.rows.push(row);
            }
            Ok(())
        })?;
        Ok(sharing)
    }

    /// Says of own rows for whom they are meant.
    ///
    /// # Errors
    /// `NotFound` if no own row is named so, `UnknownAudience`, the database.
    pub fn mark_rows(&self, rows: &Rows, audience: &str, mode: Mode) -> Result<Marked, Error> {
        let audience = self.audience_named(audience)?;
        let mut marked = Marked { audience: audience.clone(), ..Marked::default() };
        let mut keys: BTreeMap<DatasetName, Vec<String>> = BTreeMap::new();
        self.survey(rows, &mut |surveyed| {
            if surveyed.decided.is_none() {
                marked.foreign += 1;
                return Ok(());
            }
            marked.rows.push(SharedRow::of(&surveyed));
            keys.entry(surveyed.dataset).or_default().push(surveyed.key);
            Ok(())
        })?;
        match rows {
            Rows::Key(..) | Rows::Record(..) if marked.rows.is_empty() && marked.foreign > 0 => {
                return Err(Error::NotOurs { row: called(rows) });
            }
            Rows::Record(..) if marked.rows.len() > 1 => {
                return Err(Error::Ambiguous { what: format!("record {}", called(rows)), count: marked.rows.len() });
            }
            Rows::Key(..) | Rows::Record(..) if marked.rows.is_empty() => {
                return Err(Error::NotFound { what: format!("row {}", called(rows)) });
            }
            _ => {}
        }
        if mode == Mode::Keep {
            for (dataset, keys) in keys {
                marked.changed += self.say_of_rows(&dataset, &keys, &audience)?;
            }
        }
        Ok(marked)
    }

    /// Says for whom the rows of a dataset are meant that don't say so themselves; `None` leaves it to the mapping.
    ///
    /// # Errors
    /// `NotFound`, `UnknownAudience`, the database.
    pub fn set_default_audience(&self, dataset: &str, audience: Option<&str>, mode: Mode) -> Result<(), Error> {
        let dataset = self.dataset_named(dataset)?;
        let audience = audience.map(|audience| self.audience_named(audience)).transpose()?;
        match mode {
            Mode::DryRun => Ok(()),
            Mode::Keep => self.say_of_dataset(&dataset, audience.as_deref()),
        }
    }

    /// Reads which rows a person means: `dataset#key` by the application's own key, else a record.
    ///
    /// # Errors
    /// `Name` if the dataset's name isn't one; `NotFound` if the digits can't be those of a record.
    pub fn rows_named(text: &str) -> Result<Rows, Error> {
        if let Some((dataset, key)) = text.split_once('#') {
            return Ok(Rows::Key(DatasetName::new(dataset)?, key.to_owned()));
        }
        let (dataset, digits) = match text.split_once('/') {
            Some((dataset, digits)) => (Some(DatasetName::new(dataset)?), digits),
            None => (None, text),
        };
        if !(4..=32).contains(&digits.len()) || !digits.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(Error::NotFound { what: format!("record {text:?}") });
        }
        Ok(Rows::Record(dataset, digits.to_owned()))
    }

    pub(super) fn survey(&self, rows: &Rows, work: &mut dyn FnMut(Surveyed) -> Result<(), Error>) -> Result<(), Error> {
        if let Rows::Key(dataset, _) | Rows::Record(Some(dataset), _) | Rows::Where(dataset, _) = rows {
            self.dataset_named(dataset.as_str())?;
        }
        self.with_database(|database| Ok(database.survey(rows, &mut |row| work(row).map_err(through))?))
    }

    /// Finds a mapped dataset.
    ///
    /// # Errors
    /// `UnknownDataset`.
    pub fn dataset_named(&self, text: &str) -> Result<DatasetName, Error> {
        let known = self.with_database(|database| Ok(database.datasets()))?;
        let found = known.iter().find(|name| name.as_str() == text).cloned();
        let known = known.iter().map(ToString::to_string).collect();
        found.ok_or_else(|| Error::UnknownDataset { name: text.to_owned(), known })
    }

    /// Reads an audience as a person writes it: `private`, or a scope that this instance has somebody for.
    fn audience_named(&self, text: &str) -> Result<String, Error> {
        if text == "private" {
            return Ok(text.to_owned());
        }
        let addressees = self.addressees()?;
        match scope_of(text).filter(|scope| addressees.know(scope)) {
            Some(scope) => Ok(scope.to_string()),
            None => {
                let groups = addressees.members.keys().filter(|scope| scope.group().is_some()).map(ToString::to_string);
                let peers = addressees.peers.iter().map(ToString::to_string).collect();
                Err(Error::UnknownAudience { found: text.to_owned(), groups: groups.collect(), peers })
            }
        }
    }
}

impl SharedRow {
    pub(super) fn of(surveyed: &Surveyed) -> Self {
        Self {
            row: format!("{}#{}", surveyed.dataset, surveyed.key),
            record: surveyed.id.as_ref().map(ToString::to_string),
            audience: describe(&surveyed.audience),
        }
    }
}

/// Spells an audience for people.
pub fn describe(audience: &Audience) -> String {
    match audience {
        Audience::Shared(scope) => scope.to_string(),
        Audience::Private(reason) => format!("private: {}", describe_reason(*reason)),
    }
}

fn describe_reason(reason: Reason) -> &'static str {
    match reason {
        Reason::Chosen => "marked so",
        Reason::UnknownScope => "unknown scope",
        Reason::Filtered => "left out by the filter",
        Reason::Parent => "narrowed by a parent",
        Reason::SoftDeleted => "deleted in the application",
        Reason::Withheld => "refers to what can't travel",
    }
}

/// How whoever asked called the rows.
fn called(rows: &Rows) -> String {
    match rows {
        Rows::Key(dataset, key) => format!("{dataset}#{key}"),
        Rows::Record(Some(dataset), digits) => format!("{dataset}/{digits}"),
        Rows::Record(None, digits) => digits.clone(),
        Rows::Own(Some(dataset)) | Rows::Where(dataset, _) => format!("of {dataset}"),
        Rows::Own(None) => "of any dataset".into(),
    }
}
