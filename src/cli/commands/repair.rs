//! `wbsync repair`: mend what `fsck` finds.

use super::fsck::describe;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::text::tame;
use crate::id::name::PeerName;
use crate::sync::commit::Mode;
use crate::sync::error::exit;
use crate::sync::instance::Purpose;

/// Mend what `fsck` finds, from whatever still has it, and say what can't be mended
///
/// Without REMOTE: this instance. Damaged and missing objects come from any remote that has them whole, trees are built again
/// from objects, what is lost everywhere and still in our state is published anew. With REMOTE: that store, from this
/// instance and its other remotes. Nothing is guessed: bytes are checked against their names, documents against
/// signatures, trees against signed roots. Ends with 6 if something stays damaged.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wbsync repair --dry-run
  wbsync repair
  wbsync repair stick")]
pub struct Args {
    /// The remote to mend; otherwise this instance
    remote: Option<PeerName>,
    /// Only say what is wrong
    #[arg(long, short = 'n')]
    dry_run: bool,
}

/// Runs it.
///
/// # Errors
/// As `Instance::repair`.
pub fn run(context: &mut Context, args: Args) -> Result<(), Failure> {
    let mode = if args.dry_run { Mode::DryRun } else { Mode::Keep };
    let instance = context.instance(if args.dry_run { Purpose::Look } else { Purpose::Change })?;
    let repaired = match &args.remote {
        None => instance.repair(mode)?,
        Some(remote) => {
            let remote = instance.remotes_or_all(Some(remote))?.remove(0);
            instance.repair_remote(&remote, mode)?
        }
    };
    let done: String = repaired.done.iter().map(|line| format!("{}\n", tame(line))).collect();
    context.answer(&repaired, &(done + &describe(&repaired.left)))?;
    for (remote, why) in &repaired.unreachable {
        context.warn(&format!("{remote} could not be asked: {why}"));
    }
    if repaired.left.is_damaged() {
        context.exit_with(exit::DAMAGED);
    }
    Ok(())
}
