//! A program whose pipes have to move: one that lets a single read or write wait for minutes is killed, and the call fails.
//!
//! Pipes have no timeouts of their own. `ssh` notices a connection that is dead; this is for programs on the other side that
//! live and say nothing.

use std::io;
use std::process::Child;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use crate::sys::clock;

/// Guards a running program. Whoever holds a clone may read or write its pipes.
#[derive(Debug, Clone)]
pub(crate) struct Guard(Arc<Guarded>);

#[derive(Debug)]
struct Guarded {
    child: Mutex<Child>,
    /// Since when a call waits, in milliseconds of the clock that only runs forward; 0 if none does.
    since: AtomicU64,
    was_killed: AtomicBool,
}

impl Guard {
    /// Begins to guard a program.
    pub(crate) fn new(child: Child) -> Self {
        Self::within(child, PATIENCE)
    }

    fn within(child: Child, patience: Duration) -> Self {
        let guarded =
            Guarded { child: Mutex::new(child), since: AtomicU64::new(0), was_killed: AtomicBool::new(false) };
        let guarded = Arc::new(guarded);
        let weak = Arc::downgrade(&guarded);
        // Without a thread nobody ends a program that hangs, and everything else goes on.
        let _ = thread::Builder::new().name("guard".into()).spawn(move || watch(&weak, patience));
        Self(guarded)
    }

    /// Makes a call that may wait for the program; one call at a time.
    pub(crate) fn during<T>(&self, call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.0.since.store(millis_now().max(1), Ordering::SeqCst);
        let result = call();
        self.0.since.store(0, Ordering::SeqCst);
        match self.0.was_killed.load(Ordering::SeqCst) {
            true => Err(io::Error::new(io::ErrorKind::TimedOut, "the program on the other side says nothing any more")),
            false => result,
        }
    }

    /// Returns the program.
    pub(crate) fn child(&self) -> MutexGuard<'_, Child> {
        self.0.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn watch(guarded: &Weak<Guarded>, patience: Duration) {
    loop {
        thread::sleep(patience / 8);
        let Some(guarded) = guarded.upgrade() else { return };
        let since = guarded.since.load(Ordering::SeqCst);
        if since > 0 && u128::from(millis_now().saturating_sub(since)) > patience.as_millis() {
            guarded.was_killed.store(true, Ordering::SeqCst);
            // It may have ended just now.
            let _ = guarded.child.lock().unwrap_or_else(PoisonError::into_inner).kill();
            return;
        }
    }
}

fn millis_now() -> u64 {
    u64::try_from(clock::moment().running.as_millis()).unwrap_or(u64::MAX)
}

/// A hub that syncs a large object to a slow disk says nothing for a while.
const PATIENCE: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::process::{Command, Stdio};

    use super::*;

    fn started(script: &str) -> (Guard, std::process::ChildStdout) {
        let mut child = Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        (Guard::within(child, Duration::from_millis(80)), stdout)
    }

    #[test]
    fn a_program_that_says_nothing_is_killed_and_the_call_ends() {
        let (guard, mut stdout) = started("exec sleep 600");
        let error = guard.during(|| stdout.read(&mut [0; 8])).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(!guard.child().wait().unwrap().success());
    }

    #[test]
    fn one_that_waits_for_us_is_left_alone() {
        let (guard, mut stdout) = started("echo hello; exec sleep 600");
        guard.during(|| stdout.read_exact(&mut [0; 6])).unwrap();
        // Nobody waits for it now, however long that takes.
        thread::sleep(Duration::from_millis(300));
        assert!(guard.child().try_wait().unwrap().is_none());
        guard.child().kill().unwrap();
        guard.child().wait().unwrap();
    }
}
