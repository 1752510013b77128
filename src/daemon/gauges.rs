//! Gauges: how much an instance holds, owes and hides, as numbers. No content and no name but those of remotes; peers go by the
//! first digits of their ids.

use crate::exchange::store::Store;
use crate::sync::error::Error;
use crate::sync::instance::Instance;
use crate::sys::clock::UnixMillis;
use crate::sys::room;

/// The numbers of an instance.
#[derive(Debug, Clone, Default)]
pub struct Gauges {
    /// Fields with more than one value.
    pub conflicts: u64,
    /// Own rows that stayed home at the last commit.
    pub private: u64,
    /// Those of them that refer to what can't travel.
    pub withheld: u64,
    /// Records that wait to be written.
    pub parked: u64,
    /// Signers that published two histories.
    pub forks: u64,
    /// Bytes of our own store, and its objects.
    pub store: (u64, u64),
    /// Bytes that can still be written.
    pub free: Option<u64>,
    /// The remotes.
    pub remotes: Vec<RemoteGauges>,
    /// By the first digits of a peer's id, when its newest head came.
    pub heard: Vec<(String, UnixMillis)>,
}

/// The numbers of a remote.
#[derive(Debug, Clone, Default)]
pub struct RemoteGauges {
    /// Its name.
    pub name: String,
    /// Failures in a row.
    pub failures: u32,
    /// When it is tried again, if it failed.
    pub next: Option<UnixMillis>,
    /// The last exchange that went well.
    pub last: Option<UnixMillis>,
    /// Heads and bytes that it has not been sent yet.
    pub waiting: (u64, u64),
    /// Heads that came from it and wait to be merged.
    pub behind: u64,
}

impl Gauges {
    /// Reads them. Lists the own store, and reads no object.
    ///
    /// # Errors
    /// The state or the own store can't be read.
    pub fn of(instance: &Instance) -> Result<Self, Error> {
        let status = instance.status()?;
        let mut gauges = Self {
            conflicts: status.conflicts.len() as u64,
            private: status.private.values().sum(),
            withheld: status.private.iter().filter(|(key, _)| key.ends_with(": withheld")).map(|(_, rows)| rows).sum(),
            parked: status.parked_total,
            forks: status.scopes.iter().map(|scope| scope.forked.len() as u64).sum(),
            free: room::free_bytes(instance.dir()).ok().flatten(),
            ..Self::default()
        };
        let held = instance.own_store()?.objects().map_err(Error::store("this instance"))?;
        gauges.store = (held.iter().map(|object| object.bytes).sum(), held.len() as u64);
        for row in instance.state.remotes()? {
            let (failing, waiting) = (instance.state.failing(&row.name)?, instance.waiting(&row.name)?);
            gauges.remotes.push(RemoteGauges {
                name: row.name.to_string(),
                failures: failing.map_or(0, |failing| failing.failures),
                next: failing.map(|failing| failing.next),
                last: row.fetched.max(row.pushed),
                waiting: (waiting.heads, waiting.bytes),
                behind: status.remotes.iter().find(|told| told.name == row.name.as_str()).map_or(0, |told| told.behind),
            });
        }
        for peer in instance.state.peers()? {
            let mut last = None;
            for row in instance.state.scopes_of(&peer.id)? {
                let heads = instance.state.heads(&row.id)?;
                last = last.max(heads.iter().filter(|head| head.signer == peer.id).map(|head| head.received).max());
            }
            gauges.heard.extend(last.map(|time| (peer.id.short(), time)));
        }
        Ok(gauges)
    }
}
