//! What remotes have of ours, before anything is changed.

use crate::exchange::head::Head;
use crate::exchange::store::Store;
use crate::id::name::PeerName;
use crate::keys::document::Unverified;
use crate::scope::manifest::Manifest;
use crate::sync::error::Error;
use crate::sync::instance::Instance;
use crate::sync::own::incarnation_of_card;
use crate::sync::restore::RestoreSummary;
use crate::sync::status::explain;

/// What one remote has of ours.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Asked {
    /// The greatest incarnation of ours that shows there.
    pub incarnation: u32,
    /// Scopes in which it has a later head of ours than this instance.
    pub newer: Vec<Newest>,
    /// Whether it holds anything of ours.
    pub knows_us: bool,
}

/// How far a scope has come here and elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Newest {
    /// The scope, by label if we know it.
    pub scope: String,
    /// The number of our newest head here; 0 for none.
    pub ours: u64,
    /// The number of our newest head there.
    pub theirs: u64,
}

impl Instance {
    /// Asks remotes for our cards, manifests and heads. What can't be asked is noted.
    pub(super) fn ask(&self, remotes: &[PeerName], summary: &mut RestoreSummary) -> Result<(), Error> {
        for remote in remotes {
            let asked = match self.open_remote(remote) {
                // Nobody has pushed there: it says nothing about what we published elsewhere.
                Ok(None) => {
                    summary.unreachable.insert(remote.to_string(), "nothing has been pushed there yet".into());
                    continue;
                }
                Ok(Some(store)) => self.ask_one(store.as_ref(), remote.as_str()),
                Err(error @ Error::UnknownRemote { .. }) => return Err(error),
                Err(error) => Err(error),
            };
            match asked {
                Ok(asked) => drop(summary.asked.insert(remote.to_string(), asked)),
                Err(error) => drop(summary.unreachable.insert(remote.to_string(), explain(&error))),
            }
        }
        Ok(())
    }

    fn ask_one(&self, store: &dyn Store, remote: &str) -> Result<Asked, Error> {
        let card = incarnation_of_card(store, remote, self)?;
        let mut asked = Asked { incarnation: card.unwrap_or(0), knows_us: card.is_some(), newer: Vec::new() };
        for id in store.scopes().map_err(Error::store(remote))? {
            let known = self.state.scope(&id)?;
            if let Some(bytes) = store.manifest(&id).map_err(Error::store(remote))?
                && let Ok(signer) = Unverified::parse(&bytes).and_then(|document| document.claimed_signer())
            {
                asked.knows_us |= signer == self.id() && Manifest::open(&bytes, &signer).is_ok();
            }
            let Some(bytes) = store.head(&id, &self.id()).map_err(Error::store(remote))? else { continue };
            let Ok((head, hash)) = Head::open(&bytes, &self.id()) else { continue };
            if head.scope != id {
                continue;
            }
            asked.knows_us = true;
            asked.incarnation = asked.incarnation.max(head.incarnation);
            let ours = self.state.head(&id, &self.id())?;
            if Self::is_newer_own(ours.as_ref(), &head, &hash) {
                let scope = known.map_or_else(|| Ok(id.to_string()), |row| self.scope_label(&row))?;
                asked.newer.push(Newest { scope, ours: ours.map_or(0, |ours| ours.seq), theirs: head.seq });
            }
        }
        asked.newer.sort_by(|a, b| a.scope.cmp(&b.scope));
        Ok(asked)
    }
}
