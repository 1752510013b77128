//! One connection to an application's database, as the code sees it that is the same for all databases.
//!
//! Statements are written once, in the SQL that all databases share: parameters are `?1`, `?2`, …, the bookkeeping's
//! tables `_wbsync_NAME`; a session spells both as its database wants them. What can't be shared is a method here.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::as_written::AsWritten;
use super::key::{Key, KeyColumns};
use super::raw::{Raw, RawRef, Take};
use crate::connector::catalogue::{DatabaseSizes, ForeignKey, Table};
use crate::connector::error::Error;
use crate::record::fieldtype::Kind;

/// How long we wait for the application's lock on a row, while it may wait for ours.
pub(crate) const ROW_LOCK_MS: u64 = 300;

/// Why a statement failed.
#[derive(Debug)]
pub(crate) enum SqlError {
    Sqlite(rusqlite::Error),
    Postgres(postgres::Error),
    /// A column doesn't hold what it should.
    Column {
        at: usize,
        wanted: &'static str,
    },
}

/// What a failure means for the record that was being written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// A constraint refuses it, in words if there are any.
    Constraint(Option<String>),
    /// A value can't be held, in words if there are any.
    Value(Option<String>),
    /// It can't be written by us at all, in words: a trigger is broken, a function is the application's own, a right is missing.
    Unable(String),
    /// The application is at the same row.
    Contended,
    /// Nothing can be written.
    Whole,
}

/// A row of an answer.
pub(crate) trait Row {
    fn raw(&self, at: usize) -> Result<RawRef<'_>, SqlError>;
}

impl dyn Row + '_ {
    pub(crate) fn get<T: Take>(&self, at: usize) -> Result<T, SqlError> {
        T::take(self.raw(at)?).ok_or(SqlError::Column { at, wanted: T::WANTED })
    }

    /// Borrows a text.
    pub(crate) fn str(&self, at: usize) -> Result<&str, SqlError> {
        match self.raw(at)? {
            RawRef::Text(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
        .ok_or(SqlError::Column { at, wanted: String::WANTED })
    }
}

/// A row that is kept after its answer.
#[derive(Debug, Clone)]
pub(crate) struct Held(pub(crate) Vec<Raw>);

impl Row for &[Raw] {
    fn raw(&self, at: usize) -> Result<RawRef<'_>, SqlError> {
        self.get(at).map(RawRef::from).ok_or(SqlError::Column { at, wanted: "anything" })
    }
}

impl Row for Held {
    fn raw(&self, at: usize) -> Result<RawRef<'_>, SqlError> {
        self.0.get(at).map(RawRef::from).ok_or(SqlError::Column { at, wanted: "anything" })
    }
}

/// Takes one row; tells whether more are wanted.
pub(crate) type Visit<'a> = dyn FnMut(&dyn Row) -> Result<bool, SqlError> + 'a;

/// A column of a table, as the database declares it.
#[derive(Debug, Clone)]
pub(crate) struct Declared {
    /// The type, in the database's own words.
    pub(crate) kind: String,
    pub(crate) not_null: bool,
    /// Whether a new row gets a value without being given one.
    pub(crate) has_default: bool,
    /// The place in the primary key, from 1; 0 outside.
    pub(crate) primary: i64,
    /// Whether keys in it are integers, and sort as such.
    pub(crate) is_integer: bool,
    /// Whether the database chooses the keys of new rows.
    pub(crate) is_chosen: bool,
    /// Whether a mapped column can be of this type.
    pub(crate) is_known: bool,
}

/// One state of the database to read from while the application goes on writing.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) session: Box<dyn Session>,
    /// Whether others wait while this is open.
    pub(crate) blocks_writers: bool,
}

/// A table whose changes triggers note.
#[derive(Debug, Clone)]
pub(crate) struct Watched {
    pub(crate) table: String,
    pub(crate) key: KeyColumns,
}

/// How the triggers of a table stand.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    /// What is another text once the table or its triggers were altered, whatever they are now.
    pub(crate) print: String,
    /// What is wrong with the triggers, in words.
    pub(crate) faults: Vec<String>,
    /// Why triggers can't note everything in this table, in words.
    pub(crate) uncovered: Option<String>,
}

impl Standing {
    /// Tells whether changes may go unnoted.
    pub(crate) fn is_blind(&self) -> bool {
        !self.faults.is_empty() || self.uncovered.is_some()
    }
}

/// Statements that are run in one transaction.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) statements: Vec<String>,
}

/// How to work off what triggers noted; `place` is the table as the mapping names it, `key` NULL or `x''` the whole of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outbox {
    /// A query in a snapshot for what tells later which notes it saw.
    pub(crate) horizon: &'static str,
    /// Deletes notes that the snapshot of the horizon `?1` saw, at most `?2`.
    pub(crate) forget: &'static str,
    /// Deletes the notes of a table `?1` on a key in the list `?2`.
    pub(crate) forget_keys: &'static str,
}

/// A connection.
pub(crate) trait Session: fmt::Debug {
    /// Names the database for people; without a password.
    fn place(&self) -> String;

    /// Makes the error of whoever called, sorted by what to do about it.
    fn explain(&self, doing: &'static str, source: SqlError) -> Error;

    /// Runs a statement; returns the number of rows that it changed.
    fn execute(&self, sql: &str, values: &[RawRef<'_>]) -> Result<u64, SqlError>;

    /// Runs a query and shows its rows, few enough to be in memory; `visit` may run other statements.
    fn each(&self, sql: &str, values: &[RawRef<'_>], visit: &mut Visit<'_>) -> Result<(), SqlError>;

    /// Runs a query with any number of rows inside a transaction.
    fn scan(&self, sql: &str, visit: &mut Visit<'_>) -> Result<(), SqlError>;

    /// Begins a write transaction, alone among those of wbsync.
    fn begin(&self) -> Result<(), SqlError>;

    /// Begins a transaction that reads one state of the database.
    fn begin_read(&self) -> Result<(), SqlError>;

    fn commit(&self) -> Result<(), SqlError>;

    /// Takes a transaction back, if one is open.
    fn roll_back(&self) -> Result<(), SqlError>;

    /// Checks what the database was told to check at the end of a transaction.
    fn check_deferred(&self) -> Result<(), SqlError>;

    /// Lets foreign keys be checked late, where they can be.
    fn defer(&self) -> Result<(), SqlError>;

    /// Takes `defer` back.
    fn defer_no_more(&self) -> Result<(), SqlError>;

    fn snapshot(&self) -> Result<Snapshot, SqlError>;

    /// The same for reading few rows: it is never worth a copy.
    fn brief_snapshot(&self) -> Result<Snapshot, SqlError>;

    /// Begins to notice what others change from now on.
    fn watch(&self) -> Result<(), SqlError>;

    /// Waits until others may have changed something since `watch`, or since this told so last; true at once if
    /// nothing was watched.
    fn wait(&self, at_most: Duration) -> Result<bool, SqlError>;

    /// Tells, in a write transaction, whether anybody but us may have written since this was asked last, be it the application's
    /// triggers.
    fn may_differ(&self) -> Result<bool, SqlError> {
        Ok(true)
    }

    /// Describes the columns of a table by their folded names; none if there is no such table.
    fn columns(&self, table: &str) -> Result<BTreeMap<String, Declared>, SqlError>;

    /// Lists the sets of columns, by their folded names, that are unique in all rows.
    fn unique_sets(&self, table: &str) -> Result<Vec<Vec<String>>, SqlError>;

    /// Describes everything that has columns, but for the bookkeeping and what is the database's own.
    fn catalogue(&self) -> Result<Vec<Table>, SqlError>;

    /// Lists the foreign keys of all tables.
    fn foreign_keys(&self) -> Result<Vec<ForeignKey>, SqlError>;

    /// Tells whether `check_deferred` finds what a deferred foreign key refuses.
    fn checks_deferred(&self) -> bool;

    /// Tells whether deleting a row may delete or alter others.
    fn has_acting_keys(&self) -> Result<bool, SqlError>;

    /// Measures the bookkeeping's tables with their indexes, and the whole database, in bytes.
    fn sizes(&self) -> Result<DatabaseSizes, SqlError>;

    /// Forgets what was prepared: the application may have altered its tables.
    fn reload(&self);

    /// Finds out whether we may write, without leaving anything behind.
    fn probe(&self) -> Result<(), Error>;

    /// Lets the database check its file, or only these tables of ours where it can't; returns what is wrong, at most `limit`.
    fn faults(&self, ours: &[String], limit: usize) -> Result<Vec<String>, SqlError>;

    /// Finds rows of tables whose foreign keys lead nowhere: tables and what is wrong there, at most `limit` of each.
    fn orphans(&self, tables: &[&str], limit: usize) -> Result<Vec<(String, String)>, SqlError>;

    /// Tells whether the bookkeeping is there, or stand-ins for this connection.
    fn has_books(&self) -> Result<bool, SqlError>;

    /// Returns the number by which the database knows a table, the application's or one of the bookkeeping: another one once the
    /// table was made anew. `None` if it isn't there.
    fn number_of(&self, table: &str) -> Result<Option<i64>, SqlError>;

    /// Makes the tables of the bookkeeping, empty; the caller holds a write transaction.
    fn make_books(&self) -> Result<(), SqlError>;

    /// Makes stand-ins for them that only this connection sees. If they are there already, the list of
    /// datasets gets one, to which new ones can be added.
    fn pretend_books(&self) -> Result<(), SqlError>;

    /// Tells whether the tables are there that triggers write to.
    fn has_outbox(&self) -> Result<bool, SqlError>;

    /// Looks at the triggers of tables, in the order given.
    fn triggers(&self, tables: &[Watched]) -> Result<Vec<Standing>, SqlError>;

    /// Plans what makes every trigger and every table that they need stand as it should; nothing if they do.
    fn plan_install(&self, tables: &[Watched]) -> Result<Vec<Step>, SqlError>;

    /// Plans what removes all of that.
    fn plan_uninstall(&self) -> Result<Vec<Step>, SqlError>;

    /// Spells how to work off what the triggers noted.
    fn outbox(&self) -> Outbox;

    /// Spells the condition that a column holds one of the keys in a list.
    fn among(&self, column: &str, is_integer: bool, parameter: &str) -> String;

    /// Spells a list of keys for `among`, without those that such a column can't hold.
    fn list(&self, keys: &[Key], is_integer: bool) -> String;

    /// Finds out whether a query with somebody's condition only reads.
    fn check_condition(&self, sql: &str) -> Result<(), String>;

    /// Returns how the database compares an unquoted name.
    fn fold(&self, name: &str) -> String;

    /// Spells the application's table.
    fn table(&self, name: &str) -> String;

    /// Spells the order of keys; `column` is quoted.
    fn key_order(&self, column: &str, is_integer: bool) -> String;

    /// Spells a parameter that is compared with keys.
    fn key_value(&self, parameter: &str, is_integer: bool) -> String;

    /// Spells a column as a part of a key of several: a text, or NULL if it can't be one.
    fn key_part(&self, column: &str) -> String;

    /// Spells a key as the map has it.
    fn key_in_map(&self, column: &str) -> String;

    /// Spells the column of the map that sorts like the keys of a table.
    fn map_order(&self, is_integer: bool) -> &'static str;

    /// Spells bytes in lower-case hexadecimal digits.
    fn hex(&self, column: &str) -> String;

    /// Spells the condition that a column of bytes holds one of those in a list.
    fn among_bytes(&self, column: &str, parameter: &str) -> String;

    /// Spells a list for `among_bytes`.
    fn list_bytes(&self, all: &[&[u8]]) -> String;

    /// Ends a query of a row that is about to be written.
    fn row_lock(&self) -> &'static str;

    /// The same of rows that nobody holds: others are left out.
    fn row_lock_free(&self) -> &'static str;

    /// Spells, behind `INSERT` or `UPDATE`, that whatever breaks a rule is refused: on SQLite a table may say that another row
    /// gives way instead.
    fn or_refuse(&self) -> &'static str;

    /// Tells whether the column is what the database numbers the rows of a table by, so that `last_number` is the key of the row
    /// that was inserted last: to ask for that costs less than to have it returned.
    fn numbers_rows(&self, _table: &str, _column: &str) -> Result<bool, SqlError> {
        Ok(false)
    }

    /// Returns the number of the row that was inserted last into a table of which `numbers_rows` is true.
    fn last_number(&self) -> Option<i64> {
        None
    }

    /// Tells which values a column of a declared type shows as they are written into a table of which `numbers_rows` is true.
    fn as_written(&self, _declared: &str) -> Result<AsWritten, SqlError> {
        Ok(AsWritten::default())
    }

    /// Returns how many records are written together. With 1 there is a statement for each, which costs nothing where no
    /// answer has to travel.
    fn batch_rows(&self) -> usize;

    /// Tells what of a value a column of a declared type can't hold as it is though the database wouldn't refuse it, in words.
    fn lacks(&self, declared: &str, raw: &Raw) -> Option<&'static str>;

    /// Finds a value that a column of a declared type holds, where the type has only some.
    fn some_value(&self, declared: &str) -> Result<Option<Raw>, SqlError>;

    /// Tells whether a column gives back what of this kind is stored in it, as that kind.
    fn keeps(&self, declared: &str, kind: Kind) -> bool;

    /// Makes of any value what the bookkeeping can hold, and back.
    fn pack(&self, raw: &Raw) -> Raw;

    fn unpack(&self, raw: RawRef<'_>) -> Option<Raw>;
}

impl dyn Session + '_ {
    /// Returns what `read` makes of the first row.
    pub(crate) fn one<T>(
        &self,
        sql: &str,
        values: &[RawRef<'_>],
        read: impl FnOnce(&dyn Row) -> Result<T, SqlError>,
    ) -> Result<Option<T>, SqlError> {
        let (mut read, mut found) = (Some(read), None);
        self.each(sql, values, &mut |row| {
            if let Some(read) = read.take() {
                found = Some(read(row)?);
            }
            Ok(false)
        })?;
        Ok(found)
    }

    /// Returns what `read` makes of each row.
    pub(crate) fn all<T>(
        &self,
        sql: &str,
        values: &[RawRef<'_>],
        mut read: impl FnMut(&dyn Row) -> Result<T, SqlError>,
    ) -> Result<Vec<T>, SqlError> {
        let mut all = Vec::new();
        self.each(sql, values, &mut |row| {
            all.push(read(row)?);
            Ok(true)
        })?;
        Ok(all)
    }

    /// Runs a query with any number of rows, for callers that fail in their own ways.
    pub(crate) fn scan_into<E: From<SqlError>>(
        &self,
        sql: &str,
        mut visit: impl FnMut(&dyn Row) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut failed = None;
        self.scan(sql, &mut |row| {
            failed = visit(row).err();
            Ok(failed.is_none())
        })?;
        failed.map_or(Ok(()), Err)
    }

    /// The same for one with few rows.
    pub(crate) fn each_into<E: From<SqlError>>(
        &self,
        sql: &str,
        values: &[RawRef<'_>],
        mut visit: impl FnMut(&dyn Row) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut failed = None;
        self.each(sql, values, &mut |row| {
            failed = visit(row).err();
            Ok(failed.is_none())
        })?;
        failed.map_or(Ok(()), Err)
    }

    pub(crate) fn exists(&self, sql: &str, values: &[RawRef<'_>]) -> Result<bool, SqlError> {
        Ok(self.one(sql, values, |_| Ok(()))?.is_some())
    }

    /// Like `one`, where there is always a row.
    pub(crate) fn only<T>(
        &self,
        sql: &str,
        values: &[RawRef<'_>],
        read: impl FnOnce(&dyn Row) -> Result<T, SqlError>,
    ) -> Result<T, SqlError> {
        self.one(sql, values, read)?.ok_or(SqlError::Column { at: 0, wanted: "a row" })
    }
}

/// A write transaction that is rolled back unless it is committed.
#[derive(Debug)]
pub(crate) struct Transaction<'a> {
    session: &'a dyn Session,
    is_open: bool,
}

impl<'a> Transaction<'a> {
    pub(crate) fn begin(session: &'a dyn Session) -> Result<Self, SqlError> {
        session.begin()?;
        Ok(Self { session, is_open: true })
    }

    pub(crate) fn begin_read(session: &'a dyn Session) -> Result<Self, SqlError> {
        session.begin_read()?;
        Ok(Self { session, is_open: true })
    }

    pub(crate) fn commit(mut self) -> Result<(), SqlError> {
        self.session.commit()?;
        self.is_open = false;
        Ok(())
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if self.is_open {
            // Closing the connection would roll back as well, so a failure here loses nothing.
            let _ = self.session.roll_back();
        }
    }
}

impl SqlError {
    pub(crate) fn meaning(&self) -> Meaning {
        match self {
            Self::Sqlite(error) => crate::connector::sqlite::error::meaning(error),
            Self::Postgres(error) => crate::connector::postgres::error::meaning(error),
            Self::Column { .. } => Meaning::Whole,
        }
    }
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(error) => error.fmt(f),
            Self::Postgres(error) => match error.as_db_error() {
                Some(error) => f.write_str(error.message()),
                None => error.fmt(f),
            },
            Self::Column { at, wanted } => write!(f, "column {at} of an answer does not hold {wanted}"),
        }
    }
}
