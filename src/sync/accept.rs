//! What only the operator can settle about a peer: it published two histories and was restored since, or its heads
//! jump further than any honest number gets.

use super::error::Error;
use super::instance::Instance;
use crate::exchange::head::Head;
use crate::history::join;
use crate::state::accepted::ForkProof;
use crate::state::database;

/// What was accepted of a peer.
#[derive(Debug, Default, serde::Serialize)]
pub struct Acceptance {
    /// What we call the peer.
    pub name: String,
    /// Scopes in which its heads count again after two histories.
    pub forks: Vec<String>,
    /// Heads with a wild number that the next fetch takes, as `scope number`.
    pub jumps: Vec<String>,
}

impl Instance {
    /// Accepts what waits of a peer: wild jumps, and forks that a restore has ended.
    ///
    /// A fork is ended by a head of a later incarnation than both of its sides: it says which history counts. The
    /// proof is kept.
    ///
    /// # Errors
    /// `UnknownPeer`; `StillForked` if the peer was not restored since.
    pub fn peer_accept(&self, text: &str) -> Result<Acceptance, Error> {
        let peer = self.peer_named(text)?;
        let mut acceptance = Acceptance { name: peer.name.to_string(), ..Acceptance::default() };
        let transaction = self.state.transaction()?;
        for jump in self.state.open_jumps(&peer.id)? {
            self.state.accept_jump(&jump.scope, &peer.id)?;
            let label = self.scope_label(&self.scope_row(&jump.scope)?)?;
            acceptance.jumps.push(format!("{label} {}", jump.seq));
        }
        for proof in self.state.open_forks(&peer.id)? {
            let row = self.scope_row(&proof.scope)?;
            let label = self.scope_label(&row)?;
            let tracked = self.state.head(&proof.scope, &peer.id)?;
            let Some(head) = tracked.filter(|head| Some(head.incarnation) > last_incarnation(&proof)) else {
                return Err(Error::StillForked { peer: acceptance.name, scope: label });
            };
            self.state.settle_fork(&proof.scope, &peer.id)?;
            // What we merged may be the side that doesn't count: then the heads alone say what the scope holds.
            if let (Some(local), Some(scope)) = (row.local_head, self.open_scope(row)?) {
                let known = |id| self.state.known_commit(&proof.scope, id);
                match self.join_known(&scope, &known(&local)?, &known(&head.commit)?) {
                    Err(Error::Join { source: join::Error::Diverged { .. }, .. }) => {
                        self.state.clear_local_head(&proof.scope)?;
                    }
                    other => drop(other?),
                }
            }
            acceptance.forks.push(label);
        }
        database::commit(transaction)?;
        Ok(acceptance)
    }
}

/// The latest incarnation of a proof's two heads; `None` if they can't be read.
fn last_incarnation(proof: &ForkProof) -> Option<u32> {
    [&proof.ours, &proof.theirs].into_iter().filter_map(|bytes| incarnation_of(bytes)).max()
}

fn incarnation_of(bytes: &[u8]) -> Option<u32> {
    let signer = crate::keys::document::Unverified::parse(bytes).ok()?.claimed_signer().ok()?;
    Some(Head::open(bytes, &signer).ok()?.0.incarnation)
}
