//! The store in a git repository on other machines: behind a real sshd, and behind nginx with git's own HTTP backend.

use std::cell::Cell;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use wbsync::exchange::store::{Store, StoreError};
use wbsync::id::bytes::InstanceId;
use wbsync::transport::git::store::GitStore;
use wbsync::transport::git::url::GitUrl;

use crate::contract::{ALPHA, BETA, get, noise, put, store_contract};
use crate::git::{assert_sound, bare, race};
use crate::support::git_site::GitSite;
use crate::support::sshd::Sshd;
use crate::through::Through;

/// Opens a repository behind sshd, as the library does for a URL but for the key.
fn open_over(sshd: &Sshd, hub: &Path, own: InstanceId, cache: Option<&Path>) -> Result<GitStore, StoreError> {
    let (ssh, port, hub) = (sshd.command("client_key"), sshd.port, hub.display().to_string());
    let host = format!("{}@127.0.0.1", Sshd::user());
    GitStore::over(format!("git over sshd on {port}"), "refs/wbsync", Some(own), cache, move |program| {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("exec {ssh} -T -p {port} -- {host} \"{program} '{hub}'\"")]);
        command
    })
}

#[test]
fn a_real_sshd_keeps_the_store_contract() {
    let Some(sshd) = Sshd::start() else { return };
    let sshd = Arc::new(sshd);
    let number = Cell::new(0);
    store_contract(|| {
        number.set(number.get() + 1);
        let hub = bare(sshd.dir.path(), &format!("{} 'x.git", number.get()).replace('\'', "_"));
        let (sshd, cache) = (Arc::clone(&sshd), sshd.dir.path().join(format!("caches/{}", number.get())));
        Box::new(Through::new(move || Box::new(open_over(&sshd, &hub, ALPHA, Some(&cache)).unwrap())))
    });
    let hub = bare(sshd.dir.path(), "race.git");
    race(|own| open_over(&sshd, &hub, own, None).unwrap());
    assert_sound(&hub);
    let missing = open_over(&sshd, Path::new("/no/such/repository.git"), ALPHA, None).err().unwrap();
    assert!(matches!(missing, StoreError::Unreachable { .. }), "{missing:?}");
}

#[test]
fn the_program_syncs_by_git_ssh_urls() {
    let Some(sshd) = Sshd::start() else { return };
    let hub = bare(sshd.dir.path(), "hub.git");
    let url = format!("git+ssh://{}@127.0.0.1:{}{}", Sshd::user(), sshd.port, hub.display());
    let ssh = sshd.command("client_key");
    let run = |app: &crate::support::app::App, args: &[&str]| {
        crate::support::run::wbsync_with(app.dir(), args, &[("WBSYNC_SSH", &ssh)]).ok()
    };
    let [alpha, beta] = ["alpha", "beta"].map(|name| {
        let app = crate::support::app::App::new();
        run(&app, &["init", "--preset", "whiteballoon", "--name", name]);
        run(&app, &["remote", "add", "far", &url]);
        app
    });
    let card = run(&alpha, &["id"]).stdout;
    run(&beta, &["peer", "add", card.trim()]);
    run(&beta, &["follow", "alpha"]);
    alpha.insert_request(None, "a ladder, please", "public");
    run(&alpha, &["sync"]);
    run(&beta, &["sync"]);
    assert!(beta.dump("help_requests").contains("a ladder, please"));
    assert_sound(&hub);
}

fn open_at(site: &GitSite, user: &str, path: &str, own: InstanceId) -> Result<GitStore, StoreError> {
    GitStore::open(&GitUrl::parse(&site.url(user, path)).unwrap(), Some(own), None)
}

#[test]
fn gits_own_backend_behind_nginx_keeps_the_store_contract() {
    let Some(site) = GitSite::start() else { return };
    let number = Cell::new(0);
    let site = Arc::new(site);
    store_contract(|| {
        number.set(number.get() + 1);
        bare(site.dir.path(), &format!("{}.git", number.get()));
        let (site, path) = (Arc::clone(&site), format!("{}.git", number.get()));
        Box::new(Through::new(move || Box::new(open_at(&site, "eve:s3cret-kanarie@", &path, ALPHA).unwrap())))
    });
    let hub = bare(site.dir.path(), "race.git");
    race(|own| open_at(&site, "eve:s3cret-kanarie@", "race.git", own).unwrap());
    assert_sound(&hub);
}

#[test]
fn nine_megabytes_go_through_a_web_server() {
    let Some(site) = GitSite::start() else { return };
    let big = bare(site.dir.path(), "big.git");
    let store = open_at(&site, "eve:s3cret-kanarie@", "big.git", ALPHA).unwrap();
    let bytes = noise(9_000_000, 7);
    let id = put(&store, &bytes);
    store.flush().unwrap();
    assert!(get(&open_at(&site, "eve:s3cret-kanarie@", "big.git", BETA).unwrap(), &id, 0) == bytes);
    assert_sound(&big);
}

#[test]
fn a_web_server_that_refuses_is_told_without_the_password() {
    let Some(site) = GitSite::start() else { return };
    bare(site.dir.path(), "hub.git");
    for (user, path, wanted) in [
        ("", "hub.git", "password"),
        ("eve:wr0ng-kanarie@", "hub.git", "password"),
        ("eve:s3cret-kanarie@", "none.git", "no repository"),
        ("eve:s3cret-kanarie@", "moved", "moved"),
    ] {
        let error = open_at(&site, user, path, ALPHA).err().unwrap();
        let said = format!("{error:?} {error}");
        assert!(said.contains(wanted) && !said.contains("kanarie"), "{said}");
        let is_refused = matches!(error, StoreError::Denied { .. });
        assert!(is_refused == (wanted == "password"), "{said}");
    }
}

#[test]
fn a_password_in_a_url_is_kept_and_shown_nowhere() {
    let Some(site) = GitSite::start() else { return };
    bare(site.dir.path(), "hub.git");
    let app = crate::support::app::App::new();
    app.wbsync(&["init", "--preset", "whiteballoon", "--name", "alpha"]).ok();
    let url = site.url("eve:s3cret-kanarie@", "hub.git");
    app.insert_request(None, "a ladder, please", "public");
    let added = app.wbsync(&["remote", "add", "web", &url]).ok().says_nothing_of("kanarie");
    assert!(added.stdout.contains("git+http://eve@127.0.0.1"));
    app.wbsync(&["sync"]).ok().says_nothing_of("kanarie");
    for args in [&["remote", "list"][..], &["--json", "remote", "list"], &["status"], &["--json", "status"]] {
        app.wbsync(args).ok().says_nothing_of("kanarie");
    }
    app.wbsync(&["remote", "add", "web", &url]).exits(1).says_nothing_of("kanarie");
    let odd = url.replace("git+http", "git+gopher");
    app.wbsync(&["remote", "add", "odd", &odd]).exits(1).says_nothing_of("kanarie");
    // Another instance starts from it.
    let other = crate::support::app::App::new();
    other.wbsync(&["clone", &url, ".", "--preset", "whiteballoon"]).ok().says_nothing_of("kanarie");
    assert!(other.dump("help_requests").contains("a ladder, please"));
    other.wbsync(&["sync"]).ok().says_nothing_of("kanarie");
    fs::write(site.dir.path().join("passwords"), "eve:{PLAIN}changed\n").unwrap();
    app.wbsync(&["sync"]).says_nothing_of("kanarie").exits(5);
    app.wbsync(&["remote", "remove", "web"]).ok();
    assert_eq!(fs::read_dir(app.dir().join(".wbsync/git")).unwrap().count(), 0);
}
