//! The application keeps working while we write.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use wbsync::connector::contract::Connector;
use wbsync::id::bytes::RecordKey;

use super::harness::*;

#[test]
fn a_writing_application_never_waits_long() {
    let mut app = App::new();
    app.settle();
    let path = app.db.path.clone();
    let done = AtomicBool::new(false);
    let bea = id(BETA, "users", 1);
    let changes = (0..20_000u64).map(|number| {
        let mut post = id(BETA, "requests", 0);
        let mut key = *post.key.as_bytes();
        key[8..].copy_from_slice(&number.to_be_bytes());
        post.key = RecordKey::from_bytes(key);
        Ok(request(&post, "title", Some(&bea)))
    });
    let (longest, writes) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let conn = Connection::open(&path).unwrap();
            conn.busy_timeout(Duration::from_secs(5)).unwrap();
            let (mut longest, mut writes) = (Duration::ZERO, 0);
            while !done.load(Ordering::Relaxed) {
                let begin = Instant::now();
                conn.execute("UPDATE users SET contact_email = ?1 WHERE id = 1", [writes]).unwrap();
                longest = longest.max(begin.elapsed());
                writes += 1;
                std::thread::sleep(Duration::from_millis(7));
            }
            (longest, writes)
        });
        app.sync.begin_apply(b"t").unwrap();
        let applied = app.sync.apply(&mut changes.into_iter(), &mut |_| {});
        done.store(true, Ordering::Relaxed);
        let waited = writer.join().unwrap();
        assert_eq!(applied.unwrap().inserted.values().sum::<u64>(), 20_001);
        waited
    });
    assert!(longest < Duration::from_secs(1), "a write waited {longest:?}");
    assert!(writes > 3, "the writer got in {writes} times");
    app.sync.finish_apply().unwrap();
    app.db.whole();
    assert_eq!(app.settle(), []);
}

/// Prints how fast it goes: `cargo test --release --test connector_sqlite -- --ignored --nocapture speed`.
#[test]
#[ignore = "measures"]
#[expect(clippy::print_stderr, reason = "it is for reading")]
fn speed_of_100_000_rows() {
    let mut app = App::new();
    app.settle();
    let bea = id(BETA, "users", 1);
    let changes = (0..100_000u64).map(|number| {
        let mut post = id(BETA, "requests", 0);
        let mut key = *post.key.as_bytes();
        key[8..].copy_from_slice(&number.to_be_bytes());
        post.key = RecordKey::from_bytes(key);
        Ok(request(&post, "title", Some(&bea)))
    });
    app.sync.begin_apply(b"t").unwrap();
    let begin = Instant::now();
    app.sync.apply(&mut changes.into_iter(), &mut |_| {}).unwrap();
    app.sync.finish_apply().unwrap();
    eprintln!("apply: {:?}", begin.elapsed());
    let begin = Instant::now();
    assert_eq!(app.settle(), []);
    eprintln!("capture, unchanged: {:?}", begin.elapsed());
    app.sql("DELETE FROM _wbsync_map");
    let begin = Instant::now();
    app.capture();
    eprintln!("capture, all new: {:?}", begin.elapsed());
}
