//! The commands, one per file, and what runs them.

pub mod blame;
pub mod bundle;
pub mod clone;
pub mod commit;
pub mod completions;
pub mod config;
pub mod conflicts;
pub mod db;
pub mod db_map;
pub mod debug;
pub mod diff;
pub mod export_identity;
pub mod fetch;
pub mod follow;
pub mod fsck;
pub mod gc;
pub mod group;
pub mod health;
pub mod hub;
pub mod id;
pub mod init;
pub mod log;
pub mod man;
pub mod merge;
pub mod metrics;
#[cfg(feature = "git")]
pub mod mirror;
pub mod peer;
pub mod privacy;
pub mod prove;
pub mod prune;
pub mod pull;
pub mod push;
pub mod remote;
pub mod repair;
pub mod resolve;
pub mod restore;
pub mod revert;
pub mod run;
pub mod run_once;
pub mod scope;
pub mod serve;
pub mod show;
pub mod shun;
pub mod standing;
pub mod status;
pub mod sync;
pub mod unfollow;
pub mod unshun;
pub mod verify_proof;

use std::process::ExitCode;

use clap::Parser;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::arguments::{Command, CommandLine};
use super::context::{Context, say};
use super::failure::{Failure, plain_json};
use crate::sync::error::exit;

/// Runs the program.
pub fn main() -> ExitCode {
    let line = match CommandLine::try_parse() {
        Ok(line) => line,
        Err(error) => return refuse(&helpful(error)),
    };
    let json = line.global.json;
    let run = Context::new(line.global).and_then(|mut context| {
        dispatch(&mut context, line.command)?;
        Ok(context.exit_code())
    });
    let failure = match run {
        Ok(code) => return code.into(),
        Err(failure) => failure,
    };
    let text = if json { failure.json().map(|json| json.to_string()) } else { failure.text() };
    if let Some(text) = text {
        say(&text);
    }
    failure.exit_code().into()
}

fn dispatch(context: &mut Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::Init(args) => init::run(context, args),
        Command::Db(args) => db::run(context, args),
        Command::Clone(args) => clone::run(context, args),
        Command::Id(args) => id::run(context, args),
        Command::Peer(args) => peer::run(context, args),
        Command::Group(args) => group::run(context, args),
        Command::Follow(args) => follow::run(context, args),
        Command::Unfollow(args) => unfollow::run(context, args),
        Command::Remote(args) => remote::run(context, args),
        Command::Scope(args) => scope::run(context, args),
        Command::Privacy(args) => privacy::run(context, args),
        Command::Commit(args) => commit::run(context, args),
        Command::Fetch(args) => fetch::run(context, args),
        Command::Merge(args) => merge::run(context, args),
        #[cfg(feature = "git")]
        Command::Mirror(args) => mirror::run(context, args),
        Command::Push(args) => push::run(context, args),
        Command::Pull(args) => pull::run(context, args),
        Command::Sync(args) => sync::run(context, args),
        Command::Status(args) => status::run(context, args),
        Command::Log(args) => log::run(context, args),
        Command::Show(args) => show::run(context, args),
        Command::Diff(args) => diff::run(context, args),
        Command::Blame(args) => blame::run(context, args),
        Command::Conflicts(args) => conflicts::run(context, args),
        Command::Resolve(args) => resolve::run(context, args),
        Command::Bundle(args) => bundle::run(context, args),
        Command::Fsck(args) => fsck::run(context, args),
        Command::Prune(args) => prune::run(context, args),
        Command::Gc(args) => gc::run(context, args),
        Command::Repair(args) => repair::run(context, args),
        Command::ExportIdentity(args) => export_identity::run(context, args),
        Command::Restore(args) => restore::run(context, args),
        Command::Revert(args) => revert::run(context, args),
        Command::Shun(args) => shun::run(context, args),
        Command::Unshun(args) => unshun::run(context, args),
        Command::Prove(args) => prove::run(context, args),
        Command::VerifyProof(args) => verify_proof::run(context, args),
        Command::Debug(args) => debug::run(context, args),
        Command::Run(args) => run::run(context, args),
        Command::RunOnce(args) => run_once::run(context, args),
        Command::Config(args) => config::run(context, args),
        Command::Health(args) => health::run(context, args),
        Command::Metrics(args) => metrics::run(context, args),
        Command::Serve(args) => serve::run(context, args),
        Command::Hub(args) => hub::run(context, args),
        Command::Completions(args) => completions::run(context, args),
        Command::Man(args) => man::run(context, args),
    }
}

/// Leaves of clap's suggestions what helps: the likeliest command alone, and no advice to pass a mistyped option as a value.
fn helpful(mut error: clap::Error) -> clap::Error {
    let best = match error.get(ContextKind::SuggestedSubcommand) {
        // The likeliest comes last.
        Some(ContextValue::Strings(names)) => names.last().cloned(),
        _ => None,
    };
    if let Some(best) = best {
        error.insert(ContextKind::SuggestedSubcommand, ContextValue::String(best));
    }
    if error.kind() == ErrorKind::UnknownArgument {
        error.remove(ContextKind::Suggested);
    }
    error
}

/// Shows what clap has to say: help and version on stdout, the rest on stderr, as JSON if that was asked for.
fn refuse(error: &clap::Error) -> ExitCode {
    let wants_json = std::env::args_os().any(|arg| arg == "--json");
    if wants_json && error.use_stderr() && error.kind() != ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let text = error.to_string();
        let message = text.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ").trim();
        say(&plain_json("usage", message, &[]).to_string());
    } else if let Err(error) = error.print()
        && error.kind() != std::io::ErrorKind::BrokenPipe
    {
        return exit::ERROR.into();
    }
    if error.use_stderr() { exit::USAGE.into() } else { ExitCode::SUCCESS }
}
