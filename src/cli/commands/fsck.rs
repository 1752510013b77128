//! `wbsync fsck`: is a store, or this instance, as it should be?

use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::text::{bytes, count, grouped, tame};
use crate::exchange::health::Depth;
use crate::id::name::PeerName;
use crate::sync::error::{Error, exit};
use crate::sync::fsck::{Report, fsck_store};
use crate::sync::instance::{Instance, Purpose};
use crate::sync::remotes;

/// Check a store, or this instance, and say what mends what is wrong
///
/// Without STORE: this instance's own store, its local state, and the bookkeeping in the application's database, each by
/// itself and with the others. With STORE: one store, which needs no keys and no instance; of a remote also whether it still
/// has what we sent there and fetched from there. Nothing is changed.
/// Ends with 6 if something is damaged.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wbsync fsck
  wbsync fsck stick
  wbsync fsck /media/stick/wbsync
  wbsync fsck --quick https://hub.example")]
pub struct Args {
    /// A remote's name, a directory or a URL
    store: Option<String>,
    /// Don't read objects: only whether they are there, at their sizes
    #[arg(long)]
    quick: bool,
}

/// Runs it.
///
/// # Errors
/// As `Instance::fsck` and `fsck_store`.
pub fn run(context: &mut Context, args: Args) -> Result<(), Failure> {
    let depth = if args.quick { Depth::Sizes } else { Depth::Contents };
    let report = match &args.store {
        None => context.instance(Purpose::Look)?.fsck(depth)?,
        Some(store) => {
            let instance = context.instance(Purpose::Look);
            match instance.as_ref().ok().and_then(|instance| Some((instance, named(instance, store)?))) {
                Some((instance, name)) => instance.fsck_remote(&name, depth)?,
                None => {
                    let url = remotes::parse(store, &context.dir)?;
                    let watcher = context.watcher();
                    fsck_store(&url, instance.as_ref().map(Instance::access).unwrap_or_default(), depth, &|event| {
                        watcher(event)
                    })?
                }
            }
        }
    };
    context.answer(&report, &describe(&report))?;
    if report.is_damaged() {
        context.exit_with(exit::DAMAGED);
    }
    Ok(())
}

/// Returns the name of a remote, if it is one's.
pub(super) fn named(instance: &Instance, text: &str) -> Option<PeerName> {
    let name = PeerName::new(text).ok()?;
    instance.state.remotes().ok()?.into_iter().any(|remote| remote.name == name).then_some(name)
}

/// Returns the URL of a remote.
pub(super) fn url_of(instance: &Instance, name: &str) -> Option<String> {
    let name = PeerName::new(name).map_err(Error::from).ok()?;
    let remotes = instance.state.remotes().ok()?;
    remotes.into_iter().find(|remote| remote.name == name).map(|remote| remote.url)
}

/// Writes what was found, a line each.
pub(super) fn describe(report: &Report) -> String {
    let mut text = String::new();
    // Unused objects are counted only: there may be many, and they are nobody's fault.
    for finding in report.findings.iter().filter(|finding| finding.what != UNUSED) {
        text += &format!("{}: {} {}: {}", finding.part, finding.what, tame(&finding.place), tame(&finding.detail));
        text += &if finding.mend.is_empty() { "\n".to_owned() } else { format!("; mended by: {}\n", finding.mend) };
    }
    if report.unused > 0 {
        let size = bytes(report.unused_bytes);
        text +=
            &format!("store: {} ({size}) that no head names; removed by: wbsync gc\n", count(report.unused, UNUSED));
    }
    text += &format!("looked at {}, ", count(report.documents, "document"));
    text += &format!("{} ({})", count(report.objects, "object"), bytes(report.bytes));
    if report.commits > 0 {
        text += &format!(
            ", {}, {}, {}",
            count(report.commits, "commit"),
            count(report.nodes, "tree node"),
            count(report.records, "record")
        );
    }
    let damaged = report.findings.iter().filter(|finding| finding.damage).count();
    text + &if damaged == 0 { ": all is well\n".into() } else { format!(": {} damaged\n", grouped(damaged as u64)) }
}

const UNUSED: &str = "unused object";
