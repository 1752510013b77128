//! Looking at one thing closely: a peer, a scope, or whatever a few digits or a name stand for.

use std::collections::BTreeMap;

use super::error::Error;
use super::inspect::{LogEntry, Shown};
use super::instance::Instance;
use super::status::PeerStatus;
use crate::id::bytes::{CommitId, ScopeId};
use crate::id::name::DatasetName;
use crate::keys::card::SignedCard;
use crate::sys::clock::UnixMillis;

/// A peer, closely.
#[derive(Debug, serde::Serialize)]
pub struct PeerShown {
    /// How we stand to it.
    #[serde(flatten)]
    pub status: PeerStatus,
    /// Our scopes that it reads by name.
    pub reads: Vec<ReadAccess>,
    /// Our scopes in which it may edit.
    pub writes: Vec<String>,
    /// Our groups that it is in.
    pub groups: Vec<String>,
    /// What it calls itself.
    pub own_name: String,
    /// Where its store may be found, by its own word.
    pub urls: Vec<String>,
    /// When we added it.
    pub added: UnixMillis,
    /// Its card, as a line.
    pub card: String,
}

/// A scope of ours that a peer reads.
#[derive(Debug, Clone, serde::Serialize)]
pub struct ReadAccess {
    /// The scope.
    pub scope: String,
    /// The first epoch that it can open: 1 is all that was ever sealed.
    pub since_epoch: u32,
}

/// A scope, closely.
#[derive(Debug, serde::Serialize)]
pub struct ScopeShown {
    /// Its label.
    pub scope: String,
    /// Its id.
    pub id: ScopeId,
    /// Whose records these are.
    pub origin: String,
    /// Whether anyone may read it.
    pub public: bool,
    /// Who reads what is written from now on, the origin included; nobody by name if public.
    pub readers: Vec<String>,
    /// Who may write besides the origin.
    pub writers: Vec<String>,
    /// The number of the manifest.
    pub manifest: u64,
    /// The number of the newest key.
    pub epoch: u32,
    /// The epochs before this one go once nothing needs them.
    pub resealing: Option<u32>,
    /// The local head.
    pub head: Option<CommitId>,
    /// Records in it, by dataset.
    pub records: BTreeMap<DatasetName, u64>,
    /// The heads that we hold, by signer.
    pub heads: BTreeMap<String, HeadShown>,
}

/// A head, closely.
#[derive(Debug, serde::Serialize)]
pub struct HeadShown {
    /// Its number.
    pub seq: u64,
    /// Its commit.
    pub commit: CommitId,
    /// When it came or was made.
    pub received: UnixMillis,
    /// By which remote it came.
    pub via: String,
}

/// What a text stands for.
#[derive(Debug, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Found {
    /// A scope, by its label.
    Scope(ScopeShown),
    /// A commit, by its first digits.
    Commit(LogEntry),
    /// A record, by `dataset/key` or the first digits of its key.
    Record(Shown),
}

impl Instance {
    /// Shows a peer.
    ///
    /// # Errors
    /// `UnknownPeer`.
    pub fn peer_show(&self, text: &str) -> Result<PeerShown, Error> {
        let row = self.peer_named(text)?;
        let card = SignedCard::open(&row.card).map_err(Error::Card)?;
        let status = self.peers_status()?.into_iter().find(|status| status.id == row.id);
        let (mut reads, mut writes, mut groups) = (Vec::new(), Vec::new(), Vec::new());
        for scope in self.open_scopes_of(&self.id())? {
            let (name, manifest) = (&scope.row.name, &scope.manifest);
            if manifest.readers().contains(&row.id)
                && let Some(since_epoch) = manifest.granted_since(&row.id)
            {
                reads.push(ReadAccess { scope: name.to_string(), since_epoch });
                groups.extend(name.group().map(str::to_owned));
            }
            if manifest.may_write(&row.id) {
                writes.push(name.to_string());
            }
        }
        Ok(PeerShown {
            reads,
            writes,
            groups,
            status: status.expect("the peer was found just above"),
            own_name: card.card.name.to_string(),
            urls: card.card.urls.clone(),
            added: row.added,
            card: card.line(),
        })
    }

    /// Shows a scope that we can read.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn scope_show(&self, label: &str) -> Result<ScopeShown, Error> {
        let open = self.scopes_labelled(Some(label))?.into_iter().next();
        let open = open.ok_or_else(|| Error::NotFound { what: format!("scope {label:?}") })?;
        let names = |ids: &[_]| {
            let mut names = ids.iter().map(|id| self.instance_label(id)).collect::<Result<Vec<_>, _>>()?;
            names.sort();
            Ok::<_, Error>(names)
        };
        let mut heads = BTreeMap::new();
        for head in self.state.heads(&open.row.id)? {
            let shown = HeadShown { seq: head.seq, commit: head.commit, received: head.received, via: head.via };
            heads.insert(self.instance_label(&head.signer)?, shown);
        }
        let head = open.row.local_head.map(|id| self.state.known_commit(&open.row.id, &id)).transpose()?;
        let datasets = head.map(|known| known.commit.datasets).unwrap_or_default();
        Ok(ScopeShown {
            scope: label.to_owned(),
            id: open.row.id,
            origin: self.instance_label(&open.row.origin)?,
            public: open.manifest.public,
            readers: names(&open.manifest.readers())?,
            writers: names(&open.manifest.writers)?,
            manifest: open.manifest.seq,
            epoch: open.manifest.newest_epoch().number,
            resealing: self.state.reseal(&open.row.id)?.map(|reseal| reseal.epoch),
            head: open.row.local_head,
            records: datasets.into_iter().map(|(name, root)| (name, root.count)).collect(),
            heads,
        })
    }

    /// Shows what a text stands for: a scope's label, else a commit, else a record.
    ///
    /// # Errors
    /// `NotFound`, `Ambiguous`.
    pub fn show(&self, text: &str) -> Result<Found, Error> {
        match self.scope_show(text) {
            Err(Error::NotFound { .. }) => {}
            other => return other.map(Found::Scope),
        }
        match self.find_commit(text) {
            Err(Error::NotFound { .. }) => {}
            Err(error) => return Err(error),
            Ok((open, known)) => {
                let label = open.label(self)?;
                let entry = self.log(Some(&label), usize::MAX)?.into_iter().find(|entry| entry.commit == known.id);
                return entry.map(Found::Commit).ok_or_else(|| Error::NotFound { what: format!("commit {text:?}") });
            }
        }
        match self.show_record(text) {
            Err(Error::NotFound { .. } | Error::Name(_)) => {
                Err(Error::NotFound { what: format!("{text:?} (a scope, a commit or a record)") })
            }
            other => other.map(Found::Record),
        }
    }
}
