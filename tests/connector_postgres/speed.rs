//! The application keeps working while we write, and how fast it goes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use wbsync::connector::contract::{Change, Connector};
use wbsync::id::bytes::RecordKey;

use super::harness::*;
use super::support::postgres::connect;

fn posts(count: u64, title: &str) -> Vec<Change> {
    let bea = id(BETA, "users", 1);
    let post = |number: u64| {
        let mut post = id(BETA, "requests", 0);
        let mut key = *post.key.as_bytes();
        key[8..].copy_from_slice(&number.to_be_bytes());
        post.key = RecordKey::from_bytes(key);
        request(&post, title, Some(&bea))
    };
    (0..count).map(post).collect()
}

/// The writer edits the very rows that are being written, in transactions that it sometimes takes back.
#[test]
fn a_writing_application_never_waits_long_and_loses_nothing() {
    let mut app = App::new();
    app.settle();
    app.apply_quietly(posts(1_500, "first"));
    let (url, done) = (app.db.url.clone(), AtomicBool::new(false));
    let (longest, edits, applied) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut client = connect(&url);
            let (mut longest, mut edits) = (Duration::ZERO, Vec::new());
            for round in 1.. {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                let row = round * 37 % 1_500 + 1;
                let begin = Instant::now();
                let mut transaction = client.transaction().unwrap();
                let sql = "UPDATE help_requests SET description = $1 WHERE id = $2";
                transaction.execute(sql, &[&format!("edit {round}"), &row]).unwrap();
                if round % 3 == 0 {
                    transaction.rollback().unwrap();
                } else {
                    transaction.commit().unwrap();
                    edits.push((row, round));
                }
                longest = longest.max(begin.elapsed());
                std::thread::sleep(Duration::from_millis(3));
            }
            (longest, edits)
        });
        app.sync.begin_apply(b"t").unwrap();
        let applied = app.sync.apply(&mut posts(1_500, "second").into_iter().map(Ok), &mut |_| {});
        done.store(true, Ordering::Relaxed);
        let (longest, edits) = writer.join().unwrap();
        (longest, edits, applied.unwrap())
    });
    assert!(longest < Duration::from_secs(1), "a write waited {longest:?}");
    assert!(edits.len() > 2, "the writer got in {} times", edits.len());
    let written = applied.updated.values().sum::<u64>();
    assert_eq!(written + applied.dirty.len() as u64, 1_500, "each row is written, or left as it was edited");
    // The last edit of each row is there, whoever came first.
    let last: std::collections::BTreeMap<i32, i32> = edits.into_iter().collect();
    for (row, round) in &last {
        assert_eq!(
            app.text(&format!("SELECT description FROM help_requests WHERE id = {row}")),
            format!("edit {round}")
        );
    }
    app.sync.finish_apply().unwrap();
    assert_eq!(app.settle().len(), last.len(), "each edit is reported, and nothing else");
    app.db.whole();
}

/// Prints how fast it goes: `cargo test --release --test connector_postgres -- --ignored --nocapture speed`.
#[test]
#[ignore = "measures"]
#[expect(clippy::print_stderr, reason = "it is for reading")]
fn speed_of_20_000_rows() {
    let mut app = App::new();
    app.settle();
    app.sync.begin_apply(b"t").unwrap();
    let begin = Instant::now();
    app.sync.apply(&mut posts(20_000, "title").into_iter().map(Ok), &mut |_| {}).unwrap();
    app.sync.finish_apply().unwrap();
    eprintln!("apply: {:?}", begin.elapsed());
    let begin = Instant::now();
    assert_eq!(app.settle(), []);
    eprintln!("capture, unchanged: {:?}", begin.elapsed());
    app.sql("DELETE FROM wbsync.map");
    let begin = Instant::now();
    app.capture();
    eprintln!("capture, all new: {:?}", begin.elapsed());
}
