//! Peers and rules of what we follow, as far as signed documents, our receipts among them, and the application's database still
//! tell them.

use std::collections::BTreeSet;

use crate::exchange::head::Head;
use crate::exchange::receipt::Receipt;
use crate::exchange::store::Store;
use crate::id::bytes::{InstanceId, ScopeId};
use crate::id::name::{PeerName, ScopeName};
use crate::keys::card::SignedCard;
use crate::keys::document::Unverified;
use crate::scope::manifest::Manifest;
use crate::state::peers::{Follow, PeerRow, Trust};
use crate::sync::error::Error;
use crate::sync::instance::Instance;
use crate::sync::view::View;

/// The remotes that were reached.
type Stores<'a> = [(&'a str, Box<dyn Store>)];

impl Instance {
    /// Adds the peers that our own manifests name, and follows again what the application's rows show. Says what
    /// it did, in words.
    pub(super) fn restore_people(&self, remotes: &[PeerName]) -> Result<Vec<String>, Error> {
        let mut done = Vec::new();
        let mut stores = Vec::new();
        for remote in remotes {
            stores.extend(self.open_remote(remote)?.map(|store| (remote.as_str(), store)));
        }
        for scope in self.open_scopes_of(&self.id())? {
            let trusted = scope.row.name == ScopeName::trusted();
            let readers = if trusted { scope.manifest.readers() } else { Vec::new() };
            let readers = readers.into_iter().map(|id| (id, Trust::Trusted));
            for (id, trust) in readers.chain(scope.manifest.writers.iter().map(|id| (*id, Trust::Writer))) {
                if id == self.id() {
                    continue;
                }
                let Some(peer) = self.peer_or_card(&stores, &id, &mut done)? else { continue };
                if peer.trust == Trust::Known || peer.trust == Trust::Trusted && trust == Trust::Writer {
                    self.state.put_peer(&PeerRow { trust, ..peer })?;
                }
            }
        }
        let position = self.with_database(|database| Ok(database.position()?))?;
        let mut shown = BTreeSet::new();
        for bytes in std::iter::once(&position.applied).chain(&position.target) {
            shown.extend(View::decode(bytes).map_err(Error::Bookkeeping)?.commits.into_keys());
        }
        if shown.is_empty() {
            shown = self.acknowledged(&stores)?;
        }
        for id in shown {
            if self.state.scope(&id)?.is_some() {
                continue;
            }
            for (remote, store) in &stores {
                let Some(bytes) = store.manifest(&id).map_err(Error::store(*remote))? else { continue };
                let claimed = Unverified::parse(&bytes).and_then(|document| document.claimed_signer());
                let Ok(origin) = claimed else { continue };
                let Ok((manifest, _)) = Manifest::open(&bytes, &origin) else { continue };
                let Ok(Some(keys)) = manifest.unlock(&self.identity) else { continue };
                if origin == self.id() || manifest.scope != id {
                    continue;
                }
                let Some(peer) = self.peer_or_card(&stores, &origin, &mut done)? else { continue };
                if self.state.put_follow(&Follow { origin, scope: Some(keys.name.clone()) })? {
                    done.push(format!("follows {}/{} again", peer.name, keys.name));
                }
                break;
            }
        }
        Ok(done)
    }

    /// Lists the scopes of which we once signed what our application shows, or in which we wrote: with the rows' bookkeeping gone, that is
    /// what still tells whom we followed.
    fn acknowledged(&self, stores: &Stores<'_>) -> Result<BTreeSet<ScopeId>, Error> {
        let mut scopes = BTreeSet::new();
        for (remote, store) in stores {
            for id in store.scopes().map_err(Error::store(*remote))? {
                let receipt = store.receipt(&id, &self.id()).map_err(Error::store(*remote))?;
                let receipt = receipt.and_then(|bytes| Receipt::open(&bytes, &self.id()).ok());
                let head = store.head(&id, &self.id()).map_err(Error::store(*remote))?;
                let head = head.and_then(|bytes| Head::open(&bytes, &self.id()).ok());
                if receipt.is_some_and(|(receipt, _)| receipt.scope == id)
                    || head.is_some_and(|(head, _)| head.scope == id)
                {
                    scopes.insert(id);
                }
            }
        }
        Ok(scopes)
    }

    /// Returns a peer, added by the card that a remote has of it if need be.
    fn peer_or_card(
        &self,
        stores: &Stores<'_>,
        id: &InstanceId,
        done: &mut Vec<String>,
    ) -> Result<Option<PeerRow>, Error> {
        if let Some(peer) = self.state.peer(id)? {
            return Ok(Some(peer));
        }
        for (remote, store) in stores {
            let Some(bytes) = store.card(id).map_err(Error::store(*remote))? else { continue };
            if let Some(card) = SignedCard::open(&bytes).ok().filter(|card| card.card.instance == *id) {
                let peer = self.add_cloned_peer(&card)?;
                done.push(format!("knows {} again, {}", peer.name, Self::fingerprint(id)));
                return Ok(Some(peer));
            }
        }
        Ok(None)
    }
}
