//! The mapping bound to the tables of one database: column positions and statements.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::raw::Raw;
use super::session::{Declared, Session, SqlError};
use crate::connector::error::Error;
use crate::connector::mapping::check;
use crate::connector::mapping::model::{Constant, Dataset, Kind, Mapping, Missing};
use crate::id::name::{DatasetName, FieldName, ScopeName};
use crate::scope::audience::{Addressees, Audience};

/// All datasets, parents first.
#[derive(Debug)]
pub(super) struct Plans {
    pub(super) list: Vec<Plan>,
    by_name: BTreeMap<DatasetName, usize>,
}

/// One dataset.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) name: DatasetName,
    pub(super) spec: Dataset,
    /// Key first, then the fields in order, then scope, filter, only, soft-delete and birth columns.
    pub(super) fields: Vec<FieldPlan>,
    /// The table, as statements spell it.
    pub(super) table: String,
    pub(super) has_integer_key: bool,
    pub(super) scope: ScopePlan,
    pub(super) addressees: Arc<Addressees>,
    /// Columns and the values or prefixes that let a row leave.
    pub(super) filters: Vec<(usize, Vec<String>)>,
    pub(super) soft_delete: Option<usize>,
    pub(super) birth: Vec<(usize, Kind)>,
    /// Whether another dataset refers to this one.
    pub(super) is_parent: bool,
    pub(super) sql_scan: String,
    pub(super) sql_row: String,
    /// The rows with keys in a list, in order.
    pub(super) sql_some: String,
    /// The same, of a row that is about to be written.
    pub(super) sql_locked: String,
    pub(super) sql_delete: String,
    /// Statements that delete stale cache rows, each with the template of its value.
    pub(super) purge_rows: Vec<(String, String)>,
}

/// One field. Its column stands at its index plus one.
#[derive(Debug)]
pub(super) struct FieldPlan {
    pub(super) name: FieldName,
    pub(super) column: String,
    pub(super) not_null: bool,
    pub(super) has_default: bool,
    /// The type that the table declares for the column.
    pub(super) declared: String,
    pub(super) content: Content,
    /// The widest scope that the field may travel in, if it has one of its own.
    pub(super) least: Option<ScopeName>,
}

/// What a column holds.
#[derive(Debug)]
pub(super) enum Content {
    Plain(Kind),
    Ref(RefPlan),
}

/// A reference.
#[derive(Debug)]
pub(super) struct RefPlan {
    pub(super) parent: usize,
    pub(super) missing: Missing,
    pub(super) required: bool,
    pub(super) author: bool,
}

/// Where the audience comes from.
#[derive(Debug)]
pub(super) enum ScopePlan {
    /// The column's position.
    Column(usize),
    Constant(Audience),
    /// Fields, by index.
    Parents(Vec<usize>),
}

impl Plans {
    /// Binds a mapping to the tables as they are now.
    pub(super) fn bind(
        mapping: &Mapping,
        addressees: &Addressees,
        conn: &dyn Session,
        sql: &dyn Fn(SqlError) -> Error,
    ) -> Result<Self, Error> {
        let addressees = Arc::new(addressees.clone());
        let order = check::order(mapping)?;
        let by_name: BTreeMap<_, _> = order.iter().enumerate().map(|(index, name)| (name.clone(), index)).collect();
        let mut list = Vec::with_capacity(order.len());
        for name in order {
            let spec = mapping.dataset[&name].clone();
            let declared = conn.columns(&spec.table).map_err(sql)?;
            let mut plan = Plan::bind(name, spec, conn, &declared, &by_name, &addressees)?;
            plan.purge_rows = purge_rows(conn, &plan.spec).map_err(sql)?;
            list.push(plan);
        }
        let parents: Vec<usize> = list.iter().flat_map(Plan::refs).map(|(_, reference)| reference.parent).collect();
        for parent in parents {
            list[parent].is_parent = true;
        }
        Ok(Self { list, by_name })
    }

    pub(super) fn index(&self, name: &DatasetName) -> Option<usize> {
        self.by_name.get(name).copied()
    }
}

impl Plan {
    fn bind(
        name: DatasetName,
        spec: Dataset,
        conn: &dyn Session,
        declared: &BTreeMap<String, Declared>,
        by_name: &BTreeMap<DatasetName, usize>,
        addressees: &Arc<Addressees>,
    ) -> Result<Self, Error> {
        if declared.is_empty() {
            return Err(Error::UnknownTable { dataset: name, table: spec.table });
        }
        let unfit = |why: String| Error::Unfit { dataset: name.clone(), why };
        let mut columns: Vec<String> = Vec::new();
        let mut column = |wanted: &str| match declared.contains_key(&conn.fold(wanted)) {
            true => {
                let known = columns.iter().position(|known| known == wanted);
                Ok(known.unwrap_or_else(|| {
                    columns.push(wanted.to_owned());
                    columns.len() - 1
                }))
            }
            false => Err(Error::UnknownColumn {
                dataset: name.clone(),
                table: spec.table.clone(),
                column: wanted.to_owned(),
                known: declared.keys().cloned().collect(),
            }),
        };
        column(&spec.key)?;
        let key = &declared[&conn.fold(&spec.key)];
        if key.primary != 1 || declared.values().filter(|column| column.primary > 0).count() != 1 {
            return Err(unfit(format!("the column {:?} alone is not the primary key of {:?}", spec.key, spec.table)));
        }
        let mut fields = Vec::new();
        let mut positions = Vec::new();
        for (field_name, field) in &spec.fields {
            let named = field.column(field_name);
            // The key may be a field too; it then has a position of its own among the fields.
            positions.push(if named == spec.key { 0 } else { column(named)? });
            let content = match (&field.reference, field.kind) {
                (Some(parent), _) => Content::Ref(RefPlan {
                    parent: by_name[parent],
                    missing: field.missing.unwrap_or(Missing::Park),
                    required: field.required,
                    author: field.author,
                }),
                (None, kind) => Content::Plain(kind.expect("a checked field has a type or a reference")),
            };
            let Declared { kind, not_null, has_default, .. } = &declared[&conn.fold(named)];
            let least = field.least_scope();
            if *not_null && least.is_some() && !spec.stub.contains_key(field_name) {
                let why = "whoever doesn't receive it needs another value for the column, which can't be NULL";
                return Err(unfit(format!("the field {field_name} has a scope of its own: give it a `stub`; {why}")));
            }
            fields.push(FieldPlan {
                name: field_name.clone(),
                column: named.to_owned(),
                not_null: *not_null,
                has_default: *has_default,
                declared: kind.clone(),
                content,
                least,
            });
        }
        let field_index = |wanted: &FieldName| {
            fields.iter().position(|field| field.name == *wanted).expect("a checked mapping names its own fields")
        };
        let scope = match (&spec.scope.column, &spec.scope.constant, &spec.scope.parents) {
            (Some(named), _, _) => ScopePlan::Column(column(named)?),
            (_, Some(constant), _) => ScopePlan::Constant(Audience::from_value(Some(constant), addressees)),
            (_, _, parents) => ScopePlan::Parents(parents.iter().flatten().map(field_index).collect()),
        };
        let mut filters = Vec::new();
        if let Some(filter) = &spec.filter {
            filters.push((column(&filter.column)?, filter.any.iter().map(|value| escape(value)).collect()));
        }
        for (named, patterns) in &spec.only {
            filters.push((column(named)?, patterns.clone()));
        }
        let soft_delete = spec.soft_delete.as_deref().map(&mut column).transpose()?;
        let mut birth = Vec::new();
        for named in &spec.birth {
            let kind = spec.fields.iter().find(|(name, field)| field.column(name) == named).and_then(|(_, f)| f.kind);
            birth.push((column(named)?, kind.unwrap_or(Kind::Timestamp)));
        }
        for named in spec.insert.keys() {
            if !declared.contains_key(&conn.fold(named)) {
                column(named)?;
            }
        }
        for named in &columns {
            let known = &declared[&conn.fold(named)];
            if !known.is_known {
                return Err(unfit(format!(
                    "the column {named:?} is of the type {}, which can't be mapped",
                    known.kind
                )));
            }
        }
        let has_integer_key = key.is_integer;
        let is_field = |named: &str| fields.iter().any(|field| field.column.eq_ignore_ascii_case(named));
        if !key.is_chosen && !is_field(&spec.key) && !spec.insert.contains_key(&spec.key) {
            let why = format!(
                "the database doesn't choose the key {:?}, so new rows need a field or an `insert` for it",
                spec.key
            );
            return Err(unfit(why));
        }
        for (named, column) in declared {
            let given = is_field(named)
                || named.eq_ignore_ascii_case(&spec.key)
                || spec.insert.keys().any(|given| given.eq_ignore_ascii_case(named))
                || spec.scope.column.as_deref().is_some_and(|scope| scope.eq_ignore_ascii_case(named));
            if column.not_null && !column.has_default && !given {
                return Err(unfit(format!("new rows need a value for {named:?}: map it as a field or in `insert`")));
            }
        }
        // Fields come right after the key, in order; other columns keep their positions behind them.
        let width = fields.len();
        let extra: Vec<&String> = columns
            .iter()
            .enumerate()
            .skip(1)
            .filter(|(at, _)| !positions.contains(at))
            .map(|(_, name)| name)
            .collect();
        let place = |at: usize| match positions.iter().position(|known| *known == at) {
            Some(field) => field + 1,
            None if at == 0 => 0,
            None => {
                let named = &columns[at];
                1 + width + extra.iter().position(|known| *known == named).expect("a column is a field or extra")
            }
        };
        let scope = match scope {
            ScopePlan::Column(at) => ScopePlan::Column(place(at)),
            other => other,
        };
        let filters = filters.into_iter().map(|(at, patterns)| (place(at), patterns)).collect();
        let soft_delete = soft_delete.map(place);
        let birth = birth.into_iter().map(|(at, kind)| (place(at), kind)).collect();
        let select: Vec<String> = std::iter::once(&spec.key)
            .chain(fields.iter().map(|field| &field.column))
            .chain(extra.iter().copied())
            .map(|column| quote(column))
            .collect();
        let (table, key_column) = (conn.table(&spec.table), quote(&spec.key));
        let select = format!("SELECT {} FROM {table}", select.join(", "));
        let order = conn.key_order(&key_column, has_integer_key);
        let sql_row = format!("{select} WHERE {key_column} = {}", conn.key_value("?1", has_integer_key));
        Ok(Self {
            sql_some: format!("{select} WHERE {} ORDER BY {order}", conn.among(&key_column, &key.kind, "?1")),
            sql_scan: format!("{select} ORDER BY {order}"),
            sql_locked: format!("{sql_row}{}", conn.row_lock()),
            sql_row,
            sql_delete: format!("DELETE FROM {table} WHERE {key_column} = {}", conn.key_value("?1", has_integer_key)),
            table,
            name,
            spec,
            fields,
            has_integer_key,
            scope,
            addressees: addressees.clone(),
            filters,
            soft_delete,
            birth,
            is_parent: false,
            purge_rows: Vec::new(),
        })
    }

    /// Iterates over the references with their field's index.
    pub(super) fn refs(&self) -> impl Iterator<Item = (usize, &RefPlan)> {
        self.fields.iter().enumerate().filter_map(|(index, field)| match &field.content {
            Content::Ref(reference) => Some((index, reference)),
            Content::Plain(_) => None,
        })
    }

    pub(super) fn field(&self, name: &FieldName) -> Option<usize> {
        self.fields.iter().position(|field| field.name == *name)
    }
}

/// Tells whether a value matches one of the patterns; `abc*` is a prefix, `\*` at the end a star.
pub(super) fn matches(patterns: &[String], value: &str) -> bool {
    patterns.iter().any(|pattern| match (pattern.strip_suffix("\\*"), pattern.strip_suffix('*')) {
        (Some(start), _) => value.strip_suffix('*') == Some(start),
        (None, Some(prefix)) => value.starts_with(prefix),
        (None, None) => value == pattern,
    })
}

/// Quotes an identifier.
pub(super) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Makes what a column holds for a constant whose template is filled in.
pub(super) fn constant(constant: &Constant, fill: impl FnOnce(&str) -> String) -> Raw {
    match constant {
        Constant::Bool(value) => Raw::Integer(i64::from(*value)),
        Constant::Int(value) => Raw::Integer(*value),
        Constant::Float(value) => Raw::Real(*value),
        Constant::Text(text) => Raw::Text(fill(text)),
    }
}

/// Cache tables come and go with versions of the application: one that isn't there has no rows.
fn purge_rows(conn: &dyn Session, spec: &Dataset) -> Result<Vec<(String, String)>, SqlError> {
    let mut statements = Vec::new();
    for rows in &spec.purge.rows {
        if conn.columns(&rows.table)?.contains_key(&conn.fold(&rows.column)) {
            let sql = format!("DELETE FROM {} WHERE {} = ?1", conn.table(&rows.table), quote(&rows.column));
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

    #[test]
    fn patterns_are_values_or_prefixes() {
        let patterns = ["photo".to_owned(), "name:*".to_owned(), escape("a*")];
        for value in ["photo", "name:", "name:x", "a*"] {
            assert!(matches(&patterns, value), "{value}");
        }
        for value in ["photos", "name", "ab", "a", ""] {
            assert!(!matches(&patterns, value), "{value}");
        }
    }
}
