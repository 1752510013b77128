//! Settings: the keys of `wbsync.toml` that variables can set too, and where each value comes from.
//!
//! The environment counts more than the application's `.env`, that more than `wbsync.toml`, that more than what holds if nothing is
//! said. Of two names of one setting, `WBSYNC_…` counts more. Secrets belong into variables or files: nothing here is taken from a
//! command line.

use std::path::Path;

use toml::{Table, Value};

use super::config::{Config, FILE};
use super::error::Error;
use crate::connector::dburl;

/// A setting.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Its key in `wbsync.toml`, with dots.
    pub key: &'static str,
    /// The variables that set it, the one that counts most first.
    pub variables: &'static [&'static str],
    kind: Kind,
    /// What holds if nothing is said, in words.
    pub default: &'static str,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Text,
    Number,
    Flag,
    FlagOrText,
}

/// Every setting, in the order of the documentation.
pub const SETTINGS: &[Setting] = &[
    Setting::new("database", &["WBSYNC_DATABASE"], Kind::Text, "DATABASE_URL, as the application reads it"),
    Setting::new("preset", &["WBSYNC_PRESET"], Kind::Text, "none"),
    Setting::new("busy_ms", &["WBSYNC_BUSY_MS"], Kind::Number, "10000"),
    Setting::new("network.mode", &["WBSYNC_NETWORK_MODE", "SYNC_MODE"], Kind::Text, "central"),
    Setting::new("network.relay", &["WBSYNC_NETWORK_RELAY", "SYNC_RELAY"], Kind::FlagOrText, "by the mode"),
    Setting::new(
        "run.interval_seconds",
        &["WBSYNC_RUN_INTERVAL_SECONDS", "SYNC_INTERVAL_SECONDS"],
        Kind::Number,
        "300",
    ),
    Setting::new("run.look_seconds", &["WBSYNC_RUN_LOOK_SECONDS"], Kind::Number, "60"),
    Setting::new("run.long_poll", &["WBSYNC_RUN_LONG_POLL"], Kind::Flag, "true"),
    Setting::new("run.watch", &["WBSYNC_RUN_WATCH"], Kind::Flag, "true"),
];

/// Variables that mean something else than a setting.
pub const OTHER_VARIABLES: &[&str] =
    &["WBSYNC_DIR", "WBSYNC_SSH", "WBSYNC_PAGER", "WBSYNC_INVITE", "WBSYNC_PASSPHRASE", "WBSYNC_GIT_PASSWORD"];

/// A setting as it is.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Shown {
    /// Its key.
    pub key: &'static str,
    /// Its value, without passwords; what holds by itself is in words.
    pub value: String,
    /// Where it comes from: `environment NAME`, `.env NAME`, `wbsync.toml`, `default`.
    pub origin: String,
}

/// Where variables are looked up.
pub struct Variables<'a> {
    /// The environment.
    pub environment: &'a dyn Fn(&str) -> Option<String>,
    /// The application's directory, with its `.env`.
    pub dir: &'a Path,
}

impl Setting {
    const fn new(key: &'static str, variables: &'static [&'static str], kind: Kind, default: &'static str) -> Self {
        Self { key, variables, kind, default }
    }

    /// Looks for a variable that sets it: its origin, its name and its text.
    fn given(&self, variables: &Variables<'_>) -> Result<Option<(&'static str, &'static str, String)>, Error> {
        let said = |text: &String| !text.trim().is_empty();
        for name in self.variables {
            if let Some(text) = (variables.environment)(name).filter(said) {
                return Ok(Some(("environment", name, text)));
            }
        }
        for name in self.variables {
            if let Some(text) = dburl::env_file(variables.dir, name)?.filter(said) {
                return Ok(Some((".env", name, text)));
            }
        }
        Ok(None)
    }

    fn value(&self, text: &str) -> Option<Value> {
        let text = text.trim();
        let flag = || match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Some(Value::Boolean(true)),
            "false" | "no" | "off" | "0" => Some(Value::Boolean(false)),
            _ => None,
        };
        match self.kind {
            Kind::Text => Some(Value::String(text.to_owned())),
            Kind::Number => text.parse().ok().map(Value::Integer),
            Kind::Flag => flag(),
            Kind::FlagOrText => flag().or_else(|| Some(Value::String(text.to_owned()))),
        }
    }
}

/// Puts what variables say over what the file says, and tells where each setting comes from.
///
/// # Errors
/// `Setting` if a variable's text is no value for it; `Database` if `.env` can't be read.
pub fn overlay(file: Table, variables: &Variables<'_>) -> Result<(Config, Vec<Shown>), Error> {
    let (mut table, mut shown) = (file, Vec::new());
    for setting in SETTINGS {
        let given = setting.given(variables)?;
        let (value, origin) = match given {
            Some((origin, name, text)) => {
                let wrong = |why: String| Error::Setting { variable: format!("{name} ({origin})"), why };
                let value = setting.value(&text).ok_or_else(|| wrong(format!("it is no {}", setting.kind.word())))?;
                put(&mut table, setting.key, value);
                // One by one, so that an error names its variable.
                let config = Config::try_from_table(table.clone()).map_err(|error| wrong(error.message().to_owned()));
                config.map(drop)?;
                (at(&table, setting.key).map(text_of), format!("{origin} {name}"))
            }
            None => match at(&table, setting.key) {
                Some(value) => (Some(text_of(value)), FILE.to_owned()),
                None => (None, "default".to_owned()),
            },
        };
        let value = value.map_or(setting.default.to_owned(), |text| {
            if setting.key == "database" { dburl::redact(&text) } else { text }
        });
        shown.push(Shown { key: setting.key, value, origin });
    }
    let config = Config::try_from_table(table).expect("the file was read, and each variable since");
    Ok((config, shown))
}

/// Returns the variables that look like ours and mean nothing, each with the one that was perhaps meant: all `WBSYNC_…`, and of
/// `SYNC_…`, which may be the application's own, those that are nearly one.
pub fn unknown(names: impl IntoIterator<Item = String>) -> Vec<(String, Option<&'static str>)> {
    let known = || SETTINGS.iter().flat_map(|setting| setting.variables).chain(OTHER_VARIABLES).copied();
    let stray = names.into_iter().filter(|name| !known().any(|known| known == name)).filter_map(|name| {
        // What all begin with makes none of them likely.
        let near = |prefix: &str| {
            let rests = || known().filter_map(|known| Some((known.strip_prefix(prefix)?, known)));
            let rest = nearest(name.strip_prefix(prefix)?, rests().map(|(rest, _)| rest))?;
            rests().find(|(known, _)| *known == rest).map(|(_, known)| known)
        };
        match name.split_once('_') {
            Some(("WBSYNC", _)) => Some((near("WBSYNC_"), name)),
            Some(("SYNC", _)) => near("SYNC_").map(|near| (Some(near), name)),
            _ => None,
        }
    });
    stray.map(|(near, name)| (name, near)).collect()
}

/// Returns the word that is nearest to another one, if one is near.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = known.into_iter().map(|known| (strsim::damerau_levenshtein(word, known), known));
    near.min().filter(|(distance, known)| *distance * 3 <= known.len().max(word.len())).map(|(_, known)| known)
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Text | Self::FlagOrText => "text",
            Self::Number => "whole number",
            Self::Flag => "true or false",
        }
    }
}

fn put(table: &mut Table, key: &str, value: Value) {
    match key.split_once('.') {
        None => {
            table.insert(key.to_owned(), value);
        }
        Some((first, rest)) => {
            let inner = table.entry(first).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(inner) = inner {
                put(inner, rest, value);
            }
        }
    }
}

fn at<'a>(table: &'a Table, key: &str) -> Option<&'a Value> {
    match key.split_once('.') {
        None => table.get(key),
        Some((first, rest)) => at(table.get(first)?.as_table()?, rest),
    }
}

fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::network::NetworkMode;

    fn read(toml: &str, environment: &[(&str, &str)], env_file: &str) -> Result<(Config, Vec<Shown>), Error> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(".env"), env_file).unwrap();
        let find =
            |name: &str| environment.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned());
        overlay(toml.parse().unwrap(), &Variables { environment: &find, dir: dir.path() })
    }

    fn origin(shown: &[Shown], key: &str) -> String {
        let found = shown.iter().find(|shown| shown.key == key).unwrap();
        format!("{} from {}", found.value, found.origin)
    }

    #[test]
    fn each_place_counts_more_than_the_next() {
        let toml = "[network]\nmode = 'p2p'\n[run]\nwatch = false\n";
        let (config, shown) = read(toml, &[], "").unwrap();
        assert_eq!((config.network.mode, config.run.watches()), (NetworkMode::P2p, false));
        assert_eq!(origin(&shown, "network.mode"), "p2p from wbsync.toml");
        assert_eq!(origin(&shown, "run.interval_seconds"), "300 from default");
        let env_file = "SYNC_MODE=hybrid\nSYNC_INTERVAL_SECONDS=60\n";
        let (config, shown) = read(toml, &[], env_file).unwrap();
        assert_eq!((config.network.mode, config.run.interval_seconds), (NetworkMode::Hybrid, Some(60)));
        assert_eq!(origin(&shown, "network.mode"), "hybrid from .env SYNC_MODE");
        let (config, _) = read(toml, &[], "WBSYNC_NETWORK_MODE=central\nSYNC_MODE=hybrid\n").unwrap();
        assert_eq!(config.network.mode, NetworkMode::Central, "our own name counts more");
        let environment =
            [("WBSYNC_RUN_WATCH", "yes"), ("SYNC_MODE", "central"), ("WBSYNC_DATABASE", "postgresql://a:secret@h/d")];
        let (config, shown) = read(toml, &environment, env_file).unwrap();
        assert!(config.run.watches() && config.network.mode == NetworkMode::Central);
        assert_eq!(origin(&shown, "network.mode"), "central from environment SYNC_MODE");
        assert!(!origin(&shown, "database").contains("secret"));
    }

    #[test]
    fn what_is_no_value_is_refused_with_the_variable() {
        for (name, text) in [
            ("SYNC_MODE", "git"),
            ("WBSYNC_BUSY_MS", "soon"),
            ("WBSYNC_RUN_WATCH", "perhaps"),
            ("WBSYNC_BUSY_MS", "-1"),
        ] {
            let error = read("", &[(name, text)], "").unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
    }

    #[test]
    fn mistyped_words_are_guessed() {
        let names = ["WBSYNC_DATABSE", "WBSYNC_NOTHING_LIKE_IT", "WBSYNC_DIR", "PATH", "SYNC_MODES", "SYNC_TOKEN"]
            .map(String::from);
        let found = unknown(names);
        let expected = [
            ("WBSYNC_DATABSE".to_owned(), Some("WBSYNC_DATABASE")),
            ("WBSYNC_NOTHING_LIKE_IT".to_owned(), None),
            ("SYNC_MODES".to_owned(), Some("SYNC_MODE")),
        ];
        assert_eq!(found, expected);
    }
}
