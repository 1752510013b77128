//! Relay: what others published is kept in our own store too, so that two instances that never meet exchange through us.
//!
//! All of it stays sealed and signed by those who wrote it; whoever takes it from us checks it again. Kept is the newest
//! head of each signer and what it names. What a newer head replaced, what its origin took away, and what
//! comes from peers that were revoked or forgotten is dropped, with its objects.

use super::error::Error;
use super::instance::Instance;
use super::network::NetworkMode;
use super::prepare::Prepared;
use super::refold::OWN_STORE_KEY;
use super::scopes::OpenScope;
use crate::exchange::copy::{CopyError, copy_objects};
use crate::exchange::head::Head;
use crate::exchange::head::verdict::{Known, Verdict, verdict};
use crate::exchange::store::{Store, StoreError};
use crate::id::bytes::{DocHash, InstanceId, ScopeId};
use crate::id::name::PeerName;
use crate::keys::document::{Unverified, hash_of};
use crate::scope::manifest::{Manifest, Succession, succession};
use crate::state::peers::Trust;
use crate::state::scopes::ScopeRow;
use crate::transport::dir::DirStore;

/// What is relayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(untagged)]
pub enum Relay {
    /// Everything that known peers publish, also what we can't read; or nothing.
    All(bool),
    /// What we follow.
    Word(Followed),
}

/// The word for what we follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Followed {
    /// What we follow.
    Followed,
}

/// Whether a bundle was ever taken in.
pub(super) const CARRIES_KEY: &str = "carries";
/// The most bytes that a scope may take which we can't read.
const SEALED_BYTES_MAX: u64 = 1 << 30;
/// The most scopes of one origin that we relay without reading them.
const SEALED_SCOPES_MAX: usize = 64;

impl Instance {
    /// Who takes bundles may be the only way from one site to another, and passes on what it follows too.
    fn relay_rule(&self) -> Result<Relay, Error> {
        let network = &self.config.network;
        Ok(match (network.relay, network.mode) {
            (Some(rule), _) => rule,
            (None, NetworkMode::Central) if self.state.meta(CARRIES_KEY)?.is_none() => Relay::All(false),
            (None, _) => Relay::Word(Followed::Followed),
        })
    }

    /// Tells whether what others publish in a scope is relayed.
    fn relays(&self, scope: &ScopeId, origin: &InstanceId) -> Result<bool, Error> {
        if !self.state.peer(origin)?.is_some_and(|peer| peer.trust != Trust::Revoked) {
            return Ok(false);
        }
        Ok(match self.relay_rule()? {
            Relay::All(all) => all,
            Relay::Word(Followed::Followed) => match self.state.scope(scope)? {
                Some(row) => self.follows(&row)?,
                None => false,
            },
        })
    }

    /// Keeps objects that were fetched, if they are going to be relayed: they need not be fetched again then.
    pub(super) fn keep_fetched(&self, scope: &OpenScope, prepared: &Prepared<'_>) -> Result<(), Error> {
        let is_of_writer = scope.row.origin == self.id() && prepared.head.signer != self.id();
        if !is_of_writer && !self.relays(&scope.row.id, &scope.row.origin)? {
            return Ok(());
        }
        let own = self.own_store()?;
        let objects = prepared.segments.iter().flat_map(|segment| &segment.objects);
        for (object, path) in objects.zip(&prepared.files) {
            let mut file = std::fs::File::open(path).map_err(Error::io("read", path))?;
            own.put_object(&object.id, object.bytes, &mut file).map_err(Error::store("this instance"))?;
        }
        Ok(())
    }

    /// Keeps what a store has of a scope that we follow, as far as it is what we took in ourselves.
    pub(super) fn relay_followed(&self, from: &dyn Store, name: &str, scope: &OpenScope) -> Result<(), Error> {
        let row = self.scope_row(&scope.row.id)?;
        if row.origin == self.id() || !self.relays(&row.id, &row.origin)? {
            return Ok(());
        }
        let (own, failed) = (self.own_store()?, || Error::store("this instance"));
        let there = own.manifest(&row.id).map_err(failed())?.map(|bytes| hash_of(&bytes));
        if there != Some(row.manifest_hash) {
            own.swap_manifest(&row.id, there, &row.manifest).map_err(failed())?;
        }
        for tracked in self.state.heads(&row.id)? {
            if tracked.signer == self.id() || !self.may_relay(&scope.manifest, &tracked.signer)? {
                continue;
            }
            let offered = from.head(&row.id, &tracked.signer).map_err(Error::store(name))?;
            if offered.as_ref() == Some(&tracked.document)
                && let Ok((head, _)) = Head::open(&tracked.document, &tracked.signer)
            {
                self.keep_relayed(from, &own, &head, &tracked.document)?;
            }
            let origin = self.state.head(&row.id, &row.origin)?;
            if offered.is_none()
                && let Some(origin) = origin
                && from.head(&row.id, &row.origin).map_err(Error::store(name))? == Some(origin.document)
            {
                let known = |id| Ok::<_, Error>(self.state.known_commit(&row.id, id)?.commit.clock);
                if known(&origin.commit)?.contains_of(&tracked.signer, &known(&tracked.commit)?) {
                    // The origin has merged it and taken it away: it may carry what was withdrawn.
                    self.drop_head(&own, &row.id, &tracked.signer, tracked.hash)?;
                }
            }
        }
        for receipt in self.state.receipts(&row.id)? {
            let there = own.receipt(&row.id, &receipt.signer).map_err(failed())?.map(|bytes| hash_of(&bytes));
            if there != Some(receipt.hash) {
                own.swap_receipt(&row.id, &receipt.signer, there, &receipt.document).map_err(failed())?;
            }
        }
        self.keep_cards(&own, &scope.manifest)
    }

    /// Notes that what the heads of others named, as far as we remember them, may carry what their scope's origin has withdrawn, and
    /// is to go from every remote that we brought it to. What a head there names stays.
    ///
    /// # Errors
    /// `State`.
    pub(super) fn spend_relayed(&self, row: &ScopeRow) -> Result<(), Error> {
        if !self.relays(&row.id, &row.origin)? {
            return Ok(());
        }
        let remotes = self.state.remotes()?;
        for tracked in self.state.heads(&row.id)?.into_iter().filter(|tracked| tracked.signer != self.id()) {
            for seen in self.state.seen(&row.id, &tracked.signer)? {
                let Ok((head, _)) = Head::open(&seen.document, &tracked.signer) else { continue };
                for remote in &remotes {
                    self.state.put_spent(&remote.name, &row.id, head.objects().map(|object| object.id))?;
                }
            }
        }
        Ok(())
    }

    /// Takes the heads of writers out of a remote that we brought there, and that the origin of their scope took away elsewhere: its
    /// head there is a fresh ladder that contains what they stood for. A store where only they themselves may is left alone.
    ///
    /// # Errors
    /// `Store`.
    pub(super) fn retire_relayed_heads(
        &self,
        remote: &dyn Store,
        name: &PeerName,
        row: &ScopeRow,
    ) -> Result<(), Error> {
        if row.origin == self.id() || !self.relays(&row.id, &row.origin)? {
            return Ok(());
        }
        let failed = || Error::store(name.as_str());
        let own = self.own_store()?;
        let Some(origin) = self.state.head(&row.id, &row.origin)? else { return Ok(()) };
        if remote.head(&row.id, &row.origin).map_err(failed())?.as_ref() != Some(&origin.document) {
            return Ok(());
        }
        let merged = self.state.known_commit(&row.id, &origin.commit)?.commit.clock;
        let Ok((ladder, _)) = Head::open(&origin.document, &row.origin) else { return Ok(()) };
        let since = ladder.segments.first().map_or(0, |snapshot| snapshot.to_seq);
        let kept = own.heads(&row.id).map_err(Error::store("this instance"))?;
        for signer in remote.heads(&row.id).map_err(failed())? {
            if signer == self.id() || kept.contains(&signer) {
                continue;
            }
            let Some(bytes) = remote.head(&row.id, &signer).map_err(failed())? else { continue };
            let Ok((head, hash)) = Head::open(&bytes, &signer) else { continue };
            let is_older = head.base.is_some_and(|base| base.seq < since) && !head.segments.is_empty();
            if !is_older || !self.has_all_of(&merged, &head)? {
                continue;
            }
            self.state.put_spent(name, &row.id, head.objects().map(|object| object.id))?;
            match remote.remove_head(&row.id, &signer, hash) {
                Ok(_) | Err(StoreError::Swapped { .. } | StoreError::Denied { .. } | StoreError::ReadOnly { .. }) => {}
                Err(error) => return Err(failed()(error)),
            }
        }
        Ok(())
    }

    /// Keeps what a store has of a peer's scope that we can't read, or don't follow: checked as a hub does.
    pub(super) fn relay_sealed(&self, from: &dyn Store, name: &str, scope: &ScopeId) -> Result<(), Error> {
        if self.relay_rule()? != Relay::All(true) || self.state.is_retired(scope)? {
            return Ok(());
        }
        let Some(bytes) = from.manifest(scope).map_err(Error::store(name))? else { return Ok(()) };
        let Some(origin) = signer_of(&bytes).filter(|origin| *origin != self.id()) else { return Ok(()) };
        let Ok((manifest, hash)) = Manifest::open(&bytes, &origin) else { return Ok(()) };
        if manifest.scope != *scope || !self.relays(scope, &origin)? {
            return Ok(());
        }
        let (own, failed) = (self.own_store()?, || Error::store("this instance"));
        let held = own.manifest(scope).map_err(failed())?;
        if held.is_none() && self.sealed_scopes_of(&own, &origin)? >= SEALED_SCOPES_MAX {
            return Ok(());
        }
        let known = held.as_ref().and_then(|held| Manifest::open(held, &origin).ok());
        match succession(known.as_ref().map(|(known, hash)| (known.seq, hash)), &manifest, &hash) {
            Succession::Same => {}
            Succession::New => {
                own.swap_manifest(scope, held.map(|held| hash_of(&held)), &bytes).map_err(failed())?;
            }
            Succession::Older | Succession::Forked => return Ok(()),
        }
        let signers = from.heads(scope).map_err(Error::store(name))?;
        let mut bytes_left = SEALED_BYTES_MAX;
        for signer in &signers {
            if !self.may_relay(&manifest, signer)? {
                continue;
            }
            let Some(bytes) = from.head(scope, signer).map_err(Error::store(name))? else { continue };
            let Ok((head, hash)) = Head::open(&bytes, signer) else { continue };
            let size: u64 = head.objects().map(|object| object.bytes).sum();
            let has_its_form = head.scope == *scope && head.base.is_none() == (*signer == origin);
            if !has_its_form || head.manifest_seq > manifest.seq || size > bytes_left {
                continue;
            }
            bytes_left -= size;
            let held = own.head(scope, signer).map_err(failed())?;
            let known = held.as_ref().and_then(|held| Head::open(held, signer).ok());
            let known = known.map(|(head, hash)| Known::of(&head, hash));
            if verdict(known.as_ref(), &head, &hash) == Verdict::New {
                self.keep_relayed(from, &own, &head, &bytes)?;
            }
        }
        // Built before the origin's newest ladder, and gone from where that ladder is: taken away.
        let ladder = own.head(scope, &origin).map_err(failed())?;
        if ladder.is_some() && ladder == from.head(scope, &origin).map_err(Error::store(name))? {
            let ladder = ladder.and_then(|bytes| Head::open(&bytes, &origin).ok());
            let since = ladder.and_then(|(head, _)| head.segments.first().map(|snapshot| snapshot.to_seq));
            for signer in own.heads(scope).map_err(failed())? {
                let Some(bytes) = own.head(scope, &signer).map_err(failed())? else { continue };
                let base = Head::open(&bytes, &signer).ok().and_then(|(head, _)| head.base).map(|base| base.seq);
                if base < since && base.is_some() && signer != self.id() && !signers.contains(&signer) {
                    self.drop_head(&own, scope, &signer, hash_of(&bytes))?;
                }
            }
        }
        self.keep_cards(&own, &manifest)
    }

    /// Drops what is not to be relayed any more: policy, trust, rights or what we follow has changed.
    pub(super) fn retire_relayed(&self, own: &DirStore) -> Result<(), Error> {
        let failed = || Error::store("this instance");
        for scope in own.scopes().map_err(failed())? {
            let Some(bytes) = own.manifest(&scope).map_err(failed())? else { continue };
            let Some(origin) = signer_of(&bytes).filter(|origin| *origin != self.id()) else { continue };
            let signers = own.heads(&scope).map_err(failed())?;
            let relays = self.relays(&scope, &origin)?;
            let is_written =
                signers.contains(&self.id()) || own.receipt(&scope, &self.id()).map_err(failed())?.is_some();
            if !relays && !is_written && self.state.scope(&scope)?.is_none_or(|row| !self.is_published(&row)) {
                self.drop_own_store_scope(&scope)?;
                continue;
            }
            let Ok((manifest, _)) = Manifest::open(&bytes, &origin) else { continue };
            for signer in signers.iter().filter(|signer| **signer != self.id()) {
                if relays && self.may_relay(&manifest, signer)? {
                    continue;
                }
                if let Some(bytes) = own.head(&scope, signer).map_err(failed())? {
                    self.drop_head(own, &scope, signer, hash_of(&bytes))?;
                }
            }
        }
        Ok(())
    }

    /// Tells whether we may publish in a scope of another: its manifest lies in our own store then.
    fn is_published(&self, row: &ScopeRow) -> bool {
        Manifest::open(&row.manifest, &row.origin).is_ok_and(|(manifest, _)| manifest.may_write(&self.id()))
    }

    fn may_relay(&self, manifest: &Manifest, signer: &InstanceId) -> Result<bool, Error> {
        let is_revoked = self.state.peer(signer)?.is_some_and(|peer| peer.trust == Trust::Revoked);
        Ok(manifest.may_write(signer) && !is_revoked && self.state.forgotten(signer)?.is_none())
    }

    fn keep_relayed(&self, from: &dyn Store, own: &DirStore, head: &Head, document: &[u8]) -> Result<(), Error> {
        let failed = || Error::store("this instance");
        let there = own.head(&head.scope, &head.signer).map_err(failed())?;
        if there.as_deref() == Some(document) {
            return Ok(());
        }
        let objects: Vec<_> = head.objects().map(|object| (object.id, object.bytes)).collect();
        let lacking = own.missing(&objects).map_err(failed())?;
        let mut wanted = objects.clone();
        wanted.retain(|(id, _)| lacking.contains(id));
        // A bundle holds of a head what we lacked for ourselves, and not always all that it names.
        if !wanted.is_empty() && !from.missing(&wanted).map_err(Error::store(from.describe()))?.is_empty() {
            return Ok(());
        }
        match copy_objects(from, own, &objects, &mut |_| {}) {
            Ok(_) => {}
            // The store has moved on, or is damaged there: what it has next is looked at next time.
            Err(CopyError::Source { source, .. })
                if matches!(
                    *source,
                    StoreError::Missing { .. } | StoreError::Damaged { .. } | StoreError::TooLarge { .. }
                ) =>
            {
                return Ok(());
            }
            Err(source) => return Err(Error::Copy { to: "this instance".into(), source }),
        }
        if there.is_some() {
            self.state.set_meta(OWN_STORE_KEY, "due")?;
        }
        let expected = there.map(|bytes| hash_of(&bytes));
        own.swap_head(&head.scope, &head.signer, expected, &objects, document).map_err(failed())
    }

    fn drop_head(&self, own: &DirStore, scope: &ScopeId, signer: &InstanceId, hash: DocHash) -> Result<(), Error> {
        self.state.set_meta(OWN_STORE_KEY, "due")?;
        match own.remove_head(scope, signer, hash) {
            // Another one is kept there than the one that is meant.
            Ok(_) | Err(StoreError::Swapped { .. }) => Ok(()),
            Err(error) => Err(Error::store("this instance")(error)),
        }
    }

    /// Keeps the cards of those whose heads are kept, so that others learn their URLs.
    fn keep_cards(&self, own: &DirStore, manifest: &Manifest) -> Result<(), Error> {
        let failed = || Error::store("this instance");
        for peer in self.state.peers()?.into_iter().filter(|peer| manifest.may_write(&peer.id)) {
            let there = own.card(&peer.id).map_err(failed())?;
            if there.as_ref() != Some(&peer.card) {
                own.swap_card(&peer.id, there.map(|there| hash_of(&there)), &peer.card).map_err(failed())?;
            }
        }
        Ok(())
    }

    fn sealed_scopes_of(&self, own: &DirStore, origin: &InstanceId) -> Result<usize, Error> {
        let mut count = 0;
        for scope in own.scopes().map_err(Error::store("this instance"))? {
            let bytes = own.manifest(&scope).map_err(Error::store("this instance"))?;
            count += usize::from(bytes.and_then(|bytes| signer_of(&bytes)) == Some(*origin));
        }
        Ok(count)
    }
}

/// Reads who claims to have signed a document of our own store; it was verified when it was put there.
pub(super) fn signer_of(bytes: &[u8]) -> Option<InstanceId> {
    Unverified::parse(bytes).and_then(|document| document.claimed_signer()).ok()
}
