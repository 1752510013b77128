//! Which tables take part in a proposed mapping, by which key, and what their foreign keys refer to.

use std::collections::BTreeMap;

use super::kinds;
use super::{note, warning};
use crate::connector::catalogue::{Column, ForeignKey, Table, TableKind};
use crate::connector::mapping::finding::Finding;
use crate::connector::mapping::words;
use crate::id::name::DatasetName;
use crate::record::codec::FIELDS_MAX;
use crate::record::fieldtype::Kind;

/// A table that takes part.
#[derive(Debug, Clone)]
pub(super) struct Chosen<'a> {
    pub(super) table: &'a Table,
    pub(super) name: DatasetName,
    /// The columns of its key.
    pub(super) key: Vec<&'a str>,
    /// Its foreign keys to tables that take part.
    pub(super) links: Vec<Link<'a>>,
}

/// A foreign key to a table that takes part.
#[derive(Debug, Clone)]
pub(super) struct Link<'a> {
    /// Its columns, in the order of the key that they refer to.
    pub(super) columns: Vec<&'a str>,
    /// The index of the table.
    pub(super) parent: usize,
    /// Whether the database can check it late.
    pub(super) is_deferrable: bool,
}

/// Chooses the tables, and says why the others don't take part.
pub(super) fn choose<'a>(tables: &'a [Table], findings: &mut Vec<Finding>) -> Vec<Chosen<'a>> {
    let mut chosen: Vec<Chosen<'a>> = Vec::new();
    for table in tables {
        match key_of(table) {
            Ok(key) => {
                let name = dataset_name(&table.name, &chosen);
                chosen.push(Chosen { table, name, key, links: Vec::new() });
            }
            Err(finding) => findings.push(*finding),
        }
    }
    // A table that can't do without one that takes no part takes none either, and so on.
    while let Some(at) = chosen.iter().position(|candidate| lacking(candidate, &chosen).is_some()) {
        let why = lacking(&chosen[at], &chosen).expect("it was found just above");
        findings.push(unsupported(&chosen[at], &why));
        chosen.remove(at);
    }
    while let Some(circle) = closed(&chosen) {
        let names: Vec<&str> = circle.iter().map(|at| chosen[*at].table.name.as_str()).collect();
        let finding = warning(
            "circle",
            chosen[circle[0]].table.name.clone(),
            format!("left out: in the circle {} each row needs another to be there first", names.join(" → ")),
        );
        findings.push(finding.next("let the column of one of these foreign keys be NULL, or the key be deferrable"));
        chosen.remove(circle[0]);
        while let Some(at) = chosen.iter().position(|candidate| lacking(candidate, &chosen).is_some()) {
            let why = lacking(&chosen[at], &chosen).expect("it was found just above");
            findings.push(unsupported(&chosen[at], &why));
            chosen.remove(at);
        }
    }
    let links: Vec<Vec<Link<'a>>> = chosen.iter().map(|candidate| links(candidate.table, &chosen)).collect();
    for (candidate, links) in chosen.iter_mut().zip(links) {
        candidate.links = links;
    }
    chosen
}

/// Returns the key by which a table takes part, or why it doesn't.
fn key_of(table: &Table) -> Result<Vec<&str>, Box<Finding>> {
    let out = |kind, why: &str| Err(Box::new(note(kind, &table.name, format!("left out: {why}"))));
    match table.kind {
        TableKind::View => return out("view", "a view shows rows of other tables"),
        TableKind::Foreign => return out("foreign", "its rows are kept by a module or another server"),
        TableKind::Table => {}
    }
    if let Some(why) = words::chore(&table.name) {
        return out("chore", why);
    }
    if table.columns.len() > FIELDS_MAX {
        let why = format!("it has {} columns, and a record has at most {FIELDS_MAX} fields", table.columns.len());
        return out("wide", &why);
    }
    let can_be = |name: &&str| {
        let column = table.column(name).expect("a table's key is of its columns");
        let kind = if column.is_known { kinds::kind(&column.declared) } else { None };
        matches!(kind, Some(Kind::Text | Kind::Int)) && !column.is_generated
    };
    let travels = |column: &Column| {
        let is_open = !column.is_generated && !column.is_chosen && words::sound(&column.name).is_none();
        let is_linked = table.keys.iter().any(|key| key.columns.contains(&column.name));
        is_open && (is_linked || column.is_known && kinds::kind(&column.declared).is_some())
    };
    if !table.columns.iter().any(travels) {
        return out("nothing", "nothing in it can travel");
    }
    let primary = table.primary_key();
    if !primary.is_empty() {
        if let Some(name) = primary.iter().find(|name| !can_be(name)) {
            let why = format!("keys like {name} can't be mapped, only integers and texts");
            let finding = warning("key-type", &table.name, format!("left out: {why}"));
            return Err(Box::new(finding.next("make the key an integer or a text")));
        }
        return Ok(primary);
    }
    let sets = table.unique.iter().map(|set| set.iter().map(String::as_str).collect::<Vec<_>>());
    let mut sets: Vec<Vec<&str>> = sets.filter(|set| set.iter().all(can_be)).collect();
    let nullable =
        |set: &Vec<&str>| set.iter().filter(|name| table.column(name).is_some_and(|column| !column.not_null)).count();
    sets.sort_by_key(|set| (nullable(set), set.len()));
    match sets.into_iter().next() {
        Some(set) => Ok(set),
        None => {
            let finding =
                warning("no-key", &table.name, "left out: it has no primary key, and nothing in it is unique");
            Err(Box::new(finding.next("give it a primary key, or a unique index on columns that name a row")))
        }
    }
}

/// Says that a table can't do without one that takes no part.
fn unsupported(candidate: &Chosen<'_>, why: &str) -> Finding {
    warning("reference", &candidate.table.name, format!("left out: {why}"))
        .next("map that table too, or give the column a constant in `insert`")
}

/// Tells what a table needs that takes no part.
fn lacking(candidate: &Chosen<'_>, chosen: &[Chosen<'_>]) -> Option<String> {
    let table = candidate.table;
    let is_needed =
        |name: &String| candidate.key.contains(&name.as_str()) || table.column(name).is_some_and(needs_value);
    let needed = table.keys.iter().filter(|key| key.columns.iter().all(is_needed));
    needed.filter(|key| parent(key, chosen).is_none()).map(|key| unlinked(key, chosen)).next()
}

/// Says why a foreign key is no link.
fn unlinked(key: &ForeignKey, chosen: &[Chosen<'_>]) -> String {
    let columns = key.columns.join(", ");
    match chosen.iter().find(|other| other.table.name.eq_ignore_ascii_case(&key.parent)) {
        None => format!("{columns} refers to {}, which takes no part", key.parent),
        Some(other) => {
            format!("{columns} refers to {} by something else than its key ({})", key.parent, other.key.join(", "))
        }
    }
}

/// Tells why a column that refers to another row is none that could travel: the value alone means another row elsewhere.
pub(super) fn stray(chosen: &[Chosen<'_>], index: usize, column: &str) -> Option<String> {
    let Chosen { table, key, links, .. } = &chosen[index];
    let is_linked = |columns: &[String]| {
        links.iter().any(|link| {
            link.columns.len() == columns.len() && link.columns.iter().all(|of| columns.iter().any(|known| known == of))
        })
    };
    let of_it = || table.keys.iter().filter(|foreign| foreign.columns.iter().any(|known| known == column));
    if key.contains(&column) || of_it().any(|foreign| is_linked(&foreign.columns)) {
        return None;
    }
    of_it().next().map(|foreign| unlinked(foreign, chosen))
}

/// Tells whether a new row can't do without a value for a column.
pub(super) fn needs_value(column: &Column) -> bool {
    column.not_null && !column.has_default
}

/// Finds the table that a foreign key refers to by its key.
fn parent(key: &ForeignKey, chosen: &[Chosen<'_>]) -> Option<usize> {
    let at = chosen.iter().position(|other| other.table.name.eq_ignore_ascii_case(&key.parent))?;
    let (wanted, found) = (&chosen[at].key, &key.parent_columns);
    let has = |name: &&str| found.iter().any(|column| column.eq_ignore_ascii_case(name));
    let is_key = match found.is_empty() {
        true => chosen[at].table.primary_key() == *wanted && key.columns.len() == wanted.len(),
        false => found.len() == wanted.len() && wanted.iter().all(has),
    };
    is_key.then_some(at)
}

fn links<'a>(table: &'a Table, chosen: &[Chosen<'a>]) -> Vec<Link<'a>> {
    let link = |key: &'a ForeignKey| {
        let parent = parent(key, chosen)?;
        let column = |name: &&str| {
            let at = key.parent_columns.iter().position(|column| column.eq_ignore_ascii_case(name));
            let at = at.or_else(|| chosen[parent].key.iter().position(|known| known == name))?;
            key.columns.get(at).map(String::as_str)
        };
        let columns: Vec<&str> = chosen[parent].key.iter().map(column).collect::<Option<_>>()?;
        Some(Link { columns, parent, is_deferrable: key.is_deferrable })
    };
    let mut links: Vec<Link<'a>> = table.keys.iter().filter_map(link).collect();
    // The same columns may be declared to refer twice, or to several tables: the first counts.
    let mut seen: Vec<Vec<&str>> = Vec::new();
    links.retain(|link| {
        let is_new = !seen.contains(&link.columns);
        seen.push(link.columns.clone());
        is_new
    });
    links
}

/// Finds a circle of foreign keys none of which can be left open at first.
fn closed(chosen: &[Chosen<'_>]) -> Option<Vec<usize>> {
    let next = |at: usize| -> Vec<usize> {
        let Chosen { table, key, .. } = &chosen[at];
        let is_needed = |name: &&str| key.contains(name) || table.column(name).is_some_and(|column| column.not_null);
        let is_closed = |link: &Link<'_>| link.columns.iter().all(is_needed);
        let links = links(table, chosen);
        links
            .iter()
            .filter(|link| link.parent != at && !link.is_deferrable && is_closed(link))
            .map(|link| link.parent)
            .collect()
    };
    fn search(
        at: usize,
        goal: usize,
        next: &dyn Fn(usize) -> Vec<usize>,
        way: &mut Vec<usize>,
        seen: &mut Vec<usize>,
    ) -> bool {
        for parent in next(at) {
            if parent == goal {
                return true;
            }
            if !seen.contains(&parent) {
                seen.push(parent);
                way.push(parent);
                if search(parent, goal, next, way, seen) {
                    return true;
                }
                way.pop();
            }
        }
        false
    }
    (0..chosen.len()).find_map(|start| {
        let mut way = vec![start];
        search(start, start, &next, &mut way, &mut Vec::new()).then_some(way)
    })
}

/// Makes a dataset's name of a table's.
fn dataset_name(table: &str, taken: &[Chosen<'_>]) -> DatasetName {
    let plain: String = table
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '_' })
        .skip_while(|c| !c.is_ascii_lowercase())
        .take(56)
        .collect();
    let plain = if plain.is_empty() { "table".to_owned() } else { plain };
    let taken: BTreeMap<&str, ()> = taken.iter().map(|other| (other.name.as_str(), ())).collect();
    let numbered = (2..).map(|number| format!("{plain}_{number}"));
    let name = std::iter::once(plain.clone()).chain(numbered).find(|name| !taken.contains_key(name.as_str()));
    DatasetName::new(&name.expect("numbers don't end")).expect("it was made to fit")
}
