//! Replay: clock and randomness of one thread made of a seed, so that a random test runs again exactly.

use std::cell::RefCell;
use std::io;
use std::path::Path;
use std::rc::Rc;

use super::prng::Prng;
use crate::sys::clock::UnixMillis;
use crate::sys::rig::{self, Call, Rig};

struct Replay(RefCell<(u64, Prng)>);

/// 2027-01-15T08:00:00Z.
const BEGIN_MILLIS: u64 = 1_800_000_000_000;

/// Makes clock and randomness of this thread those of a seed, from now on. The clock goes on by a millisecond whenever
/// it is read.
pub fn start(seed: u64) {
    rig::install(Some(Rc::new(Replay(RefCell::new((BEGIN_MILLIS, Prng::new(seed)))))));
}

/// Gives this thread the machine's clock and randomness back.
pub fn end() {
    rig::install(None);
}

impl Rig for Replay {
    fn now(&self) -> UnixMillis {
        let mut state = self.0.borrow_mut();
        state.0 += 1;
        UnixMillis(state.0)
    }

    fn fill(&self, bytes: &mut [u8]) {
        let mut state = self.0.borrow_mut();
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
