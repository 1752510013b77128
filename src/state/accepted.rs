//! What the operator has settled about heads that nobody takes by themselves: two histories, and wild jumps.

use rusqlite::OptionalExtension;

use super::database::{State, blob};
use super::error::Error;
use super::heads::number;
use crate::id::bytes::{DocHash, InstanceId, ScopeId};

/// Two heads of one signer and scope that contradict each other, as signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForkProof {
    /// The scope.
    pub scope: ScopeId,
    /// The one that we had.
    pub ours: Vec<u8>,
    /// The one that came.
    pub theirs: Vec<u8>,
}

/// A head that waits for the operator because its number jumps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jump {
    /// The scope.
    pub scope: ScopeId,
    /// Its number.
    pub seq: u64,
    /// The signer's incarnation in it.
    pub incarnation: u32,
    /// Its document.
    pub hash: DocHash,
}

impl State {
    /// Reads the proofs of two histories of a signer that aren't settled.
    ///
    /// # Errors
    /// `Query`.
    pub fn open_forks(&self, signer: &InstanceId) -> Result<Vec<ForkProof>, Error> {
        self.connection
            .prepare_cached(
                "SELECT scope, ours, theirs FROM fork f WHERE signer = ?1 AND kind = 'heads' AND NOT EXISTS
                 (SELECT 1 FROM fork_settled s WHERE s.scope = f.scope AND s.signer = f.signer) ORDER BY scope",
            )
            .and_then(|mut statement| {
                let read = |row: &rusqlite::Row<'_>| {
                    Ok(ForkProof { scope: ScopeId::from_bytes(blob(row, 0)?), ours: row.get(1)?, theirs: row.get(2)? })
                };
                statement.query_map([signer.as_bytes()], read)?.collect()
            })
            .map_err(Error::query("read the fork proofs"))
    }

    /// Settles a fork: the signer's heads count again. The proof is kept.
    ///
    /// # Errors
    /// `Query`.
    pub fn settle_fork(&self, scope: &ScopeId, signer: &InstanceId) -> Result<(), Error> {
        self.connection
            .execute("INSERT OR IGNORE INTO fork_settled VALUES (?1, ?2)", (scope.as_bytes(), signer.as_bytes()))
            .map_err(Error::query("settle a fork"))?;
        Ok(())
    }

    /// Notes a head that waits for the operator, in place of an earlier one.
    ///
    /// # Errors
    /// `Query`.
    pub fn put_jump(&self, signer: &InstanceId, jump: &Jump) -> Result<(), Error> {
        self.connection
            .execute(
                "INSERT INTO jump VALUES (?1, ?2, ?3, ?4, ?5, 0) ON CONFLICT DO UPDATE
                 SET hash = ?3, incarnation = ?4, seq = ?5, accepted = 0 WHERE hash <> ?3",
                (jump.scope.as_bytes(), signer.as_bytes(), jump.hash.as_bytes(), jump.incarnation, number(jump.seq)),
            )
            .map_err(Error::query("note a jump"))?;
        Ok(())
    }

    /// Reads the heads of a signer that wait for the operator.
    ///
    /// # Errors
    /// `Query`.
    pub fn open_jumps(&self, signer: &InstanceId) -> Result<Vec<Jump>, Error> {
        self.connection
            .prepare_cached(
                "SELECT scope, seq, incarnation, hash FROM jump WHERE signer = ?1 AND accepted = 0 ORDER BY scope",
            )
            .and_then(|mut statement| {
                let read = |row: &rusqlite::Row<'_>| {
                    Ok(Jump {
                        scope: ScopeId::from_bytes(blob(row, 0)?),
                        seq: row.get::<_, i64>(1)?.unsigned_abs(),
                        incarnation: row.get(2)?,
                        hash: DocHash::from_bytes(blob(row, 3)?),
                    })
                };
                statement.query_map([signer.as_bytes()], read)?.collect()
            })
            .map_err(Error::query("read the jumps"))
    }

    /// Lets a head that waits be taken by the next fetch.
    ///
    /// # Errors
    /// `Query`.
    pub fn accept_jump(&self, scope: &ScopeId, signer: &InstanceId) -> Result<(), Error> {
        self.connection
            .execute(
                "UPDATE jump SET accepted = 1 WHERE scope = ?1 AND signer = ?2",
                (scope.as_bytes(), signer.as_bytes()),
            )
            .map_err(Error::query("accept a jump"))?;
        Ok(())
    }

    /// Tells whether the operator let this very head be taken.
    ///
    /// # Errors
    /// `Query`.
    pub fn is_jump_accepted(&self, scope: &ScopeId, signer: &InstanceId, hash: &DocHash) -> Result<bool, Error> {
        let sql = "SELECT accepted FROM jump WHERE scope = ?1 AND signer = ?2 AND hash = ?3";
        let found: Option<bool> = self
            .connection
            .query_row(sql, (scope.as_bytes(), signer.as_bytes(), hash.as_bytes()), |row| row.get(0))
            .optional()
            .map_err(Error::query("look for an accepted jump"))?;
        Ok(found == Some(true))
    }

    /// Forgets what waited: the signer's head was taken.
    ///
    /// # Errors
    /// `Query`.
    pub fn clear_jump(&self, scope: &ScopeId, signer: &InstanceId) -> Result<(), Error> {
        self.connection
            .prepare_cached("DELETE FROM jump WHERE scope = ?1 AND signer = ?2")
            .and_then(|mut statement| statement.execute((scope.as_bytes(), signer.as_bytes())))
            .map_err(Error::query("forget a jump"))?;
        Ok(())
    }
}
