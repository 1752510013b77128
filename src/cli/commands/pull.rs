//! `wbsync pull`: commit, fetch, merge and write rows.

use super::{commit, fetch, merge};
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::id::name::PeerName;
use crate::sync::commit::Mode;
use crate::sync::instance::Purpose;
use crate::sync::round::PullSummary;

/// Commit, fetch, merge, and write what came into the application's rows
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wbsync pull
  wbsync pull stick")]
pub struct Args {
    /// The remote; otherwise all
    remote: Option<PeerName>,
}

/// Runs it.
///
/// # Errors
/// As `Instance::pull`.
pub fn run(context: &mut Context, args: Args) -> Result<(), Failure> {
    let instance = context.instance(Purpose::Change)?;
    let summary = instance.pull(&instance.remotes_or_all(args.remote.as_ref())?)?;
    context.answer(&summary, &describe(&summary))?;
    report_fetched(context, &summary);
    report_merged(context, &summary);
    Ok(())
}

/// Says what a pull did.
pub fn describe(summary: &PullSummary) -> String {
    let merged = merge::describe(&summary.merge, Mode::Keep);
    commit::describe(&summary.committed, Mode::Keep) + &fetch::describe(&summary.fetched) + &merged
}

/// Reports what went wrong with the remotes of a pull.
pub fn report_fetched(context: &mut Context, summary: &PullSummary) {
    context.report_failed(&summary.fetched.failed);
    context.report_refused(&summary.fetched.remotes);
}

/// Reports the conflicts that are open after a pull, and how fast it was.
pub fn report_merged(context: &mut Context, summary: &PullSummary) {
    context.report_conflicts(&summary.merge.conflicts);
    context.warn_of_unwatched(&summary.committed);
    context.note_speed(summary.committed.rows + summary.merge.applied.rows());
}
