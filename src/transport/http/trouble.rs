//! What a failed request means for the store: statuses and problem documents become `StoreError`s.

use std::io;

use crate::exchange::layout::StorePath;
use crate::exchange::store::{Doing, StoreError};
use crate::transport::http::wire::Problem;

/// Turns an answer that isn't a success into the error of the store.
///
/// `path` is what the request was about, where the errors want one.
pub(crate) fn refused(store: &str, doing: Doing, path: Option<StorePath>, problem: &Problem) -> StoreError {
    let store = store.to_owned();
    let said = |kind| io::Error::new(kind, said(problem));
    match (problem.status, problem.code.as_str(), path) {
        (412, _, Some(path)) => {
            let found = problem.found.as_ref().and_then(|hash| hash.parse().ok());
            StoreError::Swapped { store, path, found }
        }
        (409, "incomplete", Some(path)) => match problem.object.as_ref().and_then(|object| object.parse().ok()) {
            Some(object) => StoreError::Incomplete { store, path, object },
            None => StoreError::Io { store, doing, source: said(io::ErrorKind::InvalidData) },
        },
        // What is there isn't what was thought; another try begins with asking.
        (409, "offset", _) | (422, "damaged-part", _) => {
            StoreError::Io { store, doing, source: said(io::ErrorKind::ConnectionAborted) }
        }
        (413, _, Some(path)) => StoreError::TooLarge { store, path, bound: problem.bound.unwrap_or(path.bytes_max()) },
        (404, _, Some(path)) => StoreError::Missing { store, path },
        (507, _, _) => StoreError::Full { store, doing, source: said(io::ErrorKind::QuotaExceeded) },
        (409, "read-only", _) => StoreError::ReadOnly { store, doing, source: said(io::ErrorKind::ReadOnlyFilesystem) },
        (401 | 403 | 409 | 422, _, _) => {
            StoreError::Denied { store, doing, source: said(io::ErrorKind::PermissionDenied) }
        }
        (429 | 503, _, _) => StoreError::Io { store, doing, source: said(io::ErrorKind::ResourceBusy) },
        (502 | 504, _, _) => StoreError::Unreachable { store, doing, source: said(io::ErrorKind::HostUnreachable) },
        _ => StoreError::Io { store, doing, source: said(io::ErrorKind::Other) },
    }
}

/// Turns a request that got no answer into the error of the store.
pub(crate) fn unanswered(store: &str, doing: Doing, source: io::Error) -> StoreError {
    let store = store.to_owned();
    match source.kind() {
        // A certificate that doesn't count won't do so by itself.
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => StoreError::Io { store, doing, source },
        _ => StoreError::Unreachable { store, doing, source },
    }
}

/// Says what the library of HTTP says, as an error of the system.
pub(crate) fn io_of(error: ureq::Error) -> io::Error {
    match error {
        ureq::Error::Io(error) => error,
        ureq::Error::Timeout(_) => io::Error::new(io::ErrorKind::TimedOut, "no answer in time"),
        ureq::Error::HostNotFound => io::Error::new(io::ErrorKind::NotFound, "no host has this name"),
        ureq::Error::ConnectionFailed => io::Error::new(io::ErrorKind::ConnectionRefused, "the connection failed"),
        ureq::Error::Rustls(error) => io::Error::new(io::ErrorKind::InvalidData, error),
        ureq::Error::Tls(why) => io::Error::new(io::ErrorKind::InvalidData, why),
        ureq::Error::InvalidProxyUrl => {
            io::Error::new(io::ErrorKind::InvalidInput, "the URL of the proxy is malformed")
        }
        ureq::Error::Protocol(_) => io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP"),
        error => io::Error::other(error.to_string()),
    }
}

/// Shortens what a foreign server says, and takes out what could garble a terminal.
fn said(problem: &Problem) -> String {
    let fine = |text: &str| text.chars().filter(|c| !c.is_control()).take(SAID_CHARS_MAX).collect::<String>();
    match (fine(&problem.title), fine(&problem.code)) {
        (title, code) if title.is_empty() && code.is_empty() => format!("it answers with status {}", problem.status),
        (title, code) if code.is_empty() => format!("{title} (status {})", problem.status),
        (title, code) => format!("it says: {title} (status {}, {code})", problem.status),
    }
}

const SAID_CHARS_MAX: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_foreign_server_says_is_cut_and_cleaned() {
        let problem = Problem {
            status: 403,
            code: "x".into(),
            title: format!("\u{1b}[2J{}", "a".repeat(1000)),
            ..Problem::default()
        };
        let error = refused("hub", Doing::Open, None, &problem);
        let StoreError::Denied { source, .. } = error else { panic!("{error:?}") };
        assert!(source.to_string().len() < 400 && !source.to_string().contains('\u{1b}'));
    }
}
