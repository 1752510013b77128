//! `wbsync.toml`: which database, and how its tables are mapped.

use std::path::Path;

use super::error::Error;
use super::network::{Network, NetworkMode};
use super::timing::Timing;

/// The name of the file, beside `.wbsync/`.
pub const FILE: &str = "wbsync.toml";

/// The configuration of an instance.
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The application's database, in the application's own spelling; left out, it is found as the
    /// application finds it.
    pub database: Option<String>,
    /// The mapping that ships with wbsync.
    pub preset: Option<String>,
    /// How long to wait for a locked database, in milliseconds.
    pub busy_ms: Option<u64>,
    /// The bookkeeping of the mapping itself: datasets, conditions (docs/mapping.md).
    #[serde(default)]
    pub dataset: toml::Table,
    /// Through which stores it exchanges (docs/hub.md).
    #[serde(default)]
    pub network: Network,
    /// How often the background worker does what (docs/worker.md).
    #[serde(default)]
    pub run: Timing,
    /// The condition under which the application is ready for foreign rows (docs/mapping.md).
    pub ready: Option<toml::Table>,
}

impl Config {
    /// Reads the file in `dir`.
    ///
    /// # Errors
    /// `Io` if it can't be read, `Config` with line and column if it isn't as documented.
    pub fn read(dir: &Path) -> Result<Self, Error> {
        let path = dir.join(FILE);
        let text = std::fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        Self::parse(&text, &path)
    }

    /// Reads the text of a file that is, or will be, at `path`.
    ///
    /// # Errors
    /// `Config` as `read`.
    pub fn parse(text: &str, path: &Path) -> Result<Self, Error> {
        toml::from_str(text).map_err(|source| Error::Config { path: path.to_owned(), source: Box::new(source) })
    }

    /// Returns the mapping's part of the file, as the connector reads it.
    pub fn mapping(&self) -> toml::Table {
        let mut table = toml::Table::new();
        table.insert("dataset".into(), toml::Value::Table(self.dataset.clone()));
        if let Some(ready) = &self.ready {
            table.insert("ready".into(), toml::Value::Table(ready.clone()));
        }
        table
    }
}

/// Returns the text of a new file.
pub fn initial(database: Option<&str>, preset: Option<&str>, mode: Option<NetworkMode>) -> String {
    let quoted = |text: &str| toml::Value::String(text.into()).to_string();
    let database = match database {
        Some(url) => format!("database = {}\n", quoted(url)),
        None => {
            "# database = \"sqlite:///data/app.db\"   # left out: DATABASE_URL as the application reads it\n".into()
        }
    };
    let preset = match preset {
        Some(name) => format!("preset = {}\n", quoted(name)),
        None => "# preset = \"whiteballoon\"\n".into(),
    };
    let network = mode.map(|mode| format!("\n[network]\nmode = {}\n", quoted(mode.as_str()))).unwrap_or_default();
    format!("# Configuration of wbsync for this application. Reference: docs/mapping.md\n\n{database}{preset}{network}")
}
