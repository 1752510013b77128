//! What is read for many records at once before it is decided what becomes of each.
//!
//! It holds while nothing is written but what `together` writes, in one transaction; the bookkeeping changes by nobody
//! else there, and rows that count are locked.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::apply::{Apply, Current, Fail};
use super::books::{Books, Entry, Mapped};
use super::key::Key;
use super::look::{self, Override, Parent, Parents};
use super::plan::{Content, Plan, quote};
use super::raw::Raw;
use super::session::{Held, Row, SqlError};
use crate::id::name::DatasetName;
use crate::record::recordid::RecordId;

/// What was read ahead.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// The map rows of records; `None` of those that have none.
    pub(super) entries: HashMap<RecordId, Option<Entry>>,
    /// Rows that others refer to, by dataset and key.
    pub(super) parents: HashMap<(usize, Key), Option<Parent>>,
    names: Names,
    /// Records that get placeholders where somebody needs one; while it is only tried what would come of some.
    pub(super) promised: HashSet<RecordId>,
}

/// By dataset, who has a name.
pub(super) type Names = HashMap<DatasetName, HashMap<String, Option<Key>>>;

/// Whether a name is taken by a row other than one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    No,
    Yes,
    Unknown,
}

/// Finds parents among those that were read ahead, or else in the bookkeeping.
struct Learned<'a> {
    known: &'a HashMap<(usize, Key), Option<Parent>>,
    map: Mapped<'a>,
}

impl Parents for Learned<'_> {
    fn find(&mut self, dataset: usize, key: &Key) -> Result<Option<Parent>, SqlError> {
        match self.known.get(&(dataset, key.clone())) {
            Some(known) => Ok(known.clone()),
            None => self.map.find(dataset, key),
        }
    }
}

impl Ahead {
    pub(super) fn taken(&self, plan: &Plan, name: &str, own: Option<&Key>) -> Taken {
        match self.names.get(&plan.name).and_then(|names| names.get(name)) {
            Some(Some(holder)) if Some(holder) == own => Taken::No,
            Some(Some(_)) => Taken::Yes,
            Some(None) => Taken::No,
            None => Taken::Unknown,
        }
    }

    /// Returns who has which name, to be set again after it was only tried what would come of some records.
    pub(super) fn names(&self) -> Names {
        self.names.clone()
    }

    pub(super) fn set_names(&mut self, names: Names) {
        self.names = names;
    }

    /// Notes that a row will have another name than before; `holder` is its key, or any other of a new row.
    pub(super) fn rename(&mut self, plan: &Plan, before: Option<&Raw>, name: &str, holder: Key) {
        let names = self.names.entry(plan.name.clone()).or_default();
        if let Some(Raw::Text(before)) = before
            && before != name
        {
            names.insert(before.clone(), None);
        }
        names.insert(name.to_owned(), Some(holder));
    }
}

impl Apply<'_> {
    /// Finds the map row of a record.
    pub(super) fn find(&self, dataset: usize, id: &RecordId) -> Result<Option<Entry>, SqlError> {
        match self.ahead.entries.get(id) {
            Some(known) => Ok(known.clone()),
            None => self.books.find(self.conn, dataset, id),
        }
    }

    /// Reads the map rows of records.
    pub(super) fn learn_entries(&mut self, dataset: usize, ids: &[&RecordId]) -> Result<(), SqlError> {
        let new = ids.iter().copied().filter(|id| !self.ahead.entries.contains_key(*id));
        let mut found = self.books.find_all(self.conn, dataset, new)?;
        for id in ids {
            if !self.ahead.entries.contains_key(*id) {
                self.ahead.know(self.books, dataset, id, found.remove(*id));
            }
        }
        Ok(())
    }

    /// Makes sure that rows are there which others will refer to, and stay; those that somebody holds are left out.
    pub(super) fn learn_targets(&mut self, dataset: usize, ids: &[&RecordId]) -> Result<(), Fail> {
        let entries: HashMap<Key, Entry> = ids
            .iter()
            .filter_map(|id| self.ahead.entries.get(*id)?.clone())
            .filter(|entry| !self.verified.contains(&(dataset, entry.key.clone())))
            .map(|entry| (entry.key.clone(), entry))
            .collect();
        let keys: Vec<Key> = entries.keys().cloned().collect();
        let plans = self.plans;
        for (key, row) in self.read_all(dataset, &keys, self.conn.row_lock_free())? {
            let birth = look::birth(&plans.list[dataset], &row, &mut self.buffer)?;
            if entries.get(&key).is_some_and(|entry| entry.birth == birth) {
                self.verified.insert((dataset, key));
            }
        }
        Ok(())
    }

    /// Reads what the map has of the rows that some rows refer to.
    pub(super) fn learn_parents<'r>(
        &mut self,
        dataset: usize,
        rows: impl Iterator<Item = &'r Held> + Clone,
    ) -> Result<(), SqlError> {
        let plans = self.plans;
        for (index, field) in plans.list[dataset].fields.iter().enumerate() {
            let Content::Ref(reference) = &field.content else { continue };
            let parent = reference.parent;
            let mut keys = BTreeSet::new();
            for row in rows.clone() {
                if field.has_turn(row)? {
                    keys.extend(reference.key_of(row.raw(index + 1)?));
                }
            }
            let new = |key: &Key| !self.ahead.parents.contains_key(&(parent, key.clone()));
            let keys: Vec<Key> = keys.into_iter().filter(new).collect();
            if keys.is_empty() {
                continue;
            }
            let found = self.books.at_all(self.conn, parent, &keys)?;
            let found: HashMap<&Key, &Entry> = found.iter().map(|entry| (&entry.key, entry)).collect();
            for key in &keys {
                let known = found.get(key).map(|entry| self.books.parent(entry));
                self.ahead.parents.insert((parent, key.clone()), known);
            }
        }
        Ok(())
    }

    /// Finds out who has the names that new rows are to get.
    pub(super) fn learn_names(&mut self, dataset: usize, names: &BTreeSet<String>) -> Result<(), SqlError> {
        let plan = &self.plans.list[dataset];
        let Some(index) = plan.spec.alias.as_ref().and_then(|alias| plan.field(alias)) else { return Ok(()) };
        let (key, column) = (plan.key.value(self.conn, ""), quote(&plan.fields[index].columns.0[0].name));
        let list: Vec<Key> = names.iter().map(|name| Key::Text(name.as_str().into())).collect();
        let (among, list) = (self.conn.among(&column, false, "?1"), self.conn.list(&list, false));
        let sql = format!("SELECT {key}, {column} FROM {} WHERE {among}", plan.table);
        let mut known: HashMap<String, Option<Key>> = names.iter().map(|name| (name.clone(), None)).collect();
        let mut is_odd = false;
        self.conn.each(&sql, &bind![list], &mut |row| {
            match (Key::of(row.raw(0)?), known.get_mut(row.str(1)?)) {
                (Some(key), Some(holder)) => *holder = Some(key),
                // The database takes names for equal that aren't.
                _ => is_odd = true,
            }
            Ok(true)
        })?;
        if !is_odd {
            self.ahead.names.entry(plan.name.clone()).or_default().extend(known);
        }
        Ok(())
    }

    /// Looks at a row that was read.
    pub(super) fn look_at(
        &mut self,
        dataset: usize,
        row: &Held,
        entry: (i64, Option<&str>),
        overrides: &[Override],
    ) -> Result<Current, SqlError> {
        let (plan, books, (origin, rule)) = (&self.plans.list[dataset], &*self.books, entry);
        let mut parents = Learned { known: &self.ahead.parents, map: Mapped { conn: self.conn, books } };
        let marks = books.marks(dataset, rule);
        let look = look::look(plan, row, origin, marks, overrides, &mut parents, &mut self.buffer)?;
        let flags = look.flags(0);
        let (digest, audience) = (look.digest, look.audience);
        let birth = look::birth(plan, row, &mut self.buffer)?;
        Ok(Current { raws: row.0[..=plan.fields.len()].to_vec(), birth, digest, audience, flags })
    }
}

impl Ahead {
    /// Notes what the map has of a record.
    pub(super) fn know(&mut self, books: &Books, dataset: usize, id: &RecordId, entry: Option<Entry>) {
        if let Some(entry) = &entry {
            self.parents.insert((dataset, entry.key.clone()), Some(books.parent(entry)));
        }
        self.entries.insert(id.clone(), entry);
    }
}

/// Tells whether a name can be looked for together with others.
pub(super) fn is_plain_name(name: &str) -> bool {
    !name.contains('\0')
}
