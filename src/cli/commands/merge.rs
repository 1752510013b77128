//! `wbsync merge`: join what was fetched with what is here, and write it into the application's rows.

use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::text::{by_name, count};
use crate::sync::commit::Mode;
use crate::sync::instance::Purpose;
use crate::sync::round::MergeSummary;

/// Join what was fetched with what is here, and write it into the application's rows
///
/// Edits of different fields are combined. Where both sides edited the same field, both values are kept, the later one
/// is shown, and the command ends with exit code 3.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wbsync merge
  wbsync merge --dry-run")]
pub struct Args {
    /// Only count what would be merged and written
    #[arg(long, short = 'n')]
    dry_run: bool,
}

/// Runs it.
///
/// # Errors
/// As `Instance::merge_and_apply`.
pub fn run(context: &mut Context, args: Args) -> Result<(), Failure> {
    let mode = if args.dry_run { Mode::DryRun } else { Mode::Keep };
    let summary = context.instance(Purpose::Change)?.merge_and_apply(mode)?;
    context.answer(&summary, &describe(&summary, mode))?;
    context.report_conflicts(&summary.conflicts);
    context.note_speed(summary.applied.rows());
    Ok(())
}

/// Says what a merge did.
pub fn describe(summary: &MergeSummary, mode: Mode) -> String {
    if summary.merged.is_empty() && summary.applied.is_empty() {
        return "nothing to merge\n".into();
    }
    let mut text = String::new();
    let (merged, written) = match mode {
        Mode::Keep => ("merged", ["inserted", "updated", "deleted", "blanked, local rows refer to them", "waiting"]),
        Mode::DryRun => ("would merge", ["would insert", "would write", "would delete", "would blank", "would wait"]),
    };
    for (scope, merge) in &summary.merged {
        text += &format!("{merged} {scope}");
        if merge.merged {
            let records = &merge.records;
            let combined = count(records.combined, "record");
            text += &format!(": {combined} combined, {}", count(merge.conflicts, "new conflict"));
            if records.edits_against_deletes > 0 {
                text += &format!(", {} kept that one side deleted", records.edits_against_deletes);
            }
        }
        if merge.withdrawn_again > 0 {
            let records = count(merge.withdrawn_again, "record");
            text += &format!(", {records} taken out again that others had edited (`wbsync privacy late`)");
        }
        text.push('\n');
    }
    let applied = &summary.applied;
    let sides = [&applied.inserted, &applied.updated, &applied.deleted, &applied.blanked, &applied.parked];
    for (word, counts) in written.iter().zip(sides) {
        if !counts.is_empty() {
            text += &format!("{word}: {}\n", by_name(counts));
        }
    }
    text
}
