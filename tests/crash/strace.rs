//! Runs `wbsync` under `strace`.

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The calls that change what is on a disk, or make it durable.
pub const CHANGES: &str = "write,pwrite64,writev,pwritev,ftruncate,fallocate,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,\
    rmdir,link,linkat,symlink,symlinkat,fsync,fdatasync,copy_file_range,sendfile";

/// Tells whether `strace` can trace here; says so if it can't, and fails where it must.
pub fn is_there(test: &str) -> bool {
    let tried = Command::new("strace").args(["-f", "-e", "trace=write", "-o", "/dev/null", "true"]).output();
    let why = match tried {
        Ok(output) if output.status.success() => return true,
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    let must = std::env::var_os("CI").is_some() && std::env::var_os("WBSYNC_ALLOW_SKIPS").is_none();
    assert!(!must, "{test}: strace can't be used: {why}");
    eprintln!("SKIPPED {test}: strace can't be used: {why}");
    false
}

/// Runs `wbsync` under `strace` with these options of it.
pub fn run(options: &[&str], dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new("strace");
    command.args(["-f", "-q"]).args(options).arg(env!("CARGO_BIN_EXE_wbsync")).args(args);
    command.current_dir(dir).env_clear().env("HOME", dir).env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.stdin(Stdio::null()).output().unwrap()
}
