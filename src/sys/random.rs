//! Randomness from the operating system.

use super::rig;

/// Returns `N` random bytes.
///
/// # Panics
/// If the operating system has no randomness to give: nothing can be made safely then.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if let Some(rig) = rig::installed() {
        rig.fill(&mut bytes);
        return bytes;
    }
    getrandom::fill(&mut bytes).expect("the operating system gives randomness");
    bytes
}
