//! `wbsync db`: the application's database, and how its tables are mapped.

use super::db_map;
use crate::cli::context::Context;
use crate::cli::failure::Failure;

/// Look at the application's database: how its tables can be mapped
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wbsync db map --db sqlite:///data/app.db > wbsync.toml
  wbsync db map --check")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Map(db_map::Args),
}

/// Runs it.
///
/// # Errors
/// As `db_map::run`.
pub fn run(context: &mut Context, args: Args) -> Result<(), Failure> {
    match args.command {
        Command::Map(args) => db_map::run(context, &args),
    }
}
