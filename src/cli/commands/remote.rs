//! `wbsync remote`: the stores that we exchange with.

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::text::{count, table};
use crate::id::name::PeerName;
use crate::sync::instance::Purpose;

/// Add, list and remove the stores that we exchange with
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wbsync remote add stick /media/stick/wbsync
  wbsync remote add hub https://hub.example/
  wbsync remote list")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Add a store
    ///
    /// Nothing is opened yet: a stick need not be plugged in. The first push makes a store of a directory that isn't
    /// one. A hub has to let this instance in: `wbsync hub join`.
    #[command(
        after_help = "Examples:\n  wbsync remote add stick /media/stick/wbsync\n  wbsync remote add nas file:///mnt/nas/wbsync\n  wbsync remote add hub https://hub.example/\n  wbsync remote add far eve@far.example:wbsync\n  wbsync remote add git git+ssh://git@git.example/eve/hub.git"
    )]
    Add {
        /// What to call it
        name: PeerName,
        /// Where it is: a directory, https://HOST/, ssh://HOST/PATH or HOST:PATH; or a git repository, git+ssh://,
        /// git+https:// or git+file://, with #refs=refs/heads/wbsync where it takes only branches, and #via=git to have
        /// `git` talk to it
        url: String,
        /// Have the program `git` fetch and push, with its credential helpers: the same as #via=git
        #[arg(long, value_name = "PROGRAM")]
        via: Option<Via>,
    },
    /// List the stores
    #[command(after_help = "Examples:\n  wbsync remote list\n  wbsync --json remote list")]
    List,
    /// Remove a store from the list; what was fetched from it stays
    #[command(after_help = "Examples:\n  wbsync remote remove stick")]
    Remove {
        /// Which one
        name: PeerName,
    },
}

/// Who talks to a git repository, if not wbsync itself.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Via {
    /// The program `git`.
    Git,
}

/// Runs it.
///
/// # Errors
/// As the library's functions of the same names.
pub fn run(context: &mut Context, args: Args) -> Result<(), Failure> {
    match args.command {
        Command::Add { name, mut url, via } => {
            if let Some(Via::Git) = via {
                if !url.starts_with("git+") {
                    return Err(Failure::Usage(
                        "--via is for git repositories: git+ssh://, git+https:// or git+file://".into(),
                    ));
                }
                url += if url.contains('#') { "&via=git" } else { "#via=git" };
            }
            let url = context.instance(Purpose::Change)?.remote_add(&name, &url, &context.dir)?;
            context.answer(&json!({ "name": name, "url": url.to_string() }), &format!("added {name}: {url}\n"))
        }
        Command::List => {
            let remotes = context.instance(Purpose::Look)?.remotes_status()?;
            let rows: Vec<_> = remotes.iter().map(|remote| [remote.name.clone(), remote.url.clone()]).collect();
            context.answer(&json!({ "remotes": remotes }), &table("", &rows))?;
            if remotes.is_empty() {
                context.hint("there are none yet: `wbsync remote add NAME PATH`");
            }
            Ok(())
        }
        Command::Remove { name } => {
            let left = context.instance(Purpose::Change)?.remote_remove(&name)?;
            let mut text = format!("removed {name}\n");
            if left.unremoved > 0 {
                let objects = count(left.unremoved, "object");
                text += &format!("left there: {objects} with withdrawn records, which nobody removes now\n");
            }
            context.answer(
                &json!({ "removed": name, "was_pushed": left.was_pushed, "unremoved": left.unremoved }),
                &text,
            )?;
            if left.unremoved > 0 {
                context.hint("whoever keeps that store can remove what no head names: `wbsync gc DIRECTORY`");
            } else if left.was_pushed {
                context.hint("what was pushed there stays, also what is withdrawn later");
            }
            Ok(())
        }
    }
}
