//! Pages that begin with instances that are there: those of the tutorial, with what they meet at.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use rusqlite::Connection;
use wbsync::testing::whiteballoon::seed::SCHEMA;

use crate::services::Services;
use crate::support::document::Stage;
use crate::support::git_site::GitSite;
use crate::support::run::wbsync;
use crate::support::sshd::Sshd;
use crate::walks::{ADDRESSES, BOARD, free_address};

/// The other board: somebody who runs it and shares, one request, one comment.
const OTHER_BOARD: &str = "
    INSERT INTO users (username, is_admin, created_at, sync_scope) VALUES
        ('bob', 1, '2026-02-01 11:00:00.000000', 'public');
    INSERT INTO help_requests (title, description, status, created_by_user_id, created_at, updated_at, sync_scope) VALUES
        ('Soup', 'Soup for ten on Friday', 'open', 1, '2026-02-01 11:05:00.000000', '2026-02-01 11:05:00.000000', 'public');
    INSERT INTO request_comments (help_request_id, user_id, body, created_at, sync_scope) VALUES
        (1, 1, 'Bring a spoon.', '2026-02-01 11:06:00.000000', 'public');
";

/// A board that nobody has written anything on: its first account.
const EMPTY_BOARD: &str = "
    INSERT INTO users (username, is_admin, created_at, sync_scope) VALUES
        ('cleo', 1, '2026-02-03 08:00:00.000000', 'private');
";

/// A page, with boards in `/srv/alpha` and `/srv/beta`.
struct Guide {
    stage: Stage<'static>,
    services: Services,
    hub: String,
}

impl Guide {
    /// Begins with an instance beside each board.
    fn new(page: &'static str) -> Self {
        let guide = Self::boards(page);
        guide.init("alpha");
        guide.init("beta");
        guide
    }

    /// Begins with boards alone.
    fn boards(page: &'static str) -> Self {
        let own_addresses = ADDRESSES.map(|_| free_address());
        let by_name = own_addresses[0].replace("127.0.0.1", "localhost");
        let mut stage = Stage::new(page)
            .place("https://hub.example/", &format!("http://{by_name}/"))
            .place("~/wbsync", env!("CARGO_MANIFEST_DIR"));
        for dir in ["/srv", "/var/backups", "/var/lib/node_exporter", "/media/stick"] {
            stage = stage.directory(dir);
        }
        for (named, here) in ADDRESSES.iter().zip(&own_addresses) {
            stage = stage.place(named, here);
        }
        let [hub, ..] = own_addresses;
        let mut services = Services::default();
        services.root = stage.dir().join("srv");
        services.hub.clone_from(&hub);
        Self { stage, services, hub }.site("alpha", Some(BOARD)).site("beta", Some(OTHER_BOARD))
    }

    fn init(&self, name: &str) {
        self.wbsync(name, &["init", "--preset", "whiteballoon", "--name", name]);
    }

    /// Adds a site, with a board or with nothing.
    fn site(mut self, name: &str, board: Option<&str>) -> Self {
        let dir = self.dir(name);
        fs::create_dir(&dir).unwrap();
        if let Some(board) = board {
            fs::create_dir(dir.join("data")).unwrap();
            let db = Connection::open(dir.join("data/app.db")).unwrap();
            db.execute_batch(SCHEMA).unwrap();
            db.execute_batch(board).unwrap();
        }
        self.stage = self.stage.site(name, dir);
        self
    }

    /// Has the two know, trust and follow each other.
    fn acquainted(self) -> Self {
        for (name, other) in [("alpha", "beta"), ("beta", "alpha")] {
            let card = self.wbsync(other, &["id"]);
            self.wbsync(name, &["peer", "add", card.trim()]);
            self.wbsync(name, &["peer", "trust", other, "--write"]);
            self.wbsync(name, &["follow", other]);
        }
        self
    }

    /// Has the two meet somewhere, until both have what both have.
    fn meeting(self, remote: &str, url: &str) -> Self {
        for name in ["alpha", "beta"] {
            self.wbsync(name, &["remote", "add", remote, url]);
        }
        self.exchanged()
    }

    /// Has the two be members of a hub.
    fn members(self) -> Self {
        let guide = self.site("hub", None);
        guide.services.run("systemctl start wbsync-hub");
        let url = format!("http://{}/", guide.hub.replace("127.0.0.1", "localhost"));
        for name in ["alpha", "beta"] {
            let token = guide.dir("token");
            fs::write(&token, guide.wbsync("hub", &["hub", "invite", "--store", "store"])).unwrap();
            guide.wbsync(name, &["remote", "add", "hub", &url]);
            guide.wbsync(name, &["hub", "join", "hub", "--token-file", token.to_str().unwrap()]);
        }
        guide.exchanged()
    }

    fn exchanged(self) -> Self {
        for name in ["alpha", "beta", "alpha"] {
            self.wbsync(name, &["sync"]);
        }
        self
    }

    fn dir(&self, name: &str) -> PathBuf {
        self.services.root.join(name)
    }

    fn wbsync(&self, name: &str, args: &[&str]) -> String {
        wbsync(&self.dir(name), args).ok().stdout
    }

    fn place(mut self, named: &str, here: &str) -> Self {
        self.stage = self.stage.place(named, here);
        self
    }

    fn walk(self, at_least: usize) {
        let services = self.services;
        let commands = self.stage.own(&|_, command| services.run(command)).run();
        assert!(commands >= at_least, "the page has {commands} commands");
    }
}

#[test]
fn the_readme() {
    let guide = Guide::boards("README.md").site("new", Some(EMPTY_BOARD));
    guide.init("beta");
    fs::write(guide.dir("alpha").join("beta.card"), guide.wbsync("beta", &["id"])).unwrap();
    guide.walk(8);
}

#[test]
fn a_hub_its_members_and_those_who_serve_themselves() {
    let Some(sshd) = Sshd::start() else { return };
    let mut guide = Guide::new("docs/hub.md").acquainted().site("hub", None).site("gamma", Some(EMPTY_BOARD));
    guide.stage = guide.stage.program("ssh", &sshd.script());
    let own = format!("http://{}/", free_address());
    let listen = own.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let user = format!("{}@", Sshd::user());
    guide
        .place("https://alpha.example/sync/", &own.replace("127.0.0.1", "localhost"))
        .place("127.0.0.1:7425", &listen)
        .place("eve@", &user)
        .walk(20);
}

#[test]
fn peers_and_groups_come_and_go() {
    let guide = Guide::new("docs/peers.md");
    let shared = guide.dir("shared");
    guide.meeting("shared", shared.to_str().unwrap()).walk(20);
}

#[test]
fn git_hosts_and_a_history_to_read() {
    let (Some(sshd), Some(host)) = (Sshd::start(), GitSite::start()) else { return };
    let bare = host.dir.path().join("eve/wbsync.git");
    assert!(Command::new("git").args(["init", "-q", "--bare"]).arg(&bare).status().unwrap().success());
    let mut guide = Guide::new("docs/git.md").acquainted();
    guide.stage = guide.stage.program("ssh", &sshd.script());
    let [with_password, with_name, with_nobody] = ["eve:s3cret-kanarie@", "eve@", ""].map(|user| host.url(user, ""));
    let root = host.dir.path().display();
    guide
        .place("git+https://eve:TOKEN@git.example/", &with_password)
        .place("git+https://eve@git.example/", &with_name)
        .place("git+https://git.example/", &with_nobody)
        .place("git@git.example/", &format!("{}@git.example{root}/", Sshd::user()))
        .place("eve@box.example", &format!("{}@box.example", Sshd::user()))
        .walk(9);
}

#[test]
fn stores_are_looked_at_mended_and_cleared() {
    let guide = Guide::new("docs/retention.md").acquainted();
    let stick = guide.stage.dir().join("media-stick/wb");
    guide.meeting("stick", stick.to_str().unwrap()).walk(20);
}

#[test]
fn backups_come_back() {
    let mut guide = Guide::new("docs/restore.md").acquainted().members();
    guide.stage = guide
        .stage
        .program("lpr", "#!/bin/sh\nexec cat > /dev/null\n")
        .variable("WBSYNC_PASSPHRASE", "six words that nobody would guess");
    let copy = guide.dir("copy");
    fs::create_dir(&copy).unwrap();
    guide.stage = guide.stage.site("copy", copy);
    guide.walk(25);
}

#[test]
fn proofs_for_strangers() {
    let guide = Guide::new("docs/proofs.md").site("elsewhere", None);
    let shared = guide.dir("shared");
    guide.meeting("shared", shared.to_str().unwrap()).walk(6);
}

#[test]
fn small_pages() {
    for (page, commands) in [
        ("docs/capture.md", 6),
        ("docs/configuration.md", 3),
        ("docs/metrics.md", 7),
        ("docs/worker.md", 3),
        ("docs/data-flow.md", 5),
    ] {
        let guide = Guide::new(page).site("hub", None).acquainted();
        let shared = guide.dir("shared");
        guide.meeting("shared", shared.to_str().unwrap()).walk(commands);
    }
}
