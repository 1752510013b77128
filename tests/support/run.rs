//! Runs the `wbsync` program as a person would, and holds what came of it.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A finished run.
#[derive(Debug)]
pub struct Run {
    /// The command line, for messages.
    pub command: String,
    /// Exit code; -1 if a signal ended it.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

/// Runs `wbsync` with `args` in `dir`, cut off from the machine's own configuration.
///
/// Panics if it doesn't end within two minutes.
pub fn wbsync(dir: &Path, args: &[&str]) -> Run {
    wbsync_with(dir, args, &[])
}

/// Like `wbsync`, with more variables in its environment.
pub fn wbsync_with(dir: &Path, args: &[&str], variables: &[(&str, &str)]) -> Run {
    let command = format!("wbsync {}", args.join(" "));
    // Files rather than pipes: a full pipe would stop the program, and nobody reads while we wait.
    let [mut stdout, mut stderr] = [(); 2].map(|()| tempfile::tempfile().expect("a temporary file"));
    let started = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_wbsync"))
        .args(args)
        .current_dir(dir)
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .envs([("HOME", dir.as_os_str())])
        .envs([("NO_COLOR", "1"), ("RUST_BACKTRACE", "1"), ("TZ", "UTC"), ("LC_ALL", "C.UTF-8")])
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .stdout(stdout.try_clone().expect("a second handle"))
        .stderr(stderr.try_clone().expect("a second handle"))
        .spawn()
        .expect("the program starts");
    let status = loop {
        if let Some(status) = child.try_wait().expect("the child is ours") {
            break status;
        }
        if started.elapsed() > TIMEOUT {
            child.kill().expect("the child is ours");
            panic!("{command}: still running after {TIMEOUT:?}; stderr:\n{}", whole(&mut stderr));
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    let took = started.elapsed();
    let code = status.code().unwrap_or(-1);
    Run { command, code, stdout: whole(&mut stdout), stderr: whole(&mut stderr), took }
}

impl Run {
    /// Asserts that it succeeded, and returns it.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.exits(0)
    }

    /// Asserts that it ended with `code`, and returns it.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "exit code of: {self}");
        assert!(!self.stderr.contains("panicked at"), "panicked: {self}");
        self
    }

    /// Returns stdout as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON ({error}) from: {self}"))
    }

    /// Asserts that neither stream contains `word`.
    #[track_caller]
    pub fn says_nothing_of(self, word: &str) -> Self {
        assert!(!self.stdout.contains(word) && !self.stderr.contains(word), "says {word:?}: {self}");
        self
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { command, code, stdout, stderr, took } = self;
        write!(f, "{command} (exit code {code}, {took:?})\n--- stdout\n{stdout}\n--- stderr\n{stderr}")
    }
}

fn whole(file: &mut File) -> String {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0)).and_then(|_| file.read_to_end(&mut bytes)).expect("our own file reads");
    String::from_utf8(bytes).expect("the program writes UTF-8")
}

const TIMEOUT: Duration = Duration::from_secs(120);
