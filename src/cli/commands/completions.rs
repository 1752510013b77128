//! `wbsync completions`: what a shell needs to complete our command lines.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::arguments::CommandLine;
use crate::cli::context::Context;
use crate::cli::failure::Failure;

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wbsync completions bash > ~/.local/share/bash-completion/completions/wbsync
  wbsync completions fish > ~/.config/fish/completions/wbsync.fish")]
pub struct Args {
    /// The shell
    shell: Shell,
}

/// Runs it.
///
/// # Errors
/// `Output`.
pub fn run(context: &mut Context, args: Args) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut CommandLine::command(), "wbsync", &mut script);
    let script = String::from_utf8(script).expect("scripts are made of our own texts");
    context.answer(&serde_json::json!({ "shell": args.shell.to_string(), "script": script }), &script)
}
