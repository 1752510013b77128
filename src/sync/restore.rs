//! Restore: an instance that came back from a backup catches up with what it published, and takes a new
//! incarnation.
//!
//! What was published is in the remotes, signed by us; what was edited here since is in the application's
//! rows. Both are brought together by rules that never drop a value on a guess (docs/restore.md). A crash at
//! any point leaves a mark: no other command changes anything until a restore is run again.

pub mod ask;
pub mod bare;
mod before;
pub mod identity;
mod meant;
mod moved;
mod people;
mod rescue;
pub mod rows;
mod side;

use std::collections::BTreeMap;
use std::path::Path;

use self::ask::{Asked, Here, Newest};
use self::rows::RowsSummary;
use super::apply::ApplySummary;
use super::commit::Mode;
use super::error::Error;
use super::fetch::FetchSummary;
use super::instance::Instance;
use super::push::PushSummary;
use super::round::Each;
use crate::exchange::store::Store;
use crate::id::name::PeerName;
use crate::keys::card::{Card, SignedCard};
use crate::keys::document;
use crate::sys::disk::{self, Access};
use crate::transport::url::RemoteUrl;

/// What to restore from.
#[derive(Debug, Clone, Default)]
pub struct RestoreOptions {
    /// The remotes to ask, by name.
    pub remotes: Vec<PeerName>,
    /// Stores to ask that are no remotes, for a dry run alone. Without these and `remotes`: all remotes, and the own stores of
    /// peers where the mode has them.
    pub urls: Vec<RemoteUrl>,
    /// Whether to go on if none can be asked that knows us.
    pub without_remotes: bool,
}

/// What a restore did, or would do.
#[derive(Debug, Default, serde::Serialize)]
pub struct RestoreSummary {
    /// The incarnation before and after.
    pub incarnation: (u32, u32),
    /// What each remote that could be asked has of ours.
    pub asked: BTreeMap<String, Asked>,
    /// Remotes that couldn't be asked, and why.
    pub unreachable: BTreeMap<String, String>,
    /// Those of them that may hold something of ours.
    #[serde(skip)]
    away: Vec<String>,
    /// The scopes in which others hold something of ours that this instance had lost, by label.
    pub lost: BTreeMap<String, Newest>,
    /// What was fetched.
    pub fetched: BTreeMap<String, FetchSummary>,
    /// Peers that our manifests name and that this instance had lost, and scopes followed again.
    pub peers: Vec<String>,
    /// What became of the application's rows.
    pub rows: RowsSummary,
    /// What was written into them.
    pub applied: ApplySummary,
    /// What was sent.
    pub pushed: Each<PushSummary>,
    /// Fields with more than one concurrent value now.
    pub conflicts: Vec<String>,
}

/// The mark of a restore that isn't finished: holds the new incarnation.
const MARK_FILE: &str = "restoring";
/// The most bytes of the mark.
const MARK_BYTES_MAX: u64 = 64;

/// Tells whether a restore was begun and not finished.
pub(super) fn is_unfinished(dir: &Path) -> Result<bool, Error> {
    Ok(marked(dir)?.is_some())
}

fn marked(dir: &Path) -> Result<Option<u32>, Error> {
    let path = dir.join(MARK_FILE);
    let bytes = disk::read_bounded(&path, MARK_BYTES_MAX).map_err(Error::io("read", &path))?;
    // A mark that can't be read still says that something was begun.
    Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).trim().parse().unwrap_or(0)))
}

impl Instance {
    /// Catches up after a restore from a backup.
    ///
    /// Asks the remotes for what this instance published, takes a new incarnation, brings records and rows
    /// together, and publishes. A dry run only asks.
    ///
    /// # Errors
    /// `RestoreAlone` if no remote can be asked; `RestoreUnheard` if those that can know nothing of us and others may; the state or the application's database can't be written. What
    /// goes wrong with single remotes is in the summary.
    pub fn restore(&mut self, options: &RestoreOptions, mode: Mode) -> Result<RestoreSummary, Error> {
        let mut remotes = options.remotes.clone();
        if remotes.is_empty() && options.urls.is_empty() {
            remotes.extend(self.state.remotes()?.into_iter().map(|remote| remote.name));
            // What we published lies there too, if they relay.
            remotes.extend(self.peer_sources()?);
        }
        let mut summary = RestoreSummary::default();
        self.ask(&remotes, &mut summary)?;
        summary.ask_urls(&Here::Whole(self), &options.urls, &self.identity);
        if summary.asked.is_empty() && !options.without_remotes {
            return Err(Error::RestoreAlone);
        }
        // What others have seen of ours may all lie where nobody answers: we would sign the same numbers again.
        let is_unheard = summary.asked.values().all(|asked| !asked.knows_us) && !summary.away.is_empty();
        if is_unheard && !options.without_remotes {
            return Err(Error::RestoreUnheard { away: summary.away.join(", ") });
        }
        let incarnation = self.next_incarnation(&summary)?;
        summary.incarnation = (self.card.card.incarnation, incarnation);
        if mode == Mode::DryRun {
            return Ok(summary);
        }
        // Nothing is begun that the application isn't ready for.
        self.with_database(|database| {
            database.check()?;
            Ok(database.check_ready()?)
        })?;
        let reached: Vec<PeerName> =
            remotes.into_iter().filter(|remote| summary.asked.contains_key(remote.as_str())).collect();
        self.begin_mark(incarnation)?;
        self.forget_settled()?;
        // Rows are compared with all records; whoever pruned some prunes them again.
        self.state.clear_pruned()?;
        let before = self.remember_before()?;
        self.take_incarnation(incarnation)?;
        self.set_restoring(true);
        for remote in &reached {
            let fetched = self.fetch(remote)?;
            summary.fetched.insert(remote.to_string(), fetched);
        }
        summary.peers = self.restore_people(&reached)?;
        if !summary.peers.is_empty() {
            // Their scopes can be told apart only now.
            self.set_restoring(true);
            for remote in &reached {
                let fetched = self.fetch(remote)?;
                summary.fetched.insert(format!("{remote}, again"), fetched);
            }
        }
        summary.lost = self.rebase(&before)?;
        // Before anything of ours is published anew: whoever edits our rows learns from it what is meant for whom.
        self.refresh_schemas()?;
        self.restore_rows(&before, &mut summary)?;
        self.set_restoring(true);
        summary.conflicts = self.open_conflicts()?;
        let peers = self.peer_sources()?;
        let targets: Vec<PeerName> = reached.into_iter().filter(|remote| !peers.contains(remote)).collect();
        summary.pushed = self.push_each(&targets)?;
        if targets.is_empty() {
            // Whoever wants it comes for it, or it waits.
            self.publish()?;
        }
        self.forget_before()?;
        self.unmark()?;
        self.set_restoring(false);
        Ok(summary)
    }

    /// Chooses an incarnation that nobody has heard of; the one of an unfinished restore if it still is.
    fn next_incarnation(&self, summary: &RestoreSummary) -> Result<u32, Error> {
        let begun = marked(self.dir())?.filter(|begun| *begun > 0);
        let mut heard = summary.asked.values().map(|asked| asked.incarnation).max().unwrap_or(0);
        for row in self.state.scopes()? {
            if let Some(head) = self.state.head(&row.id, &self.id())? {
                heard = heard.max(head.incarnation);
            }
        }
        if begun.is_none() {
            heard = heard.max(self.card.card.incarnation);
        }
        Ok(begun.filter(|begun| *begun > heard).unwrap_or(heard.saturating_add(1)))
    }

    fn begin_mark(&self, incarnation: u32) -> Result<(), Error> {
        let path = self.dir().join(MARK_FILE);
        disk::replace(&path, incarnation.to_string().as_bytes(), Access::Shared).map_err(Error::io("write", &path))
    }

    fn unmark(&self) -> Result<(), Error> {
        let path = self.dir().join(MARK_FILE);
        disk::remove(&path).map(drop).map_err(Error::io("remove", &path))
    }

    /// Signs a card of the incarnation; it is on disk before anything else is signed.
    fn take_incarnation(&mut self, incarnation: u32) -> Result<(), Error> {
        if self.card.card.incarnation < incarnation {
            let card = SignedCard::sign(Card { incarnation, ..self.card.card.clone() }, &self.identity);
            let path = self.dir().join("card");
            disk::replace(&path, &card.bytes, Access::Shared).map_err(Error::io("write", &path))?;
            self.card = card;
        }
        let store = self.own_store()?;
        let there = store.card(&self.id()).map_err(Error::store("this instance"))?;
        let there = there.map(|bytes| document::hash_of(&bytes));
        if there == Some(self.card.hash) {
            return Ok(());
        }
        store.swap_card(&self.id(), there, &self.card.bytes).map_err(Error::store("this instance"))
    }
}
