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
use crate::id::name::{DatasetName, FieldName};
use crate::merge::strategy::show;
use crate::record::cell::{Cell, Record};
use crate::record::recordid::RecordId;
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
        let mut puts = Vec::new();
        let mut quiet = Vec::new();
        for (side, span) in sides.iter_mut().zip(spans) {
            match side.next_if(|next| next.as_ref().is_ok_and(|difference| difference.key == least)) {
                Some(Ok(difference)) => puts.extend(difference.right.map(|bytes| (span, bytes))),
                _ => quiet.push(span),
            }
        }
        let id = RecordId { origin: *origin, dataset: dataset.clone(), key };
        match (pass, puts.is_empty()) {
            (Pass::Puts, true) | (Pass::Deletions, false) => Ok(Some(None)),
            (Pass::Puts, false) => {
                let mut best: Option<(&Span, Record)> = None;
                for (span, bytes) in puts {
                    let record = decode_record(&bytes, origin, dataset, &key)?;
                    if best.as_ref().is_none_or(|(_, best)| newest(best) < newest(&record)) {
                        best = Some((span, record));
                    }
                }
                Ok(Some(best.map(|(span, record)| put(id, span, record))))
            }
            (Pass::Deletions, true) => {
                // Gone from one scope; another of the same origin may hold it unchanged.
                for span in quiet {
                    let Some(after) = &span.after else { continue };
                    if let Some(record) = self.record_at(&span.scope, after, dataset, &key)? {
                        return Ok(Some(Some(put(id, span, record))));
                    }
                }
                Ok(Some(Some(Change { id, content: None })))
            }
        }
    }
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

fn put(id: RecordId, span: &Span, record: Record) -> Change {
    let schema = &span.scope.schema;
    let shown = |field: &FieldName, cell: &Cell| show(cell, schema.strategy(&id.dataset, field), &id.origin).value;
    let fields = record.cells.iter().map(|(field, cell)| (field.clone(), shown(field, cell))).collect();
    Change { id, content: Some(Content { scope: span.scope.row.name.clone(), fields }) }
}

fn newest(record: &Record) -> Option<(crate::sys::clock::UnixMillis, crate::record::stamp::Stamp)> {
    record.elements().map(|(_, element)| (element.stamp.time, element.stamp)).max()
}
