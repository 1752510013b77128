//! `wbsync clone`: make an instance and fill the application from a store, or from a bundle.

use std::path::PathBuf;

use serde_json::json;

use super::hub::read_token;
use super::init::{Options, explain};
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::text::{bytes, count, table};
use crate::hub::members::TOKEN_PREFIX;
use crate::sync::init::{CloneOptions, Invitation, Unfitting};
use crate::sync::instance::Instance;
use crate::sync::map;

/// Make an instance and fill the application from a store
///
/// The application's database must be there already, as the application makes it. The public scopes of the instances in
/// the store are followed, fetched and written into its rows; the store becomes the remote `origin`. A bundle is taken in
/// the same way, and becomes no remote: `wbsync bundle` goes on from there. One that is sealed needs keys to be sealed to: `wbsync init`
/// makes them, and a clone fills such an instance. A clone that was interrupted goes on with the same command.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wbsync clone /media/stick/wbsync --db sqlite:///data/app.db --preset whiteballoon
  wbsync clone /media/stick/wbsync board --follow alpha --expect SHA256:…
  wbsync clone https://hub.example/ --preset whiteballoon --invite invitation.txt
  wbsync clone eve@far.example:wbsync --preset whiteballoon
  wbsync clone for-us.tar.1 --part for-us.tar.2 --preset whiteballoon
  gate-receive | wbsync clone - --preset whiteballoon")]
pub struct Args {
    /// The store: a directory, a hub, or a place over SSH; or a bundle: a file, `-` for standard input
    url: String,
    /// The application's directory
    #[arg(value_name = "DIR")]
    root: Option<PathBuf>,
    /// Another part of a bundle that was split
    #[arg(long = "part", value_name = "FILE")]
    parts: Vec<PathBuf>,
    #[command(flatten)]
    options: Options,
    /// Follow only these instances
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    follow: Vec<String>,
    /// Follow only the instances with these fingerprints, and go on only if all of them are there
    #[arg(long, value_name = "FINGERPRINT", value_delimiter = ',')]
    expect: Vec<String>,
    /// Go on where records won't fit the application's tables: they wait
    #[arg(long)]
    despite_schema: bool,
    /// The file with an invitation to the hub, `-` for standard input; or WBSYNC_INVITE holds the invitation itself
    #[arg(long, value_name = "FILE")]
    invite: Option<PathBuf>,
}

impl Args {
    /// A clone as `init --from` means it.
    pub(super) fn of(url: String, root: PathBuf, options: Options) -> Self {
        let (follow, expect, parts) = (Vec::new(), Vec::new(), Vec::new());
        Self { url, root: Some(root), parts, options, follow, expect, despite_schema: false, invite: None }
    }
}

/// Runs it.
///
/// # Errors
/// As `Instance::clone_from` and `clone_from_bundle`.
pub fn run(context: &mut Context, args: Args) -> Result<(), Failure> {
    let root = match args.root {
        Some(root) => context.dir.join(root),
        None => context.dir.clone(),
    };
    let is_pinned = !args.expect.is_empty();
    let schema = if args.despite_schema { Unfitting::Wait } else { Unfitting::Refuse };
    let invitation = invitation(context, args.invite)?;
    let mut init = args.options.into_init();
    let outline = map::complete(&root, &mut init)?;
    let options = CloneOptions { init, follow: args.follow, expect: args.expect, schema, invitation };
    let place = if args.url == "-" { PathBuf::from("-") } else { context.dir.join(&args.url) };
    let is_bundle = args.url == "-" || place.is_file();
    if !is_bundle && !args.parts.is_empty() {
        return Err(Failure::Usage("--part is for bundles: name the first part of one".into()));
    }
    let (instance, summary) = match is_bundle {
        true => {
            let parts = args.parts.iter().map(|part| context.dir.join(part));
            let files: Vec<PathBuf> = std::iter::once(place).chain(parts).collect();
            Instance::clone_from_bundle(&files, &root, &options, context.watcher())?
        }
        false => Instance::clone_from(&args.url, &root, &options, &context.dir, context.watcher())?,
    };
    let rows: Vec<[String; 2]> = summary.peers.iter().map(|(name, print)| [name.clone(), print.clone()]).collect();
    let text = format!(
        "cloned from:\n{}fetched {} in {}, wrote {}\n",
        table("  ", &rows),
        bytes(summary.fetched.bytes),
        count(summary.fetched.objects, "object"),
        count(summary.applied.rows(), "row"),
    );
    let peers: Vec<_> =
        summary.peers.iter().map(|(name, print)| json!({ "name": name, "fingerprint": print })).collect();
    let (fetched, applied) = (&summary.fetched, &summary.applied);
    let fingerprint = instance.identity.fingerprint();
    let value = json!({ "name": instance.card.card.name, "fingerprint": fingerprint, "peers": peers,
        "fetched": fetched, "applied": applied });
    context.answer(&value, &text)?;
    explain(context, outline.as_ref());
    context.warn_of_misfits(&instance.misfits()?);
    context.warn_of_fits(&instance.fits()?);
    context.report_refused([(&args.url, fetched)]);
    if !is_pinned {
        context.hint("compare the fingerprints with those that the instances' owners see in `wbsync id --fingerprint`");
    }
    context.note_speed(applied.rows());
    Ok(())
}

/// Reads the invitation from where it lies. What is on a command line, every process of the machine can read.
fn invitation(context: &Context, file: Option<PathBuf>) -> Result<Option<Invitation>, Failure> {
    let token = match file {
        Some(file) if file.to_string_lossy().starts_with(TOKEN_PREFIX) => {
            return Err(Failure::Usage(
                "others on this machine can read a command line: put the invitation in a file, and give that to --invite, \
                 or set WBSYNC_INVITE"
                    .into(),
            ));
        }
        Some(file) => Some(read_token(context, Some(&file))?),
        None => std::env::var("WBSYNC_INVITE").ok().map(|token| token.trim().to_owned()),
    };
    Ok(token.filter(|token| !token.is_empty()).map(Invitation))
}
