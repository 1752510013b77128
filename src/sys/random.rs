//! Randomness from the operating system.

use super::rig;

/// Returns `N` random bytes.
///
/// # Panics
/// If the operating system has no randomness to give: nothing can be made safely then.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    fill(&mut bytes);
    bytes
}

/// Fills `bytes` with random ones: asking once for many costs little more than asking for one.
///
/// # Panics
/// As `bytes`.
pub fn fill(bytes: &mut [u8]) {
    match rig::installed() {
        Some(rig) => rig.fill(bytes),
        None => getrandom::fill(bytes).expect("the operating system gives randomness"),
    }
}
