//! A hub whose disk spoils or loses what it holds: its members mend it over HTTP and SSH, and a lost one is begun anew.

use std::fs;
use std::path::Path;

use wbsync::id::name::PeerName;
use wbsync::sync::commit::Mode;
use wbsync::sync::instance::{Instance, Purpose};
use wbsync::sync::progress::silent;
use wbsync::sync::repair::Repaired;
use wbsync::sync::repair::remote::Gone;

use crate::site::{Site, befriend, instance};
use crate::support::app::App;
use crate::support::run::{wbsync, wbsync_with};
use crate::support::sshd::Sshd;

/// The files of the store at `dir`, by their path in it, but those of the hub itself.
fn files(dir: &Path) -> Vec<String> {
    let files = walkdir::WalkDir::new(dir).into_iter().map(Result::unwrap).filter(|entry| entry.file_type().is_file());
    let name = |entry: walkdir::DirEntry| entry.path().strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
    let mut files: Vec<String> = files.map(name).collect();
    files.retain(|file| !file.starts_with("lock") && !file.starts_with("hub/") && file != "format");
    files.sort();
    files
}

fn kind(file: &str) -> &'static str {
    ["objects/", "instances/", "/heads/", "/receipts/", "/manifest"]
        .into_iter()
        .find(|part| file.contains(part))
        .unwrap_or_else(|| panic!("{file} is of no known kind"))
}

/// Deletes a file, empties it, cuts it, or flips a bit of it.
fn spoil(path: &Path, how: &str) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    match how {
        "deleted" => return fs::remove_file(path).unwrap(),
        "emptied" => bytes.clear(),
        "cut" => bytes.truncate(middle),
        _ => bytes[middle] ^= 4,
    }
    fs::write(path, bytes).unwrap();
}

fn repair(app: &App, remote: &str) -> Repaired {
    let instance = Instance::open(app.dir(), Purpose::Change, silent()).unwrap();
    instance.repair_remote(&PeerName::new(remote).unwrap(), Gone::Wait, Mode::Keep).unwrap()
}

/// Two applications that have exchanged both ways through `remote`.
fn exchanged(remote: &str, admit: impl Fn(&App)) -> (App, App) {
    let (alpha, beta) = (instance("alpha"), instance("beta"));
    befriend(&alpha, &beta);
    for app in [&alpha, &beta] {
        admit(app);
    }
    for app in [&alpha, &beta, &alpha] {
        for scope in ["public", "trusted"] {
            app.insert_request(Some(App::ADMIN), &format!("a ladder, {scope}"), scope);
        }
        app.wbsync(&["sync", remote]).ok();
    }
    beta.wbsync(&["sync", remote]).ok();
    (alpha, beta)
}

/// Damages all files of each kind in each way; both repair, and the store holds what it held.
fn damage_and_mend(store: &Path, remote: &str, sites: [&App; 2], ways: &[&str]) {
    let whole = files(store);
    let needed: Vec<&String> = whole.iter().filter(|file| kind(file) != "objects/").collect();
    for part in ["objects/", "instances/", "/manifest", "/heads/", "/receipts/"] {
        for how in ways {
            whole.iter().filter(|file| kind(file) == part).for_each(|file| spoil(&store.join(file), how));
            let done: Vec<Repaired> = sites.iter().map(|app| repair(app, remote)).collect();
            for app in sites {
                app.wbsync(&["sync", remote]).ok();
                let left = app.wbsync(&["fsck", remote]).ok();
                assert!(left.stdout.contains("all is well"), "{part} {how}: {done:?} {left}");
            }
            let now = files(store);
            assert!(needed.iter().all(|file| now.contains(file)), "{part} {how}: {now:?} lacks some of {whole:?}");
        }
    }
}

#[test]
fn whatever_a_hub_loses_its_members_bring_again_over_http() {
    let site = Site::start(&[]);
    let (alpha, beta) = exchanged("hub", |app| site.admit(app));
    let store = site.dir.path().join("store");
    damage_and_mend(&store, "hub", [&alpha, &beta], &["deleted", "emptied", "cut", "flipped"]);
    assert!(site.log().contains("PUT") && site.log().contains("damaged"), "the hub itself was asked");
}

#[test]
fn what_a_member_says_of_an_object_that_is_whole_changes_nothing() {
    let site = Site::start(&[]);
    let (alpha, _beta) = exchanged("hub", |app| site.admit(app));
    let store = site.dir.path().join("store");
    let own = alpha.dir().join(".wbsync/store");
    let is_ours = |file: &String| kind(file) == "objects/" && own.join(file).exists();
    let object = files(&store).into_iter().find(is_ours).unwrap();
    let whole = fs::read(store.join(&object)).unwrap();
    spoil(&store.join(&object), "flipped");
    // One who has it wrong too mends nothing, and says so.
    let own = own.join(&object);
    let right = fs::read(&own).unwrap();
    spoil(&own, "flipped");
    let run = alpha.wbsync(&["repair", "hub"]).exits(6);
    assert!(run.stdout.contains("damaged object") && run.stdout.contains(&object), "{run}");
    fs::write(&own, &right).unwrap();
    let run = alpha.wbsync(&["repair", "hub"]).ok();
    assert!(run.stdout.contains(&format!("hub: got {object} again from this instance")), "{run}");
    assert!(fs::read(store.join(&object)).unwrap() == whole && right == whole);
}

#[test]
fn whatever_a_place_over_ssh_loses_is_brought_again() {
    let Some(sshd) = Sshd::start() else { return };
    let (ssh, place) = (sshd.command("client_key"), sshd.dir.path().join("shared"));
    let url = format!("ssh://{}@127.0.0.1:{}{}", Sshd::user(), sshd.port, place.display());
    let with = [("WBSYNC_SSH", ssh.as_str())];
    let alpha = instance("alpha");
    alpha.wbsync(&["remote", "add", "far", &url]).ok();
    alpha.insert_request(Some(App::ADMIN), "a ladder", "public");
    wbsync_with(alpha.dir(), &["push", "far"], &with).ok();
    let whole = files(&place);
    for how in ["deleted", "cut", "flipped"] {
        whole.iter().for_each(|file| spoil(&place.join(file), how));
        let run = wbsync_with(alpha.dir(), &["fsck", "far"], &with).exits(6);
        for file in whole.iter().filter(|file| kind(file) != "/receipts/") {
            // An object is missed where a head still names it.
            let is_named = how != "deleted" && kind(file) != "objects/" || kind(file) == "/heads/";
            assert!(!is_named || run.stdout.contains(file.as_str()), "{file} {how}: {run}");
        }
        wbsync_with(alpha.dir(), &["repair", "far"], &with).ok();
        assert!(wbsync_with(alpha.dir(), &["fsck", "far"], &with).ok().stdout.contains("all is well"));
        assert_eq!(files(&place), whole, "{how}");
    }
}

#[test]
fn a_hub_that_lost_everything_is_begun_anew_under_its_url() {
    let site = Site::start(&[]);
    let (alpha, beta) = exchanged("hub", |app| site.admit(app));
    let address = site.url.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let (dir, _) = site.stop();
    fs::remove_dir_all(dir.path().join("store")).unwrap();
    let site = Site::start_in(dir, &address, &[]);
    let run = alpha.wbsync(&["sync", "hub"]).exits(5);
    assert!(run.stderr.contains("wbsync hub join"), "{run}");
    for app in [&alpha, &beta] {
        let token = site.hub(&["invite"]).ok().stdout;
        fs::write(app.dir().join("token"), token).unwrap();
        app.wbsync(&["hub", "join", "hub", "--token-file", "token"]).ok();
        let run = app.wbsync(&["repair", "hub"]).ok();
        assert!(run.stdout.contains("pushed") && run.stdout.contains("all is well"), "{run}");
    }
    alpha.insert_request(Some(App::ADMIN), "after the loss", "trusted");
    for app in [&alpha, &beta] {
        app.wbsync(&["sync", "hub"]).ok();
        assert!(app.wbsync(&["fsck", "hub"]).ok().stdout.contains("all is well"));
    }
    assert!(beta.dump("help_requests").contains("after the loss"));
    let fresh = App::new();
    let token = site.hub(&["invite"]).ok().stdout;
    fs::write(fresh.dir().join("token"), token).unwrap();
    fresh.wbsync(&["clone", &site.url, "--preset", "whiteballoon", "--invite", "token"]).ok();
    assert!(fresh.dump("help_requests").contains("a ladder, public"));
}

#[test]
fn a_store_that_lost_its_format_file_is_one_again() {
    let site = Site::start(&[]);
    let (alpha, _beta) = exchanged("hub", |app| site.admit(app));
    let address = site.url.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let (dir, _) = site.stop();
    for how in ["deleted", "emptied", "cut", "flipped"] {
        spoil(&dir.path().join("store/format"), how);
        let run = wbsync(dir.path(), &["fsck", "store"]).exits(1);
        assert!(run.stderr.contains("wbsync repair"), "{run}");
        let run = wbsync(dir.path(), &["repair", "store"]).ok();
        assert!(run.stdout.contains("wrote its format file again"), "{how}: {run}");
    }
    let empty = tempfile::tempdir().unwrap();
    wbsync(empty.path(), &["repair", "."]).exits(1);
    assert_eq!(fs::read_dir(empty.path()).unwrap().count(), 0, "nothing is made of an empty directory");
    let site = Site::start_in(dir, &address, &[]);
    alpha.wbsync(&["sync", "hub"]).ok();
    drop(site);
}
