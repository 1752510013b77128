//! `wbsync conflicts`: the fields that hold several values.

use serde_json::json;

use super::diff::value_text;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::text::{HEADING, count, on_one_line};
use crate::sync::error::exit;
use crate::sync::instance::Purpose;
use crate::sync::resolve::Conflict;

/// List the fields that were edited on several sides at the same time
///
/// All values are kept until somebody settles it with `wbsync resolve`, or edits the field in the application; until then the
/// application shows the latest. Ends with exit code 3 if there are any.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wbsync conflicts
  wbsync conflicts requests/0198f3a1
  wbsync conflicts --json")]
pub struct Args {
    /// Only those of a record (`dataset/key` or the first digits of the key), or of one of its fields
    #[arg(value_name = "RECORD[.FIELD]")]
    what: Option<String>,
}

/// Runs it.
///
/// # Errors
/// As `Instance::conflicts`.
pub fn run(context: &mut Context, args: Args) -> Result<(), Failure> {
    let conflicts = context.instance(Purpose::Look)?.conflicts(args.what.as_deref())?;
    if conflicts.is_empty() {
        return context.answer(&json!({ "conflicts": conflicts }), "no conflicts\n");
    }
    let list: Vec<String> = conflicts.iter().map(describe).collect();
    let number = count(conflicts.len() as u64, "conflict");
    context.answer(&json!({ "conflicts": conflicts }), &format!("{number}\n\n{}", list.join("\n")))?;
    context.hint("settle them with `wbsync resolve RECORD.FIELD --take AUTHOR`, or edit the rows in the application");
    context.exit_with(exit::CONFLICTS);
    Ok(())
}

/// Writes a conflict with all its sides.
pub fn describe(conflict: &Conflict) -> String {
    let row = conflict.row.as_deref().map_or_else(|| "none here".to_owned(), on_one_line);
    let mut text = format!("{HEADING}{}.{}{HEADING:#}\n", conflict.record, conflict.field);
    text += &format!("  scope   {}\n  row     {row}\n", conflict.scope);
    if let Some(base) = &conflict.base {
        text += &format!("  before  {}\n", value_text(base));
    }
    for (index, side) in conflict.sides.iter().enumerate() {
        let ours = if side.ours { " (ours)" } else { "" };
        let shown = if index == 0 { ", shown" } else { "" };
        text += &format!(
            "  {}. {}\n     by {}{ours}, {}{shown}\n",
            index + 1,
            value_text(&side.value),
            side.author,
            side.time
        );
    }
    text
}
