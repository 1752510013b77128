//! Checkout: a directory comes to show what the table that stands for it says.
//!
//! A file is written beside its place and renamed, never through a link and never over what we don't know: what
//! somebody changed here since we last looked is set aside under another name first. Whatever was interrupted is
//! found again by comparing the table, what we knew of the disk, and the disk.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use rusqlite::{OptionalExtension, params};

use super::aside;
use super::content::{Chunk, Content, unpack};
use super::ground::Ground;
use super::list::{UNREADABLE, is_beneath};
use super::path;
use super::read::{self, Reading};
use super::section::{Section, table};
use super::shadow::{Disk, Mark, Step, is_as_known};
use super::source::Sources;
use crate::connector::error::Error;
use crate::id::name::DatasetName;
use crate::sys::beneath::{Beneath, Kind, Place, Stat, executable, is_way_blocked};

/// Why a file waits whose path is that of another.
const RIVAL: &str =
    "another file of this path is here, with another content: rename or delete that, and this one comes";
const STRANGE_DIR: &str = "its directory is another one than it was, without any of its files: is a disk not mounted?";
/// How often what waited for another file is tried again.
const PASSES_MAX: usize = 8;

/// One directory with its bookkeeping, and where pieces are.
#[derive(Debug)]
pub(super) struct Checkout<'a> {
    pub(super) sources: Sources<'a>,
    pub(super) dataset: &'a DatasetName,
    pub(super) section: &'a Section,
    pub(super) beneath: &'a Beneath,
    pub(super) now_ns: i64,
}

/// A file that isn't on the disk as it is to be.
#[derive(Debug)]
struct Pending {
    file: i64,
    path: String,
    is_executable: bool,
    content: Option<Vec<u8>>,
}

/// Why a file isn't written.
#[derive(Debug)]
enum Fail {
    /// For a reason that people should see.
    Waits(String),
    /// Pieces of it are not here.
    Lacks(Vec<[u8; 32]>),
    Sql(rusqlite::Error),
}

impl From<rusqlite::Error> for Fail {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<io::Error> for Fail {
    fn from(error: io::Error) -> Self {
        if is_way_blocked(&error) {
            return Self::Waits("a name in its path is a file or a symbolic link here".into());
        }
        Self::Waits(match error.kind() {
            io::ErrorKind::IsADirectory => "its name is a directory here".into(),
            io::ErrorKind::AlreadyExists => "its name is taken here".into(),
            _ => format!("the operating system refuses it: {error}"),
        })
    }
}

/// What stands in the place of a file.
enum There {
    Nothing,
    /// The file as it is to be.
    Wanted(Stat),
    /// A file that we know, and that nobody changed.
    Known(Stat),
    /// Somebody's own file, or a change that nobody has taken in.
    Changed,
    /// A directory, link or device.
    InTheWay,
}

impl Checkout<'_> {
    /// Writes and removes what differs. Returns the pieces that are wanted and not here.
    ///
    /// # Errors
    /// The bookkeeping can't be read or written. That a file can't is written down.
    pub(super) fn run(&self) -> Result<BTreeSet<[u8; 32]>, Error> {
        self.pass_all().map_err(|source| self.sources.shadow.failed("write files", source))
    }

    fn pass_all(&self) -> rusqlite::Result<BTreeSet<[u8; 32]>> {
        let shadow = self.sources.shadow;
        let mut lacking = BTreeSet::new();
        let mut before = usize::MAX;
        let strange = match self.has_work()? {
            true => Ground { shadow, dataset: self.dataset, beneath: self.beneath }.strange_now()?,
            false => BTreeSet::new(),
        };
        for _ in 0..PASSES_MAX {
            shadow.clear_trouble(self.dataset, Step::Write)?;
            let pending = self.pending()?;
            let mut left = pending.len();
            lacking.clear();
            let names = if pending.is_empty() { BTreeMap::new() } else { self.names()? };
            let wanted = self.wanted(&pending);
            for file in &pending {
                let before = shadow.disk_of(self.dataset, file.file)?.map(|disk| disk.path);
                if before.iter().chain([&file.path]).any(|path| is_in(path, &strange)) {
                    shadow.put_trouble(self.dataset, Step::Write, &shown(&file.path, file.file), STRANGE_DIR)?;
                    continue;
                }
                match self.put(file, &names, &wanted) {
                    Ok(()) => left -= 1,
                    Err(Fail::Sql(error)) => return Err(error),
                    Err(Fail::Waits(why)) => {
                        shadow.put_trouble(self.dataset, Step::Write, &shown(&file.path, file.file), &why)?
                    }
                    Err(Fail::Lacks(hashes)) => {
                        let why = format!("{} pieces of its content are not here", hashes.len());
                        shadow.put_trouble(self.dataset, Step::Write, &shown(&file.path, file.file), &why)?;
                        lacking.extend(hashes);
                    }
                }
            }
            left += self.remove_all(&strange)?;
            if left == 0 || left == before {
                break;
            }
            before = left;
        }
        Ok(lacking)
    }

    /// Writes one file.
    fn put(&self, file: &Pending, names: &BTreeMap<String, i64>, wanted: &BTreeSet<[u8; 32]>) -> Result<(), Fail> {
        path::check(&file.path).map_err(|why| Fail::Waits(why.into()))?;
        if let Some(holder) = names.get(&path::fold(&file.path)).filter(|holder| **holder != file.file) {
            return match self.stands_for(*holder, file)? {
                Some(true) => Ok(()),
                Some(false) => Err(Fail::Waits(RIVAL.into())),
                None => Err(Fail::Waits("another file has its name here".into())),
            };
        }
        let content = file.content.as_deref().and_then(unpack);
        let content = content.as_ref().map_or(Err("its content has not come"), Content::of);
        let content = content.map_err(|why| Fail::Waits(why.into()))?;
        let shadow = self.sources.shadow;
        let old = shadow.disk_of(self.dataset, file.file)?;
        let there = self.there(&file.path, &content)?;
        let stat = match there {
            There::InTheWay => return Err(Fail::Waits("its name is a directory or a symbolic link here".into())),
            There::Wanted(stat) if stat.is_executable() == file.is_executable => stat,
            There::Wanted(_) => {
                self.beneath.set_executable(&file.path, file.is_executable)?;
                self.beneath.stat(&file.path)?.ok_or(io::Error::from(io::ErrorKind::NotFound))?
            }
            There::Changed => {
                let known = shadow.disk(self.dataset, &file.path)?;
                if known.as_ref().is_none_or(|known| known.file != file.file) {
                    return Err(Fail::Waits("its name is taken here".into()));
                }
                // Not written over: somebody changed it, and the record has changed too.
                let draft = self.assemble(file, &content)?;
                self.set_aside(file)?;
                let mode = draft.mode(file.is_executable)?;
                draft.place(Place::New, mode)?
            }
            There::Known(_) if shadow.is_lost(self.dataset, &file.path)? => {
                // Our own content, which a conflict doesn't show: it stays at hand.
                let draft = self.assemble(file, &content)?;
                self.set_aside(file)?;
                let mode = draft.mode(file.is_executable)?;
                draft.place(Place::New, mode)?
            }
            There::Nothing => {
                let draft = self.assemble(file, &content)?;
                let mode = draft.mode(file.is_executable)?;
                draft.place(Place::New, mode)?
            }
            There::Known(stat) => {
                let draft = self.assemble(file, &content)?;
                self.rescue(&file.path, wanted)?;
                draft.place(Place::Over, executable(stat.mode, file.is_executable))?
            }
        };
        if let Some(old) = old.filter(|old| old.path != file.path && !self.section.is_ignored(&old.path))
            && self.is_untouched(&old)?
        {
            self.rescue(&old.path, wanted)?;
            self.beneath.remove(&old.path)?;
        }
        let stat = Mark::of(&stat, self.now_ns);
        let disk = Disk { path: file.path.clone(), file: file.file, is_executable: file.is_executable, stat };
        let ground = Ground { shadow, dataset: self.dataset, beneath: self.beneath };
        shadow.at_once(|| {
            shadow.put_disk(self.dataset, &disk, &content)?;
            ground.note_above(&disk.path)
        })?;
        Ok(())
    }

    /// Tells whether a file of the same path has the same content; nothing if the paths differ.
    fn stands_for(&self, holder: i64, file: &Pending) -> rusqlite::Result<Option<bool>> {
        let sql = self.sql("SELECT content IS ?3 AND coalesce(executable, 0) = ?4 FROM {} WHERE id = ?1 AND path = ?2");
        let values = params![holder, file.path, file.content, file.is_executable];
        self.sources.shadow.conn.prepare_cached(&sql)?.query_row(values, |row| row.get(0)).optional()
    }

    /// Gives what stands in the place of a file another name.
    fn set_aside(&self, file: &Pending) -> Result<(), Fail> {
        let shadow = self.sources.shadow;
        let name = aside::name(&file.path);
        shadow.put_aside(self.dataset, file.file, &name)?;
        Ok(self.beneath.rename(&file.path, &name)?)
    }

    /// Writes a file's content beside its place.
    fn assemble(&self, file: &Pending, content: &Content) -> Result<crate::sys::beneath::Draft, Fail> {
        let mut lacking = Vec::new();
        for Chunk { hash, .. } in content.chunks() {
            if !lacking.contains(hash) && !self.sources.has(hash)? {
                lacking.push(*hash);
            }
        }
        if !lacking.is_empty() {
            return Err(Fail::Lacks(lacking));
        }
        let mut draft = self.beneath.draft(&file.path)?;
        match content {
            Content::Inline(bytes) => draft.file.write_all(bytes)?,
            Content::Chunks(chunks) => {
                for chunk in chunks {
                    let bytes = self.sources.get(chunk)?.ok_or_else(|| Fail::Lacks(vec![chunk.hash]))?;
                    draft.file.write_all(&bytes)?;
                }
            }
        }
        Ok(draft)
    }

    /// Looks at what stands in the place of a file.
    fn there(&self, path: &str, wanted: &Content) -> Result<There, Fail> {
        let Some(stat) = self.beneath.stat(path)? else { return Ok(There::Nothing) };
        if stat.kind != Kind::File {
            return Ok(There::InTheWay);
        }
        let shadow = self.sources.shadow;
        let known = shadow.disk(self.dataset, path)?;
        let packed = match &known {
            Some(_) => shadow.disk_content(self.dataset, path)?,
            None => None,
        };
        let as_known = known.as_ref().is_some_and(|known| is_as_known(&known.stat, &stat));
        let content = match (&packed, as_known) {
            (Some(packed), true) => unpack(packed).and_then(|value| Content::of(&value).ok()),
            _ => match read::whole(self.beneath, path, wanted.inline_max())? {
                Reading::Whole(content, _) => Some(content),
                Reading::Restless | Reading::TooLarge => None,
            },
        };
        Ok(match content {
            Some(content) if content == *wanted => There::Wanted(stat),
            Some(content) if packed == Some(super::content::pack(&content.value())) => There::Known(stat),
            _ => There::Changed,
        })
    }

    /// Tells whether a file is as we knew it. One that is gone is.
    pub(super) fn is_untouched(&self, disk: &Disk) -> Result<bool, rusqlite::Error> {
        let stat = match self.beneath.stat(&disk.path) {
            Ok(Some(stat)) => stat,
            Ok(None) => return Ok(true),
            Err(_) => return Ok(false),
        };
        if is_as_known(&disk.stat, &stat) {
            return Ok(disk.is_executable == stat.is_executable());
        }
        let packed = self.sources.shadow.disk_content(self.dataset, &disk.path)?;
        let known = packed.as_deref().and_then(unpack).and_then(|value| Content::of(&value).ok());
        let inline_max = known.map_or(0, |content| content.inline_max());
        Ok(match read::whole(self.beneath, &disk.path, inline_max) {
            Ok(Reading::Whole(content, stat)) => {
                packed == Some(super::content::pack(&content.value())) && stat.is_executable() == disk.is_executable
            }
            _ => false,
        })
    }

    /// Keeps the pieces of a file that goes, where a file that is still to be written needs them.
    fn rescue(&self, path: &str, wanted: &BTreeSet<[u8; 32]>) -> Result<(), Fail> {
        let shadow = self.sources.shadow;
        let content = shadow.disk_content(self.dataset, path)?.as_deref().and_then(unpack);
        let Some(Ok(content)) = content.as_ref().map(Content::of) else { return Ok(()) };
        let mut offset = 0;
        for chunk in content.chunks() {
            if wanted.contains(&chunk.hash)
                && let Some(bytes) = read::piece(self.beneath, path, offset, chunk)?
            {
                shadow.stage(&chunk.hash, &bytes)?;
            }
            offset += chunk.size;
        }
        Ok(())
    }

    /// Removes the files whose rows are gone. Returns how many could not be.
    fn remove_all(&self, strange: &BTreeSet<String>) -> rusqlite::Result<usize> {
        let shadow = self.sources.shadow;
        let wanted = self.wanted(&self.pending()?);
        let mut left = 0;
        for path in self.stale()? {
            let Some(disk) = shadow.disk(self.dataset, &path)? else { continue };
            // Of what we can't look at nobody knows whether it is as it was.
            let why = if is_in(&path, strange) {
                Some(STRANGE_DIR)
            } else {
                self.beneath.stat(&path).is_err().then_some(UNREADABLE)
            };
            if let Some(why) = why {
                shadow.put_trouble(self.dataset, Step::Write, &path, why)?;
                left += 1;
                continue;
            }
            // One that somebody changed stays, and is a new file.
            if self.is_untouched(&disk)? {
                let removed = self.rescue(&path, &wanted).and_then(|()| Ok(self.beneath.remove(&path)?));
                match removed {
                    Ok(()) => {}
                    Err(Fail::Sql(error)) => return Err(error),
                    Err(Fail::Waits(why)) => {
                        shadow.put_trouble(self.dataset, Step::Write, &path, &why)?;
                        left += 1;
                        continue;
                    }
                    Err(Fail::Lacks(_)) => unreachable!("a file that goes needs nothing"),
                }
            }
            shadow.at_once(|| shadow.forget_disk(self.dataset, &path))?;
        }
        Ok(left)
    }

    /// Returns the paths of files whose rows are gone.
    fn stale(&self) -> rusqlite::Result<Vec<String>> {
        let sql = self.sql("SELECT path FROM disk WHERE dataset = ?1 AND file NOT IN (SELECT id FROM {})");
        let mut statement = self.sources.shadow.conn.prepare_cached(&sql)?;
        let paths = statement.query_map([self.dataset.as_str()], |row| row.get(0))?;
        let mut paths: Vec<String> = paths.collect::<rusqlite::Result<_>>()?;
        paths.retain(|path| !self.section.is_ignored(path));
        Ok(paths)
    }

    /// Returns the files that are not on the disk as they are to be, but for those that are to be left alone.
    fn pending(&self) -> rusqlite::Result<Vec<Pending>> {
        let sql = self.sql(
            "SELECT f.id, f.path, coalesce(f.executable, 0), f.content FROM {} f
             LEFT JOIN disk d ON d.dataset = ?1 AND d.file = f.id
             WHERE d.path IS NULL OR d.path IS NOT f.path OR d.content IS NOT f.content
                   OR d.executable <> coalesce(f.executable, 0)
             ORDER BY f.id",
        );
        let mut statement = self.sources.shadow.conn.prepare_cached(&sql)?;
        let read = |row: &rusqlite::Row<'_>| {
            Ok(Pending {
                file: row.get(0)?,
                path: row.get::<_, Option<String>>(1)?.unwrap_or_default(),
                is_executable: row.get(2)?,
                content: row.get(3)?,
            })
        };
        let pending = statement.query_map(params![self.dataset.as_str()], read)?;
        let mut pending: Vec<Pending> = pending.collect::<rusqlite::Result<_>>()?;
        pending.retain(|file| !self.section.is_ignored(&file.path));
        Ok(pending)
    }

    /// Tells whether anything is still to be written or removed.
    ///
    /// # Errors
    /// The bookkeeping can't be read.
    pub(super) fn is_due(&self) -> Result<bool, Error> {
        self.has_work().map_err(|source| self.sources.shadow.failed("look for what is to be written", source))
    }

    fn has_work(&self) -> rusqlite::Result<bool> {
        Ok(!self.stale()?.is_empty() || !self.pending()?.is_empty())
    }

    /// Tells whether a change is still to be written to a file.
    pub(super) fn is_pending(&self, file: i64) -> rusqlite::Result<bool> {
        let sql = self.sql(
            "SELECT 1 FROM disk d LEFT JOIN {} f ON f.id = d.file WHERE d.dataset = ?1 AND d.file = ?2
             AND (f.id IS NULL OR f.path IS NOT d.path OR f.content IS NOT d.content
                  OR coalesce(f.executable, 0) <> d.executable)",
        );
        self.sources.shadow.conn.prepare_cached(&sql)?.exists(params![self.dataset.as_str(), file])
    }

    /// Returns which file has each name, of those that some file system takes for one: the one that is there, else the
    /// first that came.
    fn names(&self) -> rusqlite::Result<BTreeMap<String, i64>> {
        let sql = self.sql(
            "SELECT f.id, f.path, d.path IS NOT NULL FROM {} f
             LEFT JOIN disk d ON d.dataset = ?1 AND d.file = f.id AND d.path = f.path WHERE f.path IS NOT NULL ORDER BY f.id",
        );
        let mut statement = self.sources.shadow.conn.prepare_cached(&sql)?;
        let mut names: BTreeMap<String, (i64, bool)> = BTreeMap::new();
        let mut rows = statement.query([self.dataset.as_str()])?;
        while let Some(row) = rows.next()? {
            let (file, path, is_there): (i64, String, bool) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let holder = names.entry(path::fold(&path)).or_insert((file, is_there));
            if is_there && !holder.1 {
                *holder = (file, true);
            }
        }
        Ok(names.into_iter().map(|(name, (file, _))| (name, file)).collect())
    }

    /// Returns the pieces that files still to be written are made of.
    fn wanted(&self, pending: &[Pending]) -> BTreeSet<[u8; 32]> {
        let contents = pending.iter().filter_map(|file| file.content.as_deref().and_then(unpack));
        let contents = contents.filter_map(|value| Content::of(&value).ok());
        contents.flat_map(|content| content.chunks().iter().map(|chunk| chunk.hash).collect::<Vec<_>>()).collect()
    }

    fn sql(&self, text: &str) -> String {
        text.replace("{}", &format!("\"{}\"", table(self.dataset)))
    }
}

fn is_in(path: &str, dirs: &BTreeSet<String>) -> bool {
    dirs.iter().any(|dir| is_beneath(path, dir))
}

/// Returns how a file is named to people, whatever its path holds.
fn shown(path: &str, file: i64) -> String {
    match path {
        "" => format!("file {file}"),
        path => path.chars().take(200).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect(),
    }
}
