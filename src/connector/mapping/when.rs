//! Columns that are different fields in different rows, as another column says.

use std::collections::BTreeMap;

use super::check::bad;
use super::model::{Dataset, Field, Filter};
use crate::connector::error::Error;
use crate::id::name::{DatasetName, FieldName};
use crate::record::fieldtype::Kind;

/// Checks that of fields with one column no two can have their turn in the same row.
///
/// # Errors
/// `BadMapping` with the first place that is wrong.
pub(super) fn check(name: &DatasetName, dataset: &Dataset) -> Result<(), Error> {
    let at = |field: &FieldName| format!("dataset.{name}.fields.{field}");
    let mut by_column: BTreeMap<&str, Vec<(&FieldName, &Field)>> = BTreeMap::new();
    for (field_name, field) in &dataset.fields {
        if let Some(when) = &field.when {
            check_when(&at(field_name), dataset, field_name, field, when)?;
        }
        if let Some(column) = field.single_column(field_name) {
            by_column.entry(column).or_default().push((field_name, field));
        }
    }
    for (column, fields) in by_column.into_iter().filter(|(_, fields)| fields.len() > 1) {
        let always: Vec<&FieldName> =
            fields.iter().filter(|(_, field)| field.when.is_none()).map(|(name, _)| *name).collect();
        if let [_, second, ..] = always[..] {
            let why = format!("two fields have the column {column:?}: say `when` it is which");
            return bad(at(second), why);
        }
        let mut taken: Vec<(&FieldName, &Filter)> = Vec::new();
        for (field_name, when) in fields.iter().filter_map(|(name, field)| Some((*name, field.when.as_ref()?))) {
            let clash = taken.iter().find(|(_, known)| {
                known.column != when.column || known.any.iter().any(|value| when.any.contains(value))
            });
            if let Some((other, _)) = clash {
                let why = format!("it may be the same column as {other} in the same row: no value may be in both");
                return bad(format!("{}.when", at(field_name)), why);
            }
            taken.push((field_name, when));
        }
        if let Some((field_name, _)) = fields.iter().find(|(name, _)| is_fixed(dataset, name, column)) {
            let why = format!("what is unique, a key, an alias or in `only` or `birth` can't share {column:?}");
            return bad(at(field_name), why);
        }
    }
    Ok(())
}

fn check_when(at: &str, dataset: &Dataset, field_name: &FieldName, field: &Field, when: &Filter) -> Result<(), Error> {
    let at = format!("{at}.when");
    if when.any.is_empty() {
        return bad(at, "with no value the column would never be this field");
    }
    let Some(column) = field.single_column(field_name) else {
        return bad(at, "a reference by several columns is one in every row");
    };
    if is_fixed(dataset, field_name, column) {
        return bad(at, "what is unique, a key, an alias or in `only` or `birth` is so in every row");
    }
    let by = dataset.fields.iter().find(|(other, field)| field.is_column(other, &when.column));
    let is_plain = |field: &Field| {
        matches!(field.kind, Some(Kind::Text | Kind::Int)) && field.when.is_none() && field.scope.is_none()
    };
    match by {
        Some((by, field)) if is_plain(field) && dataset.alias.as_ref() != Some(by) => Ok(()),
        _ => bad(
            at,
            format!("the column {:?} is no field of texts or integers that goes wherever the record does", when.column),
        ),
    }
}

/// Tells whether something rests on what the column says in every row.
fn is_fixed(dataset: &Dataset, name: &FieldName, column: &str) -> bool {
    dataset.unique.iter().flatten().chain(&dataset.same).chain(&dataset.alias).any(|field| field == name)
        || dataset.key.names().iter().chain(&dataset.birth).chain(dataset.only.keys()).any(|known| known == column)
}

#[cfg(test)]
mod tests {
    use crate::connector::mapping::model::Mapping;

    const GOOD: &str = r#"
        [dataset.users]
        table = "u"
        key = "id"
        scope = { constant = "public" }
        fields.name = { type = "text" }
        [dataset.notes]
        table = "n"
        key = "id"
        scope = { constant = "public" }
        fields.kind = { type = "text" }
        fields.small = { type = "text" }
        fields.value = { type = "text" }
        fields.who = { column = "value", ref = "users", when = { column = "kind", any = ["who"] } }
        fields.boss = { column = "value", ref = "users", when = { column = "kind", any = ["boss", "owner"] } }
    "#;

    #[test]
    fn no_two_fields_can_be_one_column_in_one_row() {
        Mapping::parse(GOOD, "test").unwrap();
        for (from, to, expected) in [
            ("any = [\"who\"]", "any = [\"who\", \"boss\"]", "the same column as"),
            ("column = \"kind\", any = [\"who\"]", "column = \"small\", any = [\"who\"]", "the same column as"),
            ("any = [\"who\"]", "any = []", "never be this field"),
            (", when = { column = \"kind\", any = [\"who\"] }", "", "say `when` it is which"),
            ("column = \"kind\", any = [\"who\"]", "column = \"else\", any = [\"who\"]", "no field of texts"),
            ("fields.kind = { type = \"text\"", "fields.kind = { type = \"bool\"", "no field of texts"),
            (
                "fields.kind = { type = \"text\"",
                "fields.kind = { type = \"text\", scope = \"trusted\"",
                "no field of texts",
            ),
            ("fields.kind", "unique = [[\"who\"]]\n        fields.kind", "in every row"),
            ("fields.kind", "unique = [[\"value\"]]\n        fields.kind", "can't share"),
        ] {
            assert!(GOOD.contains(from), "{from}");
            let error = Mapping::parse(&GOOD.replacen(from, to, 1), "test").unwrap_err();
            assert!(error.to_string().contains(expected), "{to}: {error}");
        }
    }
}
