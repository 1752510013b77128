//! `wbsync health`: whether everything is as it has to be.

use std::time::Duration;

use anstyle::Style;

use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::text::{ADDED, ERROR, HINT, WARNING, table, tame};
use crate::daemon::health::{self, Options, Verdict};
use crate::daemon::worker;
use crate::sync::error::exit;

/// Check everything that has to be right for exchanges to go on
///
/// Looks at the instance, the worker, the application's database and its mapping, room on the disk, every remote (is it there, how
/// long ago was the last exchange, what waits, do the clocks agree), and what is shared that shouldn't be.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wbsync health
  wbsync health --offline
  wbsync --json health --max-age 3600

Exit codes:
  0  good, perhaps with advice or warnings
  8  something is bad; with --strict, or worth a warning")]
pub struct Args {
    /// Don't ask remotes whether they are there
    #[arg(long)]
    offline: bool,
    /// How old the last exchange with a remote may be, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 86_400)]
    max_age: u64,
    /// Fail on warnings too
    #[arg(long)]
    strict: bool,
}

/// Runs it.
///
/// # Errors
/// There is no instance; what is wrong with it is in the answer.
pub fn run(context: &mut Context, args: Args) -> Result<(), Failure> {
    let root = worker::place_of(&context.dir)?;
    let health = health::examine(&root, Options { ask: !args.offline, age: Duration::from_secs(args.max_age) });
    let mut text = String::new();
    for check in &health.checks {
        let (style, word) = mark(check.verdict);
        let what = check.about.as_ref().map_or(check.check.to_owned(), |about| format!("{} {about}", check.check));
        text += &table("", &[[format!("{style}{word:<7}{style:#}"), format!("{what:<20}"), tame(&check.says)]]);
        if let Some(hint) = check.hint.as_ref().filter(|_| check.verdict != Verdict::Good) {
            text += &format!("         {HINT}hint:{HINT:#} {hint}\n");
        }
    }
    context.answer(&health, &text)?;
    let least = if args.strict { Verdict::Warning } else { Verdict::Bad };
    if health.verdict >= least {
        context.exit_with(exit::FINDINGS);
    }
    Ok(())
}

fn mark(verdict: Verdict) -> (Style, &'static str) {
    match verdict {
        Verdict::Good => (ADDED, "good"),
        Verdict::Advice => (HINT, "advice"),
        Verdict::Warning => (WARNING, "warning"),
        Verdict::Bad => (ERROR, "bad"),
    }
}
