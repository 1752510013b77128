//! Which changes reach the application's rows: those of shunned records never do, those of pruned ones only if they say
//! something new.
//!
//! A pruned record that comes back brings those along that it refers to: a row is never written without what it
//! belongs to.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::changes::Span;
use super::error::Error;
use super::instance::Instance;
use super::view::View;
use crate::cbor::writer::Writer;
use crate::connector::contract::{Change, Content};
use crate::id::bytes::InstanceId;
use crate::record::recordid::RecordId;
use crate::record::value::Value;
use crate::state::pruned::ContentHash;

/// What keeps records away from the rows, and which of them came back.
pub(super) struct Gate {
    shunned: BTreeSet<RecordId>,
    pruned: BTreeMap<RecordId, ContentHash>,
    /// All scopes, as they are to be shown; empty if nothing is pruned.
    spans: BTreeMap<InstanceId, Vec<Span>>,
    returned: RefCell<BTreeSet<RecordId>>,
}

impl Instance {
    /// Reads what keeps records away from rows that come to show a view.
    pub(super) fn gate(&self, target: &View) -> Result<Gate, Error> {
        let shunned = self.state.shunned()?.into_iter().map(|shunned| shunned.id).collect();
        let pruned = self.state.pruned()?;
        let spans = if pruned.is_empty() { BTreeMap::new() } else { self.spans(&View::default(), target)? };
        Ok(Gate { shunned, pruned, spans, returned: RefCell::default() })
    }

    /// Leaves out of changes what is to stay away, and adds what comes back with them.
    pub(super) fn admitted<'a>(
        &'a self,
        gate: &'a Gate,
        mut changes: impl Iterator<Item = Result<Change, Error>> + 'a,
    ) -> impl Iterator<Item = Result<Change, Error>> + 'a {
        let mut ready: VecDeque<Change> = VecDeque::new();
        std::iter::from_fn(move || {
            loop {
                if let Some(change) = ready.pop_front() {
                    return Some(Ok(change));
                }
                match changes.next()? {
                    Ok(change) if gate.keeps_away(&change) => {}
                    Ok(change) => {
                        if let Err(error) = self.with_what_it_needs(gate, change, &mut ready) {
                            return Some(Err(error));
                        }
                    }
                    Err(error) => return Some(Err(error)),
                }
            }
        })
    }

    /// Queues a change after the pruned records that it refers to, theirs first.
    fn with_what_it_needs(&self, gate: &Gate, change: Change, ready: &mut VecDeque<Change>) -> Result<(), Error> {
        let mut stack = vec![(change, false)];
        while let Some((change, is_complete)) = stack.pop() {
            if is_complete || gate.pruned.is_empty() {
                ready.push_back(change);
                continue;
            }
            let needed =
                change.content.iter().flat_map(|content| content.fields.values()).filter_map(|value| match value {
                    Value::Ref(id) if gate.must_return(id) => Some(id.clone()),
                    _ => None,
                });
            let needed: Vec<RecordId> = needed.collect();
            stack.push((change, true));
            for id in needed {
                let spans = gate.spans.get(&id.origin).map_or(&[][..], Vec::as_slice);
                if let Some(content) = self.content_after(spans, &id)? {
                    stack.push((Change { id, content: Some(content) }, false));
                }
            }
        }
        Ok(())
    }

    /// Notes that what came back has its row again. Before the apply is finished: after that nobody would know.
    pub(super) fn close(&self, gate: Gate) -> Result<(), Error> {
        for id in gate.returned.into_inner() {
            self.state.drop_pruned(&id)?;
        }
        Ok(())
    }
}

impl Gate {
    fn keeps_away(&self, change: &Change) -> bool {
        if self.shunned.contains(&change.id) {
            return true;
        }
        let Some(then) = self.pruned.get(&change.id) else { return false };
        if change.content.as_ref().is_some_and(|content| content_hash(content, &change.id.origin) == *then) {
            return true;
        }
        self.returned.borrow_mut().insert(change.id.clone());
        false
    }

    /// Tells whether a record is pruned that something refers to now, and notes that it comes back.
    fn must_return(&self, id: &RecordId) -> bool {
        self.pruned.contains_key(id) && !self.shunned.contains(id) && self.returned.borrow_mut().insert(id.clone())
    }
}

/// Tells contents apart. A field without a value says as little as one that is missing.
pub(super) fn content_hash(content: &Content, origin: &InstanceId) -> ContentHash {
    let mut writer = Writer::new();
    writer.array(2);
    writer.text(content.scope.as_str());
    let said = || content.fields.iter().filter(|(_, value)| **value != Value::Null);
    let mut order = writer.map(said().count());
    for (field, value) in said() {
        writer.key(&mut order, field.as_str());
        value.encode(&mut writer, origin);
    }
    *blake3::hash(&writer.finish()).as_bytes()
}
