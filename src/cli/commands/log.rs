//! `wbsync log`: the commits that we hold, or those that changed a record.

use serde_json::json;

use super::diff::value_text;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::text::{ID, WARNING, by_name, count};
use crate::sync::blame::RecordLogEntry;
use crate::sync::error::Error;
use crate::sync::inspect::LogEntry;
use crate::sync::instance::Purpose;

/// List the commits that we hold, newest first; of a record, those that changed it
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wbsync log
  wbsync log beta/public -n 5 --oneline
  wbsync log requests/0198f3a1")]
pub struct Args {
    /// A scope (`public`, `beta/public`) or a record (`requests/0198f3a1`); otherwise all
    #[arg(value_name = "SCOPE|RECORD")]
    what: Option<String>,
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
    let instance = context.instance(Purpose::Look)?;
    let entries = match instance.log(args.what.as_deref(), args.limit) {
        // What is no scope may be a record.
        Err(Error::NotFound { .. }) if args.what.as_ref().is_some_and(|text| text.contains('/')) => {
            let text = args.what.as_deref().unwrap_or_default();
            match instance.log_record(text, args.limit) {
                Err(Error::NotFound { .. } | Error::Name(_)) => {
                    return Err(Error::NotFound { what: format!("scope or record {text:?}") }.into());
                }
                entries => return show_record(context, &entries?, args.oneline),
            }
        }
        entries => entries?,
    };
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

fn show_record(context: &Context, entries: &[RecordLogEntry], oneline: bool) -> Result<(), Failure> {
    let text = entries.iter().map(|change| {
        let entry = &change.entry;
        let fields = change.change.fields.keys().cloned().collect::<Vec<_>>().join(", ");
        if oneline {
            let what = format!("{} {fields}", change.change.change);
            return format!("{}: {}{}\n", one_line_start(entry), what.trim_end(), refs(entry));
        }
        let mut text = start(entry);
        if change.change.change == "removed" {
            return text + "  the record was removed\n";
        }
        for (field, (old, new)) in &change.change.fields {
            let shown = |value: &Option<serde_json::Value>| value.as_ref().map_or_else(|| "–".into(), value_text);
            text += &match old {
                Some(_) if old == new => format!("  {field}: settled as {}\n", shown(new)),
                Some(_) => format!("  {field}: {} → {}\n", shown(old), shown(new)),
                None => format!("  {field}: {}\n", shown(new)),
            };
        }
        for field in &change.open {
            text += &format!("  {WARNING}conflict: {field}{WARNING:#}\n");
        }
        text
    });
    let text = text.collect::<Vec<_>>().join(if oneline { "" } else { "\n" });
    context.answer(&json!({ "commits": entries }), &text)
}

fn one_line(entry: &LogEntry) -> String {
    let total = entry.records.values().sum();
    format!("{}: {}{}\n", one_line_start(entry), count(total, "record"), refs(entry))
}

fn one_line_start(entry: &LogEntry) -> String {
    let time = entry.time.map_or_else(|| "merge".to_owned(), |time| time.to_string());
    let author = entry.author.as_deref().map(|author| format!(" by {author}")).unwrap_or_default();
    let scope = &entry.scope;
    format!("{ID}{}{ID:#} {time} {scope}{author}", entry.commit.short())
}

/// Writes a commit with all that is known of it.
pub fn paragraph(entry: &LogEntry) -> String {
    let records = if entry.records.is_empty() { "none".into() } else { by_name(&entry.records) };
    start(entry) + &format!("records  {records}\n")
}

fn start(entry: &LogEntry) -> String {
    let mut text = format!("{ID}commit {}{ID:#}{}\nscope    {}\n", entry.commit, refs(entry), entry.scope);
    match (&entry.author, entry.time) {
        (Some(author), Some(time)) => text += &format!("author   {author}\ndate     {time}\n"),
        _ => {
            let parents: Vec<_> = entry.parents.iter().map(|parent| parent.short()).collect();
            text += &format!("merge    {}\n", parents.join(" "));
        }
    }
    text
}

fn refs(entry: &LogEntry) -> String {
    if entry.refs.is_empty() { String::new() } else { format!(" ({})", entry.refs.join(", ")) }
}
