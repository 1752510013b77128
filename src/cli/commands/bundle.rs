//! `wbsync bundle`: one file that carries what another site lacks.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::{Args as ClapArgs, Subcommand};
use serde_json::json;

use super::{commit, merge};
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::span;
use crate::cli::text::{bytes, count, tame};
use crate::sync::bundle::open::read_request;
use crate::sync::bundle::strangers::Stranger;
use crate::sync::bundle::{BundleError, BundleOptions, BundleSummary, bundle_look, summary_of};
use crate::sync::commit::Mode;
use crate::sync::error::Error;
use crate::sync::instance::Purpose;
use crate::sys::clock;
use crate::sys::disk::Access;
use crate::sys::output::Output;

/// Carry records in one file: to sites that are reached by stick only
///
/// A bundle is a tar file with the layout of a store behind a signed index; docs/air-gap.md tells how sites exchange them.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  wbsync bundle create --for beta --to beta -o /media/stick/for-beta.tar.age
  wbsync bundle apply /media/stick/for-beta.tar.age
  wbsync bundle request -o /media/stick/beta.request
  wbsync bundle create --request /media/stick/beta.request | ssh gate 'cat > for-beta.tar'")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write down what this instance has, so that a bundle for it holds only what it lacks
    #[command(after_help = "Examples:\n  wbsync bundle request -o /media/stick/beta.request")]
    Request {
        /// Where to write it; `-` or nothing is standard output
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Pack what others lack; captures and publishes what is new first
    #[command(after_help = "\
Examples:
  wbsync bundle create --for beta --to beta -o /media/stick/for-beta.tar.age
  wbsync bundle create --for beta --for gamma --split 4G -o /media/stick/delivery.tar
  wbsync bundle create --request beta.request > for-beta.tar
  wbsync bundle create --for beta | gate-send
  wbsync bundle create --all --since 2026-11-01 -o archive.tar")]
    Create(Create),
    /// Read a bundle from end to end and check every byte against its index
    #[command(after_help = "Examples:\n  wbsync bundle verify /media/stick/for-beta.tar.age")]
    Verify {
        /// All parts of one bundle, in any order; `-` is standard input
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// List what a bundle holds
    #[command(
        after_help = "Examples:\n  wbsync bundle list for-beta.tar\n  wbsync bundle list delivery.tar.1 delivery.tar.2"
    )]
    List {
        /// All parts of one bundle, in any order; `-` is standard input
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Take a bundle in: fetch from it, merge, and write what came into the application's rows
    #[command(
        after_help = "Examples:\n  wbsync bundle apply /media/stick/for-beta.tar.age\n  gate-receive | wbsync bundle apply -"
    )]
    Apply {
        /// All parts of one bundle, in any order; `-` is standard input
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Only check the bundle and say what is in it
        #[arg(long, short = 'n')]
        dry_run: bool,
    },
}

#[derive(Debug, ClapArgs)]
struct Create {
    /// Peers: what they may read and their receipts don't confirm
    #[arg(long = "for", value_name = "PEER", required_unless_present_any = ["request", "all"])]
    peers: Vec<String>,
    /// Files that `bundle request` wrote: what those instances may read and don't have
    #[arg(long, value_name = "FILE")]
    request: Vec<PathBuf>,
    /// Everything in our store, whoever may read it
    #[arg(long, conflicts_with_all = ["peers", "request"])]
    all: bool,
    /// Whole, whatever they have
    #[arg(long, conflicts_with = "since")]
    full: bool,
    /// Take it that they have what we had at that time: 30d back, 2026-11-01, or 2026-11-01T12:00:00Z
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// With each head everything that it names and their store lacks, so that they can pass it on to others
    #[arg(long)]
    whole: bool,
    /// Cut into parts of at most SIZE, as in 700M or 4G: FILE.1, FILE.2, …
    #[arg(long, value_name = "SIZE", value_parser = size)]
    split: Option<u64>,
    /// Seal the whole bundle to these peers (and ourselves), so that nobody else sees even what it is about
    #[arg(long = "to", value_name = "PEER")]
    sealed_to: Vec<String>,
    /// Where to write it; `-` or nothing is standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Only list what it would hold; nothing is captured or published
    #[arg(long, short = 'n')]
    dry_run: bool,
}

/// Runs it.
///
/// # Errors
/// As `Instance::bundle_request`, `bundle_pack`, `bundle_write`, `bundle_look` and `bundle_apply`.
pub fn run(context: &mut Context, args: Args) -> Result<(), Failure> {
    match args.command {
        Command::Request { output } => {
            let request = context.instance(Purpose::Look)?.bundle_request()?;
            let output = output.as_deref().filter(|output| output.as_os_str() != "-");
            write_to(context, output, &mut |to| {
                to.write_all(&request).map_err(|source| Error::from(BundleError::Io { doing: "write", source }))
            })
        }
        Command::Create(create) => run_create(context, &create),
        Command::Verify { files } => {
            let summary = look(context, &files)?;
            context.answer(&json!({ "bundle": summary }), &describe(&summary))
        }
        Command::List { files } => {
            let summary = look(context, &files)?;
            let lines: String = summary.files.iter().map(|(path, bytes)| format!("{bytes:>12}  {path}\n")).collect();
            context.answer(&json!({ "bundle": summary }), &(describe(&summary) + &lines))
        }
        Command::Apply { files, dry_run } => {
            let mode = if dry_run { Mode::DryRun } else { Mode::Keep };
            let files = resolved(context, &files);
            let applied = context.instance(Purpose::Change)?.bundle_apply(&files, mode)?;
            let mut text = describe(&applied.bundle);
            if mode == Mode::Keep {
                text += &commit::describe(&applied.committed, mode);
                text += &format!("took {}\n", count(applied.fetched.heads.len() as u64, "new head"));
                text += &merge::describe(&applied.merge, mode);
            }
            context.answer(&applied, &text)?;
            tell_strangers(context, &applied.strangers);
            for waiting in &applied.fetched.held {
                context.warn(&format!("waits: {}", tame(waiting)));
            }
            context.report_refused([(&"the bundle".to_owned(), &applied.fetched)]);
            context.report_conflicts(&applied.merge.conflicts);
            Ok(())
        }
    }
}

/// Says whose records in a bundle were left alone, since nobody here asked for them.
fn tell_strangers(context: &Context, strangers: &[Stranger]) {
    for Stranger { name, fingerprint, is_peer } in strangers {
        let name = tame(name);
        context.warn(&match is_peer {
            true => format!("nothing is taken of {name}, who isn't followed here"),
            false => format!("nothing is taken of {name} ({fingerprint}), who is no peer here"),
        });
    }
    if strangers.iter().any(|stranger| !stranger.is_peer) {
        context.hint("`wbsync peer add CARD`, with the line that `wbsync id` prints there, makes it a peer");
    }
    if !strangers.is_empty() {
        context.hint("`wbsync follow NAME` takes in what it shares, once this bundle is applied again");
    }
}

fn run_create(context: &mut Context, create: &Create) -> Result<(), Failure> {
    let instance = context.instance(Purpose::Change)?;
    let mut requests = Vec::new();
    for path in &create.request {
        requests.push(read_request(&context.dir.join(path)).map_err(Error::from)?);
    }
    let since =
        create.since.as_ref().map(|when| span::moment(when, clock::now())).transpose().map_err(Failure::Usage)?;
    let options = BundleOptions {
        peers: create.peers.clone(),
        requests,
        all: create.all,
        full: create.full,
        whole: create.whole,
        since,
        split: create.split,
        sealed_to: create.sealed_to.clone(),
    };
    let output = create.output.as_deref().filter(|output| output.as_os_str() != "-");
    if create.split.is_some() && output.is_none() {
        return Err(Failure::Usage("parts need files: give --output FILE with --split".into()));
    }
    let mode = if create.dry_run { Mode::DryRun } else { Mode::Keep };
    let packing = instance.bundle_pack(&options, mode)?;
    let summary = summary_of(&packing.indexes);
    for left_out in &packing.left_out {
        context.warn(&tame(left_out));
    }
    if !packing.left_out.is_empty() {
        context.hint("their origin can pack the whole for us: `wbsync bundle create --whole --for …` there");
    }
    if create.dry_run {
        return context.answer(&json!({ "bundle": summary }), &describe(&summary));
    }
    let parts = packing.indexes.len();
    if parts > 1 && output.is_none() {
        return Err(Failure::Usage("a bundle of several parts needs --output".into()));
    }
    for part in 0..parts {
        let output = output.map(|output| name_of(output, create.split.is_some(), part));
        write_to(context, output.as_deref(), &mut |to| instance.bundle_write(&packing, part, to))?;
    }
    match output {
        Some(_) => context.answer(&json!({ "bundle": summary }), &describe(&summary)),
        None => {
            context.note(describe(&summary).trim_end());
            Ok(())
        }
    }
}

fn look(context: &Context, files: &[PathBuf]) -> Result<BundleSummary, Failure> {
    let files = resolved(context, files);
    Ok(match context.instance(Purpose::Look) {
        Ok(instance) => instance.bundle_look(&files)?,
        // A bundle that isn't sealed can be read by anybody.
        Err(_) => bundle_look(&files)?,
    })
}

fn resolved(context: &Context, files: &[PathBuf]) -> Vec<PathBuf> {
    let resolve = |path: &PathBuf| if path.as_os_str() == "-" { path.clone() } else { context.dir.join(path) };
    files.iter().map(resolve).collect()
}

fn name_of(output: &Path, is_split: bool, part: usize) -> PathBuf {
    let mut name = output.as_os_str().to_owned();
    if is_split {
        name.push(format!(".{}", part + 1));
    }
    name.into()
}

/// Gives `fill` a new file that is there only once it is whole, or standard output.
fn write_to(
    context: &Context,
    output: Option<&Path>,
    fill: &mut dyn FnMut(&mut dyn Write) -> Result<(), Error>,
) -> Result<(), Failure> {
    let Some(output) = output else {
        let mut stdout = io::stdout().lock();
        if stdout.is_terminal() {
            return Err(Failure::Usage("a bundle isn't written to a terminal: give --output, or redirect it".into()));
        }
        fill(&mut stdout)?;
        return stdout.flush().map_err(Failure::Output);
    };
    let path = context.dir.join(output);
    let failed = || Error::io("write", &path);
    let mut output = Output::create(&path, Access::Shared).map_err(failed())?;
    let mut buffered = io::BufWriter::with_capacity(256 << 10, output.file());
    fill(&mut buffered)?;
    buffered.flush().map_err(failed())?;
    drop(buffered);
    output.finish().map_err(failed())?;
    Ok(())
}

fn describe(summary: &BundleSummary) -> String {
    let name = if summary.name.is_empty() { summary.packed_by.clone() } else { summary.name.clone() };
    let time = summary.time.map(|time| format!(", {time}")).unwrap_or_default();
    let mut text = format!("bundle {} of {}{time}\n", &summary.id[..summary.id.len().min(8)], tame(&name));
    text += &format!("{}, {}", count(summary.heads, "head"), count(summary.objects, "object"));
    text += &format!(" ({})", bytes(summary.object_bytes));
    text += &if summary.parts > 1 { format!(", {}\n", count(summary.parts.into(), "part")) } else { "\n".into() };
    text
}

fn size(text: &str) -> Result<u64, String> {
    let told = || format!("{text:?} is no size: give it as in 700M or 4G");
    let (number, unit) = match text.as_bytes().last() {
        Some(b'K') => (&text[..text.len() - 1], 1 << 10),
        Some(b'M') => (&text[..text.len() - 1], 1 << 20),
        Some(b'G') => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1u64),
    };
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let bytes = number.parse::<u64>().ok().filter(|_| is_number).and_then(|number| number.checked_mul(unit));
    bytes.filter(|bytes| *bytes > 0).ok_or_else(told)
}
