//! Files: durable replacement, bounded reading, locks.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::sys::clock::UnixMillis;
use crate::sys::rig::{self, Call};

/// Who may read a file that we write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// As the umask says.
    Shared,
    /// The owner only (mode 0600).
    Secret,
}

/// Replaces `path` with `bytes` so that a crash leaves the old or the new file, whole.
///
/// Writes a temporary file beside it, syncs, renames, and syncs the directory.
///
/// # Errors
/// As the operating system says; `path` is untouched then.
pub fn replace(path: &Path, bytes: &[u8], access: Access) -> io::Result<()> {
    let mut file = temporary_in(parent_of(path), access)?;
    file.write_all(bytes)?;
    persist(file, path)
}

/// Gives a temporary file its name, durably; it must lie in the directory of `path`.
///
/// # Errors
/// As the operating system says; `path` is untouched then, unless only the last sync failed.
pub fn persist(file: tempfile::NamedTempFile, path: &Path) -> io::Result<()> {
    sync(file.as_file(), path)?;
    rig::before(Call::Rename, path)?;
    file.persist(path).map_err(|error| error.error)?;
    date(path)?;
    sync_dir(parent_of(path))
}

/// Makes the bytes of a file durable before it gets its name, `path`.
///
/// # Errors
/// As the operating system says.
pub fn sync(file: &File, path: &Path) -> io::Result<()> {
    rig::before(Call::Sync, path)?;
    file.sync_all()
}

/// Lets a simulated clock, where there is one, say when a file was written.
fn date(path: &Path) -> io::Result<()> {
    rig::installed().map_or(Ok(()), |rig| set_modified(path, rig.now()))
}

/// How the names of files begin that are still being written.
pub const TEMPORARY_PREFIX: &str = ".tmp-";

/// Makes a temporary file in `dir` that vanishes unless it is persisted.
///
/// # Errors
/// As the operating system says.
pub fn temporary_in(dir: &Path, access: Access) -> io::Result<tempfile::NamedTempFile> {
    temporary_named(dir, TEMPORARY_PREFIX, access)
}

/// Makes such a file whose name begins with `prefix`, which begins with [`TEMPORARY_PREFIX`].
///
/// # Errors
/// As the operating system says.
pub fn temporary_named(dir: &Path, prefix: &str, access: Access) -> io::Result<tempfile::NamedTempFile> {
    debug_assert!(prefix.starts_with(TEMPORARY_PREFIX), "whoever finds it must know that it is no document");
    rig::before(Call::Create, dir)?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(prefix);
    #[cfg(unix)]
    if access == Access::Shared {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o644));
    }
    builder.tempfile_in(dir)
}

/// Makes the entries of a directory durable.
///
/// # Errors
/// As the operating system says; file systems that can't sync a directory are not an error.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    rig::before(Call::SyncDir, dir)?;
    match File::open(dir).and_then(|dir| dir.sync_all()) {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        other => other,
    }
}

/// Reads a whole file of at most `bound` bytes, or returns `None` if there is none.
///
/// # Errors
/// `InvalidData` if it is longer; else as the operating system says.
pub fn read_bounded(path: &Path, bound: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(bound + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bound {
        let message = format!("the file is longer than {bound} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    Ok(Some(bytes))
}

/// Makes a directory and its parents, durable; fine if it is there.
///
/// # Errors
/// As the operating system says.
pub fn create_dir(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let parent = parent_of(dir);
    create_dir(parent)?;
    rig::before(Call::MakeDir, dir)?;
    match fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    sync_dir(parent)
}

/// Makes one directory, durable; fine if it is there. Its parent must be.
///
/// # Errors
/// As the operating system says.
pub fn create_dir_in_parent(dir: &Path) -> io::Result<()> {
    rig::before(Call::MakeDir, dir)?;
    match fs::create_dir(dir) {
        Ok(()) => sync_dir(parent_of(dir)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// What lies at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// A plain file.
    File {
        /// Its size.
        bytes: u64,
        /// When it was last written.
        modified: UnixMillis,
    },
    /// A directory.
    Dir,
    /// A symbolic link, a pipe, a device.
    Other,
}

/// Tells what lies at `path`, following no link in its last part.
///
/// # Errors
/// As the operating system says; nothing being there is `None`.
pub fn look(path: &Path) -> io::Result<Option<Entry>> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(Some(if found.is_file() {
        let since = found.modified()?.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let modified = UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
        Entry::File { bytes: found.len(), modified }
    } else if found.is_dir() {
        Entry::Dir
    } else {
        Entry::Other
    }))
}

/// Returns the names in a directory, ascending, or `None` if there is none; names that are not UTF-8 are left out.
///
/// # Errors
/// `InvalidData` if there are more than `bound`; else as the operating system says.
pub fn names(dir: &Path, bound: usize) -> io::Result<Option<Vec<String>>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        if names.len() == bound {
            let message = format!("the directory has more than {bound} entries");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        names.extend(entry?.file_name().into_string().ok());
    }
    names.sort_unstable();
    Ok(Some(names))
}

/// Opens a file for reading from `offset` on; past the end there is nothing to read.
///
/// # Errors
/// As the operating system says.
pub fn open_at(path: &Path, offset: u64) -> io::Result<File> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    Ok(file)
}

/// Opens a file to go on writing it, making it if there is none; `None` if another process is at it.
///
/// The lock lasts as long as the file is open. Without locks in the file system there is none.
///
/// # Errors
/// As the operating system says.
pub fn open_part(path: &Path) -> io::Result<Option<File>> {
    rig::before(Call::Create, path)?;
    let file = File::options().create(true).truncate(false).read(true).write(true).open(path)?;
    match file.try_lock() {
        Err(fs::TryLockError::WouldBlock) => Ok(None),
        Err(fs::TryLockError::Error(error)) if !means_no_locks(&error) => Err(error),
        _ => Ok(Some(file)),
    }
}

/// Opens a file as `open_part` does, for us alone: `None` also where the file system has no locks, and where another process
/// gave the path to another file, or removed it, before the lock was ours.
///
/// As long as the file is open, everybody else who opens it so leaves the path alone.
///
/// # Errors
/// As the operating system says.
pub fn open_exclusive(path: &Path) -> io::Result<Option<File>> {
    let file = File::options().create(true).truncate(false).read(true).write(true).open(path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => return Ok(None),
        Err(fs::TryLockError::Error(error)) if means_no_locks(&error) => return Ok(None),
        Err(fs::TryLockError::Error(error)) => return Err(error),
    }
    let is_same = match fs::symlink_metadata(path) {
        Ok(found) => is_same_file(&found, &file.metadata()?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(error),
    };
    Ok(is_same.then_some(file))
}

#[cfg(unix)]
fn is_same_file(one: &fs::Metadata, other: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

#[cfg(not(unix))]
fn is_same_file(_: &fs::Metadata, _: &fs::Metadata) -> bool {
    // A locked file can't be renamed or removed there.
    true
}

/// Makes a file that wasn't there, with these bytes.
///
/// # Errors
/// `AlreadyExists`; else as the operating system says.
pub fn create_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    rig::before(Call::Create, path)?;
    let mut file = File::options().create_new(true).write(true).open(path)?;
    file.write_all(bytes)?;
    sync(&file, path)
}

/// Writes over a file where it lies, which needs no room: the rest of it becomes blank. A crash may leave it half written.
///
/// # Errors
/// `FileTooLarge` if the file is shorter; else as the operating system says.
pub fn overwrite(path: &Path, bytes: &[u8]) -> io::Result<()> {
    rig::before(Call::Create, path)?;
    let mut file = fs::OpenOptions::new().write(true).open(path)?;
    let room = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    if room < bytes.len() {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut whole = bytes.to_vec();
    whole.resize(room, b' ');
    file.write_all(&whole)
}

/// Renames a file within its directory, durably.
///
/// # Errors
/// As the operating system says.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    rig::before(Call::Rename, to)?;
    fs::rename(from, to)?;
    sync_dir(parent_of(to))
}

/// Removes a file, durably; tells whether there was one.
///
/// # Errors
/// As the operating system says.
pub fn remove(path: &Path) -> io::Result<bool> {
    rig::before(Call::Remove, path)?;
    match fs::remove_file(path) {
        Ok(()) => sync_dir(parent_of(path)).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Removes a directory with all that is in it; fine if there is none.
///
/// # Errors
/// As the operating system says.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    rig::before(Call::Remove, path)?;
    match fs::remove_dir_all(path) {
        Ok(()) => sync_dir(parent_of(path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Sets when a file was last written.
///
/// # Errors
/// As the operating system says; only its owner may.
pub fn set_modified(path: &Path, time: UnixMillis) -> io::Result<()> {
    let time = SystemTime::UNIX_EPOCH + Duration::from_millis(time.0);
    File::options().write(true).open(path)?.set_modified(time)
}

/// Reads at most the first `most` bytes of a file.
///
/// # Errors
/// As the operating system says.
pub fn read_start(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// An advisory lock on a file, released when dropped or when the process ends.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Lock {
    /// Takes the lock, or returns `None` if another process holds it.
    ///
    /// # Errors
    /// As the operating system says; file systems without locks give `Unsupported`.
    pub fn try_take(path: &Path) -> io::Result<Option<Self>> {
        let file = File::options().create(true).truncate(false).write(true).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { file })),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) if means_no_locks(&error) => Err(io::ErrorKind::Unsupported.into()),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }

    /// Writes a line for those who find the file locked. One of the same length needs no room, so it is written on a full disk too.
    ///
    /// # Errors
    /// As the operating system says.
    pub fn note(&mut self, line: &str) -> io::Result<()> {
        self.file.rewind()?;
        self.file.write_all(line.as_bytes())
    }

    /// Takes the lock, waiting for whoever holds it.
    ///
    /// # Errors
    /// As `try_take`.
    pub fn take(path: &Path) -> io::Result<Self> {
        let file = File::options().create(true).truncate(false).write(true).open(path)?;
        file.lock()?;
        Ok(Self { file })
    }
}

/// Some file systems say `ENOLCK` where others say that locks are unsupported.
fn means_no_locks(error: &io::Error) -> bool {
    const ENOLCK: i32 = if cfg!(target_os = "linux") { 37 } else { 77 };
    error.kind() == io::ErrorKind::Unsupported || (cfg!(unix) && error.raw_os_error() == Some(ENOLCK))
}

pub(super) fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaced_file_is_whole_and_bounded_reads_refuse_more() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        create_dir(path.parent().unwrap()).unwrap();
        replace(&path, b"one", Access::Shared).unwrap();
        replace(&path, b"three", Access::Secret).unwrap();
        assert_eq!(read_bounded(&path, 5).unwrap().unwrap(), b"three");
        assert_eq!(read_bounded(&path, 4).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(read_bounded(&dir.path().join("none"), 4).unwrap(), None);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no temporary file is left");
        overwrite(&path, b"two").unwrap();
        assert_eq!(read_bounded(&path, 5).unwrap().unwrap(), b"two  ");
        assert_eq!(overwrite(&path, b"longer").unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn a_look_follows_no_link_and_a_listing_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        create_new(&path, b"abc").unwrap();
        assert_eq!(create_new(&path, b"x").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        set_modified(&path, UnixMillis(1_700_000_000_000)).unwrap();
        assert_eq!(look(&path).unwrap(), Some(Entry::File { bytes: 3, modified: UnixMillis(1_700_000_000_000) }));
        #[cfg(unix)]
        std::os::unix::fs::symlink(&path, dir.path().join("link")).unwrap();
        #[cfg(unix)]
        assert_eq!(look(&dir.path().join("link")).unwrap(), Some(Entry::Other));
        assert_eq!(look(dir.path()).unwrap(), Some(Entry::Dir));
        assert_eq!(look(&dir.path().join("none")).unwrap(), None);
        assert_eq!(names(dir.path(), 2).unwrap().unwrap(), ["file", "link"]);
        assert_eq!(names(dir.path(), 1).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert!(remove(&path).unwrap());
        assert!(!remove(&path).unwrap());
    }

    #[test]
    fn a_part_is_opened_by_one_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.part");
        let held = open_part(&path).unwrap();
        assert!(held.is_some());
        assert!(open_part(&path).unwrap().is_none());
        drop(held);
        assert!(open_part(&path).unwrap().is_some());
    }

    #[test]
    #[cfg(unix)]
    fn a_file_that_lost_its_path_is_nobodys() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.part");
        let held = open_exclusive(&path).unwrap().unwrap();
        assert!(open_exclusive(&path).unwrap().is_none(), "it is locked");
        let late = File::options().read(true).write(true).open(&path).unwrap();
        rename(&path, &dir.path().join("whole")).unwrap();
        drop(held);
        create_new(&path, b"").unwrap();
        let (found, late) = (fs::symlink_metadata(&path).unwrap(), late.metadata().unwrap());
        assert!(!is_same_file(&found, &late), "though both are as long");
        assert!(open_exclusive(&path).unwrap().is_some());
        std::os::unix::fs::symlink(dir.path().join("whole"), dir.path().join("link")).unwrap();
        assert!(open_exclusive(&dir.path().join("link")).unwrap().is_none(), "a link is no file of ours");
    }

    #[test]
    fn a_lock_is_exclusive_until_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = Lock::try_take(&path).unwrap();
        assert!(held.is_some());
        assert!(Lock::try_take(&path).unwrap().is_none());
        drop(held);
        assert!(Lock::try_take(&path).unwrap().is_some());
    }
}
