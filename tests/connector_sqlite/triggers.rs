//! Capture by triggers: it reads little and finds what a scan finds.

use std::collections::BTreeMap;

use wbsync::connector::capturing::{Capturing, TriggerChange};
use wbsync::connector::contract::{Capture, Change, Connector, Seen, Sighting};
use wbsync::id::bytes::RecordKey;
use wbsync::id::name::ScopeName;
use wbsync::record::value::Value;
use wbsync::scope::audience::{Audience, Reason};
use wbsync::testing::prng::Prng;

use super::database::{NOTHING_LEFT, odd_edit};
use super::harness::*;

/// An application whose triggers are installed, with a user and a request.
fn watched() -> (App, i64, i64) {
    let app = App::new();
    let ann = app.user("ann", "public");
    let request = app.request("bike", Some(ann), "public");
    (app.watched(), ann, request)
}

#[test]
fn only_what_was_touched_is_read() {
    let (mut app, ann, request) = watched();
    for number in 0..50 {
        app.comment(request, ann, &format!("c{number}"), "public");
    }
    let (capture, seen) = app.capture();
    assert_eq!((capture.rows, seen.len(), capture.is_part), (50, 50, true));
    app.settle();
    app.sql("UPDATE request_comments SET body = 'new' WHERE id = 7; DELETE FROM request_comments WHERE id = 9");
    let (capture, seen) = app.capture();
    assert_eq!((capture.rows, seen.len()), (1, 2), "{seen:#?}");
    app.settle();
    let (capture, seen) = app.capture();
    assert_eq!((capture.rows, seen.len()), (0, 0));
    assert!(capture.unwatched.is_empty());
    assert_eq!(app.sync.triggers().unwrap().noted, 0);
}

#[test]
fn a_row_touched_often_is_read_once() {
    let (mut app, _, request) = watched();
    for number in 0..1000 {
        app.sql(&format!("UPDATE help_requests SET title = 't{number}' WHERE id = {request}"));
    }
    let (capture, seen) = app.capture();
    assert_eq!((capture.rows, seen.len()), (1, 1));
    find(&seen, "title", "t999");
}

#[test]
fn what_was_rolled_back_is_not_noted() {
    let (mut app, _, _) = watched();
    app.sql("BEGIN; UPDATE help_requests SET title = 'no'; ROLLBACK");
    app.sql("BEGIN; SAVEPOINT a; UPDATE users SET is_admin = is_admin; ROLLBACK TO a; RELEASE a; COMMIT");
    let (capture, seen) = app.capture();
    assert_eq!((capture.rows, seen.len()), (0, 0));
}

#[test]
fn a_change_between_reading_and_writing_down_is_found_the_next_time() {
    let (mut app, ann, request) = watched();
    app.sql(&format!("UPDATE help_requests SET title = 'one' WHERE id = {request}"));
    let db = &app.db;
    let mut reported = 0;
    let sink = &mut |_: Sighting| {
        reported += 1;
        db.batch(&format!(
            "UPDATE help_requests SET title = 'two' WHERE id = {request};
             UPDATE users SET username = 'anna' WHERE id = {ann}"
        ));
        Ok(())
    };
    let capture = app.sync.capture(NOW, sink).unwrap();
    assert_eq!(reported, 1);
    let position = app.sync.position().unwrap();
    app.sync.settle(&capture, &position).unwrap();
    let seen = app.settle();
    assert_eq!(seen.len(), 2, "{seen:#?}");
    find(&seen, "title", "two");
}

#[test]
fn what_was_not_settled_is_reported_again() {
    let (mut app, ann, request) = watched();
    app.comment(request, ann, "mine", "public");
    app.sql(&format!("UPDATE help_requests SET sync_scope = 'trusted' WHERE id = {request}"));
    let (_, first) = app.capture();
    assert_eq!(first.len(), 2);
    app.reopen();
    let (_, second) = app.capture();
    assert_eq!(first, second);
    app.reopen();
    app.settle();
    assert_eq!(app.settle(), []);
}

#[test]
fn a_failing_sink_loses_no_note() {
    let (mut app, ann, _) = watched();
    app.sql(&format!("UPDATE users SET username = 'anna' WHERE id = {ann}"));
    app.sync.capture(NOW, &mut |_| Err("full".into())).unwrap_err();
    assert_eq!(app.settle().len(), 1);
}

#[test]
fn children_follow_their_parents() {
    let (mut app, ann, request) = watched();
    app.comment(request, ann, "mine", "public");
    let orphan = app.comment(77, ann, "orphan", "public");
    app.settle();
    app.sql(&format!("UPDATE help_requests SET sync_scope = 'private' WHERE id = {request}"));
    let seen = app.settle();
    assert_eq!(seen.iter().filter(|seen| audience(seen) == Some(Audience::Private(Reason::Parent))).count(), 1);
    app.sql(&format!("UPDATE help_requests SET id = 77, sync_scope = 'public' WHERE id = {request}"));
    let seen = app.settle();
    assert_eq!(audience(find(&seen, "body", "orphan")), Some(Audience::Shared(ScopeName::public())));
    assert_eq!(seen.len(), 4, "gone, new, the orphan, and the comment that became one: {seen:#?}");
    app.sql(&format!("DELETE FROM request_comments WHERE id = {orphan}"));
    assert_eq!(app.settle().len(), 1);
}

#[test]
fn what_is_said_beside_rows_is_found() {
    let app = App::new();
    let (ann, bob) = (app.user("ann", "public"), app.user("bob", "public"));
    app.sql(&format!(
        "INSERT INTO vouches(voucher_user_id, subject_user_id, created_at) VALUES({ann}, {bob}, '{TIME}')"
    ));
    let mut app = app.watched();
    let vouches = id(OWN, "vouches", 0).dataset;
    assert_eq!(app.sync.mark(&vouches, &["1".into()], "private").unwrap(), 1);
    assert_eq!(app.settle().len(), 1);
    app.sync.set_default(&vouches, Some("trusted")).unwrap();
    app.settle();
    assert_eq!(app.sync.mark(&vouches, &["1".into()], "public").unwrap(), 1);
    assert_eq!(app.settle().len(), 1);
}

#[test]
fn apply_leaves_no_note_and_moves_children() {
    let (mut app, ann, _) = watched();
    let (bea, post) = (id(BETA, "users", 1), id(BETA, "requests", 2));
    app.apply(vec![user(&bea, "bea"), request(&post, "boat", Some(&bea))]);
    assert_eq!(app.sync.triggers().unwrap().noted, 0);
    let (capture, seen) = app.capture();
    assert_eq!((capture.rows, seen.len()), (0, 0));
    let key: i64 = app.text("SELECT id FROM help_requests WHERE title = 'boat'").parse().unwrap();
    app.comment(key, ann, "mine", "public");
    app.settle();
    app.apply(vec![gone(&post)]);
    let seen = app.settle();
    assert_eq!(seen.len(), 1, "the comment hangs on nothing now: {seen:#?}");
}

#[test]
fn triggers_that_do_not_stand_make_a_scan_with_a_warning() {
    let (mut app, ann, _) = watched();
    app.db.break_triggers("users");
    app.sql(&format!("UPDATE users SET username = 'anna' WHERE id = {ann}"));
    let (capture, seen) = app.capture();
    assert_eq!(seen.len(), 1);
    assert!(capture.unwatched.contains(&"users".to_owned()), "{capture:?}");
    app.settle();
    let state = app.sync.triggers().unwrap();
    assert!(state.installed && state.tables.iter().any(|table| !table.faults.is_empty()));
    assert!(!app.sync.change_triggers(TriggerChange::Install).unwrap().is_empty());
    assert_eq!(app.sync.change_triggers(TriggerChange::Install).unwrap(), Vec::<String>::new());
    app.sql(&format!("UPDATE users SET username = 'ann' WHERE id = {ann}"));
    let (capture, seen) = app.capture();
    assert_eq!((seen.len(), capture.unwatched.len()), (1, 0));
    app.settle();
    let (capture, _) = app.capture();
    assert_eq!(capture.rows, 0, "one scan is enough");
}

#[test]
fn triggers_that_stood_not_all_the_time_are_noticed() {
    let (mut app, ann, _) = watched();
    let statements = app.sync.plan_triggers(TriggerChange::Install).unwrap();
    assert_eq!(statements, Vec::<String>::new());
    app.db.without_triggers("users", &format!("UPDATE users SET username = 'anna' WHERE id = {ann}"));
    let (capture, seen) = app.capture();
    assert_eq!((seen.len(), capture.unwatched.len()), (1, 0), "{capture:?}");
}

#[test]
fn uninstalling_leaves_nothing() {
    let mut app = App::new();
    app.settle();
    let before = app.rows(NOTHING_LEFT);
    let planned = app.sync.plan_triggers(TriggerChange::Install).unwrap();
    assert_eq!(app.rows(NOTHING_LEFT), before, "a plan writes nothing");
    assert_eq!(app.sync.change_triggers(TriggerChange::Install).unwrap(), planned);
    assert_ne!(app.rows(NOTHING_LEFT), before);
    app.sync.change_triggers(TriggerChange::Uninstall).unwrap();
    assert_eq!(app.rows(NOTHING_LEFT), before);
    assert!(!app.sync.triggers().unwrap().installed);
    app.capturing = Capturing::Triggers;
    app.reopen();
    app.user("ann", "public");
    let (capture, seen) = app.capture();
    assert_eq!((seen.len(), capture.unwatched.is_empty()), (1, false));
}

#[test]
fn a_scan_works_off_the_notes_too() {
    let (mut app, ann, _) = watched();
    app.capturing = Capturing::Scan;
    app.reopen();
    app.sql(&format!("UPDATE users SET username = 'anna' WHERE id = {ann}"));
    assert_eq!(app.settle().len(), 1);
    assert_eq!(app.sync.triggers().unwrap().noted, 0);
    app.capturing = Capturing::Triggers;
    app.reopen();
    let (capture, _) = app.capture();
    assert_eq!(capture.rows, 0);
}

#[test]
fn looking_takes_nothing_away() {
    let (mut app, ann, _) = watched();
    app.sql(&format!("UPDATE users SET username = 'anna' WHERE id = {ann}"));
    let mut reported = 0;
    let peeked = app.sync.peek(NOW, &mut |_| {
        reported += 1;
        Ok(())
    });
    assert_eq!((peeked.unwrap().rows, reported), (1, 1));
    assert_eq!(app.settle().len(), 1);
}

/// Both ways of capturing report the same in the same order, whatever happens to the rows.
#[test]
fn both_ways_find_the_same() {
    let seeds: u64 = std::env::var("WBSYNC_SEEDS").map_or(12, |seeds| seeds.parse().unwrap());
    let first: u64 = std::env::var("WBSYNC_SEED").map_or(0, |seed| seed.parse().unwrap());
    for seed in first..first + seeds {
        let mut plain = App::new();
        plain.settle();
        let mut apps = [Side::new(plain), Side::new(App::new().watched())];
        for side in &mut apps {
            side.step(false, &[]);
        }
        let mut random = Prng::new(seed);
        for round in 1..12 {
            let edits: Vec<Edit> = (0..random.below(8)).map(|_| Edit::any(&mut random)).collect();
            let is_crash = random.below(4) == 0;
            let [scanned, noted] = &mut apps;
            let wanted = scanned.step(is_crash, &edits);
            let found = noted.step(is_crash, &edits);
            assert_eq!(found, wanted, "seed {seed}, round {round}: {edits:#?}");
            assert_eq!(noted.app.sync.private().unwrap(), scanned.private, "seed {seed}, round {round}: {edits:#?}");
        }
    }
}

/// One application, and the numbers of its records in the order in which they were first met.
pub(crate) struct Side {
    pub(crate) app: App,
    numbers: BTreeMap<RecordKey, usize>,
    pub(crate) private: BTreeMap<(wbsync::id::name::DatasetName, Reason), u64>,
}

impl Side {
    pub(crate) fn new(app: App) -> Self {
        Self { app, numbers: BTreeMap::new(), private: BTreeMap::new() }
    }

    /// Edits, captures and settles; returns what was reported, without random ids.
    pub(crate) fn step(&mut self, is_crash: bool, edits: &[Edit]) -> Vec<String> {
        edits.iter().for_each(|edit| edit.run(&mut self.app));
        if is_crash {
            // A process that died before it settled.
            self.app.capture();
            self.app.reopen();
        }
        let (capture, seen) = self.app.capture();
        let position = self.app.sync.position().unwrap();
        if capture.reported > 0 {
            self.app.sync.settle(&capture, &position).unwrap();
        }
        if let Capture { is_part: false, private, .. } = capture {
            self.private = private;
        }
        seen.iter().map(|sighting| self.spell(sighting)).collect()
    }

    fn spell(&mut self, sighting: &Sighting) -> String {
        let mut spelled = format!("{} {} {:?}", sighting.id.dataset, self.number(sighting.id.key), sighting.base);
        match &sighting.seen {
            Seen::Gone => spelled += " gone",
            Seen::Row { audience, fields } => {
                spelled += &format!(" {audience:?}");
                for (name, value) in fields {
                    spelled += &match value {
                        Value::Ref(record) => format!(" {name}: {} {}", record.dataset, self.number(record.key)),
                        value => format!(" {name}: {value:?}"),
                    };
                }
            }
        }
        spelled
    }

    fn number(&mut self, key: RecordKey) -> usize {
        let next = self.numbers.len();
        *self.numbers.entry(key).or_insert(next)
    }
}

/// Something that happens to the rows, the same on both sides.
#[derive(Debug)]
pub(crate) enum Edit {
    Sql(String),
    Apply(Vec<Change>),
    Default(&'static str),
    Mark(i64, &'static str),
}

impl Edit {
    pub(crate) fn any(random: &mut Prng) -> Self {
        let scopes = ["public", "trusted", "private", "odd"];
        let scope = scopes[random.below(4) as usize];
        let (a, b, word) = (random.below(9) + 1, random.below(9) + 1, random.below(1000));
        let time = format!("2026-02-03 04:05:06.{word:06}");
        Self::Sql(match random.below(24) {
            0 | 1 => format!(
                "INSERT INTO users(username, is_admin, created_at, sync_scope) SELECT 'u{word}', FALSE, '{time}', '{scope}'
                 WHERE NOT EXISTS (SELECT 1 FROM users WHERE username = 'u{word}')"
            ),
            2 | 3 => format!(
                "INSERT INTO help_requests(title, description, status, created_by_user_id, created_at, updated_at, sync_scope)
                 VALUES('r{word}', 'x', 'open', {a}, '{time}', '{time}', '{scope}')"
            ),
            4..=6 => format!(
                "INSERT INTO request_comments(help_request_id, user_id, body, created_at, sync_scope)
                 VALUES({a}, {b}, 'c{word}', '{time}', '{scope}')"
            ),
            7 => format!(
                "INSERT INTO vouches(voucher_user_id, subject_user_id, signature, created_at) SELECT {a}, {b}, 's{word}', '{time}'
                 WHERE NOT EXISTS (SELECT 1 FROM vouches WHERE voucher_user_id = {a} AND subject_user_id = {b})"
            ),
            8 => format!("UPDATE users SET sync_scope = '{scope}' WHERE id = {a}"),
            9 => format!("UPDATE help_requests SET sync_scope = '{scope}', title = 't{word}' WHERE id = {a}"),
            10 => format!("UPDATE help_requests SET status = 'draft' WHERE id = {a}"),
            11 => format!("UPDATE help_requests SET status = 'open', created_by_user_id = {b} WHERE id = {a}"),
            12 => format!("UPDATE request_comments SET deleted_at = created_at WHERE id = {a}"),
            13 => format!("UPDATE request_comments SET body = 'b{word}', help_request_id = {b} WHERE id = {a}"),
            14 => "UPDATE request_comments SET body = body || '!'".to_owned(),
            15 => format!("DELETE FROM users WHERE id = {a} AND id <> 1"),
            16 => format!("DELETE FROM help_requests WHERE id = {a}"),
            17 => format!("DELETE FROM request_comments WHERE id = {a}; DELETE FROM vouches WHERE id = {b}"),
            18 => format!(
                "UPDATE help_requests SET id = {a} + 20 WHERE id = {a} AND NOT EXISTS (SELECT 1 FROM help_requests WHERE id = {a} + 20)"
            ),
            19 => format!("BEGIN; UPDATE users SET username = 'x{word}' WHERE id = {a}; ROLLBACK"),
            20 => return Self::any_apply(random),
            21 => return Self::Default(["trusted", "public", "private"][random.below(3) as usize]),
            22 => return Self::Mark(b as i64, scope),
            _ => odd_edit(random, &time, scope),
        })
    }

    pub(crate) fn any_apply(random: &mut Prng) -> Self {
        let number = |random: &mut Prng| random.below(4) as u8 + 1;
        let mut changes = Vec::new();
        for _ in 0..random.below(3) + 1 {
            let author = id(BETA, "users", number(random));
            let post = id(BETA, "requests", number(random) + 10);
            changes.push(match random.below(6) {
                0 => user(&author, &format!("bea{}", random.below(50))),
                1 => request(&post, &format!("post{}", random.below(50)), Some(&author)),
                2 => comment(&id(BETA, "comments", number(random) + 20), &post, &author, "said"),
                3 => gone(&post),
                4 => gone(&id(BETA, "comments", number(random) + 20)),
                _ => gone(&author),
            });
        }
        // The order is the caller's: parents first, then deletions, children first.
        let rank = |change: &Change| {
            let rank = ["users", "requests", "comments"].iter().position(|name| *name == change.id.dataset.as_str());
            let rank = rank.unwrap_or_default();
            if change.content.is_some() { rank } else { 9 - rank }
        };
        changes.sort_by_key(rank);
        Self::Apply(changes)
    }

    /// Applies changes; returns how many rows the application had changed meanwhile.
    pub(crate) fn apply(&self, app: &mut App) -> usize {
        let Self::Apply(changes) = self else { return 0 };
        let target = [app.sync.position().unwrap().applied, vec![1]].concat();
        let target = &target[target.len().saturating_sub(64)..];
        app.sync.begin_apply(target).unwrap();
        let applied = app.sync.apply(&mut changes.iter().cloned().map(Ok), &mut |_| {}).unwrap();
        app.sync.finish_apply().unwrap();
        applied.dirty.len()
    }

    fn run(&self, app: &mut App) {
        match self {
            Self::Sql(sql) => app.sql(sql),
            Self::Apply(_) => drop(self.apply(app)),
            Self::Default(audience) => {
                app.sync.set_default(&id(OWN, "vouches", 0).dataset, Some(audience)).unwrap();
            }
            Self::Mark(key, audience) => {
                // A row that was not captured yet can't be marked.
                let _ = app.sync.mark(&id(OWN, "vouches", 0).dataset, &[key.to_string()], audience);
            }
        }
    }
}
