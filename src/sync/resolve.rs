//! Conflicts: listing the fields that hold several values, and settling them by an explicit write.

use std::collections::BTreeMap;

use super::commit::Mode;
use super::compose::Edits;
use super::error::Error;
use super::instance::Instance;
use super::scopes::OpenScope;
use super::write::Write;
use crate::history::join::Known;
use crate::id::bytes::{CommitId, RecordKey, ScopeId};
use crate::id::name::{DatasetName, FieldName};
use crate::merge::strategy::show;
use crate::record::cell::{Cell, Element, Record};
use crate::record::value::Value;
use crate::state::conflicts::OpenConflict;
use crate::state::database;
use crate::sys::clock::UnixMillis;

/// A field that somebody should choose a value for.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Conflict {
    /// The scope.
    pub scope: String,
    /// `dataset/key` of the record.
    pub record: String,
    /// The field.
    pub field: String,
    /// The row of the application that shows it, as `table key`.
    pub row: Option<String>,
    /// What all sides replaced, where the field remembers it.
    pub base: Option<serde_json::Value>,
    /// The concurrent values; the first is what the application shows.
    pub sides: Vec<ConflictSide>,
}

/// One of the concurrent values.
#[derive(Debug, Clone, serde::Serialize)]
pub struct ConflictSide {
    /// Who wrote it.
    pub author: String,
    /// Whether we did.
    pub ours: bool,
    /// When, by the writer's clock.
    pub time: UnixMillis,
    /// The value.
    pub value: serde_json::Value,
}

/// How to settle a conflict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// The value that we wrote.
    Ours,
    /// The value that we did not write; there must be one only.
    Theirs,
    /// The value of this author, by name or the first digits of the id.
    Author(String),
    /// The latest by clock.
    Latest,
    /// A new value, written like the shown one: text as it is, everything else as JSON.
    Value(String),
}

/// What was settled.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Resolved {
    /// `dataset/key` of the record.
    pub record: String,
    /// The field.
    pub field: String,
    /// The value that it has now.
    pub value: serde_json::Value,
    /// The commit that says so; not in a dry run.
    pub commit: Option<CommitId>,
}

/// An open conflict with all that is needed to settle it.
struct Found {
    scope: ScopeId,
    dataset: DatasetName,
    key: RecordKey,
    field: FieldName,
    cell: Cell,
}

impl Instance {
    /// Lists the fields that somebody should choose a value for.
    ///
    /// # Errors
    /// The local state can't be read.
    pub fn conflicts(&self) -> Result<Vec<Conflict>, Error> {
        let mut conflicts = Vec::new();
        for open in self.state.conflicts()? {
            let Some((scope, _, record)) = self.conflicting(&open)? else { continue };
            let Some(cell) = record.cells.get(&open.field) else { continue };
            let id = crate::record::recordid::RecordId {
                origin: scope.row.origin,
                dataset: open.dataset.clone(),
                key: open.record,
            };
            let row = self.with_database(|database| Ok(database.locate(&id)?)).ok().flatten();
            let base = common_base(cell).map(Value::to_json);
            let sides = newest_first(cell).into_iter().map(|element| self.side(element));
            conflicts.push(Conflict {
                scope: scope.label(self)?,
                record: id.to_string(),
                field: open.field.to_string(),
                row,
                base,
                sides: sides.collect::<Result<_, Error>>()?,
            });
        }
        Ok(conflicts)
    }

    /// Settles the conflicts of a record, of one of its fields (`dataset/key.field`), or with `None` all.
    ///
    /// The choice is an explicit write on top of everything that is known, in one commit per scope, and
    /// is written into the application's rows at once.
    ///
    /// # Errors
    /// `NotFound` if nothing open matches or the choice fits none of the values.
    pub fn resolve(&self, what: Option<&str>, choice: &Choice, mode: Mode) -> Result<Vec<Resolved>, Error> {
        let found = self.find_conflicts(what)?;
        let mut by_scope: BTreeMap<ScopeId, Vec<Found>> = BTreeMap::new();
        for found in found {
            by_scope.entry(found.scope).or_default().push(found);
        }
        let mut resolved = Vec::new();
        if mode == Mode::Keep {
            // What the application changed meanwhile comes first: nobody settles what isn't committed.
            self.commit(Mode::Keep)?;
        }
        let transaction = self.state.transaction()?;
        for (scope, found) in by_scope {
            self.resolve_in(&scope, &found, choice, mode, &mut resolved)?;
        }
        if mode == Mode::DryRun {
            drop(transaction);
            self.state.forget_cache();
            return Ok(resolved);
        }
        database::commit(transaction)?;
        self.apply(Mode::Keep)?;
        Ok(resolved)
    }

    fn resolve_in(
        &self,
        scope: &ScopeId,
        found: &[Found],
        choice: &Choice,
        mode: Mode,
        resolved: &mut Vec<Resolved>,
    ) -> Result<(), Error> {
        let row = self.scope_row(scope)?;
        let head = row.local_head.ok_or(Error::NotFound { what: format!("the head of scope {scope}") })?;
        let base = self.state.known_commit(scope, &head)?;
        let missing = || Error::NotFound { what: format!("scope {scope}") };
        let open = self.open_scope(row)?.ok_or_else(missing)?;
        let stamp = self.next_stamp(&open)?;
        let mut edits = Edits::new();
        let start = resolved.len();
        for found in found {
            let value = self.chosen(found, choice)?;
            let at = (found.dataset.clone(), found.key);
            let record = match edits.remove(&at).flatten() {
                Some(record) => Some(record),
                None => self.record_at(&open, &base, &found.dataset, &found.key)?,
            };
            let write = Write { scope: &open, stamp, published: 0 };
            let mut record = record.unwrap_or_default();
            write.settle(&mut record, &found.dataset, &found.field, value.clone());
            edits.insert(at, Some(record));
            resolved.push(Resolved {
                record: format!("{}/{}", found.dataset, found.key),
                field: found.field.to_string(),
                value: value.to_json(),
                commit: None,
            });
        }
        if mode == Mode::Keep {
            let made = self.compose(&open, &base, edits, stamp)?;
            self.advance(&open, &made)?;
            resolved[start..].iter_mut().for_each(|resolved| resolved.commit = Some(made.id));
        }
        Ok(())
    }

    fn find_conflicts(&self, what: Option<&str>) -> Result<Vec<Found>, Error> {
        let (record, field) = match what.map(|what| what.split_once('.').unwrap_or((what, ""))) {
            Some((record, field)) => (Some(record), Some(field).filter(|field| !field.is_empty())),
            None => (None, None),
        };
        let mut found = Vec::new();
        for open in self.state.conflicts()? {
            let name = format!("{}/{}", open.dataset, open.record);
            let matches = record.is_none_or(|wanted| {
                name == wanted || name.starts_with(wanted) && wanted.contains('/') || open.record.matches_prefix(wanted)
            });
            if !matches || field.is_some_and(|field| open.field.as_str() != field) {
                continue;
            }
            let Some((_, _, mut whole)) = self.conflicting(&open)? else { continue };
            let Some(cell) = whole.cells.remove(&open.field) else { continue };
            let OpenConflict { scope, dataset, record: key, field } = open;
            found.push(Found { scope, dataset, key, field, cell });
        }
        match what {
            Some(what) if found.is_empty() => Err(Error::NotFound { what: format!("conflict {what:?}") }),
            _ => Ok(found),
        }
    }

    fn conflicting(&self, open: &OpenConflict) -> Result<Option<(OpenScope, Known, Record)>, Error> {
        let row = self.scope_row(&open.scope)?;
        let Some(head) = row.local_head else { return Ok(None) };
        let Some(scope) = self.open_scope(row)? else { return Ok(None) };
        let known = self.state.known_commit(&open.scope, &head)?;
        let record = self.record_at(&scope, &known, &open.dataset, &open.record)?;
        Ok(record.map(|record| (scope, known, record)))
    }

    fn chosen(&self, found: &Found, choice: &Choice) -> Result<Value, Error> {
        let elements = newest_first(&found.cell);
        let ours = |element: &&&Element| element.stamp.author == self.id();
        let what = || format!("the chosen side of {}/{}.{}", found.dataset, found.key, found.field);
        let one = |mut sides: Vec<&Element>| match sides.len() {
            1 => Ok(sides.remove(0).value.clone()),
            0 => Err(Error::NotFound { what: what() }),
            count => Err(Error::Ambiguous { what: what(), count }),
        };
        match choice {
            Choice::Ours => one(elements.iter().filter(ours).copied().collect()),
            Choice::Theirs => one(elements.iter().filter(|element| !ours(element)).copied().collect()),
            Choice::Latest => Ok(elements[0].value.clone()),
            Choice::Author(author) => {
                let mut sides = Vec::new();
                for element in &elements {
                    let id = element.stamp.author;
                    if self.instance_label(&id)? == *author || id.matches_prefix(author) {
                        sides.push(*element);
                    }
                }
                one(sides)
            }
            Choice::Value(text) => parse_like(&elements[0].value, text)
                .ok_or_else(|| Error::BadValue { field: found.field.to_string(), text: text.clone() }),
        }
    }

    fn side(&self, element: &Element) -> Result<ConflictSide, Error> {
        Ok(ConflictSide {
            author: self.instance_label(&element.stamp.author)?,
            ours: element.stamp.author == self.id(),
            time: element.stamp.time,
            value: element.value.to_json(),
        })
    }

    /// Returns the text sides of a conflict for an editor: base, ours or the newest, and the other.
    ///
    /// # Errors
    /// `NotFound` if there is no such conflict, or it isn't one of two texts.
    pub fn conflicting_texts(&self, what: &str) -> Result<[String; 3], Error> {
        let found = self.find_conflicts(Some(what))?;
        let text = |value: &Value| match value {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        };
        let sides = match &found[..] {
            [found] => newest_first(&found.cell),
            _ => Vec::new(),
        };
        let not_texts = || Error::NotFound { what: format!("a conflict of two texts in {what:?}") };
        let [first, second] = sides[..] else { return Err(not_texts()) };
        let base = common_base(&found[0].cell).and_then(text).unwrap_or_default();
        let (ours, theirs) = if second.stamp.author == self.id() { (second, first) } else { (first, second) };
        Ok([base, text(&ours.value).ok_or_else(not_texts)?, text(&theirs.value).ok_or_else(not_texts)?])
    }
}

fn newest_first(cell: &Cell) -> Vec<&Element> {
    let mut elements: Vec<&Element> = cell.elements().iter().collect();
    elements.sort_by_key(|element| std::cmp::Reverse((element.stamp.time, element.stamp)));
    elements
}

fn common_base(cell: &Cell) -> Option<&Value> {
    let first = cell.elements()[0].over.as_ref()?;
    cell.elements().iter().all(|element| element.over.as_ref().is_some_and(|over| over.same(first))).then_some(first)
}

/// Reads a value of the same kind as `like`.
fn parse_like(like: &Value, text: &str) -> Option<Value> {
    match like {
        Value::Bool(_) => text.parse().ok().map(Value::Bool),
        Value::Int(_) => text.parse().ok().map(Value::Int),
        Value::Float(_) => text.parse().ok().map(Value::Float),
        Value::Timestamp(_) if text == "null" => Some(Value::Null),
        Value::Timestamp(_) => text.parse::<jiff::Timestamp>().ok().map(|time| Value::Timestamp(time.as_microsecond())),
        Value::Decimal(_) => Some(Value::Decimal(text.into())),
        Value::Json(_) => serde_json::from_str::<serde_json::Value>(text).ok().map(|_| Value::Json(text.into())),
        Value::Text(_) | Value::Null => Some(Value::Text(text.into())),
        Value::Bytes(_) | Value::List(_) | Value::Ref(_) | Value::Blob { .. } => None,
    }
}

/// Tells whether a cell waits for somebody's choice.
pub(super) fn is_open(scope: &OpenScope, dataset: &DatasetName, field: &FieldName, cell: &Cell) -> bool {
    show(cell, scope.schema.strategy(dataset, field), &scope.row.origin).open
}
