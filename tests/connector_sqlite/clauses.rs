//! What only SQLite lets a table say: that a row which breaks a rule takes the place of others, vanishes, or takes everything
//! back. What arrives does none of it.

use wbsync::connector::contract::Connector;
use wbsync::record::value::Value;

use super::harness::*;

const MAPPING: &str = "
[dataset.notes]
table = \"notes\"
key = \"id\"
scope = { column = \"sync_scope\" }
birth = [\"born\"]
[dataset.notes.fields]
name = { type = \"text\" }
body = { type = \"text\" }
born = { type = \"int\" }
";

fn shows(text: &str) -> Raw {
    Raw::Text(text.into())
}

#[test]
fn no_row_gives_way_to_one_that_arrives_whatever_the_table_says() {
    for clause in ["REPLACE", "IGNORE", "ROLLBACK", "FAIL", "ABORT"] {
        let table = format!(
            "CREATE TABLE notes (id INTEGER PRIMARY KEY ON CONFLICT {clause}, name TEXT UNIQUE ON CONFLICT {clause},
             body TEXT NOT NULL ON CONFLICT {clause} DEFAULT '', born INTEGER, sync_scope TEXT)"
        );
        let mut app = App::with(&table, MAPPING);
        app.sql("INSERT INTO notes VALUES(1, 'colour', 'ours', 1, 'public')");
        app.settle();
        let note = |number: u8, name: &str| {
            let fields = [("name", text(name)), ("body", text("theirs")), ("born", Value::Int(2))];
            put(&id(BETA, "notes", number), &fields)
        };
        let applied = app.apply_quietly(vec![note(1, "colour"), note(2, "size")]);
        let shown = app.rows("SELECT name, body FROM notes ORDER BY id");
        assert_eq!(shown, [[shows("colour"), shows("ours")], [shows("size"), shows("theirs")]], "{clause}");
        let (parked, count) = app.sync.parked(10).unwrap();
        assert_eq!((count, applied.parked.values().sum::<u64>()), (1, 1), "{clause}");
        assert!(parked[0].reason.contains("UNIQUE"), "{clause}: {}", parked[0].reason);
        // An edit of theirs that takes the name neither.
        app.apply_quietly(vec![note(2, "colour")]);
        assert_eq!(app.rows("SELECT body FROM notes WHERE name = 'colour'"), [[shows("ours")]], "{clause}");
        assert_eq!(app.sync.parked(10).unwrap().1, 2, "{clause}");
        app.sql("DELETE FROM notes WHERE body = 'ours'");
        app.settle();
        app.apply_quietly(vec![]);
        assert_eq!(app.rows("SELECT body FROM notes WHERE name = 'colour'"), [[shows("theirs")]], "{clause}");
    }
}

/// Whatever only the application's own connection has, or is broken in its schema, holds up the records of that table only.
#[test]
fn a_table_that_we_can_not_write_holds_up_only_its_own_records() {
    let table = "CREATE TABLE notes (id INTEGER PRIMARY KEY, name TEXT, body TEXT, born INTEGER, sync_scope TEXT)";
    for (broken, why) in [
        (
            "CREATE TRIGGER t BEFORE INSERT ON notes BEGIN INSERT INTO nosuch VALUES(1); END",
            "no such table: main.nosuch",
        ),
        ("CREATE INDEX own ON notes(slug(name))", "unknown function: slug()"),
    ] {
        let mut app = App::with(table, MAPPING);
        app.settle();
        let own = rusqlite::Connection::open(&app.db.path).unwrap();
        let slug = |_: &mut rusqlite::functions::Context<'_>| Ok("x");
        let flags = rusqlite::functions::FunctionFlags::SQLITE_DETERMINISTIC;
        own.create_scalar_function("slug", 1, flags, slug).unwrap();
        own.execute_batch(broken).unwrap();
        drop(own);
        app.reopen();
        let note = put(&id(BETA, "notes", 1), &[("name", text("a")), ("body", text("b")), ("born", Value::Int(2))]);
        // Not by way of the harness, whose own checks need that function too.
        app.sync.begin_apply(b"target").unwrap();
        let changes = [note, user(&id(BETA, "users", 2), "bea")];
        app.sync.apply(&mut changes.into_iter().map(Ok), &mut |_| {}).unwrap();
        app.sync.finish_apply().unwrap();
        assert_eq!(app.text("SELECT count(*) FROM users"), "2", "{why}");
        let (parked, count) = app.sync.parked(10).unwrap();
        assert_eq!(count, 1, "{why}");
        assert!(parked[0].reason.contains(why), "{}", parked[0].reason);
        assert_eq!(app.sync.examine(&mut |_, _| {}).unwrap(), [], "{why}");
    }
}
