//! `wbsync run`: the background worker.

use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::told;
use crate::daemon::worker;

/// Exchange in the background until told to end
///
/// Exchanges with each remote every few minutes, at once when the application or a hub has something new, and
/// after the machine slept. What fails is tried again for ever, ever more seldom. `[run]` in wbsync.toml says how often.
/// SIGTERM and SIGINT end it, SIGHUP reads the configuration again. One worker per instance; other commands work beside it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wbsync run
  wbsync run --log-format json")]
pub struct Args {}

/// Runs it.
///
/// # Errors
/// As `worker::run`.
pub fn run(context: &mut Context, Args {}: Args) -> Result<(), Failure> {
    let root = worker::root_of(&context.dir)?;
    Ok(worker::run(&root, told::log(context))?)
}
