//! What a person should know about a mapping that somebody edited, and the tables that it is for.
//!
//! Whether it can work at all is the connector's to say; here is what works and may surprise.

use super::finding::{Finding, Weight};
use super::model::{Constant, Dataset, Field, Mapping, Missing};
use super::words::{self, Sound};
use crate::connector::catalogue::{Column, Table, TableKind};
use crate::id::name::{DatasetName, FieldName};
use crate::record::fieldtype::Kind;

/// Reviews a mapping.
pub fn review(mapping: &Mapping, tables: &[Table]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, dataset) in &mapping.dataset {
        let Some(table) = tables.iter().find(|table| table.name.eq_ignore_ascii_case(&dataset.table)) else { continue };
        review_dataset(mapping, name, dataset, table, &mut findings);
    }
    for table in tables.iter().filter(|table| table.kind == TableKind::Table && words::chore(&table.name).is_none()) {
        let is_mapped = mapping.dataset.values().any(|dataset| dataset.table.eq_ignore_ascii_case(&table.name));
        if !is_mapped {
            findings.push(Finding::new(Weight::Note, "unmapped", &table.name, "the table isn't mapped: it stays home"));
        }
    }
    findings.sort_by_key(|finding| finding.weight);
    findings
}

fn review_dataset(
    mapping: &Mapping,
    name: &DatasetName,
    dataset: &Dataset,
    table: &Table,
    findings: &mut Vec<Finding>,
) {
    let at = |key: &str| format!("dataset.{name}.{key}");
    let mut find = |weight, kind, key: &str, why: String, next: Option<String>| {
        let finding = Finding::new(weight, kind, at(key), why);
        findings.push(Finding { next, ..finding });
    };
    for (field_name, field) in &dataset.fields {
        let key = format!("fields.{field_name}");
        for named in field.columns(field_name) {
            let Some(column) = table.column(named) else { continue };
            if column.is_generated {
                let why = format!("the database computes {named:?}, and refuses to be given a value");
                find(Weight::Error, "generated", &key, why, Some("take the field out".into()));
            }
            if field.missing == Some(Missing::Null) && column.not_null {
                let why = format!("{named:?} can't be NULL, so `missing = \"null\"` can't work");
                find(Weight::Error, "reference", &key, why, Some("write missing = \"park\" or \"stub\"".into()));
            }
            let sound = words::sound(named).or_else(|| words::sound(field_name.as_str()));
            match sound.filter(|_| field.reference.is_none()) {
                Some(Sound::Secret(what)) => {
                    let why = format!("it sounds like a {what}, and goes {}", goes(field));
                    find(
                        Weight::Warning,
                        "secret",
                        &key,
                        why,
                        Some("take the field out unless it is meant for others".into()),
                    );
                }
                Some(Sound::Personal(what)) if field.scope.is_none() => {
                    let why = format!("it sounds like a {what}, and goes {}", goes(field));
                    let next = "give it `scope = \"trusted\"` or \"never\" if it isn't meant for everybody".to_owned();
                    find(Weight::Warning, "personal", &key, why, Some(next));
                }
                _ => {}
            }
        }
        if let Some(other) = sounds_like_key(mapping, field_name, field) {
            let why =
                format!("it sounds like the key of a row of {other}: as a plain value it means another row elsewhere");
            let next = format!("map it with `ref = \"{other}\"`, or take the field out");
            find(Weight::Warning, "reference", &key, why, Some(next));
        }
        if let Some(why) = no_stand_in(mapping, field) {
            find(
                Weight::Warning,
                "reference",
                &key,
                why,
                Some("write missing = \"park\", or complete that `stub`".into()),
            );
        }
    }
    for key in &table.keys {
        let is_reference = |(name, field): (&FieldName, &Field)| {
            field.reference.is_some()
                && field.columns(name).iter().any(|known| key.columns.iter().any(|column| column == known))
        };
        let has = |column: &String| dataset.fields.iter().any(|(name, field)| field.is_column(name, column));
        if !dataset.fields.iter().any(is_reference) && key.columns.iter().any(has) {
            let why = format!(
                "{} refers to {}, and travels as a plain value: it means another row elsewhere",
                key.columns.join(", "),
                key.parent
            );
            find(Weight::Warning, "reference", "fields", why, Some("map it with `ref`".into()));
        }
    }
    for set in &table.unique {
        let is_named = dataset.unique.iter().any(|fields| {
            let columns: Vec<&str> = fields.iter().flat_map(|field| dataset.fields[field].columns(field)).collect();
            columns.len() == set.len() && set.iter().all(|column| columns.contains(&column.as_str()))
        });
        let made_up =
            |column: &String| matches!(dataset.insert.get(column), Some(Constant::Text(text)) if text.contains("{id"));
        // What stays home and may be NULL is NULL in rows of others, and NULLs are never equal.
        let is_null = |column: &String| {
            let travels = dataset.fields.iter().any(|(name, field)| field.columns(name).contains(&column.as_str()));
            let is_given = dataset.insert.contains_key(column);
            let can_be = |column: &Column| !column.not_null && !column.has_default;
            !travels && !is_given && table.column(column).is_some_and(can_be)
        };
        if !is_named
            && !set.iter().any(is_null)
            && !set.iter().any(made_up)
            && !set.iter().all(|column| dataset.key.names().contains(column))
        {
            let why = format!(
                "{} is unique in {:?}: a record waits where a row here has the same",
                set.join(", "),
                table.name
            );
            let next =
                "name the set in `unique`, with `same` if equal rows mean the same, or `alias` for a name".to_owned();
            find(Weight::Note, "unique", "unique", why, Some(next));
        }
    }
    let is_chosen = dataset.key.single().and_then(|key| table.column(key)).is_some_and(|column| column.is_chosen);
    if is_chosen && table.reuses_keys && dataset.birth.is_empty() {
        let why = "SQLite hands the key of a deleted last row out again: without `birth` such a row counts as an edit of the deleted one";
        let next = "declare the key AUTOINCREMENT, or name columns that never change in `birth`".to_owned();
        find(Weight::Warning, "reused-key", "birth", why.to_owned(), Some(next));
    }
    if let [trigger, ..] = &table.triggers[..] {
        let why = format!(
            "the application's trigger {trigger} may change rows on write; what it makes of them is taken for an edit"
        );
        find(Weight::Note, "trigger", "table", why, None);
    }
    let is_mentioned = |column: &str| {
        dataset.fields.iter().chain(&dataset.never).any(|(name, field)| field.columns(name).contains(&column))
            || dataset.key.names().iter().any(|key| key == column)
            || dataset.scope.column.as_deref() == Some(column)
            || dataset.insert.contains_key(column)
    };
    let silent = table.columns.iter().map(|column| column.name.as_str()).filter(|column| !is_mentioned(column));
    let silent: Vec<&str> = silent.collect();
    if !silent.is_empty() {
        find(Weight::Note, "unmapped", "fields", format!("not mapped, so they stay home: {}", silent.join(", ")), None);
    }
}

fn goes(field: &Field) -> &str {
    field.scope.as_deref().unwrap_or("wherever its record goes")
}

/// Returns the dataset whose keys a plain field seems to hold: those that the database chooses, which differ everywhere.
fn sounds_like_key<'a>(mapping: &'a Mapping, name: &FieldName, field: &Field) -> Option<&'a DatasetName> {
    let column = field.single_column(name).filter(|_| field.kind == Some(Kind::Int))?;
    let is_it = |(_, other): &(&DatasetName, &Dataset)| words::names_row_of(column, &other.table);
    mapping.dataset.iter().find(is_it).map(|(name, _)| name)
}

/// Tells why no placeholder can be made where a reference wants one.
fn no_stand_in(mapping: &Mapping, field: &Field) -> Option<String> {
    let name = field.reference.as_ref().filter(|_| field.missing == Some(Missing::Stub))?;
    let parent = mapping.dataset.get(name)?;
    let needed: Vec<&str> = parent
        .fields
        .iter()
        .filter(|(_, field)| field.required && field.when.is_none())
        .map(|(name, _)| name.as_str())
        .collect();
    (!needed.is_empty())
        .then(|| format!("a placeholder of {name} needs other rows ({}), so it can't be made", needed.join(", ")))
}
