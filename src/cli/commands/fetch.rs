//! `wbsync fetch`: take in what peers published, without touching rows.

use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::text::{bytes, count};
use crate::id::name::PeerName;
use crate::sync::fetch::FetchSummary;
use crate::sync::instance::Purpose;
use crate::sync::round::Each;

/// Take in what peers published; rows stay as they are until `merge`
///
/// Everything is verified before it is kept: signatures, rights, histories, and that the records are those that were
/// signed.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wbsync fetch
  wbsync fetch stick")]
pub struct Args {
    /// The remote; otherwise all
    remote: Option<PeerName>,
}

/// Runs it.
///
/// # Errors
/// As `Instance::fetch_each`.
pub fn run(context: &mut Context, args: Args) -> Result<(), Failure> {
    let instance = context.instance(Purpose::Change)?;
    let fetched = instance.fetch_each(&instance.remotes_or_all(args.remote.as_ref())?)?;
    context.answer(&fetched, &describe(&fetched))?;
    context.report_failed(&fetched.failed);
    context.report_refused(&fetched.remotes);
    Ok(())
}

/// Says what fetches brought.
pub fn describe(fetched: &Each<FetchSummary>) -> String {
    let mut text: String = fetched.away.iter().map(|peer| format!("fetched {peer}: it is away\n")).collect();
    for (remote, summary) in &fetched.remotes {
        if summary.empty {
            text += &format!("fetched {remote}: nothing has been pushed there yet\n");
        } else if summary.heads.is_empty() && summary.refused.is_empty() && summary.held.is_empty() {
            text += &format!("fetched {remote}: nothing new\n");
        }
        for head in &summary.heads {
            text +=
                &format!("fetched {remote}: {} by {}: {}\n", head.scope, head.signer, count(head.records, "record"));
        }
        if summary.objects > 0 {
            text += &format!("fetched {remote}: {} in {}\n", bytes(summary.bytes), count(summary.objects, "object"));
        }
        for fit in &summary.fits {
            text += &fit.lines().iter().map(|line| format!("fetched {remote}: {line}\n")).collect::<String>();
        }
        for held in &summary.held {
            text += &format!("fetched {remote}: waiting: {held}\n");
        }
        if !summary.behind.is_empty() {
            text += &format!("fetched {remote}: it is behind what we know: {}\n", summary.behind.join(", "));
        }
        if summary.unreadable > 0 {
            text +=
                &format!("fetched {remote}: {} of peers that we may not read\n", count(summary.unreadable, "scope"));
        }
    }
    text
}
