//! What a receiver told of what it has, on whatever path; and what we tell.
//!
//! Two things tell: a *request* lists all that an instance has, and comes as a file or inside each bundle; a *receipt* lists
//! the heads of one scope that its reader's application shows, and comes over sticks, hubs and other peers. The newer of
//! the two counts, by their signer's clock: so who was put back to an older backup says so with its next request.

use std::collections::BTreeMap;

use crate::exchange::head::Head;
use crate::exchange::receipt::Statement;
use crate::exchange::store::{CLOCK_SKEW_MILLIS, Store};
use crate::id::bytes::{DocHash, InstanceId, ScopeId};
use crate::keys::document::hash_of;
use crate::scope::manifest::Manifest;
use crate::state::peers::Trust;
use crate::state::scopes::ScopeRow;
use crate::sync::error::Error;
use crate::sync::instance::Instance;
use crate::sys::clock::{self, UnixMillis};
use crate::transport::bundle::index::REQUEST_BYTES_MAX;
use crate::transport::bundle::request::{Held, HeldHead, Request};
use crate::transport::dir::DirStore;

/// What somebody has.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Cards.
    pub(super) cards: BTreeMap<InstanceId, DocHash>,
    /// By scope.
    pub(super) scopes: BTreeMap<ScopeId, Held>,
}

impl Told {
    /// Has at least these heads of a scope too.
    fn raise(&mut self, scope: ScopeId, heads: impl IntoIterator<Item = (InstanceId, HeldHead)>) {
        let held = self.scopes.entry(scope).or_default();
        for (signer, head) in heads {
            let known = held.heads.entry(signer).or_insert(head);
            if (known.incarnation, known.seq) < (head.incarnation, head.seq) {
                *known = head;
            }
        }
    }
}

impl Instance {
    /// Puts together what a peer told.
    pub(super) fn told_by(&self, peer: &InstanceId) -> Result<Told, Error> {
        let request = self.state.told(peer)?.map(|bytes| Request::open(&bytes)).transpose();
        let damaged = |error| crate::state::error::Error::damaged(format!("what a peer told: {error}"));
        let (time, mut told) = match request.map_err(damaged)? {
            Some(request) => (request.time, Told { cards: request.cards, scopes: request.scopes }),
            None => (UnixMillis(0), Told::default()),
        };
        for row in self.state.scopes()? {
            let Some(receipt) = self.state.receipt(&row.id, peer)?.filter(|receipt| receipt.time >= time) else {
                continue;
            };
            let damaged = |error| crate::state::error::Error::damaged(format!("a receipt: {error}"));
            let statement = Statement::decode(&receipt.statement).map_err(damaged)?;
            let heads = statement.applied.iter().map(|applied| {
                let head = HeldHead { incarnation: applied.incarnation, seq: applied.seq, hash: applied.hash };
                (applied.signer, head)
            });
            told.raise(row.id, heads);
        }
        self.infer_manifests(&mut told)?;
        Ok(told)
    }

    /// Who took a head has the manifest that it speaks of. A receipt tells no more than that.
    fn infer_manifests(&self, told: &mut Told) -> Result<(), Error> {
        for (scope, held) in &mut told.scopes {
            let Some(row) = self.state.scope(scope)? else { continue };
            for (signer, head) in &held.heads {
                let seen = self.state.seen(scope, signer)?.into_iter().find(|seen| seen.hash == head.hash);
                let opened = seen.and_then(|seen| Head::open(&seen.document, signer).ok());
                if opened.is_some_and(|(head, _)| head.manifest_seq >= row.manifest_seq) {
                    held.manifest = Some(row.manifest_hash);
                }
            }
        }
        Ok(())
    }

    /// Adds to `told` what we had published, or held, at a time: for whoever is known to have had all of it.
    pub(super) fn add_since(&self, told: &mut Told, own: &DirStore, since: UnixMillis) -> Result<(), Error> {
        for row in self.state.scopes()? {
            let mut heads = Vec::new();
            for seen in self.state.seen(&row.id, &self.id())? {
                let Ok((head, hash)) = Head::open(&seen.document, &self.id()) else { continue };
                if head.time <= since {
                    heads.push((self.id(), HeldHead { incarnation: head.incarnation, seq: head.seq, hash }));
                    break;
                }
            }
            // Of others' heads only the newest has a time of our own clock.
            for tracked in self.state.heads(&row.id)? {
                if tracked.signer != self.id() && tracked.received <= since {
                    let (incarnation, seq, hash) = (tracked.incarnation, tracked.seq, tracked.hash);
                    heads.push((tracked.signer, HeldHead { incarnation, seq, hash }));
                }
            }
            // What can't be read here has no time either, and goes along whole.
            if own.manifest(&row.id).map_err(Error::store("this instance"))?.is_some() {
                told.raise(row.id, heads);
            }
        }
        Ok(())
    }

    /// Keeps what a peer told, if it is newer than what it told before. Others' requests are nobody's business.
    pub(super) fn remember_told(&self, bytes: &[u8], request: &Request) -> Result<(), Error> {
        let peer = self.state.peer(&request.signer)?.filter(|peer| peer.trust != Trust::Revoked);
        if peer.is_none() || bytes.len() > REQUEST_BYTES_MAX {
            return Ok(());
        }
        let known = self.state.told(&request.signer)?.and_then(|bytes| Request::open(&bytes).ok());
        // What a clock said that ran ahead is no later than anything that is said now.
        let latest = clock::now().0.saturating_add(CLOCK_SKEW_MILLIS);
        let is_newer = |known: &Request| known.time < request.time || known.time.0 > latest && request.time.0 <= latest;
        // What goes to somebody else speaks of what is theirs to know, and names no card of ours.
        if known.is_none_or(|known| is_newer(&known) && request.cards.contains_key(&self.id())) {
            self.state.put_told(&request.signer, bytes)?;
        }
        Ok(())
    }

    /// Signs what we have of the scopes that `tells` lets through, and of the cards of `peers`; of all, if there are none.
    pub(super) fn tell_held(
        &self,
        peers: &[InstanceId],
        tells: &dyn Fn(&ScopeRow) -> Result<bool, Error>,
    ) -> Result<Vec<u8>, Error> {
        let mut request =
            Request { signer: self.id(), time: clock::now(), cards: BTreeMap::new(), scopes: BTreeMap::new() };
        for peer in self.state.peers()? {
            if peer.trust != Trust::Revoked && (peers.is_empty() || peers.contains(&peer.id)) {
                request.cards.insert(peer.id, hash_of(&peer.card));
            }
        }
        for row in self.state.scopes()? {
            if !tells(&row)? {
                continue;
            }
            let mut held = Held { manifest: Some(row.manifest_hash), ..Held::default() };
            for head in self.state.heads(&row.id)? {
                let known = HeldHead { incarnation: head.incarnation, seq: head.seq, hash: head.hash };
                held.heads.insert(head.signer, known);
            }
            for receipt in self.state.receipts(&row.id)? {
                held.receipts.insert(receipt.signer, (receipt.incarnation, receipt.seq));
            }
            request.scopes.insert(row.id, held);
        }
        Ok(request.sign(&self.identity))
    }

    /// Tells whether somebody can read a scope. To give away what they can't would only tell that it is there.
    pub(super) fn may_have(&self, manifest: &Manifest, receiver: Option<InstanceId>) -> bool {
        receiver.is_none_or(|receiver| {
            manifest.public || receiver == manifest.origin || manifest.readers().contains(&receiver)
        })
    }
}
