//! Health: everything that has to be right for exchanges to go on, looked at once.

use std::path::Path;
use std::time::Duration;

use crate::connector::dburl::Address;
use crate::daemon::lock::WorkerLock;
use crate::daemon::report::Report;
use crate::sync::code::Code;
use crate::sync::error::Error;
use crate::sync::instance::{Instance, Purpose};
use crate::sync::progress::silent;
use crate::sync::status::{Status, explain};
use crate::sys::clock::{self, UnixMillis};
use crate::sys::{disk, room};

/// How an instance is.
#[derive(Debug, serde::Serialize)]
pub struct Health {
    /// The worst of the checks.
    pub verdict: Verdict,
    /// What was looked at.
    pub checks: Vec<Check>,
}

/// One thing that was looked at.
#[derive(Debug, serde::Serialize)]
pub struct Check {
    /// What, as a stable word; checks of remotes have their name in `about`.
    pub check: &'static str,
    /// The remote.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// How it is.
    pub verdict: Verdict,
    /// In words.
    pub says: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// How something is, from good to bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Good,
    /// Fine, and could be better.
    Advice,
    /// It will go wrong, or has for a while.
    Warning,
    /// Exchanges don't go on, or shouldn't.
    Bad,
}

/// What to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Whether remotes are asked whether they are there.
    pub ask: bool,
    /// How long a remote may be without a successful exchange.
    pub age: Duration,
}

/// Looks at the instance in `root`.
pub fn examine(root: &Path, options: Options) -> Health {
    let mut checks = Checks(Vec::new());
    match Instance::open(root, Purpose::Look, silent()) {
        Ok(instance) => {
            if let Err(error) = look(&instance, options, &mut checks) {
                checks.fail("instance", &error);
            }
        }
        Err(error) => checks.fail("instance", &error),
    }
    let verdict = checks.0.iter().map(|check| check.verdict).max().unwrap_or(Verdict::Good);
    Health { verdict, checks: checks.0 }
}

fn look(instance: &Instance, options: Options, checks: &mut Checks) -> Result<(), Error> {
    match instance.check_writable() {
        Ok(()) => {
            let says = format!("{} can be opened and written", instance.dir().display());
            checks.add("instance", Verdict::Good, says, None);
        }
        Err(error) => checks.fail("instance", &error),
    }
    worker(instance, checks);
    let database = instance.with_database(|database| database.position().map(drop).map_err(Error::from));
    match &database {
        Ok(()) => match instance.with_database(|database| Ok(database.check()?)) {
            Ok(()) => {
                let says = "the application's database can be read and written";
                checks.add("database", Verdict::Good, says.into(), None);
            }
            // Whoever has it now lets go of it, as long as nothing else is wrong.
            Err(error) if error.code() == Code::DatabaseLocked => {
                checks.add("database", Verdict::Warning, explain(&error), error.hint().as_deref());
            }
            Err(error) => checks.fail("database", &error),
        },
        Err(error) => checks.fail("database", error),
    }
    journal(instance, checks);
    space(instance, checks);
    let status = instance.status()?;
    mapping(instance, &status, checks);
    records(&status, checks);
    for remote in instance.remotes_status()? {
        exchange(instance, &remote.name, options, checks)?;
    }
    if database.is_ok() {
        match instance.audit()?.len() {
            0 => checks.add("privacy", Verdict::Good, "the audit finds nothing".into(), None),
            found => {
                let says = format!("the audit finds {found} things");
                checks.add("privacy", Verdict::Bad, says, Some("see them with `wbsync privacy audit`"));
            }
        }
    }
    Ok(())
}

fn worker(instance: &Instance, checks: &mut Checks) {
    match WorkerLock::is_taken(instance.dir()) {
        Ok(false) => {
            checks.add("worker", Verdict::Good, "none runs; exchanges are made by hand or by a timer".into(), None)
        }
        Ok(true) => {
            let report = Report::read(instance.dir());
            match report.as_ref().and_then(|report| report.here.as_ref()) {
                None => checks.add("worker", Verdict::Good, "it runs".into(), None),
                Some(stopped) => {
                    let verdict = if stopped.failures >= 3 { Verdict::Bad } else { Verdict::Warning };
                    let says = format!("it can't work: {}", stopped.error.message);
                    checks.add("worker", verdict, says, stopped.error.hint.as_deref());
                }
            }
        }
        Err(error) => checks.add("worker", Verdict::Warning, explain(&error), error.hint().as_deref()),
    }
}

/// In a database with a rollback journal, whoever reads for long makes those wait who write.
fn journal(instance: &Instance, checks: &mut Checks) {
    let Ok(Address::Sqlite(path)) = instance.database_address() else { return };
    // The file's header says it in its 19th byte (SQLite, "Database File Format"): 1 is rollback, 2 is WAL.
    match disk::read_start(&path, 20).ok().and_then(|header| header.get(18).copied()) {
        Some(2) => checks.add("journal", Verdict::Good, "the database has a write-ahead log".into(), None),
        Some(1) => checks.add(
            "journal",
            Verdict::Advice,
            "the database has a rollback journal: while it is read, the application waits to write".into(),
            Some(
                "with the application stopped, `sqlite3 FILE 'PRAGMA journal_mode=WAL'` once; wbsync copes with either",
            ),
        ),
        _ => {}
    }
}

fn space(instance: &Instance, checks: &mut Checks) {
    let mut places = vec![instance.dir().to_owned()];
    if let Ok(Address::Sqlite(path)) = instance.database_address() {
        places.extend(path.parent().map(Path::to_owned));
    }
    let least = places.iter().filter_map(|place| room::free_bytes(place).ok().flatten()).min();
    let Some(free) = least else { return };
    let verdict = match free {
        0..SPACE_BAD => Verdict::Bad,
        SPACE_BAD..SPACE_WARNING => Verdict::Warning,
        _ => Verdict::Good,
    };
    let hint = (verdict != Verdict::Good).then_some("make room, or let `wbsync gc` remove what nothing needs");
    checks.add("space", verdict, format!("{} MB are free", free / 1_000_000), hint);
}

fn mapping(instance: &Instance, status: &Status, checks: &mut Checks) {
    match instance.mapping() {
        Err(error) => checks.fail("mapping", &error),
        Ok(_) if status.database_error.is_some() => {
            let says = "it can be read; whether it fits the database can't be told".into();
            checks.add("mapping", Verdict::Good, says, None);
        }
        Ok(_) if status.misfits.is_empty() && status.fits.is_empty() => {
            checks.add("mapping", Verdict::Good, "it fits the database".into(), None);
        }
        Ok(_) => {
            let says = format!("{} things don't quite fit", status.misfits.len() + status.fits.len());
            checks.add("mapping", Verdict::Advice, says, Some("see them with `wbsync status`"));
        }
    }
}

fn records(status: &Status, checks: &mut Checks) {
    let forked: usize = status.scopes.iter().map(|scope| scope.forked.len()).sum();
    if forked > 0 {
        let hint = "`wbsync status` names them; nothing of theirs is merged until `wbsync peer accept`";
        checks.add("histories", Verdict::Bad, format!("{forked} signers published two histories"), Some(hint));
    }
    if status.unfinished_apply {
        let hint = "`wbsync merge` finishes it";
        checks.add("apply", Verdict::Warning, "an apply was interrupted".into(), Some(hint));
    }
    if !status.conflicts.is_empty() {
        let says = format!("{} fields hold more than one value", status.conflicts.len());
        checks.add("conflicts", Verdict::Advice, says, Some("`wbsync conflicts` lists them"));
    }
    if status.parked_total > 0 {
        let says = format!("{} records wait to be written", status.parked_total);
        checks.add("waiting", Verdict::Advice, says, Some("`wbsync status` says for what"));
    }
}

fn exchange(instance: &Instance, name: &str, options: Options, checks: &mut Checks) -> Result<(), Error> {
    let Some(row) = instance.state.remotes()?.into_iter().find(|row| row.name.as_str() == name) else { return Ok(()) };
    let (now, failing) = (clock::now(), instance.state.failing(&row.name)?);
    let last = row.fetched.max(row.pushed);
    let old = last.is_none_or(|last| u128::from(now.0.saturating_sub(last.0)) > options.age.as_millis());
    let age = last.map_or("never".to_owned(), |last| format!("{} ago", ago(last, now)));
    let mut reached = true;
    if options.ask {
        match instance.reach(&row.name) {
            Ok(their_clock) => {
                checks.add_about("reachable", name, Verdict::Good, "it is there".into(), None);
                if let Some(theirs) = their_clock {
                    skew(name, theirs, now, checks);
                }
            }
            Err(error) => {
                reached = false;
                let verdict = if old { Verdict::Bad } else { Verdict::Warning };
                checks.add_about("reachable", name, verdict, explain(&error), error.hint().as_deref());
            }
        }
    }
    let verdict = match (old, &failing) {
        (true, _) => Verdict::Bad,
        (false, Some(_)) => Verdict::Warning,
        (false, None) => Verdict::Good,
    };
    let hint = (verdict != Verdict::Good && reached).then_some("`wbsync sync` tries now, and says what is wrong");
    checks.add_about("exchange", name, verdict, format!("the last one that went well: {age}"), hint);
    let waiting = instance.waiting(&row.name)?;
    let verdict = if waiting.heads > 0 && failing.is_some() { Verdict::Warning } else { Verdict::Good };
    let says = match waiting.heads {
        1 => format!("1 head with {} bytes waits to be sent", waiting.bytes),
        heads => format!("{heads} heads with {} bytes wait to be sent", waiting.bytes),
    };
    checks.add_about("queue", name, verdict, says, None);
    Ok(())
}

fn skew(name: &str, theirs: UnixMillis, now: UnixMillis, checks: &mut Checks) {
    let off = theirs.0.abs_diff(now.0) / 1000;
    let verdict = match off {
        0..SKEW_WARNING => Verdict::Good,
        SKEW_WARNING..SKEW_BAD => Verdict::Warning,
        _ => Verdict::Bad,
    };
    let hint = (verdict != Verdict::Good).then_some("set the clock of whichever machine is wrong, by NTP");
    checks.add_about("clock", name, verdict, format!("its clock and ours differ by {off} s"), hint);
}

/// Says how long ago something was.
pub fn ago(then: UnixMillis, now: UnixMillis) -> String {
    let seconds = now.0.saturating_sub(then.0) / 1000;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

struct Checks(Vec<Check>);

impl Checks {
    fn add(&mut self, check: &'static str, verdict: Verdict, says: String, hint: Option<&str>) {
        self.0.push(Check { check, about: None, verdict, says, hint: hint.map(str::to_owned) });
    }

    fn add_about(&mut self, check: &'static str, name: &str, verdict: Verdict, says: String, hint: Option<&str>) {
        self.add(check, verdict, says, hint);
        self.0.last_mut().expect("it was added just above").about = Some(name.to_owned());
    }

    fn fail(&mut self, check: &'static str, error: &Error) {
        self.add(check, Verdict::Bad, explain(error), error.hint().as_deref());
    }
}

const SPACE_BAD: u64 = 100_000_000;
const SPACE_WARNING: u64 = 1_000_000_000;
/// Seconds. `latest` takes the later of two writes, and a hub refuses requests that are 300 seconds off.
const SKEW_WARNING: u64 = 30;
const SKEW_BAD: u64 = 300;
