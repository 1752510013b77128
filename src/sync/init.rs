//! Making an instance beside an application, empty or as a clone of a store.

use std::fs;
use std::path::{Path, PathBuf};

use super::apply::ApplySummary;
use super::commit::Mode;
use super::config;
use super::error::Error;
use super::fetch::FetchSummary;
use super::instance::{DIR, FORMAT, Instance, Purpose};
use super::peers::PeerAdd;
use super::progress::{Watcher, silent};
use super::push::cards_in;
use crate::id::name::{PeerName, ScopeName};
use crate::keys::card::{Card, SignedCard};
use crate::keys::identity::Identity;
use crate::state::database::State;
use crate::state::peers::PeerRow;
use crate::sys::disk::{self, Access};
use crate::transport::dir::DirStore;
use crate::transport::url;

/// How to make an instance.
#[derive(Debug, Clone, Default)]
pub struct InitOptions {
    /// The application's database, in its own spelling.
    pub database: Option<String>,
    /// The mapping that ships with wbsync.
    pub preset: Option<String>,
    /// What the instance calls itself; left out, after its directory.
    pub name: Option<PeerName>,
}

/// How to clone.
#[derive(Debug, Clone, Default)]
pub struct CloneOptions {
    /// As for a new instance.
    pub init: InitOptions,
    /// Whose public scopes to follow; empty: everybody's in the store.
    pub follow: Vec<String>,
    /// Fingerprints that must be among those of the store.
    pub expect: Option<String>,
}

/// What a clone did.
#[derive(Debug, serde::Serialize)]
pub struct CloneSummary {
    /// The instances found in the store: name and fingerprint.
    pub peers: Vec<(String, String)>,
    /// What was fetched.
    pub fetched: FetchSummary,
    /// What was written.
    pub applied: ApplySummary,
}

/// What the application's database must be ready for, or no instance is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Readiness {
    ToBeRead,
    ForForeignRows,
}

/// The name of the remote that a clone came from.
const ORIGIN: &str = "origin";

impl Instance {
    /// Makes an instance in `root`: identity, state, scopes `public` and `trusted`, outgoing store.
    ///
    /// The mapping is checked against the database first. Everything is built in a temporary directory and
    /// renamed at the end: a crash leaves no half instance. An existing `wbsync.toml` is kept.
    ///
    /// # Errors
    /// `AlreadyAnInstance`; whatever is wrong with configuration, mapping or database.
    pub fn init(root: &Path, options: &InitOptions, watcher: Watcher) -> Result<Self, Error> {
        Self::make(root, options, Readiness::ToBeRead, watcher)
    }

    fn make(root: &Path, options: &InitOptions, readiness: Readiness, watcher: Watcher) -> Result<Self, Error> {
        let dir = root.join(DIR);
        if dir.exists() {
            return Err(Error::AlreadyAnInstance { path: dir });
        }
        let name = match &options.name {
            Some(name) => name.clone(),
            None => default_name(root),
        };
        let file = root.join(config::FILE);
        let wrote_config = !file.exists();
        if wrote_config {
            let text = config::initial(options.database.as_deref(), options.preset.as_deref());
            disk::replace(&file, text.as_bytes(), Access::Shared).map_err(Error::io("write", &file))?;
        }
        let made = Self::make_checked(root, &dir, name, readiness, watcher);
        if made.is_err() && wrote_config {
            // As it was: a second try must not stumble over what the first one wrote.
            let _ = fs::remove_file(&file);
        }
        made
    }

    fn make_checked(
        root: &Path,
        dir: &Path,
        name: PeerName,
        readiness: Readiness,
        watcher: Watcher,
    ) -> Result<Self, Error> {
        let building = Building::new(root)?;
        building.fill(name)?;
        let probe = Self::open_at(root, building.root.join(DIR), Purpose::Change, silent())?;
        probe.with_database(|database| {
            database.check()?;
            if readiness == Readiness::ForForeignRows {
                database.check_ready()?;
            }
            Ok(())
        })?;
        let schema = probe.with_database(|database| Ok(database.schema()))?;
        for scope in [ScopeName::public(), ScopeName::trusted()] {
            probe.create_scope(&scope, &schema)?;
        }
        let store = probe.own_store()?;
        store_card(&store, &probe)?;
        drop(probe);
        fs::rename(building.root.join(DIR), dir).map_err(Error::io("make", dir))?;
        disk::sync_dir(root).map_err(Error::io("sync", root))?;
        drop(building);
        Self::open(root, Purpose::Change, watcher)
    }

    /// Makes an instance and fills the application from a store.
    ///
    /// # Errors
    /// As `init`; `NothingToClone`; the store can't be read; the application isn't ready.
    pub fn clone_from(
        url_text: &str,
        root: &Path,
        options: &CloneOptions,
        current_dir: &Path,
        watcher: Watcher,
    ) -> Result<(Self, CloneSummary), Error> {
        let url = super::remotes::parse(url_text, current_dir)?;
        let store = url::open(&url).map_err(Error::store(url.to_string()))?;
        let cards = cards_in(store.as_ref(), &url.to_string())?;
        let wanted: Vec<&SignedCard> = cards
            .iter()
            .filter(|card| {
                options.follow.is_empty() || options.follow.iter().any(|name| card.card.name.as_str() == name)
            })
            .collect();
        if cards.is_empty() {
            return Err(Error::NothingToClone);
        }
        if let Some(name) =
            options.follow.iter().find(|name| wanted.iter().all(|card| card.card.name.as_str() != *name))
        {
            let mut known: Vec<_> = cards.iter().map(|card| card.card.name.to_string()).collect();
            known.sort();
            return Err(Error::UnknownPeer { name: name.clone(), known });
        }
        if let Some(expected) = &options.expect {
            let found: Vec<String> = wanted.iter().map(|card| Self::fingerprint(&card.card.instance)).collect();
            if !found.contains(expected) {
                return Err(Error::Fingerprint { found: found.join(", "), expected: expected.clone() });
            }
        }
        let instance = Self::make(root, &options.init, Readiness::ForForeignRows, watcher)?;
        let remote = PeerName::new(ORIGIN).expect("it is a valid name");
        instance.remote_add(&remote, &url.to_string(), current_dir)?;
        let mut peers = Vec::new();
        for card in wanted {
            let peer = instance.add_cloned_peer(card)?;
            instance.follow(peer.name.as_str(), Some(ScopeName::public()))?;
            peers.push((peer.name.to_string(), Self::fingerprint(&peer.id)));
        }
        peers.sort();
        let fetched = instance.fetch(&remote)?;
        instance.commit(Mode::Keep)?;
        instance.merge()?;
        let applied = instance.apply(Mode::Keep)?;
        Ok((instance, CloneSummary { peers, fetched, applied }))
    }

    /// Adds a peer found in a store; if its name is taken here, digits of its id are added to it.
    fn add_cloned_peer(&self, card: &SignedCard) -> Result<PeerRow, Error> {
        match self.peer_add(card, &PeerAdd::default()) {
            Err(Error::PeerNameTaken { name }) => {
                let name = PeerName::new(&format!("{name:.50}-{}", card.card.instance.short()))?;
                self.peer_add(card, &PeerAdd { name: Some(name), expect: None })
            }
            other => other,
        }
    }
}

/// A half-made instance in a directory of its own, removed unless it was renamed away.
struct Building {
    root: PathBuf,
}

impl Building {
    fn new(root: &Path) -> Result<Self, Error> {
        let path = root.join(".wbsync-new");
        if path.exists() {
            fs::remove_dir_all(&path).map_err(Error::io("remove", &path))?;
        }
        disk::create_dir(&path).map_err(Error::io("make", &path))?;
        Ok(Self { root: path })
    }

    fn fill(&self, name: PeerName) -> Result<(), Error> {
        let dir = self.root.join(DIR);
        let keys = dir.join("keys");
        disk::create_dir(&keys).map_err(Error::io("make", &keys))?;
        let identity = Identity::create(&keys).map_err(Error::Identity)?;
        let card =
            Card { instance: identity.id(), recipient: identity.recipient(), name, urls: Vec::new(), incarnation: 0 };
        let card = SignedCard::sign(card, &identity);
        let path = dir.join("card");
        disk::replace(&path, &card.bytes, Access::Shared).map_err(Error::io("write", &path))?;
        State::open(&dir.join("state.db"))?;
        let path = dir.join("format");
        disk::replace(&path, FORMAT.as_bytes(), Access::Shared).map_err(Error::io("write", &path))
    }
}

impl Drop for Building {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

fn store_card(store: &DirStore, instance: &Instance) -> Result<(), Error> {
    use crate::exchange::store::Store;
    store.swap_card(&instance.id(), None, &instance.card.bytes).map_err(Error::store("this instance"))
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
