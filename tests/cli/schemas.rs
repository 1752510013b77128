//! What is said where the tables of two applications differ.

use std::fs;

use crate::shown::{Pair, check};
use crate::support::app::App;

/// Lays keys over the preset in `wbsync.toml`.
fn map(app: &App, keys: &str) {
    let path = app.dir().join("wbsync.toml");
    let text = fs::read_to_string(&path).unwrap_or_else(|_| "preset = \"whiteballoon\"\n".into());
    fs::write(path, format!("{text}\n{keys}\n")).unwrap();
}

#[test]
fn a_field_that_is_only_there_or_only_here_is_told() {
    let pair = Pair::new();
    let (alpha, beta) = (&pair.alpha, &pair.beta);
    alpha.db().execute_batch("ALTER TABLE help_requests ADD COLUMN place TEXT").unwrap();
    map(alpha, "[dataset.requests.fields]\nplace = { type = \"text\" }\n[dataset.invites]\nenabled = true");
    beta.db().execute_batch("ALTER TABLE help_requests ADD COLUMN colour TEXT").unwrap();
    map(beta, "[dataset.requests.fields]\ncolour = { type = \"text\" }");
    alpha.wbsync(&["sync"]).ok();
    beta.wbsync(&["commit"]).ok();
    check!("schema_fetch", beta.wbsync(&["fetch"]).ok());
    check!("schema_fetch_again", beta.wbsync(&["fetch"]).ok());
    check!("schema_follow", beta.wbsync(&["follow", "alpha/public"]).ok());
    check!("schema_status", beta.wbsync(&["status"]).ok());
    let status = beta.wbsync(&["status", "--json"]).ok().json();
    assert_eq!(status["fits"][0]["carried"], serde_json::json!(["requests.place"]));
    let gamma = App::new();
    let args = ["clone", &pair.store(), "--preset", "whiteballoon", "--name", "gamma", "--follow", "alpha"];
    check!("schema_clone_warns", gamma.wbsync(&args).ok());
}

#[test]
fn a_clone_refuses_what_its_columns_can_not_take_before_a_row_is_written() {
    let pair = Pair::new();
    pair.alpha.wbsync(&["sync"]).ok();
    let clone = |app: &App, more: &[&str]| {
        let store = pair.store();
        app.wbsync(&[&["clone", &store, "--name", "gamma", "--follow", "alpha"], more].concat())
    };
    // Here descriptions are bytes; the place that nobody sends has a default.
    let gamma = App::new();
    gamma.db().execute_batch("ALTER TABLE help_requests ADD COLUMN place TEXT NOT NULL DEFAULT ''").unwrap();
    map(&gamma, "[dataset.requests.fields]\nplace = { type = \"text\" }\ndescription = { type = \"bytes\" }");
    check!("schema_clone_type", clone(&gamma, &[]).exits(1));
    check!("schema_clone_type_json", clone(&gamma, &["--json"]).exits(1));
    assert_eq!(gamma.value("SELECT count(*) FROM users"), "1", "nothing was written");
    check!("schema_clone_despite", clone(&gamma, &["--despite-schema"]).ok());
    check!("schema_clone_status", gamma.wbsync(&["status"]).ok());
    let needy = App::new();
    needy
        .db()
        .execute_batch("CREATE TABLE tools(id INTEGER PRIMARY KEY, name TEXT NOT NULL, weight INTEGER NOT NULL)")
        .unwrap();
    let tools = |fields: &str| {
        format!(
            "[dataset.tools]\ntable = \"tools\"\nkey = \"id\"\nscope = {{ constant = \"public\" }}\n[dataset.tools.fields]\n{fields}"
        )
    };
    pair.alpha.db().execute_batch("CREATE TABLE tools(id INTEGER PRIMARY KEY, name TEXT NOT NULL)").unwrap();
    map(&pair.alpha, &tools("name = { type = \"text\" }"));
    pair.alpha.wbsync(&["sync"]).ok();
    map(&needy, &tools("name = { type = \"text\" }\nweight = { type = \"int\" }"));
    check!("schema_clone_needs", clone(&needy, &[]).exits(1));
}

#[test]
fn a_column_of_another_type_than_mapped_is_told_by_init_and_status() {
    let app = App::new();
    app.db().execute_batch("ALTER TABLE help_requests ADD COLUMN code INTEGER").unwrap();
    map(&app, "[dataset.requests.fields]\ncode = { type = \"text\" }");
    check!("schema_init_misfit", app.wbsync(&["init", "--name", "alpha"]).ok());
    check!("schema_status_misfit", app.wbsync(&["status"]).ok());
    // The application migrates, and the column is gone.
    app.db().execute_batch("ALTER TABLE help_requests DROP COLUMN code").unwrap();
    check!("schema_status_no_column", app.wbsync(&["status"]).ok());
}
