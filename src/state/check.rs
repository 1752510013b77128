//! Whether the state's database itself is well, and its tables read whole: for `fsck` and `repair`.

use super::database::{SCHEMA, State, blob, commit};
use super::error::Error;
use crate::id::bytes::{CommitId, NodeId, ScopeId};

/// A commit with its bytes, of whatever content.
pub type StoredCommit = (ScopeId, CommitId, Vec<u8>);

impl State {
    /// Lets SQLite check the file, and returns what it says is wrong, at most `FAULTS_MAX` lines.
    ///
    /// # Errors
    /// `Query` if the file can't even be checked.
    pub fn faults(&self) -> Result<Vec<String>, Error> {
        let sql = format!("PRAGMA integrity_check({FAULTS_MAX})");
        let mut lines: Vec<String> = self
            .connection
            .prepare(&sql)
            .and_then(|mut statement| statement.query_map([], |row| row.get(0))?.collect())
            .map_err(Error::query("check the database"))?;
        lines.retain(|line| line != "ok");
        Ok(lines)
    }

    /// Lists the tables that should be there and aren't.
    ///
    /// # Errors
    /// `Query`.
    pub fn missing_tables(&self) -> Result<Vec<String>, Error> {
        let there: Vec<String> = self
            .connection
            .prepare("SELECT name FROM sqlite_schema WHERE type = 'table'")
            .and_then(|mut statement| statement.query_map([], |row| row.get(0))?.collect())
            .map_err(Error::query("list the tables"))?;
        Ok(tables().filter(|table| !there.iter().any(|there| there == table)).map(str::to_owned).collect())
    }

    /// Makes the tables that should be there and aren't, empty.
    ///
    /// # Errors
    /// `Query`.
    pub fn make_missing_tables(&self) -> Result<(), Error> {
        let missing = self.missing_tables()?;
        let transaction = self.transaction()?;
        self.connection
            .uncounted()
            .execute_batch(&SCHEMA.replace("CREATE TABLE ", "CREATE TABLE IF NOT EXISTS "))
            .map_err(Error::query("make the tables"))?;
        commit(transaction)?;
        self.recount_made(&missing)
    }

    /// Gives every tree node to `see`, whatever its bytes are.
    ///
    /// # Errors
    /// `Query`.
    pub fn each_node(&self, see: &mut dyn FnMut(NodeId, &[u8])) -> Result<(), Error> {
        let failed = Error::query("read the tree nodes");
        let mut statement = self.connection.prepare("SELECT id, bytes FROM node").map_err(&failed)?;
        let mut rows = statement.query([]).map_err(&failed)?;
        while let Some(row) = rows.next().map_err(&failed)? {
            let id = NodeId::from_bytes(blob(row, 0).map_err(&failed)?);
            let kept: Vec<u8> = row.get(1).map_err(&failed)?;
            see(id, &self.packer.unpack(&kept));
        }
        Ok(())
    }

    /// Counts the tree nodes.
    ///
    /// # Errors
    /// `Query`.
    pub fn node_count(&self) -> Result<u64, Error> {
        let count: i64 = self
            .connection
            .query_row("SELECT count(*) FROM node", [], |row| row.get(0))
            .map_err(Error::query("count the tree nodes"))?;
        Ok(count.unsigned_abs())
    }

    /// Reads all commits with their bytes, whatever those are.
    ///
    /// # Errors
    /// `Query`.
    pub fn all_commits(&self) -> Result<Vec<StoredCommit>, Error> {
        let read = |row: &rusqlite::Row<'_>| {
            Ok((ScopeId::from_bytes(blob(row, 0)?), CommitId::from_bytes(blob(row, 1)?), row.get(2)?))
        };
        self.connection
            .prepare("SELECT scope, id, bytes FROM commits")
            .and_then(|mut statement| statement.query_map([], read)?.collect())
            .map_err(Error::query("read the commits"))
    }

    /// Removes a commit, so that the same one can be stored anew.
    ///
    /// # Errors
    /// `Query`.
    pub fn drop_commit(&self, scope: &ScopeId, id: &CommitId) -> Result<(), Error> {
        self.connection
            .execute("DELETE FROM commits WHERE scope = ?1 AND id = ?2", (scope.as_bytes(), id.as_bytes()))
            .map_err(Error::query("drop a commit"))?;
        Ok(())
    }

    /// Reads the first rows of every table, so that one that can't be read is noticed; returns the tables and why.
    pub fn unreadable_tables(&self) -> Vec<(&'static str, String)> {
        let read = |table: &str| -> rusqlite::Result<()> {
            let mut statement = self.connection.prepare(&format!("SELECT * FROM {table}"))?;
            let mut rows = statement.query([])?;
            while rows.next()?.is_some() {}
            Ok(())
        };
        let failed = |table| read(table).err().map(|error| (table, error.to_string()));
        tables().filter_map(failed).collect()
    }

    /// Returns the bytes of the database file that are in use, and those that are free for reuse.
    ///
    /// # Errors
    /// `Query`.
    pub fn sizes(&self) -> Result<(u64, u64), Error> {
        let number = |pragma: &str| -> Result<u64, Error> {
            let found: i64 = self
                .connection
                .query_row(&format!("PRAGMA {pragma}"), [], |row| row.get(0))
                .map_err(Error::query("measure the database"))?;
            Ok(found.unsigned_abs())
        };
        let (page, pages, free) = (number("page_size")?, number("page_count")?, number("freelist_count")?);
        Ok(((pages - free.min(pages)) * page, free * page))
    }
}

/// The names of the tables, as `SCHEMA` has them.
pub(super) fn tables() -> impl Iterator<Item = &'static str> {
    let after = SCHEMA.split("CREATE TABLE ").skip(1);
    after.filter_map(|text| text.split([' ', '(']).next())
}

/// How many faults SQLite lists at most.
const FAULTS_MAX: u32 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_is_gone_is_named_and_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(&dir.path().join("state.db")).unwrap();
        assert_eq!(state.missing_tables().unwrap(), Vec::<String>::new());
        assert!(state.faults().unwrap().is_empty() && state.unreadable_tables().is_empty());
        state.connection.uncounted().execute_batch("DROP TABLE shun; DROP TABLE jump").unwrap();
        assert_eq!(state.missing_tables().unwrap(), ["jump", "shun"]);
        assert_eq!(state.unreadable_tables().len(), 2);
        state.make_missing_tables().unwrap();
        assert!(state.missing_tables().unwrap().is_empty() && state.unreadable_tables().is_empty());
    }
}
