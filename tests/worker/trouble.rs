//! The program in trouble: a locked database, a full disk, a hub that takes connections and says nothing, a process that was put
//! to sleep. It never runs without a pause, tells the truth meanwhile, and catches up by itself.

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::process::{Worker, until};
use crate::site::instance;
use crate::support::app::App;
use crate::support::described::Described;

/// An instance with a directory as its remote, `stick`, and some lines of configuration.
fn with_stick(name: &str, config: &str) -> (App, TempDir) {
    let (app, stick) = (instance(name), tempfile::tempdir().unwrap());
    configure(&app, config);
    app.wbsync(&["remote", "add", "stick", stick.path().join("store").to_str().unwrap()]).ok();
    (app, stick)
}

/// Replaces what a test wrote after the instance's own configuration.
fn configure(app: &App, config: &str) {
    let path = app.dir().join("wbsync.toml");
    let own = fs::read_to_string(&path).unwrap();
    let own = own.split("# of the test\n").next().unwrap();
    // Keys before tables: what `init` wrote may end with one.
    let (keys, tables): (Vec<_>, Vec<_>) = config.lines().partition(|line| line.starts_with("busy_ms"));
    let keys: String = keys.iter().map(|line| format!("{line}\n")).collect();
    let own = own.strip_prefix(&keys).unwrap_or(own);
    fs::write(&path, format!("{keys}{own}# of the test\n{}\n", tables.join("\n"))).unwrap();
}

fn status(app: &App) -> Value {
    app.wbsync(&["status", "--json"]).ok().json()
}

fn remote<'a>(status: &'a Value, name: &str) -> &'a Value {
    status["remotes"].as_array().unwrap().iter().find(|remote| remote["name"] == name).unwrap()
}

/// Tells whether all that was written is at the remote.
fn has_all(app: &App, name: &str) -> bool {
    let status = status(app);
    let unpublished = status["scopes"].as_array().unwrap().iter().any(|scope| scope["unpublished"] == true);
    !unpublished && remote(&status, name)["waiting"]["heads"] == 0 && !remote(&status, name)["pushed"].is_null()
}

fn times(worker: &Worker, word: &str) -> usize {
    worker.log().matches(word).count()
}

/// Processor time that a process has used.
fn used(worker: &Worker) -> Duration {
    let text = fs::read_to_string(format!("/proc/{}/stat", worker.pid())).unwrap();
    let fields: Vec<u64> =
        text.rsplit_once(") ").unwrap().1.split(' ').map(|field| field.parse().unwrap_or(0)).collect();
    // utime and stime, in hundredths of a second
    Duration::from_millis((fields[11] + fields[12]) * 10)
}

/// Watches a worker that can't work: it tries less than once a second, and sleeps most of the time.
struct Idle {
    began: Instant,
    used: Duration,
    tries: usize,
}

impl Idle {
    fn begin(worker: &Worker, word: &str) -> Self {
        Self { began: Instant::now(), used: used(worker), tries: times(worker, word) }
    }

    fn end(self, worker: &Worker, word: &str) {
        let (lasted, tries) = (self.began.elapsed(), times(worker, word) - self.tries);
        assert!(tries as f64 <= lasted.as_secs_f64() + 2.0, "{tries} tries in {lasted:?}\n{}", worker.log());
        let used = used(worker) - self.used;
        assert!(used < lasted / 2 + Duration::from_secs(1), "{used:?} of {lasted:?} are no sleep");
    }
}

#[test]
fn a_database_that_another_program_keeps_locked_is_waited_out() {
    let (app, _stick) = with_stick("alpha", "busy_ms = 50");
    let worker = Worker::start(&app);
    until("all is there", || has_all(&app, "stick"));
    let other = app.db();
    other.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE").unwrap();
    worker.signal("-HUP");
    until("it says so", || worker.log().contains("\"database-locked\""));
    let idle = Idle::begin(&worker, "\"stopped\"");
    until("it has tried three times", || status(&app)["worker"]["here"]["failures"].as_u64().unwrap_or(0) >= 3);
    let told = status(&app);
    Described::read("status.md").check("status", &told);
    assert_eq!(told["worker"]["here"]["error"]["code"], "database-locked", "{told}");
    assert!(told["worker"]["here"]["error"]["hint"].is_string() && told["database_error"].is_string(), "{told}");
    assert!(remote(&told, "stick")["error"].is_null(), "the remote has nothing to do with it: {told}");
    let health = app.wbsync(&["health", "--offline", "--json"]).exits(8).json();
    let bad: Vec<&str> = health["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|check| check["verdict"] == "bad")
        .filter_map(|check| check["check"].as_str())
        .collect();
    assert!(bad.contains(&"worker") && bad.contains(&"database"), "{health}");
    idle.end(&worker, "\"stopped\"");
    other.execute_batch("COMMIT").unwrap();
    drop(other);
    app.insert_request(None, "after the lock", "public");
    until("it goes on by itself", || status(&app)["worker"]["here"].is_null());
    until("all is there again", || has_all(&app, "stick"));
    app.wbsync(&["health", "--offline"]).ok();
    worker.stop();
    app.assert_whole();
}

/// A small file system of its own. Gone when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Puts what is in a directory on a disk that has little more room; `None` where this user may not.
    fn beneath(dir: &Path, room_bytes: u64) -> Option<Self> {
        let kept = dir.with_extension("kept");
        let run = |program: &str, args: &[&str]| {
            Command::new(program).args(args).output().is_ok_and(|output| output.status.success())
        };
        let (at, kept_at) = (dir.to_str().unwrap(), kept.to_str().unwrap());
        assert!(run("cp", &["-a", at, kept_at]));
        let du = Command::new("du").args(["-sk", at]).output().unwrap().stdout;
        let used: u64 = String::from_utf8(du).unwrap().split_whitespace().next().unwrap().parse().unwrap();
        let size = format!("size={}k", used + room_bytes / 1024);
        if !run("mount", &["-t", "tmpfs", "-o", &size, "tmpfs", at]) {
            return None;
        }
        let disk = Self(dir.to_owned());
        assert!(run("cp", &["-a", &format!("{kept_at}/."), at]));
        Some(disk)
    }

    fn fill(&self) {
        let mut bytes = 1 << 20;
        while bytes >= 512 {
            let path = self.0.join(format!("filler-{bytes}"));
            match fs::write(&path, vec![7; bytes]) {
                Ok(()) if bytes == 512 => break,
                Ok(()) => fs::rename(&path, self.0.join(format!("filler-{bytes}-{}", fillers(&self.0)))).unwrap(),
                Err(_) => {
                    // What was written of it goes, and a smaller one is tried.
                    let _ = fs::remove_file(&path);
                    bytes /= 2;
                }
            }
        }
    }

    fn free(&self) {
        for entry in fs::read_dir(&self.0).unwrap().map(Result::unwrap) {
            if entry.file_name().to_string_lossy().starts_with("filler-") {
                fs::remove_file(entry.path()).unwrap();
            }
        }
    }
}

fn fillers(dir: &Path) -> usize {
    fs::read_dir(dir)
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("filler-"))
        .count()
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_is_waited_out() {
    let (app, _stick) = with_stick("alpha", "");
    app.wbsync(&["sync"]).ok();
    let Some(disk) = SmallDisk::beneath(&app.dir().join(".wbsync"), 4 << 20) else {
        let _ = writeln!(std::io::stderr(), "SKIPPED: this user may not mount a small disk");
        return;
    };
    let worker = Worker::start(&app);
    until("it works there", || status(&app)["worker"]["remotes"][0]["succeeded"].is_string());
    disk.fill();
    app.insert_request(None, &"no room for this ".repeat(4000), "public");
    until("it says so", || worker.log().contains("\"stopped\""));
    let idle = Idle::begin(&worker, "\"stopped\"");
    until("it has tried again", || times(&worker, "\"stopped\"") >= 3);
    let health = app.wbsync(&["health", "--offline", "--json"]).exits(8).json();
    let space = health["checks"].as_array().unwrap().iter().find(|check| check["check"] == "space").unwrap();
    assert!(space["verdict"] == "bad" && space["hint"].is_string(), "{health}");
    let told = status(&app);
    assert!(
        told["worker"]["here"]["error"]["hint"].is_string(),
        "it says so although it can't write a new file: {told}"
    );
    idle.end(&worker, "\"stopped\"");
    disk.free();
    until("it goes on by itself", || status(&app)["worker"]["here"].is_null() && has_all(&app, "stick"));
    worker.stop();
    app.wbsync(&["fsck"]).ok();
}

#[test]
fn a_hub_that_takes_connections_and_says_nothing_holds_nobody_up_for_long() {
    let (app, _stick) = with_stick("alpha", "[run]\ninterval_seconds = 5");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&accepted);
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for stream in listener.incoming() {
            count.fetch_add(1, Ordering::Relaxed);
            held.push(stream);
        }
    });
    app.wbsync(&["remote", "add", "hub", &format!("http://{address}/")]).ok();
    let worker = Worker::start(&app);
    let idle = Idle::begin(&worker, "\"failed\"");
    until("the hub is given up for now", || worker.log().contains("\"unreachable\""));
    until("the other one has all", || has_all(&app, "stick"));
    for number in 0..3 {
        let exchanged = times(&worker, "\"remote\":\"stick\"");
        app.insert_request(None, &format!("meanwhile {number}"), "public");
        until("it is exchanged with again", || times(&worker, "\"remote\":\"stick\"") > exchanged);
    }
    until("the other one has it too", || has_all(&app, "stick"));
    let told = status(&app);
    Described::read("status.md").check("status", &told);
    let (hub, stick) = (remote(&told, "hub"), remote(&told, "stick"));
    assert!(hub["failures"].as_u64().unwrap() > 0 && hub["next_try"].is_string(), "{told}");
    assert!(stick["error"].is_null() && stick["failures"] == 0, "{told}");
    idle.end(&worker, "\"failed\"");
    worker.stop();
}

#[test]
fn a_process_that_was_stopped_goes_on_where_it_was() {
    let (app, _stick) = with_stick("alpha", "");
    let worker = Worker::start(&app);
    until("all is there", || has_all(&app, "stick"));
    worker.signal("-STOP");
    app.insert_request(None, "while it slept", "public");
    // It holds no lock that others wait for, unless it slept at work.
    let by_hand = app.wbsync(&["sync"]);
    assert!([0, 7].contains(&by_hand.code), "{by_hand}");
    app.insert_request(None, "and later", "public");
    worker.signal("-CONT");
    until("all is there again", || has_all(&app, "stick") && worker.log().contains("\"committed\""));
    let idle = Idle::begin(&worker, "\"exchanged\"");
    std::thread::sleep(Duration::from_secs(2));
    idle.end(&worker, "\"exchanged\"");
    worker.stop();
}

#[test]
fn watching_begins_and_ends_with_the_configuration() {
    const SELDOM: &str = "interval_seconds = 86400\nlook_seconds = 86400";
    let (app, _stick) = with_stick("alpha", &format!("[run]\nwatch = false\n{SELDOM}"));
    let worker = Worker::start(&app);
    until("all is there", || has_all(&app, "stick"));
    configure(&app, &format!("[run]\nwatch = true\n{SELDOM}"));
    worker.signal("-HUP");
    until("it reads it", || worker.log().contains("\"reloaded\""));
    // Whoever reloads tries everybody once; what is written after that is found by watching only.
    let committed = times(&worker, "\"committed\"");
    until("two changes are found one after the other", || {
        app.insert_request(None, "seen", "public");
        times(&worker, "\"committed\"") >= committed + 2
    });
    until("all is there", || has_all(&app, "stick"));
    worker.stop();
}

#[test]
fn a_store_behind_ssh_says_when_it_changes() {
    let tools = tempfile::tempdir().unwrap();
    let ssh = tools.path().join("ssh");
    let bin = Path::new(env!("CARGO_BIN_EXE_wbsync")).parent().unwrap();
    let script = format!(
        "#!/bin/sh\n# Runs here what would run there.\nfor last; do :; done\nPATH={}:$PATH exec sh -c \"$last\"\n",
        bin.display()
    );
    fs::write(&ssh, script).unwrap();
    fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).unwrap();
    let (alpha, stick) = with_stick("alpha", "");
    let store = stick.path().join("store");
    let card = alpha.wbsync(&["id"]).ok().stdout;
    alpha.wbsync(&["sync"]).ok();
    let beta = instance("beta");
    configure(&beta, "[run]\ninterval_seconds = 86400\nlook_seconds = 86400");
    beta.wbsync(&["peer", "add", card.trim()]).ok();
    beta.wbsync(&["follow", "alpha"]).ok();
    beta.wbsync(&["remote", "add", "far", &format!("ssh://somewhere{}", store.display())]).ok();
    let path = std::env::var("PATH").unwrap();
    let worker = Worker::start_in(&beta, &[], &[("WBSYNC_SSH", ssh.to_str().unwrap()), ("PATH", &path)]);
    until("it has exchanged", || status(&beta)["worker"]["remotes"][0]["succeeded"].is_string());
    let has =
        |text: &str| beta.value(&format!("SELECT count(*) FROM help_requests WHERE description = '{text}'")) != "0";
    for text in ["one", "two"] {
        alpha.insert_request(None, text, "public");
        alpha.wbsync(&["sync"]).ok();
        until("it is told and fetches", || has(text));
    }
    assert!(worker.log().contains("\"heard\""), "{}", worker.log());
    worker.stop();
}
