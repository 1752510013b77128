//! `wbsync db`: the application's database: how its tables are mapped, and the triggers that wbsync keeps in it.

use serde_json::json;

use super::db_map;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::text::count;
use crate::connector::capturing::{Capturing, TriggerChange, Triggers};
use crate::sync::error::exit;
use crate::sync::instance::Purpose;

/// Look at the application's database: how its tables can be mapped, and the triggers that note changes
///
/// With `[capture] mode = "triggers"` in wbsync.toml a commit reads only the rows that triggers noted, instead of
/// everything. Without them, or where they don't stand as they should, it reads everything.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wbsync db map --db sqlite:///data/app.db > wbsync.toml
  wbsync db map --check
  wbsync db install --dry-run
  wbsync db check")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Map(db_map::Args),
    /// Install the triggers, or mend them after the application has altered its tables
    ///
    /// The next commit reads everything once. No table of the application's is altered otherwise.
    #[command(after_help = "Examples:\n  wbsync db install --dry-run\n  wbsync db install")]
    Install(Change),
    /// Remove the triggers and everything that belongs to them
    #[command(after_help = "Examples:\n  wbsync db uninstall")]
    Uninstall(Change),
    /// Say whether the triggers stand as they should
    ///
    /// Ends with 8 if commits are to go by triggers, or some are there, and they don't stand as they should.
    #[command(after_help = "Examples:\n  wbsync db check")]
    Check,
}

#[derive(Debug, clap::Args)]
struct Change {
    /// Only show the SQL
    #[arg(long, short = 'n')]
    dry_run: bool,
}

/// Runs it.
///
/// # Errors
/// As `db_map::run`, `Instance::change_triggers` and `Instance::triggers`.
pub fn run(context: &mut Context, args: Args) -> Result<(), Failure> {
    match args.command {
        Command::Map(args) => db_map::run(context, &args),
        Command::Install(how) => change(context, TriggerChange::Install, &how),
        Command::Uninstall(how) => change(context, TriggerChange::Uninstall, &how),
        Command::Check => check(context),
    }
}

fn change(context: &mut Context, change: TriggerChange, how: &Change) -> Result<(), Failure> {
    let purpose = if how.dry_run { Purpose::Look } else { Purpose::Change };
    let instance = context.instance(purpose)?;
    let statements = if how.dry_run { instance.plan_triggers(change)? } else { instance.change_triggers(change)? };
    let done = match change {
        TriggerChange::Install => "the triggers are installed\n",
        TriggerChange::Uninstall => "the triggers are removed\n",
    };
    let text = match (how.dry_run, statements.is_empty()) {
        (true, _) => statements.iter().map(|statement| format!("{statement};\n")).collect(),
        (false, true) => "nothing to do\n".to_owned(),
        (false, false) => done.to_owned(),
    };
    context.answer(&json!({ "statements": statements }), &text)?;
    match (change, instance.capturing()) {
        (TriggerChange::Install, Capturing::Scan) => {
            context.hint("they are used once wbsync.toml says `[capture]` and `mode = \"triggers\"`");
        }
        (TriggerChange::Uninstall, Capturing::Triggers) => {
            context.hint("take `mode = \"triggers\"` out of wbsync.toml: without them every commit reads everything");
        }
        _ => {}
    }
    Ok(())
}

fn check(context: &mut Context) -> Result<(), Failure> {
    let found = context.instance(Purpose::Look)?.triggers()?;
    context.answer(&found, &describe(&found))?;
    let is_wanted = found.installed || found.mode == Capturing::Triggers;
    if is_wanted && found.tables.iter().any(|table| !table.faults.is_empty()) {
        context.hint("`wbsync db install` mends it; until then commits read these tables as a whole");
        context.exit_with(exit::FINDINGS);
    }
    Ok(())
}

fn describe(found: &Triggers) -> String {
    let mode = match found.mode {
        Capturing::Scan => "commits read everything",
        Capturing::Triggers => "commits read what triggers noted",
    };
    if !found.installed {
        return format!("no triggers are installed; {mode}\n");
    }
    let mut text = format!("{mode}; {} noted\n", count(found.noted, "change"));
    for table in &found.tables {
        let state = match (&table.uncovered, table.faults.is_empty()) {
            (Some(why), _) => format!("always read as a whole: {why}"),
            (None, true) => "watched".to_owned(),
            (None, false) => table.faults.join("; "),
        };
        text += &format!("  {}: {state}\n", table.table);
    }
    text
}
