//! `[files.NAME]` of `wbsync.toml`: a directory as a dataset.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use unicode_normalization::UnicodeNormalization;

use super::path;
use crate::connector::error::Error;
use crate::connector::mapping::model::Mapping;
use crate::id::name::DatasetName;
use crate::scope::audience::scope_of;

/// The sections by name, which is that of their dataset.
pub type Sections = BTreeMap<DatasetName, Section>;

/// One directory.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Section {
    /// The directory; relative to the one that `wbsync.toml` is in.
    pub dir: PathBuf,
    /// For whom files are meant that no rule names.
    #[serde(default = "private")]
    pub scope: String,
    /// For whom the others are meant: the last rule that fits counts.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// Files that are the application's database, beneath the directory; whoever opens it knows.
    #[serde(skip)]
    pub(super) hidden: Vec<String>,
    /// Patterns of files that are no records at all: neither read nor written.
    #[serde(default)]
    pub ignore: Vec<String>,
    /// Patterns of JSON documents, whose members are fields.
    #[serde(default)]
    pub json: Vec<String>,
}

/// For whom the files of a pattern are meant.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The pattern, as `.gitignore` writes them.
    pub path: String,
    /// For whom.
    pub scope: String,
}

/// The field of the tables that only has the connector for tables look at a row again; it never travels.
pub(super) const TURN: &str = "turn";
/// What the names of the datasets of pieces end with.
const PIECES: &str = "-pieces";

impl Section {
    /// Returns for whom a new file is meant.
    pub fn scope_of(&self, path: &str) -> &str {
        let rule = self.rules.iter().rev().find(|rule| fits(&rule.path, path));
        rule.map_or(&self.scope, |rule| &rule.scope)
    }

    /// Tells whether a file is taken as a JSON document, if it is one.
    pub fn is_document(&self, path: &str) -> bool {
        self.json.iter().any(|pattern| fits(pattern, path))
    }

    /// Tells whether a path is the application's database, or a file that its engine keeps beside it.
    pub(super) fn is_database(&self, path: &str) -> bool {
        let beside = |database: &String| {
            path.strip_prefix(database.as_str()).is_some_and(|end| ["", "-wal", "-shm", "-journal"].contains(&end))
        };
        self.hidden.iter().any(beside)
    }

    /// Keeps the application's database out of the files, where it lies in their directory below `root`.
    pub(super) fn hide(&mut self, root: &Path, database: &Path) {
        let [dir, database] = [&root.join(&self.dir), database].map(|path| path.canonicalize());
        let (Ok(dir), Ok(database)) = (dir, database) else { return };
        let beneath = database.strip_prefix(&dir).ok().and_then(Path::to_str);
        self.hidden.extend(beneath.map(str::to_owned));
    }

    /// Tells whether a file or directory is none of ours.
    pub fn ignores(&self, path: &str) -> bool {
        path.split('/').any(path::is_reserved) || self.is_ignored(path)
    }

    /// Tells whether the operator wants a file left alone, on the disk and in the records.
    pub(super) fn is_ignored(&self, path: &str) -> bool {
        self.ignore.iter().any(|pattern| fits(pattern, path))
    }
}

fn composed(text: &str) -> String {
    text.nfc().collect()
}

/// Tells whether a pattern means a path, or a directory above it. A pattern without a slash means names wherever they
/// are.
fn fits(pattern: &str, path: &str) -> bool {
    let mode = gix_glob::wildmatch::Mode::NO_MATCH_SLASH_LITERAL;
    let anchored = pattern.trim_end_matches('/').contains('/');
    let pattern = pattern.trim_start_matches('/').trim_end_matches('/');
    // Letters may be composed or not: on a screen they are the same.
    let (pattern, path) = (&composed(pattern), &composed(path));
    let matches = |text: &str| gix_glob::wildmatch(pattern.as_str().into(), text.into(), mode);
    let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
    ends.into_iter().any(|end| {
        let whole = &path[..end];
        matches(if anchored { whole } else { whole.rsplit('/').next().unwrap_or(whole) })
    })
}

/// Returns the dataset of the pieces of a dataset's files.
pub fn pieces_of(dataset: &DatasetName) -> DatasetName {
    DatasetName::new(&format!("{dataset}{PIECES}")).expect("the length was checked")
}

/// Returns the table that stands for a directory in the bookkeeping.
pub(super) fn table(dataset: &DatasetName) -> String {
    format!("files_{dataset}")
}

/// Checks the sections.
///
/// # Errors
/// `BadMapping` with the first place that is wrong.
pub fn check(sections: &Sections) -> Result<(), Error> {
    let bad = |at: String, why: String| Err(Error::BadMapping { at, why });
    for (name, section) in sections {
        let at = |key: &str| format!("files.{name}.{key}");
        if name.is_overlay() || name.as_str().len() + PIECES.len() > 64 {
            return bad(format!("files.{name}"), "the name is too long, or has a +".into());
        }
        if section.dir.as_os_str().is_empty() {
            return bad(at("dir"), "a directory is wanted".into());
        }
        if sections.keys().any(|other| pieces_of(name) == *other) {
            return bad(format!("files.{name}{PIECES}"), format!("the pieces of {name} have this name"));
        }
        let scopes = section.rules.iter().map(|rule| &rule.scope).chain([&section.scope]);
        if let Some(scope) = scopes.into_iter().find(|scope| *scope != "private" && scope_of(scope).is_none()) {
            let why = format!("{scope:?} is none of public, trusted, group:NAME, peers:NAME,NAME, private");
            return bad(at("scope"), why);
        }
    }
    Ok(())
}

/// Which datasets a mapping of files holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Those that the bookkeeping has tables for: the files.
    Tables,
    /// All that travel: the pieces too.
    Everything,
}

/// Returns the datasets of files as if they were tables.
///
/// # Errors
/// As `check`.
pub fn mapping(sections: &Sections, extent: Extent) -> Result<Mapping, Error> {
    check(sections)?;
    let mut text = String::new();
    for name in sections.keys() {
        let table = table(name);
        text += &format!(
            "[dataset.{name}]\ntable = \"{table}\"\nkey = \"id\"\nscope = {{ column = \"scope\" }}\n\
             fields.path = {{ type = \"text\" }}\nfields.content = {{ type = \"bytes\" }}\n\
             fields.executable = {{ type = \"bool\", merge = \"latest\" }}\n"
        );
        if extent == Extent::Tables {
            text += &format!("fields.{TURN} = {{ type = \"int\" }}\n");
        }
        if extent == Extent::Everything {
            text += "fields.layout = { type = \"json\", merge = \"latest\" }\n";
            let pieces = pieces_of(name);
            text += &format!(
                "[dataset.{pieces}]\ntable = \"{table}{PIECES}\"\nkey = \"id\"\nscope = {{ column = \"scope\" }}\n\
                 fields.data = {{ type = \"bytes\", merge = \"latest\" }}\n"
            );
        }
    }
    Mapping::parse(&text, "the sections of files")
}

/// Adds the datasets of files to those of tables.
///
/// # Errors
/// As `check`; a name that both have.
pub fn joined(mut tables: Mapping, sections: &Sections) -> Result<Mapping, Error> {
    if sections.is_empty() {
        return Ok(tables);
    }
    for (name, dataset) in mapping(sections, Extent::Everything)?.dataset {
        if tables.dataset.insert(name.clone(), dataset).is_some() {
            return Err(Error::BadMapping { at: format!("files.{name}"), why: "a table has this name too".into() });
        }
    }
    Ok(tables)
}

fn private() -> String {
    "private".into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sections(text: &str) -> Sections {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn patterns_are_those_of_gitignore() {
        for (pattern, path, expected) in [
            ("*.md", "a/b.md", true),
            ("/*.md", "a/b.md", false),
            ("docs", "docs/a/b", true),
            ("docs/", "x/docs/b", true),
            ("docs/*", "docs/a/b", true),
            ("docs/*.md", "docs/a/b.md", false),
            ("docs/**/*.md", "docs/a/b.md", true),
            ("**/b", "a/b", true),
            ("b", "a/bc", false),
        ] {
            assert_eq!(fits(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn a_file_is_private_unless_a_rule_says_otherwise_and_the_last_counts() {
        let sections = sections(
            "[docs]\ndir = \"d\"\nignore = [\"*.tmp\"]\nrules = [\n{ path = \"open/**\", scope = \"public\" },\n\
             { path = \"*.key\", scope = \"private\" }]",
        );
        let section = &sections[&DatasetName::new("docs").unwrap()];
        assert_eq!(section.scope_of("a"), "private");
        assert_eq!(section.scope_of("open/a"), "public");
        assert_eq!(section.scope_of("open/a.key"), "private");
        assert!(section.ignores("x/a.tmp") && section.ignores("a/.git/config") && !section.ignores("a"));
        assert_eq!(mapping(&sections, Extent::Everything).unwrap().dataset.len(), 2);
    }

    #[test]
    fn each_mistake_is_named() {
        for (text, expected) in [
            ("[docs]\ndir = \"\"", "files.docs.dir"),
            ("[docs]\ndir = \"d\"\nscope = \"everyone\"", "files.docs.scope"),
            ("[docs]\ndir = \"d\"\n[docs-pieces]\ndir = \"e\"", "files.docs-pieces"),
        ] {
            let error = check(&sections(text)).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}
