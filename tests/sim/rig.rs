//! The simulated machine: a clock that can be set wrong, chance from a seed, and a disk that stops where it is told.

use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::{Mutex, MutexGuard, PoisonError};

use wbsync::sys::clock::UnixMillis;
use wbsync::sys::rig::{self, Call, Rig};
use wbsync::testing::prng::Prng;

/// What the payload of an unwinding is when the power went.
struct PowerCut;

/// What the disk did since the last restart.
#[derive(Debug, Clone, Copy)]
pub struct Past {
    /// Calls that were asked for.
    pub calls: u64,
    /// Whether the power went.
    pub was_cut: bool,
}

/// What a disk does at a chosen call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The process ends there, and nothing after it is done.
    PowerCut,
    /// The call fails as on a full disk; later ones succeed.
    Full,
}

struct Now {
    millis: u64,
    chance: Prng,
    fault: Option<(u64, Fault)>,
    is_off: bool,
    calls: u64,
}

/// The machine that all sites of a simulation run on, one at a time.
pub struct Machine(Mutex<Now>);

impl Machine {
    /// Makes a machine and puts it in the place of the real one.
    pub fn install(seed: u64) -> Rc<Self> {
        let now = Now { millis: 1_770_000_000_000, chance: Prng::new(seed), fault: None, is_off: false, calls: 0 };
        let machine = Rc::new(Self(Mutex::new(now)));
        rig::install(Some(machine.clone()));
        machine
    }

    fn lock(&self) -> MutexGuard<'_, Now> {
        // A power cut unwinds while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the disk fail at the call after so many others.
    pub fn fail_after(&self, calls: u64, fault: Fault) {
        let mut now = self.lock();
        now.fault = Some((calls, fault));
    }

    /// Switches on again whatever was off, and takes back a fault that hasn't come.
    pub fn restart(&self) -> Past {
        let mut now = self.lock();
        let past = Past { calls: now.calls, was_cut: now.is_off };
        (now.fault, now.is_off, now.calls) = (None, false, 0);
        past
    }

    /// Sets the clock.
    pub fn set_clock(&self, millis: u64) {
        self.lock().millis = millis;
    }
}

impl Rig for Machine {
    fn now(&self) -> UnixMillis {
        let mut now = self.lock();
        now.millis += 1;
        UnixMillis(now.millis)
    }

    fn fill(&self, bytes: &mut [u8]) {
        let mut now = self.lock();
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&now.chance.bits().to_le_bytes()[..chunk.len()]);
        }
    }

    fn disk(&self, _: Call, path: &Path) -> io::Result<()> {
        let mut now = self.lock();
        now.calls += 1;
        if now.is_off {
            return Err(io::Error::other("the power is off"));
        }
        match now.fault {
            Some((0, fault)) => {
                now.fault = None;
                match fault {
                    Fault::Full => {
                        Err(io::Error::new(io::ErrorKind::StorageFull, format!("full at {}", path.display())))
                    }
                    Fault::PowerCut => {
                        now.is_off = true;
                        drop(now);
                        std::panic::resume_unwind(Box::new(PowerCut));
                    }
                }
            }
            Some((left, fault)) => {
                now.fault = Some((left - 1, fault));
                Ok(())
            }
            None => Ok(()),
        }
    }
}
