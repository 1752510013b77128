//! An instance on disk: its directory, lock, identity, state and stores.
//!
//! Beside the application lies `wbsync.toml`, and in `.wbsync/`: `format`, `keys/`, `card`, `state.db`,
//! `store/` (our outgoing store), `incoming/` (objects being fetched) and `lock`.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::config::{self, Config};
use super::error::Error;
use super::own_file::{check_format, read_card};
use super::progress::{Event, Watcher};
use super::remotes::RECALLS;
use super::restore;
use super::scopes::OpenScope;
use crate::connector::both::Both;
use crate::connector::contract::{Connector, Context};
use crate::connector::dburl::{self, Address};
use crate::connector::files::connector::{FilesConnector, Place};
use crate::connector::files::section;
use crate::connector::mapping::model::Mapping;
use crate::connector::postgres;
use crate::connector::postgres::options::Options as PostgresOptions;
use crate::connector::sqlite;
use crate::connector::sqlite::options::Options as SqliteOptions;
use crate::exchange::pace::Terms;
use crate::id::bytes::{InstanceId, ScopeId};
use crate::id::name::{PeerName, ScopeName};
use crate::keys::card::SignedCard;
use crate::keys::identity::Identity;
use crate::scope::audience::Addressees;
use crate::scope::manifest::Manifest;
use crate::state::database::State;
use crate::sys::disk::{self, Lock, TEMPORARY_PREFIX};
use crate::transport::dir::DirStore;

/// The directory of an instance, beside the application.
pub const DIR: &str = ".wbsync";
/// What the `format` file of this version says.
pub const FORMAT: &str = "wbsync instance 1\n";

/// The file that a command locks which changes something.
pub(super) const LOCK_FILE: &str = "lock";

/// An open instance.
pub struct Instance {
    /// The application's directory.
    pub root: PathBuf,
    dir: PathBuf,
    /// `wbsync.toml`.
    pub config: Config,
    /// Our keys.
    pub identity: Identity,
    /// Our card.
    pub card: SignedCard,
    /// The local state.
    pub state: State,
    /// Whoever watches long work.
    pub watcher: Watcher,
    /// How long to be patient with each remote; `None` is as long as it moves at all.
    pub terms: Option<Terms>,
    connector: RefCell<Option<Box<dyn Connector>>>,
    /// Scopes as they were last opened.
    pub(super) unlocked: RefCell<BTreeMap<ScopeId, OpenScope>>,
    /// Whether a restore is at work: what remotes have of ours counts more than what we have.
    restoring: bool,
    _lock: Option<Lock>,
}

/// What a command means to do with the instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Only look: may run beside another command.
    Look,
    /// Change something: one command at a time.
    Change,
    /// Change something, also while a restore isn't finished.
    Restore,
}

impl Instance {
    /// Opens the instance of `WBSYNC_DIR`, or of the first directory upwards from `start` that has one.
    ///
    /// # Errors
    /// `NotAnInstance`, `NewerInstance`, `Busy`, and whatever is wrong with its parts.
    pub fn find(start: &Path, purpose: Purpose, watcher: Watcher) -> Result<Self, Error> {
        Self::open(&Self::root_of(start)?, purpose, watcher)
    }

    /// Finds the application's directory as `find` does, and opens nothing.
    ///
    /// # Errors
    /// `NotAnInstance`.
    pub fn root_of(start: &Path) -> Result<PathBuf, Error> {
        if let Some(root) = Self::root_from_environment(start) {
            return Ok(root);
        }
        let found = start.ancestors().find(|dir| dir.join(DIR).is_dir());
        found.map(Path::to_owned).ok_or_else(|| Error::NotAnInstance { start: start.to_owned() })
    }

    /// Returns the application's directory that `WBSYNC_DIR` names, itself or by its `.wbsync`.
    pub fn root_from_environment(start: &Path) -> Option<PathBuf> {
        let dir = start.join(std::env::var_os("WBSYNC_DIR").filter(|dir| !dir.is_empty())?);
        Some(if dir.ends_with(DIR) { dir.parent().unwrap_or(&dir).to_owned() } else { dir })
    }

    /// Opens the instance in `root`.
    ///
    /// # Errors
    /// As `find`.
    pub fn open(root: &Path, purpose: Purpose, watcher: Watcher) -> Result<Self, Error> {
        let dir = root.join(DIR);
        check_format(root, &dir)?;
        let lock = match purpose {
            Purpose::Look => None,
            Purpose::Change | Purpose::Restore => {
                let path = dir.join(LOCK_FILE);
                let lock = Lock::try_take(&path).map_err(Error::io("lock", &path))?;
                let lock = lock.ok_or_else(|| Error::Busy { path: dir.clone() })?;
                sweep(&dir)?;
                sweep(&dir.join(RECALLS))?;
                if purpose == Purpose::Change && restore::is_unfinished(&dir)? {
                    return Err(Error::RestoreUnfinished);
                }
                Some(lock)
            }
        };
        Self::open_parts(root, dir, Config::read(root)?, lock, watcher)
    }

    /// Opens the instance whose own files are in `dir`, beside the application in `root`; whoever changes
    /// something gives its lock.
    ///
    /// # Errors
    /// As `find`.
    pub(super) fn open_parts(
        root: &Path,
        dir: PathBuf,
        config: Config,
        lock: Option<Lock>,
        watcher: Watcher,
    ) -> Result<Self, Error> {
        let identity = Identity::open(&dir.join("keys")).map_err(Error::Identity)?;
        let card = read_card(&dir, &identity)?;
        let state = State::open(&dir.join("state.db"))?;
        let root = root.to_owned();
        Ok(Self {
            root,
            dir,
            config,
            identity,
            card,
            state,
            watcher,
            terms: None,
            connector: RefCell::new(None),
            unlocked: RefCell::default(),
            restoring: false,
            _lock: lock,
        })
    }

    /// Tells whether a restore is at work.
    pub(super) fn is_restoring(&self) -> bool {
        self.restoring
    }

    /// Begins or ends the work of a restore; the database is opened anew.
    pub(super) fn set_restoring(&mut self, restoring: bool) {
        self.restoring = restoring;
        *self.connector.borrow_mut() = None;
    }

    /// Finds out whether the instance's own files can be written, without leaving anything behind.
    ///
    /// # Errors
    /// `Io`, `State`.
    pub fn check_writable(&self) -> Result<(), Error> {
        disk::temporary_in(&self.dir, disk::Access::Secret).map_err(Error::io("write to", &self.dir))?;
        match self.state.probe() {
            // Another command is at work, and writes.
            Err(error) if error.is_busy() => Ok(()),
            probed => Ok(probed?),
        }
    }

    /// Returns our id.
    pub fn id(&self) -> InstanceId {
        self.card.card.instance
    }

    /// Returns the directory of the instance's own files.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Opens our outgoing store.
    ///
    /// # Errors
    /// `Store`.
    pub fn own_store(&self) -> Result<DirStore, Error> {
        DirStore::create(&self.dir().join("store")).map_err(Error::store("this instance"))
    }

    /// Tells the watcher.
    pub fn tell(&self, event: Event<'_>) {
        (self.watcher)(event);
    }

    /// Uses the application's database, opening it at first use.
    ///
    /// # Errors
    /// `Database` if it can't be opened or doesn't fit the mapping, and what `work` gives.
    pub fn with_database<T>(&self, work: impl FnOnce(&mut dyn Connector) -> Result<T, Error>) -> Result<T, Error> {
        let mut slot = self.connector.borrow_mut();
        if slot.is_none() {
            *slot = Some(self.open_database()?);
        }
        work(slot.as_mut().expect("it was opened just above").as_mut())
    }

    /// Reads the mapping of the application's tables, and of directories.
    ///
    /// # Errors
    /// `Database` if it isn't written as it should be.
    pub fn mapping(&self) -> Result<Mapping, Error> {
        let tables = if self.has_tables() { self.tables()? } else { Mapping::default() };
        Ok(section::joined(tables, &self.config.files)?)
    }

    /// Tells whether there is a database: an instance that has directories needs none.
    pub(super) fn has_tables(&self) -> bool {
        let Config { files, database, preset, dataset, .. } = &self.config;
        files.is_empty() || database.is_some() || preset.is_some() || !dataset.is_empty()
    }

    fn tables(&self) -> Result<Mapping, Error> {
        let origin = self.root.join(config::FILE).display().to_string();
        Ok(Mapping::load(self.config.preset.as_deref(), self.config.mapping(), &origin)?)
    }

    /// Returns whom rows can name: the peers, and the groups with their members.
    ///
    /// # Errors
    /// `State`, `Manifest`.
    pub fn addressees(&self) -> Result<Addressees, Error> {
        let peers = self.state.peers()?;
        let mut members = BTreeMap::new();
        let mut known: BTreeSet<PeerName> = peers.iter().map(|peer| peer.name.clone()).collect();
        for row in self.state.scopes_of(&self.id())? {
            if let Some(names) = row.name.peer_names() {
                // Rows stay shared with the others after one of them was forgotten; its name is nobody else's (`peer_add`).
                known.extend(names);
                continue;
            }
            if row.name.is_public() {
                continue;
            }
            let error = |source| Error::Manifest { scope: row.name.to_string(), source };
            let readers = Manifest::open(&row.manifest, &row.origin).map_err(error)?.0.readers();
            let named = peers.iter().filter(|peer| readers.contains(&peer.id)).map(|peer| peer.name.clone());
            members.insert(row.name, named.collect());
        }
        Ok(Addressees { members, peers: known })
    }

    /// Returns the readers that we know of every scope of others that isn't public, also of those of peers that we forgot.
    pub(super) fn readers(&self) -> Result<BTreeMap<(InstanceId, ScopeName), BTreeSet<PeerName>>, Error> {
        let peers = self.state.peers()?;
        let mut readers = BTreeMap::new();
        for row in self.state.scopes()?.into_iter().filter(|row| row.origin != self.id() && !row.name.is_public()) {
            let error = |source| Error::Manifest { scope: row.name.to_string(), source };
            let ids = Manifest::open(&row.manifest, &row.origin).map_err(error)?.0.readers();
            let known = peers.iter().filter(|peer| peer.id == row.origin || ids.contains(&peer.id));
            readers.insert((row.origin, row.name), known.map(|peer| peer.name.clone()).collect());
        }
        for bygone in self.state.bygone()? {
            readers.entry((bygone.origin, bygone.name)).or_insert(bygone.readers);
        }
        Ok(readers)
    }

    /// Closes the application's database: peers, groups or manifests changed, and the next use must know.
    pub fn forget_database(&self) {
        *self.connector.borrow_mut() = None;
    }

    /// Returns where the application's database is.
    ///
    /// # Errors
    /// `Database` if the address can't be found or used.
    pub fn database_address(&self) -> Result<Address, Error> {
        Ok(match &self.config.database {
            Some(url) => dburl::parse(url, &self.root)?,
            None => dburl::discover(&self.root, std::env::var("DATABASE_URL").ok().as_deref())?.address,
        })
    }

    fn open_database(&self) -> Result<Box<dyn Connector>, Error> {
        let names: BTreeMap<InstanceId, PeerName> =
            self.state.peers()?.into_iter().map(|peer| (peer.id, peer.name)).collect();
        let (addressees, readers, restoring) = (self.addressees()?, self.readers()?, self.restoring);
        let said = Arc::new(self.said()?);
        let context = Context { own: self.id(), names, addressees, readers, restoring, said };
        if self.config.files.is_empty() {
            return self.open_tables(context);
        }
        // Known by its address also where its tables take no part.
        let database = match self.database_address() {
            Ok(Address::Sqlite(path)) => Some(path),
            _ => None,
        };
        let place = Place { root: self.root.clone(), own: self.dir.clone(), database };
        let files = FilesConnector::open(self.config.files.clone(), place, context.clone())?;
        if !self.has_tables() {
            return Ok(Box::new(files));
        }
        Ok(Box::new(Both::new(self.open_tables(context)?, files)))
    }

    fn open_tables(&self, context: Context) -> Result<Box<dyn Connector>, Error> {
        let (mapping, address) = (self.tables()?, self.database_address()?);
        Ok(Box::new(match address {
            Address::Sqlite(path) => {
                let mut options = SqliteOptions::new(&path, &self.root, &self.dir);
                options.busy_ms = self.config.busy_ms.unwrap_or(options.busy_ms);
                options.capturing = self.config.capture.mode;
                sqlite::open(options, mapping, context)?
            }
            Address::Postgres(url) => {
                self.check_schema(url.schema())?;
                let mut options = PostgresOptions::new(*url, &self.root);
                options.busy_ms = self.config.busy_ms.unwrap_or(options.busy_ms);
                options.capturing = self.config.capture.mode;
                postgres::open(options, mapping, context)?
            }
        }))
    }
}

/// Removes the temporary files of commands that died, if there is such a directory: among them copies of the
/// application's database. Whoever calls this has the lock.
fn sweep(dir: &Path) -> Result<(), Error> {
    for name in disk::names(dir, ENTRIES_MAX).map_err(Error::io("list", dir))?.unwrap_or_default() {
        if name.starts_with(TEMPORARY_PREFIX) {
            let path = dir.join(name);
            disk::remove(&path).map_err(Error::io("remove", &path))?;
        }
    }
    Ok(())
}

/// The most entries of an instance's directory.
const ENTRIES_MAX: usize = 1 << 16;
