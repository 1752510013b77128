//! Statements on the application's rows: one row, or many with the same columns.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::apply::{Apply, Fail};
use super::books::Entry;
use super::inserted::{Given, Insertion};
use super::key::{Key, bound, spell};
use super::many::{rows, rows_max};
use super::plan::{Plan, constant, quote};
use super::put::fill;
use super::raw::{Bind, Raw, RawRef};
use super::reference::assign;
use super::session::{Held, Row, SqlError};
use crate::record::recordid::RecordId;

/// What columns are to hold.
pub(super) type Columns<'p> = Vec<(&'p str, Raw)>;

impl<'a> Apply<'a> {
    /// Returns the columns of a new row; `scope` is whom it is meant for.
    pub(super) fn columns_of<'r>(
        &self,
        dataset: usize,
        id: &RecordId,
        raws: &'r [Option<Raw>],
        scope: &str,
    ) -> Given<'a, 'r> {
        let plan = &self.plans.list[dataset];
        let mut columns: Given<'a, 'r> = Vec::with_capacity(raws.len() + 4);
        for (field, raw) in plan.fields.iter().zip(raws) {
            match (raw, field.columns.single()) {
                (Some(raw), Some(column)) if field.turns.is_empty() => {
                    columns.push((&column.name, Cow::Borrowed(raw)));
                }
                // Another field may be the same column.
                (Some(raw), Some(column)) => assign(&mut columns, [(column.name.as_str(), Cow::Borrowed(raw))]),
                (Some(raw), None) => {
                    columns.extend(field.assigned(raw).into_iter().map(|(column, raw)| (column, Cow::Owned(raw))));
                }
                (None, _) => {}
            }
        }
        for (field, _) in plan.fields.iter().zip(raws).filter(|(field, raw)| raw.is_none() && field.not_null) {
            if let Some(value) = plan.spec.stub.get(&field.name) {
                let raw = constant(value, |text| fill(text, id));
                assign(&mut columns, field.assigned(&raw).into_iter().map(|(column, raw)| (column, Cow::Owned(raw))));
            }
        }
        for (column, value) in &plan.spec.insert {
            columns.push((column, Cow::Owned(constant(value, |text| fill(text, id)))));
        }
        if let Some(column) = plan.scope_column() {
            columns.push((column, Cow::Owned(Raw::Text(scope.to_owned()))));
        }
        columns
    }

    /// The same, to be kept.
    pub(super) fn kept_columns_of(
        &self,
        dataset: usize,
        id: &RecordId,
        raws: &[Option<Raw>],
        scope: &str,
    ) -> Columns<'a> {
        let columns = self.columns_of(dataset, id, raws, scope);
        columns.into_iter().map(|(column, raw)| (column, raw.into_owned())).collect()
    }

    /// Inserts a row; returns its key.
    pub(super) fn insert(
        &mut self,
        dataset: usize,
        id: &RecordId,
        raws: &[Option<Raw>],
        scope: &str,
    ) -> Result<Key, Fail> {
        let given = self.columns_of(dataset, id, raws, scope);
        let insertion = self.insertion(dataset, &given)?;
        self.insert_given(dataset, &insertion, &given)
    }

    /// Inserts a row with these columns; returns its key.
    pub(super) fn insert_given(
        &mut self,
        dataset: usize,
        insertion: &Insertion<'_>,
        given: &Given<'a, '_>,
    ) -> Result<Key, Fail> {
        let plan = &self.plans.list[dataset];
        let values: Vec<_> = given.iter().map(|(_, raw)| RawRef::from(&**raw)).collect();
        let key = match insertion.is_numbered {
            // With `RETURNING` SQLite keeps a copy of every page that the statement changes.
            true => {
                let inserted = self.conn.execute(&insertion.sql, &values)?;
                self.conn.last_number().filter(|_| inserted == 1).map(Key::Int)
            }
            false => {
                let sql = format!("{} RETURNING {}", insertion.sql, plan.key.value(self.conn, ""));
                self.conn.one(&sql, &values, |row| Ok(Key::of(row.raw(0)?)))?.flatten()
            }
        };
        let key = key.ok_or_else(|| Fail::park("it has no key"))?;
        if let Some(entry) = self.books.at(self.conn, dataset, &key)? {
            self.displace(dataset, &[entry])?;
        }
        Ok(key)
    }

    /// Inserts rows; returns their keys in the same order.
    pub(super) fn insert_all(&mut self, dataset: usize, all: &[Columns<'a>]) -> Result<Vec<Key>, Fail> {
        let mut alike: BTreeMap<Vec<&str>, Vec<usize>> = BTreeMap::new();
        for (at, columns) in all.iter().enumerate() {
            alike.entry(columns.iter().map(|(name, _)| *name).collect()).or_default().push(at);
        }
        let mut keys = vec![None; all.len()];
        for (names, places) in alike {
            for places in places.chunks(rows_max(self.conn, names.len())) {
                let columns: Vec<&Columns<'a>> = places.iter().map(|at| &all[*at]).collect();
                for (at, key) in places.iter().zip(self.insert_alike(dataset, &columns)?) {
                    keys[*at] = Some(key);
                }
            }
        }
        let keys: Vec<Key> = keys.into_iter().map(|key| key.expect("each row was inserted")).collect();
        let displaced = self.books.at_all(self.conn, dataset, &keys)?;
        self.displace(dataset, &displaced)?;
        Ok(keys)
    }

    /// Inserts rows of the same columns. Databases insert the rows of `VALUES` and give them back one after the other.
    fn insert_alike(&self, dataset: usize, all: &[&Columns<'a>]) -> Result<Vec<Key>, Fail> {
        let plan = &self.plans.list[dataset];
        let names: Vec<String> = all[0].iter().map(|(column, _)| quote(column)).collect();
        let (rows, key) = (rows(names.len(), all.len()), plan.key.value(self.conn, ""));
        let or = self.conn.or_refuse();
        let sql = format!("INSERT{or} INTO {}({}) VALUES {rows} RETURNING {key}", plan.table, names.join(", "));
        let values: Vec<_> = all.iter().flat_map(|columns| columns.iter().map(|(_, raw)| raw.bind())).collect();
        let keys = self.conn.all(&sql, &values, |row| Ok(Key::of(row.raw(0)?)))?;
        let keys: Option<Vec<Key>> = keys.into_iter().collect();
        keys.filter(|keys| keys.len() == all.len()).ok_or_else(|| Fail::park("it has no key"))
    }

    /// Moves the map rows of rows that the application deleted, and whose keys were handed out again.
    fn displace(&mut self, dataset: usize, entries: &[Entry]) -> Result<(), Fail> {
        if !entries.is_empty() {
            self.books.vanish_all(self.conn, dataset, entries)?;
            self.has_gone = true;
        }
        Ok(())
    }

    /// Sets columns of a row to which no other refers if its key is among them; returns its key then.
    pub(super) fn update_key(&mut self, dataset: usize, entry: &Entry, set: Columns<'_>) -> Result<Key, Fail> {
        let plan = &self.plans.list[dataset];
        let mut parts = plan.key.given(&entry.key);
        for (part, column) in parts.iter_mut().zip(&plan.key.0) {
            if let Some((_, raw)) = set.iter().find(|(name, _)| column.name.eq_ignore_ascii_case(name)) {
                *part = raw.clone();
            }
        }
        self.update(plan, &entry.key, set)?;
        let key = match parts.as_slice() {
            [only] => Key::of(only.into()),
            several => spell(several),
        };
        let key = key.ok_or_else(|| Fail::park("it has no key"))?;
        if key != entry.key {
            self.books.remove(self.conn, dataset, entry)?;
            self.verified.remove(&(dataset, entry.key.clone()));
            if let Some(entry) = self.books.at(self.conn, dataset, &key)? {
                self.displace(dataset, &[entry])?;
            }
        }
        Ok(key)
    }

    /// Sets columns of a row; no statement if there is nothing to set.
    pub(super) fn update(&self, plan: &Plan, key: &Key, set: Columns<'_>) -> Result<(), Fail> {
        if set.is_empty() {
            return Ok(());
        }
        let names: Vec<String> =
            set.iter().enumerate().map(|(at, (column, _))| format!("{} = ?{}", quote(column), at + 1)).collect();
        let (table, test) = (&plan.table, plan.key.test(self.conn, set.len() + 1));
        let or = self.conn.or_refuse();
        let sql = format!("UPDATE{or} {table} SET {} WHERE {test}", names.join(", "));
        let given = plan.key.given(key);
        let values: Vec<_> = set.iter().map(|(_, raw)| raw.bind()).chain(bound(&given)).collect();
        self.conn.execute(&sql, &values)?;
        Ok(())
    }

    /// Sets columns of rows, none of their keys.
    pub(super) fn update_all(&self, dataset: usize, all: &[(&Key, Columns<'a>)]) -> Result<(), Fail> {
        let plan = &self.plans.list[dataset];
        let mut alike: BTreeMap<Vec<&str>, Vec<usize>> = BTreeMap::new();
        for (at, (_, set)) in all.iter().enumerate().filter(|(_, (_, set))| !set.is_empty()) {
            alike.entry(set.iter().map(|(name, _)| *name).collect()).or_default().push(at);
        }
        for (names, places) in alike {
            if let [only] = places[..] {
                self.update(plan, all[only].0, all[only].1.clone())?;
                continue;
            }
            let width = plan.key.0.len() + names.len();
            for places in places.chunks(rows_max(self.conn, width)) {
                let sql = update_alike(plan, &names, places.len());
                let keys: Vec<Vec<Raw>> = places.iter().map(|at| plan.key.given(all[*at].0)).collect();
                let mut values = Vec::with_capacity(places.len() * width);
                for (at, key) in places.iter().zip(&keys) {
                    values.extend(bound(key));
                    values.extend(all[*at].1.iter().map(|(_, raw)| raw.bind()));
                }
                self.conn.execute(&sql, &values)?;
            }
        }
        Ok(())
    }

    /// Reads rows by their keys, what can't be found is left out; `lock` ends the query.
    pub(super) fn read_all(&self, dataset: usize, keys: &[Key], lock: &str) -> Result<Vec<(Key, Held)>, Fail> {
        let plan = &self.plans.list[dataset];
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut found = Vec::with_capacity(keys.len());
        let mut keep = |row: &dyn Row| {
            let raws: Result<Vec<Raw>, SqlError> = (0..plan.width).map(|at| Ok(row.raw(at)?.to_raw())).collect();
            found.extend(Key::of(row.raw(0)?).zip(Some(Held(raws?))));
            Ok(true)
        };
        match &plan.sql_some {
            Some(sql) => {
                let list = self.conn.list(keys, plan.key.is_integer());
                self.conn.each(&format!("{sql}{lock}"), &bind![list], &mut keep)?;
            }
            None => {
                let columns = plan.key.0.len();
                for keys in keys.chunks(rows_max(self.conn, columns)) {
                    let tests: Vec<String> =
                        (0..keys.len()).map(|at| format!("({})", plan.key.test(self.conn, at * columns + 1))).collect();
                    let given: Vec<Raw> = keys.iter().flat_map(|key| plan.key.given(key)).collect();
                    let sql = format!("{} WHERE {}{lock}", plan.sql_select, tests.join(" OR "));
                    self.conn.each(&sql, &bound(&given), &mut keep)?;
                }
            }
        }
        Ok(found)
    }

    /// Deletes rows by their keys.
    pub(super) fn delete_all(&self, dataset: usize, keys: &[Key]) -> Result<(), Fail> {
        let plan = &self.plans.list[dataset];
        let columns = plan.key.0.len();
        match plan.key.single() {
            Some(only) => {
                let among = self.conn.among(&quote(&only.name), only.is_integer, "?1");
                let list = self.conn.list(keys, only.is_integer);
                self.conn.execute(&format!("DELETE FROM {} WHERE {among}", plan.table), &bind![list])?;
            }
            None => {
                for keys in keys.chunks(rows_max(self.conn, columns)) {
                    let tests: Vec<String> =
                        (0..keys.len()).map(|at| format!("({})", plan.key.test(self.conn, at * columns + 1))).collect();
                    let given: Vec<Raw> = keys.iter().flat_map(|key| plan.key.given(key)).collect();
                    let sql = format!("DELETE FROM {} WHERE {}", plan.table, tests.join(" OR "));
                    self.conn.execute(&sql, &bound(&given))?;
                }
            }
        }
        Ok(())
    }
}

/// Spells an update of so many rows. The first row of values is none: it gives them the types of the columns.
fn update_alike(plan: &Plan, names: &[&str], count: usize) -> String {
    let table = &plan.table;
    let columns: Vec<String> =
        plan.key.0.iter().map(|column| column.name.as_str()).chain(names.iter().copied()).map(quote).collect();
    let types: Vec<String> = columns.iter().map(|column| format!("(SELECT {column} FROM {table} LIMIT 0)")).collect();
    let values: Vec<String> = (0..columns.len()).map(|at| format!("v{at}")).collect();
    let (keys, sets) =
        (0..columns.len()).map(|at| (&columns[at], at)).partition::<Vec<_>, _>(|(_, at)| *at < plan.key.0.len());
    let spell = |(column, at): &(&String, usize), name: &str| format!("{name}{column} = v.v{at}");
    let sets: Vec<String> = sets.iter().map(|set| spell(set, "")).collect();
    let tests: Vec<String> = keys.iter().map(|key| spell(key, "t.")).collect();
    format!(
        "WITH v({}) AS (VALUES ({}), {}) UPDATE {table} AS t SET {} FROM v WHERE {}",
        values.join(", "),
        types.join(", "),
        rows(columns.len(), count),
        sets.join(", "),
        tests.join(" AND ")
    )
}
