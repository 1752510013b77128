//! What others lack of our own store, as far as they told.

use std::collections::BTreeMap;

use super::{BundleError, BundleOptions};
use crate::exchange::head::Head;
use crate::exchange::layout::{FORMAT, StorePath};
use crate::exchange::receipt::Statement;
use crate::exchange::store::Store;
use crate::id::bytes::{DocHash, InstanceId, ScopeId};
use crate::keys::document::hash_of;
use crate::state::scopes::ScopeRow;
use crate::sync::error::Error;
use crate::sync::instance::Instance;
use crate::sync::prepare::needed;
use crate::transport::bundle::index::Entry;
use crate::transport::bundle::request::{Held, HeldHead, Request};
use crate::transport::dir::DirStore;

/// Somebody for whom a bundle is packed, with what we know them to have; no id is anybody.
struct Receiver {
    id: Option<InstanceId>,
    held: BTreeMap<ScopeId, Held>,
}

/// The files of a bundle in the making: documents behind the objects that they name.
#[derive(Default)]
struct Files {
    objects: BTreeMap<StorePath, Entry>,
    documents: BTreeMap<StorePath, Entry>,
}

impl Instance {
    /// Lists what those meant by `options` lack of our store, in the order in which it is packed.
    pub(super) fn lacking(&self, own: &DirStore, options: &BundleOptions) -> Result<Vec<Entry>, Error> {
        let failed = || Error::store("this instance");
        let receivers = self.receivers(options)?;
        // Our card goes along, and is packed as all else is: from the store.
        let there = own.card(&self.id()).map_err(failed())?.map(|bytes| hash_of(&bytes));
        if there != Some(self.card.hash) {
            own.swap_card(&self.id(), there, &self.card.bytes).map_err(failed())?;
        }
        let mut files = Files::default();
        // Of others' scopes our store has receipts only, which say what need not come again.
        for row in self.state.scopes()? {
            for receiver in &receivers {
                if self.may_have(&row, receiver.id)? {
                    self.lacking_of(own, &row, receiver, options.full, &mut files)?;
                }
            }
        }
        let first = [entry(StorePath::Format, FORMAT.as_bytes()), entry(StorePath::Card(self.id()), &self.card.bytes)];
        Ok(first.into_iter().chain(files.objects.into_values()).chain(files.documents.into_values()).collect())
    }

    fn receivers(&self, options: &BundleOptions) -> Result<Vec<Receiver>, Error> {
        let mut receivers = Vec::new();
        if options.all {
            receivers.push(Receiver { id: None, held: BTreeMap::new() });
        }
        for bytes in &options.requests {
            let request = Request::open(bytes).map_err(BundleError::Request)?;
            let held = if options.full { BTreeMap::new() } else { request.scopes };
            receivers.push(Receiver { id: Some(request.signer), held });
        }
        for name in &options.peers {
            let peer = self.peer_named(name)?;
            let held = if options.full { BTreeMap::new() } else { self.confirmed_by(&peer.id)? };
            receivers.push(Receiver { id: Some(peer.id), held });
        }
        Ok(receivers)
    }

    /// Reads from a peer's receipts which heads its application shows.
    fn confirmed_by(&self, peer: &InstanceId) -> Result<BTreeMap<ScopeId, Held>, Error> {
        let mut held: BTreeMap<ScopeId, Held> = BTreeMap::new();
        for row in self.state.scopes()? {
            let Some(receipt) = self.state.receipt(&row.id, peer)? else { continue };
            let damaged = |error| crate::state::error::Error::damaged(format!("a receipt: {error}"));
            let statement = Statement::decode(&receipt.statement).map_err(damaged)?;
            let heads = statement.applied.iter().map(|applied| {
                let head = HeldHead { incarnation: applied.incarnation, seq: applied.seq, hash: applied.hash };
                (applied.signer, head)
            });
            held.insert(row.id, Held { manifest: None, heads: heads.collect() });
        }
        Ok(held)
    }

    /// Tells whether somebody can read a scope. To give away what they can't would only tell that it is there.
    fn may_have(&self, row: &ScopeRow, receiver: Option<InstanceId>) -> Result<bool, Error> {
        let Some(receiver) = receiver.filter(|_| !row.name.is_public()) else { return Ok(true) };
        let Some(scope) = self.open_scope(row.clone())? else { return Ok(false) };
        Ok(receiver == row.origin || scope.manifest.readers().contains(&receiver))
    }

    fn lacking_of(
        &self,
        own: &DirStore,
        row: &ScopeRow,
        receiver: &Receiver,
        full: bool,
        files: &mut Files,
    ) -> Result<(), Error> {
        let failed = || Error::store("this instance");
        let none = Held::default();
        let held = receiver.held.get(&row.id).unwrap_or(&none);
        let mut document = |path: StorePath, bytes: &[u8]| files.documents.insert(path, entry(path, bytes));
        if let Some(bytes) = own.manifest(&row.id).map_err(failed())?
            && held.manifest != Some(hash_of(&bytes))
        {
            document(StorePath::Manifest(row.id), &bytes);
        }
        for reader in own.receipts(&row.id).map_err(failed())? {
            let Some(bytes) = own.receipt(&row.id, &reader).map_err(failed())? else { continue };
            document(StorePath::Receipt(row.id, reader), &bytes);
        }
        for signer in own.heads(&row.id).map_err(failed())? {
            let Some(bytes) = own.head(&row.id, &signer).map_err(failed())? else { continue };
            let known = held.heads.get(&signer);
            if receiver.id == Some(signer) || known.is_some_and(|known| known.hash == hash_of(&bytes)) {
                continue;
            }
            document(StorePath::Head(row.id, signer), &bytes);
            let damaged = |error| crate::state::error::Error::damaged(format!("a head in our own store: {error}"));
            let (head, _) = Head::open(&bytes, &signer).map_err(damaged)?;
            let known = known.filter(|known| known.incarnation == head.incarnation).map(|known| known.seq);
            let segments = if full { head.segments.iter().collect() } else { needed(&head, known) };
            for object in segments.iter().flat_map(|segment| &segment.objects) {
                let path = StorePath::Object(object.id);
                let hash = DocHash::from_bytes(*object.id.as_bytes());
                files.objects.insert(path, Entry { path, bytes: object.bytes, hash });
            }
        }
        Ok(())
    }
}

fn entry(path: StorePath, bytes: &[u8]) -> Entry {
    Entry { path, bytes: bytes.len() as u64, hash: hash_of(bytes) }
}
