//! Opening the store in a repository: by which way, with which cache, and whether it is one.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

use crate::exchange::layout::{self, FormatError, StorePath};
use crate::exchange::store::{Doing, Store, StoreError};
use crate::id::bytes::InstanceId;
use crate::transport::git::cache::{Cache, make_bare};
use crate::transport::git::error::GitError;
use crate::transport::git::gathered::Gathered;
use crate::transport::git::http::Web;
use crate::transport::git::hub::{Native, Server, View};
use crate::transport::git::process::Programs;
use crate::transport::git::program::Program;
use crate::transport::git::store::{GitStore, State};
use crate::transport::git::url::{GitUrl, Place, Via};

impl GitStore {
    /// Opens the store at `url`: fetches what `cache` lacks of it. Without a cache everything is fetched, and forgotten afterwards.
    ///
    /// A repository without our branches is an empty store. `own` is whose branch takes objects that no head names.
    ///
    /// # Errors
    /// `Unreachable`, `NotAStore`, `NewerFormat`, `Denied`, `Io`.
    pub fn open(url: &GitUrl, own: Option<InstanceId>, cache: Option<&Path>) -> Result<Self, StoreError> {
        Self::with(format!("the git repository {url}"), server(url), &url.prefix, own, cache)
    }

    /// Opens the store below `prefix` of the repository that `command` reaches, given `git-upload-pack` or `git-receive-pack`.
    ///
    /// # Errors
    /// As `open`.
    pub fn over(
        name: String,
        prefix: &str,
        own: Option<InstanceId>,
        cache: Option<&Path>,
        command: impl Fn(&str) -> Command + Send + Sync + 'static,
    ) -> Result<Self, StoreError> {
        Self::with(name, Box::new(Native(Box::new(Programs::by(command)))), prefix, own, cache)
    }

    fn with(
        name: String,
        server: Box<dyn Server>,
        prefix: &str,
        own: Option<InstanceId>,
        cache: Option<&Path>,
    ) -> Result<Self, StoreError> {
        let failed = |error: GitError| error.of(name.clone(), Doing::Open);
        // Nobody else fetches into the cache meanwhile, or deletes it.
        let lock = Cache::lock(cache).map_err(failed)?;
        let open = || {
            let cache = Cache::open(cache)?;
            match View::look(server.as_ref(), &cache, prefix, View::default()) {
                Err(GitError::Cache(error)) => {
                    cache.condemn();
                    Err(GitError::Cache(error))
                }
                view => Ok((cache, view?)),
            }
        };
        let (cache, view) = match open() {
            Err(GitError::Cache(_)) => open(),
            opened => opened,
        }
        .map_err(failed)?;
        drop(lock);
        let state = Mutex::new(State { view, gathered: Gathered::default() });
        let store = Self { name, server, cache, prefix: prefix.to_owned(), own, state };
        store.check_format()?;
        Ok(store)
    }

    /// Opens the store at `url`, and makes the repository if it is a directory of this machine and nothing is there.
    ///
    /// # Errors
    /// As `open`.
    pub fn create(url: &GitUrl, own: Option<InstanceId>, cache: Option<&Path>) -> Result<Self, StoreError> {
        if let Place::File(path) = &url.place
            && fs::read_dir(path).map_or(true, |mut entries| entries.next().is_none())
        {
            let failed = |error: GitError| error.of(format!("the git repository {url}"), Doing::Create);
            make_bare(path).map_err(failed)?;
        }
        Self::open(url, own, cache)
    }

    fn check_format(&self) -> Result<(), StoreError> {
        let Some(bytes) = self.document(&self.state(), &StorePath::Format)? else { return Ok(()) };
        match layout::check_format(&bytes) {
            Ok(()) => Ok(()),
            Err(FormatError::Newer { version }) => {
                Err(StoreError::NewerFormat { store: self.describe(), found: version })
            }
            Err(FormatError::Foreign) => {
                Err(StoreError::NotAStore { store: self.describe(), why: "its format file is not one of wbsync" })
            }
        }
    }
}

fn server(url: &GitUrl) -> Box<dyn Server> {
    if url.via == Via::Program {
        return Box::new(Program(url.for_git()));
    }
    match &url.place {
        Place::File(path) => Box::new(Native(Box::new(Programs::here(path.clone())))),
        Place::Ssh(ssh) => Box::new(Native(Box::new(Programs::over(ssh.clone())))),
        Place::Http { url, user, password } => {
            Box::new(Native(Box::new(Web::new(url.clone(), user.clone(), password.clone()))))
        }
    }
}
