//! `ssh://user@host:port/path` and `user@host:path`: where `ssh` shall go, with nothing in it that it could take for an option.

use std::fmt;

/// A store behind SSH. Prints as the text that parses back to it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SshUrl {
    /// The user, if named.
    pub user: Option<String>,
    /// A host, or a name from ssh's configuration.
    pub host: String,
    /// The port, if named.
    pub port: Option<u16>,
    /// The path there: absolute, or starting at the user's home. Never empty.
    pub path: String,
}

/// A text names no store behind SSH. Never repeats the text: it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SshUrlError {
    /// A password.
    #[error("an SSH URL holds no password: use a key")]
    Password,
    /// The user or host is malformed, or looks like an option.
    #[error("user and host of an SSH URL have letters, digits, '.', '_' and '-', and don't begin with '-'; or [IPv6]")]
    Host,
    /// The port is no number.
    #[error("the port of an SSH URL is a number from 1 to 65535")]
    Port,
    /// There is no path.
    #[error("an SSH URL ends with the path of the store: ssh://host/path or host:path")]
    Path,
}

impl SshUrl {
    /// Parses either form.
    ///
    /// # Errors
    /// `SshUrlError`.
    pub fn parse(text: &str) -> Result<Self, SshUrlError> {
        match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("ssh") => {
                let at = rest.find('/').ok_or(SshUrlError::Path)?;
                let (place, path) = rest.split_at(at);
                let (user, host) = user_and_host(place)?;
                let (host, port) = host_and_port(host)?;
                let path = path.strip_prefix("/~/").unwrap_or(path);
                Self { user, host, port, path: path.to_owned() }.checked()
            }
            _ => {
                // The first colon that isn't an IPv6 address's own.
                let after = text.find("]:").filter(|_| text.contains('[')).map_or(0, |at| at + 1);
                let at = after + text[after..].find(':').ok_or(SshUrlError::Path)?;
                let (place, path) = (&text[..at], &text[at + 1..]);
                if path.split('/').next().is_some_and(|part| part.find('@').is_some_and(|at| part[at..].contains(':')))
                {
                    return Err(SshUrlError::Password);
                }
                let (user, host) = user_and_host(place)?;
                let path = path.strip_prefix("~/").unwrap_or(path);
                Self { user, host: unbracketed(host).to_owned(), port: None, path: path.to_owned() }.checked()
            }
        }
    }

    /// Refuses what `ssh` could misread.
    pub(crate) fn checked(self) -> Result<Self, SshUrlError> {
        let fine = |text: &str| {
            let fine = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            !text.is_empty() && !text.starts_with('-') && text.chars().all(fine)
        };
        let is_ipv6 = self.host.contains(':') && self.host.chars().all(|c| c.is_ascii_hexdigit() || ":.".contains(c));
        if !(fine(&self.host) || is_ipv6) || !self.user.as_deref().is_none_or(fine) {
            return Err(SshUrlError::Host);
        }
        if self.path.is_empty() || self.path == "/" {
            return Err(SshUrlError::Path);
        }
        Ok(self)
    }
}

impl fmt::Display for SshUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = self.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let slash = if self.path.starts_with('/') { "" } else { "/~/" };
        match self.port {
            Some(port) => write!(f, "ssh://{user}{host}:{port}{slash}{}", self.path),
            None => write!(f, "ssh://{user}{host}{slash}{}", self.path),
        }
    }
}

fn user_and_host(place: &str) -> Result<(Option<String>, &str), SshUrlError> {
    match place.rsplit_once('@') {
        None => Ok((None, place)),
        Some((user, _)) if user.contains(':') => Err(SshUrlError::Password),
        Some((user, host)) => Ok((Some(user.to_owned()), host)),
    }
}

fn host_and_port(text: &str) -> Result<(String, Option<u16>), SshUrlError> {
    let after = text.rfind(']').map_or(0, |at| at + 1);
    let (host, port) = match text[after..].find(':') {
        None => (text, None),
        Some(at) => (&text[..after + at], Some(&text[after + at + 1..])),
    };
    let port = match port {
        None => None,
        Some(digits) if digits.starts_with('+') => return Err(SshUrlError::Port),
        Some(digits) => Some(digits.parse().ok().filter(|port| *port > 0).ok_or(SshUrlError::Port)?),
    };
    Ok((unbracketed(host).to_owned(), port))
}

fn unbracketed(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_parse_and_print_one_way() {
        for (text, url) in [
            ("ssh://host/srv/store", "ssh://host/srv/store"),
            ("SSH://eve@host:2222/srv/store", "ssh://eve@host:2222/srv/store"),
            ("host:/srv/store", "ssh://host/srv/store"),
            ("host:store", "ssh://host/~/store"),
            ("eve@host:~/store", "ssh://eve@host/~/store"),
            ("ssh://host/~/store", "ssh://host/~/store"),
            ("ssh://[::1]:22/store", "ssh://[::1]:22/store"),
            ("eve@[::1]:store", "ssh://eve@[::1]/~/store"),
            ("host:a b'c", "ssh://host/~/a b'c"),
        ] {
            let parsed = SshUrl::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(parsed.to_string(), url, "{text}");
            assert_eq!(SshUrl::parse(url), Ok(parsed), "{text}");
        }
    }

    #[test]
    fn options_and_secrets_are_refused() {
        for (text, error) in [
            ("ssh://-oProxyCommand=evil/x", SshUrlError::Host),
            ("-oProxyCommand=evil:x", SshUrlError::Host),
            ("ssh://-l@host/x", SshUrlError::Host),
            ("ssh://a b/x", SshUrlError::Host),
            ("ssh:///x", SshUrlError::Host),
            ("ssh://eve:secret@host/x", SshUrlError::Password),
            ("eve:secret@host:x", SshUrlError::Password),
            ("ssh://host:x/y", SshUrlError::Port),
            ("ssh://host:0/y", SshUrlError::Port),
            ("ssh://host", SshUrlError::Path),
            ("ssh://host/", SshUrlError::Path),
            ("host:", SshUrlError::Path),
        ] {
            assert_eq!(SshUrl::parse(text), Err(error), "{text}");
        }
    }
}
