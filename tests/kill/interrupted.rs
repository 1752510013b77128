//! A clone that is killed again and again while people use the application: it completes, fetches nothing twice, and nobody
//! waits long.
//!
//! The bytes are counted on the wire, between the program and a real hub. How long a reader and a writer waited is printed
//! and bounded by what the application bears: it gives up after five seconds, and so do they.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use wbsync::testing::whiteballoon::seed::Seed;

use crate::scene::{assert_same, content, replace_tree};
use crate::sound::assert_sound;
use crate::strike::{Striker, seed, start};
use crate::support::app::App;
use crate::support::wire::Wire;

#[test]
fn a_clone_interrupted_again_and_again_fetches_nothing_twice() {
    interrupted(&Size { records: 4000, kills: 8, landed_min: 5, wire_bytes_per_second: 300_000 });
}

#[test]
#[ignore = "takes minutes; scripts/test --large runs it"]
fn a_clone_of_a_hundred_thousand_records_interrupted_twenty_times_fetches_nothing_twice() {
    interrupted(&Size { records: 230_000, kills: 20, landed_min: 20, wire_bytes_per_second: 1_500_000 });
}

struct Size {
    records: u64,
    kills: u32,
    landed_min: u32,
    /// A wire slow enough that kills hit the transfer too.
    wire_bytes_per_second: u64,
}

fn interrupted(size: &Size) {
    let mut striker = Striker::new(seed("interrupted clone"));
    let alpha = App::seeded(&Seed::new(size.records, 1));
    alpha.wbsync(&["init", "--preset", "whiteballoon", "--name", "alpha"]).ok();
    let store = tempfile::tempdir().unwrap();
    let place = store.path().join("store");
    alpha.wbsync(&["remote", "add", "hub", place.to_str().unwrap()]).ok();
    alpha.wbsync(&["sync"]).ok();
    let hub = Hub::start(&place);
    let wire = Wire::start(&hub.address, size.wire_bytes_per_second);
    let url = format!("http://{}/", wire.address);
    let args = ["clone", &url, "--preset", "whiteballoon", "--name", "gamma"];

    // Once in one go, to know what it takes.
    let (template, app) = (App::new(), App::new());
    replace_tree(template.dir(), app.dir());
    let took = app.wbsync(&args).ok().took;
    let once = wire.taken();
    let (expected, rows) = (content(&app), shown(&app));

    // And once interrupted, with people at work. They know nothing of wbsync. What outran the kills, as on a machine that
    // was busy before and is not now, is begun again with earlier ones.
    let interrupted = (0..6).find_map(|attempt| {
        let took = took / 2_u32.pow(attempt);
        replace_tree(template.dir(), app.dir());
        let people = People::start(app.db_path().as_path());
        wire.taken();
        let (begun, mut landed) = (Instant::now(), 0);
        let mut done = false;
        for moment in moments(&mut striker, size.kills, once, rows, took) {
            done = !killed_at(&app, &args, &moment, &wire);
            if done {
                break;
            }
            landed += 1;
        }
        if landed >= size.landed_min {
            return Some((people, begun, landed, done));
        }
        println!("only {landed} kills landed before the clone was done");
        people.end();
        None
    });
    let (people, begun, landed, done) = interrupted.expect("the clone outran all kills");
    let last = if done { app.wbsync(&["status"]).ok() } else { app.wbsync(&args).ok() };
    let whole = begun.elapsed();
    let (written, [read_max, write_max]) = people.end();
    let taken = wire.taken();
    assert!(app.value("SELECT count(*) FROM help_requests WHERE title = 'by hand'") == written.to_string());
    app.db().execute("DELETE FROM help_requests WHERE title = 'by hand'", []).unwrap();
    assert_same(&content(&app), &expected, "interrupted clone");
    assert_sound(&app, "interrupted clone");
    // Each attempt asks again for the small documents, and loses what was on its way when it was killed.
    let again = u64::from(landed + 1) * (SMALL_BYTES + ON_THE_WAY_BYTES);
    println!(
        "{} comments, {} kills: {once} bytes in one go ({took:?}), {taken} interrupted ({whole:?}, the last attempt {:?}); \
         {written} rows written meanwhile; the longest read took {read_max:?}, the longest write {write_max:?}",
        rows, landed, last.took
    );
    assert!(taken <= once + again, "{taken} bytes fetched, {once} in one go");

    // Ready to go on in small steps.
    alpha.insert_request(Some(App::ADMIN), "after the clone", "public");
    alpha.wbsync(&["sync"]).ok();
    // A hub looks only every two seconds at what another process wrote into its directory.
    let until = Instant::now() + Duration::from_secs(60);
    while !app.dump_columns("help_requests", &["description"]).contains("after the clone") {
        assert!(Instant::now() < until, "what alpha pushed doesn't come");
        std::thread::sleep(Duration::from_millis(500));
        app.wbsync(&["pull"]).ok();
    }
    let step = wire.taken();
    assert!(step < SMALL_BYTES, "{step} bytes for one row");
}

/// When to kill.
enum Moment {
    /// When so many bytes have come down the wire.
    Bytes(u64),
    /// So long after nearly all have come: while trees are built and compared.
    After(u64, Duration),
    /// When the application has so many rows.
    Rows(u64),
}

/// Draws moments, in the order in which a clone comes by them: during the transfer, after it, and while rows are written.
fn moments(striker: &mut Striker, kills: u32, bytes: u64, rows: u64, took: Duration) -> Vec<Moment> {
    let mut ascending = |count: u32, from: u64, to: u64| {
        let mut drawn: Vec<u64> = (0..count).map(|_| from + striker.below(to - from)).collect();
        drawn.sort_unstable();
        drawn
    };
    let part = kills * 2 / 5;
    let transfer = ascending(part, SMALL_BYTES, bytes * 9 / 10).into_iter().map(Moment::Bytes);
    let millis = u64::try_from(took.as_millis()).unwrap();
    let after = ascending(kills - 2 * part, 0, millis / 8);
    let after = after.into_iter().map(|millis| Moment::After(bytes * 97 / 100, Duration::from_millis(millis)));
    let writing = ascending(part, 1, rows * 8 / 10).into_iter().map(Moment::Rows);
    transfer.chain(after).chain(writing).collect()
}

/// Runs a clone and kills it at a moment; tells whether it was still at work.
fn killed_at(app: &App, args: &[&str], moment: &Moment, wire: &Wire) -> bool {
    let mut child = start(app.dir(), args);
    let until = Instant::now() + Duration::from_secs(120);
    let is_come = || match moment {
        Moment::Bytes(bytes) | Moment::After(bytes, _) => wire.down.load(Ordering::SeqCst) >= *bytes,
        Moment::Rows(rows) => shown(app) >= *rows,
    };
    while child.try_wait().unwrap().is_none() && !is_come() {
        assert!(Instant::now() < until, "the clone stands still");
        std::thread::sleep(Duration::from_millis(2));
    }
    if let Moment::After(_, pause) = moment {
        std::thread::sleep(*pause);
    }
    child.kill().unwrap();
    let status = child.wait().unwrap();
    assert!(status.success() || status.signal().is_some(), "{status}");
    status.signal().is_some()
}

/// How far the application's rows have come; costs nothing to ask.
fn shown(app: &App) -> u64 {
    app.value("SELECT coalesce(max(id), 0) FROM request_comments").parse().unwrap()
}

/// Manifest, head, cards and receipts, with the words around them.
const SMALL_BYTES: u64 = 32 << 10;
/// What a sender has sent and a receiver has not yet taken when it dies: the buffers between them.
const ON_THE_WAY_BYTES: u64 = 96 << 10;

/// Somebody who reads pages, and somebody who writes rows.
struct People {
    stop: Arc<AtomicBool>,
    reader: JoinHandle<Duration>,
    writer: JoinHandle<(u64, Duration)>,
}

impl People {
    fn start(database: &Path) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let open = |path: &Path| {
            let db = rusqlite::Connection::open(path).unwrap();
            db.busy_timeout(GIVES_UP).unwrap();
            db
        };
        let (db, ended) = (open(database), Arc::clone(&stop));
        let reader = std::thread::spawn(move || {
            let mut longest = Duration::ZERO;
            while !ended.load(Ordering::SeqCst) {
                let began = Instant::now();
                let sql = "SELECT r.id, r.title, u.username FROM help_requests r \
                    LEFT JOIN users u ON u.id = r.created_by_user_id ORDER BY r.id DESC LIMIT 30";
                let mut statement = db.prepare_cached(sql).unwrap();
                let rows = statement.query_map([], |row| row.get::<_, i64>(0)).unwrap().map(Result::unwrap).count();
                assert!(rows <= 30);
                longest = longest.max(began.elapsed());
                std::thread::sleep(Duration::from_millis(10));
            }
            longest
        });
        let (db, ended) = (open(database), Arc::clone(&stop));
        let writer = std::thread::spawn(move || {
            let (mut written, mut longest) = (0, Duration::ZERO);
            while !ended.load(Ordering::SeqCst) {
                let began = Instant::now();
                let sql = "INSERT INTO help_requests (title, description, status, created_by_user_id, created_at, updated_at, \
                    sync_scope) VALUES ('by hand', '', 'open', 1, '2026-01-01 00:00:00.000000', \
                    '2026-01-01 00:00:00.000000', 'private')";
                db.execute(sql, []).expect("the application would have given up");
                written += 1;
                longest = longest.max(began.elapsed());
                std::thread::sleep(Duration::from_millis(25));
            }
            (written, longest)
        });
        Self { stop, reader, writer }
    }

    /// Returns how many rows were written, and the longest wait of each.
    fn end(self) -> (u64, [Duration; 2]) {
        self.stop.store(true, Ordering::SeqCst);
        let (read, (written, write)) = (self.reader.join().unwrap(), self.writer.join().unwrap());
        (written, [read, write])
    }
}

/// After this the application tells its user that it failed.
const GIVES_UP: Duration = Duration::from_secs(5);

/// A hub that anybody may clone from. Killed when dropped.
struct Hub {
    child: Child,
    address: String,
}

impl Hub {
    fn start(store: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_wbsync"))
            .args(["serve", "--public", "--listen", "127.0.0.1:0", "--store"])
            .arg(store)
            .env_clear()
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let mut first = String::new();
        lines.read_line(&mut first).unwrap();
        let url = first.trim().strip_prefix("listening on ").unwrap_or_else(|| panic!("{first}"));
        let address = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
        std::thread::spawn(move || for _ in lines.lines().map_while(Result::ok) {});
        Self { child, address }
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
