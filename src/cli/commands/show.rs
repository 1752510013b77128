//! `wbsync show`: one record, commit or scope.

use super::{log, scope};
use crate::cli::commands::diff::value_text;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::text::{HEADING, WARNING, on_one_line};
use crate::sync::inspect::Shown;
use crate::sync::instance::Purpose;
use crate::sync::show::Found;

/// Show a record with all its values, a commit, or a scope
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wbsync show requests/0198f3a1
  wbsync show 27f3a1b2
  wbsync show beta/public")]
pub struct Args {
    /// A record (`dataset/key` or the first digits of the key), the first digits of a commit, or a scope
    #[arg(value_name = "RECORD|COMMIT|SCOPE")]
    what: String,
}

/// Runs it.
///
/// # Errors
/// As `Instance::show`.
pub fn run(context: &mut Context, args: Args) -> Result<(), Failure> {
    let found = context.instance(Purpose::Look)?.show(&args.what)?;
    let text = match &found {
        Found::Scope(shown) => scope::describe(shown),
        Found::Commit(entry) => log::paragraph(entry),
        Found::Record(shown) => describe(shown),
    };
    context.answer(&found, &text)
}

fn describe(shown: &Shown) -> String {
    let row = shown.row.as_deref().map_or_else(|| "none here".to_owned(), on_one_line);
    let mut text = format!("{HEADING}record {}{HEADING:#}\n", shown.record);
    text += &format!("origin  {}\nscope   {}\nrow     {row}\n", shown.origin, shown.scope);
    for (field, elements) in &shown.fields {
        if let [element] = &elements[..] {
            let scope = shown.also.get(field).map(|scope| format!(", in {scope}")).unwrap_or_default();
            let value = value_text(&element.value);
            text += &format!("{field}: {value}\n    by {}, {}{scope}\n", element.author, element.time);
        } else {
            text += &format!("{WARNING}{field}: conflict{WARNING:#}\n");
            for element in elements {
                text += &format!("  - {}\n    by {}, {}\n", value_text(&element.value), element.author, element.time);
            }
        }
    }
    text
}
