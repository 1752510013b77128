//! Rows that were marked by hand, in a table without a column that could say so: whatever the bookkeeping in the application's
//! database loses, what was marked private stays home.

use std::fs;

use wbsync::connector::contract::Rows;
use wbsync::id::name::DatasetName;
use wbsync::sync::commit::Mode;
use wbsync::sync::restore::{RestoreOptions, RestoreSummary};

use super::world::{STICK, Site, Stick, pair};

const SECRET: &str = "a word for nobody";
const MEMO: &str = "
[dataset.memo]
table = \"memo\"
key = \"id\"
birth = [\"created_at\"]
scope = \"public\"
[dataset.memo.fields]
v = { type = \"text\" }
created_at = { type = \"text\" }
";

fn run(site: &Site, sql: &str) {
    site.app.db().execute_batch(sql).unwrap();
}

fn configure(site: &Site, change: impl FnOnce(String) -> String) {
    let path = site.app.dir().join("wbsync.toml");
    let own = fs::read_to_string(&path).unwrap();
    fs::write(path, change(own)).unwrap();
}

/// Two sites with a table of memos; alpha has two that were captured, and nobody has heard of.
fn with_memos(mapping: &str) -> (Stick, Site, Site) {
    let (stick, alpha, beta) = pair(None);
    for site in [&alpha, &beta] {
        run(site, "CREATE TABLE memo(id INTEGER PRIMARY KEY, v TEXT, created_at TEXT)");
        configure(site, |own| own + mapping);
    }
    run(&alpha, &format!("INSERT INTO memo VALUES(1, 'one', '2026-01-01'), (2, '{SECRET}', '2026-01-02')"));
    alpha.open().commit(Mode::Keep).unwrap();
    (stick, alpha, beta)
}

fn mark(site: &Site, key: &str, audience: &str) {
    let rows = Rows::Key(DatasetName::new("memo").unwrap(), key.to_owned());
    let marked = site.open().mark_rows(&rows, audience, Mode::Keep).unwrap();
    assert_eq!(marked.rows.len(), 1);
}

fn restore(site: &Site) -> RestoreSummary {
    site.open().restore(&RestoreOptions::default(), Mode::Keep).unwrap()
}

fn lose_books(site: &Site) {
    let sql =
        "SELECT group_concat(name) FROM sqlite_schema WHERE name LIKE '\\_wbsync%' ESCAPE '\\' AND type = 'table'";
    for table in site.app.value(sql).split(',') {
        run(site, &format!("DROP TABLE {table}"));
    }
}

fn rename(alpha: &Site, beta: &Site) {
    for site in [alpha, beta] {
        configure(site, |own| own.replace("dataset.memo", "dataset.memos"));
    }
}

/// What their table is called by now.
fn table(site: &Site) -> String {
    site.app.value("SELECT name FROM sqlite_schema WHERE name IN ('memo', 'memos')")
}

fn memos(site: &Site) -> String {
    let table = table(site);
    site.app.value(&format!("SELECT coalesce(group_concat(v, ', '), '') FROM (SELECT v FROM {table} ORDER BY v)"))
}

fn exchange(alpha: &Site, beta: &Site) {
    for site in [alpha, beta, alpha, beta] {
        site.sync();
    }
}

/// Looks for the secret at beta, and in all that lies on the stick.
fn assert_home(stick: &Stick, alpha: &Site, beta: &Site, case: &str) {
    assert!(!memos(beta).contains(SECRET), "{case}: beta shows it");
    for (path, scope, plain) in alpha.unseal(&stick.path(), &Default::default()) {
        let is_there = plain.windows(SECRET.len()).any(|window| window == SECRET.as_bytes());
        assert!(!is_there, "{case}: {path} of {scope} carries it");
    }
    assert!(memos(alpha).contains(SECRET), "{case}: alpha keeps its row");
}

#[test]
fn what_is_private_by_hand_stays_home_whatever_becomes_of_its_row_in_the_bookkeeping() {
    let without_birth = MEMO.replace("birth = [\"created_at\"]\n", "");
    for mapping in [MEMO, without_birth.as_str()] {
        for case in [
            "books",
            "rename",
            "births in the mapping",
            "births",
            "key",
            "books and key",
            "rename and key",
            "rename both",
        ] {
            let (stick, alpha, beta) = with_memos(mapping);
            mark(&alpha, "2", "private");
            exchange(&alpha, &beta);
            assert_eq!(memos(&beta), "one");
            if case.contains("books") {
                lose_books(&alpha);
            }
            if case.contains("rename") {
                rename(&alpha, &beta);
            }
            if case == "rename both" {
                for site in [&alpha, &beta] {
                    run(site, "ALTER TABLE memo RENAME TO memos");
                    configure(site, |own| own.replace("table = \"memo\"", "table = \"memos\""));
                }
            }
            if case.contains("key") {
                run(&alpha, "UPDATE memo SET id = id + 10");
            }
            match case {
                "births in the mapping" if mapping == MEMO => {
                    configure(&alpha, |own| own.replace("birth = [\"created_at\"]\n", ""));
                }
                "births in the mapping" => configure(&alpha, |own| own.replace(mapping, MEMO)),
                "births" => run(&alpha, "UPDATE memo SET created_at = created_at || ' 00:00'"),
                _ => {}
            }
            if case.contains("books") {
                restore(&alpha);
            }
            exchange(&alpha, &beta);
            let case = format!("{case}, {}", if mapping == MEMO { "with birth" } else { "without birth" });
            assert_home(&stick, &alpha, &beta, &case);
            // What holds now holds again.
            lose_books(&alpha);
            restore(&alpha);
            run(&alpha, &format!("UPDATE {} SET v = v || '!'", table(&alpha)));
            exchange(&alpha, &beta);
            assert_home(&stick, &alpha, &beta, &case);
        }
    }
}

#[test]
fn rows_that_cannot_be_told_from_marked_ones_stay_home_and_are_named() {
    let (stick, alpha, beta) = with_memos(&MEMO.replace("birth = [\"created_at\"]\n", ""));
    mark(&alpha, "2", "private");
    exchange(&alpha, &beta);
    run(&alpha, "UPDATE memo SET id = 7 WHERE id = 2");
    run(&alpha, "INSERT INTO memo VALUES(9, 'nine', '2026-01-09')");
    let summary = alpha.open().commit(Mode::Keep).unwrap();
    assert_eq!(summary.kept_home.values().sum::<u64>(), 2, "{summary:?}");
    exchange(&alpha, &beta);
    assert_home(&stick, &alpha, &beta, "a new key");
    // Who looked at them may share what may be shared; from then on new rows are new rows.
    mark(&alpha, "9", "public");
    run(&alpha, "INSERT INTO memo VALUES(10, 'ten', '2026-01-10')");
    exchange(&alpha, &beta);
    assert_eq!(memos(&beta), "nine, one, ten");
    assert_home(&stick, &alpha, &beta, "later");
}

#[test]
fn rows_that_come_after_a_deleted_marked_one_are_not_taken_for_it() {
    for mapping in [MEMO.to_owned(), MEMO.replace("birth = [\"created_at\"]\n", "")] {
        let (_stick, alpha, beta) = with_memos(&mapping);
        mark(&alpha, "2", "private");
        exchange(&alpha, &beta);
        run(&alpha, "DELETE FROM memo WHERE id = 2");
        exchange(&alpha, &beta);
        // SQLite gives the key again.
        run(&alpha, "INSERT INTO memo VALUES(2, 'two', '2026-01-03')");
        assert!(alpha.open().commit(Mode::Keep).unwrap().kept_home.is_empty());
        exchange(&alpha, &beta);
        assert_eq!(memos(&beta), "one, two", "{mapping}");
    }
    // Beside a marked row that is still there, a row with the same birth is another one.
    let (_stick, alpha, beta) = with_memos(MEMO);
    mark(&alpha, "2", "private");
    exchange(&alpha, &beta);
    run(&alpha, "INSERT INTO memo VALUES(3, 'three', '2026-01-02')");
    exchange(&alpha, &beta);
    assert_eq!(memos(&beta), "one, three");
}

#[test]
fn a_mark_that_was_taken_back_stays_taken_back_after_a_restore() {
    let (_stick, alpha, beta) = with_memos(MEMO);
    mark(&alpha, "2", "private");
    exchange(&alpha, &beta);
    mark(&alpha, "2", "public");
    exchange(&alpha, &beta);
    assert_eq!(memos(&beta), format!("{SECRET}, one"));
    lose_books(&alpha);
    restore(&alpha);
    exchange(&alpha, &beta);
    assert_eq!(memos(&beta), format!("{SECRET}, one"));
    // Where only those are shared that are marked, they are shared again.
    let (_stick, alpha, beta) = with_memos(&MEMO.replace("scope = \"public\"", "scope = \"private\""));
    mark(&alpha, "1", "public");
    exchange(&alpha, &beta);
    lose_books(&alpha);
    restore(&alpha);
    exchange(&alpha, &beta);
    assert_eq!(memos(&beta), "one");
}

#[test]
fn of_a_state_and_a_database_of_different_age_the_one_that_says_private_holds() {
    // The state is older than the mark.
    let (stick, alpha, beta) = with_memos(MEMO);
    exchange(&beta, &beta);
    let state = super::world::Saved::of(&alpha.app.dir().join(".wbsync"));
    mark(&alpha, "2", "private");
    exchange(&alpha, &beta);
    state.restore(&alpha.app.dir().join(".wbsync"));
    restore(&alpha);
    exchange(&alpha, &beta);
    assert_home(&stick, &alpha, &beta, "an old state");
    lose_books(&alpha);
    restore(&alpha);
    exchange(&alpha, &beta);
    assert_home(&stick, &alpha, &beta, "an old state that was told");

    // The database is.
    let (stick, alpha, beta) = with_memos(MEMO);
    let database = fs::read(alpha.app.db_path()).unwrap();
    mark(&alpha, "2", "private");
    exchange(&alpha, &beta);
    put_database(&alpha, &database);
    alpha.open().pull(&[wbsync::id::name::PeerName::new(STICK).unwrap()]).unwrap_err();
    restore(&alpha);
    exchange(&alpha, &beta);
    assert_home(&stick, &alpha, &beta, "an old database");

    // The state says private, the newer database that it isn't any more.
    let (stick, alpha, beta) = with_memos(MEMO);
    mark(&alpha, "2", "private");
    exchange(&alpha, &beta);
    let state = super::world::Saved::of(&alpha.app.dir().join(".wbsync"));
    mark(&alpha, "2", "public");
    state.restore(&alpha.app.dir().join(".wbsync"));
    restore(&alpha);
    exchange(&alpha, &beta);
    assert_home(&stick, &alpha, &beta, "two words");
}

fn put_database(site: &Site, bytes: &[u8]) {
    for suffix in ["-wal", "-shm"] {
        let mut path = site.app.db_path().into_os_string();
        path.push(suffix);
        fs::remove_file(path).ok();
    }
    fs::write(site.app.db_path(), bytes).unwrap();
}

#[test]
fn a_mark_that_a_crash_kept_from_the_database_is_there_after_the_next_commit() {
    let (stick, alpha, beta) = with_memos(MEMO);
    let database = fs::read(alpha.app.db_path()).unwrap();
    mark(&alpha, "2", "private");
    // As if it had been killed before it wrote to the database.
    put_database(&alpha, &database);
    alpha.open().state.set_meta("saying", "private").unwrap();
    exchange(&alpha, &beta);
    assert_home(&stick, &alpha, &beta, "killed before the database");
    // And as if the database had been put back, without anybody's noticing.
    let (stick, alpha, beta) = with_memos(MEMO);
    let database = fs::read(alpha.app.db_path()).unwrap();
    mark(&alpha, "2", "private");
    put_database(&alpha, &database);
    run(&alpha, "UPDATE memo SET v = v || '!'");
    exchange(&alpha, &beta);
    assert_home(&stick, &alpha, &beta, "put back");
}

#[test]
fn what_is_said_of_a_whole_dataset_outlives_the_bookkeeping_and_its_name() {
    for case in ["books", "rename"] {
        let (stick, alpha, beta) = with_memos(MEMO);
        alpha.open().set_default_audience("memo", Some("private"), Mode::Keep).unwrap();
        mark(&alpha, "1", "public");
        exchange(&alpha, &beta);
        assert_eq!(memos(&beta), "one");
        match case {
            "books" => {
                lose_books(&alpha);
                restore(&alpha);
            }
            _ => rename(&alpha, &beta),
        }
        run(&alpha, "INSERT INTO memo VALUES(3, 'three', '2026-01-03')");
        exchange(&alpha, &beta);
        assert_home(&stick, &alpha, &beta, case);
        assert!(!memos(&beta).contains("three"), "{case}");
    }
}
