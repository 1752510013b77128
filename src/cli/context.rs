//! What every command has at hand: where it runs, how it speaks, and the instance.

use std::collections::BTreeMap;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::time::Instant;

use serde::Serialize;
use serde_json::Value;

use super::arguments::{Color, Global, LogFormat};
use super::failure::{Failure, json_of, text_of};
use super::text::{HINT, WARNING, count, grouped};
use super::{pager, progress};
use crate::id::name::{DatasetName, PeerName};
use crate::sync::commit::CommitSummary;
use crate::sync::error::{Error, exit};
use crate::sync::fetch::FetchSummary;
use crate::sync::fit::{Fit, Misfit};
use crate::sync::instance::{Instance, Purpose};
use crate::sync::progress::{Watcher, silent};

/// The version of the JSON answers; raised when a member changes its meaning or goes away.
const SCHEMA: u64 = 1;

/// What a command runs in.
#[derive(Debug)]
pub struct Context {
    /// The directory that the command starts in: absolute.
    pub dir: PathBuf,
    /// Options of every command.
    pub global: Global,
    started: Instant,
    exit_code: u8,
}

impl Context {
    /// Takes the global options.
    ///
    /// # Errors
    /// `-C` names no directory.
    pub fn new(global: Global) -> Result<Self, Failure> {
        match global.color {
            Color::Auto => anstream::ColorChoice::Auto,
            Color::Always => anstream::ColorChoice::Always,
            Color::Never => anstream::ColorChoice::Never,
        }
        .write_global();
        let current = std::env::current_dir().map_err(Error::io("find", "the current directory"))?;
        let dir = match &global.directory {
            Some(dir) => current.join(dir),
            None => current,
        };
        if !dir.is_dir() {
            return Err(Failure::Usage(format!("cannot change to {}: there is no such directory", dir.display())));
        }
        Ok(Self { dir, global, started: Instant::now(), exit_code: 0 })
    }

    /// Opens the instance.
    ///
    /// # Errors
    /// As `Instance::find`.
    pub fn instance(&self, purpose: Purpose) -> Result<Instance, Failure> {
        Ok(Instance::find(&self.dir, purpose, self.watcher())?)
    }

    /// Returns what shows progress as this command's options want it.
    pub fn watcher(&self) -> Watcher {
        if self.global.quiet || self.global.json {
            silent()
        } else if io::stderr().is_terminal() {
            progress::bars(self.global.verbose)
        } else {
            progress::lines(self.global.verbose)
        }
    }

    /// Returns how a log is to be written: as JSON if everything is.
    pub fn log_format(&self) -> LogFormat {
        self.global.log_format.unwrap_or(if self.global.json { LogFormat::Json } else { LogFormat::Text })
    }

    /// Gives the result: `text`, or with `--json` the members of `value`, an object, after the schema number.
    ///
    /// # Errors
    /// `Output`.
    pub fn answer(&self, value: &impl Serialize, text: &str) -> Result<(), Failure> {
        match self.global.json {
            true => put(&format!("{:#}\n", numbered(value))),
            false if self.global.no_pager => put(text),
            false => match pager::paged(text) {
                Ok(true) => Ok(()),
                Ok(false) => put(text),
                Err(error) => Err(Failure::Output(error)),
            },
        }
    }

    /// Gives one of several results: as `answer`, with `--json` in one line.
    ///
    /// # Errors
    /// `Output`.
    pub fn answer_line(&self, value: &impl Serialize, text: &str) -> Result<(), Failure> {
        match self.global.json {
            true => put(&format!("{}\n", numbered(value))),
            false => put(text),
        }
    }

    /// Says something on the side: stderr, unless asked for quiet or JSON.
    pub fn note(&self, text: &str) {
        if !self.global.quiet && !self.global.json {
            say(text);
        }
    }

    /// Asks on the terminal whether to go on.
    ///
    /// # Errors
    /// `Usage` if there is no terminal to ask on, or the answer isn't yes.
    pub fn confirm(&self, what: &str) -> Result<(), Failure> {
        if self.global.json || !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            let message = format!("to {what}, give --yes; it is asked for on a terminal only");
            return Err(Failure::Usage(message));
        }
        match agreed(what, &mut io::stdin().lock(), &mut anstream::stderr()).map_err(Failure::Output)? {
            true => Ok(()),
            false => Err(Failure::Usage("nothing was done".into())),
        }
    }

    /// Says what the user should know or do next.
    pub fn hint(&self, text: &str) {
        self.note(&format!("{HINT}hint:{HINT:#} {text}"));
    }

    /// Warns, unless asked for JSON.
    pub fn warn(&self, text: &str) {
        if !self.global.json {
            say(&format!("{WARNING}warning:{WARNING:#} {text}"));
        }
    }

    /// Says how fast the command was, if there were enough rows to tell.
    pub fn note_speed(&self, rows: u64) {
        if rows < 1000 {
            return;
        }
        let seconds = self.started.elapsed().as_secs_f64();
        let rate = (rows as f64 / seconds.max(0.001)).round();
        self.note(&format!("{} rows in {seconds:.1} s ({} rows/s)", grouped(rows), grouped(rate as u64)));
    }

    /// Reports the remotes that failed; the command will end with the first one's exit code.
    pub fn report_failed(&mut self, failed: &[(PeerName, Error)]) {
        for (remote, error) in failed {
            if self.global.json {
                say(&json_of(error, Some(remote.as_str())).to_string());
            } else {
                say(&text_of(error, Some(remote.as_str())));
            }
            self.exit_with(error.exit_code());
        }
    }

    /// Warns of tables that are read as a whole because triggers don't stand as they should.
    pub fn warn_of_unwatched(&self, committed: &CommitSummary) {
        if !committed.unwatched.is_empty() {
            let tables = committed.unwatched.join(", ");
            self.warn(&format!("triggers are missing or altered, so everything was read of {tables}"));
            self.hint("`wbsync db check` says what is wrong; `wbsync db install` mends it");
        }
    }

    /// Warns of new rows that stay home because they may be rows that were marked.
    pub fn warn_of_kept_home(&self, kept: &BTreeMap<DatasetName, u64>) {
        for (dataset, rows) in kept {
            let rows = count(*rows, "new row");
            self.warn(&format!(
                "{rows} of {dataset} stay home, private: rows were marked by `privacy set`, and these may be such"
            ));
            self.hint(&format!(
                "`wbsync privacy list {dataset} --rows` lists them; share what may be with `wbsync privacy set {dataset}#KEY public`"
            ));
        }
    }

    /// Warns of columns whose type isn't that of their field.
    pub fn warn_of_misfits(&self, misfits: &[Misfit]) {
        for misfit in misfits {
            self.warn(&misfit.line());
        }
    }

    /// Warns where records of others don't quite fit our tables.
    pub fn warn_of_fits(&self, fits: &[Fit]) {
        for fit in fits {
            for line in fit.lines() {
                self.warn(&line);
            }
        }
    }

    /// Reports the documents that a fetch refused; the command will end with 6 if one is damaged, else 5.
    pub fn report_refused<'a>(&mut self, fetched: impl IntoIterator<Item = (&'a String, &'a FetchSummary)>) {
        let mut code = 0;
        for (remote, summary) in fetched {
            for refusal in &summary.refused {
                if !self.global.json {
                    say(&format!("refused: {} from {remote}: {}", refusal.document, refusal.reason));
                    say(&format!("{HINT}hint:{HINT:#} {}", refusal.hint));
                }
                code = code.max(if refusal.damaged { exit::DAMAGED } else { exit::REFUSED });
            }
        }
        self.exit_with(code);
    }

    /// Reports the open conflicts; the command will end with 3 if nothing worse happened.
    pub fn report_conflicts(&mut self, conflicts: &[String]) {
        const SHOWN_MAX: usize = 10;
        for conflict in conflicts.iter().take(SHOWN_MAX) {
            self.note(&format!("conflict: {conflict}"));
        }
        if conflicts.len() > SHOWN_MAX {
            self.note(&format!("… and {} more", grouped((conflicts.len() - SHOWN_MAX) as u64)));
        }
        if !conflicts.is_empty() {
            self.hint("`wbsync conflicts` shows all values, `wbsync resolve` settles; until then the latest is in the application");
            self.exit_with(exit::CONFLICTS);
        }
    }

    /// Sets the exit code of a command that did what it could, unless one is set already.
    pub fn exit_with(&mut self, code: u8) {
        if self.exit_code == 0 {
            self.exit_code = code;
        }
    }

    /// Returns the exit code of a command that did what it could.
    pub fn exit_code(&self) -> u8 {
        self.exit_code
    }
}

/// Puts the number of the answers' schema before the members of a result.
fn numbered(value: &impl Serialize) -> Value {
    let mut object = serde_json::Map::from_iter([("schema".to_owned(), Value::from(SCHEMA))]);
    match serde_json::to_value(value).expect("results have text keys") {
        Value::Object(members) => object.extend(members),
        other => panic!("a result is an object, not {other}"),
    }
    Value::Object(object)
}

fn put(text: &str) -> Result<(), Failure> {
    let mut out = anstream::stdout().lock();
    write!(out, "{text}").and_then(|()| out.flush()).map_err(Failure::Output)
}

/// Writes a line to stderr; if that fails there is nobody left to tell.
pub fn say(text: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}

/// Asks whether to go on; anything but yes is no.
fn agreed(what: &str, input: &mut impl BufRead, output: &mut impl Write) -> io::Result<bool> {
    write!(output, "{what}? (y/N) ")?;
    output.flush()?;
    let mut line = String::new();
    input.read_line(&mut line)?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_is_yes() {
        let asked = |text: &str| {
            let mut output = Vec::new();
            let agreed = agreed("forget beta", &mut text.as_bytes(), &mut output).unwrap();
            assert_eq!(String::from_utf8(output).unwrap(), "forget beta? (y/N) ");
            agreed
        };
        assert!(["y\n", "Y\n", " yes \n"].into_iter().all(asked));
        assert!(!["", "\n", "n\n", "yeah\n", "no y\n"].into_iter().any(asked));
    }
}
