//! What SQLite says of rows and their numbers.

use super::*;

/// Tables with keys that are not the rows' numbers, and tables that somebody watches, are asked for the key.
#[test]
fn rows_are_numbered_by_what_really_is_their_number() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.db");
    let tables = "CREATE TABLE plain(id INTEGER PRIMARY KEY, a); CREATE TABLE falling(id INTEGER PRIMARY KEY DESC);
                  CREATE TABLE bare(id INTEGER PRIMARY KEY) WITHOUT ROWID; CREATE TABLE sole(id INTEGER UNIQUE);
                  CREATE VIEW seen AS SELECT * FROM plain; CREATE TABLE ours(\"the \"\"id\" INTEGER PRIMARY KEY);
                  CREATE TRIGGER into_seen INSTEAD OF INSERT ON seen BEGIN INSERT INTO plain VALUES(NEW.id, NEW.a); END;
                  CREATE TABLE watched(id INTEGER PRIMARY KEY);
                  CREATE TRIGGER watch AFTER INSERT ON watched BEGIN INSERT INTO plain(a) VALUES(1); END;
                  CREATE TRIGGER _wbsync_x AFTER INSERT ON ours BEGIN INSERT INTO plain(a) VALUES(1); END;";
    Connection::open(&path).unwrap().execute_batch(tables).unwrap();
    let (scratch, busy) = (dir.path().to_owned(), Duration::from_secs(5));
    let session = SqliteSession::open(Place { path, scratch, busy, copy_above_bytes: 0 }).unwrap();
    for (table, column, is_numbered) in [
        ("plain", "id", true),
        ("PLAIN", "id", true),
        ("ours", "the \"id", true),
        ("plain", "a", false),
        ("falling", "id", false),
        ("bare", "id", false),
        ("sole", "id", false),
        ("seen", "id", false),
        ("watched", "id", false),
        ("nowhere", "id", false),
    ] {
        assert_eq!(session.numbers_rows(table, column).unwrap(), is_numbered, "{table}.{column}");
    }
    session.execute("INSERT INTO plain(id) VALUES(70)", &[]).unwrap();
    session.execute("INSERT INTO ours VALUES(5)", &[]).unwrap();
    assert_eq!(session.last_number(), Some(5), "what the trigger inserted is not the last");
}
