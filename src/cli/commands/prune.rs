//! `wbsync prune`: what nobody has touched for long leaves this instance, and nobody else notices.

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::span;
use crate::cli::text::{by_name, count, tame};
use crate::id::name::DatasetName;
use crate::sync::commit::Mode;
use crate::sync::instance::Purpose;
use crate::sync::prune::{OldRecords, PruneOptions, Pruned};
use crate::sys::clock::{self, UnixMillis};

/// Let go here of what nobody has touched for long: rows of other instances, and history of our own
///
/// Nothing is deleted for anybody else, and the records stay in the local state: heads and roots are what they were. A pruned
/// row comes back when somebody writes into its record again, or adds something to it. Rows that another row refers to stay, as do
/// fields with an open conflict, and history that a peer's next edit builds on (docs/retention.md).
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wbsync prune --remote-records-older-than 365d --dry-run
  wbsync prune --remote-records-older-than 90d --dataset comments --from beta
  wbsync prune --keep-history 90d --dry-run
  wbsync prune --keep-history 90d --without carol
  wbsync prune --undo --from beta")]
pub struct Args {
    /// Give up older states of our own scopes: what `log`, `diff`, `show` and `revert` look at
    #[arg(long, value_name = "SPAN", value_parser = span::parse)]
    keep_history: Option<u64>,
    /// Remove the rows of other instances whose records nobody has written for so long
    #[arg(long, value_name = "SPAN", value_parser = span::parse)]
    remote_records_older_than: Option<u64>,
    /// Only rows of this dataset; may be given several times
    #[arg(long, value_name = "NAME")]
    dataset: Vec<DatasetName>,
    /// Only rows of this peer
    #[arg(long, value_name = "PEER")]
    from: Option<String>,
    /// Don't keep history for this peer, which stands on an old state and may never return; may be given several times.
    /// Nothing of it is lost: what it writes on that state counts once it has fetched
    #[arg(long, value_name = "PEER", requires = "keep_history")]
    without: Vec<String>,
    /// Bring back what was pruned
    #[arg(long, conflicts_with_all = ["keep_history", "remote_records_older_than"])]
    undo: bool,
    /// Only say what would go
    #[arg(long, short = 'n')]
    dry_run: bool,
}

/// Runs it.
///
/// # Errors
/// As `Instance::prune`; nothing was asked for.
pub fn run(context: &mut Context, args: Args) -> Result<(), Failure> {
    let mode = if args.dry_run { Mode::DryRun } else { Mode::Keep };
    let narrows = !args.dataset.is_empty() || args.from.is_some();
    if !args.undo && args.remote_records_older_than.is_none() && (args.keep_history.is_none() || narrows) {
        let message = "say what to prune: --remote-records-older-than SPAN, which --dataset and --from narrow, or --keep-history SPAN";
        return Err(Failure::Usage(message.into()));
    }
    let instance = context.instance(if args.dry_run { Purpose::Look } else { Purpose::Change })?;
    if args.undo {
        let summary = instance.undo_prune(&args.dataset, args.from.as_deref(), mode)?;
        let verb = if args.dry_run { "would bring" } else { "brought" };
        let rows = by_name(&summary.inserted);
        let text = if rows.is_empty() { "nothing was pruned\n".into() } else { format!("{verb} back {rows}\n") };
        return context.answer(&json!({ "rows": summary }), &text);
    }
    let ago = |millis: u64| UnixMillis(clock::now().0.saturating_sub(millis));
    let records = args.remote_records_older_than.map(|older_than| OldRecords {
        before: ago(older_than),
        datasets: args.dataset,
        from: args.from,
    });
    let has_records = records.is_some();
    let history_before = args.keep_history.map(ago);
    let options = PruneOptions { history_before, without: args.without, records };
    let pruned = instance.prune(&options, mode)?;
    context.answer(&pruned, &describe(&pruned, has_records, mode))?;
    if let Some(peer) = pruned.history.values().find_map(|history| history.held_back_by.as_ref()) {
        let peer = tame(peer);
        context.hint(&format!(
            "if {peer} never comes back, `--without {peer}` keeps no history for it; its next `wbsync sync` takes a snapshot then"
        ));
    }
    if mode == Mode::Keep && pruned.history.values().any(|history| history.refolds) {
        context.hint("the next push sends a fresh snapshot, and what older heads named leaves the stores then");
    }
    Ok(())
}

fn describe(pruned: &Pruned, has_records: bool, mode: Mode) -> String {
    let mut text = String::new();
    let dry = mode == Mode::DryRun;
    if has_records {
        let verb = if dry { "would remove at most" } else { "removed" };
        let rows = by_name(&pruned.rows);
        text += &if rows.is_empty() { "no row is that old\n".into() } else { format!("{verb} {rows}\n") };
        if pruned.kept > 0 {
            text += &format!("kept {}: others refer to them\n", count(pruned.kept, "row"));
        }
        if pruned.away > 0 {
            text += &format!("{} away: they come back when they change\n", count(pruned.away, "pruned record"));
        }
    }
    for (scope, history) in &pruned.history {
        text += &format!("{} begins with head {} of {}", tame(scope), history.from_head, history.newest_head);
        if let Some(peer) = &history.held_back_by {
            text += &format!("; {} still shows it", tame(peer));
        }
        text += "\n";
        for peer in &history.behind {
            let (name, told) = (tame(&peer.name), peer.told);
            text += &format!("  {name} shows head {}, and said so on {told}", peer.head);
            text += if peer.counts { "\n" } else { "; left out: it has to fetch before what it writes counts\n" };
        }
    }
    if !pruned.history.is_empty() {
        let verb = if dry { "would remove" } else { "removed" };
        text += &format!("{verb} {}\n", count(pruned.removed_nodes, "tree node"));
    }
    text
}
