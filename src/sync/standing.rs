//! Standing: how far apart we and a remote or a peer are, and how the last exchange failed; as far as is known without asking.

use serde::{Deserialize, Serialize};

use super::error::Error;
use super::instance::Instance;
use super::receipts::decode_held;
use super::status::explain;
use crate::exchange::store::Store;
use crate::id::bytes::InstanceId;
use crate::id::name::PeerName;
use crate::state::peers::PeerRow;
use crate::sys::clock::{self, UnixMillis};
use crate::sys::room;

/// Whether a remote is there, as the last exchange with it found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reach {
    /// Nothing was exchanged with it yet.
    Untried,
    /// It was there, and nothing went wrong.
    Reached,
    /// It wasn't there.
    Away,
    /// It was there, and something went wrong.
    Failing,
}

/// Why the last exchange with a remote failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// When.
    pub at: String,
    /// Its stable word.
    pub code: String,
    /// The error with its causes.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// A head of somebody that waits to be merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToMerge {
    /// Whose.
    pub signer: InstanceId,
    /// The remote that it came by.
    pub via: String,
}

/// What a peer told that it shows of ours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shows {
    /// Heads of scopes that it may read and hasn't told that it shows; `None` where it tells nothing.
    pub lacks: Option<u64>,
    /// When it last told anything, by its own clock.
    pub at: Option<UnixMillis>,
}

/// How much room this instance takes, of what can be told without reading.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Room {
    /// Bytes of the local state.
    pub state_bytes: u64,
    /// Bytes of our own store.
    pub store_bytes: u64,
    /// Its objects.
    pub store_objects: u64,
    /// Bytes that can still be written beside it, where the system tells.
    pub free_bytes: Option<u64>,
}

impl Reach {
    /// Reads it from when something last went well, and what failed since.
    pub fn of(succeeded: Option<UnixMillis>, failed: Option<&Failed>) -> Self {
        match (failed, succeeded) {
            (Some(failed), _) if failed.code == super::code::Code::Unreachable.as_str() => Self::Away,
            (Some(_), _) => Self::Failing,
            (None, Some(_)) => Self::Reached,
            (None, None) => Self::Untried,
        }
    }
}

impl Instance {
    /// Returns how the last exchange with a remote failed; `None` if it didn't.
    ///
    /// # Errors
    /// `State`.
    pub fn last_failure(&self, remote: &PeerName) -> Result<Option<Failed>, Error> {
        let text = self.state.trouble(remote)?;
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
    }

    /// Remembers how an exchange with a remote failed.
    pub(super) fn note_failure(&self, remote: &PeerName, error: &Error) -> Result<(), Error> {
        let at = clock::now().to_string();
        let failed = Failed { at, code: error.code().as_str().into(), message: explain(error), hint: error.hint() };
        let text = serde_json::to_string(&failed).expect("it has text keys");
        Ok(self.state.put_trouble(remote, Some(&text))?)
    }

    /// Returns what a peer told that it has of ours.
    pub(super) fn shown_by(&self, peer: &PeerRow) -> Result<Shows, Error> {
        let mut shows = Shows::default();
        for scope in self.open_scopes_of(&self.id())? {
            let id = &scope.row.id;
            let Some(head) = self.state.head(id, &self.id())? else { continue };
            let receipt = self.state.receipt(id, &peer.id)?;
            if receipt.is_none() && (scope.manifest.public || !scope.manifest.readers().contains(&peer.id)) {
                continue;
            }
            let mut shown = None;
            if let Some(receipt) = receipt {
                shows.at = shows.at.max(Some(receipt.time));
                let applied = decode_held(&receipt)?.applied;
                shown = applied.into_iter().find(|applied| applied.signer == self.id()).map(|applied| applied.seq);
            }
            let lacks = u64::from(shown.is_none_or(|seq| seq < head.seq));
            shows.lacks = Some(shows.lacks.unwrap_or(0) + lacks);
        }
        Ok(shows)
    }

    /// Returns how much room this instance takes. Lists our own store and reads nothing.
    pub(super) fn room(&self) -> Result<Room, Error> {
        let mut found = Room {
            state_bytes: self.state.sizes()?.0,
            free_bytes: room::free_bytes(self.dir()).ok().flatten(),
            ..Room::default()
        };
        if self.dir().join("store").is_dir() {
            let objects = self.own_store()?.objects().map_err(Error::store("this instance"))?;
            found.store_objects = objects.len() as u64;
            found.store_bytes = objects.iter().map(|object| object.bytes).sum();
        }
        Ok(found)
    }
}
