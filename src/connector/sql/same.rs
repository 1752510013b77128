//! Records that mean the same as a row that is there: one row stands for them all, the others wait behind it.
//!
//! Such a record is kept like one that waits, for the record whose row it is (`for_dataset` is its own dataset then, which
//! no reference can be). Nobody is asked to do anything, so it isn't listed as waiting while that row is there.

use super::apply::{Apply, Fail};
use super::books::Entry;
use super::key::Key;
use super::plan::{Plan, quote};
use super::put::Wanted;
use super::raw::{Bind, Raw};
use super::row::Columns;
use crate::connector::contract::Content;
use crate::record::recordid::RecordId;

/// The condition on a row `w` of `_wbsync_waiting` that a row of the application stands for the record.
pub(super) const IS_COVERED: &str = "w.for_dataset = w.dataset AND EXISTS (SELECT 1 FROM _wbsync_map c
    WHERE c.dataset = w.for_dataset AND c.origin = w.for_origin AND c.record = w.for_record)";

impl Apply<'_> {
    /// Finds the record whose row has the same natural key as a record that has no row yet.
    pub(super) fn same_as(&mut self, dataset: usize, wanted: &Wanted) -> Result<Option<RecordId>, Fail> {
        let plan = &self.plans.list[dataset];
        let Some(columns) = meaning(plan, wanted) else { return Ok(None) };
        let tests: Vec<String> =
            columns.iter().enumerate().map(|(at, (column, _))| format!("{} = ?{}", quote(column), at + 1)).collect();
        let (key, table) = (plan.key.value(self.conn, ""), &plan.table);
        let sql = format!("SELECT {key} FROM {table} WHERE {}", tests.join(" AND "));
        let values: Vec<_> = columns.iter().map(|(_, raw)| raw.bind()).collect();
        let Some(Some(key)) = self.conn.one(&sql, &values, |row| Ok(Key::of(row.raw(0)?)))? else { return Ok(None) };
        match self.books.at(self.conn, dataset, &key)? {
            // The application has just made it: a capture has to give it an id first.
            None => Err(Fail::Dirty),
            // What is left of a withdrawn record stands for nothing.
            Some(entry) if entry.is_stub() => Ok(None),
            Some(entry) => Ok(Some(self.books.record_id(self.plans, dataset, entry.origin, entry.record))),
        }
    }

    /// Tells of records that are to be written together, and of each whether it is new, which may mean the same as a row
    /// or as one before it.
    pub(super) fn same_among<'w>(
        &self,
        dataset: usize,
        records: impl Iterator<Item = (bool, &'w Wanted)>,
    ) -> Result<Vec<bool>, Fail> {
        let plan = &self.plans.list[dataset];
        let mut known: Vec<Columns<'_>> = Vec::new();
        let mut apart = Vec::new();
        let mut places = Vec::new();
        for (is_new, wanted) in records {
            let columns = meaning(plan, wanted).filter(|_| is_new);
            let is_before = columns.as_ref().is_some_and(|columns| known.contains(columns));
            apart.push(is_before);
            if let Some(columns) = columns.filter(|_| !is_before) {
                places.push(apart.len() - 1);
                known.push(columns);
            }
        }
        let Some(width) = known.first().map(Vec::len) else { return Ok(apart) };
        let names: Vec<String> = known[0].iter().map(|(column, _)| quote(column)).collect();
        let test = |at: usize| {
            let tests = names.iter().enumerate().map(|(place, name)| format!("{name} = ?{}", at * width + place + 1));
            format!("({})", tests.collect::<Vec<_>>().join(" AND "))
        };
        let tests: Vec<String> = (0..known.len()).map(test).collect();
        let sql = format!("SELECT {} FROM {} WHERE {}", names.join(", "), plan.table, tests.join(" OR "));
        let values: Vec<_> = known.iter().flat_map(|columns| columns.iter().map(|(_, raw)| raw.bind())).collect();
        let found = self.conn.all(&sql, &values, |row| {
            (0..width).map(|at| Ok(row.raw(at)?.to_raw())).collect::<Result<Vec<Raw>, _>>()
        })?;
        for row in found {
            let is_it = |columns: &Columns<'_>| columns.iter().map(|(_, raw)| raw).eq(&row);
            match known.iter().position(is_it) {
                Some(at) => apart[places[at]] = true,
                // The database takes values for equal that aren't.
                None => places.iter().for_each(|place| apart[*place] = true),
            }
        }
        Ok(apart)
    }

    /// Finds the record that has waited longest behind the row of another: its origin's number and its key.
    pub(super) fn first_behind(&self, dataset: usize, id: &RecordId) -> Result<Option<(i64, [u8; 16])>, Fail> {
        let Some(origin) = self.books.number(&id.origin).filter(|_| !self.plans.list[dataset].spec.same.is_empty())
        else {
            return Ok(None);
        };
        let sql = "SELECT origin, record FROM _wbsync_waiting WHERE for_dataset = ?1 AND for_origin = ?2
                   AND for_record = ?3 AND dataset = for_dataset AND field = '' ORDER BY id LIMIT 1";
        let number = self.books.datasets[dataset];
        let heir =
            self.conn.one(sql, &bind![number, origin, id.key.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(heir)
    }

    /// Makes a placeholder that of another record, which turns it into its row when it is woken.
    pub(super) fn hand_over(&self, dataset: usize, key: &Key, heir: &(i64, [u8; 16])) -> Result<(), Fail> {
        if let Some(entry) = self.books.at(self.conn, dataset, key)? {
            self.books.remove(self.conn, dataset, &entry)?;
            self.books.put(self.conn, dataset, &Entry { origin: heir.0, record: heir.1, ..entry })?;
        }
        Ok(())
    }

    /// Keeps a record behind the one whose row stands for it.
    pub(super) fn stand_behind(
        &mut self,
        dataset: usize,
        id: &RecordId,
        content: Option<&Content>,
        by: &RecordId,
    ) -> Result<(), Fail> {
        self.applied.unchanged += 1;
        self.keep_waiting(dataset, id, content, &format!("means the same as {by}"), Some(by))
    }
}

/// Returns the columns by which a record means the same as another; `None` if it says nothing.
fn meaning<'p>(plan: &'p Plan, wanted: &Wanted) -> Option<Columns<'p>> {
    let mut columns = Vec::new();
    for name in &plan.spec.same {
        let index = plan.field(name).expect("a checked mapping names its own fields");
        match &wanted.raws[index] {
            Some(raw) if *raw != Raw::Null => columns.extend(plan.fields[index].assigned(raw)),
            _ => return None,
        }
    }
    (!columns.is_empty()).then_some(columns)
}
