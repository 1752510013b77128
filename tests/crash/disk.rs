//! A disk that knows what was synced: what a crash leaves of recorded calls.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use wbsync::testing::prng::Prng;

use crate::trace::Call;

/// A file, whatever it is called now.
#[derive(Debug, Clone, Default)]
struct File {
    bytes: Vec<u8>,
    /// As it was last synced.
    synced: Vec<u8>,
    /// What was done to it since.
    since: Vec<Patch>,
}

#[derive(Debug, Clone)]
enum Patch {
    Bytes(usize, Vec<u8>),
    Length(usize),
}

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    File(usize),
    Dir,
}

/// An open file.
#[derive(Debug, Clone)]
struct Open {
    /// Nothing: not one of ours.
    file: Option<usize>,
    path: PathBuf,
    at: usize,
    appends: bool,
}

/// What is lost.
#[derive(Debug, Clone)]
pub enum Loss {
    /// Nothing: the process died, and the machine didn't.
    Nothing,
    /// Everything that was not synced.
    Everything,
    /// Some of that, in any order, also parts of blocks.
    Some(Prng),
}

impl Loss {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Everything => "all that was not synced",
            Self::Some(_) => "some of what was not synced",
        }
    }
}

/// The directories that matter, call by call.
#[derive(Debug, Clone)]
pub struct Disk {
    roots: Vec<PathBuf>,
    current: PathBuf,
    files: Vec<File>,
    names: BTreeMap<PathBuf, Entry>,
    /// By directory: what names stood for before they were changed, since it was synced.
    renamed: BTreeMap<PathBuf, Vec<(PathBuf, Option<Entry>)>>,
    open: HashMap<i64, Open>,
}

/// What is in the directories: bytes, or `None` for a directory.
pub type Image = BTreeMap<PathBuf, Option<Vec<u8>>>;

/// What processes share in memory only.
fn is_memory(path: &Path) -> bool {
    path.to_string_lossy().ends_with("-shm")
}

/// Reads what is in directories now.
pub fn image_of(roots: &[PathBuf]) -> Image {
    let mut image = Image::new();
    for entry in roots.iter().flat_map(walkdir::WalkDir::new).map(Result::unwrap) {
        let bytes = entry.file_type().is_file().then(|| fs::read(entry.path()).unwrap());
        if !is_memory(entry.path()) {
            image.insert(entry.into_path(), bytes);
        }
    }
    image
}

/// Makes directories hold this and nothing else.
pub fn write_image(roots: &[PathBuf], image: &Image) {
    for root in roots {
        for entry in fs::read_dir(root).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) }.unwrap();
        }
    }
    for (path, bytes) in image {
        match bytes {
            Some(bytes) => {
                fs::write(path, bytes).unwrap();
                // Keys that others may read are refused.
                fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
            }
            None => fs::create_dir_all(path).unwrap(),
        }
    }
}

impl Disk {
    /// Begins with what is there, all of it durable; the process starts in `current`.
    pub fn of(roots: &[PathBuf], current: &Path) -> Self {
        let mut disk = Self {
            roots: roots.to_vec(),
            current: current.to_owned(),
            files: Vec::new(),
            names: BTreeMap::new(),
            renamed: BTreeMap::new(),
            open: HashMap::new(),
        };
        for (path, bytes) in image_of(roots) {
            let entry = bytes.map_or(Entry::Dir, |bytes| {
                disk.files.push(File { synced: bytes.clone(), bytes, since: Vec::new() });
                Entry::File(disk.files.len() - 1)
            });
            disk.names.insert(path, entry);
        }
        disk
    }

    fn is_ours(&self, path: &Path) -> bool {
        self.roots.iter().any(|root| path.starts_with(root)) && !is_memory(path)
    }

    fn path(&self, dir: Option<&str>, name: &[u8]) -> PathBuf {
        let base = match dir {
            None | Some("AT_FDCWD") => self.current.clone(),
            Some(number) => self.open[&number.parse().unwrap()].path.clone(),
        };
        let mut path = PathBuf::new();
        for part in base.join(std::str::from_utf8(name).unwrap()).components() {
            match part {
                Component::CurDir => {}
                Component::ParentDir => drop(path.pop()),
                part => path.push(part),
            }
        }
        path
    }

    fn name(&mut self, path: &Path, entry: Option<Entry>) {
        let dir = path.parent().unwrap().to_owned();
        let before = match entry {
            Some(entry) => self.names.insert(path.to_owned(), entry),
            None => self.names.remove(path),
        };
        self.renamed.entry(dir).or_default().push((path.to_owned(), before));
    }

    fn file_at(&mut self, path: &Path, flags: &str) -> Option<usize> {
        if !self.is_ours(path) {
            return None;
        }
        if flags.contains("O_TMPFILE") {
            self.files.push(File::default());
            return Some(self.files.len() - 1);
        }
        let found = match self.names.get(path) {
            Some(Entry::File(file)) => *file,
            Some(Entry::Dir) => return None,
            None => {
                assert!(flags.contains("O_CREAT"), "{} was opened and isn't there", path.display());
                self.files.push(File::default());
                let file = self.files.len() - 1;
                self.name(path, Some(Entry::File(file)));
                file
            }
        };
        if flags.contains("O_TRUNC") {
            self.cut(found, 0);
        }
        Some(found)
    }

    fn cut(&mut self, file: usize, length: usize) {
        let file = &mut self.files[file];
        file.bytes.resize(length, 0);
        file.since.push(Patch::Length(length));
    }

    fn put(&mut self, file: usize, at: usize, bytes: &[u8]) {
        let file = &mut self.files[file];
        patch(&mut file.bytes, at, bytes);
        file.since.push(Patch::Bytes(at, bytes.to_vec()));
    }

    /// Does what a call did; tells whether it changed what is on the disk, or what is durable.
    pub fn make(&mut self, call: &Call) -> bool {
        let args = &call.args;
        match call.name.as_str() {
            "openat" | "open" | "creat" => {
                let at = usize::from(call.name == "openat");
                let dir = (at == 1).then(|| args[0].word().to_owned());
                let path = self.path(dir.as_deref(), args[at].bytes());
                let flags = if call.name == "creat" { "O_CREAT|O_TRUNC" } else { args[at + 1].word() };
                let was_there = self.names.contains_key(&path);
                let file = self.file_at(&path, flags);
                let appends = flags.contains("O_APPEND");
                self.open.insert(call.result, Open { file, path, at: 0, appends });
                return file.is_some() && (!was_there || flags.contains("O_TRUNC"));
            }
            "close" => drop(self.open.remove(&args[0].number())),
            "dup" | "dup2" | "dup3" => self.copy_open(args[0].number(), call.result),
            "fcntl" if args[1].word().starts_with("F_DUPFD") => self.copy_open(args[0].number(), call.result),
            "lseek" => self.seek(args[0].number(), call.result as usize),
            "read" => {
                let at = self.open.get(&args[0].number()).map_or(0, |open| open.at);
                self.seek(args[0].number(), at + call.result as usize);
            }
            "write" | "writev" => {
                let bytes = args[1].bytes()[..call.result as usize].to_vec();
                return self.append(args[0].number(), &bytes);
            }
            "pwrite64" => {
                let Some(file) = self.file_of(args[0].number()) else { return false };
                self.put(file, args[3].number() as usize, &args[1].bytes()[..call.result as usize]);
                return true;
            }
            "copy_file_range" | "sendfile" => {
                let (from, to) = if call.name == "sendfile" { (1, 0) } else { (0, 2) };
                assert!(args[1 + from].word() == "NULL" || from == 1, "an offset in {call:?}");
                let source = self.open.get(&args[from].number()).cloned();
                let count = call.result as usize;
                let Some(source) = source.filter(|source| source.file.is_some()) else {
                    assert!(self.file_of(args[to].number()).is_none(), "a copy of what isn't ours: {call:?}");
                    return false;
                };
                let bytes = self.files[source.file.unwrap()].bytes[source.at..source.at + count].to_vec();
                self.seek(args[from].number(), source.at + count);
                return self.append(args[to].number(), &bytes);
            }
            "ftruncate" => {
                let Some(file) = self.file_of(args[0].number()) else { return false };
                self.cut(file, args[1].number() as usize);
                return true;
            }
            "rename" | "renameat" | "renameat2" => {
                let (from, to) = if call.name == "rename" {
                    (self.path(None, args[0].bytes()), self.path(None, args[1].bytes()))
                } else {
                    (self.path(Some(args[0].word()), args[1].bytes()), self.path(Some(args[2].word()), args[3].bytes()))
                };
                if !self.is_ours(&from) {
                    return false;
                }
                let entry = self.names[&from];
                assert!(entry != Entry::Dir, "a directory is renamed: {}", from.display());
                self.name(&to, Some(entry));
                self.name(&from, None);
                return true;
            }
            "unlink" | "unlinkat" | "rmdir" => {
                let path = match call.name.as_str() {
                    "unlinkat" => self.path(Some(args[0].word()), args[1].bytes()),
                    _ => self.path(None, args[0].bytes()),
                };
                if self.is_ours(&path) {
                    self.name(&path, None);
                    return true;
                }
            }
            "mkdir" | "mkdirat" => {
                let path = match call.name.as_str() {
                    "mkdirat" => self.path(Some(args[0].word()), args[1].bytes()),
                    _ => self.path(None, args[0].bytes()),
                };
                if self.is_ours(&path) {
                    self.name(&path, Some(Entry::Dir));
                    return true;
                }
            }
            "fsync" | "fdatasync" => return self.sync(args[0].number()),
            "chdir" | "fallocate" | "link" | "linkat" | "symlink" | "symlinkat" | "pwritev" => {
                panic!("{} isn't understood: {call:?}", call.name)
            }
            _ => {}
        }
        false
    }

    fn copy_open(&mut self, from: i64, to: i64) {
        if let Some(open) = self.open.get(&from).cloned() {
            self.open.insert(to, open);
        }
    }

    fn file_of(&self, number: i64) -> Option<usize> {
        self.open.get(&number)?.file
    }

    fn seek(&mut self, number: i64, at: usize) {
        if let Some(open) = self.open.get_mut(&number) {
            open.at = at;
        }
    }

    fn append(&mut self, number: i64, bytes: &[u8]) -> bool {
        let Some(open) = self.open.get(&number).cloned() else { return false };
        let Some(file) = open.file else { return false };
        let at = if open.appends { self.files[file].bytes.len() } else { open.at };
        self.put(file, at, bytes);
        self.seek(number, at + bytes.len());
        true
    }

    fn sync(&mut self, number: i64) -> bool {
        let Some(open) = self.open.get(&number) else { return false };
        match open.file {
            Some(file) => {
                let file = &mut self.files[file];
                file.synced.clone_from(&file.bytes);
                file.since.clear();
            }
            None => drop(self.renamed.remove(&open.path)),
        }
        self.is_ours(&open.path)
    }

    /// Returns what a crash now leaves.
    pub fn after(&self, loss: &mut Loss) -> Image {
        let mut names = self.names.clone();
        let mut loses = |per_mille: u64| match loss {
            Loss::Nothing => false,
            Loss::Everything => true,
            Loss::Some(chance) => chance.chance(per_mille),
        };
        for (path, before) in self.renamed.values().flat_map(|changes| lost_names(changes, &mut loses)) {
            match before {
                Some(entry) => names.insert(path, entry),
                None => names.remove(&path),
            };
        }
        let mut image = Image::new();
        for (path, entry) in &names {
            // What lies in a directory that was lost is lost.
            let is_reached = path.ancestors().skip(1).take_while(|dir| !self.roots.contains(&dir.to_path_buf()));
            if !self.roots.contains(path) && !is_reached.into_iter().all(|dir| names.contains_key(dir)) {
                continue;
            }
            image.insert(
                path.clone(),
                match entry {
                    Entry::Dir => None,
                    Entry::File(file) => Some(self.files[*file].after(loss)),
                },
            );
        }
        image
    }
}

/// The changes of names in a directory that are taken back: of each name the last ones.
fn lost_names(
    changes: &[(PathBuf, Option<Entry>)],
    loses: &mut impl FnMut(u64) -> bool,
) -> Vec<(PathBuf, Option<Entry>)> {
    let mut kept: Vec<&Path> = Vec::new();
    let mut lost = Vec::new();
    for (path, before) in changes.iter().rev() {
        if kept.contains(&path.as_path()) || !loses(500) {
            kept.push(path);
        } else {
            lost.push((path.clone(), *before));
        }
    }
    lost
}

impl File {
    fn after(&self, loss: &mut Loss) -> Vec<u8> {
        let chance = match loss {
            Loss::Nothing => return self.bytes.clone(),
            Loss::Everything => return self.synced.clone(),
            Loss::Some(chance) => chance,
        };
        let mut bytes = self.synced.clone();
        for change in &self.since {
            match change {
                _ if chance.chance(500) => {}
                Patch::Length(length) => bytes.resize(*length, 0),
                Patch::Bytes(at, written) => {
                    let sectors = written.len().div_ceil(SECTOR) as u64;
                    let end =
                        if chance.chance(300) { chance.below(sectors + 1) as usize * SECTOR } else { written.len() };
                    patch(&mut bytes, *at, &written[..end.min(written.len())]);
                }
            }
        }
        bytes
    }
}

/// What a disk writes whole.
const SECTOR: usize = 512;

fn patch(bytes: &mut Vec<u8>, at: usize, written: &[u8]) {
    if bytes.len() < at + written.len() {
        bytes.resize(at + written.len(), 0);
    }
    bytes[at..at + written.len()].copy_from_slice(written);
}
