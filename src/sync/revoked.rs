//! What is not taken from a store for who signed it or what it is sealed to: heads of revoked peers, cards of impostors, and
//! heads under keys that are no more. Each is spoken of once, so that a store that still holds them can be used.

use super::error::Error;
use super::fetch::FetchSummary;
use super::ingest::Incoming;
use super::instance::Instance;
use super::refusal::Refusal;
use super::scopes::OpenScope;
use crate::exchange::head::Head;
use crate::exchange::store::Store;
use crate::id::bytes::{DocHash, ScopeId};
use crate::keys::card::SignedCard;
use crate::keys::identity::fingerprint_of;
use crate::state::peers::{PeerRow, Trust};
use crate::state::scopes::ScopeRow;

const HINT_REVOKED: &str = "this is said once for each head; `wbsync peer trust NAME` takes the revocation back, \
     `wbsync peer forget NAME` removes what came before it";
const HINT_OTHER: &str =
    "this is said once; ask the peer's owner over another channel before you `wbsync peer add` the other one";

impl Instance {
    /// Gives back a scope that we hold and follow, unless its origin is revoked.
    pub(super) fn unless_revoked(&self, known: Option<ScopeRow>) -> Result<Option<ScopeRow>, Error> {
        let peer = known.as_ref().map(|row| self.state.peer(&row.origin)).transpose()?.flatten();
        let is_revoked = peer.is_some_and(|peer| peer.trust == Trust::Revoked);
        if is_revoked { Ok(None) } else { self.followed(known) }
    }

    /// Refuses what a revoked peer published in a scope of its own.
    pub(super) fn refuse_scope_of_revoked(
        &self,
        store: &dyn Store,
        remote: &str,
        scope: &ScopeId,
        peer: &PeerRow,
        summary: &mut FetchSummary,
    ) -> Result<(), Error> {
        let label = match self.state.scope(scope)? {
            Some(row) => self.scope_label(&row)?,
            None => format!("scope {scope}"),
        };
        let document = format!("head of {} in {label}", peer.name);
        let bytes = match store.head(scope, &peer.id) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(()),
            Err(error) => return self.refuse_unless_gone(error, document, remote, summary),
        };
        // What isn't its head says nothing about the peer.
        let Ok((_, hash)) = Head::open(&bytes, &peer.id) else { return Ok(()) };
        if self.state.head(scope, &peer.id)?.is_some_and(|known| known.hash == hash) {
            return Ok(());
        }
        self.refuse_of(peer, document, &hash, summary)
    }

    /// Refuses a head that a revoked peer put into a scope in which it may not write any more.
    pub(super) fn refuse_if_revoked(
        &self,
        scope: &OpenScope,
        incoming: &Incoming,
        summary: &mut FetchSummary,
    ) -> Result<(), Error> {
        let Some(peer) = self.state.peer(&incoming.head.signer)? else { return Ok(()) };
        if peer.trust != Trust::Revoked {
            return Ok(());
        }
        let document = format!("head {} of {} in {}", incoming.head.seq, peer.name, scope.label(self)?);
        self.refuse_of(&peer, document, &incoming.hash, summary)
    }

    /// Says why a writer's head can't be opened: it is sealed to an epoch whose key we were not granted, or that is no more.
    pub(super) fn lacks_epoch(&self, scope: &OpenScope, head: &Head) -> Option<String> {
        let sealed_long_ago = head.base.is_some() && !scope.keys.epochs.contains_key(&head.epoch);
        sealed_long_ago.then(|| {
            format!(
                "it is sealed to epoch {}, which we can't open; its signer seals it anew at its next push",
                head.epoch
            )
        })
    }

    fn refuse_of(
        &self,
        peer: &PeerRow,
        document: String,
        hash: &DocHash,
        summary: &mut FetchSummary,
    ) -> Result<(), Error> {
        if self.state.note_once(hash)? {
            let reason = format!("{} is revoked here: nothing that it publishes is taken", peer.name);
            summary.refused.push(Refusal::because(document, reason, HINT_REVOKED));
        }
        Ok(())
    }

    /// Refuses cards in a store by which another identity calls itself as a peer that we know does.
    ///
    /// Each card is looked at once; nothing depends on it but that somebody is told.
    pub(super) fn refuse_impostors(
        &self,
        store: &dyn Store,
        remote: &str,
        summary: &mut FetchSummary,
    ) -> Result<(), Error> {
        let peers = self.state.peers()?;
        let mut pinned_names = vec![(self.card.card.name.clone(), self.id())];
        for peer in &peers {
            let own_name = SignedCard::open(&peer.card).map_err(Error::Card)?.card.name;
            pinned_names.extend([(peer.name.clone(), peer.id), (own_name, peer.id)]);
        }
        for id in store.cards().map_err(Error::store(remote))? {
            let pinned = id == self.id() || peers.iter().any(|peer| peer.id == id);
            // The id stands for its card: another card of the same instance says nothing new here.
            let seen = DocHash::from_bytes(*id.as_bytes());
            if pinned || self.state.is_noted(&seen)? {
                continue;
            }
            let document = format!("card of {}", id.short());
            let bytes = match store.card(&id) {
                Ok(Some(bytes)) => bytes,
                Ok(None) => continue,
                Err(error) => {
                    self.refuse_unless_gone(error, document, remote, summary)?;
                    continue;
                }
            };
            let Ok(card) = SignedCard::open(&bytes) else { continue };
            if card.card.instance != id {
                continue;
            }
            self.state.note_once(&seen)?;
            let name = &card.card.name;
            if let Some((_, known)) = pinned_names.iter().find(|(pinned, _)| pinned == name) {
                let (found, pinned) = (fingerprint_of(&id), fingerprint_of(known));
                let reason = format!("it calls itself {name} and has the fingerprint {found}; {name} has {pinned}");
                summary.refused.push(Refusal::because(document, reason, HINT_OTHER));
            }
        }
        Ok(())
    }
}
