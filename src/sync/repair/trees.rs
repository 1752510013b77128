//! Trees again from objects: our own snapshots and ladders, or those of a remote.

use std::collections::{BTreeMap, BTreeSet};

use super::{Repaired, Source};
use crate::exchange::head::Head;
use crate::exchange::store::Store;
use crate::id::bytes::{NodeId, ScopeId};
use crate::state::heads::TrackedHead;
use crate::sync::error::Error;
use crate::sync::ingest::{Incoming, Taking, Writes};
use crate::sync::instance::Instance;
use crate::sync::scopes::OpenScope;
use crate::transport::dir::DirStore;

impl Instance {
    /// Builds the trees again that are damaged or lack nodes, as far as objects still carry them.
    pub(super) fn mend_trees(&self, own: &DirStore, sources: &[Source], repaired: &mut Repaired) -> Result<(), Error> {
        let trees = self.look_at_trees()?;
        if trees.is_whole() {
            return Ok(());
        }
        // A damaged node would stay in the way of the same one, and a root stands for a whole tree.
        let roots =
            trees.broken.iter().flat_map(|(_, commit, _)| commit.datasets.values().filter_map(|root| root.node));
        let dropped: BTreeSet<NodeId> = trees.damaged.iter().copied().chain(roots).collect();
        self.state.drop_nodes(&dropped)?;
        for (scope, commit) in &trees.commits {
            self.state.drop_commit(scope, commit)?;
        }
        let scopes: BTreeSet<ScopeId> = trees.commits.iter().map(|(scope, _)| *scope).collect();
        let broken: BTreeSet<ScopeId> = trees.broken.iter().map(|(row, ..)| row.id).collect();
        self.make_incoming()?;
        for id in scopes.union(&broken) {
            let Some(row) = self.state.scope(id)? else { continue };
            let Some(scope) = self.open_scope(row)? else { continue };
            self.mend_scope(&scope, own, sources, repaired)?;
        }
        self.clear_incoming()?;
        Ok(())
    }

    /// Takes every head of a scope in again, the origin's first, from the first store that has its objects.
    fn mend_scope(
        &self,
        scope: &OpenScope,
        own: &DirStore,
        sources: &[Source],
        repaired: &mut Repaired,
    ) -> Result<(), Error> {
        let label = scope.label(self)?;
        let mut heads = self.state.heads(&scope.row.id)?;
        heads.sort_by_key(|head| (head.signer != scope.row.origin, head.signer));
        for tracked in heads {
            let here = std::iter::once((super::HERE, own as &dyn Store));
            let there = sources.iter().map(|source| (source.name.as_str(), source.store.as_ref()));
            for (name, store) in here.chain(there) {
                if self.take_again(scope, &tracked, store, name)? {
                    let signer = self.instance_label(&tracked.signer)?;
                    let head = format!("head {} of {signer} in {label}", tracked.seq);
                    repaired.done.push(format!("built the trees of {head} again from objects in {name}"));
                    break;
                }
            }
        }
        // What was merged and never published has to be merged again; the result is the same.
        let row = self.scope_row(&scope.row.id)?;
        let lost = match row.local_head.map(|id| self.state.commit(&row.id, &id)).transpose()?.flatten() {
            Some(known) => !self.holds_trees(&known.commit)?,
            None => row.local_head.is_some(),
        };
        if lost && row.origin != self.id() {
            self.state.clear_local_head(&row.id)?;
            self.merge()?;
            repaired.done.push(format!("merged the heads of {label} again"));
        }
        Ok(())
    }

    /// Reads a head that we track from its snapshot on. Returns whether its trees are whole again.
    fn take_again(
        &self,
        scope: &OpenScope,
        tracked: &TrackedHead,
        store: &dyn Store,
        name: &str,
    ) -> Result<bool, Error> {
        let Ok((head, hash)) = Head::open(&tracked.document, &tracked.signer) else { return Ok(false) };
        let mut writes: Writes = BTreeMap::new();
        for (signer, signed) in self.state.signed_writes(&scope.row.id)? {
            let best = writes.entry(signer).or_insert((0, 0));
            *best = (*best).max(signed);
        }
        writes.insert(self.id(), (self.card.card.incarnation, scope.row.sequence));
        let incoming = Incoming { head, hash, document: tracked.document.clone(), taking: Taking::Head };
        self.rebuild(store, name, scope, &incoming, &writes)
    }
}
