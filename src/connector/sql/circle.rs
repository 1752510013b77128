//! Datasets that refer to each other, or to themselves: who their rows are and for whom they are meant has to be known
//! before the first of them can be looked at.
//!
//! Their rows are read twice. The first time each gets its record id, and the audience that it has without the others;
//! then they narrow each other until nothing changes.

use super::apart::{self, STAYS};
use super::books::Entry;
use super::capture::{Run, Stop};
use super::join::{Ids, Map};
use super::key::Key;
use super::look::{self, Caps, Decision, OWN, Parent};
use super::parents::Lookup;
use super::plan::Plan;
use super::raw::RawRef;
use super::session::{Row, Session, SqlError};
use crate::scope::audience::{Audience, Reason};

/// How often audiences are passed on along the references of a circle: then what isn't settled stays home.
const ROUNDS_MAX: usize = 10_000;

/// A row that is narrowed by rows of its circle.
struct Narrowed {
    dataset: usize,
    /// Its place in the list of its dataset.
    at: usize,
    by: Vec<Link>,
}

/// A reference to a row of the circle.
struct Link {
    dataset: usize,
    key: Key,
    /// Whether the row is meant for nobody that the other isn't meant for.
    caps: bool,
    /// Whether it speaks in the other's name.
    author: bool,
    not_null: bool,
}

/// Lists the rows of the datasets of a circle for `look`.
pub(super) fn learn(run: &mut Run<'_>, conn: &dyn Session, datasets: &[usize]) -> Result<(), Stop> {
    let mut narrowed = Vec::new();
    for dataset in datasets {
        list(run, conn, *dataset, &mut narrowed)?;
    }
    settle(run, narrowed);
    Ok(())
}

fn list(run: &mut Run<'_>, conn: &dyn Session, dataset: usize, narrowed: &mut Vec<Narrowed>) -> Result<(), Stop> {
    let (plans, books) = (run.plans, run.books);
    let plan = &plans.list[dataset];
    let overrides = books.overrides_in(conn, dataset, None)?;
    let mut map = Map::new(conn, books, dataset, plan.key.is_integer());
    let mut mapped = map.next()?;
    let mut ids = Ids::default();
    conn.scan_into(&plan.sql_scan, |row| -> Result<(), Stop> {
        let Some(key) = Key::of(row.raw(0)?) else { return Ok(()) };
        while mapped.as_ref().is_some_and(|entry| entry.key < key) {
            mapped = map.next()?;
        }
        let birth = look::birth(plan, row, &mut run.buffer)?;
        let entry = mapped.take_if(|entry| entry.key == key);
        if entry.is_some() {
            mapped = map.next()?;
        }
        let entry = entry.filter(|entry| entry.birth == birth);
        let parent = match &entry {
            Some(entry) if entry.origin != OWN || entry.is_stub() => {
                let flags = entry.flags & !STAYS | apart::flags(plan, row, entry)?;
                books.parent(&Entry { flags, ..entry.clone() })
            }
            entry => {
                let known = entry.as_ref().map(|entry| entry.record);
                let record = known.map_or_else(|| ids.next(conn, plan, books.datasets[dataset], &key, run.now), Ok)?;
                let rule = match entry {
                    Some(entry) => entry.rule.clone(),
                    None => run.inherited(conn, dataset, &key, birth)?.map(|inherited| inherited.audience),
                };
                let marks = books.marks(dataset, rule.as_deref());
                let overrides = overrides.get(&key).map_or(&[][..], Vec::as_slice);
                let mut parents = Lookup { known: &run.parents, touched: run.touched.as_ref(), conn, books };
                let values = look::values(plan, row, overrides, &mut parents, Caps::OutsideCircle)?;
                let Decision { mut audience, .. } = look::decide(plan, row, marks, &values, Caps::OutsideCircle)?;
                if audience.scope().is_some() {
                    let links = links(plan, row)?;
                    match links {
                        Some(by) if by.is_empty() => {}
                        Some(by) => narrowed.push(Narrowed { dataset, at: run.parents.lists[dataset].len(), by }),
                        None => audience = Audience::Private(Reason::Withheld),
                    }
                }
                Parent { origin: OWN, record, audience }
            }
        };
        run.parents.lists[dataset].push((key, parent));
        Ok(())
    })
}

/// Returns the references of a row that lie in its circle; `None` if one is missing that it needs.
fn links(plan: &Plan, row: &dyn Row) -> Result<Option<Vec<Link>>, SqlError> {
    let mut links = Vec::new();
    for (index, reference) in plan.refs().filter(|(_, reference)| reference.in_circle) {
        let caps = plan.caps(index, reference);
        let raw = row.raw(index + 1)?;
        if !plan.fields[index].has_turn(row)? {
            continue;
        }
        match reference.key_of(raw) {
            // The root of a tree hangs on nothing.
            None if raw == RawRef::Null && (!caps || reference.to_itself) => {}
            None if !caps && !plan.fields[index].not_null => {}
            None => return Ok(None),
            Some(key) => {
                let (author, not_null) = (reference.author, plan.fields[index].not_null);
                links.push(Link { dataset: reference.parent, key, caps, author, not_null });
            }
        }
    }
    Ok(Some(links))
}

/// Narrows the rows by those that they refer to until nothing changes.
fn settle(run: &mut Run<'_>, mut narrowed: Vec<Narrowed>) {
    for round in 0.. {
        let mut changed = false;
        for row in &narrowed {
            let mut audience = run.parents.lists[row.dataset][row.at].1.audience.clone();
            for link in &row.by {
                let plan = &run.plans.list[row.dataset];
                let parent = run.parents.get(link.dataset, &link.key);
                audience = match parent {
                    None if link.caps || link.not_null => Audience::Private(Reason::Withheld),
                    None => audience,
                    Some(parent) if link.author && parent.origin != OWN => Audience::Private(Reason::Withheld),
                    Some(parent) if link.caps => audience.capped_by(&parent.audience, &plan.addressees),
                    Some(_) => audience,
                };
            }
            let known = &mut run.parents.lists[row.dataset][row.at].1.audience;
            if *known != audience {
                *known = audience;
                changed = true;
            }
        }
        if !changed {
            return;
        }
        narrowed.retain(|row| run.parents.lists[row.dataset][row.at].1.audience.scope().is_some());
        if round == ROUNDS_MAX {
            for row in &narrowed {
                run.parents.lists[row.dataset][row.at].1.audience = Audience::Private(Reason::Withheld);
            }
            return;
        }
    }
}
