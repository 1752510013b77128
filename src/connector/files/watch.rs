//! Watching directories: whether anything in them changed, by looking again and again.
//!
//! The operating system's notices would be quicker, and are lost where many come at once, on network disks and after a
//! restart: whoever relies on them has to look anyway.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use super::list::list;
use super::section::Sections;
use crate::sys::beneath::Beneath;

/// How long to wait between two looks, at least.
const PAUSE: Duration = Duration::from_secs(2);
/// By how much the pause outlasts the look before it.
const PAUSE_FOR_EACH: u32 = 20;

/// What the directories looked like.
#[derive(Debug, Default)]
pub(super) struct Watch {
    seen: Option<blake3::Hash>,
}

impl Watch {
    /// Notes what the directories look like.
    pub(super) fn note(&mut self, picture: blake3::Hash) {
        self.seen = Some(picture);
    }

    /// Tells whether the directories look as they were noted.
    pub(super) fn is_quiet(&self, sections: &Sections, places: &BTreeMap<String, Beneath>) -> bool {
        self.seen.is_some() && self.seen == Some(picture(sections, places))
    }

    /// Waits until they look otherwise, which is noted then. What was never noted has changed.
    pub(super) fn wait(&mut self, sections: &Sections, places: &BTreeMap<String, Beneath>, at_most: Duration) -> bool {
        let begin = Instant::now();
        loop {
            let look = Instant::now();
            let now = picture(sections, places);
            if self.seen != Some(now) {
                self.seen = Some(now);
                return true;
            }
            let pause = PAUSE.max(look.elapsed() * PAUSE_FOR_EACH);
            let left = at_most.saturating_sub(begin.elapsed());
            if left.is_zero() {
                return false;
            }
            thread::sleep(pause.min(left));
        }
    }
}

/// Everything that a look shows of the directories, as one number. A directory that can't be listed shows nothing.
pub(super) fn picture(sections: &Sections, places: &BTreeMap<String, Beneath>) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    for (name, section) in sections {
        let found = places.get(name.as_str()).and_then(|beneath| list(name, section, beneath).ok());
        found.unwrap_or_default().draw(&mut hasher);
    }
    hasher.finalize()
}
