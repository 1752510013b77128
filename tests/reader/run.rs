//! Runs `scripts/reader.py`.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard, PoisonError};

fn python() -> Command {
    Command::new(std::env::var_os("WBSYNC_PYTHON").unwrap_or_else(|| "python3".into()))
}

pub fn reader(command: &str, stores: &[&Path], key: Option<&Path>, more: &[&str]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/reader.py");
    let mut run = python();
    run.arg("-B").arg(script).arg(command).args(stores).args(more);
    if let Some(key) = key {
        run.arg("--key").arg(key);
    }
    run.output().unwrap()
}

pub fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned()).concat()
}

/// Lets one test go on at a time, because a child that was just forked still holds the locks on instances that other threads have
/// open. `None` if Python or its packages are missing, so that the test has to be skipped.
pub fn python_at_hand() -> Option<MutexGuard<'static, ()>> {
    static ALONE: Mutex<()> = Mutex::new(());
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let probe = python().args(["-c", "import blake3, cryptography, zstandard"]).output();
    if probe.is_ok_and(|output| output.status.success()) {
        return Some(alone);
    }
    let strict = std::env::var_os("CI").is_some() && std::env::var_os("WBSYNC_ALLOW_SKIPS").is_none();
    assert!(
        !strict,
        "no Python with blake3, cryptography and zstandard; see scripts/reader.py, or set WBSYNC_ALLOW_SKIPS"
    );
    eprintln!(
        "SKIPPED: no Python with blake3, cryptography and zstandard (WBSYNC_PYTHON names one): the reader didn't run"
    );
    None
}
