//! After a restore from a backup: rows that the bookkeeping doesn't know but that must be known records, and own
//! rows that left every scope in a time that the database has lost.

use std::collections::HashMap;

use super::apply::{Apply, Fail};
use super::books::{Books, Entry, Mapped};
use super::connector::SqlConnector;
use super::convert::{self, Logical};
use super::key::{Key, bound};
use super::look::{self, OWN};
use super::plan::{Content as Column, Plan};
use super::purge::Purge;
use super::raw::{Raw, RawRef};
use super::session::{Session, SqlError, Transaction};
use super::watch;
use crate::connector::contract::{Change, Content, SinkError};
use crate::connector::error::Error;
use crate::id::name::FieldName;
use crate::record::recordid::RecordId;
use crate::record::value::Value;
use crate::scope::audience::{Audience, Reason};

/// How many records are given their rows in one transaction.
const BATCH: usize = 500;

/// By what a row is known to be a record's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::connector) enum Likeness {
    /// By what can't change in its life.
    Born,
    /// By a field that is its name to everybody, and by all that the record says.
    Same(FieldName),
    /// By that field alone: ours, and those of others where both are public.
    Named(FieldName),
}

/// Rows of a dataset without a map row, by what can't change in their lives.
type Strays = HashMap<Vec<u8>, Vec<Key>>;

impl SqlConnector {
    /// See `Connector::adopt`.
    pub(in crate::connector) fn adopt_alike(
        &self,
        records: &mut dyn Iterator<Item = Result<Change, SinkError>>,
        likeness: &Likeness,
    ) -> Result<Vec<RecordId>, Error> {
        let doing = "find the rows of records";
        let mut books = self.books(doing)?;
        let failed = |source| self.failed(doing, source);
        let mut strays = Vec::new();
        for (dataset, plan) in self.plans.list.iter().enumerate() {
            strays.push(strays_of(self.session(), plan, books.datasets[dataset], likeness).map_err(failed)?);
        }
        let mut adopted = Vec::new();
        while strays.iter().any(|strays| !strays.is_empty()) {
            let mut batch = Vec::new();
            while batch.len() < BATCH
                && let Some(record) = records.next()
            {
                batch.push(record.map_err(Error::Source)?);
            }
            if batch.is_empty() {
                break;
            }
            let origins = books.origins.len();
            let mut write = || -> Result<Vec<RecordId>, SqlError> {
                let transaction = Transaction::begin(self.session())?;
                watch::distrust(self.session())?;
                let mut found = Vec::new();
                for Change { id, content } in &batch {
                    if let (Some(dataset), Some(content)) = (self.plans.index(&id.dataset), content)
                        && self.adopt_one(&mut books, &mut strays[dataset], (dataset, likeness), id, content)?
                    {
                        found.push(id.clone());
                    }
                }
                transaction.commit()?;
                Ok(found)
            };
            match write() {
                Ok(found) => adopted.extend(found),
                Err(source) => {
                    books.truncate(origins);
                    return Err(failed(source));
                }
            }
        }
        Ok(adopted)
    }

    /// Gives a record the row that must be its own, if exactly one is.
    fn adopt_one(
        &self,
        books: &mut Books,
        strays: &mut Strays,
        (dataset, likeness): (usize, &Likeness),
        id: &RecordId,
        content: &Content,
    ) -> Result<bool, SqlError> {
        let plan = &self.plans.list[dataset];
        let Some(mark) = mark_of_record(plan, content, likeness) else { return Ok(false) };
        if !strays.contains_key(&mark) || books.find(self.session(), dataset, id)?.is_some() {
            return Ok(false);
        }
        let mut candidates = Vec::new();
        for key in strays[&mark].iter().filter(|key| !plan.beside.is_of_other(key, &id.key)) {
            let shows = self.session().one(&plan.sql_row, &bound(&plan.key.given(key)), |row| {
                let (mut shows, mut is_called_so) = (true, true);
                for (index, field) in plan.fields.iter().enumerate() {
                    if let (Column::Plain(kind), Some(value)) = (&field.content, content.fields.get(&field.name)) {
                        let is_alias = plan.spec.alias.as_ref() == Some(&field.name);
                        let is_shown = convert::shows(*kind, &row.raw(index + 1)?.to_raw(), value);
                        *(if is_alias { &mut is_called_so } else { &mut shows }) &= is_shown;
                    }
                }
                Ok((shows, is_called_so))
            })?;
            candidates.extend(shows.map(|(shows, is_called_so)| (key.clone(), shows, is_called_so)));
        }
        // An own row may have been edited since; a row of others is theirs only if it says what they say.
        let is_own = id.origin == self.context.own;
        let chosen = match &candidates[..] {
            [(key, true, _)] => Some((key.clone(), true)),
            _ if matches!(likeness, Likeness::Same(_)) => None,
            [(key, false, _)] if is_own || self.are_public((books, dataset), likeness, key, content)? => {
                Some((key.clone(), false))
            }
            several => {
                let mut alike: Vec<_> = several.iter().filter(|(_, shows, _)| *shows).collect();
                // A name may have been changed so that it is nobody else's here; where it wasn't, it decides.
                if alike.len() > 1 {
                    alike.retain(|(.., is_called_so)| *is_called_so);
                }
                if let [(key, ..)] = alike[..] { Some((key.clone(), true)) } else { None }
            }
        };
        let Some((key, shows)) = chosen else { return Ok(false) };
        strays.get_mut(&mark).expect("it was found just above").retain(|stray| *stray != key);
        strays.retain(|_, keys| !keys.is_empty());
        let origin = books.intern(self.session(), &id.origin)?;
        let said = plan.beside.of_record(&id.key).filter(|_| is_own).map(|mark| mark.audience.clone());
        let mut parents = Mapped { conn: self.session(), books };
        let found = self.session().one(&plan.sql_row, &bound(&plan.key.given(&key)), |row| {
            let marks = books.marks(dataset, said.as_deref());
            let buffer = &mut Vec::new();
            let look = look::look(plan, row, origin, marks, &[], &mut parents, buffer)?;
            Ok((look::birth(plan, row, buffer)?, look.digest, look.audience))
        })?;
        let Some((birth, digest, audience)) = found else { return Ok(false) };
        let audience = audience.unwrap_or_else(|| Audience::Shared(content.scope.clone()));
        // What was said of it since is an edit, too.
        let is_silent = said.is_none() && *likeness == Likeness::Born;
        let is_as_said = is_silent || !is_own || audience.scope() == Some(&content.scope);
        let shows = shows && is_as_said;
        // What says something else than its record counts as edited.
        let digest = if shows { digest } else { digest.wrapping_add(1) };
        let (seen, view) = (books.settled, books.view);
        let record = *id.key.as_bytes();
        let entry = Entry { key, origin, record, birth, digest, audience, seen, view, flags: 0, rule: None };
        books.put(self.session(), dataset, &entry)?;
        if let Some(said) = said {
            books.set_rule(self.session(), dataset, &entry.key, &said)?;
        }
        Ok(is_as_said)
    }

    /// Tells whether a record of another instance and the row of its name, were it ours, are both for everybody.
    fn are_public(
        &self,
        (books, dataset): (&Books, usize),
        likeness: &Likeness,
        key: &Key,
        content: &Content,
    ) -> Result<bool, SqlError> {
        if !matches!(likeness, Likeness::Named(_)) || !content.scope.is_public() {
            return Ok(false);
        }
        let plan = &self.plans.list[dataset];
        let mut parents = Mapped { conn: self.session(), books };
        let audience = self.session().one(&plan.sql_row, &bound(&plan.key.given(key)), |row| {
            let marks = books.marks(dataset, None);
            Ok(look::look(plan, row, OWN, marks, &[], &mut parents, &mut Vec::new())?.audience)
        })?;
        Ok(audience.flatten().is_some_and(|audience| audience.scope().is_some_and(|scope| scope.is_public())))
    }

    /// See `Connector::keep_home`.
    pub(super) fn keep_rows_home(&self, ids: &[RecordId]) -> Result<(), Error> {
        let doing = "keep rows at home";
        let mut books = self.books(doing)?;
        let purge = Purge::new(&self.app_dir);
        let apply = Apply::new(self.session(), &self.plans, &mut books, &self.context.names, purge);
        let mut apply = apply.map_err(|source| self.failed(doing, source))?;
        for batch in ids.chunks(BATCH) {
            let mut write = || -> Result<(), Fail> {
                let transaction = Transaction::begin(self.session())?;
                for id in batch {
                    apply.keep_home(id)?;
                }
                Ok(transaction.commit()?)
            };
            write().map_err(|fail| self.stopped(doing, fail))?;
        }
        Ok(())
    }
}

impl Apply<'_> {
    /// Makes an own row private: in its scope column, or beside a table that has none.
    fn keep_home(&mut self, id: &RecordId) -> Result<(), Fail> {
        let Some(dataset) = self.plans.index(&id.dataset) else { return Ok(()) };
        let Some(entry) = self.books.find(self.conn, dataset, id)? else { return Ok(()) };
        let plans = self.plans;
        let plan = &plans.list[dataset];
        debug_assert_eq!(entry.origin, OWN, "only what is ours can stay home");
        let overrides = self.books.overrides(self.conn, dataset, &entry.key)?;
        match plan.scope_column() {
            Some(column) => self.update(plan, &entry.key, vec![(column, Raw::Text("private".to_owned()))])?,
            None => self.books.set_rule(self.conn, dataset, &entry.key, "private")?,
        }
        let audience = Audience::Private(Reason::Chosen);
        self.write_down(dataset, id, entry.origin, &entry.key, audience, 0, &overrides)?;
        Ok(())
    }
}

/// Finds the rows without a map row.
fn strays_of(conn: &dyn Session, plan: &Plan, number: i64, likeness: &Likeness) -> Result<Strays, SqlError> {
    let key = plan.key.value(conn, "t.");
    let sql = format!(
        "SELECT {key} FROM {} t WHERE NOT EXISTS
         (SELECT 1 FROM _wbsync_map m WHERE m.dataset = ?1 AND m.key = {})",
        plan.table,
        plan.key.in_map(conn, "t.")
    );
    let mut strays = Strays::new();
    conn.each(&sql, &bind![number], &mut |row| {
        let Some(key) = Key::of(row.raw(0)?) else { return Ok(true) };
        let mark = conn.one(&plan.sql_row, &bound(&plan.key.given(&key)), |row| {
            mark_by(plan, likeness, |index, kind, buffer| {
                Logical::read(kind, row.raw(index + 1)?).digest(buffer);
                Ok::<_, SqlError>(true)
            })
        })?;
        if let Some(mark) = mark.flatten() {
            strays.entry(mark).or_default().push(key);
        }
        Ok(true)
    })?;
    Ok(strays)
}

/// Spells what can't change in a record's life; `None` if its values can't be in such a row.
fn mark_of_record(plan: &Plan, content: &Content, likeness: &Likeness) -> Option<Vec<u8>> {
    let value = |name: &FieldName| content.fields.get(name).unwrap_or(&Value::Null);
    let mark = mark_by(plan, likeness, |index, kind, buffer| {
        let Ok(raw) = convert::write(kind, value(&plan.fields[index].name)) else { return Ok(false) };
        Logical::read(kind, RawRef::from(&raw)).digest(buffer);
        Ok::<_, std::convert::Infallible>(true)
    });
    mark.unwrap_or_else(|never| match never {})
}

/// Spells the birth columns of a row, or all plain fields if some birth column is no field; or what it is named by.
fn mark_by<E>(
    plan: &Plan,
    likeness: &Likeness,
    mut spell: impl FnMut(usize, crate::record::fieldtype::Kind, &mut Vec<u8>) -> Result<bool, E>,
) -> Result<Option<Vec<u8>>, E> {
    let mut buffer = Vec::new();
    let by_birth = !plan.birth.is_empty() && plan.birth.iter().all(|(at, _)| (1..=plan.fields.len()).contains(at));
    if by_birth {
        for (at, kind) in &plan.birth {
            if !spell(*at - 1, *kind, &mut buffer)? {
                return Ok(None);
            }
        }
        return Ok(Some(buffer));
    }
    if let Likeness::Same(name) | Likeness::Named(name) = likeness {
        let Some(index) = plan.field(name) else { return Ok(None) };
        let Column::Plain(kind) = plan.fields[index].content else { return Ok(None) };
        return Ok(spell(index, kind, &mut buffer)?.then_some(buffer));
    }
    for (index, field) in plan.fields.iter().enumerate() {
        if let Column::Plain(kind) = field.content
            && plan.spec.alias.as_ref() != Some(&field.name)
            && !spell(index, kind, &mut buffer)?
        {
            return Ok(None);
        }
    }
    Ok(Some(buffer))
}
