//! Which rows change between two views, in the order in which a database can take them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::iter::Peekable;
use std::rc::Rc;

use super::commit::decode_record;
use super::error::Error;
use super::instance::Instance;
use super::scopes::OpenScope;
use super::view::View;
use crate::connector::contract::{Change, Content};
use crate::history::join::Known;
use crate::id::bytes::{InstanceId, RecordKey};
use crate::id::name::{DatasetName, FieldName};
use crate::merge::strategy::show;
use crate::record::cell::{Cell, Record};
use crate::record::recordid::RecordId;
use crate::record::value::Value;
use crate::state::database::State;
use crate::tree::diff::{Diff, diff};
use crate::tree::root::Root;

/// A scope and the commits that it moves between.
pub struct Span {
    pub(super) scope: OpenScope,
    before: Option<Known>,
    pub(super) after: Option<Known>,
}

/// The datasets of which a tree lost records, by origin: noted by the first pass, for the second.
type Losses = Rc<RefCell<BTreeSet<(InstanceId, DatasetName)>>>;

/// Which changes a pass gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pass {
    Puts,
    Deletions,
}

impl Instance {
    /// Opens the scopes in which two views differ, by origin, with all other scopes of those origins.
    ///
    /// # Errors
    /// `LostCommit` if a commit of a view isn't held.
    pub(super) fn spans(&self, from: &View, to: &View) -> Result<BTreeMap<InstanceId, Vec<Span>>, Error> {
        let mut spans: BTreeMap<InstanceId, Vec<Span>> = BTreeMap::new();
        for row in self.state.scopes()? {
            let commit = |view: &View| -> Result<Option<Known>, Error> {
                let Some(id) = view.commits.get(&row.id) else { return Ok(None) };
                self.state.commit(&row.id, id)?.ok_or(Error::LostCommit { id: *id }).map(Some)
            };
            let (before, after) = (commit(from)?, commit(to)?);
            if let Some(scope) = self.open_scope(row)? {
                spans.entry(scope.row.origin).or_default().push(Span { scope, before, after });
            }
        }
        spans.retain(|_, spans| spans.iter().any(Span::differs));
        Ok(spans)
    }

    /// Returns what a record's row is to show once spans are at their ends; `None` if no scope has the record.
    pub(super) fn content_after(&self, spans: &[Span], id: &RecordId) -> Result<Option<Content>, Error> {
        let overlay = id.dataset.overlay();
        let mut pieces = Pieces::default();
        for span in spans {
            let Some(after) = &span.after else { continue };
            for (dataset, is_overlay) in [(&id.dataset, false), (&overlay, true)] {
                if let Some(record) = self.record_at(&span.scope, after, dataset, &id.key)? {
                    pieces.add(self, id, span, is_overlay, record)?;
                }
            }
        }
        Ok(pieces.content(id))
    }

    /// Gives every record that changes: puts, parents' datasets first; then deletions, children's first.
    pub(super) fn changes<'a>(
        &'a self,
        spans: &'a BTreeMap<InstanceId, Vec<Span>>,
        datasets: &'a [DatasetName],
    ) -> impl Iterator<Item = Result<Change, Error>> + 'a {
        let losses = Losses::default();
        let (losing, lost) = (Rc::clone(&losses), losses);
        let puts = datasets.iter().flat_map(move |dataset| {
            let losing = Rc::clone(&losing);
            spans.iter().flat_map(move |(origin, spans)| {
                self.dataset_changes((origin, spans), dataset, Pass::Puts, Rc::clone(&losing))
            })
        });
        let deletions = datasets.iter().rev().flat_map(move |dataset| {
            let lost = Rc::clone(&lost);
            // Where no tree lost a record there is nothing to delete, and no need to compare the trees once more.
            let losers = spans.iter().filter({
                let lost = Rc::clone(&lost);
                move |(origin, _)| lost.borrow().contains(&(**origin, dataset.clone()))
            });
            losers.flat_map(move |(origin, spans)| {
                self.dataset_changes((origin, spans), dataset, Pass::Deletions, Rc::clone(&lost))
            })
        });
        puts.chain(deletions)
    }

    fn dataset_changes<'a>(
        &'a self,
        (origin, spans): (&'a InstanceId, &'a [Span]),
        dataset: &'a DatasetName,
        pass: Pass,
        losses: Losses,
    ) -> impl Iterator<Item = Result<Change, Error>> + 'a {
        let mut sides: Vec<Side<'a>> = Vec::with_capacity(2 * spans.len());
        for span in spans {
            for (tree, is_overlay) in [(dataset.clone(), false), (dataset.overlay(), true)] {
                let differences = span.diff(&self.state, &tree, pass).peekable();
                sides.push(Side { span, is_overlay, tree, differences });
            }
        }
        std::iter::from_fn(move || {
            loop {
                let step = self.next_change(origin, dataset, pass, &mut sides, &losses).transpose()?;
                match step {
                    Ok(None) => {}
                    Ok(Some(change)) => return Some(Ok(change)),
                    Err(error) => return Some(Err(error)),
                }
            }
        })
    }

    /// Takes the least key that any scope changes. `None` at the end; `Some(None)` if this pass has
    /// nothing to say about it.
    #[allow(clippy::type_complexity, reason = "the three ends of one step")]
    fn next_change(
        &self,
        origin: &InstanceId,
        dataset: &DatasetName,
        pass: Pass,
        sides: &mut [Side<'_>],
        losses: &Losses,
    ) -> Result<Option<Option<Change>>, Error> {
        let mut least: Option<Vec<u8>> = None;
        for side in &mut *sides {
            match side.differences.peek() {
                None => {}
                Some(Ok(difference)) if least.as_ref().is_none_or(|least| difference.key < *least) => {
                    least = Some(difference.key.clone());
                }
                Some(Ok(_)) => {}
                Some(Err(_)) => {
                    let error = side.differences.next().and_then(Result::err).expect("an error was seen just above");
                    return Err(Error::Tree { scope: side.span.scope.row.name.to_string(), source: error });
                }
            }
        }
        let Some(least) = least else { return Ok(None) };
        let key = RecordKey::from_slice(&least).ok_or_else(|| {
            crate::state::error::Error::damaged(format!("a key of dataset {dataset} is no record key"))
        })?;
        let id = RecordId { origin: *origin, dataset: dataset.clone(), key };
        let mut pieces = Pieces::default();
        let (mut gone, mut quiet) = (Vec::new(), Vec::new());
        let mut touched = false;
        for side in sides {
            match side.differences.next_if(|next| next.as_ref().is_ok_and(|difference| difference.key == least)) {
                Some(Ok(difference)) => {
                    let moved = difference.right.is_none();
                    if moved && pass == Pass::Puts {
                        losses.borrow_mut().insert((*origin, dataset.clone()));
                    }
                    gone.extend(difference.left.map(|bytes| (&*side, moved, bytes)));
                    if let Some(bytes) = difference.right {
                        touched = true;
                        let record = decode_record(&bytes, origin, dataset, &key)?;
                        pieces.add(self, &id, side.span, side.is_overlay, record)?;
                    }
                }
                _ => quiet.push(&*side),
            }
        }
        let moved = pieces.whole.is_some();
        if (pass, touched) == (Pass::Puts, false) || (pass, moved) == (Pass::Deletions, true) {
            return Ok(Some(None));
        }
        // Another scope of the same origin may hold the record, or more fields of it, unchanged.
        let is_settled = pieces.whole.as_ref().is_some_and(|whole| !whole.is_left_over);
        for side in quiet.into_iter().filter(|side| side.is_overlay || !is_settled) {
            let Some(after) = &side.span.after else { continue };
            if let Some(record) = self.record_at(&side.span.scope, after, &side.tree, &key)? {
                pieces.add(self, &id, side.span, side.is_overlay, record)?;
            }
        }
        match (pass, pieces.content(&id)) {
            (Pass::Puts, None) => Ok(Some(None)),
            (Pass::Deletions, Some(_)) if touched => Ok(Some(None)),
            (Pass::Deletions, None) => Ok(Some(Some(Change { id, content: None }))),
            (_, Some(mut content)) => {
                // What went with a scope, or by its origin's rules isn't for its readers any more, shows nothing. A
                // record that a deletion cut lacks fields too, until somebody writes them again.
                for (side, moved, bytes) in gone {
                    let schema = &side.span.scope.schema;
                    for field in decode_record(&bytes, origin, dataset, &key)?.cells.into_keys() {
                        if moved || !schema.names(dataset, &field) {
                            content.fields.entry(field).or_insert(Value::Null);
                        }
                    }
                }
                Ok(Some(Some(Change { id, content: Some(content) })))
            }
        }
    }
}

/// What changes in one tree of one scope.
struct Side<'a> {
    span: &'a Span,
    /// Whether the tree holds overlays, or the records themselves.
    is_overlay: bool,
    tree: DatasetName,
    differences: Peekable<Diff<'a, State>>,
}

/// A record as it lies in several scopes of one origin.
#[derive(Default)]
struct Pieces<'a> {
    /// The record itself: if two scopes have it, because it is on its way from one to the other, the newer; but none of which there
    /// is only what writers left of it.
    whole: Option<Whole<'a>>,
    /// Fields of narrower scopes.
    overlays: Vec<(&'a Span, Record)>,
}

/// The record itself in one scope.
struct Whole<'a> {
    span: &'a Span,
    record: Record,
    is_left_over: bool,
}

impl<'a> Pieces<'a> {
    fn add(
        &mut self,
        instance: &Instance,
        id: &RecordId,
        span: &'a Span,
        is_overlay: bool,
        record: Record,
    ) -> Result<(), Error> {
        if is_overlay {
            self.overlays.push((span, record));
            return Ok(());
        }
        let is_left_over = instance.is_left_over(&span.scope, id, &record)?;
        let counts_less =
            |whole: &Whole<'_>| (!whole.is_left_over, newest(&whole.record)) < (!is_left_over, newest(&record));
        if self.whole.as_ref().is_none_or(counts_less) {
            self.whole = Some(Whole { span, record, is_left_over });
        }
        Ok(())
    }

    /// Returns what a row is to show; `None` if no scope has the record itself. What the record itself says counts.
    fn content(self, id: &RecordId) -> Option<Content> {
        let Whole { span, record: whole, .. } = self.whole?;
        let mut hidden = BTreeMap::new();
        let mut shown = |span: &Span, dataset: &DatasetName, (field, cell): (FieldName, Cell)| {
            let cell = match cell.into_only() {
                Ok(value) => return (field, value),
                Err(cell) => cell,
            };
            let shown = show(&cell, span.scope.schema.strategy(dataset, &field), &id.origin);
            let others = cell.elements().iter().filter(|element| element.value != shown.value);
            let others: Vec<_> = others.map(|element| (element.stamp.author, element.value.clone())).collect();
            if shown.open && !others.is_empty() {
                hidden.insert(field.clone(), others);
            }
            (field, shown.value)
        };
        let mut fields = BTreeMap::new();
        for (span, record) in self.overlays {
            let overlay = id.dataset.overlay();
            fields.extend(record.cells.into_iter().map(|cell| shown(span, &overlay, cell)));
        }
        let said = whole.cells.into_iter().map(|cell| shown(span, &id.dataset, cell));
        match fields.is_empty() {
            // They come in order, and are not searched for their places then.
            true => fields = said.collect(),
            false => fields.extend(said),
        }
        Some(Content { scope: span.scope.row.name.clone(), fields, hidden })
    }
}

/// Returns how many records of these datasets spans bring, if they bring nothing but new ones: otherwise only looking tells.
pub(super) fn count_new(spans: &BTreeMap<InstanceId, Vec<Span>>, datasets: &[DatasetName]) -> Option<u64> {
    let mut count = 0;
    for span in spans.values().flatten().filter(|span| span.differs()) {
        let (None, Some(after)) = (&span.before, &span.after) else { return None };
        count += datasets.iter().map(|dataset| after.commit.root(dataset).count).sum::<u64>();
    }
    Some(count)
}

impl Span {
    fn differs(&self) -> bool {
        self.before.as_ref().map(|known| known.id) != self.after.as_ref().map(|known| known.id)
    }

    fn diff<'a>(&'a self, state: &'a State, dataset: &DatasetName, pass: Pass) -> Diff<'a, State> {
        let root = |known: &Option<Known>| known.as_ref().map_or(Root::EMPTY, |known| known.commit.root(dataset));
        let (mut before, after) = (root(&self.before), root(&self.after));
        // Nothing was there, so nothing can be gone.
        if pass == Pass::Deletions && before == Root::EMPTY {
            before = after;
        }
        diff(state, &self.scope.row.id_key, &before, &after)
    }
}

pub(super) fn newest(record: &Record) -> Option<(crate::sys::clock::UnixMillis, crate::record::stamp::Stamp)> {
    record.elements().map(|(_, element)| (element.stamp.time, element.stamp)).max()
}
