//! `wbsync run-once`: one round of the worker, for cron and timers.

use std::time::Duration;

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::told;
use crate::daemon::once::{self, Options};
use crate::daemon::worker;
use crate::sys::clock::{self, UnixMillis};

/// Exchange once with every remote whose time has come, for cron and timers
///
/// Says nothing if nothing happened, and with --quiet nothing but what went wrong. Remotes that failed are left alone for a
/// while, which grows with each failure to an hour. Open conflicts are no failure here.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wbsync run-once --quiet
  wbsync -C /srv/board run-once --all

Exit codes:
  0  all that was due is done, or nothing was due
  4  a remote can't be reached; it is tried again when its time has come
  5  something was refused, 6 something is damaged: a person must look
  7  a worker runs here, or another command was at work for longer than --wait
  1  anything else; see docs/exit-codes.md")]
pub struct Args {
    /// Try remotes that failed too, before their time has come
    #[arg(long)]
    all: bool,
    /// How long to wait for another command that is at work, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(..=3600))]
    wait: u64,
}

/// Runs it.
///
/// # Errors
/// As `once::run`.
pub fn run(context: &mut Context, args: Args) -> Result<(), Failure> {
    let root = worker::root_of(&context.dir)?;
    let options = Options { all: args.all, patience: Duration::from_secs(args.wait) };
    let round = once::run(&root, options, &told::log(context))?;
    if context.global.json {
        let later: serde_json::Map<_, _> = round
            .later
            .iter()
            .map(|(name, left)| {
                let next = UnixMillis(clock::now().0.saturating_add(left.as_millis() as u64));
                (name.to_string(), next.to_string().into())
            })
            .collect();
        let failed: serde_json::Map<_, _> = round
            .done
            .outcome
            .remotes
            .iter()
            .filter_map(|(name, result)| Some((name.to_string(), told::wrong(result.as_ref().err()?))))
            .collect();
        let stopped = round.done.outcome.stopped.as_ref().map(told::wrong);
        let (tried, exchanged, committed) = (&round.tried, &round.done.exchanged, &round.done.committed);
        let answer = json!({
            "tried": tried.iter().map(|name| name.as_str()).collect::<Vec<_>>(), "later": later, "failed": failed,
            "stopped": stopped, "exchanged": exchanged, "committed": committed,
        });
        context.answer(&answer, "")?;
    }
    if let Some(trouble) = round.trouble() {
        context.exit_with(trouble.code.exit());
    }
    Ok(())
}
