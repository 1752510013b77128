//! A file that is larger than the memory that a commit takes.

use std::fs;
use std::process::{Command, Stdio};

use wbsync::state::peers::Trust;

use super::site::{Site, noise, pair, stick_name};

/// How large the file is.
const BYTES: usize = 160 << 20;
/// What a commit of it may take at most; with all of it in memory it would take more than twice the file.
const MEMORY_MAX: u64 = 160 << 20;

/// Runs a command, and returns the most memory of its own that its process was seen with. Linux tells.
fn peak(site: &Site, args: &[&str]) -> Option<u64> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wbsync"));
    command.args(args).current_dir(site.dir.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let path = format!("/proc/{}/status", child.id());
    let mut peak = None;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        let status = fs::read_to_string(&path).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        peak = peak.max(kib.map(|kib| kib << 10));
        std::thread::sleep(std::time::Duration::from_millis(2));
    };
    assert!(status.success(), "{args:?}: {status}");
    peak
}

#[test]
fn a_commit_of_a_large_file_takes_little_memory() {
    let (_stick, alpha, beta) = pair("trusted", Some(Trust::Writer));
    let bytes = noise(9, BYTES);
    alpha.write("large", &bytes);
    let peak = peak(&alpha, &["commit"]);
    println!("a commit of {} MiB took {:?} MiB", BYTES >> 20, peak.map(|bytes| bytes >> 20));
    assert!(peak.is_none_or(|bytes| bytes < MEMORY_MAX), "{peak:?}");
    // What was put into the tree before there was a commit is in the commit.
    let pieces = alpha.records()["docs-pieces"];
    assert!(pieces > (BYTES >> 18) as u64, "{pieces}");
    alpha.open().push(&stick_name()).unwrap();
    beta.sync();
    assert!(beta.read("large") == bytes, "it came whole");
    assert_eq!(alpha.roots(), beta.roots());
    assert!(alpha.commit().scopes.is_empty() && beta.commit().scopes.is_empty());
}
