//! Errors of the local state.

use std::path::PathBuf;

/// Why the local state couldn't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database can't be opened.
    #[error("cannot open the local state {path}")]
    Open {
        /// The database file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// A later version of wbsync wrote it.
    #[error("the local state {path} has format {found}; this wbsync reads format {known}")]
    Newer {
        /// The database file.
        path: PathBuf,
        /// Its format.
        found: String,
        /// Ours.
        known: u32,
    },
    /// A statement failed.
    #[error("cannot {doing} in the local state")]
    Query {
        /// What we were doing.
        doing: &'static str,
        /// Why.
        source: rusqlite::Error,
    },
    /// Something in it isn't as we write it.
    #[error("the local state is damaged: {what}")]
    Damaged {
        /// What is wrong.
        what: String,
    },
}

impl Error {
    /// Wraps a failed statement.
    pub fn query(doing: &'static str) -> impl Fn(rusqlite::Error) -> Self {
        move |source| Self::Query { doing, source }
    }

    /// Makes a `Damaged`.
    pub fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged { what: what.into() }
    }

    /// Tells whether the disk has no room left.
    pub fn is_full(&self) -> bool {
        let (Self::Open { source, .. } | Self::Query { source, .. }) = self else { return false };
        source.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull)
    }

    /// Tells whether another process holds the database.
    pub fn is_busy(&self) -> bool {
        let (Self::Open { source, .. } | Self::Query { source, .. }) = self else { return false };
        matches!(
            source.sqlite_error_code(),
            Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked)
        )
    }
}
