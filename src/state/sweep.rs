//! Removing tree nodes that nothing needs any more, so that their bytes are gone from the files.

use std::collections::HashSet;

use super::database::{State, commit};
use super::error::Error;
use crate::id::bytes::NodeId;

const DUE_KEY: &str = "sweep";

impl State {
    /// Notes that the state holds what should be forgotten. In the transaction that brought it, so that a crash
    /// can't lose the note.
    ///
    /// # Errors
    /// `Query`.
    pub fn mark_sweep(&self) -> Result<(), Error> {
        self.set_meta(DUE_KEY, "due")
    }

    /// Tells whether the state holds what should be forgotten.
    ///
    /// # Errors
    /// `Query`.
    pub fn sweep_due(&self) -> Result<bool, Error> {
        Ok(self.meta(DUE_KEY)?.is_some_and(|mark| mark == "due"))
    }

    /// Notes that it is forgotten.
    ///
    /// # Errors
    /// `Query`.
    pub fn clear_sweep(&self) -> Result<(), Error> {
        self.set_meta(DUE_KEY, "done")
    }

    /// Removes every node but those in `kept`, in one transaction, and returns how many went. SQLite writes zeros
    /// over them (`secure_delete`).
    ///
    /// # Errors
    /// `Query`.
    pub fn keep_nodes(&self, kept: &HashSet<NodeId>) -> Result<u64, Error> {
        let transaction = self.transaction()?;
        let read = |row: &rusqlite::Row<'_>| row.get::<_, [u8; 32]>(0);
        let ids: Vec<[u8; 32]> = self
            .connection
            .prepare("SELECT id FROM node")
            .and_then(|mut statement| statement.query_map([], read)?.collect())
            .map_err(Error::query("list the tree nodes"))?;
        let mut removed = 0;
        {
            let mut statement =
                self.connection.prepare("DELETE FROM node WHERE id = ?1").map_err(Error::query("remove tree nodes"))?;
            for id in ids.iter().filter(|id| !kept.contains(&NodeId::from_bytes(**id))) {
                statement.execute([id]).map_err(Error::query("remove tree nodes"))?;
                removed += 1;
            }
        }
        commit(transaction)?;
        self.forget_cache();
        Ok(removed)
    }

    /// Moves everything from the log of changes into the database file and empties the log. Returns false if
    /// another process reads the state just now: then the log keeps older contents.
    ///
    /// # Errors
    /// `Query`.
    pub fn empty_log(&self) -> Result<bool, Error> {
        let busy: i64 = self
            .connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
            .map_err(Error::query("empty the log of the database"))?;
        Ok(busy == 0)
    }

    /// Gives room that is free inside the database file back to the disk. Returns false if another process uses the
    /// state just now; then the room stays for reuse.
    ///
    /// # Errors
    /// `Query`.
    pub fn compact(&self) -> Result<bool, Error> {
        match self.connection.uncounted().execute_batch("VACUUM").map_err(Error::query("give free room back")) {
            Ok(()) => self.empty_log(),
            Err(error) if error.is_busy() => Ok(false),
            Err(error) => Err(error),
        }
    }
}
