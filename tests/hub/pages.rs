//! The walk through docs/files.md, run as it is written there: two applications with a directory each, and a hub.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::site::Site;
use crate::support::app::App;

/// A command of the page, at which of the two, and the lines below it.
struct Step {
    site: usize,
    command: String,
    shown: Vec<String>,
}

#[test]
fn the_walk_through_files_holds() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/files.md")).unwrap();
    let steps = steps(&page);
    assert!(steps.len() > 60, "the page has {} commands", steps.len());
    let hub = Site::start(&[]);
    let place = tempfile::tempdir().unwrap();
    let apps = [App::new(), App::new()];
    for (name, app) in ["alpha", "beta"].iter().zip(&apps) {
        fs::write(place.path().join(format!("{name}.token")), hub.hub(&["invite"]).ok().stdout).unwrap();
        app.insert_request(None, &format!("needed at {name}"), "public");
    }
    for step in &steps {
        let command = step
            .command
            .replace("https://hub.example.org", &hub.url)
            .replace("../", &format!("{}/", place.path().display()));
        compare(step, &shell(apps[step.site].dir(), &command));
    }
    // The rows went along.
    for app in &apps {
        let rows = app.dump_columns("help_requests", &["description"]);
        assert!(rows.contains("needed at alpha") && rows.contains("needed at beta"), "{rows}");
        assert_eq!(app.wbsync(&["status", "--json"]).ok().json()["conflicts"], serde_json::json!([]));
    }
}

/// Runs a command; a code that isn't 0 stands in brackets on a line of its own.
fn shell(dir: &Path, command: &str) -> String {
    let bin = Path::new(env!("CARGO_BIN_EXE_wbsync")).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let variables = [("PATH", path.as_str()), ("NO_COLOR", "1"), ("TZ", "UTC"), ("LC_ALL", "C.UTF-8")];
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{command} 2>&1")]).current_dir(dir).env_clear().envs(variables).env("HOME", dir);
    let done = shell.output().unwrap();
    let mut text = String::from_utf8(done.stdout).unwrap();
    if !done.status.success() {
        text += &format!("[{}]\n", done.status.code().unwrap_or(-1));
    }
    text
}

/// Compares what came with what the page shows: its lines come in order, with nothing between them but where it has `…`.
fn compare(step: &Step, found: &str) {
    let mut rest = found.lines().filter(|line| !line.is_empty());
    let mut may_skip = false;
    for wanted in &step.shown {
        if wanted == "…" {
            may_skip = true;
            continue;
        }
        loop {
            let line = rest.next().unwrap_or_else(|| panic!("no line {wanted:?} of `{}` in:\n{found}", step.command));
            if is_meant(wanted, line) {
                break;
            }
            assert!(may_skip, "{line:?} instead of {wanted:?} of `{}` in:\n{found}", step.command);
        }
        may_skip = false;
    }
    assert!(may_skip || rest.next().is_none(), "more than the page shows of `{}`:\n{found}", step.command);
    let failed = |line: Option<&str>| line.is_some_and(|line| line.starts_with('['));
    let wanted = failed(step.shown.last().map(String::as_str));
    assert_eq!(failed(found.lines().last()), wanted, "`{}` failed, or should have:\n{found}", step.command);
}

/// Tells whether a line is one of the page's, where `…` stands for anything.
fn is_meant(wanted: &str, line: &str) -> bool {
    let Some((start, end)) = wanted.split_once('…') else { return wanted == line };
    line.len() >= start.len() + end.len() && line.starts_with(start) && line.ends_with(end)
}

fn steps(page: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for block in page.split("```console\n").skip(1).map(|rest| rest.split("```").next().expect("a split has a part")) {
        for line in block.lines().filter(|line| !line.is_empty()) {
            let of = |site, command: &str| Step { site, command: command.to_owned(), shown: Vec::new() };
            match (line.strip_prefix("alpha$ "), line.strip_prefix("beta$ ")) {
                (Some(command), _) => steps.push(of(0, command)),
                (_, Some(command)) => steps.push(of(1, command)),
                _ => steps.last_mut().expect("a command comes first").shown.push(line.to_owned()),
            }
        }
    }
    steps
}
