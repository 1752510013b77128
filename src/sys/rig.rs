//! What a simulation takes over: the clock, chance, and a disk that fails when it is told to.
//!
//! In debug builds only: a release has no way to make keys that somebody could guess. What age draws for itself stays
//! random; it changes no size and no decision.

use std::io;
use std::path::Path;
use std::rc::Rc;

use super::clock::UnixMillis;

/// A world in the place of the real one.
pub trait Rig {
    /// Returns the time that the clock shows.
    fn now(&self) -> UnixMillis;

    /// Fills `bytes`, the same on every run.
    fn fill(&self, bytes: &mut [u8]);

    /// Is asked before each call that changes the disk.
    ///
    /// May unwind instead of returning: then the process ended there.
    ///
    /// # Errors
    /// What the call is to fail with; it isn't made then.
    fn disk(&self, call: Call, path: &Path) -> io::Result<()>;
}

/// What is about to be done to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    /// A new file gets its first bytes, under a name that nobody reads yet.
    Create,
    /// A file's bytes become durable.
    Sync,
    /// A file takes the name that it is read by.
    Rename,
    /// A directory's entries become durable.
    SyncDir,
    /// A file or directory goes.
    Remove,
    /// A directory is made.
    MakeDir,
}

#[cfg(debug_assertions)]
thread_local! {
    static RIG: std::cell::RefCell<Option<Rc<dyn Rig>>> = const { std::cell::RefCell::new(None) };
}

/// Puts a rig in the place of the real world for this thread, or takes it away.
#[cfg(debug_assertions)]
pub fn install(rig: Option<Rc<dyn Rig>>) {
    RIG.set(rig);
}

/// Returns the rig of this thread, if there is one.
pub(super) fn installed() -> Option<Rc<dyn Rig>> {
    #[cfg(debug_assertions)]
    return RIG.with_borrow(Clone::clone);
    #[cfg(not(debug_assertions))]
    None
}

/// Asks the rig, if there is one, before a call that changes the disk.
pub(super) fn before(call: Call, path: &Path) -> io::Result<()> {
    installed().map_or(Ok(()), |rig| rig.disk(call, path))
}
