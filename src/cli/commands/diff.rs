//! `wbsync diff`: what changed between two commits.

use serde_json::{Value, json};

use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::text::{ADDED, HEADING, REMOVED, tame};
use crate::sync::inspect::RecordDiff;
use crate::sync::instance::Purpose;

/// Show how records differ between two commits of a scope
///
/// A commit is given by its first digits, or by a scope's name for the newest one there. With one commit, it is
/// compared with its parent.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "wbsync diff [OPTIONS] [FROM] <TO>",
    after_help = "\
Examples:
  wbsync diff public
  wbsync diff 27f3a1b2 94c01d7e"
)]
pub struct Args {
    /// The commits: FROM and TO, or only TO
    #[arg(value_name = "COMMIT", num_args = 1..=2, required = true)]
    commits: Vec<String>,
}

/// Runs it.
///
/// # Errors
/// As `Instance::diff`.
pub fn run(context: &mut Context, args: Args) -> Result<(), Failure> {
    let (from, to) = match &args.commits[..] {
        [to] => (None, to),
        [from, to] => (Some(from.as_str()), to),
        _ => unreachable!("clap takes one or two"),
    };
    let records = context.instance(Purpose::Look)?.diff(from, to)?;
    let text: String = records.iter().map(describe).collect();
    context.answer(&json!({ "records": records }), &text)
}

fn describe(diff: &RecordDiff) -> String {
    let mut text = format!("{HEADING}{} {}{HEADING:#}\n", diff.change, diff.record);
    for (field, (old, new)) in &diff.fields {
        if let Some(old) = old {
            text += &format!("  {REMOVED}- {field}: {}{REMOVED:#}\n", value_text(old));
        }
        if let Some(new) = new {
            text += &format!("  {ADDED}+ {field}: {}{ADDED:#}\n", value_text(new));
        }
    }
    text
}

/// Writes a value on one line, harmless to a terminal.
pub fn value_text(value: &Value) -> String {
    tame(&value.to_string())
}
