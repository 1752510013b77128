//! The URLs of remotes: which store is meant, and which transport reaches it.
//!
//! Every scheme that wbsync has a meaning for is recognised here, so that `ssh://…` is never taken for a directory of
//! that name; what this build can't reach is refused by name.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

#[cfg(feature = "git")]
use crate::exchange::store::Doing;
use crate::exchange::store::{Store, StoreError};
#[cfg(feature = "git")]
use crate::id::bytes::InstanceId;
use crate::keys::identity::Identity;
use crate::sys::disk::TEMPORARY_PREFIX;
use crate::transport::dir::DirStore;
#[cfg(feature = "git")]
use crate::transport::git::places;
#[cfg(feature = "git")]
use crate::transport::git::store::GitStore;
#[cfg(feature = "git")]
use crate::transport::git::url::{GitUrl, GitUrlError, Place};
use crate::transport::http::recall::Recall;
use crate::transport::http::store::HttpStore;
use crate::transport::http::url::{HttpUrl, HttpUrlError};
use crate::transport::ssh;
use crate::transport::ssh::url::{SshUrl, SshUrlError};
use crate::transport::unreliable::beyond;

/// Where a remote store is.
///
/// Prints as the text that parses back to it from any current directory.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RemoteUrl {
    /// A directory. The path is absolute and UTF-8.
    Directory(PathBuf),
    /// A hub, over HTTP or HTTPS.
    Http(HttpUrl),
    /// A directory on another machine, over SSH.
    Ssh(SshUrl),
    /// A git repository.
    #[cfg(feature = "git")]
    Git(GitUrl),
}

impl RemoteUrl {
    /// Parses a URL or a path; a relative path starts at `current_dir`, which is absolute.
    ///
    /// `host:path` is SSH as in git, unless a `/` comes before the `:`. In `file://` URLs `%xx` stands for a byte;
    /// plain paths are taken as they are. `..` stays, for it means what the links on the way make of it.
    ///
    /// # Errors
    /// `UrlError`, which never repeats more of the text than its scheme: a URL may hold a password.
    pub fn parse(text: &str, current_dir: &Path) -> Result<Self, UrlError> {
        assert!(current_dir.is_absolute(), "the current directory is absolute");
        if text.is_empty() {
            return Err(UrlError::Empty);
        }
        if text.contains(|c: char| c.is_control()) {
            return Err(UrlError::ControlCharacter);
        }
        let path = match scheme_of(text) {
            Scheme::None => PathBuf::from(text),
            Scheme::Named("file") => file_path(&text["file:".len()..])?,
            Scheme::Named(scheme) if ["http", "https"].iter().any(|http| http.eq_ignore_ascii_case(scheme)) => {
                return HttpUrl::parse(text).map(RemoteUrl::Http).map_err(UrlError::Http);
            }
            Scheme::Named(scheme) if scheme.eq_ignore_ascii_case("ssh") => {
                return SshUrl::parse(text).map(RemoteUrl::Ssh).map_err(UrlError::Ssh);
            }
            #[cfg(feature = "git")]
            Scheme::Named(scheme) if scheme.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("git+")) => {
                return GitUrl::parse(text).map(RemoteUrl::Git).map_err(UrlError::Git);
            }
            Scheme::Named(scheme) => match LATER.iter().find(|later| later.eq_ignore_ascii_case(scheme)) {
                Some(later) => return Err(UrlError::NotInThisBuild { scheme: later }),
                None => return Err(UrlError::UnknownScheme { scheme: scheme.chars().take(40).collect() }),
            },
            Scheme::HostPath => return SshUrl::parse(text).map(RemoteUrl::Ssh).map_err(UrlError::Ssh),
        };
        if path.components().next() == Some(Component::Normal("~".as_ref())) {
            return Err(UrlError::Tilde);
        }
        let path: PathBuf = current_dir.join(path).components().collect();
        match path.to_str() {
            Some(text) if !text.contains(|c: char| c.is_control()) => Ok(RemoteUrl::Directory(path)),
            Some(_) => Err(UrlError::ControlCharacter),
            None => Err(UrlError::NotUtf8),
        }
    }
}

impl fmt::Display for RemoteUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RemoteUrl::Directory(path) => path.display().fmt(f),
            RemoteUrl::Http(url) => url.fmt(f),
            RemoteUrl::Ssh(url) => url.fmt(f),
            #[cfg(feature = "git")]
            RemoteUrl::Git(url) => url.fmt(f),
        }
    }
}

/// A text doesn't name a store that this build can reach.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Nothing at all.
    #[error("an empty text names no store")]
    Empty,
    /// A line break or another control character.
    #[error("the URL or path of a store has no control characters")]
    ControlCharacter,
    /// A scheme of wbsync that this build has no transport for.
    #[error("this build can't talk {scheme}: it reaches directories, hubs (https://…) and SSH (ssh://…)")]
    NotInThisBuild {
        /// The scheme.
        scheme: &'static str,
    },
    /// A scheme without a meaning here.
    #[error("{scheme}:// is no kind of store: give a directory (/path), a hub (https://host/) or SSH (host:path)")]
    UnknownScheme {
        /// The scheme.
        scheme: String,
    },
    /// A `file:` URL that isn't `file:///path`.
    #[error("a file URL is file:///path, with no host, '?' or '#'; %xx stands for other bytes")]
    FileUrl,
    /// A `~`, which only shells understand.
    #[error("'~' is not expanded here: give the whole path, or ./~ for a directory of that name")]
    Tilde,
    /// A malformed URL of a hub.
    #[error("this is no URL of a hub")]
    Http(#[source] HttpUrlError),
    /// A malformed URL for SSH.
    #[error("this is no URL for SSH")]
    Ssh(#[source] SshUrlError),
    /// A malformed URL of a git repository.
    #[cfg(feature = "git")]
    #[error("this is no URL of a git repository")]
    Git(#[source] GitUrlError),
    /// A path that can't be kept in a configuration file.
    #[error("the path of a store is UTF-8")]
    NotUtf8,
}

/// As whom a store is opened, and where what is fetched from it may be kept.
#[derive(Debug, Clone, Default)]
pub struct Access<'a> {
    /// Requests to a hub are signed as this; without one, only what is public can be had there.
    pub identity: Option<&'a Identity>,
    /// A directory for caches of git repositories, which may be deleted whenever nobody is at it. Without one, what had to be
    /// fetched is forgotten.
    pub caches: Option<PathBuf>,
    /// The same for what hubs said.
    pub recalls: Option<PathBuf>,
}

impl<'a> From<Option<&'a Identity>> for Access<'a> {
    fn from(identity: Option<&'a Identity>) -> Self {
        Self { identity, caches: None, recalls: None }
    }
}

impl<'a> From<&'a Identity> for Access<'a> {
    fn from(identity: &'a Identity) -> Self {
        Some(identity).into()
    }
}

/// Opens a store for reading.
///
/// # Errors
/// As the transport's own `open`.
pub fn open<'a>(url: &RemoteUrl, access: impl Into<Access<'a>>) -> Result<Box<dyn Store>, StoreError> {
    let access = access.into();
    match url {
        RemoteUrl::Directory(path) => Ok(beyond(Box::new(DirStore::open(path)?))),
        RemoteUrl::Http(url) => Ok(Box::new(open_hub(url, &access)?)),
        RemoteUrl::Ssh(url) => Ok(Box::new(ssh::open(url, access.identity)?)),
        #[cfg(feature = "git")]
        RemoteUrl::Git(url) => open_git(url, &access, GitStore::open),
    }
}

/// Opens a store that will be written, as somebody, and clears away what interrupted writers left there.
///
/// # Errors
/// As the transport's own `open_for_writing`.
pub fn open_for_writing<'a>(url: &RemoteUrl, access: impl Into<Access<'a>>) -> Result<Box<dyn Store>, StoreError> {
    match url {
        RemoteUrl::Directory(path) => Ok(beyond(Box::new(DirStore::open_for_writing(path)?))),
        // What is left there is for whoever serves it to clear away.
        _ => open(url, access),
    }
}

/// Makes a store, or opens for writing the one that is there.
///
/// # Errors
/// As the transport's own `create`.
pub fn create<'a>(url: &RemoteUrl, access: impl Into<Access<'a>>) -> Result<Box<dyn Store>, StoreError> {
    let access = access.into();
    match url {
        RemoteUrl::Directory(path) => Ok(beyond(Box::new(DirStore::create(path)?))),
        // `wbsync serve` makes the store that it serves.
        RemoteUrl::Http(_) | RemoteUrl::Ssh(_) => open(url, access),
        #[cfg(feature = "git")]
        RemoteUrl::Git(url) => open_git(url, &access, GitStore::create),
    }
}

/// Opens a hub, by what is kept of it if there is a directory for that.
///
/// # Errors
/// As `HttpStore::open`.
pub fn open_hub(url: &HttpUrl, access: &Access<'_>) -> Result<HttpStore, StoreError> {
    match &access.recalls {
        Some(dir) => HttpStore::open_recalling(url, access.identity, dir),
        None => HttpStore::open(url, access.identity),
    }
}

/// Opens a git repository by what is kept for it.
#[cfg(feature = "git")]
fn open_git(url: &GitUrl, access: &Access<'_>, open: OpenGit) -> Result<Box<dyn Store>, StoreError> {
    let own = access.identity.map(Identity::id);
    let Some(caches) = &access.caches else { return Ok(Box::new(open(url, own, None)?)) };
    let url = places::with_password(url, caches).map_err(|source| StoreError::Io {
        store: format!("the git repository {url}"),
        doing: Doing::Open,
        source,
    })?;
    Ok(Box::new(open(&url, own, Some(&places::cache_of(&url, caches)))?))
}

#[cfg(feature = "git")]
type OpenGit = fn(&GitUrl, Option<InstanceId>, Option<&Path>) -> Result<GitStore, StoreError>;

/// Keeps what of a URL must not be stored with it: the password of a git repository.
///
/// # Errors
/// As the operating system says.
pub fn keep_secrets(url: &RemoteUrl, caches: &Path) -> io::Result<()> {
    match url {
        #[cfg(feature = "git")]
        RemoteUrl::Git(url) => places::keep_password(url, caches),
        RemoteUrl::Directory(_) | RemoteUrl::Http(_) | RemoteUrl::Ssh(_) => {
            let _ = caches;
            Ok(())
        }
    }
}

/// Removes what was kept for a store on this machine.
///
/// # Errors
/// As the operating system says.
pub fn forget(url: &RemoteUrl, access: &Access<'_>) -> io::Result<()> {
    match (url, &access.caches, &access.recalls) {
        #[cfg(feature = "git")]
        (RemoteUrl::Git(url), Some(caches), _) => places::forget(url, caches),
        (RemoteUrl::Http(url), _, Some(recalls)) => {
            Recall::remove(recalls, url, access.identity.map(Identity::id).as_ref())
        }
        _ => Ok(()),
    }
}

/// Tells whether a new store could be made at this place: nothing is there but the directory around it,
/// or a directory with nothing in it, but for what a killed making of a store left.
pub fn is_vacant(url: &RemoteUrl) -> bool {
    match url {
        RemoteUrl::Directory(path) => match fs::read_dir(path) {
            Ok(mut entries) => entries.all(|entry| {
                entry.is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with(TEMPORARY_PREFIX))
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => path.parent().is_some_and(Path::is_dir),
            Err(_) => false,
        },
        // A hub that can't be reached isn't an empty one.
        RemoteUrl::Http(_) | RemoteUrl::Ssh(_) => false,
        #[cfg(feature = "git")]
        RemoteUrl::Git(url) => match &url.place {
            Place::File(path) => match fs::read_dir(path) {
                Ok(mut entries) => entries.next().is_none(),
                Err(error) => error.kind() == io::ErrorKind::NotFound && path.parent().is_some_and(Path::is_dir),
            },
            Place::Ssh(_) | Place::Http { .. } => false,
        },
    }
}

enum Scheme<'a> {
    None,
    Named(&'a str),
    HostPath,
}

fn scheme_of(text: &str) -> Scheme<'_> {
    let Some((before, after)) = text.split_once(':') else { return Scheme::None };
    let is_drive = cfg!(windows) && before.len() == 1;
    if before.is_empty() || before.contains(['/', '\\']) || is_drive {
        return Scheme::None;
    }
    let is_scheme = before.starts_with(|c: char| c.is_ascii_alphabetic())
        && before.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    match () {
        () if before.eq_ignore_ascii_case("file") && after.starts_with('/') => Scheme::Named("file"),
        () if is_scheme && after.starts_with("//") => Scheme::Named(before),
        () => Scheme::HostPath,
    }
}

/// Returns the path of a file URL, given what follows `file:`.
pub(crate) fn file_path(rest: &str) -> Result<PathBuf, UrlError> {
    let path = match rest.strip_prefix("//") {
        Some(rest) => rest.strip_prefix("localhost").unwrap_or(rest),
        None => rest,
    };
    if !path.starts_with('/') || path.contains(['?', '#']) {
        return Err(UrlError::FileUrl);
    }
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits =
            tail.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit)).ok_or(UrlError::FileUrl)?;
        let digits = std::str::from_utf8(digits).expect("hexadecimal digits are ASCII");
        bytes.push(u8::from_str_radix(digits, 16).expect("two hexadecimal digits fit a byte"));
        rest = &tail[2..];
    }
    let path = String::from_utf8(bytes).map_err(|_| UrlError::NotUtf8)?;
    let path = if cfg!(windows) { path.trim_start_matches('/').to_owned() } else { path };
    Ok(PathBuf::from(path))
}

/// Schemes that wbsync has a meaning for and this build has no transport.
const LATER: &[&str] =
    if cfg!(feature = "git") { &["s3"] } else { &["git+ssh", "git+https", "git+http", "git+file", "s3"] };

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<String, UrlError> {
        RemoteUrl::parse(text, Path::new("/home/eve")).map(|url| url.to_string())
    }

    #[test]
    fn directories_become_absolute_paths_that_parse_back() {
        for (text, path) in [
            ("/mnt/stick", "/mnt/stick"),
            ("/mnt//stick/./store/", "/mnt/stick/store"),
            ("store", "/home/eve/store"),
            ("./a:b", "/home/eve/a:b"),
            ("../store", "/home/eve/../store"),
            (".", "/home/eve"),
            ("/a b%20c", "/a b%20c"),
            ("./~", "/home/eve/~"),
            ("file:///mnt/a%20b", "/mnt/a b"),
            ("file://localhost/mnt/x", "/mnt/x"),
            ("FILE:///mnt/x", "/mnt/x"),
            ("file:/mnt/x", "/mnt/x"),
            ("file:///mnt/%C3%A9", "/mnt/é"),
        ] {
            assert_eq!(parse(text).as_deref(), Ok(path), "{text:?}");
            assert_eq!(RemoteUrl::parse(path, Path::new("/")), RemoteUrl::parse(text, Path::new("/home/eve")));
        }
    }

    #[test]
    fn what_comes_later_is_named_and_repeats_no_secret() {
        for (text, scheme) in [("s3://eve:secret@bucket/prefix", "s3"), ("S3://bucket/prefix", "s3")] {
            let error = parse(text).unwrap_err();
            assert!(
                matches!(error, UrlError::NotInThisBuild { scheme: found } if found == scheme),
                "{text:?}: {error}"
            );
            assert!(error.to_string().contains("can't talk"));
            assert!(!error.to_string().contains("secret"));
        }
        assert_eq!(parse("gopher://hole/"), Err(UrlError::UnknownScheme { scheme: "gopher".into() }));
    }

    #[test]
    fn hubs_and_ssh_are_told_from_directories() {
        for (text, url) in [
            ("HTTPS://Hub.Example", "https://hub.example/"),
            ("http://127.0.0.1:7420/a/", "http://127.0.0.1:7420/a/"),
            ("ssh://host/path", "ssh://host/path"),
            ("host:path", "ssh://host/~/path"),
            ("eve@host:/path", "ssh://eve@host/path"),
        ] {
            assert_eq!(parse(text).as_deref(), Ok(url), "{text:?}");
            assert_eq!(RemoteUrl::parse(url, Path::new("/")), RemoteUrl::parse(text, Path::new("/home/eve")));
        }
        assert_eq!(parse("https://eve:secret@hub.example/"), Err(UrlError::Http(HttpUrlError::User)));
        assert_eq!(parse("-oProxyCommand=x:y"), Err(UrlError::Ssh(SshUrlError::Host)));
    }

    #[cfg(feature = "git")]
    #[test]
    fn git_repositories_are_told_by_their_scheme() {
        for (text, url) in [
            ("git+file:///srv/hub.git", "git+file:///srv/hub.git"),
            ("Git+SSH://git@host/~/hub.git", "git+ssh://git@host/~/hub.git"),
            ("git+https://eve:secret@host/hub.git#via=git", "git+https://eve@host/hub.git#via=git"),
        ] {
            assert_eq!(parse(text).as_deref(), Ok(url), "{text:?}");
        }
        let error = parse("git+ssh://eve:secret@host/hub.git").unwrap_err();
        assert!(!format!("{error:?} {error}").contains("secret"));
    }

    #[test]
    fn other_texts_are_refused() {
        for (text, error) in [
            ("", UrlError::Empty),
            ("/a\nb", UrlError::ControlCharacter),
            ("file:///a%0ab", UrlError::ControlCharacter),
            ("file:///a%00", UrlError::ControlCharacter),
            ("~/store", UrlError::Tilde),
            ("file://host/path", UrlError::FileUrl),
            ("file://localhostile/path", UrlError::FileUrl),
            ("file:///a?b", UrlError::FileUrl),
            ("file:///a#b", UrlError::FileUrl),
            ("file:///a%2", UrlError::FileUrl),
            ("file:///a%+1", UrlError::FileUrl),
            ("file:///%ff", UrlError::NotUtf8),
        ] {
            assert_eq!(parse(text), Err(error), "{text:?}");
        }
    }
}
