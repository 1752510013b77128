//! The pieces of files: which are named by whom, which are in the view, which are new and which are needed no more.
//!
//! A piece is a record of its own, whose key derives from origin, scope and content. It lives as long as a file of the
//! same scope names it. Only its origin takes it away; whoever changes a file adds what the change needs, and adds
//! again what was taken away meanwhile.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension, params};

use super::content::{self, Chunk};
use crate::id::bytes::{InstanceId, RecordKey};
use crate::id::name::{DatasetName, FieldName, ScopeName};
use crate::record::recordid::RecordId;

/// The bookkeeping of the pieces of one dataset.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pieces<'a> {
    pub(super) conn: &'a Connection,
    /// The dataset of the files.
    pub(super) dataset: &'a DatasetName,
}

/// A piece as a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) origin: InstanceId,
    pub(super) scope: ScopeName,
    pub(super) hash: [u8; 32],
}

impl Piece {
    pub(super) fn key(&self) -> RecordKey {
        content::key(&self.origin, &self.scope, &self.hash)
    }
}

impl Pieces<'_> {
    /// Writes down what a file names, in place of what it named.
    pub(super) fn name(&self, file: &RecordId, scope: Option<&ScopeName>, chunks: &[Chunk]) -> rusqlite::Result<()> {
        let (dataset, origin, key) = (self.dataset.as_str(), file.origin.as_bytes(), file.key.as_bytes());
        let sql = "DELETE FROM named WHERE dataset = ?1 AND origin = ?2 AND file = ?3";
        self.conn.prepare_cached(sql)?.execute(params![dataset, origin, key])?;
        let Some(scope) = scope else { return Ok(()) };
        let sql = "INSERT INTO named(dataset, origin, file, scope, hash) VALUES(?1, ?2, ?3, ?4, ?5)
                   ON CONFLICT DO NOTHING";
        let mut insert = self.conn.prepare_cached(sql)?;
        for chunk in chunks {
            insert.execute(params![dataset, origin, key, scope.as_str(), chunk.hash])?;
        }
        Ok(())
    }

    /// Writes down what values name that a conflict doesn't show, in place of what was so before: it is needed for as long
    /// as the content that is shown instead is.
    pub(super) fn hide(
        &self,
        file: &RecordId,
        scope: &ScopeName,
        chunks: &[Chunk],
        shown: &[u8],
    ) -> rusqlite::Result<()> {
        let (dataset, origin, key) = (self.dataset.as_str(), file.origin.as_bytes(), file.key.as_bytes());
        let sql = "DELETE FROM hidden WHERE dataset = ?1 AND origin = ?2 AND file = ?3";
        self.conn.prepare_cached(sql)?.execute(params![dataset, origin, key])?;
        let sql = "INSERT INTO hidden(dataset, origin, file, scope, hash, shown) VALUES(?1, ?2, ?3, ?4, ?5, ?6)
                   ON CONFLICT DO NOTHING";
        let mut insert = self.conn.prepare_cached(sql)?;
        for chunk in chunks {
            insert.execute(params![dataset, origin, key, scope.as_str(), chunk.hash, digest(shown)])?;
        }
        Ok(())
    }

    /// Lets go of what a conflict didn't show, once something else is shown: then it is settled. In another scope it goes
    /// along.
    pub(super) fn keep_hidden(&self, file: &RecordId, scope: Option<&ScopeName>, shown: &[u8]) -> rusqlite::Result<()> {
        let (dataset, origin, key) = (self.dataset.as_str(), file.origin.as_bytes(), file.key.as_bytes());
        let scope = scope.map(ScopeName::as_str);
        let sql = "DELETE FROM hidden WHERE dataset = ?1 AND origin = ?2 AND file = ?3 AND (?5 IS NULL OR shown <> ?4)";
        self.conn.prepare_cached(sql)?.execute(params![dataset, origin, key, digest(shown), scope])?;
        let sql = "UPDATE hidden SET scope = ?4 WHERE dataset = ?1 AND origin = ?2 AND file = ?3 AND scope <> ?4";
        self.conn.prepare_cached(sql)?.execute(params![dataset, origin, key, scope]).map(drop)
    }

    /// Returns the fields that a file's record has, or had, as a document.
    pub(super) fn members(&self, file: &RecordId) -> rusqlite::Result<BTreeSet<FieldName>> {
        let (dataset, origin, key) = (self.dataset.as_str(), file.origin.as_bytes(), file.key.as_bytes());
        let sql = "SELECT field FROM member WHERE dataset = ?1 AND origin = ?2 AND file = ?3";
        let mut statement = self.conn.prepare_cached(sql)?;
        let names: Vec<String> =
            statement.query_map(params![dataset, origin, key], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        Ok(names.iter().filter_map(|name| FieldName::new(name).ok()).collect())
    }

    /// Writes down that a file's record has these fields as a document.
    pub(super) fn add_members<'f>(
        &self,
        file: &RecordId,
        fields: impl Iterator<Item = &'f FieldName>,
    ) -> rusqlite::Result<()> {
        let (dataset, origin, key) = (self.dataset.as_str(), file.origin.as_bytes(), file.key.as_bytes());
        let sql = "INSERT INTO member(dataset, origin, file, field) VALUES(?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING";
        let mut insert = self.conn.prepare_cached(sql)?;
        for field in fields {
            insert.execute(params![dataset, origin, key, field.as_str()])?;
        }
        Ok(())
    }

    /// Writes down which scope another instance's file came in.
    pub(super) fn set_home(&self, file: &RecordId, scope: &ScopeName) -> rusqlite::Result<()> {
        let sql = "INSERT INTO home(dataset, origin, file, scope) VALUES(?1, ?2, ?3, ?4)
                   ON CONFLICT DO UPDATE SET scope = excluded.scope";
        let (dataset, origin, key) = (self.dataset.as_str(), file.origin.as_bytes(), file.key.as_bytes());
        self.conn.prepare_cached(sql)?.execute(params![dataset, origin, key, scope.as_str()]).map(drop)
    }

    /// Returns the scope that another instance's file came in.
    pub(super) fn home(&self, file: &RecordId) -> rusqlite::Result<Option<ScopeName>> {
        let sql = "SELECT scope FROM home WHERE dataset = ?1 AND origin = ?2 AND file = ?3";
        let (dataset, origin, key) = (self.dataset.as_str(), file.origin.as_bytes(), file.key.as_bytes());
        let mut statement = self.conn.prepare_cached(sql)?;
        let scope: Option<String> = statement.query_row(params![dataset, origin, key], |row| row.get(0)).optional()?;
        Ok(scope.and_then(|scope| ScopeName::new(&scope).ok()))
    }

    /// Tells whether a piece is in the view that the rows reflect.
    pub(super) fn is_held(&self, piece: &Piece) -> rusqlite::Result<bool> {
        let sql = "SELECT 1 FROM piece WHERE dataset = ?1 AND origin = ?2 AND record = ?3 AND number = 0";
        let (origin, key) = (piece.origin.as_bytes(), piece.key());
        self.conn.prepare_cached(sql)?.exists(params![self.dataset.as_str(), origin, key.as_bytes()])
    }

    /// Writes down a piece: new, reported by the capture of this number, or in the view since then if it is 0.
    pub(super) fn put(&self, piece: &Piece, number: u64, view: i64) -> rusqlite::Result<()> {
        let sql = "INSERT INTO piece(dataset, origin, record, scope, hash, number, gone, view)
                   VALUES(?1, ?2, ?3, ?4, ?5, ?6, 0, ?7)
                   ON CONFLICT DO UPDATE SET number = excluded.number, gone = 0, view = excluded.view";
        let (origin, key, scope) = (piece.origin.as_bytes(), piece.key(), piece.scope.as_str());
        let dataset = self.dataset.as_str();
        let values = params![dataset, origin, key.as_bytes(), scope, piece.hash, number.cast_signed(), view];
        self.conn.prepare_cached(sql)?.execute(values).map(drop)
    }

    /// Forgets a piece that left the view.
    pub(super) fn remove(&self, id: &RecordId) -> rusqlite::Result<()> {
        let sql = "DELETE FROM piece WHERE dataset = ?1 AND origin = ?2 AND record = ?3";
        let (origin, key) = (id.origin.as_bytes(), id.key.as_bytes());
        self.conn.prepare_cached(sql)?.execute(params![self.dataset.as_str(), origin, key]).map(drop)
    }

    /// Returns the scope of a piece that is in the view, if a file still names it.
    pub(super) fn scope(&self, id: &RecordId) -> rusqlite::Result<Option<ScopeName>> {
        let sql = format!("SELECT scope FROM piece p WHERE dataset = ?1 AND origin = ?2 AND record = ?3 AND {NAMED}");
        let (origin, key) = (id.origin.as_bytes(), id.key.as_bytes());
        let values = params![self.dataset.as_str(), origin, key];
        let scope: Option<String> = self.conn.prepare_cached(&sql)?.query_row(values, |row| row.get(0)).optional()?;
        Ok(scope.and_then(|scope| ScopeName::new(&scope).ok()))
    }

    /// Lists the pieces that files name and that the view lacks.
    pub(super) fn missing(&self) -> rusqlite::Result<Vec<Piece>> {
        let sql = "SELECT DISTINCT n.origin, n.scope, n.hash FROM wanted n WHERE n.dataset = ?1
                   AND NOT EXISTS (SELECT 1 FROM piece p WHERE p.dataset = n.dataset AND p.origin = n.origin
                                   AND p.scope = n.scope AND p.hash = n.hash)";
        let mut statement = self.conn.prepare_cached(sql)?;
        let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, String>(1)?, row.get(2)?));
        let mut pieces = Vec::new();
        for row in statement.query_map([self.dataset.as_str()], read)? {
            let (origin, scope, hash) = row?;
            if let (Some(origin), Ok(scope)) = (InstanceId::from_slice(&origin), ScopeName::new(&scope)) {
                pieces.push(Piece { origin, scope, hash });
            }
        }
        Ok(pieces)
    }

    /// Lists our own pieces that no file names any more, each with the view that it came in, and notes that they were
    /// reported by the capture of this number.
    pub(super) fn unnamed(&self, own: &InstanceId, number: u64) -> rusqlite::Result<Vec<(RecordKey, i64)>> {
        let values = params![self.dataset.as_str(), own.as_bytes()];
        let sql = format!("SELECT record, view FROM piece p WHERE dataset = ?1 AND origin = ?2 AND NOT {NAMED}");
        let mut statement = self.conn.prepare_cached(&sql)?;
        let read = |row: &rusqlite::Row<'_>| Ok((RecordKey::from_bytes(row.get(0)?), row.get(1)?));
        let gone: Vec<(RecordKey, i64)> = statement.query_map(values, read)?.collect::<rusqlite::Result<_>>()?;
        let sql = "UPDATE piece SET gone = ?4 WHERE dataset = ?1 AND origin = ?2 AND record = ?3";
        for (key, _) in &gone {
            let values = params![self.dataset.as_str(), own.as_bytes(), key.as_bytes(), number.cast_signed()];
            self.conn.prepare_cached(sql)?.execute(values)?;
        }
        Ok(gone)
    }

    /// Finds the pieces of this hash that files name: where a piece that isn't here could come from.
    pub(super) fn named_as(&self, hash: &[u8; 32]) -> rusqlite::Result<Vec<Piece>> {
        let sql = "SELECT DISTINCT origin, scope FROM wanted WHERE dataset = ?1 AND hash = ?2 LIMIT 16";
        let mut statement = self.conn.prepare_cached(sql)?;
        let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, String>(1)?));
        let mut pieces = Vec::new();
        for row in statement.query_map(params![self.dataset.as_str(), hash], read)? {
            let (origin, scope) = row?;
            if let (Some(origin), Ok(scope)) = (InstanceId::from_slice(&origin), ScopeName::new(&scope)) {
                pieces.push(Piece { origin, scope, hash: *hash });
            }
        }
        Ok(pieces)
    }

    /// Returns a file that names a piece.
    pub(super) fn namer(&self, piece: &Piece) -> rusqlite::Result<Option<RecordId>> {
        let sql = "SELECT file FROM wanted WHERE hash = ?4 AND dataset = ?1 AND origin = ?2 AND scope = ?3 LIMIT 1";
        let (dataset, scope) = (self.dataset.as_str(), piece.scope.as_str());
        let values = params![dataset, piece.origin.as_bytes(), scope, piece.hash];
        let key: Option<[u8; 16]> = self.conn.prepare_cached(sql)?.query_row(values, |row| row.get(0)).optional()?;
        let id =
            |key| RecordId { origin: piece.origin, dataset: self.dataset.clone(), key: RecordKey::from_bytes(key) };
        Ok(key.map(id))
    }

    /// Calls `see` with every piece that is in the view.
    pub(super) fn each_held(&self, see: &mut dyn FnMut(InstanceId, RecordKey)) -> rusqlite::Result<()> {
        let sql = "SELECT origin, record FROM piece WHERE dataset = ?1 AND number = 0";
        let mut statement = self.conn.prepare_cached(sql)?;
        let mut rows = statement.query([self.dataset.as_str()])?;
        while let Some(row) = rows.next()? {
            if let Some(origin) = InstanceId::from_slice(&row.get::<_, Vec<u8>>(0)?) {
                see(origin, RecordKey::from_bytes(row.get(1)?));
            }
        }
        Ok(())
    }

    /// Forgets what files of an instance name, and its pieces.
    pub(super) fn drop_origin(&self, origin: &InstanceId) -> rusqlite::Result<()> {
        for table in ["named", "hidden", "piece", "home", "member"] {
            let sql = format!("DELETE FROM {table} WHERE dataset = ?1 AND origin = ?2");
            self.conn.prepare_cached(&sql)?.execute(params![self.dataset.as_str(), origin.as_bytes()])?;
        }
        Ok(())
    }
}

/// Lets go of the pieces that were kept for files that are written by now.
pub(super) fn forget_written(conn: &Connection) -> rusqlite::Result<()> {
    let sql = "DELETE FROM staged WHERE NOT EXISTS (SELECT 1 FROM trouble WHERE step = 'write')
               OR hash NOT IN (SELECT hash FROM named)";
    conn.execute(sql, []).map(drop)
}

/// Forgets what captures reported that nobody settled: it is reported again.
pub(super) fn forget_unsettled(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute("DELETE FROM piece WHERE number <> 0", [])?;
    conn.execute("UPDATE piece SET gone = 0 WHERE gone <> 0", []).map(drop)
}

/// Takes what the capture of this number reported of pieces as known, in all datasets.
pub(super) fn settle(conn: &Connection, number: u64) -> rusqlite::Result<()> {
    conn.execute("DELETE FROM piece WHERE gone <> 0 AND gone <= ?1", [number.cast_signed()])?;
    conn.execute("UPDATE piece SET number = 0 WHERE number <> 0 AND number <= ?1", [number.cast_signed()])?;
    Ok(())
}

fn digest(content: &[u8]) -> [u8; 16] {
    let mut digest = [0; 16];
    digest.copy_from_slice(&blake3::hash(content).as_bytes()[..16]);
    digest
}

/// Whether a file names the piece `p`.
const NAMED: &str = "EXISTS (SELECT 1 FROM wanted n WHERE n.hash = p.hash AND n.dataset = p.dataset
    AND n.origin = p.origin AND n.scope = p.scope)";
