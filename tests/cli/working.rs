//! `run` and `run-once`: what they say; what they do is shown in tests/worker.

use crate::shown::check;
use crate::support::app::App;
use crate::support::run::wbsync;

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
