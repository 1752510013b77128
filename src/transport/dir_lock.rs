//! The lock of a store directory: one writer of documents at a time, across processes and machines.
//!
//! An advisory lock on the file `lock`; where the file system has none, the file `lock.held`, made exclusively by
//! its holder with a random token in it. A crashed holder's file is broken by a waiter that saw the same token for
//! `STALE_AFTER`, which nobody holds a lock for. Breaking is itself exclusive (`lock.break`), so two waiters can't both break, one
//! the dead lock and one its successor's. A crash just while breaking leaves `lock.break`: then stores stay locked
//! until somebody removes it, which is the safe side.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::sys::disk;
use crate::sys::random;

/// The held lock; dropping it lets go.
#[derive(Debug)]
pub(crate) enum DirLock {
    /// The operating system keeps it, and lets go when the process dies.
    Advisory { _lock: disk::Lock },
    /// A file keeps it.
    File(LockFile),
}

impl DirLock {
    /// Takes the lock of the store at `root`, waiting for whoever holds it.
    ///
    /// # Errors
    /// `WouldBlock` if it isn't let go for `WAIT_MAX`; else as the operating system says.
    pub(crate) fn take(root: &Path) -> io::Result<Self> {
        let mut wait = Wait::new(WAIT_MAX);
        loop {
            match disk::Lock::try_take(&root.join("lock")) {
                Ok(Some(lock)) => return Ok(DirLock::Advisory { _lock: lock }),
                Ok(None) => wait.pause()?,
                Err(error) if error.kind() == io::ErrorKind::Unsupported => break,
                Err(error) => return Err(error),
            };
        }
        LockFile::take(root, STALE_AFTER, WAIT_MAX).map(DirLock::File)
    }

    /// Tells whether nobody broke the lock because we were too slow.
    ///
    /// # Errors
    /// As the operating system says.
    pub(crate) fn is_held(&self) -> io::Result<bool> {
        match self {
            DirLock::Advisory { .. } => Ok(true),
            DirLock::File(lock) => Ok(token_at(&lock.path)?.as_ref() == Some(&lock.token)),
        }
    }
}

/// A lock that is a file.
#[derive(Debug)]
pub(crate) struct LockFile {
    path: PathBuf,
    token: Vec<u8>,
}

impl LockFile {
    fn take(root: &Path, stale_after: Duration, wait_max: Duration) -> io::Result<Self> {
        let path = root.join("lock.held");
        let token = random::bytes::<TOKEN_BYTES>().to_vec();
        let mut wait = Wait::new(wait_max);
        let mut seen: Option<(Vec<u8>, Duration)> = None;
        loop {
            match disk::create_new(&path, &token) {
                Ok(()) => return Ok(Self { path, token }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
            let Some(found) = token_at(&path)? else { continue };
            let since = match &seen {
                Some((token, since)) if *token == found => *since,
                _ => wait.waited,
            };
            if wait.waited - since >= stale_after {
                break_stale(root, &path, &found)?;
            }
            seen = Some((found, since));
            wait.pause()?;
        }
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        // If this fails, the next waiter breaks the lock: slow, and safe.
        if matches!(token_at(&self.path), Ok(Some(token)) if token == self.token) {
            let _ = disk::remove(&self.path);
        }
    }
}

fn break_stale(root: &Path, path: &Path, stale: &[u8]) -> io::Result<()> {
    let breaking = root.join("lock.break");
    match disk::create_new(&breaking, b"") {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        Err(error) => return Err(error),
    }
    let broken = match token_at(path) {
        Ok(Some(token)) if token == stale => disk::remove(path).map(|_| ()),
        other => other.map(|_| ()),
    };
    disk::remove(&breaking)?;
    broken
}

fn token_at(path: &Path) -> io::Result<Option<Vec<u8>>> {
    disk::read_bounded(path, TOKEN_BYTES as u64)
}

/// Waits in growing steps, up to a bound.
struct Wait {
    waited: Duration,
    step: Duration,
    max: Duration,
}

impl Wait {
    fn new(max: Duration) -> Self {
        Self { waited: Duration::ZERO, step: Duration::from_millis(1), max }
    }

    fn pause(&mut self) -> io::Result<()> {
        if self.waited >= self.max {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        std::thread::sleep(self.step);
        self.waited += self.step;
        self.step = (self.step * 2).min(STEP_MAX);
        Ok(())
    }
}

const TOKEN_BYTES: usize = 16;
const STEP_MAX: Duration = Duration::from_millis(50);
const STALE_AFTER: Duration = Duration::from_secs(60);
const WAIT_MAX: Duration = Duration::from_secs(75);
const _: () = assert!(WAIT_MAX.as_secs() > STALE_AFTER.as_secs());

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const LONG: Duration = Duration::from_secs(30);

    #[test]
    fn a_held_lock_file_keeps_others_out_until_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let held = LockFile::take(dir.path(), LONG, LONG).unwrap();
        let refused = LockFile::take(dir.path(), LONG, Duration::from_millis(5)).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
        drop(held);
        LockFile::take(dir.path(), LONG, Duration::ZERO).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_dead_holders_file_is_broken_and_the_slow_holder_notices() {
        let dir = tempfile::tempdir().unwrap();
        let dead = DirLock::File(LockFile::take(dir.path(), LONG, LONG).unwrap());
        assert!(dead.is_held().unwrap());
        let next = DirLock::File(LockFile::take(dir.path(), Duration::from_millis(20), LONG).unwrap());
        assert!(!dead.is_held().unwrap());
        drop(dead);
        assert!(next.is_held().unwrap(), "the old holder's drop leaves the new lock alone");
        assert!(!dir.path().join("lock.break").exists());
    }

    #[test]
    fn threads_with_lock_files_lose_no_update() {
        let dir = tempfile::tempdir().unwrap();
        let count = dir.path().join("count");
        fs::write(&count, "0").unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..25 {
                        let _lock = LockFile::take(dir.path(), LONG, LONG).unwrap();
                        let value: u32 = fs::read_to_string(&count).unwrap().parse().unwrap();
                        fs::write(&count, (value + 1).to_string()).unwrap();
                    }
                });
            }
        });
        assert_eq!(fs::read_to_string(&count).unwrap(), "100");
    }
}
