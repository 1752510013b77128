//! Instances side by side on one machine, sharing a store on "a stick".

use std::path::PathBuf;

use tempfile::TempDir;
use wbsync::id::name::{PeerName, ScopeName};
use wbsync::keys::card::SignedCard;
use wbsync::state::peers::Trust;
use wbsync::sync::init::{CloneOptions, InitOptions};
use wbsync::sync::instance::{Instance, Purpose};
use wbsync::sync::peers::PeerAdd;
use wbsync::sync::progress::silent;

use super::support::app::{App, Request};

/// A stick and who uses it.
pub struct Stick {
    dir: TempDir,
}

/// An application with wbsync beside it.
pub struct Site {
    pub app: App,
    pub name: &'static str,
}

impl Stick {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("wb")
    }
}

impl Site {
    /// Makes an instance beside a fresh application with an administrator.
    pub fn new(name: &'static str) -> Self {
        Self::of(App::new(), name)
    }

    pub fn of(app: App, name: &'static str) -> Self {
        let options = InitOptions {
            database: None,
            preset: Some("whiteballoon".into()),
            name: Some(PeerName::new(name).unwrap()),
        };
        Instance::init(app.dir(), &options, silent()).unwrap();
        Self { app, name }
    }

    pub fn open(&self) -> Instance {
        Instance::open(self.app.dir(), Purpose::Change, silent()).unwrap()
    }

    pub fn card(&self) -> SignedCard {
        self.open().card.clone()
    }

    pub fn knows(&self, other: &Self, trust: Option<Trust>) {
        let card = other.card();
        let instance = self.open();
        instance.peer_add(&card, &PeerAdd::default()).unwrap();
        if let Some(trust) = trust {
            instance.peer_trust(other.name, trust).unwrap();
        }
        instance.follow(other.name, None).unwrap();
    }

    pub fn uses(&self, stick: &Stick) {
        let name = PeerName::new("stick").unwrap();
        self.open().remote_add(&name, stick.path().to_str().unwrap(), self.app.dir()).unwrap();
    }

    pub fn pull(&self) -> wbsync::sync::round::PullSummary {
        let instance = self.open();
        let summary = instance.pull(&[PeerName::new("stick").unwrap()]).unwrap();
        assert!(summary.fetched.failed.is_empty(), "{:?}", summary.fetched.failed);
        for fetched in summary.fetched.remotes.values() {
            assert!(fetched.refused.is_empty(), "{:?}", fetched.refused);
        }
        summary
    }

    pub fn push(&self) -> wbsync::sync::push::PushSummary {
        self.open().push(&PeerName::new("stick").unwrap()).unwrap()
    }

    pub fn sync(&self) {
        self.pull();
        self.push();
    }

    /// Makes a request with a title.
    pub fn request(&self, author: i64, title: &str, scope: &str) -> i64 {
        let request = Request { author: Some(author), title: Some(title), scope, ..Request::default() };
        self.app.insert_request_with(&request)
    }

    /// Changes one column of a request, as a page that edits it would.
    pub fn edit(&self, request: i64, column: &str, value: &str) {
        let sql = format!("UPDATE help_requests SET {column} = ?2, updated_at = ?3 WHERE id = ?1");
        self.app.execute(&sql, &[&request, &value, &self.app.now()]);
    }

    /// The roots of one scope, as this instance holds them.
    pub fn roots(&self, origin: &Self, scope: &ScopeName) -> Option<String> {
        let id = origin.open().id();
        let instance = self.open();
        let row = instance.state.scopes_of(&id).unwrap().into_iter().find(|row| row.name == *scope)?;
        let known = instance.state.known_commit(&row.id, &row.local_head?).unwrap();
        Some(format!("{:?}", known.commit.datasets))
    }
}

/// Two sites that know and follow each other and share a stick.
pub fn pair(trust: Option<Trust>) -> (Stick, Site, Site) {
    let (stick, alpha, beta) = (Stick::new(), Site::new("alpha"), Site::new("beta"));
    alpha.knows(&beta, trust);
    beta.knows(&alpha, trust);
    alpha.uses(&stick);
    beta.uses(&stick);
    (stick, alpha, beta)
}

/// A third, fresh instance cloned from the stick.
pub fn clone(stick: &Stick, name: &'static str) -> Site {
    let app = App::new();
    let init = InitOptions {
        preset: Some("whiteballoon".into()),
        name: Some(PeerName::new(name).unwrap()),
        ..InitOptions::default()
    };
    let options = CloneOptions { init, ..CloneOptions::default() };
    Instance::clone_from(stick.path().to_str().unwrap(), app.dir(), &options, app.dir(), silent()).unwrap();
    Site { app, name }
}
