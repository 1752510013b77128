//! Making an instance beside an application, empty or as a clone of a store.

mod from_bundle;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::apply::ApplySummary;
use super::commit::Mode;
use super::config::{self, Config, Directory};
use super::error::Error;
use super::fetch::FetchSummary;
use super::fit::Fit;
use super::instance::{DIR, FORMAT, Instance, LOCK_FILE, Purpose};
use super::network::NetworkMode;
use super::peers::PeerAdd;
use super::progress::{Watcher, silent};
use super::push::cards_in;
use super::refusal::Refusal;
use crate::exchange::store::{Store, StoreError};
use crate::id::name::{PeerName, ScopeName};
use crate::keys::card::{Card, SignedCard};
use crate::keys::identity::Identity;
use crate::state::database::State;
use crate::state::peers::PeerRow;
use crate::sys::disk::{self, Access, Lock};
use crate::transport::dir::DirStore;
use crate::transport::url::{self, RemoteUrl};

/// How to make an instance.
#[derive(Debug, Clone, Default)]
pub struct InitOptions {
    /// The application's database, in its own spelling.
    pub database: Option<String>,
    /// The mapping that ships with wbsync.
    pub preset: Option<String>,
    /// The mapping to begin with where there is neither that nor a `wbsync.toml`.
    pub mapping: Option<String>,
    /// What the instance calls itself; left out, after its directory.
    pub name: Option<PeerName>,
    /// Through which stores it exchanges; left out, its remotes.
    pub mode: Option<NetworkMode>,
    /// A directory whose files are records.
    pub files: Option<Directory>,
}

/// How to clone.
#[derive(Debug, Clone, Default)]
pub struct CloneOptions {
    /// As for a new instance.
    pub init: InitOptions,
    /// Whose public scopes to follow; empty: everybody's in the store.
    pub follow: Vec<String>,
    /// Follow only instances with these fingerprints, each of which must be in the store; empty: whatever fingerprint.
    pub expect: Vec<String>,
    /// Whether to go on where records won't fit our tables.
    pub schema: Unfitting,
    /// An invitation to the hub that is cloned: the new instance joins it first.
    pub invitation: Option<Invitation>,
}

/// The token of an invitation. Whoever has it can use it, so it is never shown.
#[derive(Clone)]
pub struct Invitation(pub String);

impl std::fmt::Debug for Invitation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Invitation")
    }
}

/// What a clone does where the schemas say that records will have to wait.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Unfitting {
    /// Refuses, before any row is written.
    #[default]
    Refuse,
    /// Lets those records wait.
    Wait,
}

/// What a clone did.
#[derive(Debug, Default, serde::Serialize)]
pub struct CloneSummary {
    /// The instances found in the store: name and fingerprint.
    pub peers: Vec<(String, String)>,
    /// What was fetched.
    pub fetched: FetchSummary,
    /// What was written.
    pub applied: ApplySummary,
}

/// What is being made.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Making {
    /// An instance that knows nobody.
    Empty,
    /// A clone of the store at this URL: the application's database must be ready for foreign rows.
    CloneOf(String),
}

/// The name of the remote that a clone came from.
const ORIGIN: &str = "origin";
/// Names the store in `.wbsync/` for as long as a clone of it isn't finished, so that the same command can go on.
pub(super) const CLONING_FILE: &str = "cloning";
/// The most bytes of that file.
const URL_BYTES_MAX: u64 = 64 << 10;

impl Instance {
    /// Makes an instance in `root`: identity, state, scopes `public` and `trusted`, outgoing store.
    ///
    /// The mapping is checked against the database first. Everything is built in a temporary directory and
    /// renamed at the end: a crash leaves no half instance. An existing `wbsync.toml` is kept.
    ///
    /// # Errors
    /// `AlreadyAnInstance`; `Busy` if another process makes one here; whatever is wrong with configuration, mapping or
    /// database.
    pub fn init(root: &Path, options: &InitOptions, watcher: Watcher) -> Result<Self, Error> {
        Self::make(root, options, &Making::Empty, watcher)
    }

    fn make(root: &Path, options: &InitOptions, making: &Making, watcher: Watcher) -> Result<Self, Error> {
        let name = options.name.clone().unwrap_or_else(|| default_name(root));
        let building = Building::begin(root)?;
        let (config, written) = configured(root, options)?;
        building.fill(name, making)?;
        let probe = Self::open_parts(root, building.dir.clone(), config, None, silent())?;
        probe.with_database(|database| {
            database.check()?;
            if *making != Making::Empty {
                database.check_ready()?;
            }
            Ok(())
        })?;
        for scope in [ScopeName::public(), ScopeName::trusted()] {
            probe.create_scope(&scope)?;
        }
        let store = probe.own_store()?;
        store_card(&store, &probe)?;
        drop(probe);
        building.finish(root, written.as_deref(), watcher)
    }

    /// Makes an instance and fills the application from a store, or goes on where a crash ended that.
    ///
    /// With an invitation the instance is made before the store is looked at, for only members may look.
    ///
    /// # Errors
    /// As `init`; `MembersOnly` if the store wants an invitation, or another one; `NothingToClone`; `Incompatible` if records won't fit our tables, before any is written; the store can't be read; the application isn't ready.
    pub fn clone_from(
        url_text: &str,
        root: &Path,
        options: &CloneOptions,
        current_dir: &Path,
        watcher: Watcher,
    ) -> Result<(Self, CloneSummary), Error> {
        let url = super::remotes::parse(url_text, current_dir)?;
        let is_unfinished = Self::unfinished_clone(root, &url.to_string())?;
        let make = |watcher| Self::make(root, &options.init, &Making::CloneOf(url.to_string()), watcher);
        let mut watcher = Some(watcher);
        let mut watch = || watcher.take().unwrap_or_else(silent);
        let made = match (is_unfinished, &options.invitation) {
            (true, _) => Some(Self::open(root, Purpose::Change, watch())?),
            (false, Some(_)) => Some(make(watch())?),
            (false, None) => None,
        };
        let remote = PeerName::new(ORIGIN).expect("it is a valid name");
        let for_members = |error| for_members(error, &url.to_string(), options.invitation.is_some());
        if let (Some(instance), Some(invitation)) = (&made, &options.invitation) {
            instance.add_origin(&remote, &url)?;
            instance.join_hub(&remote, &invitation.0).map_err(for_members)?;
        }
        let store = url::open(&url, made.as_ref().map(|made| &made.identity)).map_err(Error::store(url.to_string()))?;
        let (wanted, refused) = chosen(store.as_ref(), &url.to_string(), options).map_err(for_members)?;
        let instance = match made {
            Some(instance) => instance,
            None => make(watch())?,
        };
        instance.add_origin(&remote, &url)?;
        let mut peers = Vec::new();
        for card in &wanted {
            let peer = instance.add_cloned_peer(card)?;
            instance.follow(peer.name.as_str(), Some(ScopeName::public()))?;
            peers.push((peer.name.to_string(), Self::fingerprint(&peer.id)));
        }
        peers.sort();
        let mut fetched = instance.fetch(&remote)?;
        fetched.refused.extend(refused);
        let summary = CloneSummary { peers, fetched, ..CloneSummary::default() };
        instance.finish_clone(&url.to_string(), options.schema, summary)
    }

    /// Merges what was fetched from `place` and writes the application's rows.
    fn finish_clone(
        self,
        place: &str,
        schema: Unfitting,
        mut summary: CloneSummary,
    ) -> Result<(Self, CloneSummary), Error> {
        let blocked: Vec<Fit> = self.fits()?.into_iter().filter(Fit::blocks).collect();
        if schema == Unfitting::Refuse && !blocked.is_empty() {
            return Err(Error::Incompatible { url: place.to_owned(), fits: blocked });
        }
        self.commit(Mode::Keep)?;
        self.merge()?;
        summary.applied = self.apply(Mode::Keep)?;
        let cloning = self.dir().join(CLONING_FILE);
        disk::remove(&cloning).map_err(Error::io("remove", &cloning))?;
        Ok((self, summary))
    }

    fn add_origin(&self, remote: &PeerName, url: &RemoteUrl) -> Result<(), Error> {
        match self.remote_add_parsed(remote, url) {
            Err(Error::RemoteExists { url: known, .. }) if known == url.to_string() => Ok(()),
            other => other,
        }
    }

    /// Tells whether `root` holds an instance whose clone of this store was interrupted.
    fn unfinished_clone(root: &Path, url: &str) -> Result<bool, Error> {
        let path = root.join(DIR).join(CLONING_FILE);
        let found = disk::read_bounded(&path, URL_BYTES_MAX).map_err(Error::io("read", &path))?;
        Ok(found.is_some_and(|found| found == url.as_bytes()))
    }

    /// Adds a peer found in a store; if its name is taken here, digits of its id are added to it.
    pub(super) fn add_cloned_peer(&self, card: &SignedCard) -> Result<PeerRow, Error> {
        match self.peer_add(card, &PeerAdd::default()) {
            // By us, or by another in that store who calls itself the same.
            Err(Error::PeerNameTaken { .. } | Error::OtherIdentity { .. })
                if self.state.peer(&card.card.instance)?.is_none() =>
            {
                let name = PeerName::new(&format!("{:.50}-{}", card.card.name, card.card.instance.short()))?;
                self.peer_add(card, &PeerAdd { name: Some(name), expect: None })
            }
            other => other,
        }
    }
}

/// Says that a store which refuses to be looked at, or to let us join, is for members.
fn for_members(error: Error, url: &str, invited: bool) -> Error {
    match error {
        Error::Store { source, .. } if matches!(*source, StoreError::Denied { .. }) => {
            Error::MembersOnly { url: url.to_owned(), invited, source }
        }
        other => other,
    }
}

/// Reads the cards in a store, and returns those to follow, and which don't count.
fn chosen(store: &dyn Store, place: &str, options: &CloneOptions) -> Result<(Vec<SignedCard>, Vec<Refusal>), Error> {
    let (cards, refused) = cards_in(store, place)?;
    let is_wanted = |card: &&SignedCard| {
        options.follow.is_empty() || options.follow.iter().any(|name| card.card.name.as_str() == name)
    };
    let wanted: Vec<&SignedCard> = cards.iter().filter(is_wanted).collect();
    if cards.is_empty() {
        return Err(Error::NothingToClone { url: place.to_owned() });
    }
    if let Some(name) = options.follow.iter().find(|name| wanted.iter().all(|card| card.card.name.as_str() != *name)) {
        let mut known: Vec<_> = cards.iter().map(|card| card.card.name.to_string()).collect();
        known.sort();
        return Err(Error::UnknownPeer { name: name.clone(), known });
    }
    let wanted = expected(wanted, options)?.into_iter().cloned().collect();
    Ok((wanted, refused))
}

/// Leaves of the instances to follow those that are expected. A name that was asked for must mean one of them.
fn expected<'a>(mut wanted: Vec<&'a SignedCard>, options: &CloneOptions) -> Result<Vec<&'a SignedCard>, Error> {
    let prints = |cards: &[&SignedCard]| -> Vec<String> {
        cards.iter().map(|card| Instance::fingerprint(&card.card.instance)).collect()
    };
    let found = prints(&wanted);
    if let Some(missing) = options.expect.iter().find(|expected| !found.contains(expected)) {
        return Err(Error::Fingerprint { found: found.join(", "), expected: missing.clone() });
    }
    if !options.expect.is_empty() {
        wanted.retain(|card| options.expect.contains(&Instance::fingerprint(&card.card.instance)));
    }
    for name in &options.follow {
        let named: Vec<_> = wanted.iter().copied().filter(|card| card.card.name.as_str() == name).collect();
        if named.len() > 1 {
            return Err(Error::TwoIdentities { name: name.clone(), found: prints(&named).join(", ") });
        }
    }
    Ok(wanted)
}

/// A half-made instance in a directory of its own, removed unless it is finished. One process at a time has it.
struct Building {
    dir: PathBuf,
    lock: Option<Lock>,
}

impl Building {
    /// Begins anew, whatever a crash left.
    fn begin(root: &Path) -> Result<Self, Error> {
        let dir = root.join(".wbsync-new");
        disk::create_dir_in_parent(&dir).map_err(Error::io("make", &dir))?;
        let path = dir.join(LOCK_FILE);
        let busy = || Error::Busy { path: dir.clone() };
        let lock = match Lock::try_take(&path) {
            // Whoever had the directory has just renamed or removed it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(busy()),
            lock => lock.map_err(Error::io("lock", &path))?.ok_or_else(busy)?,
        };
        if !path.exists() {
            return Err(busy());
        }
        let building = Self { dir, lock: Some(lock) };
        let taken = root.join(DIR);
        if taken.exists() {
            return Err(Error::AlreadyAnInstance { path: taken });
        }
        for entry in fs::read_dir(&building.dir).map_err(Error::io("list", &building.dir))? {
            let path = entry.map_err(Error::io("list", &building.dir))?.path();
            if !path.ends_with(LOCK_FILE) {
                let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
                removed.map_err(Error::io("remove", &path))?;
            }
        }
        Ok(building)
    }

    fn fill(&self, name: PeerName, making: &Making) -> Result<(), Error> {
        let keys = self.dir.join("keys");
        disk::create_dir(&keys).map_err(Error::io("make", &keys))?;
        let identity = Identity::create(&keys).map_err(Error::Identity)?;
        let card =
            Card { instance: identity.id(), recipient: identity.recipient(), name, urls: Vec::new(), incarnation: 0 };
        let card = SignedCard::sign(card, &identity);
        self.write("card", &card.bytes)?;
        State::open(&self.dir.join("state.db"))?;
        if let Making::CloneOf(url) = making {
            self.write(CLONING_FILE, url.as_bytes())?;
        }
        self.write("format", FORMAT.as_bytes()).map(drop)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<PathBuf, Error> {
        let path = self.dir.join(name);
        // An address of PostgreSQL may hold a password.
        let access = if name == config::FILE { Access::Secret } else { Access::Shared };
        disk::replace(&path, bytes, access).map_err(Error::io("write", &path))?;
        Ok(path)
    }

    /// Moves the instance to its place, after its configuration if that is new.
    fn finish(mut self, root: &Path, config: Option<&str>, watcher: Watcher) -> Result<Instance, Error> {
        if let Some(text) = config {
            let (from, to) = (self.write(config::FILE, text.as_bytes())?, root.join(config::FILE));
            disk::rename(&from, &to).map_err(Error::io("write", &to))?;
        }
        let dir = root.join(DIR);
        disk::rename(&self.dir, &dir).map_err(Error::io("make", &dir))?;
        // The lock goes with the file, wherever it lies.
        Instance::open_parts(root, dir, Config::read(root)?, self.lock.take(), watcher)
    }
}

impl Drop for Building {
    fn drop(&mut self) {
        // Not ours any more once its lock is the instance's.
        if self.lock.is_some() {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

fn store_card(store: &DirStore, instance: &Instance) -> Result<(), Error> {
    use crate::exchange::store::Store;
    store.swap_card(&instance.id(), None, &instance.card.bytes).map_err(Error::store("this instance"))
}

/// Returns the configuration in `root`, or the one of the options, which is to be written then.
///
/// # Errors
/// `ConfigDisagrees` if both are given and differ; `Config`.
pub(super) fn configured(root: &Path, options: &InitOptions) -> Result<(Config, Option<String>), Error> {
    let file = root.join(config::FILE);
    if file.exists() {
        return Ok((agreeing(Config::read(root)?, options, &file)?, None));
    }
    let (database, preset) = (options.database.as_deref(), options.preset.as_deref());
    let mut written = config::initial(database, preset, options.mode, options.files.as_ref());
    if let Some(mapping) = &options.mapping {
        written.extend(["\n", mapping.as_str()]);
    }
    Ok((Config::parse(&written, &file)?, Some(written)))
}

/// Refuses options that an existing `wbsync.toml` contradicts: it is kept, so they would do nothing.
fn agreeing(config: Config, options: &InitOptions, path: &Path) -> Result<Config, Error> {
    let differs = |given: &Option<String>, found: &Option<String>| given.is_some() && given != found;
    let key = if differs(&options.database, &config.database) {
        "database"
    } else if differs(&options.preset, &config.preset) {
        "preset"
    } else if options.mode.is_some_and(|mode| mode != config.network.mode) {
        "network.mode"
    } else if options
        .files
        .as_ref()
        .is_some_and(|files| config.files.get(&files.dataset).is_none_or(|section| section.dir != files.dir))
    {
        "files"
    } else {
        return Ok(config);
    };
    Err(Error::ConfigDisagrees { path: path.to_owned(), key })
}

/// Makes a name of the directory's: what isn't allowed in one becomes a dash.
fn default_name(root: &Path) -> PeerName {
    let base = root.canonicalize().unwrap_or_else(|_| root.to_owned());
    let base = base.file_name().map(|name| name.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    let cleaned: String =
        base.chars().map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' }).take(40).collect();
    let cleaned = cleaned.trim_matches('-');
    let cleaned =
        if cleaned.starts_with(|c: char| c.is_ascii_lowercase()) { cleaned.into() } else { format!("wb-{cleaned}") };
    PeerName::new(cleaned.trim_end_matches('-')).expect("cleaned of everything else")
}
