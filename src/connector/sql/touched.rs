//! A capture by triggers: looks only at rows that may say something else than before, and gives what a scan would give.
//!
//! Those are the rows that triggers noted, and the rows that refer to one whose record or audience changed. Parents come
//! first, so that a row is looked at once, with its parents as they are in the same snapshot.

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use super::books::{Books, Mapped};
use super::capture::{Run, Stop};
use super::join::Ids;
use super::key::{Key, bound};
use super::look::{Parent, Parents};
use super::outbox::{FORGET, Notes};
use super::pace::{HOLD, Pace};
use super::plan::{Plan, Plans, quote};
use super::raw::Raw;
use super::session::{Row, Session, SqlError, Transaction};
use super::shape::Shapes;
use super::watch::Watch;

/// How many rows are asked for at once.
const ROWS: usize = 500;

/// What triggers noted as of a snapshot, and whether that is all.
#[derive(Debug)]
pub(super) struct Noted {
    pub(super) notes: Notes,
    pub(super) watch: Watch,
}

impl Noted {
    pub(super) fn read(conn: &dyn Session, plans: &Plans, books: &Books) -> Result<Self, SqlError> {
        Ok(Self { notes: Notes::read(conn, plans, books)?, watch: Watch::read(conn, plans, books)? })
    }

    /// Takes away what was worked off: exactly what the snapshot saw. `read` are the datasets that were read as a whole.
    pub(super) fn take_away(
        self,
        conn: &dyn Session,
        plans: &Plans,
        books: &Books,
        read: &[bool],
        has_reported: bool,
    ) -> Result<(), SqlError> {
        let Self { notes, watch } = self;
        let prints = (0..plans.list.len()).any(|dataset| read[dataset] && watch.is_new[dataset]);
        if !notes.any && !prints {
            return Ok(());
        }
        let mut pace = Pace::default();
        loop {
            pace.room(HOLD / 2);
            let transaction = Transaction::begin(conn)?;
            let begin = Instant::now();
            let forgotten = conn.execute(conn.outbox().forget, &bind![notes.horizon, FORGET])?;
            // Nobody but us moves rows of the map.
            conn.execute("DELETE FROM _wbsync_moved", &[])?;
            // What was reported counts only once it is settled.
            watch.keep(conn, plans, read, books.settled + i64::from(has_reported))?;
            transaction.commit()?;
            if forgotten < FORGET.unsigned_abs() {
                return Ok(());
            }
            pace.ended(begin);
        }
    }
}

/// What there is to look at, and what was seen.
pub(super) struct Touched {
    keys: Vec<BTreeSet<Key>>,
    whole: Vec<bool>,
    /// By dataset, whether the rows reported stay noted until they are settled.
    notes_reports: Vec<bool>,
    /// Datasets that were read as a whole.
    pub(super) read: Vec<bool>,
    /// Rows that others refer to, where they aren't as the map has them.
    seen: HashMap<(usize, Key), Option<Parent>>,
    /// Rows whose record or audience changed, by dataset and key; whether it was only the audience.
    moved: Vec<(usize, Key, bool)>,
    /// The same of earlier transactions, by dataset.
    moved_before: Vec<BTreeSet<Key>>,
}

impl Touched {
    pub(super) fn new(noted: &mut Noted, shapes: &Shapes) -> Self {
        let (notes, watch) = (&mut noted.notes, &noted.watch);
        let must = |dataset: usize| notes.whole[dataset] || watch.whole[dataset] || shapes.must_read(dataset);
        let whole: Vec<bool> = (0..notes.whole.len()).map(must).collect();
        Self {
            keys: std::mem::take(&mut notes.keys),
            read: whole.clone(),
            whole,
            // The others will be read as a whole again unless this capture is settled.
            notes_reports: watch.is_new.iter().map(|is_new| !is_new).collect(),
            seen: HashMap::new(),
            moved: Vec::new(),
            moved_before: std::mem::take(&mut notes.moved),
        }
    }

    pub(super) fn notes_reports(&self, dataset: usize) -> bool {
        self.notes_reports[dataset]
    }

    /// Takes in what became of a row.
    pub(super) fn saw(
        &mut self,
        plans: &Plans,
        dataset: usize,
        key: &Key,
        before: Option<Parent>,
        now: Option<Parent>,
    ) {
        if !plans.list[dataset].is_parent || before == now {
            return;
        }
        // A row that appears is no news for rows that refer to nothing: those are looked at anyway.
        if let Some(before) = &before {
            let same = now.as_ref().is_some_and(|now| (now.origin, now.record) == (before.origin, before.record));
            self.moved.push((dataset, key.clone(), same));
        }
        self.seen.insert((dataset, key.clone()), now);
    }

    pub(super) fn parents<'a>(&'a self, conn: &'a dyn Session, books: &'a Books) -> Patched<'a> {
        Patched { seen: &self.seen, map: Mapped { conn, books } }
    }
}

/// Parents as they were seen, or else as the map has them.
pub(super) struct Patched<'a> {
    seen: &'a HashMap<(usize, Key), Option<Parent>>,
    map: Mapped<'a>,
}

impl Parents for Patched<'_> {
    fn find(&mut self, dataset: usize, key: &Key) -> Result<Option<Parent>, SqlError> {
        match self.seen.get(&(dataset, key.clone())) {
            Some(seen) => Ok(seen.clone()),
            None => self.map.find(dataset, key),
        }
    }
}

impl Run<'_> {
    /// Looks at what was touched, parents first.
    pub(super) fn look_at_touched(&mut self, conn: &dyn Session) -> Result<(), Stop> {
        for datasets in self.plans.groups() {
            for dataset in &datasets {
                let moved = std::mem::take(&mut self.touched().moved_before[*dataset]);
                self.touched().moved = moved.into_iter().map(|key| (*dataset, key, false)).collect();
                self.follow(conn)?;
            }
            let is_circle = self.plans.list[datasets[0]].circle.is_some();
            let touched = self.touched();
            let keys: Vec<BTreeSet<Key>> =
                datasets.iter().map(|dataset| std::mem::take(&mut touched.keys[*dataset])).collect();
            let whole = datasets.iter().any(|dataset| touched.whole[*dataset]);
            // In a circle anything may depend on everything.
            if whole || is_circle && keys.iter().any(|keys| !keys.is_empty()) {
                for dataset in &datasets {
                    (touched.whole[*dataset], touched.read[*dataset]) = (true, true);
                }
                self.scan_group(conn, &datasets)?;
            } else {
                for (dataset, keys) in datasets.into_iter().zip(keys) {
                    let keys: Vec<Key> = keys.into_iter().collect();
                    let mut ids = Ids::expecting(keys.len());
                    for keys in keys.chunks(ROWS) {
                        ids = self.look_at(conn, dataset, keys, ids)?;
                    }
                }
            }
            self.follow(conn)?;
        }
        Ok(())
    }

    fn touched(&mut self) -> &mut Touched {
        self.touched.as_mut().expect("this is a capture by triggers")
    }

    /// Adds the rows that refer to rows which changed.
    fn follow(&mut self, conn: &dyn Session) -> Result<(), SqlError> {
        let plans = self.plans;
        let touched = self.touched();
        let moved = std::mem::take(&mut touched.moved);
        if moved.is_empty() {
            return Ok(());
        }
        for (child, plan) in plans.list.iter().enumerate() {
            if touched.whole[child] {
                continue;
            }
            for (index, reference) in plan.refs() {
                let caps = plan.caps(index, reference);
                let keys: Vec<Key> = moved
                    .iter()
                    .filter(|(dataset, _, only)| *dataset == reference.parent && (caps || !only))
                    .map(|(_, key, _)| key.clone())
                    .collect();
                let spelled = |key: Key| match reference.shown(&key) {
                    Raw::Text(text) => Key::Text(text.into()),
                    _ => key,
                };
                let keys = keys.into_iter().map(spelled).collect();
                referring(conn, plan, index, keys, &mut touched.keys[child])?;
            }
        }
        Ok(())
    }
}

/// Finds the keys of rows that refer to others by one of their fields.
fn referring(
    conn: &dyn Session,
    plan: &Plan,
    field: usize,
    parents: Vec<Key>,
    found: &mut BTreeSet<Key>,
) -> Result<(), SqlError> {
    let columns = &plan.fields[field].columns;
    let select = format!("SELECT {} FROM {}", plan.key.value(conn, ""), plan.table);
    let mut take = |row: &dyn Row| {
        found.extend(Key::of(row.raw(0)?));
        Ok(true)
    };
    let Some(only) = columns.single() else {
        let sql = format!("{select} WHERE {}", columns.test(conn, 1));
        return parents.iter().try_for_each(|key| conn.each(&sql, &bound(&columns.given(key)), &mut take));
    };
    let sql = format!("{select} WHERE {}", conn.among(&quote(&only.name), only.is_integer, "?1"));
    parents.chunks(ROWS).try_for_each(|keys| conn.each(&sql, &bind![conn.list(keys, only.is_integer)], &mut take))
}
