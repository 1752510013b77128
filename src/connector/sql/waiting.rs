//! Records that wait to be written, and references that wait for their target.

use super::apart::BEHIND;
use super::apply::{Apply, Fail, Giver};
use super::convert;
use super::key::Key;
use super::look::Override;
use super::plan::Content as Column;
use super::raw::Raw;
use crate::cbor;
use crate::cbor::reader::{Kind, Reader};
use crate::cbor::writer::Writer;
use crate::connector::contract::Content;
use crate::id::bytes::InstanceId;
use crate::id::name::{FieldName, ScopeName};
use crate::record::codec::FIELDS_MAX;
use crate::record::recordid::RecordId;
use crate::record::value::Value;

impl Apply<'_> {
    /// Keeps a change that can't be written now, in place of an older one of the same record.
    pub(super) fn park(
        &mut self,
        dataset: usize,
        id: &RecordId,
        content: Option<&Content>,
        reason: &str,
        waits: Option<&RecordId>,
    ) -> Result<(), Fail> {
        self.keep_waiting(dataset, id, content, reason, waits)?;
        match content {
            Some(content) => self.cover(dataset, id, content, reason),
            None => Ok(()),
        }
    }

    /// Writes a change down among what waits.
    pub(super) fn keep_waiting(
        &mut self,
        dataset: usize,
        id: &RecordId,
        content: Option<&Content>,
        reason: &str,
        waits: Option<&RecordId>,
    ) -> Result<(), Fail> {
        let origin = self.books.intern(self.conn, &id.origin)?;
        self.write_waiting(dataset, origin, id, "", Some(encode(content, &id.origin)), reason, waits)
    }

    /// Forgets that a record waits.
    pub(super) fn unpark(&self, dataset: usize, id: &RecordId) -> Result<(), Fail> {
        let Some(origin) = self.books.number(&id.origin) else { return Ok(()) };
        let sql = "DELETE FROM _wbsync_waiting WHERE dataset = ?1 AND origin = ?2 AND record = ?3 AND field = ''";
        self.conn.execute(sql, &bind![self.books.datasets[dataset], origin, id.key.as_bytes()])?;
        Ok(())
    }

    /// Queues what waits for a record that arrived, or whose row no longer stands for others.
    pub(super) fn wake(&mut self, dataset: usize, id: &RecordId) -> Result<(), Fail> {
        let Some(origin) = self.books.number(&id.origin) else { return Ok(()) };
        let sql = "SELECT id FROM _wbsync_waiting
                   WHERE for_dataset = ?1 AND for_origin = ?2 AND for_record = ?3 ORDER BY id";
        let number = self.books.datasets[dataset];
        let found = self.conn.all(sql, &bind![number, origin, id.key.as_bytes()], |row| row.get::<i64>(0))?;
        self.retries.extend(found);
        Ok(())
    }

    /// Queues everything that waits, parents first.
    pub(super) fn wake_all(&mut self) -> Result<(), Fail> {
        for number in &self.books.datasets {
            let sql = "SELECT id FROM _wbsync_waiting WHERE dataset = ?1 ORDER BY id";
            self.retries.extend(self.conn.all(sql, &bind![number], |row| row.get::<i64>(0))?);
        }
        Ok(())
    }

    /// Tries to write what waits in a row of the waiting table.
    pub(super) fn retry(&mut self, waiting: i64) -> Result<(), Fail> {
        let sql = "SELECT dataset, origin, record, field, change FROM _wbsync_waiting WHERE id = ?1";
        let found = self.conn.one(sql, &bind![waiting], |row| {
            let change: Option<Vec<u8>> = row.get(4)?;
            Ok((row.get::<i64>(0)?, row.get::<i64>(1)?, row.get(2)?, row.get::<String>(3)?, change))
        })?;
        let Some((number, origin, record, field, change)) = found else { return Ok(()) };
        let Some(dataset) = self.books.datasets.iter().position(|known| *known == number) else { return Ok(()) };
        let id = self.books.record_id(self.plans, dataset, origin, record);
        match change {
            Some(change) => {
                let damaged = |error| Fail::Books(format!("what waits as {id}: {error}"));
                let content = decode(&change, &id.origin).map_err(damaged)?;
                self.one(dataset, &id, content.as_ref(), Giver::Waiting)
            }
            None => self.fill_reference(dataset, &id, &field, waiting),
        }
    }

    /// Returns what a record says that waits to be written, and for which record it waits.
    pub(super) fn waiting_for(&self, dataset: usize, id: &RecordId) -> Result<Option<(Content, RecordId)>, Fail> {
        let Some(origin) = self.books.number(&id.origin) else { return Ok(None) };
        let sql = "SELECT change, for_dataset, for_origin, for_record FROM _wbsync_waiting
                   WHERE dataset = ?1 AND origin = ?2 AND record = ?3 AND field = '' AND for_record IS NOT NULL";
        let found = self.conn.one(sql, &bind![self.books.datasets[dataset], origin, id.key.as_bytes()], |row| {
            Ok((row.get::<Option<Vec<u8>>>(0)?, row.get::<Option<i64>>(1)?, row.get::<i64>(2)?, row.get(3)?))
        })?;
        let Some((Some(change), Some(number), origin, record)) = found else { return Ok(None) };
        let Some(parent) = self.books.datasets.iter().position(|known| *known == number) else { return Ok(None) };
        let damaged = |error| Fail::Books(format!("what waits as {id}: {error}"));
        let content = decode(&change, &id.origin).map_err(damaged)?;
        Ok(content.map(|content| (content, self.books.record_id(self.plans, parent, origin, record))))
    }

    /// Replaces the references of a record that wait for their targets.
    pub(super) fn wait_for_targets(
        &mut self,
        dataset: usize,
        origin: i64,
        id: &RecordId,
        open: &[(usize, RecordId)],
        had_some: bool,
    ) -> Result<(), Fail> {
        if had_some {
            let sql = "DELETE FROM _wbsync_waiting WHERE dataset = ?1 AND origin = ?2 AND record = ?3 AND field <> ''";
            self.conn.execute(sql, &bind![self.books.datasets[dataset], origin, id.key.as_bytes()])?;
        }
        for (index, target) in open {
            let plans = self.plans;
            let field = plans.list[dataset].fields[*index].name.as_str();
            self.write_waiting(dataset, origin, id, field, None, &format!("waits for {target}"), Some(target))?;
        }
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "the columns of the waiting table")]
    fn write_waiting(
        &mut self,
        dataset: usize,
        origin: i64,
        id: &RecordId,
        field: &str,
        change: Option<Vec<u8>>,
        reason: &str,
        waits: Option<&RecordId>,
    ) -> Result<(), Fail> {
        let target = match waits {
            Some(target) => Some((
                self.plans.index(&target.dataset).map(|index| self.books.datasets[index]),
                self.books.intern(self.conn, &target.origin)?,
                target.key.as_bytes(),
            )),
            None => None,
        };
        let sql = "INSERT INTO _wbsync_waiting
            (dataset, origin, record, field, change, for_dataset, for_origin, for_record, reason)
            VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT(dataset, origin, record, field)
            DO UPDATE SET change = excluded.change,
            for_dataset = excluded.for_dataset, for_origin = excluded.for_origin,
            for_record = excluded.for_record, reason = excluded.reason";
        let (record, for_record) = (id.key.as_bytes(), target.map(|(_, _, record)| record));
        let (for_dataset, for_origin) = (target.and_then(|(dataset, ..)| dataset), target.map(|(_, origin, _)| origin));
        let number = self.books.datasets[dataset];
        let values = bind![number, origin, record, field, change, for_dataset, for_origin, for_record, reason];
        self.conn.execute(sql, &values)?;
        self.has_waiting = true;
        Ok(())
    }

    /// Notes where the row of a parked record shows something else, so that it isn't taken for an edit.
    fn cover(&mut self, dataset: usize, id: &RecordId, content: &Content, reason: &str) -> Result<(), Fail> {
        let plans = self.plans;
        let plan = &plans.list[dataset];
        let Some(mut entry) = self.books.find(self.conn, dataset, id)?.filter(|entry| !entry.is_stub()) else {
            return Ok(());
        };
        let Some(row) = self.current(dataset, &entry.key, entry.origin, &[])? else { return Ok(()) };
        let mut overrides = Vec::new();
        for (index, field) in plan.fields.iter().enumerate() {
            let shown = &row.raws[index + 1];
            let shows = match (&field.content, content.fields.get(&field.name)) {
                (_, None) => true,
                // The row says nothing of it.
                (_, Some(value)) if !field.has_turn_among(&row.raws) => *value == Value::Null,
                (Column::Plain(kind), Some(value)) => convert::shows(*kind, shown, value),
                (Column::Ref(_), Some(Value::Null)) => *shown == Raw::Null,
                (Column::Ref(reference), Some(Value::Ref(target))) => {
                    let found = self.books.find(self.conn, reference.parent, target)?;
                    found.is_some_and(|found| reference.shown(&found.key) == *shown)
                }
                (Column::Ref(_), Some(_)) => false,
            };
            // What no capture could take in is no older version.
            let is_held = self.held.get(id).is_some_and(|held| held.fields.contains(&field.name));
            if !shows && !is_held {
                let (field, shown) = (field.name.clone(), shown.clone());
                overrides.push(Override { field, shown, reason: reason.to_owned() });
            }
        }
        let Some(covered) = self.current(dataset, &entry.key, entry.origin, &overrides)? else { return Ok(()) };
        self.books.set_overrides(self.conn, dataset, &entry.key, &overrides)?;
        entry.digest = covered.digest;
        entry.flags = entry.flags & !BEHIND | if overrides.is_empty() { 0 } else { BEHIND };
        entry.view = self.books.target_view();
        Ok(self.books.put(self.conn, dataset, &entry)?)
    }

    /// Sets a reference that was NULL, now that its target may be here.
    fn fill_reference(&mut self, dataset: usize, id: &RecordId, field: &str, waiting: i64) -> Result<(), Fail> {
        let plans = self.plans;
        let plan = &plans.list[dataset];
        let sql = "SELECT t.key FROM _wbsync_waiting w JOIN _wbsync_map t
                   ON t.dataset = w.for_dataset AND t.origin = w.for_origin AND t.record = w.for_record
                   WHERE w.id = ?1";
        let Some(entry) = self.books.find(self.conn, dataset, id)? else { return self.forget(waiting) };
        let Some(index) = plan.fields.iter().position(|known| known.name.as_str() == field) else { return Ok(()) };
        let Column::Ref(reference) = &plan.fields[index].content else { return Ok(()) };
        let is_integer = plans.list[reference.parent].key.is_integer();
        let target = self.conn.one(sql, &bind![waiting], |row| Ok(Key::noted(row.raw(0)?, is_integer)))?;
        let Some(target) = target.flatten().map(|key| reference.shown(&key)) else { return Ok(()) };
        let mut overrides = self.books.overrides(self.conn, dataset, &entry.key)?;
        // The application gave the field a value of its own, and a capture has seen it.
        if !overrides.iter().any(|known| known.field.as_str() == field) {
            return self.forget(waiting);
        }
        let filled = self.whole(|apply| {
            apply.checked(dataset, &entry, &overrides)?;
            let key = apply.update_key(dataset, &entry, plan.fields[index].assigned(&target))?;
            apply.conn.check_deferred()?;
            overrides.retain(|known| known.field.as_str() != field);
            apply.books.set_overrides(apply.conn, dataset, &key, &overrides)?;
            apply.write_down(dataset, id, entry.origin, &key, entry.audience.clone(), entry.flags, &overrides)?;
            Ok(())
        })?;
        match filled {
            Ok(()) => self.forget(waiting),
            // Edited meanwhile: it goes on waiting until the edit was captured and merged.
            Err(Fail::Dirty | Fail::Park { .. } | Fail::Refused(_)) => Ok(()),
            Err(fail) => Err(fail),
        }
    }

    fn forget(&self, waiting: i64) -> Result<(), Fail> {
        self.conn.execute("DELETE FROM _wbsync_waiting WHERE id = ?1", &bind![waiting])?;
        Ok(())
    }
}

/// Encodes a change: null for a deletion, else [scope, map of fields].
fn encode(content: Option<&Content>, origin: &InstanceId) -> Vec<u8> {
    let mut writer = Writer::new();
    let Some(content) = content else {
        writer.null();
        return writer.finish();
    };
    writer.array(2);
    writer.text(content.scope.as_str());
    let mut order = writer.map(content.fields.len());
    for (field, value) in &content.fields {
        writer.key(&mut order, field.as_str());
        value.encode(&mut writer, origin);
    }
    writer.finish()
}

fn decode(bytes: &[u8], origin: &InstanceId) -> Result<Option<Content>, cbor::error::Error> {
    let mut reader = Reader::new(bytes);
    if reader.peek() == Kind::Null {
        return Ok(None);
    }
    reader.array_of(2)?;
    let scope = ScopeName::new(reader.text(2048)?).map_err(|_| reader.invalid(0, "no scope name"))?;
    let mut fields = std::collections::BTreeMap::new();
    let mut keys = reader.map(FIELDS_MAX)?;
    while let Some(name) = keys.next_key(&mut reader)? {
        let field = FieldName::new(name).map_err(|_| reader.invalid(reader.offset(), "no field name"))?;
        fields.insert(field, Value::decode(&mut reader, origin)?);
    }
    reader.finish()?;
    Ok(Some(Content { scope, fields, hidden: Default::default() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parked_changes_come_back_as_they_were() {
        let origin = InstanceId::from_bytes([3; 32]);
        let fields = [("title", Value::Text("x\0".into())), ("at", Value::Timestamp(-5))];
        let fields = fields.map(|(name, value)| (FieldName::new(name).unwrap(), value)).into();
        let content = Content { scope: ScopeName::trusted(), fields, hidden: Default::default() };
        assert_eq!(decode(&encode(Some(&content), &origin), &origin).unwrap(), Some(content));
        assert_eq!(decode(&encode(None, &origin), &origin).unwrap(), None);
        assert!(decode(b"\x82", &origin).is_err());
    }
}
