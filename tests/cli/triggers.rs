//! Installing, checking and removing the triggers that note what changes.

use std::fs;

use crate::shown::{Pair, check};
use crate::support::app::App;

#[test]
fn triggers_for_scripts() {
    let app = App::new();
    app.wbsync(&["init", "--preset", "whiteballoon", "--name", "alpha"]).ok();
    check!("db_install_json", app.wbsync(&["db", "install", "--json"]).ok());
    check!("db_uninstall_json", app.wbsync(&["db", "uninstall", "--json"]).ok());
    check!("db_map", app.wbsync(&["db", "map", "--db", "data/app.db"]).ok());
    check!("db_map_check_json", app.wbsync(&["db", "map", "--check", "--json"]).ok());
    check!("db_map_nowhere", app.wbsync(&["db", "map", "--db", "nothing.db"]).exits(1));
}

#[test]
fn triggers_come_and_go() {
    let pair = Pair::new();
    let alpha = &pair.alpha;
    check!("db_check_none", alpha.wbsync(&["db", "check"]).ok());
    check!("db_install_dry_run", alpha.wbsync(&["db", "install", "--dry-run"]).ok());
    check!("db_install", alpha.wbsync(&["db", "install"]).ok());
    check!("db_install_again", alpha.wbsync(&["db", "install"]).ok());
    let path = alpha.dir().join("wbsync.toml");
    let text = fs::read_to_string(&path).unwrap_or_else(|_| "preset = \"whiteballoon\"\n".into());
    fs::write(&path, format!("{text}\n[capture]\nmode = \"triggers\"\n")).unwrap();
    alpha.wbsync(&["commit"]).ok();
    let request = alpha.insert_request(None, "noted", "public");
    check!("db_check_noted", alpha.wbsync(&["db", "check"]).ok());
    let status = alpha.wbsync(&["commit", "--json"]).ok().json();
    assert_eq!(status["rows"], 1, "{status}");
    alpha.db().execute_batch("DROP TRIGGER _wbsync_update_users").unwrap();
    check!("db_check_broken", alpha.wbsync(&["db", "check"]).exits(8));
    check!("db_check_broken_json", alpha.wbsync(&["--json", "db", "check"]).exits(8));
    alpha.execute("UPDATE help_requests SET description = 'again' WHERE id = ?1", &[&request]);
    check!("commit_unwatched", alpha.wbsync(&["commit"]).ok());
    check!("db_uninstall", alpha.wbsync(&["db", "uninstall"]).ok());
    check!("db_uninstall_again", alpha.wbsync(&["db", "uninstall"]).ok());
}
