//! Remotes: named stores that we exchange with, and how it went.

use rusqlite::Row;

use super::database::State;
use super::error::Error;
use super::heads::number;
use crate::id::name::PeerName;
use crate::sys::clock::UnixMillis;

/// A remote.
#[derive(Debug, Clone)]
pub struct RemoteRow {
    /// Its name here.
    pub name: PeerName,
    /// Its URL, without secrets.
    pub url: String,
    /// The last complete fetch.
    pub fetched: Option<UnixMillis>,
    /// The last complete push.
    pub pushed: Option<UnixMillis>,
    /// The last error, if the last exchange failed.
    pub error: Option<String>,
}

impl State {
    /// Reads all remotes, by name.
    ///
    /// # Errors
    /// `Query`.
    pub fn remotes(&self) -> Result<Vec<RemoteRow>, Error> {
        self.connection
            .prepare_cached("SELECT name, url, fetched, pushed, error FROM remote ORDER BY name")
            .and_then(|mut statement| statement.query_map([], remote_row)?.collect())
            .map_err(Error::query("read the remotes"))
    }

    /// Adds a remote. Returns false if the name is taken.
    ///
    /// # Errors
    /// `Query`.
    pub fn add_remote(&self, name: &PeerName, url: &str) -> Result<bool, Error> {
        let rows = self
            .connection
            .execute("INSERT OR IGNORE INTO remote (name, url) VALUES (?1, ?2)", (name.as_str(), url))
            .map_err(Error::query("add a remote"))?;
        Ok(rows == 1)
    }

    /// Removes a remote. Returns whether it was there.
    ///
    /// # Errors
    /// `Query`.
    pub fn remove_remote(&self, name: &PeerName) -> Result<bool, Error> {
        let rows = self
            .connection
            .execute("DELETE FROM remote WHERE name = ?1", [name.as_str()])
            .map_err(Error::query("remove a remote"))?;
        self.forget_sent(name)?;
        Ok(rows == 1)
    }

    /// Forgets how a remote fails, what it was sent, and what was to be removed there.
    ///
    /// # Errors
    /// `Query`.
    pub fn forget_sent(&self, name: &PeerName) -> Result<(), Error> {
        self.forget_queue(name)?;
        self.connection
            .execute("DELETE FROM spent WHERE remote = ?1", [name.as_str()])
            .map_err(Error::query("forget what a remote was sent"))?;
        Ok(())
    }

    /// Notes how an exchange with a remote went.
    ///
    /// # Errors
    /// `Query`.
    pub fn note_exchange(&self, name: &PeerName, exchange: Exchange<'_>, now: UnixMillis) -> Result<(), Error> {
        let result = match exchange {
            Exchange::Fetched => self.connection.execute(
                "UPDATE remote SET fetched = ?2, error = NULL WHERE name = ?1",
                (name.as_str(), number(now.0)),
            ),
            Exchange::Pushed => self
                .connection
                .execute("UPDATE remote SET pushed = ?2, error = NULL WHERE name = ?1", (name.as_str(), number(now.0))),
            Exchange::Failed(error) => {
                self.connection.execute("UPDATE remote SET error = ?2 WHERE name = ?1", (name.as_str(), error))
            }
        };
        result.map_err(Error::query("note an exchange"))?;
        Ok(())
    }
}

/// How an exchange went.
#[derive(Debug, Clone, Copy)]
pub enum Exchange<'a> {
    /// A complete fetch.
    Fetched,
    /// A complete push.
    Pushed,
    /// A failure, in words.
    Failed(&'a str),
}

fn remote_row(row: &Row<'_>) -> rusqlite::Result<RemoteRow> {
    let name: String = row.get(0)?;
    let time = |millis: Option<i64>| millis.map(|millis| UnixMillis(millis.unsigned_abs()));
    Ok(RemoteRow {
        name: PeerName::new(&name).map_err(|error| {
            rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error))
        })?,
        url: row.get(1)?,
        fetched: time(row.get(2)?),
        pushed: time(row.get(3)?),
        error: row.get(4)?,
    })
}
