//! The directory itself: whether it is the one whose files we know, or another one in its place.

use rusqlite::{OptionalExtension, params};

use super::shadow::Shadow;
use crate::connector::error::Error;
use crate::id::name::DatasetName;
use crate::sys::beneath::{Beneath, Stat};

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
                Err(Error::Directory {
                    dir,
                    why: "it is another directory than it was, without any of its files: is a disk not mounted?",
                })
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

    /// Returns the device and the number that the directory had.
    fn known(&self) -> rusqlite::Result<Option<(i64, i64)>> {
        let sql = "SELECT device, inode FROM directory WHERE dataset = ?1";
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        self.shadow.conn.query_row(sql, [self.dataset.as_str()], read).optional()
    }

    fn now(&self) -> Option<(i64, i64)> {
        let stat = Stat::of(&std::fs::metadata(self.beneath.path()).ok()?);
        Some((stat.device.cast_signed(), stat.inode.cast_signed()))
    }

    /// Tells whether any of the files that we know is there, or we know of none.
    fn has_any(&self) -> rusqlite::Result<bool> {
        let sql = "SELECT path FROM disk WHERE dataset = ?1";
        let mut statement = self.shadow.conn.prepare_cached(sql)?;
        let mut rows = statement.query([self.dataset.as_str()])?;
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
