//! The state's database: opening, format, transactions.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension};

use super::census;
use super::counted::{Counted, Transaction};
use super::error::Error;

/// The format of the state that this version reads and writes.
pub const FORMAT: u32 = 1;

pub(super) const SCHEMA: &str = "
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE census (name TEXT PRIMARY KEY, count INTEGER NOT NULL, sum INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE node (id BLOB PRIMARY KEY, bytes BLOB NOT NULL);
CREATE TABLE scope (
    id BLOB PRIMARY KEY, origin BLOB NOT NULL, name TEXT NOT NULL, id_key BLOB NOT NULL,
    manifest BLOB NOT NULL, manifest_seq INTEGER NOT NULL, manifest_hash BLOB NOT NULL,
    local_head BLOB, sequence INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE commits (scope BLOB NOT NULL, id BLOB NOT NULL, bytes BLOB NOT NULL, PRIMARY KEY (scope, id)) WITHOUT ROWID;
CREATE TABLE head (
    scope BLOB NOT NULL, signer BLOB NOT NULL, incarnation INTEGER NOT NULL, seq INTEGER NOT NULL,
    hash BLOB NOT NULL, document BLOB NOT NULL, commit_id BLOB NOT NULL, writes INTEGER NOT NULL,
    received INTEGER NOT NULL, via TEXT NOT NULL, PRIMARY KEY (scope, signer)
) WITHOUT ROWID;
CREATE TABLE fork (scope BLOB NOT NULL, signer BLOB NOT NULL, kind TEXT NOT NULL, ours BLOB NOT NULL, theirs BLOB NOT NULL,
    seen INTEGER NOT NULL, PRIMARY KEY (scope, signer, kind));
CREATE TABLE seen (scope BLOB NOT NULL, signer BLOB NOT NULL, incarnation INTEGER NOT NULL, seq INTEGER NOT NULL, writes INTEGER NOT NULL,
    hash BLOB NOT NULL, document BLOB NOT NULL, PRIMARY KEY (scope, signer, incarnation, seq)) WITHOUT ROWID;
CREATE TABLE receipt (scope BLOB NOT NULL, signer BLOB NOT NULL, incarnation INTEGER NOT NULL, seq INTEGER NOT NULL, time INTEGER NOT NULL,
    hash BLOB NOT NULL, document BLOB NOT NULL, statement BLOB NOT NULL, PRIMARY KEY (scope, signer)) WITHOUT ROWID;
CREATE TABLE fork_settled (scope BLOB NOT NULL, signer BLOB NOT NULL, PRIMARY KEY (scope, signer)) WITHOUT ROWID;
CREATE TABLE jump (scope BLOB NOT NULL, signer BLOB NOT NULL, hash BLOB NOT NULL, incarnation INTEGER NOT NULL,
    seq INTEGER NOT NULL, accepted INTEGER NOT NULL, PRIMARY KEY (scope, signer)) WITHOUT ROWID;
CREATE TABLE published (scope BLOB NOT NULL, seq INTEGER NOT NULL, commit_id BLOB NOT NULL, PRIMARY KEY (scope, seq)) WITHOUT ROWID;
CREATE TABLE withdrawn (scope BLOB NOT NULL, dataset TEXT NOT NULL, record BLOB NOT NULL, time INTEGER NOT NULL,
    head INTEGER, PRIMARY KEY (scope, dataset, record)) WITHOUT ROWID;
CREATE TABLE late (scope BLOB NOT NULL, dataset TEXT NOT NULL, record BLOB NOT NULL, field TEXT NOT NULL, author BLOB NOT NULL,
    incarnation INTEGER NOT NULL, sequence INTEGER NOT NULL, time INTEGER NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (scope, dataset, record, field, author, incarnation, sequence)) WITHOUT ROWID;
CREATE TABLE refold (scope BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE refolded (scope BLOB PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE sealed (scope BLOB NOT NULL, object BLOB NOT NULL, PRIMARY KEY (scope, object)) WITHOUT ROWID;
CREATE TABLE spent (remote TEXT NOT NULL, scope BLOB NOT NULL, object BLOB NOT NULL,
    PRIMARY KEY (remote, scope, object)) WITHOUT ROWID;
CREATE TABLE conflict (scope BLOB NOT NULL, dataset TEXT NOT NULL, record BLOB NOT NULL, field TEXT NOT NULL,
    PRIMARY KEY (scope, dataset, record, field)) WITHOUT ROWID;
CREATE TABLE peer (id BLOB PRIMARY KEY, name TEXT NOT NULL UNIQUE, card BLOB NOT NULL, trust TEXT NOT NULL, added INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE follow (origin BLOB NOT NULL, scope TEXT NOT NULL, PRIMARY KEY (origin, scope)) WITHOUT ROWID;
CREATE TABLE forgotten (id BLOB PRIMARY KEY, name TEXT NOT NULL, since INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE bygone (origin BLOB NOT NULL, name TEXT NOT NULL, readers TEXT NOT NULL, PRIMARY KEY (origin, name)) WITHOUT ROWID;
CREATE TABLE noted (hash BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE retired (scope BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE reseal (scope BLOB PRIMARY KEY, epoch INTEGER NOT NULL, since INTEGER) WITHOUT ROWID;
CREATE TABLE shun (origin BLOB NOT NULL, dataset TEXT NOT NULL, record BLOB NOT NULL, since INTEGER NOT NULL,
    PRIMARY KEY (origin, dataset, record)) WITHOUT ROWID;
CREATE TABLE pruned (origin BLOB NOT NULL, dataset TEXT NOT NULL, record BLOB NOT NULL, content BLOB NOT NULL, since INTEGER NOT NULL,
    PRIMARY KEY (origin, dataset, record)) WITHOUT ROWID;
CREATE TABLE remote (
    name TEXT PRIMARY KEY, url TEXT NOT NULL, fetched INTEGER, pushed INTEGER, error TEXT
) WITHOUT ROWID;
CREATE TABLE pending (what TEXT PRIMARY KEY, number INTEGER NOT NULL, applied BLOB NOT NULL, target BLOB) WITHOUT ROWID;
";

/// An open state.
#[derive(Debug)]
pub struct State {
    pub(super) connection: Counted,
    pub(super) cache: super::nodes::Cache,
    pub(super) packer: super::pack::Packer,
}

impl State {
    /// Opens the state at `path`, making it if there is none.
    ///
    /// # Errors
    /// `Open` if the file can't be opened or isn't a database; `Newer` if a later version wrote it.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let open_error = |source| Error::Open { path: path.to_owned(), source };
        let connection = Connection::open(path).map_err(open_error)?;
        connection.busy_timeout(Duration::from_secs(10)).map_err(open_error)?;
        connection
            .execute_batch(
                "PRAGMA page_size = 16384; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
                 PRAGMA cache_size = -16384; PRAGMA temp_store = MEMORY; PRAGMA wal_autocheckpoint = 1000;
                 PRAGMA secure_delete = ON;",
            )
            .map_err(open_error)?;
        connection.set_prepared_statement_cache_capacity(64);
        let connection = Counted::new(connection).map_err(open_error)?;
        let state = Self { connection, cache: super::nodes::Cache::default(), packer: super::pack::Packer::default() };
        if !state.has_table("census").map_err(open_error)? {
            state.make(path)?;
        }
        match state.meta("format")? {
            Some(found) if found == FORMAT.to_string() => Ok(state),
            found => {
                let found = found.unwrap_or_else(|| "unknown".into());
                Err(Error::Newer { path: path.to_owned(), found, known: FORMAT })
            }
        }
    }

    fn has_table(&self, name: &str) -> rusqlite::Result<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = ?1)";
        self.connection.query_row(sql, [name], |row| row.get(0))
    }

    /// Makes the tables, or the census alone of a state that has none.
    fn make(&self, path: &Path) -> Result<(), Error> {
        let transaction = self.transaction()?;
        let connection = self.connection.uncounted();
        // Looked up again: another process may have made them meanwhile.
        if self.has_table("meta").map_err(|source| Error::Open { path: path.to_owned(), source })? {
            census::begin_where_missing(connection).map_err(Error::query("count the rows"))?;
        } else {
            connection.execute_batch(SCHEMA).map_err(Error::query("make the tables"))?;
            census::begin(connection).map_err(Error::query("count the rows"))?;
            self.set_meta("format", &FORMAT.to_string())?;
        }
        commit(transaction)
    }

    /// Starts a write transaction; dropped without `commit`, it leaves everything as it was.
    ///
    /// # Errors
    /// `Query` if another process holds the state for longer than ten seconds.
    pub fn transaction(&self) -> Result<Transaction<'_>, Error> {
        self.connection.begin().map_err(Error::query("begin a transaction"))
    }

    /// Finds out whether the state can be written, by a write that is taken back.
    ///
    /// # Errors
    /// `Query`.
    pub fn probe(&self) -> Result<(), Error> {
        let transaction = self.transaction()?;
        let made = self.connection.uncounted().execute_batch("CREATE TABLE probe (value INTEGER)");
        made.and_then(|()| transaction.rollback()).map_err(Error::query("write anything"))
    }

    /// Begins to read one state of it, until what is returned is dropped: many reads cost less then. Nothing may be written
    /// meanwhile. `None` if that isn't to be had, as within a transaction; then each read begins anew.
    pub fn reading(&self) -> Option<rusqlite::Transaction<'_>> {
        let connection = self.connection.uncounted();
        if !connection.is_autocommit() {
            return None;
        }
        rusqlite::Transaction::new_unchecked(connection, rusqlite::TransactionBehavior::Deferred).ok()
    }

    /// Reads a value of the `meta` table.
    ///
    /// # Errors
    /// `Query`.
    pub fn meta(&self, key: &str) -> Result<Option<String>, Error> {
        self.connection
            .query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0))
            .optional()
            .map_err(Error::query("read a setting"))
    }

    /// Writes a value of the `meta` table.
    ///
    /// # Errors
    /// `Query`.
    pub fn set_meta(&self, key: &str, value: &str) -> Result<(), Error> {
        self.connection
            .execute("INSERT INTO meta VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = ?2", [key, value])
            .map_err(Error::query("write a setting"))?;
        Ok(())
    }

    /// Removes a value of the `meta` table, if it is there.
    ///
    /// # Errors
    /// `Query`.
    pub fn forget_meta(&self, key: &str) -> Result<(), Error> {
        self.connection.execute("DELETE FROM meta WHERE key = ?1", [key]).map_err(Error::query("remove a setting"))?;
        Ok(())
    }
}

/// Commits a transaction.
///
/// # Errors
/// `Query`.
pub fn commit(transaction: Transaction<'_>) -> Result<(), Error> {
    transaction.commit().map_err(Error::query("commit a transaction"))
}

/// Reads a fixed-size blob column.
pub(super) fn blob<const N: usize>(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<[u8; N]> {
    row.get(column)
}
