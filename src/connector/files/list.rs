//! List: what lies in a directory, without opening a file.

use std::collections::BTreeMap;
use std::path::Path;

use walkdir::WalkDir;

use super::path;
use super::section::Section;
use crate::connector::error::Error;
use crate::id::name::DatasetName;
use crate::sys::beneath::{Beneath, Kind, Stat, is_draft};

/// The most files of one directory.
const FILES_MAX: usize = 1 << 20;
/// Why a file waits at which we can't look.
pub(super) const UNREADABLE: &str = "it can't be read";
/// How long nothing was written to a draft that nobody goes on with: another instance may have the same directory.
const DRAFT_AGE_NS: i64 = 3600 * 1_000_000_000;

/// What lies in a directory.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) files: BTreeMap<String, Stat>,
    /// The directories that were looked into: device and number.
    pub(super) dirs: BTreeMap<String, (i64, i64)>,
    /// What was seen and can't be a record, and why; whatever is beneath is not gone.
    pub(super) passed: BTreeMap<String, &'static str>,
    /// Files that are being written, or that were when a process died.
    pub(super) drafts: BTreeMap<String, Stat>,
}

/// Lists a directory, links not followed.
///
/// # Errors
/// It can't be listed, or holds too many files.
pub(super) fn list(dataset: &DatasetName, section: &Section, beneath: &Beneath) -> Result<Found, Error> {
    let root = beneath.path();
    let mut found = Found::default();
    let relative = |path: &Path| path.strip_prefix(root).unwrap_or(path).to_str().map(str::to_owned);
    let mut walk = WalkDir::new(root).follow_links(false).follow_root_links(true).min_depth(1).into_iter();
    while let Some(entry) = walk.next() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) if error.depth() == 0 => {
                return Err(Error::File { doing: "list", path: root.to_owned(), source: error.into() });
            }
            Err(error) => {
                let path = error.path().and_then(relative).unwrap_or_default();
                if !is_gone(&error) {
                    found.passed.insert(path, UNREADABLE);
                }
                continue;
            }
        };
        let Some(path) = relative(entry.path()) else {
            let path = entry.path().strip_prefix(root).unwrap_or(entry.path()).to_string_lossy().into_owned();
            found.passed.insert(path, "its name is no Unicode text");
            if entry.file_type().is_dir() {
                walk.skip_current_dir();
            }
            continue;
        };
        if entry.file_type().is_file() && entry.file_name().to_str().is_some_and(is_draft) {
            if let Ok(metadata) = entry.metadata() {
                found.drafts.insert(path, Stat::of(&metadata));
            }
            continue;
        }
        if section.ignores(&path) {
            if entry.file_type().is_dir() {
                walk.skip_current_dir();
            }
            continue;
        }
        if section.is_database(&path) {
            found.passed.insert(path, "it is the application's database");
            continue;
        }
        let metadata = match entry.metadata() {
            Ok(metadata) => metadata,
            // It went meanwhile. Anything else says nothing of it: in a directory that can be listed and not entered all is still there.
            Err(error) if is_gone(&error) => continue,
            Err(_) => {
                found.passed.insert(path, UNREADABLE);
                continue;
            }
        };
        let stat = Stat::of(&metadata);
        let why = match stat.kind {
            Kind::Directory => {
                found.dirs.insert(path, place_of(&stat));
                continue;
            }
            Kind::File => match path::check(&path) {
                Err(why) => why,
                Ok(()) if found.files.len() == FILES_MAX => {
                    let why = format!("the directory holds more than {FILES_MAX} files");
                    return Err(Error::Unfit { dataset: dataset.clone(), why });
                }
                Ok(()) => {
                    found.files.insert(path, stat);
                    continue;
                }
            },
            Kind::Link => "it is a symbolic link",
            Kind::Other => "it is no regular file",
        };
        found.passed.insert(path, why);
    }
    Ok(found)
}

fn is_gone(error: &walkdir::Error) -> bool {
    error.io_error().is_some_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

/// Returns which directory something is, whatever it is called.
pub(super) fn place_of(stat: &Stat) -> (i64, i64) {
    (stat.device.cast_signed(), stat.inode.cast_signed())
}

impl Found {
    /// Takes everything in a directory for unseen.
    pub(super) fn pass(&mut self, dir: &str, why: &'static str) {
        self.files.retain(|path, _| !is_beneath(path, dir));
        self.passed.insert(dir.to_owned(), why);
    }

    /// Tells whether a path lies where we could not look.
    pub(super) fn hides(&self, path: &str) -> bool {
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        ends.into_iter().any(|end| self.passed.contains_key(&path[..end]))
    }

    /// Removes what a process that died had begun to write. What can't be removed is left to the next round.
    pub(super) fn sweep(&self, beneath: &Beneath, now_ns: i64) {
        let is_left = |stat: &Stat| stat.modified_ns.saturating_add(DRAFT_AGE_NS) < now_ns;
        for (path, _) in self.drafts.iter().filter(|(_, stat)| is_left(stat)) {
            let _ = beneath.remove(path);
        }
    }

    /// Adds everything that was seen to a picture of it.
    pub(super) fn draw(&self, picture: &mut blake3::Hasher) {
        for (path, stat) in &self.files {
            picture.update(path.as_bytes()).update(&[0]);
            let numbers = [stat.size.cast_signed(), stat.modified_ns, stat.changed_ns, stat.inode.cast_signed()];
            numbers.iter().for_each(|number| {
                picture.update(&number.to_le_bytes());
            });
        }
        for path in self.passed.keys() {
            picture.update(path.as_bytes()).update(&[1]);
        }
    }
}

/// Tells whether a path is within a directory.
pub(super) fn is_beneath(path: &str, dir: &str) -> bool {
    path.strip_prefix(dir).is_some_and(|rest| rest.starts_with('/'))
}
