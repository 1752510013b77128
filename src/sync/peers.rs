//! Peers: adding, trusting, following.

use std::path::Path;

use super::error::Error;
use super::instance::Instance;
use crate::id::bytes::InstanceId;
use crate::id::name::{PeerName, ScopeName};
use crate::keys::card::{PREFIX, SignedCard};
use crate::keys::identity::fingerprint_of;
use crate::scope::manifest::draft::{Reader, Since};
use crate::state::database;
use crate::state::peers::{Follow, PeerRow, Trust};
use crate::sys::{clock, disk};

/// The most bytes of a file with a card.
const CARD_FILE_BYTES_MAX: u64 = 64 << 10;

/// What is added with a peer.
#[derive(Debug, Clone, Default)]
pub struct PeerAdd {
    /// What to call it here; left out, as it calls itself.
    pub name: Option<PeerName>,
    /// The fingerprint that the card must have.
    pub expect: Option<String>,
}

/// Reads a card from its line, or from a file that holds the line.
///
/// # Errors
/// `Card`, `Io`.
pub fn read_card(text: &str, current_dir: &Path) -> Result<SignedCard, Error> {
    if text.trim().starts_with(PREFIX) {
        return SignedCard::from_line(text).map_err(Error::Card);
    }
    let path = current_dir.join(text);
    if path.is_file() {
        let bytes = disk::read_bounded(&path, CARD_FILE_BYTES_MAX).map_err(Error::io("read", &path))?;
        let line = String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned();
        return SignedCard::from_line(&line).map_err(Error::Card);
    }
    SignedCard::from_line(text).map_err(Error::Card)
}

impl Instance {
    /// Adds a peer by its card, or takes a newer card of one that we know.
    ///
    /// # Errors
    /// `OwnCard`, `Fingerprint`, `PeerNameTaken`.
    pub fn peer_add(&self, card: &SignedCard, add: &PeerAdd) -> Result<PeerRow, Error> {
        let id = card.card.instance;
        if id == self.id() {
            return Err(Error::OwnCard);
        }
        let found = fingerprint_of(&id);
        if let Some(expected) = &add.expect
            && *expected != found
        {
            return Err(Error::Fingerprint { found, expected: expected.clone() });
        }
        let known = self.state.peer(&id)?;
        let proposed = known.as_ref().map_or_else(|| card.card.name.clone(), |peer| peer.name.clone());
        let name = add.name.clone().unwrap_or(proposed);
        if self.state.peers()?.iter().any(|peer| peer.name == name && peer.id != id) || name == self.card.card.name {
            return Err(Error::PeerNameTaken { name: name.to_string() });
        }
        let trust = known.as_ref().map_or(Trust::Known, |peer| peer.trust);
        let added = known.map_or_else(clock::now, |peer| peer.added);
        let peer = PeerRow { id, name, card: card.bytes.clone(), trust, added };
        self.state.put_peer(&peer)?;
        Ok(peer)
    }

    /// Finds a peer by name, or by the first digits of its id.
    ///
    /// # Errors
    /// `UnknownPeer`, `Ambiguous`.
    pub fn peer_named(&self, text: &str) -> Result<PeerRow, Error> {
        let peers = self.state.peers()?;
        if let Some(peer) = peers.iter().find(|peer| peer.name.as_str() == text) {
            return Ok(peer.clone());
        }
        let matching: Vec<_> = peers.iter().filter(|peer| peer.id.matches_prefix(text)).collect();
        match matching[..] {
            [peer] => Ok(peer.clone()),
            [] => {
                let known = peers.iter().map(|peer| peer.name.to_string()).collect();
                Err(Error::UnknownPeer { name: text.into(), known })
            }
            _ => Err(Error::Ambiguous { what: format!("peer {text:?}"), count: matching.len() }),
        }
    }

    /// Makes a peer a reader of our `trusted` scope, with all of its history; with `write`, also a writer
    /// of every scope of ours that it reads. It takes effect for the peer at the next push.
    ///
    /// # Errors
    /// `UnknownPeer`, `ManifestDraft`.
    pub fn peer_trust(&self, text: &str, trust: Trust) -> Result<PeerRow, Error> {
        let peer = self.peer_named(text)?;
        let card = SignedCard::open(&peer.card).map_err(Error::Card)?;
        let transaction = self.state.transaction()?;
        for scope in self.open_scopes_of(&self.id())? {
            let reads = scope.row.name == ScopeName::trusted() && !scope.manifest.readers().contains(&peer.id);
            let may_read = reads || scope.manifest.public || scope.manifest.readers().contains(&peer.id);
            let writes = trust == Trust::Writer && may_read && !scope.manifest.may_write(&peer.id);
            if reads || writes {
                self.change_scope(&scope, |draft| {
                    if reads {
                        let reader = Reader { instance: peer.id, recipient: card.card.recipient.clone() };
                        draft.grant(&reader, Since::Beginning)?;
                    }
                    if writes {
                        draft.add_writer(peer.id)?;
                    }
                    Ok(())
                })?;
            }
        }
        let trust = if peer.trust == Trust::Writer { Trust::Writer } else { trust };
        let peer = PeerRow { trust, ..peer };
        self.state.put_peer(&peer)?;
        database::commit(transaction)?;
        Ok(peer)
    }

    /// Follows a peer's scopes: all that we may read, or one. Returns whether the rule is new.
    ///
    /// # Errors
    /// `UnknownPeer`.
    pub fn follow(&self, peer: &str, scope: Option<ScopeName>) -> Result<bool, Error> {
        let origin = self.peer_named(peer)?.id;
        Ok(self.state.put_follow(&Follow { origin, scope })?)
    }

    /// Stops following. The rows that came stay. Returns whether there was such a rule.
    ///
    /// # Errors
    /// `UnknownPeer`.
    pub fn unfollow(&self, peer: &str, scope: Option<ScopeName>) -> Result<bool, Error> {
        let origin = self.peer_named(peer)?.id;
        Ok(self.state.remove_follow(&Follow { origin, scope })?)
    }

    /// Returns the fingerprint of an instance, as `ssh-keygen -lf` prints it.
    pub fn fingerprint(id: &InstanceId) -> String {
        fingerprint_of(id)
    }
}

/// Splits `peer`, `peer/scope` or `peer /scope` as commands take it.
///
/// # Errors
/// `Name` if the scope isn't one.
pub fn split_scope<'a>(peer: &'a str, scope: Option<&'a str>) -> Result<(&'a str, Option<ScopeName>), Error> {
    let (peer, scope) = match (peer.split_once('/'), scope) {
        (Some((peer, scope)), None) => (peer, Some(scope)),
        (_, scope) => (peer, scope.map(|scope| scope.trim_start_matches('/'))),
    };
    Ok((peer, scope.map(ScopeName::new).transpose()?))
}
