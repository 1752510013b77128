//! Trust: which peers read and write our scopes, and how they stop.
//!
//! To remove a reader makes a new epoch: it protects what is sealed from then on, never what was sealed before. The origin,
//! this instance, always reads its own scopes; so a scope is never left without a reader, and a removal is never refused
//! because nobody else is left.

use super::commit::Mode;
use super::error::Error;
use super::instance::Instance;
use super::scopes::{OpenScope, reader_of};
use crate::id::bytes::InstanceId;
use crate::id::name::ScopeName;
use crate::keys::card::Card;
use crate::scope::manifest::draft::{Reader, Since};
use crate::state::counted::Transaction;
use crate::state::database;
use crate::state::peers::{PeerRow, Trust};

/// What a change of trust did.
#[derive(Debug, Clone, serde::Serialize)]
pub struct TrustChange {
    /// What we call the peer.
    pub name: String,
    /// Its id.
    pub id: InstanceId,
    /// How far we trusted it before.
    pub before: Trust,
    /// How far we trust it now.
    pub trust: Trust,
    /// Our scopes that it reads from now on and did not before.
    pub reads: Vec<String>,
    /// Our scopes that it writes from now on and did not before.
    pub writes: Vec<String>,
    /// Our scopes that it reads no more; each has a new epoch.
    pub reads_no_more: Vec<String>,
    /// Our scopes that it writes no more.
    pub writes_no_more: Vec<String>,
    /// Scopes of these that only this instance reads now.
    pub alone: Vec<String>,
    /// Whether rules to follow it went away.
    pub unfollowed: bool,
}

/// What a peer may do in a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Read it.
    Read,
    /// Read and edit it.
    Write,
}

/// From which of our scopes a peer is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Removal {
    /// As a reader of `trusted`, and as a writer of all.
    Trusted,
    /// As a reader and a writer of all.
    All,
}

impl Instance {
    /// Trusts a peer with all of the history: `peer_trust_since` the beginning.
    ///
    /// # Errors
    /// As `peer_trust_since`.
    pub fn peer_trust(&self, text: &str, trust: Trust) -> Result<TrustChange, Error> {
        self.peer_trust_since(text, trust, Since::Beginning, Mode::Keep)
    }

    /// Makes a peer a reader of our `trusted` scope; as `Trust::Writer`, also a writer of every scope of ours that it
    /// reads. It takes effect for the peer at the next push. A peer that was revoked also reads again what is shared with
    /// it by name.
    ///
    /// With `Since::Now` a new epoch begins and the scope's records are sealed anew: it reads them as they are then, and
    /// none of what was sealed before. A reader keeps what it has been granted. The other degrees of trust grant nothing,
    /// and take nothing either.
    ///
    /// # Errors
    /// `UnknownPeer`, `ManifestDraft`.
    pub fn peer_trust_since(&self, text: &str, trust: Trust, since: Since, mode: Mode) -> Result<TrustChange, Error> {
        let peer = self.peer_named(text)?;
        let mut change = TrustChange::of(&peer);
        if matches!(trust, Trust::Known | Trust::Revoked) {
            return Ok(change);
        }
        let transaction = self.state.transaction()?;
        for scope in self.open_scopes_of(&self.id())? {
            let name = &scope.row.name;
            let right = if trust == Trust::Writer { Right::Write } else { Right::Read };
            let named = name.peer_names().is_some_and(|names| names.contains(&peer.name));
            let reads = scope.manifest.readers().contains(&peer.id);
            if *name == ScopeName::trusted() || reads || named && peer.trust == Trust::Revoked {
                self.let_in(&scope, &peer, right, since, &mut change)?;
            } else if name.is_public() && right == Right::Write && !scope.manifest.may_write(&peer.id) {
                self.change_scope(&scope, |draft| draft.add_writer(peer.id))?;
                change.writes.push(name.to_string());
            }
        }
        change.trust = if peer.trust == Trust::Writer { Trust::Writer } else { trust };
        self.state.put_peer(&PeerRow { trust: change.trust, ..peer })?;
        self.conclude(transaction, mode)?;
        Ok(change)
    }

    /// Takes back what `peer_trust` gave: the peer reads our `trusted` scope no more and writes nowhere. Groups that it is in
    /// still read.
    ///
    /// # Errors
    /// `UnknownPeer`, `LastReader`, `ManifestDraft`.
    pub fn peer_untrust(&self, text: &str, mode: Mode) -> Result<TrustChange, Error> {
        let peer = self.peer_to_remove(text)?;
        let transaction = self.state.transaction()?;
        let mut change = self.shut_out(&peer, Removal::Trusted)?;
        if peer.trust != Trust::Revoked {
            change.trust = Trust::Known;
        }
        self.state.put_peer(&PeerRow { trust: change.trust, ..peer })?;
        self.conclude(transaction, mode)?;
        Ok(change)
    }

    /// Revokes a peer: it reads none of our scopes but the public one, writes nowhere, isn't followed any more, and its later
    /// heads are refused.
    ///
    /// # Errors
    /// `UnknownPeer`, `LastReader`, `ManifestDraft`.
    pub fn peer_revoke(&self, text: &str, mode: Mode) -> Result<TrustChange, Error> {
        let peer = self.peer_to_remove(text)?;
        let transaction = self.state.transaction()?;
        let change = self.revoke(&peer)?;
        self.conclude(transaction, mode)?;
        Ok(change)
    }

    /// Keeps what a transaction changed of who reads and writes what, or takes it back if it was only to be shown.
    pub(super) fn conclude(&self, transaction: Transaction<'_>, mode: Mode) -> Result<(), Error> {
        if mode == Mode::Keep {
            database::commit(transaction)?;
            self.forget_database();
        }
        Ok(())
    }

    /// Revokes a peer within a transaction of the caller's.
    pub(super) fn revoke(&self, peer: &PeerRow) -> Result<TrustChange, Error> {
        let mut change = self.shut_out(peer, Removal::All)?;
        for rule in self.state.follows()?.into_iter().filter(|rule| rule.origin == peer.id) {
            change.unfollowed |= self.state.remove_follow(&rule)?;
        }
        change.trust = Trust::Revoked;
        self.state.put_peer(&PeerRow { trust: Trust::Revoked, ..peer.clone() })?;
        Ok(change)
    }

    /// Finds a peer that is to lose something; this instance itself never can.
    ///
    /// # Errors
    /// `UnknownPeer`, `Ambiguous`, `LastReader`.
    pub(super) fn peer_to_remove(&self, text: &str) -> Result<PeerRow, Error> {
        match self.peer_named(text) {
            Err(Error::UnknownPeer { .. })
                if text == self.card.card.name.as_str() || self.id().matches_prefix(text) =>
            {
                Err(Error::LastReader)
            }
            other => other,
        }
    }

    /// Lets a peer use one of our scopes that isn't public. The caller has a transaction.
    pub(super) fn let_in(
        &self,
        scope: &OpenScope,
        peer: &PeerRow,
        right: Right,
        since: Since,
        change: &mut TrustChange,
    ) -> Result<(), Error> {
        let reads = !scope.manifest.readers().contains(&peer.id);
        let writes = right == Right::Write && !scope.manifest.may_write(&peer.id);
        if !reads && !writes {
            return Ok(());
        }
        let reader = reader_of(peer)?;
        let others = self.other_readers(scope, &[])?;
        self.change_scope(scope, |draft| {
            if reads {
                if since == Since::Now {
                    draft.new_epoch(&others)?;
                }
                draft.grant(&reader, since)?;
            }
            if writes {
                draft.add_writer(peer.id)?;
            }
            Ok(())
        })?;
        let name = scope.row.name.to_string();
        if reads {
            if since == Since::Now {
                // Whoever reads from now on needs the records as they are now, sealed to what it can open.
                self.state.mark_refold(&scope.row.id)?;
            }
            change.reads.push(name.clone());
        }
        if writes {
            change.writes.push(name);
        }
        Ok(())
    }

    /// Removes a peer from one of our scopes, with a new epoch if it could read it by name. The caller has a transaction.
    pub(super) fn put_out(&self, scope: &OpenScope, peer: &PeerRow, change: &mut TrustChange) -> Result<(), Error> {
        let reads = scope.manifest.readers().contains(&peer.id);
        let writes = scope.manifest.may_write(&peer.id);
        let name = scope.row.name.to_string();
        if !reads && !writes {
            return Ok(());
        }
        let staying = if scope.manifest.public { Vec::new() } else { self.other_readers(scope, &[peer.id])? };
        self.change_scope(scope, |draft| draft.remove_readers(&[peer.id], &staying))?;
        if writes {
            change.writes_no_more.push(name.clone());
        }
        if reads {
            if staying.is_empty() {
                change.alone.push(name.clone());
            }
            change.reads_no_more.push(name);
        }
        Ok(())
    }

    fn shut_out(&self, peer: &PeerRow, removal: Removal) -> Result<TrustChange, Error> {
        let mut change = TrustChange::of(peer);
        for scope in self.open_scopes_of(&self.id())? {
            let reads = removal == Removal::All || scope.row.name == ScopeName::trusted() || scope.manifest.public;
            if reads {
                self.put_out(&scope, peer, &mut change)?;
            } else if scope.manifest.may_write(&peer.id) {
                self.change_scope(&scope, |draft| draft.remove_writer(peer.id))?;
                change.writes_no_more.push(scope.row.name.to_string());
            }
        }
        Ok(change)
    }

    /// Seals what a peer may read to the recipient of its newer card. The caller has a transaction.
    pub(super) fn regrant(&self, card: &Card) -> Result<(), Error> {
        let reader = Reader { instance: card.instance, recipient: card.recipient.clone() };
        for scope in self.open_scopes_of(&self.id())? {
            if scope.manifest.readers().contains(&card.instance) {
                self.change_scope(&scope, |draft| draft.regrant(&reader))?;
            }
        }
        Ok(())
    }

    /// Returns the readers of one of our scopes besides ourselves and `leaving`.
    ///
    /// A reader whose card we don't have can't be sealed to and is left out; `peer forget` leaves none of those.
    pub(super) fn other_readers(&self, scope: &OpenScope, leaving: &[InstanceId]) -> Result<Vec<Reader>, Error> {
        let mut readers = Vec::new();
        for id in scope.manifest.readers() {
            if id != self.id()
                && !leaving.contains(&id)
                && let Some(peer) = self.state.peer(&id)?
            {
                readers.push(reader_of(&peer)?);
            }
        }
        Ok(readers)
    }
}

impl TrustChange {
    /// Returns the change that changes nothing.
    pub(super) fn of(peer: &PeerRow) -> Self {
        Self {
            name: peer.name.to_string(),
            id: peer.id,
            before: peer.trust,
            trust: peer.trust,
            reads: Vec::new(),
            writes: Vec::new(),
            reads_no_more: Vec::new(),
            writes_no_more: Vec::new(),
            alone: Vec::new(),
            unfollowed: false,
        }
    }
}
