//! Conflicts: listing the fields that hold several values, and settling them by an explicit write.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use super::commit::Mode;
use super::compose::Edits;
use super::edit::Editing;
use super::error::Error;
use super::instance::Instance;
use super::scopes::OpenScope;
use super::write::Write;
use crate::history::join::Known;
use crate::id::bytes::{CommitId, RecordKey, ScopeId};
use crate::id::name::{DatasetName, FieldName};
use crate::merge::strategy::show;
use crate::record::cell::{Cell, Element};
use crate::record::recordid::RecordId;
use crate::record::stamp::Stamp;
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
    /// The write itself.
    #[serde(skip)]
    pub stamp: Stamp,
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
    /// A new value, of the kind of the others: text as it is, everything else as it is shown.
    Value(String),
    /// The value of this very write.
    Side(Stamp),
    /// A text made of the values of these writes, and good for them only.
    Edited {
        /// The text.
        text: String,
        /// The writes that it was made of.
        of: Vec<Stamp>,
    },
}

/// What became of the conflicts that were to be settled.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Resolution {
    /// What was settled.
    pub resolved: Vec<Resolved>,
    /// What the choice fits not, as `dataset/key.field`: it stays open.
    pub left: Vec<String>,
}

/// What was settled.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Resolved {
    /// The scope.
    pub scope: String,
    /// `dataset/key` of the record.
    pub record: String,
    /// The field.
    pub field: String,
    /// The value that it has now.
    pub value: serde_json::Value,
    /// Whether it stays here, because we may not write in the scope.
    pub local: bool,
    /// The commit that says so; not in a dry run.
    pub commit: Option<CommitId>,
}

/// A conflict with the value that it is to get, and the write that this comes from.
struct Chosen {
    found: Found,
    value: Value,
    from: Option<Stamp>,
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
    /// Lists the fields that somebody should choose a value for: all, or those of `dataset/key` or
    /// `dataset/key.field` (of the key the first digits do).
    ///
    /// # Errors
    /// `NoConflict` if nothing open matches, `Ambiguous` if several records do; the local state can't be read.
    pub fn conflicts(&self, what: Option<&str>) -> Result<Vec<Conflict>, Error> {
        let found = self.find_conflicts(what)?;
        found.iter().map(|found| self.describe_conflict(found)).collect()
    }

    fn describe_conflict(&self, found: &Found) -> Result<Conflict, Error> {
        let scope = self.scope_row(&found.scope)?;
        let id = RecordId { origin: scope.origin, dataset: found.dataset.clone(), key: found.key };
        let row = self.with_database(|database| Ok(database.locate(&id)?)).ok().flatten();
        let sides = newest_first(&found.cell).into_iter().map(|element| self.side(element));
        Ok(Conflict {
            scope: self.scope_label(&scope)?,
            record: id.to_string(),
            field: found.field.to_string(),
            row,
            base: common_base(&found.cell).map(Value::to_json),
            sides: sides.collect::<Result<_, Error>>()?,
        })
    }

    /// Settles the conflicts that `what` names as in `conflicts`, or with `None` all; those that `choose`
    /// has no answer for stay open.
    ///
    /// A choice is an explicit write on top of everything that is known, in one commit per scope, and is
    /// written into the application's rows at once.
    ///
    /// # Errors
    /// As `conflicts`. `NoSide` if a choice fits none of the values, `BadValue` if it is none: then nothing
    /// is written. Where everything is to be settled, such conflicts stay open instead.
    pub fn resolve(
        &self,
        what: Option<&str>,
        choose: &dyn Fn(&str) -> Option<Choice>,
        mode: Mode,
    ) -> Result<Resolution, Error> {
        if mode == Mode::Keep {
            // What the application changed meanwhile comes first, and may have settled something.
            self.commit(Mode::Keep)?;
        }
        let mut resolution = Resolution::default();
        let mut by_scope: BTreeMap<ScopeId, Vec<Chosen>> = BTreeMap::new();
        let found = self.find_conflicts(what)?;
        let count = found.len();
        for found in found {
            let name = found.name();
            let Some(choice) = choose(&name) else { continue };
            if matches!(choice, Choice::Value(_)) && count > 1 {
                return Err(Error::Ambiguous {
                    what: what.map_or_else(|| "--all".into(), |what| format!("conflict {what:?}")),
                    count,
                });
            }
            match self.chosen(&found, &choice) {
                Ok((value, from)) => by_scope.entry(found.scope).or_default().push(Chosen { found, value, from }),
                Err(Error::NoSide { .. }) if what.is_none() => resolution.left.push(name),
                Err(error) => return Err(error),
            }
        }
        if mode == Mode::DryRun {
            for (scope, chosen) in by_scope {
                resolution.resolved.extend(self.describe_chosen(&scope, &chosen, None)?);
            }
            return Ok(resolution);
        }
        if by_scope.is_empty() {
            return Ok(resolution);
        }
        let transaction = self.state.transaction()?;
        for (scope, chosen) in by_scope {
            let made = self.settle_chosen(&scope, &chosen)?;
            resolution.resolved.extend(self.describe_chosen(&scope, &chosen, Some(made))?);
        }
        database::commit(transaction)?;
        self.apply(Mode::Keep)?;
        Ok(resolution)
    }

    fn settle_chosen(&self, scope: &ScopeId, chosen: &[Chosen]) -> Result<CommitId, Error> {
        let (open, base) = self.open_at_head(scope)?;
        let stamp = self.next_stamp(&open)?;
        let write = Write { scope: &open, stamp, published: 0 };
        let mut edits = Edits::new();
        for Chosen { found, value, from } in chosen {
            let at = (found.dataset.clone(), found.key);
            let record = match edits.remove(&at).flatten() {
                Some(record) => Some(record),
                None => self.record_at(&open, &base, &found.dataset, &found.key)?,
            };
            let mut record = record.expect("its conflict was found at this very head");
            write.settle(&mut record, &found.dataset, &found.field, value.clone(), from.as_ref());
            edits.insert(at, Some(record));
        }
        let made = self.compose(&open, &base, edits, stamp)?;
        self.advance(&open, &made)?;
        Ok(made.id)
    }

    fn describe_chosen(
        &self,
        scope: &ScopeId,
        chosen: &[Chosen],
        commit: Option<CommitId>,
    ) -> Result<Vec<Resolved>, Error> {
        let (open, _) = self.open_at_head(scope)?;
        let (scope, local) = (open.label(self)?, !open.manifest.may_write(&self.id()));
        let resolved = chosen.iter().map(|Chosen { found, value, .. }| Resolved {
            scope: scope.clone(),
            record: format!("{}/{}", found.dataset.base(), found.key),
            field: found.field.to_string(),
            value: value.to_json(),
            local,
            commit,
        });
        Ok(resolved.collect())
    }

    fn find_conflicts(&self, what: Option<&str>) -> Result<Vec<Found>, Error> {
        let (record, field) = match what.map(|what| what.split_once('.').unwrap_or((what, ""))) {
            Some((record, field)) => (Some(record), Some(field).filter(|field| !field.is_empty())),
            None => (None, None),
        };
        let mut scopes: BTreeMap<ScopeId, Option<(OpenScope, Known)>> = BTreeMap::new();
        let (mut found, mut records) = (Vec::new(), BTreeSet::new());
        for open in self.state.conflicts()? {
            if record.is_some_and(|wanted| !names(wanted, &open))
                || field.is_some_and(|field| open.field.as_str() != field)
            {
                continue;
            }
            let OpenConflict { scope, dataset, record: key, field } = open;
            if let Entry::Vacant(entry) = scopes.entry(scope) {
                entry.insert(self.try_open_at_head(&scope)?);
            }
            let Some((open, known)) = &scopes[&scope] else { continue };
            let Some(mut whole) = self.record_at(open, known, &dataset, &key)? else { continue };
            let Some(cell) = whole.cells.remove(&field) else { continue };
            records.insert((scope, dataset.clone(), key));
            found.push(Found { scope, dataset, key, field, cell });
        }
        match what {
            Some(what) if found.is_empty() => Err(Error::NoConflict { what: what.to_owned() }),
            Some(what) if records.len() > 1 => {
                Err(Error::Ambiguous { what: format!("conflict {what:?}"), count: records.len() })
            }
            _ => Ok(found),
        }
    }

    /// Opens a scope with its local head; `None` if we can't read it any more, or it has no head.
    fn try_open_at_head(&self, id: &ScopeId) -> Result<Option<(OpenScope, Known)>, Error> {
        let row = self.scope_row(id)?;
        let Some(head) = row.local_head else { return Ok(None) };
        let Some(scope) = self.open_scope(row)? else { return Ok(None) };
        let known = self.state.known_commit(id, &head)?;
        Ok(Some((scope, known)))
    }

    /// Opens a scope that has a local head, with that head.
    ///
    /// # Errors
    /// `NotFound` if we can't read it any more, or it has no head.
    pub(super) fn open_at_head(&self, id: &ScopeId) -> Result<(OpenScope, Known), Error> {
        self.try_open_at_head(id)?.ok_or_else(|| Error::NotFound { what: format!("scope {id}") })
    }

    /// The value that a choice means, and the write that it comes from.
    fn chosen(&self, found: &Found, choice: &Choice) -> Result<(Value, Option<Stamp>), Error> {
        let elements = newest_first(&found.cell);
        let ours = |element: &Element| element.stamp.author == self.id();
        let side = |element: &Element| (element.value.clone(), Some(element.stamp));
        let bad_value = |text: &String| Error::BadValue { field: found.field.to_string(), text: text.clone() };
        let (fitting, wanted): (Vec<&Element>, _) = match choice {
            Choice::Latest => return Ok(side(elements[0])),
            Choice::Value(text) => {
                return Ok((parse_like(&elements, text).ok_or_else(|| bad_value(text))?, None));
            }
            Choice::Edited { text, of } => {
                let same = elements.iter().map(|element| element.stamp).eq(of.iter().copied());
                if same {
                    return Ok((Value::Text(text.clone()), None));
                }
                (Vec::new(), "the edited text".to_owned())
            }
            Choice::Side(stamp) => (
                elements.iter().copied().filter(|element| element.stamp == *stamp).collect(),
                "the chosen value".into(),
            ),
            Choice::Ours => (elements.iter().copied().filter(|element| ours(element)).collect(), "`ours`".into()),
            Choice::Theirs => (elements.iter().copied().filter(|element| !ours(element)).collect(), "`theirs`".into()),
            Choice::Author(author) => {
                let mut fitting = Vec::new();
                for element in &elements {
                    let id = element.stamp.author;
                    if self.instance_label(&id)? == *author || id.matches_prefix(author) {
                        fitting.push(*element);
                    }
                }
                (fitting, format!("{author:?}"))
            }
        };
        match &fitting[..] {
            [first, rest @ ..] if rest.iter().all(|other| other.value.same(&first.value)) => Ok(side(first)),
            _ => {
                let authors = elements.iter().map(|element| self.instance_label(&element.stamp.author));
                let authors = authors.collect::<Result<Vec<_>, _>>()?;
                Err(Error::NoSide { conflict: found.name(), wanted, authors })
            }
        }
    }

    fn side(&self, element: &Element) -> Result<ConflictSide, Error> {
        Ok(ConflictSide {
            author: self.instance_label(&element.stamp.author)?,
            ours: element.stamp.author == self.id(),
            time: element.stamp.time,
            value: element.value.to_json(),
            stamp: element.stamp,
        })
    }

    /// Prepares the conflict of two texts for an editor: our text and the other, or the newer and the other.
    ///
    /// # Errors
    /// As `conflicts`; `NoTexts` if it isn't one conflict of two texts.
    pub fn edit_conflict(&self, what: &str) -> Result<Editing, Error> {
        let found = self.find_conflicts(Some(what))?;
        let not_texts = || Error::NoTexts { what: what.to_owned() };
        let [found] = &found[..] else { return Err(not_texts()) };
        let sides = newest_first(&found.cell);
        let [first, second] = sides[..] else { return Err(not_texts()) };
        let text = |value: &Value| match value {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        };
        let base = common_base(&found.cell).and_then(text).unwrap_or_default();
        let (ours, theirs) = if second.stamp.author == self.id() { (second, first) } else { (first, second) };
        let texts = [base, text(&ours.value).ok_or_else(not_texts)?, text(&theirs.value).ok_or_else(not_texts)?];
        let authors = [self.instance_label(&ours.stamp.author)?, self.instance_label(&theirs.stamp.author)?];
        let of = sides.iter().map(|element| element.stamp).collect();
        Ok(Editing::new(found.name(), &texts, &authors, of))
    }
}

impl Found {
    fn name(&self) -> String {
        format!("{}/{}.{}", self.dataset.base(), self.key, self.field)
    }
}

/// Tells whether `wanted`, as `dataset/key` or `key` with at least four digits of the key, names the record.
fn names(wanted: &str, open: &OpenConflict) -> bool {
    let (dataset, key) = wanted.split_once('/').map_or((None, wanted), |(dataset, key)| (Some(dataset), key));
    dataset.is_none_or(|dataset| open.dataset.base().as_str() == dataset) && open.record.matches_prefix(key)
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

/// Reads a value of the kind that the elements have; `null` is nothing, but for texts.
fn parse_like(elements: &[&Element], text: &str) -> Option<Value> {
    let like = elements.iter().map(|element| &element.value).find(|value| **value != Value::Null);
    match like {
        None | Some(Value::Text(_)) => Some(Value::Text(text.into())),
        Some(_) if text == "null" => Some(Value::Null),
        Some(Value::Bool(_)) => text.parse().ok().map(Value::Bool),
        Some(Value::Int(_)) => text.parse().ok().map(Value::Int),
        Some(Value::Float(_)) => text.parse().ok().map(Value::Float),
        Some(Value::Timestamp(_)) => {
            text.parse::<jiff::Timestamp>().ok().map(|time| Value::Timestamp(time.as_microsecond()))
        }
        Some(Value::Decimal(_)) => is_decimal(text).then(|| Value::Decimal(text.into())),
        Some(Value::Json(_)) => serde_json::from_str::<serde_json::Value>(text).ok().map(|_| Value::Json(text.into())),
        Some(Value::Null | Value::Bytes(_) | Value::List(_) | Value::Ref(_) | Value::Blob { .. }) => None,
    }
}

fn is_decimal(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    [whole, fraction].iter().all(|part| !part.is_empty() && part.bytes().all(|c| c.is_ascii_digit()))
}

/// Tells whether a cell waits for somebody's choice.
pub(super) fn is_open(scope: &OpenScope, dataset: &DatasetName, field: &FieldName, cell: &Cell) -> bool {
    show(cell, scope.schema.strategy(dataset, field), &scope.row.origin).open
}
