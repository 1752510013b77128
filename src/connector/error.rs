//! Errors of connectors: what was being done to which thing, and why it failed; `hint` says what to do.

use std::io;
use std::path::{Path, PathBuf};

use super::contract::SinkError;
use super::files::connector::FILE;
use crate::id::name::DatasetName;

/// What a connector for files does first.
pub const OPEN_DIRECTORY: &str = "open the directory";

/// What can go wrong with an application's database, its address, or the mapping of its tables.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database file isn't there. It is never created by us.
    #[error("cannot open the database {path}: there is no such file", path = path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The file is something else.
    #[error("cannot open {path}: it is not a SQLite database", path = path.display())]
    NotADatabase {
        /// The file.
        path: PathBuf,
    },
    /// SQLite found the file malformed.
    #[error("cannot read the database {path}: it is damaged", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// Somebody else held the lock for too long.
    #[error("cannot {doing} in {database}: the database stayed locked for {waited_ms} ms")]
    Locked {
        /// What we were doing.
        doing: &'static str,
        /// The database.
        database: String,
        /// How long we waited.
        waited_ms: u64,
    },
    /// The file, or the directory that holds its journal, can't be written.
    #[error("cannot write the database {path}: the file or its directory is read-only", path = path.display())]
    ReadOnly {
        /// The file.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot {doing} {path}", path = path.display())]
    File {
        /// What we were doing.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A directory isn't what it was.
    #[error("cannot take in the files of {dir}: {why}", dir = dir.display())]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// Why.
        why: &'static str,
    },
    /// SQLite refused for any other reason.
    #[error("cannot {doing} in {path}", path = path.display())]
    Sqlite {
        /// What we were doing.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// PostgreSQL can't be reached, or ended the connection.
    #[error("cannot {doing}: {database} can't be reached")]
    Unreachable {
        /// What we were doing.
        doing: &'static str,
        /// The address, redacted.
        database: String,
        /// Why.
        source: postgres::Error,
    },
    /// PostgreSQL doesn't let this user do something.
    #[error("cannot {doing} in {database}: {why}")]
    Forbidden {
        /// What we were doing.
        doing: &'static str,
        /// The address, redacted.
        database: String,
        /// What the server says.
        why: String,
    },
    /// PostgreSQL refused for any other reason.
    #[error("cannot {doing} in {database}: {why}")]
    Postgres {
        /// What we were doing.
        doing: &'static str,
        /// The address, redacted.
        database: String,
        /// What the server says, without values of rows.
        why: String,
    },
    /// The server's certificate can't be checked.
    #[error("cannot prepare TLS to {database}: {why}")]
    Tls {
        /// The address, redacted.
        database: String,
        /// Why.
        why: String,
    },
    /// A database address that this version can't use. Passwords are left out of `url`.
    #[error("cannot use the database address {url:?}: {why}")]
    Address {
        /// The address, redacted.
        url: String,
        /// Why not.
        why: String,
    },
    /// A condition on rows isn't one.
    #[error("cannot use the condition: {why}")]
    Condition {
        /// What the database says.
        why: String,
    },
    /// A row that has no record yet can't be marked beside its table.
    #[error("cannot mark row {key} of {dataset}: it was not captured yet")]
    NotCaptured {
        /// The dataset.
        dataset: DatasetName,
        /// The row's key.
        key: String,
    },
    /// A line of the application's `.env` file. Its content is never shown: it may be a secret.
    #[error("cannot read {path}, line {line}: {why}", path = path.display())]
    EnvLine {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        why: &'static str,
    },
    /// No such preset.
    #[error("there is no preset {name:?}")]
    UnknownPreset {
        /// What was asked for.
        name: String,
        /// Those there are.
        known: Vec<&'static str>,
    },
    /// The mapping isn't written as it should be.
    #[error("cannot read the mapping of {from}")]
    ReadMapping {
        /// The file or preset.
        from: String,
        /// Where and why.
        source: toml::de::Error,
    },
    /// The mapping contradicts itself.
    #[error("the mapping is wrong at {at}: {why}")]
    BadMapping {
        /// The place, as a TOML key.
        at: String,
        /// What is wrong.
        why: String,
    },
    /// The database has no such table.
    #[error("dataset {dataset}: the database has no table {table:?}")]
    UnknownTable {
        /// The dataset.
        dataset: DatasetName,
        /// The table of its mapping.
        table: String,
    },
    /// A table has no such column.
    #[error("dataset {dataset}: table {table:?} has no column {column:?}")]
    UnknownColumn {
        /// The dataset.
        dataset: DatasetName,
        /// The table.
        table: String,
        /// The column of the mapping.
        column: String,
        /// The columns there are.
        known: Vec<String>,
    },
    /// A mapping was to be proposed, and no table can be mapped.
    #[error("cannot propose a mapping of {database}: it has no table whose rows could travel")]
    NothingToMap {
        /// The database.
        database: String,
    },
    /// The mapping doesn't fit the database otherwise.
    #[error("dataset {dataset}: the mapping does not fit the database: {why}")]
    Unfit {
        /// The dataset.
        dataset: DatasetName,
        /// Why.
        why: String,
    },
    /// The application isn't ready to receive rows of others.
    #[error("the application is not ready to receive records: {why}")]
    NotReady {
        /// Why.
        why: String,
        /// What to do.
        hint: String,
    },
    /// The bookkeeping was written by a newer version.
    #[error("the bookkeeping in {database} has format {found}, this version knows up to {known}")]
    Newer {
        /// The database.
        database: String,
        /// Its format.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// The bookkeeping is that of another instance: the database was copied.
    #[error("the bookkeeping in {database} belongs to the instance {found}, not to this one")]
    OtherInstance {
        /// The database.
        database: String,
        /// Short id of its instance.
        found: String,
    },
    /// The bookkeeping breaks its own rules.
    #[error("the bookkeeping in {database} is damaged: {why}")]
    Books {
        /// The database.
        database: String,
        /// How.
        why: String,
    },
    /// The tables of the bookkeeping are there, and nothing is in them.
    #[error("the bookkeeping in {database} is empty: its tables were copied without what is in them")]
    EmptyBooks {
        /// The database.
        database: String,
    },
    /// The table of a dataset is another one than before, and none of the rows that were known is in it.
    #[error(
        "cannot take in the rows of {dataset}: its table {table:?} is another one than before, and none of the rows that were known is in it"
    )]
    OtherTable {
        /// The dataset.
        dataset: DatasetName,
        /// The table.
        table: String,
    },
    /// Most rows of a dataset have other values in their birth columns than before.
    #[error(
        "cannot take in the rows of {dataset}: {rows} of them, most of all, say otherwise than before when they were born"
    )]
    Reborn {
        /// The dataset.
        dataset: DatasetName,
        /// How many.
        rows: u64,
    },
    /// Another apply began and has not finished.
    #[error("cannot begin to apply: an apply towards another view is unfinished")]
    ApplyUnfinished,
    /// An apply was to go on or end, and none has begun.
    #[error("cannot {doing}: no apply has begun")]
    NoApply {
        /// What was tried.
        doing: &'static str,
    },
    /// A capture was settled late or twice.
    #[error("cannot settle capture {number}: the next one to settle is {wanted}")]
    StaleCapture {
        /// The capture given.
        number: u64,
        /// The one that could be.
        wanted: u64,
    },
    /// Whoever receives what a capture found failed.
    #[error("cannot take in what was captured")]
    Sink(#[source] SinkError),
    /// Whoever gives the changes to apply failed.
    #[error("cannot read the changes to apply")]
    Source(#[source] SinkError),
}

impl Error {
    /// Makes the error of a failed SQLite call, sorted by what to do about it.
    pub fn sqlite(doing: &'static str, path: &Path, waited_ms: u64, source: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode as Code;
        let path = path.to_path_buf();
        match source.sqlite_error_code() {
            Some(Code::DatabaseBusy | Code::DatabaseLocked) => {
                Self::Locked { doing, database: path.display().to_string(), waited_ms }
            }
            Some(Code::ReadOnly) => Self::ReadOnly { path },
            Some(Code::NotADatabase) => Self::NotADatabase { path },
            Some(Code::DatabaseCorrupt) => Self::Damaged { path, source },
            Some(Code::CannotOpen) if !path.exists() => Self::Missing { path },
            // A journal that can't be made beside a readable file: the directory is read-only.
            Some(Code::CannotOpen) if path.is_file() && directory_is_readonly(&path) => Self::ReadOnly { path },
            _ => Self::Sqlite { doing, path, source },
        }
    }

    /// Names what couldn't be used.
    pub fn subject(&self) -> &'static str {
        match self {
            Self::Directory { .. } | Self::File { doing: OPEN_DIRECTORY | "list", .. } => "a directory of files",
            Self::NotADatabase { path }
            | Self::Damaged { path, .. }
            | Self::ReadOnly { path }
            | Self::Sqlite { path, .. }
                if path.ends_with(FILE) =>
            {
                "the bookkeeping of files"
            }
            Self::Locked { database, .. } | Self::Newer { database, .. } | Self::Books { database, .. }
                if Path::new(database).ends_with(FILE) =>
            {
                "the bookkeeping of files"
            }
            _ => "the application's database",
        }
    }

    /// Says what to do next, in a sentence.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Missing { .. } => {
                "start the application once so that it makes its database, or give its place with --db".into()
            }
            Self::NotADatabase { .. } => "give the place of the application's SQLite file with --db".into(),
            Self::Damaged { .. } => "stop the application and restore the database from a backup".into(),
            Self::Locked { .. } => {
                "another program holds a long transaction: find it, or raise busy_ms, and run the command again".into()
            }
            Self::ReadOnly { path } => {
                format!("let this user write {} and the directory that holds it", path.display())
            }
            Self::Address { .. } => {
                "write sqlite:///data/app.db (relative), sqlite:////srv/app.db, a path, or postgresql://user@host/name"
                    .into()
            }
            Self::EnvLine { .. } => "write the line as KEY=value, or set DATABASE_URL with --db".into(),
            Self::UnknownPreset { known, .. } => format!("presets: {}", known.join(", ")),
            Self::ReadMapping { .. } | Self::BadMapping { .. } => "docs/mapping.md lists every key".into(),
            Self::UnknownTable { .. } => {
                "start the application once so that it makes its tables, or set `enabled = false` for this dataset"
                    .into()
            }
            Self::UnknownColumn { known, .. } => {
                format!("the table has {}: correct the mapping, or migrate the application", known.join(", "))
            }
            Self::NothingToMap { .. } => {
                "start the application once so that it makes its tables, or give its database with --db".into()
            }
            Self::Unfit { dataset, .. } => format!("correct [dataset.{dataset}]; docs/mapping.md lists every key"),
            Self::NotReady { hint, .. } => hint.clone(),
            Self::Condition { .. } => {
                "write it as after WHERE, with the table's own columns: \"status = 'completed'\"".into()
            }
            Self::NotCaptured { .. } => "run `wbsync commit` first: it gives every row a record".into(),
            Self::Newer { .. } => "use the newer wbsync that wrote it".into(),
            Self::OtherInstance { .. } => {
                "use the .wbsync directory that belongs to this database, or the database that belongs to this one; to begin \
                 anew, take the old bookkeeping out first (docs/operate.md, \"Taking it out\")"
                    .into()
            }
            Self::Books { .. } => "restore the database, and .wbsync with it, from a backup of the same time".into(),
            Self::EmptyBooks { .. } => {
                "drop its tables, which hold nothing: those that begin with _wbsync_, in PostgreSQL the schema wbsync"
                    .into()
            }
            Self::OtherTable { dataset, .. } => format!(
                "put the table, or `table` of [dataset.{dataset}], back as it was; `wbsync restore` fills the new table with what was \
                 shared; nothing was published of it"
            ),
            Self::Reborn { dataset, .. } => format!(
                "if the application only spells `birth` otherwise now, take `birth` out of [dataset.{dataset}], sync, and put it back; if \
                 the rows are new ones, delete them, sync, and insert them then; nothing was published of it"
            ),
            Self::ApplyUnfinished | Self::StaleCapture { .. } | Self::NoApply { .. } => "run the command again".into(),
            Self::Unreachable { .. } => {
                "see that the server runs, and that the address, user and password are right".into()
            }
            Self::Tls { .. } => "give files in PEM: the server's authority as sslrootcert=/path.pem in the address, our own certificate and its \
                 key, without a passphrase, as sslcert=/path.pem and sslkey=/path.pem".into(),
            Self::Forbidden { .. } => "docs/postgres.md lists what the user needs".into(),
            Self::Directory { .. } => {
                "mount the disk, or put the directory back; if all its files are meant to be deleted, put one of them there and sync, then delete it too".into()
            }
            Self::File { doing: OPEN_DIRECTORY, path, .. } if !path.exists() => {
                format!("make {}, or correct `dir` in wbsync.toml", path.display())
            }
            Self::File { .. } => "check the path, and that this user may read and write what is there".into(),
            Self::Sqlite { .. } => {
                "see that its disk has room and is sound; `sqlite3 FILE 'PRAGMA integrity_check'` looks closer".into()
            }
            Self::Postgres { .. } => {
                "the reason is the server's; its log says more. docs/postgres.md lists what is needed".into()
            }
            Self::Sink(_) | Self::Source(_) => return None,
        })
    }
}

fn directory_is_readonly(path: &Path) -> bool {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    tempfile::tempfile_in(dir).is_err()
}
