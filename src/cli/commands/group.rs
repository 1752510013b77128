//! `wbsync group`: named sets of peers to share with.

use serde_json::json;

use super::peer::{shut_out, tell_shut_out};
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::text::{count, mode_of, planned, table};
use crate::scope::manifest::draft::Since;
use crate::sync::groups::{GroupShown, Member};
use crate::sync::instance::Purpose;
use crate::sync::trust::Right;

/// Make groups of instances, to share records with as `group:NAME`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wbsync group create board
  wbsync group add board beta
  wbsync group list")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make a group without members
    #[command(after_help = "Examples:\n  wbsync group create board")]
    Create {
        /// What to call it: lower-case letters, digits, `-` and `_`
        group: String,
        /// Only say what would change
        #[arg(long, short = 'n')]
        dry_run: bool,
    },
    /// Let an instance read what is shared with a group, and with --write edit it
    #[command(
        after_help = "Examples:\n  wbsync group add board beta\n  wbsync group add board gamma --write --from-now"
    )]
    Add {
        /// The group
        group: String,
        /// The instance, by its name here or the first digits of its id
        peer: String,
        /// Also let it edit what is shared with the group
        #[arg(long)]
        write: bool,
        /// Let it read the records as they are now and what follows, but nothing sealed before
        #[arg(long)]
        from_now: bool,
        /// Only say what would change
        #[arg(long, short = 'n')]
        dry_run: bool,
    },
    /// Take an instance out of a group, with a new key for those who stay
    #[command(after_help = "Examples:\n  wbsync group remove board beta")]
    Remove {
        /// The group
        group: String,
        /// The instance
        peer: String,
        /// Only say what would change
        #[arg(long, short = 'n')]
        dry_run: bool,
    },
    /// Delete a group that nothing is shared with
    #[command(after_help = "Examples:\n  wbsync group delete board")]
    Delete {
        /// The group
        group: String,
        /// Only say what would change
        #[arg(long, short = 'n')]
        dry_run: bool,
    },
    /// List the groups
    #[command(after_help = "Examples:\n  wbsync group list")]
    List,
    /// Show a group and who is in it
    #[command(after_help = "Examples:\n  wbsync group show board")]
    Show {
        /// The group
        group: String,
    },
}

/// Runs it.
///
/// # Errors
/// As the library's functions of the same names.
pub fn run(context: &mut Context, args: Args) -> Result<(), Failure> {
    match args.command {
        Command::Create { group, dry_run } => {
            let mode = mode_of(dry_run);
            let shown = context.instance(Purpose::Change)?.group_create(&group, mode)?;
            let text = format!("made the group {group}; rows with the scope {} are for it\n", shown.scope);
            context.answer(&shown, &planned(&text, mode))?;
            context.hint(&format!("add instances: `wbsync group add {group} PEER`"));
            Ok(())
        }
        Command::Add { group, peer, write, from_now, dry_run } => {
            let mode = mode_of(dry_run);
            let right = if write { Right::Write } else { Right::Read };
            let since = if from_now { Since::Now } else { Since::Beginning };
            let change = context.instance(Purpose::Change)?.group_add(&group, &peer, right, since, mode)?;
            let name = &change.name;
            let text = match (change.reads.is_empty(), change.writes.is_empty()) {
                (true, true) => format!("{name} is in {group} already\n"),
                (_, true) => format!("{name} reads what is shared with {group}, from our next push on\n"),
                (_, false) => format!("{name} reads and edits what is shared with {group}, from our next push on\n"),
            };
            context.answer(&change, &planned(&text, mode))?;
            if from_now && change.reads.is_empty() {
                context.warn(&format!("{name} was in {group} already, and keeps the keys that it was granted"));
            }
            Ok(())
        }
        Command::Remove { group, peer, dry_run } => {
            let mode = mode_of(dry_run);
            let change = context.instance(Purpose::Change)?.group_remove(&group, &peer, mode)?;
            let text = match change.reads_no_more.is_empty() {
                true => format!("{} is not in {group}\n", change.name),
                false => shut_out(&change),
            };
            context.answer(&change, &planned(&text, mode))?;
            tell_shut_out(context, &change, mode);
            Ok(())
        }
        Command::Delete { group, dry_run } => {
            let mode = mode_of(dry_run);
            let shown = context.instance(Purpose::Change)?.group_delete(&group, mode)?;
            context.answer(&shown, &planned(&format!("deleted the group {group}\n"), mode))?;
            if !shown.members.is_empty() {
                context.note("its members keep what they have read of it");
            }
            Ok(())
        }
        Command::List => {
            let groups = context.instance(Purpose::Look)?.groups()?;
            let row =
                |group: &GroupShown| [group.name.clone(), count(group.records, "record"), members(&group.members)];
            context.answer(&json!({ "groups": groups }), &table("", &groups.iter().map(row).collect::<Vec<_>>()))?;
            if groups.is_empty() {
                context.hint("there are none yet: `wbsync group create NAME`");
            }
            Ok(())
        }
        Command::Show { group } => {
            let shown = context.instance(Purpose::Look)?.group_show(&group)?;
            context.answer(&shown, &describe(&shown))
        }
    }
}

fn members(members: &[Member]) -> String {
    let names: Vec<_> = members.iter().map(|member| member.name.as_str()).collect();
    if names.is_empty() { "nobody".into() } else { names.join(", ") }
}

fn describe(group: &GroupShown) -> String {
    let mut rows = vec![
        ["group".to_owned(), group.name.clone()],
        ["scope".to_owned(), group.scope.to_string()],
        ["records".to_owned(), group.records.to_string()],
        ["epoch".to_owned(), group.epoch.to_string()],
    ];
    for member in &group.members {
        let does = if member.writes { "reads and edits" } else { "reads" };
        let since =
            if member.since_epoch == 1 { String::new() } else { format!(" since epoch {}", member.since_epoch) };
        rows.push(["member".to_owned(), format!("{} {does}{since}", member.name)]);
    }
    table("", &rows)
}
