//! A request that isn't granted: a status, a word and a title for the outside, and what the operator may know.
//!
//! The outside never learns paths of this machine, nor whether a scope that it may not read is there.

use std::io::ErrorKind;

use crate::exchange::store::StoreError;
use crate::hub::error::Error;
use crate::transport::http::wire::Problem;

/// Why a request isn't granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What is sent.
    pub problem: Box<Problem>,
    /// Seconds to wait before trying again.
    pub retry_after: Option<u64>,
    /// For the log.
    pub inside: Option<String>,
}

impl Refusal {
    /// Makes one.
    pub fn new(status: u16, code: &str, title: &str) -> Self {
        let problem = Problem { status, code: code.into(), title: title.into(), ..Problem::default() };
        let problem = Box::new(problem);
        Self { problem, retry_after: None, inside: None }
    }

    /// Adds what only the log says.
    pub fn inside(mut self, inside: impl ToString) -> Self {
        self.inside = Some(inside.to_string());
        self
    }

    /// Asks to try again after some seconds.
    pub fn later(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// The path, whatever it is, leads nowhere; the same answer where something is and may not be seen.
    pub fn not_found() -> Self {
        Self::new(404, "not-found", "there is nothing here that you may read")
    }

    /// A signature is wanted.
    pub fn unsigned() -> Self {
        Self::new(401, "unsigned", "this request has to be signed by a member of this hub")
    }

    /// The request isn't one of the protocol.
    pub fn malformed(title: &str) -> Self {
        Self::new(400, "malformed", title)
    }

    /// A document isn't valid.
    pub fn invalid(title: &str, why: &dyn std::error::Error) -> Self {
        Self::new(422, "invalid", title).inside(chain(why))
    }

    /// A thing is larger than its bound.
    pub fn too_large(bound: u64) -> Self {
        let mut refusal = Self::new(413, "too-large", "this is larger than the hub takes");
        refusal.problem.bound = Some(bound);
        refusal
    }

    /// Something on this side failed.
    pub fn internal(why: impl ToString) -> Self {
        Self::new(500, "internal", "the hub failed; its log says why").inside(why)
    }

    /// More is asked at once than the hub does.
    pub fn busy(title: &str) -> Self {
        Self::new(503, "busy", title).later(1)
    }

    /// The body stopped coming.
    pub fn body_timeout() -> Self {
        Self::new(408, "slow", "the body came too slowly")
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        let inside = chain(&error);
        let refusal = match &error {
            StoreError::Swapped { found, .. } => {
                let mut refusal = Self::new(412, "swapped", "somebody else changed it in the meantime");
                refusal.problem.found = found.map(|hash| hash.to_string());
                refusal
            }
            StoreError::Incomplete { object, .. } => {
                let mut refusal = Self::new(409, "incomplete", "it names an object that is not held here");
                refusal.problem.object = Some(object.to_string());
                refusal
            }
            StoreError::Missing { .. } => Self::not_found(),
            StoreError::TooLarge { bound, .. } => Self::too_large(*bound),
            StoreError::Damaged { .. } => Self::new(422, "damaged", "these are not the bytes of this object"),
            StoreError::Source { source, .. } if source.kind() == ErrorKind::TimedOut => Self::body_timeout(),
            StoreError::Source { .. } => Self::malformed("the body ended early"),
            StoreError::Full { .. } => Self::new(507, "full", "no room is left"),
            StoreError::ReadOnly { .. } => Self::new(409, "read-only", "this store can't be written"),
            StoreError::Busy { .. } => Self::busy("the store is locked by another process"),
            _ => Self::internal(""),
        };
        refusal.inside(inside)
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::internal(chain(&error))
    }
}

/// Returns a message with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
