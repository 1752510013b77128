//! `wbsync resolve`: settle conflicts.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::Path;
use std::process::Command;

use super::conflicts::describe;
use super::diff::value_text;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::text::count;
use crate::sync::commit::Mode;
use crate::sync::edit::Editing;
use crate::sync::error::{Error, exit};
use crate::sync::instance::Purpose;
use crate::sync::resolve::{Choice, Conflict, Resolution};
use crate::sys::disk::{self, Access};

/// Settle conflicts by choosing a value, or writing a new one
///
/// The choice is an explicit write on top of all values that are known here. Others get it with the next `push`. Without a
/// choice each conflict is shown and asked for, on a terminal.
#[derive(Debug, clap::Args)]
#[command(
    group(clap::ArgGroup::new("choice").multiple(false)),
    group(clap::ArgGroup::new("which").multiple(false)),
    after_help = "\
Examples:
  wbsync resolve
  wbsync resolve requests/0198f3a1.title --take beta
  wbsync resolve requests/0198f3a1 --ours
  wbsync resolve requests/0198f3a1.description --edit
  wbsync resolve --all --latest --dry-run"
)]
pub struct Args {
    /// A record (`dataset/key` or the first digits of the key), or one of its fields
    #[arg(value_name = "RECORD[.FIELD]", group = "which")]
    what: Option<String>,
    /// All conflicts
    #[arg(long, group = "which")]
    all: bool,
    /// Take a value: `ours`, `theirs`, or its author
    #[arg(long, value_name = "SIDE", group = "choice")]
    take: Option<String>,
    /// Take the value that we wrote
    #[arg(long, visible_alias = "local-wins", group = "choice")]
    ours: bool,
    /// Take the value that we did not write
    #[arg(long, visible_alias = "remote-wins", group = "choice")]
    theirs: bool,
    /// Take the latest value
    #[arg(long, group = "choice")]
    latest: bool,
    /// Write a new value
    #[arg(long, value_name = "VALUE", group = "choice", allow_hyphen_values = true)]
    value: Option<String>,
    /// Edit the texts of both sides with $VISUAL or $EDITOR
    #[arg(long, group = "choice")]
    edit: bool,
    /// Only say what would be settled
    #[arg(long, short = 'n')]
    dry_run: bool,
}

/// Runs it.
///
/// # Errors
/// As `Instance::resolve` and `Instance::edit_conflict`; `Usage` off a terminal without a choice.
pub fn run(context: &mut Context, args: Args) -> Result<(), Failure> {
    let mode = if args.dry_run { Mode::DryRun } else { Mode::Keep };
    let what = args.what.as_deref();
    let resolution = if let Some(choice) = args.choice() {
        if what.is_none() && !args.all {
            return Err(Failure::Usage("say which conflict: RECORD[.FIELD], or --all".into()));
        }
        context.instance(Purpose::Change)?.resolve(what, &|_| Some(choice.clone()), mode)?
    } else {
        // Nobody else is kept out while a person thinks; the choices hold for what was shown only.
        let conflicts = context.instance(Purpose::Look)?.conflicts(what)?;
        let choices = if args.edit { edit_each(context, &conflicts)? } else { ask_each(context, &conflicts)? };
        context.instance(Purpose::Change)?.resolve(what, &|name| choices.get(name).cloned(), mode)?
    };
    context.answer(&resolution, &say_resolved(&resolution, mode))?;
    for left in &resolution.left {
        context.warn(&format!("{left} stays open: the choice stands for no single value of it"));
    }
    if mode == Mode::DryRun {
        return Ok(());
    }
    if resolution.resolved.iter().any(|resolved| resolved.local) {
        context.hint("what is settled in a scope in which we may not write stays here");
    } else if !resolution.resolved.is_empty() {
        context.hint("`wbsync push` sends it");
    }
    if !context.instance(Purpose::Look)?.open_conflicts()?.is_empty() {
        context.exit_with(exit::CONFLICTS);
    }
    Ok(())
}

impl Args {
    fn choice(&self) -> Option<Choice> {
        Some(match (&self.take, &self.value) {
            (Some(side), _) if side == "ours" => Choice::Ours,
            (Some(side), _) if side == "theirs" => Choice::Theirs,
            (Some(author), _) => Choice::Author(author.clone()),
            (_, Some(value)) => Choice::Value(value.clone()),
            _ if self.ours => Choice::Ours,
            _ if self.theirs => Choice::Theirs,
            _ if self.latest => Choice::Latest,
            _ => return None,
        })
    }
}

fn say_resolved(resolution: &Resolution, mode: Mode) -> String {
    if resolution.resolved.is_empty() {
        return "nothing to settle\n".into();
    }
    let verb = if mode == Mode::DryRun { "would settle" } else { "settled" };
    let mut text = format!("{verb} {}\n", count(resolution.resolved.len() as u64, "conflict"));
    for resolved in &resolution.resolved {
        text += &format!("  {}.{} = {}\n", resolved.record, resolved.field, value_text(&resolved.value));
    }
    text
}

fn name_of(conflict: &Conflict) -> String {
    format!("{}.{}", conflict.record, conflict.field)
}

fn edit_each(context: &Context, conflicts: &[Conflict]) -> Result<BTreeMap<String, Choice>, Failure> {
    let instance = context.instance(Purpose::Look)?;
    let mut choices = BTreeMap::new();
    for conflict in conflicts {
        let editing = instance.edit_conflict(&name_of(conflict))?;
        let edited = edit(&editing, instance.dir())?;
        choices.insert(name_of(conflict), editing.choice(&edited)?);
    }
    Ok(choices)
}

/// Opens an editor on a text and returns what it left.
fn edit(editing: &Editing, dir: &Path) -> Result<String, Failure> {
    let set = |name| std::env::var_os(name).filter(|value: &std::ffi::OsString| !value.is_empty());
    let editor = set("VISUAL").or_else(|| set("EDITOR")).unwrap_or_else(|| "vi".into());
    // Beside our other private files: the text may be private too.
    let mut file = disk::temporary_in(dir, Access::Secret).map_err(Error::io("make a file in", dir))?;
    let path = file.path().to_owned();
    file.write_all(editing.text.as_bytes()).map_err(Error::io("write", &path))?;
    // The variable may hold options; the shell splits it as every program does that opens editors.
    let status = Command::new("sh")
        .arg("-c")
        .arg(r#"$WBSYNC_EDITOR "$1""#)
        .arg("sh")
        .arg(&path)
        .env("WBSYNC_EDITOR", &editor)
        .status()
        .map_err(Error::io("open an editor for", &path))?;
    if !status.success() {
        return Err(Error::NotEdited { conflict: editing.conflict.clone() }.into());
    }
    Ok(fs::read_to_string(&path).map_err(Error::io("read", &path))?)
}

fn ask_each(context: &Context, conflicts: &[Conflict]) -> Result<BTreeMap<String, Choice>, Failure> {
    if conflicts.is_empty() {
        return Ok(BTreeMap::new());
    }
    if context.global.json || !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        let message =
            "choose with --take, --ours, --theirs, --latest, --value or --edit; it is asked for on a terminal only";
        return Err(Failure::Usage(message.into()));
    }
    let instance = context.instance(Purpose::Look)?;
    let mut choices = BTreeMap::new();
    for conflict in conflicts {
        let name = name_of(conflict);
        match ask(conflict, &mut io::stdin().lock(), &mut anstream::stderr()).map_err(Failure::Output)? {
            Answer::Take(choice) => drop(choices.insert(name, choice)),
            Answer::Edit => {
                let editing = instance.edit_conflict(&name)?;
                let edited = edit(&editing, instance.dir())?;
                choices.insert(name, editing.choice(&edited)?);
            }
            Answer::Skip => {}
            Answer::Quit => break,
        }
    }
    Ok(choices)
}

/// What somebody said to a conflict.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Take(Choice),
    Edit,
    Skip,
    Quit,
}

/// Shows a conflict and asks until the answer is one; the end of the input quits.
fn ask(conflict: &Conflict, input: &mut impl BufRead, output: &mut impl Write) -> io::Result<Answer> {
    write!(output, "\n{}", describe(conflict))?;
    loop {
        write!(output, "take 1 to {}, (e)dit, (s)kip, (q)uit? ", conflict.sides.len())?;
        output.flush()?;
        let mut line = String::new();
        if input.read_line(&mut line)? == 0 {
            return Ok(Answer::Quit);
        }
        match line.trim() {
            "e" | "edit" => return Ok(Answer::Edit),
            "s" | "skip" | "" => return Ok(Answer::Skip),
            "q" | "quit" => return Ok(Answer::Quit),
            other => {
                let side = other.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
                if let Some(side) = side.and_then(|index| conflict.sides.get(index)) {
                    return Ok(Answer::Take(Choice::Side(side.stamp)));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::bytes::InstanceId;
    use crate::record::stamp::Stamp;
    use crate::sync::resolve::ConflictSide;
    use crate::sys::clock::UnixMillis;

    fn conflict() -> Conflict {
        let side = |number: u8, value: &str| ConflictSide {
            author: format!("author {number}"),
            ours: number == 1,
            time: UnixMillis(u64::from(number)),
            value: value.into(),
            stamp: stamp(number),
        };
        let sides = vec![side(2, "two"), side(1, "one")];
        let [scope, record, field] = ["public", "requests/0198", "title"].map(String::from);
        Conflict { scope, record, field, row: None, base: None, sides }
    }

    fn stamp(number: u8) -> Stamp {
        Stamp { author: InstanceId::from_bytes([number; 32]), incarnation: 0, sequence: 1, time: UnixMillis(1) }
    }

    #[test]
    fn a_number_takes_the_value_shown_there_and_nonsense_is_asked_again() {
        let asked = |text: &str| {
            let mut output = Vec::new();
            let answer = ask(&conflict(), &mut text.as_bytes(), &mut output).unwrap();
            (answer, String::from_utf8(output).unwrap().matches("(q)uit?").count())
        };
        assert_eq!(asked("2\n"), (Answer::Take(Choice::Side(stamp(1))), 1));
        assert_eq!(asked("0\n3\nthe first\n1\n"), (Answer::Take(Choice::Side(stamp(2))), 4));
        assert_eq!(asked("e\n").0, Answer::Edit);
        assert_eq!(asked("\n").0, Answer::Skip);
        assert_eq!(asked(""), (Answer::Quit, 1));
    }
}
