//! `wbsync pull`: commit, fetch, merge and write rows.

use super::{commit, fetch, merge};
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::id::name::PeerName;
use crate::sync::commit::Mode;
use crate::sync::instance::Purpose;
use crate::sync::preview::PullPreview;
use crate::sync::round::PullSummary;

/// Commit, fetch, merge, and write what came into the application's rows
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wbsync pull
  wbsync pull stick --dry-run")]
pub struct Args {
    /// The remote; otherwise all
    remote: Option<PeerName>,
    /// Only say what would be captured and fetched, and what would be merged of that which is fetched already
    #[arg(long, short = 'n')]
    dry_run: bool,
}

/// Runs it.
///
/// # Errors
/// As `Instance::pull`.
pub fn run(context: &mut Context, args: Args) -> Result<(), Failure> {
    let instance = context.instance(Purpose::Change)?;
    let remotes = instance.remotes_or_all(args.remote.as_ref())?;
    if args.dry_run {
        let preview = instance.pull_preview(&remotes)?;
        context.answer(&preview, &describe_preview(&preview))?;
        report_preview(context, &preview);
        return Ok(());
    }
    let summary = instance.pull(&remotes)?;
    context.answer(&summary, &describe(&summary))?;
    report_fetched(context, &summary);
    report_merged(context, &summary);
    Ok(())
}

/// Says what a pull would do.
pub fn describe_preview(preview: &PullPreview) -> String {
    let merged = merge::describe(&preview.merge, Mode::DryRun);
    commit::describe(&preview.committed, Mode::DryRun) + &fetch::describe_preview(&preview.fetched) + &merged
}

/// Reports which remotes couldn't be asked, and what a dry run can't know.
pub fn report_preview(context: &mut Context, preview: &PullPreview) {
    context.report_failed(&preview.fetched.failed);
    if preview.fetched.remotes.values().any(|preview| !preview.heads.is_empty()) {
        context.hint("what it would bring isn't here yet: `wbsync fetch`, then `wbsync merge --dry-run` says what becomes of rows");
    }
}

/// Says what a pull did.
pub fn describe(summary: &PullSummary) -> String {
    let merged = merge::describe(&summary.merge, Mode::Keep);
    commit::describe(&summary.committed, Mode::Keep) + &fetch::describe(&summary.fetched) + &merged
}

/// Reports what went wrong with the remotes of a pull.
pub fn report_fetched(context: &mut Context, summary: &PullSummary) {
    context.warn_of_kept_home(&summary.committed.kept_home);
    context.report_failed(&summary.fetched.failed);
    context.report_refused(&summary.fetched.remotes);
}

/// Reports the conflicts that are open after a pull, and how fast it was.
pub fn report_merged(context: &mut Context, summary: &PullSummary) {
    context.report_conflicts(&summary.merge.conflicts);
    context.warn_of_unwatched(&summary.committed);
    context.note_speed(summary.committed.rows + summary.merge.applied.rows());
}
