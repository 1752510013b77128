//! Survey: for whom rows are meant as they are now, and why; and saying so.
//!
//! Nothing is taken in. Parents are looked at as they are now too, so that what is said is what the next
//! capture will find.

use std::collections::HashMap;
use std::time::Instant;

use super::books::{Books, Entry};
use super::convert::Logical;
use super::key::{Key, bound};
use super::look::{self, Caps, Decision, OWN, Parent, Parents};
use super::outbox;
use super::pace::{LEAST, Pace};
use super::plan::{Content, Plan, Plans, ScopePlan, quote};
use super::raw::{Bind, RawRef};
use super::session::{Row, Session, SqlError, Transaction};
use crate::connector::column::Source;
use crate::connector::contract::{Decided, Rows, SinkError, Surveyed};
use crate::id::name::DatasetName;

/// Why a survey stopped.
#[derive(Debug)]
pub(super) enum Stop {
    Sql(SqlError),
    Sink(SinkError),
    /// A condition isn't one, in words.
    Condition(String),
}

impl From<SqlError> for Stop {
    fn from(error: SqlError) -> Self {
        Self::Sql(error)
    }
}

/// Rows as they are now, looked at once each if others refer to them.
struct Now<'a> {
    conn: &'a dyn Session,
    plans: &'a Plans,
    books: &'a Books,
    known: HashMap<(usize, Key), Option<Parent>>,
    /// The rows that are being looked at, each because of the one before.
    looking: Vec<(usize, Key)>,
}

/// How many rows are looked at because of each other: what hangs on more of them counts as private here.
const DEPTH_MAX: usize = 200;

/// Looks at rows in one read transaction.
pub(super) fn survey(
    conn: &dyn Session,
    plans: &Plans,
    books: &Books,
    rows: &Rows,
    sink: &mut dyn FnMut(Surveyed) -> Result<(), SinkError>,
) -> Result<(), Stop> {
    let transaction = Transaction::begin_read(conn)?;
    let mut now = Now { conn, plans, books, known: HashMap::new(), looking: Vec::new() };
    for (dataset, _) in plans.list.iter().enumerate().filter(|(_, plan)| concerns(rows, &plan.name)) {
        for key in now.keys(dataset, rows)? {
            let Some(surveyed) = now.surveyed(dataset, &key)? else { continue };
            if matches!(rows, Rows::Own(_)) && surveyed.decided.is_none() {
                continue;
            }
            sink(surveyed).map_err(Stop::Sink)?;
        }
    }
    Ok(transaction.commit()?)
}

/// Marks own rows; the inner error is the key of a row that has no record yet and no column to say it in.
pub(super) fn mark(
    conn: &dyn Session,
    plans: &Plans,
    (books, dataset): (&Books, usize),
    keys: &[String],
    audience: &str,
) -> Result<Result<u64, String>, SqlError> {
    let plan = &plans.list[dataset];
    let column = match &plan.scope {
        ScopePlan::Column(_) => plan.spec.scope.column.as_deref(),
        _ => None,
    };
    let (mut rest, mut changed) = (keys, 0);
    let mut pace = Pace::default();
    while !rest.is_empty() {
        let room = pace.room(LEAST);
        let transaction = Transaction::begin(conn)?;
        let begin = Instant::now();
        while let Some((text, others)) = rest.split_first().filter(|_| begin.elapsed() < room) {
            rest = others;
            let key = plan.key_named(text);
            let entry = books.at(conn, dataset, &key)?;
            if entry.as_ref().is_some_and(|entry| entry.origin != OWN) {
                continue;
            }
            changed += match (column, entry) {
                (Some(column), _) => {
                    let (column, test) = (quote(column), plan.key.test(conn, 2));
                    let sql = format!(
                        "UPDATE{} {} SET {column} = ?1 WHERE {test} AND {column} IS DISTINCT FROM ?1",
                        conn.or_refuse(),
                        plan.table
                    );
                    let given = plan.key.given(&key);
                    let values: Vec<_> = [audience.bind()].into_iter().chain(bound(&given)).collect();
                    conn.execute(&sql, &values)?
                }
                (None, Some(entry)) if entry.rule.as_deref() == Some(audience) => 0,
                (None, Some(_)) => {
                    books.set_rule(conn, dataset, &key, audience)?;
                    outbox::note(conn, plans, dataset, &key)?;
                    1
                }
                (None, None) => return Ok(Err(text.clone())),
            };
        }
        transaction.commit()?;
        pace.ended(begin);
    }
    Ok(Ok(changed))
}

impl Now<'_> {
    /// Lists the keys of the rows meant, in order.
    fn keys(&self, dataset: usize, rows: &Rows) -> Result<Vec<Key>, Stop> {
        let plan = &self.plans.list[dataset];
        let order = plan.key.order(self.conn, "");
        let all = format!("SELECT {} FROM {}", plan.key.value(self.conn, ""), plan.table);
        match rows {
            Rows::Own(_) => self.listed(dataset, &format!("{all} ORDER BY {order}"), &[]),
            Rows::Key(_, text) => Ok(vec![plan.key_named(text)]),
            Rows::Record(_, digits) => {
                let sql = format!(
                    "SELECT key FROM _wbsync_map WHERE dataset = ?1 AND {} LIKE ?2 || '%' ORDER BY {}",
                    self.conn.hex("record"),
                    self.conn.map_order(plan.key.is_integer())
                );
                self.listed(dataset, &sql, &bind![self.books.datasets[dataset], digits])
            }
            Rows::Where(_, condition) => {
                let sql = format!("{all} WHERE ({condition}\n) ORDER BY {order}");
                self.conn.check_condition(&sql).map_err(Stop::Condition)?;
                self.listed(dataset, &sql, &[]).map_err(|stop| match stop {
                    Stop::Sql(error) => Stop::Condition(error.to_string()),
                    other => other,
                })
            }
        }
    }

    fn listed(&self, dataset: usize, sql: &str, values: &[RawRef<'_>]) -> Result<Vec<Key>, Stop> {
        let is_integer = self.plans.list[dataset].key.is_integer();
        // Rows with other keys stay home, always.
        let keys = self.conn.all(sql, values, |row| Ok(Key::noted(row.raw(0)?, is_integer)))?;
        Ok(keys.into_iter().flatten().collect())
    }

    fn surveyed(&mut self, dataset: usize, key: &Key) -> Result<Option<Surveyed>, Stop> {
        if matches!(key, Key::Text(_)) && self.plans.list[dataset].key.is_integer() {
            return Ok(None);
        }
        let (conn, plan) = (self.conn, &self.plans.list[dataset]);
        Ok(conn.one(&plan.sql_row, &bound(&plan.key.given(key)), |row| self.survey_row(dataset, key, row))?)
    }

    fn survey_row(&mut self, dataset: usize, key: &Key, row: &dyn Row) -> Result<Surveyed, SqlError> {
        let (plans, books) = (self.plans, self.books);
        let plan = &plans.list[dataset];
        let entry = self.entry(dataset, key, row)?;
        let id = entry.as_ref().map(|entry| books.record_id(plans, dataset, entry.origin, entry.record));
        let surveyed = |audience, decided| Surveyed {
            dataset: plan.name.clone(),
            key: key.to_string(),
            id: id.clone(),
            audience,
            decided,
        };
        if let Some(entry) = entry.as_ref().filter(|entry| entry.origin != OWN) {
            return Ok(surveyed(entry.audience.clone(), None));
        }
        let decision = self.decide(dataset, row, entry.as_ref(), Caps::All)?;
        let text = match decision.source {
            Source::Column => match &plan.scope {
                ScopePlan::Column(at) => text_of(row.raw(*at)?),
                _ => None,
            },
            Source::Rule => match &entry {
                Some(entry) => entry.rule.clone(),
                None => self.inherited(plan, row)?,
            },
            Source::Default => books.defaults[dataset].clone(),
            Source::Mapping => plan.spec.scope.constant.clone(),
            Source::Parents => None,
        };
        let narrowed_by = match decision.narrowed_by {
            None => None,
            Some(index) => {
                let parent = match &plan.fields[index].content {
                    Content::Ref(reference) => reference
                        .key_of(row.raw(index + 1)?)
                        .map(|key| (plans.list[reference.parent].name.clone(), key.to_string())),
                    Content::Plain(_) => None,
                };
                Some((plan.fields[index].name.clone(), parent))
            }
        };
        let decided = Decided { own: decision.own, source: decision.source, text, narrowed_by };
        Ok(surveyed(decision.audience, Some(decided)))
    }

    /// Returns the map row of a row, unless it is that of an earlier row with the same key.
    fn entry(&self, dataset: usize, key: &Key, row: &dyn Row) -> Result<Option<Entry>, SqlError> {
        let birth = look::birth(&self.plans.list[dataset], row, &mut Vec::new())?;
        Ok(self.books.at(self.conn, dataset, key)?.filter(|entry| entry.birth == birth))
    }

    fn decide(
        &mut self,
        dataset: usize,
        row: &dyn Row,
        entry: Option<&Entry>,
        caps: Caps,
    ) -> Result<Decision, SqlError> {
        let (plans, books) = (self.plans, self.books);
        let plan = &plans.list[dataset];
        let overrides = match entry {
            Some(entry) => books.overrides(self.conn, dataset, &entry.key)?,
            None => Vec::new(),
        };
        let values: Vec<Logical<'_>> = look::values(plan, row, &overrides, self, caps)?;
        let rule = match entry {
            Some(entry) => entry.rule.clone(),
            None => self.inherited(plan, row)?,
        };
        let marks = books.marks(dataset, rule.as_deref());
        look::decide(plan, row, marks, &values, caps)
    }

    /// Returns what a row inherits that no capture has seen.
    fn inherited(&self, plan: &Plan, row: &dyn Row) -> Result<Option<String>, SqlError> {
        let Some(key) = Key::of(row.raw(0)?) else { return Ok(None) };
        let birth = look::birth(plan, row, &mut Vec::new())?;
        Ok(plan.inherited(self.conn, &key, birth, false)?.map(|inherited| inherited.audience))
    }

    fn look_up(&mut self, dataset: usize, key: &Key, caps: Caps) -> Result<Option<Parent>, SqlError> {
        let (plans, books, conn) = (self.plans, self.books, self.conn);
        let plan = &plans.list[dataset];
        conn.one(&plan.sql_row, &bound(&plan.key.given(key)), |row| {
            let entry = self.entry(dataset, key, row)?;
            if let Some(entry) = entry.as_ref().filter(|entry| entry.origin != OWN || entry.is_stub()) {
                return Ok(books.parent(entry));
            }
            let audience = self.decide(dataset, row, entry.as_ref(), caps)?.audience;
            let record = entry.map_or([0; 16], |entry| entry.record);
            Ok(Parent { origin: OWN, record, audience })
        })
    }
}

impl Parents for Now<'_> {
    fn find(&mut self, dataset: usize, key: &Key) -> Result<Option<Parent>, SqlError> {
        let at = (dataset, key.clone());
        if let Some(known) = self.known.get(&at) {
            return Ok(known.clone());
        }
        // In a circle a row can be its own ancestor: what is being looked at counts by what narrows it from outside.
        if self.looking.contains(&at) {
            return self.look_up(dataset, key, Caps::OutsideCircle);
        }
        if self.looking.len() >= DEPTH_MAX {
            return Ok(None);
        }
        self.looking.push(at);
        let found = self.look_up(dataset, key, Caps::All);
        let at = self.looking.pop().expect("it was pushed just above");
        let found = found?;
        self.known.insert(at, found.clone());
        Ok(found)
    }
}

fn concerns(rows: &Rows, dataset: &DatasetName) -> bool {
    match rows {
        Rows::Own(wanted) | Rows::Record(wanted, _) => wanted.as_ref().is_none_or(|wanted| wanted == dataset),
        Rows::Key(wanted, _) | Rows::Where(wanted, _) => wanted == dataset,
    }
}

fn text_of(value: RawRef<'_>) -> Option<String> {
    match value {
        RawRef::Text(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        RawRef::Null => None,
        RawRef::Integer(number) => Some(number.to_string()),
        RawRef::Real(number) => Some(number.to_string()),
        RawRef::Blob(_) => Some("bytes".to_owned()),
    }
}
