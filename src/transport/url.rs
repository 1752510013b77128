//! The URLs of remotes: which store is meant, and which transport reaches it.
//!
//! Every scheme that wbsync has a meaning for is recognised here, so that `ssh://…` is never taken for a directory of
//! that name; what this build can't reach is refused by name.

use std::fmt;
use std::path::{Component, Path, PathBuf};

use crate::exchange::store::{Store, StoreError};
use crate::sys::disk::TEMPORARY_PREFIX;
use crate::transport::dir::DirStore;

/// Where a remote store is.
///
/// Prints as the text that parses back to it from any current directory.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RemoteUrl {
    /// A directory. The path is absolute and UTF-8.
    Directory(PathBuf),
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
            Scheme::Named(scheme) => match LATER.iter().find(|later| later.eq_ignore_ascii_case(scheme)) {
                Some(later) => return Err(UrlError::NotInThisBuild { scheme: later }),
                None => return Err(UrlError::UnknownScheme { scheme: scheme.chars().take(40).collect() }),
            },
            Scheme::HostPath => return Err(UrlError::NotInThisBuild { scheme: "ssh" }),
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
    #[error("this build can't talk {scheme} yet: it reaches directories only, as /path or file:///path")]
    NotInThisBuild {
        /// The scheme.
        scheme: &'static str,
    },
    /// A scheme without a meaning here.
    #[error("{scheme}:// is no kind of store: give a directory, as /path or file:///path")]
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
    /// A path that can't be kept in a configuration file.
    #[error("the path of a store is UTF-8")]
    NotUtf8,
}

/// Opens a store for reading.
///
/// # Errors
/// As the transport's own `open`.
pub fn open(url: &RemoteUrl) -> Result<Box<dyn Store>, StoreError> {
    match url {
        RemoteUrl::Directory(path) => Ok(Box::new(DirStore::open(path)?)),
    }
}

/// Opens a store that will be written, and clears away what interrupted writers left there.
///
/// # Errors
/// As the transport's own `open_for_writing`.
pub fn open_for_writing(url: &RemoteUrl) -> Result<Box<dyn Store>, StoreError> {
    match url {
        RemoteUrl::Directory(path) => Ok(Box::new(DirStore::open_for_writing(path)?)),
    }
}

/// Makes a store, or opens for writing the one that is there.
///
/// # Errors
/// As the transport's own `create`.
pub fn create(url: &RemoteUrl) -> Result<Box<dyn Store>, StoreError> {
    match url {
        RemoteUrl::Directory(path) => Ok(Box::new(DirStore::create(path)?)),
    }
}

/// Tells whether a new store could be made at this place: nothing is there but the directory around it,
/// or a directory with nothing in it, but for what a killed making of a store left.
pub fn is_vacant(url: &RemoteUrl) -> bool {
    match url {
        RemoteUrl::Directory(path) => match std::fs::read_dir(path) {
            Ok(mut entries) => entries.all(|entry| {
                entry.is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with(TEMPORARY_PREFIX))
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => path.parent().is_some_and(Path::is_dir),
            Err(_) => false,
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
fn file_path(rest: &str) -> Result<PathBuf, UrlError> {
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
const LATER: &[&str] = &["http", "https", "ssh", "git+ssh", "git+https", "git+file", "s3"];

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
        for (text, scheme) in [
            ("http://hub.example/", "http"),
            ("https://eve:secret@hub.example/", "https"),
            ("HTTPS://hub.example", "https"),
            ("ssh://host/path", "ssh"),
            ("host:path", "ssh"),
            ("eve@host:/path", "ssh"),
            ("git+ssh://host/repo", "git+ssh"),
            ("git+file:///repo", "git+file"),
            ("s3://bucket/prefix", "s3"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(
                matches!(error, UrlError::NotInThisBuild { scheme: found } if found == scheme),
                "{text:?}: {error}"
            );
            assert!(error.to_string().contains("directories only"));
            assert!(!error.to_string().contains("secret"));
        }
        assert_eq!(parse("gopher://hole/"), Err(UrlError::UnknownScheme { scheme: "gopher".into() }));
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
