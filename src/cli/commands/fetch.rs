//! `wbsync fetch`: take in what peers published, without touching rows.

use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::text::{bytes, count};
use crate::id::name::PeerName;
use crate::sync::fetch::FetchSummary;
use crate::sync::instance::Purpose;
use crate::sync::preview::{FetchPreview, NewHead};
use crate::sync::round::Each;

/// Take in what peers published; rows stay as they are until `merge`
///
/// Everything is verified before it is kept: signatures, rights, histories, and that the records are those that were
/// signed.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wbsync fetch
  wbsync fetch stick --dry-run")]
pub struct Args {
    /// The remote; otherwise all
    remote: Option<PeerName>,
    /// Only say what is newer there, and how much of it there is
    #[arg(long, short = 'n')]
    dry_run: bool,
}

/// Runs it.
///
/// # Errors
/// As `Instance::fetch_each`.
pub fn run(context: &mut Context, args: Args) -> Result<(), Failure> {
    let instance = context.instance(Purpose::Change)?;
    let remotes = instance.remotes_or_all(args.remote.as_ref())?;
    if args.dry_run {
        let previews = instance.fetch_previews(&remotes)?;
        context.answer(&previews, &describe_preview(&previews))?;
        context.report_failed(&previews.failed);
        return Ok(());
    }
    let fetched = instance.fetch_each(&remotes)?;
    context.answer(&fetched, &describe(&fetched))?;
    context.report_failed(&fetched.failed);
    context.report_refused(&fetched.remotes);
    Ok(())
}

/// Says what fetches would bring.
pub fn describe_preview(previews: &Each<FetchPreview>) -> String {
    let mut text: String = previews.away.iter().map(|peer| format!("{peer} is away\n")).collect();
    for (remote, preview) in &previews.remotes {
        if preview.heads.is_empty() {
            text += &format!("nothing to fetch from {remote}\n");
            continue;
        }
        for NewHead { scope, signer, seq, known } in &preview.heads {
            let here = known.map_or_else(|| "none".into(), |known| known.to_string());
            text += &format!("would fetch {scope} by {signer} from {remote}: head {seq}, here is {here}\n");
        }
        let (size, objects) = (bytes(preview.bytes), count(preview.objects, "object"));
        text += &format!("would fetch {size} in {objects} from {remote}\n");
    }
    text
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
