//! Proofs that somebody signed two histories, as they lie in the local state.

use super::document::{self, DocumentShown};
use crate::exchange::receipt::fork::{Fork, ForkKind};
use crate::sync::error::Error;
use crate::sync::instance::Instance;
use crate::sys::clock::UnixMillis;

/// A proof.
#[derive(Debug, serde::Serialize)]
pub struct ForkShown {
    /// Who signed both documents.
    pub signer: String,
    /// The scope.
    pub scope: String,
    /// What was signed twice.
    pub kind: ForkKind,
    /// When we met the second one.
    pub seen: UnixMillis,
    /// Whether the two documents by themselves prove it to anyone.
    pub valid: bool,
    /// The two documents.
    pub documents: [DocumentShown; 2],
    /// Their bytes.
    #[serde(skip)]
    pub bytes: [Vec<u8>; 2],
}

impl Instance {
    /// Lists the proofs against a peer, or against anybody.
    ///
    /// # Errors
    /// `UnknownPeer`; a document that isn't even in the form of one.
    pub fn fork_proofs(&self, peer: Option<&str>) -> Result<Vec<ForkShown>, Error> {
        let peer = peer.map(|peer| self.peer_named(peer)).transpose()?;
        let mut list = Vec::new();
        for row in self.state.scopes()? {
            for fork in self.state.forks(&row.id)? {
                if peer.as_ref().is_some_and(|peer| peer.id != fork.signer) {
                    continue;
                }
                let checked = Fork::check([&fork.ours, &fork.theirs]);
                list.push(ForkShown {
                    signer: self.instance_label(&fork.signer)?,
                    scope: self.scope_label(&row)?,
                    kind: fork.kind,
                    seen: fork.seen,
                    valid: checked.is_some_and(|checked| checked.signer == fork.signer),
                    documents: [document::describe(&fork.ours)?, document::describe(&fork.theirs)?],
                    bytes: [fork.ours, fork.theirs],
                });
            }
        }
        Ok(list)
    }
}
