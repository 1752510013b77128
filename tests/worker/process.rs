//! The program itself for a few moments: two workers and a hub, ends, locks, and rounds for timers.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::site::{Site, befriend, instance};
use crate::support::app::App;

/// A running `wbsync run`. Killed when dropped.
pub(crate) struct Worker {
    child: Child,
    log: Arc<Mutex<String>>,
}

impl Worker {
    pub(crate) fn start(app: &App) -> Self {
        Self::start_with(app, &[])
    }

    pub(crate) fn start_with(app: &App, options: &[&str]) -> Self {
        Self::start_in(app, options, &[])
    }

    pub(crate) fn start_in(app: &App, options: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_wbsync"))
            .args(["run", "--log-format", "json", "-v"])
            .args(options)
            .current_dir(app.dir())
            .env_clear()
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap());
        let log = Arc::new(Mutex::new(String::new()));
        let kept = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                kept.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        let worker = Self { child, log };
        until("it has started", || worker.log().contains("\"started\""));
        worker
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: &str) {
        Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
    }

    pub(crate) fn stop(mut self) {
        self.signal("-TERM");
        assert!(self.child.wait().unwrap().success(), "{}", self.log());
        // Its last lines may still be on their way to us.
        until("it said that it ends", || self.log().contains("\"ending\""));
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until something is so; it is an error only if it never is.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(90), "it never happened that {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn has(app: &App, description: &str) -> bool {
    app.value(&format!("SELECT count(*) FROM help_requests WHERE description = '{description}'")) != "0"
}

#[test]
fn two_workers_carry_what_is_written_while_the_hub_comes_and_goes() {
    let (alpha, beta) = (instance("alpha"), instance("beta"));
    let hub = Site::start(&[]);
    [&alpha, &beta].into_iter().for_each(|app| hub.admit(app));
    befriend(&alpha, &beta);
    let workers = [Worker::start(&alpha), Worker::start(&beta)];
    alpha.insert_request(None, "from alpha", "public");
    beta.insert_request(None, "from beta", "public");
    until("both have both", || has(&beta, "from alpha") && has(&alpha, "from beta"));

    let address = hub.url.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let (dir, ended) = hub.stop();
    assert!(ended);
    alpha.insert_request(None, "into the void", "public");
    until("alpha knows that the hub is away", || workers[0].log().contains("\"unreachable\""));
    let told = alpha.wbsync(&["status", "--json"]).ok().json();
    assert_eq!(told["remotes"][0]["failures"].as_u64().map(|failures| failures > 0), Some(true), "{told}");
    let _hub = Site::start_in(dir, &address, &[]);
    // Whoever doesn't want to wait says so.
    workers[0].signal("-HUP");
    until("it came through", || has(&beta, "into the void"));
    until("alpha is told well again", || {
        alpha.wbsync(&["status", "--json"]).ok().json()["remotes"][0]["failures"] == 0
    });
    workers.into_iter().for_each(Worker::stop);
    [&alpha, &beta].into_iter().for_each(App::assert_whole);
}

#[test]
fn one_worker_per_instance_and_a_killed_one_leaves_no_lock() {
    let app = instance("alpha");
    let mut worker = Worker::start(&app);
    let pid = worker.child.id().to_string();
    for command in [&["run"][..], &["run-once"]] {
        let refused = app.wbsync(command).exits(7);
        assert!(refused.stderr.contains(&format!("process id {pid}")), "{refused}");
    }
    worker.child.kill().unwrap();
    worker.child.wait().unwrap();
    app.wbsync(&["run-once"]).ok();
    Worker::start(&app).stop();
}

#[test]
fn a_broken_configuration_is_told_and_the_worker_goes_on() {
    let app = instance("alpha");
    let worker = Worker::start(&app);
    let path = app.dir().join("wbsync.toml");
    let sound = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{sound}\n[run]\nintervall_seconds = 5\n")).unwrap();
    worker.signal("-HUP");
    until("it says so", || worker.log().contains("\"not-reloaded\""));
    fs::write(&path, sound).unwrap();
    worker.signal("-HUP");
    until("it reads it again", || worker.log().contains("\"reloaded\""));
    worker.stop();
}

#[cfg(target_os = "linux")]
#[test]
fn systemd_is_told_of_every_step() {
    use std::os::unix::net::UnixDatagram;

    let (app, place) = (instance("alpha"), tempfile::tempdir().unwrap());
    let at = place.path().join("notify");
    let socket = UnixDatagram::bind(&at).unwrap();
    socket.set_nonblocking(true).unwrap();
    let mut said = String::new();
    let mut told = |what: &str, times: usize| {
        until(what, || {
            let mut buffer = [0; 1024];
            while let Ok(count) = socket.recv(&mut buffer) {
                said += std::str::from_utf8(&buffer[..count]).unwrap().trim_end();
                said += "\n";
            }
            said.lines().filter(|line| line.starts_with(what)).count() >= times
        });
    };
    let variables = [("NOTIFY_SOCKET", at.to_str().unwrap()), ("WATCHDOG_USEC", "300000")];
    let worker = Worker::start_in(&app, &[], &variables);
    told("READY=1", 1);
    told("WATCHDOG=1", 3);
    worker.signal("-HUP");
    told("RELOADING=1", 1);
    told("MONOTONIC_USEC=", 1);
    told("READY=1", 2);
    // Who is stopped is not alive: systemd, which waits for the next word, would start another.
    worker.signal("-STOP");
    std::thread::sleep(Duration::from_millis(500));
    while socket.recv(&mut [0; 1024]).is_ok() {}
    std::thread::sleep(Duration::from_secs(1));
    assert!(socket.recv(&mut [0; 1024]).is_err(), "a process that was stopped said something");
    worker.signal("-CONT");
    until("it is alive again", || socket.recv(&mut [0; 1024]).is_ok());
    worker.stop();
    told("STOPPING=1", 1);
}

#[test]
fn a_round_for_timers_ends_with_what_a_script_needs() {
    let (alpha, stick) = (instance("alpha"), tempfile::tempdir().unwrap());
    let place = stick.path().join("store");
    alpha.wbsync(&["remote", "add", "stick", place.to_str().unwrap()]).ok();
    alpha.insert_request(None, "hello", "public");
    let round = alpha.wbsync(&["run-once"]).ok();
    assert!(round.stdout.is_empty() && round.stderr.contains("stick: pushed"), "{round}");
    let round = alpha.wbsync(&["run-once"]).ok();
    assert!(round.stderr.is_empty(), "nothing happened, nothing is said: {round}");

    fs::rename(&place, stick.path().join("away")).unwrap();
    let round = alpha.wbsync(&["run-once", "--quiet"]).exits(4);
    assert!(round.stderr.contains("stick"), "{round}");
    // Its time may have come already: the wait is anything up to half a minute.
    let round = alpha.wbsync(&["run-once", "--json", "--all"]).exits(4).json();
    assert_eq!(round["failed"]["stick"]["code"], "unreachable", "{round}");
    fs::rename(stick.path().join("away"), &place).unwrap();
    alpha.wbsync(&["run-once", "--all"]).ok();

    let lock = File::options().write(true).open(alpha.dir().join(".wbsync/lock")).unwrap();
    lock.lock().unwrap();
    let round = alpha.wbsync(&["run-once", "--wait", "0", "--json"]).exits(7).json();
    assert_eq!(round["stopped"]["code"], "busy", "{round}");
}
