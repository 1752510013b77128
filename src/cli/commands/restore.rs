//! `wbsync restore`: catch up after a backup was put back.

use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::text::{count, tame};
use crate::id::name::PeerName;
use crate::sync::commit::Mode;
use crate::sync::error::Error;
use crate::sync::instance::{Instance, Purpose};
use crate::sync::restore::bare;
use crate::sync::restore::{RestoreOptions, RestoreSummary};

/// Catch up after a backup was put back: of the application's database, of `.wbsync`, or of both
///
/// Asks the remotes for what this instance published, takes a new incarnation so that peers can tell its histories
/// apart, brings records and rows together without dropping either side, and publishes. Run it also when a copy of this
/// instance was at work elsewhere, after stopping one of the two. If it is interrupted, run it again.
///
/// With nothing left but `.wbsync/keys` and `wbsync.toml`, name a store that this instance pushed to.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wbsync restore --dry-run
  wbsync restore
  wbsync restore /media/stick/wbsync")]
pub struct Args {
    /// The remotes to ask, by name or URL; otherwise all, and in the modes p2p and hybrid the own stores of peers
    remotes: Vec<String>,
    /// Only ask, and say what is newer there
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// Go on though no remote can be asked: what was published and is lost here stays lost
    #[arg(long)]
    without_remotes: bool,
    /// What the instance calls itself, if only its keys are left and no store has its card
    #[arg(long, value_name = "NAME")]
    name: Option<PeerName>,
}

/// Runs it.
///
/// # Errors
/// As `Instance::restore`.
pub fn run(context: &mut Context, args: Args) -> Result<(), Failure> {
    let mode = if args.dry_run { Mode::DryRun } else { Mode::Keep };
    let root = Instance::root_from_environment(&context.dir).unwrap_or_else(|| context.dir.clone());
    let url = args.remotes.iter().find(|remote| is_url(remote));
    if mode == Mode::DryRun && bare::is_bare(&root) {
        let urls = args.remotes.iter().map(|text| crate::sync::remotes::parse(text, &context.dir));
        let summary = bare::preview(&root, &urls.collect::<Result<Vec<_>, _>>()?)?;
        context.answer(&summary, &describe(&summary, mode))?;
        context.note("only the keys of this instance are here; the rest would be made anew around them");
        return Ok(());
    }
    let is_bare = bare::complete(&root, url.map(String::as_str), args.name, &context.dir)?;
    let mut instance = Instance::find(&context.dir, Purpose::Restore, context.watcher())?;
    let (mut remotes, mut urls) = (Vec::new(), Vec::new());
    for (number, given) in args.remotes.iter().enumerate() {
        match (is_url(given), mode) {
            (false, _) => remotes.push(PeerName::new(given).map_err(Error::from)?),
            // A look makes no remote.
            (true, Mode::DryRun) => urls.push(crate::sync::remotes::parse(given, &context.dir)?),
            (true, Mode::Keep) => remotes.push(remote_at(&instance, given, number, context)?),
        }
    }
    if is_bare {
        context.note("only the keys of this instance were left; the rest was made anew around them");
    }
    let options = RestoreOptions { remotes, urls, without_remotes: args.without_remotes };
    let summary = instance.restore(&options, mode)?;
    context.answer(&summary, &describe(&summary, mode))?;
    for (remote, why) in &summary.unreachable {
        context.warn(&format!("{remote} could not be asked: {why}"));
    }
    if !summary.unreachable.is_empty() {
        context.hint("what only they have is missing still; `wbsync restore` again brings it once they are there");
    }
    context.report_failed(&summary.pushed.failed);
    context.report_refused(&summary.fetched);
    context.report_conflicts(&summary.conflicts);
    Ok(())
}

/// Returns the remote with a URL, added under a free name if there is none.
fn remote_at(instance: &Instance, text: &str, number: usize, context: &Context) -> Result<PeerName, Error> {
    let url = crate::sync::remotes::parse(text, &context.dir)?.to_string();
    let known = instance.remotes_status()?;
    if let Some(known) = known.iter().find(|known| known.url == url) {
        return Ok(PeerName::new(&known.name)?);
    }
    let taken = |name: &str| known.iter().any(|known| known.name == name);
    let name = if taken(bare::REMOTE) { format!("{}-{}", bare::REMOTE, number + 1) } else { bare::REMOTE.to_owned() };
    let name = PeerName::new(&name)?;
    instance.remote_add(&name, text, &context.dir)?;
    Ok(name)
}

fn is_url(text: &str) -> bool {
    text.contains(['/', ':', '.'])
}

fn describe(summary: &RestoreSummary, mode: Mode) -> String {
    let (from, to) = summary.incarnation;
    let would = if mode == Mode::DryRun { "would take" } else { "took" };
    let mut text = String::new();
    for (remote, asked) in &summary.asked {
        if !asked.knows_us {
            text += &format!("{remote}: has nothing of this instance\n");
        } else if asked.newer.is_empty() {
            text += &format!("{remote}: has nothing of ours that is newer\n");
        }
        for newer in &asked.newer {
            let (scope, theirs, ours) = (tame(&newer.scope), newer.theirs, newer.ours);
            text += &format!("{remote}: has head {theirs} of {scope}, here it is {ours}\n");
        }
    }
    text += &format!("{would} incarnation {to} (was {from})\n");
    if mode == Mode::DryRun {
        return text;
    }
    for peer in &summary.peers {
        text += &format!("{}\n", tame(peer));
    }
    let rows = &summary.rows;
    text += &format!("compared {}\n", count(rows.compared, "row"));
    for (number, what) in [
        (rows.recognised, "recognised again as known records"),
        (rows.unpublished, "made records: nobody had heard of them"),
    ] {
        if number > 0 {
            text += &format!("{} {what}\n", count(number, "row"));
        }
    }
    for (number, what) in [
        (rows.edits, "edited here and not published: an edit now"),
        (rows.conflicts, "may be newer here or there: both values are kept"),
        (rows.rescued, "published only by a copy of this instance: taken in"),
    ] {
        if number > 0 {
            text += &format!("{} {what}\n", count(number, "field"));
        }
    }
    if rows.deleted > 0 {
        text += &format!("{} deleted here: deleted\n", count(rows.deleted, "record"));
    }
    for record in &rows.withdrawn {
        text += &format!("{record} is private here: taken out of its scope\n");
    }
    for record in &rows.kept_home {
        text += &format!("{record} was deleted or withdrawn since the backup: kept here, private\n");
    }
    let sums = [
        (&summary.applied.inserted, "inserted"),
        (&summary.applied.updated, "updated"),
        (&summary.applied.deleted, "deleted"),
    ];
    for (counts, what) in sums {
        for (dataset, number) in counts {
            text += &format!("{what} {number} in {dataset}\n");
        }
    }
    text + &super::push::describe(&summary.pushed)
}
