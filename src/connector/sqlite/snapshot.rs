//! One state of the database to read from while the application goes on writing.
//!
//! In WAL mode a read transaction disturbs nobody. With a rollback journal a reader keeps writers from
//! committing, so a file that isn't small is first copied (a tenth of a second for 64 MiB) and the copy is read:
//! to read 50,000 rows in place kept people waiting for seconds on a machine that had other things to do;
//! a small one is read at once, and nothing else is done while the transaction is open.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use crate::sys::disk::{self, Access};

/// Where and how to read.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) path: PathBuf,
    pub(super) scratch: PathBuf,
    pub(super) busy: Duration,
    pub(super) copy_above_bytes: u64,
}

/// Opens a snapshot; `conn` is open on the same database. Tells whether others wait while it is open.
pub(super) fn take(
    conn: &Connection,
    place: &Place,
) -> rusqlite::Result<(Connection, Option<tempfile::NamedTempFile>, bool)> {
    let mode: String = conn.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
    let bytes: i64 =
        conn.query_row("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size", [], |row| row.get(0))?;
    let is_wal = mode.eq_ignore_ascii_case("wal");
    if !is_wal && bytes.unsigned_abs() > place.copy_above_bytes {
        let (copy, file) = copy(conn, place)?;
        return Ok((copy, Some(file), false));
    }
    let (reader, blocks_writers) = hold(conn, place)?;
    Ok((reader, None, blocks_writers))
}

/// Opens a snapshot of the file itself; tells whether others wait while it is open.
pub(super) fn hold(conn: &Connection, place: &Place) -> rusqlite::Result<(Connection, bool)> {
    let mode: String = conn.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
    let reader = open(&place.path, place.busy)?;
    reader.execute_batch("BEGIN; SELECT 1 FROM sqlite_schema")?;
    Ok((reader, !mode.eq_ignore_ascii_case("wal")))
}

fn copy(conn: &Connection, place: &Place) -> rusqlite::Result<(Connection, tempfile::NamedTempFile)> {
    let file = disk::temporary_in(&place.scratch, Access::Secret).map_err(|_| cannot_open(&place.scratch))?;
    let mut copy = open(file.path(), place.busy)?;
    copy.execute_batch("PRAGMA synchronous = OFF; PRAGMA journal_mode = OFF")?;
    // Every page passes once: through few buffers that are used again, at two thirds of the cost.
    copy.pragma_update(None, "cache_size", PASSING)?;
    conn.pragma_update(None, "cache_size", PASSING)?;
    let version = back_up(conn, &mut copy, place.busy);
    conn.pragma_update(None, "cache_size", CACHE)?;
    copy.pragma_update(None, "cache_size", CACHE)?;
    let version = version?;
    // A backup counts changes of its target's tables. What is seen in the copy is compared with what is seen in the file.
    copy.pragma_update(None, "schema_version", version)?;
    copy.execute_batch("BEGIN")?;
    Ok((copy, file))
}

/// Copies every page; returns the version of the schema.
fn back_up(conn: &Connection, copy: &mut Connection, at_most: Duration) -> rusqlite::Result<i64> {
    let reading = conn.unchecked_transaction()?;
    let version = reading.query_row("PRAGMA schema_version", [], |row| row.get(0))?;
    let begin = Instant::now();
    loop {
        let step = Backup::new(conn, copy)?.step(-1)?;
        match step {
            StepResult::Done => return Ok(version),
            _ if begin.elapsed() > at_most => return Err(busy()),
            _ => thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Opens an existing file with our settings.
pub(super) fn open(path: &Path, busy: Duration) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(PathBuf::from(path), flags)?;
    conn.busy_timeout(busy)?;
    conn.set_prepared_statement_cache_capacity(256);
    conn.execute_batch("PRAGMA foreign_keys = ON")?;
    conn.pragma_update(None, "cache_size", CACHE)?;
    Ok(conn)
}

/// Kibibytes of pages in memory, as SQLite counts them: negative.
const CACHE: i64 = -16_384;
/// The same while a database is copied.
const PASSING: i64 = -256;

fn busy() -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY), None)
}

fn cannot_open(dir: &Path) -> rusqlite::Error {
    let text = format!("cannot make a temporary copy in {}", dir.display());
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR), Some(text))
}
