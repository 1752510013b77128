//! Removes the row of a record that is gone, or blanks it while local rows still refer to it.

use super::apply::{Apply, Done, Fail, Removal};
use super::books::{Entry, STUB};
use super::key::bound;
use super::look::OWN;
use super::plan::{Content, FieldPlan, Plan, ScopePlan};
use super::put::stays_home;
use super::raw::Raw;
use super::reference::assign;
use super::session::Meaning;
use crate::record::fieldtype::Kind;
use crate::record::recordid::RecordId;
use crate::scope::audience::{Audience, Reason};

impl Apply<'_> {
    /// Removes or blanks the row of a record.
    pub(super) fn remove(&mut self, dataset: usize, id: &RecordId) -> Result<Done, Fail> {
        let plan = &self.plans.list[dataset];
        let Some(entry) = self.books.find(self.conn, dataset, id)? else { return Ok(Done::Unchanged) };
        if stays_home(&entry) {
            return Ok(Done::Unchanged);
        }
        let overrides = self.books.overrides(self.conn, dataset, &entry.key)?;
        let Some(row) = self.checked(dataset, &entry, &overrides)? else {
            self.books.remove(self.conn, dataset, &entry)?;
            return Ok(Done::Unchanged);
        };
        if self.removal == Removal::BlankedOnly {
            if entry.is_stub() {
                return Ok(Done::Unchanged);
            }
            self.blank(dataset, id, &entry)?;
            self.stale(dataset, &entry.key, &row.raws.as_slice());
            return Ok(Done::Blanked);
        }
        if !entry.is_stub()
            && let Some(heir) = self.first_behind(dataset, id)?
        {
            // Rows that refer to it go on doing so: it becomes the row of the next record that means the same.
            self.blank(dataset, id, &entry)?;
            self.hand_over(dataset, &entry.key, &heir)?;
            self.stale(dataset, &entry.key, &row.raws.as_slice());
            return Ok(Done::Updated);
        }
        if let Removal::Unused(queries) = &self.removal
            && !entry.is_stub()
        {
            let given = plan.key.given(&entry.key);
            for sql in &queries[dataset] {
                if self.conn.exists(sql, &bound(&given))? {
                    self.applied.kept.push(id.clone());
                    return Ok(Done::Unchanged);
                }
            }
        }
        let done = match self.delete(plan, &entry)? {
            true => {
                self.books.remove(self.conn, dataset, &entry)?;
                // Others may have gone with it.
                self.verified.clear();
                self.pending.written.push((dataset, entry.key.clone()));
                Done::Deleted
            }
            false if entry.is_stub() => return Ok(Done::Unchanged),
            // Something refuses that no key told of.
            false if matches!(self.removal, Removal::Unused(_)) => {
                self.applied.kept.push(id.clone());
                return Ok(Done::Unchanged);
            }
            false => {
                self.blank(dataset, id, &entry)?;
                Done::Blanked
            }
        };
        self.stale(dataset, &entry.key, &row.raws.as_slice());
        Ok(done)
    }

    /// Deletes a row unless others refer to it.
    fn delete(&mut self, plan: &Plan, entry: &Entry) -> Result<bool, Fail> {
        let given = plan.key.given(&entry.key);
        for guard in &plan.guards {
            if self.conn.exists(&guard.one, &bound(&given))? {
                return Ok(false);
            }
        }
        let deleted = self.whole(|apply| {
            apply.conn.execute(&plan.sql_delete, &bound(&given))?;
            apply.conn.check_deferred()
        })?;
        match deleted {
            Ok(()) => Ok(true),
            // A refused statement has changed nothing.
            Err(error) if matches!(error.meaning(), Meaning::Constraint(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes a placeholder of a row: nothing of its content is left.
    fn blank(&mut self, dataset: usize, id: &RecordId, entry: &Entry) -> Result<(), Fail> {
        let plans = self.plans;
        let plan = &plans.list[dataset];
        let stub = self.stub_raws(plan, id, Some(&entry.key))?;
        let mut blanks: Vec<(&FieldPlan, Raw)> = Vec::new();
        for (field, raw) in plan.fields.iter().zip(stub) {
            let raw = match (raw, &field.content) {
                _ if field.columns.0.iter().any(|column| plan.key.has(&column.name)) => continue,
                (Some(raw), _) => raw,
                (None, _) if !field.not_null => Raw::Null,
                // A reference that can't be NULL stays; the mapping gave no other.
                (None, Content::Ref(_)) => continue,
                (None, Content::Plain(kind)) => empty(*kind),
            };
            blanks.push((field, raw));
        }
        let mut set: Vec<(&str, Raw)> = Vec::new();
        for (field, raw) in &blanks {
            assign(&mut set, field.assigned(raw));
        }
        let mut scope = Vec::new();
        if let (ScopePlan::Column(_), Some(column), true) =
            (&plan.scope, plan.spec.scope.column.as_deref(), entry.origin != OWN)
        {
            scope.push((column, Raw::Text("private".to_owned())));
        }
        set.extend(scope.iter().cloned());
        match self.whole(|apply| apply.update(plan, &entry.key, set))? {
            Ok(()) => {}
            Err(fail @ Fail::Refused(_)) => {
                for (field, raw) in blanks {
                    if !self.blank_field(plan, entry, id, field, raw)? {
                        return Err(fail);
                    }
                }
                self.update(plan, &entry.key, scope)?;
            }
            Err(fail) => return Err(fail),
        }
        self.books.remove(self.conn, dataset, entry)?;
        let audience = match self.removal {
            Removal::Gone => Audience::Private(Reason::Withheld),
            // Rows that refer to it are capped by it; giving it up must not withdraw them.
            Removal::GivenUp | Removal::BlankedOnly | Removal::Unused(_) => entry.audience.clone(),
        };
        self.write_down(dataset, id, entry.origin, &entry.key, audience, STUB, &[])?;
        Ok(())
    }

    /// Empties one field with whatever its columns take; tells whether they took anything.
    fn blank_field(
        &mut self,
        plan: &Plan,
        entry: &Entry,
        id: &RecordId,
        field: &FieldPlan,
        raw: Raw,
    ) -> Result<bool, Fail> {
        let mut candidates = vec![raw];
        candidates.extend((!field.not_null).then_some(Raw::Null));
        if let Content::Plain(kind) = field.content {
            candidates.extend(self.conn.some_value(&field.declared)?);
            candidates.extend(spares(kind, id));
        }
        for candidate in candidates {
            match self.whole(|apply| apply.update(plan, &entry.key, field.assigned(&candidate)))? {
                Ok(()) => return Ok(true),
                Err(Fail::Refused(_)) => {}
                Err(fail) => return Err(fail),
            }
        }
        Ok(false)
    }
}

/// Lists values that say nothing, of which a column may take one where it takes neither the mapping's nor the emptiest.
fn spares(kind: Kind, id: &RecordId) -> Vec<Raw> {
    match kind {
        Kind::Text => {
            let key = id.key.to_string();
            let words = ["", "1970-01-01", "00:00:00", &key, &key[24..], &key[28..], "-"];
            words.into_iter().map(|word| Raw::Text(word.to_owned())).collect()
        }
        Kind::Json => ["{}", "[]"].map(|text| Raw::Text(text.to_owned())).into(),
        Kind::Decimal => ["0", "1"].map(|text| Raw::Text(text.to_owned())).into(),
        Kind::Int | Kind::Bool => [0, 1].map(Raw::Integer).into(),
        Kind::Float => [0.0, 1.0].map(Raw::Real).into(),
        Kind::Timestamp | Kind::List(_) | Kind::Bytes => vec![empty(kind)],
    }
}

fn empty(kind: Kind) -> Raw {
    match kind {
        Kind::Text => Raw::Text(String::new()),
        Kind::Json => Raw::Text("null".to_owned()),
        Kind::List(_) => Raw::Text("[]".to_owned()),
        Kind::Decimal => Raw::Text("0".to_owned()),
        Kind::Timestamp => Raw::Text("1970-01-01 00:00:00.000000".to_owned()),
        Kind::Int | Kind::Bool => Raw::Integer(0),
        Kind::Float => Raw::Real(0.0),
        Kind::Bytes => Raw::Blob(Vec::new()),
    }
}
