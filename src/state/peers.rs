//! Peers that we know, how far we trust them, and whose scopes we follow.

use std::fmt;
use std::str::FromStr;

use rusqlite::{OptionalExtension, Row};

use super::database::{State, blob};
use super::error::Error;
use super::heads::number;
use crate::id::bytes::InstanceId;
use crate::id::name::{PeerName, ScopeName};
use crate::sys::clock::UnixMillis;

/// How far a peer is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Trust {
    /// Known by its card; reads what is public.
    Known,
    /// Reader of our `trusted` scope.
    Trusted,
    /// May also edit our records.
    Writer,
    /// Was trusted or known once: reads nothing that we seal from then on, and its heads are refused.
    Revoked,
}

/// A peer.
#[derive(Debug, Clone)]
pub struct PeerRow {
    /// Its id.
    pub id: InstanceId,
    /// What we call it.
    pub name: PeerName,
    /// Its card, as signed.
    pub card: Vec<u8>,
    /// How far we trust it.
    pub trust: Trust,
    /// When we added it.
    pub added: UnixMillis,
}

/// A rule of what we follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Follow {
    /// Whose scopes.
    pub origin: InstanceId,
    /// Which one; `None` is all that we may read.
    pub scope: Option<ScopeName>,
}

impl fmt::Display for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Known => "known",
            Self::Trusted => "trusted",
            Self::Writer => "writer",
            Self::Revoked => "revoked",
        })
    }
}

impl FromStr for Trust {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "known" => Ok(Self::Known),
            "trusted" => Ok(Self::Trusted),
            "writer" => Ok(Self::Writer),
            "revoked" => Ok(Self::Revoked),
            _ => Err(Error::damaged(format!("{text:?} is no degree of trust"))),
        }
    }
}

impl State {
    /// Reads all peers, by name.
    ///
    /// # Errors
    /// `Query`.
    pub fn peers(&self) -> Result<Vec<PeerRow>, Error> {
        self.connection
            .prepare_cached("SELECT id, name, card, trust, added FROM peer ORDER BY name")
            .and_then(|mut statement| statement.query_map([], peer_row)?.collect())
            .map_err(Error::query("read the peers"))
    }

    /// Reads a peer by its id.
    ///
    /// # Errors
    /// `Query`.
    pub fn peer(&self, id: &InstanceId) -> Result<Option<PeerRow>, Error> {
        self.connection
            .query_row("SELECT id, name, card, trust, added FROM peer WHERE id = ?1", [id.as_bytes()], peer_row)
            .optional()
            .map_err(Error::query("read a peer"))
    }

    /// Adds or replaces a peer.
    ///
    /// # Errors
    /// `Query`, also if another peer has the name.
    pub fn put_peer(&self, peer: &PeerRow) -> Result<(), Error> {
        self.connection
            .execute(
                "INSERT INTO peer VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (id) DO UPDATE SET name = ?2, card = ?3, trust = ?4",
                (peer.id.as_bytes(), peer.name.as_str(), &peer.card, peer.trust.to_string(), number(peer.added.0)),
            )
            .map_err(Error::query("store a peer"))?;
        Ok(())
    }

    /// Reads the rules of what we follow.
    ///
    /// # Errors
    /// `Query`.
    pub fn follows(&self) -> Result<Vec<Follow>, Error> {
        let read = |row: &Row<'_>| Ok((blob(row, 0)?, row.get::<_, String>(1)?));
        let rows: Vec<([u8; 32], String)> = self
            .connection
            .prepare_cached("SELECT origin, scope FROM follow ORDER BY origin, scope")
            .and_then(|mut statement| statement.query_map([], read)?.collect())
            .map_err(Error::query("read what is followed"))?;
        rows.into_iter()
            .map(|(origin, scope)| {
                let scope = match scope.as_str() {
                    "*" => None,
                    name => Some(ScopeName::new(name).map_err(|error| Error::damaged(error.to_string()))?),
                };
                Ok(Follow { origin: InstanceId::from_bytes(origin), scope })
            })
            .collect()
    }

    /// Adds a rule; fine if it is there. Returns whether it is new.
    ///
    /// # Errors
    /// `Query`.
    pub fn put_follow(&self, follow: &Follow) -> Result<bool, Error> {
        let rows = self
            .connection
            .execute("INSERT OR IGNORE INTO follow VALUES (?1, ?2)", (follow.origin.as_bytes(), rule(follow)))
            .map_err(Error::query("follow a scope"))?;
        Ok(rows == 1)
    }

    /// Removes a rule. Returns whether it was there.
    ///
    /// # Errors
    /// `Query`.
    pub fn remove_follow(&self, follow: &Follow) -> Result<bool, Error> {
        let rows = self
            .connection
            .execute("DELETE FROM follow WHERE origin = ?1 AND scope = ?2", (follow.origin.as_bytes(), rule(follow)))
            .map_err(Error::query("unfollow a scope"))?;
        Ok(rows == 1)
    }
}

fn rule(follow: &Follow) -> &str {
    follow.scope.as_ref().map_or("*", ScopeName::as_str)
}

fn peer_row(row: &Row<'_>) -> rusqlite::Result<PeerRow> {
    let convert = |column, error: Box<dyn std::error::Error + Send + Sync>| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, error)
    };
    let (name, trust): (String, String) = (row.get(1)?, row.get(3)?);
    Ok(PeerRow {
        id: InstanceId::from_bytes(blob(row, 0)?),
        name: PeerName::new(&name).map_err(|error| convert(1, error.into()))?,
        card: row.get(2)?,
        trust: trust.parse().map_err(|error: Error| convert(3, error.into()))?,
        added: UnixMillis(row.get::<_, i64>(4)?.unsigned_abs()),
    })
}
