//! Pieces: a record and its overlays lie in several scopes of one origin, and live or die together.
//!
//! Each scope is merged by itself, and there a deletion takes every piece of which nothing was edited meanwhile: the body of a
//! post whose note somebody edited, or the other way round. Nobody who reads one scope alone can know. So whoever merged looks at
//! all scopes of the origin that it reads, and writes the pieces again that went although another one lives on. Several who
//! do so at once write equal values, which are no conflict. The origin reads everything and looks again when others have merged.
//!
//! What we deleted without having seen all pieces is looked for in `unseen.rs`. A piece that was withdrawn stays away: it was
//! not deleted. And of a record that somebody deleted who reads only a part of it, the origin deletes the rest.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::belongs::Belongs;
use super::compose::Edits;
use super::error::Error;
use super::instance::Instance;
use super::merge::Trace;
use super::scopes::OpenScope;
use crate::history::commit::Making;
use crate::history::join::Known;
use crate::id::bytes::{InstanceId, RecordKey, ScopeId};
use crate::id::name::{DatasetName, FieldName, ScopeName};
use crate::merge::record::{Joined, Side as Joining, join};
use crate::merge::strategy::show;
use crate::record::cell::{Cell, Record};
use crate::record::clock::Clock;
use crate::record::recordid::RecordId;
use crate::record::stamp::Stamp;
use crate::scope::audience::Audience;
use crate::tree::diff::Difference;

/// One scope of the origin.
pub(super) struct Side {
    pub(super) scope: OpenScope,
    pub(super) head: Known,
    pub(super) before: Option<Known>,
    pub(super) is_first: bool,
    pub(super) captured: Option<(Known, Known)>,
    /// What the heads of others name, and our own last one.
    heads: Vec<Known>,
    may_write: bool,
    edits: Edits,
    /// By tree the commits that it differs in, from the head back: for those that are asked for.
    past: RefCell<BTreeMap<DatasetName, Vec<Known>>>,
}

/// Why the pieces of a record are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sign {
    /// A piece lives although somebody deleted the record; otherwise only fields of it went.
    pub(super) lives: bool,
    /// Somebody who may write said so.
    pub(super) counts: bool,
}

pub(super) type Signs = BTreeMap<(DatasetName, RecordKey), Sign>;

impl Instance {
    /// Writes the pieces of records again that a deletion took although another piece was edited. Returns how many, by
    /// scope. The caller holds a transaction of the state.
    ///
    /// # Errors
    /// A tree that can't be read or written; the application's database.
    pub(super) fn keep_pieces_together(
        &self,
        origin: &InstanceId,
        traces: &[Trace],
    ) -> Result<BTreeMap<ScopeId, u64>, Error> {
        let mut written = BTreeMap::new();
        let is_own = *origin == self.id();
        // During a restore the rows may be older than what was published: they are captured when it is done.
        if is_own && self.is_restoring() {
            return Ok(written);
        }
        if traces.iter().all(Trace::is_empty) {
            return Ok(written);
        }
        let mut sides = self.sides(origin, traces)?;
        let overlaid: BTreeSet<DatasetName> = sides.iter().flat_map(Side::overlaid).collect();
        if sides.len() < 2 || overlaid.is_empty() {
            return Ok(written);
        }
        let mut signs = self.signs(&sides, traces, &overlaid)?;
        self.unshown_signs(&sides, &overlaid, &mut signs)?;
        let gone = if is_own {
            self.own_signs(&sides, &overlaid, &mut signs)?
        } else {
            self.unseen_signs(&sides, &overlaid, &mut signs)?;
            BTreeSet::new()
        };
        let ours = if is_own && !signs.is_empty() {
            Some((self.mapping()?, self.with_database(|database| Ok((database.least_scopes(), database.datasets())))?))
        } else {
            None
        };
        let rules = ours.as_ref().map(|(mapping, (least, mapped))| Belongs { mapping, least, mapped });
        for ((dataset, key), sign) in signs {
            self.mend_pieces(&mut sides, &RecordId { origin: *origin, dataset, key }, sign, rules.as_ref())?;
        }
        self.drop_left_overlays(&mut sides, &gone)?;
        for Side { scope, head, mut edits, may_write, .. } in sides {
            if edits.is_empty() {
                continue;
            }
            let stamp = self.next_stamp(&scope)?;
            for ((tree, _), record) in edits.iter_mut().filter(|_| may_write) {
                *record = record.take().map(|record| again(&scope, tree, record, stamp));
            }
            written.insert(scope.row.id, edits.values().flatten().count() as u64);
            let deleted: Vec<_> = edits.iter().filter(|(_, edit)| edit.is_none()).map(|(at, _)| at.clone()).collect();
            let made = self.compose(&scope, &head, edits, stamp)?;
            for (tree, key) in &deleted {
                // They went with their records, and were not withdrawn.
                self.state.set_withdrawn(&scope.row.id, tree, key, false)?;
            }
            self.advance(&scope, &made)?;
        }
        Ok(written)
    }

    /// Deletes the overlays of records of ours that somebody deleted who doesn't read them.
    fn drop_left_overlays(&self, sides: &mut [Side], gone: &BTreeSet<(DatasetName, RecordKey)>) -> Result<(), Error> {
        for (dataset, key) in gone {
            let is_again = sides.iter().any(|side| side.edits.contains_key(&(dataset.clone(), *key)));
            if is_again || self.is_here(sides, dataset, key)? {
                continue;
            }
            let overlay = dataset.overlay();
            for side in &mut *sides {
                if self.record_at(&side.scope, &side.head, &overlay, key)?.is_some() {
                    side.edits.insert((overlay.clone(), *key), None);
                }
            }
        }
        Ok(())
    }

    fn sides(&self, origin: &InstanceId, traces: &[Trace]) -> Result<Vec<Side>, Error> {
        let mut sides = Vec::new();
        for scope in self.open_scopes_of(origin)? {
            let id = scope.row.id;
            let Some(head) = scope.row.local_head else { continue };
            if !self.follows(&scope.row)? {
                continue;
            }
            let heads = self.counting_heads(&scope)?;
            let trace = traces.iter().find(|trace| trace.scope == id);
            let is_first = trace.is_some_and(|trace| trace.is_first);
            let (before, captured) =
                trace.map(|trace| (trace.before.clone(), trace.captured.clone())).unwrap_or_default();
            let may_write = scope.manifest.may_write(&self.id());
            let head = self.state.known_commit(&id, &head)?;
            sides.push(Side {
                scope,
                head,
                before,
                is_first,
                captured,
                heads,
                may_write,
                edits: Edits::new(),
                past: RefCell::default(),
            });
        }
        Ok(sides)
    }

    /// What the merges met themselves.
    fn signs(&self, sides: &[Side], traces: &[Trace], overlaid: &BTreeSet<DatasetName>) -> Result<Signs, Error> {
        let mut signs = Signs::new();
        let mut perhaps: BTreeSet<(DatasetName, RecordKey)> = BTreeSet::new();
        for trace in traces {
            let Some(side) = sides.iter().find(|side| trace.scope == side.scope.row.id) else { continue };
            let sign = Sign { lives: true, counts: side.may_write };
            for (is_cut, (tree, key)) in
                trace.cut.iter().map(|cut| (true, cut)).chain(trace.lone.iter().map(|lone| (false, lone)))
            {
                let dataset = tree.base();
                if !overlaid.contains(&dataset) {
                    continue;
                }
                if !is_cut && !tree.is_overlay() {
                    perhaps.insert((dataset, *key));
                    continue;
                }
                let is_whole = tree.is_overlay() && self.is_here(sides, &dataset, key)?;
                if !is_whole && !self.is_withdrawn_there(&side.scope, tree, key)? {
                    note(&mut signs, (dataset, *key), sign);
                }
            }
        }
        // Most of these are new records, which nobody holds fields of.
        let datasets: BTreeSet<DatasetName> = perhaps.iter().map(|(dataset, _)| dataset.clone()).collect();
        for dataset in datasets {
            let tree = dataset.overlay();
            for side in sides {
                for before in side.before.iter().chain(&side.heads) {
                    self.each_changed(side, before, &tree, &mut |key, difference| {
                        let id = (dataset.clone(), *key);
                        if difference.right.is_none() && perhaps.contains(&id) {
                            note(&mut signs, id, Sign { lives: true, counts: side.may_write });
                        }
                        Ok(())
                    })?;
                }
            }
        }
        Ok(signs)
    }

    /// What others merged without reading all of our scopes. Returns the records that they deleted, and of which nobody edited
    /// anything.
    fn own_signs(
        &self,
        sides: &[Side],
        overlaid: &BTreeSet<DatasetName>,
        signs: &mut Signs,
    ) -> Result<BTreeSet<(DatasetName, RecordKey)>, Error> {
        let mut gone = BTreeSet::new();
        for dataset in overlaid {
            for side in sides {
                let Some(before) = &side.before else { continue };
                for tree in [dataset.clone(), dataset.overlay()] {
                    self.each_changed(side, before, &tree, &mut |key, difference| {
                        let id = (dataset.clone(), *key);
                        let lives = match (&difference.left, &difference.right) {
                            // Fields that are new, or came back with their record, which is looked at then.
                            (None, _) if tree.is_overlay() && self.is_here(sides, dataset, key)? => return Ok(()),
                            (None, _) => true,
                            (Some(_), Some(_)) => return Ok(()),
                            (Some(_), None) if tree.is_overlay() => false,
                            (Some(_), None) => {
                                if self.state.is_withdrawn(&side.scope.row.id, &tree, key)? {
                                    return Ok(());
                                }
                                if !self.is_edited_elsewhere(sides, &dataset.overlay(), key)? {
                                    gone.insert(id);
                                    return Ok(());
                                }
                                true
                            }
                        };
                        note(signs, id, Sign { lives, counts: true });
                        Ok(())
                    })?;
                }
            }
        }
        Ok(gone)
    }

    /// Tells whether any of the scopes has a record itself.
    pub(super) fn is_here(&self, sides: &[Side], dataset: &DatasetName, key: &RecordKey) -> Result<bool, Error> {
        for side in sides {
            if self.record_at(&side.scope, &side.head, dataset, key)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Tells whether an overlay lives and says something that this merge brought, or that nobody else can have seen.
    fn is_edited_elsewhere(&self, sides: &[Side], overlay: &DatasetName, key: &RecordKey) -> Result<bool, Error> {
        for side in sides {
            let Some(now) = self.record_at(&side.scope, &side.head, overlay, key)? else { continue };
            let own = self.state.head(&side.scope.row.id, &self.id())?;
            let own = own.map(|head| self.state.known_commit(&side.scope.row.id, &head.commit)).transpose()?;
            for known in side.before.iter().chain(&own) {
                if self.holds_trees(&known.commit)?
                    && self.record_at(&side.scope, known, overlay, key)?.as_ref() != Some(&now)
                {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn each_changed(
        &self,
        side: &Side,
        before: &Known,
        tree: &DatasetName,
        work: &mut dyn FnMut(&RecordKey, &Difference) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if !self.holds_trees(&before.commit)? {
            return Ok(());
        }
        self.each_change_of(&side.scope, tree, Some(&before.commit), &side.head.commit, work)
    }

    /// Finds the pieces of one record that are to be written again. `rules` are those of our own records.
    fn mend_pieces(
        &self,
        sides: &mut [Side],
        id: &RecordId,
        sign: Sign,
        rules: Option<&Belongs<'_>>,
    ) -> Result<(), Error> {
        let overlay = id.dataset.overlay();
        let (mut home, mut overlays) = (None, BTreeSet::new());
        for (at, side) in sides.iter().enumerate() {
            if self.record_at(&side.scope, &side.head, &id.dataset, &id.key)?.is_some() {
                home = home.or(Some(at));
            }
            if self.record_at(&side.scope, &side.head, &overlay, &id.key)?.is_some() {
                overlays.insert(at);
            }
        }
        if home.is_none() && (overlays.is_empty() || !sign.lives) {
            return Ok(());
        }
        let is_own = id.origin == self.id();
        let audience = if is_own { self.with_database(|database| Ok(database.audience(id)?))? } else { None };
        let row = match &audience {
            // What is private never leaves, whoever edits.
            Some(Audience::Private(_)) => return Ok(()),
            Some(Audience::Shared(row)) => Some(row),
            None => None,
        };
        // What we edited without being allowed to is no reason to write anything for others.
        let takes = |side: &Side| sign.counts || !side.may_write;
        if home.is_none() {
            let mut found = Vec::new();
            for (at, side) in sides.iter().enumerate().filter(|(_, side)| takes(side)) {
                if row.is_none_or(|row| *row == side.scope.row.name)
                    && let Some(record) = self.last_held(side, &id.dataset, &id.key)?
                {
                    found.push((at, record));
                }
            }
            // Where it lay in two scopes one after the other, the narrower is the safe one.
            found.sort_by_key(|(at, _)| sides[*at].scope.row.name.is_public());
            let Some((at, record)) = found.into_iter().next() else { return Ok(()) };
            let Some(record) = allowed(sides, at, (&id.dataset, row), rules, record) else { return Ok(()) };
            sides[at].edits.insert((id.dataset.clone(), id.key), Some(record));
            home = Some(at);
        }
        let home = home.expect("it was there, or is again");
        let home_name = sides[home].scope.row.name.clone();
        for at in 0..sides.len() {
            if at == home || overlays.contains(&at) || !takes(&sides[at]) {
                continue;
            }
            let Some(record) = self.last_held(&sides[at], &overlay, &id.key)? else { continue };
            let row = row.or(is_own.then_some(&home_name));
            if let Some(record) = allowed(sides, at, (&overlay, row), rules, record) {
                sides[at].edits.insert((overlay.clone(), id.key), Some(record));
            }
        }
        Ok(())
    }

    /// Returns a piece that a scope has no more, as it was last: as those have it who haven't heard of its deletion, or as it was
    /// before that; `None` if it was never there, was withdrawn, or is too long gone.
    fn last_held(&self, side: &Side, tree: &DatasetName, key: &RecordKey) -> Result<Option<Record>, Error> {
        let scope = &side.scope;
        if self.state.is_withdrawn(&scope.row.id, tree, key)? {
            return Ok(None);
        }
        let mut last = Last::default();
        for known in side.before.iter().chain(&side.heads) {
            if known.commit.datasets.contains_key(tree) && self.holds_trees(&known.commit)? {
                last.add(self.record_at(scope, known, tree, key)?, known);
            }
        }
        if last.record.is_none() {
            if !side.past.borrow().contains_key(tree) {
                let past = self.past(side, tree)?;
                side.past.borrow_mut().insert(tree.clone(), past);
            }
            for known in &side.past.borrow()[tree] {
                let record = self.record_at(scope, known, tree, key)?;
                if record.is_some() {
                    return Ok(record);
                }
            }
        }
        Ok(last.record)
    }

    /// Returns the commits before the head whose trees are held and differ, the newest first.
    fn past(&self, side: &Side, tree: &DatasetName) -> Result<Vec<Known>, Error> {
        let (mut past, mut roots, mut seen) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
        let mut queue = VecDeque::from([side.head.id]);
        while let Some(id) = queue.pop_front() {
            if past.len() == VERSIONS_MAX || seen.len() == COMMITS_MAX {
                break;
            }
            let known = if seen.insert(id) { self.state.commit(&side.scope.row.id, &id)? } else { None };
            let Some(known) = known else { continue };
            match &known.commit.making {
                Making::Capture { parent, .. } => queue.extend(*parent),
                Making::Merge(dots) => queue.extend(dots.iter().map(|dot| dot.id)),
            }
            let root = known.commit.root(tree).node;
            if root.is_some() && roots.insert(root) && self.holds_trees(&known.commit)? {
                past.push(known);
            }
        }
        Ok(past)
    }
}

/// A record as several have it, joined.
#[derive(Default)]
struct Last {
    record: Option<Record>,
    seen: Clock,
}

impl Last {
    fn add(&mut self, record: Option<Record>, known: &Known) {
        let Some(record) = record else { return };
        let joined = match &self.record {
            None => Some(record),
            Some(held) => {
                let held = Joining { record: Some(held), seen: &self.seen };
                match join(held, Joining { record: Some(&record), seen: &known.commit.clock }) {
                    Joined::Present { record, .. } => Some(record),
                    Joined::Absent => None,
                }
            }
        };
        self.seen = self.seen.join(&known.commit.clock);
        self.record = joined;
    }
}

impl Side {
    /// The datasets of which the scope has, had or may have overlays.
    fn overlaid(&self) -> impl Iterator<Item = DatasetName> {
        let commits = self.before.iter().chain(&self.heads).chain([&self.head]);
        let trees = commits.flat_map(|known| known.commit.datasets.keys()).chain(self.scope.schema.fields.keys());
        trees.filter(|tree| tree.is_overlay()).map(DatasetName::base)
    }
}

/// Leaves of a piece what may stand there by its origin's rules, as far as we know them; `None` if nothing.
fn allowed(
    sides: &[Side],
    at: usize,
    (tree, row): (&DatasetName, Option<&ScopeName>),
    rules: Option<&Belongs<'_>>,
    mut record: Record,
) -> Option<Record> {
    let scope = &sides[at].scope;
    if let Some(rules) = rules {
        let name = &scope.row.name;
        if !rules.dataset(&tree.base()) || row.is_some_and(|row| !rules.piece(tree, row, name)) {
            return None;
        }
        rules.take_out(tree, row, name, &mut record);
    } else {
        let overlay = tree.base().overlay();
        let elsewhere = |field: &FieldName| sides.iter().any(|side| side.scope.schema.names(&overlay, field));
        record.cells.retain(|field, _| scope.schema.names(tree, field) || !tree.is_overlay() && !elsewhere(field));
    }
    (!record.cells.is_empty()).then_some(record)
}

pub(super) fn note(signs: &mut Signs, id: (DatasetName, RecordKey), sign: Sign) {
    let noted = signs.entry(id).or_insert(sign);
    noted.lives |= sign.lives;
    noted.counts |= sign.counts;
}

/// Says a record again under a stamp of ours.
fn again(scope: &OpenScope, tree: &DatasetName, record: Record, stamp: Stamp) -> Record {
    let again = |(field, cell): (_, Cell)| {
        let strategy = scope.schema.strategy(tree, &field);
        let value = show(&cell, strategy, &scope.row.origin).value;
        (field, Cell::again(stamp, value, strategy))
    };
    Record { cells: record.cells.into_iter().map(again).collect() }
}

/// How many versions of a tree are looked through for a piece as it was, and how many commits.
const VERSIONS_MAX: usize = 256;
const COMMITS_MAX: usize = 4096;
