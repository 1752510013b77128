//! Looking at history: log, show, diff.

use std::collections::{BTreeMap, BTreeSet};

use super::error::Error;
use super::instance::Instance;
use super::scopes::OpenScope;
use crate::history::commit::Making;
use crate::history::join::Known;
use crate::id::bytes::{CommitId, RecordKey};
use crate::id::name::DatasetName;
use crate::record::cell::Record;
use crate::record::recordid::RecordId;
use crate::sys::clock::UnixMillis;
use crate::tree::scan::scan;

/// One commit for people.
#[derive(Debug, Clone, serde::Serialize)]
pub struct LogEntry {
    /// The commit.
    pub commit: CommitId,
    /// The scope.
    pub scope: String,
    /// Who captured it; `None` for a merge, which nobody in particular made.
    pub author: Option<String>,
    /// When, by the author's clock.
    pub time: Option<UnixMillis>,
    /// What it builds on.
    pub parents: Vec<CommitId>,
    /// Records in it, by dataset.
    pub records: BTreeMap<DatasetName, u64>,
    /// What points at it: `local`, `applied`, or the signer of a head.
    pub refs: Vec<String>,
}

/// A record for people.
#[derive(Debug, serde::Serialize)]
pub struct Shown {
    /// `dataset/key`.
    pub record: String,
    /// Whose it is.
    pub origin: String,
    /// The scope that holds it.
    pub scope: String,
    /// The row of the application that shows it, as `table key`.
    pub row: Option<String>,
    /// Its fields.
    pub fields: BTreeMap<String, Vec<ShownElement>>,
    /// Of fields that lie in a narrower scope, which that is.
    pub also: BTreeMap<String, String>,
}

/// One value of a field; the first of a field's list is what the application shows.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct ShownElement {
    /// The value.
    pub value: serde_json::Value,
    /// Who wrote it.
    pub author: String,
    /// When, by the writer's clock.
    pub time: UnixMillis,
}

/// How one record differs between two commits.
#[derive(Debug, Clone, serde::Serialize)]
pub struct RecordDiff {
    /// `dataset/key`.
    pub record: String,
    /// `added`, `removed` or `changed`.
    pub change: &'static str,
    /// The fields that differ: before and after.
    pub fields: BTreeMap<String, (Option<serde_json::Value>, Option<serde_json::Value>)>,
}

impl Instance {
    /// Returns the commits that we hold of the scopes, newest first, at most `limit`.
    ///
    /// # Errors
    /// `State`.
    pub fn log(&self, scope: Option<&str>, limit: usize) -> Result<Vec<LogEntry>, Error> {
        let mut entries = Vec::new();
        for open in self.scopes_labelled(scope)? {
            self.log_scope(&open, &mut entries)?;
        }
        // One capture makes commits of several scopes at the same time.
        entries.sort_by(|(a, left), (b, right)| (b, &left.scope, left.commit).cmp(&(a, &right.scope, right.commit)));
        Ok(entries.into_iter().take(limit).map(|(_, entry)| entry).collect())
    }

    /// Adds the commits of a scope, with the times by which they are listed.
    pub(super) fn log_scope(&self, open: &OpenScope, entries: &mut Vec<(UnixMillis, LogEntry)>) -> Result<(), Error> {
        let row = &open.row;
        let mut refs: BTreeMap<CommitId, Vec<String>> = BTreeMap::new();
        if let Some(id) = row.local_head {
            refs.entry(id).or_default().push("local".into());
        }
        for head in self.state.heads(&row.id)? {
            refs.entry(head.commit).or_default().push(self.instance_label(&head.signer)?);
        }
        // Heads come by signer, which is another order on every pair of instances.
        for names in refs.values_mut() {
            let signers = usize::from(names.first().is_some_and(|name| name == "local"));
            names[signers..].sort();
        }
        let mut queue: Vec<CommitId> = refs.keys().copied().collect();
        let mut seen = BTreeSet::new();
        let label = open.label(self)?;
        while let Some(id) = queue.pop() {
            if !seen.insert(id) {
                continue;
            }
            // History before a snapshot isn't held; the log ends there.
            let Some(Known { commit, .. }) = self.state.commit(&row.id, &id)? else { continue };
            let (author, time) = match &commit.making {
                Making::Capture { author, time, .. } => (Some(self.instance_label(author)?), Some(*time)),
                Making::Merge(_) => (None, None),
            };
            let entry = LogEntry {
                commit: id,
                scope: label.clone(),
                author,
                time,
                parents: commit.parents(),
                records: commit.datasets.iter().map(|(name, root)| (name.clone(), root.count)).collect(),
                refs: refs.remove(&id).unwrap_or_default(),
            };
            let order = match time {
                Some(time) => time,
                None => self.newest_parent(open, &entry.parents)?,
            };
            queue.extend(&entry.parents);
            entries.push((order, entry));
        }
        Ok(())
    }

    fn newest_parent(&self, open: &OpenScope, parents: &[CommitId]) -> Result<UnixMillis, Error> {
        let mut newest = UnixMillis(0);
        for parent in parents {
            if let Some(known) = self.state.commit(&open.row.id, parent)?
                && let Making::Capture { time, .. } = known.commit.making
            {
                newest = newest.max(time);
            }
        }
        Ok(UnixMillis(newest.0.saturating_add(1)))
    }

    /// Finds a record by `dataset/key` or by the first digits of its key, and shows it.
    ///
    /// # Errors
    /// `NotFound`, `Ambiguous`.
    pub fn show_record(&self, text: &str) -> Result<Shown, Error> {
        let (scope, id, record) = self.find_record(text)?;
        let row = RecordId { dataset: id.dataset.base(), ..id.clone() };
        let row = self.with_database(|database| Ok(database.locate(&row)?)).ok().flatten();
        let (mut fields, mut also) = (BTreeMap::new(), BTreeMap::new());
        self.show_cells(&record, &mut fields)?;
        if !id.dataset.is_overlay() {
            for (other, overlay) in self.overlays_of(&id)? {
                let before: BTreeSet<String> = fields.keys().cloned().collect();
                self.show_cells(&overlay, &mut fields)?;
                let label = other.label(self)?;
                also.extend(
                    fields.keys().filter(|field| !before.contains(*field)).map(|field| (field.clone(), label.clone())),
                );
            }
        }
        Ok(Shown {
            record: id.to_string(),
            origin: self.instance_label(&id.origin)?,
            scope: scope.label(self)?,
            row,
            fields,
            also,
        })
    }

    /// Adds the values of a record's cells that aren't there yet.
    fn show_cells(&self, record: &Record, fields: &mut BTreeMap<String, Vec<ShownElement>>) -> Result<(), Error> {
        for (field, cell) in &record.cells {
            let mut elements: Vec<_> = cell.elements().iter().collect();
            elements.sort_by_key(|element| std::cmp::Reverse((element.stamp.time, element.stamp)));
            let shown = elements.into_iter().map(|element| {
                Ok(ShownElement {
                    value: element.value.to_json(),
                    author: self.instance_label(&element.stamp.author)?,
                    time: element.stamp.time,
                })
            });
            let shown = shown.collect::<Result<_, Error>>()?;
            fields.entry(field.to_string()).or_insert(shown);
        }
        Ok(())
    }

    /// Finds what narrower scopes of the same origin add to a record.
    fn overlays_of(&self, id: &RecordId) -> Result<Vec<(OpenScope, Record)>, Error> {
        let overlay = id.dataset.overlay();
        let mut found = Vec::new();
        for open in self.open_scopes_of(&id.origin)? {
            let Some(head) = open.row.local_head else { continue };
            let known = self.state.known_commit(&open.row.id, &head)?;
            if let Some(record) = self.record_at(&open, &known, &overlay, &id.key)? {
                found.push((open, record));
            }
        }
        Ok(found)
    }

    /// Finds a record in the local heads by `dataset/key` or by the first digits of its key.
    ///
    /// # Errors
    /// `NotFound`, `Ambiguous`.
    pub(super) fn find_record(&self, text: &str) -> Result<(OpenScope, RecordId, Record), Error> {
        self.find_record_in(None, text)
    }

    /// Finds a record as `find_record` does, in the scope of this label or in all.
    ///
    /// # Errors
    /// `NotFound`, `Ambiguous`.
    pub(super) fn find_record_in(
        &self,
        scope: Option<&str>,
        text: &str,
    ) -> Result<(OpenScope, RecordId, Record), Error> {
        let what = format!("record {text:?}");
        let (dataset, prefix) = match text.split_once('/') {
            Some((dataset, prefix)) => (Some(DatasetName::new(dataset)?), prefix),
            None => (None, text),
        };
        let mut found = BTreeMap::new();
        for open in self.scopes_labelled(scope)? {
            let Some(head) = open.row.local_head else { continue };
            let known = self.state.known_commit(&open.row.id, &head)?;
            let wanted = |name: &&DatasetName| match &dataset {
                Some(dataset) => dataset == *name,
                None => !name.is_overlay(),
            };
            for name in known.commit.datasets.keys().filter(wanted) {
                for key in self.keys_with_prefix(&open, &known, name, prefix)? {
                    let id = RecordId { origin: open.row.origin, dataset: name.clone(), key };
                    found.insert(id, (open.row.clone(), known.clone()));
                }
            }
        }
        let count = found.len();
        match found.pop_first() {
            None => Err(Error::NotFound { what }),
            Some(_) if count > 1 => Err(Error::Ambiguous { what, count }),
            Some((id, (row, known))) => {
                let open = self.open_scope(row)?.ok_or(Error::NotFound { what })?;
                let record = self.record_at(&open, &known, &id.dataset, &id.key)?;
                Ok((open, id, record.expect("its key was found in this very tree")))
            }
        }
    }

    /// Keys that print with this prefix: a range of the tree, since keys print in their own order.
    fn keys_with_prefix(
        &self,
        open: &OpenScope,
        known: &Known,
        dataset: &DatasetName,
        prefix: &str,
    ) -> Result<Vec<RecordKey>, Error> {
        if prefix.len() < 4 || prefix.len() > 32 {
            return Ok(Vec::new());
        }
        let (low, high) = (format!("{prefix:0<32}").parse(), format!("{prefix:f<32}").parse());
        let (Ok(low), Ok(high)): (Result<RecordKey, _>, Result<RecordKey, _>) = (low, high) else {
            return Ok(Vec::new());
        };
        let range = low.as_bytes().to_vec()..=high.as_bytes().to_vec();
        let tree = known.commit.root(dataset);
        let mut keys = Vec::new();
        for entry in scan(&self.state, &open.row.id_key, &tree, range).take(100) {
            let (key, _) = entry.map_err(|source| Error::Tree { scope: open.row.name.to_string(), source })?;
            keys.extend(RecordKey::from_slice(&key));
        }
        Ok(keys)
    }

    /// Finds a commit by its first digits, or the local head of a scope by its label.
    ///
    /// # Errors
    /// `NotFound`, `Ambiguous`.
    pub fn find_commit(&self, text: &str) -> Result<(OpenScope, Known), Error> {
        let what = format!("commit {text:?}");
        let mut found = BTreeMap::new();
        for open in self.scopes_labelled(None)? {
            if open.label(self)? == text
                && let Some(head) = open.row.local_head
            {
                let known = self.state.known_commit(&open.row.id, &head)?;
                return Ok((open, known));
            }
            let mut entries = Vec::new();
            self.log_scope(&open, &mut entries)?;
            for (_, entry) in entries.into_iter().filter(|(_, entry)| entry.commit.matches_prefix(text)) {
                found.insert(entry.commit, open.row.clone());
            }
        }
        let count = found.len();
        match found.pop_first() {
            None => Err(Error::NotFound { what }),
            Some(_) if count > 1 => Err(Error::Ambiguous { what, count }),
            Some((id, row)) => {
                let known = self.state.known_commit(&row.id, &id)?;
                let open = self.open_scope(row)?.ok_or(Error::NotFound { what })?;
                Ok((open, known))
            }
        }
    }

    /// Lists how records differ from one commit to another of the same scope. `COMMIT^` as the first is that
    /// commit's parent: of a merge the one with the least id, of the first commit nothing.
    ///
    /// # Errors
    /// `NotFound`, `Ambiguous`, `DifferentScopes`; `NotHeld` if only what came of one of them travelled here, or if it
    /// was forgotten after a withdrawal.
    pub fn diff(&self, from: &str, to: &str) -> Result<Vec<RecordDiff>, Error> {
        let (open, to) = self.find_commit(to)?;
        let (other, found) = self.find_commit(from.strip_suffix('^').unwrap_or(from))?;
        if found.commit.scope != to.commit.scope {
            return Err(Error::DifferentScopes { from: other.label(self)?, to: open.label(self)? });
        }
        let from = match (from.ends_with('^'), found.commit.parents().first()) {
            (false, _) => Some(found),
            (true, Some(parent)) => Some(self.state.known_commit(&open.row.id, parent)?),
            (true, None) => None,
        };
        for known in from.iter().chain([&to]) {
            if !self.holds_trees(&known.commit)? {
                return Err(Error::NotHeld { commit: known.id.short() });
            }
        }
        let mut diffs = Vec::new();
        let before = from.as_ref().map(|known| &known.commit);
        let mut keys = Vec::new();
        self.each_difference(&open, before, &to.commit, &mut |dataset, key, _| {
            keys.push((dataset.clone(), *key));
            Ok(())
        })?;
        for (dataset, key) in keys {
            let old = match &from {
                Some(known) => self.record_at(&open, known, &dataset, &key)?,
                None => None,
            };
            let new = self.record_at(&open, &to, &dataset, &key)?;
            diffs.push(record_diff(format!("{}/{key}", dataset.base()), old.as_ref(), new.as_ref()));
        }
        Ok(diffs)
    }

    /// Opens the scopes that we can read: the one with this label, or all.
    ///
    /// # Errors
    /// `NotFound` if there is no such scope.
    pub fn scopes_labelled(&self, label: Option<&str>) -> Result<Vec<OpenScope>, Error> {
        let mut opened = Vec::new();
        for row in self.state.scopes()? {
            if let Some(open) = self.open_scope(row)?
                && (label.is_none() || label == Some(&open.label(self)?))
            {
                opened.push(open);
            }
        }
        match label {
            Some(label) if opened.is_empty() => Err(Error::NotFound { what: format!("scope {label:?}") }),
            _ => Ok(opened),
        }
    }
}

/// Says how a record differs from `old` to `new`.
pub(super) fn record_diff(record: String, old: Option<&Record>, new: Option<&Record>) -> RecordDiff {
    let change = match (old, new) {
        (None, _) => "added",
        (_, None) => "removed",
        _ => "changed",
    };
    let names: BTreeSet<_> = old.iter().chain(&new).flat_map(|record| record.cells.keys()).collect();
    let mut fields = BTreeMap::new();
    for name in names {
        let json = |record: Option<&Record>| record.and_then(|record| record.shown(name)).map(|value| value.to_json());
        let cells = (old.and_then(|old| old.cells.get(name)), new.and_then(|new| new.cells.get(name)));
        if cells.0 != cells.1 {
            fields.insert(name.to_string(), (json(old), json(new)));
        }
    }
    RecordDiff { record, change, fields }
}
