//! Revert: what one commit did is taken back by an explicit write, where nobody did anything on top of it.

use std::collections::{BTreeMap, BTreeSet};

use super::commit::Mode;
use super::compose::Edits;
use super::error::Error;
use super::instance::Instance;
use super::resolve::is_open;
use super::scopes::OpenScope;
use super::write::Write;
use crate::history::commit::Making;
use crate::history::join::Known;
use crate::id::bytes::{CommitId, RecordKey};
use crate::id::name::{DatasetName, FieldName};
use crate::record::cell::{Cell, Record};
use crate::record::codec;
use crate::record::recordid::RecordId;
use crate::record::value::Value;
use crate::state::database;

/// What a revert did, or would do.
#[derive(Debug, serde::Serialize)]
pub struct Reverted {
    /// The scope.
    pub scope: String,
    /// The commit that was reverted.
    pub reverted: CommitId,
    /// The commit that reverts it; `None` in a dry run, or if nothing was left to revert.
    pub commit: Option<CommitId>,
    /// Whether it stays here, because we may not write in the scope.
    pub local: bool,
    /// The records that were written.
    pub records: Vec<RevertedRecord>,
    /// What was left as it is.
    pub left: Vec<Left>,
}

/// A record that was written.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct RevertedRecord {
    /// `dataset/key`.
    pub record: String,
    /// `changed`, `removed` (the commit had added it), or `restored` (it had removed it).
    pub change: &'static str,
    /// The values that its fields have again; none of a removed record.
    pub fields: BTreeMap<FieldName, serde_json::Value>,
}

/// Something that was left as it is.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Left {
    /// `dataset/key` of the record.
    pub record: String,
    /// The field, if not all of the record.
    pub field: Option<FieldName>,
    /// Why.
    pub reason: &'static str,
}

/// One revert being worked out.
struct Work<'a> {
    instance: &'a Instance,
    open: &'a OpenScope,
    /// The commit before the one to revert, that one, and the newest.
    before: &'a Known,
    reverted: &'a Known,
    head: &'a Known,
    write: Write<'a>,
    edits: Edits,
    records: Vec<RevertedRecord>,
    left: Vec<Left>,
}

impl Instance {
    /// Takes back what a capture commit did, given by its first digits (or a scope's label for its newest).
    ///
    /// Fields that still show what the commit wrote get the value before it; fields that were written
    /// since, or are an open conflict, are left and reported. Records that it added are removed if nothing
    /// of them changed since, records that it removed are brought back. One new commit, written into the
    /// application's rows at once.
    ///
    /// # Errors
    /// `NotRevertible` for a merge, the first commit of a scope, or a foreign commit where we may not write;
    /// `NotFound`, `Ambiguous`.
    pub fn revert(&self, commit: &str, mode: Mode) -> Result<Reverted, Error> {
        let (open, reverted) = self.find_commit(commit)?;
        let local = !open.manifest.may_write(&self.id());
        let before = self.revertible(&open, &reverted, local)?;
        if mode == Mode::Keep {
            self.commit(Mode::Keep)?;
        }
        let (open, head) = self.open_at_head(&open.row.id)?;
        let stamp = self.next_stamp(&open)?;
        let published = self.state.head(&open.row.id, &self.id())?.map_or(0, |head| head.writes);
        let write = Write { scope: &open, stamp, published };
        let (edits, records, left) = (Edits::new(), Vec::new(), Vec::new());
        let mut work = Work {
            instance: self,
            open: &open,
            before: &before,
            reverted: &reverted,
            head: &head,
            write,
            edits,
            records,
            left,
        };
        work.run()?;
        let Work { edits, records, left, .. } = work;
        let mut result =
            Reverted { scope: open.label(self)?, reverted: reverted.id, commit: None, local, records, left };
        if edits.is_empty() || mode == Mode::DryRun {
            return Ok(result);
        }
        let removed: Vec<_> = edits.iter().filter(|(_, edit)| edit.is_none()).map(|(at, _)| at.clone()).collect();
        let transaction = self.state.transaction()?;
        let made = self.compose(&open, &head, edits, stamp)?;
        for (dataset, key) in &removed {
            // Their rows go too: they are deleted, not withdrawn.
            self.state.set_withdrawn(&open.row.id, dataset, key, false)?;
        }
        self.advance(&open, &made)?;
        database::commit(transaction)?;
        self.apply(Mode::Keep)?;
        result.commit = Some(made.id);
        Ok(result)
    }

    /// Returns the commit before one that can be reverted.
    fn revertible(&self, open: &OpenScope, known: &Known, local: bool) -> Result<Known, Error> {
        let refuse = |reason| Error::NotRevertible { commit: known.id.short(), reason };
        let Making::Capture { parent, author, .. } = &known.commit.making else {
            return Err(refuse("it is a merge, which wrote nothing; revert the commits that it joins"));
        };
        if local && *author != self.id() {
            return Err(refuse("it isn't ours, and we may not write in its scope"));
        }
        let parent = parent.ok_or_else(|| refuse("it is the first of its scope, and there is nothing before it"))?;
        self.state.commit(&open.row.id, &parent)?.ok_or_else(|| refuse("the commit before it isn't held here"))
    }
}

impl Work<'_> {
    fn run(&mut self) -> Result<(), Error> {
        let mut keys = Vec::new();
        let (before, reverted) = (&self.before.commit, &self.reverted.commit);
        let differences = self.instance.each_difference(self.open, Some(before), reverted, &mut |dataset, key, _| {
            keys.push((dataset.clone(), *key));
            Ok(())
        });
        match differences {
            Err(Error::Tree { source: crate::tree::error::TreeError::Missing { .. }, .. }) => {
                let reason = "what it changed isn't held here, only what came of it";
                return Err(Error::NotRevertible { commit: self.reverted.id.short(), reason });
            }
            other => other?,
        }
        for (dataset, key) in keys {
            self.record(dataset, key)?;
        }
        Ok(())
    }

    fn record(&mut self, dataset: DatasetName, key: RecordKey) -> Result<(), Error> {
        let at = |known: &Known| self.instance.record_at(self.open, known, &dataset, &key);
        let (before, reverted, head) = (at(self.before)?, at(self.reverted)?, at(self.head)?);
        match (before, reverted, head) {
            (Some(before), None, None) => self.bring_back(dataset, key, &before),
            (None, Some(reverted), Some(head)) => {
                self.remove(dataset, key, &reverted, &head);
                Ok(())
            }
            (Some(before), Some(reverted), Some(head)) => {
                self.change(dataset, key, [&before, &reverted], head);
                Ok(())
            }
            (_, Some(_), None) => {
                self.leave(&dataset, &key, None, "the record is gone");
                Ok(())
            }
            (_, None, _) => {
                self.leave(&dataset, &key, None, "the record is back already");
                Ok(())
            }
        }
    }

    fn change(&mut self, dataset: DatasetName, key: RecordKey, sides: [&Record; 2], head: Record) {
        let [before, reverted] = sides;
        let shown = |record: &Record, field: &FieldName| self.write.shown(record, &dataset, field);
        let same = |left: &Option<Value>, right: &Option<Value>| match (left, right) {
            (Some(left), Some(right)) => left.same(right),
            (left, right) => left.is_none() && right.is_none(),
        };
        let mut fields = BTreeMap::new();
        let mut left = Vec::new();
        let names: BTreeSet<&FieldName> = before.cells.keys().chain(reverted.cells.keys()).collect();
        for field in names {
            let (old, new, now) = (shown(before, field), shown(reverted, field), shown(&head, field));
            if same(&old, &new) || same(&old, &now) {
                continue;
            }
            let is_open = head.cells.get(field).is_some_and(|cell| is_open(self.open, &dataset, field, cell));
            match old {
                _ if is_open => left.push((field.clone(), "it is an open conflict")),
                _ if !same(&new, &now) => left.push((field.clone(), "it was changed since")),
                None => left.push((field.clone(), "the record had no such field before")),
                Some(old) => {
                    fields.insert(field.clone(), old);
                }
            }
        }
        let written = fields.iter().map(|(field, value)| (field.clone(), value.to_json())).collect();
        for moved in fields.keys().flat_map(|field| self.open.schema.group_of(&dataset, field)).collect::<Vec<_>>() {
            if let Some(value) = shown(&head, &moved) {
                fields.entry(moved).or_insert(value);
            }
        }
        if let Some(record) = self.write.onto(Some(head), &dataset, fields) {
            self.put("changed", (dataset.clone(), key), Some(record), written);
        }
        for (field, reason) in left {
            self.leave(&dataset, &key, Some(field), reason);
        }
    }

    fn remove(&mut self, dataset: DatasetName, key: RecordKey, reverted: &Record, head: &Record) {
        let bytes = |record| codec::encode(record, &self.open.row.origin);
        if bytes(reverted) == bytes(head) {
            self.put("removed", (dataset, key), None, BTreeMap::new());
        } else {
            self.leave(&dataset, &key, None, "the record was changed since it was added");
        }
    }

    fn bring_back(&mut self, dataset: DatasetName, key: RecordKey, before: &Record) -> Result<(), Error> {
        let instance = self.instance;
        if self.open.row.origin == instance.id() {
            let id = RecordId { origin: instance.id(), dataset: dataset.clone(), key };
            let audience = instance.with_database(|database| Ok(database.audience(&id)?))?;
            let elsewhere = audience.is_some_and(|audience| audience.scope() != Some(&self.open.row.name));
            if elsewhere || instance.state.is_withdrawn(&self.open.row.id, &dataset, &key)? {
                self.leave(&dataset, &key, None, "it was withdrawn, and its row decides who reads it");
                return Ok(());
            }
        }
        let mut record = Record::default();
        let mut written = BTreeMap::new();
        for field in before.cells.keys() {
            let value = self.write.shown(before, &dataset, field).expect("the field was listed just now");
            written.insert(field.clone(), value.to_json());
            let strategy = self.open.schema.strategy(&dataset, field);
            record.cells.insert(field.clone(), Cell::again(self.write.stamp, value, strategy));
        }
        self.put("restored", (dataset, key), Some(record), written);
        Ok(())
    }

    fn put(
        &mut self,
        change: &'static str,
        at: (DatasetName, RecordKey),
        record: Option<Record>,
        fields: BTreeMap<FieldName, serde_json::Value>,
    ) {
        self.records.push(RevertedRecord { record: format!("{}/{}", at.0.base(), at.1), change, fields });
        self.edits.insert(at, record);
    }

    fn leave(&mut self, dataset: &DatasetName, key: &RecordKey, field: Option<FieldName>, reason: &'static str) {
        self.left.push(Left { record: format!("{}/{key}", dataset.base()), field, reason });
    }
}
