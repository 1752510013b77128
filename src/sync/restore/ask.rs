//! What remotes have of ours, before anything is changed.

use crate::exchange::head::Head;
use crate::exchange::store::Store;
use crate::id::bytes::{InstanceId, ScopeId};
use crate::id::name::PeerName;
use crate::keys::document::Unverified;
use crate::keys::identity::Identity;
use crate::scope::manifest::Manifest;
use crate::state::heads::TrackedHead;
use crate::sync::error::Error;
use crate::sync::instance::Instance;
use crate::sync::own::incarnation_of_card;
use crate::sync::restore::RestoreSummary;
use crate::sync::status::explain;
use crate::transport::url::{self, RemoteUrl};

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

/// What is left here of an instance, to compare with.
pub(super) enum Here<'a> {
    /// All of it.
    Whole(&'a Instance),
    /// Its keys.
    Keys(&'a Identity),
}

impl Here<'_> {
    fn id(&self) -> InstanceId {
        match self {
            Self::Whole(instance) => instance.id(),
            Self::Keys(identity) => identity.id(),
        }
    }

    fn head(&self, scope: &ScopeId) -> Result<Option<TrackedHead>, Error> {
        match self {
            Self::Whole(instance) => Ok(instance.state.head(scope, &instance.id())?),
            Self::Keys(_) => Ok(None),
        }
    }

    fn label(&self, scope: &ScopeId) -> Result<String, Error> {
        match self {
            Self::Whole(instance) => match instance.state.scope(scope)? {
                Some(row) => instance.scope_label(&row),
                None => Ok(scope.to_string()),
            },
            Self::Keys(_) => Ok(scope.to_string()),
        }
    }

    /// Asks one store for our card, manifests and heads.
    fn ask(&self, store: &dyn Store, remote: &str) -> Result<Asked, Error> {
        let own = self.id();
        let card = incarnation_of_card(store, remote, &own)?;
        let mut asked = Asked { incarnation: card.unwrap_or(0), knows_us: card.is_some(), newer: Vec::new() };
        for id in store.scopes().map_err(Error::store(remote))? {
            if let Some(bytes) = store.manifest(&id).map_err(Error::store(remote))?
                && let Ok(signer) = Unverified::parse(&bytes).and_then(|document| document.claimed_signer())
            {
                asked.knows_us |= signer == own && Manifest::open(&bytes, &signer).is_ok();
            }
            let Some(bytes) = store.head(&id, &own).map_err(Error::store(remote))? else { continue };
            let Ok((head, hash)) = Head::open(&bytes, &own) else { continue };
            if head.scope != id {
                continue;
            }
            asked.knows_us = true;
            asked.incarnation = asked.incarnation.max(head.incarnation);
            let ours = self.head(&id)?;
            if Instance::is_newer_own(ours.as_ref(), &head, &hash) {
                let ours = ours.map_or(0, |ours| ours.seq);
                asked.newer.push(Newest { scope: self.label(&id)?, ours, theirs: head.seq });
            }
        }
        asked.newer.sort_by(|a, b| a.scope.cmp(&b.scope));
        Ok(asked)
    }
}

impl RestoreSummary {
    /// Notes what a store has of ours, or why it can't be asked.
    pub(super) fn note(&mut self, here: &Here<'_>, place: &str, opened: Result<Option<Box<dyn Store>>, Error>) {
        let asked = match opened {
            // Nobody has pushed there: it says nothing about what we published elsewhere.
            Ok(None) => {
                self.unreachable.insert(place.to_owned(), "nothing has been pushed there yet".into());
                return;
            }
            Ok(Some(store)) => here.ask(store.as_ref(), place),
            Err(error) => Err(error),
        };
        match asked {
            Ok(asked) => drop(self.asked.insert(place.to_owned(), asked)),
            Err(error) => {
                self.unreachable.insert(place.to_owned(), explain(&error));
                self.away.push(place.to_owned());
            }
        }
    }

    /// Asks the stores at some URLs, which needn't be remotes.
    pub(super) fn ask_urls(&mut self, here: &Here<'_>, urls: &[RemoteUrl], identity: &Identity) {
        for url in urls {
            let place = url.to_string();
            let opened = url::open(url, Some(identity)).map(Some).map_err(Error::store(place.as_str()));
            self.note(here, &place, opened);
        }
    }
}

impl Instance {
    /// Asks remotes for our cards, manifests and heads. What can't be asked is noted.
    pub(super) fn ask(&self, remotes: &[PeerName], summary: &mut RestoreSummary) -> Result<(), Error> {
        for remote in remotes {
            match self.open_remote(remote) {
                Err(error @ Error::UnknownRemote { .. }) => return Err(error),
                opened => summary.note(&Here::Whole(self), remote.as_str(), opened),
            }
        }
        Ok(())
    }
}
