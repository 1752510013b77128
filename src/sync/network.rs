//! Modes: through which stores an instance exchanges when nobody names one.
//!
//! A peer's own store is reached by the URLs on its card. It is read, never written: what an instance has to say lies in
//! its own store, and its peers come for it. Of a card only `https://` and `http://` count; other places
//! could make this machine run `ssh` to wherever somebody likes, and are added as remotes by hand.

use super::error::Error;
use super::instance::Instance;
use super::relay::Relay;
use super::round::Each;
use crate::exchange::store::{Store, StoreError};
use crate::id::bytes::InstanceId;
use crate::id::name::PeerName;
use crate::keys::card::{Card, SignedCard};
use crate::state::peers::{PeerRow, Trust};
use crate::sys::disk::{self, Access};
use crate::transport::http::store::HttpStore;
use crate::transport::http::url::HttpUrl;
use crate::transport::url;

/// `[network]` of `wbsync.toml`.
#[derive(Debug, Clone, Copy, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// Through which stores it goes.
    pub mode: NetworkMode,
    /// What of others is kept in our own store for others; left out, what we follow, but nothing in the mode `central`.
    pub relay: Option<Relay>,
}

/// Through which stores an instance exchanges.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkMode {
    /// Its remotes.
    #[default]
    Central,
    /// The own stores of its peers.
    P2p,
    /// Its remotes, and the stores of its peers where one can't be reached.
    Hybrid,
}

impl NetworkMode {
    /// Every mode.
    pub const ALL: [Self; 3] = [Self::Central, Self::P2p, Self::Hybrid];

    /// Returns the word in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Central => "central",
            Self::P2p => "p2p",
            Self::Hybrid => "hybrid",
        }
    }
}

impl std::str::FromStr for NetworkMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|mode| mode.as_str() == text);
        found.ok_or_else(|| "a mode is central, p2p or hybrid".to_owned())
    }
}

impl Instance {
    /// Returns the peers whose own stores can be read, by name. A remote of the same name counts more.
    ///
    /// # Errors
    /// `State`.
    pub fn peer_sources(&self) -> Result<Vec<PeerName>, Error> {
        if self.config.network.mode == NetworkMode::Central {
            return Ok(Vec::new());
        }
        let remotes = self.state.remotes()?;
        let mut peers = self.state.peers()?;
        peers.retain(|peer| !peer_urls(peer).is_empty() && remotes.iter().all(|remote| remote.name != peer.name));
        Ok(peers.into_iter().map(|peer| peer.name).collect())
    }

    /// Tells whether a name stands for a peer's own store.
    pub(super) fn is_peer_source(&self, name: &PeerName) -> Result<bool, Error> {
        Ok(self.peer_sources()?.contains(name))
    }

    /// Opens a peer's own store at the first of its URLs that answers.
    ///
    /// # Errors
    /// `Store` of the last URL tried.
    pub(super) fn open_peer(&self, name: &PeerName) -> Result<Box<dyn Store>, Error> {
        let recalling = self.access();
        Ok(Box::new(self.first_of_peer(name, |url| url::open_hub(url, &recalling))?))
    }

    /// Opens a peer's own store at the first of its URLs that answers, as the hub that it is.
    ///
    /// # Errors
    /// As `open_peer`.
    pub(super) fn open_peer_hub(&self, name: &PeerName) -> Result<HttpStore, Error> {
        self.first_of_peer(name, |url| HttpStore::open(url, Some(&self.identity)))
    }

    fn first_of_peer(
        &self,
        name: &PeerName,
        open: impl Fn(&HttpUrl) -> Result<HttpStore, StoreError>,
    ) -> Result<HttpStore, Error> {
        let peer = self.peer_named(name.as_str())?;
        let mut last = Error::UnknownRemote { name: name.to_string(), known: Vec::new() };
        for url in peer_urls(&peer) {
            match open(&url) {
                Ok(store) => return Ok(store),
                Err(error) => last = Error::store(format!("the peer {name}"))(error),
            }
        }
        Err(last)
    }

    /// Where a remote could not be reached, `hybrid` asks the peers. That a peer is away is nothing unusual, as long as
    /// anybody was there.
    pub(super) fn fall_back<T>(
        &self,
        each: &mut Each<T>,
        mut work: impl FnMut(&PeerName) -> Result<T, Error>,
    ) -> Result<(), Error> {
        let peers = self.peer_sources()?;
        let is_away = |error: &Error| matches!(error, Error::Store { source, .. } if matches!(**source, StoreError::Unreachable { .. }));
        let needed = each.failed.iter().any(|(name, error)| is_away(error) && !peers.contains(name));
        if self.config.network.mode == NetworkMode::Hybrid && needed {
            let tried: Vec<String> =
                each.remotes.keys().cloned().chain(each.failed.iter().map(|(name, _)| name.to_string())).collect();
            for peer in peers.iter().filter(|peer| !tried.iter().any(|tried| tried == peer.as_str())) {
                each.add(peer, work(peer))?;
            }
        }
        if !each.remotes.is_empty() {
            let (away, failed) = std::mem::take(&mut each.failed)
                .into_iter()
                .partition(|(name, error)| peers.contains(name) && is_away(error));
            each.failed = failed;
            each.away = Vec::into_iter(away).map(|(name, _): (PeerName, Error)| name.to_string()).collect();
        }
        Ok(())
    }

    /// Puts other URLs on our card. It goes wherever our next push goes, and into our own store at once.
    ///
    /// # Errors
    /// The card can't be written.
    pub fn set_urls(&mut self, urls: Vec<String>) -> Result<(), Error> {
        if urls == self.card.card.urls {
            return Ok(());
        }
        let card = SignedCard::sign(Card { urls, ..self.card.card.clone() }, &self.identity);
        let path = self.dir().join("card");
        disk::replace(&path, &card.bytes, Access::Shared).map_err(Error::io("write", &path))?;
        self.card = card;
        let own = self.own_store()?;
        let failed = || Error::store("this instance");
        let there = own.card(&self.id()).map_err(failed())?.map(|bytes| crate::keys::document::hash_of(&bytes));
        own.swap_card(&self.id(), there, &self.card.bytes).map_err(failed())
    }

    /// Takes cards of known peers from a store that differ from the ones we have in their URLs only.
    ///
    /// A card carries no date. One that was replaced before is an old one that a carrier still has, and stays replaced,
    /// unless the peer's own store offers it. One that came by hand and that no store has shown yet may be newer than those that
    /// stores have: if one of these takes its place, it isn't noted as replaced, and returns once its owner has published it. Everything else on a card is taken by `peer add` alone.
    ///
    /// # Errors
    /// `Store`, `State`.
    pub(super) fn take_urls(&self, store: &dyn Store, from: &str) -> Result<(), Error> {
        // Where URLs mean nothing, a request for each peer would be for nothing too.
        if self.config.network.mode == NetworkMode::Central {
            return Ok(());
        }
        for peer in self.state.peers()?.into_iter().filter(|peer| peer.trust != Trust::Revoked) {
            let known = SignedCard::open(&peer.card).map_err(Error::Card)?;
            // What is no card is told of elsewhere.
            let found = store.card(&peer.id).ok().flatten().and_then(|bytes| SignedCard::open(&bytes).ok());
            let Some(found) = found else { continue };
            let handed_over = handed_over_key(&peer.id);
            let is_unpublished = self.state.meta(&handed_over)?.is_some_and(|hash| hash == known.hash.to_string());
            if found.hash == known.hash {
                if is_unpublished {
                    self.state.forget_meta(&handed_over)?;
                }
                continue;
            }
            let differs_in_urls_only = Card { urls: known.card.urls.clone(), ..found.card.clone() } == known.card;
            let is_its_own_store = peer.name.as_str() == from && self.is_peer_source(&peer.name)?;
            if differs_in_urls_only && (is_its_own_store || !self.state.is_noted(&found.hash)?) {
                if !is_unpublished {
                    self.state.note_once(&known.hash)?;
                }
                self.state.put_peer(&PeerRow { card: found.bytes, ..peer })?;
            }
        }
        Ok(())
    }

    /// Notes that a card came by hand: it replaces the one before for good, and may be newer than what stores have.
    pub(super) fn note_handed_over(&self, card: &SignedCard, before: Option<&SignedCard>) -> Result<(), Error> {
        if let Some(before) = before {
            self.state.note_once(&before.hash)?;
        }
        Ok(self.state.set_meta(&handed_over_key(&card.card.instance), &card.hash.to_string())?)
    }
}

/// The key of the `meta` table for the card that came by hand and that no store has shown yet.
fn handed_over_key(peer: &InstanceId) -> String {
    format!("handed-over:{peer}")
}

/// Returns the URLs of a peer's card by which its own store may be read.
pub(super) fn peer_urls(peer: &PeerRow) -> Vec<HttpUrl> {
    if peer.trust == Trust::Revoked {
        return Vec::new();
    }
    let card = SignedCard::open(&peer.card).map(|card| card.card.urls).unwrap_or_default();
    card.iter().filter_map(|url| HttpUrl::parse(url).ok()).collect()
}
