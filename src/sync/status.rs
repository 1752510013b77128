//! Status: where this instance stands, from what it holds; nothing is scanned and nobody is asked.

use std::collections::BTreeMap;

use super::commit::private_counts;
use super::error::Error;
use super::fit::{Fit, Misfit};
use super::instance::Instance;
use super::network::{NetworkMode, peer_urls};
use super::queue::Waiting;
use super::standing::{Failed, Reach, Room, ToMerge};
use super::view::View;
use crate::connector::applied::Parked;
use crate::connector::capturing::Capturing;
use crate::exchange::receipt::fork::ForkKind;
use crate::history::join::Known;
use crate::id::bytes::{CommitId, InstanceId};
use crate::id::name::DatasetName;
use crate::keys::identity::fingerprint_of;

/// Where this instance stands.
#[derive(Debug, serde::Serialize)]
pub struct Status {
    /// What this instance calls itself.
    pub name: String,
    /// Through which stores it exchanges.
    pub mode: NetworkMode,
    /// Its id.
    pub id: InstanceId,
    /// Its fingerprint.
    pub fingerprint: String,
    /// The scopes that we hold.
    pub scopes: Vec<ScopeStatus>,
    /// The peers that we know.
    pub peers: Vec<PeerStatus>,
    /// The remotes.
    pub remotes: Vec<RemoteStatus>,
    /// Fields with more than one concurrent value, as `scope dataset/record.field`.
    pub conflicts: Vec<String>,
    /// Records that wait to be written, at most 100 of them.
    pub parked: Vec<Parked>,
    /// How many wait.
    pub parked_total: u64,
    /// Values that writers gave to records of ours after these had left their scope.
    pub late_edits: usize,
    /// Rows that stand for records which left, or have not come, because local rows refer to them.
    pub placeholders: BTreeMap<DatasetName, u64>,
    /// Records of others whose rows were pruned here and have not come back.
    pub pruned: u64,
    /// Whether an apply was interrupted.
    pub unfinished_apply: bool,
    /// Own rows that stayed home at the last commit, by dataset and reason.
    pub private: BTreeMap<String, u64>,
    /// Records too large to travel, with their bytes: what is shared of them stays as it was.
    pub too_large: BTreeMap<String, u64>,
    /// Edits of rows that stay here, by record, with the fields and why.
    pub held: BTreeMap<String, String>,
    /// How the records of the scopes that we follow fit our tables, where they don't quite.
    pub fits: Vec<Fit>,
    /// Columns of our database whose type isn't that of their field.
    pub misfits: Vec<Misfit>,
    /// Why the application's database can't be looked at, if so.
    pub database_error: Option<String>,
    /// How much room it takes, of what can be told without reading.
    pub sizes: Room,
}

/// A scope.
#[derive(Debug, serde::Serialize)]
pub struct ScopeStatus {
    /// Its label.
    pub scope: String,
    /// Whether we follow it.
    pub followed: bool,
    /// Whether its origin has taken it from us: what we hold stays as it was then.
    pub shut_out: bool,
    /// The local head.
    pub head: Option<CommitId>,
    /// Records in it.
    pub records: u64,
    /// Whether the application's rows show it.
    pub applied: bool,
    /// Whether something of it waits to be published.
    pub unpublished: bool,
    /// Our own edits of a scope in which we may not write: they stay here.
    pub local_edits: bool,
    /// Signers whose heads are not merged yet.
    pub unmerged: Vec<String>,
    /// Signers that published two histories.
    pub forked: Vec<String>,
    /// The heads of `unmerged`.
    #[serde(skip)]
    pub to_merge: Vec<ToMerge>,
}

/// A peer.
#[derive(Debug, serde::Serialize)]
pub struct PeerStatus {
    /// What we call it.
    pub name: String,
    /// Its id.
    pub id: InstanceId,
    /// Its fingerprint.
    pub fingerprint: String,
    /// How far we trust it.
    pub trust: crate::state::peers::Trust,
    /// What of it we follow: `*` is all that we may read.
    pub follows: Vec<String>,
    /// When we last got a head of it, and by which remote.
    pub heard: Option<String>,
    /// When that was.
    pub heard_at: Option<String>,
    /// By which remote.
    pub heard_via: Option<String>,
    /// Heads of it that wait to be merged: we are behind.
    pub behind: u64,
    /// Heads of ours that it may read and hasn't told that it shows; `None` if it never told anything.
    pub ahead: Option<u64>,
    /// When it last told what it shows, by its own clock.
    pub told_at: Option<String>,
    /// Where its own store is read, in the modes `p2p` and `hybrid`.
    pub reached_at: Vec<String>,
    /// How often in a row its store was not there, or refused.
    pub failures: u32,
    /// When `sync --due` tries it again, if it failed.
    pub next_try: Option<String>,
    /// Why the last exchange with its store failed, if it did.
    pub failed: Option<Failed>,
}

/// A remote.
#[derive(Debug, serde::Serialize)]
pub struct RemoteStatus {
    /// Its name.
    pub name: String,
    /// Its URL.
    pub url: String,
    /// The last complete fetch.
    pub fetched: Option<String>,
    /// The last complete push.
    pub pushed: Option<String>,
    /// The last error, if the last exchange failed.
    pub error: Option<String>,
    /// How often in a row it could not be reached, or refused.
    pub failures: u32,
    /// When `sync --due` tries it again, if it failed.
    pub next_try: Option<String>,
    /// What it has not been sent yet.
    pub waiting: Waiting,
    /// Whether it is there, as the last exchange found.
    pub reach: Reach,
    /// Why the last exchange failed, if it did.
    pub failed: Option<Failed>,
    /// Heads that came from it and wait to be merged: we are behind.
    pub behind: u64,
    /// Heads that it has not been sent, and scopes with something that isn't sealed yet: we are ahead.
    pub ahead: u64,
}

/// The key under which the last commit's private rows are kept.
pub(super) const PRIVATE_KEY: &str = "private";
/// The key under which the records too large to travel are kept.
pub(super) const TOO_LARGE_KEY: &str = "too-large";
const PARKED_MAX: usize = 100;

impl Instance {
    /// Tells where this instance stands.
    ///
    /// # Errors
    /// The local state can't be read. A database that can't be read is reported in the status.
    pub fn status(&self) -> Result<Status, Error> {
        let looked = self.with_database(|database| {
            let position = database.position()?;
            Ok((position, database.parked(PARKED_MAX)?, database.placeholders()?))
        });
        let (fits, misfits) = match &looked {
            Ok(_) => (self.fits()?, self.misfits()?),
            Err(_) => Default::default(),
        };
        let ((position, (parked, parked_total), placeholders), database_error) = match looked {
            Ok(looked) => (looked, None),
            Err(error) => (Default::default(), Some(explain(&error))),
        };
        let applied = View::decode(&position.applied).map_err(Error::Bookkeeping)?;
        let mut scopes = Vec::new();
        for row in self.state.scopes()? {
            scopes.push(self.scope_status(&row, &applied)?);
        }
        // Our own first; ids would give another order on every instance.
        scopes.sort_by(|a, b| (a.scope.contains('/'), &a.scope).cmp(&(b.scope.contains('/'), &b.scope)));
        let (peers, remotes) = (self.peers_standing(&scopes)?, self.remotes_standing(&scopes)?);
        Ok(Status {
            name: self.card.card.name.to_string(),
            mode: self.config.network.mode,
            id: self.id(),
            fingerprint: fingerprint_of(&self.id()),
            scopes,
            peers,
            remotes,
            conflicts: self.open_conflicts()?,
            parked,
            parked_total,
            late_edits: self.state.late()?.len(),
            placeholders,
            pruned: self.state.pruned_count()?,
            unfinished_apply: position.target.is_some(),
            private: self.private()?,
            too_large: self.counts(TOO_LARGE_KEY)?,
            held: self.held_edits()?,
            fits,
            misfits,
            database_error,
            sizes: self.room()?,
        })
    }

    /// Counts the own rows that stay home. A capture by triggers doesn't read them all: there the bookkeeping knows.
    fn private(&self) -> Result<BTreeMap<String, u64>, Error> {
        let known = match self.config.capture.mode {
            Capturing::Triggers => self.with_database(|database| Ok(database.private()?)).ok(),
            Capturing::Scan => None,
        };
        match known {
            Some(counts) => Ok(private_counts(&counts)),
            None => self.counts(PRIVATE_KEY),
        }
    }

    /// Tells where one scope stands; `applied` is the view that the rows show.
    pub(super) fn scope_status(
        &self,
        row: &crate::state::scopes::ScopeRow,
        applied: &View,
    ) -> Result<ScopeStatus, Error> {
        let head = row.local_head.map(|id| self.state.known_commit(&row.id, &id)).transpose()?;
        let Some(open) = self.open_scope(row.clone())? else {
            return Ok(ScopeStatus {
                scope: self.scope_label(row)?,
                followed: false,
                shut_out: true,
                head: row.local_head,
                records: 0,
                applied: false,
                unpublished: false,
                local_edits: false,
                unmerged: Vec::new(),
                forked: Vec::new(),
                to_merge: Vec::new(),
            });
        };
        let (mut unmerged, mut forked, mut to_merge) = (Vec::new(), Vec::new(), Vec::new());
        for tracked in self.state.heads(&row.id)? {
            let theirs = self.state.known_commit(&row.id, &tracked.commit)?;
            let contained = head.as_ref().is_some_and(|head| head.commit.clock.contains(&theirs.commit.clock));
            let signer = self.instance_label(&tracked.signer)?;
            if self.state.is_forked(&row.id, &tracked.signer)? {
                forked.push(signer);
            } else if !contained && open.manifest.may_write(&tracked.signer) {
                unmerged.push(signer);
                to_merge.push(ToMerge { signer: tracked.signer, via: tracked.via });
            }
        }
        for fork in self.state.forks(&row.id)? {
            if self.state.is_settled(&row.id, &fork.signer)? {
                continue;
            }
            let signer = self.instance_label(&fork.signer)?;
            let signer = if fork.kind == ForkKind::Manifests { format!("{signer} (manifest)") } else { signer };
            if !forked.contains(&signer) {
                forked.push(signer);
            }
        }
        let may_write = open.manifest.may_write(&self.id());
        let own = self.state.head(&row.id, &self.id())?;
        let origin = self.state.head(&row.id, &row.origin)?;
        let published = own.as_ref().map(|own| own.commit) == row.local_head
            || row.origin != self.id() && origin.as_ref().map(|origin| origin.commit) == row.local_head;
        let refold = row.origin == self.id() && self.state.refold_due(&row.id)?;
        let writes_in = |known: &Known| known.commit.clock.seen(&self.id(), self.card.card.incarnation);
        let own_writes = head.as_ref().map_or(0, writes_in);
        // What we wrote while we might is no longer ours alone once the origin has it.
        let taken = origin.map(|origin| self.state.known_commit(&row.id, &origin.commit)).transpose()?;
        let taken = taken.as_ref().map_or(0, writes_in);
        Ok(ScopeStatus {
            scope: self.scope_label(row)?,
            followed: self.follows(row)?,
            shut_out: self.state.is_shut_out(&row.id)?,
            head: row.local_head,
            records: head.map_or(0, |head| head.commit.records()),
            applied: row.local_head.is_none() || applied.commits.get(&row.id) == row.local_head.as_ref(),
            unpublished: may_write
                && self.takes_part(row)?
                && row.local_head.is_some()
                && (!published || own.is_some() && refold),
            local_edits: !may_write && own_writes > taken,
            unmerged,
            forked,
            to_merge,
        })
    }

    /// Tells how we stand to each peer.
    ///
    /// # Errors
    /// `State`.
    pub fn peers_status(&self) -> Result<Vec<PeerStatus>, Error> {
        self.peers_standing(&self.scopes_standing()?)
    }

    fn peers_standing(&self, scopes: &[ScopeStatus]) -> Result<Vec<PeerStatus>, Error> {
        let (rules, sources) = (self.state.follows()?, self.peer_sources()?);
        let mut peers = Vec::new();
        for peer in self.state.peers()? {
            let mut last = None;
            for row in self.state.scopes_of(&peer.id)? {
                for head in self.state.heads(&row.id)?.into_iter().filter(|head| head.signer == peer.id) {
                    last = last.max(Some((head.received, head.via)));
                }
            }
            let is_source = sources.contains(&peer.name);
            let failing = if is_source { self.state.failing(&peer.name)? } else { None };
            let urls = if is_source { peer_urls(&peer) } else { Vec::new() };
            let shows = self.shown_by(&peer)?;
            let to_merge = scopes.iter().flat_map(|scope| &scope.to_merge);
            let of_peer = rules.iter().filter(|rule| rule.origin == peer.id);
            peers.push(PeerStatus {
                name: peer.name.to_string(),
                id: peer.id,
                fingerprint: fingerprint_of(&peer.id),
                trust: peer.trust,
                follows: of_peer.map(|rule| rule.scope.as_ref().map_or("*".into(), ToString::to_string)).collect(),
                heard: last.as_ref().map(|(time, via)| format!("{time} via {via}")),
                heard_at: last.as_ref().map(|(time, _)| time.to_string()),
                heard_via: last.map(|(_, via)| via),
                behind: to_merge.filter(|head| head.signer == peer.id).count() as u64,
                ahead: shows.at.and(shows.lacks),
                told_at: shows.at.map(|time| time.to_string()),
                reached_at: urls.iter().map(ToString::to_string).collect(),
                failures: failing.map_or(0, |failing| failing.failures),
                next_try: failing.map(|failing| failing.next.to_string()),
                failed: if is_source { self.last_failure(&peer.name)? } else { None },
            });
        }
        Ok(peers)
    }

    /// Tells how it went with each remote.
    ///
    /// # Errors
    /// `State`; our own store can't be read.
    pub fn remotes_status(&self) -> Result<Vec<RemoteStatus>, Error> {
        self.remotes_standing(&self.scopes_standing()?)
    }

    fn remotes_standing(&self, scopes: &[ScopeStatus]) -> Result<Vec<RemoteStatus>, Error> {
        let unpublished = scopes.iter().filter(|scope| scope.unpublished).count() as u64;
        let remotes = self.state.remotes()?.into_iter().map(|remote| {
            let (failing, failed) = (self.state.failing(&remote.name)?, self.last_failure(&remote.name)?);
            let waiting = self.waiting(&remote.name)?;
            let to_merge = scopes.iter().flat_map(|scope| &scope.to_merge);
            Ok(RemoteStatus {
                reach: Reach::of(remote.fetched.max(remote.pushed), failed.as_ref()),
                behind: to_merge.filter(|head| head.via == remote.name.as_str()).count() as u64,
                ahead: waiting.heads + unpublished,
                failed,
                name: remote.name.to_string(),
                url: remote.url,
                fetched: remote.fetched.map(|time| time.to_string()),
                pushed: remote.pushed.map(|time| time.to_string()),
                error: remote.error,
                failures: failing.map_or(0, |failing| failing.failures),
                next_try: failing.map(|failing| failing.next.to_string()),
                waiting,
            })
        });
        remotes.collect()
    }

    /// Tells where the scopes stand, whatever the application's rows show.
    fn scopes_standing(&self) -> Result<Vec<ScopeStatus>, Error> {
        let nothing = View::default();
        self.state.scopes()?.iter().map(|row| self.scope_status(row, &nothing)).collect()
    }
}

impl Instance {
    /// Reads counts that the last commit left in the local state.
    pub(super) fn counts(&self, key: &str) -> Result<BTreeMap<String, u64>, Error> {
        let text = self.state.meta(key)?;
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
    }
}

/// Returns an error with its causes in one line.
pub fn explain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
