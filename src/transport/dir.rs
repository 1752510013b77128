//! A store in a plain directory: a stick, a network mount, another disk.
//!
//! Every file is written under a temporary name, synced and renamed, so a reader sees whole files or none, also after a
//! crash or a pulled stick. Only names of hexadecimal digits, no links, no modes: FAT is enough. Writers of
//! documents take the store's lock; objects need none, for their name is their content.

use std::io::Read;
use std::path::Path;
use std::str::FromStr;

use crate::exchange::check::{ObjectCheck, PumpError, pump};
use crate::exchange::copy::verify;
use crate::exchange::layout::StorePath;
use crate::exchange::store::{Doing, FRESH_MILLIS, Store, StoreError, StoredObject};
use crate::id::bytes::{DocHash, InstanceId, ObjectId, ScopeId};
use crate::keys::document::hash_of;
use crate::sys::clock::{self, UnixMillis};
use crate::sys::disk::{self, TEMPORARY_PREFIX};
use crate::transport::dir_lock::DirLock;
use crate::transport::dir_root::Root;

/// A store in a directory.
#[derive(Debug)]
pub struct DirStore {
    pub(in crate::transport) root: Root,
}

/// Size and date of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Its size.
    pub bytes: u64,
    /// When it was written.
    pub modified: UnixMillis,
}

impl DirStore {
    /// Opens the store in the directory `path`. Writes nothing, so a read-only store opens too.
    ///
    /// # Errors
    /// `Unreachable` if nothing is there; `NotAStore` if something else is; `NewerFormat`.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Ok(Self { root: Root::open(path)? })
    }

    /// Opens the store in the directory `path`, and removes what writers left there that died more than a day ago.
    ///
    /// # Errors
    /// As `open`; `ReadOnly` or `Denied` if it can't be written.
    pub fn open_for_writing(path: &Path) -> Result<Self, StoreError> {
        let store = Self::open(path)?;
        let lock = store.lock(Doing::Sweep)?;
        store.sweep(UnixMillis(clock::now().0.saturating_sub(STALE_MILLIS)))?;
        drop(lock);
        Ok(store)
    }

    /// Makes an empty or new directory a store, or opens for writing the store that it is already.
    ///
    /// Makes the directory itself and not its parents: below the mount point of a stick that isn't there, a
    /// store would be made on the wrong disk.
    ///
    /// # Errors
    /// `NotAStore` if the directory holds other things; `Unreachable` if its parent isn't there; as `open_for_writing`.
    pub fn create(path: &Path) -> Result<Self, StoreError> {
        Root::create(path)?;
        Self::open_for_writing(path)
    }

    /// Writes the `format` file of a store again that lacks it, or has a foreign one, and tells whether it did. Only where the
    /// directories of a store hold something: nothing is made of an empty or foreign directory.
    ///
    /// # Errors
    /// As writing.
    pub fn mend_format(path: &Path) -> Result<bool, StoreError> {
        Root::mend_format(path)
    }

    /// Returns size and date of a file of the store, by which a change of a document is noticed without reading it.
    ///
    /// Two changes within the resolution of the file system's dates may have one stamp.
    ///
    /// # Errors
    /// As reading.
    pub fn stamp(&self, path: &StorePath) -> Result<Option<Stamp>, StoreError> {
        Ok(self.root.file(path)?.map(|file| Stamp { bytes: file.bytes, modified: file.modified }))
    }

    fn lock(&self, doing: Doing) -> Result<DirLock, StoreError> {
        // Before the lock: its file must not be made in an empty mount point.
        self.root.check(doing)?;
        self.root.look("lock", doing)?;
        DirLock::take(self.root.path()).map_err(|error| match error.kind() {
            std::io::ErrorKind::WouldBlock => StoreError::Busy { store: self.describe(), doing },
            _ => self.root.fail(doing, error),
        })
    }

    fn swap(
        &self,
        path: StorePath,
        expected: Option<DocHash>,
        objects: &[(ObjectId, u64)],
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        let doing = Doing::Write(path);
        if bytes.len() as u64 > path.bytes_max() {
            return Err(self.root.too_large(path));
        }
        let lock = self.lock(doing)?;
        if let Some((object, _)) = objects.iter().find_map(|object| self.freshen(object).transpose()).transpose()? {
            return Err(StoreError::Incomplete { store: self.describe(), path, object });
        }
        let present = self.root.read(&path)?;
        if present.as_deref() == Some(bytes) {
            return Ok(());
        }
        let found = present.as_deref().map(hash_of);
        if found != expected {
            return Err(StoreError::Swapped { store: self.describe(), path, found });
        }
        let target = self.root.prepare(&path)?;
        if !lock.is_held().map_err(|error| self.root.fail(doing, error))? {
            return Err(StoreError::Busy { store: self.describe(), doing });
        }
        disk::replace(&target, bytes, disk::Access::Shared).map_err(|error| self.root.fail(doing, error))?;
        self.root.check(doing)
    }

    /// Starts the garbage clock of an object again, or returns the object if it isn't held at its size.
    fn freshen(&self, object: &(ObjectId, u64)) -> Result<Option<(ObjectId, u64)>, StoreError> {
        let (id, size) = *object;
        let path = StorePath::Object(id);
        let Some(file) = self.root.file(&path)?.filter(|file| file.bytes == size) else { return Ok(Some(*object)) };
        let now = clock::now();
        if file.modified.0.abs_diff(now.0) > FRESH_MILLIS
            && disk::set_modified(&path.under(self.root.path()), now).is_err()
        {
            // Only the owner of a file may set its time; anybody who may write here can write it anew.
            let mut bytes = self.root.open_file(&path, 0)?;
            self.write_object(id, size, &mut bytes)?;
        }
        Ok(None)
    }

    /// Reads an object that is held at this size, and tells whether its bytes are those that its name says. What a bad disk
    /// can't read isn't whole.
    ///
    /// # Errors
    /// As opening it.
    pub(crate) fn is_whole(&self, object: &ObjectId, size: u64) -> Result<bool, StoreError> {
        match verify(self, *object, size) {
            Ok(()) => Ok(true),
            Err(StoreError::Damaged { .. } | StoreError::Missing { .. } | StoreError::Io { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn write_object(&self, id: ObjectId, size: u64, bytes: &mut dyn Read) -> Result<(), StoreError> {
        let path = StorePath::Object(id);
        let failed = |error| self.root.fail(Doing::Write(path), error);
        let damaged = |damage| StoreError::Damaged { store: self.describe(), object: id, damage };
        self.root.check(Doing::Write(path))?;
        let target = self.root.prepare(&path)?;
        let parent = target.parent().expect("an object lies in a directory");
        let mut file = disk::temporary_in(parent, disk::Access::Shared).map_err(failed)?;
        let mut check = ObjectCheck::new(id, size);
        pump(bytes, &mut check, &mut file).map_err(|error| match error {
            PumpError::Read(source) => StoreError::Source { store: self.describe(), object: id, source },
            PumpError::Damaged(damage) => damaged(damage),
            PumpError::Write(error) => failed(error),
        })?;
        check.finish().map_err(damaged)?;
        disk::persist(file, &target).map_err(failed)?;
        self.root.check(Doing::Write(path))
    }

    /// Removes the temporary files last written before `stale`.
    fn sweep(&self, stale: UnixMillis) -> Result<(), StoreError> {
        let mut dirs: Vec<String> = [".", "objects", "scopes", "instances"].map(String::from).into();
        dirs.extend(self.root.names("objects", Doing::Sweep)?.iter().map(|name| format!("objects/{name}")));
        for scope in self.scope_dirs()? {
            dirs.extend(["", "/heads", "/receipts"].map(|part| format!("scopes/{scope}{part}")));
        }
        for dir in dirs {
            let path = self.root.path().join(&dir);
            if !matches!(disk::look(&path), Ok(Some(disk::Entry::Dir))) {
                continue;
            }
            for name in self.root.names(&dir, Doing::Sweep)? {
                let file = path.join(&name);
                let is_stale =
                    || matches!(disk::look(&file), Ok(Some(disk::Entry::File { modified, .. })) if modified < stale);
                if name.starts_with(TEMPORARY_PREFIX) && is_stale() {
                    disk::remove(&file).map_err(|error| self.root.fail(Doing::Sweep, error))?;
                }
            }
        }
        Ok(())
    }

    fn scope_dirs(&self) -> Result<Vec<ScopeId>, StoreError> {
        Ok(parsed(self.root.names("scopes", Doing::List("scopes"))?))
    }
}

impl Store for DirStore {
    fn describe(&self) -> String {
        self.root.describe()
    }

    fn scopes(&self) -> Result<Vec<ScopeId>, StoreError> {
        let mut scopes = Vec::new();
        for scope in self.scope_dirs()? {
            // The directory of a scope is made before its first document.
            if self.root.file(&StorePath::Manifest(scope))?.is_some() || !self.heads(&scope)?.is_empty() {
                scopes.push(scope);
            }
        }
        Ok(scopes)
    }

    fn heads(&self, scope: &ScopeId) -> Result<Vec<InstanceId>, StoreError> {
        Ok(parsed(self.root.names(&format!("scopes/{scope}/heads"), Doing::List("heads"))?))
    }

    fn cards(&self) -> Result<Vec<InstanceId>, StoreError> {
        Ok(parsed(self.root.names("instances", Doing::List("cards"))?))
    }

    fn manifest(&self, scope: &ScopeId) -> Result<Option<Vec<u8>>, StoreError> {
        self.root.read(&StorePath::Manifest(*scope))
    }

    fn head(&self, scope: &ScopeId, signer: &InstanceId) -> Result<Option<Vec<u8>>, StoreError> {
        self.root.read(&StorePath::Head(*scope, *signer))
    }

    fn card(&self, instance: &InstanceId) -> Result<Option<Vec<u8>>, StoreError> {
        self.root.read(&StorePath::Card(*instance))
    }

    fn swap_manifest(&self, scope: &ScopeId, expected: Option<DocHash>, bytes: &[u8]) -> Result<(), StoreError> {
        self.swap(StorePath::Manifest(*scope), expected, &[], bytes)
    }

    fn swap_head(
        &self,
        scope: &ScopeId,
        signer: &InstanceId,
        expected: Option<DocHash>,
        objects: &[(ObjectId, u64)],
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        self.swap(StorePath::Head(*scope, *signer), expected, objects, bytes)
    }

    fn remove_head(&self, scope: &ScopeId, signer: &InstanceId, expected: DocHash) -> Result<bool, StoreError> {
        let path = StorePath::Head(*scope, *signer);
        let doing = Doing::Remove(path);
        let lock = self.lock(doing)?;
        let Some(found) = self.root.read(&path)?.as_deref().map(hash_of) else { return Ok(false) };
        if found != expected {
            return Err(StoreError::Swapped { store: self.describe(), path, found: Some(found) });
        }
        if !lock.is_held().map_err(|error| self.root.fail(doing, error))? {
            return Err(StoreError::Busy { store: self.describe(), doing });
        }
        let removed = disk::remove(&path.under(self.root.path())).map_err(|error| self.root.fail(doing, error))?;
        self.root.check(doing).map(|()| removed)
    }

    fn receipts(&self, scope: &ScopeId) -> Result<Vec<InstanceId>, StoreError> {
        Ok(parsed(self.root.names(&format!("scopes/{scope}/receipts"), Doing::List("receipts"))?))
    }

    fn receipt(&self, scope: &ScopeId, reader: &InstanceId) -> Result<Option<Vec<u8>>, StoreError> {
        self.root.read(&StorePath::Receipt(*scope, *reader))
    }

    fn swap_receipt(
        &self,
        scope: &ScopeId,
        reader: &InstanceId,
        expected: Option<DocHash>,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        self.swap(StorePath::Receipt(*scope, *reader), expected, &[], bytes)
    }

    fn swap_card(&self, instance: &InstanceId, expected: Option<DocHash>, bytes: &[u8]) -> Result<(), StoreError> {
        self.swap(StorePath::Card(*instance), expected, &[], bytes)
    }

    fn missing(&self, objects: &[(ObjectId, u64)]) -> Result<Vec<ObjectId>, StoreError> {
        let mut missing = Vec::new();
        for (id, size) in objects {
            if self.object_size(id)? != Some(*size) {
                missing.push(*id);
            }
        }
        Ok(missing)
    }

    fn object_size(&self, object: &ObjectId) -> Result<Option<u64>, StoreError> {
        Ok(self.root.file(&StorePath::Object(*object))?.map(|file| file.bytes))
    }

    fn object(&self, object: &ObjectId, offset: u64) -> Result<Box<dyn Read + Send>, StoreError> {
        Ok(Box::new(self.root.open_file(&StorePath::Object(*object), offset)?))
    }

    fn put_object(&self, object: &ObjectId, size: u64, bytes: &mut dyn Read) -> Result<(), StoreError> {
        if size > StorePath::Object(*object).bytes_max() {
            return Err(self.root.too_large(StorePath::Object(*object)));
        }
        match self.freshen(&(*object, size))? {
            None => Ok(()),
            Some(_) => self.write_object(*object, size, bytes),
        }
    }

    fn heal_object(&self, object: &ObjectId, size: u64, bytes: &mut dyn Read) -> Result<bool, StoreError> {
        if size > StorePath::Object(*object).bytes_max() {
            return Err(self.root.too_large(StorePath::Object(*object)));
        }
        if self.freshen(&(*object, size))?.is_none() && self.is_whole(object, size)? {
            return Ok(false);
        }
        self.write_object(*object, size, bytes).map(|()| true)
    }

    fn remove_object(&self, object: &ObjectId, unused_since: UnixMillis) -> Result<bool, StoreError> {
        let path = StorePath::Object(*object);
        let doing = Doing::Remove(path);
        let _lock = self.lock(doing)?;
        match self.root.file(&path)? {
            Some(file) if file.modified <= unused_since => {
                disk::remove(&path.under(self.root.path())).map_err(|error| self.root.fail(doing, error))
            }
            _ => Ok(false),
        }
    }

    fn objects(&self) -> Result<Vec<StoredObject>, StoreError> {
        let doing = Doing::List("objects");
        let mut objects = Vec::new();
        for byte in 0..=u8::MAX {
            let dir = format!("objects/{byte:02x}");
            let names = match self.root.names(&dir, doing) {
                // A link or a file in its place holds no objects.
                Err(StoreError::Irregular { .. }) => continue,
                names => names?,
            };
            for name in names {
                let Ok(StorePath::Object(id)) = format!("{dir}/{name}").parse() else { continue };
                match self.root.file(&StorePath::Object(id)) {
                    Ok(Some(file)) => objects.push(StoredObject { id, bytes: file.bytes, used: file.modified }),
                    // Another process may remove it meanwhile; and what is no plain file is no object.
                    Ok(None) | Err(StoreError::Irregular { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(objects)
    }
}

/// Parses names and leaves out what is none of ours: desktop systems strew their own files over sticks.
fn parsed<T: FromStr>(names: Vec<String>) -> Vec<T> {
    names.iter().filter_map(|name| name.parse().ok()).collect()
}

/// A temporary file that wasn't written for this long has no writer any more.
const STALE_MILLIS: u64 = 24 * 3_600_000;
