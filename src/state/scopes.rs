//! Scopes that we can read: our own and those granted to us.

use rusqlite::{OptionalExtension, Row};

use super::database::{State, blob};
use super::error::Error;
use super::heads::number;
use crate::id::bytes::{CommitId, DocHash, InstanceId, ScopeId};
use crate::id::name::ScopeName;
use crate::tree::key::IdKey;

/// A scope that we hold.
#[derive(Debug, Clone)]
pub struct ScopeRow {
    /// The scope.
    pub id: ScopeId,
    /// Whose records it holds.
    pub origin: InstanceId,
    /// What its origin calls it.
    pub name: ScopeName,
    /// The key of all ids in it.
    pub id_key: IdKey,
    /// The newest manifest, as signed.
    pub manifest: Vec<u8>,
    /// Its number.
    pub manifest_seq: u64,
    /// BLAKE3 of it.
    pub manifest_hash: DocHash,
    /// The commit that joins all that we have merged of the scope.
    pub local_head: Option<CommitId>,
    /// Our own newest capture sequence in the scope.
    pub sequence: u64,
}

const COLUMNS: &str = "id, origin, name, id_key, manifest, manifest_seq, manifest_hash, local_head, sequence";

impl State {
    /// Reads a scope.
    ///
    /// # Errors
    /// `Query`.
    pub fn scope(&self, id: &ScopeId) -> Result<Option<ScopeRow>, Error> {
        let sql = format!("SELECT {COLUMNS} FROM scope WHERE id = ?1");
        self.connection.query_row(&sql, [id.as_bytes()], scope_row).optional().map_err(Error::query("read a scope"))
    }

    /// Reads all scopes, by origin and name.
    ///
    /// # Errors
    /// `Query`.
    pub fn scopes(&self) -> Result<Vec<ScopeRow>, Error> {
        let sql = format!("SELECT {COLUMNS} FROM scope ORDER BY origin, name");
        self.connection
            .prepare_cached(&sql)
            .and_then(|mut statement| statement.query_map([], scope_row)?.collect())
            .map_err(Error::query("read the scopes"))
    }

    /// Reads the scopes of one origin, by name.
    ///
    /// # Errors
    /// `Query`.
    pub fn scopes_of(&self, origin: &InstanceId) -> Result<Vec<ScopeRow>, Error> {
        Ok(self.scopes()?.into_iter().filter(|scope| scope.origin == *origin).collect())
    }

    /// Stores a scope's newest manifest; its local head and sequence stay.
    ///
    /// # Errors
    /// `Query`.
    pub fn put_manifest(&self, scope: &ScopeRow) -> Result<(), Error> {
        self.connection
            .execute(
                "INSERT INTO scope (id, origin, name, id_key, manifest, manifest_seq, manifest_hash)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                 ON CONFLICT DO UPDATE SET name = ?3, id_key = ?4, manifest = ?5, manifest_seq = ?6, manifest_hash = ?7",
                (
                    scope.id.as_bytes(),
                    scope.origin.as_bytes(),
                    scope.name.as_str(),
                    scope.id_key.as_bytes(),
                    &scope.manifest,
                    number(scope.manifest_seq),
                    scope.manifest_hash.as_bytes(),
                ),
            )
            .map_err(Error::query("store a manifest"))?;
        self.connection
            .execute("DELETE FROM meta WHERE key = ?1", [shut_out_key(&scope.id)])
            .map_err(Error::query("note that a scope is ours to read"))?;
        Ok(())
    }

    /// Notes that its origin has taken a scope from us: what we hold of it stays as it is.
    ///
    /// # Errors
    /// `Query`.
    pub fn note_shut_out(&self, scope: &ScopeId) -> Result<(), Error> {
        if self.is_shut_out(scope)? { Ok(()) } else { self.set_meta(&shut_out_key(scope), "since the newest manifest") }
    }

    /// Tells whether the newest manifest of a scope that we have seen gives us nothing any more.
    ///
    /// # Errors
    /// `Query`.
    pub fn is_shut_out(&self, scope: &ScopeId) -> Result<bool, Error> {
        Ok(self.meta(&shut_out_key(scope))?.is_some())
    }

    /// Moves a scope's local head.
    ///
    /// # Errors
    /// `Query`.
    pub fn set_local_head(&self, scope: &ScopeId, commit: &CommitId) -> Result<(), Error> {
        self.connection
            .execute("UPDATE scope SET local_head = ?2 WHERE id = ?1", (scope.as_bytes(), commit.as_bytes()))
            .map_err(Error::query("move a local head"))?;
        Ok(())
    }

    /// Forgets a scope's local head: what it joined is to be joined again.
    ///
    /// # Errors
    /// `Query`.
    pub fn clear_local_head(&self, scope: &ScopeId) -> Result<(), Error> {
        self.connection
            .execute("UPDATE scope SET local_head = NULL WHERE id = ?1", [scope.as_bytes()])
            .map_err(Error::query("forget a local head"))?;
        Ok(())
    }

    /// Remembers our newest capture sequence in a scope.
    ///
    /// # Errors
    /// `Query`.
    pub fn set_sequence(&self, scope: &ScopeId, sequence: u64) -> Result<(), Error> {
        self.connection
            .execute("UPDATE scope SET sequence = ?2 WHERE id = ?1", (scope.as_bytes(), number(sequence)))
            .map_err(Error::query("remember a capture sequence"))?;
        Ok(())
    }
}

fn shut_out_key(scope: &ScopeId) -> String {
    format!("shut-out {scope}")
}

fn scope_row(row: &Row<'_>) -> rusqlite::Result<ScopeRow> {
    let local_head: Option<[u8; 32]> = row.get(7)?;
    let name: String = row.get(2)?;
    Ok(ScopeRow {
        id: ScopeId::from_bytes(blob(row, 0)?),
        origin: InstanceId::from_bytes(blob(row, 1)?),
        name: ScopeName::new(&name).map_err(|error| {
            rusqlite::Error::FromSqlConversionFailure(2, rusqlite::types::Type::Text, Box::new(error))
        })?,
        id_key: IdKey::from_bytes(blob(row, 3)?),
        manifest: row.get(4)?,
        manifest_seq: row.get::<_, i64>(5)?.unsigned_abs(),
        manifest_hash: DocHash::from_bytes(blob(row, 6)?),
        local_head: local_head.map(CommitId::from_bytes),
        sequence: row.get::<_, i64>(8)?.unsigned_abs(),
    })
}
