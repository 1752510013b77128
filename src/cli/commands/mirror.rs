//! `wbsync mirror`: the history of scopes as an ordinary git repository.

use std::path::PathBuf;

use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::text::{count, table};
use crate::sync::commit::Mode;
use crate::sync::instance::Purpose;
use crate::transport::git::mirror::Begin;

/// Write the history of scopes as a git repository, to be read with git
///
/// Everything in it is in clear: it is for this machine, and pushing it anywhere publishes what is in it. One branch a scope, one
/// commit for each that was published, one file a record. Calling it again adds what is new. What is withdrawn later leaves the
/// newest files but stays in git's history until `--rebuild`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wbsync mirror --git history.git
  wbsync mirror --git history.git --scope trusted --scope alpha/trusted
  git -C history.git log -p")]
pub struct Args {
    /// Where the repository is, or shall be
    #[arg(long, value_name = "PATH")]
    git: PathBuf,
    /// Which scopes, as `scope list` calls them [default: all public ones]
    #[arg(long, value_name = "SCOPE")]
    scope: Vec<String>,
    /// Begin anew with what is held now, so that nothing older stays
    #[arg(long)]
    rebuild: bool,
    /// Only say what would be written
    #[arg(long, short = 'n')]
    dry_run: bool,
}

/// Runs it.
///
/// # Errors
/// As `Instance::mirror`.
pub fn run(context: &mut Context, args: Args) -> Result<(), Failure> {
    let path = context.dir.join(&args.git);
    let begin = if args.rebuild { Begin::Anew } else { Begin::WhereItEnded };
    let mode = if args.dry_run { Mode::DryRun } else { Mode::Keep };
    let mirrored = context.instance(Purpose::Look)?.mirror(&path, &args.scope, begin, mode)?;
    let rows: Vec<_> = mirrored
        .scopes
        .iter()
        .map(|(scope, found)| {
            let tip = found.tip.as_ref().map_or_else(String::new, |tip| tip[..12].to_owned());
            [scope.clone(), found.branch.clone(), count(found.commits, "new commit"), count(found.files, "file"), tip]
        })
        .collect();
    context.answer(&mirrored, &table("", &rows))?;
    if mode == Mode::Keep {
        context.hint(&format!("what is in {} is in clear; `git -C {} log -p`", path.display(), path.display()));
    }
    Ok(())
}
