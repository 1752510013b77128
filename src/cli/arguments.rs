//! The grammar of the command line: global options and the list of commands.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::{commands, groups};

/// git for records between self-hosted instances
#[derive(Debug, Parser)]
#[command(name = "wbsync", version, arg_required_else_help = true, max_term_width = 100, after_help = OVERVIEW, help_template = groups::template())]
pub struct CommandLine {
    /// What holds for every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Run as if started in DIR
    #[arg(short = 'C', value_name = "DIR", global = true)]
    pub directory: Option<PathBuf>,
    /// Answer with one JSON object; errors are JSON on stderr
    #[arg(long, global = true)]
    pub json: bool,
    /// Say nothing but results and errors
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Tell about each step
    #[arg(short, long, global = true, conflicts_with = "quiet")]
    pub verbose: bool,
    /// How `run`, `run-once` and `serve` write their log: text or json
    #[arg(long, value_name = "FORMAT", hide_possible_values = true, global = true)]
    pub log_format: Option<LogFormat>,
    /// Don't put long output through a pager
    #[arg(long, global = true)]
    pub no_pager: bool,
    /// When to use colours: auto, always, never
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "auto",
        hide_default_value = true,
        hide_possible_values = true,
        global = true
    )]
    pub color: Color,
}

/// How a log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// A line for people
    Text,
    /// A line of JSON
    Json,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// The commands; `groups` has the order of the help.
#[derive(Debug, Subcommand)]
#[allow(missing_docs, reason = "the help of each is in its own file")]
pub enum Command {
    Init(commands::init::Args),
    Clone(commands::clone::Args),
    Db(commands::db::Args),
    Id(commands::id::Args),
    Peer(commands::peer::Args),
    Group(commands::group::Args),
    Follow(commands::follow::Args),
    Unfollow(commands::unfollow::Args),
    Remote(commands::remote::Args),
    Scope(commands::scope::Args),
    Privacy(commands::privacy::Args),
    Commit(commands::commit::Args),
    Fetch(commands::fetch::Args),
    Merge(commands::merge::Args),
    #[cfg(feature = "git")]
    Mirror(commands::mirror::Args),
    Push(commands::push::Args),
    Pull(commands::pull::Args),
    Sync(commands::sync::Args),
    Status(commands::status::Args),
    Log(commands::log::Args),
    Show(commands::show::Args),
    Diff(commands::diff::Args),
    Blame(commands::blame::Args),
    Conflicts(commands::conflicts::Args),
    Resolve(commands::resolve::Args),
    Revert(commands::revert::Args),
    Shun(commands::shun::Args),
    Unshun(commands::unshun::Args),
    Bundle(commands::bundle::Args),
    Fsck(commands::fsck::Args),
    Repair(commands::repair::Args),
    Prune(commands::prune::Args),
    Gc(commands::gc::Args),
    ExportIdentity(commands::export_identity::Args),
    Restore(commands::restore::Args),
    Prove(commands::prove::Args),
    VerifyProof(commands::verify_proof::Args),
    Debug(commands::debug::Args),
    Run(commands::run::Args),
    RunOnce(commands::run_once::Args),
    Config(commands::config::Args),
    Health(commands::health::Args),
    Metrics(commands::metrics::Args),
    Serve(commands::serve::Args),
    Hub(commands::hub::Args),
    Completions(commands::completions::Args),
    Man(commands::man::Args),
}

const OVERVIEW: &str = "\
Examples:
  wbsync init --db sqlite:///data/app.db --preset whiteballoon
  wbsync remote add stick /media/stick/wbsync
  wbsync sync

Environment:
  WBSYNC_DIR   the application's directory, instead of searching upwards for .wbsync
  WBSYNC_SSH   what to run instead of `ssh`, with options, for ssh:// remotes
  HTTPS_PROXY, SSL_CERT_FILE   the way to hubs, and whose certificates count
  NO_COLOR     no colours
  WBSYNC_PAGER, PAGER   what shows output that is longer than the terminal, instead of `less`; empty: nothing

Exit codes:
  0  done                         5  refused: a signature, a right, a rollback
  1  failed for another reason    6  something is damaged
  2  the command line is wrong    7  somebody else is at work
  3  done; conflicts are open     8  a check or an audit found something
  4  a remote can't be reached    75 something changed meanwhile: run it again";
