//! Binds a mapping to the tables of one database, and refuses what can't work.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::guard;
use super::heirs::Beside;
use super::key::{KeyColumn, KeyColumns};
use super::plan::{Content, FieldPlan, Plan, Plans, ScopePlan, quote};
use super::reference::{RefPlan, Turn};
use super::session::{Declared, Session, SqlError};
use crate::connector::catalogue::ForeignKey;
use crate::connector::error::Error;
use crate::connector::mapping::model::{Dataset, Field, Filter, Mapping, Missing};
use crate::connector::mapping::order;
use crate::id::name::{DatasetName, FieldName};
use crate::record::fieldtype::Kind;
use crate::scope::audience::{Addressees, Audience};

impl Plans {
    /// Binds a mapping to the tables as they are now.
    pub(super) fn bind(
        mapping: &Mapping,
        addressees: &Addressees,
        conn: &dyn Session,
        sql: &dyn Fn(SqlError) -> Error,
    ) -> Result<Self, Error> {
        Self::try_bind(mapping, addressees, conn, sql).map_err(|mut found| found.swap_remove(0))
    }

    /// Like `bind`; of every dataset it tells what is wrong.
    pub(super) fn try_bind(
        mapping: &Mapping,
        addressees: &Addressees,
        conn: &dyn Session,
        sql: &dyn Fn(SqlError) -> Error,
    ) -> Result<Self, Vec<Error>> {
        let mut wrong = Vec::new();
        let addressees = Arc::new(addressees.clone());
        let groups = order::groups(mapping);
        let names: Vec<&DatasetName> = groups.iter().flat_map(|group| &group.datasets).collect();
        let by_name: BTreeMap<_, _> = names.iter().enumerate().map(|(at, name)| ((*name).clone(), at)).collect();
        let mut list = Vec::with_capacity(names.len());
        for (number, group) in groups.iter().enumerate() {
            for name in &group.datasets {
                let spec = mapping.dataset[name].clone();
                let columns = conn.columns(&spec.table).map_err(|error| vec![sql(error)])?;
                let has_key = columns.values().any(|column| column.primary > 0);
                let unique = if has_key { Ok(Vec::new()) } else { conn.unique_sets(&spec.table) };
                let table = Table { columns, unique: unique.map_err(|error| vec![sql(error)])? };
                match Plan::bind(name.clone(), spec, conn, &table, &by_name, &addressees) {
                    Ok(mut plan) => {
                        plan.purge_rows = purge_rows(conn, &plan.spec).map_err(|error| vec![sql(error)])?;
                        plan.circle = group.is_circle.then_some(number);
                        list.push(plan);
                    }
                    Err(error) => wrong.push(error),
                }
            }
        }
        if !wrong.is_empty() {
            return Err(wrong);
        }
        let circles: Vec<Option<usize>> = list.iter().map(|plan: &Plan| plan.circle).collect();
        let are_text: Vec<bool> = list.iter().map(|plan| holds_text(conn, &plan.key_declared)).collect();
        for plan in &mut list {
            for field in &mut plan.fields {
                if let Content::Ref(reference) = &mut field.content {
                    reference.in_circle = plan.circle.is_some() && circles[reference.parent] == plan.circle;
                    reference.is_spelled = field.columns.single().is_some()
                        && holds_text(conn, &field.declared)
                        && !are_text[reference.parent];
                }
            }
        }
        let parents: Vec<usize> = list.iter().flat_map(Plan::refs).map(|(_, reference)| reference.parent).collect();
        for parent in parents {
            list[parent].is_parent = true;
        }
        let keys = conn.foreign_keys().map_err(|error| vec![sql(error)])?;
        let guards: Vec<_> = (0..list.len()).map(|at| guard::guards(&list, at, conn, &keys)).collect();
        for (plan, guards) in list.iter_mut().zip(guards) {
            plan.guards = guards;
        }
        let plans = Self { list, by_name };
        plans.check_circles(mapping, conn, &keys).map_err(|error| vec![error])?;
        Ok(plans)
    }

    /// Refuses a circle of tables in which no row can ever be the first.
    fn check_circles(&self, mapping: &Mapping, conn: &dyn Session, keys: &[ForeignKey]) -> Result<(), Error> {
        // Where nothing is declared, nothing is checked.
        let waits_late = |plan: &Plan, field: &FieldPlan| {
            let is_it = |key: &&ForeignKey| {
                let has =
                    |column: &KeyColumn| key.columns.iter().any(|name| conn.fold(name) == conn.fold(&column.name));
                conn.fold(&key.table) == conn.fold(&plan.spec.table) && field.columns.0.iter().all(has)
            };
            keys.iter().filter(is_it).all(|key| key.is_deferrable)
        };
        let is_open = |name: &DatasetName, field: &FieldName| {
            let plan = &self.list[self.by_name[name]];
            let field: &FieldPlan = &plan.fields[plan.field(field).expect("a plan has its mapping's fields")];
            let Content::Ref(reference) = &field.content else { return true };
            let can_stub = || {
                self.list[reference.parent].refs().all(|(at, _)| {
                    let field = &self.list[reference.parent].fields[at];
                    !field.not_null || field.has_default
                })
            };
            match reference.missing {
                Missing::Null => !field.not_null,
                Missing::Stub => can_stub(),
                Missing::Park => waits_late(plan, field),
            }
        };
        let Some(circle) = order::closed_circle(mapping, is_open) else { return Ok(()) };
        let names: Vec<&str> = circle.iter().map(DatasetName::as_str).collect();
        let why = format!(
            "in the circle {} each row waits for another: let the column of one reference be NULL, and give it `missing = \"null\"`, or its foreign key be deferrable",
            names.join(" → ")
        );
        Err(Error::Unfit { dataset: circle[0].clone(), why })
    }
}

/// A table as it is.
struct Table {
    columns: BTreeMap<String, Declared>,
    /// Sets of columns that are unique, of a table without a primary key.
    unique: Vec<Vec<String>>,
}

/// The columns that a plan reads, each at its place: the key, the fields, then others.
struct Select<'a> {
    dataset: &'a DatasetName,
    spec: &'a Dataset,
    table: &'a Table,
    conn: &'a dyn Session,
    places: BTreeMap<&'a str, usize>,
    expressions: Vec<String>,
    /// By expression, the column that it is, with its type.
    read: Vec<Option<(String, String)>>,
}

impl<'a> Select<'a> {
    fn find(&self, named: &str) -> Result<&'a Declared, Error> {
        self.table.columns.get(&self.conn.fold(named)).ok_or_else(|| Error::UnknownColumn {
            dataset: self.dataset.clone(),
            table: self.spec.table.clone(),
            column: named.to_owned(),
            known: self.table.columns.keys().cloned().collect(),
        })
    }

    /// Finds a column that is read and written.
    fn declared(&self, named: &str) -> Result<&'a Declared, Error> {
        let found = self.find(named)?;
        if !found.is_known {
            let why = format!("the column {named:?} is of the type {}, which can't be mapped", found.kind);
            return Err(self.unfit(why));
        }
        Ok(found)
    }

    fn unfit(&self, why: String) -> Error {
        Error::Unfit { dataset: self.dataset.clone(), why }
    }

    /// Returns the place of a column, which is read behind the others if it isn't yet.
    fn place(&mut self, named: &'a str) -> Result<usize, Error> {
        if let Some(place) = self.places.get(named) {
            return Ok(*place);
        }
        let declared = self.declared(named)?;
        self.expressions.push(quote(named));
        self.read.push(Some((named.to_owned(), declared.kind.clone())));
        self.places.insert(named, self.expressions.len() - 1);
        Ok(self.expressions.len() - 1)
    }

    /// Reads the columns of a key behind the others.
    fn read_key(&mut self, columns: &KeyColumns) -> Result<(), Error> {
        self.expressions.push(columns.value(self.conn, ""));
        let only = columns.single().map(|only| Ok((only.name.clone(), self.find(&only.name)?.kind.clone())));
        self.read.push(only.transpose()?);
        Ok(())
    }

    /// Binds columns that hold a key.
    fn key(&self, names: &[&str]) -> Result<KeyColumns, Error> {
        let mut columns = Vec::with_capacity(names.len());
        for name in names {
            let found = self.declared(name)?;
            if names.len() > 1 && found.kind.is_empty() {
                return Err(self.unfit(format!("the column {name:?} is of no type, so it can't be a part of a key")));
            }
            columns.push(KeyColumn { name: (*name).to_owned(), is_integer: found.is_integer });
        }
        Ok(KeyColumns(columns))
    }
}

impl Plan {
    fn bind(
        name: DatasetName,
        spec: Dataset,
        conn: &dyn Session,
        table: &Table,
        by_name: &BTreeMap<DatasetName, usize>,
        addressees: &Arc<Addressees>,
    ) -> Result<Self, Error> {
        if table.columns.is_empty() {
            return Err(Error::UnknownTable { dataset: name, table: spec.table });
        }
        let (places, expressions, read) = (BTreeMap::new(), Vec::new(), Vec::new());
        let mut select = Select { dataset: &name, spec: &spec, table, conn, places, expressions, read };
        let key = key(&mut select)?;
        let key_declared = match key.single() {
            Some(only) => select.find(&only.name)?.kind.clone(),
            None => String::new(),
        };
        let mut fields = Vec::new();
        for (field_name, field) in &spec.fields {
            fields.push(bind_field(&mut select, by_name, field_name, field)?);
        }
        let field_index = |wanted: &FieldName| {
            fields.iter().position(|field| field.name == *wanted).expect("a checked mapping names its own fields")
        };
        let scope = match (&spec.scope.column, &spec.scope.constant, &spec.scope.parents) {
            (Some(named), _, _) => ScopePlan::Column(select.place(named)?),
            (_, Some(constant), _) => ScopePlan::Constant(Audience::from_value(Some(constant), addressees)),
            (_, _, parents) => ScopePlan::Parents(parents.iter().flatten().map(field_index).collect()),
        };
        let mut filters = Vec::new();
        if let Some(filter) = &spec.filter {
            filters.push((select.place(&filter.column)?, filter.any.iter().map(|value| escape(value)).collect()));
        }
        for (named, patterns) in &spec.only {
            filters.push((select.place(named)?, patterns.clone()));
        }
        let soft_delete = spec.soft_delete.as_deref().map(|named| select.place(named)).transpose()?;
        let mut birth = Vec::new();
        for named in &spec.birth {
            let of = |(name, field): &(&FieldName, &Field)| field.is_column(name, named);
            let kind = spec.fields.iter().find(of).and_then(|(_, field)| field.kind);
            birth.push((select.place(named)?, kind.unwrap_or(Kind::Timestamp)));
        }
        for named in spec.insert.keys() {
            select.find(named)?;
        }
        check_needs(&select, &fields, &key)?;
        let table = conn.table(&spec.table);
        let (columns, width, read) = (select.expressions.join(", "), select.expressions.len(), select.read);
        let select = format!("SELECT {columns} FROM {table}");
        let test = key.test(conn, 1);
        let sql_row = format!("{select} WHERE {test}");
        Ok(Self {
            sql_some: key.single().map(|only| {
                let among = conn.among(&quote(&only.name), only.is_integer, "?1");
                format!("{select} WHERE {among} ORDER BY {}", key.order(conn, ""))
            }),
            sql_scan: format!("{select} ORDER BY {}", key.order(conn, "")),
            sql_locked: format!("{sql_row}{}", conn.row_lock()),
            read,
            width,
            sql_select: select,
            sql_row,
            guards: Vec::new(),
            sql_delete: format!("DELETE FROM {table} WHERE {test}"),
            table,
            name,
            spec,
            fields,
            key,
            key_declared,
            scope,
            addressees: addressees.clone(),
            filters,
            soft_delete,
            birth,
            is_parent: false,
            circle: None,
            purge_rows: Vec::new(),
            beside: Beside::default(),
        })
    }
}

/// Binds the key, which is read first: the table's own, or in a table without one what is unique.
fn key(select: &mut Select<'_>) -> Result<KeyColumns, Error> {
    let spec = select.spec;
    let names: Vec<&str> = spec.key.names().iter().map(String::as_str).collect();
    let key = select.key(&names)?;
    let folded = |names: &[&str]| -> BTreeSet<String> { names.iter().map(|name| select.conn.fold(name)).collect() };
    let wanted = folded(&names);
    let primary: BTreeSet<String> =
        (select.table.columns.iter()).filter(|(_, column)| column.primary > 0).map(|(name, _)| name.clone()).collect();
    let is_key = match primary.is_empty() {
        true => select.table.unique.iter().any(|set| set.iter().cloned().collect::<BTreeSet<_>>() == wanted),
        false => primary == wanted,
    };
    if !is_key {
        let table = &spec.table;
        return Err(select.unfit(match primary.is_empty() {
            true => format!("{} is not unique in {table:?}, which has no primary key", names.join(", ")),
            false => format!(
                "the primary key of {table:?} is {}, not {}",
                primary.into_iter().collect::<Vec<_>>().join(", "),
                names.join(", ")
            ),
        }));
    }
    select.read_key(&key)?;
    if let [only] = names[..] {
        select.places.insert(only, 0);
    }
    Ok(key)
}

fn bind_field<'a>(
    select: &mut Select<'a>,
    by_name: &BTreeMap<DatasetName, usize>,
    name: &'a FieldName,
    field: &'a Field,
) -> Result<FieldPlan, Error> {
    let names = field.columns(name);
    let columns = select.key(&names)?;
    let content = match (&field.reference, field.kind) {
        (Some(parent), _) => Content::Ref(RefPlan {
            parent: by_name[parent],
            in_circle: false,
            to_itself: parent == select.dataset,
            is_spelled: false,
            missing: field.missing.unwrap_or(Missing::Park),
            required: field.required,
            author: field.author,
        }),
        (None, kind) => Content::Plain(kind.expect("a checked field has a type or a reference")),
    };
    select.read_key(&columns)?;
    let others: Vec<&str> = (select.spec.fields.iter())
        .filter(|(other, _)| *other != name)
        .flat_map(|(other, field)| field.columns(other))
        .filter(|_| names.len() > 1)
        .collect();
    if let [only] = names[..] {
        // The key may be a field too; it is read again then.
        select.places.insert(only, select.expressions.len() - 1);
    }
    let declared: Vec<&Declared> = names.iter().map(|name| select.declared(name)).collect::<Result<_, _>>()?;
    let own = (0..names.len()).filter(|at| !others.contains(&names[*at]));
    let own: Vec<(usize, bool)> = own.map(|at| (at, !declared[at].not_null)).collect();
    let not_null = own.iter().all(|(_, can_be_null)| !can_be_null);
    let least = field.least_scope();
    if not_null && least.is_some() && !select.spec.stub.contains_key(name) {
        let why = "whoever doesn't receive it needs another value for the column, which can't be NULL";
        return Err(select.unfit(format!("the field {name} has a scope of its own: give it a `stub`; {why}")));
    }
    Ok(FieldPlan {
        name: name.clone(),
        own,
        not_null,
        has_default: declared.iter().all(|column| column.has_default),
        declared: declared.iter().map(|column| column.kind.as_str()).collect::<Vec<_>>().join(", "),
        columns,
        content,
        turns: turns(select.spec, name, field),
        least,
    })
}

/// Returns what other fields have to say, so that the column is this field.
fn turns(spec: &Dataset, name: &FieldName, field: &Field) -> Vec<Turn> {
    let turn = |when: &Filter, wanted| {
        let at = spec.fields.iter().position(|(other, field)| field.is_column(other, &when.column));
        Turn { field: at.expect("a checked mapping names a field's column"), values: when.any.clone(), wanted }
    };
    if let Some(when) = &field.when {
        return vec![turn(when, true)];
    }
    let columns = field.columns(name);
    let others = spec.fields.iter().filter(|(other, field)| *other != name && field.columns(other) == columns);
    others.filter_map(|(_, other)| other.when.as_ref()).map(|when| turn(when, false)).collect()
}

/// Checks that a new row gets everything that it needs.
fn check_needs(select: &Select<'_>, fields: &[FieldPlan], key: &KeyColumns) -> Result<(), Error> {
    let spec = select.spec;
    let is_given = |named: &str| {
        fields.iter().any(|field| field.columns.has(named))
            || spec.insert.keys().any(|given| given.eq_ignore_ascii_case(named))
            || spec.scope.column.as_deref().is_some_and(|scope| scope.eq_ignore_ascii_case(named))
    };
    for column in &key.0 {
        let declared = select.find(&column.name)?;
        let is_chosen = key.0.len() == 1 && declared.primary > 0 && declared.is_chosen;
        if !is_chosen && !declared.has_default && !is_given(&column.name) {
            let why = format!(
                "the database doesn't choose the key {:?}, so new rows need a field or an `insert` for it",
                column.name
            );
            return Err(select.unfit(why));
        }
    }
    for (named, column) in &select.table.columns {
        if column.not_null && !column.has_default && !key.has(named) && !is_given(named) {
            return Err(select.unfit(format!("new rows need a value for {named:?}: map it as a field or in `insert`")));
        }
    }
    Ok(())
}

/// Tells whether a column holds texts and nothing else.
pub(super) fn holds_text(conn: &dyn Session, declared: &str) -> bool {
    conn.keeps(declared, Kind::Text) && !conn.keeps(declared, Kind::Int)
}

/// Cache tables come and go with versions of the application: one that isn't there has no rows.
fn purge_rows(conn: &dyn Session, spec: &Dataset) -> Result<Vec<(String, String)>, SqlError> {
    let mut statements = Vec::new();
    for rows in &spec.purge.rows {
        if conn.columns(&rows.table)?.contains_key(&conn.fold(&rows.column)) {
            let among = conn.among(&quote(&rows.column), false, "?1");
            let sql = format!("DELETE FROM {} WHERE {among}", conn.table(&rows.table));
            statements.push((sql, rows.value.clone()));
        }
    }
    Ok(statements)
}

fn escape(value: &str) -> String {
    match value.strip_suffix('*') {
        Some(start) => format!("{start}\\*"),
        None => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::sql::plan::matches;

    #[test]
    fn a_value_of_a_filter_is_no_prefix() {
        let patterns = [escape("a*")];
        assert!(matches(&patterns, "a*") && !matches(&patterns, "ab") && !matches(&patterns, "a"));
    }
}
