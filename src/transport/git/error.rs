//! What can go wrong with a git repository, and what that means for the store in it.

use std::io;

use crate::exchange::store::{Doing, StoreError};

/// A git repository could not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub(super) enum GitError {
    /// It isn't there, or can't be reached.
    #[error("the repository can't be reached")]
    Unreachable(#[source] io::Error),
    /// Something is there that isn't a repository for us.
    #[error("it is no repository for us: {0}")]
    NotARepository(&'static str),
    /// It doesn't let us.
    #[error("the repository refuses")]
    Denied(#[source] io::Error),
    /// It was changed meanwhile.
    #[error("the repository was changed meanwhile")]
    Stale,
    /// The connection broke, or what was said isn't git's protocol.
    #[error("the repository doesn't answer as git does")]
    Spoken(#[source] io::Error),
    /// The cache on this machine can't be read as it should: it is deleted and fetched again.
    #[error("the local cache is damaged")]
    Cache(#[source] io::Error),
    /// This machine can't write the cache.
    #[error("the local cache can't be written")]
    Local(#[source] io::Error),
}

impl GitError {
    /// Returns an error about what the other side said.
    pub(super) fn said(text: impl Into<String>) -> Self {
        Self::Spoken(io::Error::new(io::ErrorKind::InvalidData, text.into()))
    }

    /// Returns an error about the content of the cache.
    pub(super) fn damaged(text: impl Into<String>) -> Self {
        Self::Cache(io::Error::new(io::ErrorKind::InvalidData, text.into()))
    }

    /// Says it of the store that the repository holds.
    pub(super) fn of(self, store: String, doing: Doing) -> StoreError {
        match self {
            Self::Unreachable(source) => StoreError::Unreachable { store, doing, source },
            Self::NotARepository(why) => StoreError::NotAStore { store, why },
            Self::Denied(source) => StoreError::Denied { store, doing, source },
            // Tried again until nobody had patience any more.
            Self::Stale => StoreError::Busy { store, doing },
            Self::Local(source) if source.kind() == io::ErrorKind::StorageFull => {
                StoreError::Full { store, doing, source }
            }
            Self::Spoken(source) | Self::Cache(source) | Self::Local(source) => StoreError::Io { store, doing, source },
        }
    }
}
