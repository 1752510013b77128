//! `wbsync privacy`: who is shown what, why, and how to say so.

use std::io::{IsTerminal, Write};

use serde_json::json;

use super::diff::value_text;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::text::{HEADING, WARNING, count, grouped, mode_of, on_one_line, planned, table, tame};
use crate::connector::contract::Rows;
use crate::sync::commit::Mode;
use crate::sync::confirm::Confirmations;
use crate::sync::error::{Error, exit};
use crate::sync::instance::{Instance, Purpose};
use crate::sync::late::LateEdit;
use crate::sync::privacy::audit::Finding;
use crate::sync::privacy::explain::Explanation;
use crate::sync::privacy::rows::{Marked, SharedRow, Sharing};

/// Say who is shown what, and see why
///
/// A row is named by its record, `requests/01a2b3`, or by the application's own key, `requests#17`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wbsync privacy list
  wbsync privacy set requests#17 group:board
  wbsync privacy explain requests#17
  wbsync privacy audit")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Count the rows that each scope shares, and those that stay home
    #[command(after_help = "Examples:\n  wbsync privacy list\n  wbsync privacy list requests --rows")]
    List {
        /// Only this dataset
        dataset: Option<String>,
        /// List the rows too
        #[arg(long)]
        rows: bool,
    },
    /// Say for whom rows are meant; it takes effect at the next commit
    ///
    /// Writes the application's scope column, or a rule beside a table that has none.
    #[command(after_help = "\
Examples:
  wbsync privacy set requests#17 trusted
  wbsync privacy set --dataset requests --where \"status = 'completed'\" public --dry-run")]
    Set {
        /// The row, then the scope: private, public, trusted, group:NAME, peers:NAME,NAME
        #[arg(value_names = ["RECORD", "SCOPE"], num_args = 1..=2, required = true)]
        what: Vec<String>,
        /// The dataset of a condition
        #[arg(long, requires = "condition")]
        dataset: Option<String>,
        /// All own rows that meet this condition on the table's columns, instead of one row
        #[arg(long = "where", value_name = "SQL", requires = "dataset")]
        condition: Option<String>,
        /// Only list the rows that would be marked
        #[arg(long)]
        dry_run: bool,
    },
    /// Say for whom the rows of a dataset are meant that don't say so themselves
    #[command(
        after_help = "Examples:\n  wbsync privacy default vouches trusted\n  wbsync privacy default vouches --unset"
    )]
    Default {
        /// The dataset
        dataset: String,
        /// The scope: private, public, trusted, group:NAME, peers:NAME,NAME
        #[arg(required_unless_present = "unset")]
        scope: Option<String>,
        /// Leave it to the mapping again
        #[arg(long, conflicts_with = "scope")]
        unset: bool,
        /// Only say what would change
        #[arg(long, short = 'n')]
        dry_run: bool,
    },
    /// Tell why a row is or isn't shared, which fields go where, and who can read them
    #[command(after_help = "Examples:\n  wbsync privacy explain requests#17\n  wbsync privacy explain 01a2b3c4")]
    Explain {
        /// The row
        record: String,
    },
    /// Look for what is shared and probably shouldn't be; ends with 8 if there is something
    #[command(after_help = "Examples:\n  wbsync privacy audit\n  wbsync --json privacy audit")]
    Audit,
    /// List what was withdrawn, and which readers have confirmed that it is gone there
    ///
    /// A reader confirms at its next push after the pull that took the record out. Nothing is confirmed by who kept a copy
    /// elsewhere, and nobody can be forced to.
    #[command(after_help = "\
Examples:
  wbsync privacy receipts
  wbsync privacy receipts requests/0198f3a1
  wbsync privacy receipts --json")]
    Receipts {
        /// A record: `dataset/key`, or the first digits of the key; otherwise all
        record: Option<String>,
    },
    /// List what writers wrote into records of ours that had left their scope meanwhile
    ///
    /// Such an edit doesn't come back into the scope, and the row stays as its owner left it. Whoever wants it types it into
    /// the application; --forget drops it from the list.
    #[command(after_help = "Examples:\n  wbsync privacy late\n  wbsync privacy late requests/0198f3a1 --forget")]
    Late {
        /// A record: `dataset/key`, or the first digits of the key; otherwise all
        record: Option<String>,
        /// Drop them from the list
        #[arg(long)]
        forget: bool,
    },
    /// Print every record that a peer could read after the next push, one JSON object in each line
    #[command(after_help = "Examples:\n  wbsync privacy preview beta | less\n  wbsync --json privacy preview beta")]
    Preview {
        /// The peer
        peer: String,
    },
}

/// Runs it.
///
/// # Errors
/// As the functions of `sync::privacy`.
pub fn run(context: &mut Context, args: Args) -> Result<(), Failure> {
    match args.command {
        Command::List { dataset, rows } => {
            let sharing = context.instance(Purpose::Look)?.sharing(dataset.as_deref(), rows)?;
            context.answer(&sharing, &list(&sharing))
        }
        Command::Set { what, dataset, condition, dry_run } => {
            let (rows, scope) = match (&what[..], dataset, condition) {
                ([scope], Some(dataset), Some(condition)) => {
                    let dataset = crate::id::name::DatasetName::new(&dataset).map_err(Error::from)?;
                    (Rows::Where(dataset, condition), scope)
                }
                ([record, scope], None, None) => (Instance::rows_named(record)?, scope),
                _ => return Err(Failure::Usage("give a row and a scope, or --dataset, --where and a scope".into())),
            };
            let mode = if dry_run { Mode::DryRun } else { Mode::Keep };
            let instance = context.instance(if dry_run { Purpose::Look } else { Purpose::Change })?;
            let marked = instance.mark_rows(&rows, scope, mode)?;
            context.answer(&marked, &set(&marked, mode))?;
            if marked.foreign > 0 {
                let foreign = count(marked.foreign, "row");
                context
                    .warn(&format!("left out {foreign} of other instances: who brought a record decides who sees it"));
            }
            if marked.changed > 0 {
                context.hint("`wbsync commit` takes it in, `wbsync push` lets the others know");
            }
            Ok(())
        }
        Command::Default { dataset, scope, unset: _, dry_run } => {
            let mode = mode_of(dry_run);
            context.instance(Purpose::Change)?.set_default_audience(&dataset, scope.as_deref(), mode)?;
            let says = scope.as_deref().unwrap_or("left to the mapping");
            let text = planned(&format!("{dataset}: {says}\n"), mode);
            context.answer(&json!({ "dataset": dataset, "default": scope }), &text)?;
            context.hint("`wbsync commit` takes it in, `wbsync privacy list` shows what it means");
            Ok(())
        }
        Command::Explain { record } => {
            let explanation = context.instance(Purpose::Look)?.explain(&record)?;
            context.answer(&explanation, &explain(&explanation))
        }
        Command::Audit => {
            let findings = context.instance(Purpose::Look)?.audit()?;
            context.answer(&json!({ "findings": findings }), &audit(&findings))?;
            if !findings.is_empty() {
                context.exit_with(exit::FINDINGS);
            }
            Ok(())
        }
        Command::Receipts { record } => {
            let list = context.instance(Purpose::Look)?.confirmations(record.as_deref())?;
            context.answer(&json!({ "withdrawals": list }), &receipts(&list))?;
            if list.iter().any(|withdrawal| withdrawal.head.is_none()) {
                context.hint("`wbsync push` sends what was withdrawn and not published yet");
            }
            Ok(())
        }
        Command::Late { record, forget: false } => {
            let list = context.instance(Purpose::Look)?.late_edits(record.as_deref())?;
            context.answer(&json!({ "late": list }), &late(&list))
        }
        Command::Late { record, forget: true } => {
            let number = context.instance(Purpose::Change)?.forget_late_edits(record.as_deref())?;
            context.answer(&json!({ "forgotten": number }), &format!("forgot {}\n", count(number as u64, "late edit")))
        }
        Command::Preview { peer } => preview(context, &peer),
    }
}

fn list(sharing: &Sharing) -> String {
    let mut lines = Vec::new();
    for (dataset, counts) in &sharing.counts {
        for (audience, number) in counts {
            lines.push([dataset.to_string(), audience.clone(), grouped(*number)]);
        }
    }
    let mut text = table("", &lines);
    if !sharing.rows.is_empty() {
        text += &format!("\n{}", rows(&sharing.rows));
    }
    if text.is_empty() { "no rows\n".into() } else { text }
}

fn rows(rows: &[SharedRow]) -> String {
    let record = |row: &SharedRow| row.record.clone().unwrap_or_else(|| "not captured yet".into());
    table("", &rows.iter().map(|row| [on_one_line(&row.row), record(row), row.audience.clone()]).collect::<Vec<_>>())
}

fn set(marked: &Marked, mode: Mode) -> String {
    const LISTED_MAX: usize = 20;
    match mode {
        Mode::DryRun => {
            let more = marked.rows.len().saturating_sub(LISTED_MAX);
            let more = if more > 0 { format!("… and {more} more\n") } else { String::new() };
            let would = format!("{} would be meant for {}\n", count(marked.rows.len() as u64, "row"), marked.audience);
            rows(&marked.rows[..marked.rows.len().min(LISTED_MAX)]) + &more + &would
        }
        Mode::Keep => format!("{} marked {}\n", count(marked.changed, "row"), marked.audience),
    }
}

fn explain(explanation: &Explanation) -> String {
    let Explanation { row, record, origin, audience, steps, goes, stays } = explanation;
    let record = record.as_deref().unwrap_or("not captured yet");
    let mut text = format!("{HEADING}{}{HEADING:#}  {record}  of {origin}\n{audience}\n\n", on_one_line(row));
    for step in steps {
        text += &format!("  {}\n", tame(step));
    }
    let names =
        |fields: &[crate::id::name::FieldName]| fields.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    for (scope, going) in goes {
        let readers = if going.readers.is_empty() { "nobody yet".to_owned() } else { going.readers.join(", ") };
        text += &format!("\n{HEADING}{scope}{HEADING:#}, read by {readers}\n  {}\n", names(&going.fields));
    }
    if !stays.is_empty() {
        text += &format!("\n{HEADING}stays here{HEADING:#}\n  {}\n", names(stays));
    }
    text
}

fn audit(findings: &[Finding]) -> String {
    if findings.is_empty() {
        return "nothing found\n".into();
    }
    let line = |finding: &Finding| {
        format!("{WARNING}{}{WARNING:#}: {}\n  {}\n", finding.kind, tame(&finding.text), tame(&finding.hint))
    };
    findings.iter().map(line).collect()
}

fn receipts(list: &[Confirmations]) -> String {
    if list.is_empty() {
        return "nothing was withdrawn\n".into();
    }
    let mut text = String::new();
    for withdrawal in list {
        let Confirmations { record, scope, withdrawn, head, confirmed, waiting } = withdrawal;
        let by = head.map_or_else(|| "not published yet".to_owned(), |head| format!("published with head {head}"));
        text += &format!("{HEADING}{record}{HEADING:#}\n  left {scope} {withdrawn}, {by}\n");
        for confirmed in confirmed {
            text += &format!("  gone at {}, it says ({})\n", confirmed.peer, confirmed.time);
        }
        if !waiting.is_empty() {
            text += &format!("  {WARNING}not confirmed: {}{WARNING:#}\n", waiting.join(", "));
        }
    }
    text
}

fn late(list: &[LateEdit]) -> String {
    if list.is_empty() {
        return "no late edits\n".into();
    }
    let mut text = String::new();
    for LateEdit { record, row, scope, field, value, author, time } in list {
        let row = row.as_deref().unwrap_or("none any more");
        text += &format!("{HEADING}{record}.{field}{HEADING:#}  (row {})\n", on_one_line(row));
        text += &format!("  {}\n  by {author}, {time}, after it had left {scope}\n", value_text(value));
    }
    text
}

fn preview(context: &mut Context, peer: &str) -> Result<(), Failure> {
    let instance = context.instance(Purpose::Look)?;
    let mut records = Vec::new();
    let mut lines = String::new();
    let scopes = if context.global.json {
        instance.preview(peer, &mut |record| {
            records.push(record);
            Ok(())
        })?
    } else if std::io::stdout().is_terminal() {
        instance.preview(peer, &mut |record| {
            lines += &format!("{}\n", serde_json::to_string(&record).expect("a record has text keys"));
            Ok(())
        })?
    } else {
        let mut out = anstream::stdout().lock();
        let written = instance.preview(peer, &mut |record| {
            let line = serde_json::to_string(&record).expect("a record has text keys");
            writeln!(out, "{line}").map_err(Error::Output)
        });
        match written {
            Err(Error::Output(error)) => return Err(Failure::Output(error)),
            other => other?,
        }
    };
    context.answer(&json!({ "peer": peer, "scopes": scopes, "records": records }), &lines)?;
    let names: Vec<String> = scopes.iter().map(ToString::to_string).collect();
    context.note(&format!("{peer} reads {} of ours, as of the last commit", names.join(", ")));
    Ok(())
}
