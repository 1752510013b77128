//! Habits: streams, colours, quiet, pipes, completions and manual pages.

use std::io::Read;
use std::process::{Command, Stdio};

use crate::shown::{Pair, check};
use crate::support::app::App;
use crate::support::run::wbsync_with;

#[test]
fn quiet_leaves_only_results() {
    let pair = Pair::new();
    let run = pair.alpha.wbsync(&["-q", "sync"]).ok();
    assert_eq!(run.stderr, "", "{run}");
    let run = pair.alpha.wbsync(&["--json", "sync"]).ok();
    assert_eq!(run.stderr, "", "{run}");
    assert_eq!(run.json()["schema"], 1);
    check!("verbose", pair.alpha.wbsync(&["-v", "commit"]).ok());
    check!("quiet_and_verbose", pair.alpha.wbsync(&["-q", "-v", "commit"]).exits(2));
}

#[test]
fn colours_are_for_terminals_unless_asked_for() {
    let pair = Pair::new();
    let escape = "\u{1b}[";
    pair.alpha.wbsync(&["status"]).ok().says_nothing_of(escape);
    wbsync_with(pair.alpha.dir(), &["status"], &[("NO_COLOR", "")]).ok().says_nothing_of(escape);
    assert!(pair.alpha.wbsync(&["status", "--color", "always"]).ok().stdout.contains(escape));
    pair.alpha.wbsync(&["status", "--color", "never"]).ok().says_nothing_of(escape);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_wbsync"))
        .args(["completions", "zsh"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!((child.wait().unwrap().code(), stderr.as_str()), (Some(0), ""));
}

#[test]
fn completions_and_manual_pages() {
    let app = App::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(app.wbsync(&["completions", shell]).ok().stdout.contains("epoch-key"), "{shell}");
    }
    assert!(app.wbsync(&["man"]).ok().stdout.contains(".TH wbsync 1"));
    std::fs::create_dir(app.dir().join("pages")).unwrap();
    app.wbsync(&["man", "pages"]).ok();
    assert!(app.dir().join("pages/wbsync-peer-add.1").exists());
    check!("man_nowhere", app.wbsync(&["man", "missing"]).exits(1));
}

#[test]
fn another_command_at_work_is_waited_for_by_the_user() {
    use fs::File;
    use std::fs;
    let pair = Pair::new();
    let lock = File::options().write(true).open(pair.alpha.dir().join(".wbsync/lock")).unwrap();
    lock.lock().unwrap();
    check!("busy", pair.alpha.wbsync(&["commit"]).exits(7));
    pair.alpha.wbsync(&["status"]).ok();
}
