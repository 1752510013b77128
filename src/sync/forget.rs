//! Forgetting a peer: its rows, records, heads and keys go from here, and nobody else notices.
//!
//! Order, so that a crash leaves nothing worse than an unfinished forgetting that the same command finishes: the peer is
//! revoked and not followed any more; its rows are removed together with the view that showed them; then what our store and
//! state hold of its scopes goes, the row of the peer last.
//!
//! What it wrote in our records stays, with its heads as the proof of it.

use std::collections::{BTreeMap, BTreeSet};

use super::apply::{ApplySummary, ROUNDS_MAX};
use super::commit::Mode;
use super::error::Error;
use super::instance::Instance;
use super::progress::Event;
use super::view::View;
use crate::connector::contract::Dropped;
use crate::id::bytes::{InstanceId, RecordKey, ScopeId};
use crate::id::name::DatasetName;
use crate::record::recordid::RecordId;
use crate::state::database;
use crate::state::forgotten::Bygone;
use crate::state::peers::PeerRow;
use crate::state::scopes::ScopeRow;
use crate::sys::clock;
use crate::tree::error::TreeError;
use crate::tree::walk::walk;

/// The key under which it is kept whose rows are being removed.
const DROPPING_KEY: &str = "dropping";

/// What forgetting a peer removes.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Forgotten {
    /// What we called the peer.
    pub name: String,
    /// Its rows in the application, by dataset: removed, or blanked where others refer to them.
    pub rows: BTreeMap<DatasetName, u64>,
    /// Its scopes that we held.
    pub scopes: Vec<String>,
    /// Heads of those scopes.
    pub heads: u64,
    /// Our scopes that it reads no more; each has a new epoch.
    pub reads_no_more: Vec<String>,
}

impl Instance {
    /// Forgets a peer; a dry run only counts.
    ///
    /// # Errors
    /// `UnknownPeer`, `LastReader`; the database or the state can't be written; `Restless`.
    pub fn peer_forget(&self, text: &str, mode: Mode) -> Result<Forgotten, Error> {
        let peer = self.peer_to_remove(text)?;
        let mut forgotten = self.count_forgotten(&peer)?;
        if mode == Mode::DryRun {
            return Ok(forgotten);
        }
        let transaction = self.state.transaction()?;
        forgotten.reads_no_more = self.revoke(&peer)?.reads_no_more;
        database::commit(transaction)?;
        self.commit(Mode::Keep)?;
        let scopes = self.state.scopes_of(&peer.id)?;
        let ids: Vec<ScopeId> = scopes.iter().map(|row| row.id).collect();
        self.drop_rows(&Dropped::Origin(peer.id), &ids)?;
        self.make_incoming()?;
        self.clear_incoming()?;
        for row in &scopes {
            self.drop_own_store_scope(&row.id)?;
        }
        let transaction = self.state.transaction()?;
        for ((origin, name), readers) in self.readers()?.into_iter().filter(|((origin, _), _)| *origin == peer.id) {
            self.state.put_bygone(&Bygone { origin, name, readers })?;
        }
        for row in &scopes {
            self.drop_scope_state(row)?;
        }
        self.state.forget(&peer.id, &peer.name, clock::now())?;
        self.state.remove_peer(&peer.id)?;
        database::commit(transaction)?;
        self.forget_database();
        Ok(forgotten)
    }

    fn count_forgotten(&self, peer: &PeerRow) -> Result<Forgotten, Error> {
        let mut forgotten = Forgotten { name: peer.name.to_string(), ..Forgotten::default() };
        forgotten.rows = self.with_database(|database| Ok(database.count_rows(&Dropped::Origin(peer.id))?))?;
        for row in self.state.scopes_of(&peer.id)? {
            forgotten.heads += self.state.heads(&row.id)?.len() as u64;
            forgotten.scopes.push(self.scope_label(&row)?);
        }
        for scope in self.open_scopes_of(&self.id())? {
            if scope.manifest.readers().contains(&peer.id) {
                forgotten.reads_no_more.push(scope.row.name.to_string());
            }
        }
        Ok(forgotten)
    }

    /// Removes rows in an apply of their own, towards the applied view without `scopes`.
    ///
    /// # Errors
    /// The database can't be written; `Restless` if the application never rests.
    pub(super) fn drop_rows(&self, dropped: &Dropped, scopes: &[ScopeId]) -> Result<ApplySummary, Error> {
        let mut summary = ApplySummary::default();
        for _ in 0..ROUNDS_MAX {
            let position = self.with_database(|database| Ok(database.position()?))?;
            let begun = self.dropping()?.is_some();
            let target = match &position.target {
                Some(bytes) if begun => View::decode(bytes).map_err(Error::Bookkeeping)?,
                // An apply that a crash ended comes first.
                Some(_) => {
                    self.apply(Mode::Keep)?;
                    continue;
                }
                None => {
                    let mut view = View::decode(&position.applied).map_err(Error::Bookkeeping)?;
                    view.commits.retain(|scope, _| !scopes.contains(scope));
                    view
                }
            };
            self.set_dropping(Some(dropped))?;
            self.tell(Event::Phase { name: "removing rows", total: None });
            let dirty = self.with_database(|database| {
                database.begin_apply(&target.encode())?;
                let done = database.drop_rows(dropped, &mut |rows| self.tell(Event::Done(rows)))?;
                let dirty = done.dirty.len();
                summary.add(done);
                if dirty == 0 {
                    database.finish_apply()?;
                }
                Ok(dirty)
            })?;
            self.tell(Event::End);
            if dirty == 0 {
                self.set_dropping(None)?;
                return Ok(summary);
            }
            self.commit(Mode::Keep)?;
        }
        Err(Error::Restless)
    }

    /// Goes on with rows that were being removed when a crash came: an ordinary apply would take them for deleted.
    ///
    /// # Errors
    /// As `drop_rows`.
    pub(super) fn finish_dropping(&self) -> Result<(), Error> {
        let Some(dropped) = self.dropping()? else { return Ok(()) };
        let scopes = match &dropped {
            Dropped::Origin(origin) => self.state.scopes_of(origin)?.into_iter().map(|row| row.id).collect(),
            Dropped::Record(_) | Dropped::Unused(_) => Vec::new(),
        };
        self.drop_rows(&dropped, &scopes).map(drop)
    }

    fn dropping(&self) -> Result<Option<Dropped>, Error> {
        let Some(text) = self.state.meta(DROPPING_KEY)?.filter(|text| !text.is_empty()) else { return Ok(None) };
        let damaged = || crate::state::error::Error::damaged(format!("{text:?} names nothing that is given up"));
        let mut words = text.split(' ');
        let origin = words.next().and_then(|word| word.parse::<InstanceId>().ok()).ok_or_else(damaged)?;
        let (Some(dataset), Some(key)) = (words.next(), words.next()) else {
            return Ok(Some(Dropped::Origin(origin)));
        };
        let (dataset, key) = (DatasetName::new(dataset)?, key.parse::<RecordKey>().map_err(|_| damaged())?);
        Ok(Some(Dropped::Record(RecordId { origin, dataset, key })))
    }

    fn set_dropping(&self, dropped: Option<&Dropped>) -> Result<(), Error> {
        let text = match dropped {
            // To prune goes on by an ordinary apply: nothing of it can be taken for deleted.
            None | Some(Dropped::Unused(_)) => String::new(),
            Some(Dropped::Origin(origin)) => origin.to_string(),
            Some(Dropped::Record(id)) => format!("{} {} {}", id.origin, id.dataset, id.key),
        };
        Ok(self.state.set_meta(DROPPING_KEY, &text)?)
    }

    /// Removes what the state holds of a scope. Ids of nodes are keyed by their scope, so no other scope has one of them.
    /// The caller has a transaction.
    pub(super) fn drop_scope_state(&self, row: &ScopeRow) -> Result<(), Error> {
        let mut nodes = BTreeSet::new();
        for commit in self.state.commits(&row.id, usize::MAX)? {
            for root in commit.datasets.values() {
                match walk(&self.state, &row.id_key, root, |id, _| nodes.insert(*id)) {
                    // Commits also travel without their trees.
                    Ok(()) | Err(TreeError::Missing { .. }) => {}
                    Err(source) => return Err(Error::Tree { scope: self.scope_label(row)?, source }),
                }
            }
        }
        self.state.drop_nodes(&nodes)?;
        Ok(self.state.drop_scope(&row.id)?)
    }
}
