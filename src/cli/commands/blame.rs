//! `wbsync blame`: who wrote each field of a record.

use super::diff::value_text;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::text::{HEADING, ID, WARNING, on_one_line, table};
use crate::sync::blame::{Blame, BlamedWrite};
use crate::sync::instance::Purpose;

/// Show who wrote each field of a record, when, and in which commit
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wbsync blame requests/0198f3a1
  wbsync blame 0198f3a1 --json")]
pub struct Args {
    /// A record: `dataset/key`, or the first digits of the key
    record: String,
}

/// Runs it.
///
/// # Errors
/// As `Instance::blame`.
pub fn run(context: &mut Context, args: Args) -> Result<(), Failure> {
    let blame = context.instance(Purpose::Look)?.blame(&args.record)?;
    context.answer(&blame, &describe(&blame))
}

fn describe(blame: &Blame) -> String {
    let row = blame.row.as_deref().map_or_else(|| "none here".to_owned(), on_one_line);
    let mut text = format!("{HEADING}record {}{HEADING:#}\n", blame.record);
    text += &format!("origin  {}\nscope   {}\nrow     {row}\n\n", blame.origin, blame.scope);
    let mut rows = Vec::new();
    for (name, field) in &blame.fields {
        for (index, write) in field.writes.iter().enumerate() {
            let BlamedWrite { value, author, time, commit } = write;
            let commit = commit.map_or_else(|| "older   ".to_owned(), |commit| commit.short());
            let name = if index == 0 { name.clone() } else { String::new() };
            rows.push([commit, author.clone(), time.to_string(), name, value_text(value)]);
        }
    }
    text += &table("", &rows);
    let open: Vec<&str> = blame.fields.iter().filter(|(_, field)| field.open).map(|(name, _)| name.as_str()).collect();
    if !open.is_empty() {
        text += &format!("{WARNING}conflict: {}{WARNING:#}\n", open.join(", "));
    }
    for (name, field) in blame.fields.iter().filter(|(_, field)| !field.open && field.writes.len() > 1) {
        text += &format!("{ID}{name}{ID:#} shows {}\n", value_text(&field.shown));
    }
    text
}
