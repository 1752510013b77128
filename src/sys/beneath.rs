//! Files beneath one directory, reached name by name and never through a symbolic link.
//!
//! Paths are relative, their names separated by `/`, and were checked before: this is the second door, for
//! what changes on the disk while we work. A name on the way that is a link, or no directory, is an error.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::random;

/// The beginning of the names of files that are being written.
pub const DRAFT_PREFIX: &str = ".wbsync-";
/// How many random bytes follow, in hex.
const DRAFT_RANDOM_BYTES: usize = 8;

/// A directory.
#[derive(Debug)]
pub struct Beneath {
    path: PathBuf,
    root: OwnedFd,
}

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A pipe, socket or device.
    Other,
}

/// What the file system says of a name without opening it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// What it is.
    pub kind: Kind,
    /// Size in bytes.
    pub size: u64,
    /// When the content changed, in nanoseconds since 1970.
    pub modified_ns: i64,
    /// When the content or anything about the file changed.
    pub changed_ns: i64,
    /// The number of the file on its file system.
    pub inode: u64,
    /// The file system.
    pub device: u64,
    /// The permission bits.
    pub mode: u32,
}

impl Stat {
    /// Reads what the standard library gives.
    pub fn of(metadata: &std::fs::Metadata) -> Self {
        let kind = match metadata.file_type() {
            kind if kind.is_file() => Kind::File,
            kind if kind.is_dir() => Kind::Directory,
            kind if kind.is_symlink() => Kind::Link,
            _ => Kind::Other,
        };
        Self {
            kind,
            size: metadata.size(),
            modified_ns: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            changed_ns: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
            inode: metadata.ino(),
            device: metadata.dev(),
            mode: metadata.mode() & 0o7777,
        }
    }

    /// Tells whether its owner may run it.
    pub fn is_executable(&self) -> bool {
        self.mode & 0o100 != 0
    }
}

/// A file that is being written in the directory that it ends in. Dropped, it is removed.
#[derive(Debug)]
pub struct Draft {
    /// The file, open for writing.
    pub file: File,
    dir: OwnedFd,
    name: String,
    onto: String,
    placed: bool,
}

/// Whether a file may take the place of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// There must be none.
    New,
    /// It does.
    Over,
}

impl Beneath {
    /// Opens a directory; its own path may lead through links, for it is the operator's.
    ///
    /// # Errors
    /// It isn't there, or is no directory.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
        Ok(Self { path: path.to_owned(), root })
    }

    /// Returns the path of the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Looks at a name; `None` if it, or a directory on the way, isn't there.
    ///
    /// # Errors
    /// A name on the way is no directory, or anything else that the operating system says.
    pub fn stat(&self, path: &str) -> io::Result<Option<Stat>> {
        let stat = || -> Result<rustix::fs::Stat, Errno> {
            let (dir, name) = self.parent(path)?;
            rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW)
        };
        let stat = match stat() {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Kind::File,
            FileType::Directory => Kind::Directory,
            FileType::Symlink => Kind::Link,
            _ => Kind::Other,
        };
        Ok(Some(Stat {
            kind,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified_ns: nanoseconds(stat.st_mtime, i64::try_from(stat.st_mtime_nsec).unwrap_or(0)),
            changed_ns: nanoseconds(stat.st_ctime, i64::try_from(stat.st_ctime_nsec).unwrap_or(0)),
            inode: stat.st_ino,
            device: stat.st_dev,
            mode: stat.st_mode & 0o7777,
        }))
    }

    /// Opens a file for reading, without waiting for the other end of a pipe.
    ///
    /// # Errors
    /// It isn't there, is a link, or can't be read.
    pub fn read(&self, path: &str) -> io::Result<File> {
        let (dir, name) = self.parent(path)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Ok(File::from(rustix::fs::openat(&dir, name, flags, Mode::empty())?))
    }

    /// Begins a file that will be at `path`, and makes the directories on the way.
    ///
    /// # Errors
    /// A name on the way is no directory, or the disk can't be written.
    pub fn draft(&self, path: &str) -> io::Result<Draft> {
        self.make_parents(path)?;
        let (dir, onto) = self.parent(path)?;
        let name = format!("{DRAFT_PREFIX}{}", hex(&random::bytes::<DRAFT_RANDOM_BYTES>()));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o666);
        let file = File::from(rustix::fs::openat(&dir, &name, flags, mode)?);
        Ok(Draft { file, dir, name, onto: onto.to_owned(), placed: false })
    }

    /// Moves a file to a name that is free.
    ///
    /// # Errors
    /// The name is taken, a name on the way is no directory, or the disk can't be written.
    pub fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let (from_dir, from) = self.parent(from)?;
        let (to_dir, to) = self.parent(to)?;
        rename_new(&from_dir, from, &to_dir, to)?;
        Ok(rustix::fs::fsync(&to_dir)?)
    }

    /// Lets the owner run a file, and whoever may read it; or nobody.
    ///
    /// # Errors
    /// It isn't there, is a link, or is somebody else's.
    pub fn set_executable(&self, path: &str, is_executable: bool) -> io::Result<()> {
        let file = self.read(path)?;
        let mode = Stat::of(&file.metadata()?).mode;
        Ok(rustix::fs::fchmod(&file, Mode::from_raw_mode(executable(mode, is_executable)))?)
    }

    /// Removes a file, and the directories on the way that are empty then.
    ///
    /// # Errors
    /// A name on the way is no directory, or the disk can't be written. That it isn't there is none.
    pub fn remove(&self, path: &str) -> io::Result<()> {
        let (dir, name) = match self.parent(path) {
            Err(Errno::NOENT) => return Ok(()),
            found => found?,
        };
        match rustix::fs::unlinkat(&dir, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        rustix::fs::fsync(&dir)?;
        let mut rest = path;
        while let Some((above, _)) = rest.rsplit_once('/') {
            let (dir, name) = self.parent(above)?;
            if rustix::fs::unlinkat(&dir, name, AtFlags::REMOVEDIR).is_err() {
                break;
            }
            rest = above;
        }
        Ok(())
    }

    /// Opens the directory that a path's last name is in, and gives that name.
    fn parent<'a>(&self, path: &'a str) -> Result<(OwnedFd, &'a str), Errno> {
        let mut dir = self.root.try_clone().map_err(|_| Errno::MFILE)?;
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        for part in above.split('/').filter(|part| !part.is_empty()) {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            dir = rustix::fs::openat(&dir, part, flags, Mode::empty())?;
        }
        Ok((dir, name))
    }

    fn make_parents(&self, path: &str) -> io::Result<()> {
        for (at, _) in path.match_indices('/') {
            let (dir, name) = self.parent(&path[..at])?;
            match rustix::fs::mkdirat(&dir, name, Mode::from_raw_mode(0o777)) {
                Ok(()) => rustix::fs::fsync(&dir)?,
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

impl Draft {
    /// Gives the file its name, once it is on the disk.
    ///
    /// # Errors
    /// `AlreadyExists` if the name must be free and isn't; or the disk can't be written.
    pub fn place(mut self, place: Place, mode: u32) -> io::Result<Stat> {
        rustix::fs::fchmod(&self.file, Mode::from_raw_mode(mode))?;
        self.file.sync_all()?;
        match place {
            Place::New => rename_new(&self.dir, &self.name, &self.dir, &self.onto)?,
            Place::Over => rustix::fs::renameat(&self.dir, &self.name, &self.dir, &self.onto)?,
        }
        self.placed = true;
        rustix::fs::fsync(&self.dir)?;
        Ok(Stat::of(&self.file.metadata()?))
    }

    /// Returns the permission bits that the operating system gave a new file, made executable or not.
    ///
    /// # Errors
    /// The file can't be looked at.
    pub fn mode(&self, is_executable: bool) -> io::Result<u32> {
        Ok(executable(Stat::of(&self.file.metadata()?).mode, is_executable))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.placed {
            let _ = rustix::fs::unlinkat(&self.dir, &self.name, AtFlags::empty());
        }
    }
}

/// Returns permission bits with those that let run it set, where it may be read, or none of them.
pub fn executable(mode: u32, is_executable: bool) -> u32 {
    if is_executable { mode | (mode & 0o444) >> 2 } else { mode & !0o111 }
}

/// Tells whether a name is one that `draft` gives: of a file that is being written, or that a killed process left.
pub fn is_draft(name: &str) -> bool {
    let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    name.strip_prefix(DRAFT_PREFIX).is_some_and(|rest| rest.len() == 2 * DRAFT_RANDOM_BYTES && rest.bytes().all(is_hex))
}

/// Tells whether a name on the way to a file is a link, or no directory.
pub fn is_way_blocked(error: &io::Error) -> bool {
    let codes = [Errno::NOTDIR, Errno::LOOP, Errno::MLINK];
    error.raw_os_error().is_some_and(|code| codes.iter().any(|known| known.raw_os_error() == code))
}

fn rename_new(from_dir: &OwnedFd, from: &str, to_dir: &OwnedFd, to: &str) -> Result<(), Errno> {
    match rustix::fs::renameat_with(from_dir, from, to_dir, to, RenameFlags::NOREPLACE) {
        // Not every file system can promise it at once.
        Err(Errno::INVAL | Errno::NOSYS) => match rustix::fs::statat(to_dir, to, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => rustix::fs::renameat(from_dir, from, to_dir, to),
            Err(error) => Err(error),
            Ok(_) => Err(Errno::EXIST),
        },
        done => done,
    }
}

fn nanoseconds(seconds: i64, rest: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(rest)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_on_the_way_and_at_the_end_are_refused() {
        let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(outside.path().join("secret"), "x").unwrap();
        symlink(outside.path(), inside.path().join("dir")).unwrap();
        symlink(outside.path().join("secret"), inside.path().join("file")).unwrap();
        let beneath = Beneath::open(inside.path()).unwrap();
        assert!(beneath.read("dir/secret").is_err());
        assert!(beneath.read("file").is_err());
        assert!(beneath.draft("dir/new").is_err());
        assert!(beneath.draft("dir/sub/new").is_err());
        assert!(beneath.remove("dir/secret").is_err());
        assert!(beneath.set_executable("file", true).is_err());
        assert!(beneath.stat("dir/secret").is_err());
        assert_eq!(beneath.stat("file").unwrap().unwrap().kind, Kind::Link);
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_new_file_takes_no_name_that_is_taken_and_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let beneath = Beneath::open(dir.path()).unwrap();
        let write = |place, text: &str| {
            let mut draft = beneath.draft("a/b/c")?;
            draft.file.write_all(text.as_bytes())?;
            draft.place(place, 0o644)
        };
        write(Place::New, "one").unwrap();
        assert_eq!(write(Place::New, "two").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read_to_string(dir.path().join("a/b/c")).unwrap(), "one");
        write(Place::Over, "two").unwrap();
        assert_eq!(std::fs::read_to_string(dir.path().join("a/b/c")).unwrap(), "two");
        assert_eq!(std::fs::read_dir(dir.path().join("a/b")).unwrap().count(), 1);
        beneath.remove("a/b/c").unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "empty directories go too");
    }

    #[test]
    fn a_draft_is_known_by_its_name_and_nothing_else_is_taken_for_one() {
        let dir = tempfile::tempdir().unwrap();
        let draft = Beneath::open(dir.path()).unwrap().draft("a").unwrap();
        assert!(is_draft(&draft.name));
        for name in
            [".wbsync-", ".wbsync-notes", ".wbsync-0123456789ABCDEF", ".wbsync-0123456789abcdef0", "0123456789abcdef"]
        {
            assert!(!is_draft(name), "{name}");
        }
    }

    #[test]
    fn whoever_reads_may_run() {
        assert_eq!(executable(0o640, true), 0o750);
        assert_eq!(executable(0o755, false), 0o644);
    }
}
