//! The simulated machine: a clock that can be set wrong, chance from a seed, a disk that stops where it is told, and a
//! network that loses, repeats and delays.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wbsync::sys::clock::UnixMillis;
use wbsync::sys::rig::{self, Call, Fate, Rig};
use wbsync::testing::prng::Prng;

use super::volatile::Volatile;
use super::world::Saved;

/// What the payload of an unwinding is when the machine stopped.
struct Stopped;

/// What the machine did since the last restart.
#[derive(Debug, Clone)]
pub struct Past {
    /// Calls that were asked for.
    pub calls: u64,
    /// Whether the process ended before it was done.
    pub was_cut: bool,
    /// What was changed on the disk and never synced, where nothing went wrong.
    pub unsynced: Vec<PathBuf>,
}

/// What happens at a chosen call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The process ends there, and nothing after it is done, not even what a program does that is about to end.
    Kill,
    /// The power goes: as `Kill`, and what wasn't synced may be lost, in part and in any order.
    PowerCut,
    /// The call fails as on a full disk; later ones succeed.
    Full,
}

struct Now {
    millis: u64,
    chance: Prng,
    fault: Option<(u64, Fault)>,
    is_off: bool,
    is_power_lost: bool,
    calls: u64,
    has_failed: bool,
    volatile: Volatile,
    /// The directories that the disk holds, as far as they matter, and how they were when the machine stopped.
    disk: Vec<PathBuf>,
    images: Vec<(PathBuf, Saved)>,
    /// Requests in a thousand that don't go as they should, drawn from a chance of their own.
    trouble: (u64, Prng),
    late: Vec<Box<dyn FnOnce() + Send>>,
    requests_lost: u64,
}

/// The machine that all sites of a simulation run on, one at a time.
pub struct Machine(Mutex<Now>);

impl Machine {
    /// Makes a machine and puts it in the place of the real one.
    pub fn install(seed: u64) -> Arc<Self> {
        let now = Now {
            millis: 1_770_000_000_000,
            chance: Prng::new(seed),
            fault: None,
            is_off: false,
            is_power_lost: false,
            calls: 0,
            has_failed: false,
            volatile: Volatile::default(),
            disk: Vec::new(),
            images: Vec::new(),
            trouble: (0, Prng::new(seed)),
            late: Vec::new(),
            requests_lost: 0,
        };
        let machine = Arc::new(Self(Mutex::new(now)));
        rig::install(Some(machine.clone()));
        machine
    }

    fn lock(&self) -> MutexGuard<'_, Now> {
        // A stop unwinds while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says what lies on the disk from now on.
    pub fn hold(&self, dirs: Vec<PathBuf>) {
        self.lock().disk = dirs;
    }

    /// Lets something happen at the call after so many others.
    pub fn fail_after(&self, calls: u64, fault: Fault) {
        self.lock().fault = Some((calls, fault));
    }

    /// Lets so many requests in a thousand fail, from a chance of their own.
    pub fn disturb(&self, per_mille: u64, seed: u64) {
        self.lock().trouble = (per_mille, Prng::new(seed));
    }

    /// Makes the requests that were on their way, in the order that the machine's chance gives.
    pub fn deliver(&self) {
        let mut late = {
            let mut now = self.lock();
            now.trouble.0 = 0;
            std::mem::take(&mut now.late)
        };
        while !late.is_empty() {
            let next = self.lock().trouble.1.below(late.len() as u64) as usize;
            late.swap_remove(next)();
        }
    }

    /// Tells whether it has not stopped.
    pub fn is_on(&self) -> bool {
        !self.lock().is_off
    }

    /// Returns how many requests didn't go as they should.
    pub fn lost(&self) -> u64 {
        self.lock().requests_lost
    }

    /// Switches on again whatever was off, with the disk as it was then, and takes back what hasn't come.
    pub fn restart(&self) -> Past {
        let mut now = self.lock();
        let unsynced =
            if now.has_failed { Vec::new() } else { now.volatile.left().into_iter().map(Path::to_owned).collect() };
        for (dir, image) in std::mem::take(&mut now.images) {
            image.restore(&dir);
        }
        let past = Past { calls: now.calls, was_cut: now.is_off, unsynced };
        now.volatile.settle();
        now.trouble.0 = 0;
        (now.fault, now.is_off, now.is_power_lost, now.calls, now.has_failed) = (None, false, false, 0, false);
        past
    }

    /// Sets the clock.
    pub fn set_clock(&self, millis: u64) {
        self.lock().millis = millis;
    }
}

impl Now {
    /// Counts a call; what is to happen there happens.
    fn count(&mut self, path: &Path, may_fail: bool) -> io::Result<bool> {
        self.calls += 1;
        match self.fault {
            Some((0, Fault::Full)) if !may_fail => {}
            Some((0, fault)) => {
                self.fault = None;
                self.has_failed = true;
                if fault == Fault::Full {
                    return Err(io::Error::new(io::ErrorKind::StorageFull, format!("full at {}", path.display())));
                }
                self.is_off = true;
                self.is_power_lost = fault == Fault::PowerCut;
                self.freeze();
                return Ok(false);
            }
            Some((left, fault)) => self.fault = Some((left - 1, fault)),
            None => {}
        }
        Ok(true)
    }

    /// Copies the disk as it is, less what a power cut takes: what unwinds now still closes and removes files.
    fn freeze(&mut self) {
        self.images = self.disk.iter().map(|dir| (dir.clone(), Saved::of(dir))).collect();
        if !self.is_power_lost {
            return;
        }
        let (images, volatile, chance) = (&self.images, &mut self.volatile, &mut self.chance);
        volatile.lose(chance, |path| {
            let (dir, image) = images.iter().find(|(dir, _)| path.starts_with(dir))?;
            Some(image.path().join(path.strip_prefix(dir).ok()?))
        });
        for (_, image) in images {
            super::volatile::tear_unnamed(image.path(), chance);
        }
    }
}

impl Rig for Machine {
    fn now(&self) -> UnixMillis {
        let mut now = self.lock();
        now.millis += 1;
        let time = UnixMillis(now.millis);
        if now.is_off || now.count(Path::new(""), false).unwrap_or(true) {
            return time;
        }
        drop(now);
        std::panic::resume_unwind(Box::new(Stopped));
    }

    fn pause(&self, time: Duration) {
        self.lock().millis += u64::try_from(time.as_millis()).unwrap();
    }

    fn fill(&self, bytes: &mut [u8]) {
        let mut now = self.lock();
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&now.chance.bits().to_le_bytes()[..chunk.len()]);
        }
    }

    fn disk(&self, call: Call, path: &Path) -> io::Result<()> {
        let mut now = self.lock();
        if now.is_off {
            return Err(io::Error::other("the power is off"));
        }
        if now.count(path, true)? {
            now.volatile.note(call, path);
            return Ok(());
        }
        drop(now);
        std::panic::resume_unwind(Box::new(Stopped));
    }

    fn request(&self) -> Option<Fate> {
        let mut now = self.lock();
        let (per_mille, chance) = &mut now.trouble;
        if *per_mille == 0 {
            return None;
        }
        if !chance.chance(*per_mille) {
            return Some(Fate::Arrives);
        }
        let fate = [Fate::Lost, Fate::AnswerLost, Fate::Twice, Fate::Late][chance.below(4) as usize];
        now.requests_lost += 1;
        Some(fate)
    }

    fn delay(&self, request: Box<dyn FnOnce() + Send>) {
        self.lock().late.push(request);
    }
}
