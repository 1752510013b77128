//! `wbsync unshun`: a shunned record may come back.

use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::sync::commit::Mode;
use crate::sync::instance::Purpose;

/// Bring a shunned record back, as it is now
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wbsync unshun requests/0198")]
pub struct Args {
    /// The record, as `dataset/key` or the first digits of its key
    record: String,
    /// Only say what would come back
    #[arg(long)]
    dry_run: bool,
}

/// Runs it.
///
/// # Errors
/// As `Instance::unshun`.
pub fn run(context: &mut Context, args: Args) -> Result<(), Failure> {
    let mode = if args.dry_run { Mode::DryRun } else { Mode::Keep };
    let shun = context.instance(Purpose::Change)?.unshun(&args.record, mode)?;
    let verb = if args.dry_run { "would bring back" } else { "brought back" };
    context.answer(&shun, &format!("{verb} {} of {}\n", shun.record, shun.origin))
}
