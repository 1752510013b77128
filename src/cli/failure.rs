//! How a command ends badly, and how that is shown: in words, or as JSON.

use std::fmt::Write;
use std::io;

use serde_json::{Value, json};

use super::text::{ERROR, HINT};
use crate::daemon;
use crate::hub;
use crate::sync::error::{Error, exit, io_hint};

/// Why a command stopped.
#[derive(Debug)]
pub enum Failure {
    /// The library said so.
    Sync(Error),
    /// The hub said so.
    Hub(hub::error::Error),
    /// The worker said so.
    Worker(daemon::error::Error),
    /// The command line asks for something that can't be.
    Usage(String),
    /// Standard output could not be written.
    Output(io::Error),
}

impl Failure {
    /// Returns the exit code; nobody reading our output any more is no failure.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Sync(error) => error.exit_code(),
            Self::Hub(_) => exit::ERROR,
            Self::Worker(error) => error.code().exit(),
            Self::Usage(_) => exit::USAGE,
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            Self::Output(_) => exit::ERROR,
        }
    }

    /// Returns the text for people, or `None` if there is nothing to say.
    pub fn text(&self) -> Option<String> {
        match self {
            Self::Sync(error) => Some(text_of(error, None)),
            Self::Hub(error) => Some(written(error, error.to_string(), Some(error.hint()))),
            Self::Worker(error) => Some(written(error, error.to_string(), error.hint().as_deref())),
            Self::Usage(message) => Some(format!("{ERROR}error:{ERROR:#} {message}")),
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => None,
            Self::Output(error) => {
                let hint = io_hint(error);
                Some(format!(
                    "{ERROR}error:{ERROR:#} cannot write the output\n  caused by: {error}\n{HINT}hint:{HINT:#} {hint}"
                ))
            }
        }
    }

    /// Returns the JSON form, or `None` if there is nothing to say.
    pub fn json(&self) -> Option<Value> {
        match self {
            Self::Sync(error) => Some(json_of(error, None)),
            Self::Hub(error) => {
                let mut json = plain_json(error.code(), &error.to_string(), &causes(error));
                json["error"]["hint"] = error.hint().into();
                Some(json)
            }
            Self::Worker(error) => {
                let mut json = plain_json(error.code().as_str(), &error.to_string(), &causes(error));
                json["error"]["hint"] = error.hint().into();
                Some(json)
            }
            Self::Usage(message) => Some(plain_json("usage", message, &[])),
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => None,
            Self::Output(error) => {
                let mut json = plain_json("output", "cannot write the output", &[error.to_string()]);
                json["error"]["hint"] = io_hint(error).into();
                Some(json)
            }
        }
    }
}

/// Returns an error with its causes and hint, on a line each; `remote` is the one it happened with.
pub fn text_of(error: &Error, remote: Option<&str>) -> String {
    let message = error.to_string();
    let with =
        remote.filter(|remote| !message.contains(remote)).map(|remote| format!("{remote}: ")).unwrap_or_default();
    written(error, format!("{with}{message}"), error.hint().as_deref())
}

fn written(error: &dyn std::error::Error, message: String, hint: Option<&str>) -> String {
    let mut text = format!("{ERROR}error:{ERROR:#} {message}");
    for cause in causes(error) {
        // Some causes (TOML, with the line at fault) have several lines.
        let cause = cause.trim_end().replace('\n', "\n    ");
        write!(text, "\n  caused by: {cause}").expect("strings grow");
    }
    if let Some(hint) = hint {
        write!(text, "\n{HINT}hint:{HINT:#} {hint}").expect("strings grow");
    }
    text
}

/// Returns an error as JSON.
pub fn json_of(error: &Error, remote: Option<&str>) -> Value {
    let mut object = json!({ "code": error.code().as_str(), "message": error.to_string(), "causes": causes(error) });
    if let Some(remote) = remote {
        object["remote"] = remote.into();
    }
    object["hint"] = error.hint().into();
    json!({ "schema": 1, "error": object })
}

/// Returns an error of the command line itself as JSON.
pub fn plain_json(code: &str, message: &str, causes: &[String]) -> Value {
    json!({ "schema": 1, "error": { "code": code, "message": message, "causes": causes, "hint": null } })
}

fn causes(error: &dyn std::error::Error) -> Vec<String> {
    let mut causes = Vec::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        causes.push(error.to_string());
        cause = error.source();
    }
    causes
}

impl From<hub::error::Error> for Failure {
    fn from(error: hub::error::Error) -> Self {
        Self::Hub(error)
    }
}

impl From<daemon::error::Error> for Failure {
    fn from(error: daemon::error::Error) -> Self {
        match error {
            daemon::error::Error::Sync(error) => Self::Sync(*error),
            error => Self::Worker(error),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Sync(error)
    }
}
