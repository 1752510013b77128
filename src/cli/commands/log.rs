//! `wbsync log`: the commits that we hold.

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::text::{ID, by_name, count};
use crate::sync::inspect::LogEntry;
use crate::sync::instance::Purpose;

/// List the commits that we hold, newest first
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wbsync log
  wbsync log beta/public -n 5 --oneline")]
pub struct Args {
    /// A scope: `public`, `beta/public`; otherwise all
    scope: Option<String>,
    /// At most so many
    #[arg(short = 'n', long = "max-count", value_name = "N", default_value_t = 100)]
    limit: usize,
    /// One line each
    #[arg(long)]
    oneline: bool,
}

/// Runs it.
///
/// # Errors
/// As `Instance::log`.
pub fn run(context: &mut Context, args: Args) -> Result<(), Failure> {
    let entries = context.instance(Purpose::Look)?.log(args.scope.as_deref(), args.limit)?;
    let text = if args.oneline {
        entries.iter().map(one_line).collect()
    } else {
        entries.iter().map(paragraph).collect::<Vec<_>>().join("\n")
    };
    context.answer(&json!({ "commits": entries }), &text)?;
    if entries.is_empty() {
        context.hint("there is no commit yet: `wbsync commit` makes one");
    }
    Ok(())
}

fn one_line(entry: &LogEntry) -> String {
    let total = entry.records.values().sum();
    let time = entry.time.map_or_else(|| "merge".to_owned(), |time| time.to_string());
    let author = entry.author.as_deref().map(|author| format!(" by {author}")).unwrap_or_default();
    let scope = &entry.scope;
    format!("{ID}{}{ID:#} {time} {scope}{author}: {}{}\n", entry.commit.short(), count(total, "record"), refs(entry))
}

/// Writes a commit with all that is known of it.
pub fn paragraph(entry: &LogEntry) -> String {
    let mut text = format!("{ID}commit {}{ID:#}{}\nscope    {}\n", entry.commit, refs(entry), entry.scope);
    match (&entry.author, entry.time) {
        (Some(author), Some(time)) => text += &format!("author   {author}\ndate     {time}\n"),
        _ => {
            let parents: Vec<_> = entry.parents.iter().map(|parent| parent.short()).collect();
            text += &format!("merge    {}\n", parents.join(" "));
        }
    }
    let records = if entry.records.is_empty() { "none".into() } else { by_name(&entry.records) };
    text + &format!("records  {records}\n")
}

fn refs(entry: &LogEntry) -> String {
    if entry.refs.is_empty() { String::new() } else { format!(" ({})", entry.refs.join(", ")) }
}
