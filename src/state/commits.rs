//! Commits of all scopes that we hold.

use rusqlite::OptionalExtension;

use super::database::State;
use super::error::Error;
use super::heads::number;
use crate::history::commit::{Commit, id_of};
use crate::history::join::Known;
use crate::id::bytes::{CommitId, ScopeId};
use crate::tree::key::IdKey;

impl State {
    /// Reads a commit, or `None` if we don't hold it.
    ///
    /// # Errors
    /// `Query`; `Damaged` if its bytes aren't a commit.
    pub fn commit(&self, scope: &ScopeId, id: &CommitId) -> Result<Option<Known>, Error> {
        let Some(bytes) = self.commit_bytes(scope, id)? else { return Ok(None) };
        let commit = Commit::decode(&bytes).map_err(|error| Error::damaged(format!("commit {id}: {error}")))?;
        Ok(Some(Known { id: *id, commit }))
    }

    /// Reads a commit that must be there.
    ///
    /// # Errors
    /// As `commit`; `Damaged` if it is missing.
    pub fn known_commit(&self, scope: &ScopeId, id: &CommitId) -> Result<Known, Error> {
        self.commit(scope, id)?.ok_or_else(|| Error::damaged(format!("commit {id} is missing")))
    }

    /// Reads the commits of a scope that we hold, at most `limit`.
    ///
    /// # Errors
    /// `Query`; `Damaged` if one's bytes aren't a commit.
    pub fn commits(&self, scope: &ScopeId, limit: usize) -> Result<Vec<Commit>, Error> {
        let sql = "SELECT bytes FROM commits WHERE scope = ?1 LIMIT ?2";
        let bytes: Vec<Vec<u8>> = self
            .connection
            .prepare_cached(sql)
            .and_then(|mut statement| {
                statement.query_map((scope.as_bytes(), number(limit as u64)), |row| row.get(0))?.collect()
            })
            .map_err(Error::query("read the commits of a scope"))?;
        let decode =
            |bytes: Vec<u8>| Commit::decode(&bytes).map_err(|error| Error::damaged(format!("a commit: {error}")));
        bytes.into_iter().map(decode).collect()
    }

    /// Reads the canonical bytes of a commit.
    ///
    /// # Errors
    /// `Query`.
    pub fn commit_bytes(&self, scope: &ScopeId, id: &CommitId) -> Result<Option<Vec<u8>>, Error> {
        self.connection
            .query_row(
                "SELECT bytes FROM commits WHERE scope = ?1 AND id = ?2",
                (scope.as_bytes(), id.as_bytes()),
                |row| row.get(0),
            )
            .optional()
            .map_err(Error::query("read a commit"))
    }

    /// Stores a commit by its bytes and returns its id.
    ///
    /// # Errors
    /// `Query`.
    pub fn put_commit(&self, scope: &ScopeId, key: &IdKey, bytes: &[u8]) -> Result<CommitId, Error> {
        let id = id_of(bytes, key);
        self.connection
            .execute("INSERT OR IGNORE INTO commits VALUES (?1, ?2, ?3)", (scope.as_bytes(), id.as_bytes(), bytes))
            .map_err(Error::query("store a commit"))?;
        Ok(id)
    }
}
