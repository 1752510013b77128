//! Records that are written together: the same comes of it as one by one, with far fewer questions to the server.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use wbsync::connector::contract::{Change, Connector};
use wbsync::id::bytes::RecordKey;
use wbsync::record::recordid::RecordId;
use wbsync::record::value::Value;
use wbsync::testing::prng::Prng;

use super::harness::*;
use super::support::pgwire::Wire;
use super::support::postgres::Cluster;
use super::turns::said;

pub(crate) fn record(dataset: &str, number: u64) -> RecordId {
    let mut record = id(BETA, dataset, 0);
    let mut key = *record.key.as_bytes();
    key[8..].copy_from_slice(&number.to_be_bytes());
    record.key = RecordKey::from_bytes(key);
    record
}

pub(crate) fn vouch(number: u64, voucher: &RecordId, subject: &RecordId) -> Change {
    let signature = text(&format!("s{number}"));
    let parties = [("voucher", Value::Ref(voucher.clone())), ("subject", Value::Ref(subject.clone()))];
    let fields = [parties[0].clone(), parties[1].clone(), ("signature", signature), ("created_at", time())];
    put(&record("vouches", number), &fields)
}

/// A made-up site: members, posts of theirs, and twice as many comments.
pub(crate) fn site(posts: u64) -> Vec<Change> {
    let members = posts / 10 + 1;
    let member = |number: u64| record("users", number % members);
    let mut changes: Vec<Change> = (0..members).map(|at| user(&member(at), &format!("member{at}"))).collect();
    changes.extend((0..posts).map(|at| request(&record("requests", at), &format!("post {at}"), Some(&member(at)))));
    // Every seventh author is somebody whom nobody has told us of.
    let author = |at: u64| if at.is_multiple_of(7) { record("users", 1_000_000 + at % 50) } else { member(at * 3) };
    changes.extend(
        (0..posts * 2).map(|at| comment(&record("comments", at), &record("requests", at / 2), &author(at), "said")),
    );
    changes
}

/// Questions are counted on the wire: so many for a batch, however many records are in it.
#[test]
fn questions_go_with_batches_and_not_with_records() {
    let mut counts = Vec::new();
    for posts in [400, 1_200] {
        let app = App::new();
        let wire = Wire::before(Cluster::or_skip().directory().to_owned());
        let options = app.db.options_by(&wire.url(&app.db.url), app.dir.path());
        let rows = options.batch_rows as u64;
        let mut sync = wbsync::connector::postgres::open(options, mapping(""), context()).unwrap();
        let mut counted = |what: &str, changes: Vec<Change>, wanted: &str| {
            let records = changes.len() as u64;
            // Whoever is left of a batch of one kind opens the next.
            let batches = records / rows + 4;
            let target = [sync.position().unwrap().applied, vec![1]].concat();
            sync.begin_apply(&target).unwrap();
            let mut transactions = 0;
            let before = wire.questions();
            let applied = sync.apply(&mut changes.into_iter().map(Ok), &mut |_| transactions += 1).unwrap();
            let asked = wire.questions() - before;
            sync.finish_apply().unwrap();
            assert_eq!(applied.parked.len() + applied.dirty.len(), 0, "{what}");
            assert!(asked <= batches * 26 + transactions * 5, "{what}: {asked} questions for {records} records");
            counts.push((what.to_owned(), records, asked));
            assert!(format!("{applied:?}").contains(wanted), "{applied:?}");
        };
        let first = site(posts);
        counted("insert", first.clone(), "inserted");
        counted("again", first.clone(), "unchanged");
        let mut edited = first.clone();
        for change in &mut edited {
            let fields = &mut change.content.as_mut().unwrap().fields;
            for (name, value) in [("title", text("edited")), ("body", text("edited"))] {
                fields.entry(field(name)).and_modify(|known| *known = value);
            }
        }
        counted("update", edited, "updated");
        counted("delete", first.iter().rev().map(|change| gone(&change.id)).collect(), "deleted");
        let questions = wire.questions();
        let seen = sync.capture(NOW, &mut |_| Ok(())).unwrap();
        assert_eq!(seen.reported, 1, "the administrator");
        app.db.whole();
        let asked = wire.questions() - questions;
        assert!(asked < 120, "{asked} questions of a capture");
    }
    // Three times the records, and not three times the questions of what doesn't grow with them.
    for (small, large) in counts.iter().zip(&counts[4..]) {
        assert!(large.2 <= small.2 * 4, "{small:?} {large:?}");
    }
}

/// The first capture of many rows, too.
#[test]
fn a_first_capture_asks_little() {
    let app = App::new();
    app.sql(&format!(
        "INSERT INTO users SELECT n, 'u' || n, FALSE, NULL, '{TIME}', 'public' FROM generate_series(2, 3001) n"
    ));
    let wire = Wire::before(Cluster::or_skip().directory().to_owned());
    let options = app.db.options_by(&wire.url(&app.db.url), app.dir.path());
    let mut sync = wbsync::connector::postgres::open(options, mapping(""), context()).unwrap();
    let before = wire.questions();
    assert_eq!(sync.capture(NOW, &mut |_| Ok(())).unwrap().reported, 3_001);
    let asked = wire.questions() - before;
    assert!(asked < 150, "{asked} questions for 3,000 rows");
}

/// Some things that arrive, in the order in which the engine gives them: parents first, then what is gone, children first.
fn arrivals(random: &mut Prng, about: u64) -> Vec<Change> {
    let mut changes = BTreeMap::new();
    for _ in 0..about {
        let member = record("users", random.below(12));
        let other = record("users", random.below(14));
        let post = record("requests", random.below(30));
        let word = random.below(20);
        let change = match random.below(23) {
            // A column that is a reference in some rows, whatever the other says.
            20..=22 => {
                let (key, value) = match random.below(3) {
                    0 => ("profile_photo_url", text(&format!("photo {word}"))),
                    _ => ("invited_by_user_id", if word < 15 { Value::Null } else { text("1") }),
                };
                let attribute = record("user_attributes", random.below(25));
                said(&attribute, &member, key, value, Value::Ref(other))
            }
            0..=3 => user(&member, &format!("ann{}", word % 6)),
            // A name that can't be told to the database.
            4 if word < 5 => user(&member, "nul\0"),
            5..=8 => request(&post, &format!("post {word}"), Some(&member)),
            // A text that is too long for its column.
            9 if word < 5 => request(&post, &"long".repeat(60), Some(&member)),
            10..=13 => comment(&record("comments", random.below(60)), &post, &member, &format!("said {word}")),
            14 | 15 if member != other => vouch(random.below(40), &member, &other),
            16 => gone(&member),
            17 => gone(&post),
            18 => gone(&record("comments", random.below(60))),
            19 if word < 10 => gone(&record("user_attributes", random.below(25))),
            _ => gone(&record("vouches", random.below(40))),
        };
        changes.insert(change.id.clone(), change);
    }
    let rank = |change: &Change| {
        let order = ["users", "user_attributes", "requests", "comments", "vouches"];
        let rank = order.iter().position(|name| *name == change.id.dataset.as_str()).unwrap();
        if change.content.is_some() { rank } else { 10 - rank }
    };
    let mut changes: Vec<Change> = changes.into_values().collect();
    changes.sort_by_key(rank);
    changes
}

/// What is there, without keys: these depend on who was written first.
pub(crate) fn picture(app: &mut App) -> Vec<String> {
    let mut lines = Vec::new();
    for sql in [
        "SELECT 'user ' || username || ' ' || sync_scope FROM users",
        "SELECT concat_ws(' ', 'post', r.title, r.status, u.username, r.sync_scope) FROM help_requests r LEFT JOIN users u ON u.id = r.created_by_user_id",
        "SELECT concat_ws(' ', 'comment', c.body, r.title, u.username) FROM request_comments c
         JOIN help_requests r ON r.id = c.help_request_id JOIN users u ON u.id = c.user_id",
        "SELECT concat_ws(' ', 'vouch', a.username, b.username) FROM vouches v
         JOIN users a ON a.id = v.voucher_user_id JOIN users b ON b.id = v.subject_user_id",
        "SELECT concat_ws(' ', 'attribute', o.username, a.key, coalesce(u.username, a.value)) FROM user_attributes a
         JOIN users o ON o.id = a.user_id LEFT JOIN users u ON CAST(u.id AS TEXT) = a.value AND a.key = 'invited_by_user_id'",
        "SELECT concat_ws(' ', 'map', dataset, encode(record, 'hex'), birth, audience, flags) FROM wbsync.map WHERE origin > 0",
        "SELECT concat_ws(' ', 'override', o.dataset, encode(m.record, 'hex'), field, CASE WHEN field <> 'value' THEN encode(shown, 'escape') END, reason)
         FROM wbsync.override o JOIN wbsync.map m USING(dataset, key) WHERE field NOT IN ('author', 'request', 'voucher', 'subject', 'user', 'invited_by')",
        "SELECT concat_ws(' ', 'waits', dataset, encode(record, 'hex'), field, reason) FROM wbsync.waiting",
        "SELECT concat_ws(' ', 'gone', dataset, encode(record, 'hex')) FROM wbsync.gone",
    ] {
        for row in app.rows(sql) {
            lines.push(format!("{:?}", row[0]));
        }
    }
    lines.sort();
    let blemishes = app.sync.examine(&mut |_, _| {}).unwrap();
    assert!(blemishes.is_empty(), "{blemishes:?}");
    lines
}

/// Random arrivals over rows that the application changes meanwhile, written one by one and together.
#[test]
fn the_same_comes_of_it_as_one_by_one() {
    let seeds: u64 = std::env::var("WBSYNC_SEEDS").map_or(10, |seeds| seeds.parse().unwrap());
    let first: u64 = std::env::var("WBSYNC_SEED").map_or(0, |seed| seed.parse().unwrap());
    for seed in first..first + seeds {
        let missing = ["missing = \"park\"", "missing = \"null\"\nrequired = false", "missing = \"stub\""];
        let own = format!("[dataset.user_attributes.fields.invited_by]\n{}\n", missing[(seed % 3) as usize]);
        let mut apps = [Some(1), Some(7), None].map(|rows| {
            // Of two records that may not both be there, it's the first that is written.
            let mut app = App::with("ALTER TABLE user_attributes DROP CONSTRAINT ux_user_attributes_user_key", &own);
            app.db.batch_rows.set(rows);
            app.reopen();
            let ann = app.user("ann1", "public");
            app.request("mine", Some(ann), "public");
            app.settle();
            app
        });
        let mut random = Prng::new(seed);
        for round in 0..8 {
            let changes = arrivals(&mut random, 60);
            let word = random.below(20);
            let edit = match random.below(4) {
                0 => format!("UPDATE help_requests SET status = 'done {word}' WHERE title = 'post {word}'"),
                1 => format!("DELETE FROM request_comments WHERE body = 'said {word}'"),
                2 => format!("UPDATE users SET contact_email = 'x' WHERE username = 'ann{}@beta'", word % 6),
                _ => "SELECT 1".to_owned(),
            };
            let is_captured = random.below(2) == 0;
            let mut wanted: Option<(BTreeSet<RecordId>, Vec<String>)> = None;
            for app in &mut apps {
                app.sql(&edit);
                if is_captured {
                    app.settle();
                }
                let applied = app.apply(changes.clone());
                let found = (applied.dirty.into_iter().collect::<BTreeSet<_>>(), picture(app));
                let rows = app.db.batch_rows.get();
                let wanted = wanted.get_or_insert_with(|| found.clone());
                assert_eq!(found.0, wanted.0, "seed {seed}, round {round}, {rows:?} rows together: too late");
                let other: Vec<_> = found.1.iter().filter(|line| !wanted.1.contains(line)).collect();
                let lacks: Vec<_> = wanted.1.iter().filter(|line| !found.1.contains(line)).collect();
                assert!(
                    found.1 == wanted.1,
                    "seed {seed}, round {round}, {rows:?} rows together: {other:#?} for {lacks:#?}"
                );
            }
        }
    }
}

/// Prints how long a clone's rows take: `cargo test --release --test connector_postgres -- --ignored --nocapture clone_of`.
#[test]
#[ignore = "measures"]
#[expect(clippy::print_stderr, reason = "it is for reading")]
fn clone_of_many_records() {
    let posts: u64 = std::env::var("WBSYNC_POSTS").map_or(3_226, |posts| posts.parse().unwrap());
    for rows in [1, 256] {
        let app = App::new();
        let wire = Wire::before(Cluster::or_skip().directory().to_owned());
        let mut options = app.db.options_by(&wire.url(&app.db.url), app.dir.path());
        options.batch_rows = rows;
        let mut sync = wbsync::connector::postgres::open(options, mapping(""), context()).unwrap();
        sync.begin_apply(b"t").unwrap();
        let changes = site(posts);
        let (count, begin, before) = (changes.len(), Instant::now(), wire.questions());
        sync.apply(&mut changes.into_iter().map(Ok), &mut |_| {}).unwrap();
        sync.finish_apply().unwrap();
        let (took, asked) = (begin.elapsed(), wire.questions() - before);
        eprintln!("{count} records, {rows} together: {took:?}, {asked} questions");
        let (begin, before) = (Instant::now(), wire.questions());
        assert_eq!(sync.capture(NOW, &mut |_| Ok(())).unwrap().reported, 1);
        eprintln!("capture, unchanged: {:?}, {} questions", begin.elapsed(), wire.questions() - before);
        app.sql("DELETE FROM wbsync.map");
        let (begin, before) = (Instant::now(), wire.questions());
        sync.capture(NOW, &mut |_| Ok(())).unwrap();
        eprintln!("capture, all new: {:?}, {} questions", begin.elapsed(), wire.questions() - before);
    }
}
