//! The mapping bound to the tables of one database: what is where, and statements. `bind` makes it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::guard::Guard;
use super::heirs::Beside;
use super::key::{Key, KeyColumns};
use super::raw::Raw;
use super::reference::{RefPlan, Turn};
use crate::connector::mapping::model::{Constant, Dataset};
use crate::id::name::{DatasetName, FieldName, ScopeName};
use crate::record::fieldtype::Kind;
use crate::scope::audience::{Addressees, Audience};

/// All datasets, parents first.
#[derive(Debug)]
pub(super) struct Plans {
    pub(super) list: Vec<Plan>,
    pub(super) by_name: BTreeMap<DatasetName, usize>,
}

/// One dataset.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) name: DatasetName,
    pub(super) spec: Dataset,
    /// They are read after the key, in order; then come scope, filter, only, soft-delete and birth columns.
    pub(super) fields: Vec<FieldPlan>,
    /// The table, as statements spell it.
    pub(super) table: String,
    pub(super) key: KeyColumns,
    /// The type that the table declares for a key of one column.
    pub(super) key_declared: String,
    pub(super) scope: ScopePlan,
    pub(super) addressees: Arc<Addressees>,
    /// Columns and the values or prefixes that let a row leave.
    pub(super) filters: Vec<(usize, Vec<String>)>,
    pub(super) soft_delete: Option<usize>,
    pub(super) birth: Vec<(usize, Kind)>,
    /// Whether a dataset refers to this one.
    pub(super) is_parent: bool,
    /// The number of the circle of datasets that refer to each other, or to itself, that this one lies in.
    pub(super) circle: Option<usize>,
    /// The columns that are read, each with the type that the table declares for it; `None` for what is made of several.
    pub(super) read: Vec<Option<(String, String)>>,
    /// How many there are.
    pub(super) width: usize,
    /// Reads them of all rows, in no order.
    pub(super) sql_select: String,
    pub(super) sql_scan: String,
    pub(super) sql_row: String,
    /// The rows with keys in a list, in order; none where keys have several columns.
    pub(super) sql_some: Option<String>,
    /// The same, of a row that is about to be written.
    pub(super) sql_locked: String,
    pub(super) sql_delete: String,
    /// Queries for rows that refer to a row, where the database wouldn't refuse at once to delete that.
    pub(super) guards: Vec<Guard>,
    /// Statements that delete the cache rows with values in a list, each with the template of a value.
    pub(super) purge_rows: Vec<(String, String)>,
    /// What the instance keeps of what was said beside its rows.
    pub(super) beside: Beside,
}

/// One field. What it shows stands at its index plus one.
#[derive(Debug)]
pub(super) struct FieldPlan {
    pub(super) name: FieldName,
    /// Its column; of a reference to rows with a key of several, as many.
    pub(super) columns: KeyColumns,
    /// Which of them no other field has, and whether they can be NULL.
    pub(super) own: Vec<(usize, bool)>,
    /// Whether it can't be emptied.
    pub(super) not_null: bool,
    pub(super) has_default: bool,
    /// The type that the table declares for the column.
    pub(super) declared: String,
    pub(super) content: Content,
    /// What other fields have to say, so that the column is this field; nothing for nearly all.
    pub(super) turns: Vec<Turn>,
    /// The widest scope that the field may travel in, if it has one of its own.
    pub(super) least: Option<ScopeName>,
}

/// What a column holds.
#[derive(Debug)]
pub(super) enum Content {
    Plain(Kind),
    Ref(RefPlan),
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
    /// Returns the datasets in order, those of a circle together.
    pub(super) fn groups(&self) -> Vec<Vec<usize>> {
        let all: Vec<usize> = (0..self.list.len()).collect();
        let together = |a: &usize, b: &usize| {
            let (a, b) = (self.list[*a].circle, self.list[*b].circle);
            a.is_some() && a == b
        };
        all.chunk_by(together).map(<[usize]>::to_vec).collect()
    }

    pub(super) fn index(&self, name: &DatasetName) -> Option<usize> {
        self.by_name.get(name).copied()
    }
}

impl Plan {
    /// Iterates over the references with their field's index.
    pub(super) fn refs(&self) -> impl Iterator<Item = (usize, &RefPlan)> {
        self.fields.iter().enumerate().filter_map(|(index, field)| match &field.content {
            Content::Ref(reference) => Some((index, reference)),
            Content::Plain(_) => None,
        })
    }

    /// Tells whether the row is meant for nobody that the one it refers to isn't meant for.
    pub(super) fn caps(&self, field: usize, reference: &RefPlan) -> bool {
        reference.required || matches!(&self.scope, ScopePlan::Parents(fields) if fields.contains(&field))
    }

    /// Returns the column that says for whom a row is meant, if one does.
    pub(super) fn scope_column(&self) -> Option<&str> {
        match &self.scope {
            ScopePlan::Column(_) => self.spec.scope.column.as_deref(),
            ScopePlan::Constant(_) | ScopePlan::Parents(_) => None,
        }
    }

    /// Reads a key as people write it: a number where the table has numbers.
    pub(super) fn key_named(&self, text: &str) -> Key {
        match text.parse() {
            Ok(number) if self.key.is_integer() => Key::Int(number),
            _ => Key::Text(text.into()),
        }
    }

    pub(super) fn field(&self, name: &FieldName) -> Option<usize> {
        self.fields.iter().position(|field| field.name == *name)
    }

    /// Tells whether a field is a part of the key.
    pub(super) fn is_key(&self, field: usize) -> bool {
        self.fields[field].columns.0.iter().any(|column| self.key.has(&column.name))
    }
}

impl FieldPlan {
    /// Returns what the field's columns hold for what it shows.
    pub(super) fn assigned(&self, raw: &Raw) -> Vec<(&str, Raw)> {
        let name = |at: usize| self.columns.0[at].name.as_str();
        match (Key::of(raw.into()), self.columns.0.as_slice()) {
            (_, [only]) => vec![(&only.name, raw.clone())],
            (Some(key), _) => {
                let parts = self.columns.given(&key);
                self.own.iter().map(|(at, _)| (name(*at), parts[*at].clone())).collect()
            }
            // Without one of its columns it refers to nothing.
            (None, _) => self.own.iter().filter(|own| own.1).map(|(at, _)| (name(*at), Raw::Null)).collect(),
        }
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

/// Spells the statement that inserts a row. It is spelled for every row, so without detours.
pub(super) fn insertion<V>(or: &str, table: &str, columns: &[(&str, V)]) -> String {
    let mut sql = String::with_capacity(64 + table.len() + 24 * columns.len());
    sql.extend(["INSERT", or, " INTO ", table]);
    for (at, (column, _)) in columns.iter().enumerate() {
        sql.push_str(if at == 0 { "(\"" } else { "\", \"" });
        sql.extend(column.chars().flat_map(|c| std::iter::repeat_n(c, if c == '"' { 2 } else { 1 })));
    }
    sql.push_str("\")");
    for at in 1..=columns.len() {
        sql.push_str(if at == 1 { " VALUES(?" } else { ", ?" });
        sql.push_str(&at.to_string());
    }
    sql.push(')');
    sql
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_inserted_whatever_columns_are_called() {
        let columns = [("a", ()), ("b\"c", ())];
        let sql = "INSERT OR ABORT INTO \"t\"(\"a\", \"b\"\"c\") VALUES(?1, ?2)";
        assert_eq!(insertion(" OR ABORT", "\"t\"", &columns), sql);
    }

    #[test]
    fn patterns_are_values_or_prefixes() {
        let patterns = ["photo".to_owned(), "name:*".to_owned(), "a\\*".to_owned()];
        for value in ["photo", "name:", "name:x", "a*"] {
            assert!(matches(&patterns, value), "{value}");
        }
        for value in ["photos", "name", "ab", "a", ""] {
            assert!(!matches(&patterns, value), "{value}");
        }
    }
}
