//! `wbsync shun`: a record of another instance goes from here and never comes back.

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::text::table;
use crate::sync::commit::Mode;
use crate::sync::instance::Purpose;

/// Remove a record of another instance here, for good
///
/// Its row goes from the application and no sync brings it back. Nothing is deleted anywhere else, and nobody is told.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wbsync shun requests/0198
  wbsync shun --list
  wbsync unshun requests/0198")]
pub struct Args {
    /// The record, as `dataset/key` or the first digits of its key
    #[arg(required_unless_present = "list", conflicts_with = "list")]
    record: Option<String>,
    /// List what is shunned
    #[arg(long)]
    list: bool,
    /// Only say what would be removed
    #[arg(long, conflicts_with = "list")]
    dry_run: bool,
}

/// Runs it.
///
/// # Errors
/// As `Instance::shun`.
pub fn run(context: &mut Context, args: Args) -> Result<(), Failure> {
    let Some(record) = args.record else {
        let shunned = context.instance(Purpose::Look)?.shunned()?;
        let rows: Vec<_> =
            shunned.iter().map(|shun| [shun.record.clone(), shun.origin.clone(), shun.since.to_string()]).collect();
        context.answer(&json!({ "shunned": shunned }), &table("", &rows))?;
        if shunned.is_empty() {
            context.hint("nothing is shunned here; `wbsync shun RECORD` does");
        }
        return Ok(());
    };
    let mode = if args.dry_run { Mode::DryRun } else { Mode::Keep };
    let shun = context.instance(Purpose::Change)?.shun(&record, mode)?;
    let verb = if args.dry_run { "would shun" } else { "shunned" };
    context.answer(&shun, &format!("{verb} {} of {}\n", shun.record, shun.origin))?;
    if mode == Mode::Keep {
        context.hint("it stays with everybody else; `wbsync unshun` brings it back here");
    }
    Ok(())
}
