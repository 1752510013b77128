//! Receipts of readers, the last heads seen of each signer, and proofs of forks.

use rusqlite::{OptionalExtension, Row};

use super::database::{State, blob};
use super::error::Error;
use super::heads::number;
use crate::exchange::head::Head;
use crate::exchange::receipt::fork::ForkKind;
use crate::id::bytes::{DocHash, InstanceId, ScopeId};
use crate::sys::clock::UnixMillis;

/// A receipt that we hold: of a peer, or our own newest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptRow {
    /// The scope.
    pub scope: ScopeId,
    /// Whose receipt.
    pub signer: InstanceId,
    /// The signer's incarnation.
    pub incarnation: u32,
    /// Its number.
    pub seq: u64,
    /// When it was signed, by the signer's own clock.
    pub time: UnixMillis,
    /// BLAKE3 of the signed document.
    pub hash: DocHash,
    /// The signed document.
    pub document: Vec<u8>,
    /// What it states, in clear.
    pub statement: Vec<u8>,
}

/// A verified head that we have met, tracked or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenHead {
    /// The signer's incarnation.
    pub incarnation: u32,
    /// Its number.
    pub seq: u64,
    /// The signer's newest own write.
    pub writes: u64,
    /// BLAKE3 of the signed document.
    pub hash: DocHash,
    /// The signed document; empty if it was too large to be kept.
    pub document: Vec<u8>,
}

/// Two documents of one signer that contradict each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForkRow {
    /// The scope.
    pub scope: ScopeId,
    /// Who signed both.
    pub signer: InstanceId,
    /// What they are.
    pub kind: ForkKind,
    /// The one that we met first.
    pub ours: Vec<u8>,
    /// The other one.
    pub theirs: Vec<u8>,
    /// When we met it.
    pub seen: UnixMillis,
}

/// How many heads of one signer are kept to compare others with.
const SEEN_MAX: u64 = 64;
/// A larger document is remembered by its hash only.
const SEEN_BYTES_MAX: usize = 64 << 10;

impl State {
    /// Makes a receipt the newest of its signer.
    ///
    /// # Errors
    /// `Query`.
    pub fn put_receipt(&self, receipt: &ReceiptRow) -> Result<(), Error> {
        self.connection
            .execute(
                "INSERT OR REPLACE INTO receipt VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                (
                    receipt.scope.as_bytes(),
                    receipt.signer.as_bytes(),
                    receipt.incarnation,
                    number(receipt.seq),
                    number(receipt.time.0),
                    receipt.hash.as_bytes(),
                    &receipt.document,
                    &receipt.statement,
                ),
            )
            .map_err(Error::query("keep a receipt"))?;
        Ok(())
    }

    /// Reads the newest receipt of a signer.
    ///
    /// # Errors
    /// `Query`.
    pub fn receipt(&self, scope: &ScopeId, signer: &InstanceId) -> Result<Option<ReceiptRow>, Error> {
        self.connection
            .query_row(
                "SELECT * FROM receipt WHERE scope = ?1 AND signer = ?2",
                (scope.as_bytes(), signer.as_bytes()),
                receipt_row,
            )
            .optional()
            .map_err(Error::query("read a receipt"))
    }

    /// Reads the receipts of a scope, by signer.
    ///
    /// # Errors
    /// `Query`.
    pub fn receipts(&self, scope: &ScopeId) -> Result<Vec<ReceiptRow>, Error> {
        self.connection
            .prepare_cached("SELECT * FROM receipt WHERE scope = ?1 ORDER BY signer")
            .and_then(|mut statement| statement.query_map([scope.as_bytes()], receipt_row)?.collect())
            .map_err(Error::query("read the receipts of a scope"))
    }

    /// Remembers a verified head to compare others with; of each signer the newest 64 stay. One with the same
    /// number is not replaced.
    ///
    /// # Errors
    /// `Query`.
    pub fn put_seen(&self, head: &Head, hash: &DocHash, document: &[u8]) -> Result<(), Error> {
        let query = Error::query("remember a head");
        let kept = if document.len() > SEEN_BYTES_MAX { &[][..] } else { document };
        let (scope, signer) = (head.scope.as_bytes(), head.signer.as_bytes());
        let (seq, writes) = (number(head.seq), number(head.writes));
        self.connection
            .prepare_cached("INSERT OR IGNORE INTO seen VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")
            .and_then(|mut statement| {
                statement.execute((scope, signer, head.incarnation, seq, writes, hash.as_bytes(), kept))
            })
            .map_err(&query)?;
        self.connection
            .prepare_cached(
                "DELETE FROM seen WHERE scope = ?1 AND signer = ?2 AND (incarnation, seq) <= (SELECT incarnation, seq FROM seen
                 WHERE scope = ?1 AND signer = ?2 ORDER BY incarnation DESC, seq DESC LIMIT 1 OFFSET ?3)",
            )
            .and_then(|mut statement| statement.execute((scope, signer, number(SEEN_MAX))))
            .map_err(&query)?;
        Ok(())
    }

    /// Returns the heads of a signer that we remember, the newest first.
    ///
    /// # Errors
    /// `Query`.
    pub fn seen(&self, scope: &ScopeId, signer: &InstanceId) -> Result<Vec<SeenHead>, Error> {
        let read = |row: &Row<'_>| {
            Ok(SeenHead {
                incarnation: row.get(0)?,
                seq: row.get::<_, i64>(1)?.unsigned_abs(),
                writes: row.get::<_, i64>(2)?.unsigned_abs(),
                hash: DocHash::from_bytes(blob(row, 3)?),
                document: row.get(4)?,
            })
        };
        self.connection
            .prepare_cached(
                "SELECT incarnation, seq, writes, hash, document FROM seen WHERE scope = ?1 AND signer = ?2
                 ORDER BY incarnation DESC, seq DESC",
            )
            .and_then(|mut statement| statement.query_map((scope.as_bytes(), signer.as_bytes()), read)?.collect())
            .map_err(Error::query("read the heads of a signer"))
    }

    /// Returns the newest write that each signer of a scope has signed for, as far as we have met its heads:
    /// (incarnation, number).
    ///
    /// # Errors
    /// `Query`.
    pub fn signed_writes(&self, scope: &ScopeId) -> Result<Vec<(InstanceId, (u32, u64))>, Error> {
        let read = |row: &Row<'_>| {
            Ok((InstanceId::from_bytes(blob(row, 0)?), (row.get(1)?, row.get::<_, i64>(2)?.unsigned_abs())))
        };
        self.connection
            .prepare_cached(
                "SELECT signer, incarnation, max(writes) FROM seen WHERE scope = ?1 GROUP BY signer, incarnation",
            )
            .and_then(|mut statement| statement.query_map([scope.as_bytes()], read)?.collect())
            .map_err(Error::query("read what signers have written"))
    }

    /// Keeps the proof that a signer made two histories. The first proof of a kind stays. Tells whether it is new.
    ///
    /// # Errors
    /// `Query`.
    pub fn put_proof(&self, fork: &ForkRow) -> Result<bool, Error> {
        let rows = self
            .connection
            .execute(
                "INSERT OR IGNORE INTO fork VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                (
                    fork.scope.as_bytes(),
                    fork.signer.as_bytes(),
                    word(fork.kind),
                    &fork.ours,
                    &fork.theirs,
                    number(fork.seen.0),
                ),
            )
            .map_err(Error::query("keep a fork proof"))?;
        Ok(rows == 1)
    }

    /// Reads the proofs of a scope, by signer.
    ///
    /// # Errors
    /// `Query`.
    pub fn forks(&self, scope: &ScopeId) -> Result<Vec<ForkRow>, Error> {
        let read = |row: &Row<'_>| {
            let kind: String = row.get(2)?;
            Ok(ForkRow {
                scope: ScopeId::from_bytes(blob(row, 0)?),
                signer: InstanceId::from_bytes(blob(row, 1)?),
                kind: if kind == word(ForkKind::Manifests) { ForkKind::Manifests } else { ForkKind::Heads },
                ours: row.get(3)?,
                theirs: row.get(4)?,
                seen: UnixMillis(row.get::<_, i64>(5)?.unsigned_abs()),
            })
        };
        self.connection
            .prepare_cached("SELECT * FROM fork WHERE scope = ?1 ORDER BY signer, kind")
            .and_then(|mut statement| statement.query_map([scope.as_bytes()], read)?.collect())
            .map_err(Error::query("read the fork proofs"))
    }
}

fn word(kind: ForkKind) -> &'static str {
    match kind {
        ForkKind::Heads => "heads",
        ForkKind::Manifests => "manifests",
    }
}

fn receipt_row(row: &Row<'_>) -> rusqlite::Result<ReceiptRow> {
    Ok(ReceiptRow {
        scope: ScopeId::from_bytes(blob(row, 0)?),
        signer: InstanceId::from_bytes(blob(row, 1)?),
        incarnation: row.get(2)?,
        seq: row.get::<_, i64>(3)?.unsigned_abs(),
        time: UnixMillis(row.get::<_, i64>(4)?.unsigned_abs()),
        hash: DocHash::from_bytes(blob(row, 5)?),
        document: row.get(6)?,
        statement: row.get(7)?,
    })
}
