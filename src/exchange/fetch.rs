//! Fetching an object into a local directory, so that a broken connection costs only the rest.
//!
//! The bytes gather in `<id>.part`, locked while it grows; only a whole and verified file is named `<id>.age`.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::exchange::check::{Damage, ObjectCheck, PumpError, pump};
use crate::exchange::layout::{OBJECT_BYTES_MAX, StorePath};
use crate::exchange::store::{Doing, Store, StoreError};
use crate::id::bytes::ObjectId;
use crate::sys::disk;

/// Fetches an object of `size` bytes from `from` into `dir` and returns its verified file, `<id>.age`.
///
/// Goes on where an earlier call stopped. A file that is there already is checked and not fetched again. If what an earlier
/// call left turns out to be garbled, the object is fetched once more from its start.
///
/// # Errors
/// `Store` if the source doesn't deliver the object or delivers other bytes; `Local` if `dir` can't take it;
/// `Busy` if another process is fetching it; `TooLarge` if `size` exceeds `OBJECT_BYTES_MAX`.
pub fn fetch_object(from: &dyn Store, id: &ObjectId, size: u64, dir: &Path) -> Result<PathBuf, FetchError> {
    if size > OBJECT_BYTES_MAX {
        return Err(FetchError::TooLarge { object: *id, bytes: size });
    }
    let whole = dir.join(format!("{id}.age"));
    let part = dir.join(format!("{id}.part"));
    let local = |source| FetchError::Local { object: *id, path: part.clone(), source };
    let mut file = disk::open_part(&part).map_err(local)?.ok_or(FetchError::Busy { object: *id })?;
    // Only with the part locked: the part of another process may just have become the whole.
    if let Some(mut found) = open_existing(&whole).map_err(local)? {
        if check_file(&mut found, *id, size).is_ok_and(|check| check.finish().is_ok()) {
            drop(file);
            disk::remove(&part).map_err(local)?;
            return Ok(whole);
        }
        disk::remove(&whole).map_err(local)?;
    }
    let fetch = Fetch { from, id: *id, size, part: &part };
    match fetch.go_on(&mut file) {
        Ok(()) => {}
        Err(Stopped { resumed: true, garbled: true, .. }) => fetch.go_on(&mut file).map_err(|stopped| stopped.error)?,
        Err(stopped) => return Err(stopped.error),
    }
    disk::sync(&file, &whole).map_err(local)?;
    disk::rename(&part, &whole).map_err(local)?;
    Ok(whole)
}

struct Fetch<'a> {
    from: &'a dyn Store,
    id: ObjectId,
    size: u64,
    part: &'a Path,
}

struct Stopped {
    /// Whether bytes of an earlier call were built on.
    resumed: bool,
    /// Whether the bytes were others than wanted; the part is empty then.
    garbled: bool,
    error: FetchError,
}

impl Fetch<'_> {
    /// Reads what the part lacks and checks all of it.
    fn go_on(&self, file: &mut File) -> Result<(), Stopped> {
        let stop = |error| Stopped { resumed: false, garbled: false, error };
        let mut check = match check_file(file, self.id, self.size) {
            Ok(check) => check,
            Err(PumpError::Damaged(_)) => {
                self.empty(file).map_err(stop)?;
                ObjectCheck::new(self.id, self.size)
            }
            Err(PumpError::Read(error) | PumpError::Write(error)) => return Err(stop(self.local(error))),
        };
        let offset = file.stream_position().map_err(|error| stop(self.local(error)))?;
        let resumed = offset > 0;
        if offset < self.size {
            let mut reader = self.from.object(&self.id, offset).map_err(|error| stop(self.store(error)))?;
            match pump(&mut *reader, &mut check, file) {
                Ok(_) => {}
                Err(PumpError::Damaged(damage)) => return Err(self.garbled(file, resumed, damage)),
                Err(PumpError::Read(source)) => {
                    let doing = Doing::Read(StorePath::Object(self.id));
                    return Err(stop(self.store(StoreError::Io { store: self.from.describe(), doing, source })));
                }
                Err(PumpError::Write(error)) => return Err(stop(self.local(error))),
            }
        }
        match check.finish() {
            Ok(()) => Ok(()),
            // What came is kept: the rest may come later.
            Err(damage @ Damage::Short { .. }) => Err(stop(self.damaged(damage))),
            Err(damage) => Err(self.garbled(file, resumed, damage)),
        }
    }

    fn garbled(&self, file: &mut File, resumed: bool, damage: Damage) -> Stopped {
        match self.empty(file) {
            Ok(()) => Stopped { resumed, garbled: true, error: self.damaged(damage) },
            Err(error) => Stopped { resumed, garbled: false, error },
        }
    }

    fn empty(&self, file: &mut File) -> Result<(), FetchError> {
        file.set_len(0).and_then(|()| file.rewind()).map_err(|error| self.local(error))
    }

    fn damaged(&self, damage: Damage) -> FetchError {
        self.store(StoreError::Damaged { store: self.from.describe(), object: self.id, damage })
    }

    fn store(&self, error: StoreError) -> FetchError {
        FetchError::Store { object: self.id, source: Box::new(error) }
    }

    fn local(&self, source: io::Error) -> FetchError {
        FetchError::Local { object: self.id, path: self.part.to_owned(), source }
    }
}

/// Checks what a file holds so far and leaves it positioned at its end.
fn check_file(file: &mut File, id: ObjectId, size: u64) -> Result<ObjectCheck, PumpError> {
    file.seek(SeekFrom::Start(0)).map_err(PumpError::Read)?;
    let mut check = ObjectCheck::new(id, size);
    pump(&mut file.by_ref(), &mut check, &mut io::sink())?;
    Ok(check)
}

fn open_existing(path: &Path) -> io::Result<Option<File>> {
    match disk::look(path)? {
        Some(disk::Entry::File { .. }) => disk::open_at(path, 0).map(Some),
        _ => Ok(None),
    }
}

/// An object could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The source doesn't deliver it, or delivers other bytes.
    #[error("cannot get object {object}")]
    Store {
        /// The object.
        object: ObjectId,
        /// Why.
        #[source]
        source: Box<StoreError>,
    },
    /// The directory can't take it.
    #[error("cannot keep object {object} at {path}", path = path.display())]
    Local {
        /// The object.
        object: ObjectId,
        /// Where it gathers.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another process is fetching it into the same directory.
    #[error("another process is fetching object {object}")]
    Busy {
        /// The object.
        object: ObjectId,
    },
    /// Its size exceeds the bound.
    #[error("object {object} of {bytes} bytes is larger than the {OBJECT_BYTES_MAX} bytes allowed")]
    TooLarge {
        /// The object.
        object: ObjectId,
        /// The size that was announced.
        bytes: u64,
    },
}

impl FetchError {
    /// Tells whether calling again later may succeed without anybody doing anything about it.
    pub fn is_transient(&self) -> bool {
        match self {
            FetchError::Store { source, .. } => source.is_transient(),
            FetchError::Busy { .. } => true,
            FetchError::Local { .. } | FetchError::TooLarge { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::samples::Shelf;

    const BYTES: &[u8] = b"sealed bytes";

    struct Scene {
        shelf: Shelf,
        id: ObjectId,
        dir: tempfile::TempDir,
    }

    impl Scene {
        fn new() -> Self {
            let shelf = Shelf::default();
            let id = shelf.hold(BYTES, 0);
            Self { shelf, id, dir: tempfile::tempdir().unwrap() }
        }

        fn fetch(&self) -> Result<PathBuf, FetchError> {
            fetch_object(&self.shelf, &self.id, BYTES.len() as u64, self.dir.path())
        }

        fn path(&self, end: &str) -> PathBuf {
            self.dir.path().join(format!("{}.{end}", self.id))
        }

        /// Fetches it whole, asking from these bytes on.
        fn arrives(&self, asked: &[u64]) {
            let whole = self.fetch().unwrap();
            assert_eq!((whole.clone(), std::fs::read(whole).unwrap()), (self.path("age"), BYTES.to_vec()));
            assert!(!self.path("part").exists());
            assert_eq!(*self.shelf.asked.lock().unwrap(), asked);
        }

        /// Gives its bytes another content, under the same name.
        fn garble(&self, bytes: &[u8]) {
            self.shelf.objects.lock().unwrap().get_mut(&self.id).unwrap().0 = bytes.to_vec();
        }
    }

    #[test]
    fn a_broken_connection_costs_only_the_rest() {
        let scene = Scene::new();
        scene.shelf.gives.lock().unwrap().extend([4, 3]);
        for gathered in [3, 7] {
            assert!(scene.fetch().unwrap_err().is_transient());
            assert_eq!(std::fs::read(scene.path("part")).unwrap(), BYTES[..gathered]);
            assert!(!scene.path("age").exists());
        }
        scene.arrives(&[0, 3, 7]);
    }

    #[test]
    fn what_is_there_is_checked_and_not_fetched_again() {
        let scene = Scene::new();
        std::fs::write(scene.path("age"), BYTES).unwrap();
        scene.arrives(&[]);
        std::fs::write(scene.path("age"), b"other  bytes").unwrap();
        scene.arrives(&[0]);
        std::fs::remove_file(scene.path("age")).unwrap();
        std::fs::write(scene.path("part"), BYTES).unwrap();
        scene.arrives(&[0]);
    }

    #[test]
    fn a_garbled_part_is_fetched_once_more_from_its_start() {
        for (part, asked) in [(&b"seelad"[..], &[6, 0][..]), (b"sealed bytez", &[0]), (b"sealed bytes and more", &[0])]
        {
            let scene = Scene::new();
            std::fs::write(scene.path("part"), part).unwrap();
            scene.arrives(asked);
        }
    }

    #[test]
    fn other_bytes_are_neither_named_nor_kept() {
        for (bytes, left) in [(&b"sealed bytez"[..], 0), (b"sealed bytes and more", 0), (b"sealed", 6)] {
            let scene = Scene::new();
            scene.garble(bytes);
            let refused = scene.fetch().unwrap_err();
            assert!(
                matches!(&refused, FetchError::Store { source, .. } if matches!(**source, StoreError::Damaged { .. }))
            );
            assert!(!refused.is_transient());
            assert_eq!(*scene.shelf.asked.lock().unwrap(), [0], "nothing was built on that might have been garbled");
            assert_eq!(std::fs::read(scene.path("part")).unwrap().len(), left, "what is short may come later");
            assert!(!scene.path("age").exists());
        }
    }

    #[test]
    fn sizes_locks_and_directories_are_looked_at_first() {
        let scene = Scene::new();
        let sized = |size| fetch_object(&scene.shelf, &scene.id, size, scene.dir.path()).unwrap_err();
        let too_large = sized(OBJECT_BYTES_MAX + 1);
        assert!(matches!(too_large, FetchError::TooLarge { .. }) && !too_large.is_transient());
        assert!(matches!(sized(OBJECT_BYTES_MAX), FetchError::Store { .. }), "it is short, and not too large");
        let held = disk::open_part(&scene.path("part")).unwrap();
        let busy = scene.fetch().unwrap_err();
        assert!(matches!(busy, FetchError::Busy { .. }) && busy.is_transient());
        drop(held);
        let nowhere = fetch_object(&scene.shelf, &scene.id, 3, &scene.dir.path().join("none")).unwrap_err();
        assert!(matches!(nowhere, FetchError::Local { .. }) && !nowhere.is_transient());
    }
}
