//! What a simulation takes over: the clock, chance, and a disk that fails when it is told to.
//!
//! In debug builds only: a release has no way to make keys that somebody could guess. What age draws for itself stays
//! random; it changes no size and no decision. A rig is a thread's own; who starts threads that work for it hands it on.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::clock::UnixMillis;

/// A world in the place of the real one.
pub trait Rig: Send + Sync {
    /// Returns the time that the clock shows.
    fn now(&self) -> UnixMillis;

    /// Lets time pass.
    fn pause(&self, time: Duration);

    /// Fills `bytes`, the same on every run.
    fn fill(&self, bytes: &mut [u8]);

    /// Is asked before each call that changes the disk.
    ///
    /// May unwind instead of returning: then the process ended there.
    ///
    /// # Errors
    /// What the call is to fail with; it isn't made then.
    fn disk(&self, call: Call, path: &Path) -> io::Result<()>;

    /// Says what becomes of a request to a store that is somewhere else; `None` where nothing lies between.
    fn request(&self) -> Option<Fate> {
        None
    }

    /// Keeps a request that is still on its way, to be made when the rig likes.
    fn delay(&self, request: Box<dyn FnOnce() + Send>) {
        drop(request);
    }
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It arrives, and so does its answer.
    Arrives,
    /// It is lost.
    Lost,
    /// It arrives, and its answer is lost.
    AnswerLost,
    /// It arrives twice; what the second gives is the answer.
    Twice,
    /// It seems lost, and arrives later.
    Late,
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
    static RIG: std::cell::RefCell<Option<Arc<dyn Rig>>> = const { std::cell::RefCell::new(None) };
}

/// Puts a rig in the place of the real world for this thread, or takes it away.
#[cfg(debug_assertions)]
pub fn install(rig: Option<Arc<dyn Rig>>) {
    RIG.set(rig);
}

/// Returns the rig of this thread, if there is one; a release has none.
pub fn installed() -> Option<Arc<dyn Rig>> {
    #[cfg(debug_assertions)]
    return RIG.with_borrow(Clone::clone);
    #[cfg(not(debug_assertions))]
    None
}

/// Asks the rig, if there is one, before a call that changes the disk.
pub(super) fn before(call: Call, path: &Path) -> io::Result<()> {
    installed().map_or(Ok(()), |rig| rig.disk(call, path))
}

/// The rig of one thread, on its way to another that works for it.
#[derive(Clone)]
pub struct Share(Option<Arc<dyn Rig>>);

/// Takes this thread's rig along.
pub fn share() -> Share {
    Share(installed())
}

impl Share {
    /// Tells whether there is one: then threads should work one after the other, so that all happens in the same order again.
    pub fn is_simulated(&self) -> bool {
        self.0.is_some()
    }

    /// Makes it this thread's own.
    pub fn enter(&self) {
        #[cfg(debug_assertions)]
        if self.0.is_some() {
            install(self.0.clone());
        }
    }
}
