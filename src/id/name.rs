//! Names that people give: datasets, fields, peers and scopes.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, LazyLock};

/// A name broke the rule of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is no {kind} name: {rule}")]
pub struct NameError {
    kind: &'static str,
    rule: &'static str,
    found: String,
}

/// The most bytes of a dataset's name: 64, and the `+` of its overlay.
pub const DATASET_BYTES_MAX: usize = 65;

const RULE_PLAIN: &str = "1 to 64 of a-z, 0-9, '_' and '-', beginning with a letter";
const RULE_DATASET: &str = "1 to 64 of a-z, 0-9, '_' and '-', beginning with a letter; of an overlay, '+' behind them";
const RULE_FIELD: &str = "1 to 64 of A-Z, a-z, 0-9, '_' and '-'";
const RULE_SCOPE: &str = "'public', 'trusted', 'group:NAME' or 'peers:NAME,NAME' with names that ascend";

/// Names that this thread read before. Records say the same few over and over: one that is known is neither checked nor
/// copied again.
struct Recent(RefCell<[Option<Arc<str>>; RECENT_MAX]>);

/// The most names of a kind that a thread remembers.
const RECENT_MAX: usize = 128;

impl Recent {
    const fn new() -> Self {
        Self(RefCell::new([const { None }; RECENT_MAX]))
    }

    fn get_or(&self, text: &str, make: impl FnOnce() -> Result<Arc<str>, NameError>) -> Result<Arc<str>, NameError> {
        let hash = text.bytes().fold(text.len(), |hash, byte| hash.wrapping_mul(31).wrapping_add(usize::from(byte)));
        let place = &mut self.0.borrow_mut()[hash % RECENT_MAX];
        match place {
            Some(known) if **known == *text => Ok(Arc::clone(known)),
            _ => Ok(Arc::clone(place.insert(make()?))),
        }
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $rule:expr, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks and wraps a name.
            ///
            /// # Errors
            /// `NameError` with the rule of this kind of name.
            pub fn new(text: &str) -> Result<Self, NameError> {
                thread_local! {
                    static RECENT: Recent = const { Recent::new() };
                }
                let check: fn(&str) -> bool = $check;
                let checked = || match check(text) {
                    true => Ok(text.into()),
                    false => Err(NameError { kind: $kind, rule: $rule, found: text.chars().take(80).collect() }),
                };
                RECENT.with(|recent| recent.get_or(text, checked)).map(Self)
            }

            /// Returns the name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                &*self.0 == other
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::new(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

/// Orders by length, then bytes: the order in which deterministic CBOR wants text keys.
macro_rules! canonical_order {
    ($name:ident) => {
        impl Ord for $name {
            fn cmp(&self, other: &Self) -> Ordering {
                if Arc::ptr_eq(&self.0, &other.0) {
                    return Ordering::Equal;
                }
                (self.0.len(), self.0.as_bytes()).cmp(&(other.0.len(), other.0.as_bytes()))
            }
        }

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }
    };
}

name!(
    /// A kind of record: `users`, `requests`, …; in a scope's trees also its overlay, `users+`.
    DatasetName, "dataset", RULE_DATASET, dataset
);
name!(
    /// A field of a record. Any instance may carry fields that it has no column for.
    FieldName, "field", RULE_FIELD, field
);
name!(
    /// What we call a peer here; its own choice is only a proposal.
    PeerName, "peer", RULE_PLAIN, plain
);
name!(
    /// The audience of a scope as its origin names it.
    ScopeName, "scope", RULE_SCOPE, scope
);
canonical_order!(DatasetName);
canonical_order!(FieldName);
canonical_order!(PeerName);
canonical_order!(ScopeName);

impl DatasetName {
    /// Returns the dataset of fields of this one that travel in a narrower scope than their records.
    ///
    /// # Panics
    /// If this is an overlay.
    #[must_use]
    pub fn overlay(&self) -> Self {
        assert!(!self.is_overlay(), "an overlay has no overlay");
        Self(format!("{}+", self.0).into())
    }

    /// Tells whether records of this dataset only add fields to those of another.
    pub fn is_overlay(&self) -> bool {
        self.0.ends_with('+')
    }

    /// Returns the dataset that an overlay adds to, or this one.
    #[must_use]
    pub fn base(&self) -> Self {
        self.0.strip_suffix('+').map_or_else(|| self.clone(), |base| Self(base.into()))
    }
}

impl ScopeName {
    /// The scope that anyone may read.
    pub fn public() -> Self {
        // Every row names one of these two: they are copied, not made.
        static PUBLIC: LazyLock<ScopeName> = LazyLock::new(|| ScopeName("public".into()));
        PUBLIC.clone()
    }

    /// The scope of the peers that we trust.
    pub fn trusted() -> Self {
        static TRUSTED: LazyLock<ScopeName> = LazyLock::new(|| ScopeName("trusted".into()));
        TRUSTED.clone()
    }

    /// The scope of some peers; `None` for nobody, and for more than a name holds.
    pub fn peers(names: &BTreeSet<PeerName>) -> Option<Self> {
        let mut names: Vec<&str> = names.iter().map(PeerName::as_str).collect();
        names.sort_unstable();
        Self::new(&format!("peers:{}", names.join(","))).ok()
    }

    /// Tells whether anyone may read this scope.
    pub fn is_public(&self) -> bool {
        &*self.0 == "public"
    }

    /// Returns the name of the group whose scope this is.
    pub fn group(&self) -> Option<&str> {
        self.0.strip_prefix("group:")
    }

    /// Returns the peers whose scope this is, by what its origin calls them.
    pub fn peer_names(&self) -> Option<BTreeSet<PeerName>> {
        let names = self.0.strip_prefix("peers:")?;
        Some(names.split(',').map(|name| PeerName(name.into())).collect())
    }
}

fn plain(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.as_bytes()[0].is_ascii_lowercase()
        && text.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_' || c == b'-')
}

fn dataset(text: &str) -> bool {
    plain(text.strip_suffix('+').unwrap_or(text))
}

fn field(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_' || c == b'-')
}

fn scope(text: &str) -> bool {
    text == "public"
        || text == "trusted"
        || text.strip_prefix("group:").is_some_and(plain)
        || text.strip_prefix("peers:").is_some_and(|names| text.len() <= 2048 && ascend(names))
}

/// Tells whether these are names in ascending order, so that one set of peers has one spelling.
fn ascend(names: &str) -> bool {
    let names: Vec<&str> = names.split(',').collect();
    names.iter().all(|name| plain(name)) && names.windows(2).all(|pair| pair[0] < pair[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_keeps_its_rule() {
        assert!(DatasetName::new("help_requests").is_ok());
        assert!(DatasetName::new("Requests").is_err());
        assert!(DatasetName::new("../x").is_err());
        assert!(DatasetName::new("users+").is_ok_and(|name| name.is_overlay() && name.base().overlay() == name));
        assert!(DatasetName::new("users++").is_err());
        assert!(PeerName::new("beta+").is_err());
        assert!(ScopeName::new("group:board").is_ok());
        assert!(ScopeName::new("peers:alpha,beta").is_ok());
        for bad in ["", "private", "group:", "peers:", "peers:a,,b", "peers:b,a", "peers:a,a", "Public", "public "] {
            assert!(ScopeName::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_set_of_peers_has_one_name() {
        let names = ["zeta", "beta", "a"].map(|name| PeerName::new(name).unwrap());
        let scope = ScopeName::peers(&names.clone().into()).unwrap();
        assert_eq!(scope.as_str(), "peers:a,beta,zeta");
        assert_eq!(scope.peer_names(), Some(names.into()));
        assert_eq!(ScopeName::peers(&BTreeSet::new()), None);
        assert_eq!(ScopeName::public().peer_names(), None);
        assert_eq!(ScopeName::new("group:board").unwrap().group(), Some("board"));
    }

    #[test]
    fn shorter_names_come_first() {
        let (z, aa) = (FieldName::new("z").unwrap(), FieldName::new("aa").unwrap());
        assert!(z < aa);
    }
}
