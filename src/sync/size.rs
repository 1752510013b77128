//! How much room everything takes: the local state, our own store, each remote, the bookkeeping in the application's database.

use std::collections::BTreeMap;

use super::error::Error;
use super::instance::Instance;
use super::status::explain;
use crate::connector::catalogue::DatabaseSizes;
use crate::exchange::health::named;
use crate::exchange::store::{Store, StoreError};

/// How much room everything takes, in bytes.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Sizes {
    /// The local state.
    pub state: StateSize,
    /// Our own store; `None` if nothing was published yet.
    pub store: Option<StoreSize>,
    /// What was fetched and not used.
    pub fetched: u64,
    /// The application's database; `None` if it can't be read.
    pub database: Option<DatabaseSizes>,
    /// Each remote, by name; those that can't be asked are in `unknown`.
    pub remotes: BTreeMap<String, StoreSize>,
    /// Remotes of which nothing is known, and why.
    pub unknown: BTreeMap<String, String>,
}

/// The local state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct StateSize {
    /// Bytes in use.
    pub used: u64,
    /// Bytes of the file that are free for reuse.
    pub free: u64,
    /// Tree nodes.
    pub nodes: u64,
}

/// A store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct StoreSize {
    /// Objects.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of those that no head names; 0 where the store doesn't list them.
    pub unused: u64,
    /// Whether the store lists what it holds, or only what heads name is known.
    pub is_listed: bool,
}

impl Instance {
    /// Measures everything. Asks each remote.
    ///
    /// # Errors
    /// The local state or our own store can't be read.
    pub fn sizes(&self) -> Result<Sizes, Error> {
        let (used, free) = self.state.sizes()?;
        let mut sizes = Sizes {
            state: StateSize { used, free, nodes: self.state.node_count()? },
            fetched: self.fetched_and_unused()?.1,
            database: self.with_database(|database| Ok(database.sizes()?)).ok(),
            ..Sizes::default()
        };
        if self.dir().join("store").is_dir() {
            sizes.store = Some(size_of(&self.own_store()?).map_err(Error::store("this instance"))?);
        }
        for remote in self.state.remotes()? {
            let name = remote.name.to_string();
            let measured = match self.open_remote(&remote.name) {
                Ok(None) => Ok(None),
                Ok(Some(store)) => size_of(store.as_ref()).map(Some).map_err(Error::store(name.as_str())),
                Err(error) => Err(error),
            };
            match measured {
                Ok(size) => drop(sizes.remotes.insert(name, size.unwrap_or_default())),
                Err(error) => drop(sizes.unknown.insert(name, explain(&error))),
            }
        }
        Ok(sizes)
    }
}

fn size_of(store: &dyn Store) -> Result<StoreSize, StoreError> {
    let named = named(store)?.objects;
    match store.objects() {
        Ok(objects) => {
            let unused =
                objects.iter().filter(|object| !named.contains_key(&object.id)).map(|object| object.bytes).sum();
            let bytes = objects.iter().map(|object| object.bytes).sum();
            Ok(StoreSize { objects: objects.len() as u64, bytes, unused, is_listed: true })
        }
        // A hub doesn't list for everybody.
        Err(StoreError::Denied { .. }) => {
            let bytes = named.values().map(|(bytes, _)| bytes).sum();
            Ok(StoreSize { objects: named.len() as u64, bytes, unused: 0, is_listed: false })
        }
        Err(error) => Err(error),
    }
}
