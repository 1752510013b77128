//! Randomness from the operating system.

/// Returns `N` random bytes.
///
/// # Panics
/// If the operating system has no randomness to give: nothing can be made safely then.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    #[cfg(debug_assertions)]
    if super::replay::fill(&mut bytes) {
        return bytes;
    }
    getrandom::fill(&mut bytes).expect("the operating system gives randomness");
    bytes
}
