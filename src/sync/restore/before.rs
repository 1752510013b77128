//! What this instance knew when its restore began, kept until it is finished.
//!
//! Commits of ours that no remote is known to have seen may be a branch: made after the backup came back, under
//! numbers that its later self had used before. They are never taken for history; what they wrote is in the rows.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use super::ask::Newest;
use crate::history::commit::{Commit, id_of};
use crate::history::join::diverge;
use crate::id::bytes::{CommitId, ScopeId};
use crate::id::name::ScopeName;
use crate::state::database;
use crate::state::scopes::ScopeRow;
use crate::sync::error::Error;
use crate::sync::instance::Instance;
use crate::sync::own::HERE;
use crate::tree::key::IdKey;

/// What was known of all scopes.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Before {
    scopes: BTreeMap<String, ScopeBefore>,
    /// Whether local heads were moved off their branches already.
    rebased: bool,
}

/// What was known of one scope.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct ScopeBefore {
    /// Our newest head.
    head: Option<HeadBefore>,
    /// The manifest: its number and hash.
    manifest: (u64, String),
    /// The local head.
    local: Option<String>,
    /// The newest commit of ours that a remote has seen.
    seen: Option<String>,
    /// Commits with writes of ours that no remote is known to have seen.
    branch: BTreeSet<String>,
}

/// Our newest head of a scope.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct HeadBefore {
    hash: String,
    incarnation: u32,
    seq: u64,
    writes: u64,
}

/// How a scope stood when the restore began, and what the remotes have said since.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// Whether remotes had something newer of ours, or something on another line.
    pub(super) lost: bool,
    /// Whether what we had published is surely on another line than what the remotes have.
    pub(super) off_line: bool,
    /// Commits that are no history.
    branch: BTreeSet<String>,
    /// A commit that the rows surely contained; it tells what has changed since.
    pub(super) base: Option<CommitId>,
}

impl Standing {
    /// Tells whether a commit counts as history.
    pub(super) fn counts(&self, commit: &Commit, key: &IdKey) -> bool {
        self.branch.is_empty() || !self.branch.contains(&id_of(&commit.encode(), key).to_string())
    }
}

const BEFORE_KEY: &str = "restore";
/// The most commits that are looked through.
const COMMITS_MAX: usize = 100_000;

impl Instance {
    /// Reads what was known when the restore began, or writes it down if it begins now.
    pub(super) fn remember_before(&self) -> Result<Before, Error> {
        if let Some(text) = self.state.meta(BEFORE_KEY)?.filter(|text| !text.is_empty()) {
            let damaged = |error| crate::state::error::Error::damaged(format!("the memory of a restore: {error}"));
            return Ok(serde_json::from_str(&text).map_err(damaged)?);
        }
        let mut before = Before::default();
        for row in self.state.scopes()? {
            before.scopes.insert(row.id.to_string(), self.scope_before(&row)?);
        }
        self.write_before(&before)?;
        Ok(before)
    }

    fn write_before(&self, before: &Before) -> Result<(), Error> {
        Ok(self.state.set_meta(BEFORE_KEY, &serde_json::to_string(before).expect("words and numbers"))?)
    }

    /// Forgets what was known: the restore is finished.
    pub(super) fn forget_before(&self) -> Result<(), Error> {
        for row in self.state.scopes()? {
            self.forget_rescued(&row.id)?;
        }
        Ok(self.state.set_meta(BEFORE_KEY, "")?)
    }

    fn scope_before(&self, row: &ScopeRow) -> Result<ScopeBefore, Error> {
        let head = self.state.head(&row.id, &self.id())?;
        let incarnation = head.as_ref().map_or(self.card.card.incarnation, |head| head.incarnation);
        let confirmed = self.confirmed_own_head(&row.id)?;
        let seen = match &head {
            Some(head) if head.seq == confirmed => Some(head.commit),
            _ => self.state.published(&row.id, confirmed, confirmed)?.first().map(|(_, commit)| *commit),
        };
        let seen = seen.map(|id| self.state.commit(&row.id, &id)).transpose()?.flatten();
        let common = seen.as_ref().map_or(0, |seen| seen.commit.clock.seen(&self.id(), incarnation));
        let mut branch = BTreeSet::new();
        for commit in self.state.commits(&row.id, COMMITS_MAX)? {
            if commit.clock.seen(&self.id(), incarnation) > common {
                branch.insert(id_of(&commit.encode(), &row.id_key).to_string());
            }
        }
        Ok(ScopeBefore {
            head: head.map(|head| HeadBefore {
                hash: head.hash.to_string(),
                incarnation: head.incarnation,
                seq: head.seq,
                writes: head.writes,
            }),
            manifest: (row.manifest_seq, row.manifest_hash.to_string()),
            local: row.local_head.map(|id| id.to_string()),
            seen: seen.map(|seen| seen.id.to_string()),
            branch,
        })
    }

    /// Tells how a scope stood, and what has come out since.
    pub(super) fn standing(&self, before: &Before, row: &ScopeRow) -> Result<Standing, Error> {
        // What this very restore has published is no news.
        let newest = self.state.head(&row.id, &self.id())?;
        let head = newest.clone().filter(|head| head.via != HERE);
        let Some(known) = before.scopes.get(&row.id.to_string()) else {
            return Ok(Standing { lost: head.is_some(), ..Standing::default() });
        };
        let is_news = |hash: String| known.head.as_ref().is_none_or(|known| known.hash != hash);
        let found = head.filter(|head| is_news(head.hash.to_string()));
        let mut branch = BTreeSet::new();
        if let Some(head) = &found {
            branch = known.branch.clone();
            for ancestor in self.ancestors(&row.id, head.commit)? {
                branch.remove(&ancestor.to_string());
            }
        }
        let base = [&known.local, &known.seen].into_iter().flatten().find(|id| !branch.contains(*id));
        let base = base.and_then(|id| id.parse().ok());
        // Under one number, or with fewer writes under a later one, no head is a successor of the other.
        let mut off_line = found.as_ref().zip(known.head.as_ref()).is_some_and(|(found, known)| {
            found.incarnation == known.incarnation && (found.seq == known.seq || found.writes < known.writes)
        });
        // Nor is one that claims the same writes.
        let stood_on = known.local.as_ref().and_then(|id| id.parse().ok());
        if let (false, Some(found), Some(stood_on)) = (off_line, &found, stood_on)
            && let Some(stood_on) = self.state.commit(&row.id, &stood_on)?
        {
            off_line = diverge(&self.state.known_commit(&row.id, &found.commit)?, &stood_on);
        }
        let lost = found.is_some() || self.has_strays(&row.id, newest.as_ref())?;
        Ok(Standing { lost, off_line, branch, base })
    }

    /// Walks the commits that one builds on, as far as we hold them.
    pub(super) fn ancestors(&self, scope: &ScopeId, tip: CommitId) -> Result<BTreeSet<CommitId>, Error> {
        let (mut found, mut queue) = (BTreeSet::new(), VecDeque::from([tip]));
        while let Some(id) = queue.pop_front() {
            if found.len() < COMMITS_MAX
                && found.insert(id)
                && let Some(known) = self.state.commit(scope, &id)?
            {
                queue.extend(known.commit.parents());
            }
        }
        Ok(found)
    }

    /// Moves local heads off branches, joins all heads, and makes what follows continue what was found. Returns
    /// the scopes of which something was lost here.
    pub(super) fn rebase(&self, before: &Before) -> Result<BTreeMap<String, Newest>, Error> {
        let mut lost = BTreeMap::new();
        let transaction = self.state.transaction()?;
        let mut forgets = before.scopes.is_empty();
        for row in self.state.scopes()? {
            let standing = self.standing(before, &row)?;
            let scope = self.scope_label(&row)?;
            let known = before.scopes.get(&row.id.to_string());
            if let Some(head) = self.state.head(&row.id, &self.id())? {
                self.state.set_sequence(&row.id, row.sequence.max(head.writes))?;
                self.state.put_published(&row.id, head.seq, &head.commit)?;
                self.note_restored_from(&row.id, head.incarnation, head.seq)?;
                if standing.lost {
                    forgets = true;
                    let ours = known.and_then(|known| known.head.as_ref()).map_or(0, |known| known.seq);
                    lost.insert(scope.clone(), Newest { scope, ours, theirs: head.seq });
                }
            }
            let is_branch = row.local_head.is_some_and(|id| standing.branch.contains(&id.to_string()));
            if (is_branch || standing.off_line) && !before.rebased {
                self.state.clear_local_head(&row.id)?;
            }
        }
        if forgets {
            self.forget_incarnations_before(self.card.card.incarnation)?;
        }
        self.write_before(&Before { rebased: true, ..before.clone() })?;
        database::commit(transaction)?;
        self.settle_manifests(before)?;
        self.merge()?;
        Ok(lost)
    }

    /// Makes own scopes that are nowhere, and steps over numbers under which two manifests were signed.
    fn settle_manifests(&self, before: &Before) -> Result<(), Error> {
        let own = self.open_scopes_of(&self.id())?;
        for name in [ScopeName::public(), ScopeName::trusted()] {
            if !own.iter().any(|scope| scope.row.name == name) {
                self.create_scope(&name)?;
            }
        }
        for scope in own {
            let row = &scope.row;
            let known = before.scopes.get(&row.id.to_string()).map(|known| &known.manifest);
            let (seq, hash) = (row.manifest_seq, row.manifest_hash.to_string());
            if before.rebased || known.is_none_or(|known| known.0 != seq || known.1 == hash) {
                continue;
            }
            // Who holds the other one meets a number that skips some, and doesn't ask for its predecessor.
            self.change_scope(&scope, |_| Ok(()))?;
            if let Some(again) = self.open_scope(self.scope_row(&row.id)?)? {
                self.change_scope(&again, |_| Ok(()))?;
            }
        }
        Ok(())
    }
}
