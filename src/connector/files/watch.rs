//! Watching directories: whether anything in them changed, by looking again and again.
//!
//! The operating system's notices would be quicker, and are lost where many come at once, on network disks and after a
//! restart: whoever relies on them has to look anyway.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use walkdir::WalkDir;

use super::section::Sections;
use crate::sys::beneath::{Beneath, Stat};

/// How long to wait between two looks, at least.
const PAUSE: Duration = Duration::from_secs(2);
/// By how much the pause outlasts the look before it.
const PAUSE_FOR_EACH: u32 = 20;

/// What the directories looked like.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Whether anybody asks.
    pub(super) is_on: bool,
    seen: Option<blake3::Hash>,
}

impl Watch {
    /// Notes what the directories look like, if anybody asks.
    pub(super) fn note(&mut self, sections: &Sections, places: &BTreeMap<String, Beneath>) {
        self.seen = self.is_on.then(|| picture(sections, places));
    }

    /// Tells whether the directories look as they were noted.
    pub(super) fn is_quiet(&self, sections: &Sections, places: &BTreeMap<String, Beneath>) -> bool {
        self.seen.is_some() && self.seen == Some(picture(sections, places))
    }

    /// Waits until they look otherwise, which is noted then. What was never noted has changed.
    pub(super) fn wait(&mut self, sections: &Sections, places: &BTreeMap<String, Beneath>, at_most: Duration) -> bool {
        self.is_on = true;
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

/// Everything that a look shows of the directories, as one number.
fn picture(sections: &Sections, places: &BTreeMap<String, Beneath>) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    for (name, section) in sections {
        let Some(beneath) = places.get(name.as_str()) else { continue };
        let root = beneath.path();
        let walk = WalkDir::new(root).follow_links(false).follow_root_links(true).min_depth(1).sort_by_file_name();
        let passes = |path: &std::path::Path| {
            path.strip_prefix(root).ok().and_then(|path| path.to_str()).is_none_or(|path| !section.ignores(path))
        };
        for entry in walk.into_iter().filter_entry(|entry| passes(entry.path())).filter_map(Result::ok) {
            let Ok(stat) = entry.metadata().map(|metadata| Stat::of(&metadata)) else { continue };
            hasher.update(entry.path().as_os_str().as_encoded_bytes()).update(&[0]);
            if !entry.file_type().is_dir() {
                for number in [stat.size.cast_signed(), stat.modified_ns, stat.changed_ns, stat.inode.cast_signed()] {
                    hasher.update(&number.to_le_bytes());
                }
            }
        }
    }
    hasher.finalize()
}
