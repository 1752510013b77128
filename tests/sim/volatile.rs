//! What a disk forgets when the power goes: bytes that were not synced, and names in directories that were not.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use wbsync::sys::rig::Call;
use wbsync::testing::prng::Prng;

/// What was done and isn't durable yet.
#[derive(Debug, Default)]
pub struct Volatile {
    /// By directory: names that were given, or taken away, and what was there before; the last comes last.
    names: BTreeMap<PathBuf, Vec<(PathBuf, Option<Vec<u8>>)>>,
    /// Names whose bytes were synced before they were given.
    synced: BTreeSet<PathBuf>,
    /// Files that got their names without that.
    bytes: BTreeSet<PathBuf>,
}

impl Volatile {
    /// Notes a call that is about to be made.
    pub fn note(&mut self, call: Call, path: &Path) {
        let dir = || path.parent().unwrap_or(Path::new(".")).to_owned();
        match call {
            // Nobody reads a file by the name that it has now.
            Call::Create => {}
            Call::Sync => drop(self.synced.insert(path.to_owned())),
            Call::Rename => {
                self.names.entry(dir()).or_default().push((path.to_owned(), fs::read(path).ok()));
                if !self.synced.remove(path) && !path.is_dir() {
                    self.bytes.insert(path.to_owned());
                }
            }
            Call::Remove if path.is_file() => {
                self.names.entry(dir()).or_default().push((path.to_owned(), fs::read(path).ok()));
            }
            Call::Remove => {}
            Call::MakeDir if path.exists() => {}
            Call::MakeDir => self.names.entry(dir()).or_default().push((path.to_owned(), None)),
            Call::SyncDir => drop(self.names.remove(path)),
        }
    }

    /// Says what isn't durable.
    pub fn left(&self) -> Vec<&Path> {
        self.names
            .values()
            .flatten()
            .map(|(path, _)| path.as_path())
            .chain(self.bytes.iter().map(PathBuf::as_path))
            .collect()
    }

    /// Forgets some of it in copies of the directories, which `find` finds, and begins anew.
    pub fn lose(&mut self, chance: &mut Prng, find: impl Fn(&Path) -> Option<PathBuf>) {
        for path in std::mem::take(&mut self.bytes).iter().filter_map(|path| find(path)) {
            if let Ok(bytes) = fs::read(&path) {
                let kept = chance.below(bytes.len() as u64 + 1) as usize;
                fs::write(&path, &bytes[..kept]).unwrap();
            }
        }
        for (_, names) in std::mem::take(&mut self.names) {
            let mut kept = BTreeSet::new();
            for (name, before) in names.into_iter().rev() {
                let Some(path) = find(&name) else { continue };
                // What came before a change that was kept was kept.
                if kept.contains(&name) || chance.chance(400) {
                    kept.insert(name);
                    continue;
                }
                let _ = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
                if let Some(bytes) = before {
                    // Its directory may be gone too.
                    let _ = fs::write(&path, bytes);
                }
            }
        }
        self.synced.clear();
    }

    /// Everything is durable: nothing was lost.
    pub fn settle(&mut self) {
        *self = Self::default();
    }
}

/// Cuts the files short that have no name yet that anybody reads, and leaves out what processes share in memory.
pub fn tear_unnamed(dir: &Path, chance: &mut Prng) {
    for file in super::world::files_under(dir) {
        let path = dir.join(&file);
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with(".tmp-") || name.ends_with(".part") {
            let bytes = fs::read(&path).unwrap();
            fs::write(&path, &bytes[..chance.below(bytes.len() as u64 + 1) as usize]).unwrap();
        } else if name.ends_with("-shm") {
            fs::remove_file(&path).unwrap();
        }
    }
}
