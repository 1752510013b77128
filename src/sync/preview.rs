//! What exchanging would do, told by what lies in a remote: nothing is downloaded but heads, and nothing is kept.

use serde::Serialize;

use super::commit::{CommitSummary, Mode};
use super::error::Error;
use super::instance::Instance;
use super::prepare::needed;
use super::push::PushPreview;
use super::round::{Each, MergeSummary};
use crate::exchange::head::Head;
use crate::exchange::head::verdict::{Verdict, verdict};
use crate::exchange::store::Store;
use crate::id::bytes::{InstanceId, ScopeId};
use crate::id::name::PeerName;
use crate::keys::document::Unverified;
use crate::scope::manifest::Manifest;
use crate::state::heads::TrackedHead;
use crate::state::peers::Trust;

/// What a fetch from one remote would look at.
#[derive(Debug, Default, Serialize)]
pub struct FetchPreview {
    /// The heads that are newer there, as their signers wrote them: whether all is in order shows when they are fetched.
    pub heads: Vec<NewHead>,
    /// The objects that they need.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Whether nobody has pushed to the remote yet.
    pub empty: bool,
}

/// A head that is newer in a remote than here.
#[derive(Debug, Serialize)]
pub struct NewHead {
    /// The scope, as `peer/name`.
    pub scope: String,
    /// Who signed the head.
    pub signer: String,
    /// Its number.
    pub seq: u64,
    /// The number of the one that is here.
    pub known: Option<u64>,
}

/// What a pull would do.
#[derive(Debug, Serialize)]
pub struct PullPreview {
    /// What would be captured.
    pub committed: CommitSummary,
    /// What would be fetched.
    pub fetched: Each<FetchPreview>,
    /// What would be merged and written of that which is fetched already.
    #[serde(flatten)]
    pub merge: MergeSummary,
}

/// What a sync would do.
#[derive(Debug, Serialize)]
pub struct SyncPreview {
    /// The first half.
    #[serde(flatten)]
    pub pull: PullPreview,
    /// What would be sent of that which is committed already, and which scopes with what would be captured.
    pub pushed: Each<PushPreview>,
}

impl Instance {
    /// Says what fetching from several remotes would bring.
    ///
    /// # Errors
    /// `LostHistory`; everything else is in the result.
    pub fn fetch_previews(&self, remotes: &[PeerName]) -> Result<Each<FetchPreview>, Error> {
        let mut each = Each::of(remotes, |remote| self.fetch_preview(remote))?;
        self.fall_back(&mut each, |peer| self.fetch_preview(peer))?;
        Ok(each)
    }

    /// Says what a pull would do. What would be fetched isn't here, so what it would be merged into isn't known.
    ///
    /// # Errors
    /// As the dry runs of its parts.
    pub fn pull_preview(&self, remotes: &[PeerName]) -> Result<PullPreview, Error> {
        let committed = self.commit(Mode::DryRun)?;
        let fetched = self.fetch_previews(remotes)?;
        Ok(PullPreview { committed, fetched, merge: self.merge_and_apply(Mode::DryRun)? })
    }

    /// Says what a sync would do.
    ///
    /// # Errors
    /// As the dry runs of its parts.
    pub fn sync_preview(&self, remotes: &[PeerName]) -> Result<SyncPreview, Error> {
        let pull = self.pull_preview(remotes)?;
        let peers = self.peer_sources()?;
        let reached =
            |remote: &&PeerName| pull.fetched.remotes.contains_key(remote.as_str()) && !peers.contains(remote);
        let targets: Vec<PeerName> = remotes.iter().filter(reached).cloned().collect();
        let mut pushed = self.push_previews(&targets)?;
        for preview in pushed.remotes.values_mut() {
            let committed = pull.committed.scopes.keys().filter(|scope| !preview.publish.contains(scope));
            let committed: Vec<String> = committed.cloned().collect();
            preview.publish.extend(committed);
        }
        Ok(SyncPreview { pull, pushed })
    }

    fn fetch_preview(&self, remote: &PeerName) -> Result<FetchPreview, Error> {
        let mut preview = FetchPreview::default();
        let Some(store) = self.open_remote(remote)? else { return Ok(FetchPreview { empty: true, ..preview }) };
        for id in store.scopes().map_err(Error::store(remote.as_str()))? {
            if !self.state.is_retired(&id)? {
                self.preview_scope(store.as_ref(), remote.as_str(), &id, &mut preview)?;
            }
        }
        preview.heads.sort_by(|a, b| (&a.scope, &a.signer).cmp(&(&b.scope, &b.signer)));
        Ok(preview)
    }

    /// Looks at the heads of a scope that we follow, or would once we had heard of it.
    fn preview_scope(
        &self,
        store: &dyn Store,
        remote: &str,
        id: &ScopeId,
        preview: &mut FetchPreview,
    ) -> Result<(), Error> {
        let failed = || Error::store(remote);
        // What can't be read is refused, and told, by the fetch.
        let Some(bytes) = store.manifest(id).map_err(failed())? else { return Ok(()) };
        let claimed = Unverified::parse(&bytes).and_then(|document| document.claimed_signer()).ok();
        let known = self.state.scope(id)?;
        let Some(origin) = known.as_ref().map(|row| row.origin).or(claimed) else { return Ok(()) };
        let Ok((manifest, _)) = Manifest::open(&bytes, &origin) else { return Ok(()) };
        if manifest.scope != *id || !self.hears(&origin)? {
            return Ok(());
        }
        let Ok(Some(keys)) = manifest.unlock(&self.identity) else { return Ok(()) };
        if origin != self.id() && !self.follows_name(&origin, &keys.name)? {
            return Ok(());
        }
        let scope = match origin == self.id() {
            true => keys.name.to_string(),
            false => format!("{}/{}", self.instance_label(&origin)?, keys.name),
        };
        for signer in store.heads(id).map_err(failed())? {
            if signer == self.id() || !manifest.may_write(&signer) {
                continue;
            }
            let Some(bytes) = store.head(id, &signer).map_err(failed())? else { continue };
            let Ok((head, hash)) = Head::open(&bytes, &signer) else { continue };
            let known = self.state.head(id, &signer)?;
            if head.scope != *id
                || verdict(known.as_ref().map(TrackedHead::mark).as_ref(), &head, &hash) != Verdict::New
            {
                continue;
            }
            let known = known.map(|known| known.seq);
            for object in needed(&head, known).into_iter().flat_map(|segment| &segment.objects) {
                preview.objects += 1;
                preview.bytes += object.bytes;
            }
            let signer = self.instance_label(&signer)?;
            preview.heads.push(NewHead { scope: scope.clone(), signer, seq: head.seq, known });
        }
        Ok(())
    }

    /// Tells whether what an instance says is listened to.
    fn hears(&self, origin: &InstanceId) -> Result<bool, Error> {
        let peer = self.state.peer(origin)?;
        Ok(*origin == self.id() || peer.is_some_and(|peer| peer.trust != Trust::Revoked))
    }
}
