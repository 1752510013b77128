//! Ends a running `wbsync` at a random moment.

use std::collections::BTreeMap;
use std::io::{Read, Seek};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use wbsync::testing::prng::Prng;

/// Returns the seed of this run, and says it.
pub fn seed(test: &str) -> u64 {
    let given = std::env::var("WBSYNC_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        since.as_millis() as u64 % 1_000_000
    });
    eprintln!("{test}: WBSYNC_SEED={seed}");
    seed
}

/// Draws moments, and counts the kills that landed.
pub struct Striker {
    random: Prng,
    /// By command, within what time to kill it: the machine may be busier, or less busy, than when the time was taken.
    within: BTreeMap<String, Duration>,
    /// How many processes were ended by the signal, not by themselves.
    pub landed: u32,
    /// How many were too quick for it.
    pub late: u32,
}

impl Striker {
    pub fn new(seed: u64) -> Self {
        Self { random: Prng::new(seed), within: BTreeMap::new(), landed: 0, late: 0 }
    }

    /// Returns a number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.random.below(bound)
    }

    /// Runs `wbsync` and kills it at a moment of the first `within`, or earlier if it was often quicker; tells whether it was still
    /// at work.
    ///
    /// One that was quicker must have succeeded.
    pub fn strike(&mut self, dir: &Path, args: &[&str], within: Duration) -> bool {
        self.strike_with(dir, args, within, &[])
    }

    /// Like `strike`, with variables in its environment.
    pub fn strike_with(&mut self, dir: &Path, args: &[&str], within: Duration, variables: &[(&str, &str)]) -> bool {
        let bound = self.within.entry(args.join(" ")).or_insert(within);
        let moment = Duration::from_micros(self.random.below(bound.as_micros().max(1) as u64));
        let mut said = tempfile::tempfile().unwrap();
        let mut child = start_saying(dir, args, said.try_clone().unwrap().into(), variables);
        std::thread::sleep(moment);
        child.kill().unwrap();
        let status = child.wait().unwrap();
        let landed = status.signal() == Some(SIGKILL);
        // It took no longer than this; what only had a rest to do was quicker than others will be.
        *bound = if landed { *bound * 21 / 20 } else { (*bound + moment) / 2 }.clamp(within / 100, within);
        if !landed && !status.success() {
            let mut text = String::new();
            said.rewind().unwrap();
            said.read_to_string(&mut text).unwrap();
            // The kill before came after the last step of making an instance, and before the end of the process.
            if text.contains("is a wbsync instance already") {
                self.late += 1;
                return false;
            }
            panic!("wbsync {}: {status} before it was killed:\n{text}", args.join(" "));
        }
        *(if landed { &mut self.landed } else { &mut self.late }) += 1;
        landed
    }
}

/// Starts `wbsync`, cut off from the machine's own configuration; what it says is lost.
pub fn start(dir: &Path, args: &[&str]) -> Child {
    start_saying(dir, args, Stdio::null(), &[])
}

fn start_saying(dir: &Path, args: &[&str], stderr: Stdio, variables: &[(&str, &str)]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_wbsync"))
        .args(args)
        .current_dir(dir)
        .env_clear()
        .env("HOME", dir)
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr)
        .spawn()
        .unwrap()
}

const SIGKILL: i32 = 9;
