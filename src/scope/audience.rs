//! Audiences: for whom a row is meant, decided by its own value and capped by its parents.
//!
//! Everything that isn't understood is private. Never the other way round.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::name::{PeerName, ScopeName};

/// Whom a row can name: what isn't here is nobody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Addressees {
    /// The peers that read our `trusted` scope and those of the groups that we made.
    pub members: BTreeMap<ScopeName, BTreeSet<PeerName>>,
    /// The peers that we know.
    pub peers: BTreeSet<PeerName>,
}

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

impl Addressees {
    /// Tells whether we know everybody that a scope's name names.
    pub fn know(&self, scope: &ScopeName) -> bool {
        match scope.peer_names() {
            Some(peers) => peers.is_subset(&self.peers),
            None => scope.group().is_none() || self.members.contains_key(scope),
        }
    }

    /// Returns the scope of those who are meant by both of two names; `None` if nobody is known to be.
    ///
    /// What names peers one by one narrows what names them together as it is today: when its members change, so
    /// does the answer. Of two groups neither is within the other for ever, so that nobody is meant.
    pub fn common(&self, one: &ScopeName, other: &ScopeName) -> Option<ScopeName> {
        match (one.is_public(), other.is_public()) {
            (_, true) => return Some(one.clone()),
            (true, _) => return Some(other.clone()),
            _ if one == other => return Some(one.clone()),
            _ => {}
        }
        let members = |scope: &ScopeName| scope.peer_names().or_else(|| self.members.get(scope).cloned());
        let named = one.peer_names().is_some() || other.peer_names().is_some();
        let (one, other) = (members(one)?, members(other)?);
        if named { ScopeName::peers(&(&one & &other)) } else { None }
    }
}

impl Audience {
    /// Reads the value of a scope column. `None` is NULL.
    ///
    /// A group or a peer that `addressees` doesn't have makes the row private: a mistyped name must not
    /// become an audience of fewer, or of whoever takes that name later.
    pub fn from_value(value: Option<&str>, addressees: &Addressees) -> Self {
        match value {
            None | Some("private" | "do_not_sync" | "") => Self::Private(Reason::Chosen),
            Some(text) => match scope_of(text).filter(|scope| addressees.know(scope)) {
                Some(scope) => Self::Shared(scope),
                None => Self::Private(Reason::UnknownScope),
            },
        }
    }

    /// Returns what is left of a row's own audience under a parent that it requires.
    #[must_use]
    pub fn capped_by(self, parent: &Self, addressees: &Addressees) -> Self {
        match (&self, parent) {
            (Self::Private(_), _) => self,
            (Self::Shared(_), Self::Private(_)) => Self::Private(Reason::Parent),
            (Self::Shared(own), Self::Shared(cap)) => {
                addressees.common(own, cap).map_or(Self::Private(Reason::Parent), Self::Shared)
            }
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

/// Reads a scope as a row or a mapping names it: the peers of `peers:` in any order.
pub fn scope_of(text: &str) -> Option<ScopeName> {
    match text.strip_prefix("peers:") {
        None => ScopeName::new(text).ok(),
        Some(names) => {
            let names: Option<BTreeSet<PeerName>> = names.split(',').map(|name| PeerName::new(name).ok()).collect();
            ScopeName::peers(&names?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addressees() -> Addressees {
        let peer = |name: &str| PeerName::new(name).unwrap();
        let members = [("trusted", vec!["a", "d"]), ("group:board", vec!["b", "c"]), ("group:kitchen", vec!["d"])];
        let members =
            members.map(|(scope, names)| (ScopeName::new(scope).unwrap(), names.into_iter().map(peer).collect()));
        Addressees { members: members.into(), peers: ["a", "b", "c", "d"].map(peer).into() }
    }

    fn read(value: &str) -> Audience {
        Audience::from_value(Some(value), &addressees())
    }

    #[test]
    fn what_is_not_understood_is_private() {
        let strange = ["Public", "PUBLIC", "public ", "everyone", "group:nobody", "peers:a,x", "peers:", "\0"];
        for value in strange.into_iter().chain(["trusted\n", "group:board ", "peers:a,", "peers:a b"]) {
            assert_eq!(read(value), Audience::Private(Reason::UnknownScope), "{value:?}");
            let nobody = Audience::from_value(Some("group:board"), &Addressees::default());
            assert_eq!(nobody, Audience::Private(Reason::UnknownScope));
        }
        for value in [None, Some(""), Some("private"), Some("do_not_sync")] {
            assert_eq!(Audience::from_value(value, &addressees()), Audience::Private(Reason::Chosen));
        }
    }

    #[test]
    fn who_is_meant_together_needs_no_names() {
        for (value, scope) in [("public", ScopeName::public()), ("trusted", ScopeName::trusted())] {
            assert_eq!(Audience::from_value(Some(value), &Addressees::default()), Audience::Shared(scope));
        }
    }

    #[test]
    fn one_set_of_peers_is_one_scope() {
        assert_eq!(read("peers:c,a,c"), read("peers:a,c"));
        assert_eq!(read("peers:c,a").scope().map(ScopeName::as_str), Some("peers:a,c"));
    }

    /// Each audience is a set of readers of a small world with one stranger: a cap never adds a reader, and
    /// takes none away that both mean, but where two groups meet.
    #[test]
    fn a_parent_can_only_narrow() {
        let world = addressees();
        let readers = |audience: &Audience| -> BTreeSet<String> {
            let Some(scope) = audience.scope() else { return BTreeSet::new() };
            let names = scope.peer_names().or_else(|| world.members.get(scope).cloned());
            match names {
                Some(names) => names.iter().map(ToString::to_string).collect(),
                None => ["a", "b", "c", "d", "stranger"].map(str::to_owned).into(),
            }
        };
        let named = |audience: &Audience| audience.scope().is_none_or(|scope| scope.peer_names().is_some());
        let values =
            ["public", "trusted", "group:board", "group:kitchen", "peers:a,b", "peers:b,c", "peers:d", "private"];
        for own in values.map(read) {
            for parent in values.map(read) {
                let capped = own.clone().capped_by(&parent, &world);
                let both = &readers(&own) & &readers(&parent);
                assert!(readers(&capped).is_subset(&both), "{own:?} under {parent:?} gives {capped:?}");
                let is_public = |audience: &Audience| audience.scope().is_some_and(ScopeName::is_public);
                let exact = own == parent || [&own, &parent].iter().any(|one| is_public(one) || named(one));
                assert!(!exact || readers(&capped) == both, "{own:?} under {parent:?} gives {capped:?}");
            }
        }
    }
}
