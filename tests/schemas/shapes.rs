//! Keys of several columns, of texts and of uuids; tables without a key; rows that refer to rows of the same table, and tables
//! that refer to each other.

use super::site::{PAIRS, Site, Sqlite, pair, settle};

const LISTS: &str = "
CREATE TABLE boards(id UUID PRIMARY KEY, title TEXT NOT NULL);
CREATE TABLE people(id SERIAL PRIMARY KEY, name TEXT NOT NULL, created_at TIMESTAMP NOT NULL);
CREATE TABLE seats(board_id UUID NOT NULL REFERENCES boards(id), person_id INTEGER NOT NULL REFERENCES people(id),
    role TEXT, PRIMARY KEY (board_id, person_id));
CREATE TABLE cells(board_id UUID NOT NULL REFERENCES boards(id), col TEXT NOT NULL, line INTEGER NOT NULL, body TEXT,
    PRIMARY KEY (board_id, col, line));
CREATE TABLE marks(id SERIAL PRIMARY KEY, board_id UUID NOT NULL, col TEXT NOT NULL, line INTEGER NOT NULL, colour TEXT,
    FOREIGN KEY (board_id, col, line) REFERENCES cells(board_id, col, line));
CREATE TABLE settings(board_id UUID NOT NULL REFERENCES boards(id), name TEXT NOT NULL, value TEXT,
    UNIQUE (board_id, name));";

const LISTS_MAPPING: &str = r#"
[dataset.boards]
table = "boards"
key = "id"
scope = { constant = "public" }
fields = { id = { type = "text" }, title = { type = "text" } }
[dataset.people]
table = "people"
key = "id"
birth = ["created_at"]
scope = { constant = "public" }
fields = { name = { type = "text" }, created_at = { type = "timestamp" } }
[dataset.seats]
table = "seats"
key = ["board_id", "person_id"]
scope = { parents = ["board", "person"] }
unique = [["board", "person"]]
same = ["board", "person"]
fields.board = { column = "board_id", ref = "boards", required = true }
fields.person = { column = "person_id", ref = "people", required = true }
fields.role = { type = "text" }
[dataset.cells]
table = "cells"
key = ["board_id", "col", "line"]
scope = { parents = ["board"] }
fields.board = { column = "board_id", ref = "boards", required = true }
fields.col = { type = "text" }
fields.line = { type = "int" }
fields.body = { type = "text" }
[dataset.marks]
table = "marks"
key = "id"
scope = { parents = ["cell"] }
fields.cell = { column = ["board_id", "col", "line"], ref = "cells", required = true }
fields.colour = { type = "text" }
[dataset.settings]
table = "settings"
key = ["board_id", "name"]
scope = { parents = ["board"] }
fields.board = { column = "board_id", ref = "boards", required = true }
fields.name = { type = "text" }
fields.value = { type = "text" }
"#;

const LISTS_SHOWN: [&str; 5] = [
    "SELECT CAST(id AS TEXT) || title FROM boards",
    "SELECT b.title || p.name || coalesce(s.role, '-') FROM seats s JOIN boards b ON b.id = s.board_id
     JOIN people p ON p.id = s.person_id",
    "SELECT CAST(board_id AS TEXT) || col || '|' || CAST(line AS TEXT) || coalesce(body, '-') FROM cells",
    "SELECT CAST(board_id AS TEXT) || col || '|' || CAST(line AS TEXT) || coalesce(colour, '-') FROM marks",
    "SELECT b.title || s.name || coalesce(s.value, '-') FROM settings s JOIN boards b ON b.id = s.board_id",
];

#[test]
fn keys_of_several_columns_travel_change_and_go() {
    for kinds in PAIRS {
        let (_stick, alpha, beta) = pair(kinds, LISTS, LISTS_MAPPING);
        // Other local keys on either side.
        beta.sql("INSERT INTO people(name, created_at) VALUES('bea', '2026-01-01 00:00:00.000000')");
        let board = "11111111-2222-3333-4444-555555555555";
        alpha.sql(&format!(
            "INSERT INTO boards VALUES('{board}', 'plan');
             INSERT INTO people(name, created_at) VALUES('ann', '2026-01-01 00:00:00.000000'), ('bob', '2026-01-02 00:00:00.000000');
             INSERT INTO seats SELECT '{board}', id, 'chair' FROM people;
             INSERT INTO cells VALUES('{board}', 'a,b', 1, 'x'), ('{board}', 'a\\', 10, 'y'), ('{board}', 'a', 9, NULL);
             INSERT INTO marks(board_id, col, line, colour) VALUES('{board}', 'a,b', 1, 'red'), ('{board}', 'a\\', 10, NULL);
             INSERT INTO settings VALUES('{board}', 'lang', 'en'), ('{board}', 'zone', 'UTC')"
        ));
        settle(&alpha, &beta, &LISTS_SHOWN);
        assert_eq!(beta.lines(LISTS_SHOWN[3]).len(), 2, "{kinds:?}");
        // Both seat the same person, and edit and remove what the other made.
        for site in [&alpha, &beta] {
            site.sql(&format!("INSERT INTO seats SELECT '{board}', id, 'guest' FROM people WHERE name = 'bea'"));
        }
        beta.sql(
            "UPDATE seats SET role = 'clerk' WHERE person_id = (SELECT id FROM people WHERE name = 'ann');
                  DELETE FROM marks WHERE colour = 'red'; DELETE FROM cells WHERE body = 'x';
                  UPDATE settings SET value = 'de' WHERE name = 'lang'; DELETE FROM settings WHERE name = 'zone'",
        );
        alpha.sql(&format!(
            "UPDATE cells SET line = 11 WHERE col = 'a'; UPDATE marks SET colour = 'blue' WHERE colour IS NULL;
                  INSERT INTO settings VALUES('{board}', 'skin', 'dark')"
        ));
        settle(&alpha, &beta, &LISTS_SHOWN);
        assert_eq!(alpha.lines(LISTS_SHOWN[1]), ["planannclerk", "planbeaguest", "planbobchair"]);
        assert_eq!(beta.lines("SELECT col || CAST(line AS TEXT) FROM cells"), ["a11", "a\\10"]);
        assert_eq!(alpha.lines(LISTS_SHOWN[4]), ["planlangde", "planskindark"]);
        // What isn't shared any more goes, the youngest first. Beta's own seat would keep the board.
        for site in [&alpha, &beta] {
            site.sql("DELETE FROM seats WHERE role = 'guest'");
        }
        settle(&alpha, &beta, &LISTS_SHOWN);
        let text = std::fs::read_to_string(alpha.path().join("wbsync.toml")).unwrap();
        let private = text.replacen("constant = \"public\"", "constant = \"private\"", 1);
        std::fs::write(alpha.path().join("wbsync.toml"), private).unwrap();
        alpha.sync();
        beta.sync();
        for table in ["boards", "cells", "marks", "settings"] {
            let left = beta.lines(&format!("SELECT CAST(count(*) AS TEXT) FROM {table}"));
            assert_eq!(left, ["0"], "{table} of {kinds:?}");
        }
        assert_eq!(beta.waiting(), Vec::<String>::new());
    }
}

const TREE: &str = "
CREATE TABLE notes(id SERIAL PRIMARY KEY, up_id INTEGER REFERENCES notes(id), body TEXT NOT NULL,
    created_at TIMESTAMP NOT NULL, scope TEXT NOT NULL);";
const TREE_MAPPING: &str = r#"
[dataset.notes]
table = "notes"
key = "id"
birth = ["created_at"]
scope = { column = "scope" }
fields.up = { column = "up_id", ref = "notes", required = true }
fields.body = { type = "text" }
fields.created_at = { type = "timestamp" }
"#;
const TREE_SHOWN: &str = "SELECT n.body || coalesce('<' || u.body, '') FROM notes n LEFT JOIN notes u ON u.id = n.up_id WHERE n.scope = 'public'";

#[test]
fn a_tree_within_a_table_grows_is_capped_and_falls() {
    for kinds in PAIRS {
        let (_stick, alpha, beta) = pair(kinds, TREE, TREE_MAPPING);
        let time = "'2026-01-01 00:00:00.000000'";
        beta.sql(&format!("INSERT INTO notes(body, created_at, scope) VALUES('other', {time}, 'private')"));
        // Children that have lower keys than their parents, and a row that is its own parent.
        alpha.sql(&format!(
            "INSERT INTO notes(id, up_id, body, created_at, scope) VALUES(9, NULL, 'root', {time}, 'public');
             INSERT INTO notes(id, up_id, body, created_at, scope) VALUES(5, 9, 'stem', {time}, 'public');
             INSERT INTO notes(id, up_id, body, created_at, scope) VALUES(2, 5, 'leaf', {time}, 'public');
             INSERT INTO notes(id, up_id, body, created_at, scope) VALUES(3, 5, 'bud', {time}, 'private');
             INSERT INTO notes(id, up_id, body, created_at, scope) VALUES(1, 3, 'hidden', {time}, 'public');
             INSERT INTO notes(id, up_id, body, created_at, scope) VALUES(20, 20, 'loop', {time}, 'public')"
        ));
        settle(&alpha, &beta, &[]);
        assert_eq!(beta.lines(TREE_SHOWN), ["leaf<stem", "loop<loop", "root", "stem<root"], "{kinds:?}");
        // A reply from the other side, and a branch that becomes public.
        beta.sql(&format!(
            "INSERT INTO notes(up_id, body, created_at, scope) SELECT id, 'reply', {time}, 'public' FROM notes WHERE body = 'leaf'"
        ));
        alpha.sql("UPDATE notes SET scope = 'public' WHERE body = 'bud'");
        settle(&alpha, &beta, &[TREE_SHOWN]);
        assert_eq!(beta.lines(TREE_SHOWN).len(), 7);
        // A capture of an ancestor changes everything under it.
        alpha.sql("UPDATE notes SET scope = 'private' WHERE body = 'stem'");
        alpha.sync();
        beta.sync();
        // The reply is beta's own, so that what it hangs on is kept without its content.
        let left = ["loop<loop", "reply<", "root"];
        assert_eq!(beta.lines(TREE_SHOWN), left, "{kinds:?}");
        beta.sql("DELETE FROM notes WHERE body = 'reply'");
        alpha.sql("UPDATE notes SET scope = 'public' WHERE body = 'stem'");
        settle(&alpha, &beta, &[TREE_SHOWN]);
        // The whole tree goes at once.
        alpha.sql("UPDATE notes SET scope = 'private'");
        alpha.sync();
        beta.sync();
        assert_eq!(beta.lines("SELECT body FROM notes"), ["other"], "{kinds:?}");
    }
}

const PAIR: &str = "
CREATE TABLE albums(id SERIAL PRIMARY KEY, title TEXT NOT NULL, cover_id INTEGER);
CREATE TABLE photos(id SERIAL PRIMARY KEY, album_id INTEGER NOT NULL REFERENCES albums(id) DEFERRED, name TEXT NOT NULL);";
const PAIR_MAPPING: &str = r#"
[dataset.albums]
table = "albums"
key = "id"
scope = { constant = "public" }
fields.title = { type = "text" }
fields.cover = { column = "cover_id", ref = "photos", missing = "null" }
[dataset.photos]
table = "photos"
key = "id"
scope = { parents = ["album"] }
fields.album = { column = "album_id", ref = "albums", required = true }
fields.name = { type = "text" }
"#;
const PAIR_SHOWN: [&str; 2] = [
    "SELECT a.title || coalesce('<' || p.name, '') FROM albums a LEFT JOIN photos p ON p.id = a.cover_id",
    "SELECT p.name || '<' || a.title FROM photos p JOIN albums a ON a.id = p.album_id",
];

/// The schema with both keys checked at once or at the end of a transaction.
fn pair_schema(postgres: bool, deferred: &str) -> String {
    let schema = PAIR.replace("DEFERRED", deferred);
    match postgres {
        true => format!("{schema} ALTER TABLE albums ADD FOREIGN KEY (cover_id) REFERENCES photos(id) {deferred};"),
        false => schema.replace("cover_id INTEGER", &format!("cover_id INTEGER REFERENCES photos(id) {deferred}")),
    }
}

#[test]
fn tables_that_refer_to_each_other_come_and_go_together() {
    for (kinds, deferred) in
        PAIRS.into_iter().flat_map(|kinds| ["", "DEFERRABLE INITIALLY DEFERRED"].map(|how| (kinds, how)))
    {
        let stick = tempfile::tempdir().unwrap();
        let [alpha, beta] = [("alpha", kinds[0]), ("beta", kinds[1])]
            .map(|(name, kind)| Site::new(kind, name, &pair_schema(kind != Sqlite, deferred), PAIR_MAPPING));
        super::site::meet(&alpha, &beta, "beta", stick.path());
        super::site::meet(&beta, &alpha, "alpha", stick.path());
        beta.sql("INSERT INTO albums(title) VALUES('mine')");
        alpha.sql(
            "INSERT INTO albums(id, title) VALUES(1, 'sea'), (2, 'hills');
             INSERT INTO photos(id, album_id, name) VALUES(1, 1, 'wave'), (2, 1, 'gull'), (3, 2, 'cow');
             UPDATE albums SET cover_id = 2 WHERE id = 1; UPDATE albums SET cover_id = 3 WHERE id = 2",
        );
        settle(&alpha, &beta, &PAIR_SHOWN);
        assert_eq!(beta.lines(PAIR_SHOWN[0]), ["hills<cow", "mine", "sea<gull"], "{kinds:?} {deferred}");
        beta.sql("UPDATE albums SET cover_id = (SELECT id FROM photos WHERE name = 'wave') WHERE title = 'sea'");
        settle(&alpha, &beta, &PAIR_SHOWN);
        // An album with its photos goes, though its cover refers to one of them.
        alpha.sql("UPDATE albums SET cover_id = NULL WHERE id = 2; DELETE FROM photos WHERE album_id = 2; DELETE FROM albums WHERE id = 2");
        settle(&alpha, &beta, &PAIR_SHOWN);
        assert_eq!(beta.lines(PAIR_SHOWN[0]), ["mine", "sea<wave"], "{kinds:?} {deferred}");
        // What is gone elsewhere is kept, blank, while something local hangs on it.
        beta.sql("INSERT INTO photos(album_id, name) SELECT id, 'ours' FROM albums WHERE title = 'sea'");
        let text = std::fs::read_to_string(alpha.path().join("wbsync.toml")).unwrap();
        std::fs::write(alpha.path().join("wbsync.toml"), text.replace("\"public\"", "\"private\"")).unwrap();
        alpha.sync();
        beta.sync();
        assert_eq!(beta.lines("SELECT title FROM albums"), ["", "mine"], "{kinds:?} {deferred}");
        assert_eq!(beta.lines("SELECT name FROM photos"), ["ours"], "{kinds:?} {deferred}");
    }
}

#[test]
fn rows_are_not_taken_along_by_the_database() {
    let schema = LISTS
        .replace("REFERENCES cells(board_id, col, line)", "REFERENCES cells(board_id, col, line) ON DELETE CASCADE");
    for kinds in PAIRS {
        let (_stick, alpha, beta) = pair(kinds, &schema, LISTS_MAPPING);
        let board = "11111111-2222-3333-4444-555555555555";
        alpha.sql(&format!(
            "INSERT INTO boards VALUES('{board}', 'plan'); INSERT INTO cells VALUES('{board}', 'a', 1, 'text')"
        ));
        settle(&alpha, &beta, &LISTS_SHOWN);
        beta.sql(&format!("INSERT INTO marks(board_id, col, line, colour) VALUES('{board}', 'a', 1, 'ours')"));
        alpha.sql("DELETE FROM cells");
        alpha.sync();
        beta.sync();
        assert_eq!(beta.lines("SELECT colour FROM marks"), ["ours"], "{kinds:?}");
        assert_eq!(beta.lines("SELECT coalesce(body, 'nothing') FROM cells"), ["nothing"]);
    }
}

#[test]
fn what_can_never_work_is_refused_with_the_reason() {
    let refused = |schema: &str, mapping: &str| {
        let site = Site::without_instance(Sqlite, schema);
        let Err(error) = site.init("alpha", mapping) else { panic!("{mapping}") };
        let mut told = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            told = format!("{told}: {cause}");
            source = cause.source();
        }
        told
    };
    let closed = pair_schema(false, "").replace("cover_id INTEGER", "cover_id INTEGER NOT NULL");
    let told = refused(&closed, PAIR_MAPPING);
    assert!(told.contains("albums → photos") && told.contains("each row waits for another"), "{told}");
    let told = refused(LISTS, &LISTS_MAPPING.replace("key = [\"board_id\", \"person_id\"]", "key = \"person_id\""));
    assert!(told.contains("the primary key of \"seats\" is board_id, person_id, not person_id"), "{told}");
    let told = refused(LISTS, &LISTS_MAPPING.replace("key = [\"board_id\", \"name\"]", "key = \"name\""));
    assert!(told.contains("name is not unique in \"settings\", which has no primary key"), "{told}");
}
