//! Merge: each scope's local head comes to contain every head that we hold of it.

use std::collections::{BTreeMap, BTreeSet};

use super::commit::decode_record;
use super::error::Error;
use super::instance::Instance;
use super::resolve::is_open;
use super::scopes::OpenScope;
use crate::history::commit::{Commit, Making};
use crate::history::join::{Cut, Known, Merged, Outcome, Summary, join};
use crate::id::bytes::{InstanceId, RecordKey, ScopeId};
use crate::id::name::{DatasetName, FieldName};
use crate::record::cell::Record;
use crate::state::database;
use crate::tree::diff::{Difference, diff};
use crate::tree::get::get;

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
    /// By how many more fields wait for somebody to choose a value.
    pub conflicts: u64,
    /// Records that a writer edited after we had taken them out of the scope: taken out again.
    pub withdrawn_again: u64,
    /// Records that were written again: as a whole, where one side deleted and the other edited; or for words of a writer who may
    /// write no more.
    pub written_again: u64,
}

/// What a merge in one scope has met that may concern the other pieces of a record.
#[derive(Debug)]
pub(super) struct Trace {
    pub(super) scope: ScopeId,
    /// The local head before, if it moved by it.
    pub(super) before: Option<Known>,
    /// Whether the scope had no local head before.
    pub(super) is_first: bool,
    /// What a capture of ours that removed something built on, and that capture.
    pub(super) captured: Option<(Known, Known)>,
    /// Records that one side deleted and the other edited.
    pub(super) cut: Vec<(DatasetName, RecordKey)>,
    /// Other records that only one side had.
    pub(super) lone: Vec<(DatasetName, RecordKey)>,
}

/// What joins met.
#[derive(Default)]
struct Met {
    cut: Vec<Cut>,
    lone: Vec<(DatasetName, RecordKey)>,
}

impl Trace {
    /// Tells whether nothing happened that may concern other scopes.
    pub(super) fn is_empty(&self) -> bool {
        let moved = self.is_first || self.before.is_some() || self.captured.is_some();
        !moved && self.cut.is_empty() && self.lone.is_empty()
    }
}

impl Met {
    fn trace(self, scope: &OpenScope, before: Option<Known>) -> Trace {
        let cut = self.cut.into_iter().map(|cut| (cut.dataset, cut.key)).collect();
        Trace { scope: scope.row.id, before, is_first: false, captured: None, cut, lone: self.lone }
    }
}

impl Instance {
    /// Merges all heads that we hold into the local heads. Only the local state changes.
    ///
    /// # Errors
    /// A tree is missing or damaged, or two heads claim the same writes and differ.
    pub fn merge(&self) -> Result<BTreeMap<String, ScopeMerge>, Error> {
        self.merge_scopes(|scopes| {
            let transaction = self.state.transaction()?;
            let merges = self.merge_origin(scopes);
            if merges.is_err() {
                self.state.forget_cache();
            }
            let merges = merges?;
            database::commit(transaction)?;
            Ok(merges)
        })
    }

    /// Merges like `merge`, inside a transaction of the caller's.
    ///
    /// # Errors
    /// As `merge`.
    pub(super) fn merge_within(&self) -> Result<BTreeMap<String, ScopeMerge>, Error> {
        self.merge_scopes(|scopes| self.merge_origin(scopes))
    }

    fn merge_scopes(
        &self,
        mut work: impl FnMut(&[OpenScope]) -> Result<Vec<ScopeMerge>, Error>,
    ) -> Result<BTreeMap<String, ScopeMerge>, Error> {
        let mut by_origin: BTreeMap<InstanceId, Vec<OpenScope>> = BTreeMap::new();
        for row in self.state.scopes()? {
            if self.follows(&row)?
                && let Some(scope) = self.open_scope(row)?
            {
                by_origin.entry(scope.row.origin).or_default().push(scope);
            }
        }
        let mut merges = BTreeMap::new();
        for scopes in by_origin.values() {
            for (scope, merge) in scopes.iter().zip(work(scopes)?) {
                if merge.from != merge.to {
                    merges.insert(scope.label(self)?, merge);
                }
            }
        }
        Ok(merges)
    }

    /// Merges the scopes of one origin, together: pieces of one record lie in several.
    fn merge_origin(&self, scopes: &[OpenScope]) -> Result<Vec<ScopeMerge>, Error> {
        let (mut merges, mut traces) = (Vec::new(), Vec::new());
        for scope in scopes {
            let (merge, trace) = self.merge_scope(scope)?;
            merges.push(merge);
            traces.push(trace);
        }
        let Some(origin) = scopes.first().map(|scope| scope.row.origin) else { return Ok(merges) };
        let again = self.keep_pieces_together(&origin, &traces)?;
        for (scope, merge) in scopes.iter().zip(&mut merges) {
            if let Some(count) = again.get(&scope.row.id) {
                merge.written_again += count;
                merge.to = self.scope_row(&scope.row.id)?.local_head;
            }
        }
        Ok(merges)
    }

    fn merge_scope(&self, scope: &OpenScope) -> Result<(ScopeMerge, Trace), Error> {
        let row = self.scope_row(&scope.row.id)?;
        let mut merge = ScopeMerge { from: row.local_head, ..ScopeMerge::default() };
        let mut local = row.local_head.map(|id| self.state.known_commit(&row.id, &id)).transpose()?;
        let mut before = local.clone();
        let mut met = Met::default();
        for theirs in self.counting_heads(scope)? {
            local = Some(match local {
                // Who meets a scope for the first time may be the first to join its heads.
                None => before.insert(theirs).clone(),
                Some(ours) => self.join_counting(scope, &ours, &theirs, &mut merge, &mut met)?,
            });
        }
        if let Some(joined) = local.take() {
            local =
                Some(self.join_lines(&row, joined, |ours, line| {
                    self.join_counting(scope, ours, line, &mut merge, &mut met)
                })?);
        }
        if scope.manifest.may_write(&self.id())
            && let (Some(before), Some(joined)) = (&before, &local)
        {
            local = Some(self.mend(scope, before, joined, &met.cut, &mut merge)?);
        } else if let Some(joined) = &local {
            local = Some(self.let_go(scope, joined, &met.cut, &mut merge)?);
        }
        local = local.map(|joined| self.write_orphans_again(scope, &joined, &mut merge)).transpose()?;
        if let Some(local) = &local {
            let open = || self.state.conflict_count(&row.id);
            let open_before = open()?;
            self.advance(scope, local)?;
            merge.conflicts = open()?.saturating_sub(open_before);
        }
        let local = local.map(|local| self.end_own_way(scope, local)).transpose()?;
        merge.to = local.as_ref().map(|known| known.id);
        // Before anything was merged; who meets the scope for the first time held nothing.
        let before = before.filter(|before| merge.from == Some(before.id) && merge.from != merge.to);
        let is_first = merge.from.is_none() && merge.to.is_some();
        Ok((merge, Trace { is_first, ..met.trace(scope, before) }))
    }

    /// Returns what the heads name whose signers may write and have signed one history only.
    ///
    /// # Errors
    /// `State`.
    pub(super) fn counting_heads(&self, scope: &OpenScope) -> Result<Vec<Known>, Error> {
        let mut heads = Vec::new();
        for head in self.state.heads(&scope.row.id)? {
            if scope.manifest.may_write(&head.signer) && !self.state.is_forked(&scope.row.id, &head.signer)? {
                heads.push(self.state.known_commit(&scope.row.id, &head.commit)?);
            }
        }
        Ok(heads)
    }

    /// Returns the local head, or what the heads of others join to, where we may not write and our own words say nothing beyond
    /// theirs any more: what a reader wrote again, so that nothing was torn, has been written by somebody who may.
    fn end_own_way(&self, scope: &OpenScope, local: Known) -> Result<Known, Error> {
        let is_own = |author: &InstanceId| *author == self.id();
        if scope.manifest.may_write(&self.id()) || !local.commit.clock.iter().any(|(author, ..)| is_own(&author)) {
            return Ok(local);
        }
        let row = &scope.row;
        let mut others: Option<Known> = None;
        for theirs in self.counting_heads(scope)? {
            others = Some(match others {
                None => theirs,
                Some(others) => self.join_known(scope, &others, &theirs)?,
            });
        }
        let Some(others) = others.filter(|others| others.commit.datasets == local.commit.datasets) else {
            return Ok(local);
        };
        let clock = &others.commit.clock;
        let knows = |(author, incarnation, sequence)| is_own(&author) || clock.seen(&author, incarnation) >= sequence;
        if !local.commit.clock.iter().all(knows) {
            return Ok(local);
        }
        self.state.set_local_head(&row.id, &others.id)?;
        Ok(others)
    }

    fn join_counting(
        &self,
        scope: &OpenScope,
        ours: &Known,
        theirs: &Known,
        merge: &mut ScopeMerge,
        met: &mut Met,
    ) -> Result<Known, Error> {
        let error = |source| Error::Join { scope: scope.row.name.to_string(), source };
        match join(&self.state, &scope.row.id_key, &scope.row.origin, ours, theirs).map_err(error)? {
            Outcome::Left => Ok(ours.clone()),
            Outcome::Right => Ok(theirs.clone()),
            Outcome::Merged(merged) => {
                let Merged { known, summary, cut, lone } = *merged;
                self.state.put_commit(&scope.row.id, &scope.row.id_key, &known.commit.encode())?;
                met.cut.extend(cut);
                met.lone.extend(lone);
                merge.merged = true;
                merge.records.combined += summary.combined;
                merge.records.edits_against_deletes += summary.edits_against_deletes;
                Ok(known)
            }
        }
    }

    /// Joins two commits of a scope and stores the result.
    ///
    /// # Errors
    /// As `merge`.
    pub(super) fn join_known(&self, scope: &OpenScope, ours: &Known, theirs: &Known) -> Result<Known, Error> {
        self.join_counting(scope, ours, theirs, &mut ScopeMerge::default(), &mut Met::default())
    }

    /// Moves a scope's local head to the join of it and `newer`, and keeps the list of conflicts. Returns what that met.
    ///
    /// # Errors
    /// As `merge`.
    pub(super) fn advance(&self, scope: &OpenScope, newer: &Known) -> Result<Trace, Error> {
        let row = self.scope_row(&scope.row.id)?;
        let old = row.local_head.map(|id| self.state.known_commit(&row.id, &id)).transpose()?;
        let mut merge = ScopeMerge::default();
        let mut met = Met::default();
        let joined = match &old {
            None => newer.clone(),
            Some(old) => self.join_counting(scope, old, newer, &mut merge, &mut met)?,
        };
        // A capture that takes rows out of a scope may meet edits of them that were merged before it.
        let new = if scope.manifest.may_write(&self.id()) && joined.id != newer.id {
            self.mend(scope, newer, &joined, &met.cut, &mut merge)?
        } else {
            self.let_go(scope, &joined, &met.cut, &mut merge)?
        };
        if old.as_ref().is_some_and(|old| old.id == new.id) {
            return Ok(met.trace(scope, None));
        }
        self.state.set_local_head(&row.id, &new.id)?;
        // Only a merge, here or elsewhere, can open or close a conflict; captures on a head without
        // conflicts can't.
        let is_first_capture = old.is_none() && matches!(new.commit.making, Making::Capture { parent: None, .. });
        if is_first_capture {
            return Ok(met.trace(scope, None));
        }
        let before = old.map(|known| known.commit);
        let had_conflicts = self.state.has_conflicts(&row.id)?;
        self.each_difference(scope, before.as_ref(), &new.commit, &mut |dataset, key, bytes| {
            let record = bytes.map(|bytes| decode_record(bytes, &row.origin, dataset, key)).transpose()?;
            let open: Vec<FieldName> = record.iter().flat_map(|record| open_fields(scope, dataset, record)).collect();
            match had_conflicts || !open.is_empty() {
                true => Ok(self.state.set_conflicts(&row.id, dataset, key, &open)?),
                false => Ok(()),
            }
        })?;
        Ok(met.trace(scope, None))
    }

    /// Reads a record of a commit.
    ///
    /// # Errors
    /// `Tree`, `Record`.
    pub fn record_at(
        &self,
        scope: &OpenScope,
        at: &Known,
        dataset: &DatasetName,
        key: &RecordKey,
    ) -> Result<Option<Record>, Error> {
        let root = at.commit.root(dataset);
        let found = get(&self.state, &scope.row.id_key, &root, key.as_bytes())
            .map_err(|source| Error::Tree { scope: scope.row.name.to_string(), source })?;
        found.map(|bytes| decode_record(&bytes, &scope.row.origin, dataset, key)).transpose()
    }

    /// Calls `work` with each record that differs from `before` to `after`, and its bytes in `after`.
    pub(super) fn each_difference(
        &self,
        scope: &OpenScope,
        before: Option<&Commit>,
        after: &Commit,
        work: &mut dyn FnMut(&DatasetName, &RecordKey, Option<&[u8]>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.each_change(scope, before, after, &mut |dataset, key, change| work(dataset, key, change.right.as_deref()))
    }

    /// Calls `work` with each record that differs from `before` to `after`, and its bytes in both.
    pub(super) fn each_change(
        &self,
        scope: &OpenScope,
        before: Option<&Commit>,
        after: &Commit,
        work: &mut dyn FnMut(&DatasetName, &RecordKey, &Difference) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let old = before.into_iter().flat_map(|commit| commit.datasets.keys());
        let names: BTreeSet<&DatasetName> = old.chain(after.datasets.keys()).collect();
        for name in names {
            self.each_change_of(scope, name, before, after, &mut |key, change| work(name, key, change))?;
        }
        Ok(())
    }

    /// Calls `work` with each record of one tree that differs.
    pub(super) fn each_change_of(
        &self,
        scope: &OpenScope,
        tree: &DatasetName,
        before: Option<&Commit>,
        after: &Commit,
        work: &mut dyn FnMut(&RecordKey, &Difference) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let old = before.map_or_else(Default::default, |commit| commit.root(tree));
        for change in diff(&self.state, &scope.row.id_key, &old, &after.root(tree)) {
            let change = change.map_err(|source| Error::Tree { scope: scope.row.name.to_string(), source })?;
            let key = RecordKey::from_slice(&change.key).ok_or_else(|| {
                crate::state::error::Error::damaged(format!("a key of dataset {tree} is no record key"))
            })?;
            work(&key, &change)?;
        }
        Ok(())
    }
}

/// Returns the fields of a record that somebody should choose a value for.
pub(super) fn open_fields(scope: &OpenScope, dataset: &DatasetName, record: &Record) -> Vec<FieldName> {
    let open = record.conflicts().filter(|(field, cell)| is_open(scope, dataset, field, cell));
    open.map(|(field, _)| field.clone()).collect()
}
