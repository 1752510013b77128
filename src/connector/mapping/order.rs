//! In which order datasets are read and written: those referred to before those that refer to them.
//!
//! Datasets that refer to each other, or to themselves, are a circle. Its rows can only be written if one of its
//! references can be left open at first: shown as NULL, or standing on a placeholder.

use std::collections::BTreeSet;

use super::model::{Dataset, Mapping, Missing};
use crate::id::name::DatasetName;

/// Datasets that lie in no circle, alone, or all those of one circle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The datasets, those whose rows need fewer others first.
    pub datasets: Vec<DatasetName>,
    /// Whether they refer to each other, or the only one to itself.
    pub is_circle: bool,
}

/// Returns the datasets in groups, those referred to before those that refer to them.
pub fn groups(mapping: &Mapping) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut done: BTreeSet<&DatasetName> = BTreeSet::new();
    while done.len() < mapping.dataset.len() {
        let next = mapping.dataset.keys().filter(|name| !done.contains(name)).find_map(|name| {
            let circle = circle_of(mapping, name);
            let is_ready = circle
                .iter()
                .flat_map(|name| parents(&mapping.dataset[*name]))
                .all(|parent| done.contains(parent) || circle.contains(parent));
            is_ready.then_some(circle)
        });
        let circle = next.expect("outside of circles nothing is its own ancestor");
        let is_circle =
            circle.iter().any(|name| parents(&mapping.dataset[*name]).any(|parent| circle.contains(parent)));
        done.extend(&circle);
        groups.push(Group { datasets: within(mapping, circle), is_circle });
    }
    groups
}

/// Returns the datasets of a circle in which every row waits for another for ever; `is_open` tells of a reference
/// whether its row can be written before the one that it refers to.
pub fn closed_circle(
    mapping: &Mapping,
    is_open: impl Fn(&DatasetName, &crate::id::name::FieldName) -> bool,
) -> Option<Vec<DatasetName>> {
    let closed = |name: &DatasetName| -> Vec<&DatasetName> {
        let fields = mapping.dataset[name].fields.iter();
        let waits = fields.filter(|(field, _)| !is_open(name, field)).filter_map(|(_, field)| field.reference.as_ref());
        // Rows that refer to rows of the same table have an order of their own.
        waits.filter(|parent| *parent != name).collect()
    };
    mapping.dataset.keys().find_map(|start| {
        let mut way = vec![start.clone()];
        let mut seen = BTreeSet::new();
        search(start, start, &closed, &mut seen, &mut way).then_some(way)
    })
}

fn search<'a>(
    at: &'a DatasetName,
    goal: &DatasetName,
    next: &dyn Fn(&DatasetName) -> Vec<&'a DatasetName>,
    seen: &mut BTreeSet<&'a DatasetName>,
    way: &mut Vec<DatasetName>,
) -> bool {
    for parent in next(at) {
        if parent == goal {
            return true;
        }
        if seen.insert(parent) {
            way.push(parent.clone());
            if search(parent, goal, next, seen, way) {
                return true;
            }
            way.pop();
        }
    }
    false
}

fn parents(dataset: &Dataset) -> impl Iterator<Item = &DatasetName> {
    dataset.fields.values().filter_map(|field| field.reference.as_ref())
}

/// Returns the datasets that a dataset refers to, by whatever way, and that refer to it; itself too.
fn circle_of<'a>(mapping: &'a Mapping, name: &'a DatasetName) -> BTreeSet<&'a DatasetName> {
    let ancestors = ancestors(mapping, name);
    let back = |other: &&&DatasetName| ancestors_contain(mapping, other, name);
    ancestors.iter().filter(back).copied().chain([name]).collect()
}

fn ancestors_contain(mapping: &Mapping, of: &DatasetName, wanted: &DatasetName) -> bool {
    ancestors(mapping, of).contains(wanted)
}

fn ancestors<'a>(mapping: &'a Mapping, name: &DatasetName) -> BTreeSet<&'a DatasetName> {
    let mut found = BTreeSet::new();
    let mut rest: Vec<&DatasetName> = parents(&mapping.dataset[name]).collect();
    while let Some(parent) = rest.pop() {
        if found.insert(parent) {
            rest.extend(parents(&mapping.dataset[parent]));
        }
    }
    found
}

/// Orders the datasets of a circle: next is always one whose rows wait for the least.
fn within(mapping: &Mapping, mut circle: BTreeSet<&DatasetName>) -> Vec<DatasetName> {
    let mut ordered = Vec::new();
    while !circle.is_empty() {
        let waits = |name: &DatasetName| {
            let fields = mapping.dataset[name].fields.values();
            let open = fields.filter(|field| {
                field.reference.as_ref().is_some_and(|parent| parent != name && circle.contains(parent))
            });
            open.map(|field| match field.missing {
                Some(Missing::Null) => 1,
                Some(Missing::Stub) => 2,
                Some(Missing::Park) | None => 100,
            })
            .sum::<u32>()
        };
        let next = *circle.iter().min_by_key(|name| waits(name)).expect("it isn't empty");
        circle.remove(next);
        ordered.push(next.clone());
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(references: &[(&str, &[(&str, &str)])]) -> Mapping {
        let mut text = String::new();
        for (name, fields) in references {
            text += &format!(
                "[dataset.{name}]\ntable = '{name}'\nkey = 'id'\nscope = {{ constant = 'public' }}\nfields.x = {{ type = 'text' }}\n"
            );
            for (at, (parent, missing)) in fields.iter().enumerate() {
                text += &format!("fields.r{at} = {{ ref = '{parent}', missing = '{missing}' }}\n");
            }
        }
        Mapping::parse(&text, "test").unwrap()
    }

    fn shown(mapping: &Mapping) -> String {
        let group = |group: Group| {
            let names: Vec<String> = group.datasets.iter().map(ToString::to_string).collect();
            if group.is_circle { format!("({})", names.join(" ")) } else { names.join(" ") }
        };
        groups(mapping).into_iter().map(group).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn circles_stay_together_behind_what_they_refer_to() {
        assert_eq!(shown(&mapping(&[("a", &[("b", "park")]), ("b", &[("c", "park")]), ("c", &[])])), "c b a");
        let tree = mapping(&[("notes", &[("notes", "park"), ("users", "stub")]), ("users", &[])]);
        assert_eq!(shown(&tree), "users (notes)");
        let pair =
            [("posts", &[("images", "null"), ("users", "park")][..]), ("images", &[("posts", "park")]), ("users", &[])];
        assert_eq!(shown(&mapping(&pair)), "users (posts images)");
        let after = mapping(&[("likes", &[("posts", "park")]), pair[0], pair[1], pair[2]]);
        assert_eq!(shown(&after), "users (posts images) likes");
    }

    #[test]
    fn a_circle_is_closed_if_no_reference_can_be_left_open() {
        let open = |mapping: &Mapping| {
            closed_circle(mapping, |name, field| mapping.dataset[name].fields[field].missing == Some(Missing::Null))
        };
        let three = mapping(&[("a", &[("b", "park")]), ("b", &[("c", "park")]), ("c", &[("a", "park")])]);
        assert_eq!(open(&three).unwrap().len(), 3);
        let three = mapping(&[("a", &[("b", "park")]), ("b", &[("c", "null")]), ("c", &[("a", "park")])]);
        assert_eq!(open(&three), None);
        assert_eq!(open(&mapping(&[("a", &[("a", "park")])])), None, "a tree has roots");
    }
}
