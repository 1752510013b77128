//! The base URL of a hub: scheme, authority and the path that everything lies below.
//!
//! Narrow on purpose: a request's signature covers authority and path, so there is one spelling of each.

use std::fmt;

/// Where a hub is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HttpUrl {
    /// Whether it is `https`.
    pub tls: bool,
    /// Host in lower case, with its port unless that is the scheme's own.
    pub authority: String,
    /// What comes before the paths of the protocol: empty, or `/sync` without a slash at the end.
    pub prefix: String,
}

/// A text is no base URL of a hub. Never repeats the text: it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HttpUrlError {
    /// Neither `http://` nor `https://`.
    #[error("the URL of a hub begins with http:// or https://")]
    Scheme,
    /// A user name or password.
    #[error("the URL of a hub holds no user name or password: requests are signed with the instance's key")]
    User,
    /// The host or port is malformed.
    #[error("the URL of a hub names a host, with letters, digits, '.' and '-', or [IPv6], and perhaps a port")]
    Host,
    /// The path has other characters.
    #[error("the path of a hub's URL has letters, digits, '.', '_', '~', '-' and single slashes, and no query")]
    Path,
}

impl HttpUrl {
    /// Parses `http(s)://host[:port][/path]`.
    ///
    /// # Errors
    /// `HttpUrlError`.
    pub fn parse(text: &str) -> Result<Self, HttpUrlError> {
        let (scheme, rest) = text.split_once("://").ok_or(HttpUrlError::Scheme)?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err(HttpUrlError::Scheme),
        };
        let (authority, path) = match rest.find(['/', '?', '#']) {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        if authority.contains('@') {
            return Err(HttpUrlError::User);
        }
        let authority = normal_authority(authority, tls).ok_or(HttpUrlError::Host)?;
        let prefix = path.strip_suffix('/').unwrap_or(path);
        let fine = |part: &str| {
            !matches!(part, "" | "." | "..") && part.chars().all(|c| c.is_ascii_alphanumeric() || "._~-".contains(c))
        };
        if !prefix.is_empty() && !prefix.strip_prefix('/').is_some_and(|path| path.split('/').all(fine)) {
            return Err(HttpUrlError::Path);
        }
        Ok(Self { tls, authority, prefix: prefix.to_owned() })
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}/", self.authority, self.prefix)
    }
}

/// Returns an authority in the one spelling that is signed; `None` if it isn't one.
pub fn normal_authority(text: &str, tls: bool) -> Option<String> {
    let text = text.to_ascii_lowercase();
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (inner, after) = rest.split_once(']')?;
            if inner.is_empty() || !inner.chars().all(|c| c.is_ascii_hexdigit() || c == ':' || c == '.') {
                return None;
            }
            let host = &text[..inner.len() + 2];
            (host, if after.is_empty() { None } else { Some(after.strip_prefix(':')?) })
        }
        None => {
            let (host, port) = match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text.as_str(), None),
            };
            let fine = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-' || c == '_';
            if host.is_empty() || host.len() > 253 || host.starts_with('-') || !host.chars().all(fine) {
                return None;
            }
            (host, port)
        }
    };
    let own = if tls { 443 } else { 80 };
    match port {
        None => Some(host.to_owned()),
        Some(digits) if digits.starts_with('+') => None,
        Some(digits) => match digits.parse::<u16>().ok()? {
            0 => None,
            port if port == own => Some(host.to_owned()),
            port => Some(format!("{host}:{port}")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_for_each_hub() {
        for (text, url) in [
            ("http://hub.example", "http://hub.example/"),
            ("HTTPS://Hub.Example:443/", "https://hub.example/"),
            ("https://hub.example:8443/sync/", "https://hub.example:8443/sync/"),
            ("http://127.0.0.1:7420/a/b", "http://127.0.0.1:7420/a/b/"),
            ("http://[::1]:80", "http://[::1]/"),
            ("http://[2001:DB8::1]:7420", "http://[2001:db8::1]:7420/"),
        ] {
            let parsed = HttpUrl::parse(text).unwrap();
            assert_eq!(parsed.to_string(), url);
            assert_eq!(HttpUrl::parse(url), Ok(parsed));
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for (text, error) in [
            ("hub.example", HttpUrlError::Scheme),
            ("ftp://hub.example", HttpUrlError::Scheme),
            ("https://eve:secret@hub.example", HttpUrlError::User),
            ("https://", HttpUrlError::Host),
            ("https://hub example", HttpUrlError::Host),
            ("https://hub.example:0", HttpUrlError::Host),
            ("https://hub.example:99999", HttpUrlError::Host),
            ("https://hub.example:+80", HttpUrlError::Host),
            ("https://-oProxyCommand", HttpUrlError::Host),
            ("https://[::1", HttpUrlError::Host),
            ("https://[::1]x", HttpUrlError::Host),
            ("https://hub.example/a//b", HttpUrlError::Path),
            ("https://hub.example/../b", HttpUrlError::Path),
            ("https://hub.example/a%2fb", HttpUrlError::Path),
            ("https://hub.example/a?b", HttpUrlError::Path),
            ("https://hub.example#b", HttpUrlError::Path),
        ] {
            assert_eq!(HttpUrl::parse(text), Err(error), "{text}");
        }
    }
}
