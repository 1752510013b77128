//! The bookkeeping's database: a table for each directory, whose rows stand for its files, and what we know of the disk.
//!
//! A file's row is what it is to be: the connector for tables reads and writes it as if an application had. `disk` is
//! what we last saw or wrote under a path. Where both agree nothing is to be done; where they differ, a change of ours
//! has not reached the disk yet, and whoever comes next goes on with it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::content::Content;
use super::section::{Sections, table};
use crate::connector::error::Error;
use crate::id::name::DatasetName;
use crate::sys::beneath::{Kind, Stat};

/// How long one of our own connections waits for another.
const BUSY: Duration = Duration::from_secs(10);

/// The format of the tables.
const FORMAT: i64 = 1;

const TABLES: &str = "
CREATE TABLE directory(dataset TEXT PRIMARY KEY, device INTEGER NOT NULL, inode INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE fresh(dataset TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE partner(number INTEGER NOT NULL);
INSERT INTO partner VALUES(0);
CREATE TABLE disk(
    dataset TEXT NOT NULL, path TEXT NOT NULL, file INTEGER NOT NULL, executable INTEGER NOT NULL, content BLOB NOT NULL,
    size INTEGER NOT NULL, modified INTEGER NOT NULL, changed INTEGER NOT NULL, inode INTEGER NOT NULL,
    PRIMARY KEY(dataset, path)) WITHOUT ROWID;
CREATE UNIQUE INDEX disk_file ON disk(dataset, file);
CREATE TABLE part(
    dataset TEXT NOT NULL, path TEXT NOT NULL, start INTEGER NOT NULL, hash BLOB NOT NULL, size INTEGER NOT NULL,
    PRIMARY KEY(dataset, path, start)) WITHOUT ROWID;
CREATE INDEX part_hash ON part(hash);
CREATE TABLE piece(
    dataset TEXT NOT NULL, origin BLOB NOT NULL, record BLOB NOT NULL, scope TEXT NOT NULL, hash BLOB NOT NULL,
    number INTEGER NOT NULL, gone INTEGER NOT NULL, view INTEGER NOT NULL,
    PRIMARY KEY(dataset, origin, record)) WITHOUT ROWID;
CREATE TABLE named(
    dataset TEXT NOT NULL, origin BLOB NOT NULL, file BLOB NOT NULL, scope TEXT NOT NULL, hash BLOB NOT NULL,
    PRIMARY KEY(dataset, origin, file, scope, hash)) WITHOUT ROWID;
CREATE INDEX named_hash ON named(hash);
CREATE TABLE hidden(
    dataset TEXT NOT NULL, origin BLOB NOT NULL, file BLOB NOT NULL, scope TEXT NOT NULL, hash BLOB NOT NULL,
    shown BLOB NOT NULL, PRIMARY KEY(dataset, origin, file, scope, hash)) WITHOUT ROWID;
CREATE INDEX hidden_hash ON hidden(hash);
CREATE VIEW wanted(dataset, origin, file, scope, hash) AS
    SELECT dataset, origin, file, scope, hash FROM named UNION ALL SELECT dataset, origin, file, scope, hash FROM hidden;
CREATE TABLE member(
    dataset TEXT NOT NULL, origin BLOB NOT NULL, file BLOB NOT NULL, field TEXT NOT NULL,
    PRIMARY KEY(dataset, origin, file, field)) WITHOUT ROWID;
CREATE TABLE home(
    dataset TEXT NOT NULL, origin BLOB NOT NULL, file BLOB NOT NULL, scope TEXT NOT NULL,
    PRIMARY KEY(dataset, origin, file)) WITHOUT ROWID;
CREATE TABLE lost(
    dataset TEXT NOT NULL, file INTEGER NOT NULL, content BLOB NOT NULL, PRIMARY KEY(dataset, file, content)) WITHOUT ROWID;
CREATE TABLE aside(dataset TEXT NOT NULL, path TEXT NOT NULL, scope TEXT NOT NULL, PRIMARY KEY(dataset, path)) WITHOUT ROWID;
CREATE TABLE staged(hash BLOB PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE trouble(
    dataset TEXT NOT NULL, step TEXT NOT NULL, path TEXT NOT NULL, reason TEXT NOT NULL,
    PRIMARY KEY(dataset, step, path)) WITHOUT ROWID;
";

const GROUND: &str = "CREATE TABLE IF NOT EXISTS ground(
    dataset TEXT NOT NULL, path TEXT NOT NULL, device INTEGER NOT NULL, inode INTEGER NOT NULL,
    PRIMARY KEY(dataset, path)) WITHOUT ROWID";

/// The bookkeeping of all directories.
#[derive(Debug)]
pub(super) struct Shadow {
    pub(super) conn: Connection,
    pub(super) path: PathBuf,
}

/// What we last saw or wrote under a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Disk {
    pub(super) path: String,
    pub(super) file: i64,
    pub(super) is_executable: bool,
    pub(super) stat: Mark,
}

/// What tells a version of a file from others without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) size: i64,
    pub(super) modified: i64,
    pub(super) changed: i64,
    pub(super) inode: i64,
}

/// A mark that no file has: it has to be read again.
const DOUBTFUL: i64 = i64::MIN;
/// How coarse the clocks of file systems are, in nanoseconds: that of FAT counts by two seconds.
const COARSE_NS: i64 = 2_000_000_000;

impl Mark {
    /// Returns the mark of a file that was read at a moment.
    ///
    /// What was changed just before could be changed again without another time: it is read again in the next
    /// round.
    pub(super) fn of(stat: &Stat, now_ns: i64) -> Self {
        let is_fresh = stat.modified_ns.max(stat.changed_ns) > now_ns.saturating_sub(COARSE_NS);
        let changed = if is_fresh { DOUBTFUL } else { stat.changed_ns };
        Self { changed, ..Self::plain(stat) }
    }

    /// Returns the mark that a file has now.
    pub(super) fn plain(stat: &Stat) -> Self {
        Self {
            size: i64::try_from(stat.size).unwrap_or(i64::MAX),
            modified: stat.modified_ns,
            changed: stat.changed_ns,
            inode: stat.inode.cast_signed(),
        }
    }
}

impl Shadow {
    /// Opens the bookkeeping, making what isn't there.
    ///
    /// # Errors
    /// It can't be read or written, or is of a later version.
    pub(super) fn open(path: &Path, sections: &Sections) -> Result<Self, Error> {
        let failed = |source| Error::sqlite("open the bookkeeping of files", path, 0, source);
        let conn = Connection::open(path).map_err(failed)?;
        let shadow = Self { conn, path: path.to_owned() };
        shadow.prepare(sections).map_err(failed)?.map_or(Ok(shadow), |found| {
            Err(Error::Newer { database: path.display().to_string(), found, known: FORMAT })
        })
    }

    /// Makes the tables that are missing. Returns the format if it is a later one.
    fn prepare(&self, sections: &Sections) -> rusqlite::Result<Option<i64>> {
        self.conn.busy_timeout(BUSY)?;
        let format: i64 = self.conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if format > FORMAT {
            return Ok(Some(format));
        }
        if format == 0 {
            self.conn.pragma_update(None, "journal_mode", "WAL")?;
            self.conn.execute_batch(&format!("BEGIN; {TABLES} PRAGMA user_version = {FORMAT}; COMMIT"))?;
        }
        // Not there where an earlier version made the others.
        self.conn.execute_batch(GROUND)?;
        for name in sections.keys() {
            let table = table(name);
            if !self.conn.table_exists(None, table.as_str())? {
                self.conn.execute_batch(&format!(
                    "BEGIN; CREATE TABLE \"{table}\"(id INTEGER PRIMARY KEY AUTOINCREMENT, path TEXT, scope TEXT, ruled TEXT,
                     executable INTEGER, content BLOB, turn INTEGER NOT NULL DEFAULT 0);
                     INSERT INTO fresh VALUES('{name}'); COMMIT"
                ))?;
            }
            let sql = format!("CREATE INDEX IF NOT EXISTS \"{table}_path\" ON \"{table}\"(path)");
            self.conn.execute_batch(&sql)?;
        }
        Ok(None)
    }

    /// Copies the bookkeeping into a new file.
    pub(super) fn copy(&self, to: &Path) -> Result<(), Error> {
        let to = to.to_str().ok_or_else(|| Error::Books {
            database: self.path.display().to_string(),
            why: "the path of a temporary copy is no text".into(),
        })?;
        let copied = self.conn.execute("VACUUM INTO ?1", [to]);
        copied.map(drop).map_err(|source| self.failed("copy the bookkeeping of files", source))
    }

    pub(super) fn failed(&self, doing: &'static str, source: rusqlite::Error) -> Error {
        Error::sqlite(doing, &self.path, u64::try_from(BUSY.as_millis()).unwrap_or(0), source)
    }

    /// Does several writes wholly or not at all.
    pub(super) fn at_once<T>(&self, work: impl FnOnce() -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        let transaction = self.conn.unchecked_transaction()?;
        let done = work()?;
        transaction.commit()?;
        Ok(done)
    }

    /// Returns what we know of a path.
    pub(super) fn disk(&self, dataset: &DatasetName, path: &str) -> rusqlite::Result<Option<Disk>> {
        let sql = format!("SELECT {DISK} FROM disk WHERE dataset = ?1 AND path = ?2");
        self.conn.prepare_cached(&sql)?.query_row(params![dataset.as_str(), path], disk).optional()
    }

    /// Returns where a file is, as far as we know.
    pub(super) fn disk_of(&self, dataset: &DatasetName, file: i64) -> rusqlite::Result<Option<Disk>> {
        let sql = format!("SELECT {DISK} FROM disk WHERE dataset = ?1 AND file = ?2");
        self.conn.prepare_cached(&sql)?.query_row(params![dataset.as_str(), file], disk).optional()
    }

    /// Returns what we know a path to hold.
    pub(super) fn disk_content(&self, dataset: &DatasetName, path: &str) -> rusqlite::Result<Option<Vec<u8>>> {
        let sql = "SELECT content FROM disk WHERE dataset = ?1 AND path = ?2";
        self.conn.prepare_cached(sql)?.query_row(params![dataset.as_str(), path], |row| row.get(0)).optional()
    }

    /// Writes down what is under a path now; whatever we knew of the path or the file before is forgotten.
    pub(super) fn put_disk(&self, dataset: &DatasetName, disk: &Disk, content: &Content) -> rusqlite::Result<()> {
        if let Some(before) = self.disk_of(dataset, disk.file)? {
            self.forget_disk(dataset, &before.path)?;
        }
        self.forget_disk(dataset, &disk.path)?;
        let sql = "INSERT INTO disk(dataset, path, file, executable, content, size, modified, changed, inode)
                   VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
        let Mark { size, modified, changed, inode } = disk.stat;
        let packed = super::content::pack(&content.value());
        let (path, file, is_executable) = (&disk.path, disk.file, disk.is_executable);
        let values = params![dataset.as_str(), path, file, is_executable, packed, size, modified, changed, inode];
        self.conn.prepare_cached(sql)?.execute(values)?;
        let mut start = 0;
        for chunk in content.chunks() {
            let sql = "INSERT INTO part(dataset, path, start, hash, size) VALUES(?1, ?2, ?3, ?4, ?5)";
            let size = chunk.size.cast_signed();
            self.conn.prepare_cached(sql)?.execute(params![dataset.as_str(), path, start, chunk.hash, size])?;
            start += size;
        }
        Ok(())
    }

    /// Notes that a file is as it was, whatever its times say.
    pub(super) fn touch_disk(&self, dataset: &DatasetName, path: &str, stat: &Mark) -> rusqlite::Result<()> {
        let sql = "UPDATE disk SET size = ?3, modified = ?4, changed = ?5, inode = ?6 WHERE dataset = ?1 AND path = ?2";
        let values = params![dataset.as_str(), path, stat.size, stat.modified, stat.changed, stat.inode];
        self.conn.prepare_cached(sql)?.execute(values).map(drop)
    }

    /// Has a file read and reported again in the next round.
    pub(super) fn doubt(&self, dataset: &DatasetName, path: &str) -> rusqlite::Result<()> {
        let sql = "UPDATE disk SET changed = ?3 WHERE dataset = ?1 AND path = ?2";
        self.conn.prepare_cached(sql)?.execute(params![dataset.as_str(), path, DOUBTFUL])?;
        let sql = format!("UPDATE \"{}\" SET turn = turn + 1 WHERE path = ?1", table(dataset));
        self.conn.prepare_cached(&sql)?.execute([path]).map(drop)
    }

    /// Returns the last capture that was settled, and the number of the applied view.
    pub(super) fn books(&self) -> rusqlite::Result<(i64, i64)> {
        if !self.conn.table_exists(None, "_wbsync_position")? {
            return Ok((0, 0));
        }
        let sql = "SELECT settled, view FROM _wbsync_position";
        self.conn.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
    }

    /// Returns the datasets that no apply has given anything.
    pub(super) fn fresh(&self) -> rusqlite::Result<BTreeSet<String>> {
        let mut statement = self.conn.prepare_cached("SELECT dataset FROM fresh")?;
        statement.query_map([], |row| row.get(0))?.collect()
    }

    /// Notes that an apply has given all datasets what there is.
    pub(super) fn clear_fresh(&self) -> rusqlite::Result<()> {
        self.conn.execute("DELETE FROM fresh", []).map(drop)
    }

    /// Returns the last capture of the database beside us that was settled here too.
    pub(super) fn partner(&self) -> rusqlite::Result<u64> {
        self.conn.query_row("SELECT number FROM partner", [], |row| row.get(0)).map(i64::unsigned_abs)
    }

    /// Notes the last capture of the database beside us that was settled here too.
    pub(super) fn set_partner(&self, number: u64) -> rusqlite::Result<()> {
        self.conn.execute("UPDATE partner SET number = ?1", [number.cast_signed()]).map(drop)
    }

    /// Forgets what was under a path.
    pub(super) fn forget_disk(&self, dataset: &DatasetName, path: &str) -> rusqlite::Result<()> {
        for sql in
            ["DELETE FROM part WHERE dataset = ?1 AND path = ?2", "DELETE FROM disk WHERE dataset = ?1 AND path = ?2"]
        {
            self.conn.prepare_cached(sql)?.execute(params![dataset.as_str(), path])?;
        }
        Ok(())
    }

    /// Returns where a piece lies on a disk, as far as we know: dataset, path and offset.
    pub(super) fn parts(&self, hash: &[u8; 32]) -> rusqlite::Result<Vec<(String, String, i64)>> {
        let sql = "SELECT dataset, path, start FROM part WHERE hash = ?1 LIMIT 8";
        let mut statement = self.conn.prepare_cached(sql)?;
        statement.query_map([hash], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect()
    }

    /// Returns the size of a piece that lies on a disk or is kept.
    pub(super) fn part_size(&self, hash: &[u8; 32]) -> rusqlite::Result<Option<u64>> {
        let sql =
            "SELECT size FROM part WHERE hash = ?1 UNION ALL SELECT length(data) FROM staged WHERE hash = ?1 LIMIT 1";
        let size: Option<i64> = self.conn.prepare_cached(sql)?.query_row([hash], |row| row.get(0)).optional()?;
        Ok(size.map(i64::unsigned_abs))
    }

    /// Keeps a piece until the files that need it are written.
    pub(super) fn stage(&self, hash: &[u8; 32], data: &[u8]) -> rusqlite::Result<()> {
        let sql = "INSERT INTO staged(hash, data) VALUES(?1, ?2) ON CONFLICT DO NOTHING";
        self.conn.prepare_cached(sql)?.execute(params![hash, data]).map(drop)
    }

    /// Tells whether a piece was kept.
    pub(super) fn is_staged(&self, hash: &[u8; 32]) -> rusqlite::Result<bool> {
        self.conn.prepare_cached("SELECT 1 FROM staged WHERE hash = ?1")?.exists([hash])
    }

    /// Returns a piece that was kept.
    pub(super) fn staged(&self, hash: &[u8; 32]) -> rusqlite::Result<Option<Vec<u8>>> {
        let sql = "SELECT data FROM staged WHERE hash = ?1";
        self.conn.prepare_cached(sql)?.query_row([hash], |row| row.get(0)).optional()
    }

    /// Notes contents of ours that a conflict doesn't show, in place of those noted before.
    pub(super) fn set_lost(&self, dataset: &DatasetName, file: i64, contents: &[Vec<u8>]) -> rusqlite::Result<()> {
        let sql = "DELETE FROM lost WHERE dataset = ?1 AND file = ?2";
        self.conn.prepare_cached(sql)?.execute(params![dataset.as_str(), file])?;
        for content in contents {
            let sql = "INSERT INTO lost(dataset, file, content) VALUES(?1, ?2, ?3) ON CONFLICT DO NOTHING";
            self.conn.prepare_cached(sql)?.execute(params![dataset.as_str(), file, content])?;
        }
        Ok(())
    }

    /// Tells whether what is under a path is a content of ours that a conflict doesn't show.
    pub(super) fn is_lost(&self, dataset: &DatasetName, path: &str) -> rusqlite::Result<bool> {
        let sql = "SELECT 1 FROM lost l JOIN disk d USING(dataset, file, content) WHERE l.dataset = ?1 AND d.path = ?2";
        self.conn.prepare_cached(sql)?.exists(params![dataset.as_str(), path])
    }

    /// Says for whom a file is meant that is about to be set aside: as the one that it was, or, if that is another
    /// instance's, for nobody.
    pub(super) fn put_aside(&self, dataset: &DatasetName, file: i64, path: &str) -> rusqlite::Result<()> {
        let table = table(dataset);
        let sql = format!(
            "INSERT INTO aside(dataset, path, scope) SELECT ?1, ?3,
                 coalesce((SELECT scope FROM \"{table}\" WHERE id = ?2 AND ruled IS NOT NULL), 'private')"
        );
        self.conn.prepare_cached(&sql)?.execute(params![dataset.as_str(), file, path]).map(drop)
    }

    /// Returns for whom a file is meant that was set aside.
    pub(super) fn aside(&self, dataset: &DatasetName, path: &str) -> rusqlite::Result<Option<String>> {
        let sql = "SELECT scope FROM aside WHERE dataset = ?1 AND path = ?2";
        self.conn.prepare_cached(sql)?.query_row(params![dataset.as_str(), path], |row| row.get(0)).optional()
    }

    /// Says of a file of a directory what keeps it from being read or written.
    pub(super) fn put_trouble(
        &self,
        dataset: &DatasetName,
        step: Step,
        path: &str,
        reason: &str,
    ) -> rusqlite::Result<()> {
        let sql = "INSERT INTO trouble(dataset, step, path, reason) VALUES(?1, ?2, ?3, ?4)
                   ON CONFLICT DO UPDATE SET reason = excluded.reason";
        self.conn.prepare_cached(sql)?.execute(params![dataset.as_str(), step.name(), path, reason]).map(drop)
    }

    /// Forgets what was said so.
    pub(super) fn clear_trouble(&self, dataset: &DatasetName, step: Step) -> rusqlite::Result<()> {
        let sql = "DELETE FROM trouble WHERE dataset = ?1 AND step = ?2";
        self.conn.prepare_cached(sql)?.execute(params![dataset.as_str(), step.name()]).map(drop)
    }

    /// Lists what keeps files from being read or written, and how many there are.
    pub(super) fn troubles(&self, limit: usize) -> rusqlite::Result<(Vec<(String, String)>, u64)> {
        let count: i64 = self.conn.query_row("SELECT count(*) FROM trouble", [], |row| row.get(0))?;
        let sql = "SELECT dataset || '/' || path, reason FROM trouble ORDER BY dataset, path LIMIT ?1";
        let mut statement = self.conn.prepare_cached(sql)?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let list = statement.query_map([limit], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok((list.collect::<rusqlite::Result<_>>()?, count.unsigned_abs()))
    }
}

/// What was being done to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Read,
    Write,
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

const DISK: &str = "path, file, executable, size, modified, changed, inode";

fn disk(row: &Row<'_>) -> rusqlite::Result<Disk> {
    Ok(Disk {
        path: row.get(0)?,
        file: row.get(1)?,
        is_executable: row.get(2)?,
        stat: Mark { size: row.get(3)?, modified: row.get(4)?, changed: row.get(5)?, inode: row.get(6)? },
    })
}

/// Tells whether what a name stands for is the file of a mark, unread.
pub(super) fn is_as_known(known: &Mark, stat: &Stat) -> bool {
    stat.kind == Kind::File && *known == Mark::plain(stat)
}
