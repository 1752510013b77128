//! Whose records a bundle holds that nobody here asked for: told, since otherwise it would seem to be empty.

use crate::exchange::store::Store;
use crate::id::bytes::InstanceId;
use crate::keys::card::SignedCard;
use crate::keys::document::Unverified;
use crate::keys::identity::fingerprint_of;
use crate::state::peers::Trust;
use crate::sync::error::Error;
use crate::sync::instance::Instance;

/// An instance of whose records none were looked at.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Stranger {
    /// What we call it; of one that is no peer, what it calls itself in the bundle.
    pub name: String,
    /// The fingerprint of its key.
    pub fingerprint: String,
    /// Whether it is a peer here; then it isn't followed.
    pub is_peer: bool,
}

impl Instance {
    /// Lists the origins of records in a store that aren't peers here, or aren't followed.
    ///
    /// Who carries for many has others' records in every bundle. They are told of only where there is nothing
    /// in it of anybody else; whoever packed it always is.
    ///
    /// # Errors
    /// The store or the state can't be read.
    pub(super) fn strangers_in(&self, store: &dyn Store, packer: &InstanceId) -> Result<Vec<Stranger>, Error> {
        let failed = || Error::store("the bundle");
        let follows = self.state.follows()?;
        let (mut strangers, mut is_for_us) = (Vec::new(), false);
        for scope in store.scopes().map_err(failed())? {
            let manifest = store.manifest(&scope).map_err(failed())?;
            let claimed = manifest.and_then(|bytes| Unverified::parse(&bytes).ok()?.claimed_signer().ok());
            let known = self.state.scope(&scope)?.map(|row| row.origin);
            let Some(origin) = known.or(claimed) else { continue };
            let peer = self.state.peer(&origin)?;
            let is_revoked = peer.as_ref().is_some_and(|peer| peer.trust == Trust::Revoked);
            if origin == self.id() || is_revoked || follows.iter().any(|rule| rule.origin == origin) {
                is_for_us = true;
                continue;
            }
            let own_name = || {
                let bytes = store.card(&origin).ok()??;
                let card = SignedCard::open(&bytes).ok().filter(|card| card.card.instance == origin)?;
                Some(card.card.name.to_string())
            };
            let name = match &peer {
                Some(peer) => peer.name.to_string(),
                None => own_name().unwrap_or_else(|| origin.short()),
            };
            strangers.push((origin, Stranger { name, fingerprint: fingerprint_of(&origin), is_peer: peer.is_some() }));
        }
        strangers.sort_by_key(|(origin, _)| *origin);
        strangers.dedup();
        strangers.retain(|(origin, _)| !is_for_us || origin == packer);
        Ok(strangers.into_iter().map(|(_, stranger)| stranger).collect())
    }
}
