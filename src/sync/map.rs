//! Mappings before there is an instance: proposing one for an application's database, and checking an edited one.

use std::path::Path;

use super::config::{self, Config};
use super::error::Error;
use super::init::InitOptions;
use crate::connector::column::Column;
use crate::connector::dburl::{self, Address};
use crate::connector::error::Error as DatabaseError;
use crate::connector::mapping::finding::{Finding, Weight};
use crate::connector::mapping::model::{Dataset, Mapping};
use crate::connector::mapping::propose::{self, Proposal};
use crate::connector::mapping::{place, preset, review};
use crate::connector::postgres::options::Options as PostgresOptions;
use crate::connector::sql::schema::SchemaView;
use crate::connector::sqlite::options::Options as SqliteOptions;
use crate::connector::{postgres, sqlite};
use crate::record::fieldtype::FieldType;

/// How an application's tables can be mapped.
#[derive(Debug, Clone)]
pub enum Outline {
    /// They are those of an application that has a preset.
    Preset(&'static str),
    /// As is proposed.
    Proposal(Box<Proposal>),
}

/// What was found in a mapping.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Review {
    /// The database.
    pub database: String,
    /// The datasets.
    pub datasets: Vec<Mapped>,
    /// What is wrong, and what may surprise.
    pub findings: Vec<Finding>,
}

/// A dataset as it is mapped.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Mapped {
    /// Its name.
    pub dataset: String,
    /// Its table.
    pub table: String,
    /// For whom its rows are, as the mapping says it.
    pub scope: String,
    /// The fields that travel.
    pub fields: Vec<String>,
}

impl Review {
    /// Tells whether syncing is impossible with it.
    pub fn is_wrong(&self) -> bool {
        self.findings.iter().any(|finding| finding.weight == Weight::Error)
    }
}

/// Finds out how the tables of an application in `root` can be mapped; without `database`, of the one that it finds.
///
/// # Errors
/// `Database` if it can't be read, or has no table that can be mapped.
pub fn outline(root: &Path, database: Option<&str>) -> Result<Outline, Error> {
    let config = read_config(root)?.map(|(config, _)| config);
    let view = view(root, config.as_ref(), database)?;
    let tables = view.tables()?;
    if let Some(name) = preset::recognise(&tables) {
        return Ok(Outline::Preset(name));
    }
    propose_for(&view).map(|proposal| Outline::Proposal(Box::new(proposal)))
}

/// Proposes a mapping, whether the application has a preset or not.
///
/// # Errors
/// As `outline`.
pub fn propose(root: &Path, database: Option<&str>) -> Result<Proposal, Error> {
    let config = read_config(root)?.map(|(config, _)| config);
    propose_for(&view(root, config.as_ref(), database)?)
}

/// Completes the options of a new instance that says nothing of a mapping: by the preset of its application, or a proposal.
///
/// # Errors
/// As `outline`.
pub fn complete(root: &Path, options: &mut InitOptions) -> Result<Option<Outline>, Error> {
    let has_files_alone = options.files.is_some() && options.database.is_none();
    if options.preset.is_some() || has_files_alone || root.join(config::FILE).exists() {
        return Ok(None);
    }
    let outline = outline(root, options.database.as_deref())?;
    match &outline {
        Outline::Preset(name) => options.preset = Some((*name).to_owned()),
        Outline::Proposal(proposal) => options.mapping = Some(proposal.toml.clone()),
    }
    Ok(Some(outline))
}

/// Checks the mapping in `wbsync.toml`, or a preset by itself, against a database.
///
/// # Errors
/// The file or the database can't be read. What is wrong with the mapping is no error but a finding.
pub fn check(root: &Path, database: Option<&str>, preset: Option<&str>) -> Result<Review, Error> {
    let written = read_config(root)?;
    let config = written.as_ref().map(|(config, _)| config);
    let view = view(root, config, database)?;
    let tables = view.tables()?;
    let (text, loaded) = match (preset, &written) {
        (Some(name), _) => (preset::text(name)?.to_owned(), Mapping::load(Some(name), toml::Table::new(), name)),
        (None, Some((config, text))) => {
            let file = root.join(config::FILE).display().to_string();
            (text.clone(), Mapping::load(config.preset.as_deref(), config.mapping(), &file))
        }
        (None, None) => {
            let path = root.join(config::FILE);
            let source = std::io::Error::from(std::io::ErrorKind::NotFound);
            return Err(Error::Io { doing: "read", path, source });
        }
    };
    let (mut findings, mut datasets) = (Vec::new(), Vec::new());
    match loaded {
        Err(error) => findings.push(error_finding(&error)),
        Ok(mapping) => {
            match view.columns(&mapping) {
                Err(errors) => findings.extend(errors.iter().map(error_finding)),
                Ok(columns) => {
                    for column in columns.iter().filter(|column| !column.fits) {
                        let at = format!("dataset.{}.fields.{}", column.dataset, column.field);
                        let why = format!(
                            "it is mapped as {}, but {} is declared as {}",
                            column.kind, column.column, column.declared
                        );
                        findings.push(Finding::new(Weight::Warning, "type", at, why));
                    }
                    look_at_values(&view, &mapping, &columns, &mut findings)?;
                }
            }
            findings.extend(review::review(&mapping, &tables));
            datasets.extend(mapping.dataset.iter().map(|(name, dataset)| mapped(name.as_str(), dataset)));
        }
    }
    for finding in &mut findings {
        finding.line = place::line(&text, &finding.at);
    }
    findings.sort_by_key(|finding| (finding.weight, finding.line));
    Ok(Review { database: view.place(), datasets, findings })
}

/// Warns of fields whose type isn't what the values of their columns are.
fn look_at_values(
    view: &SchemaView,
    mapping: &Mapping,
    columns: &[Column],
    findings: &mut Vec<Finding>,
) -> Result<(), Error> {
    for found in columns {
        let table = &mapping.dataset[&found.dataset].table;
        let (FieldType::Plain(kind), Some(name)) =
            (&found.kind, found.column.strip_prefix(table.as_str()).and_then(|rest| rest.strip_prefix('.')))
        else {
            continue;
        };
        let (wrong, count) = view.misfits(table, name, &found.declared, *kind)?;
        if wrong > 0 {
            let at = format!("dataset.{}.fields.{}", found.dataset, found.field);
            let why =
                format!("{wrong} of {count} values that were looked at aren't as a field of type {kind} writes them");
            let next = "others get another spelling, or let them wait; `wbsync db map` proposes a type by the values";
            findings.push(Finding::new(Weight::Warning, "values", at, why).next(next));
        }
    }
    Ok(())
}

fn propose_for(view: &SchemaView) -> Result<Proposal, Error> {
    let proposal = {
        let mut tables = view.tables()?;
        view.sample(&mut tables)?;
        propose::propose(&tables, &view.place())
    };
    match proposal.datasets.is_empty() {
        true => Err(DatabaseError::NothingToMap { database: view.place() }.into()),
        false => Ok(proposal),
    }
}

fn mapped(name: &str, dataset: &Dataset) -> Mapped {
    let scope = &dataset.scope;
    let scope = match (&scope.column, &scope.constant, &scope.parents) {
        (Some(column), _, _) => format!("as {column} says"),
        (_, Some(constant), _) => constant.clone(),
        (_, _, parents) => {
            let names: Vec<&str> = parents.iter().flatten().map(|field| field.as_str()).collect();
            format!("as {}", names.join(" and "))
        }
    };
    let fields = dataset.fields.keys().map(ToString::to_string).collect();
    Mapped { dataset: name.to_owned(), table: dataset.table.clone(), scope, fields }
}

/// Makes a finding of what makes a mapping impossible.
fn error_finding(error: &DatabaseError) -> Finding {
    let (at, why) = match error {
        DatabaseError::BadMapping { at, why } => (at.clone(), why.clone()),
        DatabaseError::UnknownTable { dataset, table } => {
            (format!("dataset.{dataset}.table"), format!("the database has no table {table:?}"))
        }
        DatabaseError::UnknownColumn { dataset, table, column, .. } => {
            (format!("dataset.{dataset}"), format!("the table {table:?} has no column {column:?}"))
        }
        DatabaseError::Unfit { dataset, why } => (format!("dataset.{dataset}"), why.clone()),
        DatabaseError::ReadMapping { source, .. } => ("dataset".to_owned(), source.message().to_owned()),
        other => ("database".to_owned(), other.to_string()),
    };
    let finding = Finding::new(Weight::Error, "mapping", at, why);
    match error.hint() {
        Some(hint) => finding.next(hint),
        None => finding,
    }
}

fn read_config(root: &Path) -> Result<Option<(Config, String)>, Error> {
    let path = root.join(config::FILE);
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some((Config::parse(&text, &path)?, text))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("read", &path)(error)),
    }
}

fn view(root: &Path, config: Option<&Config>, database: Option<&str>) -> Result<SchemaView, Error> {
    let named = database.or(config.and_then(|config| config.database.as_deref()));
    let address = match named {
        Some(url) => dburl::parse(url, root)?,
        None => dburl::discover(root, std::env::var(dburl::VARIABLE).ok().as_deref())?.address,
    };
    view_of(address, root, config.and_then(|config| config.busy_ms))
}

/// Connects to a database to look at its tables.
///
/// # Errors
/// As `sqlite::look` and `postgres::look`.
pub(super) fn view_of(address: Address, root: &Path, busy_ms: Option<u64>) -> Result<SchemaView, Error> {
    Ok(match address {
        Address::Sqlite(path) => {
            let mut options = SqliteOptions::new(&path, root, root);
            options.busy_ms = busy_ms.unwrap_or(options.busy_ms);
            sqlite::look(options)?
        }
        Address::Postgres(url) => {
            let mut options = PostgresOptions::new(*url, root);
            options.busy_ms = busy_ms.unwrap_or(options.busy_ms);
            postgres::look(&options)?
        }
    })
}
