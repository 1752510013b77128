//! `wbsync repair`: mend what `fsck` finds.

use super::fsck::{describe, named};
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::text::tame;
use crate::id::name::PeerName;
use crate::sync::commit::Mode;
use crate::sync::error::{Error, exit};
use crate::sync::instance::{Instance, Purpose};
use crate::sync::repair::remote::{Gone, repair_directory};
use crate::sync::repair::repair_here;

/// Mend what `fsck` finds, from whatever still has it, and say what can't be mended
///
/// Without STORE: this instance. Damaged and missing objects come from any remote that has them whole, trees are built again
/// from objects, what is lost everywhere and still in our state is published anew. With a remote's name: that store, from this
/// instance and its other remotes; a hub is asked to take right bytes for an object that is damaged there. With a
/// directory: only its format file, as whoever runs a hub has to. Nothing is guessed: bytes are checked against their names, documents against
/// signatures, trees against signed roots. Ends with 6 if something stays damaged.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wbsync repair --dry-run
  wbsync repair
  wbsync repair stick
  wbsync repair stick --recreate
  wbsync repair /srv/wbsync/store")]
pub struct Args {
    /// The remote to mend, or a directory; otherwise this instance
    store: Option<String>,
    /// The remote's store is lost for good: make a new one in its place, and push everything there
    #[arg(long, requires = "store")]
    recreate: bool,
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
    let purpose = if args.dry_run { Purpose::Look } else { Purpose::Change };
    let repaired = match &args.store {
        None => repair_here(&Instance::root_of(&context.dir)?, mode, context.watcher())?,
        Some(store) if is_directory(context, store) => {
            let watcher = context.watcher();
            repair_directory(&context.dir.join(store), mode, &|event| watcher(event))?
        }
        Some(store) => {
            let (instance, name) = (context.instance(purpose)?, PeerName::new(store).map_err(Error::from)?);
            let gone = if args.recreate { Gone::Recreate } else { Gone::Wait };
            let remote = instance.remotes_or_all(Some(&name))?.remove(0);
            instance.repair_remote(&remote, gone, mode)?
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

/// Tells whether a directory is meant, and no remote of that name.
fn is_directory(context: &Context, store: &str) -> bool {
    let is_named = context.instance(Purpose::Look).is_ok_and(|instance| named(&instance, store).is_some());
    !is_named && context.dir.join(store).is_dir()
}
