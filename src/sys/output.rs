//! Files that people name for what a command makes.
//!
//! A new file is there only once it is whole, and an old one is replaced then. What a killed command left of it beside it goes
//! when the same file is made again. A link is followed, and what is no regular file, such as a pipe or `/dev/null`, is
//! written into: it must not give way to a file.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::disk::{self, Access, TEMPORARY_PREFIX};

/// A file that is being made.
#[derive(Debug)]
pub struct Output {
    target: Target,
}

#[derive(Debug)]
enum Target {
    /// It gets its name at the end.
    New { file: tempfile::NamedTempFile, path: PathBuf },
    /// A pipe or a device.
    There(File),
}

impl Output {
    /// Begins what will be at `path`; `access` is for a new file.
    ///
    /// # Errors
    /// As the operating system says; `path` is untouched then.
    pub fn create(path: &Path, access: Access) -> io::Result<Self> {
        let path = resolved(path);
        let is_special = fs::metadata(&path).is_ok_and(|found| !found.is_file() && !found.is_dir());
        let target = match is_special {
            true => Target::There(File::options().write(true).open(&path)?),
            false => Target::New { file: begin(&path, access)?, path },
        };
        Ok(Self { target })
    }

    /// What to write into.
    pub fn file(&mut self) -> &mut File {
        match &mut self.target {
            Target::New { file, .. } => file.as_file_mut(),
            Target::There(file) => file,
        }
    }

    /// Gives a new file its name, durably.
    ///
    /// # Errors
    /// As the operating system says.
    pub fn finish(self) -> io::Result<()> {
        match self.target {
            Target::New { file, path } => disk::persist(file, &path),
            Target::There(mut file) => file.flush(),
        }
    }
}

/// Makes the file that will be at `path`, locked while somebody writes into it.
fn begin(path: &Path, access: Access) -> io::Result<tempfile::NamedTempFile> {
    let dir = disk::parent_of(path);
    let name: String = path.file_name().unwrap_or_default().to_string_lossy().chars().take(NAME_CHARS_MAX).collect();
    let prefix = format!("{TEMPORARY_PREFIX}{name}-");
    sweep(dir, &prefix);
    loop {
        let file = disk::temporary_named(dir, &prefix, access)?;
        // Not every file system has locks; where there are none nothing is swept either.
        let is_locked = file.as_file().lock().is_ok();
        // Somebody who sweeps may have come between.
        if !is_locked || file.path().exists() {
            return Ok(file);
        }
    }
}

/// Removes what dead commands left whose names begin so. Nothing depends on it.
fn sweep(dir: &Path, prefix: &str) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if !entry.file_name().to_string_lossy().starts_with(prefix)
            || !entry.file_type().is_ok_and(|kind| kind.is_file())
        {
            continue;
        }
        if let Ok(file) = File::open(entry.path())
            && file.try_lock().is_ok()
        {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// How much of a file's name the names of its temporary files show: with what else is in them they stay below 255 bytes.
const NAME_CHARS_MAX: usize = 50;

/// Writes `bytes` to `path`.
///
/// # Errors
/// As the operating system says.
pub fn write(path: &Path, bytes: &[u8], access: Access) -> io::Result<()> {
    let mut output = Output::create(path, access)?;
    output.file().write_all(bytes)?;
    output.finish()
}

/// Follows links, also one that leads to what isn't there yet.
fn resolved(path: &Path) -> PathBuf {
    if let Ok(found) = fs::canonicalize(path) {
        return found;
    }
    match fs::read_link(path) {
        Ok(target) => disk::parent_of(path).join(target),
        Err(_) => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{FileTypeExt, symlink};

    #[test]
    fn what_a_killed_command_left_goes_and_what_another_writes_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.tar");
        // The lock of a process that was killed is gone, its file is not.
        for left in [".tmp-out.tar-AbCdEf", ".tmp-other.tar-AbCdEf", "out.tar-AbCdEf"] {
            fs::write(dir.path().join(left), b"half").unwrap();
        }
        let mut other = Output::create(&path, Access::Shared).unwrap();
        other.file().write_all(b"one").unwrap();
        write(&path, b"two", Access::Shared).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        other.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one");
        let mut names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, [".tmp-other.tar-AbCdEf", "out.tar", "out.tar-AbCdEf"]);
        let long = dir.path().join("\u{1F600}".repeat(60));
        write(&long, b"three", Access::Shared).unwrap();
    }

    #[test]
    fn files_are_replaced_links_followed_and_pipes_written_into() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        write(&at("new"), b"one", Access::Secret).unwrap();
        write(&at("new"), b"two", Access::Secret).unwrap();
        assert_eq!(fs::read(at("new")).unwrap(), b"two");
        symlink(at("new"), at("link")).unwrap();
        symlink("later", at("dangling")).unwrap();
        write(&at("link"), b"three", Access::Shared).unwrap();
        write(&at("dangling"), b"four", Access::Shared).unwrap();
        assert!(fs::symlink_metadata(at("link")).unwrap().is_symlink());
        assert_eq!(
            (fs::read(at("new")).unwrap(), fs::read(at("later")).unwrap()),
            (b"three".to_vec(), b"four".to_vec())
        );
        let gate = at("gate");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &gate,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        let reader = std::thread::spawn({
            let gate = gate.clone();
            move || fs::read(gate).unwrap()
        });
        write(&gate, b"five", Access::Shared).unwrap();
        assert_eq!(reader.join().unwrap(), b"five");
        assert!(fs::symlink_metadata(&gate).unwrap().file_type().is_fifo());
        assert!(write(dir.path(), b"six", Access::Shared).is_err());
    }
}
