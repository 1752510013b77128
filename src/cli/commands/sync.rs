//! `wbsync sync`: pull, then push.

use super::{pull, push};
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::id::name::PeerName;
use crate::sync::instance::Purpose;

/// Pull, then push: after it, the remote and the application's rows show the same
///
/// With several remotes, those that can't be reached are reported and the others still served.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wbsync sync
  wbsync sync stick --dry-run
  wbsync sync --due")]
pub struct Args {
    /// The remote; otherwise all
    remote: Option<PeerName>,
    /// Leave remotes alone that failed, until their time has come: for timers and scripts
    ///
    /// After each failure in a row the wait is anything up to a bound, at first 30 seconds, at last an hour.
    #[arg(long, conflicts_with = "remote")]
    due: bool,
    /// Only say what would be captured and fetched, and what would be merged and sent of that which is here already
    #[arg(long, short = 'n')]
    dry_run: bool,
}

/// Runs it.
///
/// # Errors
/// As `Instance::sync`.
pub fn run(context: &mut Context, args: Args) -> Result<(), Failure> {
    let instance = context.instance(Purpose::Change)?;
    let mut remotes = instance.remotes_or_all(args.remote.as_ref())?;
    if args.due {
        let due = instance.due(remotes)?;
        for (remote, next) in &due.later {
            context.note(&format!("{remote}: left alone until {next}"));
        }
        remotes = due.now;
    }
    if args.dry_run {
        let preview = instance.sync_preview(&remotes)?;
        context
            .answer(&preview, &(pull::describe_preview(&preview.pull) + &push::describe_previews(&preview.pushed)))?;
        pull::report_preview(context, &preview.pull);
        context.report_failed(&preview.pushed.failed);
        return Ok(());
    }
    let summary = instance.sync(&remotes)?;
    let pulls = || std::iter::once(&summary.pull).chain(&summary.again);
    context.answer(&summary, &(pulls().map(pull::describe).collect::<String>() + &push::describe(&summary.pushed)))?;
    context.report_failed(&summary.pushed.failed);
    pulls().for_each(|pull| pull::report_fetched(context, pull));
    pull::report_merged(context, pulls().last().expect("there is the first"));
    let fetched = pulls().flat_map(|pull| &pull.fetched.failed);
    push::note_kept(context, &instance, fetched.chain(&summary.pushed.failed))
}
