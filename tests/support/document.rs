//! Documents that are run: each `console` block of a page, command by command, compared with what the page shows.
//!
//! A line `NAME$ command` is run by the shell in the directory of NAME; the lines below it are what it says. Nothing below
//! it: it only has to succeed. `…` in a line stands for any text, a line `…` for any lines, a last line `(exit code 3)` for how it ended.
//! A command that ends with `&` runs on until the page is done or `kill %NAME` ends it. A line that ends with `\` goes on in the next.
//! Ids, times, sizes and durations differ from run to run: the page's stand for those of the run, one for one.
//! `WBSYNC_UPDATE_DOCS=1` writes what was said into the page where it differs; read the difference.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use regex::Regex;
use tempfile::TempDir;

/// A command of a page, and the lines below it.
struct Step {
    site: String,
    command: String,
    shown: Vec<String>,
    /// Line of the page, from 0, where `shown` begins.
    at: usize,
}

/// Where a page is run, and what stands there for what the page names.
pub struct Stage<'a> {
    page: &'static str,
    dir: TempDir,
    sites: BTreeMap<String, PathBuf>,
    /// What the page says, what it is here.
    places: Vec<(String, String)>,
    variables: Vec<(String, String)>,
    own: Option<&'a Own<'a>>,
    /// The page's ids and those of the run.
    ids: BTreeMap<String, String>,
    running: Vec<(String, Child)>,
}

/// Runs a command itself (site, command) and returns what it said, or `None` if the shell is to run it.
pub type Own<'a> = dyn Fn(&str, &str) -> Option<String> + 'a;

impl<'a> Stage<'a> {
    /// Makes a stage for a page, with `wbsync` and nothing else on it.
    pub fn new(page: &'static str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let bin = dir.path().join("bin");
        fs::create_dir(&bin).unwrap();
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_wbsync"), bin.join("wbsync")).unwrap();
        let (places, variables) = Default::default();
        Self {
            page,
            dir,
            sites: BTreeMap::new(),
            places,
            variables,
            own: None,
            ids: BTreeMap::new(),
            running: Vec::new(),
        }
    }

    /// Returns a directory of the stage's own.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Says where the commands of a site are run.
    pub fn site(mut self, name: &str, dir: impl Into<PathBuf>) -> Self {
        self.sites.insert(name.to_owned(), dir.into());
        self
    }

    /// Says what stands for a path or an address of the page; what is said first counts first.
    pub fn place(mut self, named: &str, here: &str) -> Self {
        self.places.push((named.to_owned(), here.to_owned()));
        self
    }

    /// Makes a directory for a path of the page.
    pub fn directory(self, named: &str) -> Self {
        let here = self.dir.path().join(named.trim_matches('/').replace('/', "-"));
        fs::create_dir_all(&here).unwrap();
        let here = here.to_str().unwrap().to_owned();
        self.place(named, &here)
    }

    /// Puts a script into the PATH, in the place of a program.
    pub fn program(self, name: &str, script: &str) -> Self {
        let path = self.dir.path().join("bin").join(name);
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        self
    }

    /// Sets a variable of the environment.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Has some commands run by the test itself.
    pub fn own(mut self, own: &'a Own<'a>) -> Self {
        self.own = Some(own);
        self
    }

    /// Runs the page, and returns how many commands it has.
    pub fn run(mut self) -> usize {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(self.page);
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let steps = steps(&text);
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let mut moved = 0;
        for step in &steps {
            let found = self.step(step);
            let Err(complaint) = self.compare(step, &found) else { continue };
            assert!(
                std::env::var_os("WBSYNC_UPDATE_DOCS").is_some(),
                "{}:{}: `{}`: {complaint}\nit says:\n{found}",
                self.page,
                step.at,
                step.command
            );
            let found: Vec<String> = found.trim_end().lines().map(|line| self.as_the_page_says(line)).collect();
            let (at, grown) = (step.at.strict_add_signed(moved), found.len().cast_signed());
            lines.splice(at..at + step.shown.len(), found);
            moved += grown - step.shown.len().cast_signed();
            fs::write(&path, lines.join("\n") + "\n").unwrap();
        }
        steps.len()
    }

    fn step(&mut self, step: &Step) -> String {
        let dir = self
            .sites
            .get(&step.site)
            .unwrap_or_else(|| panic!("{}: nobody is called {}", self.page, step.site))
            .clone();
        let mut command = ID.replace_all(&step.command, |id: &regex::Captures<'_>| self.ours(&id[0])).into_owned();
        for (named, here) in &self.places {
            command = command.replace(named, here);
        }
        if let Some(said) = self.own.and_then(|own| own(&step.site, &command)) {
            return said;
        }
        if let Some(name) = command.strip_prefix("kill %") {
            let at = self.running.iter().position(|(running, _)| running.starts_with(name));
            let (_, mut child) = self.running.remove(at.unwrap_or_else(|| panic!("{name} isn't running")));
            assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
            return exit(child.wait().unwrap().code());
        }
        if let Some(said) = sqlite(&dir, &command) {
            return said;
        }
        let path = format!("{}:{}", self.dir.path().join("bin").display(), std::env::var("PATH").unwrap());
        let mut shell = Command::new("sh");
        shell.current_dir(&dir).env_clear().stdin(Stdio::null());
        shell.envs([
            ("NO_COLOR", "1"),
            ("TZ", "UTC"),
            ("LC_ALL", "C.UTF-8"),
            ("PATH", &path),
            ("HOME", dir.to_str().unwrap()),
        ]);
        shell.envs(self.variables.iter().map(|(name, value)| (name, value)));
        let log = self.dir.path().join(format!("log-{}", step.at));
        let out = File::create(&log).unwrap();
        shell.stdout(out.try_clone().unwrap()).stderr(out);
        let (started, said) = (Instant::now(), || fs::read_to_string(&log).unwrap());
        let wait = || {
            assert!(started.elapsed() < PATIENCE, "{}: `{command}` takes too long; it said:\n{}", self.page, said());
            std::thread::sleep(Duration::from_millis(2));
        };
        if let Some(command) = command.strip_suffix('&') {
            // `exec`, so that the child is the program and not a shell before it.
            let child = shell.args(["-c", &format!("exec {command}")]).spawn().unwrap();
            // It has begun once it has said something.
            while said().lines().count() < step.shown.len().max(1) {
                wait();
            }
            let said = said();
            self.running.push((command.replace("wbsync ", ""), child));
            return said;
        }
        // A loop that waits for ever ends with the test.
        let limited = format!("exec timeout {} sh -c \"$0\"", PATIENCE.as_secs());
        let status = shell.args(["-c", &limited, &command]).status().unwrap();
        said() + &exit(status.code())
    }

    /// Compares what was said with what the page shows, and learns which ids stand for which.
    fn compare(&mut self, step: &Step, found: &str) -> Result<(), String> {
        let mut rest = found.lines().filter(|line| !line.is_empty()).peekable();
        let mut may_skip = false;
        for wanted in step.shown.iter().filter(|line| !line.is_empty()) {
            if wanted == "…" {
                may_skip = true;
                continue;
            }
            loop {
                let line = rest.next().ok_or_else(|| format!("lacks the line {wanted:?}"))?;
                if matches(&stable(wanted), &stable(&self.with_places_of_the_page(line))) {
                    self.learn(wanted, line)?;
                    break;
                }
                if !may_skip {
                    return Err(format!("says {line:?} instead of {wanted:?}"));
                }
            }
            may_skip = false;
        }
        let failed = found.lines().last().is_some_and(|line| line.starts_with(EXIT));
        if failed && !step.shown.last().is_some_and(|line| line.starts_with(EXIT)) {
            return Err("failed".to_owned());
        }
        match rest.peek() {
            Some(line) if !may_skip && !step.shown.is_empty() => Err(format!("says more than the page: {line:?}")),
            _ => Ok(()),
        }
    }

    /// Notes for each id of a line of the page the one that the run has in its place.
    fn learn(&mut self, wanted: &str, line: &str) -> Result<(), String> {
        let line = self.with_places_of_the_page(line);
        let [theirs, ours] =
            [wanted, &line].map(|text| ID.find_iter(text).map(|id| id.as_str().to_owned()).collect::<Vec<_>>());
        // Where the page leaves some out, which is which can't be told.
        if theirs.len() != ours.len() {
            return Ok(());
        }
        let known: Vec<String> = theirs.iter().map(|id| self.ours(id)).collect();
        let sorted = |ids: &[String]| ids.iter().cloned().collect::<BTreeSet<_>>();
        if sorted(&known) == sorted(&ours) {
            // Some are shown in their own order, such as the parents of a merge.
            return Ok(());
        }
        for ((theirs, known), ours) in theirs.into_iter().zip(known).zip(ours) {
            if known != theirs && known != ours {
                return Err(format!("{theirs} of the page was {known} before and is {ours} now"));
            }
            self.ids.insert(theirs, ours);
        }
        Ok(())
    }

    /// Returns the id of the run that one of the page stands for; an unknown one stands for itself.
    fn ours(&self, id: &str) -> String {
        let long = self.ids.iter().find(|(theirs, _)| theirs.starts_with(id));
        long.map_or_else(|| id.to_owned(), |(_, ours)| ours[..id.len().min(ours.len())].to_owned())
    }

    fn as_the_page_says(&self, line: &str) -> String {
        let line = self.with_places_of_the_page(line);
        let theirs = |id: &str| {
            let known = self.ids.iter().find(|(_, ours)| ours.starts_with(id));
            known.map_or_else(|| id.to_owned(), |(theirs, _)| theirs[..id.len().min(theirs.len())].to_owned())
        };
        ID.replace_all(&line, |id: &regex::Captures<'_>| theirs(&id[0])).into_owned()
    }

    fn with_places_of_the_page(&self, line: &str) -> String {
        self.places.iter().fold(line.to_owned(), |line, (named, here)| line.replace(here, named))
    }
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        for (_, child) in &mut self.running {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn steps(page: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut is_console = false;
    for (number, line) in page.lines().enumerate() {
        match line {
            "```console" => is_console = true,
            "```" => is_console = false,
            _ if !is_console => {}
            line if steps.last().is_some_and(|step| step.shown.is_empty() && step.command.ends_with('\\')) => {
                let step = steps.last_mut().expect("there is one, as was asked just before");
                step.command.truncate(step.command.len() - 1);
                step.command += line.trim_start();
                step.at = number + 1;
            }
            line => match PROMPT.captures(line) {
                Some(found) => steps.push(Step {
                    site: found[1].to_owned(),
                    command: found[2].to_owned(),
                    shown: Vec::new(),
                    at: number + 1,
                }),
                None => steps.last_mut().expect("a command comes first").shown.push(line.to_owned()),
            },
        }
    }
    steps
}

/// Runs `sqlite3 FILE "SQL"`, perhaps with `> FILE`, and `sqlite3 FILE < SCRIPT` as that program does, which needn't be there.
fn sqlite(dir: &Path, command: &str) -> Option<String> {
    let found = SQLITE.captures(command)?;
    let db = rusqlite::Connection::open(dir.join(&found[1])).unwrap();
    db.busy_timeout(Duration::from_secs(5)).unwrap();
    if let Some(script) = found.get(4) {
        db.execute_batch(&fs::read_to_string(dir.join(script.as_str())).unwrap()).unwrap();
        return Some(String::new());
    }
    let sql = &found[2].replace("\\\"", "\"");
    if !sql.starts_with("SELECT") {
        db.execute_batch(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        return Some(String::new());
    }
    let rows = select(&db, sql);
    let Some(file) = found.get(3) else { return Some(rows) };
    fs::write(dir.join(file.as_str()), rows).unwrap();
    Some(String::new())
}

/// Returns what a query gives, as the program `sqlite3` prints it.
pub fn select(db: &rusqlite::Connection, sql: &str) -> String {
    let mut select = db.prepare(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let width = select.column_count();
    let mut found = select.query([]).unwrap();
    let mut rows = String::new();
    while let Some(row) = found.next().unwrap() {
        let cells = (0..width).map(|at| match row.get_ref(at).unwrap() {
            rusqlite::types::ValueRef::Null => String::new(),
            rusqlite::types::ValueRef::Integer(number) => number.to_string(),
            other => other.as_str().unwrap().to_owned(),
        });
        rows += &(cells.collect::<Vec<_>>().join("|") + "\n");
    }
    rows
}

fn exit(code: Option<i32>) -> String {
    match code {
        Some(0) => String::new(),
        Some(code) => format!("{EXIT}{code})\n"),
        None => format!("{EXIT}none)\n"),
    }
}

/// Returns a line with stand-ins for what differs from run to run.
fn stable(line: &str) -> String {
    VARYING.iter().fold(line.to_owned(), |line, (pattern, instead)| pattern.replace_all(&line, *instead).into_owned())
}

fn matches(wanted: &str, line: &str) -> bool {
    let mut parts = wanted.split('…');
    let Some(mut rest) = line.strip_prefix(parts.next().expect("a split has a first part")) else { return false };
    let parts: Vec<&str> = parts.collect();
    for (at, part) in parts.iter().enumerate() {
        if at + 1 == parts.len() {
            return rest.ends_with(part);
        }
        let Some(found) = rest.find(part) else { return false };
        rest = &rest[found + part.len()..];
    }
    rest.is_empty()
}

/// How long a command may take.
const PATIENCE: Duration = Duration::from_secs(120);
const EXIT: &str = "(exit code ";

static PROMPT: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"^([a-z]+)\$ (.+)$").unwrap());
static SQLITE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"^sqlite3 (\S+) (?:"((?s).*?)"(?: > (\S+))?|< (\S+))$"#).unwrap());
/// Ids as they are shown, whole or by their first digits; keys and fingerprints.
static ID: LazyLock<Regex> = LazyLock::new(|| Regex::new(ID_PATTERN).unwrap());
const ID_PATTERN: &str = r"\b[0-9a-f]{64}\b|\b[0-9a-f]{32}\b|\b[0-9a-f]{12}\b|\b[0-9a-f]{8}\b|SHA256:[A-Za-z0-9+/]{43}";

static VARYING: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    [
        (ID_PATTERN, "[id]"),
        (r"wbsync-card1:(…|[A-Za-z0-9_-]{100,})", "[card]"),
        (r"20\d\d-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?Z?", "[time]"),
        (r"\d[\d.,]* (bytes|KiB|MiB|GiB|KB|MB|GB)", "[size]"),
        (r"\d[\d.,]* (rows|records|objects)/s", "[speed]"),
        (r"\d+(\.\d)? (s|ms|seconds)\b", "[span]"),
        (r"\b(process id|pid) \d+", "$1 [pid]"),
        // What is folded with what depends on sizes, which differ by a few bytes.
        (r"\b\d+ objects?\b", "[objects]"),
        // Columns are as wide as what stands in them.
        (r" +", " "),
    ]
    .map(|(pattern, instead)| (Regex::new(pattern).unwrap(), instead))
    .into()
});

#[cfg(test)]
mod checks {
    #[allow(unused_imports, reason = "a test binary with a main of its own has no tests here")]
    use super::*;

    #[test]
    fn what_differs_from_run_to_run_is_equal_and_nothing_else() {
        let is_equal = |one: &str, other: &str| matches(&stable(one), &stable(other));
        assert!(is_equal("commit 1c15609f of 2026-02-01T18:30:00Z", "commit 00000000 of 2027-11-21T08:00:00Z"));
        assert!(is_equal("sent 1,024 bytes in 0.3 s", "sent 7 bytes in 12.0 s"));
        assert!(is_equal("a … c", "a b c") && !is_equal("a … c", "a b d"));
        assert!(!is_equal("2 records", "3 records") && !is_equal("(exit code 3)", "(exit code 4)"));
    }

    #[test]
    fn commands_and_what_they_say_are_found() {
        let found =
            steps("text\n```console\nalpha$ one\nsays\n(exit code 3)\nbeta$ two &\n```\n```toml\nalpha$ no\n```\n");
        let found: Vec<_> = found.iter().map(|s| (s.site.as_str(), s.command.as_str(), s.shown.len(), s.at)).collect();
        assert_eq!(found, [("alpha", "one", 2, 3), ("beta", "two &", 0, 6)]);
    }
}
