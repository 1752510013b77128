//! `wbsync status` of remotes and peers: how far apart we are, what failed and what to do; its JSON is what docs/status.md says.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;

use crate::shown::{Pair, check};
use crate::support::app::App;
use crate::support::described::Described;

fn status(app: &App) -> Value {
    app.wbsync(&["status", "--json"]).ok().json()
}

#[test]
fn who_lacks_what_is_told_in_words() {
    let pair = Pair::new();
    let (alpha, beta) = (&pair.alpha, &pair.beta);
    alpha.wbsync(&["commit"]).ok();
    check!("status_ahead", alpha.wbsync(&["status"]).ok());
    assert_eq!(status(alpha)["remotes"][0]["reach"], "untried");
    pair.sync();
    beta.wbsync(&["sync"]).ok();
    alpha.wbsync(&["sync"]).ok();
    check!("status_level", alpha.wbsync(&["status"]).ok());
    let told = status(alpha);
    assert_eq!((&told["remotes"][0]["ahead"], &told["remotes"][0]["behind"]), (&0.into(), &0.into()), "{told}");
    assert_eq!(told["peers"][0]["ahead"], 0, "beta has told that it shows all of ours: {told}");
    alpha.insert_request(None, "one more", "public");
    alpha.wbsync(&["sync"]).ok();
    assert_eq!(status(alpha)["peers"][0]["ahead"], 1, "beta hasn't seen that");
    beta.wbsync(&["fetch"]).ok();
    let told = status(beta);
    assert_eq!((&told["remotes"][0]["behind"], &told["peers"][0]["behind"]), (&1.into(), &1.into()), "{told}");
    check!("status_behind", beta.wbsync(&["status"]).ok());
}

#[test]
fn a_remote_that_fails_is_told_with_what_to_do() {
    let pair = Pair::new();
    let alpha = &pair.alpha;
    alpha.wbsync(&["sync"]).ok();
    fs::rename(pair.stick.path().join("store"), pair.stick.path().join("away")).unwrap();
    alpha.insert_request(None, "for the stick", "public");
    alpha.wbsync(&["sync"]).exits(4);
    check!("status_away", alpha.wbsync(&["status"]).ok());
    let told = status(alpha);
    let remote = &told["remotes"][0];
    assert_eq!((&remote["reach"], &remote["failed"]["code"]), (&"away".into(), &"unreachable".into()), "{told}");
    assert!(remote["failed"]["hint"].as_str().unwrap().contains("plugged in"), "{told}");
    assert!(remote["ahead"].as_u64().unwrap() > 0, "{told}");
    fs::write(pair.stick.path().join("store"), "no store").unwrap();
    alpha.wbsync(&["sync"]).exits(1);
    assert_eq!(status(alpha)["remotes"][0]["reach"], "failing");
    fs::remove_file(pair.stick.path().join("store")).unwrap();
    fs::rename(pair.stick.path().join("away"), pair.stick.path().join("store")).unwrap();
    alpha.wbsync(&["sync"]).ok();
    let told = status(alpha);
    assert_eq!(
        (&told["remotes"][0]["reach"], &told["remotes"][0]["failed"]),
        (&"reached".into(), &Value::Null),
        "{told}"
    );
}

/// A remote may go between a fetch and the push after it.
#[test]
fn a_push_that_fails_at_the_first_look_is_told_too() {
    let pair = Pair::new();
    let alpha = &pair.alpha;
    alpha.wbsync(&["sync"]).ok();
    let heads = walkdir::WalkDir::new(pair.store()).into_iter().map(|entry| entry.unwrap().into_path());
    let heads: Vec<_> = heads.filter(|path| path.parent().unwrap().ends_with("heads")).collect();
    assert!(!heads.is_empty());
    for head in &heads {
        fs::remove_file(head).unwrap();
        fs::create_dir(head).unwrap();
    }
    alpha.wbsync(&["push"]).exits(6);
    let told = status(alpha);
    let remote = &told["remotes"][0];
    assert_eq!((&remote["reach"], &remote["failures"]), (&"failing".into(), &1.into()), "{told}");
    assert_eq!(remote["failed"]["code"], "store-damaged", "{told}");
    for head in &heads {
        fs::remove_dir(head).unwrap();
    }
    alpha.wbsync(&["push"]).ok();
    assert_eq!(status(alpha)["remotes"][0]["failures"], 0);
}

/// Each state of affairs has something in other members.
#[test]
fn the_json_is_what_the_page_says() {
    let mut page = Described::read("status.md");
    let new = App::new();
    new.wbsync(&["init", "--preset", "whiteballoon", "--name", "alpha"]).ok();
    page.check("status", &status(&new));

    let pair = Pair::new();
    let alpha = &pair.alpha;
    pair.disagree();
    page.check("status", &status(alpha));
    alpha.insert_request(None, "later", "public");
    alpha.wbsync(&["sync"]).exits(3);
    pair.beta.wbsync(&["fetch"]).ok();
    page.check("status", &status(&pair.beta));
    fs::rename(pair.stick.path().join("store"), pair.stick.path().join("away")).unwrap();
    alpha.wbsync(&["sync"]).exits(4);
    page.check("status", &status(alpha));
    fs::rename(alpha.db_path(), alpha.dir().join("away")).unwrap();
    page.check("status", &status(alpha));

    // What only other tests meet: tests/worker has a worker, tests/cli/schemas.rs tables that don't fit, others the rest.
    let elsewhere = [
        "error.",
        "exchanging.",
        "worker.",
        "stopped.",
        "status.worker",
        "fit.",
        "mismatch.",
        "misfit.",
        "status.fits",
        "status.misfits",
        "parked.",
        "status.parked",
        "status.placeholders",
        "status.too_large",
        "status.held",
        "scope.forked",
    ];
    let mut unmet = page.unmet();
    unmet.retain(|member| !elsewhere.iter().any(|known| member.starts_with(known)));
    // Only stores of peers, in the mode `p2p`, have these.
    assert_eq!(unmet, ["peer.failed", "peer.next_try", "peer.reached_at"]);
}

/// A running `wbsync status --watch`. Killed when dropped.
struct Watching {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Watching {
    fn start(app: &App, options: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_wbsync"))
            .args(["status", "--watch"])
            .args(options)
            .current_dir(app.dir())
            .env_clear()
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.lines.read_line(&mut line).unwrap() > 0, "it ended");
        line
    }

    fn until(&mut self, words: &str) {
        while !self.line().contains(words) {}
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn watching_shows_what_changed_and_nothing_else() {
    let pair = Pair::new();
    let alpha = &pair.alpha;
    alpha.wbsync(&["sync"]).ok();
    let (mut words, mut objects) = (Watching::start(alpha, &[]), Watching::start(alpha, &["--json"]));
    words.until("sizes:");
    let first: Value = serde_json::from_str(&objects.line()).unwrap();
    Described::read("status.md").check("status", &first);
    assert_eq!(first["scopes"][0]["unpublished"], false);
    alpha.insert_request(None, "something new", "public");
    alpha.wbsync(&["commit"]).ok();
    words.until("to push");
    let second: Value = serde_json::from_str(&objects.line()).unwrap();
    assert_eq!(second["scopes"][0]["unpublished"], true);
    assert_ne!(first, second);
}
