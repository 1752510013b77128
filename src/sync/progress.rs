//! How long work tells whoever watches.

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// A phase begins; `total` is in its own unit, if it is known.
    Phase {
        /// What is being done, in words.
        name: &'a str,
        /// How much there is to do.
        total: Option<u64>,
    },
    /// So much is done since the phase began.
    Done(u64),
    /// The phase is over.
    End,
}

/// Watches long work.
pub type Watcher = Box<dyn Fn(Event<'_>)>;

/// Watches nothing.
pub fn silent() -> Watcher {
    Box::new(|_| {})
}
