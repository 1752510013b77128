//! Findings: what a person should know about a mapping and the tables that it is for.

use std::fmt;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Weight {
    /// Syncing is impossible.
    Error,
    /// Something may surprise.
    Warning,
    /// Good to know.
    Note,
}

/// One thing that a person should know.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// How much it matters.
    pub weight: Weight,
    /// Of which kind it is: one word, the same for ever.
    pub kind: &'static str,
    /// The table, with a column behind a dot, or the place in the mapping.
    pub at: String,
    /// The line of the file that was checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// What is so, and why it matters.
    pub why: String,
    /// What to do about it, if something can be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl Finding {
    /// Makes one without a line.
    pub fn new(weight: Weight, kind: &'static str, at: impl Into<String>, why: impl Into<String>) -> Self {
        Self { weight, kind, at: at.into(), line: None, why: why.into(), next: None }
    }

    /// Adds what to do.
    #[must_use]
    pub fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }
}

impl fmt::Display for Finding {
    /// Writes it in one line, without its weight and what to do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}, {}: {}", self.at, self.why),
            None => write!(f, "{}: {}", self.at, self.why),
        }
    }
}
