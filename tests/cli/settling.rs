//! Conflicts, resolve, blame, log of a record, and revert.

use std::fs;

use crate::shown::{Pair, check, path};
use crate::support::app::App;
use crate::support::run::{Run, wbsync_with};

/// The record of the only conflict.
fn disputed(app: &App) -> String {
    let json = app.wbsync(&["conflicts", "--json"]).exits(3).json();
    json["conflicts"][0]["record"].as_str().unwrap().to_owned()
}

fn description(app: &App) -> String {
    app.value("SELECT description FROM help_requests WHERE description LIKE '%from%'")
}

#[test]
fn conflicts() {
    let pair = Pair::new();
    check!("conflicts_none", pair.alpha.wbsync(&["conflicts"]).ok());
    check!("conflicts_none_json", pair.alpha.wbsync(&["conflicts", "--json"]).ok());
    pair.disagree();
    check!("conflicts", pair.alpha.wbsync(&["conflicts"]).exits(3));
    check!("conflicts_json", pair.beta.wbsync(&["conflicts", "--json"]).exits(3));
    let record = disputed(&pair.alpha);
    pair.alpha.wbsync(&["conflicts", &record[..record.len() - 4]]).exits(3);
    check!("conflicts_unknown", pair.alpha.wbsync(&["conflicts", "requests/ffff"]).exits(1));
    pair.alpha.wbsync(&["conflicts", &format!("{record}.title")]).exits(1);
}

#[test]
fn resolve() {
    let pair = Pair::new();
    check!("resolve_nothing", pair.alpha.wbsync(&["resolve", "--all", "--latest"]).ok());
    pair.disagree();
    let (alpha, beta) = (&pair.alpha, &pair.beta);
    let record = disputed(alpha);
    check!("resolve_unasked", alpha.wbsync(&["resolve"]).exits(2));
    check!("resolve_unasked_json", alpha.wbsync(&["resolve", "--json"]).exits(2));
    check!("resolve_nowhere", alpha.wbsync(&["resolve", "--ours"]).exits(2));
    check!("resolve_two_choices", alpha.wbsync(&["resolve", &record, "--ours", "--latest"]).exits(2));
    check!("resolve_unknown", alpha.wbsync(&["resolve", "requests/ffff", "--ours"]).exits(1));
    check!("resolve_unknown_json", alpha.wbsync(&["resolve", "requests/ffff", "--ours", "--json"]).exits(1));
    check!("resolve_nobody", alpha.wbsync(&["resolve", &record, "--take", "gamma"]).exits(1));
    check!("resolve_all_nobody", alpha.wbsync(&["resolve", "--all", "--take", "gamma"]).exits(3));
    check!("resolve_dry_run", alpha.wbsync(&["resolve", &record, "--remote-wins", "-n"]).ok());
    assert_eq!(disputed(alpha), record, "a dry run settles nothing");
    check!("resolve", alpha.wbsync(&["resolve", &record, "--theirs"]).ok());
    assert_eq!(description(alpha), "from beta", "the row shows it at once");
    alpha.wbsync(&["sync"]).ok();
    beta.wbsync(&["sync"]).ok();
    assert_eq!(description(beta), "from beta");
    beta.wbsync(&["conflicts"]).ok();
}

#[test]
fn every_way_to_choose() {
    for (args, wanted) in [
        (["--take", "ours"], "from alpha"),
        (["--take", "theirs"], "from beta"),
        (["--take", "beta"], "from beta"),
        (["--local-wins", "--json"], "from alpha"),
        (["--latest", "--quiet"], "from alpha"),
        (["--value", "from both"], "from both"),
    ] {
        let pair = Pair::new();
        pair.disagree();
        let run = pair.alpha.wbsync(&[&["resolve", "--all"], args.as_slice()].concat()).ok();
        assert_eq!(description(&pair.alpha), wanted, "{run}");
        pair.alpha.wbsync(&["conflicts"]).ok();
        if args.contains(&"--json") {
            check!("resolve_json", run);
        }
    }
}

#[test]
fn what_the_application_edits_meanwhile_is_not_settled_over() {
    let pair = Pair::new();
    pair.disagree();
    let record = disputed(&pair.alpha);
    pair.alpha.execute("UPDATE help_requests SET description = 'from the page' WHERE id = 1", &[]);
    check!("resolve_settled_meanwhile", pair.alpha.wbsync(&["resolve", &record, "--theirs"]).exits(1));
    assert_eq!(description(&pair.alpha), "from the page");
    pair.alpha.wbsync(&["conflicts"]).ok();
}

#[test]
fn an_editor_gets_markers_and_settles_what_has_none_left() {
    let pair = Pair::new();
    pair.disagree();
    let (alpha, record) = (&pair.alpha, disputed(&pair.alpha));
    let edit = |body: &str| -> Run {
        let script = alpha.dir().join("editor.sh");
        fs::write(&script, body).unwrap();
        let editor = format!("sh {}", path(&script));
        wbsync_with(alpha.dir(), &["resolve", &record, "--edit"], &[("EDITOR", &editor)])
    };
    let saved = alpha.dir().join("seen.txt");
    check!("resolve_edit_unchanged", edit(&format!("cp \"$1\" {}", path(&saved))).exits(1));
    let seen = fs::read_to_string(&saved).unwrap();
    assert_eq!(
        seen, "<<<<<<< alpha\nfrom alpha\n||||||| before\na ladder, please\n=======\nfrom beta\n>>>>>>> beta\n",
        "the markers of git"
    );
    check!("resolve_edit_empty", edit(": > \"$1\"").exits(1));
    check!("resolve_edit_markers", edit("sed -i '/^<<<<<<</d' \"$1\"").exits(1));
    edit("exit 1").exits(1);
    assert_eq!(disputed(alpha), record, "nothing was settled by any of them");
    check!("resolve_edit", edit("echo 'from both of us' > \"$1\"").ok());
    assert_eq!(description(alpha), "from both of us");
    let left = fs::read_dir(alpha.dir().join(".wbsync")).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(left.into_iter().all(|name| !name.to_string_lossy().starts_with(".tmp")), "no text is left behind");
}

#[test]
fn blame_and_log_of_a_record() {
    let pair = Pair::new();
    pair.disagree();
    let (alpha, record) = (&pair.alpha, disputed(&pair.alpha));
    check!("blame_conflict", alpha.wbsync(&["blame", &record]).ok());
    alpha.wbsync(&["resolve", &record, "--ours", "-q"]).ok();
    check!("blame", alpha.wbsync(&["blame", &record[..record.len() - 20]]).ok());
    check!("blame_json", alpha.wbsync(&["blame", &record, "--json"]).ok());
    check!("blame_unknown", alpha.wbsync(&["blame", "requests/ffff"]).exits(1));
    check!("log_record", alpha.wbsync(&["log", &record]).ok());
    check!("log_record_oneline", alpha.wbsync(&["log", &record, "--oneline", "-n", "2"]).ok());
    check!("log_record_json", pair.beta.wbsync(&["log", &record, "--json", "-n", "1"]).ok());
    alpha.execute("DELETE FROM help_requests WHERE id = 1", &[]);
    alpha.wbsync(&["commit"]).ok();
    check!("log_record_removed", alpha.wbsync(&["log", &record, "-n", "1"]).ok());
    check!("log_record_unknown", alpha.wbsync(&["log", "requests/ffff"]).exits(1));
}

#[test]
fn revert() {
    let pair = Pair::new();
    pair.sync();
    let (alpha, beta) = (&pair.alpha, &pair.beta);
    let newest = |app: &App, scope: &str| {
        let log = app.wbsync(&["log", scope, "-n", "1", "--json"]).ok().json();
        log["commits"][0]["commit"].as_str().unwrap()[..12].to_owned()
    };
    let first = newest(alpha, "public");
    check!("revert_first", alpha.wbsync(&["revert", &first]).exits(1));
    alpha.execute("UPDATE help_requests SET title = 'wrong', description = 'wrong too' WHERE id = 1", &[]);
    alpha.wbsync(&["commit"]).ok();
    let wrong = newest(alpha, "public");
    alpha.execute("UPDATE help_requests SET title = 'right' WHERE id = 1", &[]);
    check!("revert_dry_run", alpha.wbsync(&["revert", &wrong, "--dry-run"]).ok());
    check!("revert", alpha.wbsync(&["revert", &wrong]).ok());
    assert_eq!(
        alpha.value("SELECT title || ': ' || description FROM help_requests WHERE id = 1"),
        "right: a ladder, please"
    );
    check!("revert_again", alpha.wbsync(&["revert", &wrong]).ok());
    check!("revert_unknown", alpha.wbsync(&["revert", "ffffffff"]).exits(1));

    let request = alpha.insert_request(None, "added by mistake", "public");
    alpha.wbsync(&["sync"]).ok();
    let added = newest(alpha, "public");
    beta.wbsync(&["sync"]).ok();
    let count = |app: &App| app.value("SELECT count(*) FROM help_requests WHERE description = 'added by mistake'");
    assert_eq!(count(beta), "1");
    check!("revert_json", alpha.wbsync(&["revert", &added, "--json"]).ok());
    assert_eq!(alpha.value(&format!("SELECT count(*) FROM help_requests WHERE id = {request}")), "0");
    alpha.wbsync(&["sync"]).ok();
    beta.wbsync(&["sync"]).ok();
    assert_eq!(count(beta), "0");

    // A writer brings back what it removed itself.
    beta.execute("DELETE FROM help_requests WHERE description = 'a ladder, please'", &[]);
    beta.wbsync(&["sync"]).ok();
    alpha.wbsync(&["sync"]).ok();
    let ladders = |app: &App| app.value("SELECT count(*) FROM help_requests WHERE description = 'a ladder, please'");
    assert_eq!(ladders(alpha), "0");
    let removed = newest(beta, "alpha/public");
    check!("revert_removed", beta.wbsync(&["revert", &removed]).ok());
    beta.wbsync(&["sync"]).ok();
    alpha.wbsync(&["sync"]).ok();
    assert_eq!((ladders(alpha), ladders(beta)), ("1".into(), "1".into()));
    check!("revert_nothing_new", alpha.wbsync(&["commit"]).ok());
    for app in [alpha, beta] {
        app.assert_whole();
    }
}

#[test]
fn what_was_withdrawn_is_not_brought_back() {
    let pair = Pair::new();
    pair.sync();
    let alpha = &pair.alpha;
    alpha.set_scope("help_requests", 1, "private");
    alpha.wbsync(&["commit"]).ok();
    let log = alpha.wbsync(&["log", "public", "-n", "1", "--json"]).ok().json();
    let withdrawal = &log["commits"][0]["commit"].as_str().unwrap()[..12];
    check!("revert_withdrawn", alpha.wbsync(&["revert", withdrawal]).ok().says_nothing_of("ladder"));
}
