//! Replay: clock and randomness of one thread made of a seed, so that a random test runs again exactly.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::prng::Prng;
use crate::sys::clock::UnixMillis;
use crate::sys::rig::{self, Call, Rig};

struct Replay(Mutex<(u64, Prng)>);

impl Replay {
    fn lock(&self) -> MutexGuard<'_, (u64, Prng)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// 2027-01-15T08:00:00Z.
const BEGIN_MILLIS: u64 = 1_800_000_000_000;

/// Makes clock and randomness of this thread those of a seed, from now on. The clock goes on by a millisecond whenever
/// it is read.
pub fn start(seed: u64) {
    rig::install(Some(Arc::new(Replay(Mutex::new((BEGIN_MILLIS, Prng::new(seed)))))));
}

/// Gives this thread the machine's clock and randomness back.
pub fn end() {
    rig::install(None);
}

impl Rig for Replay {
    fn now(&self) -> UnixMillis {
        let mut state = self.lock();
        state.0 += 1;
        UnixMillis(state.0)
    }

    fn pause(&self, time: Duration) {
        self.lock().0 += u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    }

    fn fill(&self, bytes: &mut [u8]) {
        let mut state = self.lock();
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&state.1.bits().to_le_bytes()[..chunk.len()]);
        }
    }

    fn disk(&self, _: Call, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{end, start};
    use crate::sys::{clock, random};

    #[test]
    fn a_seed_gives_the_same_again_to_its_thread_alone() {
        let draw = || (random::bytes::<20>(), random::bytes::<3>(), clock::now(), clock::now());
        start(7);
        let first = draw();
        let beside = std::thread::spawn(draw).join().unwrap();
        start(7);
        let again = draw();
        start(8);
        let other = draw();
        end();
        assert_eq!(first, again);
        assert_ne!(first.0, other.0);
        assert!(beside.0 != first.0 && draw().0 != first.0);
    }
}
