//! Which rows refer to a row, so that it can't be deleted: by what the database says, and by what the mapping says.

use super::bind::holds_text;
use super::plan::{FieldPlan, Plan, Plans, quote};
use super::reference::Turn;
use super::session::Session;
use crate::connector::catalogue::ForeignKey;

/// Queries for rows that refer to rows.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Guard {
    /// To one row; its key is the parameters.
    pub(super) one: String,
    /// To any of those whose keys are in a list; none where keys have several columns, or rows of the table may refer to each
    /// other.
    pub(super) some: Option<String>,
}

/// Returns queries for rows that refer to a row where the database wouldn't refuse at once to delete that: by foreign keys that
/// would take rows along, of whatever table, or that are checked too late for us, and by references that it knows nothing of.
pub(super) fn guards(plans: &[Plan], parent: usize, conn: &dyn Session, keys: &[ForeignKey]) -> Vec<Guard> {
    let plan = &plans[parent];
    let table = conn.fold(&plan.spec.table);
    let is_late = |key: &ForeignKey| key.is_deferred && !conn.checks_deferred();
    let to_it: Vec<&ForeignKey> = keys.iter().filter(|key| conn.fold(&key.parent) == table).collect();
    let wanted = to_it.iter().filter(|key| key.acts || is_late(key));
    let mut queries: Vec<Guard> = wanted.map(|key| referring(plan, conn, key)).collect();
    for child in plans {
        for (field, _) in child.refs().filter(|(_, reference)| reference.parent == parent) {
            let columns = folded(conn, child.fields[field].columns.0.iter().map(|column| column.name.as_str()));
            let is_declared = to_it.iter().any(|key| {
                conn.fold(&key.table) == conn.fold(&child.spec.table)
                    && folded(conn, key.columns.iter().map(String::as_str)) == columns
            });
            if !is_declared {
                queries.push(referring_by(plan, conn, child, field));
            }
        }
    }
    queries
}

/// Returns the queries for all rows that refer to a row, by a foreign key or by a reference of the mapping.
pub(super) fn all(plans: &Plans, parent: usize, conn: &dyn Session, keys: &[ForeignKey]) -> Vec<String> {
    let plan = &plans.list[parent];
    let table = conn.fold(&plan.spec.table);
    let declared = keys.iter().filter(|key| conn.fold(&key.parent) == table).map(|key| referring(plan, conn, key));
    let mut queries: Vec<Guard> = declared.collect();
    for child in &plans.list {
        let refs = child.refs().filter(|(_, reference)| reference.parent == parent);
        queries.extend(refs.map(|(field, _)| referring_by(plan, conn, child, field)));
    }
    queries.sort();
    queries.dedup();
    queries.into_iter().map(|guard| guard.one).collect()
}

/// Returns the queries for rows that refer by a foreign key to rows of the plan's.
fn referring(plan: &Plan, conn: &dyn Session, key: &ForeignKey) -> Guard {
    let primary: Vec<String> = plan.key.0.iter().map(|column| column.name.clone()).collect();
    let to = if key.parent_columns.is_empty() { &primary } else { &key.parent_columns };
    let tests = key.columns.iter().zip(to).map(|(from, to)| format!("c.{} = t.{}", quote(from), quote(to))).collect();
    query(plan, conn, &key.table, tests)
}

/// Returns such queries for rows that refer to them by a field.
fn referring_by(plan: &Plan, conn: &dyn Session, child: &Plan, field: usize) -> Guard {
    let field = &child.fields[field];
    // A text is only equal to a text.
    let is_text = field.declared != plan.key_declared && holds_text(conn, &field.declared);
    let to = plan.key.0.iter().map(|column| match is_text {
        true => format!("CAST(t.{} AS TEXT)", quote(&column.name)),
        false => format!("t.{}", quote(&column.name)),
    });
    let from = field.columns.0.iter().map(|column| format!("c.{}", quote(&column.name)));
    let mut tests: Vec<String> = from.zip(to).map(|(from, to)| format!("{from} = {to}")).collect();
    tests.extend(turns(child, field));
    query(plan, conn, &child.spec.table, tests)
}

/// Spells in which rows a column is a field.
fn turns(plan: &Plan, field: &FieldPlan) -> Vec<String> {
    let spell = |value: &String| format!("'{}'", value.replace('\'', "''"));
    let test = |turn: &Turn| {
        let column = &plan.fields[turn.field].columns.0[0].name;
        let values: Vec<String> = turn.values.iter().map(spell).collect();
        let among = format!("coalesce(CAST(c.{} AS TEXT) IN ({}), FALSE)", quote(column), values.join(", "));
        if turn.wanted { among } else { format!("NOT {among}") }
    };
    field.turns.iter().map(test).collect()
}

fn query(plan: &Plan, conn: &dyn Session, from: &str, mut tests: Vec<String>) -> Guard {
    let is_own = conn.fold(from) == conn.fold(&plan.spec.table);
    if is_own {
        // A row that refers to itself goes with itself.
        let same = plan.key.0.iter().map(|column| format!("c.{0} = t.{0}", quote(&column.name)));
        tests.push(format!("NOT ({})", same.collect::<Vec<_>>().join(" AND ")));
    }
    let (tests, to, from) = (tests.join(" AND "), conn.table(&plan.spec.table), conn.table(from));
    let spell = |test: &str| format!("SELECT 1 FROM {to} t, {from} c WHERE {tests} AND {test} LIMIT 1");
    let key = plan.key.single().filter(|_| !is_own);
    Guard {
        one: spell(&plan.key.test_of(conn, "t.", 1)),
        some: key.map(|key| spell(&conn.among(&format!("t.{}", quote(&key.name)), key.is_integer, "?1"))),
    }
}

fn folded<'a>(conn: &dyn Session, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut names: Vec<String> = names.map(|name| conn.fold(name)).collect();
    names.sort();
    names
}
