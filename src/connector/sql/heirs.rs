//! Marks beside rows that the bookkeeping lost, or that it has of a row with another key or birth: who inherits them.
//!
//! What is private by hand never leaves because a row can't be told: a new row that has the key and the birth of a marked one is that
//! one; with either, it may be, and stays home; and where a marked row can't be found at all though nobody saw it go, all rows that are
//! new stay home.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::books::{Books, ENTRY, Entry};
use super::capture::Run;
use super::connector::SqlConnector;
use super::key::{Key, bound};
use super::look::{self, OWN};
use super::outbox;
use super::plan::{Plan, Plans};
use super::session::{Session, SqlError};
use crate::connector::error::Error;
use crate::connector::said::{Mark, PRIVATE, PUBLIC, Rest, Said, narrower};
use crate::id::bytes::RecordKey;
use crate::id::name::DatasetName;

/// How many rows are told again in one transaction.
const BATCH: usize = 500;

/// What the instance keeps of what was said beside the rows of a dataset, or of another one of the same table.
#[derive(Debug, Default)]
pub(super) struct Beside {
    pub(super) marks: Vec<Mark>,
    by_key: HashMap<String, Vec<usize>>,
    by_birth: HashMap<i64, Vec<usize>>,
    by_record: HashMap<RecordKey, usize>,
    pub(super) default: Option<String>,
    /// Keys of marked rows of tables that neither the mapping nor the database has: dataset and table may have other names now.
    orphans: HashSet<String>,
}

/// What a new row inherits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Inherited {
    pub(super) audience: String,
    /// Whether the row is the marked one, and not only may be.
    pub(super) is_same: bool,
    /// The marks that it takes over though it has another key.
    pub(super) moved: Vec<usize>,
}

impl Inherited {
    /// What a row inherits that may be one that was marked.
    pub(super) fn in_doubt() -> Self {
        Self { audience: PRIVATE.to_owned(), is_same: false, moved: Vec::new() }
    }
}

impl Beside {
    fn of(said: &Said, plan: &Plan, conn: &dyn Session) -> Self {
        let table = conn.fold(&plan.spec.table);
        let is_ours = |dataset: &DatasetName, of: &str| *dataset == plan.name || conn.fold(of) == table;
        let mut beside = Self::default();
        // Where a column says it, nothing is beside the rows.
        let is_beside = plan.scope_column().is_none();
        for mark in said.rows.iter().filter(|mark| is_beside && is_ours(&mark.dataset, &mark.table)) {
            let at = beside.marks.len();
            beside.by_key.entry(mark.key.clone()).or_default().push(at);
            if !mark.is_gone {
                beside.by_record.insert(mark.record, at);
            }
            if mark.birth != 0 {
                beside.by_birth.entry(mark.birth).or_default().push(at);
            }
            beside.marks.push(mark.clone());
        }
        let named = said.defaults.iter().find(|rest| rest.dataset == plan.name);
        let found = named.or_else(|| said.defaults.iter().find(|rest| is_ours(&rest.dataset, &rest.table)));
        beside.default = found.map(|rest| rest.audience.clone());
        beside
    }

    /// Returns what was said beside the row of a record.
    pub(super) fn of_record(&self, record: &RecordKey) -> Option<&Mark> {
        self.by_record.get(record).map(|at| &self.marks[*at])
    }

    /// Tells whether a row may be a marked one of another record.
    pub(super) fn is_of_other(&self, key: &Key, record: &RecordKey) -> bool {
        let at = self.by_key.get(&key.to_string());
        at.into_iter()
            .flatten()
            .map(|at| &self.marks[*at])
            .any(|mark| mark.record != *record && !mark.is_gone && mark.audience != PUBLIC)
    }

    fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }
}

impl Plans {
    /// Takes over what the instance keeps.
    pub(super) fn recall_said(&mut self, said: &Said, conn: &dyn Session) {
        if said.is_empty() {
            return;
        }
        let is_mapped = |mark: &Mark| {
            let table = conn.fold(&mark.table);
            self.list.iter().any(|plan| plan.name == mark.dataset || conn.fold(&plan.spec.table) == table)
        };
        let is_orphan = |mark: &&Mark| {
            let is_lost = !mark.is_gone && mark.audience != PUBLIC && !is_mapped(mark);
            is_lost && matches!(conn.number_of(&mark.table), Ok(None))
        };
        let orphans: HashSet<String> = said.rows.iter().filter(is_orphan).map(|mark| mark.key.clone()).collect();
        for plan in &mut self.list {
            plan.beside = Beside { orphans: orphans.clone(), ..Beside::of(said, plan, conn) };
        }
    }
}

impl Plan {
    /// Returns for whom rows are meant that don't say so themselves: what reaches fewer of what the bookkeeping says and what
    /// the instance keeps. That they are public is only taken from the bookkeeping.
    pub(super) fn default_audience(&self, noted: Option<String>) -> Option<String> {
        match (noted, self.beside.default.as_deref().filter(|kept| *kept != PUBLIC)) {
            (Some(noted), Some(kept)) => Some(narrower(&noted, kept, &self.addressees)),
            (noted, kept) => noted.or_else(|| kept.map(str::to_owned)),
        }
    }

    /// Returns what is kept of what is said beside a row.
    pub(super) fn mark(&self, entry: &Entry, audience: &str) -> Mark {
        Mark {
            dataset: self.name.clone(),
            table: self.spec.table.clone(),
            record: RecordKey::from_bytes(entry.record),
            key: entry.key.to_string(),
            birth: entry.birth,
            audience: audience.to_owned(),
            is_gone: false,
        }
    }

    /// Returns what is to be said beside an own row, if the bookkeeping says something else, or has lost it.
    pub(super) fn said_again(&self, entry: &Entry) -> Option<String> {
        if self.beside.is_empty() || entry.origin != OWN {
            return None;
        }
        let mark = self.beside.of_record(&RecordKey::from_bytes(entry.record))?;
        let audience = match &entry.rule {
            Some(rule) => narrower(rule, &mark.audience, &self.addressees),
            None => mark.audience.clone(),
        };
        (entry.rule.as_ref() != Some(&audience)).then_some(audience)
    }

    /// Finds what a row inherits that has no record yet.
    pub(super) fn inherited(
        &self,
        conn: &dyn Session,
        key: &Key,
        birth: i64,
        is_restoring: bool,
    ) -> Result<Option<Inherited>, SqlError> {
        let beside = &self.beside;
        if beside.is_empty() {
            return Ok(None);
        }
        let mut found: Option<Inherited> = None;
        let mut inherit = |audience: &str, is_same: bool, moved: Option<usize>| {
            let known = found.get_or_insert(Inherited { audience: audience.to_owned(), is_same, moved: Vec::new() });
            known.audience = narrower(&known.audience, audience, &self.addressees);
            known.is_same &= is_same;
            known.moved.extend(moved);
        };
        for mark in beside.by_key.get(&key.to_string()).into_iter().flatten().map(|at| &beside.marks[*at]) {
            // Where nothing else tells rows apart, one that comes after another with its key is another one.
            let is_other = mark.is_gone && (mark.birth != birth || birth == 0 && !is_restoring);
            if mark.birth == birth && !mark.is_gone {
                inherit(&mark.audience, true, None);
            } else if mark.audience != PUBLIC && !is_other {
                inherit(PRIVATE, false, None);
            }
        }
        for at in beside.by_birth.get(&birth).into_iter().flatten().copied() {
            let mark = &beside.marks[at];
            let is_here = mark.key == key.to_string() || mark.is_gone || mark.audience == PUBLIC;
            if !is_here && self.birth_at(conn, &mark.key)? != Some(birth) {
                inherit(PRIVATE, false, Some(at));
            }
        }
        Ok(found)
    }

    /// Finds the marks that no row can be matched with, though nobody saw their rows go. In a dataset that is `new` to the bookkeeping
    /// it can't have been seen; without birth columns a row that goes and one that gets another key look the same.
    pub(super) fn lost_marks(
        &self,
        conn: &dyn Session,
        (books, dataset): (&Books, usize),
        is_new: bool,
    ) -> Result<Vec<usize>, SqlError> {
        let mut lost = Vec::new();
        let mut births: Option<HashSet<i64>> = None;
        for (at, mark) in self.beside.marks.iter().enumerate() {
            if mark.is_gone || mark.audience == PUBLIC || mark.birth != 0 && !is_new {
                continue;
            }
            if self.birth_at(conn, &mark.key)?.is_some() {
                continue;
            }
            if mark.birth != 0 {
                let sql = "SELECT 1 FROM _wbsync_map WHERE dataset = ?1 AND origin = ?2 AND record = ?3";
                if conn.exists(sql, &bind![books.datasets[dataset], OWN, mark.record.as_bytes()])? {
                    continue;
                }
                if births.is_none() {
                    births = Some(self.births(conn)?);
                }
                if births.as_ref().is_some_and(|births| births.contains(&mark.birth)) {
                    continue;
                }
            }
            lost.push(at);
        }
        Ok(lost)
    }

    /// Returns the birth of the row with a key, if there is one.
    fn birth_at(&self, conn: &dyn Session, key: &str) -> Result<Option<i64>, SqlError> {
        let key = match self.key_named(key) {
            Key::Text(_) if self.key.is_integer() => return Ok(None),
            key => key,
        };
        conn.one(&self.sql_row, &bound(&self.key.given(&key)), |row| look::birth(self, row, &mut Vec::new()))
    }

    fn births(&self, conn: &dyn Session) -> Result<HashSet<i64>, SqlError> {
        let mut births = HashSet::new();
        conn.each(&self.sql_scan, &[], &mut |row| {
            births.insert(look::birth(self, row, &mut Vec::new())?);
            Ok(true)
        })?;
        Ok(births)
    }
}

impl Run<'_> {
    /// Finds the marks that no row can be matched with.
    pub(super) fn look_for_lost(&mut self, conn: &dyn Session) -> Result<(), SqlError> {
        for (dataset, plan) in self.plans.list.iter().enumerate() {
            let is_new = self.is_restoring || self.shapes.list[dataset].is_first();
            self.lost.push(plan.lost_marks(conn, (self.books, dataset), is_new)?);
        }
        Ok(())
    }

    /// Finds what a new row inherits of what was said beside rows.
    pub(super) fn inherited(
        &self,
        conn: &dyn Session,
        dataset: usize,
        key: &Key,
        birth: i64,
    ) -> Result<Option<Inherited>, SqlError> {
        let plan = &self.plans.list[dataset];
        let found = plan.inherited(conn, key, birth, self.is_restoring)?;
        let is_orphan = || self.shapes.list[dataset].is_first() && plan.beside.orphans.contains(&key.to_string());
        Ok(found.or_else(|| (!self.lost[dataset].is_empty() || is_orphan()).then(Inherited::in_doubt)))
    }

    /// Notes what a new row inherits, for the instance to keep.
    pub(super) fn inherit(&mut self, dataset: usize, entry: &Entry, inherited: Inherited) -> Option<String> {
        let plan = &self.plans.list[dataset];
        let heirs = &mut self.capture.heirs;
        if !inherited.is_same {
            *heirs.kept.entry(plan.name.clone()).or_default() += 1;
        }
        let left = |at: &usize| (plan.beside.marks[*at].dataset.clone(), plan.beside.marks[*at].record);
        heirs.gone.extend(inherited.moved.iter().map(left));
        heirs.taken.push(plan.mark(entry, &inherited.audience));
        Some(inherited.audience)
    }

    /// Marks that no row can be matched with keep new rows at home once.
    pub(super) fn give_up_lost(&mut self) {
        let heirs = &mut self.capture.heirs;
        for (plan, lost) in
            self.plans.list.iter().zip(&self.lost).filter(|(plan, _)| heirs.kept.contains_key(&plan.name))
        {
            let marks = lost.iter().map(|at| &plan.beside.marks[*at]);
            heirs.gone.extend(marks.map(|mark| (mark.dataset.clone(), mark.record)));
        }
    }
}

impl SqlConnector {
    /// See `Connector::said`.
    pub(super) fn said_beside(&self, of: Option<(&DatasetName, &[String])>) -> Result<Said, Error> {
        let doing = "read what was said beside rows";
        let Some(books) = self.existing_books(doing)? else { return Ok(Said::default()) };
        let read = || -> Result<Said, SqlError> {
            let mut said = Said::default();
            for (dataset, plan) in self.plans.list.iter().enumerate() {
                if of.is_some_and(|(wanted, _)| *wanted != plan.name) {
                    continue;
                }
                if let Some((_, keys)) = of {
                    let keys = if plan.scope_column().is_some() { &[] } else { keys };
                    for key in keys {
                        let entry = books.at(self.session(), dataset, &plan.key_named(key))?;
                        let own = entry.filter(|entry| entry.origin == OWN);
                        said.rows.extend(own.map(|own| plan.mark(&own, PRIVATE)));
                    }
                    continue;
                }
                let sql =
                    format!("SELECT {ENTRY} FROM _wbsync_map WHERE dataset = ?1 AND origin = ?2 AND rule IS NOT NULL");
                let values = bind![books.datasets[dataset], OWN];
                let marked = self.session().all(&sql, &values, |row| books.entry(dataset, row))?;
                let marks = marked.iter().filter_map(|entry| Some(plan.mark(entry, entry.rule.as_deref()?)));
                said.rows.extend(marks);
                let sql = "SELECT audience FROM _wbsync_dataset WHERE dataset = ?1";
                let noted: Option<Option<String>> =
                    self.session().one(sql, &bind![books.datasets[dataset]], |row| row.get(0))?;
                said.defaults.extend(noted.flatten().map(|audience| Rest {
                    dataset: plan.name.clone(),
                    table: plan.spec.table.clone(),
                    audience,
                }));
            }
            Ok(said)
        };
        read().map_err(|source| self.failed(doing, source))
    }

    /// See `Connector::say_again`.
    pub(super) fn say_beside_again(&self) -> Result<u64, Error> {
        let doing = "say again for whom rows are meant";
        if self.context.said.is_empty() {
            return Ok(0);
        }
        let books = self.books(doing)?;
        let mut told = 0;
        for (dataset, plan) in self.plans.list.iter().enumerate() {
            for marks in plan.beside.marks.chunks(BATCH) {
                self.write(doing, |conn| {
                    for mark in marks.iter().filter(|mark| !mark.is_gone) {
                        told += u64::from(say_one(conn, &self.plans, (&books, dataset), mark)?);
                    }
                    Ok(())
                })?;
            }
            // Only where there is nothing older: else it may have been left to the mapping since.
            if let (0, None, Some(default)) = (books.settled, &books.defaults[dataset], &plan.beside.default) {
                self.write(doing, |conn| books.set_default(conn, dataset, Some(default)))?;
                told += 1;
            }
        }
        Ok(told)
    }
}

/// Says again beside a row what was said of it, by its record, or by its key and birth.
fn say_one(
    conn: &dyn Session,
    plans: &Plans,
    (books, dataset): (&Books, usize),
    mark: &Mark,
) -> Result<bool, SqlError> {
    let plan = &plans.list[dataset];
    let sql = "SELECT key FROM _wbsync_map WHERE dataset = ?1 AND origin = ?2 AND record = ?3";
    let number = books.datasets[dataset];
    let by_record = conn.one(sql, &bind![number, OWN, mark.record.as_bytes()], |row| books.key(dataset, row, 0))?;
    let mut keys: BTreeMap<Key, bool> = by_record.into_iter().map(|key| (key, true)).collect();
    keys.entry(plan.key_named(&mark.key)).or_insert(false);
    let mut is_new = false;
    for (key, is_certain) in keys {
        let Some(entry) = books.at(conn, dataset, &key)? else { continue };
        if entry.origin != OWN || !is_certain && entry.birth != mark.birth {
            continue;
        }
        let audience = match &entry.rule {
            Some(rule) => narrower(rule, &mark.audience, &plan.addressees),
            None => mark.audience.clone(),
        };
        if entry.rule.as_ref() != Some(&audience) {
            books.set_rule(conn, dataset, &key, &audience)?;
            outbox::note(conn, plans, dataset, &key)?;
            is_new = true;
        }
    }
    Ok(is_new)
}
