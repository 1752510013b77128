//! `wbsync commit`: capture what the application changed.

use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::text::{ID, count, private, too_large};
use crate::sync::commit::{CommitSummary, Mode};
use crate::sync::instance::Purpose;

/// Capture what the application changed into our scopes
///
/// Only rows that are marked as shared are taken; everything else is private and only counted.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wbsync commit
  wbsync commit --dry-run")]
pub struct Args {
    /// Only say what would be committed
    #[arg(long, short = 'n')]
    dry_run: bool,
}

/// Runs it.
///
/// # Errors
/// As `Instance::commit`.
pub fn run(context: &mut Context, args: Args) -> Result<(), Failure> {
    let mode = if args.dry_run { Mode::DryRun } else { Mode::Keep };
    let purpose = if args.dry_run { Purpose::Look } else { Purpose::Change };
    let summary = context.instance(purpose)?.commit(mode)?;
    context.answer(&summary, &describe(&summary, mode))?;
    if !summary.private.is_empty() {
        context.note(&format!("private: {}", private(&summary.private)));
    }
    if !summary.too_large.is_empty() {
        context.warn(too_large(&summary.too_large).trim_end());
    }
    context.warn_of_unwatched(&summary);
    context.warn_of_kept_home(&summary.kept_home);
    context.note_speed(summary.rows);
    Ok(())
}

/// Says what a commit did.
pub fn describe(summary: &CommitSummary, mode: Mode) -> String {
    if summary.scopes.is_empty() {
        return "nothing to commit\n".into();
    }
    let mut text = String::new();
    for (scope, commit) in &summary.scopes {
        let changes = format!("{} written, {} removed", count(commit.put, "record"), commit.removed);
        text += &match mode {
            Mode::Keep => format!("committed {scope} {ID}{}{ID:#}: {changes}\n", commit.commit.short()),
            Mode::DryRun => format!("would commit {scope}: {changes}\n"),
        };
    }
    if !summary.unmapped.is_empty() {
        let counts: Vec<String> =
            summary.unmapped.iter().map(|(dataset, records)| format!("{dataset} {records}")).collect();
        text += &format!("withdrawn, as the mapping doesn't have them any more: {}\n", counts.join(", "));
    }
    text
}
