//! What only a terminal shows, the pager and progress, on a real one: one that `script` makes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use regex::Regex;
use tempfile::TempDir;
use wbsync::testing::whiteballoon::seed::Seed;

use crate::shown::{Pair, skipped};
use crate::support::app::App;

/// A directory with a pager that writes down what it was given, and a terminal of five rows.
struct Terminal {
    dir: TempDir,
}

impl Terminal {
    /// `None` where there is no `script`.
    fn new() -> Option<Self> {
        let is_there = Command::new("script").arg("--version").output().is_ok_and(|output| output.status.success());
        if !is_there {
            skipped("the terminal: script is not installed");
            return None;
        }
        Some(Self { dir: tempfile::tempdir().unwrap() })
    }

    fn seen(&self) -> PathBuf {
        self.dir.path().join("seen")
    }

    /// What the pager was given, and forgets it.
    fn take(&self) -> Option<String> {
        let text = fs::read_to_string(self.seen()).ok();
        let _ = fs::remove_file(self.seen());
        text
    }

    fn pager(&self) -> String {
        format!("cat > {}", self.seen().display())
    }

    /// Runs a command line; returns its exit code and what the terminal showed.
    fn run(&self, at: &Path, line: &str, variables: &[(&str, &str)]) -> (i32, String) {
        let line = format!("stty rows 5 cols 80; {} {line}", env!("CARGO_BIN_EXE_wbsync"));
        let output = Command::new("script")
            .args(["-q", "-e", "-c", &line, "/dev/null"])
            .current_dir(at)
            .env_clear()
            .env("PATH", std::env::var("PATH").unwrap())
            .env("TERM", "xterm")
            .env("SHELL", "/bin/sh")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        (output.status.code().unwrap(), String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

#[test]
fn what_is_longer_than_the_terminal_goes_through_the_pager() {
    let Some(terminal) = Terminal::new() else { return };
    let pair = Pair::new();
    pair.alpha.wbsync(&["sync"]).ok();
    const LONG: &str = "privacy explain requests#1";
    let (at, pager) = (pair.alpha.dir(), terminal.pager());
    let wanted = [("WBSYNC_PAGER", pager.as_str()), ("PAGER", "false")];
    let plain = pair.alpha.wbsync(&["privacy", "explain", "requests#1"]).ok().stdout;

    let (code, shown) = terminal.run(at, LONG, &wanted);
    let paged = terminal.take().expect("the pager was asked");
    assert!(code == 0 && !shown.contains("requests#1"), "{shown}");
    let heading = |text: &str| text.contains("\u{1b}[1mrequests#1");
    assert!(heading(&paged), "colours go along: {paged}");
    assert_eq!(anstream::adapter::strip_str(&paged).to_string(), plain, "and nothing else does");

    terminal.run(at, LONG, &[("PAGER", &pager)]);
    assert!(terminal.take().is_some(), "PAGER counts where WBSYNC_PAGER isn't set");
    terminal.run(at, LONG, &[("WBSYNC_PAGER", &pager), ("NO_COLOR", "1")]);
    assert_eq!(terminal.take().as_deref(), Some(plain.as_str()), "NO_COLOR holds for the pager too");
    terminal.run(at, &format!("{LONG} --color never"), &wanted);
    assert_eq!(terminal.take().as_deref(), Some(plain.as_str()));

    // No pager where it isn't wanted, or nothing is too long, or scripts read.
    let many =
        [format!("{LONG} --no-pager"), format!("--no-pager {LONG}"), format!("{LONG} --json"), "remote list".into()];
    for line in &many {
        let (code, shown) = terminal.run(at, line, &wanted);
        assert!(code == 0 && !shown.is_empty() && terminal.take().is_none(), "{line}: {shown}");
    }
    for none in ["", "cat"] {
        let (_, shown) = terminal.run(at, LONG, &[("WBSYNC_PAGER", none), ("PAGER", &pager)]);
        assert!(heading(&shown) && terminal.take().is_none(), "{shown}");
    }
}

#[test]
fn a_pager_that_is_left_or_missing_is_no_failure() {
    let Some(terminal) = Terminal::new() else { return };
    let (at, seen) = (terminal.dir.path(), terminal.seen());
    let first = format!("head -n 1 > {}", seen.display());
    let (code, shown) = terminal.run(at, "completions bash", &[("WBSYNC_PAGER", &first)]);
    assert_eq!((code, terminal.take().map(|text| text.lines().count())), (0, Some(1)), "{shown}");
    let (code, shown) = terminal.run(at, "completions bash", &[("WBSYNC_PAGER", "no-such-pager")]);
    assert!(code == 0 && shown.contains("_wbsync()"), "it is shown all the same: {shown}");
}

#[test]
fn what_is_piped_is_plain() {
    let pair = Pair::new();
    let dir = tempfile::tempdir().unwrap();
    let seen = dir.path().join("seen");
    let pager = format!("cat > {}", seen.display());
    let variables = [("WBSYNC_PAGER", pager.as_str()), ("TERM", "xterm")];
    let run = crate::support::run::wbsync_with(pair.alpha.dir(), &["completions", "bash"], &variables).ok();
    assert!(!seen.exists() && run.stdout.contains("_wbsync()"));
    run.says_nothing_of("\u{1b}[");
}

/// Rates and remaining times are whatever they are; that they are shown, and only on a terminal, isn't.
#[test]
fn long_work_shows_how_far_it_is_how_fast_and_how_long_yet() {
    let Some(terminal) = Terminal::new() else { return };
    let (from, to) = (App::seeded(&Seed::new(40_000, 1)), App::new());
    from.wbsync(&["init", "--preset", "whiteballoon", "--name", "alpha"]).ok();
    from.wbsync(&["remote", "add", "stick", "store"]).ok();
    let (_, shown) = terminal.run(from.dir(), "commit", &[]);
    assert!(shows(&shown, r"reading the application's rows [1-9][\d,]* [1-9][\d,]*/s"), "{shown}");
    assert!(shown.contains("committed public"), "{shown}");
    from.wbsync(&["push"]).ok().says_nothing_of("/s");

    let store = from.dir().join("store").display().to_string();
    let line = format!("clone {store} --preset whiteballoon --name beta");
    let (code, shown) = terminal.run(to.dir(), &line, &[]);
    assert!(code == 0 && shows(&shown, r"writing rows .* [1-9]\d?% [1-9][\d,]*/s \d+[sm]"), "{shown}");
    let quiet = App::new();
    quiet
        .wbsync(&["clone", &store, "--preset", "whiteballoon", "--name", "gamma"])
        .ok()
        .says_nothing_of("writing rows");
    let (_, shown) = terminal.run(quiet.dir(), "--quiet fsck", &[]);
    assert!(!shown.contains("reading"), "{shown}");
}

/// Tells whether some state of a line on the terminal is so.
fn shows(terminal: &str, pattern: &str) -> bool {
    let (pattern, plain) = (Regex::new(pattern).unwrap(), anstream::adapter::strip_str(terminal).to_string());
    plain.split(['\r', '\n']).any(|line| pattern.is_match(line))
}
