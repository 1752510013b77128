//! Bad configuration: one clear error for each, and nothing changed.

use std::fs;

use crate::shown::{Pair, check, path, skipped};
use crate::support::app::App;
use crate::support::run::{wbsync, wbsync_with};

fn alpha_with(config: &str) -> App {
    let app = App::new();
    fs::write(app.dir().join("wbsync.toml"), config).unwrap();
    app
}

fn init(app: &App) -> crate::support::run::Run {
    app.wbsync(&["init", "--name", "alpha"])
}

#[test]
fn mappings_that_do_not_fit() {
    let no_mapping = App::new();
    check!("bad_no_mapping", init(&alpha_with("busy_ms = 9\n")).exits(1));
    let written = App::new();
    fs::write(written.dir().join("wbsync.toml"), "preset = \"whiteballoon\"\n").unwrap();
    check!("bad_option", written.wbsync(&["init", "--db", "other.db"]).exits(1));
    assert!(!written.dir().join(".wbsync").exists());
    check!("bad_preset", no_mapping.wbsync(&["init", "--preset", "redballoon"]).exits(1));
    let table = alpha_with("preset = 'whiteballoon'\n[dataset.users]\ntable = 'people'\n");
    check!("bad_table", init(&table).exits(1));
    let column = alpha_with("preset = 'whiteballoon'\n[dataset.users.fields]\nshoe_size = { type = 'int' }\n");
    check!("bad_column", init(&column).exits(1));
    let toml = alpha_with("preset = whiteballoon\n");
    check!("bad_toml", init(&toml).exits(1));
    let key = alpha_with("preset = 'whiteballoon'\ndatabse = 'data/app.db'\n");
    check!("bad_key", init(&key).exits(1));
    check!("bad_key_json", key.wbsync(&["--json", "init"]).exits(1));
}

#[test]
fn databases_that_cannot_be_used() {
    let app = App::new();
    for (name, url) in [
        ("missing", "sqlite:///data/nothing.db"),
        ("postgres", "postgresql://board:hunter2@127.0.0.1:1/board"),
        ("mysql", "mysql://db.example.org/board"),
        ("memory", "sqlite://"),
    ] {
        let run = app.wbsync(&["init", "--preset", "whiteballoon", "--db", url]).exits(1).says_nothing_of("hunter2");
        match name {
            "missing" => check!("bad_database_missing", run),
            "postgres" => check!("bad_database_postgres", run),
            "mysql" => check!("bad_database_mysql", run),
            _ => check!("bad_database_memory", run),
        }
    }
    fs::write(app.dir().join("letter.txt"), "Dear all, this is a letter and no database. ".repeat(40)).unwrap();
    let args = ["init", "--preset", "whiteballoon", "--db", "letter.txt"];
    check!("bad_database_other_file", app.wbsync(&args).exits(1));
    let variables = [("DATABASE_URL", "postgresql://board:hunter2@127.0.0.1:1/board")];
    let run = wbsync_with(app.dir(), &["init", "--preset", "whiteballoon"], &variables);
    check!("bad_database_by_variable", run.exits(1).says_nothing_of("hunter2"));
}

#[test]
fn a_locked_database() {
    let app = alpha_with("preset = 'whiteballoon'\nbusy_ms = 50\n");
    init(&app).ok();
    let other = app.db();
    other.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE").unwrap();
    check!("locked", app.wbsync(&["commit"]).exits(7));
    other.execute_batch("ROLLBACK").unwrap();
    drop(other);
    app.wbsync(&["commit"]).ok();
}

#[test]
fn a_read_only_database() {
    let app = App::new();
    app.wbsync(&["init", "--preset", "whiteballoon", "--name", "alpha"]).ok();
    let mut permissions = fs::metadata(app.db_path()).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(app.db_path(), permissions).unwrap();
    let is_refused = fs::OpenOptions::new().append(true).open(app.db_path()).is_err();
    if !is_refused {
        skipped("a_read_only_database: this user (root?) may write read-only files");
        return;
    }
    check!("read_only", app.wbsync(&["commit"]).exits(1));
}

#[test]
fn instances_of_another_time() {
    let app = App::new();
    check!("not_an_instance", app.wbsync(&["status"]).exits(1));
    check!("not_an_instance_json", app.wbsync(&["status", "--json"]).exits(1));
    let elsewhere = tempfile::tempdir().unwrap();
    check!("not_a_directory", wbsync(elsewhere.path(), &["-C", "nowhere", "status"]).exits(2));
    app.wbsync(&["init", "--preset", "whiteballoon", "--name", "alpha"]).ok();
    let format = app.dir().join(".wbsync/format");
    fs::write(&format, "wbsync instance 2\n").unwrap();
    check!("newer_instance", app.wbsync(&["status"]).exits(1));
    fs::write(&format, "wbsync instance 1\n").unwrap();
    let state = rusqlite::Connection::open(app.dir().join(".wbsync/state.db")).unwrap();
    state.execute("UPDATE meta SET value = '99' WHERE key = 'format'", []).unwrap();
    drop(state);
    check!("newer_state", app.wbsync(&["status"]).exits(1));
}

#[test]
fn remotes_that_are_no_stores() {
    let pair = Pair::strangers();
    let place = pair.stick.path();
    fs::write(place.join("holiday.jpg"), "not a store").unwrap();
    pair.alpha.wbsync(&["remote", "add", "photos", &path(place)]).ok();
    check!("not_a_store_fetch", pair.alpha.wbsync(&["fetch"]).exits(1));
    check!("not_a_store_push", pair.alpha.wbsync(&["push"]).exits(1));
    fs::create_dir(place.join("newer")).unwrap();
    fs::write(place.join("newer/format"), "wbsync store 2\n").unwrap();
    pair.alpha.wbsync(&["remote", "remove", "photos"]).ok();
    pair.alpha.wbsync(&["remote", "add", "newer", &path(&place.join("newer"))]).ok();
    check!("newer_store", pair.alpha.wbsync(&["fetch"]).exits(1));
}

#[test]
fn a_database_of_another_instance() {
    let pair = Pair::strangers();
    pair.alpha.wbsync(&["commit"]).ok();
    fs::copy(pair.alpha.db_path(), pair.beta.db_path()).unwrap();
    check!("database_of_other", pair.beta.wbsync(&["commit"]).exits(1));
}
