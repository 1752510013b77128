//! What this machine can do at all, for `scripts/bench`: `limits app.db TABLE…` prints a line of JSON per limit.
//!
//! Each limit is the least that anybody has to do who exports, seals or fills in these tables with the libraries that
//! wbsync uses too: one thread, statements prepared once, one transaction.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, OpenFlags, params_from_iter};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Measures what reading, writing, hashing, packing and sealing the rows of a SQLite database cost at least.
#[derive(Parser)]
struct Args {
    /// The database; it isn't changed.
    file: PathBuf,
    /// Its tables, parents first.
    #[arg(required = true)]
    tables: Vec<String>,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            anstream::eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Outcome<()> {
    let database = Connection::open_with_flags(&args.file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut bytes = Vec::new();
    let rows = timed("read", || read(&database, &args.tables, &mut bytes), |rows| *rows)?;
    timed("read and hash", || read_and_hash(&database, &args.tables), |_| rows)?;
    let scratch = tempfile::tempdir()?;
    timed("insert", || insert(&args.file, &args.tables, &scratch.path().join("copy.db")), |_| rows)?;
    timed("blake3", || Ok(blake3::hash(&bytes)), |_| bytes.len() as u64)?;
    let packed = timed("zstd -3", || Ok(zstd::bulk::compress(&bytes, 3)?), |packed| packed.len() as u64)?;
    timed("age", || seal(&packed), |sealed| sealed.len() as u64)?;
    timed("fsync", || sync(&scratch.path().join("synced"), 100), |_| 100)?;
    Ok(())
}

/// Runs `work` and prints what it took; `count` says of how many things.
fn timed<T>(name: &str, work: impl FnOnce() -> Outcome<T>, count: impl FnOnce(&T) -> u64) -> Outcome<T> {
    let (begin, before) = (Instant::now(), processor());
    let made = work()?;
    let (wall, cpu) = (begin.elapsed(), processor().saturating_sub(before));
    let count = count(&made);
    anstream::println!(
        "{{\"name\": \"{name}\", \"wall\": {:.6}, \"cpu\": {:.6}, \"count\": {count}}}",
        wall.as_secs_f64(),
        cpu.as_secs_f64()
    );
    Ok(made)
}

/// Returns the processor time that this process, which has one thread, has used; nothing where there is no `/proc`.
fn processor() -> Duration {
    let told = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let nanoseconds = told.split_whitespace().next().and_then(|text| text.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or(0))
}

/// Reads every cell, and appends it to `bytes`, with a comma or a new line after it: what a text dump would hold.
fn read(database: &Connection, tables: &[String], bytes: &mut Vec<u8>) -> Outcome<u64> {
    let mut count = 0;
    for table in tables {
        let mut select = database.prepare(&format!("SELECT * FROM \"{table}\""))?;
        let columns = select.column_count();
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            for column in 0..columns {
                match row.get_ref(column)? {
                    ValueRef::Null => {}
                    ValueRef::Integer(number) => write!(bytes, "{number}")?,
                    ValueRef::Real(number) => write!(bytes, "{number}")?,
                    ValueRef::Text(text) | ValueRef::Blob(text) => bytes.extend_from_slice(text),
                }
                bytes.push(b',');
            }
            bytes.push(b'\n');
            count += 1;
        }
    }
    Ok(count)
}

/// Reads every row and hashes it by itself, as whoever looks for changes without notes has to.
fn read_and_hash(database: &Connection, tables: &[String]) -> Outcome<blake3::Hash> {
    let mut all = blake3::Hasher::new();
    for table in tables {
        let mut select = database.prepare(&format!("SELECT * FROM \"{table}\""))?;
        let columns = select.column_count();
        let mut rows = select.query([])?;
        let mut line = Vec::new();
        while let Some(row) = rows.next()? {
            line.clear();
            for column in 0..columns {
                match row.get_ref(column)? {
                    ValueRef::Null => line.push(0),
                    ValueRef::Integer(number) => line.extend_from_slice(&number.to_le_bytes()),
                    ValueRef::Real(number) => line.extend_from_slice(&number.to_le_bytes()),
                    ValueRef::Text(text) | ValueRef::Blob(text) => line.extend_from_slice(text),
                }
                line.push(b',');
            }
            all.update(blake3::hash(&line).as_bytes());
        }
    }
    Ok(all.finalize())
}

/// Fills a new database that has the same tables and indexes, and makes it durable.
fn insert(from: &Path, tables: &[String], to: &Path) -> Outcome<()> {
    let source = Connection::open_with_flags(from, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut database = Connection::open(to)?;
    database.execute_batch("PRAGMA journal_mode = WAL; PRAGMA foreign_keys = ON;")?;
    let transaction = database.transaction()?;
    let mut schema =
        source.prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE '_wbsync%'")?;
    let mut statements = schema.query([])?;
    while let Some(statement) = statements.next()? {
        transaction.execute_batch(&statement.get::<_, String>(0)?)?;
    }
    for table in tables {
        let mut select = source.prepare(&format!("SELECT * FROM \"{table}\""))?;
        let marks = vec!["?"; select.column_count()].join(", ");
        let mut insert = transaction.prepare(&format!("INSERT INTO \"{table}\" VALUES ({marks})"))?;
        let columns = select.column_count();
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let cells = (0..columns).map(|column| row.get::<_, Value>(column)).collect::<rusqlite::Result<Vec<_>>>()?;
            insert.execute(params_from_iter(cells))?;
        }
    }
    transaction.commit()?;
    Ok(())
}

fn seal(bytes: &[u8]) -> Outcome<Vec<u8>> {
    let recipient = age::x25519::Identity::generate().to_public();
    let encryptor = age::Encryptor::with_recipients(std::iter::once(&recipient as &dyn age::Recipient))?;
    let mut sealed = Vec::with_capacity(bytes.len() + 1024);
    let mut writer = encryptor.wrap_output(&mut sealed)?;
    writer.write_all(bytes)?;
    writer.finish()?;
    Ok(sealed)
}

/// Appends 4 KiB and waits for the disk, `times` times.
fn sync(path: &Path, times: u32) -> Outcome<()> {
    let mut file = File::create(path)?;
    for _ in 0..times {
        file.write_all(&[7; 4096])?;
        file.sync_all()?;
    }
    Ok(())
}
