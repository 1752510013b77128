//! The mapping as it is written in TOML.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::preset;
use super::scope::Scope;
use crate::connector::error::Error;
use crate::id::name::{DatasetName, FieldName};
use crate::record::fieldtype::Kind;
use crate::record::schema::Strategy;

/// Which tables become which kinds of records.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// What must be true of the application before it can receive foreign rows.
    #[serde(default)]
    pub ready: Option<Ready>,
    /// The datasets by name; after `load` only enabled ones.
    #[serde(default)]
    pub dataset: BTreeMap<DatasetName, Dataset>,
}

/// A row that must exist before foreign rows are written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ready {
    /// The table to look in.
    pub table: String,
    /// The column to look at.
    pub column: String,
    /// The value that one row must have.
    pub value: Constant,
    /// What it means that there is none.
    pub why: String,
    /// What to do then.
    pub hint: String,
}

/// One table as a kind of record.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dataset {
    /// Whether it is synced at all.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// The table.
    pub table: String,
    /// Its key: an integer that the database chooses, or columns that are mapped as fields.
    pub key: Columns,
    /// Columns that never change in a row's life, to notice that a key was handed out again.
    #[serde(default)]
    pub birth: Vec<String>,
    /// Where a row's audience comes from.
    pub scope: Scope,
    /// Rows that stay home unless a column has one of some values.
    #[serde(default)]
    pub filter: Option<Filter>,
    /// By column the values (or prefixes, `abc*`) that travel at all, in both directions.
    #[serde(default)]
    pub only: BTreeMap<String, Vec<String>>,
    /// A column that is not NULL once the application deleted the row.
    #[serde(default)]
    pub soft_delete: Option<String>,
    /// The fields of the record that travel.
    pub fields: BTreeMap<FieldName, Field>,
    /// The fields whose scope is `never`: neither read nor written.
    #[serde(skip)]
    pub never: BTreeMap<FieldName, Field>,
    /// Sets of fields that are unique in the table.
    #[serde(default)]
    pub unique: Vec<Vec<FieldName>>,
    /// The unique set of references by which two records mean the same: one row stands for both.
    #[serde(default)]
    pub same: Vec<FieldName>,
    /// The unique field that gets a local alias when its value is taken.
    #[serde(default)]
    pub alias: Option<FieldName>,
    /// By column what a new row gets where no field gives it.
    #[serde(default)]
    pub insert: BTreeMap<String, Constant>,
    /// By field what a placeholder shows.
    #[serde(default)]
    pub stub: BTreeMap<FieldName, Constant>,
    /// What goes stale when a row is written.
    #[serde(default)]
    pub purge: Purge,
}

/// A column and some of its values: those that let a row leave, or that make another column this field.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// The column.
    pub column: String,
    /// The values.
    pub any: Vec<String>,
}

/// One field of a record.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// The column; the field's own name if left out. Several, for a reference to rows with a key of several.
    #[serde(default)]
    pub column: Option<Columns>,
    /// The logical type; not for references.
    #[serde(default, rename = "type")]
    pub kind: Option<Kind>,
    /// The dataset that the field refers to.
    #[serde(default, rename = "ref")]
    pub reference: Option<DatasetName>,
    /// What to do where the record referred to isn't.
    #[serde(default)]
    pub missing: Option<Missing>,
    /// Whether the parent's audience caps the row's.
    #[serde(default)]
    pub required: bool,
    /// Whether the reference says in whose name the row speaks: it must be of the record's own origin.
    #[serde(default)]
    pub author: bool,
    /// In which rows the column is this field; in others it is another, or none.
    #[serde(default)]
    pub when: Option<Filter>,
    /// How concurrent values are shown.
    #[serde(default)]
    pub merge: Strategy,
    /// The group of fields that are written together.
    #[serde(default)]
    pub group: Option<FieldName>,
    /// The widest scope that the field may travel in, or `never`; left out, it goes where its record goes.
    #[serde(default)]
    pub scope: Option<String>,
}

/// One column or several.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "OneOrSeveral")]
pub struct Columns(Vec<String>);

#[derive(Deserialize)]
#[serde(untagged, expecting = "a column or a list of columns was expected")]
enum OneOrSeveral {
    One(String),
    Several(Vec<String>),
}

impl From<OneOrSeveral> for Columns {
    fn from(columns: OneOrSeveral) -> Self {
        Self(match columns {
            OneOrSeveral::One(column) => vec![column],
            OneOrSeveral::Several(columns) => columns,
        })
    }
}

impl Columns {
    /// Returns their names in order.
    pub fn names(&self) -> &[String] {
        &self.0
    }

    /// Returns the name if it is one.
    pub fn single(&self) -> Option<&str> {
        match self.0.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }
}

/// What to do with a reference to a record that isn't here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Missing {
    /// Write a placeholder row.
    Stub,
    /// Show NULL until it arrives.
    Null,
    /// Hold the record back until it arrives.
    Park,
}

/// A constant; texts may be templates (`template`).
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Constant {
    /// A truth value.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A float.
    Float(f64),
    /// A text or template.
    Text(String),
}

/// What goes stale when a row is written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Purge {
    /// Files below the application's directory, as templates.
    #[serde(default)]
    pub files: Vec<String>,
    /// Rows of cache tables.
    #[serde(default)]
    pub rows: Vec<PurgeRows>,
}

/// Rows of a cache table; a table that doesn't exist has none.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PurgeRows {
    /// The table.
    pub table: String,
    /// The column.
    pub column: String,
    /// The value it has there.
    #[serde(default = "the_key")]
    pub value: String,
}

impl Mapping {
    /// Reads a preset, lays `own` over it table by table, drops disabled datasets, and checks the rest.
    ///
    /// `own` holds the keys `ready` and `dataset`; `from` names where it was written, for errors.
    ///
    /// # Errors
    /// An unknown preset; a mapping that isn't written as it should be or contradicts itself.
    pub fn load(preset: Option<&str>, own: toml::Table, from: &str) -> Result<Self, Error> {
        let mut table = match preset {
            Some(name) => preset::table(name)?,
            None => toml::Table::new(),
        };
        overlay(&mut table, own, 0);
        let failed = |source| Error::ReadMapping { from: from.to_owned(), source };
        let mut mapping: Self = toml::Value::Table(table).try_into().map_err(failed)?;
        mapping.dataset.retain(|_, dataset| dataset.enabled);
        mapping.dataset.values_mut().for_each(Dataset::set_apart);
        super::check::check(&mapping)?;
        Ok(mapping)
    }

    /// Reads a mapping that stands for itself.
    ///
    /// # Errors
    /// As `load`; a syntax error tells its line.
    pub fn parse(text: &str, from: &str) -> Result<Self, Error> {
        let failed = |source| Error::ReadMapping { from: from.to_owned(), source };
        let mut mapping: Self = toml::from_str(text).map_err(failed)?;
        mapping.dataset.retain(|_, dataset| dataset.enabled);
        mapping.dataset.values_mut().for_each(Dataset::set_apart);
        super::check::check(&mapping)?;
        Ok(mapping)
    }
}

impl Field {
    /// Returns the columns, given the field's name: nearly always one.
    pub fn columns<'a>(&'a self, name: &'a FieldName) -> Vec<&'a str> {
        match &self.column {
            Some(columns) => columns.names().iter().map(String::as_str).collect(),
            None => vec![name.as_str()],
        }
    }

    /// Returns the column if it is one.
    pub fn single_column<'a>(&'a self, name: &'a FieldName) -> Option<&'a str> {
        match self.columns(name)[..] {
            [only] => Some(only),
            _ => None,
        }
    }

    /// Tells whether the field is this column and no other.
    pub fn is_column(&self, name: &FieldName, column: &str) -> bool {
        self.columns(name) == [column]
    }
}

/// Lays keys over others, table by table. The scope of a dataset is one thing, however it is said.
fn overlay(base: &mut toml::Table, over: toml::Table, depth: usize) {
    for (key, value) in over {
        let is_whole = depth == DATASET_DEPTH && key == "scope";
        match (base.get_mut(&key), value) {
            (Some(toml::Value::Table(base)), toml::Value::Table(over)) if !is_whole => overlay(base, over, depth + 1),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

/// How deep the keys of a dataset lie: below `dataset` and its name.
const DATASET_DEPTH: usize = 2;

fn yes() -> bool {
    true
}

fn the_key() -> String {
    "{key}".to_owned()
}
