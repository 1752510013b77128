//! Refusals: documents of a remote that don't count, and why.

use std::error::Error as StdError;

pub(super) const HINT_DAMAGED: &str = "ask the instance that wrote it to push again, or fetch from another remote";
pub(super) const HINT_FORK: &str = "both are kept as proof, and nothing of this peer's is merged until it is settled: its operator stops one of \
                         the two copies and runs `wbsync restore` on the other; then `wbsync peer accept NAME` here";

/// A document that was refused.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Refusal {
    /// Which document.
    pub document: String,
    /// Why.
    pub reason: String,
    /// What to do next.
    pub hint: String,
    /// Whether it is damaged, rather than wrong.
    pub damaged: bool,
}

impl Refusal {
    /// Makes a refusal out of an error and its causes.
    pub fn new(document: impl Into<String>, error: &dyn StdError, hint: &str) -> Self {
        let mut reason = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            reason.push_str(": ");
            reason.push_str(&error.to_string());
            cause = error.source();
        }
        Self { document: document.into(), reason, hint: hint.into(), damaged: false }
    }

    /// Makes a refusal for a reason in words.
    pub fn because(document: impl Into<String>, reason: impl Into<String>, hint: &str) -> Self {
        Self { document: document.into(), reason: reason.into(), hint: hint.into(), damaged: false }
    }

    /// Marks the document as damaged.
    #[must_use]
    pub fn damaged(mut self) -> Self {
        self.damaged = true;
        self
    }
}
