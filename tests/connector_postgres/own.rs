//! What only PostgreSQL does: types, locks, what it refuses.

use std::time::{Duration, Instant};

use wbsync::connector::contract::{Connector, Rows};
use wbsync::connector::dburl::{self, Address};
use wbsync::connector::error::Error;
use wbsync::connector::postgres::options::Options;
use wbsync::record::value::Value;

use super::harness::*;
use super::support::postgres::connect;

const EVERY: &str = "
CREATE TYPE mood AS ENUM ('glad', 'sad');
CREATE TABLE things (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, yes boolean, small smallint,
    real double precision, price numeric(12,3), word varchar(5), mood mood, ident uuid, born timestamptz, at timestamp,
    raw bytea, doc json, docb jsonb, sync_scope text NOT NULL);
";

const MAPPING: &str = "
[dataset.things]
table = \"things\"
key = \"id\"
scope = { column = \"sync_scope\" }
[dataset.things.fields]
yes = { type = \"bool\" }
small = { type = \"int\" }
real = { type = \"float\" }
price = { type = \"decimal\" }
word = { type = \"text\" }
mood = { type = \"text\" }
ident = { type = \"text\" }
born = { type = \"timestamp\" }
at = { type = \"timestamp\" }
raw = { type = \"bytes\" }
doc = { type = \"json\" }
docb = { type = \"json\" }
";

fn every() -> Vec<(&'static str, Value)> {
    vec![
        ("yes", Value::Bool(true)),
        ("small", Value::Int(-32768)),
        ("real", Value::Float(0.1)),
        ("price", Value::Decimal("-120345.25".into())),
        ("word", text("käse")),
        ("mood", text("sad")),
        ("ident", text("0f8fad5b-d9cb-469f-a165-70867728950e")),
        ("born", time()),
        ("at", Value::Timestamp(-1)),
        ("raw", Value::Bytes(vec![0, 255, b'\\'])),
        ("doc", Value::Json("{\"b\":1, \"a\" : 2}".into())),
        ("docb", Value::Json("{\"b\":1,\"a\":2}".into())),
    ]
}

#[test]
fn every_type_round_trips() {
    let mut app = App::with(EVERY, MAPPING);
    app.settle();
    let thing = id(BETA, "things", 1);
    let applied = app.apply_quietly(vec![put(&thing, &every())]);
    assert_eq!(applied.parked.len(), 0, "{:?}", app.sync.parked(9));
    // Again: nothing is written, however the database spells it.
    let applied = app.apply_quietly(vec![put(&thing, &every())]);
    assert_eq!((applied.unchanged, applied.updated.len()), (1, 0));
    // An edit beside it reports every value as its record has it, or not at all.
    app.sql("UPDATE things SET small = 7");
    let seen = app.settle();
    for (name, value) in every() {
        let wanted = if name == "small" { Value::Int(7) } else { value };
        let found = shown(&seen[0], name);
        let fine = found.as_ref().is_none_or(|found| found.same(&wanted));
        assert!(fine, "{name}: {found:?} for {wanted:?}");
        assert!(found.is_some() || name == "docb", "{name} is missing");
    }
}

#[test]
fn what_a_column_cannot_hold_waits_and_the_rest_is_written() {
    let mut app = App::with(EVERY, MAPPING);
    app.settle();
    let bad = [
        ("word", text("nul\0")),
        ("word", text("too long")),
        ("small", Value::Int(40_000)),
        ("mood", text("furious")),
        ("ident", text("none")),
        ("doc", Value::Json("{".into())),
        ("price", Value::Decimal("12345678901.5".into())),
    ];
    let mut changes = Vec::new();
    for (number, (name, value)) in bad.iter().enumerate() {
        let mut fields = every();
        fields.retain(|(known, _)| known != name);
        fields.push((name, value.clone()));
        changes.push(put(&id(BETA, "things", number as u8 + 10), &fields));
    }
    changes.push(put(&id(BETA, "things", 99), &every()));
    let applied = app.apply_quietly(changes);
    assert_eq!(applied.parked.values().sum::<u64>(), bad.len() as u64, "{:?}", app.sync.parked(20));
    assert_eq!(app.text("SELECT count(*) FROM things"), "1");
    let (parked, _) = app.sync.parked(20).unwrap();
    assert!(parked.iter().all(|parked| parked.reason.contains("refuses it")), "{parked:#?}");
}

#[test]
fn a_row_that_the_application_holds_is_left_and_nobody_waits_long() {
    let mut app = App::new();
    app.settle();
    let (one, two) = (id(BETA, "requests", 1), id(BETA, "requests", 2));
    app.apply_quietly(vec![request(&one, "one", None), request(&two, "two", None)]);
    app.sql("BEGIN; UPDATE help_requests SET description = 'mine' WHERE title = 'one'");
    let begin = Instant::now();
    app.sync.begin_apply(b"t").unwrap();
    let changes = vec![request(&one, "uno", None), request(&two, "due", None)];
    let applied = app.sync.apply(&mut changes.into_iter().map(Ok), &mut |_| {}).unwrap();
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    assert_eq!(applied.dirty, std::slice::from_ref(&one));
    app.sql("COMMIT");
    assert_eq!(app.text("SELECT title FROM help_requests WHERE description = 'text'"), "due");
    let seen = app.settle();
    assert_eq!(shown(&seen[0], "description"), Some(text("mine")), "its edit is not lost");
}

#[test]
fn another_worker_is_waited_for_and_named() {
    let mut app = App::new();
    app.settle();
    let mut options = app.db.options(app.dir.path());
    options.busy_ms = 100;
    let mut second = wbsync::connector::postgres::open(options, mapping(""), context()).unwrap();
    app.sql("BEGIN; SELECT pg_advisory_xact_lock(131264727838307)");
    let error = second.begin_apply(b"x").unwrap_err();
    assert!(matches!(error, Error::Locked { waited_ms: 100, .. }), "{error:?}");
    app.sql("ROLLBACK");
    second.begin_apply(b"x").unwrap();
}

#[test]
fn deferred_constraints_are_checked_record_by_record() {
    let deferred = "ALTER TABLE vouches DROP CONSTRAINT ux_vouches_unique;
        ALTER TABLE vouches ADD CONSTRAINT ux_late UNIQUE (voucher_user_id, subject_user_id) DEFERRABLE INITIALLY DEFERRED";
    let mut app = App::with(deferred, "[dataset.vouches]\nsame = []");
    app.settle();
    let (bea, ben) = (id(BETA, "users", 1), id(BETA, "users", 2));
    let vouch = |number| {
        let fields = [
            ("voucher", Value::Ref(bea.clone())),
            ("subject", Value::Ref(ben.clone())),
            ("signature", Value::Null),
            ("created_at", time()),
        ];
        put(&id(BETA, "vouches", number), &fields)
    };
    let applied = app.apply_quietly(vec![user(&bea, "bea"), user(&ben, "ben"), vouch(3), vouch(4)]);
    assert_eq!((applied.inserted.values().sum::<u64>(), applied.parked.values().sum::<u64>()), (3, 1));
    assert!(app.sync.parked(9).unwrap().0[0].reason.contains("ux_late"));
}

#[test]
fn rows_that_lead_nowhere_are_found() {
    let mut app = App::new();
    app.settle();
    assert!(app.sync.examine(&mut |_, _| {}).unwrap().is_empty());
    // As a session may that switched the foreign keys off.
    app.comment(77, 88, "orphan", "private");
    let found = app.sync.examine(&mut |_, _| {}).unwrap();
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.iter().all(|found| found.place == "request_comments"), "{found:?}");
    assert!(found.iter().any(|found| found.detail == "a row refers by user_id to a row of users that isn't there"));
}

#[test]
fn looking_leaves_nothing_behind() {
    let mut app = App::new();
    app.user("ann", "public");
    let mut reported = 0;
    let count = &mut |_| {
        reported += 1;
        Ok(())
    };
    app.sync.check().unwrap();
    app.sync.peek(NOW, count).unwrap();
    app.sync.position().unwrap();
    assert_eq!(reported, 2);
    assert_eq!(app.text("SELECT count(*) FROM pg_namespace WHERE nspname = 'wbsync'"), "0");
}

#[test]
fn conditions_only_read() {
    let mut app = App::new();
    app.user("ann", "public");
    app.settle();
    let users = || id(OWN, "users", 0).dataset;
    let mut found = Vec::new();
    let rows = Rows::Where(users(), "username LIKE 'a%'".into());
    let mut keep = |row: wbsync::connector::contract::Surveyed| {
        found.push(row.key);
        Ok(())
    };
    app.sync.survey(&rows, &mut keep).unwrap();
    assert_eq!(found, ["1", "2"]);
    for bad in ["nothing = 1", "id = $1", "1 = 1); DELETE FROM users; --", "(SELECT setval('x', 1)) = 1"] {
        let rows = Rows::Where(users(), bad.into());
        let error = app.sync.survey(&rows, &mut |_| Ok(())).unwrap_err();
        assert!(matches!(error, Error::Condition { .. }), "{bad}: {error:?}");
    }
    app.sync.survey(&Rows::Key(users(), "no number".into()), &mut |_| panic!("no such row")).unwrap();
    app.sync.survey(&Rows::Key(users(), i64::MAX.to_string()), &mut |_| panic!("no such row")).unwrap();
    assert_eq!(app.text("SELECT count(*) FROM users"), "2");
}

#[test]
fn negative_and_many_keys_are_joined_in_order() {
    let mut app = App::new();
    app.sql(&format!(
        "INSERT INTO users SELECT n, 'u' || n, FALSE, NULL, '{TIME}', 'public' FROM generate_series(-3000, 3000) n WHERE n <> 1"
    ));
    assert_eq!(app.settle().len(), 6_001);
    assert_eq!(app.settle(), []);
    app.sql("UPDATE users SET username = 'x' WHERE id = -2999; DELETE FROM users WHERE id = 2999");
    assert_eq!(app.settle().len(), 2);
}

#[test]
fn errors_name_the_database_without_its_password() {
    let app = App::new();
    let mut gone = app.db.options(app.dir.path());
    let wrong = app.db.url.replace("postgres@/", "postgres:s3cret@/").replace("?host", "none?host");
    gone.url = match dburl::parse(&wrong, app.dir.path()).unwrap() {
        Address::Postgres(url) => *url,
        other => panic!("{other:?}"),
    };
    let error = wbsync::connector::postgres::open(gone.clone(), mapping(""), context()).unwrap_err();
    let told = format!("{error} {error:?} {gone:?}");
    assert!(matches!(error, Error::Unreachable { .. }) && error.hint().is_some(), "{told}");
    assert!(!told.contains("s3cret") && told.contains("postgresql://postgres@"), "{told}");
    // A user that may not write is told before work begins.
    let mut admin = connect(&app.db.url);
    admin.batch_execute("CREATE ROLE reader LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader").unwrap();
    let reader = app.db.url.replace("postgres@", "reader@");
    let url = match dburl::parse(&reader, app.dir.path()).unwrap() {
        Address::Postgres(url) => *url,
        other => panic!("{other:?}"),
    };
    let options = Options::new(url, app.dir.path());
    let mut sync = wbsync::connector::postgres::open(options, mapping(""), context()).unwrap();
    let error = sync.check().unwrap_err();
    assert!(matches!(error, Error::Forbidden { .. }), "{error:?}");
}

#[test]
fn waiting_ends_when_triggers_tell() {
    let mut app = App::new();
    assert!(app.sync.wait_for_change(Duration::ZERO).unwrap(), "nothing was captured yet");
    app.sql("NOTIFY wbsync");
    app.settle();
    assert!(!app.sync.wait_for_change(Duration::from_millis(1)).unwrap(), "it was captured");
    app.sql("NOTIFY wbsync; NOTIFY wbsync, 'again'; NOTIFY other");
    assert!(app.sync.wait_for_change(Duration::from_secs(600)).unwrap());
    assert!(!app.sync.wait_for_change(Duration::from_millis(1)).unwrap(), "it was told");
    let url = app.db.url.clone();
    let late = std::thread::spawn(move || connect(&url).batch_execute("NOTIFY wbsync").unwrap());
    assert!(app.sync.wait_for_change(Duration::from_secs(600)).unwrap());
    late.join().unwrap();
    app.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'wbsync' AND datname = current_database()");
    assert!(matches!(app.sync.wait_for_change(Duration::ZERO), Err(Error::Unreachable { .. })));
}

/// Rows that a policy hides from us would look deleted, everywhere.
#[test]
fn rows_that_a_policy_hides_are_an_error_and_no_deletion() {
    let app = App::new();
    let ann = app.user("ann", "public");
    app.request("bike", Some(ann), "public");
    let role = "policies";
    app.sql(&format!(
        "CREATE ROLE {role} LOGIN; GRANT CREATE ON DATABASE {} TO {role}; GRANT USAGE ON SCHEMA public TO {role};
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role};
         GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}",
        app.text("SELECT current_database()")
    ));
    let url = app.db.url.replace("postgres@", &format!("{role}@"));
    let Address::Postgres(url) = dburl::parse(&url, app.dir.path()).unwrap() else { panic!("an address") };
    let mut limited =
        wbsync::connector::postgres::open(Options::new(*url, app.dir.path()), mapping(""), context()).unwrap();
    let mut seen = Vec::new();
    let capture = limited
        .capture(NOW, &mut |sighting| {
            seen.push(sighting);
            Ok(())
        })
        .unwrap();
    let position = limited.position().unwrap();
    limited.settle(&capture, &position).unwrap();
    assert_eq!(seen.len(), 3, "the administrator, ann, her request");
    app.sql("ALTER TABLE help_requests ENABLE ROW LEVEL SECURITY");
    let mut reported = 0;
    let error = limited
        .capture(NOW, &mut |_| {
            reported += 1;
            Ok(())
        })
        .unwrap_err();
    assert!(matches!(&error, Error::Forbidden { why, .. } if why.contains("security policy")), "{error:?}");
    assert_eq!(reported, 0);
    let bea = id(BETA, "users", 1);
    let request = request(&id(BETA, "requests", 1), "boat", Some(&bea));
    limited.begin_apply(b"target").unwrap();
    limited.apply(&mut [Ok(user(&bea, "bea")), Ok(request)].into_iter(), &mut |_| {}).unwrap();
    let (parked, count) = limited.parked(10).unwrap();
    assert!(count == 1 && parked[0].reason.contains("security policy"), "{parked:?}");
    app.sql(&format!("ALTER ROLE {role} BYPASSRLS"));
    limited.apply(&mut std::iter::empty(), &mut |_| {}).unwrap();
    limited.finish_apply().unwrap();
    let capture = limited
        .capture(NOW, &mut |_| {
            reported += 1;
            Ok(())
        })
        .unwrap();
    assert_eq!((capture.rows, reported), (4, 0));
}

/// The mapping's stand-ins may fit no column; what was withdrawn goes nevertheless.
#[test]
fn a_row_that_others_refer_to_is_emptied_whatever_its_columns_take() {
    let tables = "CREATE TYPE mood AS ENUM ('glad', 'sad');
        CREATE TABLE things (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, ident uuid NOT NULL UNIQUE, mood mood NOT NULL,
            day date NOT NULL, price numeric NOT NULL CHECK (price > 0), code varchar(6) NOT NULL UNIQUE, word text,
            sync_scope text NOT NULL);
        CREATE TABLE ours (thing bigint REFERENCES things(id))";
    let mapping = "[dataset.things]\ntable = \"things\"\nkey = \"id\"\nscope = { column = \"sync_scope\" }\n\
        stub = { ident = \"gone-{id8}\", mood = \"\", day = \"\", price = \"0\", code = \"gone-{id8}\" }\n\
        [dataset.things.fields]\nident = { type = \"text\" }\nmood = { type = \"text\" }\nday = { type = \"text\" }\n\
        price = { type = \"decimal\" }\ncode = { type = \"text\" }\nword = { type = \"text\" }\n";
    let mut app = App::with(tables, mapping);
    app.settle();
    let thing = id(BETA, "things", 1);
    let fields = [
        ("ident", text("0f8fad5b-d9cb-469f-a165-70867728950e")),
        ("mood", text("sad")),
        ("day", text("2026-02-03")),
        ("price", Value::Decimal("12.5".into())),
        ("code", text("abcdef")),
        ("word", text("secret")),
    ];
    app.apply_quietly(vec![put(&thing, &fields)]);
    app.sql("INSERT INTO ours SELECT id FROM things");
    app.apply_quietly(vec![gone(&thing)]);
    assert_eq!(app.sync.parked(10).unwrap().1, 0);
    let shown = app.text("SELECT concat_ws(' ', mood, day, price, word) FROM things");
    assert_eq!(shown, "glad 1970-01-01 1");
    let left = app.text(
        "SELECT count(*) FROM things WHERE code = 'abcdef' OR ident::text LIKE '0f8f%' OR sync_scope <> 'private'",
    );
    assert_eq!((left, app.text("SELECT count(*) FROM ours")), ("0".into(), "1".into()));
}
