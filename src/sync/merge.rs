//! Merge: each scope's local head comes to contain every head that we hold of it.

use std::collections::{BTreeMap, BTreeSet};

use super::commit::decode_record;
use super::error::Error;
use super::instance::Instance;
use super::scopes::OpenScope;
use crate::history::commit::{Commit, Making};
use crate::history::join::{Known, Outcome, Summary, join};
use crate::id::bytes::RecordKey;
use crate::id::name::DatasetName;
use crate::record::clock::Clock;
use crate::record::recordid::RecordId;
use crate::state::database;
use crate::sys::clock;
use crate::tree::apply::apply;
use crate::tree::diff::diff;

/// What a merge did in one scope.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct ScopeMerge {
    /// The local head before, if there was one.
    pub from: Option<crate::id::bytes::CommitId>,
    /// The local head now.
    pub to: Option<crate::id::bytes::CommitId>,
    /// Whether a merge commit was needed; otherwise one side contained the other.
    pub merged: bool,
    /// How records were joined.
    pub records: Summary,
    /// Records that a writer edited after we had taken them out of the scope: taken out again.
    pub withdrawn_again: u64,
}

impl Instance {
    /// Merges all heads that we hold into the local heads. Only the local state changes.
    ///
    /// # Errors
    /// A tree is missing or damaged, or two heads claim the same writes and differ.
    pub fn merge(&self) -> Result<BTreeMap<String, ScopeMerge>, Error> {
        let mut merges = BTreeMap::new();
        for row in self.state.scopes()? {
            if !self.follows(&row)? {
                continue;
            }
            let Some(scope) = self.open_scope(row)? else { continue };
            let transaction = self.state.transaction()?;
            let merge = self.merge_scope(&scope);
            if merge.is_err() {
                self.state.forget_cache();
            }
            let merge = merge?;
            database::commit(transaction)?;
            if merge.from != merge.to {
                merges.insert(scope.label(self)?, merge);
            }
        }
        Ok(merges)
    }

    fn merge_scope(&self, scope: &OpenScope) -> Result<ScopeMerge, Error> {
        let row = self.scope_row(&scope.row.id)?;
        let mut merge = ScopeMerge { from: row.local_head, ..ScopeMerge::default() };
        let mut local = row.local_head.map(|id| self.state.known_commit(&row.id, &id)).transpose()?;
        let before = local.clone();
        for head in self.state.heads(&row.id)? {
            let counts = scope.manifest.may_write(&head.signer) && !self.state.is_forked(&row.id, &head.signer)?;
            if !counts {
                continue;
            }
            let theirs = self.state.known_commit(&row.id, &head.commit)?;
            local = Some(match local {
                None => theirs,
                Some(ours) => self.join_counting(scope, &ours, &theirs, &mut merge)?,
            });
        }
        if row.origin == self.id()
            && let (Some(before), Some(joined)) = (&before, &local)
        {
            local = Some(self.keep_withdrawn(scope, before, joined, &mut merge)?);
        }
        if let Some(local) = &local {
            self.advance(scope, local)?;
        }
        merge.to = local.map(|known| known.id);
        Ok(merge)
    }

    fn join_counting(
        &self,
        scope: &OpenScope,
        ours: &Known,
        theirs: &Known,
        merge: &mut ScopeMerge,
    ) -> Result<Known, Error> {
        let error = |source| Error::Join { scope: scope.row.name.to_string(), source };
        match join(&self.state, &scope.row.id_key, &scope.row.origin, ours, theirs).map_err(error)? {
            Outcome::Left => Ok(ours.clone()),
            Outcome::Right => Ok(theirs.clone()),
            Outcome::Merged(known, summary) => {
                self.state.put_commit(&scope.row.id, &scope.row.id_key, &known.commit.encode())?;
                merge.merged = true;
                merge.records.combined += summary.combined;
                merge.records.edits_against_deletes += summary.edits_against_deletes;
                merge.records.conflicts += summary.conflicts;
                Ok(*known)
            }
        }
    }

    /// Joins two commits of a scope and stores the result.
    ///
    /// # Errors
    /// As `merge`.
    pub(super) fn join_known(&self, scope: &OpenScope, ours: &Known, theirs: &Known) -> Result<Known, Error> {
        self.join_counting(scope, ours, theirs, &mut ScopeMerge::default())
    }

    /// Moves a scope's local head to the join of it and `newer`, and keeps the list of conflicts.
    ///
    /// # Errors
    /// As `merge`.
    pub(super) fn advance(&self, scope: &OpenScope, newer: &Known) -> Result<(), Error> {
        let row = self.scope_row(&scope.row.id)?;
        let old = row.local_head.map(|id| self.state.known_commit(&row.id, &id)).transpose()?;
        let new = match &old {
            None => newer.clone(),
            Some(old) => self.join_known(scope, old, newer)?,
        };
        // A capture that takes rows out of a scope may meet edits of them that were merged before it.
        let new = if row.origin == self.id() && new.id != newer.id {
            self.keep_withdrawn(scope, newer, &new, &mut ScopeMerge::default())?
        } else {
            new
        };
        if old.as_ref().is_some_and(|old| old.id == new.id) {
            return Ok(());
        }
        self.state.set_local_head(&row.id, &new.id)?;
        // Only a merge, here or elsewhere, can open or close a conflict; captures on a head without
        // conflicts can't.
        let is_first_capture = old.is_none() && matches!(new.commit.making, Making::Capture { parent: None, .. });
        if is_first_capture {
            return Ok(());
        }
        let before = old.map(|known| known.commit);
        self.each_difference(scope, before.as_ref(), &new.commit, &mut |dataset, key, bytes| {
            let record = bytes.map(|bytes| decode_record(bytes, &row.origin, dataset, key)).transpose()?;
            Ok(self.state.set_conflicts(&row.id, dataset, key, record.as_ref())?)
        })
    }

    /// Calls `work` with each record that differs from `before` to `after`, and its bytes in `after`.
    pub(super) fn each_difference(
        &self,
        scope: &OpenScope,
        before: Option<&Commit>,
        after: &Commit,
        work: &mut dyn FnMut(&DatasetName, &RecordKey, Option<&[u8]>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let error = |source| Error::Tree { scope: scope.row.name.to_string(), source };
        let old = before.into_iter().flat_map(|commit| commit.datasets.keys());
        let names: BTreeSet<&DatasetName> = old.chain(after.datasets.keys()).collect();
        for name in names {
            let old = before.map_or_else(Default::default, |commit| commit.root(name));
            for difference in diff(&self.state, &scope.row.id_key, &old, &after.root(name)) {
                let difference = difference.map_err(error)?;
                let key = RecordKey::from_slice(&difference.key).ok_or_else(|| {
                    crate::state::error::Error::damaged(format!("a key of dataset {name} is no record key"))
                })?;
                work(name, &key, difference.right.as_deref())?;
            }
        }
        Ok(())
    }

    /// Takes out again what a writer's concurrent edit would bring back into one of our scopes although
    /// its row is meant for fewer readers now: what is private never leaves, whoever edits it.
    fn keep_withdrawn(
        &self,
        scope: &OpenScope,
        before: &Known,
        joined: &Known,
        merge: &mut ScopeMerge,
    ) -> Result<Known, Error> {
        let mut out: BTreeMap<DatasetName, Vec<RecordKey>> = BTreeMap::new();
        self.each_difference(scope, Some(&before.commit), &joined.commit, &mut |dataset, key, bytes| {
            if bytes.is_none() {
                return Ok(());
            }
            let id = RecordId { origin: self.id(), dataset: dataset.clone(), key: *key };
            let audience = self.with_database(|database| Ok(database.audience(&id)?))?;
            // A row that is gone here was deleted; a concurrent edit brings it back, which is shown.
            if audience.is_some_and(|audience| audience.scope() != Some(&scope.row.name)) {
                out.entry(dataset.clone()).or_default().push(*key);
            }
            Ok(())
        })?;
        if out.is_empty() {
            return Ok(joined.clone());
        }
        let error = |source| Error::Tree { scope: scope.row.name.to_string(), source };
        let mut datasets = joined.commit.datasets.clone();
        for (dataset, keys) in out {
            merge.withdrawn_again += keys.len() as u64;
            for key in &keys {
                self.state.set_withdrawn(&scope.row.id, &dataset, key, true)?;
            }
            let edits: Vec<_> = keys.iter().map(|key| (key.as_bytes().to_vec(), None)).collect();
            let root = datasets.get(&dataset).copied().unwrap_or_default();
            let root = apply(&self.state, &scope.row.id_key, &root, edits).map_err(error)?;
            if root.count == 0 {
                datasets.remove(&dataset)
            } else {
                datasets.insert(dataset, root)
            };
        }
        let sequence = self.scope_row(&scope.row.id)?.sequence + 1;
        let incarnation = self.card.card.incarnation;
        let mut clock: Clock = joined.commit.clock.clone();
        clock.advance(self.id(), incarnation, sequence);
        let making =
            Making::Capture { parent: Some(joined.id), author: self.id(), incarnation, sequence, time: clock::now() };
        let commit = Commit { scope: scope.row.id, clock, datasets, making };
        let id = self.state.put_commit(&scope.row.id, &scope.row.id_key, &commit.encode())?;
        self.state.set_sequence(&scope.row.id, sequence)?;
        Ok(Known { id, commit })
    }
}
