//! Writes one record: inserts its row, turns its placeholder into it, or updates what differs.

use super::alias;
use super::apart::{self, NARROWED, STAYS};
use super::apply::{Apply, Current, Done, Fail};
use super::books::{DANGLING, Entry, Mapped, STUB};
use super::convert;
use super::key::Key;
use super::look::{self, OWN, Override};
use super::plan::{Content as Column, Plan, constant, matches};
use super::raw::Raw;
use super::resolve::Target;
use super::timestamp;
use crate::connector::alone::Look;
use crate::connector::contract::Content;
use crate::connector::mapping::template;
use crate::id::name::FieldName;
use crate::record::recordid::{self, RecordId};
use crate::record::value::Value;
use crate::scope::audience::Audience;

/// Why a column shows something of which nothing was sent.
const UNSAID: &str = "nothing was sent of it";

/// What the columns of a row are to hold.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// By field; `None` leaves the column alone.
    pub(super) raws: Vec<Option<Raw>>,
    pub(super) overrides: Vec<Override>,
    /// References shown as NULL, or to a row that means the same, with what they wait for.
    pub(super) open: Vec<(usize, RecordId)>,
}

/// What the map says of a row, but for what its record says.
#[derive(Debug, Clone, Copy)]
struct Noted {
    birth: i64,
    digest: i64,
    flags: i64,
}

impl<'a> Apply<'a> {
    /// Makes the row of a record show its content.
    pub(super) fn put(&mut self, dataset: usize, id: &RecordId, content: &Content) -> Result<Done, Fail> {
        let plan = &self.plans.list[dataset];
        let origin = self.books.intern(self.conn, &id.origin)?;
        let mut entry = self.books.find(self.conn, dataset, id)?;
        // What became private here while others still had it stays as it is.
        if let Some(entry) = &entry
            && stays_home(entry)
            && !self.restoring
        {
            return Ok(Done::Unchanged);
        }
        if entry.is_none() && self.has_gone && self.is_gone(dataset, origin, id)? {
            return Err(Fail::Dirty);
        }
        let mut old = Vec::new();
        let mut current = None;
        if let Some(known) = &entry {
            old = self.books.overrides(self.conn, dataset, &known.key)?;
            current = self.checked(dataset, known, &old)?;
            if current.is_none() {
                self.books.remove(self.conn, dataset, known)?;
                entry = None;
            }
        }
        check_author(plan, id, content)?;
        check_only(plan, content)?;
        let mut wanted = self.wanted(dataset, id, content, entry.as_ref(), current.as_ref())?;
        let looks_again = self.leave_held(plan, id, entry.as_ref(), &mut wanted);
        keep_unsaid(plan, &old, &mut wanted);
        if entry.is_none()
            && let Some(by) = self.same_as(dataset, &wanted)?
        {
            return Err(Fail::Same { by });
        }
        let mut inserted = None;
        let (key, done) = match (&entry, &current) {
            (Some(entry), Some(current)) => {
                let set = self.differing(dataset, entry, current, content, &wanted);
                let touched = !set.is_empty();
                let key = self.update_key(dataset, entry, set)?;
                let done = match (entry.is_stub(), touched) {
                    (true, _) => Done::Upgraded,
                    (false, true) => Done::Updated,
                    (false, false) => Done::Unchanged,
                };
                (key, done)
            }
            _ => {
                let given = self.columns_of(dataset, id, &wanted.raws, content.scope.as_str());
                let insertion = self.insertion(dataset, &given)?;
                let key = self.insert_given(dataset, &insertion, &given)?;
                if let Some(row) = insertion.row(&key, &given).filter(|_| origin != OWN) {
                    self.stale(dataset, &key, &row);
                    let (books, buffer) = (&*self.books, &mut self.buffer);
                    let (marks, mut parents) = (books.marks(dataset, None), Mapped { conn: self.conn, books });
                    let look = look::look(plan, &row, origin, marks, &wanted.overrides, &mut parents, buffer)?;
                    inserted = Some(Noted {
                        digest: look.digest,
                        flags: look.flags(0),
                        birth: look::birth(plan, &row, buffer)?,
                    });
                }
                (key, Done::Inserted)
            }
        };
        let audience = Audience::Shared(content.scope.clone());
        let same_books = done == Done::Unchanged
            && wanted.overrides == old
            && entry.as_ref().is_some_and(|known| {
                known.view == self.books.target_view() && (origin == OWN || known.audience == audience)
            });
        if same_books {
            return Ok(done);
        }
        if wanted.overrides != old {
            self.books.set_overrides(self.conn, dataset, &key, &wanted.overrides)?;
        }
        self.wait_for_targets(dataset, origin, id, &wanted.open, !old.is_empty())?;
        if let Some(noted) = inserted {
            self.note_row((dataset, origin, id), key, audience, 0, noted)?;
            return Ok(done);
        }
        let stays = entry.as_ref().map_or(0, |entry| entry.flags & STAYS);
        let mut raws = self.write_down(dataset, id, origin, &key, audience.clone(), stays, &wanted.overrides)?;
        let mut respelled = respelled(plan, content, &wanted, &raws);
        if matches!(done, Done::Inserted | Done::Upgraded) {
            respelled.extend(unsaid(plan, &wanted, &raws));
        }
        if !respelled.is_empty() {
            wanted.overrides.extend(respelled);
            self.books.set_overrides(self.conn, dataset, &key, &wanted.overrides)?;
            raws = self.write_down(dataset, id, origin, &key, audience, stays, &wanted.overrides)?;
            if done == Done::Updated && current.is_some_and(|row| row.raws == raws) {
                return Ok(Done::Unchanged);
            }
        }
        if looks_again {
            self.look_again(dataset, id)?;
        }
        if done != Done::Unchanged {
            self.stale(dataset, &key, &raws.as_slice());
        }
        Ok(done)
    }

    /// Returns the columns of a row that are to hold something else.
    pub(super) fn differing(
        &self,
        dataset: usize,
        entry: &Entry,
        current: &Current,
        content: &Content,
        wanted: &Wanted,
    ) -> Vec<(&'a str, Raw)> {
        let plan = &self.plans.list[dataset];
        let mut set: Vec<(&str, Raw)> = Vec::new();
        for (index, raw) in wanted.raws.iter().enumerate() {
            if let Some(raw) = raw.as_ref().filter(|raw| **raw != current.raws[index + 1]) {
                set.extend(plan.fields[index].assigned(raw));
            }
        }
        // Whoever set it to fewer readers here isn't contradicted.
        let is_free = entry.flags & NARROWED == 0;
        let moves = entry.is_stub() || is_free && entry.audience.scope() != Some(&content.scope);
        if let Some(column) = plan.scope_column().filter(|_| (entry.origin != OWN || self.restoring) && moves) {
            set.push((column, Raw::Text(content.scope.to_string())));
        }
        set
    }

    /// Returns the row of a map entry if it is as captured; `None` if it is a placeholder's and is gone.
    pub(super) fn checked(
        &mut self,
        dataset: usize,
        entry: &Entry,
        overrides: &[Override],
    ) -> Result<Option<Current>, Fail> {
        let found = self.current(dataset, &entry.key, entry.origin, overrides)?;
        let found = found.filter(|row| row.birth == entry.birth);
        if entry.is_stub() {
            return Ok(found);
        }
        let same = |row: &Current| row.digest == entry.digest && entry.seen <= self.books.settled;
        found.filter(same).map(Some).ok_or(Fail::Dirty)
    }

    /// Decides what each column is to hold.
    pub(super) fn wanted(
        &mut self,
        dataset: usize,
        id: &RecordId,
        content: &Content,
        entry: Option<&Entry>,
        current: Option<&Current>,
    ) -> Result<Wanted, Fail> {
        let plans = self.plans;
        let plan = &plans.list[dataset];
        let mut wanted = Wanted::default();
        for (index, field) in plan.fields.iter().enumerate() {
            let shown = current.map(|row| &row.raws[index + 1]);
            let has_turn = field.will_have_turn(plan, content, current.map(|row| row.raws.as_slice()));
            let Some(value) = content.fields.get(&field.name).filter(|_| has_turn) else {
                wanted.raws.push(None);
                continue;
            };
            if let (Value::Null, Some(_), true) = (value, &field.least, field.not_null) {
                let stub = plan.spec.stub.get(&field.name).expect("such a field has a stub");
                let shown = constant(stub, |text| fill(text, id));
                let reason = "it is not shared with us".to_owned();
                wanted.overrides.push(Override { field: field.name.clone(), shown: shown.clone(), reason });
                wanted.raws.push(Some(shown));
                continue;
            }
            let raw = match (&field.content, value) {
                (Column::Plain(kind), value) => match shown {
                    Some(shown) if convert::shows(*kind, shown, value) => shown.clone(),
                    _ => {
                        let raw = convert::write(*kind, value)
                            .map_err(|why| Fail::park(format!("the field {} {why}", field.name)))?;
                        if let Some(what) = self.conn.lacks(&field.declared, &raw) {
                            let why = format!("the database refuses it: the field {} holds {what}", field.name);
                            return Err(Fail::park(why));
                        }
                        raw
                    }
                },
                (Column::Ref(_), Value::Null) => Raw::Null,
                (Column::Ref(reference), Value::Ref(target)) if target == id && entry.is_some() => {
                    reference.shown(&entry.expect("it was just there").key)
                }
                (Column::Ref(_), Value::Ref(target)) if target == id && field.not_null => {
                    return Err(Fail::park(format!("the field {} refers to the record itself", field.name)));
                }
                (Column::Ref(reference), Value::Ref(target)) if target.dataset == plans.list[reference.parent].name => {
                    let found = if target == id { Target::None } else { self.resolve(reference, target)? };
                    let (shown, reason) = match found {
                        Target::Row(key) => (reference.shown(&key), None),
                        Target::Same(key) => (reference.shown(&key), Some(format!("means the same as {target}"))),
                        Target::None => (Raw::Null, Some(format!("waits for {target}"))),
                    };
                    if let Some(reason) = reason {
                        wanted.open.push((index, target.clone()));
                        wanted.overrides.push(Override { field: field.name.clone(), shown: shown.clone(), reason });
                    }
                    shown
                }
                (Column::Ref(reference), _) => {
                    let wants = &plans.list[reference.parent].name;
                    return Err(Fail::park(format!("the field {} does not refer to {wants}", field.name)));
                }
            };
            let raw = match raw {
                Raw::Text(name) if plan.spec.alias.as_ref() == Some(&field.name) => {
                    let free = self.free_name(plan, index, &name, id, entry.map(|entry| &entry.key))?;
                    if free != name {
                        let (shown, reason) = (Raw::Text(free.clone()), alias::REASON.to_owned());
                        wanted.overrides.push(Override { field: field.name.clone(), shown, reason });
                    }
                    Raw::Text(free)
                }
                raw => raw,
            };
            let raw = match shown {
                // Rows refer to it by its key: that stays, whatever it was made of.
                Some(shown) if plan.is_parent && *shown != raw && plan.is_key(index) => {
                    wanted.open.retain(|(open, _)| *open != index);
                    wanted.overrides.retain(|known| known.field != field.name);
                    let (shown, reason) = (shown.clone(), "the key of a row can't change".to_owned());
                    wanted.overrides.push(Override { field: field.name.clone(), shown: shown.clone(), reason });
                    shown
                }
                _ => raw,
            };
            wanted.raws.push(Some(raw));
        }
        Ok(wanted)
    }

    /// Leaves the columns alone in which the row shows what no capture could take in. Tells whether it is to be looked at
    /// again.
    fn leave_held(&self, plan: &Plan, id: &RecordId, entry: Option<&Entry>, wanted: &mut Wanted) -> bool {
        let Some(held) = self.held.get(id).filter(|_| entry.is_some_and(|entry| !entry.is_stub())) else {
            return false;
        };
        for index in held.fields.iter().filter_map(|field| plan.field(field)) {
            wanted.raws[index] = None;
            wanted.open.retain(|(open, _)| *open != index);
            wanted.overrides.retain(|known| known.field != plan.fields[index].name);
        }
        held.look == Look::Changed
    }

    /// Has the next capture look at a row again: now that its record says something else, what stays in it may be taken in.
    fn look_again(&mut self, dataset: usize, id: &RecordId) -> Result<(), Fail> {
        if let Some(looked_at) = apart::look_again(self.conn, self.plans, self.books, id)? {
            self.pending.written.retain(|(of, key)| (*of, key) != (dataset, &looked_at));
        }
        Ok(())
    }

    /// Returns what the fields of a placeholder show where the mapping says so.
    pub(super) fn stub_raws(&self, plan: &Plan, id: &RecordId, own: Option<&Key>) -> Result<Vec<Option<Raw>>, Fail> {
        let mut raws = Vec::with_capacity(plan.fields.len());
        for (index, field) in plan.fields.iter().enumerate() {
            let raw = plan.spec.stub.get(&field.name).map(|value| constant(value, |text| fill(text, id)));
            raws.push(match raw {
                Some(Raw::Text(name)) if plan.spec.alias.as_ref() == Some(&field.name) => {
                    Some(Raw::Text(self.free_name(plan, index, &name, id, own)?))
                }
                raw => raw,
            });
        }
        Ok(raws)
    }

    /// Reads the row back and writes its map row: known, and in step with the target.
    #[expect(clippy::too_many_arguments, reason = "the columns of a map row")]
    pub(super) fn write_down(
        &mut self,
        dataset: usize,
        id: &RecordId,
        origin: i64,
        key: &Key,
        audience: Audience,
        flags: i64,
        overrides: &[Override],
    ) -> Result<Vec<Raw>, Fail> {
        let row = self.current(dataset, key, origin, overrides)?;
        let row = row.ok_or_else(|| Fail::park("a trigger of the application removed the row"))?;
        let audience = match row.audience {
            Some(own) if flags & STUB == 0 => own,
            _ => audience,
        };
        let noted = Noted { birth: row.birth, digest: row.digest, flags: row.flags };
        self.note_row((dataset, origin, id), key.clone(), audience, flags, noted)?;
        Ok(row.raws)
    }

    /// Writes the map row of a row that is as we want it.
    fn note_row(
        &mut self,
        (dataset, origin, id): (usize, i64, &RecordId),
        key: Key,
        audience: Audience,
        flags: i64,
        noted: Noted,
    ) -> Result<(), Fail> {
        self.pending.written.push((dataset, key.clone()));
        if self.plans.list[dataset].is_parent {
            // Nobody else removes it while this transaction lasts.
            self.verified.insert((dataset, key.clone()));
        }
        let entry = Entry {
            key,
            origin,
            record: *id.key.as_bytes(),
            birth: noted.birth,
            digest: noted.digest,
            audience,
            seen: self.books.settled,
            view: self.books.target_view(),
            flags: flags & !DANGLING | noted.flags,
            rule: None,
        };
        Ok(self.books.put(self.conn, dataset, &entry)?)
    }

    fn is_gone(&self, dataset: usize, origin: i64, id: &RecordId) -> Result<bool, Fail> {
        let sql = "SELECT 1 FROM _wbsync_gone WHERE dataset = ?1 AND origin = ?2 AND record = ?3";
        Ok(self.conn.exists(sql, &bind![self.books.datasets[dataset], origin, id.key.as_bytes()])?)
    }
}

/// Finds the fields whose column shows another value than was written, as `jsonb` and `char(n)` do: that is no edit.
pub(super) fn respelled(plan: &Plan, content: &Content, wanted: &Wanted, raws: &[Raw]) -> Vec<Override> {
    let mut found = Vec::new();
    for (index, field) in plan.fields.iter().enumerate() {
        let (Column::Plain(kind), Some(written), shown) = (&field.content, &wanted.raws[index], &raws[index + 1])
        else {
            continue;
        };
        let is_known = written == shown || wanted.overrides.iter().any(|known| known.field == field.name);
        let value = content.fields.get(&field.name);
        if !is_known && value.is_some_and(|value| !convert::shows(*kind, shown, value)) {
            let reason = "the column shows it otherwise".to_owned();
            found.push(Override { field: field.name.clone(), shown: shown.clone(), reason });
        }
    }
    found
}

/// Finds the fields for fewer readers of which nothing was sent and whose columns show something all the same, as their default:
/// that is no edit.
pub(super) fn unsaid(plan: &Plan, wanted: &Wanted, raws: &[Raw]) -> Vec<Override> {
    let silent = plan.fields.iter().enumerate().filter(|(index, field)| {
        field.least.is_some() && wanted.raws[*index].is_none() && raws[index + 1] != Raw::Null
    });
    let known = |field: &FieldName| wanted.overrides.iter().any(|known| known.field == *field);
    let silent = silent.filter(|(_, field)| !known(&field.name));
    silent
        .map(|(index, field)| Override {
            field: field.name.clone(),
            shown: raws[index + 1].clone(),
            reason: UNSAID.to_owned(),
        })
        .collect()
}

/// Keeps in mind what such columns showed, as long as nothing is written into them.
pub(super) fn keep_unsaid(plan: &Plan, old: &[Override], wanted: &mut Wanted) {
    let is_silent = |known: &&Override| {
        known.reason == UNSAID && plan.field(&known.field).is_some_and(|index| wanted.raws[index].is_none())
    };
    let kept: Vec<Override> = old.iter().filter(is_silent).cloned().collect();
    wanted.overrides.extend(kept);
}

/// Tells whether an own row became private: nothing that arrives may touch it.
pub(super) fn stays_home(entry: &Entry) -> bool {
    entry.origin == OWN && !entry.is_stub() && entry.audience.scope().is_none()
}

/// Fills in a constant's template.
pub(super) fn fill(text: &str, id: &RecordId) -> String {
    let filled = template::fill(text, |name| match name {
        "id" => Some(id.key.to_string()),
        "id8" => Some(tail(id, 8)),
        "born" => {
            let micros = i64::try_from(recordid::born_at(&id.key).0).unwrap_or(0).saturating_mul(1000);
            Some(timestamp::format(micros).unwrap_or_else(|| "1970-01-01 00:00:00.000000".to_owned()))
        }
        _ => None,
    });
    filled.expect("templates of constants were checked")
}

/// Returns the last digits of a record's key: the random ones. The first tell its time.
pub(super) fn tail(id: &RecordId, digits: usize) -> String {
    let text = id.key.to_string();
    text[text.len() - digits..].to_owned()
}

pub(super) fn check_author(plan: &Plan, id: &RecordId, content: &Content) -> Result<(), Fail> {
    for (index, _) in plan.refs().filter(|(_, reference)| reference.author) {
        let field = &plan.fields[index];
        if let Some(Value::Ref(author)) = content.fields.get(&field.name)
            && author.origin != id.origin
        {
            return Err(Fail::park(format!("it speaks in the name of a member of another instance ({})", field.name)));
        }
    }
    Ok(())
}

pub(super) fn check_only(plan: &Plan, content: &Content) -> Result<(), Fail> {
    for (column, patterns) in &plan.spec.only {
        for field in plan.fields.iter().filter(|field| field.columns.is(column)) {
            let allowed = match content.fields.get(&field.name) {
                Some(Value::Text(text)) => matches(patterns, text),
                _ => false,
            };
            if !allowed {
                return Err(Fail::park(format!("this instance does not take such a value of {}", field.name)));
            }
        }
    }
    Ok(())
}
