//! What the machine itself can do with a database: `raw export app.db out`, `raw load out fresh.db`, `raw hash app.db`.
//!
//! The yardstick of docs/benchmarks.md: all rows of all tables as lines of JSON through `zstd -3`, read by SQLite in one
//! thread; all of them inserted again in one transaction; all of them read and hashed. No bookkeeping, no keys, no ids.

use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, OpenFlags, Row};
use serde_json::value::RawValue;

/// Reads, hashes or inserts all rows of a database, and nothing else.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    work: Work,
}

#[derive(Subcommand)]
enum Work {
    /// Writes all rows as lines of JSON through `zstd -3`.
    Export {
        /// The database.
        file: PathBuf,
        /// Where to write them.
        out: PathBuf,
    },
    /// Inserts what `export` wrote into the tables of an existing database.
    Load {
        /// What `export` wrote.
        from: PathBuf,
        /// The database.
        file: PathBuf,
    },
    /// Reads all rows and hashes each.
    Hash {
        /// The database.
        file: PathBuf,
    },
}

type Done = Result<u64, Box<dyn Error>>;

fn main() -> Result<(), Box<dyn Error>> {
    let rows = match Args::parse().work {
        Work::Export { file, out } => export(&file, &out)?,
        Work::Load { from, file } => load(&from, &file)?,
        Work::Hash { file } => hash(&file)?,
    };
    anstream::println!("{rows} rows");
    Ok(())
}

fn export(file: &Path, out: &Path) -> Done {
    let mut out = zstd::Encoder::new(BufWriter::new(File::create(out)?), 3)?;
    let mut line = Vec::new();
    let rows = each(file, &mut |table, columns, row| {
        line.clear();
        serde_json::to_writer(&mut line, table)?;
        for column in 0..columns {
            line.push(b'\t');
            match row.get_ref(column)? {
                ValueRef::Null => line.extend_from_slice(b"null"),
                ValueRef::Integer(number) => serde_json::to_writer(&mut line, &number)?,
                ValueRef::Real(number) => serde_json::to_writer(&mut line, &number)?,
                ValueRef::Text(text) => serde_json::to_writer(&mut line, std::str::from_utf8(text)?)?,
                ValueRef::Blob(bytes) => serde_json::to_writer(&mut line, bytes)?,
            }
        }
        line.push(b'\n');
        Ok(out.write_all(&line)?)
    })?;
    out.finish()?.flush()?;
    Ok(rows)
}

fn load(from: &Path, file: &Path) -> Done {
    let mut connection = Connection::open(file)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    let transaction = connection.transaction()?;
    let mut rows = 0;
    for line in BufReader::new(zstd::Decoder::new(File::open(from)?)?).lines() {
        let line = line?;
        let mut parts = line.split('\t');
        let table: String = serde_json::from_str(parts.next().unwrap_or_default())?;
        let values = parts.map(value).collect::<Result<Vec<Value>, _>>()?;
        let marks = vec!["?"; values.len()].join(", ");
        let mut statement = transaction.prepare_cached(&format!("INSERT INTO \"{table}\" VALUES({marks})"))?;
        rows += statement.execute(rusqlite::params_from_iter(values))? as u64;
    }
    transaction.commit()?;
    Ok(rows)
}

fn value(json: &str) -> Result<Value, serde_json::Error> {
    Ok(match json.as_bytes().first() {
        Some(b'n') => Value::Null,
        Some(b'"') => Value::Text(serde_json::from_str(json)?),
        Some(b'[') => Value::Blob(serde_json::from_str(json)?),
        _ => match serde_json::from_str(json) {
            Ok(number) => Value::Integer(number),
            Err(_) => Value::Real(serde_json::from_str::<&RawValue>(json)?.get().parse().unwrap_or_default()),
        },
    })
}

fn hash(file: &Path) -> Done {
    let mut all = [0; 32];
    let rows = each(file, &mut |_, columns, row| {
        let mut hasher = blake3::Hasher::new();
        for column in 0..columns {
            match row.get_ref(column)? {
                ValueRef::Null => hasher.update(b"n"),
                ValueRef::Integer(number) => hasher.update(&number.to_le_bytes()),
                ValueRef::Real(number) => hasher.update(&number.to_le_bytes()),
                ValueRef::Text(bytes) | ValueRef::Blob(bytes) => hasher.update(bytes),
            };
        }
        all.iter_mut().zip(hasher.finalize().as_bytes()).for_each(|(sum, byte)| *sum ^= byte);
        Ok(())
    })?;
    anstream::println!("{}", blake3::Hash::from(all));
    Ok(rows)
}

/// Reads all rows of all tables that aren't ours, parents first: in the order in which the tables were made.
fn each(file: &Path, take: &mut dyn FnMut(&str, usize, &Row<'_>) -> Result<(), Box<dyn Error>>) -> Done {
    let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE '\\_%' ESCAPE '\\' AND name NOT LIKE 'sqlite%'";
    let names: Vec<String> = connection.prepare(sql)?.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let mut count = 0;
    for table in names {
        let mut statement = connection.prepare(&format!("SELECT * FROM \"{table}\""))?;
        let columns = statement.column_count();
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            take(&table, columns, row)?;
            count += 1;
        }
    }
    Ok(count)
}
