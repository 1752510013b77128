//! The newest head of each signer in each scope: the high-water marks.

use rusqlite::{OptionalExtension, Row};

use super::database::{State, blob};
use super::error::Error;
use crate::exchange::head::verdict::Known;
use crate::id::bytes::{CommitId, DocHash, InstanceId, ScopeId};
use crate::sys::clock::UnixMillis;

/// A head that was verified and whose content we hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackedHead {
    /// The scope.
    pub scope: ScopeId,
    /// Who signed it.
    pub signer: InstanceId,
    /// The signer's incarnation.
    pub incarnation: u32,
    /// Its number.
    pub seq: u64,
    /// BLAKE3 of the signed document.
    pub hash: DocHash,
    /// The signed document.
    pub document: Vec<u8>,
    /// The commit that it names.
    pub commit: CommitId,
    /// The signer's newest own write sequence.
    pub writes: u64,
    /// When we got it.
    pub received: UnixMillis,
    /// The remote that brought it.
    pub via: String,
}

impl TrackedHead {
    /// Returns what newer heads of the same signer are compared with.
    pub fn mark(&self) -> Known {
        Known { incarnation: self.incarnation, seq: self.seq, hash: self.hash, writes: self.writes }
    }
}

const COLUMNS: &str = "scope, signer, incarnation, seq, hash, document, commit_id, writes, received, via";

impl State {
    /// Reads the head that we track of a signer.
    ///
    /// # Errors
    /// `Query`.
    pub fn head(&self, scope: &ScopeId, signer: &InstanceId) -> Result<Option<TrackedHead>, Error> {
        let sql = format!("SELECT {COLUMNS} FROM head WHERE scope = ?1 AND signer = ?2");
        self.connection
            .query_row(&sql, (scope.as_bytes(), signer.as_bytes()), tracked)
            .optional()
            .map_err(Error::query("read a head"))
    }

    /// Reads all heads of a scope, by signer.
    ///
    /// # Errors
    /// `Query`.
    pub fn heads(&self, scope: &ScopeId) -> Result<Vec<TrackedHead>, Error> {
        let sql = format!("SELECT {COLUMNS} FROM head WHERE scope = ?1 ORDER BY signer");
        self.connection
            .prepare_cached(&sql)
            .and_then(|mut statement| statement.query_map([scope.as_bytes()], tracked)?.collect())
            .map_err(Error::query("read the heads of a scope"))
    }

    /// Makes a head the tracked one of its signer.
    ///
    /// # Errors
    /// `Query`.
    pub fn put_head(&self, head: &TrackedHead) -> Result<(), Error> {
        self.connection
            .execute(
                "INSERT OR REPLACE INTO head VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
                (
                    head.scope.as_bytes(),
                    head.signer.as_bytes(),
                    head.incarnation,
                    number(head.seq),
                    head.hash.as_bytes(),
                    &head.document,
                    head.commit.as_bytes(),
                    number(head.writes),
                    number(head.received.0),
                    &head.via,
                ),
            )
            .map_err(Error::query("store a head"))?;
        Ok(())
    }

    /// Forgets that a fork was settled, and its proof: the signer has made another one.
    ///
    /// # Errors
    /// `Query`.
    pub fn reopen_fork(&self, scope: &ScopeId, signer: &InstanceId) -> Result<(), Error> {
        let ids = (scope.as_bytes(), signer.as_bytes());
        let query = Error::query("reopen a fork");
        let settled = self.connection.execute("DELETE FROM fork_settled WHERE scope = ?1 AND signer = ?2", ids);
        if settled.map_err(&query)? > 0 {
            let sql = "DELETE FROM fork WHERE scope = ?1 AND signer = ?2 AND kind = 'heads'";
            self.connection.execute(sql, ids).map_err(&query)?;
        }
        Ok(())
    }

    /// Tells whether somebody has settled what a signer forked.
    ///
    /// # Errors
    /// `Query`.
    pub fn is_settled(&self, scope: &ScopeId, signer: &InstanceId) -> Result<bool, Error> {
        let sql = "SELECT EXISTS (SELECT 1 FROM fork_settled WHERE scope = ?1 AND signer = ?2)";
        self.connection
            .query_row(sql, (scope.as_bytes(), signer.as_bytes()), |row| row.get(0))
            .map_err(Error::query("look for a settled fork"))
    }

    /// Tells whether a signer is known to have made two histories of a scope, and nobody has settled it.
    ///
    /// # Errors
    /// `Query`.
    pub fn is_forked(&self, scope: &ScopeId, signer: &InstanceId) -> Result<bool, Error> {
        self.connection
            .query_row(
                "SELECT EXISTS (SELECT 1 FROM fork WHERE scope = ?1 AND signer = ?2 AND kind = 'heads') AND NOT EXISTS
                  (SELECT 1 FROM fork_settled WHERE scope = ?1 AND signer = ?2)",
                (scope.as_bytes(), signer.as_bytes()),
                |row| row.get(0),
            )
            .map_err(Error::query("look for a fork proof"))
    }
}

/// SQLite has signed integers; sequence numbers and times of honest signers never come near the limit,
/// and `exchange` refuses wild ones.
pub(super) fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn tracked(row: &Row<'_>) -> rusqlite::Result<TrackedHead> {
    Ok(TrackedHead {
        scope: ScopeId::from_bytes(blob(row, 0)?),
        signer: InstanceId::from_bytes(blob(row, 1)?),
        incarnation: row.get(2)?,
        seq: row.get::<_, i64>(3)?.unsigned_abs(),
        hash: DocHash::from_bytes(blob(row, 4)?),
        document: row.get(5)?,
        commit: CommitId::from_bytes(blob(row, 6)?),
        writes: row.get::<_, i64>(7)?.unsigned_abs(),
        received: UnixMillis(row.get::<_, i64>(8)?.unsigned_abs()),
        via: row.get(9)?,
    })
}
