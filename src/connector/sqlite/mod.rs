//! The connector for SQLite databases: what is SQLite's own about it. The rest is in `sql`.

mod affinity;
mod catalogue;
pub(in crate::connector) mod error;
pub mod options;
pub(in crate::connector) mod session;
mod snapshot;
mod tables;
mod triggers;

use std::time::Duration;

use self::options::Options;
use self::session::SqliteSession;
use self::snapshot::Place;
use super::contract::Context;
use super::error::Error;
use super::mapping::model::Mapping;
use super::sql::connector::SqlConnector;
use super::sql::schema::SchemaView;

/// Opens a SQLite database and binds the mapping to its tables. Writes nothing.
///
/// # Errors
/// `Missing`, `NotADatabase`, `Damaged`, `Locked`; `UnknownTable`, `UnknownColumn` and `Unfit`
/// where the mapping doesn't fit.
pub fn open(options: Options, mapping: Mapping, context: Context) -> Result<SqlConnector, Error> {
    let (app_dir, capturing) = (options.app_dir.clone(), options.capturing);
    SqlConnector::bind(Box::new(connect(options)?), app_dir, capturing, mapping, context)
}

/// Opens a SQLite database to look at its tables, and how a mapping fits them. Writes nothing.
///
/// # Errors
/// `Missing`, `NotADatabase`, `Damaged`, `Locked`.
pub fn look(options: Options) -> Result<SchemaView, Error> {
    Ok(SchemaView::new(Box::new(connect(options)?)))
}

fn connect(options: Options) -> Result<SqliteSession, Error> {
    let path = &options.path;
    if !path.exists() {
        return Err(Error::Missing { path: path.clone() });
    }
    if path.is_dir() {
        return Err(Error::NotADatabase { path: path.clone() });
    }
    let place = Place {
        path: options.path.clone(),
        scratch: options.scratch,
        busy: Duration::from_millis(options.busy_ms),
        copy_above_bytes: options.copy_above_bytes,
    };
    SqliteSession::open(place)
}
