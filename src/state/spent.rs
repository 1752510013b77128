//! Objects that may not stay where we brought them: what a fresh ladder took out of our heads.
//!
//! `sealed` lists what our heads have named since the last fresh ladder, `spent` what each remote may hold of
//! what they named before. A row goes when the object is known to be gone from there.

use super::database::{State, blob};
use super::error::Error;
use super::heads::number;
use crate::id::bytes::{ObjectId, ScopeId};
use crate::id::name::PeerName;

impl State {
    /// Remembers the objects that a head of ours names.
    ///
    /// # Errors
    /// `Query`.
    pub fn put_sealed(&self, scope: &ScopeId, objects: impl IntoIterator<Item = ObjectId>) -> Result<(), Error> {
        let mut statement = self
            .connection
            .prepare_cached("INSERT OR IGNORE INTO sealed VALUES (?1, ?2)")
            .map_err(Error::query("remember an object"))?;
        for object in objects {
            statement.execute((scope.as_bytes(), object.as_bytes())).map_err(Error::query("remember an object"))?;
        }
        Ok(())
    }

    /// Notes that head `seq` is a fresh ladder: every object that a head of ours named before it is to go from
    /// every remote. The caller holds a transaction.
    ///
    /// # Errors
    /// `Query`.
    pub fn spend_sealed(&self, scope: &ScopeId, seq: u64) -> Result<(), Error> {
        let query = Error::query("note that objects are to be removed");
        let run = |sql: &str| self.connection.execute(sql, [scope.as_bytes()]).map_err(&query);
        run("INSERT OR IGNORE INTO spent SELECT name, scope, object FROM remote, sealed WHERE scope = ?1")?;
        run("DELETE FROM sealed WHERE scope = ?1")?;
        self.connection
            .execute("INSERT OR REPLACE INTO refolded VALUES (?1, ?2)", (scope.as_bytes(), number(seq)))
            .map_err(&query)?;
        Ok(())
    }

    /// Tells whether our heads of a scope named anything since the last fresh ladder.
    ///
    /// # Errors
    /// `Query`.
    pub fn has_sealed(&self, scope: &ScopeId) -> Result<bool, Error> {
        self.connection
            .query_row("SELECT EXISTS (SELECT 1 FROM sealed WHERE scope = ?1)", [scope.as_bytes()], |row| row.get(0))
            .map_err(Error::query("look what heads named"))
    }

    /// Notes that our head of another's scope has to go from wherever it is, until we sign a new one.
    ///
    /// # Errors
    /// `Query`.
    pub fn note_head_withdrawn(&self, scope: &ScopeId) -> Result<(), Error> {
        self.set_meta(&withdrawn_key(scope), "until the next one")
    }

    /// Tells whether our head of another's scope has to go from wherever it is.
    ///
    /// # Errors
    /// `Query`.
    pub fn is_head_withdrawn(&self, scope: &ScopeId) -> Result<bool, Error> {
        Ok(self.meta(&withdrawn_key(scope))?.is_some())
    }

    /// Notes that we signed a new head of a scope.
    ///
    /// # Errors
    /// `Query`.
    pub fn clear_head_withdrawn(&self, scope: &ScopeId) -> Result<(), Error> {
        self.forget_meta(&withdrawn_key(scope))
    }

    /// Returns the number of our newest head of a scope that is a fresh ladder; 0 if there is none.
    ///
    /// # Errors
    /// `Query`.
    pub fn refolded(&self, scope: &ScopeId) -> Result<u64, Error> {
        let sql = "SELECT coalesce(max(seq), 0) FROM refolded WHERE scope = ?1";
        let seq: i64 = self
            .connection
            .query_row(sql, [scope.as_bytes()], |row| row.get(0))
            .map_err(Error::query("look when a scope was folded anew"))?;
        Ok(seq.unsigned_abs())
    }

    /// Adds objects that are to go from a remote.
    ///
    /// # Errors
    /// `Query`.
    pub fn put_spent(
        &self,
        remote: &PeerName,
        scope: &ScopeId,
        objects: impl IntoIterator<Item = ObjectId>,
    ) -> Result<(), Error> {
        let sql = "INSERT OR IGNORE INTO spent VALUES (?1, ?2, ?3)";
        for object in objects {
            self.connection
                .execute(sql, (remote.as_str(), scope.as_bytes(), object.as_bytes()))
                .map_err(Error::query("note that an object is to be removed"))?;
        }
        Ok(())
    }

    /// Returns the objects of a scope that are to go from a remote.
    ///
    /// # Errors
    /// `Query`.
    pub fn spent(&self, remote: &PeerName, scope: &ScopeId) -> Result<Vec<ObjectId>, Error> {
        self.connection
            .prepare_cached("SELECT object FROM spent WHERE remote = ?1 AND scope = ?2 ORDER BY object")
            .and_then(|mut statement| {
                let read = |row: &rusqlite::Row<'_>| Ok(ObjectId::from_bytes(blob(row, 0)?));
                statement.query_map((remote.as_str(), scope.as_bytes()), read)?.collect()
            })
            .map_err(Error::query("read which objects are to be removed"))
    }

    /// Returns how many objects are still to go from a remote.
    ///
    /// # Errors
    /// `Query`.
    pub fn spent_count(&self, remote: &PeerName) -> Result<u64, Error> {
        let sql = "SELECT count(DISTINCT object) FROM spent WHERE remote = ?1";
        let count: i64 = self
            .connection
            .query_row(sql, [remote.as_str()], |row| row.get(0))
            .map_err(Error::query("count which objects are to be removed"))?;
        Ok(count.unsigned_abs())
    }

    /// Notes that these objects are gone from a remote.
    ///
    /// # Errors
    /// `Query`.
    pub fn forget_spent(&self, remote: &PeerName, scope: &ScopeId, objects: &[ObjectId]) -> Result<(), Error> {
        let transaction = self.transaction()?;
        for object in objects {
            self.connection
                .execute(
                    "DELETE FROM spent WHERE remote = ?1 AND scope = ?2 AND object = ?3",
                    (remote.as_str(), scope.as_bytes(), object.as_bytes()),
                )
                .map_err(Error::query("note that an object is gone"))?;
        }
        super::database::commit(transaction)
    }
}

fn withdrawn_key(scope: &ScopeId) -> String {
    format!("head-withdrawn/{scope}")
}
