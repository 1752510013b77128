//! `git+file://`, `git+ssh://` and `git+https://`: a store in a bare git repository, and how it is kept and reached.
//!
//! Read as git reads its URLs, with what could be taken for an option or printed as a secret refused or left out. Behind a
//! `#` stand the choices that are ours: `refs=refs/heads/wbsync` and `via=git`.

use std::fmt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::transport::http::url::{HttpUrl, HttpUrlError};
use crate::transport::ssh::url::{SshUrl, SshUrlError};

/// A git repository that holds a store. Prints as the text that parses back to it, but for a password.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GitUrl {
    /// Where it is.
    pub place: Place,
    /// Below which references the store lies, without a slash at the end.
    pub prefix: String,
    /// Who talks to it.
    pub via: Via,
}

/// Where a repository is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Place {
    /// A directory of this machine, absolute.
    File(PathBuf),
    /// Behind SSH.
    Ssh(SshUrl),
    /// Behind a web server.
    Http {
        /// The repository; what its URL's prefix is for a hub is its path.
        url: HttpUrl,
        /// As whom to ask.
        user: Option<String>,
        /// The password or token, where the URL held one.
        password: Option<Password>,
    },
}

/// Who talks to a repository.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Via {
    /// We do.
    #[default]
    Native,
    /// The program `git`, with its credential helpers and its configuration.
    Program,
}

/// A password, which isn't printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// Takes a password.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// Returns it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::hash::Hash for Password {
    /// Puts nothing into a hash: equal ones have equal hashes, and no secret is in any.
    fn hash<H: std::hash::Hasher>(&self, _: &mut H) {}
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}

/// A text names no git repository. Never repeats the text: it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GitUrlError {
    /// git couldn't read it.
    #[error("git reads no URL in it")]
    Malformed,
    /// Behind the `#` stands something else.
    #[error("behind '#' stands refs=refs/… or via=git, with '&' between them")]
    Choice,
    /// The place of the references is none.
    #[error(
        "the references of a store lie below refs/…: letters, digits, '.', '_', '-' and single slashes, no part beginning with '.' or ending with .lock"
    )]
    Prefix,
    /// The path of a file URL isn't absolute, or has a host.
    #[error("it is git+file:///path, with no host; %xx stands for other bytes")]
    File,
    /// A password without a user, or over a connection that anybody can read.
    #[error("a password wants a user before it, and https")]
    Password,
    /// It is no URL for SSH.
    #[error("it is no URL for SSH")]
    Ssh(#[source] SshUrlError),
    /// It is no URL for a web server.
    #[error("it is no URL for a web server")]
    Http(#[source] HttpUrlError),
}

impl GitUrl {
    /// Parses `git+…://…[#…]`.
    ///
    /// # Errors
    /// `GitUrlError`.
    pub fn parse(text: &str) -> Result<Self, GitUrlError> {
        let (text, choices) = text.split_once('#').unwrap_or((text, ""));
        let mut parsed = Self { place: place(text)?, prefix: PREFIX.to_owned(), via: Via::Native };
        for choice in choices.split('&').filter(|choice| !choice.is_empty()) {
            match choice.split_once('=') {
                Some(("refs", prefix)) => parsed = parsed.below(prefix)?,
                Some(("via", "git")) => parsed.via = Via::Program,
                _ => return Err(GitUrlError::Choice),
            }
        }
        Ok(parsed)
    }

    /// Moves the store below other references.
    ///
    /// # Errors
    /// `Prefix`.
    pub fn below(self, prefix: &str) -> Result<Self, GitUrlError> {
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        let fine = |part: &str| {
            let is_name = !part.is_empty() && !part.starts_with(['.', '-']) && !part.ends_with(".lock");
            let is_plain = part.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
            is_name && is_plain && !part.contains("..") && !part.ends_with('.')
        };
        let parts: Vec<&str> = prefix.split('/').collect();
        match parts.len() >= 2 && parts[0] == "refs" && prefix.len() <= PREFIX_BYTES_MAX && parts.into_iter().all(fine)
        {
            true => Ok(Self { prefix: prefix.to_owned(), ..self }),
            false => Err(GitUrlError::Prefix),
        }
    }

    /// Returns the URL as `git` takes it, without a password: that is for its credential helpers to know.
    pub fn for_git(&self) -> String {
        let plain = Self { prefix: PREFIX.to_owned(), via: Via::Native, place: self.place.clone() }.to_string();
        plain.strip_prefix("git+").unwrap_or(&plain).to_owned()
    }

    /// Returns the password that the URL holds, and the URL without it.
    pub fn without_password(mut self) -> (Self, Option<Password>) {
        let taken = match &mut self.place {
            Place::Http { password, .. } => password.take(),
            Place::File(_) | Place::Ssh(_) => None,
        };
        (self, taken)
    }
}

fn place(text: &str) -> Result<Place, GitUrlError> {
    let text = text.get("git+".len()..).ok_or(GitUrlError::Malformed)?;
    let (scheme, rest) = text.split_once("://").ok_or(GitUrlError::Malformed)?;
    if scheme.eq_ignore_ascii_case("file") {
        let path = rest.strip_prefix("localhost").unwrap_or(rest);
        let path = crate::transport::url::file_path(&format!("//{path}")).map_err(|_| GitUrlError::File)?;
        return match path.components().next() {
            Some(_) if path.is_absolute() => Ok(Place::File(path.components().collect())),
            _ => Err(GitUrlError::File),
        };
    }
    let url = gix_url::parse(format!("{}://{rest}", scheme.to_ascii_lowercase()).as_bytes())
        .map_err(|_| GitUrlError::Malformed)?;
    let path = std::str::from_utf8(&url.path).map_err(|_| GitUrlError::Malformed)?;
    let host = url.host.clone().unwrap_or_default();
    match url.scheme {
        gix_url::Scheme::Ssh => {
            if url.password.is_some() {
                return Err(GitUrlError::Ssh(SshUrlError::Password));
            }
            if url.port == Some(0) {
                return Err(GitUrlError::Ssh(SshUrlError::Port));
            }
            let path = path.strip_prefix("~/").unwrap_or(path).to_owned();
            if path.contains(|c: char| c.is_control()) {
                return Err(GitUrlError::Malformed);
            }
            let ssh = SshUrl { user: url.user, host, port: url.port, path };
            ssh.checked().map(Place::Ssh).map_err(GitUrlError::Ssh)
        }
        gix_url::Scheme::Https | gix_url::Scheme::Http => {
            let (user, password) = (url.user, url.password.map(Password::new));
            let is_plain = url.scheme == gix_url::Scheme::Http;
            let is_far = is_plain && !matches!(host.as_str(), "localhost" | "127.0.0.1" | "[::1]" | "::1");
            let is_odd = |text: &str| text.is_empty() || text.contains(|c: char| c.is_control() || c == ':');
            let has_bad_user = user.as_deref().is_some_and(is_odd);
            if has_bad_user || (password.is_some() && (user.is_none() || is_far)) {
                return Err(GitUrlError::Password);
            }
            // The part behind the user, which our own parser reads more strictly.
            let authority = rest.split('/').next().unwrap_or_default();
            let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
            let path = rest.find('/').map_or("", |at| &rest[at..]);
            let url = HttpUrl::parse(&format!("{scheme}://{authority}{path}")).map_err(GitUrlError::Http)?;
            Ok(Place::Http { url, user, password })
        }
        _ => Err(GitUrlError::Malformed),
    }
}

impl fmt::Display for GitUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::File(path) => write!(f, "git+file://{}", encoded(&path_text(path), "/"))?,
            Place::Ssh(url) => write!(f, "git+{}", encoded(&url.to_string(), "/:@[]"))?,
            Place::Http { url, user, .. } => {
                let scheme = if url.tls { "https" } else { "http" };
                let user = user.as_ref().map(|user| format!("{}@", encoded(user, ""))).unwrap_or_default();
                write!(f, "git+{scheme}://{user}{}{}", url.authority, url.prefix)?;
            }
        }
        let mut sign = '#';
        if self.prefix != PREFIX {
            write!(f, "{sign}refs={}", self.prefix)?;
            sign = '&';
        }
        match self.via {
            Via::Native => Ok(()),
            Via::Program => write!(f, "{sign}via=git"),
        }
    }
}

fn path_text(path: &Path) -> String {
    let text = path.to_str().expect("paths from URLs are UTF-8");
    if cfg!(windows) { format!("/{}", text.replace('\\', "/")) } else { text.to_owned() }
}

/// Writes `%xx` for everything but plain characters and `also`.
fn encoded(text: &str, also: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte) || also.as_bytes().contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// Below which references a store lies, unless something else is said.
pub const PREFIX: &str = "refs/wbsync";
const PREFIX_BYTES_MAX: usize = 200;

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn urls_parse_and_print_one_way() {
        for (text, url) in [
            ("git+file:///srv/hub.git", "git+file:///srv/hub.git"),
            ("GIT+FILE:///srv//a%20b/", "git+file:///srv/a%20b"),
            ("git+ssh://git@host/srv/hub.git", "git+ssh://git@host/srv/hub.git"),
            ("git+ssh://git@[::1]:2222/~/hub.git", "git+ssh://git@[::1]:2222/~/hub.git"),
            ("git+ssh://host/a%20b", "git+ssh://host/a%20b"),
            ("git+https://Git.Example/eve/hub.git", "git+https://git.example/eve/hub.git"),
            ("git+https://eve@git.example:3000/hub/", "git+https://eve@git.example:3000/hub"),
            ("git+https://eve:s%40cret@git.example/hub", "git+https://eve@git.example/hub"),
            ("git+http://eve:secret@127.0.0.1:80/hub", "git+http://eve@127.0.0.1/hub"),
            ("git+file:///h#refs=refs/heads/wbsync/", "git+file:///h#refs=refs/heads/wbsync"),
            ("git+file:///h#via=git&refs=refs/x", "git+file:///h#refs=refs/x&via=git"),
            ("git+file:///h#refs=refs/wbsync", "git+file:///h"),
        ] {
            let parsed = GitUrl::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(parsed.to_string(), url, "{text}");
            let again = GitUrl::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
            assert_eq!(again, parsed.without_password().0, "{text}");
        }
        let (_, password) = GitUrl::parse("git+https://eve:s%40cret@git.example/hub").unwrap().without_password();
        assert_eq!(password.unwrap().reveal(), "s@cret");
    }

    #[test]
    fn options_and_secrets_are_refused() {
        use GitUrlError as E;
        for (text, error) in [
            ("git+ssh://-oProxyCommand=evil/x", E::Ssh(SshUrlError::Host)),
            ("git+ssh://eve:secret@host/x", E::Ssh(SshUrlError::Password)),
            ("git+ssh://host:0/x", E::Ssh(SshUrlError::Port)),
            ("git+ssh://a%20b/x", E::Ssh(SshUrlError::Host)),
            ("git+ssh://host", E::Malformed),
            ("git+ssh://host/a%0ab", E::Malformed),
            ("git+http://eve:secret@git.example/hub", E::Password),
            ("git+https://:secret@git.example/hub", E::Password),
            ("git+https://git.example/hub?x=y", E::Http(HttpUrlError::Path)),
            ("git+https://git.example/../hub", E::Http(HttpUrlError::Path)),
            ("git+file://host/x", E::File),
            ("git+file://x", E::File),
            ("git+ext://sh -c x", E::Malformed),
            ("git+ext::sh -c x", E::Malformed),
            ("git+file:///h#refs=heads/x", E::Prefix),
            ("git+file:///h#refs=refs", E::Prefix),
            ("git+file:///h#refs=refs/../x", E::Prefix),
            ("git+file:///h#refs=refs/-x", E::Prefix),
            ("git+file:///h#refs=refs/x.lock", E::Prefix),
            ("git+file:///h#refs=refs/a//b", E::Prefix),
            ("git+file:///h#via=curl", E::Choice),
            ("git+file:///h#x", E::Choice),
        ] {
            assert_eq!(GitUrl::parse(text), Err(error), "{text}");
        }
    }
}
