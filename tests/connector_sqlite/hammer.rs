//! A writer hammers the application's tables while captures and applies run in a loop: nothing is lost, nothing doubled.
//!
//! No write of the application's waits for a lock for more than 3 s, in a long run by itself 1 s: the database would tell it so.
//! `WBSYNC_SECONDS=60` goes on for a minute in each way of capturing; how long the writer waited is printed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use wbsync::connector::contract::{Connector, Seen};
use wbsync::record::recordid::RecordId;
use wbsync::testing::prng::Prng;

use super::harness::*;
use super::triggers::Edit;

#[test]
fn scans_lose_nothing_while_a_writer_hammers() {
    let mut app = App::new();
    app.settle();
    hammer(app, "by scan");
}

#[test]
fn triggers_lose_nothing_while_a_writer_hammers() {
    hammer(App::new().watched(), "by triggers");
}

/// Tells the writer that it is over, also where a test fails.
struct Told<'a>(&'a AtomicBool);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[expect(clippy::print_stderr, reason = "what was measured is for reading")]
fn hammer(mut app: App, way: &str) {
    let seconds = std::env::var("WBSYNC_SECONDS").map_or(2, |seconds| seconds.parse().unwrap());
    let (end, done, writes) =
        (Instant::now() + Duration::from_secs(seconds), AtomicBool::new(false), AtomicU64::new(0));
    // In a long run by itself, what was promised; beside other tests a processor may be what is waited for.
    let lock_ms = if std::env::var_os("WBSYNC_SECONDS").is_some() { 1_000 } else { 3_000 };
    let mut writer = app.db.writer(lock_ms);
    let mut random = Prng::new(7);
    let mut known: BTreeMap<RecordId, Seen> = BTreeMap::new();
    // A row that the writer never comes to is reported by nobody.
    let begun = app.sync.compare(NOW, &mut |sighting| {
        known.insert(sighting.id, sighting.seen);
        Ok(())
    });
    begun.unwrap();
    let (mut captures, mut dirty) = (0, 0);
    let longest = std::thread::scope(|scope| {
        let hammering = scope.spawn(|| {
            let mut random = Prng::new(11);
            let mut longest = Duration::ZERO;
            while !done.load(Ordering::Relaxed) {
                let begin = Instant::now();
                writes.fetch_add(u64::from(writer(&burst(&mut random))), Ordering::Relaxed);
                longest = longest.max(begin.elapsed());
                std::thread::sleep(Duration::from_micros(random.below(3_000)));
            }
            longest
        });
        let told = Told(&done);
        // A machine that is busy with other things takes longer to do enough.
        let is_enough = |captures| Instant::now() >= end && captures >= 10 && writes.load(Ordering::Relaxed) >= 20;
        while !is_enough(captures) && !hammering.is_finished() {
            take(&mut app, &mut known);
            captures += 1;
            if random.below(3) == 0 {
                dirty += Edit::any_apply(&mut random).apply(&mut app);
            }
        }
        drop(told);
        hammering.join().unwrap()
    });
    let writes = writes.into_inner();
    eprintln!(
        "{way}: {writes} bursts of writes, the longest took {longest:?}; {captures} captures, {dirty} rows too late"
    );
    take(&mut app, &mut known);
    // Whatever is there now was reported as it is now, under one id; and nothing else was.
    let mut rows = BTreeSet::new();
    let mut own = BTreeMap::new();
    let compared = app.sync.compare(NOW, &mut |sighting| {
        assert!(!sighting.changed, "lost: {sighting:?}");
        assert!(rows.insert(sighting.id.clone()), "twice: {}", sighting.id);
        if sighting.id.origin == OWN {
            own.insert(sighting.id, sighting.seen);
        }
        Ok(())
    });
    compared.unwrap();
    known.retain(|id, _| id.origin == OWN);
    assert_eq!(known, own);
    for table in ["users", "help_requests", "request_comments", "vouches"] {
        let sql = format!("SELECT count(*) FROM {table}");
        let counted: usize = app.text(&sql).parse().unwrap();
        let dataset = ["users", "requests", "comments", "vouches"]
            .into_iter()
            .find(|dataset| table.ends_with(dataset))
            .expect("tables end like their datasets");
        let mapped = rows.iter().filter(|id| id.dataset.as_str() == dataset).count();
        assert!(mapped <= counted, "{table}: {mapped} records of {counted} rows");
    }
}

/// Captures and settles, and keeps what was reported.
fn take(app: &mut App, known: &mut BTreeMap<RecordId, Seen>) {
    let mut seen = Vec::new();
    let capture = app.sync.capture(NOW, &mut |sighting| {
        seen.push(sighting);
        Ok(())
    });
    let (capture, position) = (capture.unwrap(), app.sync.position().unwrap());
    if capture.reported > 0 {
        app.sync.settle(&capture, &position).unwrap();
    }
    for sighting in seen {
        match sighting.seen {
            Seen::Gone => drop(known.remove(&sighting.id)),
            seen => drop(known.insert(sighting.id, seen)),
        }
    }
}

/// A few statements, alone or in a transaction that is kept or taken back as a whole or in part.
fn burst(random: &mut Prng) -> String {
    let statement = |random: &mut Prng| loop {
        match random.below(12) {
            // Keys that were handed out are handed out again.
            0 => return "DELETE FROM request_comments WHERE id > 30".to_owned(),
            1 => return "DELETE FROM help_requests WHERE id > 25".to_owned(),
            2 => return "DELETE FROM users WHERE id > 20".to_owned(),
            _ => match Edit::any(random) {
                Edit::Sql(sql) if !sql.contains("BEGIN") => return sql,
                _ => {}
            },
        }
    };
    let (first, second) = (statement(random), statement(random));
    match random.below(6) {
        0 => format!("BEGIN; {first}; {second}; ROLLBACK"),
        1 => format!("BEGIN; {first}; SAVEPOINT s; {second}; ROLLBACK TO s; RELEASE s; COMMIT"),
        2 | 3 => format!("BEGIN; {first}; {second}; COMMIT"),
        _ => first,
    }
}

/// Of many rows only those that changed are read: counted by the capture, and by the database itself.
#[test]
fn only_the_changed_of_many_rows_are_read() {
    few_of(5_000);
}

/// `cargo test --release -- --ignored a_million`
#[test]
#[ignore = "takes a minute"]
fn only_the_changed_of_a_million_rows_are_read() {
    few_of(1_000_000);
}

#[expect(clippy::print_stderr, reason = "what was measured is for reading")]
fn few_of(rows: u64) {
    let app = App::new();
    let ann = app.user("ann", "public");
    let request = app.request("bike", Some(ann), "public");
    app.sql(&format!(
        "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {rows})
         INSERT INTO request_comments(id, help_request_id, user_id, body, created_at, sync_scope)
         SELECT n, {request}, {ann}, 'c' || n, '{TIME}', 'private' FROM n"
    ));
    let mut app = app.watched();
    app.db.forget_counts();
    let sql = format!("UPDATE request_comments SET body = 'new', sync_scope = 'public' WHERE id % {} = 0", rows / 100);
    // By a connection that is closed then: what it read itself is counted by now.
    assert!(app.db.writer(60_000)(&sql));
    app.reopen();
    let before = app.db.rows_read();
    let begin = Instant::now();
    let (capture, seen) = app.capture();
    let took = begin.elapsed();
    assert_eq!((capture.rows, seen.len()), (100, 100));
    app.reopen();
    if let (Some(before), Some(after)) = (before, app.db.rows_read()) {
        eprintln!("{} rows of the table were read, by {} scans of it", after.1 - before.1, after.0 - before.0);
        assert_eq!(after.0 - before.0, 0, "the table was read as a whole");
        assert!(after.1 - before.1 <= 200, "{} rows were read", after.1 - before.1);
    }
    eprintln!("100 changed of {rows} rows: {took:?}");
}
