//! `wbsync restore`: catch up after a backup was put back.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::cli::commands::init::Options;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::passphrase::{Source, Use};
use crate::cli::text::{count, tame};
use crate::id::name::PeerName;
use crate::keys::export::{Export, TEXT_BYTES_MAX};
use crate::sync::commit::Mode;
use crate::sync::error::Error;
use crate::sync::instance::{Instance, Purpose};
use crate::sync::restore::{RestoreOptions, RestoreSummary};
use crate::sync::restore::{bare, identity};
use crate::sys::disk;

/// Catch up after a backup was put back: of the application's database, of `.wbsync`, or of both
///
/// Asks the remotes for what this instance published, takes a new incarnation so that peers can tell its histories
/// apart, brings records and rows together without dropping either side, and publishes. Run it also when a copy of this
/// instance was at work elsewhere, after stopping one of the two. If it is interrupted, run it again.
///
/// With nothing left but `.wbsync/keys` and `wbsync.toml`, name a store that this instance pushed to. With nothing left but
/// what `wbsync export-identity` printed, name that file, and the application's database and mapping as for `init`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wbsync restore --dry-run
  wbsync restore
  wbsync restore /media/stick/wbsync
  wbsync restore --identity alpha.identity --db sqlite:///data/app.db --preset whiteballoon https://hub.example/")]
pub struct Args {
    /// The remotes to ask, by name or URL; otherwise all, and in the modes p2p and hybrid the own stores of peers
    remotes: Vec<String>,
    /// Only ask, and say what is newer there
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// Only make what is missing around the keys, and restore nothing yet: to add peers before
    #[arg(long, conflicts_with = "dry_run")]
    prepare: bool,
    /// Go on though no remote can be asked that knows this instance: what was published and is lost here stays lost
    #[arg(long)]
    without_remotes: bool,
    /// Bring back an exported identity: the file, or a picture's text, that `wbsync export-identity` printed
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    #[command(flatten)]
    passphrase: Source,
    /// What the instance is called, if only its keys are left; otherwise as before
    #[command(flatten)]
    options: Options,
}

/// The most bytes of a file with an exported identity in it.
const FILE_BYTES_MAX: u64 = TEXT_BYTES_MAX as u64;

/// Runs it.
///
/// # Errors
/// As `Instance::restore`; the exported identity can't be opened.
pub fn run(context: &mut Context, args: Args) -> Result<(), Failure> {
    let mode = if args.dry_run { Mode::DryRun } else { Mode::Keep };
    let root = Instance::root_from_environment(&context.dir).unwrap_or_else(|| context.dir.clone());
    let options = args.options.into_init();
    let export = args.identity.as_ref().map(|path| open_export(context, path, &args.passphrase)).transpose()?;
    if let Some(export) = &export {
        if mode == Mode::DryRun {
            return tell(context, export);
        }
        identity::place(&root, export, &options)?;
    } else if options.database.is_some() || options.preset.is_some() || options.mode.is_some() {
        return Err(Failure::Usage("--db, --preset and --mode are for a new machine, with --identity".into()));
    }
    if mode == Mode::DryRun && bare::is_bare(&root) {
        let urls = args.remotes.iter().map(|text| crate::sync::remotes::parse(text, &context.dir));
        let summary = bare::preview(&root, &urls.collect::<Result<Vec<_>, _>>()?)?;
        context.answer(&summary, &describe(&summary, mode))?;
        context.note("a part of this instance is missing, and would be made anew around its keys");
        return Ok(());
    }
    let url = args.remotes.iter().find(|remote| is_url(remote)).map(String::as_str);
    let known = bare::Known { url, name: options.name.as_ref(), export: export.as_ref() };
    let is_bare = bare::complete(&root, known, &context.dir)?;
    let mut instance = Instance::find(&context.dir, Purpose::Restore, context.watcher())?;
    if let Some(export) = &export {
        instance.remotes_of(export)?;
    }
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
        context.note("a part of this instance was missing, and was made anew around its keys");
    }
    if args.prepare {
        return context.answer(&json!({ "prepared": is_bare }), "prepared; `wbsync restore` goes on\n");
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
    context.warn_of_kept_home(&summary.rows.in_doubt);
    context.report_failed(&summary.pushed.failed);
    context.report_refused(&summary.fetched);
    context.report_conflicts(&summary.conflicts);
    Ok(())
}

/// Opens the export in a file.
fn open_export(context: &Context, path: &Path, passphrase: &Source) -> Result<Export, Failure> {
    let path = context.dir.join(path);
    let bytes = disk::read_bounded(&path, FILE_BYTES_MAX).map_err(Error::io("read", &path))?;
    let missing = || Error::io("read", &path)(io::Error::new(io::ErrorKind::NotFound, "there is no such file"));
    let text = String::from_utf8_lossy(&bytes.ok_or_else(missing)?).into_owned();
    let passphrase = passphrase.passphrase(Use::Open)?;
    context.note("opening the exported identity; this takes a second or more");
    Ok(Export::open(&text, &passphrase).map_err(Error::Export)?)
}

/// Says what an export holds.
fn tell(context: &Context, export: &Export) -> Result<(), Failure> {
    let (name, fingerprint, incarnation) = (&export.name, export.identity.fingerprint(), export.incarnation);
    let mut text = format!("name         {name}\nfingerprint  {fingerprint}\nincarnation  {incarnation}\n");
    for (name, url) in &export.remotes {
        text += &format!("remote       {name} {}\n", tame(url));
    }
    let remotes: Vec<_> = export.remotes.iter().map(|(name, url)| json!({ "name": name, "url": url })).collect();
    let json = json!({ "name": name, "fingerprint": fingerprint, "incarnation": incarnation, "remotes": remotes });
    context.answer(&json, &text)?;
    context.note("the passphrase opens it; nothing was made");
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
    for record in &rows.removed {
        text += &format!("{record} was deleted since the backup: deleted here\n");
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
