//! The application's own spelling of its database's address, and where it looks for it.
//!
//! `.env` beside the application wins over the environment; relative paths start at the application's
//! directory, as its process does. Addresses in error texts have no passwords.

use std::io;
use std::path::{Path, PathBuf};

use super::dotenv;
use super::error::Error;
use crate::sys::disk;

/// The address that the application uses when none is set.
pub const DEFAULT_URL: &str = "sqlite:///data/app.db";
/// The variable that holds the address.
pub const VARIABLE: &str = "DATABASE_URL";
/// The most bytes of a `.env` file.
const ENV_BYTES_MAX: u64 = 1 << 20;

/// A database that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The SQLite file.
    pub path: PathBuf,
    /// The directory that the application runs in.
    pub app_dir: PathBuf,
    /// Who said so.
    pub from: From,
}

/// Who names the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// `.env` beside the application.
    EnvFile,
    /// The environment.
    Environment,
    /// Nobody: the application's default.
    Default,
}

/// Finds the database as the application in `app_dir` does; `environment` is its `DATABASE_URL`.
///
/// # Errors
/// `.env` can't be read, or the address can't be used. Whether the file exists isn't looked at.
pub fn discover(app_dir: &Path, environment: Option<&str>) -> Result<Found, Error> {
    let given = |text: &str| !text.trim().is_empty();
    let (url, from) = match env_file(app_dir)?.filter(|text| given(text)) {
        Some(url) => (url, From::EnvFile),
        None => match environment.filter(|text| given(text)) {
            Some(url) => (url.to_owned(), From::Environment),
            None => (DEFAULT_URL.to_owned(), From::Default),
        },
    };
    Ok(Found { path: parse(&url, app_dir)?, app_dir: app_dir.to_path_buf(), from })
}

/// Reads an address: `sqlite:///relative`, `sqlite:////absolute`, or a plain path.
///
/// # Errors
/// `Address` for other databases, databases in memory, and what is no address.
pub fn parse(url: &str, app_dir: &Path) -> Result<PathBuf, Error> {
    let url = url.trim();
    let refuse = |why| Err(Error::Address { url: redact(url), why });
    let Some((scheme, rest)) = url.split_once("://") else {
        return match url {
            "" => refuse("it is empty"),
            ":memory:" => refuse("a database in memory can't be shared with another program"),
            _ if url.contains('\0') => refuse("a path can't hold a NUL"),
            _ if url.starts_with("sqlite:") => refuse("a SQLite address begins with sqlite:///"),
            path => Ok(app_dir.join(path)),
        };
    };
    let scheme = scheme.to_ascii_lowercase();
    let (dialect, driver) = scheme.split_once('+').unwrap_or((&scheme, ""));
    match dialect {
        "sqlite" if matches!(driver, "" | "pysqlite" | "aiosqlite") => {}
        "sqlite" => return refuse("this SQLite driver keeps files that we can't read"),
        "postgresql" | "postgres" => return refuse("PostgreSQL is not supported by this version"),
        _ => return refuse("this kind of database is not supported"),
    }
    let Some(path) = rest.strip_prefix('/') else {
        return match rest {
            "" => refuse("a database in memory can't be shared with another program"),
            _ => refuse("a SQLite address has three slashes before a relative path and four before an absolute one"),
        };
    };
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    match path {
        "" | ":memory:" => refuse("a database in memory can't be shared with another program"),
        _ if path.starts_with("file:") => refuse("SQLite's own file: addresses are not supported"),
        _ if path.contains('\0') => refuse("a path can't hold a NUL"),
        path => Ok(app_dir.join(path)),
    }
}

/// Returns an address as it may be shown: without a password, and without parameters.
pub fn redact(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.chars().take(200).collect() };
    let rest = rest.split_once('?').map_or(rest, |(rest, _)| rest);
    // A password may hold '@' and '/', so everything up to the last '@' is taken for credentials.
    let shown = match rest.rsplit_once('@') {
        Some((credentials, host)) => {
            let user = credentials.split([':', '/']).next().unwrap_or_default();
            format!("{scheme}://{user}:***@{host}")
        }
        None => format!("{scheme}://{rest}"),
    };
    shown.chars().take(200).collect()
}

fn env_file(app_dir: &Path) -> Result<Option<String>, Error> {
    let path = app_dir.join(".env");
    let failed = |source| Error::File { doing: "read", path: path.clone(), source };
    let Some(bytes) = disk::read_bounded(&path, ENV_BYTES_MAX).map_err(failed)? else { return Ok(None) };
    let text = String::from_utf8(bytes)
        .map_err(|_| failed(io::Error::new(io::ErrorKind::InvalidData, "the file is not UTF-8")))?;
    dotenv::lookup(&text, VARIABLE).map_err(|bad| Error::EnvLine { path: path.clone(), line: bad.line, why: bad.why })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_applications_spellings_are_read() {
        let app = Path::new("/srv/app");
        for (url, path) in [
            ("sqlite:///data/app.db", "/srv/app/data/app.db"),
            ("sqlite:////var/lib/app.db", "/var/lib/app.db"),
            ("sqlite+pysqlite:///x.db?check_same_thread=false", "/srv/app/x.db"),
            ("data/app.db", "/srv/app/data/app.db"),
            ("/abs/app.db", "/abs/app.db"),
        ] {
            assert_eq!(parse(url, app).unwrap(), Path::new(path), "{url}");
        }
        for url in ["", "sqlite://", "sqlite:///:memory:", ":memory:", "sqlite://host/x", "sqlite:x", "mysql://h/x"] {
            assert!(parse(url, app).is_err(), "{url}");
        }
    }

    #[test]
    fn a_refused_address_shows_no_password() {
        let error = parse("postgresql+psycopg2://wb:s3c/r@t@db.example/wb?sslpassword=x", Path::new(".")).unwrap_err();
        let text = format!("{error} {error:?} {}", error.hint().unwrap());
        assert!(text.contains("wb:***@db.example/wb") && text.contains("not supported by this version"), "{text}");
        assert!(!text.contains("s3c") && !text.contains("sslpassword"), "{text}");
    }

    #[test]
    fn the_env_file_wins_over_the_environment() {
        let dir = tempfile::tempdir().unwrap();
        let app = dir.path();
        assert_eq!(discover(app, None).unwrap().path, app.join("data/app.db"));
        assert_eq!(discover(app, Some("sqlite:///e.db")).unwrap().from, From::Environment);
        std::fs::write(app.join(".env"), "SECRET=x\nDATABASE_URL='sqlite:///f.db'\n").unwrap();
        let found = discover(app, Some("sqlite:///e.db")).unwrap();
        assert_eq!((found.path, found.from), (app.join("f.db"), From::EnvFile));
        std::fs::write(app.join(".env"), "hunter2 hunter2\n").unwrap();
        let error = discover(app, None).unwrap_err();
        assert!(error.to_string().contains("line 1") && !error.to_string().contains("hunter2"));
    }
}
