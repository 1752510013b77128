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
