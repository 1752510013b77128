//! Apply: writes changes in transactions that are short and each leave the database whole.
//!
//! Changes are fetched before a transaction begins, so that the lock is never held while the engine
//! thinks. Each record has its savepoint: what a constraint refuses is parked, the rest goes on.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::rc::Rc;
use std::time::Instant;

use super::ahead::Ahead;
use super::books::{Books, Mapped};
use super::inserted::Insertion;
use super::key::{Key, bound};
use super::look::{self, OWN, Override};
use super::outbox;
use super::pace::{LEAST, Pace};
use super::plan::Plans;
use super::purge::Purge;
use super::raw::Raw;
use super::session::{Meaning, Session, SqlError, Transaction};
use super::weight::weight;
use crate::connector::alone::AloneRows;
use crate::connector::applied::Applied;
use crate::connector::contract::{Change, Content, SinkError};
use crate::id::bytes::InstanceId;
use crate::id::name::PeerName;
use crate::record::recordid::RecordId;

/// The most changes that are fetched at once.
const FETCH_CHANGES: usize = 8_192;
/// The most parents that are known to be there from one transaction to the next.
const VERIFIED_MAX: usize = 65_536;
/// About how many bytes of changes are fetched at once.
const FETCH_BYTES: usize = 16 << 20;

/// Why a record, or everything, could not be written.
#[derive(Debug)]
pub(super) enum Fail {
    /// This record has to wait: for a record, or until a constraint allows it.
    Park { reason: String, waits: Option<RecordId> },
    /// The database refuses it, and what it was part of has to be taken back.
    Refused(String),
    /// The row of another record means the same, and stands for this one too.
    Same { by: RecordId },
    /// The application changed the row.
    Dirty,
    /// The database can't be written.
    Sql(SqlError),
    /// The bookkeeping breaks its rules.
    Books(String),
    /// The changes can't be read.
    Source(SinkError),
}

impl From<SqlError> for Fail {
    fn from(error: SqlError) -> Self {
        match error.meaning() {
            Meaning::Constraint(Some(text)) | Meaning::Value(Some(text)) => {
                Self::Refused(format!("the database refuses it: {text}"))
            }
            Meaning::Constraint(None) | Meaning::Value(None) => Self::Refused("the database refuses it".to_owned()),
            Meaning::Unable(text) => Self::Refused(format!("the database can't write it: {text}")),
            Meaning::Contended => Self::Dirty,
            Meaning::Whole => Self::Sql(error),
        }
    }
}

impl Fail {
    pub(super) fn park(reason: impl Into<String>) -> Self {
        Self::Park { reason: reason.into(), waits: None }
    }
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Done {
    Inserted,
    /// A placeholder became the record.
    Upgraded,
    Updated,
    Deleted,
    /// A placeholder is left of it, because local rows refer to it.
    Blanked,
    Unchanged,
}

/// Why rows are removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Removal {
    /// Their records are gone.
    Gone,
    /// This instance gives them up: what refers to them stays meant for whom it was.
    GivenUp,
    /// The same, where the database would take referring rows along, or alter them: rows are only blanked.
    BlankedOnly,
    /// This instance gives them up as far as no row refers to them; by dataset, the queries that tell.
    Unused(Vec<Vec<String>>),
}

/// Where a change comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Giver {
    Engine,
    Waiting,
}

/// What a record's savepoint leaves to do once it holds.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// Placeholders made, by dataset.
    pub(super) stubs: Vec<usize>,
    /// Cache files and cache rows that are stale.
    pub(super) files: Vec<String>,
    pub(super) rows: Vec<(usize, usize, String)>,
    /// Rows that were written or removed, and that the map knows as they are.
    pub(super) written: Vec<(usize, Key)>,
}

/// One run of apply.
#[derive(Debug)]
pub(super) struct Apply<'a> {
    pub(super) conn: &'a dyn Session,
    pub(super) plans: &'a Plans,
    pub(super) books: &'a mut Books,
    pub(super) names: &'a BTreeMap<InstanceId, PeerName>,
    pub(super) applied: Applied,
    pub(super) removal: Removal,
    /// Parents whose rows were checked, since nobody else can have changed them.
    pub(super) verified: HashSet<(usize, Key)>,
    pub(super) pending: Pending,
    /// Rows of the waiting table to try again.
    pub(super) retries: VecDeque<i64>,
    /// Whether anything waits, or vanished unsettled.
    pub(super) has_waiting: bool,
    pub(super) has_gone: bool,
    pub(super) buffer: Vec<u8>,
    /// What was read for changes that are written together.
    pub(super) ahead: Ahead,
    /// Changes that are tried together next, and those that are written one by one.
    pub(super) runs: VecDeque<Vec<Change>>,
    /// Records of a circle that is being written.
    pub(super) tied: HashSet<RecordId>,
    pub(super) alone: VecDeque<Change>,
    /// Whether own rows follow what was published of them.
    pub(super) restoring: bool,
    /// Fields of rows that show what no capture could take in.
    pub(super) held: AloneRows,
    /// Rows of circles that became placeholders because others refer to them, which may go as well.
    pub(super) blanked: Vec<(usize, RecordId)>,
    /// How many records are still to get savepoints of their own, because one of some couldn't be written.
    pub(super) separate: usize,
    /// How many records share the next savepoint.
    pub(super) together: usize,
    /// By dataset, how rows were inserted last.
    pub(super) insertions: HashMap<usize, Rc<Insertion<'a>>>,
    /// What had to wait in this run and was counted.
    parked: HashSet<RecordId>,
    /// Whether something was refused for what rows showed then, and may be written now.
    has_refused: bool,
    files: BTreeSet<String>,
    /// Whether triggers note what we write.
    has_outbox: bool,
    written: Vec<(usize, Key)>,
    pub(super) purged: HashSet<(usize, usize, String)>,
    purge: Purge,
}

/// A row as it is, with what it says.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) raws: Vec<Raw>,
    pub(super) birth: i64,
    pub(super) digest: i64,
    pub(super) audience: Option<crate::scope::audience::Audience>,
    /// The flags of its map row, but for those of a placeholder.
    pub(super) flags: i64,
}

impl<'a> Apply<'a> {
    pub(super) fn new(
        conn: &'a dyn Session,
        plans: &'a Plans,
        books: &'a mut Books,
        names: &'a BTreeMap<InstanceId, PeerName>,
        purge: Purge,
    ) -> Result<Self, SqlError> {
        let has_waiting = conn.exists("SELECT 1 FROM _wbsync_waiting LIMIT 1", &[])?;
        let has_gone = conn.exists("SELECT 1 FROM _wbsync_gone LIMIT 1", &[])?;
        Ok(Self {
            conn,
            plans,
            books,
            names,
            applied: Applied::default(),
            removal: Removal::Gone,
            verified: HashSet::new(),
            pending: Pending::default(),
            retries: VecDeque::new(),
            has_waiting,
            has_gone,
            buffer: Vec::new(),
            ahead: Ahead::default(),
            runs: VecDeque::new(),
            tied: HashSet::new(),
            alone: VecDeque::new(),
            restoring: false,
            held: AloneRows::new(),
            blanked: Vec::new(),
            separate: 0,
            together: 0,
            insertions: HashMap::new(),
            parked: HashSet::new(),
            has_refused: false,
            files: BTreeSet::new(),
            has_outbox: conn.has_outbox()?,
            written: Vec::new(),
            purged: HashSet::new(),
            purge,
        })
    }

    /// Writes all changes, and what waited for them.
    pub(super) fn run(
        mut self,
        changes: &mut dyn Iterator<Item = Result<Change, SinkError>>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Applied, Fail> {
        let mut pace = Pace::default();
        let mut done = 0;
        let mut has_retried = false;
        self.books.recall.begin();
        loop {
            let mut batch = fetch(changes)?;
            if batch.is_empty() && self.retries.is_empty() && std::mem::take(&mut self.has_refused) && !has_retried {
                has_retried = true;
                self.wake_all()?;
            }
            if batch.is_empty() && self.retries.is_empty() {
                self.books.recall.end();
                self.sweep()?;
                return Ok(self.applied);
            }
            while !batch.is_empty() || self.has_more() {
                let room = pace.room(LEAST);
                let origins = self.books.origins.len();
                let transaction = Transaction::begin(self.conn)?;
                let begin = Instant::now();
                if self.conn.may_differ()? || self.verified.len() > VERIFIED_MAX {
                    self.verified.clear();
                    self.insertions.clear();
                    self.books.recall.begin();
                }
                self.written.clear();
                let written = self.fill(&mut batch, begin + room, &mut done).and_then(|()| Ok(transaction.commit()?));
                if let Err(fail) = written {
                    self.books.truncate(origins);
                    return Err(fail);
                }
                for file in std::mem::take(&mut self.files) {
                    self.purge.remove(&file);
                }
                self.purged.clear();
                pace.ended(begin);
                progress(done);
            }
        }
    }

    /// Writes changes until the transaction has been open long enough.
    fn fill(&mut self, batch: &mut VecDeque<Change>, end: Instant, done: &mut u64) -> Result<(), Fail> {
        while Instant::now() < end {
            if let Some(waiting) = self.retries.pop_front() {
                self.retry(waiting)?;
            } else if let Some(change) = self.alone.pop_front() {
                self.change(&change)?;
            } else if let Some(run) = self.runs.pop_front() {
                self.together(run)?;
            } else if self.conn.batch_rows() > 1 && !batch.is_empty() {
                let run = self.take_run(batch);
                *done += run.len() as u64;
                self.together(run)?;
            } else if !batch.is_empty() {
                let changes = self.take_few(batch);
                *done += changes.len() as u64;
                self.several(changes)?;
            } else {
                break;
            }
        }
        let written = std::mem::take(&mut self.written);
        if self.has_outbox {
            outbox::forget_keys(self.conn, self.plans, &written).map_err(Fail::Sql)?;
        }
        Ok(())
    }

    /// Tells whether something is left to do of what was taken.
    fn has_more(&self) -> bool {
        !self.retries.is_empty() || !self.alone.is_empty() || !self.runs.is_empty()
    }

    pub(super) fn change(&mut self, change: &Change) -> Result<(), Fail> {
        match self.plans.index(&change.id.dataset) {
            Some(dataset) => self.one(dataset, &change.id, change.content.as_ref(), Giver::Engine)?,
            None => self.applied.unchanged += 1,
        }
        Ok(())
    }

    /// Writes or removes one record.
    pub(super) fn act(&mut self, dataset: usize, id: &RecordId, content: Option<&Content>) -> Result<Done, Fail> {
        let done = match content {
            Some(content) => self.put(dataset, id, content)?,
            None => self.remove(dataset, id)?,
        };
        self.conn.check_deferred()?;
        self.purge_all()?;
        Ok(done)
    }

    /// Writes one record in its savepoint and counts what became of it.
    pub(super) fn one(
        &mut self,
        dataset: usize,
        id: &RecordId,
        content: Option<&Content>,
        from: Giver,
    ) -> Result<(), Fail> {
        let origins = self.books.origins.len();
        let written = self.whole(|apply| apply.act(dataset, id, content))?;
        match written {
            Ok(done) => self.done(dataset, id, done),
            Err(fail) => {
                self.undo(origins);
                self.not_written(dataset, id, content, from, fail)
            }
        }
    }

    /// Forgets what was done in a savepoint that is taken back.
    pub(super) fn undo(&mut self, origins: usize) {
        self.books.truncate(origins);
        self.pending = Pending::default();
        self.verified.clear();
        self.tied.clear();
    }

    /// Notes what becomes of a record that wasn't written.
    pub(super) fn not_written(
        &mut self,
        dataset: usize,
        id: &RecordId,
        content: Option<&Content>,
        from: Giver,
        fail: Fail,
    ) -> Result<(), Fail> {
        let (reason, waits) = match fail {
            Fail::Dirty if from == Giver::Engine => {
                self.applied.dirty.push(id.clone());
                return Ok(());
            }
            Fail::Dirty => return Ok(()),
            Fail::Same { by } => return self.stand_behind(dataset, id, content, &by),
            Fail::Park { reason, waits } => (reason, waits),
            Fail::Refused(reason) => (reason, None),
            fail => return Err(fail),
        };
        if from == Giver::Engine && self.parked.insert(id.clone()) {
            *self.applied.parked.entry(id.dataset.clone()).or_default() += 1;
        }
        self.has_refused |= from == Giver::Engine && waits.is_none();
        self.park(dataset, id, content, &reason, waits.as_ref())?;
        match waits {
            Some(_) => self.close_circle(dataset, id),
            None => Ok(()),
        }
    }

    /// Does something wholly or not at all. The outer error is that of the savepoint itself.
    pub(super) fn whole<T, E>(&mut self, act: impl FnOnce(&mut Self) -> Result<T, E>) -> Result<Result<T, E>, Fail> {
        self.conn.execute("SAVEPOINT wbsync_record", &[]).map_err(Fail::Sql)?;
        let done = act(self);
        if done.is_err() {
            self.conn.execute("ROLLBACK TO wbsync_record", &[]).map_err(Fail::Sql)?;
            self.books.recall.forget_all();
        }
        self.conn.execute("RELEASE wbsync_record", &[]).map_err(Fail::Sql)?;
        Ok(done)
    }

    pub(super) fn done(&mut self, dataset: usize, id: &RecordId, done: Done) -> Result<(), Fail> {
        self.count(dataset, id, done);
        self.keep_pending();
        if self.has_waiting {
            self.unpark(dataset, id)?;
            if self.wakes(dataset, done) {
                self.wake(dataset, id)?;
            }
        }
        Ok(())
    }

    /// Counts what became of a record.
    pub(super) fn count(&mut self, dataset: usize, id: &RecordId, done: Done) {
        let count = match done {
            Done::Inserted => Some(&mut self.applied.inserted),
            Done::Updated | Done::Upgraded => Some(&mut self.applied.updated),
            Done::Deleted => Some(&mut self.applied.deleted),
            Done::Blanked => Some(&mut self.applied.blanked),
            Done::Unchanged => {
                self.applied.unchanged += 1;
                None
            }
        };
        if let Some(count) = count {
            *count.entry(id.dataset.clone()).or_default() += 1;
        }
        if self.parked.remove(id)
            && let Some(count) = self.applied.parked.get_mut(&id.dataset)
        {
            *count -= 1;
        }
        if done == Done::Blanked && self.plans.list[dataset].circle.is_some() {
            self.blanked.push((dataset, id.clone()));
        }
    }

    /// Keeps what a savepoint left to do, now that it holds.
    pub(super) fn keep_pending(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        for stub in pending.stubs {
            *self.applied.inserted.entry(self.plans.list[stub].name.clone()).or_default() += 1;
        }
        self.files.extend(pending.files);
        self.purged.extend(pending.rows);
        self.written.extend(pending.written);
    }

    /// Tells whether something may have waited for what became of a record.
    pub(super) fn wakes(&self, dataset: usize, done: Done) -> bool {
        let makes_room = done != Done::Unchanged && !self.plans.list[dataset].spec.same.is_empty();
        matches!(done, Done::Inserted | Done::Upgraded) || makes_room
    }

    /// Reads a row and looks at it as capture does.
    pub(super) fn current(
        &mut self,
        dataset: usize,
        key: &Key,
        origin: i64,
        overrides: &[Override],
    ) -> Result<Option<Current>, Fail> {
        let plan = &self.plans.list[dataset];
        let (books, buffer) = (&*self.books, &mut self.buffer);
        let rule = if origin == OWN { books.rule(self.conn, dataset, key)? } else { None };
        let marks = books.marks(dataset, rule.as_deref());
        let mut parents = Mapped { conn: self.conn, books };
        Ok(self.conn.one(&plan.sql_locked, &bound(&plan.key.given(key)), |row| {
            let look = look::look(plan, row, origin, marks, overrides, &mut parents, buffer)?;
            let raws: Result<_, SqlError> = (0..=plan.fields.len()).map(|at| Ok(row.raw(at)?.to_raw())).collect();
            let flags = look.flags(0);
            let birth = look::birth(plan, row, buffer)?;
            Ok(Current { raws: raws?, birth, digest: look.digest, audience: look.audience, flags })
        })?)
    }
}

fn fetch(changes: &mut dyn Iterator<Item = Result<Change, SinkError>>) -> Result<VecDeque<Change>, Fail> {
    let mut batch = VecDeque::new();
    let mut bytes = 0;
    while batch.len() < FETCH_CHANGES && bytes < FETCH_BYTES {
        let Some(change) = changes.next() else { break };
        let change = change.map_err(Fail::Source)?;
        bytes += weight(&change);
        batch.push_back(change);
    }
    Ok(batch)
}
