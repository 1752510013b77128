//! Makes the rows of many records show their contents: all of `put`, a step at a time for all of them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::ahead::is_plain_name;
use super::apart::STAYS;
use super::apply::{Apply, Current, Done, Fail};
use super::books::{Entry, STUB};
use super::key::Key;
use super::look::{OWN, Override};
use super::put::{Wanted, check_author, check_only, fill, keep_unsaid, respelled, stays_home, unsaid};
use super::raw::Raw;
use super::row::Columns;
use super::together::{Became, Overrides, Rows};
use crate::connector::contract::{Change, Content};
use crate::connector::mapping::model::{Constant, Missing};
use crate::record::recordid::RecordId;
use crate::record::value::Value;
use crate::scope::audience::{Audience, Reason};

/// A record that is written.
struct Item<'c> {
    at: usize,
    content: &'c Content,
    entry: Option<Entry>,
    current: Option<Current>,
    old: Vec<Override>,
    wanted: Wanted,
    done: Done,
}

/// What was found of the records of a run.
struct Found {
    rows: Rows,
    olds: Overrides,
    /// Those that vanished and were not settled.
    gone: HashSet<RecordId>,
}

/// What a map row is made of, beside its row.
struct Note<'n> {
    id: &'n RecordId,
    key: Key,
    audience: Audience,
    flags: i64,
    rule: Option<String>,
    overrides: Vec<Override>,
}

impl<'a> Apply<'a> {
    /// Makes the rows of records show their contents.
    pub(super) fn put_run(&mut self, dataset: usize, run: &[Change]) -> Result<Vec<Became>, Fail> {
        let ids: Vec<&RecordId> = run.iter().map(|change| &change.id).collect();
        for id in &ids {
            self.books.intern(self.conn, &id.origin)?;
        }
        self.learn_entries(dataset, &ids)?;
        let gone = match self.has_gone {
            true => self.books.gone_among(self.conn, dataset, ids.iter().copied())?,
            false => HashSet::new(),
        };
        let missing = self.learn_references(dataset, run)?;
        let (rows, olds) = self.rows_of(dataset, &ids)?;
        self.learn_wanted_names(dataset, run)?;
        let found = Found { rows, olds, gone };
        let mut became = match missing.is_empty() {
            true => run.iter().map(|_| None).collect(),
            false => self.prepare_stubs(dataset, run, missing, &found)?,
        };
        let mut items = Vec::new();
        for (at, change) in run.iter().enumerate() {
            if became[at].is_some() {
                continue;
            }
            match self.decide(dataset, (at, change), &found)? {
                Ok(item) => items.push(item),
                Err(decided) => became[at] = Some(decided),
            }
        }
        self.set_same_apart(dataset, &mut items, &mut became)?;
        self.write_items(dataset, run, &mut items, &mut became)?;
        for item in items {
            became[item.at].get_or_insert(Became::Done(item.done));
        }
        Ok(became.into_iter().map(|became| became.expect("each change was decided")).collect())
    }

    /// Reads what the records refer to; returns what isn't here and gets placeholders, with its dataset.
    fn learn_references(&mut self, dataset: usize, run: &[Change]) -> Result<HashMap<RecordId, usize>, Fail> {
        let plans = self.plans;
        let plan = &plans.list[dataset];
        let mut missing = HashMap::new();
        for (index, reference) in plan.refs() {
            let (name, parent) = (&plan.fields[index].name, reference.parent);
            let mut targets = BTreeSet::new();
            for change in run {
                match change.content.as_ref().and_then(|content| content.fields.get(name)) {
                    Some(Value::Ref(id)) if id.dataset == plans.list[parent].name && *id != change.id => {
                        targets.insert(id);
                    }
                    _ => {}
                }
            }
            let targets: Vec<&RecordId> = targets.into_iter().collect();
            if targets.is_empty() {
                continue;
            }
            self.learn_entries(parent, &targets)?;
            self.learn_targets(parent, &targets)?;
            if reference.missing == Missing::Stub && plans.list[parent].spec.same.is_empty() {
                let unknown = targets.into_iter().filter(|id| matches!(self.ahead.entries.get(*id), Some(None)));
                missing.extend(unknown.map(|id| (id.clone(), parent)));
            }
        }
        Ok(missing)
    }

    /// Makes placeholders for what records need that are going to be written; one that waits makes none, and what becomes of it
    /// is returned.
    fn prepare_stubs(
        &mut self,
        dataset: usize,
        run: &[Change],
        missing: HashMap<RecordId, usize>,
        found: &Found,
    ) -> Result<Vec<Option<Became>>, Fail> {
        let mut became = Vec::with_capacity(run.len());
        let names = self.ahead.names();
        self.ahead.promised = missing.keys().cloned().collect();
        let mut needed: BTreeMap<usize, BTreeSet<&RecordId>> = BTreeMap::new();
        for (at, change) in run.iter().enumerate() {
            let item = self.decide(dataset, (at, change), found)?;
            if let Ok(item) = &item {
                for id in self.shown_targets(dataset, item.content, item.current.as_ref()) {
                    if let Some(parent) = missing.get(id) {
                        needed.entry(*parent).or_default().insert(id);
                    }
                }
            }
            became.push(item.err());
        }
        self.ahead.promised.clear();
        self.ahead.set_names(names);
        for (parent, ids) in needed {
            self.insert_stubs(parent, &ids.into_iter().collect::<Vec<_>>())?;
        }
        Ok(became)
    }

    /// Returns the records that the row of a record is going to refer to.
    fn shown_targets<'c>(&self, dataset: usize, content: &'c Content, current: Option<&Current>) -> Vec<&'c RecordId> {
        let plan = &self.plans.list[dataset];
        let shown = current.map(|row| row.raws.as_slice());
        let fields = plan.refs().map(|(index, _)| &plan.fields[index]);
        let values = fields.filter(|field| field.will_have_turn(plan, content, shown));
        let targets = values.filter_map(|field| match content.fields.get(&field.name) {
            Some(Value::Ref(target)) => Some(target),
            _ => None,
        });
        targets.collect()
    }

    /// Writes placeholder rows for records that aren't here.
    fn insert_stubs(&mut self, dataset: usize, ids: &[&RecordId]) -> Result<(), Fail> {
        if ids.is_empty() {
            return Ok(());
        }
        let plan = &self.plans.list[dataset];
        if let Some(Constant::Text(text)) = plan.spec.alias.as_ref().and_then(|alias| plan.spec.stub.get(alias)) {
            let names: BTreeSet<String> = ids.iter().map(|id| fill(text, id)).collect();
            self.learn_names(dataset, &names)?;
        }
        let mut columns = Vec::with_capacity(ids.len());
        for id in ids {
            self.books.intern(self.conn, &id.origin)?;
            let raws = self.stub_raws(plan, id, None)?;
            columns.push(self.kept_columns_of(dataset, id, &raws, "private"));
        }
        let keys = self.insert_all(dataset, &columns)?;
        let mut notes = Vec::with_capacity(ids.len());
        for (id, key) in ids.iter().zip(&keys) {
            let (key, audience) = (key.clone(), Audience::Private(Reason::Withheld));
            notes.push(Note { id, key, audience, flags: STUB, rule: None, overrides: Vec::new() });
        }
        let rows = self.read_back(dataset, &keys)?;
        for (entry, id) in self.write_all_down(dataset, notes, &rows)?.into_iter().zip(ids) {
            self.verified.insert((dataset, entry.key.clone()));
            self.ahead.know(self.books, dataset, id, Some(entry));
        }
        self.pending.stubs.extend(ids.iter().map(|_| dataset));
        Ok(())
    }

    fn learn_wanted_names(&mut self, dataset: usize, run: &[Change]) -> Result<(), Fail> {
        let Some(alias) = &self.plans.list[dataset].spec.alias else { return Ok(()) };
        let mut names = BTreeSet::new();
        for change in run {
            match change.content.as_ref().and_then(|content| content.fields.get(alias)) {
                Some(Value::Text(name)) if is_plain_name(name) => names.insert(name.clone()),
                _ => continue,
            };
        }
        if !names.is_empty() {
            self.learn_names(dataset, &names)?;
        }
        Ok(())
    }

    /// Decides what is to be written of a record, as `put` does.
    fn decide<'c>(
        &mut self,
        dataset: usize,
        (at, change): (usize, &'c Change),
        found: &Found,
    ) -> Result<Result<Item<'c>, Became>, Fail> {
        let plans = self.plans;
        let (plan, id) = (&plans.list[dataset], &change.id);
        let content = change.content.as_ref().expect("a run of contents");
        let entry = self.ahead.entries.get(id).cloned().flatten();
        if let Some(entry) = &entry
            && stays_home(entry)
            && !self.restoring
        {
            return Ok(Err(Became::Done(Done::Unchanged)));
        }
        if self.held.contains_key(id) {
            return Ok(Err(Became::Alone));
        }
        if entry.is_none() && found.gone.contains(id) {
            return Ok(Err(Became::Failed(Fail::Dirty)));
        }
        let (mut old, mut current) = (Vec::new(), None);
        if let Some(known) = &entry {
            let Some(row) = found.rows.get(&known.key) else { return Ok(Err(Became::Alone)) };
            old = found.olds.get(&known.key).cloned().unwrap_or_default();
            let shown = self.look_at(dataset, row, (known.origin, known.rule.as_deref()), &old)?;
            if shown.birth != known.birth {
                return Ok(Err(Became::Alone));
            }
            if !known.is_stub() && (shown.digest != known.digest || known.seen > self.books.settled) {
                return Ok(Err(Became::Failed(Fail::Dirty)));
            }
            current = Some(shown);
        }
        if let Err(fail) = check_author(plan, id, content).and_then(|()| check_only(plan, content)) {
            return Ok(Err(Became::Failed(fail)));
        }
        if !self.is_plain(dataset, id, content) {
            return Ok(Err(Became::Alone));
        }
        let mut wanted = match self.wanted(dataset, id, content, entry.as_ref(), current.as_ref()) {
            Ok(wanted) => wanted,
            Err(fail @ Fail::Park { .. }) => return Ok(Err(Became::Failed(fail))),
            Err(fail) => return Err(fail),
        };
        keep_unsaid(plan, &old, &mut wanted);
        if let Some(index) = plan.spec.alias.as_ref().and_then(|alias| plan.field(alias))
            && let Some(Raw::Text(name)) = &wanted.raws[index]
        {
            let before = current.as_ref().map(|row| &row.raws[index + 1]);
            let holder = entry.as_ref().map_or(Key::Text("".into()), |entry| entry.key.clone());
            self.ahead.rename(plan, before, name, holder);
        }
        Ok(Ok(Item { at, content, entry, current, old, wanted, done: Done::Unchanged }))
    }

    /// Tells whether all that is needed to decide about a record was read ahead.
    fn is_plain(&self, dataset: usize, id: &RecordId, content: &Content) -> bool {
        let plans = self.plans;
        let plan = &plans.list[dataset];
        plan.refs().all(|(index, reference)| {
            let Some(Value::Ref(target)) = content.fields.get(&plan.fields[index].name) else { return true };
            if target == id || target.dataset != plans.list[reference.parent].name {
                return true;
            }
            match self.ahead.entries.get(target) {
                Some(Some(entry)) => self.verified.contains(&(reference.parent, entry.key.clone())),
                Some(None) => plans.list[reference.parent].spec.same.is_empty(),
                None => false,
            }
        })
    }

    /// Leaves new records to be written alone that may mean the same as a row, or as each other.
    fn set_same_apart(
        &mut self,
        dataset: usize,
        items: &mut Vec<Item<'_>>,
        became: &mut [Option<Became>],
    ) -> Result<(), Fail> {
        if self.plans.list[dataset].spec.same.is_empty() {
            return Ok(());
        }
        let apart = self.same_among(dataset, items.iter().map(|item| (item.entry.is_none(), &item.wanted)))?;
        let mut apart = apart.into_iter();
        items.retain(|item| {
            let is_apart = apart.next().expect("it was told of each");
            if is_apart {
                became[item.at] = Some(Became::Alone);
            }
            !is_apart
        });
        Ok(())
    }

    /// Inserts and updates the rows, and writes down what they show.
    fn write_items(
        &mut self,
        dataset: usize,
        run: &[Change],
        items: &mut Vec<Item<'_>>,
        became: &mut [Option<Became>],
    ) -> Result<(), Fail> {
        let plan = &self.plans.list[dataset];
        let (mut inserts, mut sets): (Vec<Columns<'a>>, Vec<Columns<'a>>) = (Vec::new(), Vec::new());
        items.retain_mut(|item| {
            let id = &run[item.at].id;
            let (Some(entry), Some(current)) = (&item.entry, &item.current) else {
                inserts.push(self.kept_columns_of(dataset, id, &item.wanted.raws, item.content.scope.as_str()));
                item.done = Done::Inserted;
                return true;
            };
            let set = self.differing(dataset, entry, current, item.content, &item.wanted);
            if set.iter().any(|(column, _)| plan.key.has(column)) {
                became[item.at] = Some(Became::Alone);
                return false;
            }
            item.done = match (entry.is_stub(), set.is_empty()) {
                (true, _) => Done::Upgraded,
                (false, false) => Done::Updated,
                (false, true) => Done::Unchanged,
            };
            let audience = Audience::Shared(item.content.scope.clone());
            let is_known = item.done == Done::Unchanged
                && item.wanted.overrides == item.old
                && entry.view == self.books.target_view()
                && (entry.origin == OWN || entry.audience == audience);
            if is_known {
                became[item.at] = Some(Became::Done(Done::Unchanged));
                return false;
            }
            sets.push(set);
            true
        });
        // Names that rows give up can be taken by new ones.
        let updates: Vec<(&Key, Columns<'a>)> =
            items.iter().filter_map(|item| item.entry.as_ref()).map(|entry| &entry.key).zip(sets).collect();
        self.update_all(dataset, &updates)?;
        let mut inserted = match inserts.is_empty() {
            true => Vec::new(),
            false => self.insert_all(dataset, &inserts)?,
        }
        .into_iter();
        let mut keys = Vec::with_capacity(items.len());
        for item in items.iter() {
            match &item.entry {
                Some(entry) => keys.push(entry.key.clone()),
                None => keys.push(inserted.next().expect("each new row has a key")),
            }
        }
        if keys.is_empty() {
            return Ok(());
        }
        let rows = self.read_back(dataset, &keys)?;
        let mut notes = Vec::with_capacity(items.len());
        for (item, key) in items.iter_mut().zip(&keys) {
            let raws = &rows[key].0;
            let mut respelled = respelled(plan, item.content, &item.wanted, raws);
            if matches!(item.done, Done::Inserted | Done::Upgraded) {
                respelled.extend(unsaid(plan, &item.wanted, raws));
            }
            let is_same = |row: &Current| row.raws[..] == raws[..row.raws.len()];
            if item.done == Done::Updated && !respelled.is_empty() && item.current.as_ref().is_some_and(is_same) {
                item.done = Done::Unchanged;
            }
            item.wanted.overrides.extend(respelled);
            notes.push(Note {
                id: &run[item.at].id,
                key: key.clone(),
                audience: Audience::Shared(item.content.scope.clone()),
                flags: item.entry.as_ref().map_or(0, |entry| entry.flags & STAYS),
                rule: item.entry.as_ref().and_then(|entry| entry.rule.clone()),
                overrides: item.wanted.overrides.clone(),
            });
        }
        let changed: Vec<(&Key, &[Override])> = (items.iter().zip(&keys))
            .filter(|(item, _)| item.wanted.overrides != item.old)
            .map(|(item, key)| (key, &item.wanted.overrides[..]))
            .collect();
        self.books.set_all_overrides(self.conn, dataset, &changed)?;
        for item in items.iter() {
            let id = &run[item.at].id;
            let origin = self.books.intern(self.conn, &id.origin)?;
            self.wait_for_targets(dataset, origin, id, &item.wanted.open, !item.old.is_empty())?;
        }
        self.write_all_down(dataset, notes, &rows)?;
        for (item, key) in items.iter().zip(&keys) {
            if item.done != Done::Unchanged {
                self.stale(dataset, key, &rows[key]);
            }
        }
        Ok(())
    }

    /// Reads rows that were just written.
    fn read_back(&mut self, dataset: usize, keys: &[Key]) -> Result<Rows, Fail> {
        let rows: Rows = self.read_all(dataset, keys, self.conn.row_lock())?.into_iter().collect();
        if keys.iter().any(|key| !rows.contains_key(key)) {
            return Err(Fail::park("a trigger of the application removed the row"));
        }
        self.learn_parents(dataset, rows.values())?;
        Ok(rows)
    }

    /// Writes map rows, each in step with the target.
    fn write_all_down(&mut self, dataset: usize, notes: Vec<Note<'_>>, rows: &Rows) -> Result<Vec<Entry>, Fail> {
        let (seen, view) = (self.books.settled, self.books.target_view());
        let mut entries = Vec::with_capacity(notes.len());
        for note in notes {
            let origin = self.books.intern(self.conn, &note.id.origin)?;
            let row = self.look_at(dataset, &rows[&note.key], (origin, note.rule.as_deref()), &note.overrides)?;
            let audience = match row.audience {
                Some(own) if note.flags & STUB == 0 => own,
                _ => note.audience,
            };
            self.pending.written.push((dataset, note.key.clone()));
            entries.push(Entry {
                key: note.key,
                origin,
                record: *note.id.key.as_bytes(),
                birth: row.birth,
                digest: row.digest,
                audience,
                seen,
                view,
                flags: note.flags | row.flags,
                rule: None,
            });
        }
        self.books.put_all(self.conn, dataset, &entries)?;
        Ok(entries)
    }
}
