//! What becomes of the columns of one table: a field, a reference, a constant, or nothing.

use std::collections::BTreeMap;

use super::guess::guess;
use super::tables::{Chosen, Link, needs_value, stray};
use super::{kinds, note, warning};
use crate::connector::catalogue::{Column, Seen};
use crate::connector::mapping::finding::Finding;
use crate::connector::mapping::words::{self, Sound};
use crate::id::name::DatasetName;
use crate::record::fieldtype::Kind;

/// A dataset as it is proposed.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) name: DatasetName,
    pub(super) table: String,
    pub(super) key: Vec<String>,
    /// Whether the database chooses the key.
    pub(super) is_chosen: bool,
    pub(super) birth: Option<String>,
    pub(super) soft_delete: Option<String>,
    /// The references whose audience the rows have; none: they are private.
    pub(super) parents: Vec<String>,
    /// A column that seems to say for whom a row is meant.
    pub(super) audience: Option<String>,
    pub(super) fields: Vec<Field>,
    pub(super) unique: Vec<Vec<String>>,
    pub(super) same: Vec<String>,
    pub(super) alias: Option<String>,
    /// By column, a constant in TOML and why.
    pub(super) insert: Vec<(String, String, String)>,
    /// By field, a constant in TOML.
    pub(super) stub: Vec<(String, String)>,
    /// The columns that are left out, and why.
    pub(super) left: Vec<(String, String)>,
}

/// A field.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) columns: Vec<String>,
    pub(super) holds: Holds,
    pub(super) is_never: bool,
    pub(super) why: Option<String>,
}

/// What it holds.
#[derive(Debug)]
pub(super) enum Holds {
    Value(Kind),
    Ref { parent: DatasetName, missing: &'static str, required: bool, author: bool },
}

/// Drafts the dataset of a table.
pub(super) fn draft(chosen: &[Chosen<'_>], index: usize, findings: &mut Vec<Finding>) -> Draft {
    let Chosen { table, name, key, links } = &chosen[index];
    let single = |link: &&Link<'_>| link.columns.len() == 1;
    let is_chosen = key.len() == 1 && table.column(key[0]).is_some_and(|column| column.is_chosen);
    let mut draft = Draft {
        name: name.clone(),
        table: table.name.clone(),
        key: key.iter().map(|name| (*name).to_owned()).collect(),
        is_chosen,
        birth: None,
        soft_delete: None,
        parents: Vec::new(),
        audience: None,
        fields: Vec::new(),
        unique: Vec::new(),
        same: Vec::new(),
        alias: None,
        insert: Vec::new(),
        stub: Vec::new(),
        left: Vec::new(),
    };
    for column in &table.columns {
        let is_key = key.contains(&column.name.as_str());
        let link = links.iter().find(|link| single(link) && link.columns[0] == column.name);
        let in_several =
            links.iter().any(|link| link.columns.len() > 1 && link.columns.contains(&column.name.as_str()));
        match link {
            Some(link) => draft.refer(chosen, index, link, column),
            None if in_several => {}
            None if is_key && is_chosen => {}
            None if let Some(why) = stray(chosen, index, &column.name) => draft.leave_stray(column, &why, findings),
            None => match guess(chosen, index, column).filter(|_| column.is_known && !column.is_generated) {
                Some(guess) => draft.suppose(chosen, index, (guess, column), findings),
                None => draft.take(column, is_key, findings),
            },
        }
    }
    for link in links.iter().filter(|link| link.columns.len() > 1) {
        let column = table.column(link.columns[0]).expect("a foreign key is of the table's columns");
        draft.refer(chosen, index, link, column);
    }
    draft.birth = (table.columns.iter())
        .find(|column| words::is_birth(&column.name) && column.not_null && draft.field_of(&column.name).is_some())
        .map(|column| column.name.clone());
    if is_chosen && table.reuses_keys && draft.birth.is_none() {
        let why = "SQLite hands the key of a deleted last row out again, and no column says when a row was made: \
                   such a row counts as an edit of the deleted one";
        findings.push(
            warning("reused-key", &table.name, why)
                .next("declare the key AUTOINCREMENT, or name columns that never change in `birth`"),
        );
    }
    draft.soft_delete = (table.columns.iter())
        .find(|column| words::is_deletion(&column.name) && !column.not_null)
        .map(|column| column.name.clone());
    draft.audience =
        table.columns.iter().find(|column| words::is_audience(&column.name)).map(|column| column.name.clone());
    draft.name_what_is_unique(chosen, index, findings);
    draft.stand_in(chosen, index);
    if let [trigger, ..] = &table.triggers[..] {
        let why = format!(
            "the application's trigger {trigger} may change rows on write; what it makes of them is taken for an edit"
        );
        findings.push(
            note("trigger", &table.name, why).next("see that it makes the same of the same row on every instance"),
        );
    }
    // Rows that only tie others together are for whom those are.
    let is_value = |field: &&Field| matches!(field.holds, Holds::Value(_)) && !draft.is_time(field);
    if draft.fields.iter().filter(is_value).count() == 0 {
        draft.parents =
            draft.fields.iter().filter(|field| field.is_required()).map(|field| field.name.clone()).collect();
    }
    draft
}

impl Field {
    fn is_required(&self) -> bool {
        matches!(self.holds, Holds::Ref { required: true, .. })
    }
}

impl Draft {
    fn field_of(&self, column: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.columns == [column] && !field.is_never)
    }

    fn is_time(&self, field: &Field) -> bool {
        matches!(field.holds, Holds::Value(Kind::Timestamp))
    }

    /// Makes a field of a foreign key.
    pub(super) fn refer(&mut self, chosen: &[Chosen<'_>], index: usize, link: &Link<'_>, column: &Column) {
        let parent = &chosen[link.parent];
        let table = chosen[index].table;
        // SQLite lets NULL into most keys; a row whose key is NULL is none that could be found again.
        let can_be_null = |name: &&str| table.column(name).is_some_and(|column| !column.not_null);
        let is_open = link.columns.iter().any(|name| can_be_null(name) && !chosen[index].key.contains(name));
        let people = words::are_people(&parent.table.name) && can_stand_in(parent);
        let author = words::are_people(&parent.table.name) && words::speaks(&column.name) && link.parent != index;
        let (missing, required, why) = match (link.parent == index, is_open, people) {
            (true, true, _) => ("park", true, "a tree: a row is for nobody whom the one above it isn't for"),
            (_, false, true) => ("stub", false, "a placeholder stands for somebody who isn't shared"),
            (_, true, true) if author => ("stub", false, "a placeholder stands for somebody who isn't shared"),
            (_, false, false) => ("park", true, "it waits for that row, and is for nobody whom that isn't for"),
            (_, true, _) => ("null", false, "NULL until that row is here"),
        };
        let base = match link.columns[..] {
            [only] => stem(only, parent.key[0]),
            _ => parent.name.as_str().to_owned(),
        };
        let holds = Holds::Ref { parent: parent.name.clone(), missing, required, author };
        let columns = link.columns.iter().map(|name| (*name).to_owned()).collect();
        let name = self.free_name(&base, link.columns[0]);
        self.fields.push(Field { name, columns, holds, is_never: false, why: Some(why.to_owned()) });
    }

    /// Leaves a column out; where new rows can't do without it they get a constant.
    pub(super) fn left_out(&mut self, column: &Column, why: &str) {
        let mut why = why.to_owned();
        if needs_value(column) {
            let value = closed_value(column, kinds::kind(&column.declared));
            why = format!("{why}; rows of others get {value}");
            self.insert.push((column.name.clone(), value, format!("{} stays home", column.name)));
        }
        self.left.push((column.name.clone(), why));
    }

    /// Leaves out a column that refers to a row of a table that takes no part.
    fn leave_stray(&mut self, column: &Column, why: &str, findings: &mut Vec<Finding>) {
        self.left_out(column, why);
        let at = format!("{}.{}", self.table, column.name);
        let next = "map that table too, or the column as a plain value if that means the same on every instance";
        findings.push(warning("reference", at, format!("left out: {why}")).next(next));
    }

    /// Makes a field of a plain column, or says why not.
    fn take(&mut self, column: &Column, is_key: bool, findings: &mut Vec<Finding>) {
        let at = format!("{}.{}", self.table, column.name);
        let kind = if column.is_known { kinds::kind(&column.declared) } else { None };
        let kind = kind.map(|kind| if is_key { kind } else { by_values(column, kind, &at, findings) });
        if column.is_generated {
            self.left.push((column.name.clone(), "the database computes it".into()));
            findings.push(note("generated", at, "left out: the database computes it"));
            return;
        }
        if let (Some(Sound::Secret(what)), false) = (words::sound(&column.name), is_key) {
            let mut why = format!("it sounds like a {what}");
            if needs_value(column) {
                let value = closed_value(column, kind);
                why = format!("{why}; rows of others get {value}, which opens nothing");
                self.insert.push((column.name.clone(), value, format!("{} stays home", column.name)));
            }
            findings.push(
                note("secret", at, format!("left out: {why}")).next("map it as a field only if it is meant for others"),
            );
            self.left.push((column.name.clone(), why));
            return;
        }
        let Some(kind) = kind else {
            let declared = if column.declared.is_empty() { "no type" } else { &column.declared };
            let mut why = format!("values of {declared} can't travel");
            if needs_value(column) {
                let value = if column.declared.ends_with("[]") { "\"{}\"" } else { "\"\"" };
                why = format!("{why}; rows of others get {value}");
                self.insert.push((column.name.clone(), value.into(), why.clone()));
            }
            let name = &column.name;
            let next = match column.is_known {
                true => format!("map it as what the application keeps in it, such as `{name} = {{ type = \"text\" }}`"),
                false => "no type of a field fits it; what is to be shared of it has to be in a column of text".into(),
            };
            findings.push(warning("type", at, format!("left out: {why}")).next(next));
            self.left.push((column.name.clone(), why));
            return;
        };
        let sound = words::sound(&column.name);
        let is_never = matches!(sound, Some(Sound::Personal(_))) && !is_key;
        let why = sound.filter(|_| is_never).map(|sound| format!("stays home: it sounds like a {}", sound.what()));
        if let Some(why) = &why {
            findings.push(
                note("personal", at, why)
                    .next("give its field `scope = \"trusted\"`, or none, if it is meant for others"),
            );
            if needs_value(column) {
                let value = closed_value(column, Some(kind));
                self.insert.push((column.name.clone(), value, "it stays home".into()));
            }
        }
        let name = self.free_name(&column.name, &column.name);
        self.fields.push(Field { name, columns: vec![column.name.clone()], holds: Holds::Value(kind), is_never, why });
    }

    /// Names the sets of fields that are unique, and what happens to equal values.
    fn name_what_is_unique(&mut self, chosen: &[Chosen<'_>], index: usize, findings: &mut Vec<Finding>) {
        let Chosen { table, key, .. } = &chosen[index];
        let mut sets: Vec<Vec<&str>> =
            table.unique.iter().map(|set| set.iter().map(String::as_str).collect()).collect();
        if !self.is_chosen && !sets.contains(key) {
            sets.insert(0, key.clone());
        }
        for set in sets {
            let field = |column: &&str| {
                let of = |field: &&Field| field.columns.iter().any(|known| known == column) && !field.is_never;
                // Of several fields that share a column the one that has no other is meant.
                self.fields.iter().filter(of).min_by_key(|field| field.columns.len()).map(|field| field.name.clone())
            };
            let columns = set.join(", ");
            let is_made_up =
                |column: &&str| self.insert.iter().any(|(name, value, _)| name == column && value.contains("{id"));
            // What stays home and may be NULL is NULL in rows of others, and NULLs are never equal.
            let is_null = |name: &&str| {
                let stays =
                    !self.fields.iter().any(|field| !field.is_never && field.columns.iter().any(|known| known == name));
                let is_given = self.insert.iter().any(|(known, ..)| known == name);
                stays && !is_given && table.column(name).is_some_and(|column| !column.not_null && !column.has_default)
            };
            if set.iter().any(is_made_up) || set.iter().any(is_null) {
                continue;
            }
            let Some(mut fields) = set.iter().map(field).collect::<Option<Vec<String>>>() else {
                let why = format!(
                    "{columns} is unique, and not everything of it is mapped: a record waits where its row would be a second one"
                );
                findings.push(warning("unique", &table.name, why));
                continue;
            };
            fields.dedup();
            let refers = |name: &String| {
                self.fields.iter().any(|field| field.name == *name && matches!(field.holds, Holds::Ref { .. }))
            };
            let all_refer = fields.iter().all(refers);
            let is_text = fields.len() == 1
                && self
                    .fields
                    .iter()
                    .any(|field| field.name == fields[0] && matches!(field.holds, Holds::Value(Kind::Text)));
            let column = table.column(set[0]);
            let is_random = column.is_some_and(|column| column.declared.to_ascii_lowercase().contains("uuid"))
                || set[0].to_ascii_lowercase().ends_with("uuid")
                // A text that is called so is no name that people choose.
                || words::words(set[0]).last().is_some_and(|word| matches!(word.as_str(), "id" | "guid" | "ulid"));
            if self.same.is_empty() && (all_refer || is_text && words::are_vocabulary(&table.name)) {
                self.same.clone_from(&fields);
            } else if self.same.is_empty() && self.alias.is_none() && is_text && !is_random {
                self.alias = Some(fields[0].clone());
            } else if !is_random && self.same != fields {
                let why = format!("{columns} is unique: a record waits where a row here has the same");
                let next = format!("add `same = [{}]` if such rows mean the same thing", quoted_list(&fields));
                findings.push(note("unique", &table.name, why).next(next));
            }
            self.unique.push(fields);
        }
    }

    /// Says what a placeholder shows, if others refer to these rows.
    fn stand_in(&mut self, chosen: &[Chosen<'_>], index: usize) {
        let is_parent = chosen.iter().any(|other| other.links.iter().any(|link| link.parent == index));
        if !is_parent {
            return;
        }
        let table = chosen[index].table;
        for field in self.fields.iter().filter(|field| !field.is_never) {
            let Holds::Value(kind) = field.holds else { continue };
            let Some(column) = table.column(&field.columns[0]).filter(|column| column.not_null || column.primary > 0)
            else {
                continue;
            };
            let is_unique = self.unique.contains(&vec![field.name.clone()]);
            let word = if words::are_people(&self.table) { "member" } else { "gone" };
            let value = match kind {
                Kind::Text => match (stand_in_text(column, is_unique), is_unique) {
                    (Some(text), _) => format!("{text:?}"),
                    (None, true) => match kinds::length(&column.declared) {
                        Some(0..8) => continue,
                        Some(8..15) => "\"{id8}\"".into(),
                        _ => format!("\"{word}-{{id8}}\""),
                    },
                    (None, false) if words::are_people(&self.table) && column.name.to_lowercase().contains("name") => {
                        "\"member\"".into()
                    }
                    (None, false) => "\"\"".into(),
                },
                Kind::Int => "0".into(),
                Kind::Bool => "false".into(),
                Kind::Float => "0.0".into(),
                Kind::Timestamp => "\"{born}\"".into(),
                Kind::Json => "\"null\"".into(),
                Kind::List(_) => "\"[]\"".into(),
                Kind::Decimal => "\"0\"".into(),
                Kind::Bytes => continue,
            };
            self.stub.push((field.name.clone(), value));
        }
    }

    fn free_name(&self, base: &str, column: &str) -> String {
        let spell = |text: &str| -> String {
            text.chars()
                .map(|c| if c.is_ascii_alphanumeric() || c == '_' || c == '-' { c } else { '_' })
                .take(60)
                .collect()
        };
        let taken: BTreeMap<&str, ()> = self.fields.iter().map(|field| (field.name.as_str(), ())).collect();
        let names =
            [spell(base), spell(column)].into_iter().chain((2..).map(|number| format!("{}_{number}", spell(base))));
        names
            .into_iter()
            .find(|name| !name.is_empty() && !taken.contains_key(name.as_str()))
            .expect("numbers don't end")
    }
}

/// Returns what stands in for a text of a type that has only some.
fn stand_in_text(column: &Column, is_unique: bool) -> Option<String> {
    let declared = column.declared.to_ascii_lowercase();
    match declared.as_str() {
        _ if column.some_value.is_some() => column.some_value.clone(),
        "uuid" if is_unique || column.primary > 0 => Some("{id}".into()),
        "uuid" => Some("00000000-0000-0000-0000-000000000000".into()),
        "date" => Some("1970-01-01".into()),
        _ if declared.starts_with("time") => Some("00:00:00".into()),
        _ => None,
    }
}

fn quoted_list(names: &[String]) -> String {
    names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
}

/// Tells whether a placeholder can be made of a row: it needs no other row, and every value has a stand-in.
fn can_stand_in(chosen: &Chosen<'_>) -> bool {
    let is_needed = |column: &Column| column.not_null || column.primary > 0;
    let needs_row = |link: &Link<'_>| link.columns.iter().all(|name| chosen.table.column(name).is_some_and(is_needed));
    let has_stand_in = |column: &Column| match kinds::kind(&column.declared) {
        // What an enumeration doesn't have can't be made up.
        Some(Kind::Bytes) | None => !needs_value(column),
        Some(_) => !(needs_value(column) && column.declared.starts_with("enum ")),
    };
    !chosen.links.iter().any(needs_row) && chosen.table.columns.iter().all(has_stand_in)
}

/// Returns what a new row gets, in TOML, for a column that stays home and can't be NULL.
fn closed_value(column: &Column, kind: Option<Kind>) -> String {
    match kind {
        Some(Kind::Text) if let Some(text) = stand_in_text(column, false) => format!("{text:?}"),
        Some(Kind::Bool) => "false".into(),
        Some(Kind::Int) => "0".into(),
        Some(Kind::Float) => "0.0".into(),
        Some(Kind::Timestamp) => "\"{born}\"".into(),
        _ if column.name.to_lowercase().contains("mail") => "\"{id8}@example.invalid\"".into(),
        // Distinct, for the column may be unique, and the outcome of no hash.
        _ => "\"!{id}\"".into(),
    }
}

/// Cuts the end off that says that a column holds a key.
fn stem(column: &str, key: &str) -> String {
    let key = format!("_{key}");
    let ends = [key.as_str(), "_id", "_uuid", "_key", "Id", "ID"];
    let end = ends.into_iter().find(|end| column.ends_with(end) && column.len() > end.len());
    end.map_or(column, |end| &column[..column.len() - end.len()]).to_owned()
}

/// Returns the kind that the values of a column have, which may be another than its declared type says.
fn by_values(column: &Column, declared: Kind, at: &str, findings: &mut Vec<Finding>) -> Kind {
    let words = &column.declared;
    match column.seen {
        None => declared,
        Some(Seen::Every { kind, count }) => {
            let why =
                format!("mapped as {kind}, as all {count} values that were looked at are; it is declared as {words}");
            findings.push(note("values", at, why).next("every instance has to map it so"));
            kind
        }
        Some(Seen::Various { wrong, count }) => {
            let why = format!("{wrong} of {count} values that were looked at aren't what {words} stands for");
            let next =
                "let the application write all of them in one way: others get another spelling, or let them wait";
            findings.push(warning("values", at, why).next(next));
            declared
        }
    }
}
