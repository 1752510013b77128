//! The directory itself, and those within it: whether they are those whose files we know, or others in their places.
//!
//! A disk that isn't mounted leaves an empty directory behind, or another one: that is no deletion of what lies on the disk.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{OptionalExtension, params};

use super::list::{Found, is_beneath, place_of};
use super::shadow::Shadow;
use crate::connector::error::Error;
use crate::id::name::DatasetName;
use crate::sys::beneath::{Beneath, Kind, Stat};

/// Why what lies in such a directory is left alone.
pub(super) const STRANGE: &str =
    "it is another directory than it was, without any of its files: is a disk not mounted?";

/// A directory and what is known of it.
#[derive(Debug)]
pub(super) struct Ground<'a> {
    pub(super) shadow: &'a Shadow,
    pub(super) dataset: &'a DatasetName,
    pub(super) beneath: &'a Beneath,
}

impl Ground<'_> {
    /// Refuses another directory that has none of the files that we know: a disk that isn't there is no deletion, and nothing
    /// is written into the place where it would be. Reads one row as long as it is the same directory.
    ///
    /// # Errors
    /// `Directory`, or the bookkeeping can't be read.
    pub(super) fn check(&self) -> Result<(), Error> {
        let check = || -> rusqlite::Result<bool> {
            let known = self.known()?;
            Ok(known.is_none() || known == self.now() || self.has_any()?)
        };
        match check().map_err(|source| self.shadow.failed("look at a directory", source))? {
            true => Ok(()),
            false => {
                let dir = self.beneath.path().to_owned();
                Err(Error::Directory { dir, why: STRANGE })
            }
        }
    }

    /// Remembers which directory it is.
    pub(super) fn note(&self) -> rusqlite::Result<()> {
        let Some(now) = self.now().filter(|_| self.known().ok().flatten() != self.now()) else { return Ok(()) };
        let sql = "INSERT INTO directory VALUES(?1, ?2, ?3)
                   ON CONFLICT DO UPDATE SET device = excluded.device, inode = excluded.inode";
        self.shadow.conn.execute(sql, params![self.dataset.as_str(), now.0, now.1]).map(drop)
    }

    /// Lists the directories within that are other ones than they were, without any of their files: on another device, or empty.
    /// One that was made anew on the same device, with other files, is what somebody did to it. `now` tells which directory is
    /// there.
    ///
    /// # Errors
    /// The bookkeeping can't be read.
    pub(super) fn strange(&self, now: impl Fn(&str) -> Option<(i64, i64)>) -> rusqlite::Result<BTreeSet<String>> {
        let mut strange: BTreeSet<String> = BTreeSet::new();
        for (path, known) in self.known_within()? {
            let Some(now) = now(&path) else { continue };
            if !strange.iter().any(|above| is_beneath(&path, above)) && self.is_strange(&path, known, now)? {
                strange.insert(path);
            }
        }
        Ok(strange)
    }

    fn is_strange(&self, dir: &str, known: (i64, i64), now: (i64, i64)) -> rusqlite::Result<bool> {
        Ok(now != known && !self.holds_any(dir)? && (now.0 != known.0 || self.is_empty(dir)))
    }

    /// Tells whether a path lies within such a directory at this moment.
    ///
    /// # Errors
    /// The bookkeeping can't be read.
    pub(super) fn is_strange_above(&self, path: &str) -> rusqlite::Result<bool> {
        for (at, _) in path.match_indices('/') {
            let known = self.known_at(&path[..at])?;
            if let (Some(known), Some(now)) = (known, self.place(&path[..at]))
                && self.is_strange(&path[..at], known, now)?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Remembers which directories a file was written into, where that isn't known yet.
    ///
    /// # Errors
    /// The bookkeeping can't be read or written.
    pub(super) fn note_above(&self, path: &str) -> rusqlite::Result<()> {
        for (at, _) in path.match_indices('/') {
            if self.known_at(&path[..at])?.is_none()
                && let Some(now) = self.place(&path[..at])
            {
                self.put(&path[..at], now)?;
            }
        }
        Ok(())
    }

    fn put(&self, path: &str, now: (i64, i64)) -> rusqlite::Result<()> {
        let sql = "INSERT INTO ground VALUES(?1, ?2, ?3, ?4)
                   ON CONFLICT DO UPDATE SET device = excluded.device, inode = excluded.inode";
        self.shadow.conn.prepare_cached(sql)?.execute(params![self.dataset.as_str(), path, now.0, now.1]).map(drop)
    }

    fn known_at(&self, path: &str) -> rusqlite::Result<Option<(i64, i64)>> {
        let sql = "SELECT device, inode FROM ground WHERE dataset = ?1 AND path = ?2";
        let mut statement = self.shadow.conn.prepare_cached(sql)?;
        statement.query_row(params![self.dataset.as_str(), path], |row| Ok((row.get(0)?, row.get(1)?))).optional()
    }

    /// Returns which directory is there.
    fn place(&self, path: &str) -> Option<(i64, i64)> {
        let is_dir = |stat: &Stat| stat.kind == Kind::Directory;
        self.beneath.stat(path).ok().flatten().filter(is_dir).as_ref().map(place_of)
    }

    /// As `strange`, of the directories that are there at this moment.
    ///
    /// # Errors
    /// The bookkeeping can't be read.
    pub(super) fn strange_now(&self) -> rusqlite::Result<BTreeSet<String>> {
        self.strange(|path| self.place(path))
    }

    /// Remembers which directories the files that we know lie in, but for those that can't be looked into.
    ///
    /// # Errors
    /// The bookkeeping can't be read or written.
    pub(super) fn note_within(&self, found: &Found) -> rusqlite::Result<()> {
        let known = self.known_within()?;
        let mut wanted = BTreeSet::new();
        let sql = "SELECT path FROM disk WHERE dataset = ?1";
        let mut statement = self.shadow.conn.prepare_cached(sql)?;
        let mut rows = statement.query([self.dataset.as_str()])?;
        while let Some(row) = rows.next()? {
            let path: String = row.get(0)?;
            wanted.extend(path.match_indices('/').map(|(at, _)| path[..at].to_owned()));
        }
        for path in known.keys().filter(|path| !wanted.contains(*path)) {
            let sql = "DELETE FROM ground WHERE dataset = ?1 AND path = ?2";
            self.shadow.conn.prepare_cached(sql)?.execute(params![self.dataset.as_str(), path])?;
        }
        for path in wanted.iter().filter(|path| !found.hides(path)) {
            let Some(now) = found.dirs.get(path).filter(|now| known.get(path) != Some(*now)) else { continue };
            self.put(path, *now)?;
        }
        Ok(())
    }

    fn known_within(&self) -> rusqlite::Result<BTreeMap<String, (i64, i64)>> {
        let sql = "SELECT path, device, inode FROM ground WHERE dataset = ?1";
        let mut statement = self.shadow.conn.prepare_cached(sql)?;
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, (row.get(1)?, row.get(2)?)));
        statement.query_map([self.dataset.as_str()], read)?.collect()
    }

    /// Tells whether any of the files that we know in a directory is there, or we know of none.
    fn holds_any(&self, dir: &str) -> rusqlite::Result<bool> {
        // What follows the slash in the order of bytes ends the directory.
        let sql = "SELECT path FROM disk WHERE dataset = ?1 AND path > ?2 || '/' AND path < ?2 || '0'";
        let mut statement = self.shadow.conn.prepare_cached(sql)?;
        self.is_any_there(&mut statement.query(params![self.dataset.as_str(), dir])?)
    }

    fn is_empty(&self, dir: &str) -> bool {
        std::fs::read_dir(self.beneath.path().join(dir)).is_ok_and(|mut entries| entries.next().is_none())
    }

    /// Returns the device and the number that the directory had.
    fn known(&self) -> rusqlite::Result<Option<(i64, i64)>> {
        let sql = "SELECT device, inode FROM directory WHERE dataset = ?1";
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        self.shadow.conn.query_row(sql, [self.dataset.as_str()], read).optional()
    }

    fn now(&self) -> Option<(i64, i64)> {
        Some(place_of(&Stat::of(&std::fs::metadata(self.beneath.path()).ok()?)))
    }

    /// Tells whether any of the files that we know is there, or we know of none.
    fn has_any(&self) -> rusqlite::Result<bool> {
        let sql = "SELECT path FROM disk WHERE dataset = ?1";
        let mut statement = self.shadow.conn.prepare_cached(sql)?;
        self.is_any_there(&mut statement.query([self.dataset.as_str()])?)
    }

    fn is_any_there(&self, rows: &mut rusqlite::Rows<'_>) -> rusqlite::Result<bool> {
        let mut knows_none = true;
        while let Some(row) = rows.next()? {
            knows_none = false;
            if matches!(self.beneath.stat(&row.get::<_, String>(0)?), Ok(Some(_))) {
                return Ok(true);
            }
        }
        Ok(knows_none)
    }
}
