//! `wbsync gc`: remove what nothing needs any more.

use serde_json::json;

use super::fsck::url_of;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::span;
use crate::cli::text::{bytes, count};
use crate::exchange::garbage::Collect;
use crate::sync::gc::{Cleared, GRACE_MILLIS, StoreCleared, gc_store};
use crate::sync::instance::{Instance, Purpose};
use crate::sync::remotes;

/// Remove what nothing needs any more: objects that no head names, old trees, leftovers
///
/// Without STORE: this instance's own store, its local state, and what was fetched and not used. With STORE: one store that
/// is yours to clear up. An object goes only if no head there names it and it was last used before the grace period;
/// so this is safe while others push and fetch. Records, conflicts and history of our own are never touched.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wbsync gc --dry-run
  wbsync gc
  wbsync gc /media/stick/wbsync --grace 48h")]
pub struct Args {
    /// A remote's name, a directory or a URL
    store: Option<String>,
    /// How long unused objects are kept, at least 48h [default: 14d]
    #[arg(long, value_name = "SPAN", value_parser = span::parse)]
    grace: Option<u64>,
    /// Only say what would be removed, and how much is used
    #[arg(long, short = 'n')]
    dry_run: bool,
}

/// Runs it.
///
/// # Errors
/// As `Instance::gc` and `gc_store`.
pub fn run(context: &mut Context, args: Args) -> Result<(), Failure> {
    let grace = args.grace.unwrap_or(GRACE_MILLIS);
    let mode = if args.dry_run { Collect::Count } else { Collect::Remove };
    let verb = if args.dry_run { "would remove" } else { "removed" };
    let Some(store) = &args.store else {
        let purpose = if args.dry_run { Purpose::Look } else { Purpose::Change };
        let cleared = context.instance(purpose)?.gc(grace, mode)?;
        return context.answer(&cleared, &describe(&cleared, verb));
    };
    let instance = context.instance(Purpose::Look);
    let named = instance.as_ref().ok().and_then(|instance| url_of(instance, store));
    let url = remotes::parse(named.as_deref().unwrap_or(store), &context.dir)?;
    let cleared = gc_store(&url, instance.as_ref().map(Instance::access).unwrap_or_default(), grace, mode)?;
    context.answer(&json!({ "store": cleared }), &describe_store(&cleared, verb))?;
    if cleared.collected.refused > 0 {
        context.warn(&format!("the store keeps {}", count(cleared.collected.refused, "unused object")));
    }
    Ok(())
}

fn describe_store(cleared: &StoreCleared, verb: &str) -> String {
    let found = &cleared.collected;
    let mut text = format!("store: {} ({})\n", count(found.objects, "object"), bytes(found.bytes));
    text += &format!("{verb} {} ({})\n", count(found.removed, "unused object"), bytes(found.removed_bytes));
    if found.young > 0 {
        text += &format!("kept {} ({}) for now\n", count(found.young, "unused object"), bytes(found.young_bytes));
    }
    if cleared.leftovers > 0 {
        text += &format!("{verb} {} ({})\n", count(cleared.leftovers, "leftover"), bytes(cleared.leftover_bytes));
    }
    text
}

fn describe(cleared: &Cleared, verb: &str) -> String {
    let mut text = describe_store(&cleared.store, verb);
    text += &format!("state: {} ({})\n", count(cleared.nodes, "tree node"), bytes(cleared.state_bytes));
    text += &format!("{verb} {}\n", count(cleared.removed_nodes, "tree node"));
    if cleared.free_bytes > 0 {
        let where_to = if cleared.compacted { "given back to the disk" } else { "free for reuse" };
        text += &format!("{} {where_to}\n", bytes(cleared.free_bytes));
    }
    if cleared.fetched > 0 {
        text += &format!("{verb} {} ({})\n", count(cleared.fetched, "unused download"), bytes(cleared.fetched_bytes));
    }
    text
}
