//! Scan: what changed in a directory goes into the table that stands for it.
//!
//! A file whose size, times and number are as they were isn't opened. One that changes while it is read is left for
//! the next round, as is one that a change of others has still to be written to.

use std::collections::{BTreeSet, HashMap};

use rusqlite::params;

use super::content::{Content, INLINE_BYTES_MAX, pack, unpack};
use super::document::DOCUMENT_BYTES_MAX;
use super::ground::{Ground, STRANGE};
use super::list::{Found, list};
use super::read::{self, Reading};
use super::section::{Section, table};
use super::shadow::{Disk, Mark, Shadow, Step, is_as_known};
use crate::connector::error::Error;
use crate::connector::said::narrower;
use crate::id::name::DatasetName;
use crate::scope::audience::Addressees;
use crate::sys::beneath::{Beneath, Stat};

/// One directory with its bookkeeping.
#[derive(Debug)]
pub(super) struct Scan<'a> {
    pub(super) shadow: &'a Shadow,
    pub(super) dataset: &'a DatasetName,
    pub(super) section: &'a Section,
    pub(super) beneath: &'a Beneath,
    /// The time of the scan, in nanoseconds.
    pub(super) now_ns: i64,
    /// By path, for whom files were meant that were marked by hand.
    pub(super) marked: HashMap<String, String>,
    pub(super) addressees: &'a Addressees,
}

/// A file that was read.
struct Fresh {
    path: String,
    content: Content,
    stat: Stat,
}

impl Scan<'_> {
    /// Takes in what changed, and returns what lies there.
    ///
    /// # Errors
    /// The directory can't be listed, or was exchanged for another one; the bookkeeping can't be written.
    pub(super) fn run(&self) -> Result<Found, Error> {
        let ground = Ground { shadow: self.shadow, dataset: self.dataset, beneath: self.beneath };
        let mut found = list(self.dataset, self.section, self.beneath)?;
        ground.check()?;
        let strange = ground.strange(|path| found.dirs.get(path).copied());
        for dir in strange.map_err(|source| self.shadow.failed(DOING, source))? {
            found.pass(&dir, STRANGE);
        }
        let take_in = || {
            ground.note()?;
            self.take_in(&found)?;
            ground.note_within(&found)
        };
        self.shadow.at_once(take_in).map_err(|source| self.shadow.failed(DOING, source))?;
        Ok(found)
    }

    fn take_in(&self, found: &Found) -> rusqlite::Result<()> {
        self.shadow.clear_trouble(self.dataset, Step::Read)?;
        for (path, why) in &found.passed {
            self.shadow.put_trouble(self.dataset, Step::Read, path, why)?;
        }
        let pending = self.pending()?;
        let (mut vanished, mut ignored) = (Vec::new(), Vec::new());
        for disk in self.known()? {
            if pending.contains(&disk.file) {
                continue;
            }
            match found.files.get(&disk.path) {
                Some(stat) => self.known_file(&disk, stat)?,
                None if found.hides(&disk.path) => {}
                None if self.section.is_ignored(&disk.path) => ignored.push(disk),
                None => vanished.push(disk),
            }
        }
        let mut fresh = Vec::new();
        for path in found.files.keys() {
            if self.shadow.disk(self.dataset, path)?.is_none()
                && let Some(file) = self.read(path)?
            {
                match vanished.is_empty() {
                    // It can't be one that was renamed.
                    true => self.born(&file, &pack(&file.content.value()))?,
                    false => fresh.push(file),
                }
            }
        }
        for file in fresh {
            let packed = pack(&file.content.value());
            let moved = match file.stat.size {
                0 => None,
                _ => self.twin(&vanished, &packed)?,
            };
            match moved {
                Some(at) => self.moved(&vanished.swap_remove(at), &file)?,
                None => self.born(&file, &packed)?,
            }
        }
        for disk in vanished {
            self.shadow.forget_disk(self.dataset, &disk.path)?;
            self.shadow.conn.prepare_cached(&self.sql("DELETE FROM {} WHERE id = ?1"))?.execute([disk.file])?;
        }
        self.rules()?;
        ignored.iter().try_for_each(|disk| self.leave(disk))
    }

    /// A file that is ignored since it became a record: neither it nor the record is touched. That one of ours stays shared is said.
    fn leave(&self, disk: &Disk) -> rusqlite::Result<()> {
        let sql = self
            .sql("SELECT 1 FROM {} WHERE id = ?1 AND ruled IS NOT NULL AND coalesce(scope, 'private') <> 'private'");
        if self.shadow.conn.prepare_cached(&sql)?.exists([disk.file])? {
            self.shadow.put_trouble(self.dataset, Step::Read, &disk.path, IGNORED)?;
        }
        Ok(())
    }

    /// A path that we know: reads it if it may have changed.
    fn known_file(&self, disk: &Disk, stat: &Stat) -> rusqlite::Result<()> {
        let is_executable = stat.is_executable();
        if is_as_known(&disk.stat, stat) && disk.is_executable == is_executable {
            return Ok(());
        }
        let Some(Fresh { content, stat, .. }) = self.read(&disk.path)? else { return Ok(()) };
        let packed = pack(&content.value());
        let before = self.shadow.disk_content(self.dataset, &disk.path)?;
        let mark = Mark::of(&stat, self.now_ns);
        if before.as_ref() == Some(&packed) && disk.is_executable == stat.is_executable() {
            return self.shadow.touch_disk(self.dataset, &disk.path, &mark);
        }
        let sql = self.sql("UPDATE {} SET content = ?2, executable = ?3 WHERE id = ?1");
        self.shadow.conn.prepare_cached(&sql)?.execute(params![disk.file, packed, stat.is_executable()])?;
        let now = Disk { is_executable: stat.is_executable(), stat: mark, ..disk.clone() };
        self.shadow.put_disk(self.dataset, &now, &content)
    }

    /// Reads a file; nothing if the next round has to.
    fn read(&self, path: &str) -> rusqlite::Result<Option<Fresh>> {
        let inline_max = if self.section.is_document(path) { DOCUMENT_BYTES_MAX } else { INLINE_BYTES_MAX };
        let known = self.shadow.disk_content(self.dataset, path)?.as_deref().and_then(unpack);
        let known = known.and_then(|value| Content::of(&value).ok()).map_or(0, |content| content.inline_max());
        let why = match read::whole(self.beneath, path, inline_max.max(known)) {
            Ok(Reading::Whole(content, stat)) => return Ok(Some(Fresh { path: path.to_owned(), content, stat })),
            Ok(Reading::Restless) => return Ok(None),
            Ok(Reading::TooLarge) => "it is too large",
            Err(_) => "it can't be read",
        };
        self.shadow.put_trouble(self.dataset, Step::Read, path, why)?;
        Ok(None)
    }

    /// Finds among the files that are gone the one that a new file was.
    fn twin(&self, vanished: &[Disk], packed: &[u8]) -> rusqlite::Result<Option<usize>> {
        for (at, disk) in vanished.iter().enumerate() {
            if self.shadow.disk_content(self.dataset, &disk.path)?.as_deref() == Some(packed) {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    fn moved(&self, from: &Disk, file: &Fresh) -> rusqlite::Result<()> {
        let sql = self.sql("UPDATE {} SET path = ?2, executable = ?3 WHERE id = ?1");
        self.shadow.conn.prepare_cached(&sql)?.execute(params![from.file, file.path, file.stat.is_executable()])?;
        self.shadow.put_disk(self.dataset, &self.disk(from.file, file), &file.content)
    }

    fn born(&self, file: &Fresh, packed: &[u8]) -> rusqlite::Result<()> {
        let ruled = self.section.scope_of(&file.path);
        let aside = self.shadow.aside(self.dataset, &file.path)?;
        // A mark of a file that was here before never makes another one shared that the rules keep home.
        let marked = self.marked.get(&file.path).map(|said| narrower(said, ruled, self.addressees));
        let scope = aside.or(marked).unwrap_or_else(|| ruled.to_owned());
        let sql = self.sql("INSERT INTO {}(path, scope, ruled, executable, content) VALUES(?1, ?2, ?3, ?4, ?5)");
        let values = params![file.path, scope, ruled, file.stat.is_executable(), packed];
        self.shadow.conn.prepare_cached(&sql)?.execute(values)?;
        let id = self.shadow.conn.last_insert_rowid();
        self.shadow.put_disk(self.dataset, &self.disk(id, file), &file.content)
    }

    fn disk(&self, id: i64, file: &Fresh) -> Disk {
        let stat = Mark::of(&file.stat, self.now_ns);
        Disk { path: file.path.clone(), file: id, is_executable: file.stat.is_executable(), stat }
    }

    /// Lets the files that were born here, and that nobody marked by hand, follow the rules as they are now.
    fn rules(&self) -> rusqlite::Result<()> {
        let sql = self.sql("SELECT id, path, scope, ruled FROM {} WHERE ruled IS NOT NULL AND path IS NOT NULL");
        let mut statement = self.shadow.conn.prepare_cached(&sql)?;
        let mut changes = Vec::new();
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (id, path): (i64, String) = (row.get(0)?, row.get(1)?);
            let (scope, ruled): (Option<String>, String) = (row.get(2)?, row.get(3)?);
            let rule = self.section.scope_of(&path);
            if rule != ruled {
                changes.push((id, rule, scope.as_ref() == Some(&ruled)));
            }
        }
        for (id, rule, follows) in changes {
            let sql = self.sql("UPDATE {} SET ruled = ?2, scope = CASE WHEN ?3 THEN ?2 ELSE scope END WHERE id = ?1");
            self.shadow.conn.prepare_cached(&sql)?.execute(params![id, rule, follows])?;
        }
        Ok(())
    }

    /// Returns what we know of the directory, by path.
    fn known(&self) -> rusqlite::Result<Vec<Disk>> {
        let sql = "SELECT path FROM disk WHERE dataset = ?1 ORDER BY path";
        let mut statement = self.shadow.conn.prepare_cached(sql)?;
        let paths: Vec<String> =
            statement.query_map([self.dataset.as_str()], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        let disks = paths.iter().map(|path| self.shadow.disk(self.dataset, path));
        disks.filter_map(Result::transpose).collect()
    }

    /// Returns the files that a change has still to be written to.
    fn pending(&self) -> rusqlite::Result<BTreeSet<i64>> {
        let sql = self.sql(
            "SELECT d.file FROM disk d LEFT JOIN {} f ON f.id = d.file WHERE d.dataset = ?1
             AND (f.id IS NULL OR f.path IS NOT d.path OR f.content IS NOT d.content
                  OR coalesce(f.executable, 0) <> d.executable)",
        );
        let mut statement = self.shadow.conn.prepare_cached(&sql)?;
        statement.query_map([self.dataset.as_str()], |row| row.get(0))?.collect()
    }

    fn sql(&self, text: &str) -> String {
        text.replace("{}", &format!("\"{}\"", table(self.dataset)))
    }
}

const DOING: &str = "take in a directory";
const IGNORED: &str = "it is ignored here, and stays shared as it was: `wbsync privacy set` takes it back";
