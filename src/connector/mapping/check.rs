//! What must hold of a mapping by itself.

use std::collections::BTreeSet;

use super::model::{Constant, Dataset, Field, Mapping, Missing};
use super::template;
use crate::connector::error::Error;
use crate::id::name::{DatasetName, FieldName};
use crate::record::codec::FIELDS_MAX;
use crate::record::fieldtype::Kind;
use crate::record::schema::DATASETS_MAX;
use crate::scope::audience::scope_of;

/// The names that templates of constants know.
pub const ROW_NAMES: [&str; 3] = ["id", "id8", "born"];

/// Checks a mapping.
///
/// # Errors
/// `BadMapping` with the first place that is wrong.
pub fn check(mapping: &Mapping) -> Result<(), Error> {
    if mapping.dataset.is_empty() {
        return bad("dataset", "no dataset is mapped");
    }
    // A dataset whose fields have scopes of their own is two in the schema of a scope.
    if mapping.dataset.len() > DATASETS_MAX / 2 {
        return bad(
            "dataset",
            format!("{} datasets are mapped, and at most {} can be", mapping.dataset.len(), DATASETS_MAX / 2),
        );
    }
    let mut tables = BTreeSet::new();
    for (name, dataset) in &mapping.dataset {
        if name.is_overlay() {
            return bad(format!("dataset.{name}"), "a dataset's name has no +");
        }
        if !tables.insert(dataset.table.to_ascii_lowercase()) {
            return bad(format!("dataset.{name}.table"), format!("another dataset maps {:?} too", dataset.table));
        }
        check_key(name, dataset)?;
    }
    for (name, dataset) in &mapping.dataset {
        check_dataset(mapping, name, dataset)?;
    }
    Ok(())
}

fn check_dataset(mapping: &Mapping, name: &DatasetName, dataset: &Dataset) -> Result<(), Error> {
    let at = |key: &str| format!("dataset.{name}.{key}");
    if dataset.fields.values().all(|field| field.scope.is_some()) {
        return bad(at("fields"), "a record needs at least one field without a scope of its own");
    }
    if dataset.fields.len() > FIELDS_MAX {
        return bad(at("fields"), format!("a record has at most {FIELDS_MAX} fields, not {}", dataset.fields.len()));
    }
    check_columns(mapping, name, dataset)?;
    for (field_name, field) in &dataset.fields {
        check_field(mapping, &at(&format!("fields.{field_name}")), field)?;
    }
    super::when::check(name, dataset)?;
    // A reference by several columns may share some with other fields.
    let columns = dataset.fields.iter().filter_map(|(name, field)| field.single_column(name)).collect::<BTreeSet<_>>();
    check_scope(name, dataset)?;
    check_groups(name, dataset)?;
    let known = |key: &str, field: &FieldName| match dataset.fields.get(field) {
        Some(found) => Ok(found),
        None => bad(at(key), format!("there is no field {field}")),
    };
    for field in dataset.unique.iter().flatten() {
        known("unique", field)?;
    }
    check_same(name, dataset)?;
    if let Some(alias) = &dataset.alias {
        if known("alias", alias)?.kind != Some(Kind::Text) {
            return bad(at("alias"), format!("the field {alias} is no text"));
        }
        if dataset.fields[alias].scope.is_some() {
            return bad(at("alias"), format!("the field {alias} has a scope of its own"));
        }
        if !dataset.unique.iter().any(|set| set.len() == 1 && set[0] == *alias) {
            return bad(at("alias"), format!("the field {alias} is not unique: add [\"{alias}\"] to `unique`"));
        }
    }
    for (field, constant) in &dataset.stub {
        if known("stub", field)?.reference.is_some() {
            return bad(at("stub"), format!("the field {field} is a reference"));
        }
        check_constant(&at("stub"), constant)?;
    }
    let scope_column = dataset.scope.column.as_deref();
    for (column, constant) in &dataset.insert {
        if columns.contains(column.as_str()) || scope_column == Some(column) {
            return bad(at("insert"), format!("the column {column:?} travels, so it can't be constant"));
        }
        check_constant(&at("insert"), constant)?;
    }
    if scope_column.is_some_and(|column| columns.contains(column)) {
        return bad(at("scope.column"), "the scope column can't be a field: each instance has its own");
    }
    if dataset.filter.as_ref().is_some_and(|filter| filter.any.is_empty()) {
        return bad(at("filter.any"), "with no value no row would ever leave");
    }
    for column in dataset.only.keys() {
        if !columns.contains(column.as_str()) {
            return bad(at("only"), format!("the column {column:?} is no field, so what arrives can't be checked"));
        }
    }
    check_purge(name, dataset)
}

/// A key is one column or several.
fn check_key(name: &DatasetName, dataset: &Dataset) -> Result<(), Error> {
    let keys = dataset.key.names();
    let different: BTreeSet<String> = keys.iter().map(|column| column.to_ascii_lowercase()).collect();
    match keys.is_empty() || different.len() < keys.len() {
        true => bad(format!("dataset.{name}.key"), "a key is a column, or a list of different columns"),
        false => Ok(()),
    }
}

/// Who refers to a key has as many columns.
fn check_columns(mapping: &Mapping, name: &DatasetName, dataset: &Dataset) -> Result<(), Error> {
    for (field_name, field) in &dataset.fields {
        let at = format!("dataset.{name}.fields.{field_name}.column");
        let count = field.columns(field_name).len();
        let Some(parent) = &field.reference else {
            if count != 1 {
                return bad(at, "only a reference has several columns");
            }
            continue;
        };
        if let Some(parent) = mapping.dataset.get(parent)
            && count != parent.key.names().len()
        {
            let wanted = parent.key.names().join(", ");
            return bad(at, format!("it wants as many columns as the key it refers to has ({wanted}), in that order"));
        }
    }
    Ok(())
}

/// What is equal must not be a name that people chose: whoever has an alias is somebody of their own.
fn check_same(name: &DatasetName, dataset: &Dataset) -> Result<(), Error> {
    if dataset.same.is_empty() {
        return Ok(());
    }
    let at = format!("dataset.{name}.same");
    let sorted = |fields: &[FieldName]| fields.iter().cloned().collect::<BTreeSet<_>>();
    if !dataset.unique.iter().any(|set| sorted(set) == sorted(&dataset.same)) {
        return bad(at, "these fields together are not unique: add them to `unique`");
    }
    if let Some(field) = dataset.same.iter().find(|field| dataset.alias.as_ref() == Some(field)) {
        return bad(
            at,
            format!("the field {field} has an alias: equal values either mean the same or get another name"),
        );
    }
    if let Some(field) = dataset.same.iter().find(|field| dataset.fields[*field].scope.is_some()) {
        return bad(at, format!("the field {field} has a scope of its own, so that not everybody can compare it"));
    }
    Ok(())
}

fn check_scope(name: &DatasetName, dataset: &Dataset) -> Result<(), Error> {
    let at = format!("dataset.{name}.scope");
    let scope = &dataset.scope;
    let given = [scope.column.is_some(), scope.constant.is_some(), scope.parents.is_some()];
    if given.iter().filter(|given| **given).count() != 1 {
        return bad(at, "exactly one of `column`, `constant` and `parents` is wanted");
    }
    if let Some(constant) = &scope.constant
        && constant != "private"
        && scope_of(constant).is_none()
    {
        let why = format!("{constant:?} is none of public, trusted, group:NAME, peers:NAME,NAME, private");
        return bad(at, format!("{why}; if a column says it, write {{ column = {constant:?} }}"));
    }
    let parents = scope.parents.as_deref();
    if parents.is_some_and(<[FieldName]>::is_empty) {
        return bad(at, "`parents` is empty");
    }
    for parent in parents.unwrap_or_default() {
        if dataset.fields.get(parent).is_none_or(|field| field.reference.is_none()) {
            return bad(at, format!("{parent} is no reference of this dataset"));
        }
    }
    Ok(())
}

/// Fields that are written together must be seen together.
fn check_groups(name: &DatasetName, dataset: &Dataset) -> Result<(), Error> {
    for (field_name, field) in dataset.fields.iter().filter(|(_, field)| field.group.is_some()) {
        let apart = dataset
            .fields
            .iter()
            .find(|(_, other)| other.group == field.group && other.least_scope() != field.least_scope());
        if let Some((other, _)) = apart {
            let why = format!("{other} is in the same group and has another scope");
            return bad(format!("dataset.{name}.fields.{field_name}.scope"), why);
        }
    }
    Ok(())
}

fn check_field(mapping: &Mapping, at: &str, field: &Field) -> Result<(), Error> {
    if let Some(scope) = &field.scope {
        if scope_of(scope).is_none() {
            let why = format!("{scope:?} is none of public, trusted, group:NAME, peers:NAME,NAME, never");
            return bad(format!("{at}.scope"), why);
        }
        if field.required || field.author {
            return bad(format!("{at}.scope"), "whoever sees the record needs this reference");
        }
    }
    match (&field.reference, field.kind) {
        (Some(_), Some(_)) => bad(at, "a reference has no `type`"),
        (None, None) => bad(at, "either `type` or `ref` is wanted"),
        (None, Some(_)) if field.missing.is_some() || field.required || field.author => {
            bad(at, "`missing`, `required` and `author` are for references")
        }
        (Some(parent), None) if !mapping.dataset.contains_key(parent) => {
            bad(at, format!("it refers to the dataset {parent}, which is not mapped or not enabled"))
        }
        (Some(parent), None) if field.missing == Some(Missing::Stub) && !mapping.dataset[parent].same.is_empty() => {
            bad(at, format!("a record of {parent} may mean the same as another (`same`), so nothing can stand for it"))
        }
        (Some(_), None) if field.required && field.missing == Some(Missing::Null) => {
            bad(at, "a required reference can't be shown as NULL")
        }
        _ => Ok(()),
    }
}

fn check_constant(at: &str, constant: &Constant) -> Result<(), Error> {
    let Constant::Text(text) = constant else { return Ok(()) };
    match template::fill(text, |name| ROW_NAMES.contains(&name).then(String::new)) {
        Ok(_) => Ok(()),
        Err(why) => bad(at, why),
    }
}

fn check_purge(name: &DatasetName, dataset: &Dataset) -> Result<(), Error> {
    let known = |name: &str| {
        name == "key" || dataset.fields.iter().any(|(field, spec)| field.as_str() == name && spec.reference.is_some())
    };
    let templates = dataset.purge.files.iter().chain(dataset.purge.rows.iter().map(|rows| &rows.value));
    for text in templates {
        if let Err(why) = template::fill(text, |name| known(name).then(String::new)) {
            return bad(format!("dataset.{name}.purge"), why);
        }
    }
    for file in &dataset.purge.files {
        let inside =
            !file.starts_with(['/', '\\']) && file.split(['/', '\\']).all(|part| !matches!(part, "" | "." | ".."));
        if !inside {
            return bad(format!("dataset.{name}.purge.files"), format!("{file:?} is not below the application"));
        }
    }
    Ok(())
}

pub(super) fn bad<T>(at: impl Into<String>, why: impl Into<String>) -> Result<T, Error> {
    Err(Error::BadMapping { at: at.into(), why: why.into() })
}

#[cfg(test)]
mod tests {
    use super::super::order::groups;
    use super::*;

    const GOOD: &str = r#"
        [dataset.users]
        table = "u"
        key = "id"
        scope = { column = "s" }
        fields.name = { type = "text" }
        [dataset.posts]
        table = "p"
        key = "id"
        scope = { constant = "public" }
        fields.by = { ref = "users", missing = "stub" }
    "#;

    #[test]
    fn parents_come_first() {
        let mapping = Mapping::parse(GOOD, "test").unwrap();
        let order: Vec<String> =
            groups(&mapping).into_iter().flat_map(|group| group.datasets).map(|name| name.to_string()).collect();
        assert_eq!(order, ["users", "posts"]);
    }

    #[test]
    fn each_contradiction_is_named() {
        for (from, to, expected) in [
            ("ref = \"users\"", "ref = \"members\"", "not mapped"),
            ("key = \"id\"", "key = []", "list of different columns"),
            ("key = \"id\"", "key = [\"id\", \"ID\"]", "list of different columns"),
            ("key = \"id\"", "key = [\"id\", \"lang\"]", "as many columns as the key"),
            ("type = \"text\"", "type = \"text\", column = [\"a\", \"b\"]", "only a reference"),
            ("scope = { column = \"s\" }", "scope = { column = \"s\", constant = \"public\" }", "exactly one"),
            ("scope = { column = \"s\" }", "scope = { column = \"name\" }", "can't be a field"),
            ("constant = \"public\"", "constant = \"everyone\"", "none of public"),
            ("key = \"id\"", "key = \"id\"\nalias = \"name\"", "is not unique"),
            ("key = \"id\"", "key = \"id\"\ninsert = { name = 1 }", "can't be constant"),
            ("key = \"id\"", "key = \"id\"\nstub = { name = \"{mail}\" }", "{mail}"),
            ("key = \"id\"", "key = \"id\"\npurge.files = [\"../{key}\"]", "not below"),
            ("key = \"id\"", "key = \"id\"\nunique = [[\"nick\"]]", "no field nick"),
            ("key = \"id\"", "key = \"id\"\nsame = [\"name\"]", "so nothing can stand for it"),
            ("fields.by =", "same = [\"by\"]\nfields.by =", "not unique"),
            (
                "fields.by =",
                "fields.t = { type = \"text\" }\nunique = [[\"t\"]]\nalias = \"t\"\nsame = [\"t\"]\nfields.by =",
                "either mean the same",
            ),
            ("missing = \"stub\"", "missing = \"null\", required = true", "can't be shown as NULL"),
            ("{ type = \"text\" }", "{ type = \"text\", required = true }", "for references"),
            ("{ type = \"text\" }", "{ }", "either `type` or `ref`"),
            ("table = \"p\"", "table = \"U\"", "another dataset"),
            (
                "fields.by =",
                "fields.as = { column = \"by\", type = \"int\" }\nfields.by =",
                "two fields have the column",
            ),
        ] {
            assert!(GOOD.contains(from), "{from}");
            let error = Mapping::parse(&GOOD.replacen(from, to, 1), "test").unwrap_err();
            assert!(error.to_string().contains(expected), "{to}: {error}");
            assert!(error.hint().is_some());
        }
        let error = Mapping::parse(&GOOD.replace("key =", "kye ="), "wbsync.toml").unwrap_err();
        assert!(error.to_string().contains("wbsync.toml"), "{error}");
    }
}
