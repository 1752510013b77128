//! Which rows change between two views, in the order in which a database can take them.

use std::collections::BTreeMap;
use std::iter::Peekable;

use super::commit::decode_record;
use super::error::Error;
use super::instance::Instance;
use super::scopes::OpenScope;
use super::view::View;
use crate::connector::contract::{Change, Content};
use crate::history::join::Known;
use crate::id::bytes::{InstanceId, RecordKey};
use crate::id::name::DatasetName;
use crate::merge::strategy::show;
use crate::record::cell::Record;
use crate::record::recordid::RecordId;
use crate::record::value::Value;
use crate::state::database::State;
use crate::tree::diff::{Diff, diff};
use crate::tree::root::Root;

/// A scope and the commits that it moves between.
pub struct Span {
    scope: OpenScope,
    before: Option<Known>,
    after: Option<Known>,
}

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

    /// Gives every record that changes: puts, parents' datasets first; then deletions, children's first.
    pub(super) fn changes<'a>(
        &'a self,
        spans: &'a BTreeMap<InstanceId, Vec<Span>>,
        datasets: &'a [DatasetName],
    ) -> impl Iterator<Item = Result<Change, Error>> + 'a {
        let pass = move |dataset: &'a DatasetName, pass: Pass| {
            spans.iter().flat_map(move |(origin, spans)| self.dataset_changes(origin, spans, dataset, pass))
        };
        let puts = datasets.iter().flat_map(move |dataset| pass(dataset, Pass::Puts));
        let deletions = datasets.iter().rev().flat_map(move |dataset| pass(dataset, Pass::Deletions));
        puts.chain(deletions)
    }

    fn dataset_changes<'a>(
        &'a self,
        origin: &'a InstanceId,
        spans: &'a [Span],
        dataset: &'a DatasetName,
        pass: Pass,
    ) -> impl Iterator<Item = Result<Change, Error>> + 'a {
        let mut sides: Vec<_> = spans.iter().map(|span| span.diff(&self.state, dataset, pass).peekable()).collect();
        std::iter::from_fn(move || {
            loop {
                let step = self.next_change(origin, spans, dataset, pass, &mut sides).transpose()?;
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
        spans: &[Span],
        dataset: &DatasetName,
        pass: Pass,
        sides: &mut [Peekable<Diff<'_, State>>],
    ) -> Result<Option<Option<Change>>, Error> {
        let mut least: Option<Vec<u8>> = None;
        for (side, span) in sides.iter_mut().zip(spans) {
            match side.peek() {
                None => {}
                Some(Ok(difference)) if least.as_ref().is_none_or(|least| difference.key < *least) => {
                    least = Some(difference.key.clone());
                }
                Some(Ok(_)) => {}
                Some(Err(_)) => {
                    let error = side.next().and_then(Result::err).expect("an error was seen just above");
                    return Err(Error::Tree { scope: span.scope.row.name.to_string(), source: error });
                }
            }
        }
        let Some(least) = least else { return Ok(None) };
        let key = RecordKey::from_slice(&least).ok_or_else(|| {
            crate::state::error::Error::damaged(format!("a key of dataset {dataset} is no record key"))
        })?;
        let id = RecordId { origin: *origin, dataset: dataset.clone(), key };
        let mut pieces = Pieces::default();
        let (mut before, mut quiet) = (Vec::new(), Vec::new());
        let mut touched = false;
        for (side, span) in sides.iter_mut().zip(spans) {
            match side.next_if(|next| next.as_ref().is_ok_and(|difference| difference.key == least)) {
                Some(Ok(difference)) => {
                    before.extend(difference.left);
                    if let Some(bytes) = difference.right {
                        touched = true;
                        pieces.add(span, decode_record(&bytes, origin, dataset, &key)?, dataset);
                    }
                }
                _ => quiet.push(span),
            }
        }
        let moved = pieces.whole.is_some();
        if (pass, touched) == (Pass::Puts, false) || (pass, moved) == (Pass::Deletions, true) {
            return Ok(Some(None));
        }
        // Another scope of the same origin may hold the record, or more fields of it, unchanged.
        for span in quiet {
            let Some(after) = span.after.as_ref().filter(|_| !moved || span.scope.schema.has_overlay(dataset)) else {
                continue;
            };
            if let Some(record) = self.record_at(&span.scope, after, dataset, &key)? {
                pieces.add(span, record, dataset);
            }
        }
        match (pass, &pieces.whole) {
            (Pass::Puts, None) => Ok(Some(None)),
            (Pass::Deletions, Some(_)) if touched => Ok(Some(None)),
            (Pass::Deletions, None) => Ok(Some(Some(Change { id, content: None }))),
            (_, Some(_)) => {
                let content = pieces.content(&id).expect("the record is there");
                let content = without_lost(content, &id, &before, spans)?;
                Ok(Some(Some(Change { id, content: Some(content) })))
            }
        }
    }
}

/// A record as it lies in several scopes of one origin.
#[derive(Default)]
struct Pieces<'a> {
    /// The record itself: if two scopes have it, because it is on its way from one to the other, the newer.
    whole: Option<(&'a Span, Record)>,
    /// Fields of narrower scopes.
    overlays: Vec<(&'a Span, Record)>,
}

impl<'a> Pieces<'a> {
    fn add(&mut self, span: &'a Span, record: Record, dataset: &DatasetName) {
        if !span.scope.is_whole(dataset, &record) {
            self.overlays.push((span, record));
        } else if self.whole.as_ref().is_none_or(|(_, whole)| newest(whole) < newest(&record)) {
            self.whole = Some((span, record));
        }
    }

    /// Returns what a row is to show; `None` if no scope has the record itself.
    fn content(&self, id: &RecordId) -> Option<Content> {
        let (span, whole) = self.whole.as_ref()?;
        let mut fields = BTreeMap::new();
        for (span, record) in self.overlays.iter().map(|(span, record)| (*span, record)).chain([(*span, whole)]) {
            let schema = &span.scope.schema;
            for (field, cell) in &record.cells {
                fields.insert(field.clone(), show(cell, schema.strategy(&id.dataset, field), &id.origin).value);
            }
        }
        Some(Content { scope: span.scope.row.name.clone(), fields })
    }
}

/// Adds that fields of narrower scopes which were here and aren't any more show nothing.
fn without_lost(mut content: Content, id: &RecordId, before: &[Vec<u8>], spans: &[Span]) -> Result<Content, Error> {
    if !spans.iter().any(|span| span.scope.schema.has_overlay(&id.dataset)) {
        return Ok(content);
    }
    for bytes in before {
        for field in decode_record(bytes, &id.origin, &id.dataset, &id.key)?.cells.into_keys() {
            if spans.iter().any(|span| span.scope.schema.is_overlay(&id.dataset, &field)) {
                content.fields.entry(field).or_insert(Value::Null);
            }
        }
    }
    Ok(content)
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

fn newest(record: &Record) -> Option<(crate::sys::clock::UnixMillis, crate::record::stamp::Stamp)> {
    record.elements().map(|(_, element)| (element.stamp.time, element.stamp)).max()
}
