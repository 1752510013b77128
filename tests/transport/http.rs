//! The store contract over HTTP, against a real hub on loopback.

use std::cell::RefCell;
use std::path::Path;
use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use wbsync::hub::listen::{Place, Server, Trust};
use wbsync::hub::log::Event;
use wbsync::hub::members::{Members, Role};
use wbsync::hub::service::{Hub, Options};
use wbsync::keys::identity::Identity;
use wbsync::sys::clock;
use wbsync::transport::dir::DirStore;
use wbsync::transport::http::store::HttpStore;
use wbsync::transport::http::url::HttpUrl;

use crate::contract::store_contract;

/// A hub that runs, and what it logged.
pub(crate) struct Running {
    pub(crate) dir: TempDir,
    pub(crate) server: Server,
    pub(crate) log: Arc<Mutex<Vec<Event>>>,
}

impl Running {
    pub(crate) fn start(options: Options) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), options)
    }

    pub(crate) fn start_in(dir: TempDir, options: Options) -> Self {
        let log = Arc::new(Mutex::new(Vec::new()));
        let server = serve(dir.path(), options, Arc::clone(&log));
        Self { dir, server, log }
    }

    pub(crate) fn members(&self) -> Members {
        Members::open(&self.dir.path().join("store")).unwrap()
    }

    pub(crate) fn allow(&self, identity: &Identity, role: Role) {
        self.members().allow(&identity.id(), role, clock::now()).unwrap();
    }

    pub(crate) fn store(&self) -> DirStore {
        DirStore::open(&self.dir.path().join("store")).unwrap()
    }

    pub(crate) fn url(&self) -> HttpUrl {
        HttpUrl::parse(&self.server.url()).unwrap()
    }

    /// Opens it as `identity`.
    pub(crate) fn open(&self, identity: &Identity) -> HttpStore {
        HttpStore::open(&self.url(), Some(identity)).unwrap()
    }
}

fn serve(dir: &Path, options: Options, log: Arc<Mutex<Vec<Event>>>) -> Server {
    let root = dir.join("store");
    let store = DirStore::create(&root).unwrap();
    let members = Members::open(&root).unwrap();
    let hub =
        Hub::new(store, members, options, Arc::new(move |event| log.lock().unwrap().push(event.clone()))).unwrap();
    let place = Place { address: "127.0.0.1:0".parse().unwrap(), tls: None, trust: Trust::Loopback };
    Server::start(Arc::new(hub), &place).unwrap()
}

#[test]
fn a_hub_keeps_the_store_contract() {
    let hubs = RefCell::new(Vec::new());
    store_contract(|| {
        let running = Running::start(Options::default());
        let admin = Identity::generate();
        running.allow(&admin, Role::Admin);
        let store = running.open(&admin);
        hubs.borrow_mut().push(running);
        Box::new(store)
    });
}
