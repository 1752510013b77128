//! The connection of the state: every statement passes here, so that the census watches a table before it is first written.
//!
//! Watching all tables costs more than most commands do with the state, and each of them writes few.

use std::cell::RefCell;
use std::collections::BTreeSet;

use rusqlite::{CachedStatement, Connection, Params, Row, Statement, TransactionBehavior};

use super::census;

/// An open database whose tables are counted as they are written.
#[derive(Debug)]
pub(super) struct Counted {
    connection: Connection,
    /// The tables that have their triggers.
    watched: RefCell<BTreeSet<String>>,
}

/// A write transaction; dropped without `commit`, it leaves everything as it was.
#[derive(Debug)]
pub struct Transaction<'a> {
    inner: Option<rusqlite::Transaction<'a>>,
    watched: &'a RefCell<BTreeSet<String>>,
}

impl Counted {
    pub(super) fn new(connection: Connection) -> rusqlite::Result<Self> {
        census::prepare(&connection)?;
        Ok(Self { connection, watched: RefCell::default() })
    }

    /// Returns the connection itself, for what writes no row of a counted table.
    pub(super) fn uncounted(&self) -> &Connection {
        &self.connection
    }

    pub(super) fn begin(&self) -> rusqlite::Result<Transaction<'_>> {
        let inner = rusqlite::Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?;
        Ok(Transaction { inner: Some(inner), watched: &self.watched })
    }

    pub(super) fn prepare_cached(&self, sql: &str) -> rusqlite::Result<CachedStatement<'_>> {
        self.watch(sql)?;
        self.connection.prepare_cached(sql)
    }

    pub(super) fn prepare(&self, sql: &str) -> rusqlite::Result<Statement<'_>> {
        self.watch(sql)?;
        self.connection.prepare(sql)
    }

    pub(super) fn execute(&self, sql: &str, params: impl Params) -> rusqlite::Result<usize> {
        self.prepare_cached(sql)?.execute(params)
    }

    pub(super) fn query_row<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        self.prepare_cached(sql)?.query_row(params, read)
    }

    /// Watches tables that were made anew when they are written next.
    pub(super) fn forget_watched(&self) {
        self.watched.borrow_mut().clear();
    }

    fn watch(&self, sql: &str) -> rusqlite::Result<()> {
        let Some(table) = written_by(sql).filter(|table| !self.watched.borrow().contains(*table)) else {
            return Ok(());
        };
        if census::watch(&self.connection, table)? {
            self.watched.borrow_mut().insert(table.to_owned());
        }
        Ok(())
    }
}

impl Transaction<'_> {
    /// Takes everything back.
    ///
    /// # Errors
    /// SQLite can't; nothing is kept all the same.
    pub fn rollback(mut self) -> rusqlite::Result<()> {
        self.watched.borrow_mut().clear();
        self.inner.take().expect("it is taken once").rollback()
    }

    pub(super) fn commit(mut self) -> rusqlite::Result<()> {
        let done = self.inner.take().expect("it is taken once").commit();
        if done.is_err() {
            self.watched.borrow_mut().clear();
        }
        done
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        // What is taken back takes the triggers along that were made within.
        if self.inner.take().is_some() {
            self.watched.borrow_mut().clear();
        }
    }
}

/// Returns the table whose rows a statement of ours writes.
fn written_by(sql: &str) -> Option<&str> {
    let mut words = sql.split([' ', '\n', '(']).filter(|word| !word.is_empty());
    let before = match words.next()? {
        "INSERT" => "INTO",
        "DELETE" => "FROM",
        "UPDATE" => return words.next(),
        _ => return None,
    };
    words.find(|word| *word == before)?;
    words.next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_that_a_statement_writes_is_found() {
        for (sql, table) in [
            ("INSERT OR IGNORE INTO spent SELECT name, scope, object FROM remote, sealed", Some("spent")),
            ("INSERT INTO remote(name) VALUES (?1) ON CONFLICT DO UPDATE SET url = ?2", Some("remote")),
            ("\n            DELETE FROM late\n WHERE scope = ?1", Some("late")),
            ("UPDATE scope SET sequence = ?2", Some("scope")),
            ("SELECT scope FROM late", None),
            ("PRAGMA page_size", None),
        ] {
            assert_eq!(written_by(sql), table, "{sql}");
        }
    }
}
