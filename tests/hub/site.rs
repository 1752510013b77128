//! A hub in a process of its own, and applications that exchange through it.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;

use crate::support::app::App;
use crate::support::run::{Run, wbsync};

/// A running `wbsync serve`. Killed when dropped.
pub(crate) struct Site {
    pub(crate) dir: TempDir,
    child: Child,
    pub(crate) url: String,
    log: Arc<Mutex<String>>,
}

impl Site {
    /// Starts a hub on any free port.
    pub(crate) fn start(options: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), "127.0.0.1:0", options)
    }

    pub(crate) fn start_in(dir: TempDir, listen: &str, options: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_wbsync"))
            .args(["serve", "--listen", listen, "--store", "store"])
            .args(options)
            .current_dir(dir.path())
            .env_clear()
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let mut first = String::new();
        lines.read_line(&mut first).unwrap();
        let url = first.trim().strip_prefix("listening on ").unwrap_or_else(|| panic!("{first}")).to_owned();
        let log = Arc::new(Mutex::new(String::new()));
        let kept = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in lines.by_ref().lines().map_while(Result::ok) {
                kept.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        Self { dir, child, url, log }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Ends it as a service manager does, and returns its directory.
    pub(crate) fn stop(mut self) -> (TempDir, bool) {
        Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        let ended = self.child.wait().unwrap().success();
        let dir = std::mem::replace(&mut self.dir, tempfile::tempdir().unwrap());
        (dir, ended)
    }

    /// Ends it at once, whatever it does, and returns its directory.
    pub(crate) fn kill(mut self) -> TempDir {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::mem::replace(&mut self.dir, tempfile::tempdir().unwrap())
    }

    /// Runs `wbsync hub` on it.
    pub(crate) fn hub(&self, args: &[&str]) -> Run {
        wbsync(self.dir.path(), &[&["hub"], args, &["--store", "store"]].concat())
    }

    /// Lets an application in with an invitation, under the remote name `hub`.
    pub(crate) fn admit(&self, app: &App) {
        let token = self.hub(&["invite"]).ok().stdout;
        app.wbsync(&["remote", "add", "hub", &self.url]).ok();
        std::fs::write(app.dir().join("token"), token).unwrap();
        app.wbsync(&["hub", "join", "hub", "--token-file", "token"]).ok();
        std::fs::remove_file(app.dir().join("token")).unwrap();
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Makes an application with an instance of this name.
pub(crate) fn instance(name: &str) -> App {
    instance_with(name, &[])
}

/// Makes an application with an instance of this name, and options of `init`.
pub(crate) fn instance_with(name: &str, options: &[&str]) -> App {
    let app = App::new();
    app.wbsync(&[&["init", "--preset", "whiteballoon", "--name", name], options].concat()).ok();
    app
}

/// Returns an address at which nobody listens.
pub(crate) fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// Makes two instances know, trust and follow each other.
pub(crate) fn befriend(one: &App, other: &App) {
    for (one, other) in [(one, other), (other, one)] {
        one.wbsync(&["peer", "add", &card(other)]).ok();
        let name = name(other);
        one.wbsync(&["peer", "trust", &name, "--write"]).ok();
        one.wbsync(&["follow", &name]).ok();
    }
}

pub(crate) fn card(app: &App) -> String {
    app.wbsync(&["id", "--json"]).ok().json()["card"].as_str().unwrap().to_owned()
}

pub(crate) fn id(app: &App) -> String {
    app.wbsync(&["id", "--json"]).ok().json()["id"].as_str().unwrap().to_owned()
}

fn name(app: &App) -> String {
    app.wbsync(&["id", "--json"]).ok().json()["name"].as_str().unwrap().to_owned()
}

/// Tells whether any file below `dir` contains `word`.
pub(crate) fn is_found(dir: &Path, word: &str) -> bool {
    walkdir::WalkDir::new(dir).into_iter().map(Result::unwrap).filter(|entry| entry.file_type().is_file()).any(
        |entry| {
            let bytes = std::fs::read(entry.path()).unwrap();
            bytes.windows(word.len()).any(|part| part == word.as_bytes())
        },
    )
}
