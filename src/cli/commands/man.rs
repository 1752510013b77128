//! `wbsync man`: manual pages, of this very version.

use std::path::PathBuf;

use clap::CommandFactory;
use clap_mangen::Man;
use serde_json::json;

use crate::cli::arguments::CommandLine;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::sync::error::Error;

/// Write manual pages: all of them to a directory, or the first to stdout
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wbsync man | man -l -
  wbsync man ~/.local/share/man/man1")]
pub struct Args {
    /// An existing directory
    #[arg(value_name = "DIR")]
    pages: Option<PathBuf>,
}

/// Runs it.
///
/// # Errors
/// A page can't be written.
pub fn run(context: &mut Context, args: Args) -> Result<(), Failure> {
    let Some(directory) = args.pages else {
        let mut page = Vec::new();
        Man::new(CommandLine::command()).render(&mut page).map_err(Failure::Output)?;
        let page = String::from_utf8(page).expect("pages are made of our own texts");
        return context.answer(&json!({ "page": page }), &page);
    };
    let directory = context.dir.join(directory);
    clap_mangen::generate_to(CommandLine::command(), &directory)
        .map_err(Error::io("write manual pages to", &directory))?;
    let text = format!("wrote manual pages to {}\n", directory.display());
    context.answer(&json!({ "directory": directory }), &text)
}
