//! `wbsync push`: publish what was committed and send it to remotes.

use std::collections::BTreeMap;

use serde_json::json;

use crate::cli::commands::standing::waiting;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::text::{bytes, count};
use crate::id::name::PeerName;
use crate::sync::error::Error;
use crate::sync::instance::{Instance, Purpose};
use crate::sync::publish::Published;
use crate::sync::push::{PushPreview, PushSummary};
use crate::sync::round::Each;

/// Publish what was committed and send it to remotes
///
/// Everything but the public scope is encrypted to its readers before it leaves. The remote may be any directory; the
/// first push makes it a store.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wbsync push
  wbsync push stick --dry-run")]
pub struct Args {
    /// The remote; otherwise all
    remote: Option<PeerName>,
    /// Only say what would be sent
    #[arg(long, short = 'n')]
    dry_run: bool,
}

/// Runs it.
///
/// # Errors
/// As `Instance::push_each`.
pub fn run(context: &mut Context, args: Args) -> Result<(), Failure> {
    let instance = context.instance(Purpose::Change)?;
    let remotes = instance.push_targets(args.remote.as_ref())?;
    if args.dry_run {
        let previews = instance.push_previews(&remotes)?;
        context.answer(&previews, &describe_previews(&previews))?;
        context.report_failed(&previews.failed);
        return Ok(());
    }
    let pushed = instance.push_each(&remotes)?;
    if remotes.is_empty() {
        let published = instance.publish()?;
        context.answer(&json!({ "remotes": {}, "published": published }), &describe_published(&published))?;
        return Ok(());
    }
    context.answer(&pushed, &describe(&pushed))?;
    context.report_failed(&pushed.failed);
    note_kept(context, &instance, &pushed.failed)
}

/// Says what waits for the remotes that failed, and until when they are left alone.
///
/// # Errors
/// The state can't be read.
pub fn note_kept<'a>(
    context: &Context,
    instance: &Instance,
    failed: impl IntoIterator<Item = &'a (PeerName, Error)>,
) -> Result<(), Failure> {
    let failed: Vec<_> = failed.into_iter().map(|(name, _)| name.as_str()).collect();
    for status in instance.remotes_status()? {
        if !failed.contains(&status.name.as_str()) {
            continue;
        }
        if let (Some(waiting), Some(next)) = (waiting(&status.waiting), &status.next_try) {
            context.note(&format!(
                "{}: {waiting}; kept until it can be reached, `sync --due` waits until {next}",
                status.name
            ));
        }
    }
    Ok(())
}

/// Says what pushes would send.
pub fn describe_previews(previews: &Each<PushPreview>) -> String {
    let mut text = String::new();
    for (remote, preview) in &previews.remotes {
        for scope in &preview.publish {
            text += &format!("would publish and push {scope} to {remote}\n");
        }
        if preview.heads > 0 {
            let (heads, objects) = (count(preview.heads, "published head"), count(preview.objects, "object"));
            text += &format!("would push {heads} to {remote}, {} in {objects}\n", bytes(preview.bytes));
        } else if preview.publish.is_empty() {
            text += &format!("nothing to push to {remote}\n");
        }
    }
    text
}

/// Says what was sealed for peers to come for.
fn describe_published(published: &BTreeMap<String, Published>) -> String {
    if published.is_empty() {
        return "nothing new for peers to fetch\n".into();
    }
    let line = |(scope, published): (&String, &Published)| {
        format!("published {scope} for peers to fetch: {}\n", bytes(published.bytes))
    };
    published.iter().map(line).collect()
}

/// Says what pushes sent.
pub fn describe(pushed: &Each<PushSummary>) -> String {
    let mut text = String::new();
    for (remote, summary) in &pushed.remotes {
        text += &match (summary.heads, summary.manifests) {
            (0, 0) => format!("pushed {remote}: nothing new\n"),
            (0, scopes) => format!("pushed {remote}: who may read and write, of {}\n", count(scopes, "scope")),
            (heads, _) => format!(
                "pushed {remote}: {}, {} in {}\n",
                count(heads, "head"),
                bytes(summary.bytes),
                count(summary.objects, "object"),
            ),
        };
        if summary.raced > 0 {
            let races = count(summary.raced, "time");
            text += &format!("pushed {remote}: another writer was first {races}; what it wrote is merged\n");
        }
        if summary.removed > 0 {
            text +=
                &format!("removed from {remote}: {} that no head names any more\n", count(summary.removed, "object"));
        }
        if summary.unremoved > 0 {
            let kept = count(summary.unremoved, "object");
            text += &format!("kept by {remote}: {kept} with withdrawn records; it doesn't let us remove them\n");
        }
    }
    text
}
