//! Remotes: adding, removing, choosing and opening them.

use std::path::Path;

use super::error::Error;
use super::instance::Instance;
use super::network::NetworkMode;
use crate::connector::dburl::redact;
use crate::exchange::pace::Paced;
use crate::exchange::store::{Store, StoreError};
use crate::id::name::PeerName;
use crate::state::remotes::RemoteRow;
use crate::sys::clock::UnixMillis;
use crate::transport::http::store::HttpStore;
use crate::transport::ssh;
use crate::transport::url::{self, Access, RemoteUrl};

/// What a remote keeps of ours that is no remote any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct LeftBehind {
    /// Whether anything was ever pushed there: what is withdrawn from now on stays there.
    pub was_pushed: bool,
    /// Objects that carried what was withdrawn, or keys that were replaced, and were still to be removed there.
    pub unremoved: u64,
}

impl Instance {
    /// Adds a remote. Nothing is opened yet: a stick need not be plugged in.
    ///
    /// # Errors
    /// `Url`, `RemoteExists`.
    pub fn remote_add(&self, name: &PeerName, text: &str, current_dir: &Path) -> Result<RemoteUrl, Error> {
        let parsed = parse(text, current_dir)?;
        self.remote_add_parsed(name, &parsed)?;
        Ok(parsed)
    }

    /// Adds a remote. A password in its URL is kept apart from it.
    ///
    /// # Errors
    /// `RemoteExists`; `Io`.
    pub(super) fn remote_add_parsed(&self, name: &PeerName, url: &RemoteUrl) -> Result<(), Error> {
        let caches = self.dir().join(CACHES);
        url::keep_secrets(url, &caches).map_err(Error::io("write", &caches))?;
        if !self.state.add_remote(name, &url.to_string())? {
            let url = self.remote_row(name)?.url;
            return Err(Error::RemoteExists { name: name.to_string(), url });
        }
        Ok(())
    }

    /// Removes a remote. What was fetched from it stays, and so does what was sent there.
    ///
    /// # Errors
    /// `UnknownRemote`.
    pub fn remote_remove(&self, name: &PeerName) -> Result<LeftBehind, Error> {
        let row = self.remote_row(name)?;
        let left = LeftBehind { was_pushed: row.pushed.is_some(), unremoved: self.state.spent_count(name)? };
        self.state.remove_remote(name)?;
        let is_used = self.state.remotes()?.iter().any(|other| other.url == row.url);
        // What this build can't read was kept by another one.
        if let (false, Ok(url)) = (is_used, parse(&row.url, &self.root)) {
            url::forget(&url, &self.access()).map_err(Error::io("remove", self.dir()))?;
        }
        Ok(left)
    }

    /// Returns the stores meant: the named one, or those that the mode says.
    ///
    /// # Errors
    /// `UnknownRemote`; `NoRemote` if there is nobody to exchange with, and nobody could come to us either.
    pub fn remotes_or_all(&self, name: Option<&PeerName>) -> Result<Vec<PeerName>, Error> {
        match name {
            Some(name) if self.is_peer_source(name)? => return Ok(vec![name.clone()]),
            Some(name) => return Ok(vec![self.remote_row(name)?.name]),
            None => {}
        }
        let remotes = || Ok::<_, Error>(self.state.remotes()?.into_iter().map(|remote| remote.name).collect());
        let names: Vec<PeerName> = match self.config.network.mode {
            NetworkMode::Central => remotes()?,
            NetworkMode::P2p => return self.peer_sources(),
            NetworkMode::Hybrid => remotes()?,
        };
        match names.is_empty() {
            // Peers are asked where there is no hub at all.
            true if self.config.network.mode == NetworkMode::Hybrid => self.peer_sources(),
            true => Err(Error::NoRemote),
            false => Ok(names),
        }
    }

    /// Returns the stores to push to: as `remotes_or_all`, but without stores of peers unless one is named.
    ///
    /// # Errors
    /// As `remotes_or_all`.
    pub fn push_targets(&self, name: Option<&PeerName>) -> Result<Vec<PeerName>, Error> {
        let mut remotes = self.remotes_or_all(name)?;
        if name.is_none() {
            let peers = self.peer_sources()?;
            remotes.retain(|remote| !peers.contains(remote));
        }
        Ok(remotes)
    }

    fn remote_row(&self, name: &PeerName) -> Result<RemoteRow, Error> {
        let remotes = self.state.remotes()?;
        let known = remotes.iter().map(|remote| remote.name.to_string()).collect();
        let found = remotes.into_iter().find(|remote| remote.name == *name);
        found.ok_or_else(|| Error::UnknownRemote { name: name.to_string(), known })
    }

    /// Joins the hub that a remote is, with an invitation.
    ///
    /// # Errors
    /// `Store` if it can't be reached or refuses; `NoHub` if the remote is none.
    pub fn join_hub(&self, name: &PeerName, token: &str) -> Result<(), Error> {
        self.remote_row(name)?;
        self.open_hub(name)?.join(token).map_err(Error::store(name.as_str()))
    }

    /// Returns as whom stores are opened, and where caches of them are.
    pub fn access(&self) -> Access<'_> {
        Access {
            identity: Some(&self.identity),
            caches: Some(self.dir().join(CACHES)),
            recalls: Some(self.dir().join(RECALLS)),
        }
    }

    /// Tells whether a remote, or a peer's own store, is reached over HTTP or SSH, and can say what changed.
    ///
    /// # Errors
    /// `UnknownRemote`, `Url`.
    pub fn is_hub(&self, name: &PeerName) -> Result<bool, Error> {
        let is_hub = |url| matches!(url, RemoteUrl::Http(_) | RemoteUrl::Ssh(_));
        Ok(self.is_peer_source(name)? || is_hub(parse(&self.remote_row(name)?.url, &self.root)?))
    }

    /// Finds out whether a remote is there, and returns its clock if it has one. A directory that nobody pushed to yet counts
    /// as there.
    ///
    /// # Errors
    /// `Store` if it can't be reached or is no store.
    pub fn reach(&self, name: &PeerName) -> Result<Option<UnixMillis>, Error> {
        if self.is_hub(name)? {
            return Ok(Some(UnixMillis(self.open_hub(name)?.info().time.saturating_mul(1000))));
        }
        self.open_remote(name).map(|_| None)
    }

    /// Opens the hub that a remote, or a peer's own store, is.
    ///
    /// # Errors
    /// `Store` if it can't be reached or refuses; `NoHub` if the remote is none.
    pub fn open_hub(&self, name: &PeerName) -> Result<HttpStore, Error> {
        if self.is_peer_source(name)? {
            return self.open_peer_hub(name);
        }
        match parse(&self.remote_row(name)?.url, &self.root)? {
            RemoteUrl::Http(url) => HttpStore::open(&url, Some(&self.identity)).map_err(Error::store(name.as_str())),
            RemoteUrl::Ssh(url) => ssh::open(&url, Some(&self.identity)).map_err(Error::store(name.as_str())),
            _ => Err(Error::NoHub { name: name.to_string() }),
        }
    }

    /// Opens a remote for reading; `None` if nothing is there yet because nobody has pushed to it.
    ///
    /// # Errors
    /// `Store`.
    pub(super) fn open_remote(&self, name: &PeerName) -> Result<Option<Box<dyn Store>>, Error> {
        self.open_remote_as(name, self.access())
    }

    /// Opens a remote for reading and believes nothing that was kept of it: what somebody looks for may have been lost there since.
    ///
    /// # Errors
    /// `Store`.
    pub(super) fn open_remote_afresh(&self, name: &PeerName) -> Result<Option<Box<dyn Store>>, Error> {
        self.open_remote_as(name, Access { recalls: None, ..self.access() })
    }

    /// Forgets what hubs said.
    ///
    /// # Errors
    /// `Io`.
    pub(super) fn forget_recalls(&self) -> Result<(), Error> {
        let dir = self.dir().join(RECALLS);
        match std::fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", &dir)(error)),
            _ => Ok(()),
        }
    }

    fn open_remote_as(&self, name: &PeerName, access: Access<'_>) -> Result<Option<Box<dyn Store>>, Error> {
        if self.is_peer_source(name)? {
            return Ok(Some(self.on_terms(self.open_peer(name)?)));
        }
        let row = self.remote_row(name)?;
        let url = parse(&row.url, &self.root)?;
        match url::open(&url, access) {
            Err(StoreError::NotAStore { .. } | StoreError::Unreachable { .. }) if is_new(&row, &url) => Ok(None),
            other => Ok(Some(self.on_terms(other.map_err(Error::store(name.as_str()))?))),
        }
    }

    /// Returns where a remote is.
    ///
    /// # Errors
    /// `UnknownRemote`, `Url`.
    pub(super) fn remote_url(&self, name: &PeerName) -> Result<RemoteUrl, Error> {
        parse(&self.remote_row(name)?.url, &self.root)
    }

    /// Makes the store of a remote anew, where its place is empty.
    ///
    /// # Errors
    /// `Store` if something else is there.
    pub(super) fn recreate(&self, name: &PeerName) -> Result<Box<dyn Store>, Error> {
        let made = url::create(&self.remote_url(name)?, self.access()).map_err(Error::store(name.as_str()))?;
        // A new store holds nothing of what the old one was sent.
        self.state.forget_sent(name)?;
        Ok(made)
    }

    /// Opens a remote for writing that was opened for reading: a hub is the same, and costs no second greeting.
    ///
    /// # Errors
    /// As `open_remote_for_writing`.
    pub(super) fn open_for_writing_too(
        &self,
        name: &PeerName,
        seen: Option<Box<dyn Store>>,
    ) -> Result<Box<dyn Store>, Error> {
        let is_far = self.is_peer_source(name)?
            || matches!(parse(&self.remote_row(name)?.url, &self.root)?, RemoteUrl::Http(_) | RemoteUrl::Ssh(_));
        match seen {
            Some(store) if is_far => Ok(store),
            _ => self.open_remote_for_writing(name),
        }
    }

    /// Opens a remote for writing, making the store at first contact. Later a missing store is a stick
    /// that isn't plugged in, and none is made in its place.
    ///
    /// # Errors
    /// `Store`.
    pub(super) fn open_remote_for_writing(&self, name: &PeerName) -> Result<Box<dyn Store>, Error> {
        if self.is_peer_source(name)? {
            return Ok(self.on_terms(self.open_peer(name)?));
        }
        let row = self.remote_row(name)?;
        let url = parse(&row.url, &self.root)?;
        let opened = match url::open_for_writing(&url, self.access()) {
            Err(StoreError::NotAStore { .. } | StoreError::Unreachable { .. }) if is_new(&row, &url) => {
                url::create(&url, self.access())
            }
            other => other,
        };
        Ok(self.on_terms(opened.map_err(Error::store(name.as_str()))?))
    }

    fn on_terms(&self, store: Box<dyn Store>) -> Box<dyn Store> {
        match self.terms {
            Some(terms) => Box::new(Paced::new(store, terms)),
            None => store,
        }
    }
}

/// The directory of caches of git repositories, in that of the instance.
const CACHES: &str = "git";
/// The directory of what hubs said, in that of the instance.
pub(super) const RECALLS: &str = "hubs";

fn is_new(row: &RemoteRow, url: &RemoteUrl) -> bool {
    row.fetched.is_none() && row.pushed.is_none() && url::is_vacant(url)
}

/// Parses a remote's URL.
///
/// # Errors
/// `Url`.
pub fn parse(text: &str, current_dir: &Path) -> Result<RemoteUrl, Error> {
    RemoteUrl::parse(text, current_dir).map_err(|source| Error::Url { url: redact(text), source })
}
