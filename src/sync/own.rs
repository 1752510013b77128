//! Our own documents in a remote: what shows that this instance is an old copy of itself, or one of two.
//!
//! Nobody else can sign them. One that we never made was made by a later state of this instance, which a
//! backup took back, or by a copy of it that runs elsewhere. Going on would publish a second history.

use std::fmt;

use super::error::Error;
use super::ingest::{Incoming, Taking};
use super::instance::Instance;
use super::scopes::OpenScope;
use crate::exchange::head::Head;
use crate::exchange::store::Store;
use crate::id::bytes::{InstanceId, ScopeId};
use crate::keys::card::SignedCard;
use crate::keys::document::hash_of;
use crate::state::heads::TrackedHead;
use crate::state::scopes::ScopeRow;

/// What a remote has of ours that we never made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lost {
    /// A newer head.
    Head {
        /// The scope.
        scope: String,
        /// The number of our newest.
        ours: u64,
        /// The number of theirs.
        theirs: u64,
    },
    /// A head under a number that another head of ours has here.
    Fork {
        /// The scope.
        scope: String,
        /// The number.
        seq: u64,
    },
    /// A newer manifest of one of our scopes.
    Manifest {
        /// The scope.
        scope: String,
        /// The number of our newest.
        ours: u64,
        /// The number of theirs.
        theirs: u64,
    },
    /// A card of a later incarnation.
    Card {
        /// Our incarnation.
        ours: u32,
        /// Theirs.
        theirs: u32,
    },
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Head { scope, ours, theirs } => {
                write!(f, "has head {theirs} of ours in scope {scope}, and this instance made none after {ours}")
            }
            Self::Fork { scope, seq } => {
                write!(f, "has another head {seq} of ours in scope {scope} than this instance made")
            }
            Self::Manifest { scope, ours, theirs } => {
                write!(f, "has manifest {theirs} of our scope {scope}, and this instance made none after {ours}")
            }
            Self::Card { ours, theirs } => {
                write!(f, "has a card of ours of incarnation {theirs}, and this instance is in incarnation {ours}")
            }
        }
    }
}

impl Lost {
    /// Returns what to do, in a sentence.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Card { .. } => {
                "another copy of this instance was restored and has taken its place. Keep one of the two and stop the other \
                 for good; if this one is to stay, run `wbsync restore` here"
            }
            _ => {
                "this instance was restored from a backup, or a copy of it runs elsewhere. If there is a copy, stop it; then \
                 run `wbsync restore` here: nothing was sent, and nothing gets lost"
            }
        }
    }
}

impl Instance {
    /// Checks all documents of ours in a remote, before anything new is signed.
    ///
    /// # Errors
    /// `LostHistory`; the remote can't be read.
    pub(super) fn check_own(&self, store: &dyn Store, remote: &str) -> Result<(), Error> {
        self.check_own_card(store, remote)?;
        for row in self.state.scopes()? {
            self.check_own_head(store, remote, &row)?;
        }
        Ok(())
    }

    /// Checks that no copy of this instance has taken a later incarnation.
    ///
    /// # Errors
    /// As `check_own`.
    pub(super) fn check_own_card(&self, store: &dyn Store, remote: &str) -> Result<(), Error> {
        let ours = self.card.card.incarnation;
        let theirs = incarnation_of_card(store, remote, &self.id())?.unwrap_or(0);
        if theirs > ours {
            return Err(Error::LostHistory { remote: remote.into(), what: Lost::Card { ours, theirs } });
        }
        Ok(())
    }

    /// Checks that a remote has no head of ours that we never made.
    ///
    /// # Errors
    /// As `check_own`.
    pub(super) fn check_own_head(&self, store: &dyn Store, remote: &str, row: &ScopeRow) -> Result<(), Error> {
        let Some((head, document)) = self.own_head_in(store, remote, row)? else { return Ok(()) };
        let known = self.state.head(&row.id, &self.id())?;
        let scope = || self.scope_label(row);
        let lost = |what| Err(Error::LostHistory { remote: remote.into(), what });
        let marks = known.as_ref().map_or((0, 0), |known| (known.incarnation, known.seq));
        let found_before = self.restored_from(&row.id)?;
        if (head.incarnation, head.seq) > marks && (head.incarnation, head.seq) <= found_before {
            return Ok(());
        }
        if (head.incarnation, head.seq) > marks {
            return lost(Lost::Head { scope: scope()?, ours: marks.1, theirs: head.seq });
        }
        if known.is_some_and(|known| known.document == document) {
            return self.confirm_own_head(&row.id, head.seq);
        }
        if (head.incarnation, head.seq) == marks {
            return lost(Lost::Fork { scope: scope()?, seq: head.seq });
        }
        // A head of a copy may be behind ours by now; of each number we know what we published.
        match self.state.published(&row.id, head.seq, head.seq)?.first() {
            Some((_, commit)) if *commit != head.commit => lost(Lost::Fork { scope: scope()?, seq: head.seq }),
            // From before the last restore; later than what was found then, nobody has seen it yet.
            None if (head.incarnation, head.seq) > found_before && head.incarnation < marks.0 => {
                lost(Lost::Head { scope: scope()?, ours: marks.1, theirs: head.seq })
            }
            _ => Ok(()),
        }
    }

    /// Reads our own head of a scope in a remote. What isn't ours, or is another scope's, was put there by
    /// somebody else and proves nothing.
    ///
    /// # Errors
    /// `Store`.
    pub(super) fn own_head_in(
        &self,
        store: &dyn Store,
        remote: &str,
        row: &ScopeRow,
    ) -> Result<Option<(Head, Vec<u8>)>, Error> {
        let Some(bytes) = store.head(&row.id, &self.id()).map_err(Error::store(remote))? else { return Ok(None) };
        let opened = Head::open(&bytes, &self.id()).ok().filter(|(head, _)| head.scope == row.id);
        Ok(opened.map(|(head, _)| (head, bytes)))
    }

    /// Takes a head of our own as anybody else's, while a restore is at work.
    pub(super) fn fetch_own_head(
        &self,
        store: &dyn Store,
        remote: &str,
        scope: &OpenScope,
    ) -> Result<Option<(Head, Incoming)>, Error> {
        let Some((head, document)) = self.own_head_in(store, remote, &scope.row)? else { return Ok(None) };
        let known = self.state.head(&scope.row.id, &self.id())?;
        let hash = hash_of(&document);
        let is_known = known.as_ref().is_some_and(|known| known.hash == hash);
        if head.base.is_none() != (scope.row.origin == self.id()) || is_known {
            return Ok(None);
        }
        let taking = match Self::is_newer_own(known.as_ref(), &head, &hash) {
            true => Taking::Head,
            false => Taking::Records,
        };
        // What it replaces may be on another line, published elsewhere by one of two copies.
        if let Some(known) = known.filter(|_| taking == Taking::Head) {
            self.note_rescued(&scope.row.id, &known.commit)?;
        }
        Ok(Some((head.clone(), Incoming { head, hash, document, taking })))
    }

    /// Remembers that a remote holds one of our heads: it can't be a branch that nobody has seen.
    ///
    /// # Errors
    /// `State`.
    pub(super) fn confirm_own_head(&self, scope: &ScopeId, seq: u64) -> Result<(), Error> {
        if self.confirmed_own_head(scope)? < seq {
            self.state.set_meta(&confirmed_key(scope), &seq.to_string())?;
        }
        Ok(())
    }

    /// Returns the number of our newest head that a remote is known to hold; 0 if none is.
    ///
    /// # Errors
    /// `State`.
    pub(super) fn confirmed_own_head(&self, scope: &ScopeId) -> Result<u64, Error> {
        let text = self.state.meta(&confirmed_key(scope))?;
        Ok(text.and_then(|text| text.parse().ok()).unwrap_or(0))
    }

    /// Remembers the newest head of ours that a restore found.
    ///
    /// # Errors
    /// `State`.
    pub(super) fn note_restored_from(&self, scope: &ScopeId, incarnation: u32, seq: u64) -> Result<(), Error> {
        if self.restored_from(scope)? < (incarnation, seq) {
            self.state.set_meta(&format!("restored:{scope}"), &format!("{incarnation} {seq}"))?;
        }
        Ok(())
    }

    fn restored_from(&self, scope: &ScopeId) -> Result<(u32, u64), Error> {
        let text = self.state.meta(&format!("restored:{scope}"))?.unwrap_or_default();
        let parsed = text.split_once(' ').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
        Ok(parsed.unwrap_or((0, 0)))
    }

    /// Remembers that what we wrote in earlier incarnations may be lost here.
    ///
    /// # Errors
    /// `State`.
    pub(super) fn forget_incarnations_before(&self, incarnation: u32) -> Result<(), Error> {
        Ok(self.state.set_meta(REMEMBERS_KEY, &incarnation.to_string())?)
    }

    /// Tells whether all that we wrote in an incarnation is here.
    ///
    /// # Errors
    /// `State`.
    pub(super) fn remembers(&self, incarnation: u32) -> Result<bool, Error> {
        let text = self.state.meta(REMEMBERS_KEY)?;
        Ok(incarnation >= text.and_then(|text| text.parse().ok()).unwrap_or(0))
    }

    /// Tells whether a head of ours, found in a remote, is to take the place of the one we track: only while a
    /// restore is at work.
    pub(super) fn is_newer_own(known: Option<&TrackedHead>, head: &Head, hash: &crate::id::bytes::DocHash) -> bool {
        let Some(known) = known else { return true };
        match (head.incarnation, head.seq).cmp(&(known.incarnation, known.seq)) {
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Greater => true,
            // Of two with one number the one that is out counts more than the one that may never have left.
            std::cmp::Ordering::Equal => *hash != known.hash && (known.via == HERE || *hash > known.hash),
        }
    }
}

/// Reads the incarnation of our own card in a store; `None` if there is none that verifies.
///
/// # Errors
/// `Store`.
pub(super) fn incarnation_of_card(store: &dyn Store, remote: &str, of: &InstanceId) -> Result<Option<u32>, Error> {
    let bytes = store.card(of).map_err(Error::store(remote))?;
    let card = bytes.and_then(|bytes| SignedCard::open(&bytes).ok());
    Ok(card.filter(|card| card.card.instance == *of).map(|card| card.card.incarnation))
}

fn confirmed_key(scope: &ScopeId) -> String {
    format!("confirmed:{scope}")
}

const REMEMBERS_KEY: &str = "remembers-from";

/// Where a head of ours comes from that we made ourselves.
pub(super) const HERE: &str = "here";
