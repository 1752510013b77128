//! Collecting: what a capture reports becomes edits of records, scope by scope.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::belongs::Belongs;
use super::commit::decode_record;
use super::edits::{Edit, Edited, Edits};
use super::error::Error;
use super::held::{Held, HeldRows, Why};
use super::hold::{Behind, is_too_large};
use super::instance::Instance;
use super::route::{self, Holds, Place, Routed};
use super::scopes::OpenScope;
use super::status::TOO_LARGE_KEY;
use super::view::View;
use super::write::Write;
use crate::connector::contract::{Base, Seen, Sighting};
use crate::connector::mapping::model::Mapping;
use crate::history::join::Known;
use crate::id::bytes::{RecordKey, ScopeId};
use crate::id::name::{DatasetName, FieldName, ScopeName};
use crate::merge::record::{Joined, Side, join};
use crate::record::cell::{Cell, Element, Record};
use crate::record::clock::Clock;
use crate::record::codec;
use crate::record::recordid::RecordId;
use crate::record::stamp::Stamp;
use crate::record::value::Value;
use crate::scope::audience::{Audience, Reason};
use crate::scope::fields::LeastScopes;
use crate::sys::clock::{self, UnixMillis};
use crate::tree::scan::scan;

/// What one scope holds of a record, and is to hold.
struct Piece {
    held: Option<Record>,
    /// The fields that were taken out of what it held.
    narrowed: BTreeSet<FieldName>,
    fields: Option<BTreeMap<FieldName, Value>>,
}

/// Everything that a capture is compared with.
pub(super) struct Collector<'a> {
    pub(super) instance: &'a Instance,
    pub(super) scopes: Vec<Working>,
    pub(super) least: LeastScopes,
    mapping: Mapping,
    mapped: Vec<DatasetName>,
    pub(super) too_large: BTreeMap<String, u64>,
    /// Own records of datasets that the mapping doesn't have any more.
    pub(super) unmapped: BTreeMap<DatasetName, u64>,
    pub(super) now: UnixMillis,
    overlays: HashMap<DatasetName, DatasetName>,
    /// What rows show that could not be taken in.
    pub(super) held: HeldRows,
    pub(super) row: Behind,
    /// How many bytes of edits are in memory, of all scopes together.
    held_bytes: usize,
}

/// The most bytes of edits that stay in memory; beyond, the most of one scope go to a file.
const HELD_BYTES_MAX: usize = 16 << 20;

/// A scope with the commits that rows may reflect, and the edits found so far.
#[derive(Debug)]
pub(super) struct Working {
    pub(super) open: OpenScope,
    pub(super) applied: Option<Known>,
    pub(super) target: Option<Known>,
    /// What the next commit of ours builds on: it holds all of ours so far.
    pub(super) parent: Option<Known>,
    pub(super) on_applied: Edits,
    pub(super) on_target: Edits,
    /// What others wrote into records that are withdrawn now, which the rows don't show: their owner decides.
    pub(super) late: Vec<(DatasetName, RecordKey, Record)>,
    /// Our newest write that others can have seen.
    published: u64,
    /// Whether a row of this capture is the first to ask for the scope.
    pub(super) is_new: bool,
    /// Whether a row was edited that doesn't show what its record says, so that it has to be written again.
    pub(super) is_behind: bool,
}

impl Working {
    /// A scope that nothing is known of yet.
    fn new(open: OpenScope) -> Self {
        Self {
            open,
            applied: None,
            target: None,
            parent: None,
            on_applied: Edits::default(),
            on_target: Edits::default(),
            late: Vec::new(),
            published: 0,
            is_new: true,
            is_behind: false,
        }
    }
}

impl<'a> Collector<'a> {
    pub(super) fn new(instance: &'a Instance, applied: &View, target: Option<&View>) -> Result<Self, Error> {
        let known = |scope: &ScopeId, view: &View| -> Result<Option<Known>, Error> {
            let Some(id) = view.commits.get(scope) else { return Ok(None) };
            instance.state.commit(scope, id)?.ok_or(Error::LostCommit { id: *id }).map(Some)
        };
        let mut scopes = Vec::new();
        for row in instance.state.scopes()? {
            let Some(open) = instance.open_scope(row)? else { continue };
            let id = open.row.id;
            let target = target.map(|view| known(&id, view)).transpose()?.flatten();
            let applied = known(&id, applied)?;
            let head = open.row.local_head.map(|commit| instance.state.known_commit(&id, &commit)).transpose()?;
            let parent = instance.parent_of(target.as_ref().or(applied.as_ref()), head);
            let published = instance.state.head(&id, &instance.id())?.map_or(0, |head| head.writes);
            scopes.push(Working { applied, target, parent, published, is_new: false, ..Working::new(open) });
        }
        let too_large = instance.counts(TOO_LARGE_KEY)?;
        let (least, mapped) = instance.with_database(|database| Ok((database.least_scopes(), database.datasets())))?;
        let (mapping, now) = (instance.mapping()?, clock::now());
        let (unmapped, held, row) = (BTreeMap::new(), instance.held_rows()?, Behind::default());
        let (overlays, held_bytes) = (HashMap::new(), 0);
        Ok(Self { instance, scopes, least, mapping, mapped, too_large, unmapped, now, overlays, held, row, held_bytes })
    }

    pub(super) fn take(&mut self, sighting: Sighting) -> Result<(), Error> {
        let was_held = self.held.contains_key(&sighting.id).then(|| sighting.id.clone());
        let is_gone = sighting.seen == Seen::Gone;
        self.take_in(sighting)?;
        // What others wrote there meanwhile is not in the row.
        if let Some(id) = was_held.filter(|_| !is_gone) {
            self.held.entry(id).or_insert_with(Held::again);
        }
        Ok(())
    }

    fn take_in(&mut self, sighting: Sighting) -> Result<(), Error> {
        let Sighting { id, base, seen, fresh, beside, behind, stays, .. } = sighting;
        if !self.too_large.is_empty() {
            self.too_large.remove(&id.to_string());
        }
        let (audience, mut fields) = match seen {
            Seen::Row { audience, fields } => (audience, Some(fields)),
            Seen::Gone => (None, None),
        };
        let gone = fields.is_none();
        let was = self.held.remove(&id);
        if gone && (behind.is_some() || base == Base::Neither) {
            // Whoever deleted it here can't have seen what it says now: it comes back.
            return Ok(());
        }
        self.row = Behind { is_behind: behind.is_some() || was.is_some(), unseen: behind.unwrap_or_default(), was };
        let is_own = id.origin == self.instance.id();
        let mut routed = Routed::default();
        if let (Some(Audience::Shared(row)), true) = (&audience, is_own)
            && let Some(fields) = fields.take()
        {
            routed = route::own(&self.least, &id.dataset, row, fields);
            for scope in routed.keys() {
                self.make_room(scope)?;
            }
        }
        let overlay = self.overlays.entry(id.dataset.clone()).or_insert_with(|| id.dataset.overlay());
        let overlay = RecordId { dataset: overlay.clone(), ..id.clone() };
        let mut held = Vec::new();
        for (index, scope) in self.scopes.iter().enumerate().filter(|(_, scope)| scope.open.row.origin == id.origin) {
            let whole = scope.record(self.instance, base, &id)?;
            held.push((index, whole, scope.record(self.instance, base, &overlay)?));
        }
        // What writers left of it where it is no more says nothing, and takes nothing.
        let mut settled = Vec::new();
        for (index, whole, _) in &held {
            if let Some(record) = whole
                && !self.instance.is_left_over(&self.scopes[*index].open, &id, record)?
            {
                settled.push(*index);
            }
        }
        let is_settled = |index: &usize| settled.is_empty() || settled.contains(index);
        held.iter_mut().filter(|(index, ..)| !is_settled(index)).for_each(|(_, whole, _)| *whole = None);
        for field in &fresh {
            let cells = held.iter().flat_map(|(_, whole, overlaid)| [whole, overlaid]).flatten();
            let mut cells = cells.filter_map(|record| record.cells.get(field)).peekable();
            let is_theirs =
                |cell: &Cell| cell.elements().iter().all(|element| element.stamp.author != self.instance.id());
            // What others wrote into the field isn't shown yet.
            if cells.peek().is_some() && cells.all(is_theirs) {
                routed.values_mut().for_each(|fields| drop(fields.remove(field)));
            }
        }
        let is_new = held.iter().all(|(_, whole, _)| whole.is_none());
        self.look_back(&id.dataset, &held);
        let shown = if is_own { None } else { fields.clone() };
        if let (Some(shown), Some(stays)) = (&shown, stays) {
            self.hold_edits(&id, &held, shown, stays.into());
            return Ok(());
        }
        let mut homes = BTreeSet::new();
        if let (Some(beside), true, false) = (&beside, is_new, is_own) {
            let may_write = |scope: &Working| scope.open.manifest.may_write(&self.instance.id());
            for (index, ..) in held.iter().filter(|(index, ..)| may_write(&self.scopes[*index])) {
                if self.scopes[*index].record(self.instance, base, beside)?.is_some() {
                    homes.insert(*index);
                }
            }
        }
        if let (Some(fields), false) = (fields, is_own) {
            let places = held.iter().map(|(index, whole, overlaid)| {
                let holds = match (whole, overlaid) {
                    (Some(record), _) => Holds::Record(Some(record)),
                    (None, _) if homes.contains(index) => Holds::Record(None),
                    (None, Some(_)) => Holds::Fields,
                    (None, None) => Holds::Nothing,
                };
                Place { scope: &self.scopes[*index].open, holds }
            });
            routed = route::foreign(&self.least, &id.dataset, places, fields);
        }
        if let Some(mut shown) = shown.filter(|_| beside.is_none()) {
            let why =
                if is_new && held.iter().all(|(.., overlaid)| overlaid.is_none()) { Why::Gone } else { Why::Elsewhere };
            shown.retain(|field, _| !routed.values().any(|fields| fields.contains_key(field)));
            self.hold_edits(&id, &held, &shown, why);
        }
        let deleted = gone || audience == Some(Audience::Private(Reason::SoftDeleted));
        if deleted && self.lives_on(base, [&id, &overlay], &held)? {
            return Ok(());
        }
        let row = audience.as_ref().and_then(Audience::scope);
        for (index, mut whole, mut overlaid) in held {
            let open = &self.scopes[index].open;
            let name = &open.row.name;
            let mut narrowed = (BTreeSet::new(), BTreeSet::new());
            if let (Some(row), true) = (row, is_own) {
                let given = routed.get(name);
                narrowed.0 = self.take_out(&id.dataset, row, open, given, whole.as_mut());
                narrowed.1 = self.take_out(&overlay.dataset, row, open, given, overlaid.as_mut());
            }
            let is_row = if is_own { row == Some(name) } else { whole.is_some() || homes.contains(&index) };
            let fields = routed.remove(name);
            let (to_whole, to_overlay) = if is_row { (fields, None) } else { (None, fields) };
            let to_overlay =
                to_overlay.filter(|fields| overlaid.is_some() || fields.values().any(|value| *value != Value::Null));
            let may_remove = gone || is_own;
            let removes = may_remove.then_some(deleted);
            self.edit(index, base, &id, Piece { held: whole, narrowed: narrowed.0, fields: to_whole }, removes)?;
            // What a follower holds of a row that moved stays where its origin put it.
            let piece = Piece { held: overlaid, narrowed: narrowed.1, fields: to_overlay };
            self.edit(index, base, &overlay, piece, removes)?;
        }
        Ok(())
    }

    /// Takes back our own records of datasets that the mapping doesn't have, or has switched off: what it doesn't name never
    /// leaves. Those of others are carried on.
    pub(super) fn withdraw_unmapped(&mut self) -> Result<(), Error> {
        for index in 0..self.scopes.len() {
            let scope = &self.scopes[index];
            let Some(parent) = scope.parent.as_ref().filter(|_| scope.open.row.origin == self.instance.id()) else {
                continue;
            };
            let base = if scope.target.is_some() { Base::Target } else { Base::Applied };
            let (id_key, name) = (scope.open.row.id_key.clone(), scope.open.row.name.to_string());
            let left = parent.commit.datasets.iter().filter(|(dataset, _)| !self.mapped.contains(&dataset.base()));
            for (dataset, root) in left.map(|(dataset, root)| (dataset.clone(), *root)).collect::<Vec<_>>() {
                let instance = self.instance;
                for entry in scan(&instance.state, &id_key, &root, ..) {
                    let (key, bytes) = entry.map_err(|source| Error::Tree { scope: name.clone(), source })?;
                    let key = RecordKey::from_slice(&key).ok_or_else(|| {
                        crate::state::error::Error::damaged(format!("a key of dataset {dataset} is no record key"))
                    })?;
                    let id = RecordId { origin: instance.id(), dataset: dataset.clone(), key };
                    let held = Some(decode_record(&bytes, &id.origin, &dataset, &key)?);
                    self.edit(index, base, &id, Piece { held, narrowed: BTreeSet::new(), fields: None }, Some(false))?;
                    if dataset == dataset.base() {
                        *self.unmapped.entry(dataset.clone()).or_default() += 1;
                    }
                }
            }
        }
        Ok(())
    }

    /// Takes out of what a scope of ours holds the fields that don't belong there any more: the mapping gives them
    /// to fewer readers now, or to none. Returns them.
    fn take_out(
        &self,
        tree: &DatasetName,
        row: &ScopeName,
        open: &OpenScope,
        given: Option<&BTreeMap<FieldName, Value>>,
        held: Option<&mut Record>,
    ) -> BTreeSet<FieldName> {
        let Some(record) = held else { return BTreeSet::new() };
        let Some(rules) = self.mapping.dataset.get(&tree.base()) else { return BTreeSet::new() };
        let belongs = Belongs { mapping: &self.mapping, least: &self.least, mapped: &self.mapped };
        let mut taken = belongs.take_out(tree, Some(row), &open.row.name, record);
        // What others have added is carried on, what the mapping named once and doesn't any more is taken back.
        let own = self.instance.id();
        let is_left = |field: &FieldName, cell: &Cell| {
            // The members of a document are no fields of the mapping.
            let is_given = || given.is_some_and(|fields| fields.contains_key(field));
            !rules.fields.contains_key(field)
                && !is_given()
                && (open.schema.names(tree, field) || cell.elements().iter().any(|element| element.stamp.author == own))
        };
        taken.cells.extend(record.cells.extract_if(.., |field, cell| is_left(field, cell)));
        taken.cells.into_keys().collect()
    }

    /// Notes what becomes of one record of one scope: `fields` are written, or what is held goes, if it may:
    /// `removes` tells whether that is a deletion.
    fn edit(
        &mut self,
        index: usize,
        base: Base,
        id: &RecordId,
        piece: Piece,
        removes: Option<bool>,
    ) -> Result<(), Error> {
        let scope = &self.scopes[index];
        let Piece { held, narrowed, fields } = piece;
        let is_narrowed = !narrowed.is_empty();
        let stamp = self.stamp(scope, base);
        let direct = scope.is_on_parent(base);
        let mut too_large = BTreeMap::new();
        if is_narrowed && !direct {
            let late = scope.in_parent(self.instance, id)?.map(|mut held| {
                held.cells.retain(|field, _| narrowed.contains(field));
                (id.dataset.clone(), id.key, held)
            });
            self.scopes[index].late.extend(late);
        }
        let scope = &self.scopes[index];
        let write = Write { scope: &scope.open, stamp, published: scope.published };
        let edit = match (fields, removes) {
            (Some(fields), _) => {
                let bytes = match held {
                    None if base == Base::Neither && !self.may_begin(index, id)? => None,
                    None if direct => Some(codec::encode_written(&fields, &stamp, &id.origin)),
                    held => {
                        let unchanged = if is_narrowed { held.clone() } else { None };
                        let all = (!direct).then(|| fields.clone());
                        let record = match held {
                            Some(held) if base == Base::Neither => write.beside(held, &id.dataset, fields),
                            held => write.not_seeing(held, &id.dataset, fields, &self.row.unseen),
                        };
                        let record = record.or(unchanged);
                        let bytes = match (&record, all) {
                            (Some(record), Some(all)) => {
                                self.onto_parent(scope, base, id, &write, (record, &narrowed), all)?
                            }
                            (record, _) => record.as_ref().map(|record| codec::encode(record, &id.origin)),
                        };
                        if let (Some(record), Some(true)) = (&record, bytes.as_ref().map(|bytes| is_too_large(bytes))) {
                            too_large = self.edited(index, base, id, record, &write)?;
                        }
                        bytes
                    }
                };
                let bytes = bytes.and_then(|bytes| self.bounded(id, bytes));
                if !too_large.is_empty() {
                    let whole = RecordId { dataset: id.dataset.base(), ..id.clone() };
                    self.hold_all(&whole, too_large, Why::TooLarge);
                }
                bytes.map(|bytes| if is_narrowed { Edit::Narrowed(bytes) } else { Edit::Put(bytes) })
            }
            (None, Some(_)) if held.is_none() => None,
            (None, Some(deleted)) => {
                let left = if direct || deleted { None } else { self.left_of(scope, base, id, &stamp)? };
                if deleted {
                    Some(Edit::Deleted)
                } else {
                    self.scopes[index].late.extend(left.map(|record| (id.dataset.clone(), id.key, record)));
                    Some(Edit::Withdrawn)
                }
            }
            (None, None) => None,
        };
        if let Some(edit) = edit {
            let scope = &mut self.scopes[index];
            scope.is_behind |= self.row.is_behind;
            let edits = if base == Base::Target { &mut scope.on_target } else { &mut scope.on_applied };
            self.held_bytes += edits.add(Edited { dataset: id.dataset.clone(), key: id.key, edit });
        }
        if self.held_bytes > HELD_BYTES_MAX { self.put_aside() } else { Ok(()) }
    }

    /// Puts the edits of which there are most into a file.
    fn put_aside(&mut self) -> Result<(), Error> {
        let dir = self.instance.dir();
        let edits = self.scopes.iter_mut().flat_map(|scope| [&mut scope.on_applied, &mut scope.on_target]);
        let most = edits.max_by_key(|edits| edits.held_bytes()).expect("there are edits, so there is a scope");
        self.held_bytes -= most.held_bytes();
        most.put_aside(dir).map_err(Error::io("keep edits in", dir))
    }

    /// Tells whether a row that may be older than its record may bring a piece of it that isn't there: never the record
    /// itself, fields of it for fewer readers unless they were taken back.
    fn may_begin(&self, index: usize, id: &RecordId) -> Result<bool, Error> {
        let scope = &self.scopes[index].open.row.id;
        Ok(id.dataset != id.dataset.base() && !self.instance.state.is_withdrawn(scope, &id.dataset, &id.key)?)
    }

    /// Makes a scope of ours that a row asks for and that isn't there yet.
    fn make_room(&mut self, name: &ScopeName) -> Result<(), Error> {
        let own = self.instance.id();
        if self.scopes.iter().any(|scope| scope.open.row.origin == own && scope.open.row.name == *name) {
            return Ok(());
        }
        let open = self.instance.draft_scope(name, &self.mapping)?;
        self.scopes.push(Working::new(open));
        Ok(())
    }

    /// The stamp of writes on a view. Edits on the target get the number after those on the applied
    /// view; if there are none of those, a number is left out, which nobody minds.
    pub(super) fn stamp(&self, scope: &Working, base: Base) -> Stamp {
        let offset = if base == Base::Target && !scope.on_applied.is_empty() { 2 } else { 1 };
        Stamp {
            author: self.instance.id(),
            incarnation: self.instance.card.card.incarnation,
            sequence: scope.open.row.sequence + offset,
            time: self.now,
        }
    }
}

impl Instance {
    /// Chooses what a commit of ours builds on: what the rows show, or are about to, if that holds all that we have committed,
    /// else the local head. A commit says by its number that it holds all of ours before it.
    fn parent_of(&self, shown: Option<&Known>, head: Option<Known>) -> Option<Known> {
        let ours = |known: &Known| known.commit.clock.seen(&self.id(), self.card.card.incarnation);
        match (shown, head) {
            (Some(shown), Some(head)) if ours(shown) < ours(&head) => Some(head),
            (Some(shown), _) => Some(shown.clone()),
            (None, head) => head,
        }
    }
}

impl Working {
    /// Tells whether what rows with this base showed is what the next commit builds on.
    pub(super) fn is_on_parent(&self, base: Base) -> bool {
        self.shown(base).map(|known| known.id) == self.parent.as_ref().map(|known| known.id)
    }

    fn shown(&self, base: Base) -> Option<&Known> {
        match base {
            Base::Applied => self.applied.as_ref(),
            Base::Target => self.target.as_ref(),
            // What the row showed isn't known: what it says is compared with what is next.
            Base::Neither => self.parent.as_ref(),
        }
    }

    /// Reads the record as the next commit finds it.
    pub(super) fn in_parent(&self, instance: &Instance, id: &RecordId) -> Result<Option<Record>, Error> {
        let Some(parent) = &self.parent else { return Ok(None) };
        instance.record_at(&self.open, parent, &id.dataset, &id.key)
    }

    /// Joins a record as its row says it with what the parent has. The row has seen all that we wrote ourselves.
    pub(super) fn join(&self, base: Base, edited: Option<&Record>, held: &Record, stamp: &Stamp) -> Joined {
        let mut seen = self.shown(base).map_or_else(Clock::default, |known| known.commit.clock.clone());
        seen.advance(stamp.author, stamp.incarnation, stamp.sequence);
        let none = Clock::default();
        let theirs = self.parent.as_ref().map_or(&none, |parent| &parent.commit.clock);
        join(Side { record: edited, seen: &seen }, Side { record: Some(held), seen: theirs })
    }

    /// Takes the edits out, those on the applied view first.
    pub(super) fn take_edits(&mut self) -> [(Base, Edits); 2] {
        [(Base::Applied, std::mem::take(&mut self.on_applied)), (Base::Target, std::mem::take(&mut self.on_target))]
    }

    /// Reads the record that the row reflected: with what we wrote since, which is in the parent only.
    pub(super) fn record(&self, instance: &Instance, base: Base, id: &RecordId) -> Result<Option<Record>, Error> {
        let shown = match self.shown(base) {
            Some(known) => instance.record_at(&self.open, known, &id.dataset, &id.key)?,
            None => None,
        };
        if self.is_on_parent(base) {
            return Ok(shown);
        }
        let Some(held) = self.in_parent(instance, id)? else { return Ok(shown) };
        let is_newer = |element: &&Element| {
            element.stamp.author == instance.id()
                && !self.shown(base).is_some_and(|known| known.commit.clock.covers(&element.stamp))
        };
        let mut record = shown.clone().unwrap_or_default();
        for (field, cell) in &held.cells {
            let newer = Cell::of(cell.elements().iter().filter(is_newer).cloned().collect());
            record.cells.extend(newer.map(|cell| (field.clone(), cell)));
        }
        Ok((shown.is_some() || !record.cells.is_empty()).then_some(record))
    }
}
