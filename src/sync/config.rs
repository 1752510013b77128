//! `wbsync.toml`: which database, and how its tables are mapped.

use std::path::{Path, PathBuf};

use super::error::Error;
use super::network::{Network, NetworkMode};
use super::settings::{self, Shown, Variables};
use super::timing::Timing;
use crate::connector::capturing::Capturing;
use crate::connector::dburl;
use crate::connector::files::section::Sections;
use crate::id::name::DatasetName;

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
    /// How captures find what changed (docs/capture.md).
    #[serde(default)]
    pub capture: Capture,
    /// The bookkeeping of the mapping itself: datasets, conditions (docs/mapping.md).
    #[serde(default)]
    pub dataset: toml::Table,
    /// Directories whose files are records (docs/files.md).
    #[serde(default)]
    pub files: Sections,
    /// Through which stores it exchanges (docs/hub.md).
    #[serde(default)]
    pub network: Network,
    /// How often the background worker does what (docs/worker.md).
    #[serde(default)]
    pub run: Timing,
    /// The condition under which the application is ready for foreign rows (docs/mapping.md).
    pub ready: Option<toml::Table>,
}

/// How captures find what changed.
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capture {
    /// By reading everything, if left out.
    #[serde(default)]
    pub mode: Capturing,
}

impl Config {
    /// Reads the file in `dir`.
    ///
    /// # Errors
    /// `Io` if it can't be read, `Config` with line and column if it isn't as documented.
    pub fn read(dir: &Path) -> Result<Self, Error> {
        Self::read_shown(dir).map(|(config, _)| config)
    }

    /// Reads the file in `dir`, takes what variables say instead, and tells where each setting comes from.
    ///
    /// # Errors
    /// As `read`; `Setting` if a variable's text is no value.
    pub fn read_shown(dir: &Path) -> Result<(Self, Vec<Shown>), Error> {
        let path = dir.join(FILE);
        let text = std::fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        // The text first: its errors have a line.
        Self::parse(&text, &path)?;
        let table = text.parse().map_err(|source| Error::Config { path, source: Box::new(source) })?;
        let environment = |name: &str| std::env::var(name).ok();
        settings::overlay(table, &Variables { environment: &environment, dir })
    }

    /// Reads a table that was read before.
    ///
    /// # Errors
    /// As toml says, without a line.
    pub(super) fn try_from_table(table: toml::Table) -> Result<Self, toml::de::Error> {
        table.try_into()
    }

    /// Reads the text of a file that is, or will be, at `path`.
    ///
    /// # Errors
    /// `Config` as `read`.
    pub fn parse(text: &str, path: &Path) -> Result<Self, Error> {
        toml::from_str(text).map_err(|mut source: toml::de::Error| {
            // It shows the line.
            source.set_input(Some(&dburl::mask(text)));
            Error::Config { path: path.to_owned(), source: Box::new(source) }
        })
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

/// A directory that a new file names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    /// Its place.
    pub dir: PathBuf,
    /// The name of its dataset.
    pub dataset: DatasetName,
}

/// Returns the text of a new file.
pub fn initial(
    database: Option<&str>,
    preset: Option<&str>,
    mode: Option<NetworkMode>,
    files: Option<&Directory>,
) -> String {
    let quoted = |text: &str| toml::Value::String(text.into()).to_string();
    let database = match database {
        Some(url) => format!("database = {}\n", quoted(url)),
        None if files.is_some() => String::new(),
        None => {
            "# database = \"sqlite:///data/app.db\"   # left out: DATABASE_URL as the application reads it\n".into()
        }
    };
    let preset = match preset {
        Some(name) => format!("preset = {}\n", quoted(name)),
        None if files.is_some() => String::new(),
        None => "# preset = \"whiteballoon\"\n".into(),
    };
    let network = mode.map(|mode| format!("\n[network]\nmode = {}\n", quoted(mode.as_str()))).unwrap_or_default();
    let files = files.map(|Directory { dir, dataset }| {
        let dir = quoted(&dir.display().to_string());
        format!(
            "\n# A directory as a dataset. Reference: docs/files.md\n[files.{dataset}]\ndir = {dir}\n\
             # For whom files are meant: private, trusted, public, group:NAME, peers:NAME,NAME\nscope = \"private\"\n\
             # rules = [ {{ path = \"open/**\", scope = \"public\" }} ]\n# ignore = [ \"*.tmp\" ]\n"
        )
    });
    let files = files.unwrap_or_default();
    format!(
        "# Configuration of wbsync for this application. Reference: docs/mapping.md\n\n{database}{preset}{network}{files}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_cannot_be_read_is_shown_without_its_password() {
        let text = "name = \"alpha\"\ndatabase = \"postgresql://wb:hunter2@db.example/app\n";
        let Error::Config { source, .. } = Config::parse(text, Path::new("wbsync.toml")).unwrap_err() else { panic!() };
        let shown = format!("{source} {source:?}");
        assert!(shown.contains("line 2") && shown.contains("db.example") && !shown.contains("hunter2"), "{shown}");
    }
}
