//! `wbsync scope`: who may read and write what.

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::text::{by_name, count, mode_of, planned, table};
use crate::sync::commit::Mode;
use crate::sync::instance::Purpose;
use crate::sync::rotate::Resealing;
use crate::sync::show::ScopeShown;
use crate::sync::status::{ScopeStatus, Status};

/// List, show and rotate scopes: whose records, for whom
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wbsync scope list
  wbsync scope show trusted")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List our scopes and those that we hold of others
    #[command(after_help = "Examples:\n  wbsync scope list")]
    List,
    /// Show a scope: readers, writers, heads
    #[command(after_help = "Examples:\n  wbsync scope show trusted\n  wbsync scope show beta/public")]
    Show {
        /// Our own by name, others' as PEER/NAME
        scope: String,
    },
    /// Give one of our scopes a new key, for the readers that it has
    ///
    /// What is sealed from then on needs the new key. With --reseal the next push also seals anew what is there, and once
    /// every remote has been pushed to, the old keys go from the scope: what lies in stores then opens to no one who only
    /// has those. Copies that somebody kept stay as they are.
    #[command(after_help = "Examples:\n  wbsync scope rotate trusted\n  wbsync scope rotate group:board --reseal")]
    Rotate {
        /// Its name
        scope: String,
        /// Also seal anew what is there, and let the old keys go
        #[arg(long)]
        reseal: bool,
        /// Only say what would change
        #[arg(long, short = 'n')]
        dry_run: bool,
    },
}

/// Runs it.
///
/// # Errors
/// As `Instance::scopes_status` and `Instance::scope_show`.
pub fn run(context: &mut Context, args: Args) -> Result<(), Failure> {
    match args.command {
        Command::List => {
            let instance = context.instance(Purpose::Look)?;
            let status = instance.status()?;
            context.answer(&json!({ "scopes": status.scopes }), &lines("", &status))
        }
        Command::Rotate { scope, reseal, dry_run } => {
            let mode = mode_of(dry_run);
            let resealing = if reseal { Resealing::AtNextPush } else { Resealing::Never };
            let rotated = context.instance(Purpose::Change)?.scope_rotate(&scope, resealing, mode)?;
            let readers = if rotated.readers.is_empty() { "nobody else".into() } else { rotated.readers.join(", ") };
            let text = format!("{} has the key {} now; readers: {readers}\n", rotated.scope, rotated.epoch);
            context.answer(&rotated, &planned(&text, mode))?;
            if mode == Mode::DryRun {
                return Ok(());
            }
            context.hint(match resealing {
                Resealing::Never => "`wbsync push` makes it known",
                Resealing::AtNextPush => {
                    "`wbsync push` to every remote seals it anew there; the push after that lets the old keys go"
                }
            });
            Ok(())
        }
        Command::Show { scope } => {
            let instance = context.instance(Purpose::Look)?;
            let shown = instance.scope_show(&scope)?;
            context.answer(&shown, &describe(&shown))
        }
    }
}

/// Writes a line for each scope.
pub fn lines(indent: &str, status: &Status) -> String {
    let row = |scope: &ScopeStatus| {
        let head = scope.head.map_or_else(|| "no commit yet".to_owned(), |head| head.short());
        [scope.scope.clone(), head, count(scope.records, "record"), notes(scope, status.database_error.is_none())]
    };
    table(indent, &status.scopes.iter().map(row).collect::<Vec<_>>())
}

fn notes(scope: &ScopeStatus, rows_known: bool) -> String {
    let mut notes = Vec::new();
    if !scope.followed {
        notes.push("not followed".to_owned());
    }
    if scope.shut_out {
        notes.push("closed to us by its origin: as it was then".to_owned());
    }
    if !scope.unmerged.is_empty() {
        notes.push(format!("to merge: {}", scope.unmerged.join(", ")));
    }
    if scope.followed && rows_known && !scope.applied {
        notes.push("not in the rows yet".into());
    }
    if scope.unpublished {
        notes.push("to push".into());
    }
    if scope.local_edits {
        notes.push("edited here, where we may not write: stays here, or goes out once we may".into());
    }
    if !scope.forked.is_empty() {
        notes.push(format!("two histories by {}", scope.forked.join(", ")));
    }
    notes.join("; ")
}

fn epochs(scope: &ScopeShown) -> String {
    match scope.resealing {
        None => scope.epoch.to_string(),
        Some(epoch) => format!("{}; those before {epoch} go once every remote has what is sealed anew", scope.epoch),
    }
}

/// Writes a scope with all that is known of it.
pub fn describe(scope: &ScopeShown) -> String {
    let names = |names: &[String]| if names.is_empty() { "nobody else".into() } else { names.join(", ") };
    let readers = if scope.public { "anyone".into() } else { names(&scope.readers) };
    let records = if scope.records.is_empty() { "none".into() } else { by_name(&scope.records) };
    let mut rows = vec![
        ["scope".to_owned(), scope.scope.clone()],
        ["id".to_owned(), scope.id.to_string()],
        ["origin".to_owned(), scope.origin.clone()],
        ["readers".to_owned(), readers],
        [
            "writers".to_owned(),
            format!("{}{}", scope.origin, scope.writers.iter().map(|name| format!(", {name}")).collect::<String>()),
        ],
        ["manifest".to_owned(), scope.manifest.to_string()],
        ["epoch".to_owned(), epochs(scope)],
        ["commit".to_owned(), scope.head.map_or_else(|| "none yet".into(), |head| head.to_string())],
        ["records".to_owned(), records],
    ];
    for (signer, head) in &scope.heads {
        rows.push([
            "head".into(),
            format!("{} by {signer}, {}, via {}, commit {}", head.seq, head.received, head.via, head.commit.short()),
        ]);
    }
    table("", &rows)
}
