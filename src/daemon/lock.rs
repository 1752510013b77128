//! One worker per instance: a lock for as long as it runs.

use std::path::Path;

use crate::daemon::error::Error;
use crate::daemon::report::Report;
use crate::sync;
use crate::sys::disk::Lock;

/// The worker's lock.
#[derive(Debug)]
pub struct WorkerLock {
    _lock: Lock,
}

impl WorkerLock {
    /// Takes the lock of the instance whose own files are in `dir`.
    ///
    /// # Errors
    /// `Running`; `Sync` if it can't be locked at all.
    pub fn take(dir: &Path) -> Result<Self, Error> {
        match Self::try_take(dir)? {
            Some(lock) => Ok(lock),
            None => Err(Error::Running { pid: Report::read(dir).map(|report| report.pid) }),
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
        Ok(lock.map(|lock| Self { _lock: lock }))
    }
}

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
        assert!(matches!(WorkerLock::take(dir.path()), Err(Error::Running { pid: None })));
        drop(first);
        WorkerLock::take(dir.path()).unwrap();
    }
}
