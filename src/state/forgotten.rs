//! What this instance gave up: peers that it forgot, scopes that it retired or no longer holds, records that it shuns,
//! and which documents it has spoken of already.

use std::collections::BTreeSet;

use rusqlite::{OptionalExtension, params};

use super::database::{State, blob};
use super::error::Error;
use super::heads::number;
use crate::id::bytes::{DocHash, InstanceId, NodeId, RecordKey, ScopeId};
use crate::id::name::{DatasetName, NameError, PeerName, ScopeName};
use crate::record::recordid::RecordId;
use crate::sys::clock::UnixMillis;

/// A record that never comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shunned {
    /// The record.
    pub id: RecordId,
    /// Since when.
    pub since: UnixMillis,
}

/// Who read a scope of a peer that is forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bygone {
    /// The peer.
    pub origin: InstanceId,
    /// The scope.
    pub name: ScopeName,
    /// Its readers that we knew, by what we called them then.
    pub readers: BTreeSet<PeerName>,
}

/// A wish to let the keys before an epoch go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reseal {
    /// The first epoch that stays.
    pub epoch: u32,
    /// When a head was first seen that needs no older one.
    pub since: Option<UnixMillis>,
}

impl State {
    /// Notes that a peer was forgotten, and what it was called.
    ///
    /// # Errors
    /// `Query`.
    pub fn forget(&self, id: &InstanceId, name: &PeerName, now: UnixMillis) -> Result<(), Error> {
        let row = params![id.as_bytes(), name.as_str(), number(now.0)];
        self.run("forget a peer", "INSERT OR REPLACE INTO forgotten VALUES (?1, ?2, ?3)", row)
    }

    /// Takes that back: the peer is added again.
    ///
    /// # Errors
    /// `Query`.
    pub fn remember(&self, id: &InstanceId) -> Result<(), Error> {
        self.run("remember a peer", "DELETE FROM bygone WHERE origin = ?1", params![id.as_bytes()])?;
        self.run("remember a peer", "DELETE FROM forgotten WHERE id = ?1", params![id.as_bytes()])
    }

    /// Returns what a forgotten peer was called.
    ///
    /// # Errors
    /// `Query`.
    pub fn forgotten(&self, id: &InstanceId) -> Result<Option<PeerName>, Error> {
        let name: Option<String> = self
            .connection
            .query_row("SELECT name FROM forgotten WHERE id = ?1", [id.as_bytes()], |row| row.get(0))
            .optional()
            .map_err(Error::query("look for a forgotten peer"))?;
        name.map(|name| PeerName::new(&name).map_err(|error| Error::damaged(error.to_string()))).transpose()
    }

    /// Notes who read a scope of a peer that is forgotten: what hangs on its rows stays meant for those.
    ///
    /// # Errors
    /// `Query`.
    pub fn put_bygone(&self, bygone: &Bygone) -> Result<(), Error> {
        let readers: Vec<&str> = bygone.readers.iter().map(PeerName::as_str).collect();
        let row = params![bygone.origin.as_bytes(), bygone.name.as_str(), readers.join(",")];
        self.run("note the readers of a scope", "INSERT OR REPLACE INTO bygone VALUES (?1, ?2, ?3)", row)
    }

    /// Reads who read the scopes of forgotten peers.
    ///
    /// # Errors
    /// `Query`; `Damaged` if a name in the table isn't one.
    pub fn bygone(&self) -> Result<Vec<Bygone>, Error> {
        let read = |row: &rusqlite::Row<'_>| Ok((blob(row, 0)?, row.get(1)?, row.get(2)?));
        let rows: Vec<([u8; 32], String, String)> = self
            .connection
            .prepare_cached("SELECT origin, name, readers FROM bygone")
            .and_then(|mut statement| statement.query_map([], read)?.collect())
            .map_err(Error::query("read the readers of scopes of old"))?;
        let damaged = |error: NameError| Error::damaged(error.to_string());
        rows.into_iter()
            .map(|(origin, name, readers)| {
                let readers = readers.split(',').filter(|name| !name.is_empty()).map(PeerName::new);
                Ok(Bygone {
                    origin: InstanceId::from_bytes(origin),
                    name: ScopeName::new(&name).map_err(damaged)?,
                    readers: readers.collect::<Result<_, _>>().map_err(damaged)?,
                })
            })
            .collect()
    }

    /// Removes the row of a peer, and what it told.
    ///
    /// # Errors
    /// `Query`.
    pub fn remove_peer(&self, id: &InstanceId) -> Result<(), Error> {
        self.forget_told(id)?;
        self.run("remove a peer", "DELETE FROM peer WHERE id = ?1", params![id.as_bytes()])
    }

    /// Notes that a scope of ours is no more, so that its documents in stores mean nothing.
    ///
    /// # Errors
    /// `Query`.
    pub fn retire(&self, scope: &ScopeId) -> Result<(), Error> {
        self.run("retire a scope", "INSERT OR IGNORE INTO retired VALUES (?1)", params![scope.as_bytes()])
    }

    /// Tells whether a scope was retired.
    ///
    /// # Errors
    /// `Query`.
    pub fn is_retired(&self, scope: &ScopeId) -> Result<bool, Error> {
        self.exists("look for a retired scope", "SELECT 1 FROM retired WHERE scope = ?1", scope.as_bytes())
    }

    /// Notes that a document was spoken of. Returns whether that is new.
    ///
    /// # Errors
    /// `Query`.
    pub fn note_once(&self, document: &DocHash) -> Result<bool, Error> {
        let known = self.is_noted(document)?;
        if !known {
            self.run("note a document", "INSERT OR IGNORE INTO noted VALUES (?1)", params![document.as_bytes()])?;
        }
        Ok(!known)
    }

    /// Tells whether a document was spoken of.
    ///
    /// # Errors
    /// `Query`.
    pub fn is_noted(&self, document: &DocHash) -> Result<bool, Error> {
        self.exists("look for a noted document", "SELECT 1 FROM noted WHERE hash = ?1", document.as_bytes())
    }

    /// Removes a scope with all that hangs on it, but for its nodes: what any table says of a scope, it says in a column of
    /// that name.
    ///
    /// # Errors
    /// `Query`.
    pub fn drop_scope(&self, scope: &ScopeId) -> Result<(), Error> {
        let sql = "SELECT t.name FROM sqlite_schema t, pragma_table_info(t.name) c WHERE t.type = 'table' AND c.name = 'scope'";
        let tables: Vec<String> = self
            .connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.query_map([], |row| row.get(0))?.collect())
            .map_err(Error::query("drop a scope"))?;
        for table in tables {
            self.run("drop a scope", &format!("DELETE FROM {table} WHERE scope = ?1"), params![scope.as_bytes()])?;
        }
        self.run("drop a scope", "DELETE FROM scope WHERE id = ?1", params![scope.as_bytes()])
    }

    /// Removes nodes.
    ///
    /// # Errors
    /// `Query`.
    pub fn drop_nodes(&self, nodes: &BTreeSet<NodeId>) -> Result<(), Error> {
        for node in nodes {
            self.run("drop a node", "DELETE FROM node WHERE id = ?1", params![node.as_bytes()])?;
        }
        self.forget_cache();
        Ok(())
    }

    /// Notes the wish to let the keys of a scope before `epoch` go.
    ///
    /// # Errors
    /// `Query`.
    pub fn put_reseal(&self, scope: &ScopeId, reseal: &Reseal) -> Result<(), Error> {
        let since = reseal.since.map(|since| number(since.0));
        let row = params![scope.as_bytes(), reseal.epoch, since];
        self.run("note that a scope is resealed", "INSERT OR REPLACE INTO reseal VALUES (?1, ?2, ?3)", row)
    }

    /// Reads that wish.
    ///
    /// # Errors
    /// `Query`.
    pub fn reseal(&self, scope: &ScopeId) -> Result<Option<Reseal>, Error> {
        let read = |row: &rusqlite::Row<'_>| {
            let since: Option<i64> = row.get(1)?;
            Ok(Reseal { epoch: row.get(0)?, since: since.map(|since| UnixMillis(since.unsigned_abs())) })
        };
        self.connection
            .query_row("SELECT epoch, since FROM reseal WHERE scope = ?1", [scope.as_bytes()], read)
            .optional()
            .map_err(Error::query("look whether a scope is resealed"))
    }

    /// Forgets that wish.
    ///
    /// # Errors
    /// `Query`.
    pub fn clear_reseal(&self, scope: &ScopeId) -> Result<(), Error> {
        self.run("note that a scope was resealed", "DELETE FROM reseal WHERE scope = ?1", params![scope.as_bytes()])
    }

    /// Shuns a record. Returns whether that is new.
    ///
    /// # Errors
    /// `Query`.
    pub fn shun(&self, id: &RecordId, now: UnixMillis) -> Result<bool, Error> {
        let row = params![id.origin.as_bytes(), id.dataset.as_str(), id.key.as_bytes(), number(now.0)];
        let rows = self.connection.execute("INSERT OR IGNORE INTO shun VALUES (?1, ?2, ?3, ?4)", row);
        Ok(rows.map_err(Error::query("shun a record"))? == 1)
    }

    /// Shuns a record no more.
    ///
    /// # Errors
    /// `Query`.
    pub fn unshun(&self, id: &RecordId) -> Result<(), Error> {
        let row = params![id.origin.as_bytes(), id.dataset.as_str(), id.key.as_bytes()];
        self.run("unshun a record", "DELETE FROM shun WHERE origin = ?1 AND dataset = ?2 AND record = ?3", row)
    }

    /// Reads the records that are shunned, the latest first.
    ///
    /// # Errors
    /// `Query`; `Damaged` if a name in the table isn't one.
    pub fn shunned(&self) -> Result<Vec<Shunned>, Error> {
        let read = |row: &rusqlite::Row<'_>| Ok((blob(row, 0)?, row.get(1)?, blob(row, 2)?, row.get(3)?));
        let rows: Vec<([u8; 32], String, [u8; 16], i64)> = self
            .connection
            .prepare_cached(
                "SELECT origin, dataset, record, since FROM shun ORDER BY since DESC, origin, dataset, record",
            )
            .and_then(|mut statement| statement.query_map([], read)?.collect())
            .map_err(Error::query("read what is shunned"))?;
        rows.into_iter()
            .map(|(origin, dataset, key, since)| {
                let dataset = DatasetName::new(&dataset).map_err(|error| Error::damaged(error.to_string()))?;
                let (origin, key) = (InstanceId::from_bytes(origin), RecordKey::from_bytes(key));
                Ok(Shunned { id: RecordId { origin, dataset, key }, since: UnixMillis(since.unsigned_abs()) })
            })
            .collect()
    }

    fn run(&self, doing: &'static str, sql: &str, row: impl rusqlite::Params) -> Result<(), Error> {
        let done = self.connection.prepare_cached(sql).and_then(|mut statement| statement.execute(row));
        done.map(drop).map_err(Error::query(doing))
    }

    fn exists(&self, doing: &'static str, sql: &str, id: &[u8]) -> Result<bool, Error> {
        let found = self.connection.prepare_cached(sql).and_then(|mut statement| statement.exists([id]));
        found.map_err(Error::query(doing))
    }
}
