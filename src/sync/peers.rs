//! Peers: adding, finding, following.

use std::path::Path;

use super::error::Error;
use super::instance::Instance;
use super::scopes::OpenScope;
use super::trust::{Right, TrustChange};
use crate::id::bytes::InstanceId;
use crate::id::name::{PeerName, ScopeName};
use crate::keys::card::{PREFIX, SignedCard};
use crate::keys::identity::fingerprint_of;
use crate::scope::manifest::draft::Since;
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
    if text.contains(['/', '.']) && !text.contains("://") {
        let source = std::io::Error::new(std::io::ErrorKind::NotFound, "there is no such file");
        return Err(Error::Io { doing: "read the card in", path, source });
    }
    SignedCard::from_line(text).map_err(Error::Card)
}

impl Instance {
    /// Adds a peer by its card, or takes a newer card of one that we know: what it may read is sealed to the newer
    /// card's recipient then.
    ///
    /// The id of a peer never changes: a card of another instance under a name that is taken is refused.
    ///
    /// # Errors
    /// `OwnCard`, `Fingerprint`, `OlderCard`, `OtherIdentity`, `PeerNameTaken`, `NameReserved`.
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
        if let Some(other) = self.state.peers()?.into_iter().find(|peer| peer.name == name && peer.id != id) {
            // Two ids that call themselves the same: somebody set the instance up anew, or pretends to be it.
            if add.name.is_none() && known.is_none() {
                let pinned = fingerprint_of(&other.id);
                return Err(Error::OtherIdentity { name: name.to_string(), pinned, found });
            }
            return Err(Error::PeerNameTaken { name: name.to_string() });
        }
        if name == self.card.card.name {
            return Err(Error::PeerNameTaken { name: name.to_string() });
        }
        let named = self.scopes_naming(&name)?;
        let returns = self.state.forgotten(&id)?.is_some_and(|was| was == name);
        let keeps = known.as_ref().is_some_and(|peer| peer.name == name);
        let reads = named.iter().all(|scope| scope.manifest.readers().contains(&id));
        if !returns && !keeps && !reads {
            let scope = named[0].row.name.to_string();
            return Err(Error::NameReserved { name: name.to_string(), scope });
        }
        let before = known.as_ref().map(|peer| SignedCard::open(&peer.card).map_err(Error::Card)).transpose()?;
        if let Some(before) = &before
            && card.card.incarnation < before.card.incarnation
        {
            let (offered, known) = (card.card.incarnation, before.card.incarnation);
            return Err(Error::OlderCard { name: name.to_string(), offered, known });
        }
        let trust = known.as_ref().map_or(Trust::Known, |peer| peer.trust);
        let added = known.map_or_else(clock::now, |peer| peer.added);
        let peer = PeerRow { id, name, card: card.bytes.clone(), trust, added };
        let transaction = self.state.transaction()?;
        self.state.put_peer(&peer)?;
        self.state.remember(&id)?;
        if before.as_ref().is_none_or(|before| before.hash != card.hash) {
            self.note_handed_over(card, before.as_ref())?;
        }
        if returns {
            let mut change = TrustChange::of(&peer);
            for scope in &named {
                self.let_in(scope, &peer, Right::Read, Since::Beginning, &mut change)?;
            }
        }
        if before.is_some_and(|before| before.card.recipient != card.card.recipient) {
            self.regrant(&card.card)?;
        }
        database::commit(transaction)?;
        self.forget_database();
        Ok(peer)
    }

    /// Finds our scopes that name a peer: rows in them are meant for the instance that had this name when they were made.
    fn scopes_naming(&self, name: &PeerName) -> Result<Vec<OpenScope>, Error> {
        let mut scopes = self.open_scopes_of(&self.id())?;
        scopes.retain(|scope| scope.row.name.peer_names().is_some_and(|names| names.contains(name)));
        Ok(scopes)
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

    /// Follows a peer's scopes: all that we may read, or one. Returns whether the rule is new.
    ///
    /// # Errors
    /// `UnknownPeer`, `Revoked`.
    pub fn follow(&self, peer: &str, scope: Option<ScopeName>) -> Result<bool, Error> {
        let peer = self.peer_named(peer)?;
        if peer.trust == Trust::Revoked {
            return Err(Error::Revoked { name: peer.name.to_string() });
        }
        let origin = peer.id;
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
