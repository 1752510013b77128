//! What a simulation takes over: the clock, chance, and a disk that fails when it is told to.
//!
//! Nothing but tests installs a rig. Without one, asking costs one relaxed load.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::clock::UnixMillis;

/// A world in the place of the real one, for the whole process.
pub trait Rig: Send + Sync {
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

static IS_INSTALLED: AtomicBool = AtomicBool::new(false);
static RIG: RwLock<Option<Arc<dyn Rig>>> = RwLock::new(None);

/// Puts a rig in the place of the real world, or takes it away.
pub fn install(rig: Option<Arc<dyn Rig>>) {
    IS_INSTALLED.store(rig.is_some(), Ordering::Relaxed);
    *RIG.write().unwrap_or_else(PoisonError::into_inner) = rig;
}

/// Returns the rig, if there is one.
pub(super) fn installed() -> Option<Arc<dyn Rig>> {
    if !IS_INSTALLED.load(Ordering::Relaxed) {
        return None;
    }
    RIG.read().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Asks the rig, if there is one, before a call that changes the disk.
pub(super) fn before(call: Call, path: &Path) -> io::Result<()> {
    installed().map_or(Ok(()), |rig| rig.disk(call, path))
}
