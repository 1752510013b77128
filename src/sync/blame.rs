//! The story of one record: who wrote each of its fields, and the commits that changed it.

use std::collections::BTreeMap;

use super::error::Error;
use super::inspect::{LogEntry, RecordDiff, record_diff};
use super::instance::Instance;
use super::merge::open_fields;
use super::resolve::is_open;
use super::scopes::OpenScope;
use crate::history::commit::Making;
use crate::history::join::Known;
use crate::id::bytes::{CommitId, InstanceId, RecordKey};
use crate::id::name::{DatasetName, FieldName};
use crate::merge::strategy::show;
use crate::record::cell::{Element, Record};
use crate::record::recordid::RecordId;
use crate::record::stamp::Stamp;
use crate::sys::clock::UnixMillis;

/// Who wrote what of a record.
#[derive(Debug, serde::Serialize)]
pub struct Blame {
    /// `dataset/key`.
    pub record: String,
    /// Whose it is.
    pub origin: String,
    /// The scope that holds it.
    pub scope: String,
    /// The row of the application that shows it, as `table key`.
    pub row: Option<String>,
    /// Its fields.
    pub fields: BTreeMap<String, BlamedField>,
}

/// Who wrote a field.
#[derive(Debug, serde::Serialize)]
pub struct BlamedField {
    /// What the application shows.
    pub shown: serde_json::Value,
    /// Whether somebody should choose among the values.
    pub open: bool,
    /// The concurrent writes, the latest first.
    pub writes: Vec<BlamedWrite>,
}

/// One write.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct BlamedWrite {
    /// What it wrote.
    pub value: serde_json::Value,
    /// Who wrote it.
    pub author: String,
    /// When, by the writer's clock.
    pub time: UnixMillis,
    /// The commit that it came in; `None` if that is older than the history held here.
    pub commit: Option<CommitId>,
}

/// A commit that changed a record.
#[derive(Debug, serde::Serialize)]
pub struct RecordLogEntry {
    /// The commit.
    #[serde(flatten)]
    pub entry: LogEntry,
    /// What it changed, without fields of a merge: those stand with the commits that it joins. What was written
    /// over since can only be told while the records of the commit are held.
    pub change: RecordDiff,
    /// Fields that somebody should choose a value for, as of this commit.
    pub open: Vec<FieldName>,
}

/// The commits of a scope by the write that they are.
type Captures = BTreeMap<(InstanceId, u32, u64), CommitId>;

impl Instance {
    /// Tells who wrote each field of a record, given by `dataset/key` or the first digits of its key.
    ///
    /// # Errors
    /// `NotFound`, `Ambiguous`.
    pub fn blame(&self, text: &str) -> Result<Blame, Error> {
        let (scope, id, record) = self.find_record(text)?;
        let captures = self.captures(&scope)?;
        let row = self.with_database(|database| Ok(database.locate(&id)?)).ok().flatten();
        let mut fields = BTreeMap::new();
        for (field, cell) in &record.cells {
            let mut elements: Vec<&Element> = cell.elements().iter().collect();
            elements.sort_by_key(|element| std::cmp::Reverse((element.stamp.time, element.stamp)));
            let writes = elements.into_iter().map(|element| {
                Ok(BlamedWrite {
                    value: element.value.to_json(),
                    author: self.instance_label(&element.stamp.author)?,
                    time: element.stamp.time,
                    commit: captures.get(&dot(&element.stamp)).copied(),
                })
            });
            let shown = show(cell, scope.schema.strategy(&id.dataset, field), &id.origin).value.to_json();
            let open = is_open(&scope, &id.dataset, field, cell);
            fields
                .insert(field.to_string(), BlamedField { shown, open, writes: writes.collect::<Result<_, Error>>()? });
        }
        let origin = self.instance_label(&id.origin)?;
        Ok(Blame { record: id.to_string(), origin, scope: scope.label(self)?, row, fields })
    }

    /// Lists the commits that changed a record, newest first, at most `limit`. The record is given by
    /// `dataset/key` or the first digits of its key; one that is gone, by all of its digits.
    ///
    /// Of a commit whose records aren't held (followers get them folded), only what still stands is listed.
    ///
    /// # Errors
    /// `NotFound`, `Ambiguous`.
    pub fn log_record(&self, text: &str, limit: usize) -> Result<Vec<RecordLogEntry>, Error> {
        let (scopes, dataset, key) = match self.find_record(text) {
            Ok((scope, RecordId { dataset, key, .. }, _)) => (vec![scope], dataset, key),
            Err(error) => match whole_name(text) {
                Some((dataset, key)) => (self.scopes_labelled(None)?, dataset, key),
                None => return Err(error),
            },
        };
        let mut entries = Vec::new();
        for scope in scopes {
            self.log_record_in(&scope, &dataset, &key, &mut entries)?;
        }
        if entries.is_empty() {
            return Err(Error::NotFound { what: format!("record {text:?}") });
        }
        entries.sort_by(|(a, left), (b, right)| (b, left.entry.commit).cmp(&(a, right.entry.commit)));
        Ok(entries.into_iter().take(limit).map(|(_, entry)| entry).collect())
    }

    fn log_record_in(
        &self,
        scope: &OpenScope,
        dataset: &DatasetName,
        key: &RecordKey,
        found: &mut Vec<(UnixMillis, RecordLogEntry)>,
    ) -> Result<(), Error> {
        let head = scope.row.local_head.map(|id| self.state.known_commit(&scope.row.id, &id)).transpose()?;
        let newest = match &head {
            Some(head) => self.record_at(scope, head, dataset, key)?,
            None => None,
        };
        let mut entries = Vec::new();
        self.log_scope(scope, &mut entries)?;
        for (time, entry) in entries {
            let Some(known) = self.state.commit(&scope.row.id, &entry.commit)? else { continue };
            let now = self.held(scope, &known, dataset, key)?;
            let mut parents = Vec::new();
            for parent in &entry.parents {
                let known = self.state.commit(&scope.row.id, parent)?;
                parents.push(known.map(|known| self.held(scope, &known, dataset, key)).transpose()?.flatten());
            }
            let name = format!("{}/{key}", dataset.base());
            let is_merge = matches!(known.commit.making, Making::Merge(_));
            let held: Vec<&Option<Record>> = parents.iter().flatten().collect();
            let change = match &now {
                // A commit differs from all of its parents, or says nothing about the record. A merge of which not all
                // parents are held may only repeat one of those, unless it holds several values.
                Some(now) if !held.is_empty() && (is_merge || held.len() == parents.len()) => {
                    let several = now.as_ref().is_some_and(|now| now.conflicts().next().is_some());
                    let differs = held.iter().all(|parent| *parent != now) && (held.len() == parents.len() || several);
                    differs.then(|| record_diff(name, held[0].as_ref(), now.as_ref()))
                }
                Some(Some(now)) if parents.is_empty() => Some(record_diff(name, None, Some(now))),
                now => {
                    let newest = now.as_ref().map_or(newest.as_ref(), Option::as_ref);
                    written_in(&known, newest).map(|written| record_diff(name, None, Some(&written)))
                }
            };
            if let Some(mut change) = change {
                if is_merge {
                    change.fields.clear();
                }
                let record = now.flatten();
                let open = record.map(|record| open_fields(scope, dataset, &record)).unwrap_or_default();
                found.push((time, RecordLogEntry { entry, change, open }));
            }
        }
        Ok(())
    }

    /// The record at a commit; `None` if the trees of the commit aren't held.
    fn held(
        &self,
        scope: &OpenScope,
        at: &Known,
        dataset: &DatasetName,
        key: &RecordKey,
    ) -> Result<Option<Option<Record>>, Error> {
        match self.record_at(scope, at, dataset, key) {
            Ok(record) => Ok(Some(record)),
            Err(Error::Tree { source: crate::tree::error::TreeError::Missing { .. }, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn captures(&self, scope: &OpenScope) -> Result<Captures, Error> {
        let mut entries = Vec::new();
        self.log_scope(scope, &mut entries)?;
        let mut captures = Captures::new();
        for (_, entry) in entries {
            if let Some(known) = self.state.commit(&scope.row.id, &entry.commit)?
                && let Making::Capture { author, incarnation, sequence, .. } = known.commit.making
            {
                captures.insert((author, incarnation, sequence), entry.commit);
            }
        }
        Ok(captures)
    }
}

fn dot(stamp: &Stamp) -> (InstanceId, u32, u64) {
    (stamp.author, stamp.incarnation, stamp.sequence)
}

/// What of a record a capture commit wrote, as far as it still stands.
fn written_in(known: &Known, newest: Option<&Record>) -> Option<Record> {
    let Making::Capture { author, incarnation, sequence, .. } = known.commit.making else { return None };
    let mut written = Record::default();
    for (field, cell) in &newest?.cells {
        let element = cell.elements().iter().find(|element| dot(&element.stamp) == (author, incarnation, sequence));
        if let Some(element) = element {
            let cell = crate::record::cell::Cell::new(element.stamp, element.value.clone());
            written.cells.insert(field.clone(), cell);
        }
    }
    (!written.cells.is_empty()).then_some(written)
}

fn whole_name(text: &str) -> Option<(DatasetName, RecordKey)> {
    let (dataset, key) = text.split_once('/')?;
    Some((DatasetName::new(dataset).ok()?, key.parse().ok()?))
}
