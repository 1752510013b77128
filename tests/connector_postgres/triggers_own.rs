//! What only PostgreSQL does to triggers: transactions that commit late, TRUNCATE, partitions, rights.

use std::time::Duration;

use wbsync::connector::capturing::{Capturing, TriggerChange};
use wbsync::connector::contract::Connector;
use wbsync::connector::dburl::{self, Address};
use wbsync::connector::error::Error;
use wbsync::connector::postgres::options::Options;

use super::harness::*;
use super::support::postgres::connect;

fn watched() -> (App, i64) {
    let app = App::new();
    let ann = app.user("ann", "public");
    app.request("bike", Some(ann), "public");
    (app.watched(), ann)
}

#[test]
fn what_commits_late_is_not_lost() {
    let (mut app, ann) = watched();
    let (mut early, mut late) = (connect(&app.db.url), connect(&app.db.url));
    early.batch_execute(&format!("BEGIN; UPDATE users SET username = 'anna' WHERE id = {ann}")).unwrap();
    late.batch_execute("UPDATE help_requests SET title = 'boat'").unwrap();
    // The earlier note is not visible yet, the later one is.
    assert_eq!(app.settle().len(), 1);
    early.batch_execute("COMMIT").unwrap();
    let seen = app.settle_exactly();
    assert_eq!(seen.len(), 1);
    find(&seen, "username", "anna");
    early
        .batch_execute("BEGIN; UPDATE users SET is_admin = TRUE; SAVEPOINT s; UPDATE help_requests SET title = 'y'")
        .unwrap();
    assert_eq!(app.settle().len(), 0);
    early.batch_execute("ROLLBACK TO s; RELEASE s; COMMIT").unwrap();
    assert_eq!(app.settle_exactly().len(), 0);
    early.batch_execute(&format!(
        "BEGIN; SAVEPOINT s; UPDATE users SET username = 'x' WHERE id = {ann}; RELEASE s; SAVEPOINT t; DELETE FROM help_requests; ROLLBACK TO t"
    )).unwrap();
    assert_eq!(app.settle().len(), 0);
    early.batch_execute("COMMIT").unwrap();
    assert_eq!(app.settle_exactly().len(), 1);
}

#[test]
fn statements_of_every_kind_are_noted() {
    let (mut app, ann) = watched();
    app.sql("COPY users(id, username, is_admin, created_at, sync_scope) FROM PROGRAM 'printf \"50\\tcopied\\tf\\t2026-01-01\\tpublic\\n\"'");
    assert_eq!(app.settle_exactly().len(), 1);
    app.sql(&format!(
        "INSERT INTO users(id, username, is_admin, created_at, sync_scope) VALUES({ann}, 'x', FALSE, '{TIME}', 'public'),
         (51, 'y', FALSE, '{TIME}', 'public') ON CONFLICT(id) DO UPDATE SET username = 'anna'"
    ));
    assert_eq!(app.settle_exactly().len(), 2);
    app.sql("TRUNCATE users CASCADE");
    assert_eq!(app.settle_exactly().len(), 5, "the administrator too");
    app.sql(
        "DO $$ BEGIN FOR i IN 1..300 LOOP INSERT INTO users(username, is_admin, created_at, sync_scope)
             VALUES('u' || i, FALSE, now(), 'public'); END LOOP; END $$",
    );
    assert_eq!(app.settle_exactly().len(), 300);
}

#[test]
fn a_column_that_is_rewritten_is_read_again() {
    let (mut app, _) = watched();
    app.sql("ALTER TABLE help_requests ALTER title TYPE text USING title || '!'");
    let seen = app.settle_exactly();
    assert_eq!(seen.len(), 1);
    find(&seen, "title", "bike!");
    let (capture, _) = app.capture();
    assert_eq!(capture.rows, 0);
}

#[test]
fn tables_with_parts_are_read_as_a_whole() {
    let parts = "
        CREATE TABLE things (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, word text, sync_scope text NOT NULL)
            PARTITION BY RANGE (id);
        CREATE TABLE things_1 PARTITION OF things FOR VALUES FROM (0) TO (1000);
        CREATE TABLE more (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, word text, sync_scope text NOT NULL);
        CREATE TABLE heir () INHERITS (more);";
    let dataset = |name: &str| {
        format!(
            "[dataset.{name}]\ntable = \"{name}\"\nkey = \"id\"\nscope = {{ column = \"sync_scope\" }}\n[dataset.{name}.fields]\nword = {{ type = \"text\" }}\n"
        )
    };
    let mut app = App::with(parts, &(dataset("things") + &dataset("more"))).watched();
    let tables = app.sync.triggers().unwrap().tables;
    assert_eq!(tables.iter().filter(|table| table.uncovered.is_some()).count(), 2);
    app.sql("INSERT INTO things_1 OVERRIDING SYSTEM VALUE VALUES(7, 'part', 'public'); INSERT INTO heir VALUES(8, 'heir', 'public')");
    assert_eq!(app.settle_exactly().len(), 2);
    app.user("ann", "public");
    let (capture, _) = app.capture();
    assert_eq!((capture.rows, capture.is_part), (3, true), "two rows of these, one user");
    // Keys aren't unique over heirs: of two rows with one key one stays home, and the rest goes on.
    app.sql("INSERT INTO more OVERRIDING SYSTEM VALUE VALUES(8, 'parent', 'public'), (9, 'next', 'public')");
    let seen = app.settle();
    find(&seen, "word", "next");
    assert_eq!(app.settle().len(), 0, "the same one each time");
}

/// A rule that turns inserts into something else lets no key come back.
#[test]
fn a_table_whose_inserts_are_rewritten_holds_up_only_its_own_records() {
    let table =
        "CREATE TABLE notes (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body text, sync_scope text NOT NULL);
                 CREATE RULE quiet AS ON INSERT TO notes WHERE NEW.body = 'x' DO INSTEAD NOTHING";
    let mapping = "[dataset.notes]\ntable = \"notes\"\nkey = \"id\"\nscope = { column = \"sync_scope\" }\n\
                   [dataset.notes.fields]\nbody = { type = \"text\" }\n";
    let mut app = App::with(table, mapping);
    app.settle();
    let note = put(&id(BETA, "notes", 1), &[("body", text("y"))]);
    let applied = app.apply(vec![note, user(&id(BETA, "users", 2), "bea")]);
    assert_eq!(
        (app.text("SELECT count(*) FROM users"), app.sync.parked(10).unwrap().1),
        ("2".into(), 1),
        "{applied:?}"
    );
    assert!(app.sync.parked(10).unwrap().0[0].reason.contains("RETURNING"));
}

#[test]
fn the_application_can_write_without_the_outbox() {
    let (mut app, ann) = watched();
    app.sql("DROP TABLE wbsync.outbox");
    app.sql(&format!("UPDATE users SET username = 'anna' WHERE id = {ann}"));
    let (capture, seen) = app.capture();
    assert_eq!((seen.len(), capture.unwatched.is_empty()), (1, false));
    app.settle();
    app.sync.change_triggers(TriggerChange::Install).unwrap();
    app.sql(&format!("UPDATE users SET username = 'ann' WHERE id = {ann}"));
    assert_eq!(app.settle_exactly().len(), 1);
    app.sql("DROP SCHEMA wbsync CASCADE");
    app.sql(&format!("UPDATE users SET username = 'anna' WHERE id = {ann}"));
    assert_eq!(app.text("SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal"), "0");
}

/// A migration renames the key while the triggers are there: they note that everything may have changed.
#[test]
fn the_application_can_write_after_its_key_was_renamed() {
    let table =
        "CREATE TABLE notes (code text, line int, body text, sync_scope text NOT NULL, PRIMARY KEY (code, line))";
    let mapping = "[dataset.notes]\ntable = \"notes\"\nkey = [\"code\", \"line\"]\nscope = { column = \"sync_scope\" }\n\
                   unique = [[\"code\", \"line\"]]\n[dataset.notes.fields]\ncode = { type = \"text\" }\nline = { type = \"int\" }\n\
                   body = { type = \"text\" }\n";
    let mut app = App::with(table, mapping).watched();
    app.sql("INSERT INTO notes VALUES('a', 1, 'one', 'public')");
    assert_eq!(app.settle_exactly().len(), 1);
    app.sql("ALTER TABLE notes RENAME COLUMN code TO slug");
    app.sql("INSERT INTO notes VALUES('b', 1, 'two', 'public')");
    app.sql("UPDATE notes SET body = 'three' WHERE slug = 'a'");
    app.sql("DELETE FROM notes WHERE slug = 'b'");
    app.sql("ALTER TABLE notes RENAME COLUMN slug TO code");
    let seen = app.settle_exactly();
    assert_eq!(seen.len(), 1);
    find(&seen, "body", "three");
}

#[test]
fn rights_as_documented_are_enough() {
    let app = App::new();
    let role = "role";
    app.sql(&format!(
        "CREATE ROLE sync_{role} LOGIN; CREATE ROLE web_{role} LOGIN; CREATE SCHEMA wbsync AUTHORIZATION sync_{role};
         GRANT USAGE ON SCHEMA public TO sync_{role}, web_{role};
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO sync_{role}, web_{role};
         GRANT TRIGGER ON ALL TABLES IN SCHEMA public TO sync_{role}"
    ));
    let url = |name: &str| app.db.url.replace("postgres@", &format!("{name}_{role}@"));
    let Address::Postgres(address) = dburl::parse(&url("sync"), app.dir.path()).unwrap() else { panic!("an address") };
    let mut options = Options::new(*address, app.dir.path());
    options.capturing = Capturing::Triggers;
    let mut sync = wbsync::connector::postgres::open(options, mapping(""), context()).unwrap();
    sync.check().unwrap();
    sync.change_triggers(TriggerChange::Install).unwrap();
    let state = sync.triggers().unwrap();
    assert!(state.tables.iter().all(|table| table.faults.is_empty()), "{state:?}");
    let mut capture = || {
        let mut seen = 0;
        let found = sync.capture(NOW, &mut |_| {
            seen += 1;
            Ok(())
        });
        let (found, position) = (found.unwrap(), sync.position().unwrap());
        if seen > 0 {
            sync.settle(&found, &position).unwrap();
        }
        (seen, found.rows)
    };
    assert_eq!(capture(), (1, 1));
    // The application's own user has no right on anything of ours.
    let mut web = connect(&url("web"));
    web.batch_execute(
        "INSERT INTO users(username, is_admin, created_at, sync_scope) VALUES('ann', FALSE, now(), 'public')",
    )
    .unwrap();
    web.batch_execute("SELECT 1 FROM wbsync.outbox").unwrap_err();
    // Nor can it lead ours astray by names of its own.
    web.batch_execute(
        "SET search_path = pg_temp, public; CREATE TEMP TABLE outbox(x int); CREATE TEMP TABLE new_rows(id int)",
    )
    .unwrap();
    web.batch_execute("UPDATE public.users SET username = 'anna' WHERE username = 'ann'").unwrap();
    assert_eq!(capture(), (1, 1));
    sync.change_triggers(TriggerChange::Uninstall).unwrap();
    assert_eq!(app.text("SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal"), "0");
    let mut reader = dburl::parse(&url("web"), app.dir.path())
        .map(|address| match address {
            Address::Postgres(url) => {
                wbsync::connector::postgres::open(Options::new(*url, app.dir.path()), mapping(""), context()).unwrap()
            }
            other => panic!("{other:?}"),
        })
        .unwrap();
    assert!(matches!(reader.change_triggers(TriggerChange::Install), Err(Error::Forbidden { .. })));
}

#[test]
fn a_change_wakes_whoever_waits() {
    let (mut app, ann) = watched();
    app.settle();
    let bea = id(BETA, "users", 1);
    app.apply(vec![user(&bea, "bea")]);
    assert!(!app.sync.wait_for_change(Duration::from_millis(1)).unwrap(), "our own writing is no change");
    app.sql(&format!("UPDATE users SET username = 'anna' WHERE id = {ann}"));
    assert!(app.sync.wait_for_change(Duration::from_secs(600)).unwrap());
    app.sql("UPDATE users SET username = 'nobody' WHERE id = -1");
    assert!(!app.sync.wait_for_change(Duration::from_millis(1)).unwrap(), "nothing was changed");
}

#[test]
fn a_table_in_use_is_waited_for_without_holding_its_writers() {
    let app = App::new();
    let mut busy = connect(&app.db.url);
    busy.batch_execute("BEGIN; UPDATE users SET is_admin = TRUE").unwrap();
    let release = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(700));
        busy.batch_execute("COMMIT").unwrap();
    });
    let mut app = app.watched();
    release.join().unwrap();
    assert_eq!(app.settle_exactly(), []);
}

/// What the application's own rules make of one row is that record's trouble.
#[test]
fn a_row_that_a_policy_or_a_trigger_refuses_waits_alone() {
    let mut app = App::new();
    app.sql(
        "CREATE FUNCTION picky() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF NEW.username = 'gone' THEN PERFORM nosuch FROM nowhere; END IF;
             IF NEW.username = 'own' THEN RAISE EXCEPTION 'not you' USING ERRCODE = '42501'; END IF;
             IF NEW.username = 'held' THEN RAISE EXCEPTION 'as if locked' USING ERRCODE = '55P03'; END IF;
             IF NEW.username = 'late' THEN RAISE EXCEPTION 'as if late' USING ERRCODE = '40001'; END IF;
             RETURN NEW; END $$;
         CREATE TRIGGER picky BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION picky()",
    );
    app.settle();
    let names = ["anna", "gone", "bea", "own", "held", "late", "cleo"];
    let users = (1..).zip(names).map(|(number, name)| user(&id(BETA, "users", number), name)).collect();
    app.apply(users);
    assert_eq!(app.text("SELECT string_agg(username, ',' ORDER BY username) FROM users WHERE id > 1"), "anna,bea,cleo");
    let reasons: Vec<String> = app.sync.parked(10).unwrap().0.into_iter().map(|parked| parked.reason).collect();
    for (reason, said) in reasons.iter().zip(["nowhere", "not you", "as if locked", "as if late"]) {
        assert!(reason.contains(said), "{reasons:?}");
    }
    assert_eq!(reasons.len(), 4, "{reasons:?}");
}
