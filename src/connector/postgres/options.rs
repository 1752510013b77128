//! Options: where the database is and how to behave there.

use std::path::{Path, PathBuf};

use crate::connector::capturing::Capturing;
use crate::connector::dburl::PostgresUrl;

/// Where the database is and how to behave there.
#[derive(Debug, Clone)]
pub struct Options {
    /// The address, which names the schema of the application's tables too.
    pub url: PostgresUrl,
    /// The directory that the application runs in: cache files are below it.
    pub app_dir: PathBuf,
    /// How long to wait for another worker.
    pub busy_ms: u64,
    /// How captures find what changed; by reading everything, by default.
    pub capturing: Capturing,
    /// How many records are written with a few statements for all; 1 writes them one by one.
    pub batch_rows: usize,
}

/// More would hold locks for longer, and save little.
const BATCH_ROWS: usize = 256;

impl Options {
    /// Makes options with the default waiting time of 10 s.
    pub fn new(url: PostgresUrl, app_dir: &Path) -> Self {
        Self { url, app_dir: app_dir.into(), busy_ms: 10_000, capturing: Capturing::default(), batch_rows: BATCH_ROWS }
    }
}
