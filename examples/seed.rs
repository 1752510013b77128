//! Makes or edits a made-up application database: `seed --records 100000 --seed 7 out.db`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use wbsync::testing::whiteballoon::edit::edit;
use wbsync::testing::whiteballoon::seed::{Seed, SeedError, create};

/// Makes a realistic application database, or edits one; equal arguments give equal files.
#[derive(Parser)]
struct Args {
    /// The database: created, or with --edit changed.
    file: PathBuf,
    /// Rows of the tables that can be synced, all together.
    #[arg(long, default_value_t = 1000, conflicts_with = "edit")]
    records: u64,
    /// Where the random sequence starts.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A word that goes, with a number, into every text that must never leave, and nowhere else.
    #[arg(long, value_name = "WORD", conflicts_with = "edit")]
    canary: Option<String>,
    /// Goes before every user name.
    #[arg(long, value_name = "PREFIX", default_value = "", conflicts_with = "edit")]
    username_prefix: String,
    /// Integer keys begin after this number.
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "edit")]
    offset_ids: u32,
    /// Makes this many edits in an existing database instead.
    #[arg(long, value_name = "N")]
    edit: Option<u64>,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(made) => {
            anstream::println!("{made}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            anstream::eprintln!("error: {error}{cause}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<String, SeedError> {
    if let Some(count) = args.edit {
        let made = edit(&args.file, count, args.seed)?;
        return Ok(format!("{} edits: {made:?}", made.total()));
    }
    let options = Seed {
        records: args.records,
        seed: args.seed,
        canary: args.canary.clone(),
        username_prefix: args.username_prefix.clone(),
        id_offset: args.offset_ids.into(),
    };
    let made = create(&args.file, &options)?;
    Ok(format!("{} records: {made:?}", made.total()))
}
