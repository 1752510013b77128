//! Gc: room that nothing needs any more, in our own store, in the local state, and in stores that are ours to clear up.

use std::fs;

use super::error::Error;
use super::instance::Instance;
use super::progress::Event;
use crate::exchange::garbage::{Collect, Collected, collect};
use crate::exchange::store::Store;
use crate::sys::clock::{self, UnixMillis};
use crate::transport::dir::DirStore;
use crate::transport::strays::{StrayKind, strays};
use crate::transport::url::{self, Access, RemoteUrl};

/// How long an object that no head names is kept, unless the operator says otherwise.
pub const GRACE_MILLIS: u64 = 14 * 24 * 3_600_000;

/// What was cleared up in one store, or would be.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct StoreCleared {
    /// Objects.
    #[serde(flatten)]
    pub collected: Collected,
    /// Files that dead writers left.
    pub leftovers: u64,
    /// Their bytes.
    pub leftover_bytes: u64,
}

/// What was cleared up in an instance, or would be.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Cleared {
    /// Our own store.
    pub store: StoreCleared,
    /// Tree nodes of the local state that stay.
    pub nodes: u64,
    /// Tree nodes that were removed.
    pub removed_nodes: u64,
    /// Bytes of the local state before.
    pub state_bytes: u64,
    /// Bytes that became free within the local state, or were.
    pub free_bytes: u64,
    /// Whether those were given back to the disk.
    pub compacted: bool,
    /// Objects, and parts of some, that were fetched and not used.
    pub fetched: u64,
    /// Their bytes.
    pub fetched_bytes: u64,
}

/// Clears up in the store at a URL.
///
/// # Errors
/// `Store`; `Garbage` if a head there can't be read.
pub fn gc_store<'a>(
    url: &RemoteUrl,
    access: impl Into<Access<'a>>,
    grace_millis: u64,
    mode: Collect,
) -> Result<StoreCleared, Error> {
    let name = url.to_string();
    let before = match url {
        RemoteUrl::Directory(path) => leftovers(path)?,
        _ => (0, 0),
    };
    let store: Box<dyn Store> = match (url, mode) {
        // Opening it to write clears the leftovers away.
        (RemoteUrl::Directory(path), Collect::Remove) => {
            Box::new(DirStore::open_for_writing(path).map_err(Error::store(name.as_str()))?)
        }
        _ => url::open(url, access).map_err(Error::store(name.as_str()))?,
    };
    let collected = collect(store.as_ref(), grace_millis, clock::now(), mode)
        .map_err(|source| Error::Garbage { of: name.clone(), source })?;
    store.flush().map_err(Error::store(name.as_str()))?;
    Ok(StoreCleared { collected, leftovers: before.0, leftover_bytes: before.1 })
}

impl Instance {
    /// Clears up in our own store, in the local state, and among what was fetched.
    ///
    /// # Errors
    /// `Garbage`, `Store`; a tree that can't be read; the state or the application's database.
    pub fn gc(&self, grace_millis: u64, mode: Collect) -> Result<Cleared, Error> {
        let mut cleared = Cleared::default();
        self.tell(Event::Phase { name: "looking for what nothing needs", total: None });
        let dir = self.dir().join("store");
        if dir.is_dir() {
            cleared.store = gc_store(&RemoteUrl::Directory(dir), Access::default(), grace_millis, mode)?;
        }
        (cleared.fetched, cleared.fetched_bytes) = self.fetched_and_unused()?;
        let (used, free) = self.state.sizes()?;
        cleared.state_bytes = used + free;
        let all = self.state.node_count()?;
        match mode {
            Collect::Count => {
                cleared.nodes = self.needed_nodes()?.len() as u64;
                cleared.removed_nodes = all.saturating_sub(cleared.nodes);
                cleared.free_bytes = free;
            }
            Collect::Remove => {
                let swept = self.sweep()?;
                (cleared.nodes, cleared.removed_nodes) = (swept.kept, swept.removed);
                cleared.free_bytes = self.state.sizes()?.1;
                // Worth rewriting the file for.
                if cleared.free_bytes >= COMPACT_BYTES_MIN && cleared.free_bytes >= cleared.state_bytes / 4 {
                    cleared.compacted = self.state.compact()?;
                }
            }
        }
        self.tell(Event::End);
        Ok(cleared)
    }

    /// Counts the files that were fetched and not used, and their bytes.
    pub(super) fn fetched_and_unused(&self) -> Result<(u64, u64), Error> {
        let dir = self.incoming_dir();
        let entries = match fs::read_dir(&dir) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((0, 0)),
            other => other.map_err(Error::io("list", &dir))?,
        };
        let (mut files, mut bytes) = (0, 0);
        for entry in entries {
            let entry = entry.map_err(Error::io("list", &dir))?;
            files += 1;
            bytes += entry.metadata().map_err(Error::io("look at", entry.path()))?.len();
        }
        Ok((files, bytes))
    }
}

fn leftovers(path: &std::path::Path) -> Result<(u64, u64), Error> {
    let stale = UnixMillis(clock::now().0.saturating_sub(24 * 3_600_000));
    let found = match strays(path, stale) {
        // Opening the store says it better.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((0, 0)),
        other => other.map_err(Error::io("list", path))?,
    };
    let left = found.iter().filter(|stray| stray.kind == StrayKind::Leftover);
    Ok(left.fold((0, 0), |(files, bytes), stray| (files + 1, bytes + stray.bytes)))
}

/// Less than this isn't worth rewriting a file for.
const COMPACT_BYTES_MIN: u64 = 1 << 20;
