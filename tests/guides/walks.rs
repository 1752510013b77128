//! Pages that are walked through from their first command to their last.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::process::Command;

use rusqlite::Connection;
use wbsync::testing::whiteballoon::seed::SCHEMA;

use crate::services::Services;
use crate::support::app::App;
use crate::support::document::Stage;

/// Addresses of the guides, and what stands for them.
pub(crate) const ADDRESSES: [&str; 8] = [
    "127.0.0.1:7420",
    "127.0.0.1:7421",
    "127.0.0.1:7422",
    "127.0.0.1:7423",
    "127.0.0.1:7424",
    "127.0.0.1:7431",
    "127.0.0.1:7432",
    "127.0.0.1:7433",
];

/// A board before wbsync comes: somebody who runs it, somebody who shares, and a request of either kind.
pub(crate) const BOARD: &str = "
    INSERT INTO users (username, is_admin, created_at, sync_scope) VALUES
        ('admin', 1, '2026-02-01 10:00:00.000000', 'private'), ('ann', 0, '2026-02-01 10:01:00.000000', 'public');
    INSERT INTO help_requests (title, description, status, created_by_user_id, created_at, updated_at, sync_scope) VALUES
        ('Ladder', 'A ladder for a day', 'open', 2, '2026-02-01 10:02:00.000000', '2026-02-01 10:02:00.000000', 'public'),
        ('Keys', 'Who has found my keys?', 'open', 2, '2026-02-01 10:03:00.000000', '2026-02-01 10:03:00.000000', 'private');
";

/// Runs a page with a directory below `/srv` for each site, the repository at `~/wbsync`, and the services that it starts.
fn walk(page: &'static str, sites: &[&str]) -> usize {
    // The tutorial makes its own.
    let has_boards = page != "docs/tutorial.md";
    let own_addresses = ADDRESSES.map(|_| free_address());
    let mut services = Services::default();
    let mut stage =
        Stage::new(page).place("~/wbsync", env!("CARGO_MANIFEST_DIR")).directory("/srv").directory("/var/backups");
    stage = stage.directory("/usr/local/bin");
    for version in ["~/new/wbsync", "~/old/wbsync"] {
        stage = stage.place(version, env!("CARGO_BIN_EXE_wbsync"));
    }
    for (named, here) in ADDRESSES.iter().zip(&own_addresses) {
        stage = stage.place(named, here);
    }
    services.root = stage.dir().join("srv");
    services.hub = own_addresses[0].clone();
    for (name, address) in sites.iter().zip(&own_addresses[1..]) {
        let dir = services.root.join(name);
        fs::create_dir(&dir).unwrap();
        if has_boards && *name != "hub" {
            fs::create_dir(dir.join("data")).unwrap();
            let board = Connection::open(dir.join("data/app.db")).unwrap();
            board.execute_batch(SCHEMA).unwrap();
            board.execute_batch(BOARD).unwrap();
        }
        services.workers.insert((*name).to_owned(), address.clone());
        stage = stage.site(name, dir);
    }
    stage.own(&|_, command| services.run(command)).run()
}

#[test]
fn the_tutorial() {
    let commands = walk("docs/tutorial.md", &["alpha", "beta", "gamma", "hub"]);
    assert!(commands > 50, "the page has {commands} commands");
}

#[test]
fn the_rollout() {
    let commands = walk("docs/rollout.md", &["alpha", "beta", "gamma", "delta", "hub"]);
    assert!(commands > 40, "the page has {commands} commands");
}

#[test]
fn the_operators_day() {
    let commands = walk("docs/operate.md", &["alpha", "hub"]);
    assert!(commands > 20, "the page has {commands} commands");
}

#[test]
fn the_upgrade_and_the_way_back() {
    let commands = walk("docs/upgrade.md", &["alpha", "beta"]);
    assert!(commands > 20, "the page has {commands} commands");
}

#[test]
fn three_sites_and_a_courier() {
    // They read a bundle by hand.
    for tool in ["age", "zstd", "b3sum"] {
        if Command::new(tool).arg("--version").output().is_err() {
            let _ = writeln!(std::io::stderr(), "SKIPPED: docs/air-gap.md: there is no {tool}");
            assert!(std::env::var_os("CI").is_none() || std::env::var_os("WBSYNC_ALLOW_SKIPS").is_some());
            return;
        }
    }
    let sites = ["alpha", "beta", "gamma"].map(|name| (name, App::new()));
    let mut stage = Stage::new("docs/air-gap.md").directory("/media/stick");
    for (name, app) in &sites {
        let user = app.insert_user(&format!("somebody-of-{name}"), "public");
        app.insert_request(Some(user), &format!("needed at {name}"), "public");
        app.insert_request(Some(user), &format!("among friends of {name}"), "trusted");
        stage = stage.site(name, app.dir());
    }
    // What carries bundles through a gate, and two who come later, with nothing but an account.
    let gate = stage.dir().join("gate").display().to_string();
    stage = stage.program("gate-send", &format!("#!/bin/sh\nexec cat > {gate}\n"));
    stage = stage.program("gate-receive", &format!("#!/bin/sh\nexec cat {gate}\n"));
    let late = [App::new(), App::new()];
    for (name, app) in ["delta", "epsilon"].into_iter().zip(&late) {
        stage = stage.site(name, app.dir());
    }
    let commands = stage.run();
    assert!(commands > 35, "the page has {commands} commands");
    // Everybody has everything, and what nobody was meant to see stayed home.
    for (name, app) in &sites {
        let texts = app.dump_columns("help_requests", &["description"]);
        for (other, _) in &sites {
            assert!(texts.contains(&format!("needed at {other}")), "{name}: {texts}");
            assert!(texts.contains(&format!("among friends of {other}")), "{name}: {texts}");
        }
    }
}

/// Returns an address at which nobody listens.
pub(crate) fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}
