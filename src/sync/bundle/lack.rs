//! What others lack of our own store, as far as they told.

use std::collections::{BTreeMap, BTreeSet};

use super::told::Told;
use super::{BundleError, BundleOptions};
use crate::exchange::head::{Head, ObjectRef};
use crate::exchange::layout::{FORMAT, StorePath};
use crate::exchange::receipt::Receipt;
use crate::exchange::store::Store;
use crate::id::bytes::{DocHash, InstanceId, ScopeId};
use crate::keys::document::hash_of;
use crate::scope::manifest::Manifest;
use crate::sync::error::Error;
use crate::sync::instance::Instance;
use crate::sync::prepare::needed;
use crate::sync::relay::signer_of;
use crate::transport::bundle::index::Entry;
use crate::transport::bundle::request::{Held, HeldHead, Request};
use crate::transport::dir::DirStore;

/// Somebody for whom a bundle is packed, with what we know them to have; no id is anybody.
struct Receiver {
    id: Option<InstanceId>,
    told: Told,
}

/// What a bundle is to hold.
pub(super) struct Lacking {
    /// Files, in the order in which they are packed: documents behind the objects that they name.
    pub(super) entries: Vec<Entry>,
    /// What we have ourselves, signed, for whoever packs the way back.
    pub(super) request: Vec<u8>,
    /// Our own heads in it: scope and number.
    pub(super) heads: Vec<(ScopeId, u64)>,
    /// What we hold of others and can't pass on.
    pub(super) left_out: Vec<String>,
}

/// The files of a bundle in the making.
#[derive(Default)]
struct Files {
    /// In the order in which heads name them.
    objects: Vec<Entry>,
    documents: BTreeMap<StorePath, Entry>,
    named: BTreeSet<StorePath>,
    /// Whose heads are among them.
    signers: BTreeSet<InstanceId>,
}

impl Instance {
    /// Lists what those meant by `options` lack of our store.
    pub(super) fn lacking(&self, own: &DirStore, options: &BundleOptions) -> Result<Lacking, Error> {
        let failed = || Error::store("this instance");
        let receivers = self.receivers(own, options)?;
        // Our card goes along, and is packed as all else is: from the store.
        let there = own.card(&self.id()).map_err(failed())?.map(|bytes| hash_of(&bytes));
        if there != Some(self.card.hash) {
            own.swap_card(&self.id(), there, &self.card.bytes).map_err(failed())?;
        }
        let mut files = Files::default();
        // Of scopes that we don't pass on our store has receipts only, which say what need not come again.
        let mut scopes: BTreeSet<ScopeId> = own.scopes().map_err(failed())?.into_iter().collect();
        scopes.extend(self.state.scopes()?.into_iter().map(|row| row.id));
        let mut manifests = BTreeMap::new();
        for scope in scopes {
            let Some(manifest) = self.manifest_of(own, &scope)? else { continue };
            for receiver in receivers.iter().filter(|receiver| self.may_have(&manifest, receiver.id)) {
                self.lacking_of(own, &manifest, receiver, options, &mut files)?;
            }
            manifests.insert(scope, manifest);
        }
        let mut left_out = Vec::new();
        for manifest in manifests.values() {
            if receivers.iter().any(|receiver| self.may_have(manifest, receiver.id)) {
                self.note_left_out(own, manifest, &mut left_out)?;
            }
        }
        self.add_cards(own, &receivers, options, &mut files)?;
        let heads = files.documents.keys().filter_map(|path| match path {
            StorePath::Head(scope, signer) if *signer == self.id() => Some(*scope),
            _ => None,
        });
        let mut handed = Vec::new();
        for scope in heads {
            handed.extend(self.state.head(&scope, &self.id())?.map(|head| (scope, head.seq)));
        }
        let peers: Vec<InstanceId> = receivers.iter().filter_map(|receiver| receiver.id).collect();
        let request = self.tell_held(&peers, &|row| {
            let manifest = manifests.get(&row.id);
            Ok(manifest.is_some_and(|manifest| receivers.iter().any(|receiver| self.may_have(manifest, receiver.id))))
        })?;
        let entries = std::iter::once(entry(StorePath::Format, FORMAT.as_bytes()));
        let entries = entries.chain(files.objects).chain(files.documents.into_values()).collect();
        Ok(Lacking { entries, request, heads: handed, left_out })
    }

    fn receivers(&self, own: &DirStore, options: &BundleOptions) -> Result<Vec<Receiver>, Error> {
        let mut receivers = Vec::new();
        if options.all {
            receivers.push(Receiver { id: None, told: Told::default() });
        }
        for bytes in &options.requests {
            let request = Request::open(bytes).map_err(BundleError::Request)?;
            let told = Told { cards: request.cards, scopes: request.scopes };
            receivers.push(Receiver { id: Some(request.signer), told });
        }
        for name in &options.peers {
            let peer = self.peer_named(name)?;
            receivers.push(Receiver { id: Some(peer.id), told: self.told_by(&peer.id)? });
        }
        for receiver in &mut receivers {
            if options.full {
                receiver.told = Told::default();
            }
            if let Some(since) = options.since {
                self.add_since(&mut receiver.told, own, since)?;
            }
        }
        Ok(receivers)
    }

    /// Opens a scope's manifest: the one that our store passes on, or the one that we go by.
    fn manifest_of(&self, own: &DirStore, scope: &ScopeId) -> Result<Option<Manifest>, Error> {
        let bytes = match own.manifest(scope).map_err(Error::store("this instance"))? {
            Some(bytes) => bytes,
            None => match self.state.scope(scope)? {
                Some(row) => row.manifest,
                None => return Ok(None),
            },
        };
        let opened = signer_of(&bytes).and_then(|origin| Manifest::open(&bytes, &origin).ok());
        Ok(opened.map(|(manifest, _)| manifest).filter(|manifest| manifest.scope == *scope))
    }

    fn lacking_of(
        &self,
        own: &DirStore,
        manifest: &Manifest,
        receiver: &Receiver,
        options: &BundleOptions,
        files: &mut Files,
    ) -> Result<(), Error> {
        let failed = || Error::store("this instance");
        let (scope, none) = (manifest.scope, Held::default());
        let held = receiver.told.scopes.get(&scope).unwrap_or(&none);
        if let Some(bytes) = own.manifest(&scope).map_err(failed())?
            && held.manifest != Some(hash_of(&bytes))
            && receiver.id != Some(manifest.origin)
        {
            files.document(StorePath::Manifest(scope), &bytes);
        }
        for reader in own.receipts(&scope).map_err(failed())? {
            let Some(bytes) = own.receipt(&scope, &reader).map_err(failed())? else { continue };
            let Ok((receipt, _)) = Receipt::open(&bytes, &reader) else { continue };
            let known = held.receipts.get(&reader).is_some_and(|known| *known >= (receipt.incarnation, receipt.seq));
            if receiver.id != Some(reader) && !known {
                files.document(StorePath::Receipt(scope, reader), &bytes);
            }
        }
        for signer in own.heads(&scope).map_err(failed())? {
            let Some(bytes) = own.head(&scope, &signer).map_err(failed())? else { continue };
            let (head, hash) = Head::open(&bytes, &signer).map_err(damaged_head)?;
            let known = held.heads.get(&signer);
            let is_there = known.is_some_and(|known| {
                known.hash == hash || (known.incarnation, known.seq) > (head.incarnation, head.seq)
            });
            if receiver.id == Some(signer) || is_there {
                continue;
            }
            files.document(StorePath::Head(scope, signer), &bytes);
            files.signers.insert(signer);
            for object in self.objects_for(&head, known, options)? {
                let path = StorePath::Object(object.id);
                let hash = DocHash::from_bytes(*object.id.as_bytes());
                if files.named.insert(path) {
                    files.objects.push(Entry { path, bytes: object.bytes, hash });
                }
            }
        }
        Ok(())
    }

    /// Lists the objects of a head that somebody lacks who has `known`, or nothing, of the same signer.
    fn objects_for(
        &self,
        head: &Head,
        known: Option<&HeldHead>,
        options: &BundleOptions,
    ) -> Result<Vec<ObjectRef>, Error> {
        let known = known.filter(|known| known.incarnation == head.incarnation);
        if !options.full && !options.whole {
            let segments = needed(head, known.map(|known| known.seq));
            return Ok(segments.into_iter().flat_map(|segment| segment.objects.clone()).collect());
        }
        // A store that holds the known head holds what that one names.
        let seen = self.state.seen(&head.scope, &head.signer)?;
        let seen = seen.into_iter().find(|seen| known.is_some_and(|known| known.hash == seen.hash) && !options.full);
        let there = seen.and_then(|seen| Head::open(&seen.document, &head.signer).ok());
        let there: BTreeSet<_> = there.iter().flat_map(|(head, _)| head.objects()).map(|object| object.id).collect();
        Ok(head.objects().filter(|object| !there.contains(&object.id)).cloned().collect())
    }

    /// Adds our card and, of those in our store, the cards of whoever signed a head in the bundle.
    fn add_cards(
        &self,
        own: &DirStore,
        receivers: &[Receiver],
        options: &BundleOptions,
        files: &mut Files,
    ) -> Result<(), Error> {
        let failed = || Error::store("this instance");
        for instance in own.cards().map_err(failed())? {
            if instance != self.id() && !files.signers.contains(&instance) && !options.all {
                continue;
            }
            let Some(bytes) = own.card(&instance).map_err(failed())? else { continue };
            let hash = hash_of(&bytes);
            let lacks = |receiver: &Receiver| {
                receiver.id != Some(instance) && receiver.told.cards.get(&instance) != Some(&hash)
            };
            if receivers.iter().any(lacks) {
                files.document(StorePath::Card(instance), &bytes);
            }
        }
        Ok(())
    }

    /// Notes where we hold a later head of somebody than our store can pass on.
    fn note_left_out(&self, own: &DirStore, manifest: &Manifest, left_out: &mut Vec<String>) -> Result<(), Error> {
        let failed = || Error::store("this instance");
        let Some(row) = self.state.scope(&manifest.scope)?.filter(|row| row.origin != self.id()) else { return Ok(()) };
        for tracked in self.state.heads(&row.id)?.into_iter().filter(|tracked| tracked.signer != self.id()) {
            let Some(bytes) = own.head(&row.id, &tracked.signer).map_err(failed())? else { continue };
            if hash_of(&bytes) != tracked.hash {
                let (head, _) = Head::open(&bytes, &tracked.signer).map_err(damaged_head)?;
                let (signer, scope) = (self.instance_label(&tracked.signer)?, self.scope_label(&row)?);
                left_out.push(format!(
                    "head {} of {signer} in {scope} goes along, and not head {}: what it builds on never came here whole",
                    head.seq, tracked.seq
                ));
            }
        }
        Ok(())
    }
}

impl Files {
    fn document(&mut self, path: StorePath, bytes: &[u8]) {
        self.documents.insert(path, entry(path, bytes));
    }
}

fn entry(path: StorePath, bytes: &[u8]) -> Entry {
    Entry { path, bytes: bytes.len() as u64, hash: hash_of(bytes) }
}

fn damaged_head(error: crate::exchange::head::Error) -> Error {
    crate::state::error::Error::damaged(format!("a head in our own store: {error}")).into()
}
