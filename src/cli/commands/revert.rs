//! `wbsync revert`: take back what a commit did.

use super::diff::value_text;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::text::{HEADING, count};
use crate::sync::commit::Mode;
use crate::sync::instance::Purpose;
use crate::sync::revert::Reverted;

/// Take back what a commit did, by a new commit
///
/// Fields that still show what the commit wrote get the value before it; what was changed since is left as it is, and listed.
/// Records that it added are removed, records that it removed come back. The application's rows follow at once.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wbsync revert 27f3a1b2 --dry-run
  wbsync revert 27f3a1b2")]
pub struct Args {
    /// The first digits of a commit, as `log` shows them
    commit: String,
    /// Only say what would be written
    #[arg(long, short = 'n')]
    dry_run: bool,
}

/// Runs it.
///
/// # Errors
/// As `Instance::revert`.
pub fn run(context: &mut Context, args: Args) -> Result<(), Failure> {
    let mode = if args.dry_run { Mode::DryRun } else { Mode::Keep };
    let reverted = context.instance(Purpose::Change)?.revert(&args.commit, mode)?;
    context.answer(&reverted, &describe(&reverted, mode))?;
    for left in &reverted.left {
        let field = left.field.as_ref().map(|field| format!(".{field}")).unwrap_or_default();
        context.note(&format!("left: {}{field}: {}", left.record, left.reason));
    }
    if reverted.commit.is_some() {
        context.hint(if reverted.local {
            "it stays here: we may not write in the scope"
        } else {
            "`wbsync push` sends it"
        });
    }
    Ok(())
}

fn describe(reverted: &Reverted, mode: Mode) -> String {
    if reverted.records.is_empty() {
        return format!("nothing of {} is left to revert\n", reverted.reverted.short());
    }
    let verb = if mode == Mode::DryRun { "would revert" } else { "reverted" };
    let number = count(reverted.records.len() as u64, "record");
    let mut text = format!("{verb} {} in {}: {number}\n", reverted.reverted.short(), reverted.scope);
    for record in &reverted.records {
        text += &format!("{HEADING}{} {}{HEADING:#}\n", record.change, record.record);
        for (field, value) in &record.fields {
            text += &format!("  {field}: {}\n", value_text(value));
        }
    }
    text
}
