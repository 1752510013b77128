//! A database and a directory in one instance: both are exchanged, under one position.

use std::fs;

use rusqlite::Connection;
use wbsync::id::name::PeerName;
use wbsync::state::peers::Trust;
use wbsync::sync::commit::Mode;
use wbsync::sync::init::InitOptions;
use wbsync::sync::instance::Instance;
use wbsync::sync::progress::silent;

use super::site::{Site, noise, stick_name};

const TABLES: &str = r#"
database = "app.db"

[dataset.notes]
table = "notes"
key = "id"
scope = { constant = "trusted" }
fields.title = { type = "text" }
"#;

const FILES: &str = "\n[files.docs]\ndir = \"d\"\nscope = \"trusted\"\n";

/// Makes an instance with a table, and with a directory if wanted.
fn site(name: &'static str, files: &str) -> Site {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("d")).unwrap();
    fs::write(dir.path().join("wbsync.toml"), format!("{TABLES}{files}")).unwrap();
    let db = Connection::open(dir.path().join("app.db")).unwrap();
    db.execute_batch("CREATE TABLE notes(id INTEGER PRIMARY KEY AUTOINCREMENT, title TEXT)").unwrap();
    let options = InitOptions { name: Some(PeerName::new(name).unwrap()), ..InitOptions::default() };
    Instance::init(dir.path(), &options, silent()).unwrap();
    Site { dir, name }
}

fn database(site: &Site) -> Connection {
    Connection::open(site.dir.path().join("app.db")).unwrap()
}

fn note(site: &Site, title: &str) {
    database(site).execute("INSERT INTO notes(title) VALUES(?1)", [title]).unwrap();
}

fn notes(site: &Site) -> Vec<String> {
    let db = database(site);
    let mut select = db.prepare("SELECT title FROM notes ORDER BY title").unwrap();
    select.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

fn pair(files: &str) -> (tempfile::TempDir, Site, Site) {
    let (stick, alpha, beta) = (tempfile::tempdir().unwrap(), site("alpha", FILES), site("beta", files));
    alpha.knows(&beta, Some(Trust::Writer));
    beta.knows(&alpha, Some(Trust::Writer));
    alpha.uses(&stick.path().join("wb"));
    beta.uses(&stick.path().join("wb"));
    (stick, alpha, beta)
}

#[test]
fn rows_and_files_go_together() {
    let (_stick, alpha, beta) = pair(FILES);
    note(&alpha, "one");
    alpha.write("a", noise(1, 100_000));
    alpha.sync();
    beta.sync();
    assert_eq!((notes(&beta), beta.tree()), (notes(&alpha), alpha.tree()));
    note(&beta, "two");
    beta.write("b", "two");
    beta.write("a", noise(2, 100_000));
    beta.sync();
    alpha.sync();
    beta.sync();
    assert_eq!(notes(&alpha), ["one", "two"]);
    assert_eq!((notes(&beta), beta.tree()), (notes(&alpha), alpha.tree()));
    // Of what a writer replaced, the origin lets the pieces go.
    alpha.sync();
    beta.sync();
    assert_eq!(alpha.roots(), beta.roots());
    for site in [&alpha, &beta] {
        let summary = site.commit();
        assert!(summary.scopes.is_empty(), "{}: {summary:?}", site.name);
    }
}

#[test]
fn a_directory_that_is_added_later_is_filled() {
    let (_stick, alpha, beta) = pair("");
    note(&alpha, "one");
    alpha.write("a", noise(1, 100_000));
    alpha.sync();
    beta.sync();
    assert!(beta.tree().is_empty());
    let path = beta.dir.path().join("wbsync.toml");
    fs::write(&path, format!("{}{FILES}", fs::read_to_string(&path).unwrap())).unwrap();
    beta.write("own", "beta's");
    beta.sync();
    alpha.sync();
    assert_eq!(beta.tree().len(), 2);
    assert_eq!(beta.tree(), alpha.tree());
    assert!(beta.commit().scopes.is_empty());
}

#[test]
fn a_crash_between_the_two_is_ended_by_the_next() {
    for (step, event) in
        [("settle", "UPDATE OF settled"), ("apply", "UPDATE OF target"), ("finish", "UPDATE OF applied")]
    {
        let (_stick, alpha, beta) = pair(FILES);
        for site in [&alpha, &beta] {
            note(site, site.name);
            site.write(site.name, noise(1, 50_000));
            site.sync();
        }
        alpha.sync();
        note(&alpha, "more");
        alpha.write("more", "more");
        alpha.write("alpha", "changed");
        alpha.sync();
        note(&beta, "other");
        beta.write("other", "other");
        let sql =
            format!("CREATE TRIGGER broken BEFORE {event} ON _wbsync_position BEGIN SELECT RAISE(ABORT, 'crash'); END");
        beta.books().execute_batch(&sql).unwrap();
        let failed = beta.open().pull(&[stick_name()]).is_err();
        beta.books().execute_batch("DROP TRIGGER broken").unwrap();
        assert!(failed, "{step}");
        // Somebody works on before the next run.
        note(&beta, "later");
        beta.write("later", "later");
        beta.write("other", "other, later");
        assert!(beta.open().commit(Mode::DryRun).is_ok());
        for site in [&beta, &alpha, &beta] {
            site.sync();
        }
        assert_eq!(notes(&beta), notes(&alpha), "{step}");
        assert_eq!(notes(&beta).len(), 5, "{step}");
        assert_eq!(beta.tree(), alpha.tree(), "{step}");
        assert_eq!(beta.tree().len(), 5, "{step}");
        assert_eq!(alpha.roots(), beta.roots(), "{step}");
        assert_eq!(beta.waits(), [].into(), "{step}");
    }
}
