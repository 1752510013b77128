//! Options: where the database is and how to behave there.

use std::path::{Path, PathBuf};

use crate::connector::capturing::Capturing;

/// Where the database is and how to behave there.
#[derive(Debug, Clone)]
pub struct Options {
    /// The SQLite file.
    pub path: PathBuf,
    /// The directory that the application runs in: cache files are below it.
    pub app_dir: PathBuf,
    /// A private directory for temporary copies of the database.
    pub scratch: PathBuf,
    /// How long to wait for a lock.
    pub busy_ms: u64,
    /// How captures find what changed; by reading everything, by default.
    pub capturing: Capturing,
    /// A rollback-journal database above this size is copied before it is read; 4 MiB by default.
    pub copy_above_bytes: u64,
}

impl Options {
    /// Makes options with the default waiting time of 10 s.
    pub fn new(path: &Path, app_dir: &Path, scratch: &Path) -> Self {
        Self {
            path: path.into(),
            app_dir: app_dir.into(),
            scratch: scratch.into(),
            busy_ms: 10_000,
            capturing: Capturing::default(),
            copy_above_bytes: 4 << 20,
        }
    }
}
