//! Audiences: for whom a row is meant, decided by its own value and capped by its parents.
//!
//! Everything that isn't understood is private. Never the other way round.

use crate::id::name::ScopeName;

/// For whom a row is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Audience {
    /// The readers of this scope.
    Shared(ScopeName),
    /// Nobody but this instance, and why.
    Private(Reason),
}

/// Why a row stays home; counted in `status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The row says `private`, `do_not_sync` or nothing.
    Chosen,
    /// The row's scope value isn't one that we know.
    UnknownScope,
    /// The dataset's filter leaves the row out (drafts).
    Filtered,
    /// A parent that the row requires is private.
    Parent,
    /// The application deleted the row softly.
    SoftDeleted,
    /// The row needs something that can't travel: a parent that isn't captured yet, or a local row
    /// that speaks in the name of a member of another instance.
    Withheld,
}

impl Audience {
    /// Reads the value of a scope column. `None` is NULL.
    ///
    /// `group:` and `peers:` scopes are understood as names, but are private until this instance has
    /// such a scope (see `sync`).
    pub fn from_value(value: Option<&str>) -> Self {
        match value {
            None | Some("private" | "do_not_sync" | "") => Self::Private(Reason::Chosen),
            Some(text) => match ScopeName::new(text) {
                Ok(name) if matches!(text, "public" | "trusted") => Self::Shared(name),
                _ => Self::Private(Reason::UnknownScope),
            },
        }
    }

    /// Returns the narrower of a row's own audience and that of a parent it requires.
    #[must_use]
    pub fn capped_by(self, parent: &Self) -> Self {
        match (&self, parent) {
            (Self::Private(_), _) => self,
            (Self::Shared(_), Self::Private(_)) => Self::Private(Reason::Parent),
            (Self::Shared(own), Self::Shared(cap)) => match (own.as_str(), cap.as_str()) {
                (_, "public") => self,
                ("public", _) => parent.clone(),
                (same, other) if same == other => self,
                _ => Self::Private(Reason::Parent),
            },
        }
    }

    /// Returns the scope's name if the row is shared.
    pub fn scope(&self) -> Option<&ScopeName> {
        match self {
            Self::Shared(name) => Some(name),
            Self::Private(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_understood_is_private() {
        for value in ["Public", "PUBLIC", "public ", "everyone", "group:board", "peers:a", "\0", "trusted\n"] {
            assert_eq!(Audience::from_value(Some(value)), Audience::Private(Reason::UnknownScope), "{value:?}");
        }
        for value in [None, Some(""), Some("private"), Some("do_not_sync")] {
            assert_eq!(Audience::from_value(value), Audience::Private(Reason::Chosen));
        }
    }

    #[test]
    fn a_parent_can_only_narrow() {
        let values = [Some("public"), Some("trusted"), Some("private")].map(Audience::from_value);
        let rank = |audience: &Audience| values.iter().position(|value| value.scope() == audience.scope());
        for own in &values {
            for parent in &values {
                assert_eq!(
                    rank(&own.clone().capped_by(parent)),
                    rank(own).max(rank(parent)),
                    "{own:?} under {parent:?}"
                );
            }
        }
    }
}
