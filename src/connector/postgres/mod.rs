//! The connector for PostgreSQL databases: what is PostgreSQL's own about it. The rest is in `sql`.

mod array;
mod catalogue;
pub(in crate::connector) mod error;
mod introspect;
mod limits;
mod notices;
mod number;
pub mod options;
mod orphans;
mod pack;
mod session;
mod statement;
mod tables;
mod tls;
mod triggers;
mod value;

use self::options::Options;
use self::session::PostgresSession;
use super::contract::Context;
use super::error::Error;
use super::mapping::model::Mapping;
use super::sql::connector::SqlConnector;
use super::sql::schema::SchemaView;

/// Connects to a PostgreSQL database and binds the mapping to its tables. Writes nothing.
///
/// # Errors
/// `Address`, `Unreachable`, `Forbidden`; `UnknownTable`, `UnknownColumn` and `Unfit` where the mapping doesn't fit.
pub fn open(options: Options, mapping: Mapping, context: Context) -> Result<SqlConnector, Error> {
    let session = PostgresSession::open(&options)?;
    SqlConnector::bind(Box::new(session), options.app_dir, options.capturing, mapping, context)
}

/// Connects to a PostgreSQL database to look at its tables, and how a mapping fits them. Writes nothing.
///
/// # Errors
/// `Address`, `Unreachable`, `Forbidden`.
pub fn look(options: &Options) -> Result<SchemaView, Error> {
    Ok(SchemaView::new(Box::new(PostgresSession::open(options)?)))
}
