//! Access to the files of a store directory: no link is followed, and a vanished directory is noticed.
//!
//! A pulled stick leaves its empty mount point behind, where every document reads as absent and a write would land on the
//! wrong disk. So an absent thing counts only while the `format` file is there, and a write is believed only if
//! it is there before and after.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::exchange::layout::{self, FormatError, StorePath};
use crate::exchange::store::{Doing, StoreError};
use crate::sys::disk::{self, Entry, TEMPORARY_PREFIX};

/// The directory of a store.
#[derive(Debug)]
pub(crate) struct Root {
    path: PathBuf,
}

impl Root {
    /// Opens the directory of a store.
    ///
    /// # Errors
    /// `Unreachable` if nothing is there; `NotAStore`, `NewerFormat`, `Denied`, `Irregular`, `Io`.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let root = Self { path: path.to_owned() };
        // Joining "." follows a link to the directory itself: that one is the operator's own.
        match disk::look(&path.join(".")) {
            Ok(Some(Entry::Dir)) => {}
            Ok(Some(_)) => return Err(root.not_a_store("it is not a directory")),
            Ok(None) => return Err(root.gone(Doing::Open)),
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                return Err(root.not_a_store("it is not a directory"));
            }
            Err(error) => return Err(root.classify(Doing::Open, error)),
        }
        match root.format(Doing::Open)? {
            Some(()) => Ok(root),
            None => Err(root.not_a_store("it has no format file")),
        }
    }

    /// Makes a directory a store, or opens the store that it is. Its parent must be there.
    ///
    /// # Errors
    /// `Unreachable` if the parent isn't there; `NotAStore` if the directory holds anything else; as `open`, and `ReadOnly`, `Full`.
    pub(crate) fn create(path: &Path) -> Result<Self, StoreError> {
        let root = Self { path: path.to_owned() };
        let failed = |error| root.classify(Doing::Create, error);
        match disk::create_dir_in_parent(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(root.gone(Doing::Create)),
            other => other.map_err(failed)?,
        }
        let names = match disk::names(path, ENTRIES_MAX) {
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Self::open(path),
            other => other.map_err(failed)?.unwrap_or_default(),
        };
        if names.iter().any(|name| name == "format") {
            return Self::open(path);
        }
        if names.iter().any(|name| !name.starts_with(TEMPORARY_PREFIX)) {
            return Err(root.not_a_store("it holds other things, and a new store wants an empty directory"));
        }
        disk::replace(&path.join("format"), layout::FORMAT.as_bytes(), disk::Access::Shared).map_err(failed)?;
        for dir in ["objects", "scopes", "instances"] {
            disk::create_dir_in_parent(&path.join(dir)).map_err(failed)?;
        }
        Self::open(path)
    }

    /// Writes the `format` file again, where the directories of a store hold something.
    ///
    /// # Errors
    /// `NewerFormat`; as writing.
    pub(crate) fn mend_format(path: &Path) -> Result<bool, StoreError> {
        let root = Self { path: path.to_owned() };
        let holds_something = |dir: &str| {
            let names = disk::names(&path.join(dir), ENTRIES_MAX).ok().flatten().unwrap_or_default();
            names.iter().any(|name| !name.starts_with(TEMPORARY_PREFIX))
        };
        match root.format(Doing::Open) {
            Ok(None) | Err(StoreError::NotAStore { .. }) => {}
            Ok(Some(())) => return Ok(false),
            Err(error) => return Err(error),
        }
        if !["objects", "scopes", "instances"].into_iter().any(holds_something) {
            return Ok(false);
        }
        let written = disk::replace(&path.join("format"), layout::FORMAT.as_bytes(), disk::Access::Shared);
        written.map(|()| true).map_err(|error| root.classify(Doing::Create, error))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn describe(&self) -> String {
        format!("the directory {}", self.path.display())
    }

    /// Checks that the store is still there.
    ///
    /// # Errors
    /// `Unreachable` if it isn't; `NewerFormat` if it was converted meanwhile.
    pub(crate) fn check(&self, doing: Doing) -> Result<(), StoreError> {
        self.format(doing)?.ok_or_else(|| self.gone(doing))
    }

    fn format(&self, doing: Doing) -> Result<Option<()>, StoreError> {
        let path = StorePath::Format.under(&self.path);
        let bytes = match disk::look(&path).map_err(|error| self.classify(doing, error))? {
            Some(Entry::File { .. }) => disk::read_bounded(&path, StorePath::Format.bytes_max()),
            Some(_) => return Err(self.irregular(StorePath::Format.to_string())),
            None => return Ok(None),
        };
        let bytes = match bytes {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Some(Vec::new()),
            other => other.map_err(|error| self.classify(doing, error))?,
        };
        match bytes.map(|bytes| layout::check_format(&bytes)) {
            None => Ok(None),
            Some(Ok(())) => Ok(Some(())),
            Some(Err(FormatError::Newer { version })) => {
                Err(StoreError::NewerFormat { store: self.describe(), found: version })
            }
            Some(Err(FormatError::Foreign)) => Err(self.not_a_store("its format file is not one of wbsync")),
        }
    }

    /// Tells what lies at `relative`, none of whose parts may be a link.
    pub(crate) fn look(&self, relative: &str, doing: Doing) -> Result<Option<Entry>, StoreError> {
        for (end, _) in relative.match_indices('/').chain([(relative.len(), "")]) {
            let part = &relative[..end];
            let entry = disk::look(&self.path.join(part)).map_err(|error| self.fail(doing, error))?;
            match entry {
                None => return self.check(doing).map(|()| None),
                Some(Entry::Dir) if end < relative.len() => {}
                Some(Entry::Other) => return Err(self.irregular(part.to_owned())),
                Some(_) if end < relative.len() => return Err(self.irregular(part.to_owned())),
                entry => return Ok(entry),
            }
        }
        unreachable!("the last part returns")
    }

    /// Returns size and time of the plain file at `path`, if there is one.
    pub(crate) fn file(&self, path: &StorePath) -> Result<Option<FileEntry>, StoreError> {
        let relative = path.to_string();
        match self.look(&relative, Doing::Read(*path))? {
            None => Ok(None),
            Some(Entry::File { bytes, modified }) => Ok(Some(FileEntry { bytes, modified })),
            Some(_) => Err(self.irregular(relative)),
        }
    }

    /// Reads the document at `path`.
    pub(crate) fn read(&self, path: &StorePath) -> Result<Option<Vec<u8>>, StoreError> {
        if self.file(path)?.is_none() {
            return Ok(None);
        }
        match disk::read_bounded(&path.under(&self.path), path.bytes_max()) {
            Ok(Some(bytes)) => Ok(Some(bytes)),
            Ok(None) => self.check(Doing::Read(*path)).map(|()| None),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(self.too_large(*path)),
            Err(error) => Err(self.fail(Doing::Read(*path), error)),
        }
    }

    /// Opens the plain file at `path` from `offset` on.
    pub(crate) fn open_file(&self, path: &StorePath, offset: u64) -> Result<File, StoreError> {
        let missing = || StoreError::Missing { store: self.describe(), path: *path };
        self.file(path)?.ok_or_else(missing)?;
        match disk::open_at(&path.under(&self.path), offset) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.check(Doing::Read(*path))?;
                Err(missing())
            }
            other => other.map_err(|error| self.fail(Doing::Read(*path), error)),
        }
    }

    /// Returns the names in a directory, ascending; none if it isn't there.
    pub(crate) fn names(&self, dir: &str, doing: Doing) -> Result<Vec<String>, StoreError> {
        match self.look(dir, doing)? {
            None => return Ok(Vec::new()),
            Some(Entry::Dir) => {}
            Some(_) => return Err(self.irregular(dir.to_owned())),
        }
        match disk::names(&self.path.join(dir), ENTRIES_MAX).map_err(|error| self.fail(doing, error))? {
            Some(names) => Ok(names),
            None => self.check(doing).map(|()| Vec::new()),
        }
    }

    /// Makes the directory that holds `path`, following no link, and returns where `path` will lie.
    pub(crate) fn prepare(&self, path: &StorePath) -> Result<PathBuf, StoreError> {
        let relative = path.to_string();
        let doing = Doing::Write(*path);
        for (end, _) in relative.match_indices('/') {
            let part = &relative[..end];
            match self.look(part, doing)? {
                Some(Entry::Dir) => {}
                Some(_) => return Err(self.irregular(part.to_owned())),
                None => disk::create_dir_in_parent(&self.path.join(part)).map_err(|error| self.fail(doing, error))?,
            }
        }
        Ok(path.under(&self.path))
    }

    /// Says what an error of the operating system means for the store.
    pub(crate) fn fail(&self, doing: Doing, error: io::Error) -> StoreError {
        match disk::look(&StorePath::Format.under(&self.path)) {
            Ok(Some(_)) => self.classify(doing, error),
            _ => StoreError::Unreachable { store: self.describe(), doing, source: error },
        }
    }

    fn classify(&self, doing: Doing, source: io::Error) -> StoreError {
        let store = self.describe();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full { store, doing, source },
            io::ErrorKind::ReadOnlyFilesystem => StoreError::ReadOnly { store, doing, source },
            io::ErrorKind::PermissionDenied => StoreError::Denied { store, doing, source },
            _ => StoreError::Io { store, doing, source },
        }
    }

    fn gone(&self, doing: Doing) -> StoreError {
        StoreError::Unreachable {
            store: self.describe(),
            doing,
            source: io::Error::new(io::ErrorKind::NotFound, "no such directory"),
        }
    }

    fn not_a_store(&self, why: &'static str) -> StoreError {
        StoreError::NotAStore { store: self.describe(), why }
    }

    fn irregular(&self, path: String) -> StoreError {
        StoreError::Irregular { store: self.describe(), path }
    }

    pub(crate) fn too_large(&self, path: StorePath) -> StoreError {
        StoreError::TooLarge { store: self.describe(), path, bound: path.bytes_max() }
    }
}

/// A plain file as it lies in the store.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FileEntry {
    pub(crate) bytes: u64,
    pub(crate) modified: crate::sys::clock::UnixMillis,
}

/// The most entries that a directory of a store may have.
const ENTRIES_MAX: usize = 1 << 20;
