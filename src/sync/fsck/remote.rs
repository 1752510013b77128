//! What a remote should have by what we know, and lacks or has older: a store itself can't tell.

use super::{Finding, Report, STORE, fsck_open, look_for_strays};
use crate::exchange::head::Head;
use crate::exchange::health::Depth;
use crate::exchange::layout::StorePath;
use crate::exchange::store::{Store, StoreError};
use crate::id::bytes::ScopeId;
use crate::id::name::PeerName;
use crate::scope::manifest::Manifest;
use crate::state::heads::TrackedHead;
use crate::state::scopes::ScopeRow;
use crate::sync::error::Error;
use crate::sync::instance::Instance;
use crate::transport::url::RemoteUrl;

/// A document that a store had, as far as we know.
pub(in crate::sync) struct Lacking {
    /// Where.
    pub(in crate::sync) path: StorePath,
    /// How it shows.
    pub(in crate::sync) detail: String,
    /// Whether it was ours to bring: nobody else can have taken it away.
    pub(in crate::sync) is_ours: bool,
}

impl Instance {
    /// Looks at a remote: at the store itself, and whether it still has what we sent there and fetched from there.
    ///
    /// # Errors
    /// It isn't there, is no store, or can't be read at all; the state can't be read.
    pub fn fsck_remote(&self, name: &PeerName, depth: Depth) -> Result<Report, Error> {
        let Some(remote) = self.open_remote_afresh(name)? else { return Ok(Report::default()) };
        let mut report = fsck_open(remote.as_ref(), name.as_str(), depth, &|event| self.tell(event))?;
        let lacking = match self.lacking_there(remote.as_ref(), name) {
            // What is in a document's place was found already.
            Err(Error::Store { source, .. })
                if matches!(*source, StoreError::Irregular { .. } | StoreError::TooLarge { .. }) =>
            {
                Vec::new()
            }
            lacking => lacking?,
        };
        for lacking in lacking {
            let place = lacking.path.to_string();
            // What doesn't verify is named already.
            if report.findings.iter().any(|finding| finding.place == place) {
                continue;
            }
            report.findings.push(Finding {
                part: STORE,
                what: "lost document",
                place,
                detail: lacking.detail,
                mend: match lacking.is_ours {
                    true => format!("wbsync repair {name}"),
                    // We may not hold the objects that it names.
                    false => format!("its signer's next push, or wbsync repair {name}"),
                }
                .into(),
                damage: lacking.is_ours,
            });
        }
        if let Ok(RemoteUrl::Directory(path)) = self.remote_url(name) {
            look_for_strays(&path, &mut report)?;
        }
        report.sort();
        Ok(report)
    }

    /// Lists what a remote lacks, or has older, of what we sent there and fetched from there. An origin's heads only: those of
    /// others may have been taken away after their origin merged them.
    pub(in crate::sync) fn lacking_there(&self, remote: &dyn Store, name: &PeerName) -> Result<Vec<Lacking>, Error> {
        let failed = || Error::store(name.as_str());
        let mut lacking = Vec::new();
        let mut lacks = |path, detail: String, is_ours| lacking.push(Lacking { path, detail, is_ours });
        let is_pushed = self.state.remotes()?.iter().any(|row| row.name == *name && row.pushed.is_some());
        if is_pushed && remote.card(&self.id()).map_err(failed())?.is_none() {
            lacks(StorePath::Card(self.id()), "our card isn't there any more".into(), true);
        }
        let sent = self.state.sent(name)?;
        for row in self.state.scopes()? {
            let Some(head) = self.state.head(&row.id, &row.origin)? else { continue };
            let is_ours = row.origin == self.id();
            let was_there = sent.get(&(row.id, row.origin)).map(|(seq, _)| *seq);
            let was_there = was_there.or_else(|| (!is_ours && head.via == name.as_str()).then_some(head.seq));
            let Some(seq) = was_there else { continue };
            if remote.manifest(&row.id).map_err(failed())?.is_none() {
                lacks(StorePath::Manifest(row.id), "the manifest was there, and isn't any more".into(), is_ours);
            }
            if let Some(detail) = self.lost_head(remote, &row.id, &head, seq).map_err(failed())? {
                lacks(StorePath::Head(row.id, row.origin), detail, is_ours);
            }
            if !is_ours && let Some(own) = self.lost_as_writer(remote, &row, sent.contains_key(&(row.id, self.id())))? {
                lacks(StorePath::Head(row.id, self.id()), own, true);
            }
            let has_told = is_pushed && self.state.receipt(&row.id, &self.id())?.is_some();
            if has_told && remote.receipt(&row.id, &self.id()).map_err(failed())?.is_none() {
                lacks(StorePath::Receipt(row.id, self.id()), "our receipt isn't there".into(), false);
            }
        }
        Ok(lacking)
    }

    /// Lists what our own store lacks of our own documents, but for heads, which `compare_own_store` tells of.
    ///
    /// # Errors
    /// The store or the state can't be read.
    pub(in crate::sync) fn lacking_here(&self, own: &dyn Store) -> Result<Vec<Lacking>, Error> {
        let failed = || Error::store("this instance");
        let mut lacking = Vec::new();
        let mut lacks = |path, what: &str| {
            lacking.push(Lacking { path, detail: format!("our {what} isn't there"), is_ours: true });
        };
        if own.card(&self.id()).map_err(failed())?.is_none() {
            lacks(StorePath::Card(self.id()), "card");
        }
        for row in self.state.scopes()? {
            let has_told = self.follows(&row)? && self.state.receipt(&row.id, &self.id())?.is_some();
            let may_write = Manifest::open(&row.manifest, &row.origin)
                .is_ok_and(|(manifest, _)| row.origin == self.id() || manifest.may_write(&self.id()));
            let has_signed = has_told || self.state.head(&row.id, &self.id())?.is_some();
            if may_write && has_signed && own.manifest(&row.id).map_err(failed())?.is_none() {
                lacks(StorePath::Manifest(row.id), "manifest");
            }
            if has_told && own.receipt(&row.id, &self.id()).map_err(failed())?.is_none() {
                lacks(StorePath::Receipt(row.id, self.id()), "receipt");
            }
        }
        Ok(lacking)
    }

    /// Says that a head which we sent as a writer is lacking, unless the origin has merged it: then it may have been taken away.
    fn lost_as_writer(&self, remote: &dyn Store, row: &ScopeRow, was_sent: bool) -> Result<Option<String>, Error> {
        let Some(own) = self.state.head(&row.id, &self.id())?.filter(|_| was_sent) else { return Ok(None) };
        let failed = |source| Error::Store { of: "the remote".into(), source: Box::new(source) };
        if remote.head(&row.id, &self.id()).map_err(failed)?.is_some() {
            return Ok(None);
        }
        if let Some(origin) = self.state.head(&row.id, &row.origin)? {
            let merged = self.state.known_commit(&row.id, &origin.commit)?.commit.clock;
            if merged.seen(&self.id(), own.incarnation) >= own.writes {
                return Ok(None);
            }
        }
        Ok(Some(format!("our head {} was there, and isn't any more", own.seq)))
    }

    /// Says how a head that a store had is lacking there.
    fn lost_head(
        &self,
        remote: &dyn Store,
        scope: &ScopeId,
        head: &TrackedHead,
        seq: u64,
    ) -> Result<Option<String>, StoreError> {
        let Some(bytes) = remote.head(scope, &head.signer)? else {
            return Ok(Some(format!("head {seq} was there, and none is any more")));
        };
        // What doesn't verify is found by itself, and who was restored counts anew.
        let there = Head::open(&bytes, &head.signer).ok().filter(|(there, _)| there.incarnation == head.incarnation);
        Ok(there.filter(|(there, _)| there.seq < seq).map(|(there, _)| {
            format!("head {seq} was there, and it is head {} now: an older copy was put back", there.seq)
        }))
    }
}
