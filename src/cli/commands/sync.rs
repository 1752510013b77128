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
  wbsync sync stick")]
pub struct Args {
    /// The remote; otherwise all
    remote: Option<PeerName>,
}

/// Runs it.
///
/// # Errors
/// As `Instance::sync`.
pub fn run(context: &mut Context, args: Args) -> Result<(), Failure> {
    let instance = context.instance(Purpose::Change)?;
    let summary = instance.sync(&instance.remotes_or_all(args.remote.as_ref())?)?;
    let pulls = || std::iter::once(&summary.pull).chain(&summary.again);
    context.answer(&summary, &(pulls().map(pull::describe).collect::<String>() + &push::describe(&summary.pushed)))?;
    context.report_failed(&summary.pushed.failed);
    pulls().for_each(|pull| pull::report_fetched(context, pull));
    pull::report_merged(context, pulls().last().expect("there is the first"));
    Ok(())
}
