//! `privacy`: who is shown what.

use crate::shown::{Pair, check};
use crate::support::app::App;

#[test]
fn rows_and_their_audiences() {
    let empty = App::without_users();
    empty.wbsync(&["init", "--preset", "whiteballoon", "--name", "alpha"]).ok();
    check!("privacy_list_none", empty.wbsync(&["privacy", "list"]).ok());
    let pair = Pair::new();
    let alpha = &pair.alpha;
    pair.sync();
    check!("privacy_list", alpha.wbsync(&["privacy", "list"]).ok());
    check!("privacy_list_rows", alpha.wbsync(&["privacy", "list", "requests", "--rows"]).ok());
    check!("privacy_list_json", alpha.wbsync(&["privacy", "list", "requests", "--json"]).ok());
    check!("privacy_list_unknown", alpha.wbsync(&["privacy", "list", "recipes"]).exits(1));
    check!("privacy_explain", alpha.wbsync(&["privacy", "explain", "requests#1"]).ok());
    check!("privacy_explain_json", alpha.wbsync(&["privacy", "explain", "requests#1", "--json"]).ok());
    check!("privacy_explain_unknown", alpha.wbsync(&["privacy", "explain", "requests#99"]).exits(1));
    check!("privacy_audit_clean", alpha.wbsync(&["privacy", "audit"]).ok());
    check!("privacy_audit_json", alpha.wbsync(&["privacy", "audit", "--json"]).ok());
}

#[test]
fn marking_rows() {
    let pair = Pair::new();
    let alpha = &pair.alpha;
    pair.sync();
    check!("privacy_set", alpha.wbsync(&["privacy", "set", "requests#2", "trusted"]).ok());
    check!("privacy_set_json", alpha.wbsync(&["privacy", "set", "requests#2", "private", "--json"]).ok());
    let none = ["privacy", "set", "--dataset", "requests", "--where", "id > 90", "public"];
    check!("privacy_set_none", alpha.wbsync(&none).ok());
    let some = ["privacy", "set", "--dataset", "requests", "--where", "id < 90", "public", "--dry-run"];
    check!("privacy_set_dry_run", alpha.wbsync(&some).ok());
    check!("privacy_set_unknown", alpha.wbsync(&["privacy", "set", "requests#99", "public"]).exits(1));
    check!("privacy_set_nobody", alpha.wbsync(&["privacy", "set", "requests#2", "everyone"]).exits(1));
    let theirs = alpha.value("SELECT id FROM help_requests WHERE description = 'soup on Friday'");
    check!("privacy_set_theirs", alpha.wbsync(&["privacy", "set", &format!("requests#{theirs}"), "private"]).exits(5));
    check!("privacy_default", alpha.wbsync(&["privacy", "default", "vouches", "trusted"]).ok());
    check!("privacy_default_again", alpha.wbsync(&["privacy", "default", "vouches", "trusted"]).ok());
    check!("privacy_default_json", alpha.wbsync(&["privacy", "default", "vouches", "--unset", "--json"]).ok());
    check!("privacy_default_unknown", alpha.wbsync(&["privacy", "default", "recipes", "public"]).exits(1));
}

#[test]
fn what_a_peer_could_read() {
    let pair = Pair::new();
    let alpha = &pair.alpha;
    check!("privacy_preview_nothing", alpha.wbsync(&["privacy", "preview", "beta"]).ok());
    alpha.wbsync(&["commit"]).ok();
    check!("privacy_preview", alpha.wbsync(&["privacy", "preview", "beta"]).ok());
    check!("privacy_preview_json", alpha.wbsync(&["privacy", "preview", "beta", "--json"]).ok());
    check!("privacy_preview_unknown", alpha.wbsync(&["privacy", "preview", "gamma"]).exits(1));
}

#[test]
fn rows_that_may_be_marked_ones_are_named() {
    let app = App::new();
    app.wbsync(&["init", "--preset", "whiteballoon", "--name", "alpha"]).ok();
    app.db()
        .execute_batch("CREATE TABLE memo(id INTEGER PRIMARY KEY, v TEXT); INSERT INTO memo VALUES(1, 'one')")
        .unwrap();
    let path = app.dir().join("wbsync.toml");
    let own = std::fs::read_to_string(&path).unwrap();
    let memo = "\n[dataset.memo]\ntable = \"memo\"\nkey = \"id\"\nscope = \"public\"\nfields.v = { type = \"text\" }\n";
    std::fs::write(path, own + memo).unwrap();
    app.wbsync(&["commit"]).ok();
    app.wbsync(&["privacy", "set", "memo#1", "private"]).ok();
    app.wbsync(&["commit"]).ok();
    app.db().execute_batch("UPDATE memo SET id = 7").unwrap();
    check!("commit_kept_home", app.wbsync(&["commit"]).ok());
    check!("privacy_list_kept_home", app.wbsync(&["privacy", "list", "memo", "--rows"]).ok());
}
