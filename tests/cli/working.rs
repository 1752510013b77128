//! `run` and `run-once`: what they say; what they do is shown in tests/worker.

use crate::shown::check;
use crate::support::app::App;
use crate::support::run::{wbsync, wbsync_with};

#[test]
fn health_and_metrics() {
    let dir = tempfile::tempdir().unwrap();
    check!("health_no_instance", wbsync(dir.path(), &["health"]).exits(1));
    check!("metrics_no_instance", wbsync(dir.path(), &["metrics"]).exits(1));
    let app = App::new();
    app.wbsync(&["init", "--preset", "whiteballoon", "--name", "alpha"]).ok();
    check!("health_fresh", app.wbsync(&["health"]).ok());
    check!("metrics_fresh", app.wbsync(&["metrics"]).ok());
    check!("metrics_json", app.wbsync(&["metrics", "--textfile", "wbsync.prom", "--json"]).ok());
    app.wbsync(&["remote", "add", "stick", app.dir().join("stick").to_str().unwrap()]).ok();
    app.insert_request(None, "hello", "public");
    app.wbsync(&["sync"]).ok();
    check!("health", app.wbsync(&["health"]).ok());
    std::fs::rename(app.dir().join("stick"), app.dir().join("away")).unwrap();
    check!("health_unreachable", app.wbsync(&["health"]).ok());
    check!("health_strict", app.wbsync(&["health", "--strict", "--quiet"]).exits(8));
    app.wbsync(&["health", "--strict", "--offline"]).ok();
    std::fs::rename(app.db_path(), app.dir().join("gone.db")).unwrap();
    check!("health_no_database_json", app.wbsync(&["health", "--json", "--offline"]).exits(8));
}

/// SQLite takes a file for one that can only be read if its 19th byte is of a later version (SQLite, "Database File Format"),
/// whoever asks; rights would say nothing to root.
#[test]
fn health_is_bad_where_nothing_can_be_written() {
    let app = App::new();
    app.wbsync(&["init", "--preset", "whiteballoon", "--name", "alpha"]).ok();
    app.wbsync(&["commit"]).ok();
    for (path, line) in
        [(app.db_path(), "bad      database "), (app.dir().join(".wbsync/state.db"), "bad      instance ")]
    {
        let whole = std::fs::read(&path).unwrap();
        let mut read_only = whole.clone();
        read_only[18] = 3;
        std::fs::write(&path, read_only).unwrap();
        let run = app.wbsync(&["health"]).exits(8);
        assert!(run.stdout.contains(line), "{run}");
        std::fs::write(&path, whole).unwrap();
        app.wbsync(&["health"]).ok();
    }
}

#[test]
fn rounds() {
    let dir = tempfile::tempdir().unwrap();
    check!("run_no_instance", wbsync(dir.path(), &["run"]).exits(1));
    check!("run_once_no_instance", wbsync(dir.path(), &["run-once"]).exits(1));
    let app = App::new();
    app.wbsync(&["init", "--preset", "whiteballoon", "--name", "alpha"]).ok();
    check!("run_once_alone", app.wbsync(&["run-once"]).ok());
    app.insert_request(None, "hello", "public");
    app.wbsync(&["remote", "add", "stick", app.dir().join("stick").to_str().unwrap()]).ok();
    check!("run_once", app.wbsync(&["run-once"]).ok());
    check!("run_once_nothing_json", app.wbsync(&["run-once", "--json"]).ok());
    std::fs::rename(app.dir().join("stick"), app.dir().join("away")).unwrap();
    check!("run_once_unreachable", app.wbsync(&["run-once"]).exits(4));
    check!("run_once_bad_wait", app.wbsync(&["run-once", "--wait", "long"]).exits(2));
}

#[test]
fn settings() {
    let app = App::new();
    app.wbsync(&["init", "--preset", "whiteballoon", "--name", "alpha"]).ok();
    check!("config_show", app.wbsync(&["config", "show"]).ok());
    check!("config_check", app.wbsync(&["config", "check"]).ok());
    check!("config_check_json", app.wbsync(&["config", "check", "--json"]).ok());
    let lines =
        "SYNC_MODE=hybrid\nDATABASE_URL=sqlite:///data/app.db\nSYNC_INTERVALL_SECONDS=20\nSYNC_TOKEN=x\nWBSYNC_X=1\n";
    std::fs::write(app.dir().join(".env"), lines).unwrap();
    let variables = [("WBSYNC_RUN_WATCH", "no"), ("WBSYNC_DATABSE", "x")];
    check!("config_show_origin", wbsync_with(app.dir(), &["config", "show", "--origin"], &variables).ok());
    check!("config_show_origin_json", wbsync_with(app.dir(), &["--json", "config", "show"], &variables).ok());
    check!("config_check_stray", wbsync_with(app.dir(), &["config", "check"], &variables).ok());
    check!("config_bad_variable", wbsync_with(app.dir(), &["status"], &[("WBSYNC_BUSY_MS", "soon")]).exits(1));
    assert_eq!(app.wbsync(&["status", "--json"]).ok().json()["mode"], "hybrid");
    let none = tempfile::tempdir().unwrap();
    check!("config_no_instance", wbsync(none.path(), &["config", "show"]).exits(1));
}
