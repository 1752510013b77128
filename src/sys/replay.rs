//! Replay: clock and randomness of one thread made of a seed, so that a random test runs again exactly.
//!
//! In debug builds only: a release has no way to make keys that somebody could guess. What age draws for itself stays
//! random; it changes no size and no decision.

use std::cell::Cell;

thread_local! {
    static STATE: Cell<Option<State>> = const { Cell::new(None) };
}

#[derive(Clone, Copy)]
struct State {
    random: u64,
    millis: u64,
}

/// Makes clock and randomness of this thread those of a seed, from now on. The clock goes on by a millisecond whenever
/// it is read.
pub fn start(seed: u64) {
    STATE.set(Some(State { random: seed, millis: BEGIN_MILLIS }));
}

/// Gives this thread the machine's clock and randomness back.
pub fn end() {
    STATE.set(None);
}

pub(super) fn millis() -> Option<u64> {
    let state = STATE.get()?;
    STATE.set(Some(State { millis: state.millis + 1, ..state }));
    Some(state.millis)
}

pub(super) fn fill(bytes: &mut [u8]) -> bool {
    let Some(mut state) = STATE.get() else { return false };
    for chunk in bytes.chunks_mut(8) {
        // SplitMix64.
        state.random = state.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = state.random;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        chunk.copy_from_slice(&(word ^ (word >> 31)).to_le_bytes()[..chunk.len()]);
    }
    STATE.set(Some(state));
    true
}

/// 2027-01-15T08:00:00Z.
const BEGIN_MILLIS: u64 = 1_800_000_000_000;

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
