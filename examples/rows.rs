//! Runs SQL on a SQLite database and prints the rows: `rows app.db 'SELECT id, username FROM users'`.
//!
//! For `scripts/demo`, so that it needs no other program than Rust's. Statements that change rows print how many.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, Row};

/// Runs one SQL statement on an application database, and prints its rows.
#[derive(Parser)]
struct Args {
    /// The database.
    file: PathBuf,
    /// The statement.
    sql: String,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(lines) => {
            let _ = anstream::stdout().write_all(lines.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            anstream::eprintln!("error: {}: {error}", args.file.display());
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> rusqlite::Result<String> {
    let database = Connection::open_with_flags(&args.file, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    database.busy_timeout(Duration::from_secs(5))?;
    let mut statement = database.prepare(&args.sql)?;
    let columns = statement.column_count();
    if columns == 0 {
        return Ok(format!("{} changed\n", statement.execute([])?));
    }
    let mut rows = statement.query([])?;
    let mut lines = String::new();
    while let Some(row) = rows.next()? {
        let cells = (0..columns).map(|column| cell(row, column)).collect::<rusqlite::Result<Vec<_>>>()?;
        lines += &(cells.join("  ") + "\n");
    }
    Ok(lines)
}

fn cell(row: &Row<'_>, column: usize) -> rusqlite::Result<String> {
    Ok(match row.get_ref(column)? {
        ValueRef::Null => "-".into(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).replace('\n', "\\n"),
        ValueRef::Blob(bytes) => format!("{} bytes", bytes.len()),
    })
}
