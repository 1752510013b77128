//! `wbsync status`: where this instance stands.

use std::io::{self, IsTerminal};
use std::time::Duration;

use super::scope;
use super::standing;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::text::{
    HEADING, HINT, WARNING, by_name, bytes, count, on_one_line, private, private_parts, table, tame, too_large,
};
use crate::daemon::lock::WorkerLock;
use crate::daemon::report::Report;
use crate::sync::instance::Purpose;
use crate::sync::size::{Sizes, StoreSize};
use crate::sync::standing::Room;
use crate::sync::status::Status;

/// Show where this instance stands: scopes, peers, remotes, conflicts, what waits
///
/// Nothing is scanned and nobody is asked: edits of the application's show after `commit`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wbsync status
  wbsync status --watch
  wbsync status --size
  wbsync --json status")]
pub struct Args {
    /// Show it again whenever it changed, until interrupted; with --json one object a line
    #[arg(long)]
    watch: bool,
    /// Show instead how much room everything takes: state, store, each remote (they are asked), the bookkeeping in the
    /// application's database
    #[arg(long, conflicts_with = "watch")]
    size: bool,
}

/// The status with what the worker tells.
#[derive(serde::Serialize)]
struct Told {
    #[serde(flatten)]
    status: Status,
    worker: Option<Report>,
}

/// Runs it.
///
/// # Errors
/// As `Instance::status`.
pub fn run(context: &mut Context, args: Args) -> Result<(), Failure> {
    if args.watch {
        return watch(context);
    }
    if args.size {
        let sizes = context.instance(Purpose::Look)?.sizes()?;
        return context.answer(&sizes, &describe_sizes(&sizes));
    }
    let told = told(context)?;
    context.answer(&told, &(describe(&told.status) + &worker(told.worker.as_ref())))?;
    let status = told.status;
    if let Some(error) = &status.database_error {
        context.warn(error);
    } else if status.unfinished_apply {
        context.hint("an apply was interrupted; `wbsync merge` finishes it");
    } else if status.scopes.iter().any(|scope| scope.followed && (!scope.applied || !scope.unmerged.is_empty())) {
        context.hint("`wbsync merge` writes what was fetched into the application's rows");
    } else if status.scopes.iter().any(|scope| scope.unpublished) {
        context.hint("`wbsync push` sends what was committed");
    }
    Ok(())
}

fn told(context: &Context) -> Result<Told, Failure> {
    let instance = context.instance(Purpose::Look)?;
    let worker = if WorkerLock::is_taken(instance.dir())? { Report::read(instance.dir()) } else { None };
    Ok(Told { status: instance.status()?, worker })
}

/// Shows the status whenever it changed; on a terminal in place of the one before.
fn watch(context: &Context) -> Result<(), Failure> {
    let mut shown = String::new();
    loop {
        let told = told(context)?;
        let text = describe(&told.status) + &worker(told.worker.as_ref());
        // How much is free changes by whatever else the machine does.
        let mut seen = serde_json::to_value(&told).expect("it has text keys");
        seen["sizes"]["free_bytes"] = serde_json::Value::Null;
        let now = seen.to_string();
        if now != shown {
            let clear = if io::stdout().is_terminal() { "\u{1b}[H\u{1b}[2J" } else { "" };
            context.answer_line(&told, &format!("{clear}{text}"))?;
            shown = now;
        }
        std::thread::sleep(WATCH_EVERY);
    }
}

/// Says what the worker does, if one runs.
fn worker(report: Option<&Report>) -> String {
    let Some(report) = report else { return String::new() };
    let mut text =
        format!("\n{HEADING}worker{HEADING:#}\n  runs since {}, process id {}\n", report.started, report.pid);
    if let Some(stopped) = &report.here {
        let failures = count(stopped.failures.into(), "failure");
        let message = tame(&stopped.error.message);
        text += &format!("  {WARNING}can't work{WARNING:#}: {message}; {failures}, next try {}\n", stopped.next);
        text += &stopped.error.hint.as_ref().map(|hint| format!("  {HINT}hint:{HINT:#} {hint}\n")).unwrap_or_default();
    }
    for remote in &report.remotes {
        let next = remote.next.as_ref().map_or("in reserve".to_owned(), |next| format!("next exchange by {next}"));
        let error = remote.error.as_ref().map(|error| format!("; {}", error.code)).unwrap_or_default();
        text += &format!("  {}: {next}{error}\n", remote.name);
        let hint = remote.error.as_ref().and_then(|error| error.hint.as_ref());
        text += &hint.map(|hint| format!("    {HINT}hint:{HINT:#} {hint}\n")).unwrap_or_default();
    }
    text
}

const WATCH_EVERY: Duration = Duration::from_secs(2);

fn describe(status: &Status) -> String {
    const LISTED_MAX: usize = 20;
    const LINE_MAX: usize = 90;
    let mut text = format!("{HEADING}{}{HEADING:#}  {}\n", status.name, status.fingerprint);
    text += &format!("\n{HEADING}scopes{HEADING:#}\n{}", scope::lines("  ", status));
    text += &standing::peers(&status.peers);
    text += &standing::remotes(&status.remotes);
    if !status.conflicts.is_empty() {
        let shown: String = status.conflicts.iter().take(LISTED_MAX).map(|line| format!("  {line}\n")).collect();
        let number = count(status.conflicts.len() as u64, "conflict");
        text += &format!("\n{WARNING}{number}{WARNING:#}\n{shown}{}", rest(status.conflicts.len(), LISTED_MAX));
    }
    if status.parked_total > 0 {
        let rows: Vec<_> = status
            .parked
            .iter()
            .take(LISTED_MAX)
            .map(|parked| [on_one_line(&parked.record), on_one_line(&parked.reason)])
            .collect();
        let total = usize::try_from(status.parked_total).unwrap_or(usize::MAX);
        let number = count(status.parked_total, "record");
        text += &format!("\n{WARNING}{number} waiting{WARNING:#}\n{}{}", table("  ", &rows), rest(total, LISTED_MAX));
    }
    if status.late_edits > 0 {
        let number = count(status.late_edits as u64, "late edit");
        text +=
            &format!("\n{WARNING}{number}{WARNING:#} of records that had left their scope: `wbsync privacy late`\n");
    }
    if !status.placeholders.is_empty() {
        text += &format!("\nplaceholders that local rows refer to: {}\n", by_name(&status.placeholders));
    }
    if status.pruned > 0 {
        text += &format!("\npruned here: {}\n", count(status.pruned, "record"));
    }
    let mut schema: Vec<String> = status.misfits.iter().map(|misfit| format!("  {}\n", misfit.line())).collect();
    for fit in &status.fits {
        schema.extend(fit.lines().into_iter().map(|line| format!("  {line}\n")));
    }
    if !schema.is_empty() {
        text += &format!("\n{WARNING}schema{WARNING:#}\n{}", schema.concat());
    }
    if !status.too_large.is_empty() {
        text += &format!("\n{}", too_large(&status.too_large));
    }
    if !status.private.is_empty() {
        let (parts, line) = (private_parts(&status.private), private(&status.private));
        let lines = || format!("\nprivate:\n  {}\n", parts.join("\n  "));
        text += &if line.len() > LINE_MAX { lines() } else { format!("\nprivate: {line}\n") };
    }
    let Room { state_bytes, store_bytes, free_bytes, .. } = status.sizes;
    let free = free_bytes.map(|free| format!(", {} free", bytes(free))).unwrap_or_default();
    text += &format!("\nsizes: state {}, store {}{free}\n", bytes(state_bytes), bytes(store_bytes));
    text
}

fn describe_sizes(sizes: &Sizes) -> String {
    let store = |name: &str, size: &StoreSize| {
        let what = format!("{}, {} that no head names", count(size.objects, "object"), bytes(size.unused));
        let what = if size.is_listed { what } else { format!("{} that heads name", count(size.objects, "object")) };
        [name.to_owned(), bytes(size.bytes), what]
    };
    let nodes = format!("{}, {} free for reuse", count(sizes.state.nodes, "tree node"), bytes(sizes.state.free));
    let mut rows = vec![["state".to_owned(), bytes(sizes.state.used), nodes]];
    rows.extend(sizes.store.as_ref().map(|size| store("store", size)));
    if sizes.fetched > 0 {
        rows.push(["fetched".into(), bytes(sizes.fetched), "not used yet".into()]);
    }
    rows.push(match sizes.database {
        Some(found) => [
            "bookkeeping".into(),
            bytes(found.books),
            format!("of {} of the application's database", bytes(found.whole)),
        ],
        None => ["bookkeeping".into(), "unknown".into(), "the application's database can't be read".into()],
    });
    rows.extend(sizes.remotes.iter().map(|(name, size)| store(&format!("remote {}", tame(name)), size)));
    for (name, why) in &sizes.unknown {
        rows.push([format!("remote {}", tame(name)), "unknown".into(), tame(why)]);
    }
    table("", &rows)
}

fn rest(total: usize, shown: usize) -> String {
    if total > shown { format!("  … and {} more\n", total - shown) } else { String::new() }
}
