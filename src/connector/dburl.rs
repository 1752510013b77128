//! The application's own spelling of its database's address, and where it looks for it.
//!
//! PostgreSQL's addresses are libpq's, with SQLAlchemy's driver behind a plus sign; the schema of the application's
//! tables is what `options=-csearch_path=NAME` says, else `public`.
//!
//! `.env` beside the application wins over the environment; relative paths start at the application's
//! directory, as its process does. Addresses in error texts have no passwords.

use std::error::Error as _;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use postgres::config::{Config, Host, SslMode};

use super::dotenv;
use super::error::Error;
use crate::sys::disk;

/// The address that the application uses when none is set.
pub const DEFAULT_URL: &str = "sqlite:///data/app.db";
/// The variable that holds the address.
pub const VARIABLE: &str = "DATABASE_URL";
/// The most bytes of a `.env` file.
const ENV_BYTES_MAX: u64 = 1 << 20;
/// How long a server may take to answer, unless the address says so.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where a database is.
#[derive(Debug, Clone, PartialEq)]
pub enum Address {
    /// A SQLite file.
    Sqlite(PathBuf),
    /// A PostgreSQL database.
    Postgres(Box<PostgresUrl>),
}

/// The address of a PostgreSQL database. It is shown without its password.
#[derive(Clone)]
pub struct PostgresUrl {
    config: Config,
    schema: String,
    trust: Trust,
    certificate: Option<Certificate>,
}

/// The files of our own certificate, for servers that ask for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The certificate, with those that lead to its authority.
    pub chain: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Whose certificate a server may show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// Anybody's.
    Anybody,
    /// One that the operating system trusts.
    System,
    /// One that an authority in this file has signed.
    File(PathBuf),
}

/// A database that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Where it is.
    pub address: Address,
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
    let (url, from) = match env_file(app_dir, VARIABLE)?.filter(|text| given(text)) {
        Some(url) => (url, From::EnvFile),
        None => match environment.filter(|text| given(text)) {
            Some(url) => (url.to_owned(), From::Environment),
            None => (DEFAULT_URL.to_owned(), From::Default),
        },
    };
    Ok(Found { address: parse(&url, app_dir)?, app_dir: app_dir.to_path_buf(), from })
}

/// Reads an address: `sqlite:///relative`, `sqlite:////absolute`, a plain path, or `postgresql://user@host/name`.
///
/// # Errors
/// `Address` for other databases, databases in memory, and what is no address.
pub fn parse(url: &str, app_dir: &Path) -> Result<Address, Error> {
    let url = url.trim();
    let refused = |why| Err(Error::Address { url: redact(url), why });
    let refuse = |why: &str| refused(why.to_owned());
    let Some((scheme, rest)) = url.split_once("://") else {
        return match url {
            "" => refuse("it is empty"),
            ":memory:" => refuse("a database in memory can't be shared with another program"),
            _ if url.contains('\0') => refuse("a path can't hold a NUL"),
            _ if url.starts_with("sqlite:") => refuse("a SQLite address begins with sqlite:///"),
            _ if url.starts_with("postgres") && url.contains(':') => {
                refuse("one of PostgreSQL begins with postgresql://")
            }
            path => Ok(Address::Sqlite(app_dir.join(path))),
        };
    };
    let scheme = scheme.to_ascii_lowercase();
    let (dialect, driver) = scheme.split_once('+').unwrap_or((&scheme, ""));
    match dialect {
        "sqlite" if matches!(driver, "" | "pysqlite" | "aiosqlite") => {}
        "sqlite" => return refuse("this SQLite driver keeps files that we can't read"),
        "postgresql" | "postgres" => {
            return PostgresUrl::parse(rest, app_dir).map(|url| Address::Postgres(Box::new(url))).or_else(refused);
        }
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
        path => Ok(Address::Sqlite(app_dir.join(path))),
    }
}

impl PostgresUrl {
    /// Reads what follows `postgresql://`.
    fn parse(rest: &str, app_dir: &Path) -> Result<Self, String> {
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (mut kept, mut mode, mut root, mut chain, mut key) = (Vec::new(), None, None, None, None);
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let path = || unescape(value).ok_or_else(|| format!("{name} is no path"));
            match name {
                "sslmode" => mode = Some(value),
                "sslrootcert" => root = Some(path()?),
                "sslcert" => chain = Some(path()?),
                "sslkey" => key = Some(path()?),
                _ if IGNORED.contains(&name) => {}
                // A word that we don't know may be a part of a password, so that only those that we do are shown.
                _ => match UNSUPPORTED.iter().find(|known| **known == name) {
                    Some(known) => return Err(format!("its parameter {known} is libpq's own, and not known here")),
                    None => kept.push(parameter),
                },
            }
        }
        let certificate = match (chain, key) {
            (None, None) => None,
            (Some(chain), Some(key)) => Some(Certificate { chain: app_dir.join(chain), key: app_dir.join(key) }),
            _ => return Err("sslcert and sslkey go together".into()),
        };
        let url = format!("postgresql://{place}?{}", kept.join("&"));
        let mut config: Config = url.parse().map_err(unread)?;
        let (mode, checks) = match mode {
            None | Some("prefer" | "allow") => (SslMode::Prefer, false),
            Some("disable") => (SslMode::Disable, false),
            Some("require") => (SslMode::Require, root.is_some()),
            Some("verify-ca" | "verify-full") => (SslMode::Require, true),
            Some(_) => return Err("sslmode is none of disable, allow, prefer, require, verify-ca, verify-full".into()),
        };
        let is_local = |host: &Host| !matches!(host, Host::Tcp(_));
        config.ssl_mode(if config.get_hosts().iter().all(is_local) { SslMode::Disable } else { mode });
        let trust = match root {
            _ if !checks => Trust::Anybody,
            Some(path) if path != "system" => Trust::File(app_dir.join(path)),
            _ => Trust::System,
        };
        let schema = schema_of(config.get_options().unwrap_or_default()).unwrap_or_else(|| "public".to_owned());
        if config.get_hosts().iter().any(|host| matches!(host, Host::Tcp(name) if name.contains('@'))) {
            return Err("an @ in its password has to be written %40".into());
        }
        if config.get_hosts().is_empty() {
            return Err("it names no host; for a socket write ?host=/run/postgresql".into());
        }
        if config.get_user().is_none() {
            return Err("it names no user".into());
        }
        if config.get_application_name().is_none() {
            config.application_name("wbsync");
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        Ok(Self { config, schema, trust, certificate })
    }

    /// Returns what the driver needs, the password included.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Returns the schema of the application's tables.
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// Returns whose certificate the server may show.
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// Returns the certificate to show to the server.
    pub fn certificate(&self) -> Option<&Certificate> {
        self.certificate.as_ref()
    }

    /// Spells the address without password and parameters.
    pub fn shown(&self) -> String {
        let user = self.config.get_user().unwrap_or_default();
        let host = match self.config.get_hosts().first() {
            Some(Host::Tcp(host)) => host.clone(),
            #[cfg(unix)]
            Some(Host::Unix(path)) => path.display().to_string(),
            None => String::new(),
        };
        let port = match self.config.get_ports().first() {
            None | Some(5432) => String::new(),
            Some(port) => format!(":{port}"),
        };
        format!("postgresql://{user}@{host}{port}/{}", self.config.get_dbname().unwrap_or(user))
    }
}

impl PartialEq for PostgresUrl {
    fn eq(&self, other: &Self) -> bool {
        self.shown() == other.shown() && self.schema == other.schema
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

/// Says why the driver doesn't read an address. Of its own words only those are shown that can hold nothing of the address.
fn unread(error: postgres::Error) -> String {
    let why = error.source().map(ToString::to_string).unwrap_or_default();
    match why.strip_prefix("invalid value for option `").and_then(|rest| rest.strip_suffix('`')) {
        Some(name) => format!("its parameter {name} has a value that it can't have"),
        None => "it is not written as libpq's addresses are, or has a parameter that libpq doesn't know".into(),
    }
}

/// Parameters of libpq without meaning to whoever comes from elsewhere.
const IGNORED: [&str; 6] =
    ["client_encoding", "fallback_application_name", "gssdelegation", "gsslib", "krbsrvname", "sslcompression"];

/// Parameters of libpq that ask for what we can't do; to leave them out in silence could be less safe, or somewhere else.
const UNSUPPORTED: [&str; 24] = [
    "gssencmode",
    "keepalives_count",
    "max_protocol_version",
    "min_protocol_version",
    "oauth_client_id",
    "oauth_client_secret",
    "oauth_issuer",
    "oauth_scope",
    "passfile",
    "replication",
    "require_auth",
    "requirepeer",
    "requiressl",
    "scram_client_key",
    "scram_server_key",
    "service",
    "servicefile",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslcertmode",
    "sslcrl",
    "sslcrldir",
    "sslkeylogfile",
    "sslpassword",
];

/// Finds the first name of `search_path` in what is given to the server's command line.
fn schema_of(options: &str) -> Option<String> {
    let (_, after) = options.split_once("search_path=")?;
    let name = after.split([',', ' ']).next()?.trim_matches(['"', '\\']);
    Some(name.to_owned()).filter(|name| !name.is_empty() && !name.starts_with('$'))
}

fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        bytes.push(match (first, after) {
            (b'%', [high, low, after @ ..]) => {
                rest = after;
                let digit = |c: &u8| char::from(*c).to_digit(16);
                u8::try_from(digit(high)? * 16 + digit(low)?).ok()?
            }
            (b'%', _) => return None,
            _ => *first,
        });
    }
    String::from_utf8(bytes).ok()
}

/// Returns an address as it may be shown: without a password, and without parameters.
pub fn redact(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        let shown = url.rsplit_once('@').map_or_else(|| url.to_owned(), |(_, rest)| format!("***@{rest}"));
        return shown.chars().take(200).collect();
    };
    // A password may hold '?' too; what has an '@' only behind it may be one, or a parameter.
    let credentials_end = rest.rfind('@').unwrap_or(0);
    let rest = rest[credentials_end..].find('?').map_or(rest, |at| &rest[..credentials_end + at]);
    // A password may hold '@' and '/', so everything up to the last '@' is taken for credentials.
    let shown = match rest.rsplit_once('@') {
        Some((credentials, host)) => {
            let user = credentials.split([':', '/']).next().unwrap_or_default();
            let hidden = if user.len() < credentials.len() { ":***" } else { "" };
            format!("{scheme}://{user}{hidden}@{host}")
        }
        None => format!("{scheme}://{rest}"),
    };
    shown.chars().take(200).collect()
}

/// Returns a text with the credentials of all addresses in it made unreadable, byte for byte as long as it was: in each line, what
/// stands between the first `:/` and the last `@`.
pub fn mask(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        match (line.find(":/"), line.rfind('@')) {
            (Some(begin), Some(end)) if begin < end => {
                masked.push_str(&line[..begin + 2]);
                masked.extend(std::iter::repeat_n('*', end - begin - 2));
                masked.push_str(&line[end..]);
            }
            _ => masked.push_str(line),
        }
    }
    masked
}

/// Reads a variable of the application's `.env`; `None` if there is none, or no such file. A file that doesn't mention
/// the name is not read any closer.
///
/// # Errors
/// `File`; `EnvLine` for a line that isn't understood.
pub fn env_file(app_dir: &Path, name: &str) -> Result<Option<String>, Error> {
    let path = app_dir.join(".env");
    let Some(text) = env_text(&path)? else { return Ok(None) };
    // Whoever gives the address elsewhere need not have a file that we understand.
    if name != VARIABLE && !text.contains(name) {
        return Ok(None);
    }
    dotenv::lookup(&text, name).map_err(|bad| Error::EnvLine { path: path.clone(), line: bad.line, why: bad.why })
}

/// Returns the names that the application's `.env` gives values; none of a file that isn't understood.
///
/// # Errors
/// `File`.
pub fn env_file_names(app_dir: &Path) -> Result<Vec<String>, Error> {
    let text = env_text(&app_dir.join(".env"))?.unwrap_or_default();
    Ok(dotenv::names(&text).unwrap_or_default().into_iter().map(str::to_owned).collect())
}

fn env_text(path: &Path) -> Result<Option<String>, Error> {
    let failed = |source| Error::File { doing: "read", path: path.to_owned(), source };
    let Some(bytes) = disk::read_bounded(path, ENV_BYTES_MAX).map_err(failed)? else { return Ok(None) };
    let text = String::from_utf8(bytes);
    text.map(Some).map_err(|_| failed(io::Error::new(io::ErrorKind::InvalidData, "the file is not UTF-8")))
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
            assert_eq!(parse(url, app).unwrap(), Address::Sqlite(path.into()), "{url}");
        }
        for url in ["", "sqlite://", "sqlite:///:memory:", ":memory:", "sqlite://host/x", "sqlite:x", "mysql://h/x"] {
            assert!(parse(url, app).is_err(), "{url}");
        }
    }

    #[test]
    fn a_refused_address_shows_no_password() {
        for url in ["postgresql://wb:s3c/r@t@db.example/wb?sslpassword=x", "mysql://wb:s3c?r@t@db.example/wb"] {
            let error = parse(url, Path::new(".")).unwrap_err();
            let text = format!("{error} {error:?} {}", error.hint().unwrap());
            assert!(text.contains("wb:***@db.example/wb"), "{text}");
            assert!(!text.contains("s3c") && !text.contains("=x"), "{text}");
        }
        for url in ["postgresql:/wb:s3cret@db.example/wb", "postgresql://wb:s3@cret@db.example/wb"] {
            let error = parse(url, Path::new(".")).unwrap_err();
            let text = format!("{error} {error:?} {}", error.hint().unwrap());
            assert!(text.contains("***@db.example/wb") && !text.contains("cret"), "{text}");
        }
    }

    #[test]
    fn addresses_in_a_text_are_masked_in_their_length() {
        let text = "a = 1\ndatabase = \"postgresql://wb:s3@crét@db\nmail = \"me@example.org\" # see http://docs\n";
        let masked = mask(text);
        assert_eq!(masked.len(), text.len());
        assert_eq!(masked, text.replace("/wb:s3@crét@", &format!("{}@", "*".repeat("/wb:s3@crét".len()))));
    }

    #[test]
    fn postgresql_is_read_as_sqlalchemy_and_libpq_write_it() {
        let read = |url: &str| match parse(url, Path::new("/srv/app")) {
            Ok(Address::Postgres(url)) => *url,
            other => panic!("{url}: {other:?}"),
        };
        let url =
            read("postgresql+psycopg2://wb:s3%2Fcr%40t@db.example:5433/wb?sslmode=verify-full&sslrootcert=ca.pem");
        assert_eq!(url.shown(), "postgresql://wb@db.example:5433/wb");
        assert_eq!(url.config().get_password(), Some(&b"s3/cr@t"[..]));
        assert_eq!((url.schema(), url.trust()), ("public", &Trust::File("/srv/app/ca.pem".into())));
        assert!(!format!("{:?}", Address::Postgres(Box::new(url))).contains("cr"));
        let url = read("postgres://wb@/wb?host=/run/postgresql&options=-csearch_path%3Dapp,public");
        assert_eq!((url.schema(), url.config().get_ssl_mode()), ("app", SslMode::Disable));
        assert_eq!(read("postgresql://wb@h/wb?sslmode=verify-ca").trust(), &Trust::System);
        let url = read("postgresql://wb@h/wb?sslcert=own.pem&sslkey=/etc/own.key");
        let files = Certificate { chain: "/srv/app/own.pem".into(), key: "/etc/own.key".into() };
        assert_eq!((url.trust(), url.certificate()), (&Trust::Anybody, Some(&files)));
        for url in ["postgresql://", "postgresql:///wb", "postgresql://h/wb", "postgresql://u@h/wb?sslmode=maybe"] {
            assert!(parse(url, Path::new(".")).is_err(), "{url}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_parameter_is_said() {
        for (query, said) in [
            ("sslmode=require&sslcrl=x.crl", "its parameter sslcrl is libpq's own, and not known here"),
            ("passfile=s3cret", "its parameter passfile is libpq's own, and not known here"),
            ("sslcert=own.pem", "sslcert and sslkey go together"),
            ("sslcert=%zz", "sslcert is no path"),
            ("connect_timeout=s3cret", "its parameter connect_timeout has a value that it can't have"),
            ("s3cret=1", "it is not written as libpq's addresses are, or has a parameter that libpq doesn't know"),
            ("s3cret", "it is not written as libpq's addresses are, or has a parameter that libpq doesn't know"),
        ] {
            let error = parse(&format!("postgresql://wb@h/wb?{query}"), Path::new(".")).unwrap_err();
            let wanted = format!("cannot use the database address \"postgresql://wb@h/wb\": {said}");
            assert_eq!(error.to_string(), wanted, "{query}");
        }
        assert!(parse("postgresql://wb@h/wb?client_encoding=utf8&sslcompression=0", Path::new(".")).is_ok());
    }

    #[test]
    fn the_env_file_wins_over_the_environment() {
        let dir = tempfile::tempdir().unwrap();
        let app = dir.path();
        assert_eq!(discover(app, None).unwrap().address, Address::Sqlite(app.join("data/app.db")));
        assert_eq!(discover(app, Some("sqlite:///e.db")).unwrap().from, From::Environment);
        std::fs::write(app.join(".env"), "SECRET=x\nDATABASE_URL='sqlite:///f.db'\n").unwrap();
        let found = discover(app, Some("sqlite:///e.db")).unwrap();
        assert_eq!((found.address, found.from), (Address::Sqlite(app.join("f.db")), From::EnvFile));
        std::fs::write(app.join(".env"), "hunter2 hunter2\n").unwrap();
        let error = discover(app, None).unwrap_err();
        assert!(error.to_string().contains("line 1") && !error.to_string().contains("hunter2"));
    }
}
