//! References that a database doesn't declare, as the names of columns tell them. A guess is proposed with the reason beside it.

use super::dataset::{Draft, Field, Holds};
use super::tables::{Chosen, Link};
use super::{kinds, note, warning};
use crate::connector::catalogue::Column;
use crate::connector::mapping::finding::Finding;
use crate::connector::mapping::words;

/// What a column seems to hold.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Guess {
    /// The key of a row of this table, by its index.
    Row(usize),
    /// The key of a row of whatever table another column names.
    Any(String),
}

/// Guesses what a column without a foreign key refers to.
pub(super) fn guess(chosen: &[Chosen<'_>], index: usize, column: &Column) -> Option<Guess> {
    let Chosen { table, key, .. } = &chosen[index];
    if key.contains(&column.name.as_str()) {
        return None;
    }
    if let Some(by) = table.columns.iter().find(|other| words::names_type_of(&other.name, &column.name)) {
        return Some(Guess::Any(by.name.clone()));
    }
    let kind = kinds::kind(&column.declared)?;
    let holds_key = |other: &Chosen<'_>| {
        let key = other.table.column(other.key[0]);
        other.key.len() == 1 && key.is_some_and(|key| kinds::kind(&key.declared) == Some(kind))
    };
    let fits = |at: &usize| {
        let other = &chosen[*at];
        let is_it = words::names_row_of(&column.name, &other.table.name)
            || *at == index && words::names_row_of(&column.name, "parents");
        is_it && holds_key(other)
    };
    let parent = (0..chosen.len()).filter(fits).max_by_key(|at| chosen[*at].table.name.len())?;
    (!column.not_null || !leads_to(chosen, parent, index)).then_some(Guess::Row(parent))
}

/// Tells whether rows of one table need, by whatever way, rows of another to be there first.
fn leads_to(chosen: &[Chosen<'_>], from: usize, goal: usize) -> bool {
    let (mut seen, mut rest) = (Vec::new(), vec![from]);
    while let Some(at) = rest.pop() {
        if at == goal {
            return true;
        }
        if seen.contains(&at) {
            continue;
        }
        seen.push(at);
        let Chosen { table, links, .. } = &chosen[at];
        rest.extend(links.iter().map(|link| link.parent));
        // What could be guessed there counts, whether or not it will be.
        let named = |column: &Column| {
            (0..chosen.len()).find(|other| words::names_row_of(&column.name, &chosen[*other].table.name))
        };
        rest.extend(table.columns.iter().filter(|column| column.not_null).filter_map(named));
    }
    false
}

impl Draft {
    /// Makes a field of a guess, or leaves the column out.
    pub(super) fn suppose(
        &mut self,
        chosen: &[Chosen<'_>],
        index: usize,
        (guess, column): (Guess, &Column),
        findings: &mut Vec<Finding>,
    ) {
        let at = format!("{}.{}", self.table, column.name);
        match guess {
            Guess::Row(parent) => {
                let other = &chosen[parent].table.name;
                // The database checks nothing that it doesn't know.
                let link = Link { columns: vec![&column.name], parent, is_deferrable: true };
                self.refer(chosen, index, &link, column);
                let why = format!("no foreign key says that it refers to {other}, but its name does");
                let Some(Field { why: reason, holds: Holds::Ref { author, .. }, .. }) = self.fields.last_mut() else {
                    return;
                };
                // Whose words a row is rests on what the database itself says.
                *author = false;
                *reason = Some(reason.as_ref().map_or(why.clone(), |reason| format!("{why}; {reason}")));
                findings.push(
                    note("reference", at, why)
                        .next("if it isn't a key, write its `type` instead of `ref` and `missing`"),
                );
            }
            Guess::Any(by) => {
                let why = format!("it refers to rows of different tables, as {by} says");
                self.left_out(column, &why);
                findings.push(
                    warning("reference", at, format!("left out: {why}")).next(
                        "map one field with `ref` and `when` for each of them (docs/mapping.md, \"Columns that are different things\")",
                    ),
                );
            }
        }
    }
}
