//! One worker per instance: a lock for as long as it runs.

use std::path::Path;

use crate::daemon::error::Error;
use crate::sync;
use crate::sys::disk::{self, Lock};

/// The worker's lock.
#[derive(Debug)]
pub struct WorkerLock {
    lock: Lock,
}

impl WorkerLock {
    /// Takes the lock of the instance whose own files are in `dir`.
    ///
    /// # Errors
    /// `Running`; `Sync` if it can't be locked at all.
    pub fn take(dir: &Path) -> Result<Self, Error> {
        match Self::try_take(dir)? {
            Some(mut lock) => {
                // Whoever can't read it is told all but the number.
                let _ = lock.lock.note(&format!("{:<10}\n", std::process::id()));
                Ok(lock)
            }
            None => Err(Error::Running { pid: holder(dir) }),
        }
    }

    /// Tells whether a worker runs for the instance whose own files are in `dir`.
    ///
    /// # Errors
    /// As `take`.
    pub fn is_taken(dir: &Path) -> Result<bool, Error> {
        Ok(dir.join(LOCK_FILE).exists() && Self::try_take(dir)?.is_none())
    }

    fn try_take(dir: &Path) -> Result<Option<Self>, Error> {
        let path = dir.join(LOCK_FILE);
        let lock = Lock::try_take(&path).map_err(sync::error::Error::io("lock", &path))?;
        Ok(lock.map(|lock| Self { lock }))
    }
}

/// Returns the process that holds the lock, as it said itself.
fn holder(dir: &Path) -> Option<u32> {
    let bytes = disk::read_bounded(&dir.join(LOCK_FILE), LOCK_BYTES_MAX).ok()??;
    std::str::from_utf8(&bytes).ok()?.trim().parse().ok()
}

const LOCK_BYTES_MAX: u64 = 64;
const LOCK_FILE: &str = "worker.lock";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_worker_is_refused_until_the_first_ends() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!WorkerLock::is_taken(dir.path()).unwrap());
        let first = WorkerLock::take(dir.path()).unwrap();
        assert!(WorkerLock::is_taken(dir.path()).unwrap());
        let own = std::process::id();
        assert!(matches!(WorkerLock::take(dir.path()), Err(Error::Running { pid: Some(pid) }) if pid == own));
        drop(first);
        std::fs::write(dir.path().join(LOCK_FILE), "4294967295\nof another").unwrap();
        let _second = WorkerLock::take(dir.path()).unwrap();
        assert_eq!(holder(dir.path()), None, "what is no number is none");
    }
}
